"""What every emulator is: bytes in, replies out, without sockets, threads or sleep."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

Reply = tuple[float, bytes | None]
"""Delay in seconds after the bytes that caused it, and the bytes; None instead of bytes: the device hangs up."""


class Emulator(Protocol):
    """One instrument, seen from its connector.

    Replies leave in the order in which they are returned, as from any device with one output: a reply that is late
    holds up all later ones. Whoever carries the bytes (an in-memory link, a server) does the waiting. A reply is a
    whole answer: a transport whose messages have an end of their own (HiSLIP, VXI-11) puts it there.
    """

    def receive(self, data: bytes) -> list[Reply]:
        """Take any part of a message, or several messages, and return what the instrument answers to them."""

    def connected(self) -> list[Reply]:
        """Somebody opened the connection, or cleared the device: forget unfinished input and unsent output; return what
        the device says.
        """


@runtime_checkable
class Framed(Protocol):
    """An emulator whose messages do not end in a line feed, for those who count messages."""

    def message_length(self, data: bytes) -> int:
        """Bytes of the message that `data` begins with; 0 while it is incomplete."""
