"""A few of the ways out that benchmarks/exits.py counts: emulators and run in processes of their own."""

from __future__ import annotations

import importlib.util
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PATH = Path(__file__).resolve().parents[1] / "benchmarks" / "exits.py"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pseudo-terminals and signals of Linux")


def _benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("exits", PATH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["exits"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


exits = _benchmark()


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with exits.Bench(tmp_path_factory.mktemp("exits") / "at-once", "at once") as bench:
        yield bench


@pytest.mark.parametrize(
    ("exit", "moment_s", "signals", "status"),
    [
        ("SIGINT", 0.05, (signal.SIGINT,), 130),
        ("SIGTERM", 0.3, (signal.SIGTERM,), 130),
        ("kill -9, labtrain safe", 0.2, (signal.SIGKILL,), 0),
    ],
)
def test_rf_is_off_and_the_pattern_default_after(
    bench: Any, exit: str, moment_s: float, signals: tuple[int, ...], status: int
) -> None:
    outcome = bench.run(exit, "", moment_s, signals)
    assert outcome.radiated
    assert (outcome.rf, outcome.pattern, outcome.status) == ("0", "default", status)


def test_a_mistake_in_a_driver_ends_safe_too(bench: Any) -> None:
    outcome = bench.run("error in driver", "driver 30")
    assert outcome.radiated
    assert (outcome.rf, outcome.pattern, outcome.status) == ("0", "default", 1)
