"""A sensor driver in front of its emulator, and a world of numbers that a test sets."""

from __future__ import annotations

from typing import Any

from labtrain import registry
from labtrain.clock import SimulatedClock
from labtrain.drivers.backends.memory import MemoryLink
from tests.drivers.wires import Wire


class Numbers(dict[str, float]):
    """A SensorPort: what it holds."""

    def read(self, name: str) -> float:
        return self[name]


class Bench:
    """Driver, link, wire, emulator and world."""

    def __init__(self, driver: str, emulator: Any = None, timing: bool = False, **config: Any) -> None:
        cls = registry.resolve("drivers", driver)
        self.clock = SimulatedClock()
        self.world = Numbers(temperature_c=21.5, humidity_percent=40.0, power_w=12.5, voltage_v=5.0, current_a=2.5)
        self.emulator = emulator or registry.emulator_of(cls)(self.world, self.clock, timing=timing)
        self.wire = Wire(self.emulator)
        self.link = MemoryLink("meter", self.wire, self.clock, timeout_s=2.0)
        self.driver = cls(self.link, cls.Config.model_validate(config), self.clock)

    def opened(self) -> Bench:
        self.driver.open()
        self.wire.heard.clear()
        return self


class Lines:
    """A small instrument without IEEE 488.2: it knows a few lines, and says nothing to others."""

    def __init__(self, answers: dict[str, str], end: str = "\n", answer_end: str = "\n") -> None:
        self.answers, self.end, self.answer_end = answers, end, answer_end
        self.connected_with = ""
        self._begun = ""

    def connected(self) -> list[tuple[float, bytes | None]]:
        self._begun = ""
        return [(0.0, self.connected_with.encode())] if self.connected_with else []

    def receive(self, data: bytes) -> list[tuple[float, bytes | None]]:
        *lines, self._begun = (self._begun + data.decode()).split(self.end)
        return [(0.0, (self.answers[line] + self.answer_end).encode()) for line in lines if line in self.answers]
