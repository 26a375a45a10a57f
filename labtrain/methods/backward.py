"""Backpropagation through a network of physical blocks, with digital twins in the place of the derivatives of physics.

A block is z = W [s, x] + b, with s = (y - mean) / scale, y the response to the drive u, and u = drive(x). Its error
dL/dz gives that of the block before it, whose z is this block's x:

    [ds, dx] = (dL/dz) W,   du = twin.vjp(u, ds / scale),   dL/dx = dx + (du/dx)^T du

What a drive is rounded to is taken for the drive itself. Each row of du is shortened where it is longer than `steepest`
times its ds: the gradient of a wave twin grows without bound where an amplitude comes near 0, and one such row would
outweigh a batch.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from labtrain.config import InputPath
from labtrain.errors import ConfigError, RunError
from labtrain.layer import PhysicalLayer
from labtrain.methods.adam import Adam
from labtrain.methods.end_to_end import EndToEnd, Passed
from labtrain.methods.method import Data, Metrics
from labtrain.methods.perturbation import PerturbationConfig
from labtrain.network import Block, PhysicalNetwork
from labtrain.twin import Twin, bounded_vjp, check_layer, load_twin

Array = NDArray[np.float64]


class BackwardConfig(PerturbationConfig):
    """Settings of every method that goes backward through twins."""

    twin: tuple[InputPath, ...] = Field(
        min_length=1, description="file that labtrain twin fit wrote, or a list with one for each layer of the rig"
    )
    rate: float = Field(5e-3, gt=0, description="Adam's learning rate")
    steepest: float = Field(
        30.0, gt=0, description="bound of a twin's gradient, in standard deviations of the responses per full drive"
    )

    @field_validator("twin", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return value if isinstance(value, list | tuple) else (value,)


class Backward(EndToEnd):
    """Trains all linear maps by Adam on gradients that went backward through twins; subclasses go forward."""

    config: BackwardConfig

    # -- the Method interface --------------------------------------------------------------------------------------

    def start(self, net: PhysicalNetwork, data: Data, rng: np.random.Generator) -> None:
        super().start(net, data, rng)
        files = _in_turn(self.config.twin, [block.layer for block in net.blocks])
        self.twins = [
            _fitting(file, i + 1, block.layer) if self.asked(i) and block.layer.info.n_out else None
            for i, (file, block) in enumerate(zip(files, net.blocks, strict=True))
        ]
        self.digests = [
            "" if twin is None else hashlib.sha256(file.read_bytes()).hexdigest()
            for twin, file in zip(self.twins, files, strict=True)
        ]
        self.begun_with = self.digests
        self.adam = [Adam(block.parameters.shape) for block in net.blocks]

    def step(self) -> Metrics | None:
        if self.begun_with != self.digests:
            raise RunError(
                f"training.twin: {self.config.twin[0]} is not what it was when this training began; put the file back, "
                "or start a new run"
            )
        return super().step()

    def state(self) -> dict[str, Any]:
        return super().state() | {"adam": [adam.state() for adam in self.adam], "twins": self.begun_with}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self.begun_with = list(state["twins"])  # to go on needs the same twins, to predict needs none
        for adam, saved in zip(self.adam, state["adam"], strict=True):
            adam.restore(saved)

    # -- backward --------------------------------------------------------------------------------------------------

    def asked(self, i: int) -> bool:
        """Whether block i needs a twin; no error goes back to what is in front of the first."""
        return i > 0

    def errors(self, passed: list[Passed], e: Array) -> list[Array]:
        found = [self.at_the_end(e)]
        for i in range(len(passed) - 1, 0, -1):
            found.append(self.behind(i, passed[i].x, found[-1]))
        return found[::-1]

    def behind(self, i: int, x: Array, dz: Array) -> Array:
        """dL/dx (n, width_in) of block i from its dL/dz (n, width) at the activations x (n, width_in)."""
        block, twin = self.net.blocks[i], self.twins[i]
        n_out = block.layer.info.n_out
        dh = dz @ block.W
        ds, beside = dh[:, :n_out], dh[:, n_out:]
        self.multiply_adds += len(x) * math.prod(block.W.shape)
        du = np.zeros((len(x), block.layer.info.n_in))
        if twin is not None:
            du = bounded_vjp(twin, told(block, x), ds, block.y_scale, self.config.steepest)
            self.multiply_adds += 2 * len(x) * multiply_adds(twin)
        if block.skip and block.skip_carries == "drive":
            du[:, block.drive.carriers(x.shape[1])] += beside
        dx = block.drive.vjp(x, du)
        return dx + beside if block.skip and block.skip_carries == "activations" else dx

    def descend(self, i: int, gradient: Array) -> None:
        self.adam[i].update(self.config.rate, self.net.blocks[i].parameters, gradient)


def told(block: Block, x: Array) -> Array:
    """Drives (n, n_in), as the layer is really told them, for activations x (n, width)."""
    return block.layer.quantise(block.drive.map(x))


def multiply_adds(twin: Twin) -> int:
    """What one prediction of a twin costs, about: one for each number it holds; its gradient about twice that."""
    return sum(array.size for array in twin.arrays().values() if array.dtype.kind == "f")


def _in_turn(files: Sequence[Path], layers: Sequence[PhysicalLayer]) -> list[Path]:
    """The file of each block's layer: one for all, or the first for the first layer, and so on."""
    different = list({id(layer): layer for layer in layers})  # blocks use the rig's layers in turn
    if len(files) == 1:
        return [files[0]] * len(layers)
    if len(files) < len(different):
        raise ConfigError(
            f"training.twin: {len(files)} files for {len(different)} layers; give one for each layer, or one for all"
        )
    return [files[different.index(id(layer))] for layer in layers]


def _fitting(file: Path, number: int, layer: PhysicalLayer) -> Twin:
    """The twin of a file, which must be one of the layer of this block."""
    if not file.exists():
        raise ConfigError(
            f"training.twin: {file} does not exist; record the rig with labtrain record, then labtrain twin fit RUN "
            f"--out {file.name}"
        )
    twin = load_twin(file)
    check_layer(twin, layer.info, f"training.twin: {file}", f"block {number}", ConfigError)
    return twin
