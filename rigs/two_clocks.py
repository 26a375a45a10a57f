"""Recordings of a converter whose input has another clock than its output: the offset is measured, and taken out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft

Array = NDArray[np.float64]

TAPS = 48  # of the interpolation: its error stays below -80 dB up to 0.4 of the Nyquist frequency
BLOCK = 16_384  # frames interpolated at once


def fractional_lag(sent: Array, received: Array) -> float:
    """Lag in frames, with a fraction, at which `received` holds `sent`: the vertex of the correlation's peak."""
    n = next_fast_len(len(sent) + len(received), real=True)
    found = irfft(rfft(received, n) * np.conj(rfft(sent, n)), n)[: max(3, len(received) - len(sent) + 1)]
    best = int(np.clip(np.abs(found).argmax(), 1, len(found) - 2))
    before, at, after = found[best - 1 : best + 2] * np.sign(found[best])
    curve = before - 2.0 * at + after
    return best + (0.5 * (before - after) / curve if curve != 0 else 0.0)


def resampled(recording: Array, offset: float, ppm: float) -> Array:
    """Frames n at the places `offset + n (1 + ppm / 1e6)` of a recording, (frames, channels), by windowed sinc.

    Returns as many frames as the recording has; what lies outside of it counts as silence.
    """
    reach = TAPS // 2
    padded = np.pad(recording, ((reach + 1, reach + 2), (0, 0)))
    out = np.empty_like(recording)
    offsets = np.arange(1 - reach, reach + 1)
    for first in range(0, len(recording), BLOCK):
        n = np.arange(first, min(first + BLOCK, len(recording)))
        at = np.clip(offset + n * (1.0 + 1e-6 * ppm), -1.0, len(recording))
        whole = np.floor(at).astype(np.int64)
        away = (at - whole)[:, None] - offsets
        weights = np.sinc(away) * _window(away, reach)
        rows = padded[whole[:, None] + offsets + reach + 1]
        out[n] = np.einsum("nt,ntc->nc", weights, rows)
    return out


def _window(away: Array, reach: int) -> Array:
    """Kaiser's window, beta 8, centred on the place itself."""
    return np.asarray(np.i0(8.0 * np.sqrt(np.maximum(0.0, 1.0 - (away / (reach + 1)) ** 2))) / np.i0(8.0))
