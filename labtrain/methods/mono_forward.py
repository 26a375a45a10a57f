"""Mono-Forward: every block learns the classes through a projection of its own; one pass, no negative samples.

    a = max(0, W h + b),   G = a M^T,   L = mean -log softmax(G)[label],   x' = a

J. Gong, B. Li, W. Abdulla, arXiv 2501.09238 (2025). M (classes, width) turns the activations of a block into a goodness
for each class; the local cross-entropy trains W, b and M of that block alone. No label enters the physics, so a
prediction is one physical pass per block, whatever the number of classes: by the goodness of the last block, or summed
over all of them.

One block after the other; each sample is measured once per block and its response used for all epochs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from labtrain.ledger import Work
from labtrain.methods.adam import Adam
from labtrain.methods.goodness import side_by_side
from labtrain.methods.layerwise import Layerwise, LayerwiseConfig
from labtrain.methods.method import Data
from labtrain.network import PhysicalNetwork

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


class MonoForwardConfig(LayerwiseConfig):
    """Settings of Mono-Forward."""

    method: Literal["mono-forward"] = "mono-forward"
    prediction: Literal["last", "summed"] = Field("summed", description="goodness of the last block, or of all blocks")


def loss_and_gradients(parameters: Array, M: Array, passes: Array, labels: Labels) -> tuple[float, Array, Array]:
    """Local cross-entropy of one block and its gradients.

    Parameters
    ----------
    parameters : ndarray (width, fan_in + 1), W with b as its last column
    M : ndarray (classes, width)
    passes : ndarray (fan_in + 1, n)
        Inputs of the linear map, as :func:`labtrain.methods.goodness.side_by_side` arranges them.
    labels : ndarray (n,)

    Returns
    -------
    loss : float, mean over samples
    gradients : two ndarrays, shaped like the parameters and like M
    """
    a = np.maximum(parameters @ passes, 0.0)
    G = M @ a
    G -= G.max(axis=0)
    share = np.exp(G)
    total = share.sum(axis=0)
    n = np.arange(len(labels))
    loss = float((np.log(total) - G[labels, n]).mean())

    share /= total
    share[labels, n] -= 1.0  # dL/dG, but for the mean
    share /= len(labels)
    dz = (M.T @ share) * (a > 0.0)
    return loss, dz @ passes.T, share @ a.T


class MonoForward(Layerwise):
    """Trains each block on its own cross-entropy; the config section is :class:`MonoForwardConfig`."""

    Config = MonoForwardConfig
    config: MonoForwardConfig
    LEARNED = ("M",)
    ablations = ("off", "random", "shuffled", "no_skip")

    # -- the Method interface --------------------------------------------------------------------------------------

    def start(self, net: PhysicalNetwork, data: Data, rng: np.random.Generator) -> None:
        super().start(net, data, rng)
        widths = [len(block.b) for block in net.blocks]
        # As the usual linear layer: uniform within 1 / sqrt(inputs).
        self.M = [rng.uniform(-1.0, 1.0, (self.classes, width)) / np.sqrt(width) for width in widths]
        self.adam_M = [Adam(M.shape) for M in self.M]

    def planned_shots(self, blocks: int, train: int, validation: int, classes: int) -> int:  # noqa: ARG002
        return blocks * (train + validation)

    def shots_per_prediction(self, blocks: int, classes: int) -> int:  # noqa: ARG002
        return blocks

    def scores(self, net: PhysicalNetwork, rows: Array) -> Array:
        """Goodness of each class, (n, classes); one physical pass per block."""
        return self._scores(self._predicted(net, net.encoder.features(rows)[:, None, :]))

    def state(self) -> dict[str, Any]:
        # Copies: Adam updates M in place.
        return super().state() | {"M": [M.copy() for M in self.M], "adam_M": [adam.state() for adam in self.adam_M]}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self.M = [M.copy() for M in state["M"]]
        for adam, saved in zip(self.adam_M, state["adam_M"], strict=True):
            adam.restore(saved)

    # -- blocks ----------------------------------------------------------------------------------------------------

    def _first(self, validation: bool) -> Array:
        rows = self.data.validation_rows if validation else self.data.rows
        return self.net.encoder.features(rows)[:, None, :]

    def _onward(self, z: Array) -> Array:
        return np.maximum(z, 0.0)

    def _passes(self, i: int, h: Array) -> Array:  # noqa: ARG002
        return side_by_side(h)

    def _descend(self, i: int, passes: Array, n: int, rate: float) -> float:
        parameters, M = self.net.blocks[i].parameters, self.M[i]
        loss, gradient, gradient_M = loss_and_gradients(parameters, M, passes, self.data.labels)
        self.adam[i].update(rate, parameters, gradient)
        self.adam_M[i].update(rate, M, gradient_M)
        self.multiply_adds += Work(forward=n * M.size, update=2 * n * M.size)
        return loss

    def _scores(self, outputs: Iterable[Array]) -> Array:
        """G (n, classes) of the last of these blocks, or summed over them, from z (n, 1, width) of each."""
        found = [self._onward(z[:, 0]) @ M.T for z, M in zip(outputs, self.M, strict=False)]
        self.multiply_adds += Work(forward=sum(len(G) * M.size for G, M in zip(found, self.M, strict=False)))
        result: Array = found[-1] if self.config.prediction == "last" else np.sum(found, axis=0)
        return result

    def _layerwise_accuracy(self, last: int) -> float:
        validation = bool(len(self.data.validation_rows))
        labels = self.data.validation_labels if validation else self.data.labels
        return float((self._scores(self._replayed(last, validation)).argmax(axis=1) == labels).mean())

    # -- patience --------------------------------------------------------------------------------------------------

    def _weights(self) -> dict[str, Any]:
        return super()._weights() | {"M": [M.copy() for M in self.M]}

    def _bring_back(self, weights: dict[str, Any]) -> None:
        super()._bring_back(weights)
        self.M = [M.copy() for M in weights["M"]]
