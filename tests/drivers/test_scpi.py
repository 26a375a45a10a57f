"""SCPI instruments against an emulator that speaks the bytes: answers, blocks, errors, identity, and the fence."""

from __future__ import annotations

import struct
from typing import Any, Literal

import numpy as np
import pytest

from labtrain.clock import SimulatedClock
from labtrain.drivers.backends.memory import MemoryLink
from labtrain.drivers.blocks import block
from labtrain.drivers.emulators.scpi.emulator import ScpiEmulator
from labtrain.drivers.emulators.scpi.table import Setting, command, query
from labtrain.drivers.emulators.scpi.values import Number
from labtrain.drivers.instrument import Command, InstrumentConfig
from labtrain.drivers.scpi import Identity, ScpiError, ScpiInstrument, boolean, integer, text
from labtrain.errors import InputError, InstrumentError, LinkDesync, LinkTimeout
from labtrain.limits import Limit
from tests.drivers.wires import Wire, cut, instead, late, silent

VALUES = [1.0, -2.5, 3e-5]


class BenchEmulator(ScpiEmulator):
    """A source with one level and some data."""

    identity = "Acme,B100,EMULATOR1,1.0"
    level = 0.5
    raw = b""
    seed = shot = -1
    SETTINGS = (Setting("SOURce:LEVel", Number(-10, 10), lambda emulator: emulator, "level"),)

    @query("DATA?")
    def data(self) -> bytes:
        return self.raw

    @query("LIST?")
    def listed(self) -> str:
        return "+1.0E+0,-2.5,3e-5"

    @command("SIMulation:RESTart", Number(whole=True))
    def restart(self, seed: int) -> None:
        self.seed = seed

    @command("SIMulation:SHOT", Number(whole=True))
    def begin_shot(self, shot: int) -> None:
        self.shot = shot


class Bench(ScpiInstrument):
    """Its driver."""

    class Config(InstrumentConfig):
        driver: Literal["bench"] = "bench"

    MODELS = r"Acme,B1\d\d"
    MODELS_TOLD = "Acme benches"
    level = Command("level", "SOUR:LEV?", "SOUR:LEV {}", cast=float, unit="V", limits=Limit(-5, 5))

    def safe(self) -> None:
        self.level = 0.0


class Setup:
    def __init__(self, **config: Any) -> None:
        self.clock = SimulatedClock()
        self.emulator = BenchEmulator(self.clock)
        self.wire = Wire(self.emulator)
        self.link = MemoryLink("bench", self.wire, self.clock, timeout_s=2.0)
        self.bench = Bench(self.link, Bench.Config(**config), self.clock)


@pytest.fixture
def setup() -> Setup:
    setup = Setup()
    setup.bench.open()
    setup.wire.heard.clear()
    return setup


# -- answers and blocks ------------------------------------------------------------------------------------------


def test_questions_orders_and_lists(setup):
    setup.bench.tell("SOUR:LEV 1.25")
    assert setup.bench.ask("SOUR:LEV?") == "+1.25000000000E+00"
    assert setup.bench.level == 1.25
    assert setup.bench.ask_numbers("LIST?").tolist() == VALUES
    assert setup.wire.heard == ["SOUR:LEV 1.25", "SOUR:LEV?", "SOUR:LEV?", "LIST?"]


@pytest.mark.parametrize(("order", "kind"), [("<", "f4"), (">", "f4"), ("<", "f8"), (">", "f8")])
def test_definite_blocks(setup, order, kind):
    values = [1.0, 10.0, float(np.float32(3e-5))]
    packed = struct.pack(f"{order}3{'f' if kind == 'f4' else 'd'}", *values)
    setup.emulator.raw = block(packed)
    assert setup.emulator.raw == (b"#212" if kind == "f4" else b"#224") + packed
    assert setup.bench.ask_block("DATA?", 3, order + kind).tolist() == values
    assert setup.bench.ask_block("DATA?", dtype=order + kind).tolist() == values


