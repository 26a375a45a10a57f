"""slmsuite's own simulated modulator and camera with a labtrain world between them, as somebody else's classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from slmsuite.hardware.cameras.simulated import SimulatedCamera
from slmsuite.hardware.slms.simulated import SimulatedSLM

from labtrain.sim.optical import OpticalParameters, OpticalWorld

PARAMETERS = OpticalParameters(slm_shape=(8, 8), camera_shape=(12, 12), levels=129, hot_pixels=0.0, bits=10)
ROWS, COLUMNS = 120, 160  # of the modulator
SIDE = 12  # pixels of a cell, in the middle
SENSOR = (110, 130)  # of the camera
CORNER = (40, 50)  # of the part of it that light falls on


class BenchSlm(SimulatedSLM):
    """A modulator of 8 bits, linear to 2 pi."""

    latest: BenchSlm | None = None
    broken = ""

    def __init__(self, wav_um: float = 0.633, serial: str = "S1", **options: Any) -> None:
        self.shown: list[np.ndarray] = []
        super().__init__((COLUMNS, ROWS), bitdepth=8, wav_um=wav_um, name=f"bench-{serial}", **options)
        self.closed = False
        BenchSlm.latest = self

    def _set_phase_hw(self, display: Any) -> None:
        if BenchSlm.broken:
            raise RuntimeError(BenchSlm.broken)
        self.shown.append(np.array(display))

    def close(self) -> None:
        self.closed = True

    @property
    def steps(self) -> np.ndarray:
        """Of the cells that are displayed."""
        top, left = (ROWS - 8 * SIDE) // 2, (COLUMNS - 8 * SIDE) // 2
        cells = np.asarray(self.display)[top : top + 8 * SIDE : SIDE, left : left + 8 * SIDE : SIDE]
        return np.minimum(cells, PARAMETERS.levels - 1)


class BenchCamera(SimulatedCamera):
    """A camera behind a simulated scatterer, which keeps frames that nobody read for whoever comes late.

    Parameters
    ----------
    kept : int
        Frames of the pattern before that are still to come after a new one; what flush() leaves is `stuck` of them.
    """

    latest: BenchCamera | None = None
    dimmed = 1.0  # share of the light
    world: OpticalWorld | None = None

    def __init__(self, kept: int = 0, stuck: int = 0, bounds: Any = (1e-5, 1.0), **options: Any) -> None:
        assert BenchSlm.latest is not None, "the modulator comes first"
        self._bench = BenchSlm.latest
        self._kept, self._stuck, self._waiting = kept, stuck, []
        self._seen, self._shot, self._made = None, 0, 0
        if BenchCamera.world is None:
            BenchCamera.world = OpticalWorld(PARAMETERS, 0)
        self.closed = False
        super().__init__(
            self._bench, resolution=SENSOR[::-1], bitdepth=10, exposure_bounds_s=bounds, name="cam-7", **options
        )
        BenchCamera.latest = self

    def _set_exposure_hw(self, exposure_s: float) -> None:
        self._exposure_s = round(exposure_s, 6)  # a grid of a microsecond

    def _get_exposure_hw(self) -> float:
        return self._exposure_s

    def flush(self, timeout_s: float = 1) -> None:
        del timeout_s
        self._note()
        self._waiting = self._waiting[: self._stuck]

    def close(self) -> None:
        self.closed = True

    def _note(self) -> None:
        """Frames of the pattern before wait when the pattern has changed."""
        steps = self._bench.steps
        if self._seen is None or not np.array_equal(steps, self._seen):
            if self._seen is not None:
                self._waiting = [self._seen] * self._kept
                self._shot += 1
            self._seen, self._made = steps.copy(), 0

    def _get_image_hw(self, timeout_s: float = 0, quantize: bool = True) -> np.ndarray:
        del timeout_s, quantize
        self._note()
        steps = self._waiting.pop(0) if self._waiting else self._seen
        self._made += 1
        world = BenchCamera.world
        exposure_s = self._exposure_s * BenchCamera.dimmed
        lit = exposure_s > 0
        seen = world.frames(
            steps.astype(np.uint16)[None], self._shot, exposure_s=exposure_s or 1e-3, frame=self._made, lit=lit
        )[0]
        frame = np.full(SENSOR, PARAMETERS.offset_counts, dtype=np.uint16)
        frame[CORNER[0] : CORNER[0] + 12, CORNER[1] : CORNER[1] + 12] = seen
        return frame
