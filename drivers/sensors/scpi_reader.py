"""ScpiReader, what sensors with configured questions share: asking, reading, and falling back into step.

Many small instruments know ``*IDN?`` and their own questions, but neither an error queue nor ``*ESE``, which is what
brings other SCPI instruments back in step. Theirs (``ieee_488: false``) is the question who they are: no reading can be
mistaken for its answer, nor its answer for a reading.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

from pydantic import Field, model_validator

from labtrain.drivers.instrument import InstrumentConfig
from labtrain.drivers.scpi import EMULATOR, ScpiInstrument
from labtrain.drivers.sensors.question import OutOfRange, Question, is_reading
from labtrain.drivers.sensors.sensor import Sensor
from labtrain.errors import InstrumentError, LinkDesync, LinkTimeout
from labtrain.limits import Limit

_HAILS = 6  # questions who it is, until two answers in succession agree


class ScpiReaderConfig(InstrumentConfig):
    """Keys of every sensor with configured questions."""

    model: str | None = Field(
        None, min_length=1, description="text that must be in what it says of itself; left out: anything will do"
    )
    identify: str = Field(
        "*IDN?", min_length=1, pattern=r"^[ -~]+$", description="question whose answer says who it is, and no more"
    )
    ieee_488: bool = Field(
        True, description="whether it knows *ESE, *CLS and SYST:ERR?; false for small ones that do not"
    )
    question_end: str = Field("\n", min_length=1, max_length=2, description="what ends a question")
    answer_end: str = Field("\n", min_length=1, max_length=2, description="what ends an answer")
    baud: int = Field(9600, ge=1, description="of a serial port")
    framing: str = Field("8N1", description="of a serial port: data bits, parity, stop bits")

    @model_validator(mode="after")
    def _one_protocol(self) -> Self:
        if self.ieee_488 and (self.question_end, self.answer_end, self.identify) != ("\n", "\n", "*IDN?"):
            raise ValueError("question_end, answer_end and identify are fixed where ieee_488 is true; set it to false")
        return self


class ScpiReader(ScpiInstrument, Sensor):
    """A sensor that is asked the questions of its configuration; it is told nothing else."""

    config: ScpiReaderConfig

    MODELS = ".*"

    baud = 9600
    by_hand = "nothing: it is only read"

    @classmethod
    def serial_line(cls, config: Any) -> tuple[int, str]:
        return config.baud, config.framing

    # -- reading -------------------------------------------------------------------------------------------------

    @property
    def questions(self) -> Mapping[str, Question]:
        """What is read, by name."""
        raise NotImplementedError

    @property
    def units(self) -> dict[str, str]:
        return {name: question.unit for name, question in self.questions.items()}

    @property
    def allowed(self) -> dict[str, Limit]:
        return {name: q.limit for name, q in self.questions.items() if q.limit is not None}

    def read(self) -> dict[str, float]:
        """All quantities now; questions that several of them share are asked once.

        Raises
        ------
        LinkError, ScpiError
            If it does not answer, or reports errors.
        InstrumentError
            If an answer is none.
        """
        return self.asked(self.questions)

    def asked(self, questions: Mapping[str, Question]) -> dict[str, float]:
        """The numbers that answer these questions, by name; errors as of :meth:`read`."""
        answers: dict[str, str] = {}
        found = {}
        for name, question in questions.items():
            if question.ask not in answers:
                answers[question.ask] = self.ask(question.ask)
            found[name] = self._number(name, question, answers[question.ask])
        self.check_errors()
        return found

    def _number(self, name: str, question: Question, answer: str) -> float:
        try:
            return question.value(answer)
        except OutOfRange:
            raise InstrumentError(
                f"{self.name}: asked {question.ask!r} for {name}, got {answer!r}, which stands for out of range; "
                "check its range and what is connected to it"
            ) from None
        except ValueError:
            which = f"number {question.field} of {name}" if question.field > 1 else f"the number of {name}"
            raise self.confused(question.ask, answer, which) from None

    # -- small instruments ---------------------------------------------------------------------------------------

    @contextmanager
    def _asking(self, question: str) -> Iterator[None]:
        if self.config.ieee_488:
            with super()._asking(question):
                yield
            return
        try:
            with self.link.exchange():
                self.link.write(self._framed(question))
                yield
        except LinkTimeout as error:
            raise self.unanswered(question, error) from error

    def ask(self, question: str, timeout_s: float | None = None) -> str:
        if self.config.ieee_488:
            return super().ask(question, timeout_s)
        with self._asking(question):
            return self._line(timeout_s)

    def tell(self, order: str) -> None:
        if self.config.ieee_488:
            super().tell(order)
        else:
            self.link.write(self._framed(order))

    def check_errors(self) -> None:
        """Empty the error queue, where there is one."""
        if self.config.ieee_488:
            super().check_errors()

    def _framed(self, text: str) -> bytes:
        return text.encode("ascii") + self.config.question_end.encode("latin-1")

    def _line(self, timeout_s: float | None = None) -> str:
        line = self.link.read_until(self.config.answer_end.encode("latin-1"), timeout_s)
        return line.decode("ascii", "backslashreplace").strip()

    def _prepare(self) -> None:
        if self.config.ieee_488:
            super()._prepare()

    def _synchronise(self) -> None:
        if self.config.ieee_488:
            super()._synchronise()
            return
        before = ""
        for hail in range(_HAILS):
            # What it may have begun to read of a stream ends with the first one.
            begun = self._framed("") if not hail and not self.link.messages else b""
            self.link.write(begun + self._framed(self.config.identify))
            line = self._line(self.fence_timeout_s)
            if line and line == before and not is_reading(line):
                self.link.drain()  # as many lines follow as were under way before
                return
            before = line
        raise LinkDesync(
            f"{self.name}: asked {self.config.identify!r} {_HAILS} times, never got the same answer twice; check "
            f"rig.{self.who}.identify and that no other program uses it"
        )

    # -- identity ------------------------------------------------------------------------------------------------

    @property
    def emulated(self) -> bool:
        """Whether it says of itself that it is an emulator."""
        return super().emulated if self.config.ieee_488 else EMULATOR in self.identity.upper()

    def _identify(self) -> str:
        return self.ask(self.config.identify)

    def _check_identity(self, identity: str) -> None:
        wanted = self.config.model
        if wanted is not None and wanted.casefold() not in identity.casefold():
            raise InstrumentError(
                f"{self.name}: {identity!r} answers, asked {wanted!r}; correct {self.where} or rig.{self.who}.model"
            )

    @classmethod
    def fits(cls, identity: str) -> bool:  # noqa: ARG003 (as good for one instrument as for any other)
        return False

    def safe(self) -> None:
        """Nothing: it is only read."""

    def settings(self) -> dict[str, Any]:
        """The questions, by quantity: nothing is set in the instrument."""
        return {name: question.ask for name, question in self.questions.items()}

    def restore(self, settings: dict[str, Any]) -> None:
        """Nothing was changed."""
