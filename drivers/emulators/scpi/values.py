"""Parameters of commands: what is accepted, and how values are written in answers (IEEE 488.2, 7.7 and 8.7)."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from typing import Any

from labtrain.drivers.emulators.scpi.status import ScpiError
from labtrain.drivers.emulators.scpi.syntax import Datum

_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:\s*E\s*[+-]?\d+)?)\s*([A-Z%][A-Z/%]*)?", re.IGNORECASE)
_OTHER_BASE = re.compile(r"#(?:H([0-9A-F]+)|Q([0-7]+)|B([01]+))", re.IGNORECASE)
_WHOLE = re.compile(r"[+-]?[0-9]{1,30}")
_WORD = re.compile(r"[A-Z][A-Z0-9_]*", re.IGNORECASE)
_LARGEST_EXPONENT = 32000  # IEEE 488.2, 7.7.2.4.1
_MOST_DIGITS = 256

_MULTIPLIERS = {
    "EX": 1e18, "PE": 1e15, "T": 1e12, "G": 1e9, "MA": 1e6, "K": 1e3, "": 1.0,
    "M": 1e-3, "U": 1e-6, "N": 1e-9, "P": 1e-12, "F": 1e-15, "A": 1e-18,
}  # fmt: skip


def forms(keyword: str) -> tuple[str, str]:
    """Short and long form, in upper case, of a keyword written as in manuals: ``FREQuency`` is FREQ or FREQUENCY."""
    return "".join(letter for letter in keyword if not letter.islower()), keyword.upper()


def nr1(number: int) -> str:
    """A whole number: ``+201``."""
    return f"{number:+d}"


def nr3(number: float) -> str:
    """A real number: ``+1.00000000000E+09``."""
    return f"{number:+.11E}"


def quoted(text: str) -> str:
    """A string: quotes in it are doubled."""
    return '"' + text.replace('"', '""') + '"'


class Parameter(ABC):
    """One kind of program data."""

    @abstractmethod
    def parse(self, datum: Datum) -> Any:
        """The value.

        Raises
        ------
        ScpiError
        """

    def show(self, value: Any) -> str | float:
        """The value in an answer; numbers are left for the emulator to write."""
        return str(value)

    def bind(self, emulator: type) -> Parameter:  # noqa: ARG002 (for those that depend on it)
        """The same for a class of emulators, whose limits may be its own."""
        return self


class Number(Parameter):
    """A decimal number with an optional suffix of the unit, or ``MIN``, ``MAX``, ``DEF``.

    Parameters
    ----------
    low, high : float
        Beyond them is -222.
    unit : str
        ``HZ``, ``S``, ``DBM``; without one a suffix is -138.
    default : float, optional
        What ``DEF`` stands for; without it that is -141.
    whole : bool
        Rounded to a whole number.
    """

    def __init__(
        self,
        low: float = -math.inf,
        high: float = math.inf,
        *,
        unit: str = "",
        default: float | None = None,
        whole: bool = False,
    ) -> None:
        self.low, self.high, self.unit, self.whole = low, high, unit, whole
        self.words = {"MIN": low, "MINIMUM": low, "MAX": high, "MAXIMUM": high}
        if default is not None:
            self.words |= {"DEF": default, "DEFAULT": default}

    def parse(self, datum: Datum) -> float:
        value = self.words.get(datum.text.upper(), math.nan) if datum.kind == "plain" else math.nan
        if not math.isfinite(value):
            value = int(datum.text) if self.whole and _WHOLE.fullmatch(datum.text) else self._decimal(datum)
        if not self.low <= value <= self.high or abs(value) == math.inf:
            raise ScpiError(-222)
        return round(value) if self.whole else float(value)

    def show(self, value: float) -> float:
        return round(value) if self.whole else float(value)

    def _decimal(self, datum: Datum) -> float:
        text = _plain(datum)
        if match := _OTHER_BASE.fullmatch(text):
            if len(text) > _MOST_DIGITS:
                raise ScpiError(-124)
            digits = next((group, base) for group, base in zip(match.groups(), (16, 8, 2), strict=True) if group)
            return float(int(*digits))
        match = _NUMBER.fullmatch(text)
        if match is None:
            raise ScpiError(-148 if _WORD.fullmatch(text) else -178 if text.startswith("(") else -121)
        number, suffix = "".join(match.group(1).split()), (match.group(2) or "").upper()
        mantissa, _, exponent = number.upper().partition("E")
        if exponent and (len(exponent) > 6 or abs(int(exponent)) > _LARGEST_EXPONENT):
            raise ScpiError(-123)
        if len(mantissa) > _MOST_DIGITS:
            raise ScpiError(-124)
        return float(number) * self._multiplier(suffix)

    def _multiplier(self, suffix: str) -> float:
        if not suffix:
            return 1.0
        if not self.unit:
            raise ScpiError(-138)
        prefix = suffix.removesuffix(self.unit)
        if not suffix.endswith(self.unit) or prefix not in _MULTIPLIERS:
            raise ScpiError(-131)
        # The exception of IEEE 488.2, 7.7.3: MHZ is mega, as everybody means it.
        return 1e6 if suffix == "MHZ" else _MULTIPLIERS[prefix]


class Boolean(Parameter):
    """``ON``, ``OFF`` or a number, of which zero is off."""

    def parse(self, datum: Datum) -> bool:
        text = _plain(datum).upper()
        if text in ("ON", "OFF"):
            return text == "ON"
        if _WORD.fullmatch(text):
            raise ScpiError(-224)
        return Number(whole=True).parse(datum) != 0

    def show(self, value: bool) -> str:
        return str(int(value))


class Choice(Parameter):
    """One of several keywords in short or long form; the value and the answer are the short form.

    Parameters
    ----------
    keywords : str
        As in manuals: ``SINGle``.
    """

    def __init__(self, *keywords: str) -> None:
        self.short = {form: forms(keyword)[0] for keyword in keywords for form in forms(keyword)}

    def parse(self, datum: Datum) -> str:
        text = _plain(datum).upper()
        if text not in self.short:
            raise ScpiError(-224 if _WORD.fullmatch(text) else -141)
        return self.short[text]


class Text(Parameter):
    """A string in quotes of either kind.

    Parameters
    ----------
    bare : bool
        Also without quotes, as a single word.
    """

    def __init__(self, *, bare: bool = False) -> None:
        self.bare = bare

    def parse(self, datum: Datum) -> str:
        if datum.kind == "string" or (self.bare and datum.kind == "plain" and _WORD.fullmatch(datum.text)):
            return datum.text
        raise ScpiError(-168 if datum.kind == "block" else -104)

    def show(self, value: str) -> str:
        return quoted(value)


class Word(Parameter):
    """Whatever stands there, as it is written: for settings that nothing here depends on."""

    def parse(self, datum: Datum) -> str:
        return _plain(datum)


class Rest(Parameter):
    """All data that follow, any number of them, for commands that read lists or blocks themselves."""

    def parse(self, datum: Datum) -> Datum:
        return datum


def _plain(datum: Datum) -> str:
    if datum.kind != "plain":
        raise ScpiError(-168 if datum.kind == "block" else -158)
    return datum.text
