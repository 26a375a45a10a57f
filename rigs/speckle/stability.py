"""How long speckle stays as it is, and how far an input moves it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from labtrain.rigs.speckle.light import Array, Light, correlation

SHOTS = 1024  # for which one pattern is watched
KEPT = 64  # frames of them
STABLE = 0.95  # correlation until which speckle counts as the same
_SURE = 3.0  # standard deviations of a decay that is told
_LEAST = 5e-4  # decay over the whole watch that frames of so few grains may show by chance
REPEATS = 4
FRAMES = 4


@dataclass(frozen=True)
class Watch:
    """One pattern, shown again and again.

    Parameters
    ----------
    lag_shots, lag_s, correlation, pairs : ndarray, (lags,)
        Shots and seconds between two frames, the mean correlation of such pairs, and how many there were.
    repeatability : float
        Correlation of two frames without any time between them, less than 1 because of their noise.
    decay : float
        Of the correlation, per shot: exp(-decay n); 0 if none is seen.
    sigma : float
        Standard deviation of the decay by the scatter of the correlations.
    shot_s : float
        What a shot took.
    """

    lag_shots: Array
    lag_s: Array
    correlation: Array
    pairs: Array
    repeatability: float
    decay: float
    sigma: float
    shot_s: float

    @property
    def eps(self) -> float:
        """Of T(t + 1) = sqrt(1 - eps^2) T(t) + eps N, after which speckle correlates by (1 - eps^2)^n."""
        return math.sqrt(-math.expm1(-self.decay))

    @property
    def stable_shots(self) -> float:
        """Until the correlation is down to STABLE; at least so many where no decay is seen."""
        return -math.log(STABLE) / (self.decay or max(_SURE * self.sigma, _LEAST / float(self.lag_shots[-1])))

    @property
    def stable_s(self) -> float:
        return self.stable_shots * self.shot_s


def watch(light: Light, shots: int, rng: np.random.Generator) -> Watch:
    """Show one random pattern for so many shots, and compare its frames."""
    drive = light.random(1, rng)
    kept = min(KEPT, shots)
    firsts = np.unique(np.linspace(0, shots - 1, kept).astype(int))
    frames, began_s, at = [], [], 0
    clock = light.bench.clock
    for first in firsts:
        if first > at:  # shown, and not looked at
            light.counts(np.repeat(drive, first - at, axis=0))
        began_s.append(clock.monotonic())
        frames.append(light.signal(drive)[0, light.good])
        at = int(first) + 1
    z = np.array(frames)
    z -= z.mean(axis=1, keepdims=True)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    i, j = np.triu_indices(len(firsts), 1)
    lag, between = firsts[j] - firsts[i], np.array(began_s)[j] - np.array(began_s)[i]
    pair = (z @ z.T)[i, j]
    edges = np.unique(np.rint(np.geomspace(max(1, lag.min()), lag.max() + 1, 20)).astype(int))
    bins = np.digitize(lag, edges)
    used = np.unique(bins)
    lags, seconds, mean = (np.array([v[bins == b].mean() for b in used]) for v in (lag, between, pair))
    return _fitted(lags, seconds, mean, np.array([(bins == b).sum() for b in used]), lag, pair)


def _fitted(lags: Array, seconds: Array, mean: Array, pairs: Array, lag: Array, pair: Array) -> Watch:
    """Least squares of r exp(-decay n) to all pairs."""

    def solved(decay: float) -> tuple[float, float]:
        curve = np.exp(-decay * lag)
        r = float(curve @ pair / (curve @ curve))
        return r, float(((pair - r * curve) ** 2).sum())

    grid = np.geomspace(1e-7, 1.0, 141)
    best = min(grid, key=lambda decay: solved(decay)[1])
    fine = minimize_scalar(
        lambda log: solved(math.exp(log))[1],
        bounds=(math.log(best) - 0.2, math.log(best) + 0.2),
        method="bounded",
        options={"xatol": 1e-5},
    )
    decay = math.exp(float(fine.x))
    r, rest = solved(decay)
    # Pairs share their frames: about as many are independent as there are frames.
    independent = math.sqrt(2.0 * len(pair))
    slope = r * lag * np.exp(-decay * lag)
    slope -= np.exp(-decay * lag) * (slope @ np.exp(-decay * lag)) / (np.exp(-2.0 * decay * lag)).sum()
    spread = math.sqrt(rest / len(pair) / max(float(slope @ slope), 1e-300))
    sigma = spread * math.sqrt(len(pair) / independent)
    if decay < _SURE * sigma or decay * lag.max() < _LEAST:
        decay, r = 0.0, float(pair.mean())
    return Watch(lags, seconds, mean, pairs, r, decay, sigma, float((seconds / lags).mean()))


@dataclass(frozen=True)
class Cells:
    """Speckle before and after some inputs change by half of their range.

    Parameters
    ----------
    changed : ndarray, (numbers,)
        How many, from 1 to all.
    correlation : ndarray, (numbers, repeats)
        Of the speckle, free of noise.
    expected : ndarray, (numbers,)
        If all inputs have the same share of the light and nothing else is on the camera.
    one : float
        What a single input changes in a pixel, rms, as a share of the mean.
    """

    changed: Array
    correlation: Array
    expected: Array
    one: float


def change_cells(light: Light, contrast: float, rng: np.random.Generator) -> Cells:
    """Change 1, 2, 4, ... and all inputs of a random pattern, each time other ones."""
    n, levels = light.n_in, light.bench.levels
    changed = np.unique([*(2 ** np.arange(int(math.log2(n)) + 1)), n])
    base = light.random(1, rng)[0]
    moved = (np.rint(base * (levels - 1)) + levels // 2) % levels / (levels - 1)
    drives = [base]
    for count in changed:
        for _ in range(REPEATS):
            which = rng.permutation(n)[:count]
            drives.append(base.copy())
            drives[-1][which] = moved[which]
    first, second = light.twice(np.array(drives), FRAMES)
    found = correlation(first[:, light.good], second[:, light.good])[0, 1:].reshape(len(changed), REPEATS)
    shown = np.array(drives)
    field = np.exp(1j * light.parameters.phase_range_rad * shown) if light.phase else shown + 0j
    overlap = np.abs(field[1:] @ field[0].conj()) ** 2
    power = (np.abs(field) ** 2).sum(axis=1)
    expected = (overlap / (power[1:] * power[0])).reshape(len(changed), REPEATS).mean(axis=1)
    one = contrast * math.sqrt(2.0 * max(1.0 - float(found[0].mean()), 0.0))
    return Cells(changed.astype(np.float64), found, expected, one)
