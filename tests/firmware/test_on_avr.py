"""The sketch on a simulated ATmega328P with shift registers, through a serial port, driven by the driver itself."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import serial
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from labtrain.clock import RealClock, SimulatedClock
from labtrain.drivers.metasurface.latched_board import LatchedBoard
from labtrain.drivers.metasurface.latched_frames import ANSWER, Command, frame, pack
from tests.firmware.avr import LONGEST_S, Chip, arduino_core, run, simulator, sketch
from tests.firmware.building import Build, Latched
from tests.firmware.streams import damaged

UNO = Build(16, 16, 1, 24)
SMALL = Build(3, 5, 3, 3, chain=True, number=4_000_000_000)
RAM_BYTES, STACK_BYTES = 2048, 512

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs pseudo-terminals")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("avr")


@pytest.fixture(scope="module")
def core(folder: Path) -> list[Path]:
    return arduino_core(folder)


@pytest.fixture(scope="module", params=[UNO, SMALL], ids=repr)
def chip(request: pytest.FixtureRequest, folder: Path, core: list[Path]) -> Iterator[tuple[Build, Chip]]:
    build: Build = request.param
    with Chip(simulator(folder), sketch(build, core, folder), build) as running:
        yield build, running


def test_the_sketch_leaves_room_for_its_stack(core: list[Path], folder: Path) -> None:
    told = run("avr-size", sketch(UNO, core, folder)).splitlines()[1].split()
    assert int(told[1]) + int(told[2]) <= RAM_BYTES - STACK_BYTES


def test_the_driver_on_the_chip(chip: tuple[Build, Chip]) -> None:
    build, running = chip
    bits, safe = build.bits, "latched " + "00" * build.pattern_bytes
    assert running.start == ["outputs 0", safe, "outputs 1"], "off until the default pattern is in"
    patterns = np.random.default_rng(0).integers(1 << bits, size=(4, build.rows * build.columns))
    latched = ["latched " + pack(pattern, bits).hex() for pattern in patterns]
    config = LatchedBoard.Config(
        address=running.port, rows=build.rows, columns=build.columns, bits=bits, verify="every",
        timeout_s=LONGEST_S, open_timeout_s=LONGEST_S,
    )  # fmt: skip
    with LatchedBoard.make("metasurface", config, RealClock()) as surface:
        assert surface.emulated
        assert f"{build.rows} x {build.columns} elements" in surface.identity
        assert surface.settings() == {
            "firmware": "1.0",
            "serial_number": build.number,
            "sequence_capacity": build.capacity,
            "reads": "shift registers" if build.chain else "memory",
        }
        surface.set_pattern(patterns[3])
        surface.set_sequence(patterns[:3])
        for index in (2, 0, 1, 2):
            surface.show(index)
            assert surface.pattern.tolist() == patterns[index].tolist()
        surface.link.send_anyway(frame(Command.SET, 0, bytes(build.pattern_bytes))[:-3])  # broken off
        surface.set_pattern(patterns[3])
        assert surface.pattern.tolist() == patterns[3].tolist()
    # One edge for each pattern: the elements pass through nothing else, and the frame broken off was none.
    assert running.lines(7) == [latched[n] for n in (3, 2, 0, 1, 2, 3)] + [safe]
    assert running.rest() == []


def test_silence_ends_a_frame_on_the_chip(chip: tuple[Build, Chip]) -> None:
    """A tenth of a second of the chip's own time, which passes as fast as this machine lets it: it is waited for."""
    build, running = chip
    longest = build.emulator(Latched(build), SimulatedClock()).info.longest_payload
    begun, safe = frame(Command.SET, 1, bytes(build.pattern_bytes))[:9], frame(Command.SAFE, 2)
    with serial.Serial(running.port, 115_200, timeout=LONGEST_S) as port:

        def answer() -> bytes:
            head = port.read(8)
            return head + port.read(int.from_bytes(head[5:7], "big") + 2)

        for pause_s in (0.15, 0.3, 0.6, 1.2, 2.4, 4.8):
            port.write(begun)
            port.timeout = pause_s
            assert port.read(1) == b""
            port.timeout = LONGEST_S
            port.write(safe + bytes(8 + longest + 2) + frame(Command.READ, 3))
            heard = answer()[3] == Command.SAFE | ANSWER  # or else it was a part of what was begun
            assert answer()[3] == Command.READ | ANSWER
            if heard:
                break
    assert heard
    running.lines(1)


# A simulated chip shares a busy machine: few examples, and a failing one is shown as it was found.
@settings(
    max_examples=4, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck), database=None
)
@given(data=st.data())
def test_the_chip_does_what_the_emulator_does(chip: tuple[Build, Chip], data: st.DataObject) -> None:
    build, running = chip
    world = Latched(build)
    emulator = build.emulator(world, SimulatedClock())
    known = [frame(Command.BEGIN, 250), frame(Command.SAFE, 251)]
    filler = bytes(8 + emulator.info.longest_payload + 2)  # whatever was begun ends with it: no silence is needed
    with serial.Serial(running.port, 115_200, timeout=LONGEST_S) as port:
        for sent in known + [part + filler for part in data.draw(st.lists(damaged(build), min_size=1, max_size=5))]:
            expected = b"".join(answer or b"" for _, answer in emulator.receive(sent))
            if sent in known:  # what an earlier example has left, and the count of patterns since power came on
                port.write(sent)
                emulator._latches = int.from_bytes(port.read(len(expected))[10:12], "big")
                continue
            port.write(sent)
            assert port.read(len(expected)) == expected, sent.hex(" ")
    latched = [f"latched {pattern.hex()}" for _, pattern in world.events]
    assert running.lines(len(latched)) == latched
    assert running.rest() == []
