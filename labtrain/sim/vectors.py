"""The vectors of a vector-Jacobian product, checked alike for worlds, for layers and for twins."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labtrain.errors import InputError


def check_vectors(dy: ArrayLike, rows: int, n_out: int, who: str) -> NDArray[np.float64]:
    """The vectors dy (rows, n_out), one for each drive, as float64.

    Raises
    ------
    InputError
        If they have another shape.
    """
    vectors = np.asarray(dy, dtype=np.float64)
    if vectors.shape != (rows, n_out):
        raise InputError(f"{who}: the vector of the product has shape {vectors.shape}, needed {(rows, n_out)}")
    return vectors
