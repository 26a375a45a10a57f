"""From answers to numbers: whatever is not exactly a number is refused, never guessed at."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from labtrain.drivers.sensors.question import NUMBER, OutOfRange, Question, is_reading


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e30, max_value=1e30), st.integers(1, 5))
def test_numbers_come_through_as_they_were_written(number: float, field: int) -> None:
    answer = ",".join(["1"] * (field - 1) + [f" {number!r} "] + ["2"])
    assert Question(ask="X?", field=field).value(answer) == number


@given(st.text(max_size=30))
def test_what_is_no_number_is_refused(text: str) -> None:
    try:
        value = Question(ask="X?").value(text)
    except ValueError:
        return
    assert math.isfinite(value)
    assert NUMBER.fullmatch(text.split(",")[0].strip())


@pytest.mark.parametrize("answer", ["", "abc", "1_000", "1.5E", "--3", "12.5 W", "0x10", "1.5\\x07", "1;2"])
def test_nearly_numbers(answer: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        Question(ask="X?").value(answer)


@pytest.mark.parametrize("answer", ["9.9E37", "-9.9E+37", "+9.91E37", "NAN", "inf"])
def test_numbers_that_stand_for_none(answer: str) -> None:
    with pytest.raises(OutOfRange):
        Question(ask="X?", scale=1e-38).value(answer)


def test_scale_offset_suffix_and_field() -> None:
    celsius = Question(ask="TEMP?", suffix=" K", offset=-273.15, field=2)
    assert celsius.value("1013.2,300.15 K") == pytest.approx(27.0)
    assert celsius.value("1013.2,300.15K") == pytest.approx(27.0)
    with pytest.raises(ValueError, match="300"):
        celsius.value("1013.2,300.15 C")
    with pytest.raises(ValueError, match="1013"):
        celsius.value("1013.2")


def test_what_makes_no_sense_is_no_question() -> None:
    for wrong in ({"scale": 0.0}, {"allowed": (2.0, 1.0)}, {"ask": "A?\nB?"}, {"ask": ""}):
        with pytest.raises(ValidationError):
            Question.model_validate({"ask": "X?"} | wrong)


def test_readings_are_told_from_names() -> None:
    assert all(map(is_reading, ["24.5", "+1.0E+3", "24.5 C", "1,2,3", "40 %"]))
    assert not any(map(is_reading, ["JULABO FP50", "Acme,1,2,3", "", "24.5 degrees", "OK"]))
