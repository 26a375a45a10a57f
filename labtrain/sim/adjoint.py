"""Backwards through the acoustic cavity: vector-Jacobian products by implicit differentiation of harmonic balance.

An amplitude is y = |p|, with p = D u + 2 P X on its tone's bin, u being the phasors of the drives and X the membranes'
motion. With <a, b> = Re sum conj(a) b and the vector q = dy p / |p|,

    sum_k dy_k d y_k = <q, dp> = <D^H q, du> + <2 P^H q, dX>.

X solves equation (1) of :mod:`labtrain.sim.harmonic_balance`, X = R (F - F[k3 x^3 - d x]) with R = (S + d)^-1, so that

    dX = R (dF - J dX),      J = T m T^-1,      m(t) = 3 k3 x(t)^2 - d,

T being the transform to retained bins. On half spectra, of which x takes bin 0 once and all others twice, the weights
w = 1, 2, 2, ... turn J into its transpose, J^T = w J w^-1. What is left for each shot, whatever the number of its
drives and outputs, is one linear equation of the size of (1) (Pineda, Phys. Rev. Lett. 59:2229, 1987, for the fixed
points of neural networks). Tones lie above bin 0, so that 2 P^H q = w P^H q, and

    n = R^H (P^H q - J n),      <2 P^H q, dX> = <w n, dF>.                                          (2)

The transpose contracts at the rate at which (1) does in the end, and the same mixing solves it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from labtrain.sim.harmonic_balance import fixed_point
from labtrain.sim.held_air import HeldAir

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

TOGETHER = 32  # shots in one go: what they need stays in the processor's cache
# A shot is solved to 1e-4 or so. Its derivative is called exact and held against differences, whose own best is about
# 1e-7; beyond, each digit costs a third of a shot and nobody could tell.
TOLERANCE = 1e-7
HISTORY = 20  # with hard springs, six earlier iterates get stuck before they reach that


def drive_vjp(air: HeldAir, tones: Complex, dy: Array) -> tuple[Complex, NDArray[np.bool_]]:
    """Take derivatives by amplitudes back to phasors.

    Parameters
    ----------
    air : HeldAir
    tones : ndarray, (tones, speakers, shots), complex
    dy : ndarray, (tones, microphones, shots)

    Returns
    -------
    du : ndarray, (tones, speakers, shots), complex
        ``sum_k dy_k d y_k = Re sum conj(du) d tones``.
    lost : ndarray, (shots,), bool
        Where the motion, or else equation (2), did not converge; if there is any, `du` is of no use.
    """
    solver, bins = air.solver, air.tone_bins
    tolerance = min(TOLERANCE, solver.tolerance)
    motion = solver.solve(air.forces(tones), tolerance, HISTORY)
    lost = motion.residual > tolerance
    if lost.any():
        return np.zeros_like(tones), lost
    pressure = air.pressure(tones, motion.spectrum)
    size = np.abs(pressure)
    q = np.divide(dy * pressure, size, out=np.zeros_like(pressure), where=size > 0)
    source = np.zeros_like(motion.spectrum)
    source[bins] = _transposed(air.radiated[bins]) @ q
    slope, back = solver.slope(motion.spectrum), _transposed(solver.receptance)
    linear = back @ source

    def right_side(n: Complex) -> Complex:
        return np.asarray(linear - back @ solver.retained(slope * solver.in_time(n)))

    adjoint = fixed_point(right_side, linear, tolerance, solver.max_iterations, HISTORY)
    # dF is half of air.force on the bins of the tones, where w is 2.
    du = _transposed(air.direct) @ q + _transposed(air.force) @ adjoint.spectrum[bins]
    return du, adjoint.residual > tolerance


def _transposed(matrices: Complex) -> Complex:
    """Conjugate transpose of each."""
    return np.ascontiguousarray(matrices.conj().swapaxes(-1, -2))
