"""Keysight E5080A/B, E5081A and Streamline analysers, whose measurements have numbers: ``CALCulate:MEASure``.

They have the PNA's firmware; after Keysight's VNA help. Measurements from 901 on are defined here, others on the
channel are somebody else's.
"""

from __future__ import annotations

from typing import Literal

from labtrain.drivers.scpi import text
from labtrain.drivers.vna.keysight_pna import KeysightPna
from labtrain.drivers.vna.vna import VnaConfig

FIRST = 901


class KeysightE5080(KeysightPna):
    """A Keysight E5080 or one of its kind."""

    class Config(VnaConfig):
        """Settings of a Keysight E5080."""

        driver: Literal["keysight-e5080"] = "keysight-e5080"

    EMULATOR = "labtrain.drivers.emulators.vna.keysight_e5080:KeysightE5080"
    MODELS = r"Keysight[^,]*,(E508[01][AB]|P50\d\d[AB]|M98\d\dA)"
    MODELS_TOLD = "Keysight ENA E5080A/B, E5081A, Streamline P50xxA/B, M98xxA"
    TRIED_ON = "emulator; a driver for the E5080B of the QCoDeS community reads the same emulator"

    X = f"CALC1:MEAS{FIRST}:X?"
    SELECTED = "SYST:ACT:MEAS?"

    def _define_all(self) -> tuple[str, ...]:
        numbers = range(FIRST, FIRST + len(self.config.s_parameters))
        for number, s in zip(numbers, self.config.s_parameters, strict=True):
            self.tell(f"CALC1:MEAS{number}:DEF '{s}'")
        return tuple(f"CALC1:MEAS{number}:DATA:SDAT?" for number in numbers)

    def _delete_measurements(self) -> list[str]:  # they have numbers
        others = []
        for number in self.ask_as(self._numbers, "SYST:MEAS:CAT? 1"):
            if number >= FIRST:
                self.tell(f"CALC1:MEAS{number}:DEL")
            else:
                others.append(text(self.ask(f"CALC1:MEAS{number}:PAR?")))
        return others

    def _select(self, name: str) -> None:
        """Nothing is selected by the commands above, so there is nothing to put back."""
