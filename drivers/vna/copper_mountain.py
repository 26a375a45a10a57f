"""Copper Mountain analysers, through S2VNA, S4VNA or TRVNA, after their SCPI programming manuals.

The program runs beside the analyser, answers on the port that is set there (5025), and speaks the language of
Keysight's ENA. It sends binary data over HiSLIP alone (S2VNA and S4VNA SCPI Programming Manual, "Transfer of Binary
Data"); over a socket, and from older versions, text has to be asked for, because numbers of text are rounded.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from labtrain.drivers.scpi import Identity, ScpiError
from labtrain.drivers.vna.keysight_ena import KeysightEna
from labtrain.drivers.vna.vna import Frequencies, Sweep, VnaConfig
from labtrain.errors import InstrumentError
from labtrain.limits import Limit


class CopperMountain(KeysightEna):
    """A Copper Mountain analyser."""

    class Config(VnaConfig):
        """Settings of a Copper Mountain analyser."""

        driver: Literal["copper-mountain"] = "copper-mountain"
        transfer: Literal["binary", "text"] = Field(
            "binary", description="text: for a socket, over which it sends no binary data; rounded to its digits"
        )

    EMULATOR = "labtrain.drivers.emulators.vna.copper_mountain:CopperMountain"
    MODELS = r"CMT[^,]*,.*"
    MODELS_TOLD = "Copper Mountain M5xxx, C1xxx, C4xxx, S5xxx, TR1300, through S2VNA, S4VNA, TRVNA"
    TRIED_ON = "emulator; scikit-rf and QCoDeS read the same emulator"

    if_bandwidth_range = Limit(1, 2e6, "Hz")
    points_range = Limit(2, 500_001)

    config: Config

    def _configure(self, frequencies_hz: Frequencies) -> None:
        if self.config.transfer == "binary":
            self._ask_for_binary()
        super()._configure(frequencies_hz)

    def _ask_for_binary(self) -> None:
        self.check_errors()
        why: ScpiError | None = None
        try:
            self.data_format = self.FORMAT[0]
            self.check_errors()
        except ScpiError as error:
            why = error
        if why is not None or self.data_format != self.FORMAT[0]:
            raise InstrumentError(
                f"{self.name}: does not send binary data, which {Identity.parse(self.identity).firmware} may do over "
                f"HiSLIP alone; set {self.link.where} to TCPIP::host::hislip0::INSTR, or rig.{self.link.who}.transfer "
                "to text, which rounds"
            ) from why

    @property
    def FORMAT(self) -> tuple[str, str]:  # type: ignore[override]
        """As configured."""
        return ("REAL" if self.config.transfer == "binary" else "ASC", "SWAP")

    def _ask_frequencies(self) -> Frequencies:
        return super()._ask_frequencies() if self.config.transfer == "binary" else self._ask_text(self.X, 1)

    def _ask_trace(self, question: str) -> Sweep:
        if self.config.transfer == "binary":
            return super()._ask_trace(question)
        trace: Sweep = self._ask_text(question, 2).view("c16")[self._kept]
        return trace

    def _ask_text(self, question: str, each: int) -> Frequencies:
        numbers = self.ask_numbers(question)
        if len(numbers) != each * self._swept:
            raise self.confused(question, f"{len(numbers)} numbers", f"{each * self._swept} numbers")
        return numbers
