"""Shots as in a run, at rising levels and again and again: linearity, products, repeatability, rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labtrain.rigs.multitone import Multitone, between_periods

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

RANK_SHARE = 0.01  # of the largest singular value: what lies below carries little


@dataclass(frozen=True)
class Linearity:
    """One drive at several levels.

    Parameters
    ----------
    levels : ndarray, (levels,)
        Amplitude of a tone at drive 1, rising, as a fraction of full scale.
    gain_db : ndarray, (levels, tones, microphones)
        Gain against that of the lowest level.
    product_db : ndarray, (levels,)
        Power in second- and third-order products against that in the tones, noise taken off.
    noise_db : ndarray, (levels,)
        The least that products would need to be seen: three standard deviations of the noise taken off.
    peak : ndarray, (levels, microphones)
        Largest sample as a fraction of full scale.
    between : ndarray, (levels,)
        Noise between periods against the tones, as a ratio of amplitudes.
    """

    levels: Array
    gain_db: Array
    product_db: Array
    noise_db: Array
    peak: Array
    between: Array


def products(bins: Sequence[int], highest: int) -> list[int]:
    """Bins of all second- and third-order products of tones, up to a bin, without the tones themselves."""
    signed = [*bins, *(-b for b in bins)]
    second = {a + b for a in signed for b in signed}
    third = {a + b for a in second for b in signed}
    return sorted({abs(b) for b in second | third if 0 < abs(b) <= highest} - set(bins))


def linearity(spectra: Complex, tones: Sequence[int], levels: Array, peak: Array) -> Linearity:
    """Compare levels.

    Parameters
    ----------
    spectra : ndarray, (levels, periods, bins, microphones), complex
    tones : sequence of int
    levels : ndarray, (levels,)
    peak : ndarray, (levels, microphones)
    """
    mean, noise = spectra.mean(axis=1), between_periods(spectra)
    periods = spectra.shape[1]
    gain = np.abs(mean[:, list(tones)]) / levels[:, None, None]
    made = products(tones, mean.shape[1] - 1)
    power = (np.abs(mean[:, list(tones)]) ** 2).sum(axis=(1, 2))
    floor = noise[:, made].sum(axis=(1, 2)) / periods
    seen = 3.0 * floor / np.sqrt(len(made) * mean.shape[2])
    products_power = (np.abs(mean[:, made]) ** 2).sum(axis=(1, 2)) - floor
    total = noise[:, list(tones)].sum(axis=(1, 2))
    return Linearity(
        levels,
        20.0 * np.log10(np.maximum(gain / np.maximum(gain[0], 1e-30), 1e-30)),
        10.0 * np.log10(np.maximum(products_power, 1e-30) / np.maximum(power, 1e-30)),
        10.0 * np.log10(np.maximum(seen, 1e-30) / np.maximum(power, 1e-30)),
        peak,
        np.sqrt(total / np.maximum(power, 1e-30)),
    )


@dataclass(frozen=True)
class Repeatability:
    """The same shot many times; all (tones, microphones), as shares of the amplitude.

    Parameters
    ----------
    amplitudes : ndarray, (shots, tones, microphones)
    total : ndarray
        Standard deviation between shots.
    noise : ndarray
        What noise makes of it, from the differences between the periods of a shot; not more than all of it, for hum
        differs between periods and averages out faster than noise.
    drift : ndarray
        The rest: temperature, gain, movement.
    per_period : ndarray
        Noise of a single period.
    """

    amplitudes: Array
    total: Array
    noise: Array
    drift: Array
    per_period: Array


def repeatability(spectra: Complex, tones: Sequence[int]) -> Repeatability:
    """From spectra (shots, periods, bins, microphones) of the same shot."""
    part = spectra[:, :, list(tones)]
    periods = part.shape[1]
    amplitudes = np.abs(part.mean(axis=1))
    size = np.maximum(amplitudes.mean(axis=0), 1e-30)
    # Of complex noise half of the power is in line with the tone, and that alone changes its modulus.
    one = np.sqrt(between_periods(part).mean(axis=0) / 2.0) / size
    total = amplitudes.std(axis=0, ddof=1) / size
    noise = np.minimum(one / np.sqrt(periods), total)
    return Repeatability(amplitudes, total, noise, np.sqrt(total**2 - noise**2), noise * np.sqrt(periods))


@dataclass(frozen=True)
class Rank:
    """Singular values of the response at each tone, (tones, min(microphones, speakers)), and how many count."""

    values: Array
    per_tone: tuple[int, ...]

    @property
    def total(self) -> int:
        """Of the whole map, in which tones do not mix."""
        return sum(self.per_tone)

    @property
    def condition(self) -> Array:
        """Largest over smallest, (tones,)."""
        return np.asarray(self.values[:, 0] / np.maximum(self.values[:, -1], 1e-30))


def rank(response: Complex, level: float, noise: Array) -> Rank:
    """Rank of responses (tones, microphones, speakers) per full scale.

    A direction counts if at drive 1 it stands three times above the noise, (tones, microphones), and is not below a
    hundredth of the strongest.
    """
    values: Array = np.linalg.svd(level * response, compute_uv=False).astype(np.float64)
    least = np.maximum(3.0 * np.sqrt((noise**2).mean(axis=1, keepdims=True)), RANK_SHARE * values[:, :1])
    return Rank(values, tuple(int(n) for n in (values > least).sum(axis=1)))


def spectra_of(tone: Multitone, recording: Array, shots: int) -> tuple[Complex, Array]:
    """Spectra (shots, periods, bins, microphones) of a recording; each shot's largest sample, (shots, microphones)."""
    starts = tone.shot_frames * np.arange(shots)
    windows = np.stack([recording[s + tone.window.start : s + tone.window.stop] for s in starts])
    peak = np.stack([np.abs(recording[s : s + tone.shot_frames]).max(axis=0) for s in starts])
    return tone.spectra(windows), peak
