"""A bench of frames behind the inputs of one layer: drives go in, counts above the dark level come out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from labtrain.rigs.optical_bench import FrameBench
from labtrain.rigs.saturation import ceiling
from labtrain.sim.optics.camera import Camera
from labtrain.sim.optics.modulator import Modulator
from labtrain.sim.optics.parameters import OpticalParameters

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

NAME = "optical bench"  # in errors
_TOGETHER = 64  # patterns; between them a survey can be broken off


class Light:
    """Drives of a layer to frames.

    Parameters
    ----------
    bench : FrameBench
    parameters : OpticalParameters
        Which cells an input drives, over which phases, and how pixels are pooled; what else they say is not used.
    check : callable
        Called between parts; what it raises ends the measurement.

    Attributes
    ----------
    shots : int
        Patterns shown so far.
    exposure_s : float
    dark : ndarray, (pixels,)
        Counts to subtract, zeros until they are known.
    good : ndarray of bool, (pixels,)
        Pixels to draw conclusions from, all until more is known.
    """

    def __init__(
        self, bench: FrameBench, parameters: OpticalParameters, check: Callable[[], object] = lambda: None
    ) -> None:
        self.bench, self._check = bench, check
        rows, columns = bench.camera_shape
        self.parameters = replace(
            parameters, slm_shape=bench.slm_shape, levels=bench.levels, camera_shape=(rows, columns)
        )
        self._modulator, self._camera = Modulator(self.parameters), Camera(self.parameters)
        self.n_in, self.pixels = self._modulator.n_in, rows * columns
        self.dark, self.good = np.zeros(self.pixels), np.ones(self.pixels, dtype=bool)
        self.shots = 0

    @property
    def exposure_s(self) -> float:
        return self.bench.exposure_s

    @property
    def phase(self) -> bool:
        """Whether the modulator turns the phase."""
        return self.parameters.modulation == "phase"

    @property
    def full(self) -> float:
        """Counts from the dark level to the top one."""
        return float(self.bench.top_count - np.median(self.dark))

    @property
    def ceiling(self) -> float:
        """Counts from which a pixel is full: a full well reads the top count but for its read noise."""
        return ceiling(self.bench.top_count, self.full)

    def random(self, count: int, rng: np.random.Generator) -> Array:
        """Random drives (count, n_in), on levels."""
        levels = self.bench.levels
        return np.asarray(rng.integers(0, levels, (count, self.n_in)) / (levels - 1))

    def patterns(self, drives: Array) -> NDArray[np.uint16]:
        """Levels of all cells, (n, rows, columns)."""
        cells = self._modulator.cells(drives)[:, : self.parameters.cells]
        return cells.astype(np.uint16).reshape(-1, *self.parameters.slm_shape)

    def counts(self, drives: Array, frames: int = 1) -> Array:
        """Counts as they were read, (n, pixels)."""
        found = np.empty((len(drives), self.pixels))
        for at in range(0, len(drives), _TOGETHER):
            self._check()
            part = slice(at, at + _TOGETHER)
            found[part] = self.bench.counts(self.patterns(drives[part]), frames).reshape(-1, self.pixels)
            self.shots += len(found[part])
        return found

    def signal(self, drives: Array, frames: int = 1) -> Array:
        """Counts above the dark level, (n, pixels)."""
        return self.counts(drives, frames) - self.dark

    def twice(self, drives: Array, frames: int = 1) -> tuple[Array, Array]:
        """All patterns in turn, and then again: two signals (n, pixels) with noise of their own."""
        return self.signal(drives, frames), self.signal(drives, frames)

    def look(self) -> None:
        """Make sure that frames are new; once the dark level is known. InstrumentError if they are not."""
        self._check()
        self.shots += self.bench.look(self.plane(self.dark))

    def saturated(self, counts: Array) -> Mask:
        """Which counts, as they were read in single frames, are those of full pixels."""
        return np.asarray(counts >= self.ceiling)

    def outputs(self, signal: Array) -> Array:
        """What the layer makes of signals (n, pixels): (n, n_out), a full pixel being 1."""
        p = self.parameters
        fraction = signal / (p.top_count - p.offset_counts)
        if p.readout == "amplitude":
            fraction = np.sqrt(np.maximum(fraction, 0.0))
        return np.asarray(self._camera.pool(fraction.copy()))

    def plane(self, values: Array) -> Array:
        """Values (..., pixels) as (..., rows, columns)."""
        return values.reshape(*values.shape[:-1], *self.parameters.camera_shape)


def correlation(first: Array, second: Array) -> Array:
    """Correlation of speckles over pixels, (n, n), free of the noise in two frames (n, pixels) of each.

    Noise of two frames is independent, so that a covariance between them has none of it on the average; a speckle
    correlates with itself by 1.
    """
    first = first - first.mean(axis=1, keepdims=True)
    second = second - second.mean(axis=1, keepdims=True)
    across = first @ second.T / first.shape[1]
    own = np.sqrt(np.maximum(np.diag(across), np.finfo(np.float64).tiny))
    return np.asarray((across + across.T) / 2.0 / (own[:, None] * own))
