"""Ablations: the same trial again with something else in the place of the physics. They cost the rig no shot.

Whatever a network reaches without its physics is not the physics' merit. Each stand-in is a PhysicalLayer, so the
whole method runs unchanged in front of it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labtrain.encoding import Encoder
from labtrain.errors import MeasurementError
from labtrain.experiment import Ablation
from labtrain.layer import Integers, Layer, LayerInfo, PhysicalLayer, Shots
from labtrain.ledger import Metered
from labtrain.methods.ridge import solve
from labtrain.network import Block, PhysicalNetwork

Array = NDArray[np.float64]

RIDGE_PENALTY = 1e-3  # of the readout; per sample, on standardised responses


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


def stand_in(name: Ablation, layer: Metered, rng: np.random.Generator) -> StandIn:
    """What takes the place of a layer in an ablation."""
    if name == "off":
        return Off(layer)
    if name == "random":
        return RandomWaves(layer, rng)
    if name == "shuffled":
        return Shuffled(layer, np.concatenate([y for _, y in layer.memory]), rng)
    return Logged(layer)


def ridge_readout(net: PhysicalNetwork, layer: Metered, rows: Array, labels: NDArray[np.int64], asked: Array) -> Array:
    """Scores (n, classes) of feature rows `asked` by a linear readout, one for each label, of logged responses.

    Parameters
    ----------
    net : PhysicalNetwork
        Of whose first block the responses are.
    layer : Metered
        Of that block.
    rows, labels : ndarray (m, d), (m,)
        What the readouts are fitted to, as far as it was measured.
    asked : ndarray (n, d)
    """
    block, logged = net.blocks[0], Logged(layer)
    H, known = _logged_candidates(net.encoder, block, logged, rows)
    tested, _ = _logged_candidates(net.encoder, block, logged, asked)
    scores = np.empty(tested.shape[:2])
    for k in range(tested.shape[1]):
        fitted = known[:, k]
        weights, intercept = solve(H[fitted, k], (labels[fitted] == k).astype(np.float64)[:, None], RIDGE_PENALTY)
        scores[:, k] = (tested[:, k] @ weights + intercept)[:, 0]
    return scores


def _logged_candidates(encoder: Encoder, block: Block, logged: Logged, rows: Array) -> tuple[Array, NDArray[np.bool_]]:
    """First-block responses (n, classes, n_out) to every label, and which of them were measured (n, classes)."""
    n, k = len(rows), len(encoder.classes)
    x = np.broadcast_to(encoder.every_label(rows), (n, k, encoder.width))
    drives = block.drive(x.reshape(n * k, -1))
    known = logged.knows(drives)
    y = np.zeros((n * k, logged.info.n_out))
    if known.any():
        y[known] = logged.respond(drives[known])
    return y.reshape(n, k, -1), known.reshape(n, k)
