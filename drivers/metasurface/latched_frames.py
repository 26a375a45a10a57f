"""Frames and patterns of the latched shift-register board, as bytes: pure functions, for its driver and its emulator.

The protocol is this project's own and described in docs/latched-board.md; the reference firmware lies in
``firmware/latched_board`` beside this file. A frame:

    0   A5 5A       start
    2   version     of the protocol
    3   command     an answer: the command's with the highest bit set
    4   sequence    chosen by the host, repeated by the answer
    5   length      of the payload, two bytes
    7   check       low byte of the CRC-16 of bytes 2 to 6
    8   payload
    8+n CRC-16      of bytes 2 to 7+n

Numbers of several bytes begin with the most significant.
"""

from __future__ import annotations

import struct
from binascii import crc_hqx
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

States = NDArray[np.int64]

START = b"\xa5\x5a"
VERSION = 1
HEADER_BYTES = 8
CRC_BYTES = 2
GAP_S = 0.1  # silence within a frame after which the board forgets it
ANSWER = 0x80
MAX_BITS = 8
LONGEST_PATTERN_BYTES = 60_000  # with what is around it, it fits a length of two bytes
READ_HEAD_BYTES = 5  # of READ's answer, before the pattern: status, flags, source, latches
IDENTIFY_BYTES = 48  # room for the answer to IDENTIFY

RESTARTED = 0x01  # flag of every answer: no host has begun since power came on
CHAIN_RETURNS = 0x01  # feature: READ tells what is in the shift registers
EMULATED = 0x80  # feature: not a board, but something that behaves like one

_HEADER = struct.Struct(">BBBH")
_INFO = struct.Struct(">BBBHHBHIHB")


class Command(IntEnum):
    """What a host asks."""

    IDENTIFY = 0x01
    BEGIN = 0x02
    SET = 0x10
    READ = 0x11
    SAFE = 0x12
    STORE = 0x20
    SHOW = 0x21


class Status(IntEnum):
    """First byte of an answer's payload."""

    OK = 0
    BAD_CRC = 1
    BAD_VERSION = 2
    UNKNOWN_COMMAND = 3
    BAD_LENGTH = 4
    BAD_INDEX = 5
    NOT_STORED = 6
    BAD_PATTERN = 7


def crc16(data: bytes) -> int:
    """CRC-16/IBM-3740: polynomial 0x1021, begins with 0xFFFF; of ``b"123456789"`` it is 0x29B1."""
    return crc_hqx(data, 0xFFFF)


def frame(command: int, sequence: int, payload: bytes = b"", version: int = VERSION) -> bytes:
    """A whole frame."""
    header = _HEADER.pack(version, command, sequence, len(payload))
    covered = header + bytes([crc16(header) & 0xFF]) + payload
    return START + covered + crc16(covered).to_bytes(2, "big")


@dataclass(frozen=True)
class Header:
    """The first eight bytes of a frame."""

    version: int
    command: int
    sequence: int
    length: int

    @classmethod
    def parse(cls, data: bytes) -> Header | None:
        """Of the bytes that `data`, of at least eight bytes, begins with; None if they are no header."""
        if data[:2] != START or crc16(data[2:7]) & 0xFF != data[7]:
            return None
        return cls(*_HEADER.unpack(data[2:7]))

    @property
    def frame_bytes(self) -> int:
        """Length of the whole frame."""
        return HEADER_BYTES + self.length + CRC_BYTES


def false_start(data: bytes) -> int:
    """How many bytes to drop, at least one, until `data` begins with what may be a start, or is empty."""
    for first in range(1, len(data)):
        if START.startswith(data[first : first + 2]):
            return first
    return len(data)


def pattern_bytes(elements: int, bits: int) -> int:
    """Length of a pattern on the wire."""
    return (elements * bits + 7) // 8


def longest_payload(elements: int, bits: int) -> int:
    """Longest payload, in either direction, of a board with so many elements."""
    return max(IDENTIFY_BYTES, READ_HEAD_BYTES + pattern_bytes(elements, bits))


def pack(elements: States, bits: int) -> bytes:
    """States of all elements as one stream of bits: element 0 first, each with its most significant bit first.

    Parameters
    ----------
    elements : (n,) of 0 to 2^bits - 1
    bits : int
        Of an element.
    """
    stream = (elements[:, None] >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(stream.astype(np.uint8)).tobytes()


def unpack(data: bytes, n: int, bits: int) -> States:
    """States of `n` elements, (n,)."""
    stream = np.unpackbits(np.frombuffer(data, dtype=np.uint8))[: n * bits].reshape(n, bits)
    states: States = stream.astype(np.int64) @ (1 << np.arange(bits - 1, -1, -1, dtype=np.int64))
    return states


@dataclass(frozen=True)
class BoardInfo:
    """What IDENTIFY answers.

    Attributes
    ----------
    version : int
        Of the protocol.
    firmware : tuple of int
        Major, minor.
    rows, columns, bits : int
    capacity : int
        Patterns of a stored sequence.
    serial_number : int
        0: it has none.
    longest_payload : int
    features : int
        CHAIN_RETURNS, EMULATED.
    name : str
    """

    version: int
    firmware: tuple[int, int]
    rows: int
    columns: int
    bits: int
    capacity: int
    serial_number: int
    longest_payload: int
    features: int
    name: str

    def pack(self) -> bytes:
        """As it follows status and flags."""
        head = _INFO.pack(
            self.version, *self.firmware, self.rows, self.columns, self.bits, self.capacity, self.serial_number,
            self.longest_payload, self.features,
        )  # fmt: skip
        return head + self.name.encode("ascii")

    @classmethod
    def parse(cls, data: bytes) -> BoardInfo:
        """Of the payload after status and flags.

        Raises
        ------
        ValueError
            If that is too short, or the name is not ASCII.
        """
        if len(data) < _INFO.size:
            raise ValueError(f"{len(data)} bytes")
        version, major, minor, rows, columns, bits, capacity, number, longest, features = _INFO.unpack_from(data)
        name = data[_INFO.size :].decode("ascii")
        return cls(version, (major, minor), rows, columns, bits, capacity, number, longest, features, name)
