"""The driver of the latched shift-register board against its emulator, on a good cable and on bad ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labtrain.clock import SimulatedClock
from labtrain.drivers.emulators.emulator import Reply
from labtrain.drivers.emulators.metasurface.latched_board import LatchedBoardEmulator
from labtrain.drivers.fitting import drivers_for
from labtrain.drivers.metasurface.latched_board import LatchedBoard
from labtrain.drivers.metasurface.latched_frames import Command, frame
from labtrain.drivers.testing import Pixels, fault_matrix
from labtrain.errors import InputError, InstrumentError, LinkDesync, LinkError, LinkRefused, LinkTimeout
from tests.surfaces import Cable

Trouble = Callable[[list[Reply]], list[Reply]]
ROWS, COLUMNS = 8, 12


class Bench:
    """The driver at one end, a board with 8 x 12 elements of 2 bits at the other, simulated time."""

    def __init__(
        self,
        *,
        pixels: int = ROWS * COLUMNS,
        timing: bool = False,
        board: dict[str, object] | None = None,
        **config: object,
    ) -> None:
        self.clock = SimulatedClock()
        size = {"rows": ROWS, "columns": COLUMNS, "bits": 2}
        self.world = Pixels(pixels, bits=2)
        self.emulator = LatchedBoardEmulator(self.world, self.clock, timing=timing, **(size | (board or {})))
        self.cable = Cable(self.emulator)
        self.config = LatchedBoard.Config.model_validate(size | config)
        self.surface = LatchedBoard.make("metasurface", self.config, self.clock, emulator=self.cable)


def states(seed: int, n: int | None = None) -> np.ndarray:
    return np.random.default_rng(seed).integers(4, size=ROWS * COLUMNS if n is None else (n, ROWS * COLUMNS))


def late(seconds: float) -> Trouble:
    return lambda replies: [(delay_s + seconds, data) for delay_s, data in replies]


def damaged(at: int) -> Trouble:
    def damage(replies: list[Reply]) -> list[Reply]:
        ((delay_s, data),) = replies
        assert data is not None
        return [(delay_s, data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :])]

    return damage


def test_the_bytes_on_the_wire() -> None:
    bench = Bench(pixels=3, rows=1, columns=3, board={"rows": 1, "columns": 3}, verify="never")
    with bench.surface as surface:
        bench.cable.heard.clear()
        surface.set_pattern([2, 0, 3])
    assert [heard.hex(" ") for heard in bench.cable.heard] == [
        "a5 5a 01 10 03 00 01 8b 8c 1d af",
        "a5 5a 01 12 04 00 00 52 bb 2f",
    ]


def test_patterns_reach_the_elements_and_are_read_back() -> None:
    bench = Bench(verify="every")
    with bench.surface as surface:
        for n in range(3):
            surface.set_pattern(states(n))
            assert bench.world.pattern.tolist() == surface.pattern.tolist() == states(n).tolist()
    assert not bench.world.pattern.any(), "safe when it was closed"


def test_a_stored_sequence_is_shown_by_number() -> None:
    bench = Bench(verify="every", board={"capacity": 5})
    with bench.surface as surface:
        assert surface.sequence_capacity == 5
        sequence = states(0, 5)
        surface.set_sequence(sequence)
        bench.cable.heard.clear()
        for index in (4, 0, 2):
            surface.show(index)
            assert bench.world.pattern.tolist() == sequence[index].tolist()
        assert len(bench.cable.heard[0]) == 12, "the number alone is sent"
        with pytest.raises(InputError, match="asked a sequence of 6 patterns, the controller stores up to 5"):
            surface.set_sequence(states(0, 6))


def test_what_it_says_of_itself() -> None:
    bench = Bench(board={"serial_number": 17, "name": "wall", "chain_returns": True})
    with bench.surface as surface:
        assert (
            surface.identity
            == "latched board 'wall', 8 x 12 elements of 2 bits, firmware 1.0, serial number 17, emulated"
        )
        assert drivers_for(surface.identity) == ["latched-board"]
        assert surface.emulated
        assert surface.settings() == {
            "firmware": "1.0", "serial_number": 17, "sequence_capacity": 24, "reads": "shift registers"
        }  # fmt: skip
    bench = Bench(board={"emulated": False})
    with bench.surface as surface:
        assert not surface.emulated
        assert surface.identity == "latched board 'latched board', 8 x 12 elements of 2 bits, firmware 1.0"


def test_the_board_asked_for_is_the_one_that_answers() -> None:
    with Bench(board={"serial_number": 17}, serial_number=17).surface:
        pass
    with pytest.raises(InstrumentError) as caught, Bench(serial_number=18, board={"serial_number": 17}).surface:
        pass
    assert str(caught.value) == (
        "metasurface (sim): found latched board 'latched board', 8 x 12 elements of 2 bits, firmware 1.0, serial "
        "number 17, emulated, asked serial number 18; connect that board, or set rig.metasurface.serial_number"
    )


def test_a_board_of_another_size_is_refused_and_can_be_made_safe() -> None:
    bench = Bench(rows=16, columns=6, bits=1)
    bench.world.set_pattern(states(0))
    with pytest.raises(InstrumentError) as caught:
        bench.surface.open()
    assert str(caught.value) == (
        "metasurface (sim): the board has 8 x 12 elements of 2 bits, the configuration says 16 x 6 of 1 bit; set "
        "rig.metasurface.rows, .columns and .bits, or upload a firmware of that size"
    )
    assert bench.world.pattern.tolist() == states(0).tolist()
    bench.surface.safe()
    assert not bench.world.pattern.any()


def test_a_pattern_that_no_frame_could_carry_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(InputError) as caught:
        Bench(rows=1000, columns=1000, bits=1)
    assert str(caught.value) == (
        "metasurface (sim): asked 1000 x 1000 elements of 1 bit, which are 125000 bytes, allowed up to 60000; set "
        "rig.metasurface.rows, .columns and .bits"
    )


class Mute:
    """Something else at that port."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer

    def connected(self) -> list[Reply]:
        return []

    def receive(self, data: bytes) -> list[Reply]:
        return [(0.0, self.answer)] if self.answer else []


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (
            b"",
            "asked 'IDENTIFY', waited 1 s for 8 bytes, got nothing; check rig.metasurface.address and that it is "
            "ready, or raise rig.metasurface.timeout_s",
        ),
        (
            b"#READY!\r\n",
            "asked IDENTIFY, got 23 52 45 41 44 59 21 0d 0a, which is no answer to that; check the cable, and that no "
            "other program uses the port (rig.metasurface.address)",
        ),
    ],
)
def test_another_device_is_told_from_a_latched_board(answer: bytes, why: str) -> None:
    bench = Bench()
    bench.cable.emulator = Mute(answer)
    with pytest.raises(LinkRefused) as caught, bench.surface:
        pass
    assert str(caught.value) == (
        f"metasurface (sim): no latched board answered to IDENTIFY ({why}); check rig.metasurface.address and that its "
        "firmware is uploaded"
    )


