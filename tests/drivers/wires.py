"""Between a link and an emulator: writes down what is heard, and spoils answers as a test says."""

from __future__ import annotations

from collections.abc import Callable

from labtrain.drivers.emulators.emulator import Emulator, Reply

Spoil = Callable[[list[Reply]], list[Reply]]


class Wire:
    """An emulator around another one.

    Attributes
    ----------
    heard : list of str
        Lines that came, complete or not.
    spoils : list of callable
        Each is used up by the next message that is answered.
    """

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.heard: list[str] = []
        self.spoils: list[Spoil] = []
        self.connections = 0

    def connected(self) -> list[Reply]:
        self.connections += 1
        return self.emulator.connected()

    def receive(self, data: bytes) -> list[Reply]:
        self.heard += data.decode().splitlines()
        replies = self.emulator.receive(data)
        return self.spoils.pop(0)(replies) if replies and self.spoils else replies


def late(seconds: float) -> Spoil:
    return lambda replies: [(delay + seconds, data) for delay, data in replies]


def silent(replies: list[Reply]) -> list[Reply]:
    return []


def cut(count: int) -> Spoil:
    """Only the first `count` bytes arrive."""
    return lambda replies: [(replies[0][0], (replies[0][1] or b"")[:count])]


def instead(data: bytes) -> Spoil:
    return lambda replies: [(0.0, data)]


def hang_up(replies: list[Reply]) -> list[Reply]:
    return [(0.0, None)]
