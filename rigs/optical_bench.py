"""A bench as commissioning sees it: patterns go to the modulator, frames come from the camera."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labtrain.clock import Clock
from labtrain.rigs.optical_instruments import OpticalInstruments
from labtrain.sim.optical import OpticalWorld

Array = NDArray[np.float64]


class FrameBench(Protocol):
    """Modulator, scatterer and camera.

    Attributes
    ----------
    slm_shape : (int, int)
        Rows and columns of the modulator's cells.
    levels : int
        Of a cell, 0 to levels - 1.
    camera_shape : (int, int)
        Rows and columns of the pixels read.
    top_count : int
        What a full pixel reads.
    exposure_s : float
        Of a frame, as it is set.
    clock : Clock
    """

    slm_shape: tuple[int, int]
    levels: int
    camera_shape: tuple[int, int]
    top_count: int
    exposure_s: float
    clock: Clock

    def expose(self, exposure_s: float) -> float:
        """Set the exposure; what the camera made of it, in seconds."""

    def counts(self, patterns: ArrayLike, frames: int = 1) -> Array:
        """Mean counts of so many frames of each pattern; nothing is subtracted, a saturated pixel is as it was read.

        Parameters
        ----------
        patterns : array_like of int, (n, rows, columns)
            Levels of all cells.
        frames : int

        Returns
        -------
        ndarray, (n, rows, columns), float64
        """

    def dark(self, frames: int = 1) -> Array:
        """Mean counts without light, (rows, columns)."""

    def look(self, dark: Array) -> int:
        """Make sure that the first frame of a pattern shows that pattern alone; how many patterns it took.

        Parameters
        ----------
        dark : ndarray, (rows, columns)
            Mean counts without light at this exposure.

        Raises
        ------
        InstrumentError
            If it shows the one before too; it says how to wait longer.
        """


class SimulatedFrames:
    """A simulated bench, without instruments; each pattern is a shot, which takes its time on the clock.

    Parameters
    ----------
    world : OpticalWorld
    clock : Clock
        Should be a simulated one, unless a person is to see the bench take its time.
    settle_s, readout_s : float
        Before and after each exposure.
    """

    def __init__(self, world: OpticalWorld, clock: Clock, settle_s: float, readout_s: float) -> None:
        p = world.parameters
        self.slm_shape, self.levels = p.slm_shape, p.levels
        self.camera_shape, self.top_count = p.camera_shape, p.top_count
        self.exposure_s = p.exposure_s
        self.clock = clock
        self._world, self._around_s, self._shot = world, (settle_s, readout_s), 0

    def expose(self, exposure_s: float) -> float:
        self.exposure_s = exposure_s
        return exposure_s

    def counts(self, patterns: ArrayLike, frames: int = 1) -> Array:
        return self._mean(np.asarray(patterns), frames, lit=True)

    def dark(self, frames: int = 1) -> Array:
        found: Array = self._mean(np.zeros((1, *self.slm_shape), dtype=np.uint16), frames, lit=False)[0]
        return found

    def look(self, dark: Array) -> int:  # noqa: ARG002 (its frames belong to their patterns)
        return 0

    def _mean(self, patterns: NDArray[np.integer], frames: int, *, lit: bool) -> Array:
        total = np.zeros((len(patterns), *self.camera_shape))
        for number in range(frames):
            total += self._world.frames(patterns, self._shot, exposure_s=self.exposure_s, frame=number, lit=lit)
        self._shot += len(patterns)
        settle_s, readout_s = self._around_s
        self.clock.sleep(len(patterns) * (settle_s + frames * (self.exposure_s + readout_s)))
        return total / frames


class InstrumentFrames:
    """A bench on instruments, as far as commissioning sees it.

    Nothing is judged, subtracted or repeated. Where the bench is simulated, patterns are counted from 0 as shots are.

    Parameters
    ----------
    instruments : OpticalInstruments
    steps : int
        Of a cell.
    cells : (rows, columns)
    dark : callable
        From a number of frames to mean counts without light; asks somebody to see to that, or raises InputError.
    look : callable
        From a dark frame to the number of patterns it took to see that first frames are new, or InstrumentError.
    clock : Clock
        On which patterns and frames take their time.
    """

    def __init__(
        self,
        instruments: OpticalInstruments,
        steps: int,
        cells: tuple[int, int],
        dark: Callable[[int], Array],
        look: Callable[[Array], int],
        clock: Clock,
    ) -> None:
        camera = instruments.protocol.camera
        self.slm_shape, self.levels = cells, steps
        self.camera_shape, self.top_count, self.exposure_s = camera.shape, camera.top_count, camera.exposure_s
        self.clock = clock
        self._instruments, self._dark, self._look, self._shot = instruments, dark, look, 0

    def expose(self, exposure_s: float) -> float:
        protocol = self._instruments.protocol
        self.exposure_s = protocol.camera.expose(exposure_s)
        protocol.dark = None  # what was commissioned was so at another exposure
        return self.exposure_s

    def counts(self, patterns: ArrayLike, frames: int = 1) -> Array:
        found = []
        for pattern in np.asarray(patterns):
            self._instruments.check()
            if self._instruments.emulator is not None:
                self._instruments.emulator.begin(self._shot, 0)
            self._shot += 1
            seen = self._instruments.protocol.see(pattern, frames)
            found.append(seen.mean(axis=0, dtype=np.float64))
        return np.stack(found) if found else np.empty((0, *self.camera_shape))

    def dark(self, frames: int = 1) -> Array:
        return self._dark(frames)

    def look(self, dark: Array) -> int:
        return self._look(dark)