def test_line_feeds_in_a_block_are_data(setup):
    raw = b"\n" * 16
    for setup.emulator.raw in (block(raw), b"#0" + raw):
        assert setup.bench.ask_block("DATA?", 2).tobytes() == raw
        assert setup.bench.ask("SOUR:LEV?")


def test_pairs_are_complex_numbers(setup):
    setup.emulator.raw = block(struct.pack("<4d", 1, 2, 3, 4))
    assert setup.bench.ask_block("DATA?", 2, "<c16").tolist() == [1 + 2j, 3 + 4j]


def test_a_block_under_a_long_head(setup):
    setup.emulator.raw = b"#9000000024" + struct.pack("<3d", *VALUES)
    assert setup.bench.ask_block("DATA?", 3).tolist() == VALUES


@pytest.mark.parametrize(
    ("raw", "count", "sentence"),
    [
        (b"+1.0,+2.0", 2, "asked 'DATA?' for 2 numbers, a block of 16 bytes, got '+1.0,+2.0'"),
        (b"7", 2, "asked 'DATA?' for 2 numbers, a block of 16 bytes, got '7'"),
        (block(bytes(8)), 2, "asked 'DATA?' for 2 numbers, a block of 16 bytes, got a block of 8 bytes"),
        (block(bytes(9)), None, "asked 'DATA?' for a block of 8 bytes, got a block of 9 bytes"),
        (b"#0" + bytes(8), None, "asked 'DATA?' for a block of 8 bytes, got a block of indefinite length"),
        (b"#2xy", 2, "asked 'DATA?' for 2 numbers, a block of 16 bytes, got '#2xy'"),
        (block(bytes(16)) + b"more", 2,
         "asked 'DATA?' for 2 numbers, a block of 16 bytes, got a block of 16 bytes that does not end there"),
    ],
)  # fmt: skip
def test_what_is_no_such_block_is_told_and_discarded(setup, raw, count, sentence):
    setup.emulator.raw = raw
    with pytest.raises(InstrumentError) as caught:
        setup.bench.ask_block("DATA?", count)
    fits = "check that the driver fits the instrument (rig.bench.driver)"
    assert str(caught.value) == f"bench (sim): {sentence}; {fits}"
    assert setup.bench.level == 0.5  # nothing of it is taken for this answer


def test_answers_that_make_no_sense(setup):
    setup.wire.spoils = [instead(b"half a volt\n")]
    with pytest.raises(InstrumentError) as caught:
        _ = setup.bench.level
    assert str(caught.value) == (
        "bench (sim): asked 'SOUR:LEV?' for the level, got 'half a volt'; check that the driver fits the instrument"
    )
    assert setup.bench.level == 0.5
    setup.wire.spoils = [instead(b"\xe5\n")]
    with pytest.raises(InstrumentError) as caught:
        setup.bench.ask_as(integer, "*ESE?")
    assert str(caught.value) == (
        "bench (sim): asked '*ESE?' for a value, got '\\\\xe5'; check that the driver fits the instrument"
    )
    assert setup.bench.ask_as(integer, "*ESE?") == 0


def test_casts():
    assert [boolean(word) for word in ("1", "+1", "ON", "off", "0")] == [True, True, True, False, False]
    assert integer("+2.01000000000E+002") == 201
    assert text('"S21"') == text("'S21'") == "S21"
    for cast, wrong in ((boolean, "2"), (integer, "1.5"), (integer, "MANY")):
        with pytest.raises(ValueError):
            cast(wrong)


def test_limits_hold_before_a_byte_is_sent(setup):
    with pytest.raises(InputError) as caught:
        setup.bench.level = 5.5
    assert str(caught.value) == "bench (sim): asked level 5.5 V, allowed -5 V to 5 V; set rig.bench.level"
    assert setup.wire.heard == []


# -- errors that the instrument reports --------------------------------------------------------------------------


