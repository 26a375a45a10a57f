"""The emulated OpenSourceRIS does what the firmware does, above all where that is nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labtrain.clock import SimulatedClock
from labtrain.drivers.emulators.metasurface.open_source_ris import CHARACTER_S, OpenSourceRisEmulator
from labtrain.errors import InputError
from tests.surfaces import Pixels

PATTERN = "00007FFE40025FFA500A57EA542A55AA55AA542A57EA500A5FFA40027FFE0000"
BANNER = b"\nOpen Source RIS\nFirmware version: 1.1\nSerial no.:  12\nRow count: 16\nColumn count: 16\n\n#READY!\n"


@pytest.fixture
def board() -> OpenSourceRisEmulator:
    return OpenSourceRisEmulator(Pixels(), SimulatedClock(), serial_number=12)


def at_once(answer: bytes) -> list[tuple[float, bytes]]:
    return [(0.0, answer)]


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"?Vext\n", b"#09.14 V\n"),
        (b"?vEXT\n", b"#09.14 V\n"),
        (b"?SerialNo\n", b"#SerNo:  12\n"),
        (b"?Pattern\n", b"#0X" + b"0" * 64 + b"\n"),
        (f"!0x{PATTERN}\n".encode(), b"#OK\n"),
        (f"!0X{PATTERN.lower()}\n".encode(), b"#OK\n"),
        (b"!Reset\n", BANNER),
        (b"!BT-Key=054860\n", b"#OK\n"),
        (b"\n?Vext\n", b"#09.14 V\n"),
        (b"noise?Vext\n", b"#09.14 V\n"),
    ],
)
def test_what_it_answers(board: OpenSourceRisEmulator, sent: bytes, answer: bytes) -> None:
    assert board.receive(sent) == at_once(answer)


@pytest.mark.parametrize(
    "sent",
    [
        b"\n",
        b"?Vext\r\n",
        b"? Vext\n",
        b"?Vext 1\n",
        b"?Voltage\n",
        b"?Vext1\n",
        b"Vext\n",
        b"!Vext\n",
        b"?Reset\n",
        f"0x{PATTERN}\n".encode(),
        f"!{PATTERN}\n".encode(),
        f"!0x{PATTERN[:-1]}\n".encode(),
        f"!0x{PATTERN}0\n".encode(),
        f"!0x{PATTERN[:-1]}G\n".encode(),
        f"!0x{PATTERN}\r\n".encode(),
        f"!0x{PATTERN[:32]} {PATTERN[32:]}\n".encode(),
        f"!0x{PATTERN[:32]}\xb5{PATTERN[33:]}\n".encode("latin-1"),
        b"!BT-Key=12345\n",
        b"!BT-Key=12345x\n",
    ],
)
def test_what_it_does_not_understand_has_no_answer_and_changes_nothing(
    board: OpenSourceRisEmulator, sent: bytes
) -> None:
    assert board.receive(sent) == []
    assert board.receive(b"?Pattern\n") == at_once(b"#0X" + b"0" * 64 + b"\n")


def test_element_1_is_the_highest_bit_and_the_first_pixel(board: OpenSourceRisEmulator) -> None:
    board.receive(b"!0x8" + b"0" * 62 + b"1\n")
    assert np.flatnonzero(board.surface.pattern).tolist() == [0, 255]
    board.receive(b"!0x" + b"FF00" * 16 + b"\n")
    assert (board.surface.pattern.reshape(16, 16) == [1] * 8 + [0] * 8).all()


def test_elements_without_a_pixel_are_remembered() -> None:
    board = OpenSourceRisEmulator(Pixels(40), SimulatedClock())
    assert board.receive(f"!0x{PATTERN}\n".encode()) == at_once(b"#OK\n")
    assert board.surface.pattern.tolist() == [int(bit) for bit in f"{int(PATTERN, 16):0256b}"[:40]]
    assert board.receive(b"?pattern\n") == at_once(f"#0X{PATTERN}\n".encode())


def test_a_world_of_more_pixels_than_elements_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        OpenSourceRisEmulator(Pixels(300), SimulatedClock())
    assert str(caught.value) == (
        "emulated OpenSourceRIS: asked for 300 pixels, it has 256 elements; simulate fewer pixels"
    )


@pytest.mark.parametrize("cut", range(1, 10))
def test_a_message_may_come_in_pieces(board: OpenSourceRisEmulator, cut: int) -> None:
    message = b"?SerialNo\n"
    assert board.receive(message[:cut]) + board.receive(message[cut:]) == at_once(b"#SerNo:  12\n")


def test_a_command_sent_while_another_is_worked_on_is_lost(board: OpenSourceRisEmulator) -> None:
    assert board.receive(b"?SerialNo\n?Vext\n") == at_once(b"#SerNo:  12\n")
    assert board.receive(b"?Vext\n") == at_once(b"#09.14 V\n")
    # The third one comes when the first is done.
    pattern = f"!0x{PATTERN}\n".encode()
    assert board.receive(3 * pattern) == 2 * at_once(b"#OK\n")


def test_a_line_feed_too_many_spoils_the_next_command(board: OpenSourceRisEmulator) -> None:
    """It meets the flag of the command being worked on, and stays in the input buffer when that is cleared."""
    assert board.receive(b"?Vext\n\n") == at_once(b"#09.14 V\n")
    assert board.receive(b"?Vext\n") == []
    assert board.receive(b"?Vext\n") == at_once(b"#09.14 V\n")


def test_what_was_completed_meanwhile_has_its_turn(board: OpenSourceRisEmulator) -> None:
    """The carriage return clears the flags while the pattern is sent; then a command is not refused."""
    assert board.receive(b"?Pattern\n\r!Reset\n") == [*at_once(b"#0X" + b"0" * 64 + b"\n"), *at_once(BANNER)]


def test_the_input_buffer_overflows_silently(board: OpenSourceRisEmulator) -> None:
    assert board.receive(b"!" + b"A" * 128 + b"\n") == []
    assert board.receive(b"?Vext\n") == at_once(b"#09.14 V\n")
    # The character that does not fit is lost with all before it, and what comes next begins anew.
    assert board.receive(b"!" + b"A" * 128 + b"?Vext\n") == []
    assert board.receive(b"!" + b"A" * 129 + b"?Vext\n") == at_once(b"#09.14 V\n")


def test_a_restart_loses_the_pattern_and_what_is_sent_meanwhile(board: OpenSourceRisEmulator) -> None:
    board.receive(b"!0x" + b"F" * 64 + b"\n")
    assert board.receive(b"!Reset\n?Vext\n") == at_once(BANNER)
    assert not board.surface.pattern.any()
    assert board.receive(b"?Pattern\n") == at_once(b"#0X" + b"0" * 64 + b"\n")


def test_a_supply_that_fails_is_a_restart(board: OpenSourceRisEmulator) -> None:
    board.receive(b"!0x" + b"F" * 64 + b"\n")
    board.receive(b"?Ve")
    assert board.reboot() == at_once(BANNER)
    assert not board.surface.pattern.any()
    assert board.receive(b"xt\n") == []


def test_opening_the_port_clears_what_was_begun(board: OpenSourceRisEmulator) -> None:
    board.receive(b"?Ve")
    assert board.connected() == []
    assert board.receive(b"?Vext\n") == at_once(b"#09.14 V\n")


@pytest.mark.parametrize(
    ("volts", "told"), [(0.0, b"#00.00 V\n"), (12.345, b"#12.34 V\n"), (24.0, b"#24.00 V\n"), (9.996, b"#09.90 V\n")]
)
def test_the_voltage_is_cut_off_and_its_last_digit_rounded_without_a_carry(volts: float, told: bytes) -> None:
    board = OpenSourceRisEmulator(Pixels(), SimulatedClock(), supply_v=volts)
    assert board.receive(b"?Vext\n") == at_once(told)


# -- timing ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def slow() -> OpenSourceRisEmulator:
    return OpenSourceRisEmulator(Pixels(), SimulatedClock(), timing=True, serial_number=12)


def test_characters_take_their_time_and_a_short_answer_waits_for_the_latency_timer(
    slow: OpenSourceRisEmulator,
) -> None:
    ((delay_s, answer),) = slow.receive(f"!0x{PATTERN}\n".encode())
    assert answer == b"#OK\n"
    assert delay_s == pytest.approx(68 * CHARACTER_S + 0.0002 + CHARACTER_S + 0.016)


def test_a_full_packet_does_not_wait(slow: OpenSourceRisEmulator) -> None:
    (first_s, first), (rest_s, rest) = slow.receive(b"?Pattern\n")
    assert (len(first), len(rest)) == (62, 6)
    assert first_s == pytest.approx((9 + 62) * CHARACTER_S + 0.0002)
    assert rest_s == pytest.approx((9 + 63) * CHARACTER_S + 0.0002 + 0.016)


@pytest.mark.parametrize(("pause_s", "heard"), [(0.001, False), (0.005, False), (0.009, True)])
def test_it_knows_between_two_calls_whether_it_is_still_at_work(
    slow: OpenSourceRisEmulator, pause_s: float, heard: bool
) -> None:
    slow.receive(b"?Pattern\n")
    slow.clock.sleep(pause_s)
    assert bool(slow.receive(b"?Vext\n")) == heard


def test_characters_of_two_calls_queue_for_the_line(slow: OpenSourceRisEmulator) -> None:
    slow.receive(b"?" + b"A" * 99)
    (answer,) = slow.receive(b"\n?Vext\n")
    assert answer[0] == pytest.approx((100 + 7) * CHARACTER_S + 0.0002 + CHARACTER_S + 0.016)


def test_while_it_starts_it_hears_nothing(slow: OpenSourceRisEmulator) -> None:
    (*_, (ready_s, last)) = slow.receive(b"!Reset\n")
    assert last.endswith(b"#READY!\n")
    assert 0.5 < ready_s < 0.6
    slow.clock.sleep(0.5)
    assert slow.receive(b"?Vext\n") == []
    slow.clock.sleep(0.1)
    assert slow.receive(b"?Vext\n")[0][1] == b"#09.14 V\n"


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_two_line_feeds_bring_it_back_from_anything(noise: list[bytes]) -> None:
    board = OpenSourceRisEmulator(Pixels(), SimulatedClock(), serial_number=12)
    for data in [*noise, b"\n", b"\n"]:
        board.receive(data)
    assert board.receive(b"?SerialNo\n") == at_once(b"#SerNo:  12\n")
