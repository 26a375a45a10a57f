"""Recordings of a converter whose input has another clock than its output: the offset is measured, and taken out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft

Array = NDArray[np.float64]

TAPS = 48  # of the interpolation: its error stays below -80 dB up to 0.4 of the Nyquist frequency
BLOCK = 16_384  # frames interpolated at once


def fractional_lag(sent: Array, received: Array) -> float:
    """Lag in frames, with a fraction, at which `received` holds `sent`.

    The peak of the correlation gives the whole frames, the slope of the cross-spectrum's phase the rest (Carter, Proc.
    IEEE 75:236, 1987).
    """
    n = next_fast_len(len(sent) + len(received), real=True)
    reference = np.conj(rfft(sent, n))
    found = irfft(rfft(received, n) * reference, n)[: max(1, len(received) - len(sent) + 1)]
    lag = int(np.abs(found).argmax())
    product = rfft(received[lag : lag + len(sent)], n) * reference
    omega, weight = 2.0 * np.pi * np.arange(len(product)) / n, np.abs(product)
    if not weight.any():  # nothing came
        return float(lag)
    fraction = 0.0
    for _ in range(3):  # phases wrap where the fraction is not small; each round leaves a smaller one
        left = np.angle(product * np.exp(1j * omega * fraction) * np.sign(found[lag]))
        fraction -= float((weight * omega * left).sum() / (weight * omega**2).sum())
    return lag + fraction


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
