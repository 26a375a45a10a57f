"""What holds for every registered driver, whoever wrote it."""

from __future__ import annotations

import inspect
import sys
from typing import Any, get_args

import pytest

from labtrain import registry
from labtrain.config import Registered
from labtrain.drivers.instrument import Command, Instrument, InstrumentConfig
from labtrain.drivers.link import Link
from labtrain.drivers.scpi import integer
from labtrain.limits import Limit

NAMES = registry.names("drivers")
every_driver = pytest.mark.parametrize("name", NAMES)


def commands(*, settable: bool = False) -> list[Any]:
    """All commands of all drivers, with ids that name them."""
    return [
        pytest.param(driver(name), command, id=f"{name}.{attribute}")
        for name in NAMES
        for attribute, command in driver(name).commands().items()
        if command.set is not None or not settable
    ]


def driver(name: str) -> type[Instrument]:
    found = registry.resolve("drivers", name)
    assert isinstance(found, type) and issubclass(found, Instrument)
    return found


class Untouchable:
    """A clock nobody may look at."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"clock.{name} in a constructor")


def touched(*args: Any, **kwargs: Any) -> Any:
    raise AssertionError("input or output in a constructor")


def methods(cls: type) -> list[str]:
    return [n for n, value in vars(cls).items() if inspect.isfunction(value) and not n.startswith("__")]


UnusableLink: type[Link] = type("UnusableLink", (Link,), dict.fromkeys(methods(Link), touched))


def make(name: str) -> Instrument:
    cls = driver(name)
    return cls(UnusableLink(name, "nowhere", Untouchable()), cls.Config(), Untouchable())


def test_there_are_drivers() -> None:
    assert {"keysight-pna", "open-source-ris"} <= set(NAMES)


@every_driver
def test_it_is_documented(name: str) -> None:
    cls = driver(name)
    for what in (sys.modules[cls.__module__], cls, cls.Config):
        assert (vars(what).get("__doc__") or "").strip(), what
    for attribute, member in vars(cls).items():
        if inspect.isfunction(member) and not attribute.startswith("_"):
            assert inspect.getdoc(getattr(cls, attribute)), f"{attribute} has no docstring, nor has its base"


@every_driver
def test_its_config_is_its_own_and_described(name: str) -> None:
    cls = driver(name)
    config = vars(cls).get("Config")
    assert isinstance(config, type) and issubclass(config, InstrumentConfig), "a nested Config of its own"
    undescribed = [key for key, field in config.model_fields.items() if not field.description and key != "driver"]
    assert undescribed == []
    assert config().address == "sim", "defaults for everything, so that a dry run needs no keys"


@every_driver
def test_its_name_is_the_tag_of_its_config(name: str) -> None:
    tag = driver(name).Config.model_fields["driver"]
    assert get_args(tag.annotation) == (name,)
    assert tag.default == name
    assert Registered("drivers", tag="driver").config(name) is driver(name).Config


@every_driver
def test_its_constructor_does_nothing_but_store(name: str) -> None:
    instrument = make(name)
    assert instrument.identity == ""
    assert instrument.link.synchronise is not None


@every_driver
def test_it_knows_its_safe_state(name: str) -> None:
    cls = driver(name)
    assert not inspect.isabstract(cls)
    assert cls.safe is not Instrument.safe
    assert cls.by_hand.strip()
    make(name).safe()  # never opened: there is nothing it could have switched on, and nobody to talk to


@pytest.mark.parametrize(("cls", "command"), commands())
def test_a_command_says_what_it_is(cls: type[Instrument], command: Command[Any]) -> None:
    assert command.what.strip() and command.what[0] + command.what[1:] == command.what.strip()
    assert command.get is not None or command.set is not None
    assert command.get is None or command.get.split(" ")[0].endswith("?") or command.get.startswith("?")
    assert command.__doc__


@pytest.mark.parametrize(("cls", "command"), commands(settable=True))
def test_a_command_that_sets_says_what_is_allowed(cls: type[Instrument], command: Command[Any]) -> None:
    assert command.set is not None and command.set.count("{}") == 1
    assert command.get is not None or not command.kept, "what cannot be read cannot be put back"
    numeric = command.cast in (float, int, integer)
    assert command.limits is not None or command.choices is not None or not numeric, "limits or choices"
    assert command.unit or command.cast is not float, "a unit"
    if isinstance(command.limits, str):
        instrument = make(cls.Config.model_fields["driver"].default)
        assert isinstance(command.limits_of(instrument), Limit)
