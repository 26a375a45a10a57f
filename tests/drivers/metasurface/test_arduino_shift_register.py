"""The Arduino driver: bytes on the wire, other firmware, and a fence made of answers that are all alike."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labtrain.clock import SimulatedClock
from labtrain.drivers.backends.memory import MemoryLink
from labtrain.drivers.emulators.emulator import Reply
from labtrain.drivers.emulators.metasurface.arduino_shift_register import ArduinoShiftRegisterEmulator
from labtrain.drivers.metasurface.arduino_shift_register import BOOT_S, ArduinoShiftRegister
from labtrain.drivers.testing import Pixels
from labtrain.errors import LinkDesync, LinkRefused, LinkTimeout
from tests.surfaces import Cable

ONES = np.ones(96, dtype=np.int64)


class Bench:
    def __init__(self, **config: object) -> None:
        self.clock = SimulatedClock()
        self.world = Pixels(96)
        self.board = ArduinoShiftRegisterEmulator(self.world, self.clock)
        self.cable = Cable(self.board)
        made = ArduinoShiftRegister.Config.model_validate(config)
        self.link = MemoryLink("metasurface", self.cable, self.clock, timeout_s=made.timeout_s)
        self.surface = ArduinoShiftRegister(self.link, made, self.clock)


def test_the_bytes_on_the_wire() -> None:
    bench = Bench()
    with bench.surface as surface:
        bench.cable.heard.clear()
        surface.set_pattern(np.arange(96) == 0)  # the second bit of the first register
        surface.check(np.arange(96) == 0)
    assert bench.cable.heard == [b"\x01\x01\x40" + bytes(11), b"\x01\x00", b"\x01\x01" + bytes(12)]


@settings(deadline=None)
@given(st.lists(st.integers(0, 1), min_size=96, max_size=96))
def test_cells_show_what_they_are_told(states: list[int]) -> None:
    bench = Bench()
    with bench.surface as surface:
        surface.set_pattern(states)
        assert bench.world.pattern.tolist() == states


def test_clocking_is_over_before_anything_measures() -> None:
    bench = Bench()
    with bench.surface as surface:
        before = bench.clock.monotonic()
        surface.set_pattern(ONES)
        assert bench.clock.monotonic() - before == pytest.approx(0.001)
        assert surface.emulated and surface.settings() == {}


def test_a_board_is_not_taken_for_an_emulator_and_is_waited_for() -> None:
    bench = Bench(address="/dev/ttyACM7")
    sound = bench.board.receive
    bench.board.receive = lambda data: [(0.0, b"\x06")] if data == b"E\x00" else sound(data)  # type: ignore[method-assign]
    with bench.surface as surface:
        assert not surface.emulated
        assert BOOT_S <= bench.clock.monotonic() < BOOT_S + 0.2
        surface.verify()
        assert bench.clock.monotonic() < BOOT_S + 0.2  # only once


class Older:
    """Firmware without the command byte: a number and as many patterns; and the first one, 12 bytes a pattern."""

    def __init__(self, counts: bool) -> None:
        self.counts, self.begun = counts, b""

    def connected(self) -> list[Reply]:
        return []

    def receive(self, data: bytes) -> list[Reply]:
        self.begun += data
        answers = b""
        while self.begun:
            n = 1 + 12 * self.begun[0] if self.counts else 12
            if self.counts and self.begun[0] > 128:
                answers, self.begun = answers + b"\x15", self.begun[1:]
            elif len(self.begun) >= n:
                answers, self.begun = answers + b"\x06", self.begun[n:]
            else:
                break
        return [(0.0, answers)] if answers else []


@pytest.mark.parametrize("counts", [True, False])
@pytest.mark.parametrize("dirty", [True, False])
def test_older_firmware_is_told_and_never_given_a_pattern(counts: bool, dirty: bool) -> None:
    bench = Bench()
    bench.cable.emulator = Older(counts)
    if dirty:  # as a serial port is from the start
        bench.link.open()
        bench.link.dirty = True
    with pytest.raises(LinkRefused) as caught, bench.surface:
        pass
    assert str(caught.value).startswith(
        "metasurface (sim): nothing answered as the firmware Arduino_leonardo_code_send_config with command byte does ("
    )
    assert str(caught.value).endswith("; check rig.metasurface.address and load that firmware")


@settings(deadline=None)
@given(st.binary(max_size=60), st.integers(0, 128))
def test_whatever_an_earlier_program_began_does_no_harm(noise: bytes, patterns: int) -> None:
    bench = Bench()
    with bench.surface as surface:
        bench.board.receive(noise)
        bench.board.receive(b"\x00" + bytes([patterns]) + noise)
        bench.link.dirty = True
        surface.set_pattern(ONES)
        assert bench.world.pattern.all()
        surface.set_pattern(0 * ONES)
        assert not bench.world.pattern.any()


@pytest.mark.parametrize("seconds", [1.01, 1.3, 2.5, 3.5])
def test_a_late_answer_is_never_taken_for_another(seconds: float) -> None:
    bench = Bench()
    with bench.surface as surface:
        bench.cable.trouble = [lambda replies: [(delay + seconds, data) for delay, data in replies]]
        with pytest.raises(LinkTimeout):
            surface.set_pattern(ONES)
        for n in range(6):
            heard = len(bench.cable.heard)
            try:
                surface.set_pattern(np.arange(96) % (n + 2) == 0)
            except LinkDesync:
                assert not any(message[:2] == b"\x01\x01" for message in bench.cable.heard[heard:])
                bench.clock.sleep(1.0)
                continue
            assert bench.world.pattern.tolist() == (np.arange(96) % (n + 2) == 0).astype(int).tolist()
        surface.check(ONES)


def test_answers_that_are_still_under_way_are_found_by_their_order() -> None:
    bench = Bench()
    with bench.surface as surface:
        bench.link.dirty = True
        bench.cable.heard.clear()
        bench.cable.trouble = [lambda _: [(0.0, b"\x15" + b"\x06" * 8)]]  # of an earlier hail, and of patterns
        with pytest.raises(LinkDesync, match="asked eight things that need the answers"):
            surface.set_pattern(ONES)
        assert not any(message[:2] == b"\x01\x01" for message in bench.cable.heard)
        surface.set_pattern(ONES)
        assert bench.world.pattern.all()


@pytest.mark.parametrize("answer", [b"\x15", b"\x00", b"\x06\x06"])
def test_an_answer_that_is_none_is_told(answer: bytes) -> None:
    bench = Bench()
    trouble: Callable[[list[Reply]], list[Reply]] = lambda _: [(0.0, answer)]  # noqa: E731
    with bench.surface as surface:
        bench.cable.trouble = [trouble]
        with pytest.raises(LinkDesync):
            surface.set_pattern(ONES)
            surface.set_pattern(ONES)  # where one answer too many was heard, before anything is sent
        surface.set_pattern(ONES)


@settings(deadline=None)
@given(st.integers(0, 14))
def test_the_safe_state_is_reached_from_anywhere(cut: int) -> None:
    bench = Bench()
    with bench.surface as surface:
        surface.set_pattern(ONES)
        bench.board.receive((b"\x01\x01" + b"\xff" * 12)[:cut])  # Ctrl-C while it was sent
        bench.link.dirty = True
        surface.safe()
        assert not bench.world.pattern.any()
