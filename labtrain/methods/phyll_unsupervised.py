"""Unsupervised PhyLL: blocks learn to tell real samples from hybrids of two, then a linear readout learns the labels.

    L = mean log(1 + exp(-theta (g(h_real) - g(h_hybrid)))),   g(h) = cos(|W h + b|, xi)
    scores = V [|z_1|, ..., |z_B|] + c,   ridge regression on one-hot labels

A. Momeni et al., Science 382, 1297 (2023), arXiv 2304.11042, after the unsupervised Forward-Forward of G. Hinton,
arXiv 2212.13345 (2022). The *positive* pass carries a sample, *negative* passes hybrids of it with other samples
(hybrids.py); no label enters the physics. A prediction is one physical pass per block, whatever the number of classes.

One block after the other; each pass is measured once per block and its response used for all epochs. The readout costs
no shot: it sees the responses to the positive passes that the blocks were trained on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from labtrain.errors import ConfigError, DataError
from labtrain.ledger import Work
from labtrain.methods.goodness import directions, largest_goodness, loss_and_gradient, side_by_side
from labtrain.methods.hybrids import hybrids
from labtrain.methods.layerwise import Layerwise, LayerwiseConfig
from labtrain.methods.method import Data
from labtrain.methods.ridge import solve
from labtrain.network import PhysicalNetwork

Array = NDArray[np.float64]


class UnsupervisedPhyLLConfig(LayerwiseConfig):
    """Settings of unsupervised PhyLL."""

    method: Literal["phyll-unsupervised"] = "phyll-unsupervised"
    theta: float = Field(100.0, gt=0, description="steepness of the loss; small ones merge classes")
    image: tuple[int, int] | None = Field(
        None, description="height and width, of features that are pixels row by row; left out: they have no neighbours"
    )
    smoothness: int = Field(2, ge=0, description="with image: how often a mask is blurred before its threshold")
    hybrids: int = Field(1, ge=1, description="measured per sample, each with another sample at random")
    penalty: float = Field(1e-3, gt=0, description="of the readout: per sample, on standardised activations")


class UnsupervisedPhyLL(Layerwise):
    """Trains blocks without labels and a readout with them; the config section is :class:`UnsupervisedPhyLLConfig`."""

    Config = UnsupervisedPhyLLConfig
    config: UnsupervisedPhyLLConfig
    KEPT = (*Layerwise.KEPT, "xi", "V", "c")
    LEARNED = ("xi", "V", "c")
    ablations = ("off", "random", "shuffled", "no_skip")

    # -- the Method interface --------------------------------------------------------------------------------------

    def start(self, net: PhysicalNetwork, data: Data, rng: np.random.Generator) -> None:
        super().start(net, data, rng)
        (n, d), image = data.rows.shape, self.config.image
        if image is not None and image[0] * image[1] != d:
            raise ConfigError(
                f"training.image: {image[0]} x {image[1]} are {image[0] * image[1]} pixels, the data set has {d} "
                "features; set height and width of its images, or leave the key out"
            )
        smoothness = 0 if image is None else self.config.smoothness
        if min(n, d) > 1:  # else there is nothing to train on, and perhaps much to predict
            self._hybrids = hybrids(np.asarray(data.rows), self.config.hybrids, image or (1, d), smoothness, self.rng)
        self.xi = directions([len(block.b) for block in net.blocks], rng)
        self.V: Array | None = None
        self.c: Array = np.zeros(self.classes)

    def planned_shots(self, blocks: int, train: int, validation: int, classes: int) -> int:  # noqa: ARG002
        return blocks * (train * (1 + self.config.hybrids) + validation)

    def shots_per_prediction(self, blocks: int, classes: int) -> int:  # noqa: ARG002
        return blocks

    def scores(self, net: PhysicalNetwork, rows: Array) -> Array:
        """Outputs of the readout, (n, classes); one physical pass per block."""
        if self.V is None:
            raise ConfigError("the readout of unsupervised PhyLL has not been trained; train to the end first")
        a = _activations(self._predicted(net, net.encoder.features(rows)[:, None, :]))
        self.multiply_adds += Work(forward=len(rows) * self.V.size)
        result: Array = a @ self.V + self.c
        return result

    @property
    def largest_goodness(self) -> list[float]:
        """Largest goodness that each block can reach with its xi."""
        return [largest_goodness(xi) for xi in self.xi]

    def _check_data(self) -> None:
        super()._check_data()
        n, d = self.data.rows.shape
        if min(n, d) < 2:
            raise DataError(f"{n} training rows of {d} features: a hybrid needs two rows of two; give more of them")

    # -- blocks, without labels ------------------------------------------------------------------------------------

    def _first(self, validation: bool) -> Array:
        """Validation rows (n, 1, width), or training rows with their hybrids behind them, (n, 1 + m, width)."""
        encoder = self.net.encoder
        if validation:
            return encoder.features(self.data.validation_rows)[:, None, :]
        n, m, d = self._hybrids.shape
        mixed = encoder.features(self._hybrids.reshape(n * m, d)).reshape(n, m, -1)
        return np.concatenate([encoder.features(self.data.rows)[:, None, :], mixed], axis=1)

    def _passes(self, i: int, h: Array) -> Array:  # noqa: ARG002
        return side_by_side(h)

    def _descend(self, i: int, passes: Array, n: int, rate: float) -> float:
        parameters = self.net.blocks[i].parameters
        loss, gradient = loss_and_gradient(parameters, self.xi[i], self.config.theta, passes, n)
        self.adam[i].update(rate, parameters, gradient)
        return loss

    # -- the readout, with labels ----------------------------------------------------------------------------------

    def _seen(self, last: int, validation: bool) -> Array:
        """|z| of the blocks up to `last` side by side, of measured samples without their hybrids: (n, widths)."""
        return _activations(self._replayed(last, validation, slice(1)))

    def _read_out(self, a: Array) -> tuple[Array, Array]:
        """V (widths, classes) and c (classes,) for activations a (n, widths) of the training rows."""
        (n, f), k = a.shape, self.classes
        self.multiply_adds += Work(update=n * f * (f + k) + f**3 // 3)
        return solve(a, np.eye(k)[self.data.labels], self.config.penalty)

    def _layerwise_accuracy(self, last: int) -> float:
        a, labels = self._seen(last, validation=False), self.data.labels
        V, c = self._read_out(a)
        if len(self.data.validation_rows):
            a, labels = self._seen(last, validation=True), self.data.validation_labels
        self.multiply_adds += Work(forward=len(a) * V.size)
        return float(((a @ V + c).argmax(axis=1) == labels).mean())

    def _trained(self, i: int) -> None:
        if i == len(self.net.blocks) - 1:
            self.V, self.c = self._read_out(self._seen(i, validation=False))


def _activations(outputs: Iterable[Array]) -> Array:
    """|z| of the first pass side by side, (n, widths), from z (n, m, width) of each block."""
    return np.concatenate([np.abs(z[:, 0]) for z in outputs], axis=1)
