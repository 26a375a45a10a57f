"""Feature rows at rest in few bytes, made to float64 part by part when they are asked for.

60,000 images of 28 x 28 pixels are 47 MB as the bytes they are stored in and 376 MB as float64, and every temporary of
a computation over all of them is as large again. So such tables keep their rows as they came, hand out views instead of
copies, and what runs over all rows does it in parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[np.float64]

PART = 2**22
"""Numbers that a computation over all rows makes at once: 32 MiB as float64, some of it several times over."""


class CompactRows:
    """Feature rows (n, d) of float64, kept as numbers of a smaller type.

    ``rows[i]`` of a slice, a mask or an array of row numbers is another CompactRows on the same store, which copies no
    row; of one number it is that row; of anything else, and for ``np.asarray(rows)``, it is float64 values.

    Parameters
    ----------
    store : ndarray (rows, d), integers or floats
    full : float
        Stored number that stands for 1: 255 for the bytes of an image.
    index : ndarray (n,), optional
        Rows of the store; all, in their order, when left out.
    """

    def __init__(self, store: NDArray[Any], full: float = 1.0, index: NDArray[np.int64] | None = None) -> None:
        self._store, self._full = store, full
        self._index = np.arange(len(store)) if index is None else index

    @property
    def shape(self) -> tuple[int, int]:
        return len(self._index), self._store.shape[1]

    @property
    def ndim(self) -> int:
        return 2

    @property
    def dtype(self) -> np.dtype[np.float64]:
        return np.dtype(np.float64)

    @property
    def nbytes(self) -> int:
        """Bytes of the store, which views share."""
        return self._store.nbytes

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, tuple):
            return np.asarray(self)[key]
        chosen = self._index[key]
        return self._values(chosen) if np.ndim(chosen) == 0 else CompactRows(self._store, self._full, chosen)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("rows at rest are copied when they become float64")
        return self._values(self._index).astype(dtype or np.float64, copy=False)

    def _values(self, index: Any) -> Array:
        values: Array = self._store[index].astype(np.float64)
        values /= self._full
        return values

    # What a scaling is learned from; as of an ndarray, over the rows.

    def min(self, axis: int = 0) -> Array:
        """Smallest value of each column, (d,)."""
        return np.asarray(np.min([part.min(axis=axis) for part in in_parts(self)], axis=0))

    def max(self, axis: int = 0) -> Array:
        """Largest value of each column, (d,)."""
        return np.asarray(np.max([part.max(axis=axis) for part in in_parts(self)], axis=0))

    def mean(self, axis: int = 0) -> Array:
        """Mean of each column, (d,)."""
        return np.asarray(np.sum([part.sum(axis=axis) for part in in_parts(self)], axis=0) / len(self))

    def std(self, axis: int = 0) -> Array:
        """Standard deviation of each column, (d,)."""
        mean = self.mean(axis)
        squares = np.sum([np.square(part - mean).sum(axis=axis) for part in in_parts(self)], axis=0)
        return np.asarray(np.sqrt(squares / len(self)))


Rows = Array | CompactRows
"""Raw feature rows (n, d)."""


def parts(n: int, width: int) -> Iterator[slice]:
    """Slices that cut n rows of `width` numbers into parts of at most :data:`PART` numbers; one row at least."""
    step = max(1, PART // max(1, width))
    for start in range(0, n, step):
        yield slice(start, min(n, start + step))


def in_parts(rows: Rows) -> Iterator[Array]:
    """The rows as float64, part by part."""
    for part in parts(*rows.shape):
        yield np.asarray(rows[part], dtype=np.float64)
