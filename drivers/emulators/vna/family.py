"""What an instrument family can do: its limits, and the quantities that its commands take and its queries tell."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from labtrain.drivers.emulators.scpi.status import ScpiError
from labtrain.drivers.emulators.scpi.syntax import Datum
from labtrain.drivers.emulators.scpi.values import Number, Parameter

_DECADE = (1, 1.5, 2, 3, 5, 7)


def decades(first_hz: float, last_hz: float) -> tuple[float, ...]:
    """IF bandwidths in steps of 1, 1.5, 2, 3, 5, 7 from the first to the last."""
    steps = (float(f"{step}e{decade}") for decade in range(8) for step in _DECADE)
    return tuple(width for width in steps if first_hz <= width <= last_hz)


@dataclass(frozen=True)
class Family:
    """Limits of an instrument family.

    Parameters
    ----------
    lowest_hz, highest_hz : float
    lowest_dbm, highest_dbm, preset_dbm : float
        Source power.
    if_bandwidths_hz : tuple of float
        Those that exist, ascending; the instrument takes the next one above what it is asked.
    preset_if_bandwidth_hz : float
    most_points : int
        Of a sweep.
    fewest_points : int
        Of a segment.
    most_averages : int
    step_s : float
        To move the source to the next point.
    """

    lowest_hz: float
    highest_hz: float
    lowest_dbm: float
    highest_dbm: float
    preset_dbm: float
    if_bandwidths_hz: tuple[float, ...]
    preset_if_bandwidth_hz: float
    most_points: int
    fewest_points: int = 1
    most_averages: int = 65536
    step_s: float = 30e-6

    def next_if_bandwidth(self, asked_hz: float) -> float:
        """The IF bandwidth the instrument really takes."""
        return next(float(width) for width in self.if_bandwidths_hz if width >= asked_hz)

    @cached_property
    def frequency(self) -> Number:
        return Number(self.lowest_hz, self.highest_hz, unit="HZ")

    @cached_property
    def span(self) -> Number:
        return Number(0, self.highest_hz - self.lowest_hz, unit="HZ")

    @cached_property
    def bandwidth(self) -> Number:
        lowest, highest = self.if_bandwidths_hz[0], self.if_bandwidths_hz[-1]
        return Number(lowest, highest, unit="HZ", default=self.preset_if_bandwidth_hz)

    @cached_property
    def power(self) -> Number:
        return Number(self.lowest_dbm, self.highest_dbm, unit="DBM", default=self.preset_dbm)

    @cached_property
    def points(self) -> Number:
        return Number(1, self.most_points, whole=True, default=201)

    @cached_property
    def averages(self) -> Number:
        return Number(1, self.most_averages, whole=True, default=1)


class OfFamily(Parameter):
    """A quantity whose limits are those of the emulator's own family.

    Parameters
    ----------
    name : str
        Of an attribute of :class:`Family`.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def parse(self, datum: Datum) -> float:  # noqa: ARG002
        raise AssertionError("a table binds its parameters before it parses")

    def bind(self, emulator: type) -> Parameter:
        found: Parameter = getattr(emulator.family, self.name)  # type: ignore[attr-defined]
        return found


FREQUENCY = OfFamily("frequency")
SPAN = OfFamily("span")
BANDWIDTH = OfFamily("bandwidth")
POWER = OfFamily("power")
POINTS = OfFamily("points")
AVERAGES = OfFamily("averages")
SWEEP_TIME = Number(0, 86400.0, unit="S")
SLOPE = Number(-2, 2, default=0)  # in dB a GHz


def told(limit: str, number: Number, value: float) -> float:
    """The answer to a query that may ask for a limit instead of the value."""
    return number.show({"MIN": number.low, "MAX": number.high}.get(limit, value))


def within(number: Number, value: float) -> float:
    """A value that came in a list.

    Raises
    ------
    ScpiError
        -222
    """
    if not number.low <= value <= number.high:
        raise ScpiError(-222)
    return value
