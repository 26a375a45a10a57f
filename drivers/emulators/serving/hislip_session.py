"""HislipSession, the server's end of HiSLIP for one client, without sockets (IVI-6.1, sections 3 and 6).

In synchronised mode alone, as instruments prefer it: overlapped mode is declined at each device clear. Each answer
carries the id of the message that asked for it, and a client drops those with another one.

A client says in the first message after it has read an answer that it did (RMT-delivered). Where it should have and
does not, the answer was interrupted: -410 in the error queue, and nothing on the wire. An answer that has not
been sent yet is dropped then, and the client is told on both channels (3.1).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from labtrain.drivers.emulators.serving.exchange import MessageExchange
from labtrain.drivers.emulators.serving.hislip_messages import (
    LARGEST,
    Kind,
    Message,
    Refused,
    data_messages,
)

VERSION = 0x0100  # 1.0
VENDOR = int.from_bytes(b"xx")  # nobody's
SYNCHRONISED = 0  # control code and feature bits
RMT_DELIVERED = 1  # bit of the control code
GRANTED, NOT_HELD = 1, 3  # answers to AsyncLock
RELEASED_SHARED = 2
STEP = 2  # from the id of a message to that of the next

Send = Callable[[bytes], Any]


class HislipSession:
    """One client with its two channels.

    Parameters
    ----------
    exchange : MessageExchange
    number : int
        16 bits, by which the client names the session when it opens the second channel.
    send_sync : callable
        Sends bytes on the synchronous channel.
    """

    def __init__(self, exchange: MessageExchange, number: int, send_sync: Send) -> None:
        self.exchange, self.number = exchange, number
        self._send_sync = send_sync
        self._send_async: Send | None = None
        self._largest = LARGEST  # bytes of a message that the client takes
        self._last_id: int | None = None  # of the last message on the synchronous channel
        self._unread = (
            False  # a whole answer was sent, and the client has not said yet that it was read ("RMT-expected")
        )
        self._clearing = False
        self._lock: bytes | None = None  # its name; empty: exclusive

    def initialized(self, client_version: int) -> None:
        """The synchronous channel is there."""
        self.exchange.begin()
        parameter = min(VERSION, client_version) << 16 | self.number
        self._sync(Message(Kind.INITIALIZE_RESPONSE, SYNCHRONISED, parameter))

    def both_channels(self, send_async: Send) -> None:
        """The asynchronous channel is there too."""
        self._send_async = send_async
        self._async(Message(Kind.ASYNC_INITIALIZE_RESPONSE, 0, VENDOR))

    @property
    def ready(self) -> bool:
        """Whether both channels are there."""
        return self._send_async is not None

    # -- what comes ----------------------------------------------------------------------------------------------

    def heard_sync(self, message: Message) -> None:
        """A message on the synchronous channel."""
        if message.kind in (Kind.DATA, Kind.DATA_END, Kind.TRIGGER):
            if message.too_large:
                self._sync(Message(Kind.ERROR, Refused.TOO_LARGE, 0, b"message too large"))
            elif not self._clearing:  # what was on its way when the device was cleared is dropped
                self._take(message)
        elif message.kind == Kind.DEVICE_CLEAR_COMPLETE:
            self._clear()
            self._clearing = False
            self._sync(Message(Kind.DEVICE_CLEAR_ACKNOWLEDGE, SYNCHRONISED))
        else:
            self._sync(_unrecognized(message))

    def heard_async(self, message: Message) -> None:
        """A message on the asynchronous channel."""
        match message.kind:
            case Kind.ASYNC_MAXIMUM_MESSAGE_SIZE if len(message.payload) == 8:
                (self._largest,) = struct.unpack("!Q", message.payload)
                size = struct.pack("!Q", LARGEST)
                self._async(Message(Kind.ASYNC_MAXIMUM_MESSAGE_SIZE_RESPONSE, payload=size))
            case Kind.ASYNC_DEVICE_CLEAR:
                self._clear()
                self._clearing = True
                self._async(Message(Kind.ASYNC_DEVICE_CLEAR_ACKNOWLEDGE, SYNCHRONISED))
            case Kind.ASYNC_STATUS_QUERY:
                self._async(Message(Kind.ASYNC_STATUS_RESPONSE, self._status(message)))
            case Kind.ASYNC_REMOTE_LOCAL_CONTROL:  # nobody is at the front panel
                self._async(Message(Kind.ASYNC_REMOTE_LOCAL_RESPONSE))
            case Kind.ASYNC_LOCK:
                self._async(Message(Kind.ASYNC_LOCK_RESPONSE, self._locked(message)))
            case Kind.ASYNC_LOCK_INFO:
                exclusive, holders = self._lock == b"", self._lock is not None
                self._async(Message(Kind.ASYNC_LOCK_INFO_RESPONSE, exclusive, holders))
            case _:
                self._async(_unrecognized(message))

    def _take(self, message: Message) -> None:
        if self.exchange.complete:  # the first of a new message
            if self._unread and not message.control & RMT_DELIVERED:
                self.exchange.interrupt()
            elif self.exchange.due_s is not None:
                self.exchange.interrupt()
                self._async(Message(Kind.ASYNC_INTERRUPTED, 0, message.parameter))
                self._sync(Message(Kind.INTERRUPTED, 0, message.parameter))
            self._unread = False
        self._last_id = message.parameter
        if message.kind == Kind.TRIGGER:
            self.exchange.trigger()
        else:
            self.exchange.take(message.payload, end=message.kind == Kind.DATA_END)

    def _clear(self) -> None:
        self.exchange.begin()
        self._last_id, self._unread = None, False

    def _status(self, query: Message) -> int:
        """The status byte; a message is available while the client has not read the answer to its last one (6.14).

        Which one that is the query says. pyvisa-py (0.8) names the one that it will send next, which is two more, and
        instruments let it; a client that has sent that one already has sent it ahead of the query.
        """
        if query.control & RMT_DELIVERED:
            self._unread = False
        last = self._last_id
        available = self._unread and last is not None and query.parameter in (last, last + STEP & 0xFFFFFFFF)
        return self.exchange.status_byte(message_available=available)

    def _locked(self, message: Message) -> int:
        """Give or take back the lock, which nobody else can hold: there is one client at a time."""
        if message.control:
            if self._lock is not None:
                return NOT_HELD
            self._lock = message.payload
            return GRANTED
        held, self._lock = self._lock, None
        return NOT_HELD if held is None else RELEASED_SHARED if held else GRANTED

    # -- what goes -----------------------------------------------------------------------------------------------

    def flush(self) -> bool:
        """Send the answers that are due; False: the instrument hangs up."""
        for answer in self.exchange.due():
            if answer is None:
                return False
            for message in data_messages(answer, self._last_id or 0, self._largest):
                self._sync(message)
            self._unread = True
        return True

    def _sync(self, message: Message) -> None:
        self._send_sync(message.packed())

    def _async(self, message: Message) -> None:
        assert self._send_async is not None
        self._send_async(message.packed())


def _unrecognized(message: Message) -> Message:
    return Message(Kind.ERROR, Refused.UNRECOGNIZED_TYPE, 0, f"message type {message.kind} not recognized".encode())
