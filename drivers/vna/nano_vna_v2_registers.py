"""The registers of a NanoVNA V2 over its serial port: asked for, and brought back in step."""

from __future__ import annotations

from typing import Any

import numpy as np

from labtrain.clock import Clock
from labtrain.drivers.emulators.simulation import written
from labtrain.drivers.instrument import Instrument, InstrumentConfig
from labtrain.drivers.link import Link
from labtrain.drivers.vna import nano_vna_v2_protocol as v2
from labtrain.errors import InstrumentError, LinkDesync, LinkRefused, LinkTimeout

RECORD_S = 0.0125  # 80 points a second below 140 MHz, 100 above
RESET = bytes(10)  # UG1101 says eight, which does not end a write of which the opcode alone was sent

_SYMBOLS = 16
_STALE_BYTES = 1 << 20
_STOP_S = 0.5


class NanoVnaV2Registers(Instrument):
    """An instrument with the registers of a NanoVNA V2.

    Parameters
    ----------
    link : Link
    config : InstrumentConfig
    clock : Clock
    """

    serial = True

    def __init__(self, link: Link, config: InstrumentConfig, clock: Clock) -> None:
        super().__init__(link, config, clock)
        self._fences = 0
        self._stopping = False

    @property
    def _patience_s(self) -> float:
        """Longest silence; a point under way comes first."""
        return (_STOP_S if self._stopping else self.link.timeout_s) + 2 * RECORD_S

    def ask(self, question: str) -> str:
        """Send commands and return the bytes that answer them, both in hexadecimal."""
        return self._ask(bytes.fromhex(question)).hex(" ")

    def tell(self, order: str) -> None:
        """Send commands, in hexadecimal; whether they were followed shows when registers are read."""
        self.link.write(bytes.fromhex(order))

    def _ask(self, commands: bytes, timeout_s: float | None = None) -> bytes:
        with self.link.exchange():
            self.link.write(commands)
            try:
                return self.link.read_exactly(v2.answer_length(commands), timeout_s or self._patience_s)
            except LinkTimeout as error:
                raise self.unanswered(commands[:16].hex(" "), error) from error

    @property
    def emulated(self) -> bool:
        """Whether its hardware revision is the emulator's."""
        return "EMULATOR" in self.identity

    def _identify(self) -> str:
        registers = (v2.VARIANT, v2.PROTOCOL, v2.HARDWARE, v2.FIRMWARE_MAJOR, v2.FIRMWARE_MINOR)
        try:
            answer = self._ask(RESET + bytes([v2.INDICATE]) + b"".join(v2.read(address, 1) for address in registers))
            if answer[0] != v2.INDICATED:
                self.link.dirty = True
                raise LinkDesync(f"{self.name}: asked which protocol it has, got {answer!r}")
        except (LinkTimeout, LinkDesync) as error:
            why = str(error.__cause__ or error).removeprefix(f"{self.name}: ")
            raise LinkRefused(
                f"{self.name}: no NanoVNA V2 answered ({why}); check {self.link.where} and that it is switched on"
            ) from error
        variant, _, hardware, major, minor = answer[1:]
        name = f"NanoVNA V{variant}" + (" EMULATOR" if hardware == v2.EMULATED_HARDWARE else "")
        return f"{name}, hardware {hardware}, firmware {major}.{minor}"

    def _synchronise(self) -> None:
        """Read until bytes come that were asked for in an order that was never asked for before.

        Of two questions without effect one is answered by ``2``, the other by the variant, which is another number.
        """
        self._fences += 1
        number = self._fences * 40_503 + int(self.clock.now() * 1e3) & (1 << _SYMBOLS) - 1
        bits = np.array([number >> n & 1 for n in range(_SYMBOLS)], dtype=bool)
        ones = np.concatenate([bits, ~bits])
        hail = b"".join(bytes([v2.INDICATE]) if one else v2.read(v2.VARIANT, 1) for one in ones)
        self.link.write(RESET + hail)
        last = np.zeros(len(ones), dtype=np.uint8)
        for _ in range(_STALE_BYTES):
            last = np.append(last[1:], np.uint8(self.link.read_exactly(1, self._patience_s)[0]))
            others = last[~ones]
            if (last[ones] == v2.INDICATED).all() and (others == others[0]).all() and others[0] != v2.INDICATED:
                return
        raise LinkDesync(f"{self.name}: talks without being asked; check that no other program uses the port")

    # -- simulation ----------------------------------------------------------------------------------------------

    def simulate_restart(self, seed: int) -> None:
        """Shot 0 again, with this seed for noise and drift: for emulators alone."""
        self._simulate(v2.SEED, seed)

    def simulate_shot(self, shot: int) -> None:
        """The next reading belongs to this shot, whatever came before: for emulators alone, when a shot is repeated."""
        self._simulate(v2.SHOT, shot)

    def simulate_disturb(self, shot: int, name: str, values: dict[str, Any]) -> None:
        """Something happens to the world behind it, from this shot on: for emulators alone."""
        told = written(shot, name, values).encode("utf-8") + b"\0"
        for first in range(0, len(told), 8):  # a register holds so many bytes; the rest of the last one is 0
            self._simulate(v2.DISTURB, int.from_bytes(told[first : first + 8], "little"))

    def _simulate(self, address: int, value: int) -> None:
        if not self.emulated:
            raise InstrumentError(f"{self.name}: asked to simulate, and {self.identity!r} is not an emulator")
        self._ask(v2.write(address, value, 8) + v2.read(v2.PROTOCOL, 1))
