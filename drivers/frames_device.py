"""FramesDevice, what drivers of modulators and cameras share: one device behind a seam of frames."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Self

from labtrain.clock import Clock
from labtrain.drivers.address import SIM
from labtrain.drivers.backends.memory_frames import MemoryCamera, MemorySlm, OpticalEmulator
from labtrain.drivers.device import Device
from labtrain.drivers.frames import Frames
from labtrain.errors import InputError


class FramesDevice(Device):
    """A device on its frames.

    Parameters
    ----------
    frames : Frames
    config : DeviceConfig
        The driver's own nested ``Config``.
    clock : Clock
    """

    MEMORY: ClassVar[type[MemorySlm | MemoryCamera]]
    """The seam to an emulator in this process."""

    def __init__(self, frames: Frames, config: Any, clock: Clock) -> None:
        super().__init__(config, clock)
        self.frames = frames

    @classmethod
    def make(cls, who: str, config: Any, clock: Clock, emulator: OpticalEmulator | None = None) -> Self:
        """The driver on its frames, unopened.

        Parameters
        ----------
        who : str
            Section of the configuration: ``slm`` or ``camera``.
        config : DeviceConfig
            The driver's own.
        emulator : OpticalEmulator, optional
            What answers at ``sim``.

        Raises
        ------
        InputError
            If the model is ``sim`` and there is no emulator.
        """
        if config.model != SIM:
            return cls(cls._frames(who, config, clock), config, clock)
        if emulator is None:
            raise InputError(f"{who} (sim): nothing is simulated here; set rig.{who}.model")
        return cls(cls.MEMORY(who, emulator, clock), config, clock)

    @classmethod
    @abstractmethod
    def _frames(cls, who: str, config: Any, clock: Clock) -> Frames:
        """The seam to a device that is not ``sim``, unopened; `config` is the driver's own."""

    @property
    def name(self) -> str:
        return self.frames.name

    @property
    def who(self) -> str:
        return self.frames.who

    @property
    def address(self) -> str:
        return self.frames.address

    @property
    def where(self) -> str:
        return self.frames.where

    @property
    def is_open(self) -> bool:
        return self.frames.is_open

    @property
    def emulated(self) -> bool:
        return self.frames.emulated

    def check(self) -> None:
        """Find out what can be known to be wrong before anything is opened.

        Raises
        ------
        InputError
        """
        self.frames.check()

    def open(self) -> None:
        if not self.frames.is_open:
            self.identity = self.frames.open()

    def reach(self) -> None:
        self.open()

    def close(self) -> None:
        self.frames.close()

    def drop(self) -> None:
        try:
            self.frames.close()
        except Exception:  # it is let go of at once, whatever it has to say
            return
