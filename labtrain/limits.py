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
        unit = f" {self.unit}" if self.unit else ""
        return f"{self.low:g}{unit} to {self.high:g}{unit}"

    def check(self, value: float, *, who: str, what: str, remedy: str) -> float:
        """Return `value`, or raise one sentence that names who, what, value, bounds and remedy.

        Raises
        ------
        InputError
            If the value is not finite or lies outside the interval.
        """
        if math.isfinite(value) and self.low <= value <= self.high:
            return value
        unit = f" {self.unit}" if self.unit else ""
        raise InputError(f"{who}: asked {what} {value:g}{unit}, allowed {self}; {remedy}")


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return ``" (did you mean X?)"`` for the closest choice, or an empty string."""
    close = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.6)
    return f" (did you mean {close[0]}?)" if close else ""
