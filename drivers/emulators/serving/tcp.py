"""Emulated instruments on TCP, bytes as they are."""

from __future__ import annotations

import logging
import selectors
import socket

from labtrain.clock import Clock
from labtrain.drivers.emulators.emulator import Emulator
from labtrain.drivers.emulators.serving.outlet import CHUNK, Outlet
from labtrain.errors import InputError

log = logging.getLogger("labtrain")


class TcpOutlet(Outlet):
    """An emulator on a TCP port.

    Parameters
    ----------
    name, emulator, clock
        As of Outlet.
    host : str
        Address to listen on; ``0.0.0.0`` is all of them, for clients on other computers.
    port : int
        0: any that is free.
    scheme : str
        Of the address: ``tcp``, or ``socket`` where the instrument is a serial one.
    """

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
        self.host, self.port, self.scheme = host, port, scheme
        self._listener: socket.socket | None = None

    @property
    def address(self) -> str:
        host = self.reached_at
        return f"{self.scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def visa(self) -> str:
        return f"TCPIP::{self.reached_at}::{self.port}::SOCKET"

    @property
    def reached_at(self) -> str:
        """Host for clients on this computer."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)

    def open(self, selector: selectors.BaseSelector) -> None:
        """Listen.

        Raises
        ------
        InputError
            If the port cannot be had.
        """
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            self._listener = socket.create_server((self.host, self.port), family=family)
        except (OSError, OverflowError) as error:
            raise InputError(
                f"emulated {self.name}: cannot listen on port {self.port} of {self.host} "
                f"({getattr(error, 'strerror', None) or error}); choose others with --port {self.name}=NUMBER, --host"
            ) from None
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        self._selector = selector
        selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def close(self) -> None:
        self.hang_up()
        if self._listener is not None and self._selector is not None:
            self._selector.unregister(self._listener)
            self._listener.close()
            self._listener = None

    def _accept(self, mask: int) -> None:  # noqa: ARG002 (a listener can only be read)
        assert self._listener is not None
        try:
            peer, _ = self._listener.accept()
        except OSError:  # gone again
            return
        while self._peer is not None and not self._ended and self._listen():
            pass  # whether it has hung up stands behind all that it sent
        if self._peer is not None and not self._ended:
            log.warning("emulated %s: a second connection was refused, it has one at a time", self.name)
            peer.close()
            return
        self.hang_up()
        peer.setblocking(False)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
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
