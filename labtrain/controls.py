"""Ablations: the same trial again with something else in the place of the physics. They cost the rig no shot.

Whatever a network reaches without its physics is not the physics' merit. Each stand-in is a PhysicalLayer, so the
whole method runs unchanged in front of it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labtrain.errors import MeasurementError
from labtrain.layer import Integers, Layer, LayerInfo, PhysicalLayer, Shots
from labtrain.ledger import Metered

Array = NDArray[np.float64]


class StandIn(Layer):
    """A layer made of arithmetic in the place of another one, and told no more than that one would be told.

    Parameters
    ----------
    layer : PhysicalLayer
        The one it replaces; it is never measured.
    n_out : int
    name : str
    """

    def __init__(self, layer: PhysicalLayer, n_out: int, name: str) -> None:
        self._info = LayerInfo(layer.info.n_in, n_out, 0.0, 1 << 16, "1", name, simulated=True, writes_per_shot=0)
        self._replaced = layer
        self._parameters = layer.parameters
        self.name = name

    @property
    def info(self) -> LayerInfo:
        return self._info

    def quantise(self, x: ArrayLike) -> Array:
        return self._replaced.quantise(x)

    @property
    def parameters(self) -> Integers:
        """As many as the replaced layer has: they can be set, and change nothing."""
        return self._parameters.copy()

    def set_parameters(self, states: ArrayLike) -> None:
        self._parameters = np.array(states, dtype=np.int64)

    def respond(self, x: Array) -> Array:
        """Responses (n, n_out) to drives (n, n_in) as the replaced layer would be told them."""
        return np.empty((len(x), 0))

    def _measure(self, x: Array) -> Iterator[Shots]:
        x = self.quantise(x)
        for start in range(0, len(x), self.info.max_batch):
            part = x[start : start + self.info.max_batch]
            yield Shots(part, self.respond(part), None, np.ones(len(part), dtype=np.int64), 0.0)


class Off(StandIn):
    """Nothing answers: only the skip path is left."""

    def __init__(self, layer: PhysicalLayer) -> None:
        super().__init__(layer, 0, "physics off")


class RandomWaves(StandIn):
    """|T x| with a fixed complex Gaussian T: a linear medium seen by amplitude detectors, as wide as the rig."""

    def __init__(self, layer: PhysicalLayer, rng: np.random.Generator) -> None:
        n_in, n_out = layer.info.n_in, layer.info.n_out
        super().__init__(layer, n_out, "random physics")
        self._T = rng.standard_normal((n_out, n_in, 2)) @ np.array([1.0, 1.0j]) / np.sqrt(2 * n_in)

    def respond(self, x: Array) -> Array:
        amplitude: Array = np.abs(x @ self._T.T)
        return amplitude

    def vjp(self, x: ArrayLike, dy: ArrayLike) -> Array:
        amplitude = np.asarray(x) @ self._T.T
        size = np.abs(amplitude)
        along = np.asarray(dy) * np.divide(amplitude.conj(), size, out=np.zeros_like(amplitude), where=size > 0)
        back: Array = (along @ self._T).real
        return back


class Shuffled(StandIn):
    """True responses dealt to the wrong samples: what was logged, in order of arrival, permuted within each batch."""

    def __init__(self, layer: PhysicalLayer, responses: Array, rng: np.random.Generator) -> None:
        super().__init__(layer, responses.shape[1], "shuffled responses")
        self._responses, self._rng, self._next = responses, rng, 0

    def _measure(self, x: Array) -> Iterator[Shots]:
        # One permutation for the whole batch: dealing within small chunks would leave neighbours together.
        rows = (self._next + self._rng.permutation(len(x))) % len(self._responses)
        self._next += len(x)
        yield Shots(x, self._responses[rows], None, np.ones(len(x), dtype=np.int64), 0.0)


class Logged(StandIn):
    """Answers a drive with the response that the rig gave to it; knows nothing else.

    Parameters
    ----------
    layer : Metered
        The layer whose memory is asked.
    """

    def __init__(self, layer: Metered) -> None:
        super().__init__(layer, layer.info.n_out, "logged responses")
        self._known = {row.tobytes(): answer for x, y in layer.memory for row, answer in zip(x, y, strict=True)}

    def _keys(self, x: Array) -> list[bytes]:
        return [row.tobytes() for row in np.ascontiguousarray(self.quantise(x))]

    def knows(self, x: Array) -> NDArray[np.bool_]:
        """Mask (n,) of drives that were measured."""
        return np.array([key in self._known for key in self._keys(x)], dtype=np.bool_)

    def respond(self, x: Array) -> Array:
        known = self.knows(x)
        if not known.all():
            raise MeasurementError(
                f"logged responses: drive {int(np.argmin(known))} of {len(x)} was never measured; leave this ablation "
                "out of the config's list"
            )
        return np.stack([self._known[key] for key in self._keys(x)])
