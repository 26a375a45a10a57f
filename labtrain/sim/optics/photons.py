"""Photo-electrons from random words: one 64-bit word a pixel, whatever the light.

A rejection method takes more words for one mean than for another, and the light of one pixel would then change the
noise of the next. Here the upper 32 bits are a uniform number u, and the electrons are the quantile of the Poisson
distribution at u: above a mean of 10 by the expansion that inverts it (M. B. Giles, ACM Trans. Math. Softw. 42:7,
2016),

    Q = mu + sqrt(mu) w + 1/3 + w^2/6 - (w + w^3/2) / (36 sqrt(mu)) + (w^4/270 + 7 w^2/810 - 8/405) / mu,   n = floor(Q)

with w the normal quantile at u, and by adding up probabilities below. The lower bits are two further normals.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Floats = NDArray[np.float32]
Words = NDArray[np.uint64]

EXACT_BELOW = 10.0
_CELLS = 1 << 16
_TAIL = 64  # cells at either end in which the normal quantile bends too much for a straight line

_EDGES = ndtri(np.arange(_CELLS + 1) / _CELLS)
_EDGES[[0, -1]] = _EDGES[[1, -2]]  # infinite; the tails are computed one by one
_START, _RISE = _EDGES[:-1].astype(np.float32), np.diff(_EDGES).astype(np.float32)
_MIDDLE = ndtri((np.arange(_CELLS) + 0.5) / _CELLS)
_MIDDLE = (_MIDDLE / _MIDDLE.std()).astype(np.float32)


def fine_normals(words: Words) -> Floats:
    """Standard normal numbers from the upper 32 bits of words, in their shape: within 2e-4 up to 6.2 deviations."""
    cell = (words >> np.uint64(48)).astype(np.intp)
    part = ((words >> np.uint64(32)).astype(np.uint16)).astype(np.float32)
    part *= np.float32(1.0 / _CELLS)
    part *= _RISE.take(cell, mode="clip")
    part += _START.take(cell, mode="clip")
    outer = np.flatnonzero((cell - _TAIL).view(np.uintp) >= _CELLS - 2 * _TAIL)
    part.reshape(-1)[outer] = ndtri(_uniform(words.reshape(-1)[outer]))
    return part


def coarse_normals(words: Words, which: int) -> Floats:
    """Standard normal numbers on a grid of 65,536 values from bits 0 to 15, or 16 to 31: up to 4.3 deviations."""
    return np.asarray(_MIDDLE.take((words >> np.uint64(16 * which)).astype(np.uint16).astype(np.intp), mode="clip"))


def poisson(mean: Floats, words: Words) -> Floats:
    """Poisson numbers of these means, from the upper 32 bits of words of the same shape."""
    w = fine_normals(words)
    dim = np.flatnonzero(mean < EXACT_BELOW)
    root = np.sqrt(np.maximum(mean, np.float32(EXACT_BELOW)))
    square = w * w
    inner = square * np.float32(0.5)
    inner += np.float32(1.0)
    inner /= root
    inner *= np.float32(-1.0 / 36.0)
    inner += root
    inner *= w
    # The last term, over mu = root^2.
    last = square * np.float32(1.0 / 270.0)
    last += np.float32(7.0 / 810.0)
    last *= square
    last -= np.float32(8.0 / 405.0)
    last /= root
    last /= root
    square *= np.float32(1.0 / 6.0)
    square += np.float32(1.0 / 3.0)
    square += last
    square += inner
    square += mean
    np.floor(square, out=square)
    np.maximum(square, np.float32(0.0), out=square)
    if dim.size:
        square.reshape(-1)[dim] = _inverted(mean.reshape(-1)[dim].astype(np.float64), words.reshape(-1)[dim])
    return square


def _uniform(words: Words) -> NDArray[np.float64]:
    return np.asarray(((words >> np.uint64(32)).astype(np.float64) + 0.5) / 2.0**32)


def _inverted(mean: NDArray[np.float64], words: Words) -> NDArray[np.float64]:
    """The smallest n whose cumulative probability reaches u."""
    left = _uniform(words)
    probability, count = np.exp(-mean), np.zeros(len(mean))
    for n in range(1, 100):
        left -= probability
        more = left > 0.0
        if not more.any():
            break
        count += more
        probability = probability * mean / n
    return count
