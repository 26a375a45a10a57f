"""The noise of each microphone, bin by bin, and whether a shot's disturbances rise above it.

What differs between the periods of a shot is noise, or something that struck: a burst of hum, a dropout, a door. Noise
of a steady room is alike in most shots, so its floor is their median; whatever is improbable above it, in one bin or in
all of them together, condemns the shot. The floor follows a room whose noise changes for good.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d
from scipy.stats import chi2

Array = NDArray[np.float64]

FALSE_ALARMS = 1e-6  # a shot; real rooms have tails of their own
BROAD = 1.5  # times the floor, summed over all bins
SMOOTH = 17  # bins
RECENT = 16  # shots that the median looks back on
FOLLOWS = 0.1  # share by which the floor takes over the median of recent shots, once for each of them


class NoiseFloor:
    """Learned from some shots, adapted by all that follow.

    Parameters
    ----------
    freedom : int
        Degrees of freedom of a shot's noise power in one bin: 2 (periods - 1).
    """

    def __init__(self, freedom: int) -> None:
        self._median = float(chi2.median(freedom)) / freedom  # of the power, as a share of its mean
        self._freedom = freedom
        self._recent: deque[Array] = deque(maxlen=RECENT)
        self.power: Array | None = None
        """Mean noise power, (bins, microphones); None before :meth:`learn`."""

    def learn(self, powers: Array) -> Array:
        """Take the floor from shots (shots, bins, microphones) of which most are undisturbed, and return it."""
        self.power = self._typical(powers)
        self._recent.clear()
        return self.power

    def judge(self, powers: Array) -> list[str]:
        """What struck each shot, (shots, bins, microphones): a few words, or none for a good one."""
        assert self.power is not None, "learn() comes first"
        self._recent.extend(powers)
        recent = np.stack(self._recent)
        # A room that has become louder for good is louder in most shots; a few shots are too few to say.
        floor = np.maximum(self.power, self._typical(recent)) if len(recent) == RECENT else self.power
        bins, microphones = floor.shape
        most = float(chi2.isf(FALSE_ALARMS / (bins * microphones), self._freedom)) / self._freedom
        floor = np.maximum(floor, 1e-30)
        ratio = powers / floor
        found = []
        for shot in ratio:
            row, microphone = np.unravel_index(int(shot.argmax()), shot.shape)
            # Weighing every bin by its floor tells a broad disturbance from the loud bins of a quiet room.
            broad = shot.mean(axis=0)
            if shot[row, microphone] > most:
                found.append(f"microphone {microphone + 1} was disturbed, most in bin {row}")
            elif broad.max() > BROAD:
                found.append(f"microphone {int(broad.argmax()) + 1} was disturbed at all frequencies")
            else:
                found.append("")
        if len(recent) == RECENT:
            share = 1.0 - (1.0 - FOLLOWS) ** len(powers)
            self.power = self.power + share * (self._typical(recent) - self.power)
        return found

    def _typical(self, powers: Array) -> Array:
        """Mean power as the median tells it, smoothed over bins but for lines that stand out, as of mains hum."""
        own = np.median(powers, axis=0) / self._median
        return np.maximum(uniform_filter1d(own, SMOOTH, axis=0, mode="nearest"), own)
