"""Frequencies as one uniform sweep, for analysers that have no list of segments: taken as they are, or refused."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from labtrain.drivers.vna.vna import Frequencies
from labtrain.errors import InputError
from labtrain.limits import shown

_TUNED = 1e-6  # of a frequency: nearer than this no such reference oscillator is anyway
_SLACK = 1e-6  # of the resolution, for numbers that were halfway before they were rounded
_LONGER = 50  # times as many points are still an offer
_HALVINGS = 200  # enough for any two floats


class Grid(NamedTuple):
    """A uniform sweep.

    Parameters
    ----------
    start_hz, stop_hz : float
        First and last frequency, both measured.
    points : int
    """

    start_hz: float
    stop_hz: float
    points: int

    @property
    def frequencies_hz(self) -> Frequencies:
        """All of them, (points,)."""
        return np.linspace(self.start_hz, self.stop_hz, self.points)

    def farthest_hz(self, frequencies_hz: Frequencies) -> float:
        """How far that one of the frequencies (points,) is away that is farthest from its place on the grid."""
        return float(np.abs(frequencies_hz - self.frequencies_hz).max())


def contiguous(frequencies_hz: ArrayLike, resolution_hz: float, who: str, remedy: str, *, step_hz: float = 0.0) -> Grid:
    """The uniform sweep on which frequencies lie, one after the other without gaps.

    Parameters
    ----------
    frequencies_hz : array_like, (points,)
        Ascending; each may be half of the resolution away from its place, and where it is the step that is rounded,
        what this adds up to, as long as it is less than a millionth of its own.
    resolution_hz : float
        Of the instrument, in whose multiples it takes the ends.
    who : str
        Name of the instrument, for the error.
    remedy : str
        What to do instead, for the error: ``set rig.frequencies_hz``.
    step_hz : float
        Smallest change of the step, where the instrument is told a step and not the last frequency.

    Raises
    ------
    InputError
        Naming the nearest sweep that would do, and how far the frequencies are from it.
    """
    frequencies = np.asarray(frequencies_hz, dtype=np.float64)
    ends = _rounded(float(frequencies[0]), float(frequencies[-1]), len(frequencies), resolution_hz, step_hz)
    allowed_hz = resolution_hz * (0.5 + _SLACK)
    allowed_hz += min(step_hz / 2 * (len(frequencies) - 1), _TUNED * float(frequencies[0]))
    if ends.farthest_hz(frequencies) <= allowed_hz:
        return ends
    nearest = _nearest(frequencies, resolution_hz, step_hz)
    farthest_hz = nearest.farthest_hz(frequencies)
    if farthest_hz <= allowed_hz:
        return nearest
    raise InputError(
        f"{who}: asked {len(frequencies)} frequencies that are no uniform sweep, and it has no list of single ones; "
        f"the nearest sweep is {nearest.start_hz:.15g} to {nearest.stop_hz:.15g} Hz in {nearest.points} points, which "
        f"moves one of them by {shown(farthest_hz, 'Hz')}{_among(frequencies)}; {remedy}"
    )


def _among(frequencies: Frequencies) -> str:
    """The uniform sweep that has all of them among its points, if there is one that is not much longer."""
    whole = np.round(frequencies).astype(np.int64)
    step = int(np.gcd.reduce(np.diff(whole)))
    points = int((whole[-1] - whole[0]) // step) + 1 if step else 0
    if not 0 < points <= _LONGER * len(whole):
        return ""
    return f"; all of them are among the {points} points of {whole[0]} to {whole[-1]} Hz"


def _nearest(frequencies: Frequencies, resolution_hz: float, step_hz: float) -> Grid:
    """The sweep from which the farthest frequency is least far, before the ends are rounded."""
    from_first = frequencies - frequencies[0]
    places = np.arange(len(frequencies))

    def spread(step: float) -> float:
        rest = from_first - step * places
        return float(rest.max() - rest.min())

    steps = np.diff(frequencies)
    low, high = float(steps.min()), float(steps.max())
    for _ in range(_HALVINGS):  # the spread is convex in the step
        third = (high - low) / 3
        if spread(low + third) <= spread(high - third):
            high -= third
        else:
            low += third
    step = (low + high) / 2
    if step_hz:
        step = min((np.floor(step / step_hz) * step_hz, np.ceil(step / step_hz) * step_hz), key=spread)
    rest = from_first - step * places
    start = float(frequencies[0] + (rest.max() + rest.min()) / 2)
    return _rounded(start, start + float(step) * int(places[-1]), len(frequencies), resolution_hz, step_hz)


def _rounded(start: float, stop: float, points: int, resolution_hz: float, step_hz: float) -> Grid:
    start = round(start / resolution_hz) * resolution_hz
    if step_hz and points > 1:
        return Grid(start, start + round((stop - start) / (points - 1) / step_hz) * step_hz * (points - 1), points)
    return Grid(start, start if points == 1 else round(stop / resolution_hz) * resolution_hz, points)
