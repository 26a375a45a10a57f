"""Class scores of a network trained on one loss, without goodness: logits at the end of the last block, cross-entropy.

The activations carry features alone (label slots stay 0), z = W h + b goes from block to block, and of the last block's
z the first `classes` outputs are the logits, one for each class in the encoder's order. There are no parameters beside
those of the blocks, so a saved network is whole; outputs of the last block beyond the classes take no part.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from labtrain.errors import ConfigError
from labtrain.network import PhysicalNetwork

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


def classes_of(net: PhysicalNetwork) -> int:
    """Number of classes that the last block scores.

    Raises
    ------
    ConfigError
        If it has fewer outputs than there are classes.
    """
    classes, width = len(net.encoder.classes), len(net.blocks[-1].b)
    if width < classes:
        raise ConfigError(
            f"network.width: {width}, of the last block one output for each of {classes} classes is needed; "
            f"set network.width: {classes} or more"
        )
    return classes


def logits(z: Array, classes: int) -> Array:
    """Logits (..., classes) of the last block's z (..., width)."""
    return z[..., :classes]


def cross_entropy(scores: Array, labels: Labels) -> Array:
    """Mean over samples of -log softmax(logits)[label].

    Parameters
    ----------
    scores : ndarray (n, ..., classes), logits
    labels : ndarray (n,)

    Returns
    -------
    ndarray (...): one loss for each set of logits, a 0-d array for (n, classes)
    """
    shifted = scores - scores.max(axis=-1, keepdims=True)
    own = np.take_along_axis(shifted, labels.reshape(-1, *[1] * (scores.ndim - 1)), axis=-1)[..., 0]
    result: Array = np.asarray((np.log(np.exp(shifted).sum(axis=-1)) - own).mean(axis=0))
    return result


def cross_entropy_gradient(scores: Array, labels: Labels) -> Array:
    """dL/dlogits of :func:`cross_entropy`, (softmax - one hot) / n, for logits (n, classes): (n, classes)."""
    exponentials = np.exp(scores - scores.max(axis=-1, keepdims=True))
    gradient: Array = exponentials / exponentials.sum(axis=-1, keepdims=True)
    gradient[np.arange(len(labels)), labels] -= 1.0
    return gradient / len(labels)


def forward(
    net: PhysicalNetwork,
    rows: Array,
    rng: np.random.Generator,
    learn: bool = False,
) -> Array:
    """Last block's z (n, width) for raw feature rows (n, d); one physical pass per row and block.

    Parameters
    ----------
    rng : numpy.random.Generator
        Of the order of measurement.
    learn : bool
        For training rows, the first time: ranges of drives and scales of responses are learned on the way.
    """
    x = net.encoder.features(rows)[:, None, :]
    for block in net.blocks:
        y = block.learn(x, rng) if learn else block.measure(x, rng)
        x = block.linear(block.inputs(y, x))
    return x[:, 0]


def multiply_adds(net: PhysicalNetwork, rows: int) -> int:
    """Digital multiply-adds of the linear maps for so many passes through the network."""
    return rows * sum(math.prod(block.W.shape) for block in net.blocks)
