"""InstrOutlet, an emulator behind a protocol of messages that VISA clients reach as INSTR: HiSLIP, VXI-11."""

from __future__ import annotations

import selectors
import socket
from abc import abstractmethod

from labtrain.clock import Clock
from labtrain.drivers.emulators.emulator import Emulator
from labtrain.drivers.emulators.serving.exchange import MessageExchange
from labtrain.drivers.emulators.serving.listener import Listener
from labtrain.drivers.emulators.serving.outlet import Outlet


class InstrOutlet(Outlet):
    """An emulator on a TCP port, whose address is that of its VISA resource.

    Parameters
    ----------
    name, emulator, clock
        As of Outlet.
    host, port
        As of Listener.
    """

    def __init__(self, name: str, emulator: Emulator, clock: Clock, *, host: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__(name, emulator, clock)
        self.listener = Listener(name, host, port)
        self.exchange = MessageExchange(name, emulator, clock)
        self._selector: selectors.BaseSelector | None = None

    @property
    def port(self) -> int:
        return self.listener.port

    @property
    def address(self) -> str:
        return self.visa

    def open(self, selector: selectors.BaseSelector) -> None:
        """Listen.

        Raises
        ------
        InputError
            If the port cannot be had.
        """
        self._selector = selector
        self.listener.open(selector, self._accepted)

    @abstractmethod
    def _accepted(self, peer: socket.socket) -> None:
        """Somebody has connected."""
