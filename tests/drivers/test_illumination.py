"""A laser or a shutter behind a function: called when it must be, and what it says when it does not obey."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from labtrain.clock import SimulatedClock
from labtrain.drivers.illumination import PythonSwitch
from labtrain.errors import InputError, LinkClosed

SWITCH = """
calls = []
fails = False

def light(on):
    if fails:
        raise OSError("no answer from the shutter.\\nand more")
    calls.append(on)

number = 7
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module of somebody's laboratory."""
    (tmp_path / "my_laser.py").write_text(SWITCH)
    monkeypatch.syspath_prepend(str(tmp_path))
    import importlib
    import sys

    monkeypatch.delitem(sys.modules, "my_laser", raising=False)
    yield importlib.import_module("my_laser")
    monkeypatch.delitem(sys.modules, "my_laser", raising=False)


def switch(call: str = "my_laser:light", **keys: Any) -> PythonSwitch:
    return PythonSwitch.make("illumination", PythonSwitch.Config(call=call, **keys), SimulatedClock())


def test_it_is_off_once_opened_on_when_told_and_off_when_safe(mine: Any) -> None:
    light = switch(wait_s=0.5)
    light.safe()
    assert not mine.calls
    with light:
        assert mine.calls == [False] and not light.on
        light.switch(True)
        light.switch(True)
        assert mine.calls == [False, True] and light.on
        assert light.clock.monotonic() == 1.0, "half a second for each call"
        light.safe()
        light.safe()
        assert mine.calls == [False, True, False, False], "safe() does not rely on what it remembers"
        light.switch(True)
    assert mine.calls[-1] is False and not light.is_open
    assert (light.name, light.where) == ("illumination (my_laser:light)", "rig.illumination.call")
    assert light.canonical == "switch:my_laser:light" and not light.emulated


def test_one_that_does_not_obey_is_not_taken_for_switched(mine: Any) -> None:
    with switch() as light:
        light.switch(True)
        mine.fails = True
        for _ in range(2):
            with pytest.raises(
                LinkClosed,
                match=r"^illumination \(my_laser:light\): switching it off failed, it says: no answer from the "
                r"shutter; check it, and rig.illumination.call$",
            ):
                light.switch(False)
            assert not light.on
        mine.fails = False
        light.switch(True)
        assert mine.calls == [False, True, True], "nobody knew what it was"


def test_at_sim_it_is_what_the_rig_says() -> None:
    seen: list[bool] = []
    light = PythonSwitch.make("illumination", PythonSwitch.Config(), SimulatedClock(), seen.append)
    with light:
        light.switch(True)
        assert light.emulated and light.canonical is None and light.identity == "labtrain simulated light"
    assert seen == [False, True, False]
    with pytest.raises(
        InputError, match=r"^illumination \(sim\): nothing is simulated here; set rig.illumination.call$"
    ):
        PythonSwitch.make("illumination", PythonSwitch.Config(), SimulatedClock())


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (
            "my_laser:lihgt",
            "cannot be found (module 'my_laser' has no attribute 'lihgt'); correct rig.illumination.call",
        ),
        ("no_laser:light", "cannot be found (No module named 'no_laser'); correct"),
        ("my_laser:number", "is no function, but 7; correct rig.illumination.call"),
    ],
)
def test_functions_that_are_none(mine: Any, call: str, told: str) -> None:
    for act in ("check", "open"):
        with pytest.raises(InputError, match=re.escape(f"illumination ({call}): {told}")):
            getattr(switch(call), act)()


@pytest.mark.parametrize("call", ["my_laser", "my laser:light", ":light", "my_laser:"])
def test_names_that_are_none(call: str) -> None:
    with pytest.raises(ValidationError, match="names no function; write module:function, or sim"):
        PythonSwitch.Config(call=call)
