"""Frequencies that lie on no uniform grid, as a table of segments."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Segments(NamedTuple):
    """A segment table, and which of the points it sweeps were asked for.

    Parameters
    ----------
    rows : list of (start_hz, stop_hz, points)
    kept : ndarray of int, (frequencies,)
        Indices into the points of a sweep.
    points : int
        Of a sweep.
    """

    rows: list[tuple[float, float, int]]
    kept: NDArray[np.intp]
    points: int


def segments_of(frequencies_hz: NDArray[np.float64], fewest_points: int) -> Segments:
    """Segments that meet all frequencies, in order and without an overlap.

    Parameters
    ----------
    frequencies_hz : ndarray, (points,)
        Ascending.
    fewest_points : int
        Of a segment, 1 or 2. Where it is 2, neighbours share a segment; one that is left over is swept twice, of which
        the first is kept.
    """
    frequencies = [float(frequency) for frequency in frequencies_hz]
    if fewest_points == 1:
        rows = [(frequency, frequency, 1) for frequency in frequencies]
        return Segments(rows, np.arange(len(rows)), len(rows))
    pairs = [*zip(frequencies[::2], frequencies[1::2], strict=False)]
    if len(frequencies) % 2:
        pairs.append((frequencies[-1], frequencies[-1]))
    return Segments([(first, second, 2) for first, second in pairs], np.arange(len(frequencies)), 2 * len(pairs))
