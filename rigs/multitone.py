"""Multitones on FFT bins: what speakers play for a drive, and what tones microphones hear.

All tones complete whole cycles in one *period*, so a steady answer is the same in every period: periods are averaged
coherently, a discrete Fourier transform over one of them separates the tones without a window, and what differs
from period to period is noise. Amplitudes carry the drive; phases are fixed, pi t^2 / T for tone t of T, which keeps
the crest factor low (Newman's phases; Boyd, IEEE Trans. Circuits Syst. 33:1018, 1986).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]


class Multitone:
    """Tones on a grid, and shots made of them.

    A shot takes `settle_periods`, in which amplitudes ramp from those of the shot before to its own, then
    `average_periods` that are analysed, then `guard_periods` of silence.

    Parameters
    ----------
    period_frames : int
        Frames in one period of the grid.
    bins : sequence of int
        Tones, in cycles per period.
    settle_periods, average_periods, guard_periods : int
    ramp_frames : int
        Of every change of amplitudes; part of the settling, and of the guards, if there are any.
    """

    def __init__(
        self,
        period_frames: int,
        bins: Sequence[int],
        settle_periods: int,
        average_periods: int,
        guard_periods: int,
        ramp_frames: int,
    ) -> None:
        self.period_frames, self.bins = period_frames, tuple(bins)
        self.settle_periods, self.average_periods, self.guard_periods = settle_periods, average_periods, guard_periods
        tone = np.arange(len(self.bins))
        self.phases_rad = np.pi * tone**2 / len(self.bins)
        turns = np.outer(np.arange(period_frames), np.array(self.bins)) / period_frames
        self._waves = np.cos(2.0 * np.pi * turns + self.phases_rad)  # (period, tones)
        self._ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(ramp_frames) + 0.5) / max(1, ramp_frames))

    @property
    def shot_frames(self) -> int:
        """Frames from one shot to the next."""
        return (self.settle_periods + self.average_periods + self.guard_periods) * self.period_frames

    @property
    def window(self) -> slice:
        """Frames of a shot that are analysed."""
        start = self.settle_periods * self.period_frames
        return slice(start, start + self.average_periods * self.period_frames)

    def play(self, amplitudes: Array) -> Array:
        """Samples of consecutive shots.

        Parameters
        ----------
        amplitudes : ndarray, (shots, speakers, tones)

        Returns
        -------
        ndarray, (shots * shot_frames + ramp, speakers)
            From silence to silence; the last ramp lies behind the last shot, unless guards end every shot silent.
        """
        shots, speakers, _ = amplitudes.shape
        tail = 0 if self.guard_periods else len(self._ramp)
        out = np.zeros((shots * self.shot_frames + tail, speakers))
        sounding = (self.settle_periods + self.average_periods) * self.period_frames
        fade = self._ramp[:, None]
        before = np.zeros((self.period_frames, speakers))
        for number, rows in enumerate(amplitudes):
            period = self._waves @ rows.T
            part = out[number * self.shot_frames :]
            part[:sounding] = np.tile(period, (sounding // self.period_frames, 1))
            self._cross_fade(part, before, fade)
            if self.guard_periods:
                part[sounding : sounding + len(fade)] = np.resize(period, (len(fade), speakers)) * (1.0 - fade)
            else:
                before = period
        if tail:
            out[-tail:] = np.resize(before, (tail, speakers)) * (1.0 - fade)
        return out

    def _cross_fade(self, part: Array, before: Array, fade: Array) -> None:
        part[: len(fade)] *= fade
        part[: len(fade)] += np.resize(before, (len(fade), before.shape[1])) * (1.0 - fade)

    def spectra(self, windows: Array) -> Complex:
        """Fourier coefficients of each period of analysed windows.

        Parameters
        ----------
        windows : ndarray, (shots, average_periods * period_frames, microphones)

        Returns
        -------
        ndarray, (shots, average_periods, period_frames // 2 + 1, microphones), complex
            Scaled so that a tone of amplitude a has modulus a.
        """
        shots, _, microphones = windows.shape
        periods = windows.reshape(shots, self.average_periods, self.period_frames, microphones)
        return np.asarray(2.0 / self.period_frames * np.fft.rfft(periods, axis=2))

    def referred(self, coefficients: Complex, bins: Sequence[int]) -> Complex:
        """Coefficients (..., bins, microphones) with the phases at which these bins were played taken off.

        A bin that is not played (a harmonic, an intermodulation product) keeps its own phase.
        """
        played = dict(zip(self.bins, self.phases_rad, strict=True))
        phases = np.array([played.get(b, 0.0) for b in bins])
        return np.asarray(coefficients * np.exp(-1j * phases)[:, None])


def between_periods(spectra: Complex) -> Array:
    """Noise power from what differs between P periods, (shots, bins, microphones); 2 (P - 1) degrees of freedom.

    Parameters
    ----------
    spectra : ndarray, (shots, periods, bins, microphones), complex
    """
    rest = spectra - spectra.mean(axis=1, keepdims=True)
    return np.asarray((rest.real**2 + rest.imag**2).sum(axis=1) / (spectra.shape[1] - 1))
