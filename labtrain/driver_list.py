"""``labtrain drivers``: all registered drivers, what each is for, where it comes from, and its keys."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from string import ascii_uppercase
from typing import Any

import yaml

from labtrain import registry
from labtrain.config import Registered, Section
from labtrain.drivers.device import Device
from labtrain.drivers.illumination import Illumination
from labtrain.drivers.image_camera import ImageCamera
from labtrain.drivers.light_modulator import LightModulator
from labtrain.drivers.metasurface.metasurface import Metasurface
from labtrain.drivers.sensors.sensor import PowerMeter, Sensor
from labtrain.drivers.sound import SoundInterface
from labtrain.drivers.vna.vna import Vna
from labtrain.errors import InputError

KINDS: tuple[tuple[type, str], ...] = (
    (Vna, "network analyser"),
    (Metasurface, "metasurface"),
    (SoundInterface, "sound"),
    (LightModulator, "light modulator"),
    (ImageCamera, "camera"),
    (Illumination, "illumination"),
    (PowerMeter, "power meter"),  # before Sensor, which it is too
    (Sensor, "sensor"),
)


@dataclass(frozen=True)
class ListedDriver:
    """One registered driver.

    Parameters
    ----------
    name : str
        For the key `driver`.
    kind : str
        What it drives: one of KINDS, such as ``network analyser``, or ``other``.
    models : str
        Instruments, as people call them.
    origin : str
        Package and version that provides it.
    tried_on : str
        What it has really met.
    extra : str
        Extra of labtrain that it needs; empty if none.
    problem : str
        Why it cannot be used; empty if it can.
    """

    name: str
    kind: str = ""
    models: str = ""
    origin: str = ""
    tried_on: str = ""
    extra: str = ""
    problem: str = ""

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True)
class Key:
    """One key of a driver's section: its name, default as YAML (None: left out) and meaning."""

    name: str
    default: str | None
    meaning: str


@dataclass(frozen=True)
class DriverDetails:
    """A driver, and all that is known of it without an instrument.

    Parameters
    ----------
    driver : ListedDriver
    about : str
        First paragraph of the documentation of its class, and of its module.
    keys : tuple of Key
        Of its section, beside `driver`.
    emulator : str
        What answers at ``sim``, as ``module:attribute``; empty if nothing does.
    usb_ids : tuple of str
        ``vendor:product`` of its USB port, hexadecimal.
    by_hand : str
        What to do if it cannot be made safe.
    """

    driver: ListedDriver
    about: str
    keys: tuple[Key, ...]
    emulator: str
    usb_ids: tuple[str, ...]
    by_hand: str

    def as_dict(self) -> dict[str, Any]:
        return self.driver.as_dict() | {
            "about": self.about,
            "keys": [asdict(key) for key in self.keys],
            "emulator": self.emulator,
            "usb_ids": list(self.usb_ids),
            "by_hand": self.by_hand,
        }


def driver_list() -> list[ListedDriver]:
    """All registered drivers, by name; those that cannot be used say why."""
    return [listed(name) for name in registry.names("drivers")]


def by_kind(drivers: Iterable[ListedDriver]) -> dict[str, list[ListedDriver]]:
    """The same under their kinds, in the order of KINDS; those that cannot be used last, under ``broken``."""
    found: dict[str, list[ListedDriver]] = {kind: [] for kind in (*(told for _, told in KINDS), "other", "broken")}
    for driver in drivers:
        found[driver.kind or "broken"].append(driver)
    return {kind: some for kind, some in found.items() if some}


def search(text: str) -> list[ListedDriver]:
    """Drivers for what somebody calls an instrument: part of a driver's name, a series, a model, an identity.

    Case, spaces and hyphens make no difference.
    """
    wanted = _plain(text)
    return [driver for driver in driver_list() if wanted and _is_for(driver, text, wanted)]


def _is_for(driver: ListedDriver, text: str, wanted: str) -> bool:
    if any(wanted in _plain(told) for told in (driver.name, driver.kind, driver.models)):
        return True
    if driver.problem:
        return False
    found = registry.resolve("drivers", driver.name)
    return bool(found.fits(text)) or _is_of_series(driver.models, text) or _is_model(getattr(found, "MODELS", ""), text)


def _is_of_series(models: str, text: str) -> bool:
    """Whether a model is one of a series, told with an x for each digit: ``M5xxx``, ``M937xA``."""
    series = re.findall(r"\b[A-Z]+\d*x+[A-Z]?(?![\w-])", models)
    return any(re.fullmatch(told.replace("x", r"\d") + "[A-Z]?", "".join(text.split()).upper()) for told in series)


