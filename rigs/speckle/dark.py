"""The camera without light: dark level and hot pixels; and what its noise says of electrons."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from labtrain.rigs.speckle.light import Array, Light, Mask

FRAMES = 16
HOT = 0.01  # of the full count above the median: a pixel that is hot at this exposure
_SIGMAS = 8.0  # and at least so many standard deviations of all others
_BINS = 40


@dataclass(frozen=True)
class Dark:
    """The camera at one exposure, in counts.

    Parameters
    ----------
    level : ndarray, (pixels,)
    median : float
    hot : ndarray of bool, (pixels,)
    same : bool
        All pixels have one level, so nothing was measured.
    """

    level: Array
    median: float
    hot: Mask
    same: bool


def measure_dark(light: Light) -> Dark:
    """Take dark frames, once; from here on the light has a dark level, and no hot pixels among the good ones."""
    level = light.bench.dark(FRAMES).reshape(-1)
    median = float(np.median(level))
    spread = 1.4826 * float(np.median(np.abs(level - median)))
    hot = level > median + max(HOT * (light.bench.top_count - median), _SIGMAS * spread)
    light.dark, light.good = level, ~hot
    return Dark(level, median, hot, bool(np.ptp(level) == 0))


@dataclass(frozen=True)
class Transfer:
    """The photon transfer of a camera: variance = read_noise^2 + gain * signal.

    J. R. Janesick, Photon Transfer, SPIE Press (2007).

    Parameters
    ----------
    read_noise : float
        Counts.
    gain : float
        Counts of a photo-electron.
    signal, variance : ndarray, (bins,)
        As measured, in counts.
    """

    read_noise: float
    gain: float
    signal: Array
    variance: Array


def photon_transfer(light: Light, first: Array, second: Array) -> Transfer:
    """From two signals (patterns, pixels) of the same patterns: what differs between them is noise."""
    a, b = first[:, light.good].ravel(), second[:, light.good].ravel()
    signal, variance = (a + b) / 2.0, (a - b) ** 2 / 2.0
    order = np.argsort(signal)
    order = order[signal[order] < 0.9 * light.full]  # the noise of a full pixel is gone
    parts = np.array_split(order, min(_BINS, max(2, len(order) // 8)))
    x, y = (np.array([values[part].mean() for part in parts]) for values in (signal, variance))
    read, gain = float(y[0]), 0.0
    for _ in range(5):  # weights are those of the line itself: a variance is known to a share of itself
        weight = 1.0 / np.maximum(read + gain * x, 1e-3 * max(read + gain * float(x[-1]), 1e-12))
        read, gain = (float(v) for v in np.linalg.lstsq(
            np.column_stack([weight, weight * x]), weight * y, rcond=None)[0])  # fmt: skip
    return Transfer(math.sqrt(max(read, 0.0)), max(gain, 0.0), x, y)
