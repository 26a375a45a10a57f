"""OpenSourceRIS at its USB connector: the firmware's parser character by character, with all it does silently.

After the firmware 1.0 and the README (firmware 1.1) of github mheinri/OpenSourceRIS. The interrupt that takes a
character raises it to upper case and then

- at ``!`` or ``?`` begins a command or a request, if nothing is begun and nothing being worked on;
- at a line feed completes what is begun, or else forgets everything;
- stores letters, in commands also digits, ``-`` and ``=``; anything else - a carriage return, a space, a second
  ``!`` - forgets everything, and so does the 129th character of an input buffer that holds 128.

The main loop works on what is complete and clears its flags when the answer is out. Characters that arrive meanwhile
meet the set flags: a command sent before the answer to the last one is lost, and may spoil the next. Nothing that is
not understood has an answer.

A host sees an answer later than it was sent: the FT231 hands it over in packets of 62 bytes, a shorter rest when its
latency timer has run out.
"""

from __future__ import annotations

import math
import re

import numpy as np

from labtrain.clock import Clock
from labtrain.drivers.emulators.emulator import Reply
from labtrain.drivers.emulators.ports import SurfacePort
from labtrain.drivers.metasurface.open_source_ris import BAUD, BITS_PER_BYTE, EMULATED, LATENCY_S
from labtrain.errors import InputError

ELEMENTS = 256
FIFO_BYTES = 128
PACKET_BYTES = 62
CHARACTER_S = BITS_PER_BYTE / BAUD
WORK_S = 2e-4  # decode, shift 16 bits into each of 16 columns, latch
BOOT_S = 0.53  # the Bluetooth module is reset and listened to for 0.33 s, then two pauses of 0.1 s

_STORED = {"!": re.compile("[0-9A-Z=-]"), "?": re.compile("[A-Z]")}
_PATTERN = re.compile(rf"!0X([0-9A-F]{{{ELEMENTS // 4}}})\n")
_PASS_KEY = re.compile(r"!BT-KEY=[0-9]{6}\n")


