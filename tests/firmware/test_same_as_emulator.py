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
from labtrain.drivers.metasurface.latched_frames import Command, crc16, frame
from tests.firmware.building import HERE, Build, Chunk, Firmware, Latched, compiled, emulated

BUILDS = (Build(16, 16, 1, 24), Build(3, 5, 3, 3, chain=True, number=0xFFFFFFFF), Build(1, 1, 8, 300))
Running = tuple[Build, Firmware]


@pytest.fixture(scope="module", params=BUILDS, ids=repr)
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    build: Build = request.param
    with Firmware(compiled(build, HERE / "host.c", tmp_path_factory.mktemp("firmware"))) as firmware:
        yield build, firmware


def frames(build: Build) -> st.SearchStrategy[bytes]:
    """Frames as hosts send them, and some as they should not."""
    pattern = st.one_of(
        st.binary(min_size=build.pattern_bytes, max_size=build.pattern_bytes),
        st.sampled_from([bytes(build.pattern_bytes), b"\xa5\x5a" * build.pattern_bytes]).map(
            lambda b: b[: build.pattern_bytes]
        ),
    ).map(lambda data: data[:-1] + bytes([data[-1] & 0xF8]))
    index = st.one_of(st.integers(0, 3), st.sampled_from([build.capacity - 1, build.capacity, 0xFFFF]))
    payload = st.one_of(
        pattern,
        index.map(lambda i: i.to_bytes(2, "big")),
        st.tuples(index, pattern).map(lambda both: both[0].to_bytes(2, "big") + both[1]),
        st.just(b""),
        st.binary(max_size=60),
    )
    proper = st.one_of(
        st.tuples(st.sampled_from([Command.IDENTIFY, Command.BEGIN, Command.READ, Command.SAFE]), st.just(b"")),
        st.tuples(st.just(Command.SET), pattern),
        st.tuples(st.just(Command.SHOW), index.map(lambda i: i.to_bytes(2, "big"))),
        st.tuples(
            st.just(Command.STORE),
            st.tuples(index, pattern).map(lambda both: both[0].to_bytes(2, "big") + both[1]),
        ),
    )
    odd = st.tuples(st.integers(0, 255), payload)
    return st.builds(
        lambda both, number, version: frame(both[0], number, both[1], version),
        st.one_of(proper, proper, odd),
        st.integers(0, 2),
        st.sampled_from([1, 1, 1, 2]),
    )


@st.composite
def damaged(draw: st.DrawFn, build: Build) -> bytes:
    """A frame with which something is wrong, or nothing."""
    whole = bytearray(draw(frames(build)))
    how = draw(st.sampled_from(["whole", "again", "changed", "cut", "longer", "noise", "a start before"]))
    at = draw(st.integers(0, len(whole) - 1))
    if how == "again":
        return bytes(whole * 2)
    if how == "changed":
        whole[at] ^= draw(st.integers(1, 255))
    elif how == "cut":
        del whole[at:]
    elif how == "longer":  # a header that asks for more than there is
        whole[5:7] = draw(st.integers(0, 0xFFFF)).to_bytes(2, "big")
        whole[7] = crc16(bytes(whole[2:7])) & 0xFF
    elif how == "noise":
        return draw(st.binary(max_size=40))
    elif how == "a start before":
        return bytes(whole[: at % 8]) + bytes(whole)
    return bytes(whole)


@st.composite
def streams(draw: st.DrawFn, build: Build) -> list[Chunk]:
    """Bytes in pieces that have nothing to do with where frames end."""
    stream = b"".join(draw(st.lists(damaged(build), min_size=1, max_size=8)))
    ends = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    pieces = [stream[a:b] for a, b in zip([0, *ends], [*ends, len(stream)], strict=True)]
    pauses = st.sampled_from([0, 0, 1, 99, 101, 700])  # 100 ms of silence end a frame
    return [(draw(pauses), piece) for piece in pieces]


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
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
