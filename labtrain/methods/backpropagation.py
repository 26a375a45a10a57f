"""Backpropagation through the physics itself (backward.py has the equations), which only simulated physics allows.

D. E. Rumelhart, G. E. Hinton, R. J. Williams, Nature 323, 533 (1986). Forward goes through the rig, with its noise;
backward goes through the exact derivative of the simulated world as it stands (:meth:`labtrain.layer.Layer.vjp`). No
laboratory has that derivative: this is the ideal that all other methods are held against.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from labtrain.errors import ConfigError, InputError
from labtrain.layer import PhysicalLayer
from labtrain.methods.backward import Backward, BackwardConfig
from labtrain.methods.method import Data
from labtrain.network import PhysicalNetwork


class BackpropagationConfig(BackwardConfig):
    """Settings of backpropagation through simulated physics."""

    method: Literal["backpropagation"] = "backpropagation"


class Backpropagation(Backward):
    """Trains all linear maps on exact gradients; the config section is :class:`BackpropagationConfig`."""

    Config = BackpropagationConfig
    config: BackpropagationConfig
    # Shuffled responses follow from no drive, so they have no derivative.
    ablations = ("off", "random", "no_skip")

    def start(self, net: PhysicalNetwork, data: Data, rng: np.random.Generator) -> None:
        super().start(net, data, rng)
        for i in range(1, len(net.blocks)):  # no error goes back to what is in front of the first
            layer = net.blocks[i].layer
            if layer.info.n_out:
                try:
                    layer.vjp(np.empty((0, layer.info.n_in)), np.empty((0, layer.info.n_out)))
                except InputError as error:
                    raise ConfigError(f"training.method backpropagation: {error}") from None

    def slope(self, i: int) -> PhysicalLayer | None:
        layer = self.net.blocks[i].layer
        return layer if layer.info.n_out else None
