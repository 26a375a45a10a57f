"""The Teensy driver: codebooks, patterns by number, and uploads that broke off."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labtrain.clock import SimulatedClock
from labtrain.drivers.backends.memory import MemoryLink
from labtrain.drivers.emulators.emulator import Reply
from labtrain.drivers.emulators.metasurface.teensy_codebook import TeensyCodebookEmulator
from labtrain.drivers.metasurface.teensy_codebook import BOOT_S, TeensyCodebook, encoded
from labtrain.drivers.testing import Pixels
from labtrain.errors import InputError, LinkDesync, LinkRefused, LinkTimeout
from tests.surfaces import Cable

PATTERNS = np.array([np.arange(4096) % (n + 2) == 0 for n in range(3)]).astype(np.int64)


class Bench:
    def __init__(self, heap_bytes: int = 490_000, **config: object) -> None:
        self.clock = SimulatedClock()
        self.world = Pixels(4096)
        self.teensy = TeensyCodebookEmulator(self.world, self.clock, heap_bytes=heap_bytes)
        self.cable = Cable(self.teensy)
        made = TeensyCodebook.Config.model_validate(config)
        self.link = MemoryLink("metasurface", self.cable, self.clock, timeout_s=made.timeout_s)
        self.surface = TeensyCodebook(self.link, made, self.clock)


def instead(*replies: Reply) -> Callable[[list[Reply]], list[Reply]]:
    return lambda _: list(replies)


def test_the_bytes_on_the_wire() -> None:
    bench = Bench()
    with bench.surface as surface:
        bench.cable.heard.clear()
        surface.set_sequence(PATTERNS)
        surface.show(2)
        assert bench.world.pattern.tolist() == PATTERNS[2].tolist()
        surface.show(0)
        surface.check(PATTERNS[0])
        payload = encoded(PATTERNS)
        assert bench.cable.heard[0].startswith(b"CODEBOOK_BEGIN labtrain-1 3 1280 ")
        assert bench.cable.heard[1:] == [payload, b"APPLY 2\n", b"APPLY 0\n", b"STATUS\n"]
        bench.cable.heard.clear()
        surface.set_pattern(PATTERNS[1])
        assert [heard.split()[0] for heard in bench.cable.heard[::2]] == [b"CODEBOOK_BEGIN", b"APPLY"]
        assert bench.world.pattern.tolist() == PATTERNS[1].tolist()
        surface.set_pattern(np.zeros(4096))
        assert bench.cable.heard[-1] == b"CLEAR\n"


def test_a_larger_codebook_than_the_controller_takes_is_refused_before_a_byte_leaves() -> None:
    bench = Bench(capacity=2)
    with bench.surface as surface:
        bench.cable.heard.clear()
        with pytest.raises(InputError) as caught:
            surface.set_sequence(PATTERNS)
        assert bench.cable.heard == []
    assert str(caught.value) == (
        "metasurface (sim): asked a sequence of 3 patterns, the controller stores up to 2; store fewer at a time"
    )
    with Bench(capacity=0).surface as surface, pytest.raises(InputError, match="this controller stores none"):
        surface.set_sequence(PATTERNS)


def test_less_memory_than_the_configuration_says_is_told() -> None:
    bench = Bench(heap_bytes=2 * 1280)
    with bench.surface as surface:
        with pytest.raises(
            LinkDesync, match=r"got 'ERR CODEBOOK_BEGIN_REJECTED'; its memory .*: lower rig.metasurface.cap"
        ):
            surface.set_sequence(PATTERNS)
        with pytest.raises(InputError, match="none is stored"):
            surface.show(0)
        surface.set_sequence(PATTERNS[:2])
        surface.show(1)
        assert bench.world.pattern.tolist() == PATTERNS[1].tolist()


def test_a_real_one_is_not_taken_for_an_emulator_and_is_waited_for() -> None:
    bench = Bench(address="COM7")
    sound = bench.teensy.receive
    bench.teensy.receive = lambda data: [  # type: ignore[method-assign]
        (at, told and told.replace(b" backend=emulator", b"")) for at, told in sound(data)
    ]
    with bench.surface as surface:
        assert surface.identity == "near-field RIS controller, 64 x 64 elements" and not surface.emulated
        assert bench.clock.monotonic() >= BOOT_S
        surface.set_pattern(PATTERNS[0])
        surface.check(PATTERNS[0])
    with Bench().surface as surface:
        assert surface.emulated and TeensyCodebook.fits(surface.identity)


def test_something_else_is_refused() -> None:
    bench = Bench()
    bench.teensy.connected = lambda: []  # type: ignore[method-assign]
    bench.teensy.receive = lambda data: [(0.0, b"#OK\r\n")]  # type: ignore[method-assign]
    with pytest.raises(LinkRefused) as caught, bench.surface:
        pass
    assert str(caught.value) == (
        "metasurface (sim): nothing answered to 'STATUS' as the firmware ris_controller does (asked 'STATUS', got "
        "'#OK'); check rig.metasurface.address and load that firmware"
    )


@settings(deadline=None)
@given(st.integers(0, 3 * 1280), st.booleans())
def test_an_upload_that_broke_off_anywhere_is_completed(cut: int, safe: bool) -> None:
    bench = Bench()
    with bench.surface as surface:
        surface.set_pattern(PATTERNS[0])
        sound = bench.cable.receive

        def unplugged(data: bytes) -> list[Reply]:
            if len(data) < 3 * 1280:
                return sound(data)
            bench.cable.receive = sound  # type: ignore[method-assign]
            bench.teensy.receive(data[:cut])
            raise KeyboardInterrupt

        bench.cable.receive = unplugged  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            surface.set_sequence(PATTERNS)
        assert surface.stored == 0
        if safe:
            surface.safe()
            assert not bench.world.pattern.any()
        surface.set_sequence(PATTERNS)
        surface.show(1)
        assert bench.world.pattern.tolist() == PATTERNS[1].tolist()


def test_an_upload_of_an_earlier_program_is_completed_too() -> None:
    bench = Bench()
    bench.teensy.connected = lambda: []  # type: ignore[method-assign]
    bench.teensy.receive(b"CODEBOOK_BEGIN other 300 1280 0\n123")
    bench.link.open()
    bench.link.dirty = True  # as a serial port is from the start
    bench.surface._owed = 1 << 20
    with bench.surface as surface:
        surface.set_pattern(PATTERNS[0])
        assert bench.world.pattern.tolist() == PATTERNS[0].tolist()


@pytest.mark.parametrize("seconds", [2.01, 3.3, 6.0])
@pytest.mark.parametrize("late", [0, 1, 2])
def test_a_late_answer_is_never_taken_for_another(seconds: float, late: int) -> None:
    bench = Bench()
    with bench.surface as surface:
        on_time: list[Callable[[list[Reply]], list[Reply]]] = [lambda replies: replies] * late
        bench.cable.trouble = [*on_time, lambda replies: [(delay + seconds, data) for delay, data in replies]]
        with pytest.raises(LinkTimeout):
            surface.set_pattern(PATTERNS[0])
        good = 0
        for n in range(12):
            try:
                surface.set_pattern(PATTERNS[n % 3])
            except LinkDesync:
                continue
            good += 1
            assert bench.world.pattern.tolist() == PATTERNS[n % 3].tolist()
        assert good >= 8


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (
            b"ERR NO_CODEBOOK",
            "asked 'APPLY 1', got 'ERR NO_CODEBOOK'; it has restarted and its patterns are lost; if it does so again, "
            "check its supply",
        ),
        (
            b"OK RAM_STORE",
            "restarted before it answered 'APPLY 1', its patterns are lost; if it does so again, check its supply",
        ),
        (
            b"OK APPLY_QUEUED\r\nOK APPLIED 2",
            "asked 'APPLY 1', got 'OK APPLIED 2'; check the cable, and that no other program uses the port "
            "(rig.metasurface.address)",
        ),
    ],
)
def test_what_was_not_shown_is_told(answer: bytes, sentence: str) -> None:
    bench = Bench()
    with bench.surface as surface:
        surface.set_sequence(PATTERNS)
        bench.cable.trouble = [instead((0.0, answer + b"\r\n"))]
        with pytest.raises(LinkDesync) as caught:
            surface.show(1)
    assert str(caught.value) == f"metasurface (sim): {sentence}"


def test_an_upload_damaged_on_the_way_is_told_and_may_be_repeated() -> None:
    bench = Bench()
    with bench.surface as surface:
        sound = bench.teensy.receive
        bench.teensy.receive = lambda data: sound(data[:-1] + b"!" if len(data) > 999 else data)  # type: ignore[method-assign]
        with pytest.raises(LinkDesync, match="asked 'codebook of 3', got 'ERR CRC_MISMATCH'"):
            surface.set_sequence(PATTERNS)
        bench.teensy.receive = sound  # type: ignore[method-assign]
        surface.set_sequence(PATTERNS)


def test_a_restart_that_nobody_told_of_is_found_by_what_is_stored() -> None:
    bench = Bench()
    with bench.surface as surface:
        surface.check(PATTERNS[0])  # nothing is stored yet
        surface.set_pattern(PATTERNS[0])
        bench.teensy.connected()
        with pytest.raises(LinkDesync) as caught:
            surface.check(PATTERNS[0])
    assert str(caught.value) == (
        "metasurface (sim): has restarted, or another program uses it: it holds the codebook 'none' instead of "
        "'labtrain-1', and its pattern is lost; check its supply"
    )


def test_a_restart_between_two_questions_is_told() -> None:
    bench = Bench()
    with bench.surface as surface:
        surface.set_sequence(PATTERNS)
        bench.cable.trouble = [lambda replies: [*replies, *bench.teensy.connected()]]
        surface.show(0)
        with pytest.raises(LinkDesync, match="may have restarted"):
            surface.show(1)


def test_a_pattern_takes_as_long_as_the_driver_says() -> None:
    bench = Bench()
    bench.teensy.timing = True
    with bench.surface as surface:
        before = bench.clock.monotonic()
        surface.set_pattern(PATTERNS[0])
        assert bench.clock.monotonic() - before == pytest.approx(surface.write_s, abs=0.005)
        before = bench.clock.monotonic()
        surface.set_sequence(PATTERNS)
        for n in range(3):
            surface.show(n)
        assert bench.clock.monotonic() - before == pytest.approx(surface.sequence_s(3), abs=0.005)
