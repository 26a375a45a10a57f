"""Sensor and PowerMeter, devices that are only read: numbers by name, each with its unit."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

from labtrain.drivers.device import Device
from labtrain.limits import Limit


class Sensor(Device):
    """A device that tells one number or several and switches nothing: there is nothing to make safe."""

    @property
    @abstractmethod
    def units(self) -> dict[str, str]:
        """Unit of each quantity by its name; empty for a bare number."""

    @property
    def allowed(self) -> dict[str, Limit]:
        """Limits of those quantities that have any, by name."""
        return {}

    @abstractmethod
    def read(self) -> dict[str, float]:
        """All quantities now, by name: finite numbers in :attr:`units`.

        Raises
        ------
        InstrumentError
            If one of them cannot be told; none is left out or made up.
        """

    def outside(self, readings: Mapping[str, float]) -> dict[str, str]:
        """Those of these readings that are not allowed, each as a sentence; nothing is done about them.

        ``{"temperature_c": "temperature_c is 41.2 °C, allowed 15 °C to 30 °C"}``
        """
        limits = self.allowed
        return {
            name: f"{name} is {f'{value:g} {self.units[name]}'.rstrip()}, allowed {limits[name]}"
            for name, value in readings.items()
            if name in limits and not limits[name].low <= value <= limits[name].high
        }


class PowerMeter(Sensor):
    """A sensor that tells watts, and joules where it has an integrator of its own."""

    @abstractmethod
    def power_w(self) -> float:
        """Watts now.

        Raises
        ------
        InstrumentError
        """

    @property
    def counts(self) -> bool:
        """Whether its own integrator tells joules."""
        return False

    def start_counting(self) -> None:
        """Start the integrator; where it has none, or it runs by itself, nothing."""

    def counted_j(self) -> float:
        """Joules that its integrator shows, whatever it began with.

        Raises
        ------
        InstrumentError
            If it has none, or does not tell.
        """
        raise NotImplementedError(f"{self.name} has no integrator")
