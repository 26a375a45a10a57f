"""Which pixels the inputs of a layer switch: the states of loads, relaxed to [0, 1]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labtrain.errors import DataError
from labtrain.layer import Array, Integers

_VALUES = 33  # an input that takes more is no thermometer of pixels


@dataclass(frozen=True)
class Loads:
    """Pixels that are switched on between two neighbouring values of an input.

    An input of two values switches one pixel. One of L values is taken for a thermometer of L - 1, as the code
    ``thermometer`` of the microwave rig is: its k-th pixel goes from 0 to 1 between values k and k + 1.

    Attributes
    ----------
    inputs : ndarray, (pixels,), int64
        Input that switches the pixel.
    low, high : ndarray, (pixels,), float64
        Drives between which the state goes from 0 to 1.
    """

    inputs: Integers
    low: Array
    high: Array

    @classmethod
    def of(cls, x: Array) -> Loads:
        """Loads of recorded drives (rows, n_in).

        Raises
        ------
        DataError
            If an input takes more than 33 values, or none takes two.
        """
        inputs, low, high = [], [], []
        for i, column in enumerate(x.T):
            values = np.unique(column)
            if len(values) > _VALUES:
                raise DataError(
                    f"twin: input {i} takes {len(values)} values; a multiport twin is of a layer whose inputs switch "
                    f"pixels, at most {_VALUES} values each: fit --kind wave"
                )
            inputs += [i] * (len(values) - 1)
            low += values[:-1].tolist()
            high += values[1:].tolist()
        if not inputs:
            raise DataError("twin: no input ever changes; record random drives with labtrain record")
        return cls(np.array(inputs), np.array(low), np.array(high))

    def states(self, x: Array) -> Array:
        """States (rows, pixels) in [0, 1] for drives (rows, n_in)."""
        states: Array = np.clip((x[:, self.inputs] - self.low) / (self.high - self.low), 0.0, 1.0)
        return states

    def pull_back(self, x: Array, ds: Array) -> Array:
        """Gradient (rows, n_in) by the drives, of the gradient `ds` (rows, pixels) by the states.

        At a value of an input, where the pixel below it is just on and the one above it just off, the slope is the mean
        of both; at the ends of its range, that of the only one.
        """
        at = x[:, self.inputs]
        share = ((at >= self.low) & (at <= self.high)).astype(np.float64)
        chained = self.inputs[1:] == self.inputs[:-1]  # a pixel whose upper value is the lower one of the next
        share[:, 1:][chained & (at == self.low)[:, 1:]] = 0.5
        share[:, :-1][chained & (at == self.high)[:, :-1]] = 0.5
        dx = np.zeros(x.shape)
        for pixel, i in enumerate(self.inputs):
            dx[:, i] += share[:, pixel] * ds[:, pixel] / (self.high[pixel] - self.low[pixel])
        return dx

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"load_inputs": self.inputs, "load_low": self.low, "load_high": self.high}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Loads:
        low, high = (np.asarray(arrays[name], dtype=np.float64) for name in ("load_low", "load_high"))
        return cls(np.asarray(arrays["load_inputs"], dtype=np.int64), low, high)
