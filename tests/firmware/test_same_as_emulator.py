"""The firmware, compiled with sanitizers, and the emulator do the same with the same bytes, whatever these are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labtrain.clock import SimulatedClock
from labtrain.drivers.metasurface.latched_board import LatchedBoard
from labtrain.drivers.metasurface.latched_frames import Command, frame
from tests.firmware.building import HERE, Build, Firmware, Latched, compiled, emulated
from tests.firmware.streams import streams

BUILDS = (Build(16, 16, 1, 24), Build(3, 5, 3, 3, chain=True, number=0xFFFFFFFF), Build(1, 1, 8, 300))
Running = tuple[Build, Firmware]


@pytest.fixture(scope="module", params=BUILDS, ids=repr)
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    build: Build = request.param
    with Firmware(compiled(build, HERE / "host.c", tmp_path_factory.mktemp("firmware"))) as firmware:
        yield build, firmware


@settings(
    max_examples=70, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data())
def test_same_bytes_same_answers_and_patterns(running: Running, data: st.DataObject) -> None:
    build, firmware = running
    chunks = data.draw(streams(build))
    world, clock = Latched(build), SimulatedClock()
    emulator = build.emulator(world, clock)
    emulator.reboot()
    assert firmware.run([], restart=True) == world.events
    assert firmware.run([(300, b""), *chunks]) == emulated(emulator, world, clock, chunks)


@pytest.mark.parametrize("cut", [2, 8, 12])
def test_after_garbage_a_frame_is_heard_again(running: Running, cut: int) -> None:
    """After a silence, or after as many bytes as the longest frame has."""
    build, firmware = running
    begun = frame(Command.SET, 1, bytes(build.pattern_bytes))[:cut]
    asked = frame(Command.SAFE, 9)
    longest = 8 + build.emulator(Latched(build), SimulatedClock()).info.longest_payload + 2
    for chunks in ([(0, begun), (101, asked)], [(0, begun + bytes(longest) + asked)]):
        events = firmware.run(chunks, restart=True)
        assert events[-2:] == [("L", bytes(build.pattern_bytes)), ("A", events[-1][1])]
        assert events[-1][1][3:5] == bytes([Command.SAFE | 0x80, 9])


def test_the_counter_of_patterns_wraps_around(running: Running) -> None:
    build, firmware = running
    safe = b"".join(frame(Command.SAFE, n % 256) for n in range(1000))
    firmware.run([], restart=True)
    for _ in range(66):
        events = firmware.run([(0, safe)])
    assert int.from_bytes(events[-1][1][10:12], "big") == 66_000 - 65_536
    world = Latched(build)
    emulator = build.emulator(world, SimulatedClock())
    emulator._latches = 0xFFFF
    ((_, answer),) = emulator.receive(frame(Command.SAFE, 0))
    assert answer is not None and answer[10:12] == b"\0\0"


def test_the_driver_on_the_compiled_firmware(running: Running) -> None:
    build, firmware = running
    firmware.run([(200, b"")], restart=True)
    clock, draw = SimulatedClock(), np.random.default_rng(0)
    config = LatchedBoard.Config(rows=build.rows, columns=build.columns, bits=build.bits, verify="every")
    patterns = draw.integers(1 << build.bits, size=(3, build.rows * build.columns))
    with LatchedBoard.make("metasurface", config, clock, emulator=firmware) as surface:
        assert surface.emulated
        assert surface.settings()["reads"] == ("shift registers" if build.chain else "memory")
        surface.set_pattern(patterns[0])
        assert surface.pattern.tolist() == patterns[0].tolist()
        surface.set_sequence(patterns)
        for index in (2, 0, 1):
            surface.show(index)
            assert surface.pattern.tolist() == patterns[index].tolist()
    assert firmware.latched == [bytes(build.pattern_bytes)]


def test_warnings_are_errors(tmp_path: Path) -> None:
    """What the other tests rely on: the flags reach the compiler."""
    bad = tmp_path / "bad.c"
    bad.write_text("int main(void) { int unused; return 0; }\n", encoding="utf-8")
    with pytest.raises(AssertionError, match="unused"):
        compiled(BUILDS[0], bad, tmp_path)
