"""Metasurfaces that store patterns: the same answers, bit for bit, from fewer and longer messages."""

from __future__ import annotations

from typing import Any

import pytest

from labtrain.clock import SimulatedClock
from labtrain.drivers.emulators.emulator import Reply
from labtrain.drivers.emulators.metasurface.teensy_codebook import TeensyCodebookEmulator
from labtrain.drivers.metasurface.teensy_codebook import TeensyCodebook
from labtrain.rigs.microwave import MicrowaveRig
from labtrain.rigs.microwave_bench import LONGEST_S
from tests.rigs.microwaves import DRIVES, FaultyRig, emulator, rig

STORED: dict[str, Any] = {"driver": "teensy-codebook"}
ANEW: dict[str, Any] = {"driver": "teensy-codebook", "capacity": 0}


def answers(opened: MicrowaveRig) -> bytes:
    with opened:
        opened.commission()
        opened.restart(3)
        return opened.layers[0].forward(DRIVES).tobytes()


@pytest.fixture(scope="module")
def expected() -> bytes:
    return answers(rig())


@pytest.mark.parametrize(
    "metasurface",
    [STORED, ANEW, {**STORED, "capacity": 7}, {"driver": "latched-board"}, {"driver": "openris"}],
    ids=["stored", "each anew", "seven at a time", "latched board", "none to store"],
)
def test_answers_do_not_depend_on_who_stores_patterns(metasurface: dict[str, Any], expected: bytes) -> None:
    assert answers(rig(metasurface=metasurface)) == expected


def test_a_chunk_is_one_codebook() -> None:
    with rig(metasurface=STORED) as opened:
        opened.commission()  # 30 patterns
        assert emulator(opened, "metasurface").uploads == 1
        opened.layers[0].forward(DRIVES)
        opened.layers[0].forward(DRIVES[:1])
        assert emulator(opened, "metasurface").uploads == 3
    with rig(metasurface={**STORED, "capacity": 8}) as opened:
        opened.commission()
        assert emulator(opened, "metasurface").uploads == 4


@pytest.mark.parametrize(
    "fault",
    [
        "metasurface: disconnect at 20 of APPLY",
        "metasurface: reboot at 20 of APPLY",
        "metasurface: late 3 s at 45 of APPLY",
        "metasurface: garbage at 59 of APPLY",
        "metasurface: no reply at 2 of CODEBOOK_BEGIN",
        "metasurface: truncated at 1 of CODEBOOK_BEGIN",
        "vna: disconnect at 40 of SDATA",
    ],
)
def test_after_a_failure_the_sequence_is_stored_again(fault: str, expected: bytes) -> None:
    faulty = FaultyRig(fault, metasurface=STORED)
    with faulty:
        faulty.commission()
        faulty.restart(3)
        assert faulty.layers[0].forward(DRIVES).tobytes() == expected
        assert faulty._bench.uploads == 3  # type: ignore[union-attr]


def test_a_controller_that_lost_its_pattern_under_the_last_shot_is_found_out(
    expected: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not read back; but it no longer has the codebook, and the reading before does not count."""
    sound, shown = TeensyCodebookEmulator.receive, []

    def forgetful(self: TeensyCodebookEmulator, data: bytes) -> list[Reply]:
        replies = sound(self, data)
        if data.startswith(b"APPLY"):
            shown.append(data)
            if len(shown) == 30:  # the last one of commissioning
                self._restart()  # and nobody is told
        return replies

    monkeypatch.setattr(TeensyCodebookEmulator, "receive", forgetful)
    with rig(metasurface=STORED) as opened:
        assert opened.commission()["shots"] == 31
        opened.restart(3)
        assert opened.layers[0].forward(DRIVES).tobytes() == expected


def test_what_was_stored_before_it_was_made_safe_is_not_shown_afterwards() -> None:
    with rig(metasurface=STORED) as opened:
        opened.commission()
        opened.restart(3)
        shots = opened.layers[0].measure(DRIVES)
        next(shots)
        opened.safe()
        assert not opened.world.pattern.any()
        before = emulator(opened, "metasurface").uploads
        opened.layers[0].forward(DRIVES[:2])
        assert emulator(opened, "metasurface").uploads == before + 1


def test_a_plan_takes_a_shot_s_share_of_the_upload() -> None:
    def times(metasurface: dict[str, Any], fidelity: str = "instruments") -> float:
        with rig(metasurface=metasurface, fidelity=fidelity) as opened:
            return opened.layers[0].info.seconds_per_shot - opened.layers[0].info.integration_s

    surface = TeensyCodebook.make("m", TeensyCodebook.Config(), SimulatedClock(), emulator=object())  # type: ignore[arg-type]
    assert times(ANEW) == pytest.approx(surface.write_s)
    assert times(STORED) == pytest.approx(surface.sequence_s(4) / 4)  # as many as fit into a chunk
    assert times(STORED) == times(STORED, "physics") < times(ANEW)


def test_no_more_is_stored_than_a_chunk_takes_so_that_a_run_can_be_stopped() -> None:
    clock = SimulatedClock(1000.0)
    with rig(clock, metasurface=STORED, real_time=True) as opened:
        opened.commission()
        opened.restart(0)
        before, times = clock.monotonic(), []
        sizes = []
        for shots in opened.layers[0].measure(DRIVES):
            times.append(clock.monotonic() - before)
            before = clock.monotonic()
            sizes.append(len(shots.y))
        assert max(times) < 1.2 * LONGEST_S
        assert sum(sizes) == len(DRIVES) and max(sizes) > 1