def _is_model(pattern: str, text: str) -> bool:
    """Whether a driver's regular expression for ``manufacturer,model`` takes this model, or it with its last letter."""
    _, *model = re.split(r"(?<!\^),", pattern, maxsplit=1)
    if not model or re.fullmatch(model[0], "", re.IGNORECASE):  # such a pattern takes whatever there is
        return False
    text = "".join(text.split())
    return any(re.fullmatch(model[0], text + letter, re.IGNORECASE) for letter in ("", *ascii_uppercase))


def _plain(text: str) -> str:
    return re.sub(r"[\s_-]", "", text).casefold()


def listed(name: str) -> ListedDriver:
    """One of them.

    Raises
    ------
    InputError
        If there is no driver of that name; one that cannot be used says so in `problem`.
    """
    origin = registry.origin("drivers", name)
    try:
        driver = registry.resolve("drivers", name)
    except InputError as error:
        if name not in registry.names("drivers"):
            raise
        return ListedDriver(name, origin=origin, problem=str(error))
    if problem := _problem(name, driver):
        return ListedDriver(name, origin=origin, problem=problem)
    kind = next((told for base, told in KINDS if issubclass(driver, base)), "other")
    return ListedDriver(name, kind, driver.MODELS_TOLD, origin, driver.TRIED_ON, driver.EXTRA)


def _problem(name: str, driver: Any) -> str:
    """What keeps a registered object from being a driver."""
    if not (isinstance(driver, type) and issubclass(driver, Device)):
        return f"driver {name!r} is {driver!r}, not a class derived from labtrain.drivers.device.Device"
    if inspect.isabstract(driver):
        lacks = ", ".join(sorted(driver.__abstractmethods__))
        return f"driver {name!r} ({driver.__module__}.{driver.__name__}) lacks {lacks}"
    try:
        tag = Registered("drivers", "driver").config(name).model_fields.get("driver")
    except InputError as error:
        return str(error)
    if tag is None or tag.default != name:
        return f"driver {name!r}: its Config needs driver: Literal[{name!r}] = {name!r}"
    lacks = ", ".join(told for told in ("MODELS_TOLD", "TRIED_ON") if not isinstance(getattr(driver, told, None), str))
    return f"driver {name!r} ({driver.__module__}.{driver.__name__}) lacks {lacks}" if lacks else ""


def details(name: str) -> DriverDetails:
    """All about one driver.

    Raises
    ------
    InputError
        If there is no driver of that name, or it cannot be used.
    """
    found = listed(name)
    if found.problem:
        raise InputError(found.problem)
    driver = registry.resolve("drivers", name)
    return DriverDetails(
        found,
        " ".join(dict.fromkeys(filter(None, (_first_paragraph(what) for what in (driver, inspect.getmodule(driver)))))),
        tuple(_keys(Registered("drivers", "driver").config(name).model_fields)),
        driver.EMULATOR,
        tuple(f"{vendor:04x}:{product:04x}" for vendor, product in getattr(driver, "USB_IDS", ())),
        driver.by_hand,
    )


def _keys(fields: dict[str, Any]) -> Iterable[Key]:
    for name, field in fields.items():
        if name == "driver":
            continue
        value = field.get_default(call_default_factory=True)
        default = None if field.is_required() or value is None else _as_yaml(value)
        yield Key(name, default, field.description or "")


def _as_yaml(value: Any) -> str:
    """On one line, as it would stand behind the key."""
    if isinstance(value, str) and not value.isprintable():
        return json.dumps(value)
    plain = value.model_dump(mode="json") if isinstance(value, Section) else value
    text = yaml.safe_dump(_lists(plain), default_flow_style=True, sort_keys=False, allow_unicode=True, width=10_000)
    return text.removesuffix("\n").removesuffix("\n...")


def _lists(value: Any) -> Any:
    """The same with lists for tuples, which plain YAML does not have."""
    if isinstance(value, tuple | list):
        return [_lists(item) for item in value]
    return {key: _lists(item) for key, item in value.items()} if isinstance(value, dict) else value


def _first_paragraph(documented: Any) -> str:
    """Of a docstring, on one line."""
    return " ".join((inspect.getdoc(documented) or "").partition("\n\n")[0].split())


def table_of_the_docs() -> str:
    """Rows of the table "Which instruments" in docs/instruments.md: the drivers that come with labtrain."""
    built_in = [driver for driver in driver_list() if driver.name in registry.BUILT_IN["drivers"]]
    return "\n".join(f"| `{driver.name}` | {driver.models} | {driver.tried_on} |" for driver in built_in)
