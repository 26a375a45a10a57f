"""Latched shift-register board: a surface driven by shift registers with an output latch, and a microcontroller.

The protocol is this project's own: docs/latched-board.md describes it, ``firmware/latched_board`` beside this file is
a reference firmware for Arduinos, :mod:`~labtrain.drivers.metasurface.latched_frames` its frames.

Every answer repeats number and command of its question, so a late one is told from the one that is awaited, and says
whether the board has restarted since this driver began with it. Changes are answered with a checksum of the pattern
that they were about.
"""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field

from labtrain.clock import Clock
from labtrain.drivers.link import Link
from labtrain.drivers.metasurface.latched_frames import (
    ANSWER,
    CHAIN_RETURNS,
    CRC_BYTES,
    EMULATED,
    HEADER_BYTES,
    LONGEST_PATTERN_BYTES,
    MAX_BITS,
    RESTARTED,
    BoardInfo,
    Command,
    Header,
    Status,
    crc16,
    false_start,
    frame,
    longest_payload,
    pack,
    pattern_bytes,
    unpack,
)
from labtrain.drivers.metasurface.metasurface import LinkedMetasurface, LinkedMetasurfaceConfig, States
from labtrain.errors import InputError, InstrumentError, LinkDesync, LinkError, LinkRefused, LinkTimeout

BAUD = 115_200
BITS_PER_BYTE = 10  # 8N1: start, eight data, stop
LATENCY_S = 0.002  # the USB converters of Arduinos hand a short answer over in the next millisecond or the one after
CHANGE_BYTES = 6  # answer to a change: status, flags, latches, CRC-16 of the pattern
KIND = "latched board"

_ADVICE = {
    Status.BAD_CRC: "check cable and supply",
    Status.BAD_VERSION: "upload firmware and install a labtrain that fit",
    Status.UNKNOWN_COMMAND: "upload the firmware that comes with this labtrain",
    Status.BAD_LENGTH: "check rows, columns and bits",
    Status.BAD_INDEX: "store fewer patterns",
    Status.NOT_STORED: "store the sequence again",
    Status.BAD_PATTERN: "check rows, columns and bits",
}
_ASTRAY = 20_000  # bytes of something else, in search of an answer
_FEWEST_HAILS = 3


