"""Link, the byte pipe to one instrument: buffering, deadlines and resynchronisation, written once for all transports.

A reply that comes too late must never be taken for the answer to the next question. Therefore whatever breaks off a
question and its answer makes the link *dirty*, and a dirty link resynchronises before it is used again: the transport
is cleared, then the instrument's own fence (:attr:`Link.synchronise`) is asked something whose answer cannot be
mistaken. For the same reason bytes that have come without being asked for are no answer to what is sent next: they
are found before it is sent. Links never reopen and never repeat a question: only a rig knows whether that is harmless.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from labtrain.clock import Clock
from labtrain.drivers.trace import Trace
from labtrain.errors import LinkClosed, LinkDesync, LinkTimeout

QUIET_S = 0.05  # silence after which nothing more is expected to arrive by itself
LONGEST_LINE = 1 << 24  # bytes read in search of an end before the other side is taken to talk nonsense


class Link(ABC):
    """A byte pipe. Backends fill `_open`, `_close`, `_send`, `_recv`, and `_arrived` and `_clear` where they can.

    Parameters
    ----------
    who : str
        Name of the instrument in errors and traces, for instance ``vna``.
    address : str
        As configured.
    clock : Clock
    timeout_s : float
        Longest silence within an answer, unless a call gives its own.
    open_timeout_s : float
        Deadline of :meth:`open`.
    trace : Trace, optional
    where : str, optional
        Where the address is configured, for the remedies in errors; default: ``rig.<who>.address``.

    Attributes
    ----------
    lock : RLock
        Held by every method; :meth:`exchange` holds it from a question to its answer.
    dirty : bool
        Whether a question was broken off. A driver sets it when an answer makes no sense.
    synchronise : callable or None
        The instrument's fence, called by :meth:`resynchronise`.
    """

    def __init__(
        self,
        who: str,
        address: str,
        clock: Clock,
        *,
        timeout_s: float = 5.0,
        open_timeout_s: float = 5.0,
        trace: Trace | None = None,
        where: str | None = None,
    ) -> None:
        self.who, self.address, self.clock = who, address, clock
        self.where = where or f"rig.{who}.address"
        self.timeout_s, self.open_timeout_s, self.trace = timeout_s, open_timeout_s, trace
        self.lock = threading.RLock()
        self.dirty = False
        self.synchronise: Callable[[], None] | None = None
        self._messages = False  # set by a backend whose answers are messages, which come only if they are asked for
        self._buffer = bytearray()
        self._is_open = False
        self._synchronising = False
        self._exchanges = 0  # under way, one within the other
        self._asked = False  # whether something was sent in the exchange under way

    # -- what a backend fills ------------------------------------------------------------------------------------

    @abstractmethod
    def _open(self) -> None:
        """Open within `open_timeout_s`, or raise LinkRefused.

        Set `dirty` where the other end may still be busy with what an earlier program asked of it.
        """

    @abstractmethod
    def _close(self) -> None:
        """Let go; called once for each `_open`, also after the other end is gone."""

    @abstractmethod
    def _send(self, data: bytes) -> None:
        """Send all of it, or raise LinkTimeout or LinkClosed."""

    @abstractmethod
    def _recv(self, count: int, end: bytes | None, timeout_s: float) -> bytes:
        """At least one byte, as soon as there are any; ``b""`` when `timeout_s` has passed without one.

        Without `end` the caller needs exactly `count` bytes and never asks for more than belong to the answer; with
        it, `count` is a guess and a backend that must be told where to stop stops at `end`. LinkClosed at the end.
        """

    def _arrived(self) -> bytes:
        """What has come and waits to be read, without waiting; ``b""`` also where that cannot be known."""
        return b""

    def _clear(self) -> None:  # noqa: B027 (a plain byte stream has nothing to clear)
        """Ask the transport to drop what is under way in both directions (device clear, purge), where it can.

        Where answers are messages, nothing is under way afterwards.
        """

    # -- what drivers use ----------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """For errors: ``vna (tcp://10.0.0.5:5025)``."""
        return f"{self.who} ({self.address})"

    @property
    def is_open(self) -> bool:
        return self._is_open

    @property
    def messages(self) -> bool:
        """Whether answers are messages, which come only if they are asked for; known once it is open."""
        return self._messages

    def open(self) -> None:
        """Open the pipe; an open one stays as it is.

        Raises
        ------
        LinkRefused
            Within `open_timeout_s`, saying why and what to do.
        """
        with self.lock:
            if not self._is_open:
                self._buffer.clear()
                self.dirty = False
                self._open()
                self._is_open = True
                self._note("-", b"open")

    def close(self) -> None:
        """Close the pipe; a closed one stays closed. Raises nothing: there is nothing left to lose."""
        with self.lock:
            if self._is_open:
                self._is_open = False
                self._buffer.clear()
                try:
                    self._close()
                except Exception as error:
                    self._note("-", f"closing failed: {error}".encode())
                self._note("-", b"closed")

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def exchange(self) -> Iterator[None]:
        """Hold the link for a question and its answer; whatever breaks it off makes the link dirty.

        Within it more may be sent before the first answer is read.
        """
        with self.lock:
            depth = self._exchanges
            if depth == 0:
                self._asked = False
            try:
                self._exchanges = depth + 1
                yield
            except BaseException:
                self.dirty = True
                raise
            finally:
                self._exchanges = depth

    def write(self, data: bytes) -> None:
        """Send bytes; a dirty link is resynchronised first.

        Raises
        ------
        LinkClosed, LinkTimeout
        LinkDesync
            If something has come that nobody asked for, or the link could not be resynchronised; nothing was sent.
        """
        with self.lock:
            self._check_open()
            if not self._synchronising:
                if self.dirty:
                    self.resynchronise()
                elif not (self._exchanges and self._asked):
                    self._refuse_unasked()
                self._asked = True
            try:
                if self.trace is not None:
                    self.trace.note(self.who, ">", data)
                self._send(data)
            except BaseException:
                self.dirty = True
                raise

    def send_anyway(self, data: bytes) -> None:
        """Send bytes at once, whatever else is under way; the link is dirty afterwards.

        For the way into a safe state alone, which must not wait for the answer to an earlier question.

        Raises
        ------
        LinkClosed, LinkTimeout
        """
        with self.lock:
            self._check_open()
            self.dirty = True
            self._note(">", data)
            self._send(data)

    def read_exactly(self, n: int, timeout_s: float | None = None) -> bytes:
        """The next n bytes; `timeout_s` is the longest silence among them.

        Raises
        ------
        LinkTimeout, LinkClosed
            The link is dirty then.
        """
        with self.lock:
            self._check_readable()
            while (missing := n - len(self._buffer)) > 0:
                self._more(missing, None, timeout_s, n)
            return self._take(n)

    def read_until(self, end: bytes, timeout_s: float | None = None) -> bytes:
        """Bytes up to and including `end`; `timeout_s` is the longest silence among them.

        Raises
        ------
        LinkTimeout, LinkClosed, LinkDesync
            The link is dirty then.
        """
        with self.lock:
            self._check_readable()
            searched = 0
            while (found := self._buffer.find(end, searched)) < 0:
                searched = max(0, len(self._buffer) - len(end) + 1)
                if len(self._buffer) > LONGEST_LINE:
                    self.dirty = True
                    raise LinkDesync(f"{self.name}: {len(self._buffer)} bytes came without {end!r}; check the protocol")
                self._more(4096, end, timeout_s, end)
            return self._take(found + len(end))

    def drain(self, quiet_s: float = QUIET_S, longest_s: float = 2.0) -> bytes:
        """Read and return whatever arrives until it has been quiet for `quiet_s`, at most for `longest_s`.

        Where answers are messages, only what has been read already is left to return: an instrument takes it for an
        error of its own if a message is read that it has not been asked for.
        """
        with self.lock:
            self._check_open()
            gone = bytes(self._buffer)
            self._buffer.clear()
            until = self.clock.monotonic() + longest_s
            try:
                while not self._messages and self.clock.monotonic() < until:
                    data = self._recv(4096, b"\n", quiet_s)
                    if not data:
                        break
                    self._note("<", data)
                    gone += data
            except BaseException:
                self.dirty = True
                raise
            return gone

    def resynchronise(self) -> None:
        """Bring question and answer back in step; afterwards nothing of an earlier answer is under way.

        Raises
        ------
        LinkDesync
            If that could not be shown; the link stays dirty.
        LinkClosed
        """
        with self.lock:
            self._check_open()
            self._note("-", b"resynchronise")
            self._synchronising, self.dirty = True, False
            try:
                self._clear()
                self.drain()
                if self.synchronise is not None:
                    self.synchronise()
            except LinkTimeout as error:
                self.dirty = True
                raise LinkDesync(
                    f"{self.name}: does not answer in step: {str(error).removeprefix(f'{self.name}: ')}; "
                    f"check {self.where} and that it is ready"
                ) from error
            except BaseException:
                self.dirty = True
                raise
            finally:
                self._synchronising = False
            if self.dirty:
                raise LinkDesync(f"{self.name}: does not answer in step; restart it")

    # -- inside --------------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if not self._is_open:
            raise LinkClosed(f"{self.name}: the link is not open")

    def _check_readable(self) -> None:
        self._check_open()
        if self.dirty and not self._synchronising:
            raise LinkDesync(f"{self.name}: an earlier question was broken off; ask again instead of reading on")

    def _refuse_unasked(self) -> None:
        try:
            if new := self._arrived():
                self._note("<", new)
                self._buffer += new
        except BaseException:
            self.dirty = True
            raise
        if self._buffer:
            self.dirty = True
            raise LinkDesync(
                f"{self.name}: sent {_shown(self._buffer)} without being asked; "
                "it may have restarted, or another program talks to it"
            )

    def _more(self, count: int, end: bytes | None, timeout_s: float | None, wanted: int | bytes) -> None:
        """Read on; `wanted` are the bytes asked for or the end, for the error."""
        timeout_s = self.timeout_s if timeout_s is None else timeout_s
        try:
            data = self._recv(count, end, timeout_s)
            if not data:
                what = f"an answer that ends in {wanted!r}"
                if isinstance(wanted, int):
                    what = f"{wanted} byte{'' if wanted == 1 else 's'}"
                got = f"got {_shown(self._buffer)}" if self._buffer else "got nothing"
                raise LinkTimeout(f"{self.name}: waited {timeout_s:g} s for {what}, {got}")
            if self.trace is not None:
                self.trace.note(self.who, "<", data)
            self._buffer += data
        except BaseException:
            self.dirty = True
            raise

    def _take(self, n: int) -> bytes:
        taken = bytes(self._buffer[:n])
        del self._buffer[:n]
        return taken

    def _note(self, direction: str, data: bytes) -> None:
        if self.trace is not None:
            self.trace.note(self.who, direction, data)


def _shown(data: bytes | bytearray) -> str:
    """Bytes for an error message, the middle of long ones left out."""
    return repr(bytes(data)) if len(data) <= 40 else f"{bytes(data[:24])!r}...{bytes(data[-8:])!r} ({len(data)} bytes)"
