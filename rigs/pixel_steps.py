"""Words of the levels next to a level: which pixels take which states, and what that tells of a derivative.

A value on pixels has no derivative. In its place stands, at the level that carries the value, the quotient of exact
differences, straight through the rounding to that level (Bengio, Leonard, Courville, arXiv:1308.3432 (2013), for the
latter)

    dy/dx = (y(level + 1) - y(level - 1)) / (x(level + 1) - x(level - 1))                                           (1)

with the level itself in the place of a neighbour that does not exist: y(1) - y(0) for one bit. With the moves of y from
where it is, it is a sum over neighbouring levels, dy/dx = sum_l w_l (y(l) - y(level)).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
States = NDArray[np.int64]


class Steps(NamedTuple):
    """Steps of drives to neighbouring levels, of one input at a time.

    Parameters
    ----------
    inputs : ndarray, (steps,)
        That is changed; two steps each, one each of values with two levels.
    pixels : ndarray, (shots, steps, together)
        Pixels that change together; -1 where fewer do.
    states : ndarray, (shots, steps, together)
        What they change to.
    weights : ndarray, (shots, steps)
        w, of what the step does to y; an input's derivative is the sum over its steps.
    """

    inputs: States
    pixels: States
    states: States
    weights: Array


class StepTable:
    """Steps from every level of one kind of word.

    Parameters
    ----------
    words : ndarray, (levels, length)
        States of a value's pixels.
    values : ndarray, (levels,)
        What they stand for, rising.
    """

    def __init__(self, words: States, values: Array) -> None:
        level = np.arange(len(words))
        if len(words) == 2:
            others = 1 - level[None]
            weights = 1.0 / (values[others] - values)
        else:
            others = np.array([np.minimum(level + 1, level[-1]), np.maximum(level - 1, 0)])
            weights = np.array([[1.0], [-1.0]]) / (values[others[0]] - values[others[1]])
        differ = words[others] != words
        together = int(differ.sum(axis=2).max())
        digits = np.argsort(~differ, axis=2, kind="stable")[:, :, :together]
        self._digits: States = np.where(np.take_along_axis(differ, digits, axis=2), digits, -1)
        self._states, self._weights = np.take_along_axis(words[others], digits, axis=2), weights

    def steps(self, columns: States, places: States, levels: States) -> Steps:
        """Steps of the inputs `columns` (inputs,) on their pixels (inputs, length), from levels (shots, inputs)."""
        digits, count = self._digits[:, levels], len(columns)
        pixels = np.where(digits >= 0, places[np.arange(count)[:, None], digits], -1)
        shape = len(levels), len(digits) * count, digits.shape[-1]
        return Steps(
            inputs=np.tile(columns, len(digits)),
            pixels=pixels.swapaxes(0, 1).reshape(shape),
            states=self._states[:, levels].swapaxes(0, 1).reshape(shape),
            weights=self._weights[:, levels].swapaxes(0, 1).reshape(shape[:2]),
        )


def joined(parts: list[Steps]) -> Steps:
    """All of these steps, of the same shots."""
    together = max(part.pixels.shape[2] for part in parts)

    def padded(numbers: States, fill: int) -> States:
        missing = together - numbers.shape[2]
        return np.pad(numbers, ((0, 0), (0, 0), (0, missing)), constant_values=fill)

    return Steps(
        inputs=np.concatenate([part.inputs for part in parts]),
        pixels=np.concatenate([padded(part.pixels, -1) for part in parts], axis=1),
        states=np.concatenate([padded(part.states, 0) for part in parts], axis=1),
        weights=np.concatenate([part.weights for part in parts], axis=1),
    )
