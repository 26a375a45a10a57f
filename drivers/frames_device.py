"""FramesDevice, what drivers of modulators and cameras share: one device behind a seam of frames."""

from __future__ import annotations

from typing import Any

from labtrain.clock import Clock
from labtrain.drivers.device import Device
from labtrain.drivers.frames import Frames


class FramesDevice(Device):
    """A device on its frames.

    Parameters
    ----------
    frames : Frames
    config : DeviceConfig
        The driver's own nested ``Config``.
    clock : Clock
    """

    def __init__(self, frames: Frames, config: Any, clock: Clock) -> None:
        super().__init__(config, clock)
        self._seam = frames

    @property
    def name(self) -> str:
        return self._seam.name

    @property
    def who(self) -> str:
        return self._seam.who

    @property
    def address(self) -> str:
        return self._seam.address

    @property
    def where(self) -> str:
        return self._seam.where

    @property
    def is_open(self) -> bool:
        return self._seam.is_open

    @property
    def emulated(self) -> bool:
        return self._seam.emulated

    def check(self) -> None:
        """Find out what can be known to be wrong before anything is opened.

        Raises
        ------
        InputError
        """

    def open(self) -> None:
        if not self._seam.is_open:
            self.identity = self._seam.open()

    def reach(self) -> None:
        self.open()

    def close(self) -> None:
        self._seam.close()

    def drop(self) -> None:
        try:
            self._seam.close()
        except Exception:  # it is let go of at once, whatever it has to say
            return
