"""Emulators for other programs: one thread, one loop over all of them, so that those in front of one world need no
locks.

Each emulator has one connection at a time, as an instrument has one cable: a second one is closed at once, unless the
first has hung up by then. Replies leave in order and when they are due; one that is late holds up nobody else's.
"""

from __future__ import annotations

import logging
import selectors
import socket
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from labtrain.clock import Clock
from labtrain.drivers.emulators.emulator import Emulator, Reply
from labtrain.errors import InputError, LabtrainError

POLL_S = 0.2  # longest wait before the loop looks whether it is to stop
CHUNK = 1 << 16

log = logging.getLogger("labtrain")


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

    def __init__(self, name: str, emulator: Emulator, clock: Clock) -> None:
        self.name, self.emulator, self.clock = name, emulator, clock
        self._selector: selectors.BaseSelector | None = None
        self._peer: socket.socket | int | None = None
        self._mask = 0  # what the selector watches the peer for
        self._ended = False  # nothing more is read from the peer; it is let go when the output is out
        self._replies: deque[tuple[float, bytes | None]] = deque()  # due time, bytes
        self._output = bytearray()  # due, and on its way

    @property
    @abstractmethod
    def address(self) -> str:
        """What a client opens, in the form of ``rig.<instrument>.address``."""

    @abstractmethod
    def open(self, selector: selectors.BaseSelector) -> None:
        """Begin to listen; `selector` gets callables that take the event mask."""

    @abstractmethod
    def close(self) -> None:
        """Hang up for good."""

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
        """When the next reply is due, on the clock."""
        return self._replies[0][0] if self._replies else None

    def flush(self) -> None:
        """Send what is due."""
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


class Server:
    """The loop over all outlets; a context manager that opens and closes them.

    Parameters
    ----------
    outlets : iterable of Outlet
    clock : Clock
        The outlets' own.
    """

    def __init__(self, outlets: Iterable[Outlet], clock: Clock) -> None:
        self.outlets, self.clock = tuple(outlets), clock
        self._selector: selectors.BaseSelector | None = None

    def open(self) -> None:
        """Listen on all; connections that come before :meth:`run` wait for it.

        Raises
        ------
        InputError
            If an outlet cannot be had; the others are closed again.
        """
        self._selector = selectors.DefaultSelector()
        try:
            for outlet in self.outlets:
                outlet.open(self._selector)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Hang up on all."""
        if self._selector is not None:
            for outlet in self.outlets:
                outlet.close()
            self._selector.close()
            self._selector = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self, stopped: Callable[[], bool]) -> None:
        """Serve until `stopped` says so, which is asked at least every `POLL_S`."""
        assert self._selector is not None, "open() comes first"
        while not stopped():
            now = self.clock.monotonic()
            due = [outlet.due_s - now for outlet in self.outlets if outlet.due_s is not None]
            for key, mask in self._selector.select(max(0.0, min([POLL_S, *due]))):
                key.data(mask)
            for outlet in self.outlets:
                if outlet.due_s is not None:
                    outlet.flush()
