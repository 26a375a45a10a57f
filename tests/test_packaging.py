"""The wheel holds the tree, all of it and nothing else, each file where it is imported from."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import pytest

import labtrain

ROOT = Path(__file__).resolve().parent.parent
# Folder in the checkout -> folder in the wheel.
PLACES = {
    "labtrain": "labtrain",
    "rigs": "labtrain/rigs",
    "drivers": "labtrain/drivers",
    "config": "labtrain/configs",
}
BESIDE = ("pyproject.toml", "README.md", "LICENSE")
NEVER = {"__pycache__"}


def tree() -> dict[str, Path]:
    """Path in the wheel -> file in the checkout, for every file that a user needs."""
    return {
        f"{place}/{path.relative_to(ROOT / folder).as_posix()}": path
        for folder, place in PLACES.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and NEVER.isdisjoint(path.parts)
    }


def packages(files: Iterable[str]) -> set[str]:
    """Dotted names of the packages among paths in the wheel."""
    suffix = "/__init__.py"
    return {file.removesuffix(suffix).replace("/", ".") for file in files if file.endswith(suffix)}


def missing_tools() -> str | None:
    if importlib.util.find_spec("build") is None:
        return "build is not installed"
    try:
        major = int(metadata.version("setuptools").split(".")[0])
    except metadata.PackageNotFoundError:
        return "setuptools is not installed"
    return f"setuptools is {major}, needs 77 or newer" if major < 77 else None


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A freshly built wheel; ``LABTRAIN_WHEEL_DIR`` names a folder in which it is kept."""
    if missing := missing_tools():
        pytest.skip(f'{missing}; run: pip install -e ".[dev]"')
    # Built from a copy: setuptools leaves a build folder behind, from which deleted modules would come back.
    source = tmp_path_factory.mktemp("source")
    for folder in PLACES:
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns(*NEVER))
    for name in BESIDE:
        shutil.copy(ROOT / name, source)
    target = Path(os.environ.get("LABTRAIN_WHEEL_DIR") or tmp_path_factory.mktemp("wheel"))
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(target), str(source)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (found,) = target.glob(f"labtrain-{labtrain.__version__}-*.whl")
    return found


def test_the_wheel_is_the_tree(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
        changed = [name for name, path in tree().items() if name in inside and archive.read(name) != path.read_bytes()]
    assert sorted(set(tree()) - inside) == [], "in the checkout, not in the wheel"
    assert sorted(inside - set(tree())) == [], "in the wheel, not in the checkout"
    assert changed == []


def test_nothing_generic_reaches_site_packages(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        top = {name.split("/")[0] for name in archive.namelist()}
    assert top == {"labtrain", f"labtrain-{labtrain.__version__}.dist-info"}


def test_the_wheel_carries_licence_command_and_types(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (commands,) = (archive.read(name).decode() for name in names if name.endswith("entry_points.txt"))
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert "labtrain = labtrain.cli:main" in commands
    assert "labtrain/py.typed" in names


def test_every_package_is_listed() -> None:
    """Needs no build, and names what to add."""
    setup = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    assert sorted(setup["packages"]) == sorted(packages(tree()))


def test_every_folder_with_modules_is_a_package() -> None:
    folders = {name.rpartition("/")[0].replace("/", ".") for name in tree() if name.endswith(".py")}
    assert folders == packages(tree())
