"""Slm and Camera, the pipes to a light modulator and a camera: patterns go out, frames come in.

Neither knows of the other, and nobody tells which pattern a frame shows: light that fell on the camera before the
modulator had settled is in the next frames too, and a camera that runs by itself keeps frames for whoever comes late.
Whoever uses both waits, flushes, and throws frames away; see :mod:`labtrain.rigs.optical_shots`.

Arrays are (rows, columns), the first row on top.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from labtrain.clock import Clock
from labtrain.errors import InputError, LinkClosed

Counts = NDArray[np.uint16]


class Frames(ABC):
    """What modulator and camera have in common.

    Parameters
    ----------
    who : str
        Name of the device in errors, for instance ``slm``.
    address : str
        As configured.
    clock : Clock
    timeout_s : float
        Longest wait for a frame, beyond its exposure.
    where : str
        Where the address is configured, for remedies in errors.

    Attributes
    ----------
    shape : (int, int)
        Rows and columns of pixels, once it is open.
    """

    def __init__(self, who: str, address: str, clock: Clock, *, timeout_s: float = 5.0, where: str = "") -> None:
        self.who, self.address, self.clock, self.timeout_s = who, address, clock, timeout_s
        self.where = where or f"rig.{who}.model"
        self.shape = (0, 0)
        self._is_open = False

    # -- what a backend fills ------------------------------------------------------------------------------------

    @abstractmethod
    def _open(self) -> str:
        """Connect, fill the attributes and return who answers; LinkRefused if nobody does."""

    @abstractmethod
    def _close(self) -> None:
        """Let go; called once for each `_open` that did not fail."""

    @property
    @abstractmethod
    def emulated(self) -> bool:
        """Whether it says of itself that it is an emulator."""

    def check(self) -> None:  # noqa: B027 (most have nothing to be found out)
        """Find out what can be known to be wrong before it is opened; InputError if something is."""

    # -- what the caller uses ------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """For errors: ``camera (basler)``."""
        return f"{self.who} ({self.address})"

    @property
    def is_open(self) -> bool:
        return self._is_open

    def open(self) -> str:
        """Connect; who answers.

        Raises
        ------
        LinkRefused
            If nothing opens at the address.
        InputError
            If it cannot be opened as it is configured.
        """
        identity = self._open()
        self._is_open = True
        return identity

    def close(self) -> None:
        """Let go; a closed one stays as it is."""
        if self._is_open:
            self._is_open = False
            self._close()

    def _check_open(self) -> None:
        if not self._is_open:
            raise LinkClosed(f"{self.name}: is not open; call open() or use it in a with statement")


class Slm(Frames):
    """A spatial light modulator. Backends fill `_show` beside `_open` and `_close`.

    Attributes
    ----------
    levels : int
        Of a pixel, 0 to levels - 1; once it is open.
    radians : float
        Of phase from the lowest level to the highest, as the maker says; 0: nobody says.
    """

    levels = 0
    radians = 0.0

    @abstractmethod
    def _show(self, levels: Counts) -> None:
        """Write levels of all pixels; returns when they are on their way."""

    def show(self, levels: Counts) -> None:
        """Write a pattern, (rows, columns), uint16; when it is seen is not told.

        Raises
        ------
        InputError
            If it does not fit; nothing is written.
        LinkError
            If the modulator fails.
        """
        self._check_open()
        rows, columns = self.shape
        fits = levels.shape == self.shape and levels.dtype == np.uint16
        if not fits or int(levels.max(initial=0)) >= self.levels:
            raise InputError(
                f"{self.name}: a pattern of shape {levels.shape}, {levels.dtype}, is not ({rows}, {columns}) of levels "
                f"0 to {self.levels - 1}, uint16"
            )
        self._show(levels)


class Camera(Frames):
    """A camera. Backends fill `_expose`, `_frame` and `_flush` beside `_open` and `_close`.

    Attributes
    ----------
    top_count : int
        What a full pixel reads; once it is open.
    exposure_s : float
        Of a frame, as the camera has it.
    exposure_bounds_s : (float, float) or None
        Shortest and longest; None: nobody says.
    """

    top_count = 0
    exposure_s = 0.0
    exposure_bounds_s: tuple[float, float] | None = None

    @abstractmethod
    def _expose(self, exposure_s: float) -> float:
        """Set the exposure; what the camera made of it."""

    @abstractmethod
    def _frame(self) -> Counts:
        """The next frame; LinkTimeout if none comes within `timeout_s` beyond its exposure."""

    @abstractmethod
    def _flush(self) -> None:
        """Throw away what the camera kept."""

    def expose(self, exposure_s: float) -> float:
        """Set the exposure; what the camera made of it, in seconds.

        Raises
        ------
        LinkError
            If the camera fails.
        """
        self._check_open()
        self.exposure_s = self._expose(exposure_s)
        return self.exposure_s

    def frame(self) -> Counts:
        """The next frame, (rows, columns): the oldest one that was not read yet, which may be old.

        Raises
        ------
        LinkTimeout
            If none comes.
        LinkError
            If the camera fails.
        """
        self._check_open()
        return self._frame()

    def skip(self, frames: int) -> None:
        """Read so many frames and throw them away."""
        for _ in range(frames):
            self.frame()

    def flush(self) -> None:
        """Throw away frames that were not read; one that is being exposed may still come.

        Raises
        ------
        LinkError
            If the camera fails.
        """
        self._check_open()
        self._flush()
