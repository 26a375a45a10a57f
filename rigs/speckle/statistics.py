"""What speckle looks like: contrast, distribution, grains, saturation.

Fully developed, polarised speckle has a contrast C = sigma / mean of 1 and intensities that are distributed as
exp(-I / mean); where M such speckles add up in a pixel - grains, polarisations, wavelengths - C is 1 / sqrt(M)
(J. W. Goodman, Speckle Phenomena in Optics, chapters 3 and 4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from labtrain.rigs.speckle.light import Array, Light, correlation

PATTERNS = 32
LONGEST = 16  # lags of the autocorrelation, pixels
AMPLITUDES = math.sqrt(4.0 / math.pi - 1.0)  # contrast of |E| of one speckle, by Rayleigh's distribution
BINS = np.linspace(0.0, 10.0, 41)  # of I / mean


@dataclass(frozen=True)
class Speckle:
    """Speckle of random patterns, noise taken off unless a name says otherwise.

    Parameters
    ----------
    mean : float
        Counts above the dark level.
    mean_share : float
        Of the full count.
    contrast : float
        Over pixels, of single patterns.
    pooled_contrast, single_contrast : float
        Of the layer's outputs, over outputs, and what one speckle would have there.
    change : float
        Of a pixel from pattern to pattern, rms, as a share of the mean.
    noise : float
        Of a pixel in one frame, rms over pixels, as a share of the mean.
    saturated, expected_saturated : float
        Share of saturated pixels, and what an exponential distribution would have.
    shares : ndarray, (bins,)
        Share of pixels with I / mean in each of BINS, in single frames, with their noise.
    autocorrelation : ndarray, (2, lags)
        Of the intensity along rows and along columns, from lag 0, which is 1.
    grain : (float, float)
        Width at half of that, pixels along rows and along columns.
    in_common : float
        Correlation over pixels between the speckles of two random patterns.
    frame : ndarray, (rows, columns)
        The first frame, counts above the dark level.
    """

    mean: float
    mean_share: float
    contrast: float
    pooled_contrast: float
    single_contrast: float
    change: float
    noise: float
    saturated: float
    expected_saturated: float
    shares: Array
    autocorrelation: Array
    grain: tuple[float, float]
    in_common: float
    frame: Array

    @property
    def summed(self) -> float:
        """M, speckles that add up in a pixel."""
        return 1.0 / self.contrast**2

    @property
    def pooled_summed(self) -> float:
        """The same for an output, about, if it is a mean of amplitudes."""
        return (self.single_contrast / self.pooled_contrast) ** 2


def measure_speckle(light: Light, first: Array, second: Array, change: float) -> Speckle:
    """From two signals (patterns, pixels) of the same random patterns.

    Parameters
    ----------
    change : float
        As :func:`labtrain.rigs.speckle.exposure.refuse_frames_that_stay` gives it.
    """
    a, b = first[:, light.good], second[:, light.good]
    mean = float(a.mean() + b.mean()) / 2.0
    full = light.full
    noise = math.sqrt(float(((a - b) ** 2).mean()) / 2.0) / mean
    shares = np.histogram(a / mean, BINS)[0] / a.size
    between = correlation(a, b)
    auto = _autocorrelation(light, first, second)
    return Speckle(
        mean=mean,
        mean_share=mean / full,
        contrast=_contrast(a, b),
        pooled_contrast=_contrast(light.outputs(first), light.outputs(second)),
        single_contrast=AMPLITUDES if light.parameters.readout == "amplitude" else 1.0,
        change=change,
        noise=noise,
        saturated=float(light.saturated(first + light.dark)[:, light.good].mean()),
        expected_saturated=math.exp(-full / mean),
        shares=shares,
        autocorrelation=auto,
        grain=(_width(auto[0]), _width(auto[1])),
        in_common=float(between[~np.eye(len(between), dtype=bool)].mean()),
        frame=light.plane(first[0]),
    )


def _contrast(a: Array, b: Array) -> float:
    """Standard deviation over mean, over columns, from two frames of each row: their noise is not in it.

    A single column is compared with itself from row to row.
    """
    if a.shape[1] == 1:
        a, b = a.T, b.T
    across = (a - a.mean(axis=1, keepdims=True)) * (b - b.mean(axis=1, keepdims=True))
    return math.sqrt(max(float(across.mean()), 0.0)) / (float(a.mean() + b.mean()) / 2.0)


def _autocorrelation(light: Light, first: Array, second: Array) -> Array:
    """Between two frames of one pattern, along both axes, (2, lags): without the noise of pixels at lag 0."""
    good = light.good
    planes = []
    for signal in (first, second):
        about = np.zeros(signal.shape)
        about[:, good] = signal[:, good] - signal[:, good].mean(axis=1, keepdims=True)
        planes.append(light.plane(about))
    seen = light.plane(good.astype(np.float64))
    found = np.full((2, LONGEST + 1), np.nan)
    for axis in range(2):
        for lag in range(min(LONGEST + 1, seen.shape[axis])):
            ahead, behind = [slice(None)] * 2, [slice(None)] * 2
            ahead[axis], behind[axis] = slice(lag, None), slice(None, seen.shape[axis] - lag)
            pairs = float((seen[tuple(ahead)] * seen[tuple(behind)]).sum())
            product = planes[0][:, *ahead] * planes[1][:, *behind] + planes[1][:, *ahead] * planes[0][:, *behind]
            found[axis, lag] = product.sum() / (2.0 * len(first) * max(pairs, 1.0))
    return np.asarray(found / found[:, :1])


def _width(auto: Array) -> float:
    """Full width at half maximum, straight lines between lags; 1 for a pixel that no neighbour is like.

    Light that is uneven over the frame adds a broad hill, on which grains stand: it is taken off.
    """
    known = auto[np.isfinite(auto)]
    if len(known) == 1:
        return 1.0
    hill = max(0.0, float(np.median(known[len(known) // 2 :]))) if len(known) > 4 else 0.0
    above = (known - hill) / (1.0 - hill) if hill < 1.0 else known
    below = np.flatnonzero(above < 0.5)
    if not len(below):
        return 2.0 * len(known)
    lag = int(below[0])
    return 2.0 * (lag - 1 + float((above[lag - 1] - 0.5) / (above[lag - 1] - above[lag])))
