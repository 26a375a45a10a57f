"""The mark on an electrical loopback: band-limited noise that no two playbacks share, known sample by sample.

A cable leads from an output to an input of the same converter, past the room. What comes back tells where a playback
lies in the recording, to the sample, and that nothing was lost, repeated or delayed in between, on the way out as on
the way in: it equals what was sent, but for the converter's latency and its filters, or something went wrong.

The band leaves out what couplings and anti-aliasing filters change most, so that a short filter describes the loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft

Array = NDArray[np.float64]

BAND = (0.02, 0.35)  # of the Nyquist frequency
REACH = 16  # taps of the loop's filter before and behind its peak
BLOCK = 32  # frames that are compared at once
PROMINENT = 8.0  # times its neighbourhood, by which the correlation must rise where the mark is
STRANGE = 0.02  # of the mark, by which a block may differ from what was expected
NOISY = 4.0  # times its noise, likewise


@cache
def _filter() -> Array:
    from scipy.signal import firwin

    return np.asarray(firwin(255, BAND, pass_zero=False, fs=2.0), dtype=np.float64)


def _convolved(signal: Array, taps: Array) -> Array:
    """As long as the signal."""
    from scipy.signal import oaconvolve  # takes long to import, which other rigs can spare

    return np.asarray(oaconvolve(signal, taps, mode="same"))


def mark(seed: int, number: int, frames: int, peak: float) -> Array:
    """The mark of one playback, (frames,): the same for the same seed and number alone.

    Parameters
    ----------
    peak : float
        Largest value, as a fraction of full scale.
    """
    key = np.array([seed & ((1 << 64) - 1), number], dtype=np.uint64)  # a list of large numbers would be rounded
    draw = np.random.Generator(np.random.Philox(key=key)).choice((-1.0, 1.0), frames)
    shaped = _convolved(draw, _filter())
    return np.asarray(peak / np.abs(shaped).max() * shaped)


def locate(sent: Array, received: Array) -> tuple[int, float]:
    """Where a mark lies in a recording.

    Parameters
    ----------
    sent : ndarray, (frames,)
    received : ndarray, (more,)

    Returns
    -------
    int
        Lag at which `received[lag:]` begins with `sent`.
    float
        By how many times the correlation there exceeds its RMS elsewhere; 0 if there is no elsewhere.
    """
    n = next_fast_len(len(sent) + len(received), real=True)
    found = irfft(rfft(received, n) * np.conj(rfft(sent, n)), n)[: max(1, len(received) - len(sent) + 1)]
    lag = int(np.abs(found).argmax())
    elsewhere = np.delete(found, range(max(0, lag - REACH), min(len(found), lag + REACH + 1)))
    if len(elsewhere) == 0:
        return lag, 0.0
    rms = float(np.sqrt((elsewhere**2).mean()))
    return lag, float(abs(found[lag]) / rms) if rms > 0 else (np.inf if found[lag] != 0 else 0.0)


@dataclass(frozen=True)
class Loop:
    """What the loop does to a mark.

    Parameters
    ----------
    latency : int
        Frames from output to input.
    taps : ndarray, (2 REACH + 1,)
        Its filter around that latency.
    noise : float
        RMS of what the filter does not explain.
    level : float
        RMS of the mark as it comes back.
    """

    latency: int
    taps: Array
    noise: float
    level: float

    def expected(self, sent: Array) -> Array:
        """What should come back for a mark, (frames,), in its own frames: the latency is taken off."""
        return _convolved(sent, self.taps)

    @property
    def tolerance(self) -> float:
        """RMS of a block's difference at which it counts as wrong."""
        return max(NOISY * self.noise, STRANGE * self.level)


def learn_loop(sent: Array, received: Array) -> Loop | None:
    """Latency and filter of a loop, from a mark (frames,) and the recording (more,) that began with it.

    None if the mark is not in it. The filter is the least-squares one (Haykin, "Adaptive Filter Theory", ch. 2).
    """
    lag, prominence = locate(sent, received)
    if prominence < PROMINENT:
        return None
    inner = slice(REACH, len(sent) - REACH)
    shifted = np.stack([np.roll(sent, k)[inner] for k in range(-REACH, REACH + 1)], axis=1)
    heard = received[lag : lag + len(sent)]
    if len(heard) < len(sent):
        return None
    taps: Array = np.linalg.lstsq(shifted, heard[inner], rcond=None)[0].astype(np.float64)
    explained = shifted @ taps
    noise = float(np.sqrt(((heard[inner] - explained) ** 2).mean()))
    return Loop(lag, taps, noise, float(np.sqrt((explained**2).mean())))


def first_difference(expected: Array, received: Array, tolerance: float) -> int | None:
    """First frame of the first block in which what came, (frames,), is not what was expected; None if all is well.

    The last block is a whole one and shares frames with the one before it.
    """
    wrong = (expected - received) ** 2
    whole = len(wrong) // BLOCK * BLOCK
    power = wrong[:whole].reshape(-1, BLOCK).mean(axis=1)
    if whole < len(wrong):
        power = np.append(power, wrong[-BLOCK:].mean())
    bad = np.flatnonzero(~(np.sqrt(power) <= tolerance))
    return min(int(bad[0]) * BLOCK, max(0, len(wrong) - BLOCK)) if len(bad) else None
