"""The OpenSourceRIS driver against the emulated firmware, on a good cable and on bad ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labtrain.drivers.emulators.emulator import Reply
from labtrain.drivers.emulators.metasurface.open_source_ris import OpenSourceRisEmulator
from labtrain.errors import InstrumentError, LinkClosed, LinkDesync, LinkRefused, LinkTimeout
from tests.surfaces import Bench

ONES = np.ones(256, dtype=np.int64)
Trouble = Callable[[list[Reply]], list[Reply]]


def late(seconds: float) -> Trouble:
    return lambda replies: [(delay_s + seconds, data) for delay_s, data in replies]


def instead(*replies: Reply) -> Trouble:
    return lambda _: list(replies)


def test_the_bytes_on_the_wire() -> None:
    bench = Bench(n_pixels=9)
    with bench.surface as surface:
        bench.cable.heard.clear()
        surface.set_pattern([1, 0, 0, 0, 0, 0, 0, 0, 1])
        surface.set_pattern([0, 0, 0, 1, 0, 1, 1, 1, 0])
    assert bench.cable.heard == [
        b"!0x808" + b"0" * 61 + b"\n",
        b"?Pattern\n",
        b"!0x17" + b"0" * 62 + b"\n",
        b"!0x" + b"0" * 64 + b"\n",
    ]


def test_it_knows_itself_and_its_supply() -> None:
    bench = Bench()
    with bench.surface as surface:
        assert surface.identity == "OpenSourceRIS, serial number 999"
        assert surface.settings() == {"serial_number": 999, "supply_v": 9.14}
        assert surface.emulated


def test_a_real_board_is_not_taken_for_an_emulator() -> None:
    bench = Bench()
    bench.emulator.serial_number = 0
    with bench.surface as surface:
        assert surface.settings()["serial_number"] == 0
        assert not surface.emulated


def test_the_board_asked_for_is_the_one_that_answers() -> None:
    with Bench(serial_number=999).surface:
        pass
    bench = Bench(serial_number=7)
    with pytest.raises(InstrumentError) as caught, bench.surface:
        pass
    assert str(caught.value) == (
        "metasurface (sim): found OpenSourceRIS, serial number 999, asked serial number 7; connect that board, or set "
        "rig.metasurface.serial_number"
    )
    assert not bench.link.is_open
    with Bench(serial_number=7, identity="any").surface:
        pass


class Mute:
    """Something else: it answers every message with the same, or not at all."""

    def __init__(self, answer: bytes = b"") -> None:
        self.answer = answer

    def connected(self) -> list[Reply]:
        return []

    def receive(self, data: bytes) -> list[Reply]:
        return [(0.0, self.answer)] if self.answer else []


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "waited 1 s for an answer that ends in b'\\n', got nothing"),
        (
            b'-113,"Undefined header"\n',
            "asked '?SerialNo', got '-113,\"Undefined header\"'; check the cable, and that no other program uses the "
            "port (rig.metasurface.address)",
        ),
    ],
)
def test_another_instrument_is_told_from_an_open_source_ris(answer: bytes, why: str) -> None:
    bench = Bench()
    bench.cable.emulator = Mute(answer)
    with pytest.raises(LinkRefused) as caught, bench.surface:
        pass
    assert str(caught.value) == (
        f"metasurface (sim): no OpenSourceRIS with firmware 1.1 or newer answered to '?SerialNo' ({why}); check "
        "rig.metasurface.address and that it is switched on"
    )
    assert not bench.link.is_open


def test_a_pattern_takes_as_long_as_the_driver_says() -> None:
    bench = Bench(verify="never")
    bench.emulator.timing = True
    with bench.surface as surface:
        before = bench.clock.monotonic()
        surface.set_pattern(ONES)
        assert bench.clock.monotonic() - before == pytest.approx(surface.write_s, abs=0.001)


# -- recovery --------------------------------------------------------------------------------------------------------


def test_firmware_that_answers_late_is_told() -> None:
    bench = Bench()
    with bench.surface as surface:
        bench.cable.trouble = [late(3.0)]
        with pytest.raises(LinkTimeout) as caught:
            surface.set_pattern(ONES)
    assert str(caught.value) == (
        "metasurface (sim): asked '!0xFFFFFFFF...', waited 1 s for an answer that ends in b'\\n', got nothing; check "
        "rig.metasurface.address and that it is ready, or raise rig.metasurface.timeout_s"
    )


@pytest.mark.parametrize("seconds", [1.01, 1.9, 2.5, 3.5])
@pytest.mark.parametrize("asked", ["pattern", "supply_v", "serial_number"])
def test_a_late_answer_is_never_taken_for_another(seconds: float, asked: str) -> None:
    bench = Bench(verify="every")
    with bench.surface as surface:
        surface.set_pattern(ONES)
        bench.cable.trouble = [late(seconds)]
        with pytest.raises(LinkTimeout):
            getattr(surface, asked)
        for n in range(4):
            states = np.arange(256) % (n + 2) == 0
            surface.set_pattern(states)
            assert bench.world.pattern.tolist() == surface.pattern.tolist() == states.astype(int).tolist()
            assert (surface.supply_v, surface.serial_number) == (9.14, 999)


def test_answers_that_are_late_again_during_recovery() -> None:
    bench = Bench()
    with bench.surface as surface:
        bench.cable.trouble = [late(1.5), late(1.5)]
        with pytest.raises(LinkTimeout):
            surface.set_pattern(ONES)
        surface.set_pattern(ONES)
        assert surface.supply_v == 9.14
        assert surface.pattern.tolist() == ONES.tolist()


def test_a_controller_that_stays_silent_is_out_of_step_until_it_answers_again() -> None:
    bench = Bench()
    with bench.surface as surface:
        bench.cable.trouble = [instead() for _ in range(4)]
        with pytest.raises(LinkTimeout):
            surface.set_pattern(ONES)
        with pytest.raises(LinkDesync):
            surface.set_pattern(ONES)
        surface.set_pattern(ONES)
        assert surface.pattern.tolist() == ONES.tolist()


@given(st.binary(max_size=150))
def test_half_a_message_of_an_earlier_program_does_no_harm(noise: bytes) -> None:
    bench = Bench()
    with bench.surface as surface:
        bench.emulator.receive(noise)
        bench.link.dirty = True
        surface.set_pattern(ONES)
        assert bench.world.pattern.all()


def test_half_a_message_costs_no_timeout() -> None:
    bench = Bench()
    with bench.surface as surface:
        bench.emulator.receive(b"!0x1234")
        bench.link.dirty = True
        before = bench.clock.monotonic()
        surface.set_pattern(ONES)
        assert bench.clock.monotonic() - before < 0.1


@pytest.mark.parametrize("asked", ["set_pattern", "supply_v"])
def test_a_restart_in_the_middle_of_a_question_is_told(asked: str) -> None:
    bench = Bench()
    with bench.surface as surface:
        bench.cable.trouble = [lambda _: bench.emulator.reboot()]
        with pytest.raises(LinkDesync) as caught:
            surface.set_pattern(ONES) if asked == "set_pattern" else surface.supply_v
        question = "'!0xFFFFFFFF...'" if asked == "set_pattern" else "'?Vext'"
        assert str(caught.value) == (
            f"metasurface (sim): restarted before it answered {question}, its pattern is lost; if it does so again, "
            "check its supply"
        )
        surface.set_pattern(ONES)
        assert bench.world.pattern.all()


def test_a_restart_between_two_questions_is_told() -> None:
    bench = Bench()
    with bench.surface as surface:
        surface.set_pattern(ONES)
        bench.cable.trouble = [lambda replies: [*replies, *bench.emulator.reboot()]]
        assert surface.supply_v == 9.14
        with pytest.raises(LinkDesync, match="may have restarted"):
            assert surface.supply_v
        assert not bench.world.pattern.any()
        surface.set_pattern(ONES)
        assert bench.world.pattern.all()


def test_the_driver_hears_a_reset_through() -> None:
    """What `!Reset` says is no answer to it; the driver itself never sends it."""
    bench = Bench()
    with bench.surface as surface, pytest.raises(LinkDesync, match="restarted before it answered '!Reset'"):
        surface.tell("!Reset")


@pytest.mark.parametrize("answer", [b"#KO\n", b"\xff#OK\n", b"#09.14 V\n"])
def test_an_answer_that_is_none_is_told(answer: bytes) -> None:
    bench = Bench()
    with bench.surface as surface:
        bench.cable.trouble = [instead((0.0, answer))]
        with pytest.raises(LinkDesync) as caught:
            surface.set_pattern(ONES)
        shown = answer.decode("ascii", "backslashreplace").strip()
        assert str(caught.value) == (
            f"metasurface (sim): asked '!0xFFFFFFFF...', got {shown!r}; check the cable, and that no other program "
            "uses the port (rig.metasurface.address)"
        )
        surface.set_pattern(ONES)
        assert bench.world.pattern.all()


@pytest.mark.parametrize("digits", [0, 32, 63, 65])
def test_a_pattern_of_another_size_is_told(digits: int) -> None:
    bench = Bench(verify="never")
    with bench.surface as surface:
        bench.cable.trouble = [instead((0.0, b"#0X" + b"0" * digits + b"\n"))]
        with pytest.raises(LinkDesync, match=r"asked '\?Pattern', got '#0X"):
            assert surface.pattern is not None


def test_a_port_that_is_gone_in_mid_run_is_told() -> None:
    bench = Bench()
    with pytest.raises(LinkClosed) as caught, bench.surface as surface:
        bench.cable.trouble = [instead((0.0, None))]
        surface.set_pattern(ONES)
    assert str(caught.value) == "metasurface (sim): the emulator hung up"


# -- the safe state --------------------------------------------------------------------------------------------------


def test_the_safe_state_does_not_wait_for_a_late_answer() -> None:
    bench = Bench()
    with bench.surface as surface:
        surface.set_pattern(ONES)
        heard_at: list[float] = []
        bench.cable.trouble = [late(2.5)]
        with pytest.raises(LinkTimeout):
            surface.set_pattern(ONES)
        before = bench.clock.monotonic()
        bench.world.set_pattern = lambda states: heard_at.append(bench.clock.monotonic() - before)  # type: ignore[method-assign]
        surface.safe()
        assert heard_at[0] == 0.0
        assert surface.pattern.sum() == 0


@given(st.integers(0, 3), st.integers(0, 67))
def test_the_safe_state_is_reached_from_anywhere(written: int, cut: int) -> None:
    bench = Bench(verify="never")
    with bench.surface as surface:
        for _ in range(written):
            surface.set_pattern(ONES)
        bench.emulator.receive((b"!0x" + b"F" * 64 + b"\n")[:cut])  # Ctrl-C while it was sent
        bench.link.dirty = True
        surface.safe()
        assert not bench.world.pattern.any()
        assert surface.pattern.sum() == 0


def test_the_default_serial_number_is_one_that_the_answer_has_room_for() -> None:
    bench = Bench()
    assert bench.emulator.receive(b"?SerialNo\n") == [(0.0, b"#SerNo: 999\n")]
    assert isinstance(bench.emulator, OpenSourceRisEmulator)
