"""A talking emulator, and the server's loop in a thread."""

from __future__ import annotations

import selectors
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from labtrain.drivers.emulators.emulator import Reply
from labtrain.drivers.emulators.serving.outlet import Outlet
from labtrain.drivers.emulators.serving.server import Server
from labtrain.errors import InstrumentError


class Parrot:
    """Lines back in capitals; ``late N text`` after N seconds, ``bye`` hangs up, ``fail`` fails, ``long N`` is long,
    ``quiet`` has no answer.
    """

    def __init__(self) -> None:
        self.connections = 0
        self._begun = b""

    def connected(self) -> list[Reply]:
        self.connections += 1
        self._begun = b""
        return []

    def receive(self, data: bytes) -> list[Reply]:
        *lines, self._begun = (self._begun + data).split(b"\n")
        return [reply for line in lines for reply in self._answer(line)]

    def _answer(self, line: bytes) -> list[Reply]:
        word, _, rest = line.partition(b" ")
        if word == b"late":
            seconds, _, text = rest.partition(b" ")
            return [(float(seconds), text.upper() + b"\n")]
        if word == b"bye":
            return [(0.0, rest.upper()), (0.0, None), (0.0, b"never said\n")]
        if word == b"fail":
            raise InstrumentError("the world stands still")
        if word == b"quiet":
            return []
        if word == b"long":
            return [(0.0, b"x" * int(rest))]
        return [(0.0, line.upper() + b"\n")]


class Instrument(Parrot):
    """A parrot with an error queue and a status byte: what IEEE 488.2 asks of whoever is behind a message-based bus."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[int] = []

    def push_error(self, code: int, text: str | None = None) -> None:
        self.errors.append(code)

    def status_byte(self, *, message_available: bool) -> int:
        return 4 * bool(self.errors) | 16 * message_available


class InOrderOfNumber(selectors.SelectSelector):
    """A selector that tells first of the connections that came first, not of what happened first, as some may."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(timeout)
        return sorted(ready, key=lambda found: found[0].fd)


def endless(monkeypatch: pytest.MonkeyPatch, listener: object, name: str = "poll") -> None:
    """Whenever somebody looks, more has come; who looks a thousand times would look for ever."""
    looks = iter([True] * 1000)
    monkeypatch.setattr(listener, name, lambda: next(looks))


def turns(server: Server, count: int = 5) -> None:
    """Let the server's loop turn, in this thread."""
    server.run(iter([False] * count + [True]).__next__)


@contextmanager
def serving(*outlets: Outlet) -> Iterator[None]:
    stop, failed = threading.Event(), []
    with Server(outlets, outlets[0].clock) as server:

        def run() -> None:
            try:
                server.run(stop.is_set)
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(5.0)
    assert not failed, failed
