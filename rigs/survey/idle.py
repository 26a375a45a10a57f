"""What microphones hear while nothing is played: noise, and lines such as mains hum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter
from scipy.signal import welch
from scipy.signal.windows import hann

Array = NDArray[np.float64]

MAINS_HZ = (50.0, 60.0)
STANDS_OUT = 30.0  # times the median of its surroundings: exponential noise reaches that once in 1e9 bins
AROUND_HZ = 15.0
TOLERANCE = 2e-3  # share by which mains may be off
LINES = 40  # the largest are kept


@dataclass(frozen=True)
class Line:
    """A tone in silence: its frequency and its amplitude at each microphone."""

    hz: float
    amplitude: Array


@dataclass(frozen=True)
class Idle:
    """Silence as it was heard.

    Parameters
    ----------
    rms : ndarray, (microphones,)
        All frequencies.
    frequencies_hz, density : ndarray, (n,), (n, microphones)
        Power spectral density, for a look at it.
    bin_noise : ndarray, (bins, microphones)
        RMS amplitude of noise in one bin of one period, as a shot meets it.
    lines : tuple of Line
        Tones in the band, by rising frequency.
    mains_hz : float or None
        Mains frequency, if harmonics of it stand out.
    hum : tuple of Line
        Those lines that are its harmonics.
    """

    rms: Array
    frequencies_hz: Array
    density: Array
    bin_noise: Array
    lines: tuple[Line, ...]
    mains_hz: float | None
    hum: tuple[Line, ...]


def analyse_idle(recording: Array, rate_hz: float, period_frames: int, highest_hz: float) -> Idle:
    """Noise and lines of silence (frames, microphones), lines up to a frequency."""
    still = recording - recording.mean(axis=0)
    frequencies, density = welch(still, rate_hz, nperseg=min(len(still), 1 << 15), axis=0)
    periods = len(still) // period_frames
    cut = still[: periods * period_frames].reshape(periods, period_frames, -1)
    spectra = 2.0 / period_frames * np.fft.rfft(cut, axis=1)
    lines = _lines(still, rate_hz, highest_hz)
    mains, hum = _mains(lines)
    bin_noise = np.sqrt((np.abs(spectra) ** 2).mean(axis=0))
    return Idle(still.std(axis=0), frequencies, density, bin_noise, lines, mains, hum)


def _lines(still: Array, rate_hz: float, highest_hz: float) -> tuple[Line, ...]:
    window = hann(len(still), sym=False)
    amplitude = 2.0 / window.sum() * np.abs(np.fft.rfft(still * window[:, None], axis=0))
    step_hz = rate_hz / len(still)
    amplitude = amplitude[: round((highest_hz + 2.0 * AROUND_HZ) / step_hz)]
    around = 2 * round(AROUND_HZ / step_hz) + 1
    floor = np.maximum(median_filter(amplitude**2, (around, 1), mode="nearest"), 1e-30)
    ratio = (amplitude**2 / floor).max(axis=1)
    peaks = [
        k
        for k in range(round(20.0 / step_hz), round(highest_hz / step_hz) + 1)
        if ratio[k] > STANDS_OUT and ratio[k] >= ratio[max(0, k - 2) : k + 3].max()
    ]
    peaks = sorted(sorted(peaks, key=lambda k: -ratio[k])[:LINES])
    return tuple(Line(step_hz * _vertex(ratio[k - 1 : k + 2], k), amplitude[k]) for k in peaks)


def _vertex(three: Array, k: int) -> float:
    """Place of a peak between bins: the parabola through the logarithms of three."""
    left, middle, right = np.log(np.maximum(three, 1e-30))
    curve = left - 2.0 * middle + right
    return k + (0.5 * float((left - right) / curve) if curve < 0 else 0.0)


def _mains(lines: tuple[Line, ...]) -> tuple[float | None, tuple[Line, ...]]:
    """The mains frequency whose harmonics hold most of the lines' power; at least two of them, or the first."""
    found: dict[float, tuple[Line, ...]] = {}
    for mains in MAINS_HZ:
        found[mains] = tuple(
            line
            for line in lines
            if abs(line.hz - mains * round(line.hz / mains)) < max(0.4, TOLERANCE * line.hz) and line.hz > 0.5 * mains
        )
    best = max(MAINS_HZ, key=lambda mains: len(found[mains]))
    hum = found[best]
    if len(hum) >= 2 or any(round(line.hz / best) == 1 for line in hum):
        return best, hum
    return None, ()
