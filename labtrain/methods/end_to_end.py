"""What methods share that send an error back through the whole network after one pass: batches, passes, gradients.

Each step sends a batch through the network once and keeps what every linear map got and gave. The error at the logits,
e = dL/dlogits of the cross-entropy (readout.py), then becomes the error dL/dz of each block, in the way that makes a
method; the gradients follow:

    dL/dW = (dL/dz)^T h,   dL/db = sum dL/dz

Batches, accuracies and ``first_block`` are those of perturbation.py.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labtrain.ledger import Work
from labtrain.methods import readout
from labtrain.methods.perturbation import Perturbation
from labtrain.network import Block

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Passed:
    """What a block got and gave in one pass of n rows: activations x (n, width_in), h (n, fan_in), z (n, width)."""

    x: Array
    h: Array
    z: Array


class EndToEnd(Perturbation):
    """One pass of each row in a step; subclasses say how the error gets to each block, and how it then changes."""

    @property
    def passes(self) -> int:
        return 1

    @abstractmethod
    def errors(self, passed: list[Passed], e: Array) -> list[Array]:
        """dL/dz (n, width) of every block, from dL/dlogits e (n, classes)."""

    @abstractmethod
    def descend(self, i: int, gradient: Array) -> None:
        """Change the parameters of block i by their gradient (width, fan_in + 1)."""

    def update(self, index: Labels) -> tuple[float, float]:
        loss, right, gradients = self.gradients(index)
        for i, gradient in enumerate(gradients):
            self.descend(i, gradient)
        return loss, right

    def gradients(self, index: Labels) -> tuple[float, float, list[Array]]:
        """Loss of the training rows `index`, the share that was right, and the gradient of every block's parameters."""
        passed = self.forward(index)
        scores, labels = readout.logits(passed[-1].z, self.classes), self.data.labels[index]
        errors = self.errors(passed, readout.cross_entropy_gradient(scores, labels))
        gradients = [np.column_stack([dz.T @ p.h, dz.sum(axis=0)]) for dz, p in zip(errors, passed, strict=True)]
        self.multiply_adds += Work(update=readout.multiply_adds(self.net, len(index)))
        right = float((scores.argmax(axis=1) == labels).mean())
        return float(readout.cross_entropy(scores, labels)), right, gradients

    def forward(self, index: Labels) -> list[Passed]:
        """Send the training rows `index` through the network once."""
        x, passed = self.net.encoder.features(self.data.rows[index]), []
        for i, block in enumerate(self.net.blocks):
            y = self.first[index] if i == 0 and self.config.first_block == "once" else self.respond(block, x)
            h = block.inputs(y, x)
            passed.append(Passed(x, h, block.linear(h)))
            x = passed[-1].z
        self.multiply_adds += Work(forward=readout.multiply_adds(self.net, len(index)))
        return passed

    def respond(self, block: Block, x: Array) -> Array:
        """Responses (n, n_out) of a block's layer to activations x (n, width)."""
        return block.measure(x[:, None, :], self.order_rng)[:, 0]

    def at_the_end(self, e: Array) -> Array:
        """dL/dz (n, width) of the last block: e for the logits, 0 for outputs beyond the classes."""
        dz = np.zeros((len(e), len(self.net.blocks[-1].b)))
        dz[:, : self.classes] = e
        return dz
