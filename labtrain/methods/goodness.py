"""Goodness, loss and closed-form gradient of physical local learning, in the notation of the paper.

A. Momeni, B. Rahmani, M. Mallejac, P. del Hougne, R. Fleury, Science 382, 1297 (2023), arXiv 2304.11042:

    g(h) = cos(|W h + b|, xi),    L = mean log(1 + exp(-theta (g(h_pos) - g(h_neg))))

``modulus`` is that; ``linear`` leaves the modulus out, g(h) = cos(W h + b, xi), and with it all that is nonlinear in a
block beside its physics, except that a cosine divides by ||W h + b||.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Kind = Literal["modulus", "linear"]


def directions(widths: Sequence[int], rng: np.random.Generator) -> list[Array]:
    """xi of each block, drawn once: random unit vectors, (width,) each."""
    drawn = [rng.standard_normal(width) for width in widths]
    return [xi / np.linalg.norm(xi) for xi in drawn]


def goodness(z: Array, xi: Array, kind: Kind = "modulus") -> Array:
    """cos(|z|, xi), or cos(z, xi), of linear outputs z (..., width) and a unit vector xi: (...,); 0 where z is 0."""
    norm = np.sqrt(np.einsum("...i,...i->...", z, z))
    result: Array = ((np.abs(z) if kind == "modulus" else z) @ xi) / np.where(norm > 0, norm, 1.0)
    return result


def side_by_side(h: Array) -> Array:
    """Passes h (n, 1 + m, fan_in) as columns (fan_in + 1, (1 + m) n): all positive ones, then the negative ones.

    The last row is the constant 1 that the biases weigh. Every update works on whole rows of this array, which is why
    it is laid out once per measured pass.
    """
    n, columns, fan_in = h.shape
    passes = np.ones((fan_in + 1, columns * n))
    passes[:-1].reshape(fan_in, columns, n)[...] = h.transpose(2, 1, 0)
    return passes


def loss_and_gradient(
    parameters: Array, xi: Array, theta: float, passes: Array, n: int, kind: Kind = "modulus"
) -> tuple[float, Array]:
    """Loss of positive against negative passes and its gradient.

    Parameters
    ----------
    parameters : ndarray (width, fan_in + 1), W with b as its last column
    xi : ndarray (width,), unit length
    theta : float
    passes : ndarray (fan_in + 1, (1 + m) n)
        Inputs of the linear map, as :func:`side_by_side` arranges them.
    n : int
        Number of samples.
    kind : "modulus" or "linear"
        Of the goodness.

    Returns
    -------
    loss : float, mean over all n m pairs
    gradient : ndarray, shaped like the parameters
    """
    z = parameters @ passes
    norm = np.sqrt(np.einsum("ij,ij->j", z, z))
    norm[norm == 0] = 1.0  # z = 0 has goodness 0 and, below, no gradient
    signed = np.sign(z) if kind == "modulus" else np.ones_like(z)
    signed *= xi[:, None]
    g = np.einsum("ij,ij->j", signed, z)
    g /= norm

    per_pass = g.reshape(-1, n)
    margin = theta * (per_pass[:1] - per_pass[1:])
    pairs = margin.size
    small = np.exp(-np.abs(margin))
    loss = float((np.log1p(small).sum() - np.minimum(margin, 0.0).sum()) / pairs)
    slope = np.where(margin >= 0, small, 1.0)  # theta/pairs * sigmoid(-margin), without overflow
    slope *= theta / pairs / (1.0 + small)
    dg = np.empty_like(per_pass)
    np.negative(slope.sum(axis=0), out=dg[0])
    dg[1:] = slope

    # dg/dz = (sign(z) xi - g z/|z|)/|z|, because da/dz = sign(z) for a = |z|; without the modulus no sign.
    weight = dg.reshape(-1) / norm
    signed *= weight
    z *= weight * g / norm
    signed -= z
    return loss, signed @ passes.T


def largest_goodness(xi: Array, kind: Kind = "modulus") -> float:
    """||max(xi, 0)||: |z| is never negative while xi is signed, so no cosine exceeds this; 1 without the modulus."""
    return float(np.linalg.norm(np.maximum(xi, 0.0))) if kind == "modulus" else 1.0
