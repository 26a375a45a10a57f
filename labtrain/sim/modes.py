"""Modes of a shallow rigid-walled box with rigid discs standing in it.

Discs reach from floor to lid, so a mode is a planar mode times cos(l pi z / height). The planar modes solve
``laplace(psi) = -k^2 psi`` with zero normal derivative on every wall and disc. In weak form that boundary condition
is natural, and the Rayleigh-Ritz method needs nothing but the empty box's cosines restricted to the air:

    S v = k^2 M v,   M_ij = integral over air of phi_i phi_j,   S_ij = integral over air of grad phi_i . grad phi_j

(Strang and Fix, "An Analysis of the Finite Element Method", ch. 1 and 6). Over the box the integrals are diagonal;
over a disc of radius a they follow in closed form from the mean of a plane wave over a disc, 2 J1(k a) / (k a).
A basis up to 1.7 kHz rounds off the flow close to a disc: resonances come out up to 1 % high.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.special import j1

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Disc:
    """A rigid cylinder from floor to lid: centre and radius in metres."""

    x_m: float
    y_m: float
    radius_m: float


@dataclass(frozen=True)
class CavityModes:
    """Modes of the air in the box, lowest first.

    Parameters
    ----------
    wavenumber_rad_m : ndarray, (modes,)
        Mode n resonates at ``c * wavenumber / (2 pi)`` for a speed of sound c.
    volume_m3 : float
        Volume of the air.
    """

    wavenumber_rad_m: Array
    volume_m3: float
    _size_m: tuple[float, float, float]
    _basis: NDArray[np.int64]  # (functions, 2): half-waves along x and y
    _coefficients: Array  # (functions, planar modes)
    _planar: NDArray[np.int64]  # (modes,): planar mode of each mode
    _vertical: NDArray[np.int64]  # (modes,): half-waves along z of each mode

    def at(self, points_m: Array) -> Array:
        """Values at points (points, 3) in metres; returns (points, modes), mean square 1 over the air."""
        length, width, height = self._size_m
        m, n = self._basis.T
        x, y, z = np.asarray(points_m, dtype=np.float64).T[:, :, None]
        planar = (np.cos(np.pi * m * x / length) * np.cos(np.pi * n * y / width)) @ self._coefficients
        vertical = np.where(self._vertical > 0, np.sqrt(2.0), 1.0) * np.cos(np.pi * self._vertical * z / height)
        return np.asarray(planar[:, self._planar] * vertical)


def cavity_modes(size_m: tuple[float, float, float], discs: tuple[Disc, ...], highest_rad_m: float) -> CavityModes:
    """Modes with wavenumber up to `highest_rad_m` of a box (length, width, height) without its discs.

    Without discs these are exactly the box's own, k^2 = pi^2 (m^2/length^2 + n^2/width^2 + l^2/height^2). With discs
    the planar wavenumbers are upper bounds that fall towards the true ones as `highest_rad_m` grows (min-max theorem).
    """
    length, width, height = size_m
    basis = np.array(
        [
            (m, n)
            for m in range(int(highest_rad_m * length / np.pi) + 1)
            for n in range(int(highest_rad_m * width / np.pi) + 1)
            if np.hypot(m * np.pi / length, n * np.pi / width) <= highest_rad_m
        ],
        dtype=np.int64,
    )
    kx, ky = (np.pi * basis / np.array([length, width])).T
    norm = length * width * np.where(basis > 0, 0.5, 1.0).prod(axis=1)
    mass, stiffness = np.diag(norm), np.diag(norm * (kx**2 + ky**2))
    area = length * width
    for disc in discs:
        removed_mass, removed_stiffness = _over_disc(kx, ky, disc)
        mass -= removed_mass
        stiffness -= removed_stiffness
        area -= np.pi * disc.radius_m**2
    k_squared, vectors = eigh(stiffness, mass)
    planar_k = np.sqrt(np.maximum(k_squared, 0.0))
    vertical_k = np.pi * np.arange(int(highest_rad_m * height / np.pi) + 1) / height
    k = np.hypot(planar_k[:, None], vertical_k[None, :])
    planar, vertical = np.nonzero(k <= highest_rad_m * (1 + 1e-12))
    order = np.lexsort((planar, vertical, k[planar, vertical]))
    planar, vertical = planar[order], vertical[order]
    return CavityModes(
        wavenumber_rad_m=k[planar, vertical],
        volume_m3=area * height,
        _size_m=size_m,
        _basis=basis,
        _coefficients=_signed(vectors) * np.sqrt(area),
        _planar=planar,
        _vertical=vertical,
    )


def _signed(vectors: Array) -> Array:
    """Eigenvectors with their largest entry positive: their sign is otherwise the linear algebra library's choice."""
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=0)[None, :], axis=0)
    return np.asarray(vectors * np.where(largest < 0, -1.0, 1.0))


def _over_disc(kx: Array, ky: Array, disc: Disc) -> tuple[Array, Array]:
    """Integrals over a disc of phi_i phi_j and of grad phi_i . grad phi_j, each (functions, functions)."""

    def wave(p: Array, q: Array) -> Array:
        """Integral of cos(p x) cos(q y) over the disc."""
        ka = np.hypot(p, q) * disc.radius_m
        mean = np.where(ka > 0, 2.0 * j1(ka) / np.where(ka > 0, ka, 1.0), 1.0)
        return np.asarray(np.pi * disc.radius_m**2 * mean * np.cos(p * disc.x_m) * np.cos(q * disc.y_m))

    minus_x, plus_x = kx[:, None] - kx[None, :], kx[:, None] + kx[None, :]
    minus_y, plus_y = ky[:, None] - ky[None, :], ky[:, None] + ky[None, :]
    mm, mp, pm, pp = wave(minus_x, minus_y), wave(minus_x, plus_y), wave(plus_x, minus_y), wave(plus_x, plus_y)
    # cos a cos b = [cos(a - b) + cos(a + b)] / 2 and sin a sin b = [cos(a - b) - cos(a + b)] / 2, along x and along y
    mass = (mm + mp + pm + pp) / 4
    slope_x = (mm + mp - pm - pp) / 4 * np.outer(kx, kx)
    slope_y = (mm - mp + pm - pp) / 4 * np.outer(ky, ky)
    return mass, slope_x + slope_y
