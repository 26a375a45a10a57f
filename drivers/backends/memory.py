"""Bytes that stay in this process: the emulator of a dry run at the other end (``address: sim``)."""

from __future__ import annotations

from collections import deque
from typing import Any

from labtrain.clock import Clock
from labtrain.drivers.emulators.emulator import Emulator
from labtrain.drivers.link import Link
from labtrain.errors import LinkClosed, LinkRefused


class MemoryLink(Link):
    """A link to an emulator in the same process; delays pass on the clock, in the order of the replies.

    Parameters
    ----------
    who : str
    emulator : Emulator
    clock : Clock
    options
        As of Link.
    """

    def __init__(self, who: str, emulator: Emulator, clock: Clock, **options: Any) -> None:
        super().__init__(who, "sim", clock, **options)
        self.emulator = emulator
        self._replies: deque[tuple[float, bytes | None]] = deque()  # due time, bytes

    def _open(self) -> None:
        self._replies.clear()
        self._queue(self.emulator.connected())
        if self._replies and self._replies[0][1] is None:
            raise LinkRefused(f"{self.name}: the emulator refuses the connection")
        self.dirty = bool(self._replies)  # it greets; what follows is no answer to that

    def _close(self) -> None:
        self._replies.clear()

    def _queue(self, replies: list[tuple[float, bytes | None]]) -> None:
        now = self.clock.monotonic()
        for delay_s, data in replies:
            due = max(now + delay_s, self._replies[-1][0] if self._replies else 0.0)
            self._replies.append((due, data))

    def _send(self, data: bytes) -> None:
        if self._replies and self._replies[0][1] is None and self._replies[0][0] <= self.clock.monotonic():
            raise LinkClosed(f"{self.name}: the emulator hung up")
        self._queue(self.emulator.receive(data))

    def _arrived(self) -> bytes:
        arrived, now = b"", self.clock.monotonic() if self._replies else 0.0
        while self._replies and self._replies[0][0] <= now:
            data = self._replies[0][1]
            if data is None:
                break  # told by whatever comes next
            arrived += data
            self._replies.popleft()
        return arrived

    def _recv(self, count: int, end: bytes | None, timeout_s: float) -> bytes:  # noqa: ARG002 (whole replies)
        if not self._replies:
            self.clock.sleep(timeout_s)
            return b""
        due, data = self._replies[0]
        wait = due - self.clock.monotonic()
        if wait > timeout_s:
            self.clock.sleep(timeout_s)
            return b""
        self.clock.sleep(wait)
        if data is None:
            raise LinkClosed(f"{self.name}: the emulator hung up")
        self._replies.popleft()
        return data
