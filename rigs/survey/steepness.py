"""How steeply the response depends on frequency: where a kelvin of warmth, which shifts all resonances, changes most.

    S(f) = f |dH/df| / |H|,   RMS over speakers for each microphone,

is 2 Q on a resonance of quality Q, and larger still in a node, where |H| is small. The speed of sound, and with it
every resonance, rises by 1/(2 T) = 0.17 % per kelvin at 20 C, so that H changes by about 0.0017 S per kelvin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import rfft

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

PER_KELVIN = 0.5 / 293.15
LOW_DB = -6.0
BESIDE = 3  # rows
NEIGHBOURHOOD_OCTAVES = 0.33  # in which a level is compared


@dataclass(frozen=True)
class Response:
    """The linear response on a fine grid of frequencies.

    Parameters
    ----------
    hz : ndarray, (n,)
    values : ndarray, (n, microphones, speakers), complex
        Per full scale.
    steepness : ndarray, (n, microphones)
    level_db : ndarray, (n, microphones)
        RMS over speakers, against the median of its neighbourhood.
    """

    hz: Array
    values: Complex
    steepness: Array
    level_db: Array

    def at(self, hz: Array) -> Complex:
        """Response at the nearest frequencies, (len(hz), microphones, speakers)."""
        step = self.hz[1] - self.hz[0]
        return np.asarray(self.values[np.rint((np.asarray(hz) - self.hz[0]) / step).astype(np.int64)])

    def within(self, hz: float, half_hz: float) -> slice:
        """Rows no further than `half_hz` from a frequency."""
        first, last = np.searchsorted(self.hz, (hz - half_hz, hz + half_hz))
        return slice(int(first), int(max(last, first + 1)))


def fine_response(
    impulse: Array, rate_hz: float, bin_hz: float, band_hz: tuple[float, float], before: int = 0
) -> Response:
    """Response, steepness and level of a band from impulse responses (frames, microphones, speakers).

    Time 0 lies `before` frames behind their beginning. Frequencies are fractions of `bin_hz`: every bin is among them.
    """
    fine = max(1, int(np.ceil(len(impulse) * bin_hz / rate_hz)))
    n = round(fine * rate_hz / bin_hz)
    step = rate_hz / n
    first, last = int(np.floor(band_hz[0] / step)), int(np.ceil(band_hz[1] / step))
    late = len(impulse) // 8  # the end fades, or its edge would show as ripples
    faded = impulse * np.concatenate([np.ones(len(impulse) - late), np.linspace(1.0, 0.0, late)])[:, None, None]
    hz: Array = step * np.arange(first, last + 1, dtype=np.float64)
    turn = np.exp(2j * np.pi * hz * before / rate_hz)[:, None, None]
    values = turn * rfft(faded, n, axis=0)[first : last + 1]
    # d/df of sum h exp(-j w t) is that of -2 pi j t h.
    time = (np.arange(len(impulse)) - before) / rate_hz
    slope = 2.0 * np.pi * rfft(faded * time[:, None, None], n, axis=0)[first : last + 1]
    size: Array = np.sqrt((np.abs(values) ** 2).sum(axis=2))
    steepness: Array = hz[:, None] * np.sqrt((np.abs(slope) ** 2).sum(axis=2)) / np.maximum(size, 1e-30)
    level: Array = 20.0 * np.log10(np.maximum(size, 1e-30))
    return Response(hz, values, steepness, level - _typical(level, hz))


def _typical(level: Array, hz: Array) -> Array:
    """Median of each row's neighbourhood, on a coarse grid of frequencies, in between by interpolation."""
    centres = np.geomspace(hz[0], hz[-1], 48)
    width = 2.0**NEIGHBOURHOOD_OCTAVES
    medians = np.array([np.median(level[(hz >= c / width) & (hz <= c * width)], axis=0) for c in centres])
    return np.stack([np.interp(hz, centres, medians[:, m]) for m in range(level.shape[1])], axis=1)


@dataclass(frozen=True)
class Feature:
    """A steep place: a resonance, where the level is high, a node, where it is low, or neither.

    Parameters
    ----------
    kind : str
        ``resonance``, ``node`` or ``steep place``.
    hz : float
    microphone : int
        Where it is steepest, from 0.
    steepness : float
    level_db : float
        Against its neighbourhood.
    """

    kind: str
    hz: float
    microphone: int
    steepness: float
    level_db: float

    def __str__(self) -> str:
        if self.kind == "node":
            return f"node of microphone {self.microphone + 1} at {self.hz:.1f} Hz ({self.level_db:+.0f} dB)"
        return f"{self.kind} at {self.hz:.1f} Hz (Q about {self.steepness / 2:.0f}, microphone {self.microphone + 1})"


def badness(response: Response, limit: float, deep_db: float) -> Array:
    """Steepness over the limit, of the worst microphone, (n,); at least 1 where a level is that deep."""
    return np.asarray(_badness(response, limit, deep_db).max(axis=1))


def _badness(response: Response, limit: float, deep_db: float) -> Array:
    deep = response.level_db < -deep_db
    return np.where(deep, np.maximum(response.steepness, limit), response.steepness) / limit


def steep_features(response: Response, limit: float, deep_db: float, apart_hz: float) -> list[Feature]:
    """Places steeper than a limit, or deeper than a level below their neighbourhood, the steepest of each group."""
    each = _badness(response, limit, deep_db)
    worst = each.max(axis=1)
    found: list[Feature] = []
    for k in np.argsort(-worst):
        if worst[k] < 1.0:
            break
        hz = float(response.hz[k])
        if worst[k] < worst[max(0, k - BESIDE) : k + BESIDE + 1].max():
            continue  # the shoulder of another one
        if all(abs(hz - f.hz) >= apart_hz for f in found):
            m = int(each[k].argmax())
            level = float(response.level_db[k, m])
            kind = "node" if level < LOW_DB else "resonance" if level > 0.0 else "steep place"
            found.append(Feature(kind, hz, m, float(response.steepness[k, m]), level))
    return sorted(found, key=lambda f: f.hz)
