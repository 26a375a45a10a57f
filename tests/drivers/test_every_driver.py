"""What holds for every registered driver, whoever wrote it."""

from __future__ import annotations

import inspect
import sys
from typing import Any, get_args

import pytest

from labtrain import registry
from labtrain.config import Registered
from labtrain.drivers.device import Device, DeviceConfig
from labtrain.drivers.frames import Camera, Frames, Slm
from labtrain.drivers.frames_device import FramesDevice
from labtrain.drivers.illumination import Illumination, IlluminationConfig, PythonSwitch
from labtrain.drivers.image_camera import CameraConfig, ImageCamera
from labtrain.drivers.instrument import Command, Instrument, InstrumentConfig
from labtrain.drivers.light_modulator import ModulatorConfig
from labtrain.drivers.link import Link
from labtrain.drivers.metasurface.vendor import VendorConfig, VendorMetasurface
from labtrain.drivers.scpi import integer
from labtrain.drivers.sound import SoundConfig, SoundInterface
from labtrain.drivers.stream import SampleStream
from labtrain.limits import Limit

NAMES = registry.names("drivers")
every_driver = pytest.mark.parametrize("name", NAMES)


def commands(*, settable: bool = False) -> list[Any]:
    """All commands of all instruments, with ids that name them."""
    return [
        pytest.param(cls, command, id=f"{name}.{attribute}")
        for name in NAMES
        if issubclass(cls := driver(name), Instrument)
        for attribute, command in cls.commands().items()
        if command.set is not None or not settable
    ]


def driver(name: str) -> type[Device]:
    """What is registered: on a link, a sample stream, frames, a library or a function of others; no further kind."""
    found = registry.resolve("drivers", name)
    assert isinstance(found, type) and issubclass(
        found, Instrument | SoundInterface | FramesDevice | VendorMetasurface | Illumination
    )
    return found


def config_base(name: str) -> type[DeviceConfig]:
    """Base of the Configs of its kind."""
    cls = driver(name)
    if issubclass(cls, Illumination):
        return IlluminationConfig
    if issubclass(cls, FramesDevice):
        return CameraConfig if issubclass(cls, ImageCamera) else ModulatorConfig
    return (
        InstrumentConfig
        if issubclass(cls, Instrument)
        else VendorConfig
        if issubclass(cls, VendorMetasurface)
        else SoundConfig
    )


class Untouchable:
    """A clock nobody may look at."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"clock.{name} in a constructor")


def touched(*args: Any, **kwargs: Any) -> Any:
    raise AssertionError("input or output in a constructor")


def methods(cls: type) -> list[str]:
    return [n for n, value in vars(cls).items() if inspect.isfunction(value) and not n.startswith("__")]


UnusableLink: type[Link] = type("UnusableLink", (Link,), dict.fromkeys(methods(Link), touched))
UnusableStream: type[SampleStream] = type(
    "UnusableStream", (SampleStream,), dict.fromkeys(set(methods(SampleStream)) - {"_reset"}, touched)
)


def unusable_frames(kind: type[Frames]) -> type[Frames]:
    touch = {*methods(Frames), *methods(kind)} - {"emulated"}
    return type(f"Unusable{kind.__name__}", (kind,), {**dict.fromkeys(touch, touched), "emulated": False})


def make(name: str) -> Device:
    cls, clock = driver(name), Untouchable()
    if issubclass(cls, Instrument):
        return cls(UnusableLink(name, "nowhere", clock), cls.Config(), clock)
    if issubclass(cls, VendorMetasurface):
        return cls(name, touched, cls.Config(), clock)
    if issubclass(cls, PythonSwitch):
        return cls(name, cls.Config(), clock, touched)
    if issubclass(cls, FramesDevice):
        frames = unusable_frames(Camera if issubclass(cls, ImageCamera) else Slm)
        return cls(frames(name, "nowhere", clock), cls.Config(), clock)
    assert issubclass(cls, SoundInterface)
    stream = UnusableStream(name, "nowhere", clock, rate_hz=48_000.0, n_out=4, n_in=4)
    config = cls.Config()
    assert isinstance(config, SoundConfig)
    return cls(stream, config, clock)


def test_there_are_drivers() -> None:
    assert {"audio", "keysight-pna", "open-source-ris"} <= set(NAMES)


@every_driver
def test_it_is_documented(name: str) -> None:
    cls = driver(name)
    for what in (sys.modules[cls.__module__], cls, cls.Config):
        assert (vars(what).get("__doc__") or "").strip(), what
    assert cls.MODELS_TOLD.strip() and cls.TRIED_ON.strip()
    for attribute, member in vars(cls).items():
        if inspect.isfunction(member) and not attribute.startswith("_"):
            assert inspect.getdoc(getattr(cls, attribute)), f"{attribute} has no docstring, nor has its base"


@every_driver
def test_its_config_is_its_own_and_described(name: str) -> None:
    cls = driver(name)
    config = vars(cls).get("Config")
    assert isinstance(config, type) and issubclass(config, config_base(name)), "a nested Config of its own"
    undescribed = [key for key, field in config.model_fields.items() if not field.description and key != "driver"]
    assert undescribed == []
    where = "device" if issubclass(cls, SoundInterface) else "model" if issubclass(cls, FramesDevice) else "address"
    where = "call" if issubclass(cls, Illumination) else where
    assert getattr(config(), where) == "sim", "defaults for everything, so that a dry run needs no keys"


@every_driver
def test_its_name_is_the_tag_of_its_config(name: str) -> None:
    tag = driver(name).Config.model_fields["driver"]
    assert get_args(tag.annotation) == (name,)
    assert tag.default == name
    assert Registered("drivers", tag="driver").config(name) is driver(name).Config


@every_driver
def test_its_constructor_does_nothing_but_store(name: str) -> None:
    device = make(name)
    assert device.identity == ""
    assert not isinstance(device, Instrument) or device.link.synchronise is not None


@every_driver
def test_it_knows_its_safe_state(name: str) -> None:
    cls = driver(name)
    assert not inspect.isabstract(cls)
    assert cls.safe not in (Device.safe, Instrument.safe)
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
        assert isinstance(instrument, Instrument)
        assert isinstance(command.limits_of(instrument), Limit)


@every_driver
def test_its_emulator_exists(name: str) -> None:
    cls = driver(name)
    if issubclass(
        cls, SoundInterface | FramesDevice | Illumination
    ):  # their emulators are handed their world by the rig
        return
    assert cls.EMULATOR, "something that stands in at address: sim"
    emulator = registry.emulator_of(cls)
    assert callable(emulator)
    assert "timing" in inspect.signature(emulator).parameters
