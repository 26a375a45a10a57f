"""PhyLL, physical local learning: two forward passes instead of backpropagation (goodness.py has the equations).

Every block is trained alone. The *positive* pass carries a sample with its own label, *negative* passes the same
sample with wrong labels; a block learns to give its positive pass the larger goodness. The next block sees
z = W h + b of the updated weights. A prediction tries every label; goodness is summed over blocks, the largest wins.

Passes, schedules and predictions are those of labelled.py: ``joint``, as published, and ``layerwise``.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from labtrain.methods.goodness import Kind, directions, goodness, largest_goodness, loss_and_gradient
from labtrain.methods.labelled import Labelled, LabelledConfig
from labtrain.methods.method import Data
from labtrain.network import PhysicalNetwork

Array = NDArray[np.float64]


class PhyLLConfig(LabelledConfig):
    """Settings of PhyLL."""

    method: Literal["phyll"] = "phyll"
    theta: float = Field(4.0, gt=0, description="steepness of the loss")
    goodness: Kind = Field("modulus", description="cos(|z|, xi), as published; or linear: cos(z, xi)")


class PhyLL(Labelled):
    """Trains a network by physical local learning; the config section is :class:`PhyLLConfig`."""

    Config = PhyLLConfig
    config: PhyLLConfig
    KEPT = (*Labelled.KEPT, "xi")
    LEARNED = ("xi",)

    def start(self, net: PhysicalNetwork, data: Data, rng: np.random.Generator) -> None:
        super().start(net, data, rng)
        self.xi = directions([len(block.b) for block in net.blocks], rng)

    @property
    def largest_goodness(self) -> list[float]:
        """Largest goodness that each block can reach with its xi."""
        return [largest_goodness(xi, self.config.goodness) for xi in self.xi]

    def _goodness(self, i: int, z: Array) -> Array:
        return goodness(z, self.xi[i], self.config.goodness)

    def _descend(self, i: int, passes: Array, n: int, rate: float) -> float:
        parameters, c = self.net.blocks[i].parameters, self.config
        loss, gradient = loss_and_gradient(parameters, self.xi[i], c.theta, passes, n, c.goodness)
        self.adam[i].update(rate, parameters, gradient)
        return loss
