"""How long a room rings: reverberation time, and the time after which a tone's amplitude has settled.

*Reverberation time* T60, in which the energy falls by 60 dB: from the slope of Schroeder's backward integral

    E(t) = sum over t' > t of h(t')^2

between -5 and -25 dB (T20 of ISO 3382-2), the mean over all pairs of speaker and microphone, each of unit energy.
Noise is taken off, and the integral begins where the decay meets it (Lundeby et al., Acustica 81:344, 1995).

*Settle time* of a tone: when amplitudes change by a step, what is still missing t later is the tail of the transform,

    r(t) = |sum over t' > t of h(t') exp(-j w t')| / |H(w)|,

RMS over speakers, of the worst microphone. It is the time at which r has fallen to a target.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

BLOCK_S = 0.005
FITTED_DB = (-5.0, -25.0)
NOISE_SHARE = 0.15  # of a response, at its end, taken for noise
ABOVE_NOISE = 4.0  # times: where the decay meets the noise, in power
SLOPE_DB = 25.0  # of a tone's settling, from which the rest is extrapolated


@dataclass(frozen=True)
class Decay:
    """Reverberation of a room.

    Parameters
    ----------
    t60_s : float
        nan where noise leaves too little to see.
    time_s, level_db : ndarray, (n,)
        Schroeder's curve.
    line : (float, float)
        The fitted line: dB at time 0, and dB per second.
    """

    t60_s: float
    time_s: Array
    level_db: Array
    line: tuple[float, float] = (float("nan"), float("nan"))


def decay(impulse: Array, rate_hz: float, before: int = 0) -> Decay:
    """Reverberation from impulse responses (frames, microphones, speakers), time 0 being frame `before`."""
    size = max(1, round(BLOCK_S * rate_hz))
    blocks = len(impulse) // size
    energy = (impulse[: blocks * size] ** 2).reshape(blocks, size, -1).sum(axis=1)  # (blocks, pairs)
    noise = energy[round((1.0 - NOISE_SHARE) * blocks) :].mean(axis=0)
    curves, ends = [], []
    for pair, floor in zip(energy.T, noise, strict=True):
        smooth = np.convolve(pair, np.ones(5) / 5, mode="same")
        loud = np.flatnonzero(smooth > ABOVE_NOISE * floor)
        end = int(loud[-1]) + 1 if len(loud) else 0
        if pair.sum() <= 0 or end < 8:
            continue
        clean = np.where(np.arange(blocks) < end, pair - floor, 0.0)
        curve = np.cumsum(clean[::-1])[::-1] + _beyond(smooth[:end] - floor)
        curves.append(curve / curve[0])
        ends.append(end)
    if not curves:
        return Decay(float("nan"), np.zeros(0), np.zeros(0))
    stop = int(np.median(ends))
    level: Array = 10.0 * np.log10(np.maximum(np.mean(curves, axis=0)[:stop], 1e-12))
    time: Array = BLOCK_S * np.arange(stop, dtype=np.float64) - before / rate_hz
    fitted = (level <= FITTED_DB[0]) & (level >= FITTED_DB[1])
    if fitted.sum() < 4 or level[-1] > FITTED_DB[1]:
        return Decay(float("nan"), time, level)
    slope, start = (float(value) for value in np.polyfit(time[fitted], level[fitted], 1))
    return Decay(-60.0 / slope, time, level, (start, slope))


def _beyond(energy: Array) -> float:
    """Energy after the last block, were the decay to go on as in its second half."""
    late = np.maximum(energy[len(energy) // 2 :], 1e-30)
    slope = np.polyfit(np.arange(len(late)), np.log(late), 1)[0]
    return float(late[-1] * np.exp(slope) / (1.0 - np.exp(slope))) if slope < -1e-3 else 0.0


def settle_times(impulse: Array, rate_hz: float, tones_hz: Array, target: float, before: int = 0) -> Array:
    """Settle time of each tone in seconds, (tones,).

    Parameters
    ----------
    impulse : ndarray, (frames, microphones, speakers)
    tones_hz : ndarray, (tones,)
    target : float
        Share of a step in amplitude that may still be missing, for instance 0.002.
    before : int
        Frames of the response before time 0.
    """
    size = max(1, round(BLOCK_S * rate_hz))
    blocks, mics, speakers = len(impulse) // size, *impulse.shape[1:]
    cut = impulse[: blocks * size].reshape(blocks, size, mics * speakers)
    noise = (cut[round((1.0 - NOISE_SHARE) * blocks) :] ** 2).mean(axis=(0, 1))
    # Behind the place where the decay meets the noise there is nothing to be added up.
    energy = np.convolve((cut**2).sum(axis=(1, 2)), np.ones(5) / 5, mode="same")
    blocks = int(np.flatnonzero(energy > ABOVE_NOISE * size * noise.sum())[-1]) + 1
    omega = 2.0 * np.pi * np.asarray(tones_hz) / rate_hz
    within = np.exp(-1j * np.outer(omega, np.arange(size)))
    start = np.exp(-1j * np.outer(omega, size * np.arange(blocks)))
    parts = np.einsum("tn,bnp->tbp", within, cut[:blocks], optimize=True) * start[:, :, None]
    tail = np.cumsum(parts[:, ::-1], axis=1)[:, ::-1]  # what block b and all later ones give
    expected = noise * size * (blocks - np.arange(blocks))[:, None]  # of noise in so many frames
    left = _per_microphone(np.abs(tail) ** 2, mics, speakers)
    floor = _per_microphone(np.broadcast_to(expected, (1, blocks, mics * speakers)), mics, speakers)
    whole = np.maximum(left[:, :1], 1e-30)
    missing, unsure = left / whole, floor / whole
    times = [
        max(_crossing(missing[tone, :, m], unsure[tone, :, m], target) for m in range(mics))
        for tone in range(len(omega))
    ]
    return np.maximum(0.0, BLOCK_S * np.array(times) - before / rate_hz)


def _per_microphone(power: Array, mics: int, speakers: int) -> Array:
    return np.asarray(power.reshape(*power.shape[:2], mics, speakers).sum(axis=3))


def _crossing(missing: Array, noise: Array, target: float) -> float:
    """Blocks after which a power share stays below target^2, extrapolated from the last `SLOPE_DB` above the noise."""
    # A tail may interfere with itself: what counts is the largest share still to come.
    envelope = np.maximum.accumulate(np.maximum(missing - noise, 1e-30)[::-1])[::-1]
    hidden = np.flatnonzero(envelope <= ABOVE_NOISE * noise)
    end = int(hidden[0]) if len(hidden) else len(missing)
    below = np.flatnonzero(envelope[:end] <= target**2)
    if len(below):
        return float(below[0])
    if end < 3:
        return float(len(missing))
    level = 10.0 * np.log10(envelope[:end])
    first = int(np.flatnonzero(level <= level[-1] + SLOPE_DB)[0])
    late = np.arange(min(first, end - 3), end)
    slope, offset = np.polyfit(late, level[late], 1)
    return float((20.0 * np.log10(target) - offset) / slope) if slope < -1e-3 else float(len(missing))