def test_times_are_those_that_the_driver_says() -> None:
    bench = Bench(timing=True, verify="never")
    with bench.surface as surface:
        before = bench.clock.monotonic()
        surface.set_pattern(states(0))
        assert bench.clock.monotonic() - before == pytest.approx(surface.write_s, abs=2e-4)
        before = bench.clock.monotonic()
        surface.set_sequence(states(0, 4))
        for index in range(4):
            surface.show(index)
        assert bench.clock.monotonic() - before == pytest.approx(surface.sequence_s(4), abs=8e-4)


def test_commands_by_hand() -> None:
    with Bench().surface as surface:
        surface.tell("set " + "ff" * 24)
        assert surface.ask("READ") == "000001" + "ff" * 24
        with pytest.raises(InputError) as caught:
            surface.ask("PING")
        assert "'PING', it understands IDENTIFY, BEGIN, SET, READ, SAFE, STORE, SHOW, each" in str(caught.value)


# -- what the board refuses ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "told"),
    [
        ("SET 00", "BAD LENGTH; check rows, columns and bits"),
        ("SHOW ffff", "BAD INDEX; store fewer patterns"),
        ("SHOW 0003", "NOT STORED; store the sequence again"),
    ],
)
def test_a_refusal_is_told(order: str, told: str) -> None:
    bench = Bench()
    with bench.surface as surface:
        surface.set_pattern(states(0))
        with pytest.raises(InstrumentError) as caught:
            surface.tell(order)
        assert str(caught.value) == (
            f"metasurface (sim): asked {order.split()[0]}, the board answered {told} (rig.metasurface.address)"
        )
        assert surface.pattern.tolist() == states(0).tolist()


