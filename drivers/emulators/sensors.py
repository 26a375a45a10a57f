"""Emulated sensors and power meters that speak SCPI.

The sensor answers the questions that SCPI 1999 (volume 2, MEASure) and its users have for the quantities it knows. The
power meter answers those of power supplies, and a Rohde & Schwarz HMC8015's for its functions and its integrator, as
the user manual of that instrument and programs that use it have them: ``CHAN1:MEAS:FUNC P,WH``, ``CHAN1:MEAS:DATA?``,
``INT:STAT ON``, ``INT:STAR``. Watt hours are those of trapezoids between the times at which it is asked.
"""

from __future__ import annotations

from typing import ClassVar

from labtrain.clock import Clock
from labtrain.drivers.emulators.ports import SensorPort
from labtrain.drivers.emulators.scpi.emulator import ScpiEmulator
from labtrain.drivers.emulators.scpi.status import ScpiError
from labtrain.drivers.emulators.scpi.syntax import Datum
from labtrain.drivers.emulators.scpi.table import Answer, command, query
from labtrain.drivers.emulators.scpi.values import Boolean, Rest, nr3

MEASURE_S = 0.1  # a reading takes about as long as its integration, some periods of the mains

_HARDWARE_MISSING = -241


class _Emulator(ScpiEmulator):
    """A SCPI instrument in front of the quantities of a world.

    Parameters
    ----------
    port : SensorPort
    clock : Clock
    timing : bool
        Readings take :data:`MEASURE_S`; otherwise they are there at once.
    """

    def __init__(self, port: SensorPort, clock: Clock, *, timing: bool = False) -> None:
        self.port, self.timing = port, timing
        super().__init__(clock)

    def told(self, name: str) -> float:
        """A quantity of the world, now."""
        if self.timing:
            self._now_s += MEASURE_S
        try:
            return self.port.read(name)
        except KeyError:
            raise ScpiError(_HARDWARE_MISSING, "Hardware missing") from None


class ScpiSensorEmulator(_Emulator):
    """Tells temperature, humidity, pressure and voltage, as far as the world has them."""

    identity: ClassVar[str] = "labtrain,Sensor,EMULATOR,1.0"

    @query("MEASure[:SCALar]:TEMPerature?")
    def _temperature(self) -> Answer:
        return nr3(self.told("temperature_c"))

    @query("MEASure[:SCALar]:HUMidity?")
    def _humidity(self) -> Answer:
        return nr3(self.told("humidity_percent"))

    @query("MEASure[:SCALar]:PRESsure?")
    def _pressure(self) -> Answer:
        return nr3(self.told("pressure_pa"))

    @query("MEASure[:SCALar]:VOLTage[:DC]?")
    def _voltage(self) -> Answer:
        return nr3(self.told("voltage_v"))


class ScpiPowerMeterEmulator(_Emulator):
    """Tells watts, volts and amperes, and counts watt hours."""

    identity: ClassVar[str] = "labtrain,Power meter,EMULATOR,1.0"

    QUANTITIES: ClassVar[dict[str, str]] = {"P": "power_w", "URMS": "voltage_v", "IRMS": "current_a", "WH": ""}

    def reset(self) -> None:
        self._functions = ["URMS", "IRMS", "P"]
        self._integrator = self._running = False
        self._joules = 0.0
        self._counted_to_s, self._counted_w = 0.0, 0.0

    @query("MEASure[:SCALar]:POWer[:DC]?")
    def _power(self) -> Answer:
        return nr3(self.told("power_w"))

    @query("MEASure[:SCALar]:VOLTage[:DC]?")
    def _voltage(self) -> Answer:
        return nr3(self.told("voltage_v"))

    @query("MEASure[:SCALar]:CURRent[:DC]?")
    def _current(self) -> Answer:
        return nr3(self.told("current_a"))

    @command("CHANnel#:MEASurement:FUNCtions", Rest())
    def _set_functions(self, channel: int, *names: Datum) -> None:
        _only_channel_1(channel)
        chosen = [name.text.upper() for name in names]
        if not chosen:
            raise ScpiError(-109)
        if not set(chosen) <= set(self.QUANTITIES):
            raise ScpiError(-224)
        self._functions = chosen

    @query("CHANnel#:MEASurement:FUNCtions?")
    def _tell_functions(self, channel: int) -> Answer:
        _only_channel_1(channel)
        return ",".join(self._functions)

    @query("CHANnel#:MEASurement:DATA?")
    def _data(self, channel: int) -> Answer:
        _only_channel_1(channel)
        return ",".join(
            nr3(self._watt_hours()) if name == "WH" else nr3(self.told(self.QUANTITIES[name]))
            for name in self._functions
        )

    @command("INTegrator:STATe", Boolean())
    def _set_integrator(self, on: bool) -> None:
        self._count()
        self._integrator, self._running = on, self._running and on

    @query("INTegrator:STATe?")
    def _tell_integrator(self) -> Answer:
        return str(int(self._integrator))

    @command("INTegrator:STARt")
    def _start(self) -> None:
        if not self._integrator:
            raise ScpiError(-221)
        self._counted_to_s, self._counted_w = self.now_s, self.port.read("power_w")
        self._running = True

    @command("INTegrator:STOP")
    def _stop(self) -> None:
        self._count()
        self._running = False

    @command("INTegrator:RESet")
    def _zero(self) -> None:
        self._joules, self._running = 0.0, False

    def _watt_hours(self) -> float:
        self._count()
        return self._joules / 3600

    def _count(self) -> None:
        if self._running:
            power_w = self.port.read("power_w")
            self._joules += (power_w + self._counted_w) / 2 * (self.now_s - self._counted_to_s)
            self._counted_to_s, self._counted_w = self.now_s, power_w


def _only_channel_1(channel: int) -> None:
    if channel != 1:
        raise ScpiError(-114)
