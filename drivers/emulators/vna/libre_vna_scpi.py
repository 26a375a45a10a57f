"""The SCPI of LibreVNA-GUI: its command tree, its answers, its event register.

After ``scpi.cpp`` and ``tcpserver.cpp`` of github jankae/LibreVNA (Software/PC_Application/LibreVNA-GUI). It differs
from IEEE 488.2: each query is answered by a line of its own; what is not understood has no answer and sets bit 5 of the
event register, and there is no error queue; ``*OPC?`` is answered when all is done, whatever has been answered by then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

from labtrain.drivers.emulators.emulator import Reply

OPC, QUERY_ERROR, DEVICE_ERROR, EXECUTION_ERROR, COMMAND_ERROR = 1, 4, 8, 16, 32

Words = list[str]
Order = Callable[[Words], None]
Question = Callable[[Words], str | None]


class Refused(Exception):
    """A command cannot be carried out."""


@dataclass(frozen=True)
class Entry:
    """A leaf of the tree; None where it cannot be ordered, or not be asked."""

    order: Order | None = None
    question: Question | None = None


class LibreVnaScpi:
    """The command interpreter; a subclass adds its commands in its constructor."""

    def __init__(self) -> None:
        self._nodes: dict[str, Entry] = {}
        self._begun = b""
        self.events, self.mask = 0, 0xFF
        self.wait_s = 0.0
        """Set by a question whose answer comes that much later."""
        self.add("*CLS", self._clear)
        self.add("*ESE", self._set_mask, lambda _: str(self.mask))
        self.add("*ESR", None, lambda _: self._read_events())
        self.add("*LST", None, lambda _: "\n".join(sorted(self._nodes)))

    def add(self, path: str, order: Order | None = None, question: Question | None = None) -> None:
        """Add a command, written as the manual does, with capitals for its short form."""
        for name in _spellings(path):
            self._nodes[name] = Entry(order, question)

    def push_error(self, code: int, text: str | None = None) -> None:  # noqa: ARG002 (it keeps no texts)
        """An event that no command caused."""
        self.events |= COMMAND_ERROR if -199 <= code <= -100 else EXECUTION_ERROR if code < 0 else DEVICE_ERROR

    def connected(self) -> list[Reply]:
        """Unfinished input is forgotten; it says nothing."""
        self._begun = b""
        return []

    def receive(self, data: bytes) -> list[Reply]:
        *lines, self._begun = (self._begun + data).split(b"\n")
        replies: list[Reply] = []
        for line in lines:
            for answer in self._carry_out(line.decode("latin-1").strip()):
                replies.append((self.wait_s, f"{answer}\n".encode("latin-1")))
                self.wait_s = 0.0
        return replies

    def _carry_out(self, line: str) -> Iterator[str]:
        branch = ""
        for unit in line.split(";"):
            if not unit:
                continue
            if unit[0] in ":*":
                branch = ""
            header, *words = unit.removeprefix(":").split(" ")
            path = branch + header.upper()
            asked = path.endswith("?")
            entry = self._nodes.get(path.removesuffix("?"))
            if entry is None:
                self.events |= COMMAND_ERROR
                continue
            branch = path[: path.rfind(":") + 1]
            try:
                answer = self._call(entry, [word.upper() for word in words], asked)
            except Refused:
                self.events |= COMMAND_ERROR
                continue
            if answer:
                yield answer

    def _call(self, entry: Entry, words: Words, asked: bool) -> str | None:
        if asked:
            if entry.question is None:
                raise Refused
            return entry.question(words)
        if entry.order is None:
            raise Refused
        entry.order(words)
        return None

    # -- the event register --------------------------------------------------------------------------------------

    def _clear(self, words: Words) -> None:  # noqa: ARG002 (takes none)
        self.events = 0

    def _set_mask(self, words: Words) -> None:
        mask = whole(words)
        if mask > 255:
            raise Refused
        self.mask = mask

    def _read_events(self) -> str:
        events, self.events = self.events, 0
        return str(events)


def number(words: Words, index: int = 0) -> float:
    """A parameter as a number."""
    try:
        return float(words[index])
    except (IndexError, ValueError):
        raise Refused from None


def whole(words: Words, index: int = 0) -> int:
    """A parameter as a whole number, cut off."""
    value = number(words, index)
    if not 0 <= value < 2**64:
        raise Refused
    return int(value)


def switch(words: Words, index: int = 0) -> bool:
    """A parameter as on or off."""
    word = words[index] if index < len(words) else ""
    if word not in ("TRUE", "ON", "1", "FALSE", "OFF", "0"):
        raise Refused
    return word in ("TRUE", "ON", "1")


def told(value: bool) -> str:
    """As it answers."""
    return "TRUE" if value else "FALSE"


def written(value: float) -> str:
    """As ``QString::number`` writes it: six digits."""
    return f"{value:.6g}"


@cache
def _spellings(path: str) -> tuple[str, ...]:
    """Long and short forms of all nodes, in capitals."""
    head, _, rest = path.partition(":")
    names = dict.fromkeys((head.upper(), head.rstrip("abcdefghijklmnopqrstuvwxyz")))
    return tuple(f"{name}:{tail}" for name in names for tail in _spellings(rest)) if rest else tuple(names)
