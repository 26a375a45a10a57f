"""96 cells of one bit on shift registers behind an Arduino (R. Blandin, github remi-blandin/metasurface_control).

The protocol is that of ``Arduino_leonardo_code_send_config.ino`` and ``metasurface_control.py``, bytes at 1 Mbaud:

    command, number n of patterns up to 128, n times 12 bytes -> 06    command 0 shows them again and again, others once
    command, more than 128                                    -> 15

The 12 bytes are 12 registers of 8 cells; which cell is which bit is a table of the Python class there. The
acknowledgement comes *before* the registers are clocked, and these have no latch: for eight clocks, some 0.1 ms, the
cells show what passes through. `settle_s` covers that and is 1 ms unless configured.

The board does not say who it is, and cannot be asked what it shows; its answers are two bytes, all alike. What tells
them apart is their order: the fence asks eight questions that change nothing, no pattern (06) and too many (15), in an
order that is another one each time. Older firmware, which has no command byte, answers them in another way.

It opens with a bootloader that swallows what comes in the first two seconds; the driver waits for them.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from labtrain.clock import Clock
from labtrain.drivers.link import Link
from labtrain.drivers.metasurface.metasurface import LinkedMetasurface, LinkedMetasurfaceConfig, States
from labtrain.errors import LabtrainError, LinkDesync, LinkRefused, LinkTimeout

BAUD = 1_000_000
REGISTERS, CELLS = 12, 96
MOST_PATTERNS = 128
ONCE = 1
ACK, NAK = b"\x06", b"\x15"
BOOT_S = 2.0
ROUND_S = 0.002  # a frame of USB each way

NOTHING = bytes([ONCE, 0])
TOO_MANY = b"\xff\xff"
ARE_YOU_EMULATED = b"E\x00"
"""No pattern either, with a command that nobody uses: a board acknowledges it, the emulator repeats the command."""

_IDENTITY = "Arduino shift registers, 96 cells"
_EMULATED = f"{_IDENTITY}, emulated"
_UNFINISHED = bytes(MOST_PATTERNS * REGISTERS)  # completes whatever an earlier program began
_HAIL_S = 0.1

# Position of each cell in the order of the registers, MSB first: the cells are wired alike in every two rows of twelve.
_TWO_ROWS = (1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 16, 17, 12, 15, 14, 13, 19, 18, 23, 20, 21, 22)
POSITION = np.concatenate([np.array(_TWO_ROWS) + first for first in range(0, CELLS, len(_TWO_ROWS))])


class ArduinoShiftRegister(LinkedMetasurface):
    """96 cells behind an Arduino on its USB serial port."""

    class Config(LinkedMetasurfaceConfig):
        """Settings of 96 cells behind an Arduino."""

        driver: Literal["arduino-shift-register"] = "arduino-shift-register"
        timeout_s: float = Field(1.0, gt=0, le=3600, description="longest silence before an answer")
        settle_s: float = Field(
            0.001,
            ge=0,
            le=3600,
            description="wait after a pattern was acknowledged, before anything measures; the cells are clocked in it",
        )

    EMULATOR = "labtrain.drivers.emulators.metasurface.arduino_shift_register:ArduinoShiftRegisterEmulator"
    MODELS_TOLD = "metasurface_control, 8 x 12 cells of 1 bit on shift registers behind an Arduino Leonardo"
    TRIED_ON = "emulator, after its firmware"
    shape = (8, 12)
    bits = 1
    can_read = False
    serial = True
    baud = BAUD
    config: Config

    def __init__(self, link: Link, config: Config, clock: Clock) -> None:
        self._booting = False
        self._fences = 0
        super().__init__(link, config, clock)

    @classmethod
    def fits(cls, identity: str) -> bool:
        return identity.startswith(_IDENTITY)

    @property
    def write_s(self) -> float:
        return (len(_message(np.zeros(CELLS, dtype=np.int64))) + 1) * 10 / BAUD + ROUND_S

    @property
    def emulated(self) -> bool:
        """Whether it answered what a board does not."""
        return self.identity == _EMULATED

    def open(self) -> None:
        self._booting = not self.link.is_open
        super().open()

    def reach(self) -> None:
        self._booting = not self.link.is_open
        super().reach()

    def ask(self, question: str) -> str:
        """Send bytes, given as characters up to 0xFF, and return the answer of one byte."""
        return self._answer(question.encode("latin-1")).decode("latin-1")

    def tell(self, order: str) -> None:
        self._acknowledged(order.encode("latin-1"))

    def _write(self, elements: States) -> None:
        self._acknowledged(_message(elements))

    def _read(self) -> States:
        raise NotImplementedError  # never called, see can_read

    def _check_alive(self) -> None:
        self._acknowledged(NOTHING)

    def _acknowledged(self, message: bytes) -> None:
        with self.link.exchange():
            if (answer := self._answer(message)) != ACK:
                raise LinkDesync(
                    f"{self.name}: asked {message!r}, got {answer!r} instead of {ACK!r}; check the cable, and that no "
                    f"other program uses the port ({self.link.where})"
                )

    def _answer(self, message: bytes) -> bytes:
        with self.link.exchange():
            self.link.write(message)
            try:
                return self.link.read_exactly(1)
            except LinkTimeout as error:
                raise self.unanswered(message.decode("latin-1"), error) from error

    # -- identity and the fence ----------------------------------------------------------------------------------

    def _identify(self) -> str:
        if self._booting and self.canonical is not None:
            self.clock.sleep(BOOT_S)
        self._booting = False
        try:
            with self.link.exchange():
                if self.link.dirty:
                    self.link.resynchronise()
                else:
                    self._challenge()
                answer = self._answer(ARE_YOU_EMULATED)
                if answer not in (ACK, ARE_YOU_EMULATED[:1]):
                    raise LinkDesync(f"{self.name}: asked {ARE_YOU_EMULATED!r}, got {answer!r}")
        except (LinkTimeout, LinkDesync) as error:
            raise LinkRefused(
                f"{self.name}: nothing answered as the firmware Arduino_leonardo_code_send_config with command byte "
                f"does ({_why(error, self.name)}); check {self.link.where} and load that firmware"
            ) from error
        return _IDENTITY if answer == ACK else _EMULATED

    def _check_identity(self, identity: str) -> None:
        """It does not tell more than that it understands."""

    def _synchronise(self) -> None:
        # Whatever was begun is completed, at the cost of a pattern of zeros, and one byte at a time finds out where
        # the next message begins: FF is a command, or the number that is too high.
        if not self._hail():
            self.link.write(_UNFINISHED)
            self.link.drain()
            if not self._hail():
                raise LinkDesync(f"{self.name}: does not answer; check {self.link.where} and that it is plugged in")
        self._challenge()
        self.link.dirty = False  # a hail that was the first half of a question made it dirty

    def _hail(self) -> bool:
        for _ in TOO_MANY:
            self.link.write(TOO_MANY[:1])
            try:
                return self.link.read_exactly(1, _HAIL_S) == NAK
            except LinkTimeout:
                continue
        return False

    def _challenge(self) -> None:
        self._fences += 1
        nays = [True, False, *(bool(self._fences >> bit & 1) for bit in range(6))]
        self.link.write(b"".join(TOO_MANY if nay else NOTHING for nay in nays))
        expected = b"".join(NAK if nay else ACK for nay in nays)
        got = self.link.read_exactly(len(expected))
        if got != expected or (more := self.link.drain()):
            got += more if got == expected else b""
            raise LinkDesync(
                f"{self.name}: asked eight things that need the answers {expected!r}, got {got!r}; check the firmware, "
                f"and that no other program uses the port ({self.link.where})"
            )


def _message(elements: States) -> bytes:
    cells = np.zeros(CELLS, dtype=np.uint8)
    cells[POSITION] = elements
    return bytes([ONCE, 1]) + np.packbits(cells).tobytes()


def _why(error: LabtrainError, name: str) -> str:
    return str(error.__cause__ or error).removeprefix(f"{name}: ").partition(";")[0]
