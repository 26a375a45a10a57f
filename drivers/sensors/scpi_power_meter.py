"""Power meters, power analysers and power supplies that tell watts over SCPI; joules where they count them.

    power_meter:                                # many supplies: power, or volts and amperes
      driver: scpi-power-meter
      address: TCPIP::10.0.0.8::INSTR
      power: "MEAS:POW?"

    power_meter:                                # Rohde & Schwarz HMC8015, with its integrator
      driver: scpi-power-meter
      address: USB0::0x0AAD::0x0135::123456::INSTR
      prepare: ["CHAN1:MEAS:FUNC P,WH", "INT:STAT ON"]
      power: {ask: "CHAN1:MEAS:DATA?", field: 1}
      energy: {ask: "CHAN1:MEAS:DATA?", field: 2, scale: 3600}      # it counts watt hours
      start_energy: ["INT:RES", "INT:STAR"]

Others ask ``MEAS:POWE? CH1`` (Rigol DP800, Siglent SPD), ``MEAS:POW? (@1)`` (Keysight N6700), ``:NUM:NORM:VAL? 1``
after ``:NUM:NORM:ITEM1 P,1`` (Yokogawa WT300). Orders of `prepare` and `start_energy` are carried out as they stand;
nothing is put back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from labtrain.drivers.sensors.question import Asked, Question
from labtrain.drivers.sensors.scpi_reader import ScpiReader, ScpiReaderConfig
from labtrain.drivers.sensors.sensor import PowerMeter
from labtrain.errors import InstrumentError

Order = Annotated[str, Field(min_length=1, pattern=r"^[ -~]+$")]

USUAL = Question(ask="MEAS:POW?", unit="W")


class ScpiPowerMeter(ScpiReader, PowerMeter):
    """A power meter behind configured questions."""

    class Config(ScpiReaderConfig):
        """Settings of a power meter."""

        driver: Literal["scpi-power-meter"] = "scpi-power-meter"
        power: Asked | None = Field(
            None, description="question for watts; left out: MEAS:POW?, unless volts and amps are asked"
        )
        volts: Asked | None = Field(None, description="question for volts, which times amps makes watts")
        amps: Asked | None = Field(None, description="question for amperes")
        energy: Asked | None = Field(
            None, description="question for the joules of its own integrator (scale: 3600 for watt hours)"
        )
        prepare: tuple[Order, ...] = Field((), description="orders sent when it has been opened, as they stand")
        start_energy: tuple[Order, ...] = Field((), description="orders that start its integrator, as they stand")

        @model_validator(mode="after")
        def _one_way(self) -> ScpiPowerMeter.Config:
            if (self.volts is None) != (self.amps is None):
                raise ValueError("volts and amps make watts together; give both, or power alone")
            if self.power is not None and self.volts is not None:
                raise ValueError("power and volts times amps are two ways to watts; keep one of them")
            if self.start_energy and self.energy is None:
                raise ValueError("start_energy starts an integrator that nothing asks; give the question in energy")
            return self

    EMULATOR = "labtrain.drivers.emulators.sensors:ScpiPowerMeterEmulator"
    MODELS_TOLD = "power meters and power supplies that tell watts, or volts and amperes, over SCPI"
    TRIED_ON = "emulator; pyvisa-sim and sinstruments as power supplies"

    config: Config

    @property
    def questions(self) -> Mapping[str, Question]:
        return self._watts | ({} if self.config.energy is None else {"energy_j": self.config.energy})

    @property
    def _watts(self) -> dict[str, Question]:
        config = self.config
        if config.volts is not None and config.amps is not None:
            return {"voltage_v": config.volts, "current_a": config.amps}
        return {"power_w": config.power or USUAL}

    @property
    def units(self) -> dict[str, str]:
        return {"voltage_v": "V", "current_a": "A", "power_w": "W", "energy_j": "J"}

    def read(self) -> dict[str, float]:
        """``power_w``, and what there is of ``voltage_v``, ``current_a`` and ``energy_j``; errors as of the base."""
        return _with_power(self.asked(self.questions))

    def power_w(self) -> float:
        return _with_power(self.asked(self._watts))["power_w"]

    @property
    def counts(self) -> bool:
        return self.config.energy is not None

    def start_counting(self) -> None:
        for order in self.config.start_energy:
            self.tell(order)
        self.check_errors()

    def counted_j(self) -> float:
        if self.config.energy is None:
            raise InstrumentError(f"{self.name}: has no integrator; set rig.{self.who}.energy to the question for it")
        return self.asked({"energy_j": self.config.energy})["energy_j"]

    def _prepare(self) -> None:
        super()._prepare()
        for order in self.config.prepare:
            self.tell(order)
        self.check_errors()

    def settings(self) -> dict[str, Any]:
        orders = {"prepare": list(self.config.prepare), "start_energy": list(self.config.start_energy)}
        return super().settings() | {name: told for name, told in orders.items() if told}


def _with_power(found: dict[str, float]) -> dict[str, float]:
    return found if "power_w" in found else {"power_w": found["voltage_v"] * found["current_a"], **found}
