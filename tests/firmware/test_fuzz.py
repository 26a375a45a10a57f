"""A few seconds of benchmarks/firmware_fuzz.py, and that its own checks see what they are there for."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pytest

from tests.firmware.building import SKETCH, compiler

PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "firmware_fuzz.py"


@pytest.fixture(scope="module")
def fuzzing() -> ModuleType:
    spec = importlib.util.spec_from_file_location("firmware_fuzz", PATH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("board", ["16 x 16 x 1 bit", "3 x 5 x 3 bits"])
def test_nothing_is_found(fuzzing: ModuleType, board: str, tmp_path: Path) -> None:
    found = fuzzing.fuzz(fuzzing.compiled(compiler(), board, tmp_path), 1.0, 1)
    assert found["wrong"] == ""
    assert found["patterns"] > 100 and found["answers"] > 100 and found["corpus"] > 10


@pytest.mark.parametrize(
    ("file", "right", "mistaken", "told"),
    [
        (
            "frame_parser.c",
            "== 0 ? FRAME_COMPLETE",
            "% 256 == 0 ? FRAME_COMPLETE",
            "was not sent",
        ),
        ("frame_parser.c", "> FRAME_PAYLOAD)", "> FRAME_PAYLOAD + 9)", "the parser holds more than a frame"),
        ("board.c", "|= (uint8_t)(1u << (index % 8))", "|= (uint8_t)(1u << (index + 31))", "runtime error: shift"),
    ],
)
def test_a_mistake_is_found(
    fuzzing: ModuleType, tmp_path: Path, file: str, right: str, mistaken: str, told: str
) -> None:
    sketch = tmp_path / "sketch"
    shutil.copytree(SKETCH, sketch)
    source = (sketch / file).read_text(encoding="utf-8")
    assert right in source
    (sketch / file).write_text(source.replace(right, mistaken), encoding="utf-8")
    fuzzing.SKETCH = sketch
    try:
        found = fuzzing.fuzz(fuzzing.compiled(compiler(), "3 x 5 x 3 bits", tmp_path), 20.0, 1)
    finally:
        fuzzing.SKETCH = SKETCH
    assert told in found["wrong"]
