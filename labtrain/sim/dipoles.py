"""Coupled dipoles in two dimensions: walls, scatterers, antennas and pixels as point dipoles that feel one another.

PhysFad (Faqiri et al., IEEE Trans. Wireless Commun. 22:580, 2023) with e^(+j w t), lengths in units of c / f0
and frequencies in units of f0, so that c = 1:

    W_ii = ((2 pi f_i)^2 - (2 pi f)^2) / chi_i^2 + j [k^2 / 4 + 2 pi f Gamma_i / chi_i^2],      k = 2 pi f          (1)
    W_ij = j (k^2 / 4) H0^(2)(k r_ij),         W p = field of the sources                                           (2)

The term k^2/4 is radiation damping, Gamma absorption. A port takes the absorption of its antenna, g = 2 pi f Gamma /
chi^2, or a share of it; then

    S = 1 - 2 j sqrt(g) W^-1 sqrt(g)                                                                                (3)

is symmetric because W is, and passive because Im W minus the ports' g is positive semidefinite: what is left of it is
absorption and the matrix k^2/4 J0(k r_ij), which radiates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import j0, y0

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

TAU = 2.0 * np.pi


@dataclass(frozen=True)
class Dipoles:
    """Points that scatter.

    Parameters
    ----------
    position : ndarray, (n, 2)
        In units of c / f0.
    resonance, chi, absorption : ndarray, (n,)
        f_i, chi_i and Gamma_i of equation (1).
    """

    position: Array
    resonance: Array
    chi: Array
    absorption: Array

    def interaction(self, frequency: float) -> Complex:
        """W of equations (1) and (2) at one normalised frequency, (n, n), symmetric."""
        n, k = len(self.position), TAU * frequency
        upper = np.triu_indices(n, 1)
        x, y = self.position.T
        kr = k * np.hypot(x[upper[0]] - x[upper[1]], y[upper[0]] - y[upper[1]])
        w = np.empty((n, n), dtype=np.complex128)
        w[upper] = (0.25 * k**2) * (y0(kr) + 1j * j0(kr))
        w.T[upper] = w[upper]
        np.fill_diagonal(w, ((TAU * self.resonance) ** 2 - k**2) / self.chi**2 + 1j * self.damping(frequency))
        return w

    def damping(self, frequency: float) -> Array:
        """Im W_ii, (n,)."""
        k = TAU * frequency
        return np.asarray(0.25 * k**2 + k * self.absorption / self.chi**2)

    def reduced(self, frequency: float, eliminated: int) -> Complex:
        """W without its first `eliminated` dipoles: the Schur complement through which the others feel them too."""
        w, e = self.interaction(frequency), eliminated
        return np.asarray(w[e:, e:] - w[e:, :e] @ np.linalg.solve(w[:e, :e], w[:e, e:]))
