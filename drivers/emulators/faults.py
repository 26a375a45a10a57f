"""Scripted faults: what goes wrong with an instrument, and at which message.

    late 2.5 s at 7                       the answer to the 7th message comes 2.5 s later than it should
    no reply at 3 of CALC1:DATA?          the 3rd message with this text is carried out, but not answered
    truncated at 2                        half of the answer comes, and nothing more
    truncated 100 bytes at 2 of DATA?     its first 100 bytes come
    garbage at 4                          other bytes come instead of the answer, as many; its line feed stays
    disconnect at 5                       the connection ends before the 5th message is understood
    reboot at 5                           power fails then: settings are lost, and so is a network connection
    error -230 at 6                       the 6th message leaves an entry in the error queue
    error 144 "over power" from 6         so does every one from then on

Messages are counted from 1 from the start of the emulator, over all its connections; they end in a line feed, or where
an emulator says that its own end. ``at``
means that one, ``from`` that one and all later ones. Whatever is not faulty passes unchanged.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from labtrain.drivers.emulators.emulator import Emulator, Framed, Reply
from labtrain.errors import InputError

Kind = Literal["late", "no reply", "truncated", "garbage", "disconnect", "reboot", "error"]

EXAMPLES = '"late 2.5 s at 7", "no reply at 3 of CALC1:DATA?", "truncated 100 bytes at 2", "error -230 from 6"'

_FAULT = re.compile(
    r"""\s*(?P<kind>late|no\s+reply|truncated|garbage|disconnect|reboot|error)
    (?:\s+(?P<number>[+-]?\d+(?:\.\d*)?)(?:\s*(?P<unit>s|bytes?))?)?
    (?:\s+"(?P<text>[^"]*)")?
    \s+(?P<when>at|from)\s+(?P<count>\d+)
    (?:\s+of\s+(?P<quote>["']?)(?P<of>.+?)(?P=quote))?\s*""",
    re.IGNORECASE | re.VERBOSE,
)
_TAKES = {
    "late": ("seconds", "s", "2.5 s"),
    "truncated": ("a number of bytes", "bytes", "100 bytes"),
    "error": ("a code", "", "-230"),
}


@dataclass(frozen=True)
class Fault:
    """One fault.

    Parameters
    ----------
    kind : str
        ``late``, ``no reply``, ``truncated``, ``garbage``, ``disconnect``, ``reboot``, ``error``.
    at : int
        Number of the message, from 1, among those with the text.
    of : str
        Text of the messages that count, in any case; empty: all.
    lasting : bool
        All later messages too.
    number : float, optional
        Seconds of a late answer, bytes that are left of a truncated one (default: half), code of an error.
    text : str, optional
        Of an error.
    """

    kind: Kind
    at: int
    of: str = ""
    lasting: bool = False
    number: float | None = None
    text: str | None = None

    def strikes(self, count: int) -> bool:
        """Whether it strikes at the `count`-th message that it watches."""
        return count == self.at or (self.lasting and count > self.at)


@runtime_checkable
class Rebootable(Protocol):
    """An emulator whose power may fail."""

    def reboot(self) -> list[Reply]:
        """Lose all that power loss loses; return what the other end notices."""


@runtime_checkable
class Queueing(Protocol):
    """An emulator with an error queue."""

    def push_error(self, code: int, text: str | None = None) -> None:
        """Add an entry."""


def parse_fault(written: str) -> tuple[str, Fault]:
    """Name of the instrument, and its fault, of ``vna: late 2.5 s at 7``.

    Raises
    ------
    InputError
        Saying what is wrong and how it is written.
    """
    name, colon, rest = written.partition(":")
    if not colon or not re.fullmatch(r"\s*[A-Za-z_]\w*\s*", name):
        raise InputError(f'fault {written!r}: begins without the name of an instrument; write "vna: late 2.5 s at 7"')
    match = _FAULT.fullmatch(rest)
    if match is None:
        raise InputError(f"fault {written!r}: not understood; write {EXAMPLES} after the name of the instrument")
    kind: Kind = " ".join(match["kind"].lower().split())  # type: ignore[assignment]
    number = None if match["number"] is None else float(match["number"])
    unit = (match["unit"] or "").lower()
    if problem := _problem(kind, number, unit, match["text"], int(match["count"])):
        raise InputError(f"fault {written!r}: {problem}")
    at, lasting = int(match["count"]), match["when"].lower() == "from"
    return name.strip(), Fault(kind, at, match["of"] or "", lasting, number, match["text"])


def _problem(kind: Kind, number: float | None, unit: str, text: str | None, count: int) -> str:
    """What is wrong with a fault, or nothing."""
    takes = _TAKES.get(kind)
    if count < 1:
        return "messages are counted from 1"
    if text is not None and kind != "error":
        return f'"{kind}" takes no text in quotes'
    if takes is None:
        return "" if number is None else f'"{kind}" takes no number; write "{kind} at {count}"'
    what, wanted, sample = takes
    if number is None:
        return "" if kind == "truncated" else f'"{kind}" needs {what}; write "{kind} {sample} at {count}"'
    if {"byte": "bytes"}.get(unit, unit) != wanted:
        return f'"{kind}" takes {what}; write "{kind} {sample} at {count}"'
    if kind != "late" and not number.is_integer():
        return f"{number:g} is not a whole number"
    if kind != "error" and number < 0:
        return f"{number:g} is less than nothing"
    return ""


class Faulty:
    """An emulator with faults; itself an emulator.

    Parameters
    ----------
    inner : Emulator
    faults : iterable of Fault
    name : str
        Of the instrument, for errors.

    Raises
    ------
    InputError
        If the instrument has nothing that could fail like this.
    """

    def __init__(self, inner: Emulator, faults: Iterable[Fault], name: str = "emulator") -> None:
        self.inner, self.faults = inner, tuple(faults)
        for fault in self.faults:
            needed = {"reboot": Rebootable, "error": Queueing}.get(fault.kind)
            if needed is not None and not isinstance(inner, needed):
                lacks = "error queue" if fault.kind == "error" else "power switch"
                raise InputError(f'fault "{fault.kind}" of {name}: this emulator has no {lacks}; leave that fault out')
        self._counts = [0] * len(self.faults)
        self._begun = bytearray()  # of a message that is not complete
        self._hung_up = False

    def connected(self) -> list[Reply]:
        self._begun.clear()
        self._hung_up = False
        return self.inner.connected()

    def receive(self, data: bytes) -> list[Reply]:
        replies: list[Reply] = []
        while not self._hung_up and (length := self._message_length(bytes(self._begun) + data)):
            end = length - len(self._begun)
            struck = self._count(bytes(self._begun) + data[:end])
            self._begun.clear()
            replies += self._strike(struck, data[:end]) if struck else self.inner.receive(data[:end])
            data = data[end:]
        if self._hung_up:
            return replies
        self._begun += data
        return replies + (self.inner.receive(data) if data else [])

    def _message_length(self, data: bytes) -> int:
        return self.inner.message_length(data) if isinstance(self.inner, Framed) else data.find(b"\n") + 1

    def reboot(self) -> list[Reply]:
        """As of the emulator inside, if it can."""
        return self.inner.reboot() if isinstance(self.inner, Rebootable) else []

    def _count(self, message: bytes) -> list[Fault]:
        """Count a message; the faults that strike at it."""
        text = message.decode("latin-1").upper()
        struck = []
        for index, fault in enumerate(self.faults):
            if fault.of.upper() in text:
                self._counts[index] += 1
                if fault.strikes(self._counts[index]):
                    struck.append(fault)
        return struck

    def _strike(self, faults: list[Fault], message: bytes) -> list[Reply]:
        kinds = {fault.kind for fault in faults}
        if "reboot" in kinds:
            return self._hanging_up(self.reboot())
        if "disconnect" in kinds:
            return self._hanging_up([(0.0, None)])
        replies = self.inner.receive(message)
        for fault in faults:
            replies = self._spoil(fault, replies)
        return replies

    def _hanging_up(self, replies: list[Reply]) -> list[Reply]:
        self._hung_up = any(data is None for _, data in replies)
        return replies

    def _spoil(self, fault: Fault, replies: list[Reply]) -> list[Reply]:
        if fault.kind == "late":
            return [(delay_s + (fault.number or 0.0), data) for delay_s, data in replies]
        if fault.kind == "no reply":
            return []
        if fault.kind == "truncated":
            whole = b"".join(data or b"" for _, data in replies)
            left = whole[: len(whole) // 2 if fault.number is None else int(fault.number)]
            return [(replies[0][0], left)] if left else []
        if fault.kind == "garbage":
            noise = random.Random(fault.at)  # the same every time
            return [(delay_s, data and _garbled(data, noise)) for delay_s, data in replies]
        if isinstance(self.inner, Queueing):
            self.inner.push_error(int(fault.number or 0), fault.text)
        return replies


def _garbled(data: bytes, noise: random.Random) -> bytes:
    """Other bytes, as many; with a line feed at the end they are taken for an answer, which is worse than none."""
    end = b"\n" if data.endswith(b"\n") else b""
    return noise.randbytes(len(data) - len(end)) + end
