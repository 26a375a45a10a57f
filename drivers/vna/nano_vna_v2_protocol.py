"""The binary protocol of a NanoVNA V2: commands, registers and the records of its FIFO, little-endian.

After the user manual UG1101, appendix "USB data interface", and github nanovna-v2/NanoVNA2-firmware
(``command_parser.cpp``, ``main2.cpp``): an opcode, an address, and what the opcode takes; nothing is acknowledged.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

NOP, INDICATE = 0x00, 0x0D
READ, READ2, READ4, READ_FIFO = 0x10, 0x11, 0x12, 0x18
WRITE, WRITE2, WRITE4, WRITE8, WRITE_FIFO = 0x20, 0x21, 0x22, 0x23, 0x28

START, STEP, POINTS, VALUES, FIFO, POWER = 0x00, 0x10, 0x20, 0x22, 0x30, 0x42
VARIANT, PROTOCOL, HARDWARE, FIRMWARE_MAJOR, FIRMWARE_MINOR = 0xF0, 0xF1, 0xF2, 0xF3, 0xF4
DISTURB, SEED, SHOT = 0xD8, 0xE0, 0xE8  # of the emulator alone
EMULATED_HARDWARE = 238  # no revision of a real board

INDICATED = ord("2")  # answer to INDICATE
MOST_RECORDS = 255  # of one READ_FIFO
RECORD = np.dtype(
    [("forward", "<i4", 2), ("reflected", "<i4", 2), ("transmitted", "<i4", 2), ("index", "<u2"), ("rest", "u1", 6)]
)

_LENGTHS = {
    NOP: 1, INDICATE: 1, READ: 2, READ2: 2, READ4: 2, READ_FIFO: 3, WRITE: 3, WRITE2: 4, WRITE4: 6, WRITE8: 10
}  # fmt: skip
_ANSWERS = {INDICATE: 1, READ: 1, READ2: 2, READ4: 4}
_OTHER = 3  # bytes after which the parser is done with an opcode that does not exist


def write(address: int, value: int, size: int) -> bytes:
    """A command that writes a register of 1, 2, 4 or 8 bytes."""
    opcode = {1: WRITE, 2: WRITE2, 4: WRITE4, 8: WRITE8}[size]
    return bytes([opcode, address]) + value.to_bytes(size, "little")


def read(address: int, size: int) -> bytes:
    """Commands that read a register of 1, 2, 4 or 8 bytes."""
    if size == 8:
        return bytes([READ4, address, READ4, address + 4])
    return bytes([{1: READ, 2: READ2, 4: READ4}[size], address])


def command_length(data: bytes) -> int:
    """Bytes of the command that `data` begins with; 0 while it is incomplete."""
    if not data:
        return 0
    length = _LENGTHS.get(data[0], _OTHER)
    if data[0] == WRITE_FIFO:
        length = 3 + data[2] if len(data) > 2 else 3
    return length if len(data) >= length else 0


def answer_length(commands: bytes) -> int:
    """Bytes with which whole commands are answered."""
    total = 0
    while length := command_length(commands):
        total += commands[2] * RECORD.itemsize if commands[0] == READ_FIFO else _ANSWERS.get(commands[0], 0)
        commands = commands[length:]
    return total


def checksums(records: NDArray[np.void]) -> NDArray[np.uint8]:
    """Those that records should have in their last byte, (records,)."""
    raw = records.view(np.uint8).reshape(len(records), RECORD.itemsize)
    found = np.full(len(records), 0b01000110, dtype=np.uint8)
    for column in raw.T[:-1]:
        found = (found ^ ((found << 1) | 1)) ^ column
    return found


def packed(reflected: ArrayLike, transmitted: ArrayLike, index: ArrayLike, full: int) -> bytes:
    """Records of waves (records,): forward is `full`, the others in proportion to it, cut off to whole numbers."""
    records = np.zeros(np.shape(index), dtype=RECORD)
    records["forward"][..., 0] = full
    for name, waves in (("reflected", reflected), ("transmitted", transmitted)):
        parts = np.atleast_1d(np.asarray(waves, dtype=np.complex128)).view(np.float64) * full
        records[name] = np.clip(np.trunc(parts), -(1 << 31), (1 << 31) - 1).reshape(*records.shape, 2)
    records["index"] = index
    records["rest"][..., -1] = checksums(records.reshape(-1)).reshape(records.shape)
    return records.tobytes()
