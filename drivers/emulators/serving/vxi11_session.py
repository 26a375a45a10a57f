"""Vxi11Session, the server's end of VXI-11 for one connection, without sockets (VXIbus Consortium, TCP/IP instrument
protocol specification VXI-11, revision 1.0, section B).

Every call is answered, a read once there is an answer or its time is up; calls that come meanwhile wait for that.
Interrupts, which would announce service requests, are not supported.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from labtrain.clock import Clock
from labtrain.drivers.emulators.serving.exchange import UNTERMINATED, MessageExchange
from labtrain.drivers.emulators.serving.onc_rpc import Call, answered, parse_call, reply
from labtrain.drivers.emulators.serving.xdr import opaque, uints

CORE = (0x0607AF, 1)  # program and version
ABORT = (0x0607B0, 1)
DEVICE = "inst0"
LARGEST = 1 << 20  # bytes of data that a write may bring

END, TERMCHAR_SET = 8, 128  # flags of writes and reads
REQUEST_COUNT, TERMCHAR, ENDED = 1, 2, 4  # reasons why a read ended


class Error(IntEnum):
    """Errors that a reply may have (Device_ErrorCode)."""

    NONE = 0
    NOT_ACCESSIBLE = 3
    INVALID_LINK = 4
    NOT_SUPPORTED = 8
    OUT_OF_RESOURCES = 9
    NO_LOCK_HELD = 12
    IO_TIMEOUT = 15
    ABORT = 23


@dataclass(frozen=True)
class Waiting:
    """A read that waits for an answer."""

    call: Call
    size: int
    until_s: float
    stop: int | None


class Vxi11Session:
    """One connection to the core channel.

    Parameters
    ----------
    exchange : MessageExchange
        Of the instrument; used while this session has the link to it.
    clock : Clock
    send : callable
        Sends a reply.
    acquire : callable
        Tells whether this session may have the link now.
    release : callable
        Gives it back.
    abort_port : callable
        Tells the port of the abort channel.
    """

    def __init__(
        self,
        exchange: MessageExchange,
        clock: Clock,
        send: Callable[[bytes], object],
        acquire: Callable[[], bool],
        release: Callable[[], None],
        abort_port: Callable[[], int],
    ) -> None:
        self.exchange, self.clock = exchange, clock
        self._send, self._acquire, self._release, self._abort_port = send, acquire, release, abort_port
        self._link: int | None = None
        self._links = 0
        self._locked = False
        self._answers: deque[bytes] = deque()  # what is left of the first, and those behind it
        self._waiting: Waiting | None = None
        self._calls: deque[Call] = deque()
        self._procedures: dict[int, Callable[[Call], bytes | None]] = {
            10: self._create_link,
            11: self._write,
            12: self._read,
            13: self._read_status,
            14: self._trigger,
            15: self._clear,
            16: self._acknowledge,  # remote
            17: self._acknowledge,  # local
            18: self._lock,
            19: self._unlock,
            20: _not_supported,  # enable service requests
            22: _no_command,
            23: self._destroy_link,
            25: _not_supported,  # create and destroy the interrupt channel
            26: _not_supported,
        }

    @property
    def due_s(self) -> float | None:
        """When there is something to do next, on the clock."""
        times = [self.exchange.due_s, self._waiting.until_s if self._waiting else None]
        return min((time for time in times if time is not None), default=None)

    def heard(self, record: bytes) -> None:
        """A call has come.

        Raises
        ------
        NotRpc
        """
        call = parse_call(record, *CORE)
        if isinstance(call, bytes):
            self._send(call)
        else:
            self._calls.append(call)
            self._proceed()

    def flush(self) -> bool:
        """Answer the read that waits, if that can be done now; False: the instrument hangs up."""
        for answer in self.exchange.due():
            if answer is None:
                return False
            self._answers.append(answer)
        if (waiting := self._waiting) is not None:
            if self._answers:
                self._end_read(uints(Error.NONE) + self._taken(waiting))
            elif self.clock.monotonic() >= waiting.until_s:
                self._end_read(uints(Error.IO_TIMEOUT, 0) + opaque(b""))
            self._proceed()
        return True

    def abort(self, link: int) -> Error:
        """End the read that waits (``device_abort``)."""
        if link != self._link:
            return Error.INVALID_LINK
        if self._waiting is not None:
            self._end_read(uints(Error.ABORT, 0) + opaque(b""))
            self._proceed()
        return Error.NONE

    def _proceed(self) -> None:
        while self._calls and self._waiting is None:
            if (answer := answered(self._calls.popleft(), self._procedures)) is not None:
                self._send(answer)

    def _end_read(self, result: bytes) -> None:
        assert self._waiting is not None
        call, self._waiting = self._waiting.call, None
        self._send(reply(call, result))

    def _taken(self, read: Waiting) -> bytes:
        """Reason and bytes: of one answer, as many as are wanted, and none behind the character to stop at."""
        answer = self._answers.popleft()
        size = min(read.size, len(answer))
        reason = 0
        if read.stop is not None and (found := answer.find(read.stop, 0, size)) >= 0:
            size, reason = found + 1, TERMCHAR
        if size == read.size:
            reason |= REQUEST_COUNT
        if size == len(answer):
            reason |= ENDED
        else:
            self._answers.appendleft(answer[size:])
        return uints(reason) + opaque(answer[:size])

    # -- procedures ----------------------------------------------------------------------------------------------

    def _create_link(self, call: Call) -> bytes:
        arguments = call.arguments
        arguments.signed()  # the client's own number, of use to debuggers
        lock = arguments.unsigned()
        arguments.unsigned()  # how long to wait for a lock: nobody else can hold it
        device = arguments.opaque().decode("latin-1")
        error = Error.NONE
        if device.lower() not in ("", DEVICE):
            error = Error.NOT_ACCESSIBLE
        elif not self._acquire():
            error = Error.OUT_OF_RESOURCES
        if error:
            return uints(error, 0, 0, 0)
        self._links += 1
        self._link, self._locked = self._links, bool(lock)
        self._start_anew()
        return uints(Error.NONE, self._link, self._abort_port(), LARGEST)

    def _destroy_link(self, call: Call) -> bytes:
        if self._wrong(call):
            return uints(Error.INVALID_LINK)
        self._link = None
        self._answers.clear()
        self._release()
        return uints(Error.NONE)

    def _write(self, call: Call) -> bytes:
        if self._wrong(call):
            return uints(Error.INVALID_LINK, 0)
        _, _, flags = (call.arguments.unsigned() for _ in range(3))
        data = call.arguments.opaque()
        if self.exchange.complete and (self._answers or self.exchange.due_s is not None):
            self._answers.clear()
            self.exchange.interrupt()
        self.exchange.take(data, end=bool(flags & END))
        return uints(Error.NONE, len(data))

    def _read(self, call: Call) -> bytes | None:
        if self._wrong(call):
            return uints(Error.INVALID_LINK, 0) + opaque(b"")
        size, timeout_ms, _, flags, stop = (call.arguments.unsigned() for _ in range(5))
        if not self._answers and self.exchange.due_s is None:
            self.exchange.note(UNTERMINATED)
        until_s = self.clock.monotonic() + timeout_ms / 1000
        self._waiting = Waiting(call, size, until_s, stop & 0xFF if flags & TERMCHAR_SET else None)
        return None  # the next flush sees to it

    def _read_status(self, call: Call) -> bytes:
        if self._wrong(call):
            return uints(Error.INVALID_LINK, 0)
        now_s = self.clock.monotonic()
        due_s = self.exchange.due_s
        available = bool(self._answers) or (due_s is not None and due_s <= now_s)
        return uints(Error.NONE, self.exchange.status_byte(message_available=available))

    def _trigger(self, call: Call) -> bytes:
        if self._wrong(call):
            return uints(Error.INVALID_LINK)
        self.exchange.trigger()
        return uints(Error.NONE)

    def _clear(self, call: Call) -> bytes:
        if self._wrong(call):
            return uints(Error.INVALID_LINK)
        self._start_anew()
        return uints(Error.NONE)

    def _acknowledge(self, call: Call) -> bytes:
        """Remote or local: nobody is at the front panel."""
        return uints(Error.INVALID_LINK if self._wrong(call) else Error.NONE)

    def _lock(self, call: Call) -> bytes:
        if self._wrong(call):
            return uints(Error.INVALID_LINK)
        self._locked = True
        return uints(Error.NONE)

    def _unlock(self, call: Call) -> bytes:
        if self._wrong(call):
            return uints(Error.INVALID_LINK)
        held, self._locked = self._locked, False
        return uints(Error.NONE if held else Error.NO_LOCK_HELD)

    def _start_anew(self) -> None:
        self._answers.clear()
        self.exchange.begin()

    def _wrong(self, call: Call) -> bool:
        """Whether the link that the arguments begin with is not this session's."""
        return call.arguments.signed() != self._link


def _not_supported(call: Call) -> bytes:  # noqa: ARG001
    return uints(Error.NOT_SUPPORTED)


def _no_command(call: Call) -> bytes:  # noqa: ARG001
    return uints(Error.NOT_SUPPORTED) + opaque(b"")
