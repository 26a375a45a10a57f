"""The rule about skips, tried on a small test file of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import pytest

def test_runs():
    pass

def test_waits():
    pytest.skip("needs real hardware: a network analyser")

@pytest.mark.xfail(reason="expected")
def test_expected():
    raise AssertionError

{more}
"""
SKIPS = {
    "call": 'def test_skips():\n    pytest.skip("no such library")',
    "mark": '@pytest.mark.skip(reason="no such library")\ndef test_skips():\n    pass',
    "fixture": '@pytest.fixture\ndef thing():\n    pytest.skip("no such library")\n\ndef test_skips(thing):\n    pass',
    "module": 'pytest.skip("no such library", allow_module_level=True)',
    "data": "def test_skips(data_dir):\n    pass",
}


def outcome(folder: Path, more: str, **environment: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(Path(__file__).parent / "conftest.py", folder)
    (folder / "test_some.py").write_text(TESTS.format(more=more), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), str(folder)]
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("LABTRAIN_", "PYTEST_"))}
    return subprocess.run(command, env=plain | environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("kind", SKIPS)
def test_a_skip_fails_on_the_build_machine(tmp_path: Path, kind: str) -> None:
    missing = str(tmp_path / "nowhere")
    result = outcome(tmp_path, SKIPS[kind], LABTRAIN_CI="1", LABTRAIN_DATA=missing)
    assert result.returncode != 0
    assert "skipped, which LABTRAIN_CI=1 does not allow: " in result.stdout
    assert ("measured data are not at" if kind == "data" else "no such library") in result.stdout


def test_elsewhere_a_skip_stays_a_skip(tmp_path: Path) -> None:
    result = outcome(tmp_path, SKIPS["call"])
    assert result.returncode == 0
    assert "1 passed, 2 skipped, 1 xfailed" in result.stdout


def test_a_skip_for_want_of_an_instrument_is_allowed(tmp_path: Path) -> None:
    result = outcome(tmp_path, "", LABTRAIN_CI="1")
    assert result.returncode == 0
    assert "1 passed, 1 skipped, 1 xfailed" in result.stdout
