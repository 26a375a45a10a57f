"""Channel, one TCP connection in the server's loop."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable

CHUNK = 1 << 16  # bytes read at once
BACKLOG = 16  # chunks that may stand there when somebody else dials; who has sent more is taken to be there still


class Channel:
    """One TCP connection, from the moment it was accepted.

    Parameters
    ----------
    peer : socket.socket
        Does not block.
    selector : selectors.BaseSelector
    heard : callable
        Gets what has come.
    gone : callable
        Called once, when the connection has ended, whoever ended it.
    """

    def __init__(
        self,
        peer: socket.socket,
        selector: selectors.BaseSelector,
        heard: Callable[[Channel, bytes], None],
        gone: Callable[[Channel], None],
    ) -> None:
        self._peer, self._selector = peer, selector
        self._heard, self._gone = heard, gone
        self._output = bytearray()
        self._finishing = False
        self.open = True
        self._mask = selectors.EVENT_READ  # what the selector watches for
        selector.register(peer, self._mask, self._ready)

    def send(self, data: bytes) -> None:
        """Send as soon as the other end takes it."""
        if self.open and not self._finishing:
            self._output += data
            self._transmit()

    def finish(self) -> None:
        """Listen no more, and close once all is sent."""
        if self.open:
            self._finishing = True
            self._transmit()

    def close(self) -> None:
        """Close at once."""
        if self.open:
            self.open = False
            self._selector.unregister(self._peer)
            self._peer.close()
            self._gone(self)

    def poll(self) -> bool:
        """Take what has come; False if that was all."""
        try:
            data = self._peer.recv(CHUNK)
        except BlockingIOError:
            return False
        except OSError:
            self.close()
            return False
        if not data:
            self.close()
            return False
        self._heard(self, data)
        return self.open and not self._finishing

    def catch_up(self) -> None:
        """Take what stands there, behind which it shows whether the other end has hung up; not for ever."""
        for _ in range(BACKLOG):
            if not (self.open and self.poll()):
                return

    def _ready(self, mask: int) -> None:
        if mask & selectors.EVENT_WRITE and self.open:
            self._transmit()
        if mask & selectors.EVENT_READ and self.open and not self._finishing:
            self.poll()

    def _transmit(self) -> None:
        try:
            while self._output:
                del self._output[: self._peer.send(self._output)]
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        if self._finishing and not self._output:
            self.close()
            return
        reading = 0 if self._finishing else selectors.EVENT_READ
        mask = reading | (selectors.EVENT_WRITE if self._output else 0)
        if mask != self._mask:
            self._mask = mask
            self._selector.modify(self._peer, mask, self._ready)
