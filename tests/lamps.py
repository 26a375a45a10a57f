"""A lamp stands for an instrument that emits energy: the smallest driver, its emulator, and a rig of such lamps."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from labtrain.clock import Clock, RealClock
from labtrain.drivers.address import make_link
from labtrain.drivers.emulators.emulator import Reply
from labtrain.drivers.emulators.serving.server import Server
from labtrain.drivers.emulators.serving.tcp import TcpOutlet
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
        if not word:
            return []
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
        self.link.write(b"\n" + mark + b"\n")  # whatever was begun is ended
        while self.link.read_until(b"\n").strip() != mark:
            pass


class LampRig(Rig):
    """Any number of lamps; all are lit when the rig is open.

    Parameters
    ----------
    lamps : dict of name to LampEmulator or str
        What is at the other end: an emulator in this process, or an address.
    """

    class Config(RigConfig):
        type: Literal["lamps"] = "lamps"

    def __init__(self, lamps: dict[str, LampEmulator | str], clock: Clock | None = None, **options: Any) -> None:
        super().__init__(self.Config(), clock or RealClock())
        self.lamps, self.options = lamps, {"timeout_s": 0.05, "open_timeout_s": 0.05, **options}

    def build_instruments(self) -> dict[str, Instrument]:
        times = {name: self.options[name] for name in ("timeout_s", "open_timeout_s")}
        built: dict[str, Instrument] = {}
        for name, lamp in self.lamps.items():
            config = Lamp.Config(**{"address": lamp if isinstance(lamp, str) else "sim", **self.options})
            emulator = None if isinstance(lamp, str) else lamp
            link = make_link(
                name, config.address if emulator is None else "sim", self.clock, emulator=emulator, **times
            )
            built[name] = Lamp(link, config, self.clock)
        return built

    def open(self) -> None:
        self.open_instruments()
        for lamp in self.instruments.values():
            lamp.tell("ON")
        self.layers = ()

    def provenance(self) -> dict[str, Any]:
        return {}


@contextmanager
def served(**lamps: LampEmulator) -> Iterator[dict[str, str]]:
    """Serve lamps to other processes; gives their addresses by name."""
    clock, stopped = RealClock(), threading.Event()
    outlets = [TcpOutlet(name, lamp, clock) for name, lamp in lamps.items()]
    with Server(outlets, clock) as server:
        thread = threading.Thread(target=server.run, args=(stopped.is_set,))
        thread.start()
        try:
            yield {outlet.name: outlet.address for outlet in outlets}
        finally:
            stopped.set()
            thread.join()