def test_errors_of_a_step_are_told_together_with_its_commands(setup):
    setup.bench.tell("SOUR:LEV 11")
    setup.bench.tell("SOUR:VOLT 1")
    assert setup.wire.heard == ["SOUR:LEV 11", "SOUR:VOLT 1"]  # not asked after each
    with pytest.raises(ScpiError) as caught:
        setup.bench.check_errors()
    assert str(caught.value) == (
        'bench (sim): reports -222 "Data out of range", -113 "Undefined header" after \'SOUR:LEV 11\', '
        "'SOUR:VOLT 1'; check the settings under rig.bench"
    )
    assert caught.value.reports == ((-222, "Data out of range"), (-113, "Undefined header"))
    assert not caught.value.not_understood
    setup.bench.check_errors()


def test_a_step_without_errors_costs_one_question(setup):
    setup.bench.tell("SOUR:LEV 1")
    setup.bench.check_errors()
    assert setup.wire.heard == ["SOUR:LEV 1", "SYST:ERR?"]


def test_only_the_last_commands_are_told(setup):
    for level in range(9):
        setup.bench.tell(f"SOUR:LEV {level}")
    setup.emulator.push_error(-310, "Overheated; fan stopped")
    with pytest.raises(ScpiError) as caught:
        setup.bench.check_errors()
    assert "reports -310 \"Overheated; fan stopped\" after ... 'SOUR:LEV 4', " in str(caught.value)


def test_errors_left_by_somebody_else_are_not_ours():
    setup = Setup()
    setup.emulator.push_error(-222)
    setup.bench.open()


def test_errors_while_opening_are_told():
    setup = Setup()
    setup.wire.spoils = [lambda replies: replies] * 2 + [
        lambda replies: setup.emulator.push_error(-240, "Cold start") or replies
    ]
    with pytest.raises(ScpiError, match='reports -240 "Cold start"'):
        setup.bench.open()


def test_errors_while_settings_are_put_back_are_told(setup):
    setup.bench.close()
    setup.bench.open()
    setup.emulator.push_error(-240, "Relay stuck")
    with pytest.raises(ScpiError, match='reports -240 "Relay stuck"'):
        setup.bench.close()
    assert not setup.link.is_open


def test_a_queue_that_is_not_told_is_told_with_what_to_do(setup):
    setup.wire.spoils = [silent]
    with pytest.raises(LinkTimeout) as caught:
        setup.bench.check_errors()
    assert str(caught.value) == (
        "bench (sim): asked 'SYST:ERR?', waited 2 s for an answer that ends in b'\\n', got nothing; check "
        "rig.bench.address and that it is ready, or raise rig.bench.timeout_s"
    )


def test_a_queue_that_never_ends_is_left_alone(setup):
    setup.wire.spoils = [instead(b'-310,"System error"\n')] * 200
    with pytest.raises(ScpiError) as caught:
        setup.bench.check_errors()
    assert len(caught.value.reports) == 100


def test_a_question_that_is_not_understood_is_told_as_that(setup):
    with pytest.raises(ScpiError) as caught:
        setup.bench.ask("SOUR:VOLT?")
    assert str(caught.value) == (
        "bench (sim): reports -113 \"Undefined header\" after 'SOUR:VOLT?'; check the settings under rig.bench"
    )
    assert caught.value.not_understood
    assert setup.bench.level == 0.5


def test_a_question_that_not_every_firmware_knows(setup):
    began_s = setup.clock.monotonic()
    assert setup.bench.ask_if_known("SOUR:VOLT?") is None
    assert setup.clock.monotonic() - began_s < 1.5
    assert setup.bench.ask_if_known("SOUR:LEV?") == "+5.00000000000E-01"
    setup.wire.spoils = [silent]
    setup.emulator.push_error(-310)
    with pytest.raises(ScpiError, match="-310"):
        setup.bench.ask_if_known("SOUR:LEV?")


# -- identity ----------------------------------------------------------------------------------------------------


def test_identity_is_checked_and_kept():
    setup = Setup()
    setup.bench.open()
    assert setup.bench.identity == "Acme,B100,EMULATOR1,1.0"
    assert setup.bench.emulated
    assert Identity.parse('"Acme, B100 ,12"\n') == Identity("Acme", "B100", "12", "")


