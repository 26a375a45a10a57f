"""Periodic answer of a linear network with cubic springs at its ports, for a block of shots at once.

Everything linear is folded into the ports' dynamic stiffness S(w), force per displacement. What remains is one
equation for the displacement spectra X of the ports on the grid of frequency bins, with a fixed spring d added on
both sides so that less is left to iterate on:

    X = (S + d)^-1 (F_ext - F[k3 x^3 - d x]),                                                       (1)

x being the displacement in time and F the discrete Fourier transform (alternating frequency/time, Cameron and Griffin,
J. Appl. Mech. 56:149, 1989). Intermodulation products on retained bins are part of the solution. Equation (1) is
solved as a fixed point with Anderson's mixing (Walker and Ni, SIAM J. Numer. Anal. 49:1715, 2011), each shot with its
own mixing weights, and each shot frozen once it has converged: a shot's numbers never depend on its neighbours.

A cubic spring can fold the answer (Duffing): one force, several states, and history decides which one a rig shows.
Every shot is therefore solved from two sides: from the linear answer, and from the resonant one, where each port is
taken to swing as far as its losses alone would let it, -j F / Im S, the amplitude of the upper branch. Where the two
ends differ, or the resonant side finds none, the shot counts as folded. On a single resonator this finds every fold
that the closed form has (tests); it also refuses strongly driven shots that have one state only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

HISTORY = 6  # earlier iterates that Anderson's mixing combines
_ROUGH = 3e-3  # residual at which the second side has shown where it leads
_SAME = 3e-2  # two answers closer than this are one


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
    """

    spectrum: Complex
    residual: Array
    iterations: NDArray[np.int64]


class HarmonicBalance:
    """Solver of equation (1) for one linear network.

    Parameters
    ----------
    stiffness : ndarray, (bins, ports, ports), complex
        S on bins 0, 1, ..., in newtons per metre.
    cubic_n_m3 : float
        k3, in newtons per cubic metre.
    typical_m : ndarray, (ports,)
        Typical rms displacement; d is the mean tangent stiffness there, ``3 k3 typical^2``. It changes speed alone.
    tolerance : float
        Residual at which a shot is done.
    max_iterations : int

    Attributes
    ----------
    receptance : ndarray, (bins, ports, ports), complex
        (S + d)^-1, in metres per newton.
    """

    def __init__(
        self, stiffness: Complex, cubic_n_m3: float, typical_m: Array, tolerance: float, max_iterations: int
    ) -> None:
        self._cubic = cubic_n_m3
        self._spring = 3.0 * cubic_n_m3 * np.asarray(typical_m)[:, None] ** 2
        ports = stiffness.shape[-1]
        self.receptance: Complex = np.asarray(
            np.linalg.inv(stiffness + self._spring * np.eye(ports)), dtype=np.complex128
        )
        # Bin 0 and lossless ports would put the resonant start at infinity; they are bounded by the static spring.
        loss = stiffness.imag[:, range(ports), range(ports)]
        self._resonant = -1j / np.where(loss > 0, loss, np.abs(stiffness[:, range(ports), range(ports)]))[..., None]
        self._bins = len(stiffness)
        # Products of three bins below B lie below 3 B; 4 B samples keep their images off the retained bins.
        self._samples = fft.next_fast_len(4 * self._bins, real=True)
        self.tolerance = tolerance
        self.max_iterations = max_iterations

    def solve(self, force: Complex, tolerance: float | None = None, history: int = HISTORY) -> Balance:
        """Answer to external forces (bins, ports, shots), in the scaling of :class:`Balance`, from the linear side.

        Shots that do not converge come back with the residual they reached. The tolerance is the solver's own where
        none is given; a tighter one is reached in fewer iterations with a longer history.
        """
        linear = self.receptance @ force
        tolerance = self.tolerance if tolerance is None else tolerance
        return fixed_point(lambda x: self._map(linear, x), linear, tolerance, self.max_iterations, history)

    def folded(self, force: Complex, balance: Balance) -> NDArray[np.bool_]:
        """Which shots, (shots,), end elsewhere or nowhere when started from the resonant side."""
        linear = self.receptance @ force
        other = fixed_point(lambda x: self._map(linear, x), self._resonant * force, _ROUGH, self.max_iterations)
        with np.errstate(all="ignore"):
            apart = _norm(other.spectrum - balance.spectrum) > _SAME * _norm(balance.spectrum)
        return np.asarray(apart | (other.residual > _ROUGH))

    def in_time(self, spectrum: Complex) -> Array:
        """What a spectrum (bins, ports, shots) is in time, (samples, ports, shots), over one period."""
        return np.asarray(fft.irfft(spectrum, n=self._samples, axis=0, norm="forward"))

    def retained(self, signal: Array) -> Complex:
        """The retained bins of a signal (samples, ports, shots)."""
        return np.asarray(fft.rfft(signal, axis=0, norm="forward")[: self._bins])

    def slope(self, spectrum: Complex) -> Array:
        """Derivative 3 k3 x^2 - d of what equation (1) transforms, (samples, ports, shots), in N/m."""
        x = self.in_time(spectrum)
        return np.asarray(3.0 * self._cubic * x * x - self._spring)

    def _map(self, linear: Complex, spectrum: Complex) -> Complex:
        """Right side of equation (1)."""
        x = self.in_time(spectrum)
        return np.asarray(linear - self.receptance @ self.retained((self._cubic * x * x - self._spring) * x))


