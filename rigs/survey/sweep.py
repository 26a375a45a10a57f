"""The exponential sweep: one passage through all frequencies gives impulse responses, with the harmonics apart.

    s(t) = sin(2 pi f1 L exp(t / L)),   L = T / ln(f2 / f1)

reaches frequency n f at the time L ln n before it reaches f for a second time as nth harmonic, so that after
deconvolution the response of harmonic n stands L ln n before the linear one (Farina, AES 108th Convention, 2000). With
f1 L a whole number harmonics also keep their phases (Novak, Lotton and Simon, J. Audio Eng. Soc. 63:786, 2015).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.signal.windows import tukey

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

LEAD_S = 0.25  # of silence before a sweep, and at the end of its tail: there hum is alone
EDGE_OCTAVES = 0.2  # within which the band begins and ends, and the sweep is faded
BEFORE_S = 0.01  # of an impulse response, kept before time 0: a band has no sharp beginning in time
WEAK = 1e-6  # of the largest spectral power: below, the sweep has sent nothing
HARMONICS = (2, 3, 4, 5)


@dataclass(frozen=True)
class Sweep:
    """A sweep through a band.

    Parameters
    ----------
    first_hz, last_hz : float
        Band in which the response is flat; the sweep begins and ends a little outside.
    seconds : float
        Of the sweep, about.
    tail_s : float
        Of silence behind it, in which the room decays.
    rate_hz : float
    """

    first_hz: float
    last_hz: float
    seconds: float
    tail_s: float
    rate_hz: float

    @property
    def from_hz(self) -> float:
        return float(self.first_hz * 2.0**-EDGE_OCTAVES)

    @property
    def to_hz(self) -> float:
        return float(self.last_hz * 2.0**EDGE_OCTAVES)

    @property
    def constant_s(self) -> float:
        """L: seconds in which the frequency grows by e."""
        turns = self.from_hz * self.seconds / math.log(self.to_hz / self.from_hz)
        return max(1, round(turns)) / self.from_hz

    @property
    def lead(self) -> int:
        return round(LEAD_S * self.rate_hz)

    @property
    def before(self) -> int:
        """Frames of an impulse response before time 0."""
        return round(BEFORE_S * self.rate_hz)

    @property
    def quiet(self) -> tuple[slice, slice]:
        """Frames of a recording in which the sweep is not heard: before it, and when it has decayed."""
        return slice(0, self.lead), slice(-self.lead, None)

    def samples(self) -> Array:
        """Silence, sweep with faded ends, silence: (frames,), peak 1."""
        constant = self.constant_s
        frames = round(constant * np.log(self.to_hz / self.from_hz) * self.rate_hz)
        time = np.arange(frames) / self.rate_hz
        wave = np.sin(2.0 * np.pi * self.from_hz * constant * np.exp(time / constant))
        fade = round(EDGE_OCTAVES * np.log(2.0) * constant * self.rate_hz)
        ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(fade) + 0.5) / fade)
        wave[:fade] *= ramp
        wave[-fade:] *= ramp[::-1]
        return np.concatenate([np.zeros(self.lead), wave, np.zeros(round(self.tail_s * self.rate_hz))])

    def band(self, frequencies_hz: Array) -> Array:
        """Weight of each frequency: 1 within the band, falling to 0 within `EDGE_OCTAVES` outside."""
        octave = np.log2(np.maximum(frequencies_hz, 1e-3))
        inside = np.minimum(octave - np.log2(self.from_hz), np.log2(self.to_hz) - octave) / EDGE_OCTAVES
        return np.asarray(0.5 - 0.5 * np.cos(np.pi * np.clip(inside, 0.0, 1.0)))

    def deconvolve(self, recording: Array, amplitude: float) -> Deconvolved:
        """Impulse responses from a recording of :meth:`samples` times `amplitude`.

        Parameters
        ----------
        recording : ndarray, (frames, microphones)
            In the frames of the sweep, or later by the latency.
        amplitude : float
            Of the sweep as it was played, in fractions of full scale.
        """
        sent = amplitude * self.samples()
        n = next_fast_len(max(len(sent), len(recording)), real=True)
        frequencies: Array = np.fft.rfftfreq(n, 1.0 / self.rate_hz).astype(np.float64)
        edges = tukey(len(recording), min(1.0, 2.0 * self.lead / len(recording)))
        spectrum, played = rfft(recording * edges[:, None], n, axis=0), rfft(sent, n)
        power = np.abs(played) ** 2
        response = spectrum * (played.conj() / (power + WEAK * power.max()) * self.band(frequencies))[:, None]
        return Deconvolved(np.asarray(irfft(response, n, axis=0)), self)


@dataclass(frozen=True)
class Deconvolved:
    """What one sweep of one speaker gave.

    Parameters
    ----------
    samples : ndarray, (frames, microphones)
        Linear impulse response from frame 0 on, those of the harmonics before it, counted from the end.
    sweep : Sweep
    """

    samples: Array
    sweep: Sweep

    def impulse(self) -> Array:
        """Linear impulse response, (`before` + frames of the tail, microphones)."""
        before = self.sweep.before
        return np.roll(self.samples, before, axis=0)[: before + round(self.sweep.tail_s * self.sweep.rate_hz)]

    def harmonic(self, order: int, frames: int) -> Complex:
        """Spectrum of a harmonic's response, (frames // 2 + 1, microphones), over its own frequency."""
        rate, constant = self.sweep.rate_hz, self.sweep.constant_s
        gap = constant * np.log((order + 1) / order) * rate  # to the next harmonic, which lies before it
        before = round(0.1 * min(gap, 0.05 * rate))
        start = len(self.samples) - round(constant * np.log(order) * rate) - before
        until = round(constant * np.log(order / (order - 1)) * rate)  # where the lower harmonic begins
        part = self.samples[start : start + min(frames, until)]
        window = tukey(len(part), 2.0 * before / max(1, len(part)))
        return np.asarray(rfft(part * window[:, None], frames, axis=0))


def onset(impulse: Array, share: float = 0.2) -> int:
    """First frame at which any channel of (frames, channels) reaches a share of its largest value."""
    size = np.abs(impulse)
    return int((size >= share * size.max(axis=0)).argmax(axis=0).min())


def band_limited(impulse: Array, sweep: Sweep) -> Array:
    """An exact response (frames, ...) as a sweep would give it: within its band, (`before` + frames, ...)."""
    n = next_fast_len(2 * len(impulse), real=True)
    weight = sweep.band(np.fft.rfftfreq(n, 1.0 / sweep.rate_hz).astype(np.float64)).reshape(
        -1, *[1] * (impulse.ndim - 1)
    )
    limited = irfft(rfft(impulse, n, axis=0) * weight, n, axis=0)
    return np.asarray(np.roll(limited, sweep.before, axis=0)[: sweep.before + len(impulse)])
