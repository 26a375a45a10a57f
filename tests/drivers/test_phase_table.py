"""Levels for steps of phase: straight lines, measured tables, and modulators that cannot do what is asked."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest

from labtrain.drivers.phase_table import levels_of_steps, read_phases, straight
from labtrain.errors import InputError


def levels(phases: np.ndarray, radians: float, steps: int) -> list[int]:
    return levels_of_steps(phases, radians, steps, "slm (x)", "as told").tolist()


def test_steps_of_a_straight_line_are_its_levels() -> None:
    assert levels(straight(5, math.pi), math.pi, 5) == [0, 1, 2, 3, 4]
    # 256 levels to 2 pi less one: half of it is reached by level 128 exactly.
    half = levels(straight(256, 2 * math.pi * 255 / 256), math.pi, 129)
    assert half == list(range(129))


def test_the_nearest_phase_counts() -> None:
    assert levels(np.array([0.0, 0.1, 1.4, 1.7, 3.2]), 3.0, 3) == [0, 2, 4]


def test_a_phase_that_falls_with_the_levels_is_as_good() -> None:
    assert levels(-straight(5, 4.0), 4.0, 5) == [0, 1, 2, 3, 4]


def test_steps_begin_at_the_least_phase() -> None:
    assert levels(np.array([0.5, 0.2, 0.0, 1.0, 2.0, 3.0]), 3.0, 4) == [2, 3, 4, 5]


def test_phases_that_nobody_knows_are_not_used() -> None:
    assert levels(np.array([np.nan, 0.0, 1.0, 2.0, np.nan]), 2.0, 3) == [1, 2, 3]


def test_a_range_that_is_not_reached() -> None:
    told = "slm (x): its phase reaches 2.5 rad (as told), asked 3.142; set rig.world.phase_range_rad to 2.5 or less"
    with pytest.raises(InputError, match=re.escape(told)):
        levels(straight(256, 2.5), math.pi, 16)


def test_more_steps_than_levels_and_the_number_that_is_told_works() -> None:
    phases = straight(256, 2 * math.pi * 255 / 256)
    told = (
        "slm (x): 256 steps from 0 to 3.142 rad are more than the levels that it has there, 129 (as told); set "
        "rig.world.levels to 129 or less"
    )
    with pytest.raises(InputError, match=re.escape(told)):
        levels(phases, math.pi, 256)
    curved = np.linspace(0, 1, 64) ** 2 * 4.0
    with pytest.raises(InputError) as caught:
        levels(curved, 4.0, 64)
    (most,) = re.findall(r"levels to (\d+) or", str(caught.value))
    assert len(set(levels(curved, 4.0, int(most)))) == int(most) < 64


def write(folder: Path, text: str) -> Path:
    path = folder / "lut.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_table_of_some_levels_is_interpolated(tmp_path: Path) -> None:
    found = read_phases(write(tmp_path, "level,phase_rad\n1,0\n3,1.0\n4,3.0\n"), 6, "rig.slm.lut_file")
    np.testing.assert_array_equal(found, [np.nan, 0.0, 0.5, 1.0, 3.0, np.nan])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("level,phase\n0,1\n", ":2: needs the columns level and phase_rad, with numbers; found level '0', phase '1'"),
        ("level,phase_rad\n0,x\n", ":2: needs the columns"),
        ("level,phase_rad\n0,0\n8,1\n", ":3: level 8, phase 1; levels are whole numbers 0 to 7, phases finite"),
        ("level,phase_rad\n0.5,0\n", ":2: level 0.5"),
        ("level,phase_rad\n0,nan\n", ":2: level 0, phase nan"),
        ("level,phase_rad\n3,0\n2,1\n", ":3: level 2 does not come behind level 3; sort the rows"),
        (
            "level,phase_rad\n0,6.2\n1,0.1\n",
            ":3: the phase jumps by 6.1 rad from level 0 to level 1, more than half a turn; unwrap it, or measure more "
            "levels",
        ),
        ("level,phase_rad\n0,1\n", ": 1 rows, needed at least the first and the last level; correct rig.slm.lut_file"),
    ],
)
def test_tables_that_are_none(tmp_path: Path, text: str, told: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InputError, match=re.escape(f"{path}{told}")):
        read_phases(path, 8, "rig.slm.lut_file")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.csv: cannot be read \(No such file or directory\); correct rig.x"):
        read_phases(tmp_path / "none.csv", 8, "rig.x")
    (tmp_path / "bin").write_bytes(b"level,phase_rad\n\xff\xfe0,1\n")
    with pytest.raises(InputError, match=r"is no CSV file in UTF-8; save it as such, or correct rig.x"):
        read_phases(tmp_path / "bin", 8, "rig.x")
