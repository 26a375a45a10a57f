"""The core of emulators that speak SCPI over IEEE 488.2: command table, message exchange, common commands, status.

An instrument is a subclass; its commands are methods, declared as its manual writes them:

    @command("SENSe#:SWEep:GROups:COUNt", Number(1, 2e6, whole=True))
    def set_groups(self, channel: int, count: int) -> None: ...

    @query("CALCulate#:DATA?", Choice("SDATA", "FDATA"))
    def data(self, channel: int, which: str) -> bytes: ...

The capital letters of a keyword are its short form; ``[:KEYword]`` may be left out; ``#`` takes a number, 1 if none is
given; ``A|B`` are two names of one node. A method gets the numbers, then the parameters. What only stores a value and
tells it again is a :class:`Setting`.

Whatever cannot be understood leaves a code in the error queue and is answered by nothing at all. After a command error
(-1xx) the rest of the message is dropped, after any other error the next unit is carried out. What goes over a byte
stream cannot be interrupted, and nobody sees whether it is read: the query errors -410 and -420 of message-based buses
do not come up here, but in ``serving/exchange.py``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from typing import Any, ClassVar, NamedTuple

from labtrain.clock import Clock
from labtrain.drivers.emulators.emulator import Reply
from labtrain.drivers.emulators.scpi.status import OPC, ScpiError, Status
from labtrain.drivers.emulators.scpi.syntax import Framer, units
from labtrain.drivers.emulators.scpi.table import DECLARED, Answer, Entry, Method, Setting, Table, command, query
from labtrain.drivers.emulators.scpi.values import Number, nr1, nr3, quoted

_REMEMBERED = 512  # messages whose parsed form is kept
_LONGEST_REMEMBERED = 256  # bytes


class Call(NamedTuple):
    """A message unit ready to be carried out, or, without a method, its error."""

    query: bool
    method: Method | None
    arguments: tuple[Any, ...]
    error: int = 0


class ScpiEmulator:
    """Base of emulators that speak SCPI. A subclass has what :meth:`reset` needs before it calls this constructor.

    Parameters
    ----------
    clock : Clock
        Tells when operations that take time are over; an instrument that does everything at once never reads it.
    """

    identity: ClassVar[str]
    """Answer to ``*IDN?``."""

    SETTINGS: ClassVar[tuple[Setting, ...]] = ()

    options: ClassVar[str] = "0"
    """Answer to ``*OPT?``; 0 as IEEE 488.2, 10.20 has it for an instrument without any."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._framer = Framer()
        self._message_available = False
        self._remembered: dict[bytes, tuple[Call, ...]] = {}
        self._power_on()

    def _power_on(self) -> None:
        self.status = Status()
        self._framer.clear()
        self._now_s = self._free_s = 0.0
        self._completion_awaited = False
        self.reset()

    @classmethod
    @cache
    def table(cls) -> Table:
        """All commands, found by header."""
        return Table(cls.entries())

    @classmethod
    @cache
    def entries(cls) -> tuple[Entry, ...]:
        """All commands that the class and its bases declare."""
        bases = [vars(base) for base in reversed(cls.__mro__)]
        members = (member for base in bases for member in base.values())
        declared = (entry.bind(cls) for member in members for entry in getattr(member, DECLARED, ()))
        stored = (entry for base in bases for setting in base.get("SETTINGS", ()) for entry in setting.entries(cls))
        return (*declared, *stored)

    # -- for subclasses ------------------------------------------------------------------------------------------

    @staticmethod
    def written(number: float) -> str:
        """A number in an answer."""
        return nr1(number) if isinstance(number, int) else nr3(number)

    def reset(self) -> None:
        """All settings as after ``*RST``; whatever is under way is given up. Called once before anything arrives."""

    @property
    def busy_until_s(self) -> float:
        """When all that has been begun is over, on the clock; infinite if it waits for somebody."""
        return 0.0

    @property
    def now_s(self) -> float:
        """When the unit in hand is carried out: not before the instrument has finished waiting for earlier ones."""
        return self._now_s

    def wait(self) -> None:
        """What follows is carried out only when everything begun is over."""
        self._now_s = max(self._now_s, self.busy_until_s)

    # -- for the other end, and for those who script faults ------------------------------------------------------

    def connected(self) -> list[Reply]:
        """Unfinished input is forgotten; the instrument says nothing."""
        self._framer.clear()
        self._free_s = 0.0
        return []

    def receive(self, data: bytes) -> list[Reply]:
        arrived_s = self.clock.monotonic()
        self._now_s = max(arrived_s, self._free_s)
        replies: list[Reply] = []
        for message in self._framer.feed(data):
            if message is None:
                self.status.push(-363)
            elif answer := self._carry_out(message):
                replies.append((self._now_s - arrived_s, answer + b"\n"))
        self._free_s = self._now_s
        return replies

    def reboot(self) -> list[Reply]:
        """Power fails and comes back: settings are lost, and so is the connection."""
        self._power_on()
        return [(0.0, None)]

    def push_error(self, code: int, text: str | None = None) -> None:
        """An entry in the error queue that no command caused."""
        self.status.push(code, text)

    def status_byte(self, *, message_available: bool) -> int:
        """The status byte as a serial poll reads it, between two messages."""
        self._now_s = self.clock.monotonic()
        self._note_completion()
        return self.status.byte(message_available=message_available)

    # -- message exchange ----------------------------------------------------------------------------------------

    def _carry_out(self, message: bytes) -> bytes | None:
        calls = self._remembered.get(message)
        if calls is None:
            calls = tuple(self._understand(message))
            if len(message) <= _LONGEST_REMEMBERED:
                if len(self._remembered) >= _REMEMBERED:
                    self._remembered.clear()
                self._remembered[message] = calls
        answers: list[bytes] = []
        for asked, method, arguments, error in calls:
            self._message_available = bool(answers)
            try:
                if method is None:
                    raise ScpiError(error)
                answer = method(self, *arguments)
            except ScpiError as refused:
                self.status.push(refused.code, refused.text)
                continue
            if isinstance(answer, int | float):
                answer = self.written(answer)
            if asked and answer is not None:
                answers.append(answer if isinstance(answer, bytes) else answer.encode("latin-1"))
        return b";".join(answers) if answers else None

    def _understand(self, message: bytes) -> Iterator[Call]:
        ended = False  # an indefinite answer is the last one
        try:
            for unit in units(message):
                try:
                    entry, numbers = self.table().find(unit.header, query=unit.query)
                    values = entry.values(unit.data)
                except ScpiError as refused:
                    if refused.code > -200:
                        raise
                    yield Call(unit.query, None, (), refused.code)
                    continue
                if unit.query and ended:
                    yield Call(True, None, (), -440)
                    continue
                ended |= entry.indefinite
                yield Call(unit.query, entry.method, (*numbers, *values))
        except ScpiError as refused:
            yield Call(False, None, (), refused.code)

    # -- common commands (IEEE 488.2, 10) ------------------------------------------------------------------------

    @query("*IDN?", indefinite=True)
    def _identification(self) -> Answer:
        return self.identity

    @query("*OPT?", indefinite=True)
    def _options(self) -> Answer:
        return self.options

    @query("*TST?")
    def _self_test(self) -> Answer:
        return 0

    @command("*RST")
    def _reset(self) -> None:
        self._completion_awaited = False
        self.reset()

    @command("*CLS")
    def _clear_status(self) -> None:
        self._completion_awaited = False
        self.status.clear()

    @command("*ESE", Number(0, 255, whole=True))
    def _set_event_mask(self, mask: int) -> None:
        self.status.event_mask = mask

    @query("*ESE?")
    def _event_mask(self) -> Answer:
        return self.status.event_mask

    @query("*ESR?")
    def _events(self) -> Answer:
        self._note_completion()
        return self.status.read_events()

    @command("*SRE", Number(0, 255, whole=True))
    def _set_service_mask(self, mask: int) -> None:
        self.status.service_mask = mask & ~64

    @query("*SRE?")
    def _service_mask(self) -> Answer:
        return self.status.service_mask

    @query("*STB?")
    def _status_byte(self) -> Answer:
        self._note_completion()
        return self.status.byte(message_available=self._message_available)

    @command("*OPC")
    def _announce_completion(self) -> None:
        self._completion_awaited = True
        self._note_completion()

    def _note_completion(self) -> None:
        if self._completion_awaited and self.busy_until_s <= self._now_s:
            self._completion_awaited = False
            self.status.events |= OPC

    @query("*OPC?")
    def _completion(self) -> Answer:
        """Answered when everything is over; never, if that waits for a trigger which this session does not send."""
        if self.busy_until_s == math.inf:
            return None
        self.wait()
        return 1

    @command("*WAI")
    def _wait(self) -> None:
        if self.busy_until_s < math.inf:
            self.wait()

    # -- what SCPI requires of every instrument (SCPI 1999, 4.2) -------------------------------------------------

    @query("SYSTem:ERRor[:NEXT]?")
    def _next_error(self) -> Answer:
        return self._error(*self.status.pop())

    @query("SYSTem:ERRor:ALL?")
    def _all_errors(self) -> Answer:
        return ",".join(self._error(*self.status.pop()) for _ in range(max(1, len(self.status))))

    @query("SYSTem:ERRor:COUNt?")
    def _error_count(self) -> Answer:
        return len(self.status)

    @query("SYSTem:VERSion?")
    def _version(self) -> Answer:
        return "1999.0"

    def _error(self, code: int, text: str) -> str:
        return f"{self.written(code)},{quoted(text)}"
