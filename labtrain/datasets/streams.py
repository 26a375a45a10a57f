"""Records of equal size behind one another in a stream of bytes, as IDX files and .npz archives have their images."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from labtrain.datasets.images import BLOCK
from labtrain.datasets.table import Indices


class TooShortError(Exception):
    """The stream ends before its last record; `got` bytes of records were there."""

    def __init__(self, got: int) -> None:
        super().__init__(got)
        self.got = got


def chosen_records(
    file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any], chosen: Indices
) -> Iterator[NDArray[Any]]:
    """Those of the records `shape` (n, ...) that are chosen, ascending, in blocks; all of them are read.

    Raises
    ------
    TooShortError
    """
    size = math.prod(shape[1:]) * dtype.itemsize
    for start in range(0, shape[0], BLOCK):
        count = min(BLOCK, shape[0] - start)
        data = bytearray()
        while len(data) < count * size and (more := file.read(count * size - len(data))):
            data += more
        if len(data) < count * size:
            raise TooShortError(start * size + len(data))
        low, high = np.searchsorted(chosen, [start, start + count])
        if high > low:
            block = np.frombuffer(data, dtype).reshape(count, *shape[1:])
            yield block[chosen[low:high] - start]
