"""Full pixels: how many there are, and which exposure would leave few."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labtrain.limits import shown
from labtrain.sim.optical import OpticalWorld

PATTERNS = 4  # that a simulated bench is asked for
MOST_LOOKS = 12
TOLD = 0.002  # share of full pixels that is told: twice that of an exposure that fits
FULL = 0.002  # of the range below the top count: there a pixel is full too, for what reads out a full well has noise
MARGIN = 0.8  # of the exposure at which just as many pixels as allowed are full
BLIND = 0.1  # of the exposure, where too many pixels are full to tell


def ceiling(top_count: float, full: float) -> float:
    """Counts from which a pixel is full; `full` are those from the dark level to the top one."""
    return float(top_count - max(0.5, FULL * full))


def full_pixels(frames: NDArray[Any], top_count: int) -> int:
    """Pixels that are full in at least one of the frames (n, rows, columns)."""
    return int((frames >= ceiling(top_count, top_count)).any(axis=0).sum())


def too_bright(world: OpticalWorld) -> str:
    """How many pixels of a simulated bench random patterns fill, and what would do; empty if few are full."""
    p = world.parameters
    patterns = world.pattern(np.random.default_rng(0).random((PATTERNS, world.n_in)))

    def look(exposure_s: float) -> tuple[float, float]:
        """Share of full pixels at an exposure, and one that would do."""
        frames = world.frames(patterns, 0, exposure_s=exposure_s, noisy=False)
        full = float((frames >= ceiling(p.top_count, p.top_count)).mean())
        return full, fitting_exposure(frames, float(p.offset_counts), p.top_count, exposure_s)

    full, fits_s = look(p.exposure_s)
    if full <= TOLD:
        return ""
    for _ in range(MOST_LOOKS):  # where most pixels are full one look does not tell
        still, less_s = look(fits_s)
        if still <= TOLD:
            break
        fits_s = less_s
    return (
        f"{100 * full:.2g} % of the pixels are full at an exposure of {shown(p.exposure_s, 's')}, about "
        f"{shown(float(f'{fits_s:.2g}'), 's')} would do"
    )


def fitting_exposure(frames: NDArray[Any], dark: NDArray[Any] | float, top_count: int, exposure_s: float) -> float:
    """Exposure at which one pixel in a thousand of speckle would be full, less a margin, from frames at another one.

    Intensities of speckle are distributed exponentially: of pixels above a share q of all, the least bright has -ln q
    times the mean. So the mean follows from any quantile that is not full itself; the brightest such one is taken, for
    what is not quite speckle. The estimate is rough where most pixels are full.

    Parameters
    ----------
    frames : ndarray, (n, rows, columns)
    dark : ndarray, (rows, columns), or a number
        Counts without light.
    top_count : int
    exposure_s : float
        Of the frames.
    """
    light = np.sort((np.asarray(frames, dtype=np.float64) - dark).ravel())
    full = float(np.mean(np.asarray(frames) >= ceiling(top_count, top_count)))
    room = top_count - float(np.mean(dark))
    share = max(2.0 * full, 0.001)  # above the quantile that is looked at
    if share >= 0.9:
        return BLIND * exposure_s
    quantile = float(light[min(int((1.0 - share) * len(light)), len(light) - 1)])
    if quantile <= 0:
        return exposure_s
    mean = quantile / -math.log(share)
    return MARGIN * exposure_s * room / (mean * -math.log(0.001))
