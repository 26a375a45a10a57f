"""The transmission matrix of a layer, measured by phase stepping, and what it predicts of patterns it has not seen."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from labtrain.errors import InputError
from labtrain.rigs.speckle.light import NAME, Array, Light, correlation
from labtrain.sim.optics.parameters import OpticalParameters
from labtrain.twins.cost import FitCost
from labtrain.twins.phase_stepping import STEPS, multiply_adds, plan, refuse_unfit, retrieve
from labtrain.twins.speckle import SpeckleTwin
from labtrain.twins.twin import judge

UNSEEN = 64  # random patterns that judge it
LARGEST_BYTES = 4e9  # that frames and matrix may take

Told = Callable[[str, int, int], object]


@dataclass(frozen=True)
class Matrix:
    """A measured matrix.

    Parameters
    ----------
    twin : SpeckleTwin
        With its errors on patterns it has not seen.
    shots : int
        Patterns shown for it.
    score : dict
        As :func:`labtrain.twins.twin.judge` gives it for these patterns.
    correlation : float
        Of predicted and measured outputs, over all of these patterns and outputs.
    drifted : float
        Correlation of the speckle of one pattern shown before and after the measurement, free of noise.
    saturated : float
        Share of pixels at the top, in the frames it was measured from.
    predicted, measured : ndarray, (patterns, n_out)
    """

    twin: SpeckleTwin
    shots: int
    score: dict[str, Any]
    correlation: float
    drifted: float
    saturated: float
    predicted: Array
    measured: Array

    @property
    def singular_values(self) -> Array:
        """Of the inputs' part, (min(n_in, pixels),), in units of their root mean square."""
        values: Array = np.linalg.svd(self.twin.transmission[1:], compute_uv=False).astype(np.float64)
        return np.asarray(values / np.sqrt(np.mean(values**2)))

    @property
    def independent(self) -> float:
        """As how many equal ones the singular values count: (sum s^2)^2 / sum s^4."""
        power = self.singular_values**2
        return float(power.sum() ** 2 / (power**2).sum())


def planned_bytes(n_in: int, pixels: int, steps: int = STEPS) -> float:
    """Memory for the frames, as float32, the matrix, and the light of all patterns with its inverse."""
    patterns = (steps + 1) * n_in
    return 4.0 * patterns * pixels + 16.0 * (n_in + 1) * (pixels + 2.0 * patterns)


def refuse_without_matrix(p: OpticalParameters, steps: int = STEPS) -> None:
    """Refuse a bench whose matrix cannot be measured.

    Raises
    ------
    InputError
        If its modulator turns no phases, or too few, or frames and matrix do not fit into memory.
    """
    if p.modulation != "phase":
        raise InputError(f"{NAME}: phase stepping needs a modulator of phases; set rig.world.modulation: phase")
    n_in = p.input_shape[0] * p.input_shape[1]
    refuse_unfit(n_in, p.phase_range_rad, p.levels, steps)
    if (needed := planned_bytes(n_in, p.pixels, steps)) > LARGEST_BYTES:
        raise InputError(
            f"{NAME}: a matrix from {n_in:,} inputs to {p.pixels:,} pixels takes {needed / 1e9:.1f} GB, allowed "
            f"{LARGEST_BYTES / 1e9:g}; read fewer pixels (rig.world.camera_shape), or make the inputs larger "
            "(rig.world.input_cells)"
        )


def measure_matrix(
    light: Light,
    rng: np.random.Generator,
    tell: Told = lambda *_: None,
    phase_range_rad: float | None = None,
    steps: int = STEPS,
) -> Matrix:
    """Measure the matrix of a layer at the exposure as it is set; the light knows its dark level.

    Parameters
    ----------
    tell : callable (stage, done, planned)
    phase_range_rad : float, optional
        From drive 0 to drive 1; default: that of the configuration.
    steps : int
        Of the reference's phase.

    Raises
    ------
    InputError
        If the modulator turns no phases, its range is too small, or frames and matrix do not fit into memory.
    """
    p = light.parameters
    refuse_without_matrix(p, steps)
    asked = plan(light.n_in, phase_range_rad or p.phase_range_rad, light.bench.levels, rng, steps)
    scale = float(p.top_count - p.offset_counts)
    ceiling = (light.ceiling - light.dark) / scale
    sentinel, shots, part = light.random(1, rng), light.shots, 256
    before = light.twice(sentinel, 4)
    frames = np.empty((len(asked.drives), light.pixels), dtype=np.float32)
    for at in range(0, len(frames), part):
        tell("phase stepping", at, len(frames))
        frames[at : at + part] = light.signal(asked.drives[at : at + part]) / scale
    after = light.twice(sentinel, 4)
    unseen = light.random(UNSEEN, rng)
    again = light.twice(unseen)
    first, second = (light.outputs(signal) for signal in again)
    shots = light.shots - shots
    began_s = time.process_time()
    transmission = retrieve(asked, frames, ceiling, lambda done, planned: tell("retrieving", done, planned))
    twin = SpeckleTwin(
        transmission,
        asked.phase_range_rad,
        p.camera_shape,
        (p.pool_size, p.pool_stride, p.pool_padding),
        p.readout,
        (light.bench.top_count - light.dark) / scale,
    )
    twin.fit_cost = FitCost(len(frames), multiply_adds(asked, light.pixels), time.process_time() - began_s)
    predicted = twin.predict(unseen)
    twin.errors, twin.rms = first - predicted, np.sqrt((first**2).mean(axis=0))
    scatter = np.abs(first - second) / np.sqrt(2.0)
    pair = [np.concatenate([b[:, light.good], a[:, light.good]]) for b, a in zip(before, after, strict=True)]
    return Matrix(
        twin=twin,
        shots=shots,
        score=judge(twin, unseen, first, scatter),
        correlation=float(np.corrcoef(predicted.ravel(), first.ravel())[0, 1]),
        drifted=float(correlation(pair[0], pair[1])[0, 1]),
        saturated=float((frames >= ceiling)[:, light.good].mean()),
        predicted=predicted,
        measured=first,
    )
