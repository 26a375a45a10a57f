"""Packages to begin with: ``labtrain new driver`` and ``labtrain new firmware`` write them, whole and working.

The templates are files of the package, under ``labtrain/templates/driver``: those in ``common`` and those of the kind,
each with the suffix ``.template``. In their text stand ``$name``, ``$package``, ``$Class`` and so on.
"""

from __future__ import annotations

import re
import string
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import labtrain
from labtrain import registry
from labtrain.errors import InputError
from labtrain.limits import did_you_mean

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_SUFFIX = ".template"


@dataclass(frozen=True)
class Kind:
    """What a driver of this kind is for.

    Parameters
    ----------
    told : str
        In words.
    world : str
        In front of which its emulator stands in tests: a class of labtrain.drivers.testing and its arguments.
    train : bool
        Whether a configuration comes with it that trains in simulation.
    """

    told: str
    world: str = "None"
    train: bool = False


KINDS: dict[str, Kind] = {
    "metasurface": Kind("a programmable metasurface on a serial line, in lines of text", "Pixels(64)", train=True),
    "vna": Kind("a network analyser with a SCPI dialect of its own", "Network()", train=True),
    "instrument": Kind("anything else that speaks lines of text: an attenuator, a switch, a stage"),
    "scpi": Kind("anything else that speaks SCPI: a supply, a generator"),
}


@dataclass(frozen=True)
class Written:
    """A package that was written: its folder, its files in it, and the name under which labtrain will know it."""

    folder: Path
    files: tuple[Path, ...]
    name: str
    train: bool


def new_driver(name: str, kind: str = "metasurface", out: Path | None = None) -> Written:
    """Write the package of a new driver.

    Parameters
    ----------
    name : str
        Of the driver, as in ``driver: my-surface``.
    kind : str
        Of :data:`KINDS`.
    out : path, optional
        Folder to write; default: ``labtrain-NAME``.

    Raises
    ------
    InputError
        If the name cannot be one or is taken, its class would hide another, the kind is unknown, or the folder exists;
        nothing has been written then.
    """
    check_name(name)
    if kind not in KINDS:
        raise InputError(f"unknown kind of driver {kind!r}{did_you_mean(kind, KINDS)}; there are: {', '.join(KINDS)}")
    folder = out or Path(f"labtrain-{name}")
    words = _words(name, KINDS[kind])
    templates = files("labtrain") / "templates" / "driver"
    made: dict[Path, str] = {}
    for part in ("common", kind):
        for place, text in _read(templates / part, Path()):
            if place.suffix == ".py" and re.search(rf"\b{words['Class']}(Emulator)?\b", text):
                raise InputError(
                    f"driver {name!r}: its class would be {words['Class']}, a name that the template uses otherwise; "
                    f"choose another name, for instance my-{name}"
                )
            where = Path(*(words["package"] if step == "package" else step for step in place.parts))
            made[where] = string.Template(text).substitute(words)
    if not KINDS[kind].train:
        del made[Path("tests/test_rig.py")]
    _write(folder, {place: text.encode() for place, text in made.items()})
    return Written(folder, tuple(sorted(made)), name, KINDS[kind].train)


def new_firmware(folder: Path, which: str = "latched_board") -> tuple[Path, ...]:
    """Copy the reference firmware of a controller into a folder; returns the files written.

    Parameters
    ----------
    folder : path
        The sketch becomes a folder of its own in it, as the Arduino tools want it.
    which : str
        Its name under ``drivers/metasurface/firmware``.

    Raises
    ------
    InputError
        If the sketch's folder exists; nothing has been written then.
    """
    sketch = files("labtrain.drivers.metasurface") / "firmware" / which
    made = {Path(item.name): item.read_bytes() for item in sketch.iterdir() if item.is_file()}
    _write(folder / which, made, "choose another folder")
    return tuple(sorted(folder / which / place for place in made))


def check_name(name: str) -> None:
    """Raise InputError unless a new driver may have that name."""
    if not _NAME.fullmatch(name):
        better = re.sub(r"[^a-z0-9]+", "-", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()).strip("-")
        instead = f"; write {better}" if _NAME.fullmatch(better) else ""
        raise InputError(
            f"driver {name!r}: a name has small letters, digits and single hyphens, and begins with a letter{instead}"
        )
    if name in registry.names("drivers"):
        raise InputError(f"driver {name!r} exists already; choose another name")


def _words(name: str, kind: Kind) -> dict[str, str]:
    """What stands in the templates, and what it becomes."""
    parts, world = name.split("-"), kind.world.partition("(")[0]
    return {
        "name": name,
        "package": f"labtrain_{name.replace('-', '_')}",
        "Class": "".join(part.capitalize() for part in parts),
        "title": " ".join(parts).capitalize(),
        "version": labtrain.__version__,
        "world": kind.world,
        "import_world": "" if world == "None" else f"from labtrain.drivers.testing import {world}\n",
    }


def _read(folder: Traversable, inside: Path) -> list[tuple[Path, str]]:
    """Files under a folder of templates, each with its place in what is written."""
    found: list[tuple[Path, str]] = []
    for item in folder.iterdir():
        if item.is_dir():
            found += _read(item, inside / item.name)
        elif item.name.endswith(_SUFFIX):
            name = item.name.removesuffix(_SUFFIX)
            found.append((inside / (".gitignore" if name == "gitignore" else name), item.read_text(encoding="utf-8")))
    return found


def _write(folder: Path, made: dict[Path, bytes], remedy: str = "choose another folder with --out DIR") -> None:
    """Write files into a folder that does not exist yet, or is empty."""
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"{folder}: exists already; {remedy}")
        for place, data in made.items():
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            (folder / place).write_bytes(data)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); {remedy}") from None
