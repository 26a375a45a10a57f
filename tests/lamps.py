"""A lamp stands for an instrument that emits energy: the smallest driver, its emulator, and a rig of such lamps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from labtrain.clock import Clock, RealClock
from labtrain.drivers.backends.memory import MemoryLink
from labtrain.drivers.emulators.emulator import Reply
from labtrain.drivers.instrument import Command, Instrument, InstrumentConfig
from labtrain.errors import InstrumentError
from labtrain.rigs.rig import Rig, RigConfig


class LampEmulator:
    """``ON``, ``OFF``, ``level N`` -> ``ok``; ``?``, ``level?``, ``who`` and ``sync N`` are answered.

    Parameters
    ----------
    trouble : callable (word), optional
        Called before each message; may return other replies than the lamp's own.
    """

    def __init__(self, trouble: Callable[[LampEmulator, str], list[Reply] | None] | None = None) -> None:
        self.on, self.level, self.is_a = False, 3, "lamp"
        self.trouble = trouble or (lambda lamp, word: None)
        self.heard: list[str] = []
        self.connections = 0
        self._begun = b""

    def connected(self) -> list[Reply]:
        self.connections += 1
        self._begun = b""
        return self.trouble(self, "connected") or []

    def receive(self, data: bytes) -> list[Reply]:
        *lines, self._begun = (self._begun + data).split(b"\n")
        return [reply for line in lines for reply in self._line(line.decode())]

    def _line(self, word: str) -> list[Reply]:
        self.heard.append(word)
        told = self.trouble(self, word)
        if told is not None:
            return told
        if word in ("ON", "OFF"):
            self.on = word == "ON"
        elif word.startswith("level "):
            self.level = int(word[6:])
        answers = {"?": "on" if self.on else "off", "level?": str(self.level), "who": self.is_a}
        answer = word if word.startswith("sync ") else answers.get(word, "ok")
        return [(0.0, answer.encode() + b"\n")]


class Lamp(Instrument):
    """The driver."""

    class Config(InstrumentConfig):
        driver: Literal["lamp"] = "lamp"

    by_hand = "pull its plug"
    level = Command("level", get="level?", set="level {}", cast=int)
    fences = 0

    @property
    def emulated(self) -> bool:
        return True

    def ask(self, question: str) -> str:
        with self.link.exchange():
            self.link.write(question.encode() + b"\n")
            return self.link.read_until(b"\n").decode().strip()

    def tell(self, order: str) -> None:
        if (answer := self.ask(order)) != "ok":
            raise self.confused(order, answer, "ok")

    def safe(self) -> None:
        self.tell("OFF")

    def _identify(self) -> str:
        return self.ask("who")

    def _check_identity(self, identity: str) -> None:
        if identity != "lamp":
            raise InstrumentError(f"{self.name}: expected a lamp, found {identity!r}; see rig.{self.link.who}.address")

    def _synchronise(self) -> None:
        self.fences += 1
        mark = f"sync {self.fences}".encode()
        self.link.write(mark + b"\n")
        while self.link.read_until(b"\n").strip() != mark:
            pass


class LampRig(Rig):
    """Any number of lamps, each in front of its emulator; all are lit when the rig is open."""

    class Config(RigConfig):
        type: Literal["lamps"] = "lamps"

    def __init__(self, emulators: dict[str, LampEmulator], clock: Clock | None = None, **config: Any) -> None:
        super().__init__(self.Config(), clock or RealClock())
        self.lamps, self.options = emulators, config

    def build_instruments(self) -> dict[str, Instrument]:
        config = Lamp.Config(**{"timeout_s": 0.05, "open_timeout_s": 0.05, **self.options})
        times = {"timeout_s": config.timeout_s, "open_timeout_s": config.open_timeout_s}
        return {
            name: Lamp(MemoryLink(name, emulator, self.clock, **times), config, self.clock)
            for name, emulator in self.lamps.items()
        }

    def open(self) -> None:
        self.open_instruments()
        for lamp in self.instruments.values():
            lamp.tell("ON")
        self.layers = ()

    def provenance(self) -> dict[str, Any]:
        return {}
