"""Forward-Forward: positive passes above a threshold of goodness, negative passes below it, block by block.

    a = max(0, W h + b),   G = ||a||^2,   x' = sqrt(width) a / ||a||
    L = mean log(1 + exp(threshold - G_pos)) + mean log(1 + exp(G_neg - threshold))

G. Hinton, arXiv 2212.13345 (2022). The length of the activations is the goodness of a block; it is taken away from what
the next block receives, which must find something of its own in their direction. A prediction tries every label;
goodness is summed over blocks, the largest wins.

Passes, schedules and predictions are those of labelled.py, as PhyLL has them. PhyLL compares the passes of a sample
with one another, Forward-Forward each with the threshold.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from labtrain.methods.labelled import Labelled, LabelledConfig

Array = NDArray[np.float64]


class ForwardForwardConfig(LabelledConfig):
    """Settings of Forward-Forward."""

    method: Literal["forward-forward"] = "forward-forward"
    schedule: Literal["layerwise", "joint"] = Field("layerwise", description="joint: measured anew in every epoch")
    threshold: float = Field(0.05, gt=0, description="of goodness, per output of the linear map: times network.width")


def activations(z: Array) -> Array:
    """a = max(0, z)."""
    return np.maximum(z, 0.0)


def goodness(z: Array) -> Array:
    """Sum of squared activations (...) of linear outputs z (..., width)."""
    a = activations(z)
    result: Array = np.einsum("...i,...i->...", a, a)
    return result


def loss_and_gradient(parameters: Array, threshold: float, passes: Array, n: int) -> tuple[float, Array]:
    """Logistic loss of positive and negative passes and its gradient.

    Parameters
    ----------
    parameters : ndarray (width, fan_in + 1), W with b as its last column
    threshold : float, of the sum of squares
    passes : ndarray (fan_in + 1, (1 + m) n)
        Inputs of the linear map, as :func:`labtrain.methods.goodness.side_by_side` arranges them: positive ones first.
    n : int
        Number of samples.

    Returns
    -------
    loss : float, mean over positive passes plus mean over negative passes
    gradient : ndarray, shaped like the parameters
    """
    a = activations(parameters @ passes)
    beyond = np.einsum("ij,ij->j", a, a) - threshold
    beyond[:n] *= -1.0  # how far each pass is on the wrong side
    count = np.full(beyond.size, float(beyond.size - n))
    count[:n] = n
    small = np.exp(-np.abs(beyond))
    loss = float(((np.log1p(small) + np.maximum(beyond, 0.0)) / count).sum())

    slope = np.where(beyond >= 0, 1.0, small) / (1.0 + small) / count  # sigmoid(beyond), without overflow
    slope[:n] *= -1.0
    return loss, (2.0 * slope * a) @ passes.T  # dG/dz = 2 a, 0 where z < 0


class ForwardForward(Labelled):
    """Trains a network by the Forward-Forward algorithm; the config section is :class:`ForwardForwardConfig`."""

    Config = ForwardForwardConfig
    config: ForwardForwardConfig

    def _goodness(self, i: int, z: Array) -> Array:  # noqa: ARG002
        return goodness(z)

    def _onward(self, z: Array) -> Array:
        a = activations(z)
        length = np.sqrt(goodness(z))[..., None]
        result: Array = np.sqrt(z.shape[-1]) * a / np.where(length > 0, length, 1.0)
        return result

    def _descend(self, i: int, passes: Array, n: int, rate: float) -> float:
        parameters = self.net.blocks[i].parameters
        loss, gradient = loss_and_gradient(parameters, self.config.threshold * len(parameters), passes, n)
        self.adam[i].update(rate, parameters, gradient)
        return loss