def test_a_serial_number_alone_makes_an_emulator():
    setup = Setup()
    setup.wire.spoils = [instead(b"Acme,B100,12,EMULATOR loader 3\n")]
    setup.bench.open()
    assert not setup.bench.emulated
    setup.wire.heard.clear()
    with pytest.raises(InstrumentError) as caught:
        setup.bench.simulate_restart(3)
    assert str(caught.value) == (
        "bench (sim): asked 'SIM:REST 3' of 'Acme,B100,12,EMULATOR loader 3', which is not an emulator"
    )
    assert setup.wire.heard == []


def test_the_wrong_instrument_is_refused():
    setup = Setup()
    setup.wire.spoils = [instead(b"HEWLETT-PACKARD,8510C,100,2.1\n")]
    with pytest.raises(InstrumentError) as caught:
        setup.bench.open()
    assert str(caught.value) == (
        "bench (sim): 'HEWLETT-PACKARD,8510C,100,2.1' answers, and driver bench is for Acme benches; "
        "correct rig.bench.address or rig.bench.driver, or set rig.bench.identity to any"
    )
    assert setup.wire.heard == ["*IDN?"]  # nothing was set
    assert setup.bench.identity == ""


def test_identity_any_takes_whatever_answers():
    setup = Setup(identity="any")
    setup.wire.spoils = [instead(b"Clone,X,1,2\n")]
    setup.bench.open()
    assert setup.bench.identity == "Clone,X,1,2"
    assert not setup.bench.emulated


def test_errors_of_an_instrument_that_identity_any_let_pass_say_so():
    setup = Setup(identity="any")
    setup.emulator.identity = "Clone,X,1,2"
    setup.bench.open()
    passed = "; driver bench is not for 'Clone,X,1,2', which rig.bench.identity: any let pass"
    setup.bench.tell("SOUR:VOLT 1")
    with pytest.raises(ScpiError) as caught:
        setup.bench.check_errors()
    assert str(caught.value).endswith(f"check the settings under rig.bench{passed}")
    setup.wire.spoils = [instead(b"half a volt\n")]
    with pytest.raises(InstrumentError) as garbled:
        _ = setup.bench.level
    assert str(garbled.value).endswith(f"check that the driver fits the instrument{passed}")
    setup.emulator.raw = b"7"
    with pytest.raises(InstrumentError) as no_block:
        setup.bench.ask_block("DATA?")
    assert str(no_block.value).endswith(f"(rig.bench.driver){passed}")
    assert setup.bench.level == 0.5  # in step again
    setup.wire.spoils = [silent] * 2  # nor does it say why
    with pytest.raises(LinkTimeout) as unanswered:
        setup.bench.ask("DATA?")
    assert str(unanswered.value).endswith(f"or raise rig.bench.timeout_s{passed}")


def test_identity_any_is_no_reproach_where_the_driver_fits():
    setup = Setup(identity="any")
    setup.bench.open()
    setup.bench.tell("SOUR:VOLT 1")
    with pytest.raises(ScpiError) as caught:
        setup.bench.check_errors()
    assert str(caught.value).endswith("check the settings under rig.bench")


def test_nobody_answers():
    setup = Setup()
    setup.wire.spoils = [silent] * 10
    with pytest.raises(LinkTimeout) as caught:
        setup.bench.open()
    assert str(caught.value) == (
        "bench (sim): asked '*IDN?', waited 2 s for an answer that ends in b'\\n', got nothing; "
        "check rig.bench.address and that it is ready, or raise rig.bench.timeout_s"
    )


# -- settings ----------------------------------------------------------------------------------------------------


def test_settings_go_back_on_close(setup):
    assert setup.bench.settings() == {"level": 0.5}
    setup.bench.level = 3.0
    setup.bench.close()
    assert setup.emulator.level == 0.5
    setup.bench.close()


def test_settings_beyond_our_own_limits_go_back_too():
    setup = Setup()
    setup.emulator.level = 9.0
    setup.bench.open()
    setup.bench.level = 3.0
    setup.bench.close()
    assert setup.emulator.level == 9.0


# -- the fence ---------------------------------------------------------------------------------------------------


