"""The base of drivers: declared settings, what is checked before bytes leave, and how an instrument is left behind."""

from __future__ import annotations

import math

import pytest

from labtrain.clock import SimulatedClock
from labtrain.drivers.backends.memory import MemoryLink
from labtrain.drivers.instrument import Command, written
from labtrain.errors import InputError, InstrumentError, LinkTimeout
from labtrain.limits import Limit
from tests.lamps import Lamp, LampEmulator


class Dimmable(Lamp):
    """A lamp with more to set."""

    tint = Command("tint", get="tint?", set="tint {}", cast=str, choices=("red", "white"), key="colour")
    flash_s = Command("flash", set="flash {}", cast=float, unit="s", limits="flash_range", doc="Once.")
    hours = Command("hours of use", get="level?", cast=float, unit="h", kept=False)
    flash_range = Limit(0.01, 2)


class Setup:
    def __init__(self, trouble=None) -> None:
        self.clock = SimulatedClock()
        self.emulator = LampEmulator(trouble)
        self.lamp = Dimmable(MemoryLink("lamp", self.emulator, self.clock), Dimmable.Config(), self.clock)


@pytest.fixture
def setup() -> Setup:
    # "tint?" is answered "ok" by the plain lamp, which is as good a tint as any.
    setup = Setup()
    setup.lamp.open()
    setup.emulator.heard.clear()
    return setup


def refused(sentence: str, kind: type[Exception], do) -> None:
    with pytest.raises(kind) as caught:
        do()
    assert str(caught.value) == sentence


def test_a_setting_reads_and_writes_like_an_attribute(setup):
    setup.lamp.level = 7
    assert setup.lamp.level == 7
    setup.lamp.flash_s = 0.1
    assert setup.emulator.heard == ["level 7", "level?", "flash 0.1"]


def test_what_is_not_allowed_never_leaves(setup):
    lamp = setup.lamp
    refused(
        "lamp (sim): asked flash 3 s, allowed 0.01 s to 2 s; set rig.lamp.flash_s", InputError,
        lambda: setattr(lamp, "flash_s", 3.0),
    )  # fmt: skip
    refused(
        "lamp (sim): asked flash nan s, allowed 0.01 s to 2 s; set rig.lamp.flash_s", InputError,
        lambda: setattr(lamp, "flash_s", math.nan),
    )  # fmt: skip
    refused(
        "lamp (sim): asked tint blue, allowed red, white; set rig.lamp.colour", InputError,
        lambda: setattr(lamp, "tint", "blue"),
    )  # fmt: skip
    refused(
        "lamp (sim): the hours of use can be read but not set", InstrumentError, lambda: setattr(lamp, "hours", 1.0)
    )
    refused("lamp (sim): the flash can be set but not read", InstrumentError, lambda: lamp.flash_s)
    assert setup.emulator.heard == []


def test_an_answer_that_cannot_be_read_makes_the_link_dirty():
    setup = Setup(
        lambda lamp, word: [(0.0, b"bright\n")] if word == "level?" and lamp.heard.count("level?") > 1 else None
    )
    setup.lamp.open()
    refused(
        "lamp (sim): asked 'level?' for the level, got 'bright'; check that the driver fits the instrument",
        InstrumentError, lambda: setup.lamp.level,
    )  # fmt: skip
    assert setup.lamp.link.dirty


def test_commands_of_all_classes_in_the_order_of_their_declaration(setup):
    assert list(Dimmable.commands()) == ["level", "tint", "flash_s", "hours"]
    assert Dimmable.flash_s.__doc__ == "flash in s. Once."
    assert setup.lamp.settings() == {"level": 3, "tint": "ok"}


def test_numbers_are_written_exactly_and_short():
    values = [True, False, 3, 201.0, 0.1, 1 / 3, 5.15e9, 5150000000.25, 1e-12, -10.0, "SWAP"]
    told = ["1", "0", "3", "201", "0.1", "0.3333333333333333", "5150000000", "5150000000.25", "1e-12", "-10", "SWAP"]
    assert [written(value) for value in values] == told


def test_the_settings_found_go_back(setup):
    setup.lamp.level = 9
    setup.emulator.heard.clear()
    setup.lamp.close()
    assert setup.emulator.heard == ["level 3", "tint ok"]
    setup.lamp.close()
    assert setup.emulator.heard == ["level 3", "tint ok"]


def test_opened_again_it_still_knows_what_was_found_first(setup):
    setup.lamp.level = 9
    setup.lamp.link.close()
    setup.lamp.open()
    setup.lamp.close()
    assert setup.emulator.level == 3


@pytest.mark.parametrize("failure", [None, RuntimeError, KeyboardInterrupt])
def test_on_every_way_out_of_a_with_block_it_is_safe(failure):
    setup = Setup()
    try:
        with setup.lamp as lamp:
            lamp.tell("ON")
            assert setup.emulator.on
            if failure is not None:
                raise failure
    except BaseException as error:
        assert type(error) is failure
    assert not setup.emulator.on
    assert not setup.lamp.link.is_open


def test_a_lamp_that_is_none_leaves_nothing_open():
    setup = Setup()
    setup.emulator.is_a = "heater"
    with pytest.raises(InstrumentError), setup.lamp:
        raise AssertionError("it must not get here")
    assert setup.lamp.identity == ""
    assert not setup.lamp.link.is_open
    assert "OFF" not in setup.emulator.heard


def test_it_is_closed_even_if_settings_cannot_go_back():
    setup = Setup(lambda lamp, word: [] if word.startswith("level ") else None)
    setup.lamp.open()
    with pytest.raises(LinkTimeout):
        setup.lamp.close()
    assert not setup.lamp.link.is_open