class OpenSourceRisEmulator:
    """The controller in front of a world.

    Element i is the world's pixel i; elements without a pixel only remember their state.

    Parameters
    ----------
    surface : SurfacePort
    clock : Clock
        Tells how long ago something was begun; read with `timing` alone.
    timing : bool
        Answers take as long as over 115200 baud and an FT231; otherwise they are there at once.
    serial_number : int
        0 to 999.
    supply_v : float
        At the external connector, 0 to 99.99.

    Raises
    ------
    InputError
        If the world has more pixels than the surface has elements.
    """

    def __init__(
        self,
        surface: SurfacePort,
        clock: Clock,
        *,
        timing: bool = False,
        serial_number: int = EMULATED,
        supply_v: float = 9.14,
    ) -> None:
        if surface.n_pixels > ELEMENTS:
            raise InputError(
                f"emulated OpenSourceRIS: asked for {surface.n_pixels} pixels, it has {ELEMENTS} elements; "
                "simulate fewer pixels"
            )
        self.surface, self.clock, self.timing = surface, clock, timing
        self.serial_number, self.supply_v = serial_number, supply_v
        self._digits = "0" * (ELEMENTS // 4)
        self._fifo = ""
        self._begun = ""  # ! or ?
        self._complete = False
        self._work = ""  # ! or ? or boot
        self._ready_s = -math.inf  # end of the work
        self._heard_s = -math.inf  # end of the last character

    def connected(self) -> list[Reply]:
        """Nobody tells a serial device that its port was opened; what was begun is forgotten, by contract."""
        self._forget()
        return []

    def receive(self, data: bytes) -> list[Reply]:
        """Take characters, which follow each other without a gap, and return the answers."""
        now = self._now()
        if not self.timing:
            self._main_loop(math.inf, now)
            self._heard_s = now
        replies: list[Reply] = []
        at = max(now, self._heard_s)
        for code in data:
            at += CHARACTER_S
            replies += self._main_loop(at, now)
            if self._work != "boot":
                self._interrupt(chr(code).upper() if code < 128 else chr(code))
                replies += self._main_loop(at, now)
        self._heard_s = at
        if self._complete and self._begun != self._work:  # completed while another was worked on: its turn comes
            replies += self._main_loop(math.inf, now)
        return replies

    def reboot(self) -> list[Reply]:
        """The supply fails and comes back: the pattern is lost; returns what the controller says then."""
        now = self._now()
        return self._boot(now, now)

    def _now(self) -> float:
        return self.clock.monotonic() if self.timing else 0.0

    # -- the interrupt -------------------------------------------------------------------------------------------

    def _interrupt(self, character: str) -> None:
        if len(self._fifo) >= FIFO_BYTES:
            self._forget_input()
        elif character in "!?" and not self._begun:
            self._begun = character
        elif character == "\n" and self._begun:
            self._fifo += character
            self._complete = True
        elif self._begun and _STORED[self._begun].fullmatch(character):
            self._fifo += character
        else:
            self._forget_input()

    def _forget_input(self) -> None:
        self._fifo, self._begun, self._complete = "", "", False

    # -- the main loop -------------------------------------------------------------------------------------------

    def _main_loop(self, until_s: float, now: float) -> list[Reply]:
        """Finish the work that ends by `until_s` and begin what is complete."""
        replies: list[Reply] = []
        at = until_s
        while not self._work or self._ready_s <= until_s:
            if self._work:
                at = self._ready_s
                if self._begun == self._work:  # also what was begun meanwhile; its characters stay in the buffer
                    self._begun, self._complete = "", False
                self._work = ""
            if not self._complete:
                break
            self._work, message, self._fifo = self._begun, self._fifo, ""
            replies += self._carry_out(message, at, now)
        return replies

    def _carry_out(self, message: str, at: float, now: float) -> list[Reply]:
        command = f"{self._work}{message}"
        if match := _PATTERN.fullmatch(command):
            self._show(match.group(1))
            return self._send("#OK\n", at + WORK_S, now)
        if command == "!RESET\n":
            return self._boot(at, now)
        if _PASS_KEY.fullmatch(command):
            return self._send("#OK\n", at + 2 * BOOT_S, now)
        answers = {
            "?PATTERN\n": f"#0X{self._digits}\n",
            "?SERIALNO\n": f"#SerNo: {self.serial_number:3d}\n",
            "?VEXT\n": f"#{_fixed_point(self.supply_v)} V\n",
        }
        if command in answers:
            return self._send(answers[command], at + WORK_S, now)
        self._forget()
        return []

    def _forget(self) -> None:
        self._forget_input()
        self._work = ""

    def _show(self, digits: str) -> None:
        self._digits = digits
        states = np.unpackbits(np.frombuffer(bytes.fromhex(digits), dtype=np.uint8))
        self.surface.set_pattern(states[: self.surface.n_pixels].astype(np.int64))

    def _boot(self, at: float, now: float) -> list[Reply]:
        self._forget()
        self._show("0" * len(self._digits))
        self._work = "boot"
        banner = (
            f"\nOpen Source RIS\nFirmware version: 1.1\nSerial no.: {self.serial_number:3d}\n"
            "Row count: 16\nColumn count: 16\n\n#READY!\n"
        )
        return self._send(banner, at + BOOT_S, now)

    def _send(self, text: str, at: float, now: float) -> list[Reply]:
        """Send from `at` on, and be busy until it is out; the delays until the host has it."""
        self._ready_s = at + len(text) * CHARACTER_S
        if not self.timing:
            return [(0.0, text.encode("ascii"))]
        replies: list[Reply] = []
        for first in range(0, len(text), PACKET_BYTES):
            packet = text[first : first + PACKET_BYTES].encode("ascii")
            out_s = at + (first + len(packet)) * CHARACTER_S
            timer_s = at + (first + 1) * CHARACTER_S + LATENCY_S
            replies.append(((out_s if len(packet) == PACKET_BYTES else max(out_s, timer_s)) - now, packet))
        return replies


def _fixed_point(volts: float) -> str:
    """As the firmware writes it: all digits cut off, the last one rounded without carrying over."""
    return f"{int(volts / 10) % 10}{int(volts) % 10}.{int(volts * 10) % 10}{round(volts * 100) % 10}"
