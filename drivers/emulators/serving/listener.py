"""Listener, a TCP port that takes connections."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable

from labtrain.errors import InputError


class Listener:
    """A TCP port.

    Parameters
    ----------
    name : str
        Of the instrument, for errors.
    host : str
        Address to listen on; ``0.0.0.0`` is all of them, for clients on other computers.
    port : int
        0: any that is free; the number is there once it listens.
    """

    def __init__(self, name: str, host: str = "127.0.0.1", port: int = 0) -> None:
        self.name, self.host, self.port = name, host, port
        self._listener: socket.socket | None = None
        self._selector: selectors.BaseSelector | None = None

    @property
    def reached_at(self) -> str:
        """Host for clients on this computer, as URLs and VISA resources write it."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"[{host}]" if ":" in host else host

    def open(self, selector: selectors.BaseSelector, accepted: Callable[[socket.socket], None]) -> None:
        """Listen; `accepted` gets each connection, which does not block.

        Raises
        ------
        InputError
            If the port cannot be had.
        """
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            listener = socket.create_server((self.host, self.port), family=family)
        except (OSError, OverflowError) as error:
            raise InputError(
                f"emulated {self.name}: cannot listen on port {self.port} of {self.host} "
                f"({getattr(error, 'strerror', None) or error}); choose others with --port {self.name}=NUMBER, --host"
            ) from None
        listener.setblocking(False)
        self.port = listener.getsockname()[1]

        def accept(mask: int) -> None:  # noqa: ARG001 (a listener can only be read)
            try:
                peer, _ = listener.accept()
            except OSError:  # gone again
                return
            peer.setblocking(False)
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            accepted(peer)

        selector.register(listener, selectors.EVENT_READ, accept)
        self._listener, self._selector = listener, selector

    def close(self) -> None:
        """Listen no more; may be called twice."""
        if self._listener is not None and self._selector is not None:
            self._selector.unregister(self._listener)
            self._listener.close()
            self._listener = None
