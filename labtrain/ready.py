"""Configurations that come with labtrain: what ``labtrain init`` copies."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path


def ready() -> dict[str, Traversable]:
    """Their files by name: ``acoustic``, ``microwave-lab``."""
    return {Path(item.name).stem: item for item in files("labtrain.configs").iterdir() if item.name.endswith(".yaml")}


def remedy(path: Path) -> str:
    """How to get a file that does not exist, if a configuration has its name; else nothing."""
    name = path.stem if path.suffix == ".yaml" else path.name
    if name not in ready():
        return ""
    target = path.with_name(f"{name}.yaml")
    to = f" --to {target}" if target.parent != Path() else ""
    return f"; labtrain init {name}{to} writes {'it' if target == path else target}"
