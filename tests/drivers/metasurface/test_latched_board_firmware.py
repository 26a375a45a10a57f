"""The firmware that comes with the package."""

from __future__ import annotations

from pathlib import Path

import pytest

from labtrain.drivers.metasurface.firmware_files import firmware_files, firmware_names
from labtrain.errors import InputError

FOLDER = Path(__file__).resolve().parents[3] / "drivers/metasurface/firmware"


def test_a_sketch_is_all_the_files_of_its_folder() -> None:
    assert "latched_board" in firmware_names()
    files = firmware_files("latched_board")
    assert files == {path.name: path.read_bytes() for path in (FOLDER / "latched_board").iterdir()}
    assert {"latched_board.ino", "board_config.h", "frame_parser.c", "frame_parser.h"} <= set(files)


def test_an_unknown_one_is_told() -> None:
    with pytest.raises(InputError) as caught:
        firmware_files("latched-board")
    assert str(caught.value) == "unknown firmware 'latched-board' (did you mean latched_board?); known: latched_board"
