"""ImageCamera, a camera that is read frame by frame: exposure, region, frames that are too old to be read.

The camera itself is a :class:`labtrain.drivers.frames.Camera`; drivers add how theirs is opened.
"""

from __future__ import annotations

import logging
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from labtrain.drivers.address import SIM
from labtrain.drivers.backends.memory_frames import MemoryCamera
from labtrain.drivers.device import DeviceConfig
from labtrain.drivers.frames import Camera
from labtrain.drivers.frames_device import FramesDevice
from labtrain.errors import InputError
from labtrain.limits import Limit

SAME = 0.01  # share of an exposure by which the camera may miss what it was asked without a word

log = logging.getLogger("labtrain")


class CameraConfig(DeviceConfig):
    """Keys of every driver of a camera."""

    timeout_s: float = Field(
        5.0,
        gt=0,
        le=3600,
        description="longest wait for a frame, beyond its exposure, and for any other call into its library",
    )
    open_timeout_s: float = Field(30.0, gt=0, le=3600, description="what opening may take: makers' libraries are slow")
    model: str = Field(SIM, min_length=1, description="sim, or which one it is")
    exposure_s: float | None = Field(
        None, gt=0, le=3600, description="of a frame; labtrain survey proposes one; default: rig.world.exposure_s"
    )
    frames: int = Field(1, ge=1, le=1000, description="averaged to a reading")
    region: tuple[int, int, int, int] | None = Field(
        None, description="top, left, rows and columns of the pixels that are read; default: all"
    )
    stale_frames: int = Field(
        1, ge=0, le=100, description="thrown away after each new pattern, behind a flush: they may show the one before"
    )
    saturated: float = Field(0.05, ge=0, le=1, description="share of the pixels that may be full in a good reading")


class ImageCamera(FramesDevice):
    """A camera.

    Parameters
    ----------
    frames : Camera
    config : CameraConfig
    clock : Clock
    """

    MEMORY = MemoryCamera
    by_hand: ClassVar[str] = "nothing is to be done, a camera emits nothing"

    config: CameraConfig
    frames: Camera

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the pixels that are read."""
        return self.frames.shape

    @property
    def top_count(self) -> int:
        """What a full pixel reads."""
        return self.frames.top_count

    @property
    def exposure_s(self) -> float:
        """As the camera has it."""
        return self.frames.exposure_s

    def reach(self) -> None:
        """Nobody has to be reached to make it safe: a camera emits nothing."""

    def safe(self) -> None:
        """It stays as it is."""

    def expose(self, exposure_s: float) -> float:
        """Set the exposure of frames that begin from now on; what the camera made of it, told if that is another.

        Raises
        ------
        InputError
            If the camera does not have it; nothing is set.
        LinkError
            If the camera fails.
        """
        if self.frames.exposure_bounds_s is not None:
            remedy = f"set rig.{self.who}.exposure_s"
            bounds = Limit(*self.frames.exposure_bounds_s, "s")
            bounds.check(exposure_s, who=self.name, what="an exposure of", remedy=remedy)
        elif not 0.0 < exposure_s < float("inf"):
            raise InputError(f"{self.name}: asked an exposure of {exposure_s:g} s, it must be above 0")
        made_s = self.frames.expose(exposure_s)
        if abs(made_s - exposure_s) > SAME * exposure_s:
            log.warning("%s: asked an exposure of %.4g s, it made %.4g s of it", self.name, exposure_s, made_s)
        return made_s

    def new_frames(self, count: int) -> NDArray[np.uint16]:
        """Frames (count, rows, columns) that began after this call, as far as the configuration can make sure of it.

        What the camera kept is flushed, then `stale_frames` are thrown away.

        Raises
        ------
        LinkError
            If the camera fails.
        """
        self.flush()
        return self.read(count)

    def flush(self) -> None:
        """Flush, and throw `stale_frames` away."""
        self.frames.flush()
        self.frames.skip(self.config.stale_frames)

    def read(self, count: int) -> NDArray[np.uint16]:
        """The next frames, (count, rows, columns)."""
        return np.stack([self.frames.frame() for _ in range(count)])

    def settings(self) -> dict[str, Any]:
        """Exposure, region, frames."""
        return {
            "exposure_s": float(f"{self.exposure_s:.5g}"),  # what a camera reads back may differ in the last digits
            "shape": list(self.shape),
            "top_count": self.top_count,
            **self.config.model_dump(mode="json", include={"frames", "region", "stale_frames", "saturated"}),
        }
