"""How many threads the linear algebra may use.

Networks on a rig are small: their matrices gain nothing from several threads, and on a busy machine threads that wait
for one another cost a factor of ten and more. threadpoolctl sets this for whatever BLAS numpy came with.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache

from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()  # looking for the libraries takes milliseconds: once a process


def blas_threads(count: int) -> AbstractContextManager[object]:
    """Let BLAS use `count` threads inside a ``with`` block."""
    limits: AbstractContextManager[object] = _controller().limit(limits=count, user_api="blas")
    return limits
