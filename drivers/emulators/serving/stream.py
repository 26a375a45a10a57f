"""StreamOutlet, an emulator behind bytes as they are: replies in order and in time, and the end of a connection."""

from __future__ import annotations

import logging
import selectors
import socket
from abc import abstractmethod
from collections import deque
from collections.abc import Callable

from labtrain.clock import Clock
from labtrain.drivers.emulators.emulator import Emulator, Reply
from labtrain.drivers.emulators.serving.outlet import Outlet
from labtrain.errors import LabtrainError

CHUNK = 1 << 16  # bytes read at once

log = logging.getLogger("labtrain")


class StreamOutlet(Outlet):
    """An emulator behind a stream of bytes, one connection at a time; subclasses know what kind of stream.

    Parameters
    ----------
    name, emulator, clock
        As of Outlet.
    """

    def __init__(self, name: str, emulator: Emulator, clock: Clock) -> None:
        super().__init__(name, emulator, clock)
        self._selector: selectors.BaseSelector | None = None
        self._peer: socket.socket | int | None = None
        self._mask = 0  # what the selector watches the peer for
        self._ended = False  # nothing more is read from the peer; it is let go when the output is out
        self._replies: deque[tuple[float, bytes | None]] = deque()  # due time, bytes
        self._output = bytearray()  # due, and on its way

    @abstractmethod
    def _let_go(self, peer: socket.socket | int) -> None:
        """Close the connection."""

    @abstractmethod
    def _recv(self) -> bytes:
        """What has come; ``b""`` at the end. Raises BlockingIOError if nothing has."""

    @abstractmethod
    def _send(self, data: bytearray) -> int:
        """Send some of it and return how much. Raises BlockingIOError if nothing can be sent now."""

    @property
    def due_s(self) -> float | None:
        return self._replies[0][0] if self._replies else None

    def flush(self) -> None:
        now = self.clock.monotonic()
        while self._replies and self._replies[0][0] <= now:
            _, data = self._replies.popleft()
            if data is None:
                self._ended = True
                self._replies.clear()
            else:
                self._output += data
        self._transmit()

    def hang_up(self) -> None:
        """End the connection there is."""
        self._replies.clear()
        self._output.clear()
        if self._peer is not None:
            self._watch(0)
            peer, self._peer = self._peer, None
            self._let_go(peer)

    def _attach(self, peer: socket.socket | int) -> None:
        """A connection was opened."""
        self._peer, self._ended = peer, False
        self._ask(self.emulator.connected)

    def _ready(self, mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            self._transmit()
        if mask & selectors.EVENT_READ and self._mask & selectors.EVENT_READ:
            self._listen()

    def _listen(self) -> bool:
        """Take what has come; False if that was all."""
        try:
            data = self._recv()
        except BlockingIOError:
            return False
        except OSError:
            self.hang_up()
            return False
        if not data:
            self._ended = True
            self._transmit()
            return False
        self._ask(lambda: self.emulator.receive(data))
        return not self._ended

    def _ask(self, question: Callable[[], list[Reply]]) -> None:
        try:
            replies = question()
        except LabtrainError as error:  # its world could not answer; the next connection finds it there again
            log.error("emulated %s hangs up: %s", self.name, error)
            replies = [(0.0, None)]
        now = self.clock.monotonic()
        for delay_s, data in replies:
            self._replies.append((now + delay_s, data))  # one that is due before the one ahead of it waits for that
        self.flush()

    def _transmit(self) -> None:
        """Send what can be sent without waiting; let a peer go for which nothing is left to do."""
        if self._peer is None:
            return
        try:
            while self._output:
                del self._output[: self._send(self._output)]
        except BlockingIOError:
            pass
        except OSError:
            self.hang_up()
            return
        if self._ended and not self._output and not self._replies:
            self.hang_up()
            return
        reading = 0 if self._ended else selectors.EVENT_READ
        self._watch(reading | (selectors.EVENT_WRITE if self._output else 0))

    def _watch(self, mask: int) -> None:
        assert self._selector is not None and self._peer is not None
        if mask and not self._mask:
            self._selector.register(self._peer, mask, self._ready)
        elif mask and mask != self._mask:
            self._selector.modify(self._peer, mask, self._ready)
        elif self._mask and not mask:
            self._selector.unregister(self._peer)
        self._mask = mask
