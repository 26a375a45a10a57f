"""Goodness, loss and closed-form gradient of physical local learning, in the notation of the paper.

A. Momeni, B. Rahmani, M. Mallejac, P. del Hougne, R. Fleury, Science 382, 1297 (2023), arXiv 2304.11042:

    g(h) = cos(|W h + b|, xi),    L = mean log(1 + exp(-theta (g(h_pos) - g(h_neg))))
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def goodness(z: Array, xi: Array) -> Array:
    """cos(|z|, xi) of linear outputs z (..., width) and a unit vector xi (width,): (...,); 0 where z is 0."""
    norm = np.sqrt(np.einsum("...i,...i->...", z, z))
    result: Array = (np.abs(z) @ xi) / np.where(norm > 0, norm, 1.0)
    return result


def loss_and_gradient(
    W: Array, b: Array, xi: Array, theta: float, h: Array
) -> tuple[float, Array, Array]:
    """Loss of positive against negative passes and its gradient.

    Parameters
    ----------
    W, b : ndarray (width, fan_in), (width,)
    xi : ndarray (width,), unit length
    theta : float
    h : ndarray (n, 1 + m, fan_in)
        Inputs of the linear map; column 0 is the positive pass, the others are negative passes.

    Returns
    -------
    loss : float, mean over all n m pairs
    dW, db : gradients, shaped like W and b
    """
    n, columns, fan_in = h.shape
    flat = h.reshape(n * columns, fan_in)
    z = flat @ W.T + b
    a = np.abs(z)
    norm = np.sqrt(np.einsum("ij,ij->i", z, z))
    safe = np.where(norm > 0, norm, 1.0)
    g = ((a @ xi) / safe).reshape(n, columns)

    margin = theta * (g[:, :1] - g[:, 1:])
    pairs = margin.size
    loss = float(np.logaddexp(0.0, -margin).sum() / pairs)
    slope = theta / pairs * np.exp(-np.logaddexp(0.0, margin))  # theta/pairs * sigmoid(-margin)
    dg = np.concatenate([-slope.sum(axis=1, keepdims=True), slope], axis=1).reshape(-1, 1)

    # dg/da = (xi - g a/|a|)/|a|, and da/dz = sign(z), so that a sign(z) = z.
    dz = np.sign(z)
    dz *= xi
    dz -= (g.reshape(-1) / safe)[:, None] * z
    dz *= dg / safe[:, None]
    dz[norm == 0] = 0.0
    return loss, dz.T @ flat, dz.sum(axis=0)


def largest_goodness(xi: Array) -> float:
    """||max(xi, 0)||: |z| is never negative while xi is signed, so no cosine exceeds this."""
    return float(np.linalg.norm(np.maximum(xi, 0.0)))
