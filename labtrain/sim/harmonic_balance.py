"""Periodic answer of a linear network with cubic springs at its ports, for a block of shots at once.

Everything linear is folded into the ports' receptance G(w), displacement per force. What remains is one equation for
the displacement spectra X of the ports on the grid of frequency bins,

    X = X_lin - k3 G F[x^3],                                                                        (1)

with x the displacement in time and F the discrete Fourier transform (alternating frequency/time, Cameron and Griffin,
J. Appl. Mech. 56:149, 1989). Intermodulation products on retained bins are part of the solution. Equation (1) is
solved as a fixed point with Anderson's mixing (Walker and Ni, SIAM J. Numer. Anal. 49:1715, 2011), each shot with its
own mixing weights, and each shot frozen once it has converged: a shot's numbers never depend on its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]


@dataclass(frozen=True)
class Balance:
    """Solutions for a block of shots.

    Parameters
    ----------
    spectrum : ndarray, (bins, ports, shots), complex
        Port displacement in metres: x(t) is the sum over bins of ``2 Re(X exp(j w t))``, bin 0 counted once.
    residual : ndarray, (shots,)
        Norm of the error of equation (1) over the norm of X.
    iterations : ndarray, (shots,), int
    peak_m : ndarray, (ports, shots)
        Largest displacement within the period.
    """

    spectrum: Complex
    residual: Array
    iterations: NDArray[np.int64]
    peak_m: Array


class HarmonicBalance:
    """Solver of equation (1) for one receptance.

    Parameters
    ----------
    receptance : ndarray, (bins, ports, ports), complex
        G on bins 0, 1, ..., in metres per newton.
    cubic_n_m3 : float
        k3, in newtons per cubic metre.
    tolerance : float
        Residual at which a shot is done.
    max_iterations : int
    """

    history = 4  # earlier iterates that Anderson's mixing combines

    def __init__(self, receptance: Complex, cubic_n_m3: float, tolerance: float, max_iterations: int) -> None:
        self._feedback = -cubic_n_m3 * receptance
        self._bins = len(receptance)
        # A product of three tones below bin B lies below 3 B: 4 B samples keep its images off the retained bins.
        self._samples = fft.next_fast_len(4 * self._bins, real=True)
        self._tolerance = tolerance
        self._max_iterations = max_iterations

    def time_series(self, spectrum: Complex) -> Array:
        """Displacement (samples, ports, shots) over one period."""
        return np.asarray(fft.irfft(spectrum, n=self._samples, axis=0, norm="forward"))

    def _map(self, linear: Complex, spectrum: Complex) -> Complex:
        x = self.time_series(spectrum)
        force = fft.rfft(x * x * x, axis=0, norm="forward")[: self._bins]
        return np.asarray(linear + self._feedback @ force)

    def solve(self, linear: Complex, start: Complex | None = None) -> Balance:
        """Solve (1) for X_lin of shape (bins, ports, shots), from `start` (default: X_lin itself).

        Shots that do not converge come back with the residual they reached.
        """
        shots = linear.shape[-1]
        x = (linear if start is None else start).copy()
        active = np.ones(shots, dtype=bool)
        residual = np.full(shots, np.inf)
        iterations = np.zeros(shots, dtype=np.int64)
        past: list[tuple[Complex, Complex]] = []  # steps of x and of the error, newest last
        last: tuple[Complex, Complex] | None = None
        with np.errstate(all="ignore"):  # a diverging shot may overflow; its residual tells
            for iteration in range(self._max_iterations):
                error = self._map(linear, x) - x
                size = np.maximum(_norm(x), np.finfo(float).tiny)
                now = np.where(active, _norm(error) / size, residual)
                residual = np.where(np.isfinite(now), now, np.inf)
                iterations[active] = iteration
                active &= np.isfinite(residual) & (residual > self._tolerance)
                if not active.any():
                    break
                if last is not None:
                    past = [*past, (x - last[0], error - last[1])][-self.history :]
                last = (x, error)
                step = error if not past else _mixed_step(error, past)
                x = x + np.where(active, step, 0.0)
            peak = np.abs(self.time_series(x)).max(axis=0)
        return Balance(x, residual, iterations, peak)


def _norm(spectrum: Complex) -> Array:
    """Norm over bins and ports, (shots,)."""
    return np.asarray(np.sqrt((spectrum.real**2 + spectrum.imag**2).sum(axis=(0, 1))))


def _dot(a: Complex, b: Complex) -> Array:
    """Real inner product over bins and ports, (shots,)."""
    return np.asarray((a.real * b.real + a.imag * b.imag).sum(axis=(0, 1)))


def _mixed_step(error: Complex, past: list[tuple[Complex, Complex]]) -> Complex:
    """Anderson's step: the earlier steps combined so that the error, taken as linear, is least, then one plain step."""
    n, shots = len(past), error.shape[-1]
    gram, right = np.empty((shots, n, n)), np.empty((shots, n, 1))
    for i in range(n):
        right[:, i, 0] = _dot(past[i][1], error)
        for j in range(i + 1):
            gram[:, i, j] = gram[:, j, i] = _dot(past[i][1], past[j][1])
    # The ridge keeps the matrix of a frozen shot (all zeros) and of parallel steps invertible.
    ridge = 1e-12 * np.trace(gram, axis1=1, axis2=2) + np.finfo(float).tiny * 1e20
    gram += ridge[:, None, None] * np.eye(n)
    weights = np.linalg.solve(gram, right)[:, :, 0]
    step = error.copy()
    for i, (dx, de) in enumerate(past):
        step -= weights[:, i] * (dx + de)
    return step
