"""The noise of each microphone, bin by bin, and whether a shot's disturbances rise above it.

What differs between the periods of a shot is noise, or something that struck: a burst of hum, a dropout, a door. Noise
of a steady room is alike in most shots, so a quantile of them is its floor; whatever is improbable above it, in one bin
or in all of them together, condemns the shot. The floor follows a room that becomes louder for good, and back, but
never falls below what was learned first: the same drive again and again leaves nothing on the air of the shot before,
and the next other one would stand out.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d
from scipy.special import chdtri, gammaincinv

Array = NDArray[np.float64]

FALSE_ALARMS = 1e-6  # a shot; real rooms have tails of their own
TYPICAL = 0.7  # quantile of shots; strong hum fades and swells between its lines, and a median would miss the swells
BROAD = 3.0  # times the floor, summed over all bins
SMOOTH = 17  # bins
RECENT = 16  # shots that the floor looks back on
FOLLOWS = 0.1  # share by which the floor takes over that of recent shots, once for each of them


class NoiseFloor:
    """Learned from some shots, adapted by all that follow.

    Parameters
    ----------
    freedom : int
        Degrees of freedom of a shot's noise power in one bin: 2 (periods - 1).
    """

    def __init__(self, freedom: int) -> None:
        # Of chi-squared: the quantile of the power, as a share of its mean.
        self._share = 2 * float(gammaincinv(freedom / 2, TYPICAL)) / freedom
        self._freedom = freedom
        self._recent: deque[Array] = deque(maxlen=RECENT)
        self.power: Array | None = None
        """Mean noise power, (bins, microphones); None before :meth:`learn`."""
        self._learned = np.zeros(0)

    def learn(self, powers: Array) -> Array:
        """Take the floor from shots (shots, bins, microphones) of which most are undisturbed, and return it."""
        self.adopt(self._typical(powers))
        assert self.power is not None
        return self.power

    def adopt(self, power: Array) -> None:
        """Take a floor (bins, microphones) that was learned before."""
        self.power = self._learned = power
        self._recent.clear()

    def judge(self, powers: Array) -> list[str]:
        """What struck each shot, (shots, bins, microphones): a few words, or none for a good one."""
        assert self.power is not None, "learn() comes first"
        self._recent.extend(powers)
        recent = np.stack(self._recent)
        # A room that has become louder for good is louder in most shots; a few shots are too few to say.
        floor = np.maximum(self.power, self._typical(recent)) if len(recent) == RECENT else self.power
        # The first and the last bin are real, have half of the freedom, and hold no tone.
        ratio = (powers / np.maximum(floor, 1e-30))[:, 1:-1]
        most, broadest = self._limits(*ratio.shape[1:])
        found = []
        for shot in ratio:
            row, microphone = np.unravel_index(int(shot.argmax()), shot.shape)
            # Weighing every bin by its floor tells a broad disturbance from the loud bins of a quiet room.
            broad = shot.mean(axis=0)
            if shot[row, microphone] > most:
                found.append(f"microphone {microphone + 1} was disturbed, most in bin {row + 1}")
            elif broad.max() > broadest:
                found.append(f"microphone {int(broad.argmax()) + 1} was disturbed at all frequencies")
            else:
                found.append("")
        if len(recent) == RECENT:
            share = 1.0 - (1.0 - FOLLOWS) ** len(powers)
            self.power = np.maximum(self._learned, self.power + share * (self._typical(recent) - self.power))
        return found

    def _limits(self, bins: int, microphones: int) -> tuple[float, float]:
        """Times the floor that undisturbed noise hardly ever reaches: in any bin, and in the mean of all bins."""
        single, all_bins = self._freedom, self._freedom * bins
        most = float(chdtri(single, FALSE_ALARMS / (bins * microphones))) / single
        return most, max(BROAD, float(chdtri(all_bins, FALSE_ALARMS / microphones)) / all_bins)

    def _typical(self, powers: Array) -> Array:
        """Mean power as the quantile tells it, smoothed over bins but for lines that stand out, as of mains hum."""
        own = np.quantile(powers, TYPICAL, axis=0) / self._share
        return np.maximum(uniform_filter1d(own, SMOOTH, axis=0, mode="nearest"), own)
