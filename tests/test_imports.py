"""Imports point one way, ground floor first; importing is light and leaves no trace."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

import pytest

import labtrain

ROOT = Path(__file__).resolve().parent.parent
# Folder in the checkout -> the package it is imported as.
PACKAGES = {
    "labtrain": "labtrain",
    "rigs": "labtrain.rigs",
    "drivers": "labtrain.drivers",
    "config": "labtrain.configs",
}

# Ground floor first: a module imports from its own floor and from lower ones. A package stands for all its modules;
# "labtrain" is labtrain/__init__.py alone.
FLOORS = (
    ("labtrain", "configs", "data", "errors", "clock", "limits", "registry"),
    ("compact", "encoding", "sim"),
    ("layer", "config", "config_errors", "ready", "yaml_lines", "storage", "rundb", "runs", "runlist", "shotlog",
     "checkpoints", "ownership", "safety", "provenance", "ledger", "threads", "bounded", "processlock", "riglock"),
    ("network", "twin", "twins", "datasets", "drivers"),
    ("methods", "rigs", "disturbances", "experiment", "torch"),
    ("controls", "verdict", "trial", "trainer", "events"),
    ("asking", "formatting", "pace", "plots", "progress", "report", "logfile", "commissioning", "jobs", "inference",
     "opening", "planning", "stop", "backends", "devices", "discover", "driver_list", "emulate", "emulate_options",
     "talk", "measuring",
     "recording", "export", "survey", "survey_figures", "survey_report", "survey_acoustic", "survey_files",
     "survey_page", "survey_speckle", "speckle_figures", "speckle_report", "twin_measuring",
     "twin_report", "calibrating", "new_driver",
     "statistics", "comparison", "compared", "compare_report", "compare_runs", "compare_settings",
     "compare_disturbed", "compare_disturbed_report", "warm_start",
     "tuning"),
    ("cli", "cli_common", "cli_compare", "cli_devices", "cli_lab", "cli_new", "cli_twin", "__main__"),
)  # fmt: skip
# Third-party packages that the lowest floors may use, deferred imports included.
THIRD_PARTY: tuple[frozenset[str], ...] = (frozenset(), frozenset({"numpy", "scipy"}))

# All that a driver may use of the framework: it speaks to one instrument and knows neither layers, runs nor worlds.
DRIVERS_USE = frozenset({"errors", "clock", "limits", "registry", "config", "drivers"})

# Folders of the checkout, never names of packages.
NOT_PACKAGES = ("rigs", "drivers", "config")


def sources() -> dict[str, str]:
    """Name -> source of every module in the tree; packages under their own name."""
    found = {}
    for folder, package in PACKAGES.items():
        for path in (ROOT / folder).rglob("*.py"):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            name = ".".join((package, *(part for part in parts if part != "__init__")))
            found[name] = path.read_text(encoding="utf-8")
    return found


def imported(module: str, source: str, known: Mapping[str, str]) -> Iterator[str]:
    """Modules that a source imports anywhere: in functions and under ``if TYPE_CHECKING`` too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import in line {node.lineno}; write the full name"
            base = node.module or ""
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield inner if inner in known else base


def floor(module: str) -> int | None:
    """Index in FLOORS, or None for a module that is in none."""
    short = module.split(".")[1] if "." in module else module
    return next((i for i, names in enumerate(FLOORS) if short in names), None)


def complaints(modules: Mapping[str, str]) -> list[str]:
    """What is wrong with the imports of these modules, a sentence each."""
    told = []
    for module, source in sorted(modules.items()):
        mine = floor(module)
        if mine is None:
            told.append(f"{module} is on no floor; put it into FLOORS of tests/test_imports.py")
            continue
        for name in dict.fromkeys(imported(module, source, modules)):
            top = name.split(".")[0]
            if top in NOT_PACKAGES:
                told.append(f"{module} imports {name}, which exists in a checkout alone; import labtrain.{name}")
            elif top == "labtrain":
                theirs = floor(name)
                inside = name.split(".")[1] if "." in name else name
                if module.startswith("labtrain.drivers") and inside not in DRIVERS_USE:
                    told.append(f"{module} imports {name}; a driver may use {', '.join(sorted(DRIVERS_USE))} alone")
                elif theirs is not None and theirs > mine:
                    told.append(f"{module} (floor {mine}) imports {name} (floor {theirs}) above it")
            elif top not in sys.stdlib_module_names and mine < len(THIRD_PARTY) and top not in THIRD_PARTY[mine]:
                told.append(f"{module} imports {top}; floor {mine} may use {sorted(THIRD_PARTY[mine]) or 'nothing'}")
    return told


