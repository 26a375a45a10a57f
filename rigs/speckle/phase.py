"""What a level does to the phase: inputs are stepped together against the others, which stay.

    I_k(level) = a_k + b_k cos(phi(level)) + c_k sin(phi(level))

with one phi for all pixels. That phi = range * drive gives the range; solved level by level, phi itself shows how
straight the modulator's look-up table is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from labtrain.rigs.speckle.light import Array, Light

STEPS = 16  # from drive 0 to drive 1
FRAMES = 4
_ROUNDS = 30
LEAST_LEVELS = 5  # of fewer, half a turn and more from one to the next, a range looks like one that turns the other way
_RANGES = math.pi * np.arange(0.1, 4.01, 0.1)


@dataclass(frozen=True)
class PhaseScan:
    """The phase of half of the inputs.

    Parameters
    ----------
    drives : ndarray, (levels,)
    range_rad, sigma_rad : float
        From drive 0 to drive 1, if phi is straight in the drive, and its standard deviation by the noise.
    phase_rad : ndarray, (levels,)
        phi of each level by itself.
    bend_rad : float
        Root mean square of phi against the straight line.
    explained : float
        Share of what changes with the level that this describes.
    signal, fitted : ndarray, (levels, 4)
        Of the four pixels that change most, in units of their mean.
    """

    drives: Array
    range_rad: float
    sigma_rad: float
    phase_rad: Array
    bend_rad: float
    explained: float
    signal: Array
    fitted: Array


def scan_phase(light: Light, rng: np.random.Generator) -> PhaseScan:
    """Step half of the inputs from drive 0 to drive 1 while the others stay at random ones.

    The light has LEAST_LEVELS levels or more.
    """
    levels = light.bench.levels
    at = np.unique(np.rint(np.linspace(0, levels - 1, STEPS + 1))) / (levels - 1)
    drives = np.repeat(light.random(1, rng), len(at), axis=0)
    drives[:, : max(1, light.n_in // 2)] = at[:, None]
    counts = light.counts(drives, FRAMES)
    # A pixel that is full in one of some frames has a mean below the top: a tenth below it is on the safe side.
    kept = light.good & (counts.max(axis=0) < light.dark + 0.9 * light.full)
    signal = (counts - light.dark)[:, kept]
    about = signal - signal.mean(axis=0)

    def misfit(range_rad: float) -> float:
        return float((about**2).sum() - ((_basis(range_rad * at).T @ about) ** 2).sum())

    first = min(_RANGES, key=misfit)
    step = float(_RANGES[0])
    best = minimize_scalar(misfit, bounds=(max(first - step, 0.05), first + step), method="bounded")
    range_rad = float(best.x)
    free = about.shape[1] * (len(at) - 3)
    variance, nearby = max(misfit(range_rad), 0.0) / free, 0.05
    curve = (misfit(range_rad + nearby) - 2.0 * misfit(range_rad) + misfit(range_rad - nearby)) / nearby**2
    sigma = math.sqrt(2.0 * variance / curve) if curve > 0 else math.inf
    design = np.column_stack([np.ones(len(at)), np.cos(range_rad * at), np.sin(range_rad * at)])
    coefficients = np.linalg.lstsq(design, signal, rcond=None)[0]
    phase = range_rad * at
    turned = coefficients
    for _ in range(_ROUNDS):  # each by itself: phases and pixels in turn
        phase = _by_level(signal, turned)
        turned = np.linalg.lstsq(np.column_stack([np.ones(len(at)), np.cos(phase), np.sin(phase)]), signal, rcond=None)[
            0
        ]
    phase -= phase[0]  # their common zero is free
    phase += 2.0 * np.pi * np.round((range_rad * at - phase) / (2.0 * np.pi))
    strongest = np.argsort(-about.std(axis=0))[:4]
    mean = signal[:, strongest].mean(axis=0)
    return PhaseScan(
        drives=at,
        range_rad=range_rad,
        sigma_rad=sigma,
        phase_rad=phase,
        bend_rad=float(np.sqrt(np.mean((phase - range_rad * at) ** 2))),
        explained=1.0 - misfit(range_rad) / max(float((about**2).sum()), 1e-300),
        signal=signal[:, strongest] / mean,
        fitted=(design @ coefficients)[:, strongest] / mean,
    )


def _basis(phase_rad: Array) -> Array:
    """Orthonormal columns that span cos and sin of the phases, less their means, (levels, 2)."""
    turned = np.column_stack([np.cos(phase_rad), np.sin(phase_rad)])
    u, s, _ = np.linalg.svd(turned - turned.mean(axis=0), full_matrices=False)
    return np.asarray(u[:, s > 1e-9 * max(float(s[0]), 1e-300)])


def _by_level(signal: Array, coefficients: Array) -> Array:
    """phi of each level, (levels,), that all pixels together would have."""
    about = (signal - coefficients[0]).T  # (pixels, levels)
    cosine, sine = np.linalg.lstsq(coefficients[1:].T, about, rcond=None)[0]
    return np.asarray(np.arctan2(sine, cosine))
