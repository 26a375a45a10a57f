"""Messages of HiSLIP, as bytes: IVI-6.1, IVI High-Speed LAN Instrument Protocol, sections 2.2 to 2.5."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

HEADER = struct.Struct("!2sBBIQ")  # prologue, type, control code, parameter, length of the payload
PROLOGUE = b"HS"
LARGEST = 1 << 20  # bytes of a message that are taken at once, its header included


class Kind(IntEnum):
    """Types of messages that either end may send; those of TLS and vendors' own left out."""

    INITIALIZE = 0
    INITIALIZE_RESPONSE = 1
    FATAL_ERROR = 2
    ERROR = 3
    ASYNC_LOCK = 4
    ASYNC_LOCK_RESPONSE = 5
    DATA = 6
    DATA_END = 7
    DEVICE_CLEAR_COMPLETE = 8
    DEVICE_CLEAR_ACKNOWLEDGE = 9
    ASYNC_REMOTE_LOCAL_CONTROL = 10
    ASYNC_REMOTE_LOCAL_RESPONSE = 11
    TRIGGER = 12
    INTERRUPTED = 13
    ASYNC_INTERRUPTED = 14
    ASYNC_MAXIMUM_MESSAGE_SIZE = 15
    ASYNC_MAXIMUM_MESSAGE_SIZE_RESPONSE = 16
    ASYNC_INITIALIZE = 17
    ASYNC_INITIALIZE_RESPONSE = 18
    ASYNC_DEVICE_CLEAR = 19
    ASYNC_SERVICE_REQUEST = 20
    ASYNC_STATUS_QUERY = 21
    ASYNC_STATUS_RESPONSE = 22
    ASYNC_DEVICE_CLEAR_ACKNOWLEDGE = 23
    ASYNC_LOCK_INFO = 24
    ASYNC_LOCK_INFO_RESPONSE = 25


class Fatal(IntEnum):
    """Control codes of FatalError: the connection ends."""

    POORLY_FORMED_HEADER = 1
    WITHOUT_BOTH_CHANNELS = 2
    INVALID_INITIALIZATION = 3
    TOO_MANY_CLIENTS = 4


class Refused(IntEnum):
    """Control codes of Error: the message is ignored."""

    UNRECOGNIZED_TYPE = 1
    UNRECOGNIZED_CONTROL_CODE = 2
    UNRECOGNIZED_VENDOR_MESSAGE = 3
    TOO_LARGE = 4


@dataclass(frozen=True)
class Message:
    """One message.

    Parameters
    ----------
    kind : int
        A Kind, or a number that is none.
    control : int
        Control code, 8 bits.
    parameter : int
        32 bits.
    payload : bytes
    too_large : bool
        Of a message that came: its payload was thrown away.
    """

    kind: int
    control: int = 0
    parameter: int = 0
    payload: bytes = b""
    too_large: bool = False

    def packed(self) -> bytes:
        """As bytes."""
        header = HEADER.pack(PROLOGUE, self.kind, self.control, self.parameter, len(self.payload))
        return header + self.payload


class NotHislip(ValueError):
    """Something else than a header came."""


class Decoder:
    """Bytes to messages.

    Parameters
    ----------
    largest : int
        Bytes of a message; the payload of a larger one is passed over.
    """

    def __init__(self, largest: int = LARGEST) -> None:
        self.largest = largest
        self._begun = bytearray()
        self._passing: tuple[Message, int] | None = None  # a message that is too large, and bytes of it still to come

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that are complete by now.

        Raises
        ------
        NotHislip
            The stream cannot be read any further.
        """
        self._begun += data
        while message := self._next():
            yield message

    def _next(self) -> Message | None:
        if self._passing is not None:
            message, missing = self._passing
            passed = min(missing, len(self._begun))
            del self._begun[:passed]
            self._passing = (message, missing - passed) if passed < missing else None
            return message if self._passing is None else None
        if not PROLOGUE.startswith(bytes(self._begun[: len(PROLOGUE)])):
            raise NotHislip(bytes(self._begun[: len(PROLOGUE)]))
        if len(self._begun) < HEADER.size:
            return None
        _, kind, control, parameter, length = HEADER.unpack_from(self._begun)
        if HEADER.size + length > self.largest:
            del self._begun[: HEADER.size]
            self._passing = (Message(kind, control, parameter, too_large=True), length)
            return self._next()
        if len(self._begun) < HEADER.size + length:
            return None
        payload = bytes(self._begun[HEADER.size : HEADER.size + length])
        del self._begun[: HEADER.size + length]
        return Message(kind, control, parameter, payload)


def data_messages(answer: bytes, message_id: int, largest: int) -> Iterator[Message]:
    """An answer in messages of at most `largest` bytes, header included, the last one with END (IVI-6.1, 3.1)."""
    size = max(1, largest - HEADER.size)
    for start in range(0, max(1, len(answer)), size):
        kind = Kind.DATA_END if start + size >= len(answer) else Kind.DATA
        yield Message(kind, 0, message_id, answer[start : start + size])
