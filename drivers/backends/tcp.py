"""Raw TCP, ``tcp://host:port``: what VISA calls a SOCKET resource, without VISA."""

from __future__ import annotations

import socket
from typing import Any

from labtrain.clock import Clock
from labtrain.drivers.backends.opening import broken, network_refusal, stuck, within
from labtrain.drivers.backends.sockets import CHUNK, SocketPipe
from labtrain.drivers.link import Link


class TcpLink(Link):
    """A link to a TCP server.

    Parameters
    ----------
    who : str
    address : str
        As configured, for errors.
    host : str
    port : int
    clock : Clock
    options
        As of Link.
    """

    def __init__(self, who: str, address: str, host: str, port: int, clock: Clock, **options: Any) -> None:
        super().__init__(who, address, clock, **options)
        self.host, self.port = host, port
        self._pipe: SocketPipe  # while open

    def _open(self) -> None:
        def connect() -> socket.socket:
            return socket.create_connection((self.host, self.port), self.open_timeout_s)

        try:
            self._pipe = SocketPipe(within(self.open_timeout_s, connect, socket.socket.close))
        except (OSError, UnicodeError) as error:
            raise network_refusal(self, self.host, self.port, error) or error from None

    def _close(self) -> None:
        self._pipe.socket.close()

    def _send(self, data: bytes) -> None:
        try:
            sent = self._pipe.send(data, self.timeout_s)
        except OSError as error:
            raise broken(self, error) from None
        if sent < len(data):
            raise stuck(self, len(data))

    def _recv(self, count: int, end: bytes | None, timeout_s: float) -> bytes:  # noqa: ARG002 (takes what has come)
        try:
            return self._pipe.recv(timeout_s, max(count, CHUNK))
        except (OSError, EOFError) as error:
            raise broken(self, error) from None

    def _arrived(self) -> bytes:
        return self._recv(CHUNK, None, 0.0)
