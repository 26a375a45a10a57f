"""The templates of drivers: what they write can be installed, is tested, trains, and its tests can fail."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.testing import CliRunner

from labtrain import registry
from labtrain.cli import app
from labtrain.drivers.instrument import Instrument
from labtrain.errors import InputError
from labtrain.new_driver import KINDS, check_name, new_driver, new_firmware

PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib", "-rf"]


class Made(NamedTuple):
    """Folder of the packages, a folder for each kind, and the folder into which they are installed."""

    packages: Path
    site: Path

    def name(self, kind: str) -> str:
        return f"unheard-of-{kind}"

    def source(self, kind: str) -> Path:
        return self.packages / kind / "src" / f"labtrain_unheard_of_{kind}"


def run(*arguments: object, cwd: Path, site: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*map(str, arguments)], cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=300
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """One package of each kind, installed."""
    if importlib.util.find_spec("pip") is None:
        pytest.skip("pip is not installed; run: python -m ensurepip")
    try:
        metadata.version("setuptools")
    except metadata.PackageNotFoundError:
        pytest.skip('setuptools is not installed; run: pip install -e ".[dev]"')
    made = Made(tmp_path_factory.mktemp("packages"), tmp_path_factory.mktemp("site"))
    copies = tmp_path_factory.mktemp("copies")  # setuptools leaves a build folder behind
    for kind in KINDS:
        new_driver(made.name(kind), kind, made.packages / kind)
        shutil.copytree(made.packages / kind, copies / kind)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    installed = run(*pip, "--target", made.site, *(copies / kind for kind in KINDS), cwd=copies, site=made.site)
    assert installed.returncode == 0, installed.stdout + installed.stderr
    return made


def test_all_their_tests_pass(made: Made) -> None:
    done = run(*PYTEST, *KINDS, cwd=made.packages, site=made.site)
    assert done.returncode == 0, done.stdout + done.stderr
    for kind in KINDS:
        assert (made.packages / kind / "tests" / "test_rig.py").exists() == KINDS[kind].train


# As `labtrain talk --trace-io` writes it.
TRACED = """2026-01-01T00:00:01.000000Z talk - open
2026-01-01T00:00:02.000000Z talk > b'HELLO\\n'
2026-01-01T00:00:02.100000Z talk < b'HELLO YOUR'
2026-01-01T00:00:02.200000Z talk < b'SELF\\n'
"""

# What a person may get wrong, and the test that finds it.
MUTATIONS = {
    "metasurface": ("np.packbits(elements", "np.packbits(elements[::-1]", "test_what_is_set_is_shown_and_read"),
    "vna": ('OFF = "OUTP 0;', 'OFF = "OUTP?;', "test_it_measures_the_network"),
    "instrument": (', "backslashreplace"', "", "test_every_fault_at_every_message"),
    "scpi": ('_OFF = "OUTP 0"', '_OFF = "OUTP?"', "test_what_is_set_is_done_and_read"),
}


def test_their_tests_can_fail(made: Made, tmp_path: Path) -> None:
    site = tmp_path / "site"
    shutil.copytree(made.site, site)
    for kind, (right, wrong, _) in MUTATIONS.items():
        driver = site / made.source(kind).name / "driver.py"
        text = driver.read_text(encoding="utf-8")
        assert text.count(right) == 1, kind
        driver.write_text(text.replace(right, wrong), encoding="utf-8")
    shutil.copytree(made.packages, tmp_path / "packages")
    for kind in KINDS:  # named apart, so that the summary tells them apart
        tests = tmp_path / "packages" / kind / "tests"
        (tests / "test_driver.py").rename(tests / f"test_{kind}.py")
    transcript = tmp_path / "packages" / "metasurface" / "tests" / "transcript.txt"  # the test is the same for all
    transcript.write_text(transcript.read_text(encoding="utf-8") + TRACED, encoding="utf-8")
    meant = " or ".join(["answers_as_the_device_did", *(test for _, _, test in MUTATIONS.values())])
    done = run(*PYTEST, *KINDS, "-k", meant, cwd=tmp_path / "packages", site=site)
    for kind, (_, _, test) in MUTATIONS.items():
        assert f"/tests/test_{kind}.py::{test}" in done.stdout, done.stdout + done.stderr
    assert "of transcript.txt: after b'HELLO" in done.stdout


@pytest.fixture
def importable(made: Made, monkeypatch: pytest.MonkeyPatch) -> Iterator[Made]:
    """The packages can be imported here too, for the time being."""
    monkeypatch.syspath_prepend(str(made.site))
    yield made
    for module in [name for name in sys.modules if name.startswith("labtrain_unheard_of_")]:
        del sys.modules[module]


@pytest.mark.parametrize("kind", KINDS)
def test_they_are_found_by_name(importable: Made, kind: str) -> None:
    assert importable.name(kind) in registry.names("drivers")
    driver = registry.resolve("drivers", importable.name(kind))
    assert issubclass(driver, Instrument) and driver.Config().address == "sim"
    assert registry.emulator_of(driver).__module__ == f"{importable.source(kind).name}.emulator"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if KINDS[kind].train])
def test_the_configuration_that_comes_with_it_trains(importable: Made, kind: str, tmp_path: Path) -> None:
    config = str(importable.packages / kind / "config.yaml")
    checked = CliRunner().invoke(app, ["config", "check", config])
    assert checked.stdout == f"{config}: good\n"
    options = ["--set", "trials.count=1", "--runs", str(tmp_path / "runs"), "--json"]
    trained = CliRunner().invoke(app, ["train", config, *options])
    assert trained.exit_code == 0, trained.exception
    summary = json.loads(trained.stdout.splitlines()[-1])
    assert summary["test_accuracy"] > 0.9 > 0.8 > summary["physics_off_accuracy"]


def test_they_are_as_ruff_wants_them(made: Made) -> None:
    ruff = shutil.which("ruff", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if ruff is None:
        pytest.skip('ruff is not installed; run: pip install -e ".[dev]"')
    checked = run(ruff, "check", "--no-cache", *KINDS, cwd=made.packages, site=made.site)
    assert checked.returncode == 0, checked.stdout


def test_nothing_of_the_template_is_left(made: Made) -> None:
    for path in made.packages.rglob("*"):
        assert path.name != "package" and path.suffix != ".template", path
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            assert ("$" not in text and "Unheard of" in text) or (path.name in (
                ".gitignore", "config.yaml", "py.typed", "test_rig.py", "test_emulator.py", "transcript.txt"
            ) and "$" not in text), path  # fmt: skip


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("MySurface", "; write my-surface"),
        ("my_surface", "; write my-surface"),
        ("my--surface", "; write my-surface"),
        ("-", ""),
        ("", ""),
        ("3d", ""),
        ("../x", "; write x"),
        ("my surface\n", "; write my-surface"),
    ],
)
def test_a_name_that_can_be_none(name: str, told: str) -> None:
    with pytest.raises(InputError) as caught:
        check_name(name)
    assert str(caught.value) == (
        f"driver {name!r}: a name has small letters, digits and single hyphens, and begins with a letter{told}"
    )


def test_a_name_that_is_taken() -> None:
    with pytest.raises(InputError) as caught:
        check_name("keysight-pna")
    assert str(caught.value) == "driver 'keysight-pna' exists already; choose another name"


@pytest.mark.parametrize(
    ("name", "kind"), [("pixels", "metasurface"), ("stimulus", "vna"), ("instrument", "instrument")]
)
def test_a_name_whose_class_would_hide_another(name: str, kind: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        new_driver(name, kind, tmp_path / "new")
    assert str(caught.value) == (
        f"driver {name!r}: its class would be {name.capitalize()}, a name that the template uses otherwise; choose "
        f"another name, for instance my-{name}"
    )
    assert not (tmp_path / "new").exists()


def test_nothing_is_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written = new_driver("mine")
    assert written.folder == Path("labtrain-mine")
    (written.folder / "README.md").write_text("changed")
    with pytest.raises(InputError) as caught:
        new_driver("mine")
    assert str(caught.value) == "labtrain-mine: exists already; choose another folder with --out DIR"
    assert (written.folder / "README.md").read_text() == "changed"
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file: exists already"):
        new_driver("mine", out=Path("file"))
    with pytest.raises(InputError, match="cannot be written"):
        new_driver("mine", out=Path("file/inside"))
    (tmp_path / "empty").mkdir()
    assert new_driver("mine", out=Path("empty")).files
    with pytest.raises(InputError, match=r"unknown kind of driver 'vma' \(did you mean vna\?\)"):
        new_driver("other", "vma")
    assert not Path("labtrain-other").exists()


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    told = CliRunner().invoke(app, ["new", "driver", "mine", "--kind", "scpi"])
    assert told.exit_code == 0
    *paths, last = told.stdout.splitlines()
    assert all(Path(path).is_file() for path in paths)
    assert last == 'labtrain-mine written; next: cd labtrain-mine && pip install -e ".[dev]" && pytest'
    told = CliRunner().invoke(app, ["new", "driver", "yours", "--json"])
    assert json.loads(told.stdout)["folder"] == "labtrain-yours"


def test_every_kind_is_one_of_the_command() -> None:
    for kind in KINDS:
        assert kind in CliRunner().invoke(app, ["new", "driver", "--help"]).stdout


def test_the_firmware_is_that_of_the_tree(tmp_path: Path) -> None:
    written = new_firmware(tmp_path)
    tree = Path(__file__).parent.parent / "drivers" / "metasurface" / "firmware" / "latched_board"
    assert {place.name: place.read_bytes() for place in written} == {
        path.name: path.read_bytes() for path in tree.iterdir() if path.is_file()
    }
    assert tmp_path / "latched_board" / "latched_board.ino" in written
    with pytest.raises(InputError, match="latched_board: exists already; choose another folder"):
        new_firmware(tmp_path)
    told = CliRunner().invoke(app, ["new", "firmware", str(tmp_path / "sub")])
    assert told.stdout.splitlines()[-1].endswith("board_config.h, then upload latched_board.ino")


def test_the_page_that_leads_through_it_is_true(made: Made) -> None:
    page = Path(__file__).parent.parent / "docs" / "how-to" / "new-driver.md"
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#\s]+)", text):
        assert (page.parent / link).exists(), link
    commands = {tuple(line.split()[1:3]) for line in re.findall(r"^labtrain .+$", text, re.MULTILINE)}
    known = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    known |= {group.name for group in app.registered_groups}
    assert {command for command, _ in commands} <= known
    assert [kind for kind in KINDS if f"| `{kind}`" not in text] == []
    readme = (made.packages / "metasurface" / "README.md").read_text(encoding="utf-8")
    steps = [str(number) for number in range(1, 9)]
    assert re.findall(r"^## (\d)\.", text, re.MULTILINE) == re.findall(r"^(\d)\. ", readme, re.MULTILINE) == steps
