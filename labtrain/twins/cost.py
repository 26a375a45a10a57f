"""What fitting a twin costs: digital work that a method with this twin never counts as its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import wraps
from typing import Any, TypeVar, cast


@dataclass(frozen=True)
class FitCost:
    """What a fit took.

    Parameters
    ----------
    rows : int
        Pairs that it was fitted to, recorded shots on a rig.
    multiply_adds : int
        Real ones, estimated from array sizes and the steps done; a complex one counts as four.
    cpu_s : float
        Seconds of a processor, of all threads together; measured.
    """

    rows: int
    multiply_adds: int
    cpu_s: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Costed:
    """Base of twins whose fit counts `_multiply_adds`."""

    fit_cost: FitCost | None = None
    _multiply_adds: int = 0


Fit = TypeVar("Fit", bound=Callable[..., Any])


def costed(fit: Fit) -> Fit:
    """A twin's ``fit(x, y, ...)`` that leaves in `fit_cost` what it took."""

    @wraps(fit)
    def measured(self: Any, x: Any, y: Any, **options: Any) -> Any:
        self._multiply_adds, began_s = 0, time.process_time()
        twin = fit(self, x, y, **options)
        twin.fit_cost = FitCost(len(x), twin._multiply_adds, time.process_time() - began_s)
        return twin

    return cast(Fit, measured)


def product(rows: int, terms: int, targets: int) -> int:
    """Multiply-adds of normal equations from (rows, terms) and (rows, targets); a matrix with itself costs half."""
    return rows * terms * (terms + 1) // 2 + rows * terms * targets


def solution(terms: int, targets: int) -> int:
    """Multiply-adds of solving (terms, terms) for so many right sides, by elimination."""
    return terms**3 // 3 + terms**2 * targets