def test_a_frame_that_was_damaged_on_its_way_changes_nothing() -> None:
    bench = Bench()
    with bench.surface as surface:
        surface.set_pattern(states(0))
        hear = bench.emulator.receive
        bench.emulator.receive = lambda data: hear(data[:9] + bytes([data[9] ^ 1]) + data[10:])  # type: ignore[method-assign]
        with pytest.raises(LinkError) as caught:
            surface.set_pattern(states(1))
        bench.emulator.receive = hear  # type: ignore[method-assign]
        assert str(caught.value) == (
            "metasurface (sim): asked SET, the board answered BAD CRC; check cable and supply (rig.metasurface.address)"
        )
        assert bench.world.pattern.tolist() == surface.pattern.tolist() == states(0).tolist()


@pytest.mark.parametrize("at", range(16))
def test_an_answer_that_was_damaged_on_its_way_is_not_believed(at: int) -> None:
    bench = Bench(verify="never")
    with bench.surface as surface:
        bench.cable.trouble = [damaged(at)]
        with pytest.raises(LinkError):
            surface.set_pattern(states(0))
        assert surface.pattern.tolist() == states(0).tolist()


def test_a_board_that_holds_another_pattern_is_told_from_one_that_obeys() -> None:
    bench = Bench(verify="never")
    with bench.surface as surface:
        sequence = states(0, 2)
        surface.set_sequence(sequence)
        bench.emulator._sequence[1] = bytes(24)  # memory fails
        surface.show(0)
        with pytest.raises(LinkDesync) as caught:
            surface.show(1)
    assert str(caught.value) == (
        "metasurface (sim): asked SHOW, the board has another pattern than was sent; check cable and supply "
        "(rig.metasurface.address)"
    )


# -- late answers, restarts, everything at every message -------------------------------------------------------------


@pytest.mark.parametrize("seconds", [1.01, 1.9, 2.5, 3.5])
def test_a_late_answer_is_never_taken_for_another(seconds: float) -> None:
    bench = Bench(verify="every")
    with bench.surface as surface:
        surface.set_pattern(states(0))
        bench.cable.trouble = [late(seconds)]
        with pytest.raises(LinkTimeout):
            surface.pattern  # noqa: B018 (reading it is the question)
        for n in range(4):
            surface.set_pattern(states(n))
            assert bench.world.pattern.tolist() == surface.pattern.tolist() == states(n).tolist()


@pytest.mark.parametrize("question", [Command.IDENTIFY, Command.READ])
@pytest.mark.parametrize("number", range(6))
def test_what_an_earlier_program_left_on_its_way_is_not_believed(question: Command, number: int) -> None:
    """Whatever its number; numbers begin anew with every program."""
    bench = Bench()
    left = bench.emulator.receive(frame(question, number))
    bench.world.set_pattern(states(0))
    bench.emulator.pattern = b"\xff" * 24
    bench.cable.connected = lambda: late(0.2)(left)  # type: ignore[method-assign]
    with bench.surface as surface:
        assert surface.pattern.tolist() == [3] * ROWS * COLUMNS


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=80), st.booleans())
def test_half_a_frame_of_an_earlier_program_does_no_harm(noise: bytes, begun: bool) -> None:
    bench = Bench()
    with bench.surface as surface:
        surface.set_pattern(states(1))
        bench.emulator.receive(frame(Command.SET, 0, bytes(24))[:20] if begun else noise)
        bench.surface.link.dirty = True
        surface.set_pattern(states(0))
        assert bench.world.pattern.tolist() == states(0).tolist()


def test_a_restart_is_told_by_the_next_answer() -> None:
    bench = Bench(verify="never")
    with bench.surface as surface:
        surface.set_sequence(states(0, 2))
        bench.emulator.reboot()
        for _ in range(2):
            with pytest.raises(LinkDesync) as caught:
                surface.show(1)
            assert str(caught.value) == (
                "metasurface (sim): restarted before it answered SHOW, its patterns are lost; open it again, and if it "
                "does so again, check its supply"
            )
        surface.drop()
        surface.open()
        assert surface.stored == 0
        surface.set_sequence(states(0, 2))
        surface.show(1)
        assert bench.world.pattern.tolist() == states(0, 2)[1].tolist()


