"""Mains hum taken out of a recording: fitted where nothing else sounds, before and long after a sweep.

To leave hum's frequencies out instead would cut through resonances that lie on them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from labtrain.rigs.survey.idle import Idle

Array = NDArray[np.float64]

WANDER = 1.5e-3  # share by which mains may have moved since the silence
STEPS = 61
THINNED = 8  # of so many frames one is enough to find the frequency


def without_hum(recording: Array, quiet: Sequence[slice], idle: Idle, rate_hz: float) -> Array:
    """Subtract the harmonics that were heard in silence.

    Parameters
    ----------
    recording : ndarray, (frames, microphones)
    quiet : sequence of slice
        Frames in which nothing but noise and hum is heard: at both ends, so that phases between them are known.
    idle : Idle
        Says which harmonics there are.
    """
    if idle.mains_hz is None:
        return recording
    orders = np.array(sorted({round(line.hz / idle.mains_hz) for line in idle.hum}), dtype=np.float64)
    frames = np.concatenate([np.arange(len(recording))[part] for part in quiet])
    few = frames[::THINNED]
    guess = float(np.median([line.hz / round(line.hz / idle.mains_hz) for line in idle.hum]))
    tried = guess * (1.0 + WANDER * np.linspace(-1.0, 1.0, STEPS))
    left = [_fit(recording[few], few, orders * mains, rate_hz)[1] for mains in tried]
    best = tried[int(np.argmin(left))] * orders
    amplitudes, _ = _fit(recording[frames], frames, best, rate_hz)
    return recording - _waves(np.arange(len(recording)), best, rate_hz) @ amplitudes


def _waves(frames: NDArray[np.int64], hz: Array, rate_hz: float) -> Array:
    turns = 2.0 * np.pi / rate_hz * np.outer(frames, hz)
    return np.concatenate([np.cos(turns), np.sin(turns)], axis=1)


def _fit(heard: Array, frames: NDArray[np.int64], hz: Array, rate_hz: float) -> tuple[Array, float]:
    """Least squares: amplitudes (2 lines, microphones), and the power that is left."""
    waves = _waves(frames, hz, rate_hz)
    amplitudes: Array = np.linalg.solve(waves.T @ waves, waves.T @ heard).astype(np.float64)
    return amplitudes, float(((heard - waves @ amplitudes) ** 2).sum())
