"""Emulated instruments on TCP, bytes as they are."""

from __future__ import annotations

import logging
import selectors
import socket

from labtrain.clock import Clock
from labtrain.drivers.emulators.emulator import Emulator
from labtrain.drivers.emulators.serving.channel import BACKLOG
from labtrain.drivers.emulators.serving.listener import Listener
from labtrain.drivers.emulators.serving.stream import CHUNK, StreamOutlet

log = logging.getLogger("labtrain")


class TcpOutlet(StreamOutlet):
    """An emulator on a TCP port.

    Parameters
    ----------
    name, emulator, clock
        As of Outlet.
    host, port
        As of Listener.
    scheme : str
        Of the address: ``tcp``, or ``socket`` where the instrument is a serial one.
    """

    kind = "socket"

    def __init__(
        self,
        name: str,
        emulator: Emulator,
        clock: Clock,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        scheme: str = "tcp",
    ) -> None:
        super().__init__(name, emulator, clock)
        self.listener, self.scheme = Listener(name, host, port), scheme

    @property
    def host(self) -> str:
        return self.listener.host

    @property
    def port(self) -> int:
        return self.listener.port

    @property
    def address(self) -> str:
        return f"{self.scheme}://{self.listener.reached_at}:{self.port}"

    @property
    def visa(self) -> str:
        return f"TCPIP::{self.listener.reached_at}::{self.port}::SOCKET"

    def open(self, selector: selectors.BaseSelector) -> None:
        """Listen.

        Raises
        ------
        InputError
            If the port cannot be had.
        """
        self._selector = selector
        self.listener.open(selector, self._accepted)

    def close(self) -> None:
        self.hang_up()
        self.listener.close()

    def _accepted(self, peer: socket.socket) -> None:
        for _ in range(BACKLOG):  # whether it has hung up stands behind all that it sent
            if self._peer is None or self._ended or not self._listen():
                break
        if self._peer is not None and not self._ended:
            log.warning("emulated %s: a second connection was refused, it has one at a time", self.name)
            peer.close()
            return
        self.hang_up()
        self._attach(peer)

    def _let_go(self, peer: socket.socket | int) -> None:
        assert isinstance(peer, socket.socket)
        peer.close()

    def _recv(self) -> bytes:
        assert isinstance(self._peer, socket.socket)
        return self._peer.recv(CHUNK)

    def _send(self, data: bytearray) -> int:
        assert isinstance(self._peer, socket.socket)
        return self._peer.send(data)
