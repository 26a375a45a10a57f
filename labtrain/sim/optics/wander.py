"""A random array that wanders from shot to shot, at any shot without all that came before.

Complex arrays wander as T(t + 1) = sqrt(1 - eps^2) T(t) + eps N, so that T(t) and T(t + n) correlate by
(1 - eps^2)^(n/2); phases take Gaussian steps that let exp(i theta) correlate by as much. Both are Markov processes, and
of such one the value half-way between two others needs no more than those: the values at powers of two are drawn one
from another, all others from their two neighbours on a grid twice as coarse. Within a *hold* of 256 shots nothing
moves.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

HOLD = 256

_LEAST = 1e-12  # correlation of phases that have nothing in common

Draw = Callable[[int, int], NDArray[Any]]


@dataclass(frozen=True)
class Stretch:
    """From a shot on, drift of one speed.

    Parameters
    ----------
    shot : int
    eps : float
        Per shot.
    kept : float
        Correlation of what there is at this shot with what there was before it.
    """

    shot: int
    eps: float
    kept: float = 1.0

    def place(self, shot: int) -> tuple[int, int]:
        """Number of the hold that a shot falls into, counted from 0, and shots from this one to the hold's end."""
        hold, rest = divmod(shot - self.shot, HOLD)
        return hold, HOLD - rest


History = tuple[Stretch, ...]


class Wandering:
    """An array by shot.

    Parameters
    ----------
    start : callable () -> ndarray
        As it is at shot 0.
    draw : callable (number of the stretch, node) -> ndarray
        Independent standard numbers, in the same shape. Node 0 changes the array at the beginning of a stretch.
    phases : bool
        Real phases in radian instead of complex numbers of standard variance.
    keep : int
        Arrays to remember.
    """

    def __init__(self, start: Callable[[], NDArray[Any]], draw: Draw, *, phases: bool = False, keep: int = 32) -> None:
        self._start, self._draw, self._phases, self._keep = start, draw, phases, keep
        self._known: dict[tuple[History, int], NDArray[Any]] = {}

    def at(self, history: History, shot: int) -> NDArray[Any]:
        """At a shot; all of the history lies at or before it."""
        return self._node(history, history[-1].place(shot)[0] if history[-1].eps else 0)

    def _node(self, history: History, node: int) -> NDArray[Any]:
        """Down to it by halves, from the powers of two around it: no more than two arrays drawn for each doubling."""
        low, x, high = 0, self._kept(history, 0, lambda: self._first(history)), 1
        if node == 0:
            return x
        y = self._next(history, x, 0, 1)
        while high < node:
            low, x, high = high, y, 2 * high
            y = self._next(history, x, low, high)
        while high != node:
            middle = (low + high) // 2
            found = self._middle(history, x, y, low, middle)
            if middle <= node:
                low, x = middle, found
            if middle >= node:
                high, y = middle, found
        return y

    def _first(self, history: History) -> NDArray[Any]:
        """At the beginning of the last stretch."""
        last, before = history[-1], history[:-1]
        found = self.at(before, last.shot) if before else self._start()
        return self._after(found, last.kept, self._draw(len(before), 0)) if last.kept < 1.0 else found

    def _next(self, history: History, x: NDArray[Any], low: int, high: int) -> NDArray[Any]:
        correlation = _correlation(history[-1].eps, high - low)
        return self._kept(history, high, lambda: self._after(x, correlation, self._draw(len(history) - 1, high)))

    def _middle(self, history: History, x: NDArray[Any], y: NDArray[Any], low: int, middle: int) -> NDArray[Any]:
        correlation = _correlation(history[-1].eps, middle - low)
        return self._kept(
            history, middle, lambda: self._between(x + y, correlation, self._draw(len(history) - 1, middle))
        )

    def _kept(self, history: History, node: int, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """What is remembered, or made now."""
        found = self._known.pop((history, node), None)
        if found is None:
            found = make()
        if self._keep:
            self._known[history, node] = found  # as the latest
            if len(self._known) > self._keep:
                del self._known[next(iter(self._known))]
        return found

    def _after(self, x: NDArray[Any], kept: float, new: NDArray[Any]) -> NDArray[Any]:
        if self._phases:
            return x + math.sqrt(-2.0 * math.log(kept or _LEAST)) * new
        return kept * x + math.sqrt(1.0 - kept**2) * new

    def _between(self, ends: NDArray[Any], kept: float, new: NDArray[Any]) -> NDArray[Any]:
        """Half-way between two, of which the sum is given; `kept` is the correlation with either."""
        if self._phases:
            return 0.5 * ends + math.sqrt(-math.log(kept or _LEAST)) * new
        return kept / (1.0 + kept**2) * ends + math.sqrt((1.0 - kept**2) / (1.0 + kept**2)) * new


def _correlation(eps: float, holds: int) -> float:
    """After so many holds."""
    return float((1.0 - eps**2) ** (0.5 * HOLD * holds))
