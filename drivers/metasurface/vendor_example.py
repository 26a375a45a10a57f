"""A driver to copy: a surface of 16 x 16 elements that a C library of its manufacturer controls. There is no such one.

Of the library this is assumed, as C libraries of instruments usually are:

    int example_open(const char *address)                                   a handle, below zero an error
    int example_name(int handle, char *text, int size)                      0, or an error
    int example_write(int handle, const unsigned char *states, int n)       0, or an error
    int example_read(int handle, unsigned char *states, int n)              0, or an error
    int example_close(int handle)

:class:`ExampleLibrary` makes the five calls of a :class:`~labtrain.drivers.metasurface.vendor.SurfaceLibrary` of them;
:class:`VendorExample` says the rest. With a Python package instead of a C library only the first of them differs.
"""

from __future__ import annotations

import ctypes
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from labtrain.drivers.metasurface.vendor import SurfaceLibrary, VendorConfig, VendorMetasurface

ROWS = COLUMNS = 16
WRITE_S = 0.005  # from the manual, or measured


class ExampleLibrary:
    """The C library as labtrain calls it.

    Parameters
    ----------
    dll : ctypes.CDLL
        Anything with its functions.
    """

    def __init__(self, dll: Any) -> None:
        self._dll = dll
        self._handle = -1

    def open(self, address: str) -> None:
        """Connect to the controller at an address as the library takes it."""
        self._handle = self._done("example_open", self._dll.example_open(address.encode()))

    def close(self) -> None:
        """Let go."""
        self._dll.example_close(self._handle)

    def identity(self) -> str:
        """What the controller calls itself."""
        text = ctypes.create_string_buffer(256)
        self._done("example_name", self._dll.example_name(self._handle, text, len(text)))
        return text.value.decode("utf-8", "replace")

    def write(self, elements: NDArray[np.uint8]) -> None:
        """Set all elements."""
        states = (ctypes.c_ubyte * len(elements))(*elements.tolist())
        self._done("example_write", self._dll.example_write(self._handle, states, len(states)))

    def read(self) -> NDArray[np.uint8]:
        """States of all elements."""
        states = (ctypes.c_ubyte * (ROWS * COLUMNS))()
        self._done("example_read", self._dll.example_read(self._handle, states, len(states)))
        return np.array(states, dtype=np.uint8)

    @staticmethod
    def _done(function: str, returned: int) -> int:
        if returned < 0:
            raise RuntimeError(f"{function} returned {returned}")
        return returned


class VendorExample(VendorMetasurface):
    """The surface of the example."""

    class Config(VendorConfig):
        """Settings of the example."""

        driver: Literal["vendor-example"] = "vendor-example"

    EMULATOR = "labtrain.drivers.emulators.metasurface.vendor:ExampleLibraryEmulator"
    MODELS_TOLD = "none: an example to copy, 16 x 16 elements of 1 bit behind a manufacturer's library"
    TRIED_ON = "emulator"
    LIBRARY = "the Example library"
    INSTALL = "install example_surface.dll from the manufacturer, or set rig.metasurface.driver to that of your surface"
    shape = (ROWS, COLUMNS)
    bits = 1
    config: Config

    @property
    def write_s(self) -> float:
        return WRITE_S

    @classmethod
    def fits(cls, identity: str) -> bool:
        return identity.startswith("Example Surface")

    @classmethod
    def load_library(cls) -> SurfaceLibrary:
        return ExampleLibrary(ctypes.CDLL("example_surface"))
