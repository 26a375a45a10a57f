"""The shot protocol of modulator and camera: for each pattern what was seen, or why it is not to be trusted.

    show -> settle -> flush, throw old frames away -> read frames -> judge

Nobody tells which pattern a frame shows. It is made sure by waiting (`settle_s` behind the writing of a pattern) and by
leaving out every frame that may have begun before: those that the camera kept, and the one that was being exposed. That
this is enough on this rig is found out when it is commissioned (:mod:`labtrain.rigs.optical_commissioning`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labtrain.clock import Clock
from labtrain.drivers.illumination import Illumination
from labtrain.drivers.image_camera import ImageCamera
from labtrain.drivers.light_modulator import LightModulator
from labtrain.limits import shown
from labtrain.rigs.saturation import fitting_exposure, full_pixels

Array = NDArray[np.float64]
Counts = NDArray[np.uint16]

FEW = 16  # pixels: of fewer, two frames may be alike, or dark, by chance


@dataclass(frozen=True)
class Reading:
    """What was seen of one pattern.

    Parameters
    ----------
    frames : ndarray, (frames, rows, columns), uint16
    fault : str
        Why it is bad; empty for a good one.
    """

    frames: Counts
    fault: str

    @property
    def counts(self) -> Array:
        """Their mean, (rows, columns)."""
        return np.asarray(self.frames.mean(axis=0, dtype=np.float64))


class ShotProtocol:
    """Shows patterns on an opened modulator and reads an opened camera.

    Parameters
    ----------
    slm : LightModulator
        Arranged.
    camera : ImageCamera
    settle_s : float
        Between writing a pattern and the first frame that may count.
    least_light : float
        Share of the light at commissioning that a good reading has.
    clock : Clock
    illumination : Illumination, optional
        Switched on with the first pattern.

    Attributes
    ----------
    dark : ndarray, (rows, columns), or None
        Mean counts without light, once they are known.
    light : float
        Mean counts above them at commissioning; 0: not known.
    amplitudes : float
        Mean square of the steps of the patterns that had this light, where steps are amplitudes; else 0.
    """

    def __init__(
        self,
        slm: LightModulator,
        camera: ImageCamera,
        settle_s: float,
        least_light: float,
        clock: Clock,
        illumination: Illumination | None = None,
    ) -> None:
        self.slm, self.camera, self.clock, self.illumination = slm, camera, clock, illumination
        self._settle_s, self._least = settle_s, least_light
        self.dark: Array | None = None
        self.light = self.amplitudes = 0.0
        self._last: tuple[NDArray[Any], Counts] | None = None  # pattern and frame before

    def forget(self) -> None:
        """The instruments were opened again: nothing is known of what they show."""
        self._last = None

    def see(self, pattern: NDArray[np.integer], frames: int) -> Counts:
        """Frames (frames, rows, columns) of one pattern (rows, columns) of steps, not judged.

        Raises
        ------
        LinkError
            If an instrument fails.
        """
        self.slm.show(pattern)
        if self.illumination is not None:
            self.illumination.switch(True)
        self.clock.sleep(self._settle_s)
        return self.camera.new_frames(frames)

    def see_dark(self, frames: int) -> Counts:
        """Frames (frames, rows, columns) of a blank pattern, with the illumination off where there is one."""
        self.slm.show(np.zeros(self.slm.cells, dtype=np.uint16))
        if self.illumination is not None:
            self.illumination.switch(False)
        self.clock.sleep(self._settle_s)
        return self.camera.new_frames(frames)

    def take(self, pattern: NDArray[np.integer]) -> Reading:
        """The configured number of frames of one pattern, judged; raises as :meth:`see`."""
        frames = self.see(pattern, self.camera.config.frames)
        fault = self.saturation(frames) or self._dark(pattern, frames) or self._frozen(pattern, frames)
        if not fault:  # a repetition is compared with the good one before, too
            self._last = np.array(pattern), frames[-1]
        return Reading(frames, fault)

    def saturation(self, frames: Counts) -> str:
        """Why frames (n, rows, columns) of one pattern are too bright; empty if they are not."""
        allowed = self.camera.config.saturated
        if full_pixels(frames, self.camera.top_count) <= allowed * frames[0].size:
            return ""
        return self.brightness(frames, f", allowed {100 * allowed:g} %")

    def brightness(self, frames: Counts, allowed: str = "") -> str:
        """How many pixels of frames are full, and which exposure would do."""
        camera = self.camera
        full, pixels = full_pixels(frames, camera.top_count), frames[0].size
        dark = 0.0 if self.dark is None else self.dark
        fits_s = fitting_exposure(frames, dark, camera.top_count, camera.exposure_s)
        return (
            f"{full} of {pixels} pixels are full ({100 * full / pixels:.3g} %{allowed}) at an exposure of "
            f"{shown(camera.exposure_s, 's')}, about {shown(float(f'{fits_s:.2g}'), 's')} would do; set "
            f"rig.{camera.who}.exposure_s"
        )

    def _frozen(self, pattern: NDArray[np.integer], frames: Counts) -> str:
        if self._last is None or np.array_equal(self._last[0], pattern):
            return ""
        if frames[0].size < FEW or not np.array_equal(self._last[1], frames[0]):
            return ""
        return (
            "the frame of this pattern is that of the pattern before, bit for bit: it is an old one; raise "
            f"rig.{self.camera.who}.stale_frames, or check that the camera is running"
        )

    def _dark(self, pattern: NDArray[np.integer], frames: Counts) -> str:
        if self.dark is None or self.light <= 0 or not self._least:
            return ""
        expected = self.light
        if self.amplitudes:  # a pattern of small ones is dark by itself
            expected *= min(1.0, mean_square(pattern) / self.amplitudes)
        light = float((frames.mean(axis=0) - self.dark).mean())
        if expected == 0 or light >= self._least * expected:
            return ""
        few = "" if frames[0].size >= FEW else f"; of {frames[0].size} pixels it may be chance, then lower it"
        return (
            f"{light:.3g} counts of light came, {expected:.3g} did when the rig was commissioned (allowed "
            f"{self._least:g} of it, rig.least_light{few}); is the laser off, a shutter closed?"
        )


def mean_square(patterns: NDArray[np.integer]) -> float:
    """Of steps."""
    return float(np.mean(np.asarray(patterns, dtype=np.float64) ** 2))
