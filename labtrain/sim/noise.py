"""Counter-based random numbers: what falls on a shot depends on the seed and the shot number alone.

Philox (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) turns a key and a counter into random
bits, so the numbers of shot 1,000,000 cost as much as those of shot 0 and need no history. Shots are numbered in
blocks of a fixed size; the block number is the counter, the row within the block the shot.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

NOISE, DRIFT, REFERENCE, GEOMETRY, ADDED = range(5)  # streams: what the numbers are for

_WORD = (1 << 64) - 1


def philox(seed: int, stream: int, counter: int = 0, repeat: int = 0) -> np.random.Generator:
    """Generator for one counter value of one stream of a seed.

    Parameters
    ----------
    seed : int
        Any integer; taken modulo 2^64.
    stream : int
        Purpose of the numbers (noise, drift, ...): streams of one seed are independent.
    counter : int
        Block number, non-negative.
    repeat : int
        Number of the repetition under the same counter, non-negative.
    """
    key = np.array([int(seed) & _WORD, stream], dtype=np.uint64)
    start = np.array([0, 0, counter, repeat], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=start))


def block_normals(seed: int, stream: int, block: int, shape: tuple[int, ...]) -> Array:
    """Standard normal numbers of one block of shots; `shape` is (shots in a block, ...)."""
    return philox(seed, stream, block).standard_normal(shape)


def random_walk(seed: int, stream: int, step: int) -> float:
    """Value of a unit random walk (0 at step 0, independent unit normal increments) after `step` steps."""
    return float(philox(seed, stream).standard_normal(step).sum()) if step > 0 else 0.0
