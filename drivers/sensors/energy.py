"""EnergyMeter, joules from a power meter: by its own integrator, or watts integrated over time.

Between two samples the power is not known. Trapezoids between samples at :math:`t_i` give

    E = sum_i (P_i + P_i+1) / 2 (t_i+1 - t_i),      |error| <= sum_i |P_i+1 - P_i| / 2 (t_i+1 - t_i)

where the bound holds if the power only rises or only falls from one sample to the next: then the true energy of an
interval lies between those of two rectangles. What comes and goes between samples is not seen, nor is the
instrument's own accuracy in it.
"""

from __future__ import annotations

from typing import Protocol

from labtrain.clock import Clock
from labtrain.errors import InstrumentError


class TellsPower(Protocol):
    """What is needed of a :class:`labtrain.drivers.sensors.sensor.PowerMeter`."""

    @property
    def name(self) -> str: ...
    @property
    def counts(self) -> bool: ...
    def power_w(self) -> float: ...
    def start_counting(self) -> None: ...
    def counted_j(self) -> float: ...


class EnergyMeter:
    """Joules since :meth:`start`.

    Parameters
    ----------
    meter : PowerMeter
        Open. One with an integrator of its own is asked for joules, any other for watts.
    clock : Clock

    Attributes
    ----------
    joules : float
        From the start to the latest sample.
    error_j : float
        Bound of what sampling may have missed, see above; 0 where the instrument counts.
    samples : int
        The start's included.
    longest_gap_s : float
        Between two samples.
    """

    def __init__(self, meter: TellsPower, clock: Clock) -> None:
        self._meter, self._clock = meter, clock
        self.joules = self.error_j = self.longest_gap_s = 0.0
        self.samples = 0
        self._latest = (0.0, 0.0)  # seconds; watts, or joules where the instrument counts

    @property
    def method(self) -> str:
        """``counted`` by the instrument, or ``trapezoid``."""
        return "counted" if self._meter.counts else "trapezoid"

    def start(self) -> None:
        """Take the first sample; what was before counts no more.

        Raises
        ------
        InstrumentError
        """
        self.joules = self.error_j = self.longest_gap_s = 0.0
        self.samples = 0
        if self._meter.counts:
            self._meter.start_counting()
        self._latest = self._sampled()
        self.samples = 1

    def sample(self) -> float:
        """Take a sample; joules so far.

        Raises
        ------
        InstrumentError
            If the meter does not tell: a later sample bridges the gap, and the error says by how much. Or if its
            integrator counted backwards: somebody reset it, and what it had counted until then is lost.
        """
        if not self.samples:
            raise InstrumentError(f"{self._meter.name}: energy was asked for before its measurement was started")
        before_s, before = self._latest
        now_s, now = self._sampled()
        self._latest, self.samples = (now_s, now), self.samples + 1
        gap_s = now_s - before_s
        self.longest_gap_s = max(self.longest_gap_s, gap_s)
        if not self._meter.counts:
            self.joules += (before + now) / 2 * gap_s
            self.error_j += abs(now - before) / 2 * gap_s
        elif now < before:
            raise InstrumentError(
                f"{self._meter.name}: its integrator counted {before:g} J and then {now:g} J, so it was reset in "
                "between; leave it alone while a run measures"
            )
        else:
            self.joules += now - before
        return self.joules

    def _sampled(self) -> tuple[float, float]:
        """When, and what: in the middle of question and answer."""
        asked_s = self._clock.monotonic()
        value = self._meter.counted_j() if self._meter.counts else self._meter.power_w()
        return (asked_s + self._clock.monotonic()) / 2, value