def fixed_point(
    right_side: Callable[[Complex], Complex],
    start: Complex,
    tolerance: float,
    max_iterations: int,
    history: int = HISTORY,
) -> Balance:
    """Solve X = right_side(X) for spectra (bins, ports, shots), each shot by itself, with Anderson's mixing."""
    x = start
    active = np.ones(start.shape[-1], dtype=bool)
    residual = np.full(active.shape, np.inf)
    iterations = np.zeros(active.shape, dtype=np.int64)
    mixing = _Anderson(active.size, history)
    with np.errstate(all="ignore"):  # a diverging shot may overflow; its residual tells
        for iteration in range(max_iterations):
            error = right_side(x) - x
            size = np.maximum(_norm(x), np.finfo(float).tiny)
            residual = np.where(active, np.nan_to_num(_norm(error) / size, nan=np.inf), residual)
            iterations[active] = iteration
            active &= np.isfinite(residual) & (residual > tolerance)
            if not active.any():
                break
            x = x + np.where(active, mixing.step(x, error), 0.0)
    return Balance(x, residual, iterations)


class _Anderson:
    """Steps that combine earlier ones so that the error, taken as linear in them, is least; one combination a shot."""

    def __init__(self, shots: int, history: int) -> None:
        self._last: tuple[Complex, Complex] | None = None
        self._moves: list[tuple[Complex, Complex]] = []  # (change of error, change of x + error), oldest overwritten
        self._history = history
        self._gram = np.zeros((shots, history, history))
        self._count = 0

    def step(self, x: Complex, error: Complex) -> Complex:
        if self._last is not None:
            change = error - self._last[1]
            self._keep(change, x - self._last[0] + change)
        self._last = (x, error)
        n = len(self._moves)
        if n == 0:
            return error
        gram = self._gram[:, :n, :n].copy()
        # The ridge keeps the matrix of a frozen shot (all zeros) and of parallel steps invertible.
        ridge = 1e-12 * np.trace(gram, axis1=1, axis2=2) + 1e-290
        gram[:, range(n), range(n)] += ridge[:, None]
        right = np.stack([_dot(change, error) for change, _ in self._moves], axis=1)[:, :, None]
        weights = np.linalg.solve(gram, right)[:, :, 0]
        step = error.copy()
        for weight, (_, move) in zip(weights.T, self._moves, strict=True):
            step -= weight * move
        return step

    def _keep(self, change: Complex, move: Complex) -> None:
        slot = self._count % self._history
        self._moves[slot : slot + 1] = [(change, move)]
        self._count += 1
        for other, (earlier, _) in enumerate(self._moves):
            self._gram[:, slot, other] = self._gram[:, other, slot] = _dot(earlier, change)


def _dot(a: Complex, b: Complex) -> Array:
    """Real inner product over bins and ports, (shots,)."""
    rows = (-1, 2 * a.shape[-1])  # real and imaginary parts side by side: one fast real contraction
    parts = np.einsum("ij,ij->j", a.view(np.float64).reshape(rows), b.view(np.float64).reshape(rows))
    return np.asarray(parts[0::2] + parts[1::2])


def _norm(spectrum: Complex) -> Array:
    """Norm over bins and ports, (shots,)."""
    return np.asarray(np.sqrt(_dot(spectrum, spectrum)))