def test_a_late_answer_never_reaches_the_next_question(setup):
    setup.wire.spoils = [late(3.5)]
    with pytest.raises(LinkTimeout):
        setup.bench.ask("*IDN?")  # late, and then so are the answers behind it
    assert setup.bench.level == 0.5
    assert setup.bench.ask("SOUR:LEV?") == "+5.00000000000E-01"


@pytest.mark.parametrize("arrived", [3, 10, 20])
def test_a_torn_block_never_reaches_the_next_question(setup, arrived):
    setup.emulator.raw = block(struct.pack("<2d", 1, 2))
    setup.wire.spoils = [cut(arrived)]
    with pytest.raises(LinkTimeout) as caught:
        setup.bench.ask_block("DATA?", 2)
    assert str(caught.value).startswith("bench (sim): asked 'DATA?', waited 2 s for ")
    assert setup.bench.level == 0.5


def test_the_rest_of_a_block_that_runs_into_the_fence(setup):
    tail = b"late bytes without an end, and 107"
    setup.wire.spoils = [lambda replies: [(0.0, b"#"), (2.5, tail)]]
    with pytest.raises(LinkTimeout):
        setup.bench.ask_block("DATA?", 2)
    assert setup.bench.level == 0.5


def test_stale_lines_that_look_like_the_fence(setup):
    stale = b"".join(b"+%d\n" % value for value in range(100, 255)) * 3  # every value it may ever write, in order
    setup.wire.spoils = [lambda replies: [(2.5, stale), *((delay + 2.5, data) for delay, data in replies)]]
    with pytest.raises(LinkTimeout):
        setup.bench.ask("*IDN?")
    for _ in range(3):
        assert setup.bench.ask("SOUR:LEV?") == "+5.00000000000E-01"


def test_fences_differ_from_each_other(setup):
    for _ in range(40):
        setup.link.dirty = True
        assert setup.bench.level == 0.5
    masks = [line.split(";")[0] for line in setup.wire.heard if line.startswith("*ESE 1") or line.startswith("*ESE 2")]
    assert len(masks) == 80
    assert all(len({*masks[at : at + 40]}) == 40 for at in range(40))


def test_the_event_mask_is_put_back():
    setup = Setup()
    setup.emulator.status.event_mask = 36
    setup.bench.open()
    setup.link.dirty = True
    assert setup.bench.level == 0.5
    assert setup.emulator.status.event_mask == 36


def test_an_order_of_which_a_part_was_sent_spoils_nothing(setup):
    setup.link.send_anyway(b"SOUR:LEV 4;SOUR:LE")
    setup.bench.level = 1.0
    setup.bench.check_errors()  # the error of the torn order belongs to what failed before
    assert setup.bench.level == 1.0


def test_the_fence_waits_no_longer_than_it_should(setup):
    setup.wire.spoils = [silent] * 20
    setup.link.dirty = True
    began_s = setup.clock.monotonic()
    with pytest.raises(LinkDesync) as caught:
        setup.bench.tell("SOUR:LEV 1")
    assert str(caught.value) == (
        "bench (sim): does not answer in step: waited 2 s for an answer that ends in b'\\n', got nothing; "
        "check rig.bench.address and that it is ready"
    )
    assert setup.clock.monotonic() - began_s < 3
    assert "SOUR:LEV 1" not in setup.wire.heard


def test_an_instrument_that_never_stops_talking(setup, monkeypatch):
    monkeypatch.setattr("labtrain.drivers.scpi._STALE_LINES", 50)
    setup.wire.spoils = [instead(b"tick\n" * 60)]
    setup.link.dirty = True
    with pytest.raises(LinkDesync) as caught:
        setup.bench.tell("SOUR:LEV 1")
    assert str(caught.value) == ("bench (sim): talks without being asked; check that no other program uses it")


# -- simulation --------------------------------------------------------------------------------------------------


def test_what_only_emulators_are_told_is_acknowledged(setup):
    setup.bench.simulate_restart(7)
    setup.bench.simulate_shot(12)
    assert (setup.emulator.seed, setup.emulator.shot) == (7, 12)
    assert setup.wire.heard == ["SIM:REST 7;*OPC?", "SYST:ERR?", "SIM:SHOT 12;*OPC?", "SYST:ERR?"]
