"""Modulator and camera in this process: an emulator of both, on one clock."""

from __future__ import annotations

from typing import Any, Protocol

from labtrain.clock import Clock
from labtrain.drivers.frames import Camera, Counts, Slm


class OpticalEmulator(Protocol):
    """A modulator, a camera and the light between them, in their own time.

    Attributes
    ----------
    slm_shape, camera_shape : (int, int)
    levels, top_count : int
    radians : float
        From the lowest level to the highest; 0: it modulates amplitudes.
    exposure_bounds_s : (float, float)
    """

    slm_shape: tuple[int, int]
    levels: int
    radians: float
    camera_shape: tuple[int, int]
    top_count: int
    exposure_bounds_s: tuple[float, float]

    def show(self, levels: Counts) -> None:
        """A pattern is written now."""

    def expose(self, exposure_s: float) -> float:
        """Frames that begin from now on have this exposure."""

    def next_frame(self) -> Counts:
        """Wait for the oldest frame that was not read, and read it."""

    def skip_frame(self) -> None:
        """The same, of which nobody wants to know what it shows."""

    def flush(self) -> None:
        """Forget the frames that are complete."""


class MemorySlm(Slm):
    """The modulator of an emulator.

    Parameters
    ----------
    who, clock, options
        As of Frames.
    emulator : OpticalEmulator
    """

    def __init__(self, who: str, emulator: OpticalEmulator, clock: Clock, **options: Any) -> None:
        super().__init__(who, "sim", clock, **options)
        self.emulator = emulator

    @property
    def emulated(self) -> bool:
        return True

    def _open(self) -> str:
        self.shape, self.levels, self.radians = self.emulator.slm_shape, self.emulator.levels, self.emulator.radians
        return "labtrain simulated modulator"

    def _close(self) -> None:
        pass

    def _show(self, levels: Counts) -> None:
        self.emulator.show(levels)


class MemoryCamera(Camera):
    """The camera of an emulator; arguments as of MemorySlm."""

    def __init__(self, who: str, emulator: OpticalEmulator, clock: Clock, **options: Any) -> None:
        super().__init__(who, "sim", clock, **options)
        self.emulator = emulator

    @property
    def emulated(self) -> bool:
        return True

    def _open(self) -> str:
        self.shape, self.top_count = self.emulator.camera_shape, self.emulator.top_count
        self.exposure_bounds_s = self.emulator.exposure_bounds_s
        return "labtrain simulated camera"

    def _close(self) -> None:
        pass

    def _expose(self, exposure_s: float) -> float:
        return self.emulator.expose(exposure_s)

    def _frame(self) -> Counts:
        return self.emulator.next_frame()

    def skip(self, frames: int) -> None:
        self._check_open()
        for _ in range(frames):
            self.emulator.skip_frame()

    def _flush(self) -> None:
        self.emulator.flush()
