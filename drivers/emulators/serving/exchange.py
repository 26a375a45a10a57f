"""MessageExchange, an emulator behind a transport whose messages have an end of their own (HiSLIP, VXI-11).

An emulator's reply is a whole message, its last byte carries the END. What comes to the emulator ends in a line feed
or with END (IEEE 488.2, 7.5), so a line feed is added where END stands alone. An answer that has not been read when
the next message begins is interrupted: it is dropped and -410 noted; a read with nothing to come is unterminated, -420
(IEEE 488.2, 6.3).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from labtrain.clock import Clock
from labtrain.drivers.emulators.emulator import Emulator, Reply
from labtrain.drivers.emulators.faults import Faulty, Queueing
from labtrain.errors import LabtrainError

INTERRUPTED, UNTERMINATED = -410, -420
MAV = 16  # message available (IEEE 488.2, 11.2)

log = logging.getLogger("labtrain")


@runtime_checkable
class Polled(Protocol):
    """An emulator with a status byte (IEEE 488.2, 11.2)."""

    def status_byte(self, *, message_available: bool) -> int:
        """The status byte as a serial poll reads it."""


class MessageExchange:
    """One emulator and the answers that are under way.

    Parameters
    ----------
    name : str
        Of the instrument, for the log.
    emulator : Emulator
    clock : Clock
    """

    def __init__(self, name: str, emulator: Emulator, clock: Clock) -> None:
        self.name, self.emulator, self.clock = name, emulator, clock
        self._instrument = emulator.inner if isinstance(emulator, Faulty) else emulator  # faults are of messages
        self._replies: deque[tuple[float, bytes | None]] = deque()  # due time, message
        self._complete = True  # no message is half sent to the emulator

    @property
    def due_s(self) -> float | None:
        """When the next answer is due, on the clock."""
        return self._replies[0][0] if self._replies else None

    @property
    def complete(self) -> bool:
        """Whether what comes next begins a new message."""
        return self._complete

    def begin(self) -> None:
        """Somebody has connected, or cleared the device: nothing is under way."""
        self._complete = True
        greeting = self._asked(self.emulator.connected)  # finds nobody who asked for it, but may be: hang up
        self._replies = deque(reply for reply in greeting if reply[1] is None)

    def take(self, data: bytes, *, end: bool) -> None:
        """A part of a message, or with `end` all that was missing of it."""
        if end and not data.endswith(b"\n"):
            data += b"\n"
        self._complete = end
        self._replies.extend(self._asked(lambda: self.emulator.receive(data)))

    def trigger(self) -> None:
        """Group execute trigger, which is carried out like ``*TRG`` (IEEE 488.2, 10.37)."""
        self.take(b"*TRG", end=True)

    def interrupt(self) -> None:
        """Drop the answers under way, because a new message has begun before they were read."""
        self._replies.clear()
        self.note(INTERRUPTED)

    def note(self, code: int) -> None:
        """An error that the message exchange itself finds, for instruments with an error queue."""
        if isinstance(self._instrument, Queueing):
            self._instrument.push_error(code)

    def due(self) -> list[bytes | None]:
        """Take the answers that are due; None: the emulator hangs up, and says no more."""
        now, taken = self.clock.monotonic(), list[bytes | None]()
        while self._replies and self._replies[0][0] <= now:  # one that is late holds up all behind it
            taken.append(self._replies.popleft()[1])
            if taken[-1] is None:
                self._replies.clear()
        return taken

    def status_byte(self, *, message_available: bool) -> int:
        """As a serial poll reads it; of an emulator that has none, the bit of the message alone."""
        if isinstance(self._instrument, Polled):
            return self._instrument.status_byte(message_available=message_available)
        return MAV * message_available

    def _asked(self, question: Callable[[], list[Reply]]) -> list[Reply]:
        """The emulator's replies, with the times when they are due instead of delays."""
        try:
            replies = question()
        except LabtrainError as error:  # its world could not answer; the next connection finds it there again
            log.error("emulated %s hangs up: %s", self.name, error)
            replies = [(0.0, None)]
        now = self.clock.monotonic()
        return [(now + delay_s, data) for delay_s, data in replies]
