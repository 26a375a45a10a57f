"""Simulated optical benches with something wrong, or something to find."""

from __future__ import annotations

from typing import Any

import numpy as np

from labtrain.clock import SimulatedClock
from labtrain.errors import InputError
from labtrain.rigs.optical_bench import SimulatedFrames
from labtrain.rigs.speckle.dark import measure_dark
from labtrain.rigs.speckle.light import Light
from labtrain.sim.optical import OpticalParameters, OpticalWorld


def parameters(**changes: Any) -> OpticalParameters:
    """8 x 8 cells, 32 x 32 pixels."""
    return OpticalParameters(**{"slm_shape": (8, 8), "camera_shape": (32, 32), **changes})


class Bench(SimulatedFrames):
    """As it should be, with its world to look into."""

    def __init__(self, seed: int = 0, **changes: Any) -> None:
        self.world = OpticalWorld(parameters(**changes), seed)
        super().__init__(self.world, SimulatedClock(), 0.03, 0.01)


class Shut(Bench):
    """The laser's shutter is closed."""

    def counts(self, patterns: Any, frames: int = 1) -> Any:
        return self._mean(np.asarray(patterns), frames, lit=False)


class Unmoved(Bench):
    """Light from elsewhere: the modulator's arm is blocked."""

    def counts(self, patterns: Any, frames: int = 1) -> Any:
        return super().counts(np.zeros_like(np.asarray(patterns)), frames)


class Coarse(Bench):
    """A pixel averages 2 x 2 of the world's."""

    def __init__(self, **changes: Any) -> None:
        super().__init__(**{"camera_shape": (64, 64), **changes})
        self.camera_shape = (32, 32)

    def _mean(self, patterns: Any, frames: int, *, lit: bool) -> Any:
        self.camera_shape = (64, 64)
        found = super()._mean(patterns, frames, lit=lit)
        self.camera_shape = (32, 32)
        return found.reshape(-1, 32, 2, 32, 2).mean(axis=(2, 4))


class Grainy(Bench):
    """Each of the world's pixels is seen by 3 x 3 of the camera's, which have noise of their own."""

    def __init__(self, **changes: Any) -> None:
        super().__init__(**{"camera_shape": (20, 20), **changes})
        self.camera_shape = (60, 60)
        self._rng = np.random.default_rng(0)

    def _mean(self, patterns: Any, frames: int, *, lit: bool) -> Any:
        self.camera_shape = (20, 20)
        found = super()._mean(patterns, frames, lit=lit).repeat(3, axis=1).repeat(3, axis=2)
        self.camera_shape = (60, 60)
        return found + self._rng.normal(0.0, 20.0, found.shape)


class Bent(Bench):
    """Phases that are not straight in the level: range * drive^1.3."""

    def counts(self, patterns: Any, frames: int = 1) -> Any:
        top = self.levels - 1
        return super().counts(np.rint((np.asarray(patterns) / top) ** 1.3 * top).astype(np.uint16), frames)


class Fussy(Bench):
    """A camera with few exposures, each half as long again as the one before, from 0.1 to 100 ms."""

    asked: list[float]

    def expose(self, exposure_s: float) -> float:
        if not 1e-4 <= exposure_s <= 0.1:
            raise InputError(f"asked an exposure of {exposure_s:g} s, allowed 0.0001 to 0.1 s")
        steps = round(np.log(exposure_s / 1e-4) / np.log(1.5))
        return super().expose(1e-4 * 1.5**steps)


def light(bench: Bench, configured: OpticalParameters | None = None) -> Light:
    """That knows its dark level."""
    found = Light(bench, configured or bench.world.parameters)
    measure_dark(found)
    return found
