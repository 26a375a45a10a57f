"""Quantities with bounds and units, checked before anything leaves for an instrument."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass

from labtrain.errors import InputError


@dataclass(frozen=True)
class Limit:
    """A closed interval in a unit.

    Parameters
    ----------
    low, high : float
        Bounds, both allowed.
    unit : str
        Unit printed after each number; empty for a bare number.
    """

    low: float
    high: float
    unit: str = ""

    def __str__(self) -> str:
        return f"{shown(self.low, self.unit)} to {shown(self.high, self.unit)}"

    def check(self, value: float, *, who: str, what: str, remedy: str) -> float:
        """Return `value`, or raise one sentence that names who, what, value, bounds and remedy.

        Raises
        ------
        InputError
            If the value is not finite or lies outside the interval.
        """
        if math.isfinite(value) and self.low <= value <= self.high:
            return value
        raise InputError(f"{who}: asked {what} {shown(value, self.unit)}, allowed {self}; {remedy}")


def shown(value: float, unit: str = "") -> str:
    """A number with its unit: ``0.5 V``, ``5.15 GHz``; prefixes for frequencies alone, where everybody uses them."""
    if unit != "Hz":
        return f"{value:g} {unit}".rstrip()
    for factor, prefixed in ((1e9, "GHz"), (1e6, "MHz"), (1e3, "kHz")):
        if factor <= abs(value) < math.inf:
            return f"{value / factor:.9g} {prefixed}"
    return f"{value:.9g} Hz"


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return ``" (did you mean X?)"`` for the closest choice, or an empty string."""
    close = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.6)
    return f" (did you mean {close[0]}?)" if close else ""