class LatchedBoard(LinkedMetasurface):
    """A latched shift-register board on its serial port."""

    class Config(LinkedMetasurfaceConfig):
        """Settings of a latched shift-register board."""

        driver: Literal["latched-board"] = "latched-board"
        rows: int = Field(16, ge=1, le=1024, description="of elements, as the board's firmware has them")
        columns: int = Field(16, ge=1, le=1024, description="of elements, as the board's firmware has them")
        bits: int = Field(1, ge=1, le=MAX_BITS, description="of an element, as the board's firmware has them")
        timeout_s: float = Field(1.0, gt=0, le=3600, description="longest silence before an answer")
        serial_number: int | None = Field(
            None, ge=0, le=0xFFFFFFFF, description="accept this board alone; default: any"
        )

    EMULATOR = "labtrain.drivers.emulators.metasurface.latched_board:LatchedBoardEmulator"
    MODELS_TOLD = "shift registers with an output latch (74HC595) on an Arduino, with labtrain's own firmware"
    TRIED_ON = "emulator, and its firmware on a simulated ATmega328P"
    by_hand = "switch its supply off by hand"
    serial = True
    baud = BAUD
    config: Config

    def __init__(self, link: Link, config: Config, clock: Clock) -> None:
        self.shape, self.bits = (config.rows, config.columns), config.bits
        self._elements = config.rows * config.columns
        self._pattern_bytes = pattern_bytes(self._elements, config.bits)
        self._packed: list[bytes] = []  # the stored sequence
        self._info: BoardInfo | None = None
        self._sequence_number = 0
        self._begun = False  # a restart from here on loses something
        if self._pattern_bytes > LONGEST_PATTERN_BYTES:
            key = f"rig.{link.who}"
            raise InputError(
                f"{link.name}: asked {config.rows} x {config.columns} elements of {_bits(config.bits)}, which are "
                f"{self._pattern_bytes} bytes, allowed up to {LONGEST_PATTERN_BYTES}; set {key}.rows, .columns and "
                ".bits"
            )
        super().__init__(link, config, clock)

    @classmethod
    def fits(cls, identity: str) -> bool:
        return identity.startswith(f"{KIND} ")

    @classmethod
    def emulator_options(cls, config: Config) -> dict[str, Any]:
        return {"rows": config.rows, "columns": config.columns, "bits": config.bits}

    @property
    def write_s(self) -> float:
        return _exchange_s(self._pattern_bytes, CHANGE_BYTES)

    def sequence_s(self, n: int) -> float:
        return n * (_exchange_s(2 + self._pattern_bytes, CHANGE_BYTES) + _exchange_s(2, CHANGE_BYTES))

    @property
    def emulated(self) -> bool:
        """Whether the board says that it is none."""
        return self._info is not None and bool(self._info.features & EMULATED)

    def settings(self) -> dict[str, Any]:
        """What the board said of itself; nothing that could be put back."""
        if self._info is None:
            return {}
        return {
            "firmware": ".".join(map(str, self._info.firmware)),
            "serial_number": self._info.serial_number,
            "sequence_capacity": self._info.capacity,
            "reads": "shift registers" if self._info.features & CHAIN_RETURNS else "memory",
        }

    def ask(self, question: str) -> str:
        """Ask ``COMMAND`` or ``COMMAND payload``, the payload in hex; the answer's payload after status and flags, in
        hex.

        Raises
        ------
        InputError
            If there is no such command, or the payload is not hex.
        InstrumentError
        """
        name, _, digits = question.partition(" ")
        try:
            command, payload = Command[name.upper()], bytes.fromhex(digits)
        except (KeyError, ValueError):
            raise InputError(
                f"{self.name}: asked {question!r}, it understands {', '.join(c.name for c in Command)}, each with a "
                "payload in hex after a space where it has one"
            ) from None
        return self._asked(command, payload).hex()

    def tell(self, order: str) -> None:
        self.ask(order)

    def safe(self) -> None:
        """Set the default pattern, that of the config; on a board of another size, the board's own."""
        self._stored = 0
        if not self.link.is_open:
            return
        if self.link.dirty:
            # The answer to what was broken off may be long in coming: the order goes ahead of it, then is confirmed.
            self.link.send_anyway(self._filler() + frame(Command.SAFE, self._next()))
        self._begun = False  # whether it has restarted makes no difference here
        answer = self._asked(Command.SAFE)  # never taken for a repetition, unlike the next
        if self._info is None or not self._differs(self._info):
            default = self.elements(self._default)
            if int.from_bytes(answer[2:], "big") != crc16(pack(default, self.bits)):
                self._write(default)

    def _write(self, elements: States) -> None:
        self._change(Command.SET, b"", pack(elements, self.bits))

    def _read(self) -> States:
        with self.link.exchange():
            answer = self._asked(Command.READ)
            if len(answer) != 3 + self._pattern_bytes:
                raise self._confused(Command.READ, answer)
        return unpack(answer[3:], self._elements, self.bits)

    def _store(self, elements: States) -> None:
        self._packed = [pack(pattern, self.bits) for pattern in elements]
        for index, packed in enumerate(self._packed):
            self._change(Command.STORE, index.to_bytes(2, "big"), packed)

    def _show(self, index: int) -> None:
        self._change(Command.SHOW, index.to_bytes(2, "big"), self._packed[index], sent=False)

    def _change(self, command: Command, head: bytes, packed: bytes, *, sent: bool = True) -> None:
        """Order something about a pattern, and look whether it was about this one."""
        with self.link.exchange():
            answer = self._asked(command, head + packed if sent else head)
            if len(answer) != CHANGE_BYTES - 2:
                raise self._confused(command, answer)
            if int.from_bytes(answer[2:], "big") != crc16(packed):
                raise LinkDesync(
                    f"{self.name}: asked {command.name}, the board has another pattern than was sent; check cable and "
                    f"supply ({self.link.where})"
                )

    # -- question and answer -------------------------------------------------------------------------------------

    def _next(self) -> int:
        self._sequence_number = (self._sequence_number + 1) % 256
        return self._sequence_number

    def _asked(self, command: Command, payload: bytes = b"") -> bytes:
        """The answer's payload after status and flags.

        Raises
        ------
        InstrumentError
            If the board refuses.
        LinkTimeout, LinkClosed
        LinkDesync
            If something else came, or the board has restarted.
        """
        with self.link.exchange():
            number = self._next()
            self.link.write(frame(command, number, payload))
            try:
                head = self.link.read_exactly(HEADER_BYTES)
                header = Header.parse(head)
                if header is None or (header.command, header.sequence) != (command | ANSWER, number):
                    raise self._confused(command, head)
                rest = self.link.read_exactly(header.length + CRC_BYTES)
            except LinkTimeout as error:
                raise self.unanswered(command.name, error) from error
            if crc16(head[2:] + rest) != 0 or header.length < 2:
                raise self._confused(command, head + rest)
            status, flags, answer = rest[0], rest[1], rest[2:-CRC_BYTES]
            if self._begun and flags & RESTARTED:
                raise LinkDesync(
                    f"{self.name}: restarted before it answered {command.name}, its patterns are lost; open it again, "
                    "and if it does so again, check its supply"
                )
        if status != Status.OK:
            raise self._refused(command, status)
        return answer

    def _confused(self, command: Command, got: bytes) -> LinkDesync:
        got += self.link.drain()
        shown = got.hex(" ") if len(got) <= 24 else f"{got[:24].hex(' ')}... ({len(got)} bytes)"
        return LinkDesync(
            f"{self.name}: asked {command.name}, got {shown}, which is no answer to that; check the cable, and that no "
            f"other program uses the port ({self.link.where})"
        )

    def _refused(self, command: Command, status: int) -> InstrumentError:
        known = status in set(Status)
        told = Status(status).name.replace("_", " ") if known else f"status {status}"
        advice = _ADVICE.get(Status(status), "") if known else "upload the firmware that comes with this labtrain"
        kind = LinkError if status == Status.BAD_CRC else InstrumentError
        return kind(f"{self.name}: asked {command.name}, the board answered {told}; {advice} ({self.link.where})")

    # -- identity and the fence ----------------------------------------------------------------------------------

    def open(self) -> None:
        self._begun = False
        super().open()

    def _identify(self) -> str:
        try:
            answer = self._asked(Command.IDENTIFY)
            info = BoardInfo.parse(answer)
        except (LinkTimeout, LinkDesync, ValueError) as error:
            why = str(error).removeprefix(f"{self.name}: ")
            raise LinkRefused(
                f"{self.name}: no {KIND} answered to IDENTIFY ({why}); check {self.link.where} and that its firmware "
                "is uploaded"
            ) from error
        self._info = info
        self.sequence_capacity = info.capacity
        told = f"{KIND} {info.name!r}, {info.rows} x {info.columns} elements of {_bits(info.bits)}"
        firmware = ".".join(map(str, info.firmware))
        number = f", serial number {info.serial_number}" if info.serial_number else ""
        return f"{told}, firmware {firmware}{number}{', emulated' if self.emulated else ''}"

    def _check_identity(self, identity: str) -> None:
        wanted = self.config.serial_number
        if wanted is not None and (self._info is None or self._info.serial_number != wanted):
            raise InstrumentError(
                f"{self.name}: found {identity}, asked serial number {wanted}; connect that board, or set "
                f"rig.{self.link.who}.serial_number"
            )

    def _prepare(self) -> None:
        info = self._info
        if info is not None and self._differs(info):
            (rows, columns), key = self.shape, f"rig.{self.link.who}"
            raise InstrumentError(
                f"{self.name}: the board has {info.rows} x {info.columns} elements of {_bits(info.bits)}, the "
                f"configuration says {rows} x {columns} of {_bits(self.bits)}; set {key}.rows, .columns and .bits, or "
                "upload a firmware of that size"
            )
        self._asked(Command.BEGIN)
        self._begun = True

    def _differs(self, info: BoardInfo) -> bool:
        return (info.rows, info.columns, info.bits) != (*self.shape, self.bits)

    def _filler(self) -> bytes:
        """More zeros than a frame that was begun may lack, so that the next one is heard whatever came before."""
        longest = longest_payload(self._elements, self.bits)
        if self._info is not None:
            longest = max(longest, self._info.longest_payload)
        return bytes(HEADER_BYTES + longest + CRC_BYTES)

    def _synchronise(self) -> None:
        # Answers come in the order of the questions. Two different questions in turn tell what an earlier program has
        # left on its way, perhaps with the same number, from the answers just asked for: what the first finds late is
        # out of the way before the second is answered.
        hails = max(_FEWEST_HAILS, math.ceil(self.config.open_timeout_s / self.config.timeout_s))
        for hail in range(hails):  # an Arduino may restart when its port is opened, and hears nothing for a second
            number = self._next()
            self.link.write(self._filler() + frame(Command.IDENTIFY, number))
            try:
                self._skip_to(Command.IDENTIFY, number)
                break
            except LinkTimeout:
                if hail == hails - 1:
                    raise
        number = self._next()
        self.link.write(frame(Command.READ, number))
        self._skip_to(Command.READ, number)
        self.link.dirty = False  # a hail that went unheard made it dirty

    def _skip_to(self, command: Command, number: int) -> None:
        """Read until the answer to this has come, whatever comes before it."""
        have = b""
        for _ in range(_ASTRAY):
            have += self.link.read_exactly(HEADER_BYTES - len(have))
            header = Header.parse(have)
            if header is None:
                have = have[false_start(have) :]
            elif (header.command, header.sequence) == (command | ANSWER, number):
                rest = self.link.read_exactly(header.length + CRC_BYTES)
                if crc16(have[2:] + rest) == 0:
                    return
                have = b""
            else:  # another answer: its payload is searched too, for its length may be that of half a frame
                have = have[false_start(have) :]
        raise LinkDesync(f"{self.name}: talks without being asked; check that no other program uses the port")


def _exchange_s(asked: int, answered: int) -> float:
    """How long question and answer with payloads of so many bytes take."""
    frames = 2 * (HEADER_BYTES + CRC_BYTES)
    return (frames + asked + answered) * BITS_PER_BYTE / BAUD + LATENCY_S


def _bits(n: int) -> str:
    return f"{n} bit{'s' if n > 1 else ''}"
