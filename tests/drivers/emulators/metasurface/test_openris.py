"""The emulated OpenRIS does what the server's program does, receive by receive."""

from __future__ import annotations

import numpy as np
import pytest

from labtrain.clock import SimulatedClock
from labtrain.drivers.emulators.faults import Faulty
from labtrain.drivers.emulators.metasurface.openris import OpenRisEmulator
from labtrain.drivers.metasurface.openris import ANSWER, MESSAGE_BYTES, QUESTION, TILE_S
from labtrain.drivers.testing import Pixels
from labtrain.errors import InputError

ONES = b"02" + b" ".join([b"1"] * 512)
DONE = [(0.0, b"a")]
GONE = [(0.0, None)]


@pytest.fixture
def server() -> OpenRisEmulator:
    return OpenRisEmulator(Pixels(1536), SimulatedClock())


def shown(server: OpenRisEmulator) -> list[int]:
    """Elements that are on, of each tile."""
    return server.surface.pattern.reshape(3, 512).sum(axis=1).tolist()


def test_a_message_is_1025_bytes_and_sets_one_tile(server: OpenRisEmulator) -> None:
    assert len(ONES) == MESSAGE_BYTES == 1025
    assert server.receive(ONES) == DONE and shown(server) == [0, 512, 0]
    matlab = b"01" + b";".join(b" ".join(b"01"[i % 2 : i % 2 + 1] for i in range(32)) for _ in range(16))
    assert server.receive(matlab) == DONE and shown(server) == [256, 512, 0]
    assert server.surface.pattern[:4].tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("sent", [b"", ONES[:-1], ONES[:3], b"*IDN?\n", b"01" + b"1" * 510])
def test_what_is_shorter_is_dropped_without_a_word(server: OpenRisEmulator, sent: bytes) -> None:
    assert server.receive(sent) == [] and shown(server) == [0, 0, 0]
    assert server.receive(ONES) == DONE


def test_halves_of_a_message_are_two_short_ones(server: OpenRisEmulator) -> None:
    assert server.receive(ONES[:500]) + server.receive(ONES[500:]) == []


def test_messages_that_arrive_together_are_taken_one_by_one(server: OpenRisEmulator) -> None:
    assert server.receive(ONES + ONES.replace(b"02", b"03", 1) + ONES[:9]) == [*DONE, *DONE]
    assert shown(server) == [0, 512, 512]


def test_too_few_numbers_are_refused_and_it_hangs_up(server: OpenRisEmulator) -> None:
    assert server.receive(b"01" + b"1" * 100 + b" " * 923) == [(0.0, b"b"), *GONE]
    assert server.connected() == [] and server.receive(ONES) == DONE


@pytest.mark.parametrize(
    "sent", [ONES.replace(b"02", b"xx", 1), ONES.replace(b"02", b"04", 1), ONES[:-1] + b"x", ONES[:-1] + b"\n"]
)
def test_what_python_cannot_read_ends_the_server(server: OpenRisEmulator, sent: bytes) -> None:
    assert server.receive(sent) == GONE
    assert server.connected() == GONE and server.receive(ONES) == []
    assert server.reboot() == GONE and server.connected() == []
    assert server.receive(ONES) == DONE


def test_tile_0_is_the_last_one_as_python_counts(server: OpenRisEmulator) -> None:
    assert server.receive(ONES.replace(b"02", b"00", 1)) == DONE and shown(server) == [0, 0, 512]


def test_it_alone_says_that_it_is_an_emulator(server: OpenRisEmulator) -> None:
    assert server.receive(QUESTION) == [(0.0, ANSWER)]
    assert not ANSWER.startswith((b"a", b"b"))


def test_it_takes_its_time_if_asked() -> None:
    server = OpenRisEmulator(Pixels(4), SimulatedClock(), timing=True)
    assert server.receive(ONES + ONES) == [(TILE_S, b"a"), (2 * TILE_S, b"a")]


def test_messages_are_counted_for_faults(server: OpenRisEmulator) -> None:
    faulty = Faulty(server, [])
    assert faulty.receive(ONES[:600]) + faulty.receive(ONES[600:]) == []  # as without faults
    lengths = [server.message_length(data) for data in (ONES, ONES * 2, ONES[:-1], QUESTION, b"")]
    assert lengths == [1025, 1025, 0, len(QUESTION), 0]


def test_a_world_that_is_too_large_is_refused() -> None:
    with pytest.raises(InputError, match="asked for 1537 pixels, it has 1536 elements"):
        OpenRisEmulator(Pixels(1537), SimulatedClock())


def test_power_lost_is_pattern_lost(server: OpenRisEmulator) -> None:
    server.receive(ONES)
    server.reboot()
    assert not np.any(server.surface.pattern)
