"""The latched board in a microwave rig: the same room gives the same answers, also when things go wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from labtrain.drivers.metasurface.latched_board import LatchedBoard
from labtrain.rigs.microwave import MicrowaveRig
from tests.rigs.microwaves import DRIVES, FaultyRig, emulator, rig

BOARD: dict[str, Any] = {"driver": "latched-board", "rows": 3, "columns": 4, "bits": 1, "n_pixels": None}


def measured(opened: MicrowaveRig) -> NDArray[np.float64]:
    with opened:
        opened.commission()
        opened.restart(3)
        return np.asarray(opened.layers[0].forward(DRIVES))


@pytest.fixture(scope="module")
def right() -> NDArray[np.float64]:
    """What the room answers behind another controller."""
    return measured(rig())


def test_the_room_answers_as_behind_another_controller(right: NDArray[np.float64]) -> None:
    opened = rig(metasurface=BOARD)
    assert (measured(opened) == right).all()


def test_a_chunk_is_stored_and_shown_by_number() -> None:
    with rig(metasurface=BOARD) as opened:
        surface = opened.instruments["metasurface"]
        assert isinstance(surface, LatchedBoard)
        opened.commission()
        opened.layers[0].forward(DRIVES[:20])
        assert surface.stored > 0
        assert emulator(opened, "metasurface").pattern == surface._packed[surface.stored - 1]


@pytest.mark.parametrize(
    "fault",
    ["no reply at 20", "late 1.5 s at 33", "garbage at 45", "truncated at 52", "reboot at 70", "disconnect at 80"],
)
def test_a_fault_changes_no_answer(fault: str, right: NDArray[np.float64]) -> None:
    assert (measured(FaultyRig(f"metasurface: {fault}", metasurface=BOARD)) == right).all()
