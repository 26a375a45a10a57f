"""Bytes through a connected TCP socket: as soon as they come, its end told at once, Ctrl-C let through."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator

CHUNK = 1 << 16  # bytes taken from the system at once
SLICE_S = 0.1


def slices(seconds: float) -> Iterator[float]:
    """A wait in pieces of at most SLICE_S, for waits that Ctrl-C does not interrupt; at least one, which may be 0."""
    while seconds > SLICE_S:
        yield SLICE_S
        seconds -= SLICE_S
    yield max(0.0, seconds)


class SocketPipe:
    """Sends and receives without delay.

    Parameters
    ----------
    connected : socket
        Whoever opened it closes it.
    """

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a question must not wait for company
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # notices a peer that lost its power
        connected.setblocking(False)
        self._polls = None
        if hasattr(select, "poll"):  # not on Windows; select has no room for the descriptors of a busy process
            self._polls = select.poll(), select.poll()
            self._polls[0].register(connected, select.POLLIN)
            self._polls[1].register(connected, select.POLLOUT)

    def send(self, data: bytes, timeout_s: float) -> int:
        """Send, and return how many bytes went before there was no more room for `timeout_s`.

        Raises
        ------
        OSError
            If the connection broke.
        """
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self.socket.send(rest) :]
            except BlockingIOError:
                if not self._writable(timeout_s):
                    break
        return len(data) - len(rest)

    def recv(self, timeout_s: float, count: int = CHUNK) -> bytes:
        """What has come, at most `count` bytes; ``b""`` if nothing comes within `timeout_s`; 0: without waiting.

        Raises
        ------
        EOFError
            If the other end closed the connection.
        OSError
            If the connection broke.
        """
        if not self._readable(timeout_s):
            return b""
        try:
            data = self.socket.recv(count)
        except BlockingIOError:  # woken for nothing
            return b""
        if not data:
            raise EOFError
        return data

    def _readable(self, seconds: float) -> bool:
        if self._polls is not None:
            return bool(self._polls[0].poll(1e3 * seconds))
        return any(select.select([self.socket], [], [], piece)[0] for piece in slices(seconds))

    def _writable(self, seconds: float) -> bool:
        if self._polls is not None:
            return bool(self._polls[1].poll(1e3 * seconds))
        return any(select.select([], [self.socket], [], piece)[1] for piece in slices(seconds))
