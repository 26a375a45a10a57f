"""The exposure at which speckle fills the camera's range as it should, and whether there is any speckle at all."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from labtrain.errors import InputError, MeasurementError
from labtrain.rigs.speckle.dark import FRAMES as DARK_FRAMES
from labtrain.rigs.speckle.light import NAME, Array, Light

LONGEST_S, SHORTEST_S = 10.0, 1e-7
SPAN = 1000.0  # either way from the exposure as it was, if no bounds are given
PATTERNS = 8
TOLERANCE = 0.05  # of the mean, relative
_MOST = 40
_CLIPPED = 0.02  # share of saturated pixels above which a mean says little
_LIGHT = 5.0  # standard deviations above dark frames that are light
_FAINTEST = 0.1  # counts: dark levels wander by themselves
FAINT = 1e-4  # of the full count: less is no light
CHANGE = 0.02  # of the mean, from pattern to pattern, below which frames do not change


@dataclass(frozen=True)
class Goal:
    """What an exposure should do.

    Parameters
    ----------
    mean : float
        Mean of the speckle over random patterns, as a share of the full count.
    saturated : float, optional
        Share of saturated pixels, instead of the mean.
    """

    mean: float = 0.1
    saturated: float | None = None

    def __post_init__(self) -> None:
        if not 0.0 < self.mean < 1.0:
            raise InputError(f"--mean {self.mean:g}: allowed above 0 and below 1, as a share of the full count")
        if self.saturated is not None and not 0.0 < self.saturated < _CLIPPED:
            raise InputError(f"--saturated {self.saturated:g}: allowed above 0 and below {_CLIPPED:g}, a share of all")

    def reached(self, signal: Array, full: float, saturated: float) -> float:
        """What of the goal signals reach, about proportional to the exposure: 1 where it is right."""
        if self.saturated is None:
            return float(signal.mean()) / (self.mean * full)
        if saturated > self.saturated:  # of exponentially distributed intensities exp(-full / mean) are above full
            return math.log(self.saturated) / math.log(saturated)
        return float(np.quantile(signal, 1.0 - self.saturated)) / full

    def told(self) -> str:
        if self.saturated is None:
            return f"a mean of {100 * self.mean:g} % of the full count"
        return f"{100 * self.saturated:g} % of the pixels saturated"


@dataclass(frozen=True)
class Exposure:
    """What was tried, and found.

    Parameters
    ----------
    before_s, exposure_s : float
        As it was set, and as found.
    tried : ndarray, (tries, 3)
        Exposure in seconds, mean above dark as a share of the full count, saturated share.
    """

    before_s: float
    exposure_s: float
    tried: Array


def find_exposure(light: Light, goal: Goal, bounds_s: tuple[float, float] | None, rng: np.random.Generator) -> Exposure:
    """Search for an exposure, and set it; the light knows a dark level, of whichever exposure.

    Parameters
    ----------
    bounds_s : (float, float), optional
        Shortest and longest allowed; default: a factor of 1,000 either way, as far as the camera goes.

    Raises
    ------
    InputError
        If the bounds cannot be, or the camera does not have them.
    MeasurementError
        If no light arrives, or no exposure within the bounds is right.
    """
    before = light.exposure_s
    low, high = bounds_s or (max(before / SPAN, SHORTEST_S), min(before * SPAN, LONGEST_S))
    if not (0.0 < low < high and math.isfinite(high)):
        raise InputError(f"--exposure {low:g} {high:g}: needs two rising times above 0, in seconds")
    dim, bright = low, high  # the right one lies between
    asked, tried = min(max(before, low), high), list[tuple[float, float, float]]()
    for _ in range(_MOST):
        try:
            exposure = light.bench.expose(asked)
        except InputError:
            if bounds_s is not None or not tried:
                raise
            asked = math.sqrt(asked * tried[-1][0])  # the camera's bound lies between
            low, high = (asked, high) if asked < tried[-1][0] else (low, asked)
            continue
        mean, saturated, reached = _look(light, goal, rng)
        tried.append((exposure, mean, saturated))
        clipped = saturated > _CLIPPED
        same = len(tried) > 1 and exposure == tried[-2][0]  # the camera rounds to it, whatever is asked
        if not clipped and (abs(reached - 1.0) <= TOLERANCE or (same and 0.5 < reached < 2.0)):
            return Exposure(before, exposure, np.array(tried))
        if clipped or reached > 1.0:
            bright = min(bright, exposure)
            if exposure <= low * (1.0 + TOLERANCE):
                raise _too_bright(exposure, mean, saturated)
            # Of exponentially distributed intensities exp(-full / mean) are above the full count.
            factor = goal.mean * -math.log(saturated) if clipped else 1.0 / reached
            factor = min(max(factor, 0.1), 0.5 if clipped else 1.0) if saturated < 0.9 else 0.1
        else:
            dim = max(dim, exposure)
            if exposure >= high / (1.0 + TOLERANCE):
                raise _too_dark(light, exposure, goal, rng)
            factor = min(1.0 / reached if reached > 0 else 10.0, 10.0)
        asked = min(max(exposure * factor, low), high)
        if low < asked < high and not dim < asked < bright:
            asked = math.sqrt(dim * bright)
    raise MeasurementError(
        f"{NAME}: no exposure from {low:.2g} to {high:.2g} s gives {goal.told()}: near {asked:.2g} s the mean changes "
        f"between {min(t[1] for t in tried[-6:]):.2g} and {max(t[1] for t in tried[-6:]):.2g} of the full count; is "
        "the light steady?"
    )


def _look(light: Light, goal: Goal, rng: np.random.Generator) -> tuple[float, float, float]:
    """Mean as a share of the full count, saturated share, and what of the goal is reached, of random patterns."""
    usable = light.good & (light.dark < light.bench.top_count - light.full / 2.0)  # not full in the dark
    if not usable.any():
        return 1.0, 1.0, math.inf
    counts = light.counts(light.random(PATTERNS, rng))[:, usable]
    saturated, signal = float(light.saturated(counts).mean()), counts - light.dark[usable]
    return float(signal.mean()) / light.full, saturated, goal.reached(signal, light.full, saturated)


def _too_bright(exposure_s: float, mean: float, saturated: float) -> MeasurementError:
    what = f"{100 * saturated:.0f} % of the pixels are saturated" if saturated > _CLIPPED else f"the mean is {mean:.2g}"
    return MeasurementError(
        f"{NAME}: too bright: at the shortest exposure allowed, {exposure_s:.2g} s, {what}; attenuate the light, or "
        "allow shorter ones with --exposure LOW HIGH"
    )


def _too_dark(light: Light, exposure_s: float, goal: Goal, rng: np.random.Generator) -> MeasurementError:
    try:
        dark = light.bench.dark(DARK_FRAMES).reshape(-1)  # of this exposure
    except InputError:
        dark = light.dark  # of a file, and of another exposure
    signal = (light.counts(light.random(PATTERNS, rng)) - dark)[:, light.good]
    mean = float(signal.mean())
    spread = 1.4826 * float(np.median(np.abs(signal - np.median(signal))))
    least = max(_LIGHT * spread / math.sqrt(signal.shape[1]), _FAINTEST)  # the dark frame has noise too
    if mean <= least:
        return MeasurementError(
            f"{NAME}: no light reaches the camera: at the longest exposure allowed, {exposure_s:.2g} s, its frames are "
            f"dark frames within {least:.2g} counts; is the laser on, the shutter open, the fibre coupled?"
        )
    return MeasurementError(
        f"{NAME}: too dark: at the longest exposure allowed, {exposure_s:.2g} s, the mean of the speckle is "
        f"{100 * mean / light.full:.2g} % of the full count, wanted {goal.told()}; turn the laser up, or allow longer "
        "ones with --exposure LOW HIGH"
    )


def refuse_frames_that_stay(light: Light, first: Array, second: Array) -> float:
    """By how much pixels change from pattern to pattern, rms over pixels, as a share of the mean; free of noise.

    Parameters
    ----------
    first, second : ndarray, (patterns, pixels)
        Signals of the same patterns.

    Raises
    ------
    MeasurementError
        If there is no light, or they do not change.
    """
    mean = float(first[:, light.good].mean())
    if mean < max(_FAINTEST, FAINT * light.full):
        raise MeasurementError(
            f"{NAME}: no light reaches the camera: at an exposure of {light.exposure_s:.2g} s its frames are "
            f"{mean:.2g} counts above dark frames; is the laser on, the shutter open, the fibre coupled?"
        )
    a, b = (signal[:, light.good] - signal[:, light.good].mean(axis=0) for signal in (first, second))
    variance = (a * b).sum(axis=0) / (len(a) - 1)  # of each pixel; two frames share no noise
    unsure = float(variance.std()) / math.sqrt(len(variance))
    change = math.sqrt(max(float(variance.mean()), 0.0)) / mean
    if change < CHANGE or float(variance.mean()) < 3.0 * unsure:
        raise MeasurementError(
            f"{NAME}: frames do not change with the pattern: light arrives, {100 * mean / light.full:.2g} % of the "
            f"full count, and from pattern to pattern it changes by {100 * change:.2g} % of its mean; is the "
            "modulator's shutter closed, other light on the camera, or the modulator not written to?"
        )
    return change