def circle(modules: Mapping[str, str]) -> list[str]:
    """Modules that import one another in a circle, in order; empty if there is none."""
    graph = {
        name: [other for other in imported(name, source, modules) if other in modules and other != name]
        for name, source in modules.items()
    }
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name not in done:
            for other in graph[name]:
                if found := visit(other, [*path, name]):
                    return found
            done.add(name)
        return []

    return next((found for name in sorted(graph) if (found := visit(name, []))), [])


def test_imports_point_down() -> None:
    told = complaints(sources())
    assert not told, "\n".join(told)


def test_no_circles() -> None:
    assert circle(sources()) == []


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("import labtrain.cli", "labtrain.layer (floor 2) imports labtrain.cli (floor 7) above it"),
        ("from labtrain import cli", "labtrain.layer (floor 2) imports labtrain.cli (floor 7) above it"),
        (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from labtrain.cli import main",
            "labtrain.layer (floor 2) imports labtrain.cli (floor 7) above it",
        ),
        (
            "def f():\n    import rigs.acoustic",
            "labtrain.layer imports rigs.acoustic, which exists in a checkout alone",
        ),
        ("from rigs import acoustic", "labtrain.layer imports rigs, which exists in a checkout alone"),
        ("import drivers", "labtrain.layer imports drivers, which exists in a checkout alone"),
    ],
)
def test_the_guard_sees(source: str, sentence: str) -> None:
    (told,) = complaints({"labtrain.layer": source, "labtrain.cli": ""})
    assert told.startswith(sentence)


def test_the_guard_sees_strangers_and_circles() -> None:
    assert complaints({"labtrain.extra": ""}) == [
        "labtrain.extra is on no floor; put it into FLOORS of tests/test_imports.py"
    ]
    assert complaints({"labtrain.drivers.link": "import labtrain.layer"}) == [
        "labtrain.drivers.link imports labtrain.layer; a driver may use clock, config, drivers, errors, limits, "
        "registry alone"
    ]
    assert complaints({"labtrain.sim.world": "import numpy, pydantic, json"}) == [
        "labtrain.sim.world imports pydantic; floor 1 may use ['numpy', 'scipy']"
    ]
    errors, limits = "import labtrain.limits", "from labtrain.errors import InputError"
    round_trip = ["labtrain.errors", "labtrain.limits", "labtrain.errors"]
    assert circle({"labtrain.errors": errors, "labtrain.limits": limits}) == round_trip


def test_nobody_imports_folders_of_the_checkout() -> None:
    """Tests, benchmarks and examples import what is installed, as any user would."""
    wrong = [
        f"{path.relative_to(ROOT).as_posix()} imports {name}"
        for folder in ("tests", "benchmarks", "examples")
        for path in (ROOT / folder).rglob("*.py")
        for name in imported(path.stem, path.read_text(encoding="utf-8"), {})
        if name.split(".")[0] in NOT_PACKAGES
    ]
    assert wrong == []


def fresh(code: str, folder: Path) -> str:
    """Output, errors included, of a new interpreter in `folder`."""
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    return result.stdout + result.stderr


def test_import_labtrain_is_light(tmp_path: Path) -> None:
    heavy = "{'numpy', 'scipy', 'matplotlib', 'pydantic', 'rich', 'typer', 'yaml'}"
    assert fresh(f"import labtrain, sys; print({heavy} & set(sys.modules))", tmp_path) == "set()\n"


def test_commands_start_without_what_takes_long_to_import(tmp_path: Path) -> None:
    heavy = "{'scipy.signal', 'scipy.stats', 'scipy.optimize', 'torch'}"
    modules = "labtrain.jobs, labtrain.compare_disturbed, labtrain.rigs.acoustic, labtrain.rigs.microwave"
    assert fresh(f"import {modules}, sys; print({heavy} & set(sys.modules))", tmp_path) == "set()\n"


def test_importing_everything_prints_and_writes_nothing(tmp_path: Path) -> None:
    names = sorted(set(sources()) - (set() if find_spec("torch") else {"labtrain.torch"}))
    code = f"import importlib\nfor name in {names}:\n    importlib.import_module(name)"
    told = [line for line in fresh(code, tmp_path).splitlines() if "building the font cache" not in line]
    assert told == []
    assert list(tmp_path.iterdir()) == []


def test_every_lazy_attribute_exists() -> None:
    missing = [name for name in dir(labtrain) if not hasattr(labtrain, name)]
    assert missing == []
