"""Any instrument that tells numbers when it is asked: thermometers, hygrometers, multimeters, baths.

    sensor:
      driver: scpi-sensor
      address: tcp://10.0.0.7:5025
      quantities:
        temperature_c: {ask: "MEAS:TEMP?", unit: °C, allowed: [15, 30]}
        pressure_pa: {ask: "MEAS:PRES?", unit: Pa, scale: 100}    # it tells hectopascal

Which questions there are says its manual. With ``ieee_488: false`` also instruments that do not speak SCPI, as long as
a question is a line of text and so is its answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from labtrain.drivers.sensors.question import Asked, Question
from labtrain.drivers.sensors.scpi_reader import ScpiReader, ScpiReaderConfig


class ScpiSensor(ScpiReader):
    """A sensor, or several in one instrument, behind configured questions."""

    class Config(ScpiReaderConfig):
        """Settings of a sensor."""

        driver: Literal["scpi-sensor"] = "scpi-sensor"
        quantities: dict[str, Asked] = Field(
            {"temperature_c": "MEAS:TEMP?"},
            min_length=1,
            validate_default=True,
            description="what is read, by name: a question, or a mapping with ask, unit, field, suffix, scale, offset, "
            "allowed",
        )

    EMULATOR = "labtrain.drivers.emulators.sensors:ScpiSensorEmulator"
    MODELS_TOLD = "thermometers, multimeters and others that tell numbers over SCPI or in lines of text"
    TRIED_ON = "emulator; pyvisa-sim, sinstruments and lewis (Julabo bath) as instruments"

    config: Config

    @property
    def questions(self) -> Mapping[str, Question]:
        return self.config.quantities
