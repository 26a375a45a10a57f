"""Outlet, one emulator's way out of the process, as the loop of the server sees it."""

from __future__ import annotations

import selectors
from abc import ABC, abstractmethod
from typing import ClassVar

from labtrain.clock import Clock
from labtrain.drivers.emulators.emulator import Emulator


class Outlet(ABC):
    """One emulator's way out of the process; subclasses know the transport.

    Parameters
    ----------
    name : str
        Of the instrument, for errors.
    emulator : Emulator
    clock : Clock
        A real one: the loop waits in real time.
    """

    kind: ClassVar[str]
    """Of the transport, as options name it."""

    def __init__(self, name: str, emulator: Emulator, clock: Clock) -> None:
        self.name, self.emulator, self.clock = name, emulator, clock

    @property
    @abstractmethod
    def address(self) -> str:
        """What a client opens, in the form of ``rig.<instrument>.address``."""

    @property
    @abstractmethod
    def visa(self) -> str:
        """What a VISA client opens: the name of the resource."""

    @abstractmethod
    def open(self, selector: selectors.BaseSelector) -> None:
        """Begin to listen; `selector` gets callables that take the event mask."""

    @abstractmethod
    def close(self) -> None:
        """Hang up for good."""

    @property
    @abstractmethod
    def due_s(self) -> float | None:
        """When there is next something to do, on the clock; None while nothing is expected."""

    @abstractmethod
    def flush(self) -> None:
        """Do what is due."""
