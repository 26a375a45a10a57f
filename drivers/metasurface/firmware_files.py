"""Reference firmware that comes with labtrain, for boards that people build themselves."""

from __future__ import annotations

from importlib.resources import files

from labtrain.errors import InputError
from labtrain.limits import did_you_mean


def firmware_names() -> list[str]:
    """What there is firmware for, sorted; each is a sketch with its folder's name."""
    folder = files("labtrain.drivers.metasurface") / "firmware"
    return sorted(sketch.name for sketch in folder.iterdir() if sketch.is_dir())


def firmware_files(name: str) -> dict[str, bytes]:
    """The files of a sketch, by name.

    Raises
    ------
    InputError
        If there is none of that name.
    """
    known = firmware_names()
    if name not in known:
        raise InputError(f"unknown firmware {name!r}{did_you_mean(name, known)}; known: {', '.join(known)}")
    sketch = files("labtrain.drivers.metasurface") / "firmware" / name
    return {file.name: file.read_bytes() for file in sorted(sketch.iterdir(), key=lambda f: f.name) if file.is_file()}