def test_safe_goes_ahead_of_the_answer_to_what_was_broken_off() -> None:
    bench = Bench(default_pattern=1)
    with bench.surface as surface:
        surface.set_pattern(states(0))
        bench.cable.trouble = [late(0.9)]
        bench.cable.heard.clear()
        bench.emulator.receive(frame(Command.SET, 0, bytes(24))[:20])
        surface.link.dirty = True
        shown = []
        hear = bench.emulator.receive

        def heard(data: bytes) -> list[Reply]:
            replies = hear(data)
            shown.append(bench.world.pattern.any())
            return replies

        bench.emulator.receive = heard  # type: ignore[method-assign]
        surface.safe()
        assert not shown[0], "the first thing that it heard, although a frame was begun"
        assert bench.world.pattern.tolist() == [1] * ROWS * COLUMNS


def test_after_a_restart_it_can_be_made_safe() -> None:
    bench = Bench(default_pattern=1)
    with bench.surface as surface:
        bench.emulator.reboot()
        surface.safe()
        assert bench.world.pattern.tolist() == [1] * ROWS * COLUMNS


def test_the_fence_is_heard_at_once_although_a_frame_was_begun() -> None:
    bench = Bench()
    with bench.surface as surface:
        bench.emulator.receive(frame(Command.SET, 0, bytes(24))[:20])
        surface.link.dirty = True
        before = bench.clock.monotonic()
        surface.set_pattern(states(0))
        assert bench.clock.monotonic() - before < 0.5


def test_a_damaged_answer_does_not_pass_the_fence() -> None:
    bench = Bench()
    with bench.surface as surface:
        surface.link.dirty = True
        bench.cable.trouble = [damaged(20)]
        bench.cable.heard.clear()
        surface.set_pattern(states(0))
        asked = [Command(heard.lstrip(b"\0")[3]).name for heard in bench.cable.heard]
        assert asked == ["IDENTIFY", "IDENTIFY", "READ", "SET", "READ"]


@pytest.mark.parametrize(("question", "earlier"), [(Command.READ, 1), (Command.SAFE, 0)])
def test_an_answer_to_something_else_is_none(question: Command, earlier: int) -> None:
    bench = Bench()
    with bench.surface as surface:
        surface.set_pattern(states(0))
        number = surface._sequence_number + 1 - earlier
        bench.cable.trouble = [lambda _: bench.emulator.receive(frame(question, number))]
        with pytest.raises(LinkDesync, match=r"asked READ, got a5 5a 01 9[12] .*, which is no answer to that; check"):
            surface.pattern  # noqa: B018
        surface.set_pattern(states(1))
        assert surface.pattern.tolist() == states(1).tolist()


def test_a_board_that_restarts_when_its_port_is_opened_has_the_time_for_it() -> None:
    bench = Bench(timing=True)
    bench.emulator.reboot()
    bench.surface.link.open()
    bench.surface.link.dirty = True  # as after opening a serial port
    with bench.surface as surface:
        surface.set_pattern(states(0))
        assert bench.world.pattern.tolist() == states(0).tolist()


def session(surface: LatchedBoard) -> list[list[int]]:
    """All that can be done with it."""
    found = []
    surface.set_pattern(states(0))
    found.append(surface.pattern.tolist())
    surface.set_sequence(states(1, 3))
    for index in (2, 0):
        surface.show(index)
        found.append(surface.pattern.tolist())
    surface.set_pattern(states(2))
    found.append(surface.pattern.tolist())
    return found


def test_every_fault_at_every_message() -> None:
    matrix = fault_matrix(
        LatchedBoard,
        lambda clock: LatchedBoardEmulator(Pixels(ROWS * COLUMNS, bits=2), clock, rows=ROWS, columns=COLUMNS, bits=2),
        session,
        config={"rows": ROWS, "columns": COLUMNS, "bits": 2, "default_pattern": 1},
        expected=[states(0).tolist(), states(1, 3)[2].tolist(), states(1, 3)[0].tolist(), states(2).tolist()],
        state=lambda emulator: emulator.surface.pattern,
        safe_state=np.ones(ROWS * COLUMNS, dtype=np.int64),
    )
    assert not matrix.bad, matrix
