"""Hybrids of two samples: negative passes without labels.

    hybrid = m * a + (1 - m) * b,   m: a mask of zeros and ones with large coherent regions

G. Hinton, arXiv 2212.13345 (2022): a hybrid has the short-range correlations of real images and the wrong long-range
ones. The mask is a random bit image, blurred several times with [1/4, 1/2, 1/4] in both directions, then thresholded at
1/2. Features without neighbours have nothing to blur: the random bits are the mask.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def blur(images: Array) -> Array:
    """Images (n, height, width), each pixel by [1/4, 1/2, 1/4] down and across; beyond the border, the border again."""
    wide = np.pad(images, ((0, 0), (1, 1), (0, 0)), mode="edge")
    down = 0.25 * wide[:, :-2] + 0.5 * images + 0.25 * wide[:, 2:]
    wide = np.pad(down, ((0, 0), (0, 0), (1, 1)), mode="edge")
    result: Array = 0.25 * wide[:, :, :-2] + 0.5 * down + 0.25 * wide[:, :, 2:]
    return result


def masks(n: int, shape: tuple[int, int], smoothness: int, rng: np.random.Generator) -> Array:
    """n masks (n, height * width) of zeros and ones, none of them all zeros or all ones.

    Parameters
    ----------
    shape : (height, width), at least two pixels
    smoothness : int
        How often the random bits are blurred before the threshold; 0: not at all.
    """
    found = np.empty((n, shape[0] * shape[1]))
    missing = np.arange(n)
    while missing.size:
        drawn = rng.integers(0, 2, (missing.size, *shape)).astype(np.float64)
        for _ in range(smoothness):
            drawn = blur(drawn)
        found[missing] = (drawn > 0.5).reshape(missing.size, -1)
        # A mask of one kind would leave a real sample, to be called a hybrid.
        share = found[missing].mean(axis=1)
        missing = missing[(share == 0.0) | (share == 1.0)]
    return found


def hybrids(rows: Array, each: int, shape: tuple[int, int], smoothness: int, rng: np.random.Generator) -> Array:
    """Hybrids (n, each, d) of every row with `each` other rows, (n, d), at least two rows of two features.

    Every feature of a hybrid is that of one of its two rows: no value comes up that was not measured.
    """
    n = len(rows)
    partners = (np.arange(n)[:, None] + rng.integers(1, n, (n, each))) % n
    mask = masks(n * each, shape, smoothness, rng).reshape(n, each, -1)
    result: Array = np.where(mask == 1.0, rows[:, None, :], rows[partners])
    return result
