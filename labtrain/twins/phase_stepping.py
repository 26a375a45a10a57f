"""A transmission matrix from intensities, by phase stepping: what is shown, and what follows from the frames.

The field on a camera's pixel is linear in the light of the inputs, which a phase modulator turns:

    E = t_0 + sum_i t_i exp(i phi_i),      I = |E|^2

t_0 is what no input moves: unmodulated light, other cells, a reference arm. S. M. Popoff et al. (Phys. Rev. Lett. 104,
100601 (2010)) showed Hadamard patterns on one part of a modulator and stepped their phase against a part that stays. On
a modulator of 0 to pi a flipped pattern has no room for steps, so here the *reference* is stepped: half of the inputs,
together, by rho, while the others show a Hadamard pattern of phases 0 and pi. With R = sum of the reference's t_i and P
the field of all else,

    I(rho) = |P|^2 + |R|^2 + 2 Re(exp(i rho) R P*)

three steps within [0, pi] give R* P of each pattern, by least squares; and since P is linear in t_0 and t_i, R* t_i of
each input in that half. Then the halves change parts. |R|^2 follows from the part that does not depend on rho.

Where a pixel is dark in the reference little is learned. So as many random patterns are shown as there are inputs, and
all frames together refine the matrix by error reduction (R. W. Gerchberg and W. O. Saxton, Optik 35, 237 (1972)):
fields take the measured amplitudes and keep their phases, and the matrix is fitted to them, again and again. The root
of a count of photons has the same noise everywhere, so this fit is near the most likely one.

The phase of each pixel is free: E and E exp(i a) are one intensity.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labtrain.errors import InputError
from labtrain.layer import Array
from labtrain.twins.hadamard import Signs, hadamard

Complex = NDArray[np.complex128]
Indices = NDArray[np.intp]

STEPS = 3
LEAST_RANDOM = 64  # patterns: of few inputs, too
LEAST_RANGE = 0.5  # rad; below, light of two phases is nearly the same
_REFINED = 40  # times
_MOMENTUM = 0.7  # of the last change, which is added to it
_TOGETHER = 256  # pixels: each stands for itself
_ASTRAY = 3.0  # times the median misfit
_OTHERS = (0.02, 0.06, 0.2, 0.6)  # shares of the mean to start from again
_SIZES = np.geomspace(0.01, 1.0, 60)  # shares of the mean that |R|^2 may have


@dataclass(frozen=True)
class Plan:
    """Patterns for one matrix.

    Parameters
    ----------
    drives : ndarray, (patterns, n_in)
        In [0, 1], in the order in which they are shown.
    phase_range_rad : float
        From drive 0 to drive 1.
    halves : two ndarrays of int
        Inputs that show Hadamard patterns first, and those that do then; the others are the reference.
    signs : two ndarrays of int, (rows, inputs of the half)
    steps_rad : ndarray, (steps,)
        Of the reference, shown one after another for each row.
    """

    drives: Array
    phase_range_rad: float
    halves: tuple[Indices, Indices]
    signs: tuple[Signs, Signs]
    steps_rad: Array

    @property
    def n_in(self) -> int:
        return int(self.drives.shape[1])

    def light(self, drives: Array) -> Complex:
        """What the matrix is multiplied by, (rows, 1 + n_in): 1, and the light of the inputs."""
        return np.column_stack([np.ones(len(drives)), np.exp(1j * self.phase_range_rad * drives)])


def refuse_unfit(n_in: int, phase_range_rad: float, levels: int, steps: int = STEPS) -> None:
    """Refuse what no phase can be stepped with; arguments as of :func:`plan`.

    Raises
    ------
    InputError
        If there are fewer than two inputs, or the range is too small, or levels are too few for the steps.
    """
    if n_in < 2:
        raise InputError(f"phase stepping needs 2 inputs or more, one is the other's reference; this layer has {n_in}")
    if steps < 3:
        raise InputError(f"phase stepping: asked {steps} steps, needed 3 or more")
    if phase_range_rad < LEAST_RANGE:
        raise InputError(
            f"phase stepping: the modulator's range is {phase_range_rad:.3g} rad, needed {LEAST_RANGE:g} or more; "
            "set rig.world.phase_range_rad"
        )
    shown = np.unique(np.rint(_reference_steps(phase_range_rad, steps) / phase_range_rad * (levels - 1)))
    if len(shown) < steps:
        raise InputError(
            f"phase stepping: of {levels} levels {len(shown)} are the nearest ones to {steps} steps of a reference; it "
            "needs one for each: more of them in rig.world.levels, as far as the modulator has them"
        )


def _reference_steps(phase_range_rad: float, steps: int) -> Array:
    """Phases of the reference, (steps,): a whole turn, or as much of it as there is."""
    return np.linspace(0.0, min(phase_range_rad, 2.0 * np.pi * (1.0 - 1.0 / steps)), steps)


def plan(n_in: int, phase_range_rad: float, levels: int, rng: np.random.Generator, steps: int = STEPS) -> Plan:
    """Patterns for a matrix of so many inputs: about (steps + 1) n_in of them, more where there are few inputs.

    Parameters
    ----------
    levels : int
        Of the modulator; drives are rounded to them.
    rng : numpy Generator
        Of the halves and the random patterns.
    steps : int
        Of the reference's phase.

    Raises
    ------
    InputError
        As :func:`refuse_unfit`.
    """
    refuse_unfit(n_in, phase_range_rad, levels, steps)

    def on_levels(phase_rad: Array) -> Array:
        return np.rint(phase_rad / phase_range_rad * (levels - 1)) / (levels - 1)

    flipped = on_levels(np.array([0.0, min(phase_range_rad, np.pi)]))
    stepped = on_levels(_reference_steps(phase_range_rad, steps))
    order = rng.permutation(n_in)
    halves = (np.sort(order[: n_in // 2]), np.sort(order[n_in // 2 :]))
    signs, shown = [], []
    for half, reference in (halves, halves[::-1]):
        rows = hadamard(len(half) + 1)[:, 1 : len(half) + 1]  # the first column is that of t_0
        signs.append(rows)
        drives = np.empty((len(rows), steps, n_in))
        drives[:, :, half] = np.where(rows > 0, flipped[0], flipped[1])[:, None, :]
        drives[:, :, reference] = stepped[None, :, None]
        shown.append(drives.reshape(-1, n_in))
    shown.append(rng.integers(0, levels, (max(n_in, LEAST_RANDOM), n_in)) / (levels - 1))
    return Plan(
        np.concatenate(shown), phase_range_rad, halves, (signs[0], signs[1]), np.asarray(stepped * phase_range_rad)
    )


def retrieve(
    asked: Plan,
    intensity: NDArray[np.floating],
    ceiling: Array | None = None,
    told: Callable[[int, int], object] = lambda *_: None,
) -> Complex:
    """The matrix, (1 + n_in, pixels), t_0 first; the phase of each pixel such that t_0 is real and not negative.

    Parameters
    ----------
    asked : Plan
    intensity : ndarray, (patterns, pixels)
        Above the dark level, in any unit; its root is that of the matrix.
    ceiling : ndarray, (pixels,), optional
        Intensity at which a pixel is full: there the field may be larger.
    told : callable (pixels done, pixels)
    """
    light = asked.light(asked.drives)
    inverse: Complex = np.linalg.pinv(light).astype(np.complex128)
    pixels = intensity.shape[1]
    found = np.empty((light.shape[1], pixels), dtype=np.complex128)
    for at in range(0, pixels, _TOGETHER):
        part = slice(at, at + _TOGETHER)
        frames = intensity[:, part].astype(np.float64)
        full = np.zeros(frames.shape, dtype=bool) if ceiling is None else frames >= ceiling[part]
        refine = _Refiner(light, inverse, np.sqrt(np.maximum(frames, 0.0)), full)
        found[:, part] = refine(_stepped(asked, frames), slice(None))
        _start_again(asked, frames, refine, found[:, part])
        told(min(at + _TOGETHER, pixels), pixels)
    size = np.abs(found[0])
    return np.asarray(found * np.where(size > 0, found[0].conj(), 1.0) / np.where(size > 0, size, 1.0))


def multiply_adds(asked: Plan, pixels: int) -> int:
    """Of :func:`retrieve`, real ones: two complex products for each refinement."""
    return 4 * 2 * _REFINED * len(asked.drives) * (1 + asked.n_in) * pixels


def _stepped(asked: Plan, frames: Array, shares: tuple[float, float] | None = None) -> Complex:
    """A first matrix, from the stepped frames alone; the reference of the first half's patterns real.

    Parameters
    ----------
    shares : (float, float), optional
        Of both references' |R|^2 in the mean of |P|^2 + |R|^2, if not those that fit best.
    """
    steps, at = len(asked.steps_rad), 0
    by_step = np.linalg.pinv(
        np.column_stack([np.ones(steps), 2.0 * np.cos(asked.steps_rad), -2.0 * np.sin(asked.steps_rad)])
    )
    products, sizes = [], []
    for half, signs in zip(asked.halves, asked.signs, strict=True):
        shown = frames[at : at + len(signs) * steps].reshape(len(signs), steps, -1)
        constant, real, imaginary = np.einsum("ps,rsk->prk", by_step, shown)
        interference = real - 1j * imaginary  # R* P
        light = asked.light(asked.drives[at : at + len(signs) * steps : steps])
        unknown = np.concatenate([[0], 1 + half])
        products.append(np.linalg.pinv(light[:, unknown]) @ interference)
        if shares is None:
            sizes.append(_reference(constant, np.abs(interference)))
        else:
            sizes.append(np.sqrt(shares[len(sizes)] * np.maximum(constant.mean(axis=0), np.finfo(np.float64).tiny)))
        at += len(signs) * steps
    first, second = asked.halves
    found = np.empty((1 + asked.n_in, frames.shape[1]), dtype=np.complex128)
    found[0], found[1 + first] = products[0][0] / sizes[0], products[0][1:] / sizes[0]
    other = found[1 + first].sum(axis=0)  # the second reference, in the phase of the first
    other *= sizes[1] / np.maximum(np.abs(other), np.finfo(np.float64).tiny)
    found[1 + second] = products[1][1:] / other.conj()
    return found


def _reference(constant: Array, product: Array) -> Array:
    """|R|, (pixels,), from |P|^2 + |R|^2 and |R* P| of all rows, (rows, pixels): the best of a set of sizes."""
    best = np.full(constant.shape[1], np.inf)
    found = np.ones(constant.shape[1])
    mean = np.maximum(constant.mean(axis=0), np.finfo(np.float64).tiny)
    for power in _SIZES[:, None] * mean:
        misfit = ((product - np.sqrt(np.maximum(power * (constant - power), 0.0))) ** 2).sum(axis=0)
        better = misfit < best
        found[better], best[better] = power[better], misfit[better]
    return np.asarray(np.sqrt(found))


class _Refiner:
    """Error reduction with momentum.

    Parameters
    ----------
    light, inverse : ndarray, (patterns, 1 + n_in), and its pseudoinverse
    amplitude : ndarray, (patterns, pixels)
        As measured.
    full : ndarray of bool, (patterns, pixels)
        Where it is a lower bound.
    """

    def __init__(self, light: Complex, inverse: Complex, amplitude: Array, full: NDArray[np.bool_]) -> None:
        self._light, self._inverse, self._amplitude, self._full = light, inverse, amplitude, full

    def __call__(self, matrix: Complex, pixels: slice | Indices) -> Complex:
        """The matrix (1 + n_in, pixels) of these pixels, from a first one."""
        amplitude, full, before = self._amplitude[:, pixels], self._full[:, pixels], matrix
        for _ in range(_REFINED):
            field = self._light @ (matrix + _MOMENTUM * (matrix - before))
            size = np.abs(field)
            wanted = np.where(full, np.maximum(amplitude, size), amplitude)
            field *= wanted / np.maximum(size, np.finfo(np.float64).tiny)
            before, matrix = matrix, self._inverse @ field
        return matrix

    def misfit(self, matrix: Complex, pixels: slice | Indices) -> Array:
        """What it leaves of the power, (pixels,)."""
        amplitude, size = self._amplitude[:, pixels], np.abs(self._light @ matrix)
        off = np.where(self._full[:, pixels], np.maximum(amplitude - size, 0.0), amplitude - size)
        return np.asarray((off**2).sum(axis=0) / np.maximum((amplitude**2).sum(axis=0), np.finfo(np.float64).tiny))


def _start_again(asked: Plan, frames: Array, refine: _Refiner, found: Complex) -> None:
    """Try other first matrices for the pixels that fit worst, which may have gone astray, and keep what fits better."""
    misfit = refine.misfit(found, slice(None))
    worst = np.flatnonzero(misfit > _ASTRAY * np.median(misfit))
    for shares in itertools.product(_OTHERS, _OTHERS):
        if not len(worst):
            return
        tried = refine(_stepped(asked, frames[:, worst], shares), worst)
        reached = refine.misfit(tried, worst)
        better = reached < misfit[worst]
        found[:, worst[better]], misfit[worst[better]] = tried[:, better], reached[better]
        worst = worst[misfit[worst] > _ASTRAY * np.median(misfit)]
