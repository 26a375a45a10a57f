"""ScpiInstrument: questions, answers, blocks and errors of instruments that speak SCPI over IEEE 488.2.

Messages end in a line feed in both directions. An instrument says nothing of an order that it could not follow; it
notes an error in a queue. That is emptied once a step (opening, configuring, a sweep), which costs one question, and
whatever is found there is told together with the commands since the last time.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from labtrain.clock import Clock
from labtrain.drivers.blocks import NotABlock, read_block
from labtrain.drivers.emulators.simulation import written
from labtrain.drivers.fitting import drivers_for
from labtrain.drivers.instrument import Instrument, InstrumentConfig
from labtrain.drivers.link import Link
from labtrain.errors import InstrumentError, LinkDesync, LinkError, LinkTimeout

T = TypeVar("T")

EMULATOR = "EMULATOR"  # in the field of the serial number

_TOLD = 5  # commands named in an error
_LONGEST_QUEUE = 100  # errors after which the queue is taken never to end
_STALE_LINES = 100_000  # lines read in search of the fence before the instrument is taken to talk by itself
_EXPLAIN_S = 1.0  # spent on asking an instrument that stays silent whether it understood the question
_COMMAND_ERRORS = range(-199, -99)  # SCPI 1999, 21.8.9: the message was not understood
_UNTERMINATED = -420  # SCPI 1999, 21.8.12: an answer was read to which there was no question


@dataclass(frozen=True)
class Identity:
    """The four fields of ``*IDN?``; empty where an instrument leaves one out."""

    manufacturer: str
    model: str
    serial: str
    firmware: str

    @classmethod
    def parse(cls, answer: str) -> Self:
        fields = [field.strip() for field in answer.strip().strip('"').split(",", 3)]
        return cls(*(fields + [""] * 4)[:4])


class ScpiError(InstrumentError):
    """The instrument reports errors of its own.

    Attributes
    ----------
    reports : tuple of (code, text)
    """

    def __init__(self, message: str, reports: tuple[tuple[int, str], ...] = ()) -> None:
        super().__init__(message)
        self.reports = reports

    @property
    def not_understood(self) -> bool:
        """Whether all there is to report is that a command does not exist in this instrument.

        Where answers are messages, reading the one that never came is an error of its own.
        """
        codes = {code for code, _ in self.reports} - {_UNTERMINATED}
        return bool(codes) and all(code in _COMMAND_ERRORS for code in codes)


class ScpiInstrument(Instrument):
    """An instrument that speaks SCPI.

    Parameters
    ----------
    link : Link
    config : InstrumentConfig
    clock : Clock
    """

    MODELS: ClassVar[str]
    """Regular expression for ``manufacturer,model`` of the instruments this driver is for, in any case."""

    def __init__(self, link: Link, config: InstrumentConfig, clock: Clock) -> None:
        super().__init__(link, config, clock)
        self.fence_timeout_s = link.timeout_s
        """How long the instrument may be busy with what came before the fence."""
        self._said: deque[str] = deque(maxlen=_TOLD + 1)
        self._event_mask = 0
        self._fences = 0
        self._explaining = False

    def open(self) -> None:
        super().open()
        self.check_errors()

    def restore(self, settings: dict[str, Any]) -> None:
        super().restore(settings)
        self.check_errors()

    # -- questions and orders ------------------------------------------------------------------------------------

    def ask(self, question: str, timeout_s: float | None = None) -> str:
        """Send a question and return the answer, a line of text.

        Parameters
        ----------
        question : str
        timeout_s : float, optional
            Longest silence, for questions that take their time.

        Raises
        ------
        LinkError
        ScpiError
            If there is no answer, and the instrument says why.
        """
        with self._asking(question):
            answer = self.link.read_until(b"\n", timeout_s)
        return answer.decode("ascii", "backslashreplace").strip()

    def tell(self, order: str) -> None:
        """Send an order; whether it was followed shows in :meth:`check_errors`."""
        self._said.append(order)
        self.link.write(order.encode("ascii") + b"\n")

    def ask_as(self, cast: Callable[[str], T], question: str) -> T:
        """The answer to a question as a value.

        Raises
        ------
        LinkError, ScpiError
            As of :meth:`ask`.
        InstrumentError
            If `cast` cannot read the answer.
        """
        return self._as(cast, question, self.ask(question))

    def _as(self, cast: Callable[[str], T], question: str, answer: str) -> T:
        try:
            return cast(answer)
        except ValueError:
            raise self.confused(question, answer, "a value") from None

    def ask_block(
        self, question: str, count: int | None = None, dtype: DTypeLike = "<f8", timeout_s: float | None = None
    ) -> NDArray[Any]:
        """Send a question and return the binary block that answers it, (count,), read-only.

        Parameters
        ----------
        question : str
        count : int, optional
            Numbers there must be; without it any, but not in a block of indefinite length.
        dtype : dtype
            Size and byte order of each: ``<f8``, ``>f4``, ``<c16`` for pairs.
        timeout_s : float, optional
            Longest silence before the block begins.

        Raises
        ------
        LinkError, ScpiError
            As of :meth:`ask`.
        InstrumentError
            If something else than such a block came.
        """
        kind = np.dtype(dtype)
        with self._asking(question):
            try:
                data = read_block(self.link, None if count is None else count * kind.itemsize, timeout_s)
                if (len(data) - 1) % kind.itemsize:
                    raise NotABlock(f"a block of {len(data) - 1} bytes")
            except NotABlock as error:
                wanted = "" if count is None else f"{count} numbers, "
                size = kind.itemsize if count is None else count * kind.itemsize
                raise self._nonsense(question, str(error), f"{wanted}a block of {size} bytes") from None
        return np.frombuffer(data, dtype=kind, count=(len(data) - 1) // kind.itemsize)

    def ask_numbers(self, question: str, timeout_s: float | None = None) -> NDArray[np.float64]:
        """Send a question and return the list of numbers, text separated by commas, that answers it."""
        answer = self.ask(question, timeout_s)
        try:
            return np.array(answer.split(","), dtype=np.float64)
        except ValueError:
            raise self.confused(question, answer, "numbers") from None

    def ask_if_known(self, question: str) -> str | None:
        """The answer to a question that not every firmware understands; None from one that does not.

        Costs a second where it is not understood: an instrument that does not know a question stays silent.
        """
        try:
            return self.ask(question, timeout_s=_EXPLAIN_S)
        except ScpiError as error:
            if error.not_understood:
                return None
            raise

    @contextmanager
    def _asking(self, question: str) -> Iterator[None]:
        try:
            with self.link.exchange():
                self._said.append(question)
                self.link.write(question.encode("ascii") + b"\n")
                yield
        except LinkTimeout as error:
            self._explain()
            raise self.unanswered(question, error) from error

    def _nonsense(self, question: str, got: str, wanted: str) -> InstrumentError:
        self.link.dirty = True
        return InstrumentError(
            f"{self.name}: asked {question!r} for {wanted}, got {got}; check that the driver fits the instrument "
            f"(rig.{self.link.who}.driver){self.let_pass}"
        )

    # -- the error queue -----------------------------------------------------------------------------------------

    def check_errors(self) -> None:
        """Empty the error queue: one question if all is well.

        Raises
        ------
        ScpiError
            With every error found there, and the commands since the last time.
        """
        reports = self._emptied_queue()
        said = list(self._said)
        self._said.clear()
        if reports:
            listed = ", ".join(f'{code} "{text}"' for code, text in reports)
            earlier = "... " if len(said) > _TOLD else ""
            raise ScpiError(
                f"{self.name}: reports {listed} after {earlier}{', '.join(map(repr, said[-_TOLD:]))}; "
                f"check the settings under rig.{self.link.who}{self.let_pass}",
                reports,
            )

    def _emptied_queue(self) -> tuple[tuple[int, str], ...]:
        reports: list[tuple[int, str]] = []
        while len(reports) < _LONGEST_QUEUE:
            try:
                with self.link.exchange():
                    self.link.write(b"SYST:ERR?\n")
                    answer = self.link.read_until(b"\n").decode("ascii", "backslashreplace").strip()
            except LinkTimeout as error:
                raise self.unanswered("SYST:ERR?", error) from error
            code, _, told = answer.partition(",")
            try:
                number = int(code)
            except ValueError:
                raise self.confused("SYST:ERR?", answer, "an error") from None
            if number == 0:
                break
            reports.append((number, told.strip().strip('"')))
        return tuple(reports)

    def _explain(self) -> None:
        """A question went unanswered: raise what the instrument has to say about it, if it says anything."""
        patience_s, self.fence_timeout_s = self.fence_timeout_s, _EXPLAIN_S
        self._explaining = True
        try:
            self.link.resynchronise()
            self.check_errors()
        except LinkError:
            self.link.dirty = True
        finally:
            self.fence_timeout_s, self._explaining = patience_s, False

    # -- identity ------------------------------------------------------------------------------------------------

    @property
    def emulated(self) -> bool:
        """Whether the serial number says that this is an emulator."""
        return EMULATOR in Identity.parse(self.identity).serial.upper()

    def _identify(self) -> str:
        return self.ask("*IDN?")

    def _check_identity(self, identity: str) -> None:
        if not self.fits(identity):
            who, driver = f"rig.{self.link.who}", self.Config.model_fields["driver"].default
            others = " or ".join(drivers_for(identity))
            remedy = (
                f"set {who}.driver to {others}, or correct {self.link.where}"
                if others
                else (f"correct {self.link.where} or {who}.driver, or set {who}.identity to any")
            )
            raise InstrumentError(
                f"{self.name}: {identity!r} answers, and driver {driver} is for {self.MODELS_TOLD}; {remedy}"
            )

    @classmethod
    def fits(cls, identity: str) -> bool:
        found = Identity.parse(identity)
        return re.fullmatch(cls.MODELS, f"{found.manufacturer},{found.model}", re.IGNORECASE) is not None

    def _prepare(self) -> None:
        self._event_mask = self.ask_as(integer, "*ESE?")
        self.tell(f"*ESE {self._event_mask}")  # some instruments clear it when it is read
        self.tell("*CLS")  # errors that somebody else left in the queue
        self._said.clear()

    # -- the fence -----------------------------------------------------------------------------------------------

    def _synchronise(self) -> None:
        """Discard every answer under way: lines, blocks and parts of blocks.

        Answers come in the order of the questions. So a value is written that nobody had any reason to write, the
        event status mask, and read until it comes back: whatever came before is stale. The rest of a block may have
        no line feed and run into the first answer, which therefore need only end in the value; and stale bytes may
        look like it by chance, which is why a second, different value must come as a line of its own. Values differ
        between any two fences near each other, so a late answer to one cannot pass for an answer to the next.

        Errors noted by then belong to what was broken off, which has failed already.
        """
        first, second = (100 + 37 * (2 * self._fences + step) % 155 for step in (0, 1))
        self._fences += 1
        self.link.write(b"\n")  # ends an order of which only a part was sent
        self._await_fence(first, alone=False)
        self._await_fence(second, alone=True)
        self.link.write(f"*ESE {self._event_mask}{'' if self._explaining else ';*CLS'}\n".encode("ascii"))

    def _await_fence(self, value: int, *, alone: bool) -> None:
        self.link.write(f"*ESE {value};*ESE?\n".encode("ascii"))
        wanted = str(value).encode("ascii")
        for _ in range(_STALE_LINES):
            line = self.link.read_until(b"\n", self.fence_timeout_s).strip()
            if line.removeprefix(b"+") == wanted if alone else line.endswith(wanted):
                return
        raise LinkDesync(f"{self.name}: talks without being asked; check that no other program uses it")

    # -- simulation ----------------------------------------------------------------------------------------------

    def simulate_restart(self, seed: int) -> None:
        """Shot 0 again, with this seed for noise and drift: for emulators alone."""
        self._simulate(f"SIM:REST {seed}")

    def simulate_shot(self, shot: int) -> None:
        """The next reading belongs to this shot, whatever came before: for emulators alone, when a shot is repeated."""
        self._simulate(f"SIM:SHOT {shot}")

    def simulate_disturb(self, shot: int, name: str, values: dict[str, Any]) -> None:
        """Something happens to the world behind it, from this shot on: for emulators alone."""
        self._simulate(f"SIM:DIST '{written(shot, name, values)}'")

    def _simulate(self, order: str) -> None:
        if not self.emulated:
            raise InstrumentError(f"{self.name}: asked {order!r} of {self.identity!r}, which is not an emulator")
        # Acknowledged, because what follows may go to another instrument in front of the same world.
        self.ask(f"{order};*OPC?")
        self.check_errors()


def boolean(answer: str) -> bool:
    """``1``, ``+1``, ``ON`` and their opposites."""
    found = {"1": True, "ON": True, "0": False, "OFF": False}.get(answer.strip().lstrip("+").upper())
    if found is None:
        raise ValueError(answer)
    return found


def integer(answer: str) -> int:
    """A whole number, also as instruments write it: ``+2.01000000000E+002``."""
    value = float(answer)
    if not value.is_integer():
        raise ValueError(answer)
    return int(value)


def text(answer: str) -> str:
    """Text, without the quotes around it."""
    return answer.strip().strip("\"'")
