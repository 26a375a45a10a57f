"""YAML as read and written here: YAML 1.2 scalars, refusals with lines, round trips."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from labtrain.config import Section, dump, loads
from labtrain.errors import ConfigError


class Free(Section):
    values: dict[str, Any]


def test_scalars_follow_yaml_1_2() -> None:
    text = "values: {a: yes, b: off, c: true, d: 3.0, e: ~, f: 1_0, g: -2e-4, h: !!str 12, 1: '1', on: [&v 1, *v]}"
    assert loads(text, Free).value.values == {
        "a": "yes",
        "b": "off",
        "c": True,
        "d": 3.0,
        "e": None,
        "f": "1_0",
        "g": -2e-4,
        "h": "12",
        "1": "1",
        "on": [1, 1],
    }


def test_yaml_that_a_config_does_not_need() -> None:
    text = """\
values:
  a: &a {b: *a}
  ? [1]
  : 2
  c: !!python/name:os.x 3
  d: !!bool yes
  <<: {e: 1}
  f: .nan
"""
    with pytest.raises(ConfigError) as caught:
        loads(text, Free, "lab.yaml")
    assert str(caught.value).splitlines() == [
        "lab.yaml:2: values.a.b: an alias cannot contain itself",
        "lab.yaml:3: values: a list or a mapping cannot be a key",
        "lab.yaml:5: values.c: the tag !!python/name:os.x cannot be used here; write plain YAML",
        "lab.yaml:6: values.d: the tag !!bool cannot be used here; write plain YAML",
        "lab.yaml:7: values: merge keys (<<) are not supported; write the keys out",
        "lab.yaml:8: values.f: nan is not allowed, must be a finite number",
    ]


class Point(Section):
    x: float
    label: str


class Everything(Section):
    text: str
    number: float
    count: int
    flag: bool
    several: tuple[float, ...]
    named: dict[str, str | int | None]
    nested: list[Point]


SPOKEN = st.sampled_from(
    [
        "1e3",
        "\x85",
        "a\u2028",
        "yes",
        "010",
        "null",
        "~",
        "",
        "12:30:00",
        "<<",
        "0x1F",
        ".inf",
        "# a",
        "a: b",
        " x",
        "1_0",
    ]
)
TEXT = st.text(max_size=20) | SPOKEN
FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.builds(
        Everything,
        text=TEXT,
        number=FINITE,
        count=st.integers(),
        flag=st.booleans(),
        several=st.lists(FINITE, max_size=4).map(tuple),
        named=st.dictionaries(TEXT, TEXT | st.integers() | st.none(), max_size=4),
        nested=st.lists(st.builds(Point, x=FINITE, label=TEXT), max_size=3),
    )
)
def test_dump_and_loads_are_inverse(value: Everything) -> None:
    text = dump(value)
    assert loads(text, Everything).value == value
    # Read by YAML 1.1 rules, text is still text.
    assert yaml.safe_load(text)["text"] == value.text
