"""Real and simulated time; nothing else in labtrain may sleep or read a clock.

With the simulated clock a night in the lab passes in seconds, and logs carry the times it would have had.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Time as an experiment sees it."""

    def now(self) -> float:
        """Seconds since 1970-01-01 UTC."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary origin; never goes back."""

    def sleep(self, seconds: float) -> None:
        """Wait; negative durations count as zero."""


class RealClock:
    """The computer's own clock."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            time.sleep(seconds)


class SimulatedClock:
    """A clock that moves only when someone sleeps on it.

    Parameters
    ----------
    start_s : float
        Value of :meth:`now` at the start, in seconds since 1970-01-01 UTC.
    """

    def __init__(self, start_s: float = 0.0) -> None:
        self._start_s = float(start_s)
        self._elapsed_s = 0.0

    def now(self) -> float:
        return self._start_s + self._elapsed_s

    def monotonic(self) -> float:
        return self._elapsed_s

    def sleep(self, seconds: float) -> None:
        self._elapsed_s += max(0.0, float(seconds))
