"""The emulated Arduino does what its sketch does, byte by byte, and shows what passes through the registers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labtrain.clock import SimulatedClock
from labtrain.drivers.emulators.metasurface.arduino_shift_register import ArduinoShiftRegisterEmulator
from labtrain.drivers.metasurface.arduino_shift_register import POSITION
from labtrain.drivers.testing import Pixels
from labtrain.errors import InputError

ACK, NAK = [(0.0, b"\x06")], [(0.0, b"\x15")]


class Film(Pixels):
    """Remembers all it has shown."""

    def __init__(self) -> None:
        super().__init__(96)
        self.frames: list[list[int]] = []

    def set_pattern(self, states: object) -> None:
        super().set_pattern(states)  # type: ignore[arg-type]
        self.frames.append(self.pattern.tolist())


@pytest.fixture
def board() -> ArduinoShiftRegisterEmulator:
    return ArduinoShiftRegisterEmulator(Film(), SimulatedClock())


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"", []),
        (b"\x01", []),
        (b"\x01\x00", ACK),
        (b"\x00\x00", ACK),
        (b"\x01\x81", NAK),
        (b"\xff\xff", NAK),
        (b"\x01\x01" + bytes(11), []),
        (b"\x01\x01" + bytes(12), ACK),
        (b"\x00\x02" + bytes(24), ACK),
        (b"\x01\x80" + bytes(128 * 12), ACK),
        (b"\xff\xff\x01\x00\xff\xff", [(0.0, b"\x15\x06\x15")]),
        (b"E\x00", [(0.0, b"E")]),
    ],
)
def test_what_it_answers(board: ArduinoShiftRegisterEmulator, sent: bytes, answer: object) -> None:
    assert board.receive(sent) == answer


@settings(deadline=None)
@given(st.lists(st.integers(1, 5), max_size=8))
def test_it_does_not_matter_how_bytes_arrive(cuts: list[int]) -> None:
    message, answers, board = b"\xff\xff" + b"\x01\x01" + bytes(range(12)) + b"\x01\x00", b"", _board()
    while message:
        n = cuts.pop() if cuts else len(message)
        answers += b"".join(data or b"" for _, data in board.receive(message[:n]))
        message = message[n:]
    assert answers == b"\x15\x06\x06"


def _board() -> ArduinoShiftRegisterEmulator:
    return ArduinoShiftRegisterEmulator(Film(), SimulatedClock())


def test_there_is_no_latch(board: ArduinoShiftRegisterEmulator) -> None:
    """Eight clocks, each of which moves every register by a cell: first in, furthest in the end."""
    board.receive(b"\x01\x01" + b"\x80" + bytes(11))
    film = board.surface.frames  # type: ignore[attr-defined]
    cell = {int(position): cell for cell, position in enumerate(POSITION)}
    assert [np.flatnonzero(frame).tolist() for frame in film] == [[cell[7 - clock]] for clock in range(8)]


def test_patterns_of_one_message_follow_each_other(board: ArduinoShiftRegisterEmulator) -> None:
    board.receive(b"\x01\x02" + b"\xff" * 12 + bytes(12))
    film = board.surface.frames  # type: ignore[attr-defined]
    assert len(film) == 16 and all(film[7]) and not any(film[15])


def test_every_cell_is_one_bit() -> None:
    assert sorted(POSITION) == list(range(96))
    assert POSITION[:24].tolist() == [
        1,
        0,
        3,
        2,
        5,
        4,
        7,
        6,
        9,
        8,
        11,
        10,
        16,
        17,
        12,
        15,
        14,
        13,
        19,
        18,
        23,
        20,
        21,
        22,
    ]
    assert POSITION[94] == 93 and POSITION[72] == 73


def test_power_lost_is_pattern_lost_and_what_was_begun(board: ArduinoShiftRegisterEmulator) -> None:
    board.receive(b"\x01\x01" + b"\xff" * 12 + b"\x01")
    assert board.reboot() == [(0.0, None)] and not board.surface.pattern.any()
    assert board.receive(b"\x01\x00") == ACK


@pytest.mark.parametrize(
    ("data", "length"),
    [
        (b"", 0),
        (b"\x01", 0),
        (b"\x01\x00\x07", 2),
        (b"\x01\x01" + bytes(13), 14),
        (b"\x01\x01" + bytes(11), 0),
        (b"\x01\xff", 2),
    ],
)
def test_messages_are_counted_for_faults(board: ArduinoShiftRegisterEmulator, data: bytes, length: int) -> None:
    assert board.message_length(data) == length


def test_a_world_that_is_too_large_is_refused() -> None:
    with pytest.raises(InputError, match="asked for 97 pixels, it has 96 cells"):
        ArduinoShiftRegisterEmulator(Pixels(97), SimulatedClock())
