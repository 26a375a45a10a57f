"""96 cells on shift registers at the USB connector of their Arduino: the sketch, byte by byte.

After ``Arduino_leonardo_code_send_config.ino`` (with command byte) of github remi-blandin/metasurface_control:

- once two bytes are there, they are a command and a number of patterns; more than 128 are refused with 15 and nothing
  else is read;
- then it waits, for as long as it takes, for 12 bytes a pattern, acknowledges with 06, and clocks the patterns into
  the registers one after the other; command 0: again and again, until the next byte is there, of which the last
  pattern is what is seen here;
- a clock moves every register by one cell, most significant bit first, and the cells show it: there is no latch.

A restart loses what was begun, but not what the registers hold; without power they hold nothing.

Beyond the real one, it answers to a question of labtrain whether it is an emulator (see the driver).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from labtrain.clock import Clock
from labtrain.drivers.emulators.emulator import Reply
from labtrain.drivers.emulators.ports import SurfacePort
from labtrain.drivers.metasurface.arduino_shift_register import (
    ACK,
    ARE_YOU_EMULATED,
    BAUD,
    CELLS,
    MOST_PATTERNS,
    NAK,
    POSITION,
    REGISTERS,
    ROUND_S,
)
from labtrain.errors import InputError


class ArduinoShiftRegisterEmulator:
    """The board in front of a world.

    Cell i, row by row, is the world's pixel i; cells without a pixel only remember their state.

    Parameters
    ----------
    surface : SurfacePort
    clock : Clock
    timing : bool
        Answers take as long as over USB; otherwise they are there at once.

    Raises
    ------
    InputError
        If the world has more pixels than there are cells.
    """

    def __init__(self, surface: SurfacePort, clock: Clock, *, timing: bool = False) -> None:
        if surface.n_pixels > CELLS:
            raise InputError(
                f"emulated Arduino shift registers: asked for {surface.n_pixels} pixels, it has {CELLS} cells; "
                "simulate fewer pixels"
            )
        self.surface, self.clock, self.timing = surface, clock, timing
        self._registers: NDArray[np.int64] = np.zeros((REGISTERS, 8), dtype=np.int64)
        self._begun = bytearray()

    def connected(self) -> list[Reply]:
        """A serial device is not told; what was begun is forgotten, by contract."""
        self._begun.clear()
        return []

    def message_length(self, data: bytes) -> int:
        """For those who count messages: two bytes and the patterns that belong to them."""
        length = _length(data)
        return length if 2 <= length <= len(data) else 0

    def receive(self, data: bytes) -> list[Reply]:
        """Take bytes and return the answers."""
        answers: list[bytes] = []
        taken = len(data)
        for code in data:
            self._begun.append(code)
            if len(self._begun) < _length(self._begun):
                continue
            message = bytes(self._begun)
            self._begun.clear()
            if message[1] > MOST_PATTERNS:
                answers.append(NAK)
                continue
            answers.append(ARE_YOU_EMULATED[:1] if message == ARE_YOU_EMULATED else ACK)
            for first in range(2, len(message), REGISTERS):
                self._clock_in(message[first : first + REGISTERS])
        delay_s = taken * 10 / BAUD + ROUND_S if self.timing else 0.0
        return [(delay_s, b"".join(answers))] if answers else []

    def reboot(self) -> list[Reply]:
        """The supply fails and comes back: the port is gone for a moment."""
        self._begun.clear()
        self._registers[:] = 0
        self._show()
        return [(0.0, None)]

    def _clock_in(self, pattern: bytes) -> None:
        bits = np.unpackbits(np.frombuffer(pattern, dtype=np.uint8)).reshape(REGISTERS, 8)
        for bit in bits.T:
            self._registers = np.concatenate([self._registers[:, 1:], bit[:, None].astype(np.int64)], axis=1)
            self._show()

    def _show(self) -> None:
        self.surface.set_pattern(self._registers.ravel()[POSITION][: self.surface.n_pixels])


def _length(begun: bytes | bytearray) -> int:
    """Bytes of the message that has begun so; 2 while they cannot tell."""
    if len(begun) < 2 or begun[1] > MOST_PATTERNS:
        return 2
    return 2 + begun[1] * REGISTERS
