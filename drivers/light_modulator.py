"""LightModulator, a spatial light modulator that shows cells: blocks of its pixels, in steps of phase.

The modulator itself is a :class:`labtrain.drivers.frames.Slm`; drivers add how theirs is opened. It emits nothing by
itself: its safe state is a blank pattern, all pixels at level 0, and the light is somebody else's.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from labtrain.clock import Clock
from labtrain.config import InputPath
from labtrain.drivers.address import SIM
from labtrain.drivers.backends.memory_frames import MemorySlm
from labtrain.drivers.device import DeviceConfig
from labtrain.drivers.frames import Slm
from labtrain.drivers.frames_device import FramesDevice
from labtrain.drivers.phase_table import levels_of_steps, read_phases, straight
from labtrain.errors import InputError


class ModulatorConfig(DeviceConfig):
    """Keys of every driver of a modulator."""

    timeout_s: float = Field(5.0, gt=0, le=3600, description="longest wait for a call into its library")
    open_timeout_s: float = Field(30.0, gt=0, le=3600, description="what opening may take: makers' libraries are slow")
    model: str = Field(SIM, min_length=1, description="sim, or which one it is")
    wavelength_nm: float | None = Field(None, gt=100, lt=20_000, description="of the light")
    lut_file: InputPath | None = Field(
        None,
        description="CSV with columns level and phase_rad, the measured response; default, and at sim: linear",
    )
    cell_pixels: int = Field(1, ge=1, le=4096, description="pixels of a cell along each side")
    top: int | None = Field(None, ge=0, description="row of pixels where the cells begin; default: in the middle")
    left: int | None = Field(None, ge=0, description="column of pixels where they begin; default: in the middle")


class LightModulator(FramesDevice):
    """A modulator, as cells in steps.

    Parameters
    ----------
    frames : Slm
    config : ModulatorConfig
    clock : Clock
    """

    MEMORY = MemorySlm
    by_hand: ClassVar[str] = "block the light by hand; the modulator may still show its last pattern"

    config: ModulatorConfig
    frames: Slm

    def __init__(self, frames: Slm, config: ModulatorConfig, clock: Clock) -> None:
        super().__init__(frames, config, clock)
        self._levels: NDArray[np.uint16] = np.zeros(0, dtype=np.uint16)  # of steps
        self._corner, self._cells = (0, 0), (0, 0)

    def safe(self) -> None:
        """Show a blank pattern: all pixels at level 0."""
        if self.frames.is_open:
            self.frames.show(np.zeros(self.frames.shape, dtype=np.uint16))

    def arrange(self, cells: tuple[int, int], steps: int, radians: float | None) -> None:
        """Find the place of the cells on the opened modulator, and the level of each step.

        Parameters
        ----------
        cells : (rows, columns)
        steps : int
            0 to steps - 1.
        radians : float or None
            Phase of the last step; None: steps are amplitudes, over all levels.

        Raises
        ------
        InputError
            If the cells do not fit on it, or its levels do not make these steps.
        """
        self._corner, self._cells = self._place(cells), cells
        frames, config = self.frames, self.config
        if radians is None:
            if config.lut_file is not None:
                raise InputError(f"{self.name}: steps are amplitudes, which rig.{self.who}.lut_file is not about")
            if steps > frames.levels:
                raise InputError(
                    f"{self.name}: has {frames.levels} levels, asked {steps}; set rig.world.levels to {frames.levels} "
                    "or less"
                )
            self._levels = np.rint(straight(steps, frames.levels - 1)).astype(np.uint16)
            return
        key = f"rig.{self.who}.lut_file"
        if config.lut_file is not None and config.model != SIM:  # that of the emulated one is a straight line
            phases, told = read_phases(config.lut_file, frames.levels, key), str(config.lut_file)
        elif frames.radians:
            phases, told = straight(frames.levels, frames.radians), "linear, as its maker says"
        else:
            raise InputError(f"{self.name}: its maker does not say what phase it makes; set {key}")
        self._levels = levels_of_steps(phases, radians, steps, self.name, told)

    def _place(self, cells: tuple[int, int]) -> tuple[int, int]:
        """First row and column of pixels."""
        config, side = self.config, self.config.cell_pixels
        corner = []
        for count, pixels, asked, key in zip(
            cells, self.frames.shape, (config.top, config.left), ("top", "left"), strict=True
        ):
            begin = (pixels - count * side) // 2 if asked is None else asked
            if begin < 0 or begin + count * side > pixels:
                most = min(have // number for have, number in zip(self.frames.shape, cells, strict=True))
                rows, columns = self.frames.shape
                fits = (
                    f"set rig.{self.who}.cell_pixels to {most} or less"
                    if most < side and most >= 1
                    else f"set rig.{self.who}.{key} to {pixels - count * side} or less"
                    if begin > 0 and count * side <= pixels
                    else "ask for fewer cells (rig.world.slm_shape)"
                )
                raise InputError(
                    f"{self.name}: {cells[0]} x {cells[1]} cells of {side} x {side} pixels are {cells[0] * side} x "
                    f"{cells[1] * side}, which does not fit on its {rows} x {columns} pixels"
                    f"{'' if asked is None else f' from {key} {asked} on'}; {fits}"
                )
            corner.append(begin)
        return corner[0], corner[1]

    def show(self, steps: NDArray[np.integer]) -> None:
        """Write steps of all cells, (rows, columns); pixels around them are as those at step 0.

        Raises
        ------
        InputError
            If they do not fit; nothing is written.
        LinkError
            If the modulator fails.
        """
        if not len(self._levels):
            raise InputError(f"{self.name}: is not arranged; call arrange() behind open()")
        steps = np.asarray(steps)
        fits = steps.shape == self._cells and steps.dtype.kind in "iu"
        if not fits or (steps.size and not 0 <= int(steps.min()) <= int(steps.max()) < len(self._levels)):
            rows, columns = self._cells
            raise InputError(
                f"{self.name}: a pattern of shape {steps.shape}, {steps.dtype}, is not ({rows}, {columns}) of whole "
                f"numbers 0 to {len(self._levels) - 1}"
            )
        side = self.config.cell_pixels
        block = self._levels[steps].repeat(side, axis=0).repeat(side, axis=1)
        everything = np.full(self.frames.shape, self._levels[0], dtype=np.uint16)
        top, left = self._corner
        everything[top : top + block.shape[0], left : left + block.shape[1]] = block
        self.frames.show(everything)

    @property
    def cells(self) -> tuple[int, int]:
        """Rows and columns of the cells, as arranged."""
        return self._cells

    @property
    def levels_of_steps(self) -> NDArray[np.uint16]:
        """Levels that show the steps, (steps,); empty before :meth:`arrange`."""
        return self._levels

    def settings(self) -> dict[str, Any]:
        """Where the cells are, and their levels."""
        levels = self._levels
        return {
            "wavelength_nm": self.config.wavelength_nm,
            "cell_pixels": self.config.cell_pixels,
            "corner": list(self._corner),
            "levels": [] if not len(levels) else [int(levels[0]), int(levels[-1])],
            "lut_file": None if self.config.lut_file is None else self.config.lut_file.name,
        }
