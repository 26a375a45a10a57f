"""Backpropagation through a network of physical blocks, with something in the place of the derivatives of physics.

A block is z = W [s, x] + b, with s = (y - mean) / scale, y the response to the drive u, and u = drive(x). Its error
dL/dz gives that of the block before it, whose z is this block's x:

    [ds, dx] = (dL/dz) W,   du = (dy/du)^T (ds / scale),   dL/dx = dx + (du/dx)^T du

What a drive is rounded to is taken for the drive itself. Each row of du is shortened where it is longer than `steepest`
times its ds: the gradient of an amplitude grows without bound where it comes near 0, and one such row would outweigh a
batch. (dy/du)^T is a twin's (through_twins.py) or that of a simulated world (backpropagation.py).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from labtrain.layer import PhysicalLayer
from labtrain.ledger import Work
from labtrain.methods.adam import Adam
from labtrain.methods.end_to_end import EndToEnd, Passed
from labtrain.methods.method import Data
from labtrain.methods.perturbation import PerturbationConfig
from labtrain.network import Block, PhysicalNetwork
from labtrain.twin import Twin, bounded_vjp

Array = NDArray[np.float64]


class BackwardConfig(PerturbationConfig):
    """Settings of every method that goes backward through the network."""

    rate: float = Field(5e-3, gt=0, description="Adam's learning rate")
    decay: Literal["none", "cosine"] = Field("none", description="of the learning rate over all steps")
    steepest: float = Field(
        30.0, gt=0, description="bound of the physics' gradient, in standard deviations of the responses per full drive"
    )


class Backward(EndToEnd):
    """Trains all linear maps by Adam on gradients that went backward; subclasses say through what."""

    config: BackwardConfig

    @abstractmethod
    def slope(self, i: int) -> Twin | PhysicalLayer | None:
        """What has a ``vjp`` in the place of the physics of block i; None where no response comes from it."""

    # -- the Method interface --------------------------------------------------------------------------------------

    def start(self, net: PhysicalNetwork, data: Data, rng: np.random.Generator) -> None:
        super().start(net, data, rng)
        self.adam = [Adam(block.parameters.shape) for block in net.blocks]

    def state(self) -> dict[str, Any]:
        return super().state() | {"adam": [adam.state() for adam in self.adam]}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        for adam, saved in zip(self.adam, state["adam"], strict=True):
            adam.restore(saved)

    # -- backward --------------------------------------------------------------------------------------------------

    def errors(self, passed: list[Passed], e: Array) -> list[Array]:
        found = [self.at_the_end(e)]
        for i in range(len(passed) - 1, 0, -1):
            found.append(self.behind(i, passed[i].x, found[-1]))
        return found[::-1]

    def behind(self, i: int, x: Array, dz: Array) -> Array:
        """dL/dx (n, width_in) of block i from its dL/dz (n, width) at the activations x (n, width_in)."""
        block, slope = self.net.blocks[i], self.slope(i)
        n_out = block.layer.info.n_out
        dh = dz @ block.W
        ds, beside = dh[:, :n_out], dh[:, n_out : block.fan_in - block.beside]
        self.multiply_adds += Work(update=len(x) * math.prod(block.W.shape))
        du = np.zeros((len(x), block.layer.info.n_in))
        if slope is not None:
            du = bounded_vjp(slope, told(block, x), ds, block.y_scale, self.config.steepest)
            self.multiply_adds += Work(twin=len(x) * self.slope_multiply_adds(i))
        if block.skip and block.skip_carries == "drive":
            du[:, block.drive.carriers(x.shape[1])] += beside
        dx = block.drive.vjp(x, du)
        return dx + beside if block.skip and block.skip_carries == "activations" else dx

    def slope_multiply_adds(self, i: int) -> int:  # noqa: ARG002
        """Digital work of that ``vjp`` for one row; none where it stands for physics."""
        return 0

    def descend(self, i: int, gradient: Array) -> None:
        c = self.config
        progress = self.steps / self.planned_steps
        rate = c.rate * (0.5 + 0.5 * math.cos(math.pi * progress) if c.decay == "cosine" else 1.0)
        self.adam[i].update(rate, self.net.blocks[i].parameters, gradient)


def told(block: Block, x: Array) -> Array:
    """Drives (n, n_in), as the layer is really told them, for activations x (n, width)."""
    return block.layer.quantise(block.drive.map(x))
