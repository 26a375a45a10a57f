"""A number that an instrument tells when asked: the question, and how to read the answer."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from labtrain.config import Section
from labtrain.limits import Limit

NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[Ee][+-]?\d+)?")

OVERRANGE = 9.9e37  # SCPI 1999, 7.2.1: 9.9E37 stands for infinity, 9.91E37 for no number


class OutOfRange(ValueError):
    """The instrument says by a number that it has none to tell."""


class Question(Section):
    """One number. In a configuration the question alone may stand for it: ``"MEAS:TEMP?"``."""

    ask: str = Field(min_length=1, max_length=200, pattern=r"^[ -~]+$", description="question, as sent")
    unit: str = Field("", max_length=16, description="of the number, once scaled")
    field: int = Field(1, ge=1, le=1000, description="which one of an answer with several, separated by commas")
    suffix: str = Field("", max_length=16, description="text that follows the number in the answer")
    scale: float = Field(1.0, description="factor from the number in the answer to that in the unit")
    offset: float = Field(0.0, description="added after that")
    allowed: tuple[float, float] | None = Field(
        None, description="lowest and highest reading that is all right; others are told, and nothing is done"
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> Question:
        if self.scale == 0:
            raise ValueError("scale 0 makes every reading the same")
        if self.allowed is not None and self.allowed[0] > self.allowed[1]:
            raise ValueError(f"allowed {list(self.allowed)}: the lowest comes first")
        return self

    @property
    def limit(self) -> Limit | None:
        """What is allowed."""
        return None if self.allowed is None else Limit(*self.allowed, self.unit)

    def value(self, answer: str) -> float:
        """The number in an answer, in the unit.

        Raises
        ------
        OutOfRange
            If it stands for overload or for no number at all.
        ValueError
            If there is no number in that place, or anything more than a number.
        """
        fields = answer.split(",")
        if len(fields) < self.field:
            raise ValueError(answer)
        text = fields[self.field - 1].strip()
        if not text.endswith(self.suffix.strip()):
            raise ValueError(answer)
        text = text.removesuffix(self.suffix.strip()).strip()
        if text.upper() in ("NAN", "INF", "+INF", "-INF") or (
            NUMBER.fullmatch(text) is not None and abs(float(text)) >= OVERRANGE
        ):
            raise OutOfRange(text)
        if NUMBER.fullmatch(text) is None:
            raise ValueError(answer)
        return float(text) * self.scale + self.offset


def _asked(value: Any) -> Any:
    return {"ask": value} if isinstance(value, str) else value


Asked = Annotated[Question, BeforeValidator(_asked)]
"""A :class:`Question`, which may be written as its text alone."""


_READING = re.compile(NUMBER.pattern + r"\s*[^\d\s,]{0,4}")


def is_reading(line: str) -> bool:
    """Whether a line is made of numbers, each with a unit at most: names of instruments are not."""
    return all(_READING.fullmatch(field.strip()) for field in line.split(","))
