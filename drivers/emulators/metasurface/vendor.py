"""A manufacturer's library that is none, in front of a world: for dry runs of a driver that has no link.

It has the face of :class:`~labtrain.drivers.metasurface.vendor.SurfaceLibrary` and speaks no bytes; so other programs
cannot be served with it, and scripted faults, which strike at messages, do not apply: what a library does wrong is
scripted by deriving from it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from labtrain.clock import Clock
from labtrain.drivers.emulators.ports import SurfacePort
from labtrain.drivers.metasurface.vendor import EMULATOR
from labtrain.drivers.metasurface.vendor_example import COLUMNS, ROWS, WRITE_S
from labtrain.errors import InputError

ELEMENTS = ROWS * COLUMNS


class ExampleLibraryEmulator:
    """The library of the example in front of a world.

    Element i is the world's pixel i; elements without a pixel only remember their state.

    Parameters
    ----------
    surface : SurfacePort
    clock : Clock
    timing : bool
        Calls take as long as those of the real library would.

    Raises
    ------
    InputError
        If the world has more pixels than the surface has elements.
    """

    def __init__(self, surface: SurfacePort, clock: Clock, *, timing: bool = False) -> None:
        if surface.n_pixels > ELEMENTS:
            raise InputError(
                f"emulated Example library: asked for {surface.n_pixels} pixels, it has {ELEMENTS} elements; simulate "
                "fewer pixels"
            )
        self.surface, self.clock, self.timing = surface, clock, timing
        self.elements: NDArray[np.uint8] = np.zeros(ELEMENTS, dtype=np.uint8)
        self.is_open = False

    def open(self, address: str) -> None:  # noqa: ARG002 (there is one controller)
        """Connect; a second program is refused."""
        if self.is_open:
            raise RuntimeError("the controller is in use")
        self.is_open = True

    def close(self) -> None:
        """Let go."""
        self.is_open = False

    def identity(self) -> str:
        """Says that it is an emulator."""
        return f"Example Surface 16x16, serial number {EMULATOR}"

    def write(self, elements: NDArray[np.uint8]) -> None:
        """Set all elements."""
        if elements.shape != (ELEMENTS,) or elements.max() > 1:
            raise ValueError(f"needs {ELEMENTS} states of 0 or 1")
        if self.timing:
            self.clock.sleep(WRITE_S)
        self.elements = elements.copy()
        self.surface.set_pattern(self.elements[: self.surface.n_pixels].astype(np.int64))

    def read(self) -> NDArray[np.uint8] | None:
        """States of all elements."""
        return self.elements.copy()
