"""The Keysight PNA driver against the emulated analyser, byte for byte."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest

from labtrain.drivers.emulators.vna.channel import CalSet
from labtrain.drivers.scpi import ScpiError
from labtrain.drivers.vna.calibration import Calibration
from labtrain.errors import InputError, InstrumentError, LinkClosed, LinkTimeout
from tests.drivers.vna.pna import GRID, Bench
from tests.drivers.wires import cut, hang_up, instead, late, silent

SWEEP = ["SENS1:SWE:MODE SING;*OPC?", "CALC1:DATA? SDATA", "SYST:ERR?"]
OFF = "OUTP 0;:SENS1:SWE:MODE HOLD"


def test_a_sweep_is_three_questions():
    bench = Bench()
    vna = bench.ready()
    for _ in range(3):
        vna.sweep()
    assert bench.wire.heard == 3 * SWEEP


def test_a_sweep_of_several_s_parameters_or_averages():
    bench = Bench(s_parameters=("S21", "S11"), averages=4)
    bench.ready().sweep()
    assert bench.wire.heard == [
        "SENS1:AVER:CLE;:SENS1:SWE:MODE GRO;*OPC?",
        "CALC1:PAR:SEL 'labtrain_S21';:CALC1:DATA? SDATA",
        "CALC1:PAR:SEL 'labtrain_S11';:CALC1:DATA? SDATA",
        "SYST:ERR?",
    ]


def test_a_segment_list_is_sent_as_text_whatever_the_format_of_data():
    bench = Bench()
    vna = bench.ready()
    vna.configure([1e9, 2e9, 5000000000.5])
    at = bench.wire.heard.index("SENS1:SEGM:LIST SSTOP,3,1,1,1000000000,1000000000,1,1,2000000000,2000000000,1,1,"
                                "5000000000.5,5000000000.5")  # fmt: skip
    assert bench.wire.heard[at - 2 : at] == ["FORM ASC,0", "SENS1:SEGM:DEL:ALL"]
    assert bench.wire.heard.index("FORM REAL,64") > at


@pytest.mark.parametrize(
    ("answer", "remedy"),
    [
        ("Keysight Technologies,N5222B,US49150105,A.13.95.09", ""),
        ("Agilent Technologies,N5230A,MY45000000,A.07.50.67", ""),
        ("AGILENT TECHNOLOGIES,E8363B,US43140000,A.07.21.52", ""),
        ("Keysight Technologies,P9374A,1,A.13", ""),
        (
            "Keysight Technologies,E5071C,MY46100000,B.13.10",
            "set rig.vna.driver to keysight-ena, or correct rig.vna.address",
        ),
        ("HEWLETT-PACKARD,8510C,0,1.0", "correct rig.vna.address or rig.vna.driver, or set rig.vna.identity to any"),
    ],
)
def test_which_analysers_it_is_for(answer, remedy):
    bench = Bench()
    bench.wire.spoils = [instead(answer.encode() + b"\n")]
    if not remedy:
        bench.vna.open()
        assert not bench.vna.emulated
        return
    with pytest.raises(InstrumentError) as caught:
        bench.vna.open()
    assert str(caught.value) == (
        f"vna (sim): {answer!r} answers, and driver keysight-pna is for Keysight PNA, PNA-L and PNA-X (N52xx, E83xx, "
        f"M937xA, P937xA); {remedy}"
    )
    bench.vna.close()
    assert bench.wire.heard == ["*IDN?"]  # an instrument that is not ours is told nothing at all


def test_an_instrument_of_another_language_at_the_address():
    bench = Bench()
    bench.wire.spoils = [silent] * 10  # a metasurface controller says nothing to what it does not know
    with pytest.raises(LinkTimeout) as caught:
        bench.vna.open()
    assert str(caught.value) == (
        "vna (sim): asked '*IDN?', waited 5 s for an answer that ends in b'\\n', got nothing; check rig.vna.address "
        "and that it is ready, or raise rig.vna.timeout_s"
    )
    assert bench.vna.identity == ""


def test_emulators_are_told_apart_and_restarted():
    bench = Bench()
    vna = bench.open()
    assert vna.emulated
    vna.simulate_restart(5)
    vna.simulate_shot(9)
    assert (bench.network.restarted, bench.network.shots) == ([5], [9])


def test_a_disturbance_reaches_the_world_behind_it_and_a_refused_one_is_told():
    bench = Bench()
    vna = bench.open()
    vna.simulate_disturb(12, "pixels", {"pixels": [0, 7], "state": 1})
    assert bench.network.disturbed == [("pixels", 12, {"pixels": [0, 7], "state": 1})]
    with pytest.raises(InstrumentError, match="unknown disturbance 'unknown'"):
        vna.simulate_disturb(13, "unknown", {})


# -- time --------------------------------------------------------------------------------------------------------


def test_how_long_a_sweep_takes_is_known_and_waited_for():
    bench = Bench(timing=True, if_bandwidth_hz=2.0, averages=3)
    vna = bench.ready()
    assert vna.sweep_s == pytest.approx(3 * 21 * (1 / 2 + 30e-6))  # much longer than the longest silence allowed
    began_s = bench.clock.monotonic()
    vna.sweep()
    assert bench.clock.monotonic() - began_s == pytest.approx(vna.sweep_s)


@pytest.mark.parametrize(
    ("s_parameters", "corrected", "sources"),
    [(("S21",), False, 1), (("S21", "S11"), False, 1), (("S21", "S12"), False, 2), (("S21",), True, 2)],
)
def test_a_sweep_from_each_source(s_parameters, corrected, sources):
    bench = Bench(s_parameters=s_parameters)
    if corrected:
        bench.emulator.store_calset(CalSet("both ports", (2026, 1, 31)), channel=1)
    assert bench.ready().sweep_s == pytest.approx(sources * 21 * (1 / 1000 + 30e-6))


def test_measurements_of_somebody_else_on_the_channel_are_counted_and_kept():
    bench = Bench()
    bench.tell("CALC1:PAR:DEF:EXT 'theirs','S22'")
    vna = bench.ready()
    assert vna.sweep_s == pytest.approx(2 * 21 * (1 / 1000 + 30e-6))
    vna.close()
    assert [m.name for m in bench.emulator.of_channel(1)] == ["CH1_S11_1", "theirs"]


def test_a_sweep_that_never_ends():
    bench = Bench(timing=True)
    vna = bench.ready()
    bench.wire.spoils = [silent]
    with pytest.raises(LinkTimeout) as caught:
        vna.sweep()
    assert str(caught.value) == (
        "vna (sim): asked 'SENS1:SWE:MODE SING;*OPC?', waited 5.04326 s for an answer that ends in b'\\n', got "
        "nothing; check rig.vna.address and that it is ready, or raise rig.vna.timeout_s"
    )


# -- what goes wrong ---------------------------------------------------------------------------------------------


def test_what_the_analyser_reports_ends_the_sweep():
    bench = Bench()
    vna = bench.ready()
    bench.emulator.push_error(-240, "Source unleveled")
    with pytest.raises(ScpiError) as caught:
        vna.sweep()
    assert str(caught.value) == (
        "vna (sim): reports -240 \"Source unleveled\" after 'SENS1:SWE:MODE SING;*OPC?', 'CALC1:DATA? SDATA'; "
        "check the settings under rig.vna"
    )
    vna.sweep()


def test_somebody_changes_the_points_at_the_front_panel():
    bench = Bench()
    vna = bench.ready()
    bench.tell("SENS1:SWE:POIN 11")
    with pytest.raises(InstrumentError) as caught:
        vna.sweep()
    assert str(caught.value) == (
        "vna (sim): asked 'CALC1:DATA? SDATA' for 21 numbers, a block of 336 bytes, got a block of 176 bytes; check "
        "that the driver fits the instrument (rig.vna.driver)"
    )


def test_somebody_presets_it():
    bench = Bench()
    vna = bench.ready()
    bench.tell("*RST", "SENS1:SWE:POIN 21")
    with pytest.raises(InstrumentError, match="got '"):
        vna.sweep()


@pytest.mark.parametrize("spoil", [late(60.0), silent, cut(3), cut(200), instead(b"#3336" + bytes(400))])
def test_after_a_bad_answer_the_next_sweep_is_good(spoil):
    bench = Bench()
    vna = bench.ready()
    bench.wire.spoils = [lambda replies: replies, spoil]
    with pytest.raises(InstrumentError):
        vna.sweep()
    bench.clock.sleep(60)
    np.testing.assert_array_equal(vna.sweep()[0], bench.network.value(GRID, 2, 1))
    assert bench.wire.spoils == []


def test_opened_again_after_a_reboot_it_must_be_configured_again():
    bench = Bench()
    vna = bench.ready()
    bench.wire.spoils = [lambda replies: bench.emulator.reboot()]
    with pytest.raises(LinkClosed):
        vna.sweep()
    vna.link.close()
    vna.open()
    with pytest.raises(InstrumentError, match="RF off"):
        vna.sweep()
    with pytest.raises(InstrumentError, match=r"before configure\(\)"):
        vna.rf(True)
    vna.configure(GRID)
    vna.rf(True)
    np.testing.assert_array_equal(vna.sweep()[0], bench.network.value(GRID, 2, 1))


def test_an_if_bandwidth_that_does_not_exist_is_not_rounded_in_silence():
    bench = Bench(if_bandwidth_hz=1100.0)
    vna = bench.open()
    with pytest.raises(InputError) as caught:
        vna.configure(GRID)
    assert str(caught.value) == (
        "vna (sim): asked IF bandwidth 1.1 kHz, it set 1.5 kHz instead; set rig.vna.if_bandwidth_hz"
    )


def test_frequencies_that_it_did_not_take():
    bench = Bench()
    vna = bench.open()
    block = np.ascontiguousarray(GRID + 1e6, dtype="<f8").tobytes()
    keep = lambda replies: replies  # noqa: E731
    bench.wire.spoils = [keep] * 9 + [instead(b"#3168" + block + b"\n")]
    with pytest.raises(InstrumentError) as caught:
        vna.configure(GRID)
    assert str(caught.value) == (
        "vna (sim): asked frequency 5150000000 Hz, it sweeps 5151000000 Hz; set rig.frequencies_hz to what it can do"
    )


# -- calibration -------------------------------------------------------------------------------------------------


def test_no_calibration():
    bench = Bench()
    vna = bench.open()
    assert vna.calibration() == Calibration(on=False, extensions_s={1: 0.0, 2: 0.0})


def test_the_calibration_in_use():
    bench = Bench()
    calset = CalSet("cavity", (2026, 1, 31), (9, 5, 0), "SOLT at the cables' ends")
    bench.emulator.store_calset(calset, channel=1)
    bench.tell("SENS1:CORR:EXT:PORT2 1.25E-10", "SENS1:CORR:EXT ON")
    vna = bench.open()
    found = vna.calibration()
    assert found == Calibration(
        True, "cavity", "2026-01-31T09:05:00", "SOLT at the cables' ends", True, {1: 0.0, 2: 1.25e-10}
    )
    bench.tell("SENS1:CORR OFF")
    assert found.change(vna.calibration()).startswith("was on, set 'cavity' of 2026-01-31T09:05:00, extensions on")


def test_firmware_that_does_not_tell_dates(monkeypatch):
    bench = Bench()
    bench.emulator.store_calset(CalSet("cavity", (2026, 1, 31)), channel=1)
    vna = bench.open()
    monkeypatch.setattr(vna, "ask_if_known", lambda question: None)
    assert vna.calibration().date == ""


def test_a_date_that_is_none():
    bench = Bench()
    bench.emulator.store_calset(CalSet("cavity", (0, 0, 0)), channel=1)
    vna = bench.open()
    with pytest.raises(InstrumentError) as caught:
        vna.calibration()
    assert str(caught.value) == (
        "vna (sim): asked \"CSET:DATE? 'cavity'\" for when the calibration set was saved, got '+0,+0,+0 +12,+0,+0'; "
        "check that the driver fits the instrument"
    )


# -- the way out -------------------------------------------------------------------------------------------------


def test_rf_that_does_not_come_on():
    bench = Bench()
    vna = bench.open()
    vna.configure(GRID)
    bench.wire.spoils = [instead(b"0\n")]  # an interlock, a trip
    with pytest.raises(InstrumentError) as caught:
        vna.rf(True)
    assert str(caught.value) == "vna (sim): asked 'OUTP 1;:OUTP?' for RF on, got '0'; see its front panel"
    with pytest.raises(InstrumentError, match="RF off"):
        vna.sweep()


def test_safe_is_one_question():
    bench = Bench()
    vna = bench.ready()
    vna.safe()
    assert bench.wire.heard == [f"{OFF};:OUTP?"]
    assert not bench.emulator.rf
    with pytest.raises(InstrumentError, match="RF off"):
        vna.sweep()


def test_safe_while_a_sweep_is_under_way():
    bench = Bench(timing=True)
    vna = bench.ready()

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    sleep, bench.clock.sleep = bench.clock.sleep, interrupt
    with pytest.raises(KeyboardInterrupt):
        vna.sweep()
    bench.clock.sleep = sleep
    bench.wire.heard.clear()
    began_s = bench.clock.monotonic()
    vna.safe()
    assert bench.wire.heard[:2] == ["", OFF]  # leaves before the link is brought back in step
    assert not bench.emulator.rf
    assert bench.clock.monotonic() - began_s < 1


def test_safe_when_half_a_message_was_sent():
    bench = Bench()
    vna = bench.ready()
    vna.link.send_anyway(b"SENS1:SWE:MO")
    vna.safe()
    assert not bench.emulator.rf


@pytest.mark.parametrize("spoil", [late(0.3), late(3.0), instead(b"1\n"), instead(b"\xff\xfe\n"), cut(1)])
def test_safe_when_the_answer_is_bad(spoil):
    bench = Bench()
    vna = bench.ready()
    bench.wire.spoils = [spoil]
    for _ in range(3):
        with suppress(InstrumentError):  # said, not hidden: it was told, but has not confirmed
            vna.safe()
            break
        assert not bench.emulator.rf
        bench.clock.sleep(1)
    else:
        raise AssertionError("never confirmed")
    assert not bench.emulator.rf


def test_safe_takes_little_time_when_nobody_answers():
    bench = Bench()
    vna = bench.ready()
    bench.wire.spoils = [silent] * 50
    began_s = bench.clock.monotonic()
    with pytest.raises(InstrumentError) as caught:
        vna.safe()
    assert bench.clock.monotonic() - began_s < 1.5
    assert str(caught.value) == (
        "vna (sim): told to switch RF off, but did not confirm it: does not answer in step: waited 0.52163 s for an "
        "answer that ends in b'\\n', got nothing; check rig.vna.address and that it is ready"
    )
    assert vna.by_hand == "switch RF off at its front panel"
    assert not bench.emulator.rf  # it was told


def test_safe_when_it_has_hung_up_is_not_taken_for_safe():
    bench = Bench()
    vna = bench.ready()
    bench.wire.spoils = [hang_up]
    with pytest.raises(LinkClosed):
        vna.sweep()
    for _ in range(2):
        with pytest.raises(InstrumentError, match="told to switch RF off, but did not confirm it"):
            vna.safe()
        vna.link.close()
    vna.link.open()  # as a rig does to reach it once more
    vna.safe()
    assert not bench.emulator.rf


def test_safe_leaves_alone_what_was_never_reached():
    bench = Bench()
    bench.vna.safe()
    assert bench.wire.connections == 0


def test_safe_needs_no_more_than_a_verified_identity():
    bench = Bench()
    bench.ready()
    link, other = bench.driver()
    link.open()
    other.verify()
    bench.wire.heard.clear()
    other.safe()
    assert bench.wire.heard == [f"{OFF};:OUTP?"]
    assert not bench.emulator.rf


def test_closing_alone_switches_rf_off_before_settings_go_back():
    bench = Bench(power_dbm=-20.0)
    bench.tell("SOUR1:POW1 13")
    vna = bench.ready()
    vna.close()
    assert bench.wire.heard[0] == f"{OFF};:OUTP?"
    assert not bench.emulator.rf
    assert bench.emulator.channels[1].powers_dbm == {1: 13.0, 2: 13.0}
    vna.close()


def test_an_analyser_that_does_not_answer_is_closed_soon():
    bench = Bench()
    vna = bench.ready()
    bench.wire.spoils = [silent] * 100
    began_s = bench.clock.monotonic()
    with pytest.raises(InstrumentError, match="did not confirm"):
        vna.close()
    assert bench.clock.monotonic() - began_s < 1.5
    assert not vna.link.is_open


# -- settings ----------------------------------------------------------------------------------------------------

FOUND = {
    "preset": [],
    "continuous, external trigger": ["TRIG:SOUR EXT", "SENS1:SWE:MODE CONT"],
    "another grid": ["SENS1:FREQ:STAR 20E9", "SENS1:FREQ:STOP 25E9", "SENS1:SWE:POIN 401", "SENS1:BWID 70"],
    "averaging": ["SENS1:AVER ON", "SENS1:AVER:COUN 16", "SENS1:AVER:MODE POIN", "SENS1:SWE:GRO:COUN 16"],
    "ports of their own power": ["SOUR1:POW:COUP OFF", "SOUR1:POW1 -20", "SOUR1:POW2 7"],
    "segments": [
        "SENS1:SEGM:LIST SSTOP,2,1,21,1E9,2E9,1E3,0,-10,0,11,2E9,3E9,1E4,0,-20", "SENS1:SWE:TYPE SEGM",
        "SENS1:SEGM:BWID:CONT ON", "SENS1:SEGM:POW:CONT ON",
    ],
    "transfer": ["FORM REAL,32", "FORM:BORD NORM"],
    "selection": ["CALC1:PAR:DEF:EXT 'theirs','S12'", "CALC1:PAR:SEL 'theirs'"],
    "RF off": ["OUTP OFF"],
}  # fmt: skip


@pytest.mark.parametrize("orders", FOUND.values(), ids=FOUND)
@pytest.mark.parametrize("frequencies", [GRID, [1e9, 2e9, 5e9]], ids=["grid", "list"])
def test_what_was_found_goes_back(orders, frequencies):
    bench = Bench(s_parameters=("S21", "S22"), averages=2, if_bandwidth_hz=500.0)
    bench.tell(*orders)
    link, witness = bench.driver()
    witness.open()
    before, segments = witness.settings(), [vars(s).copy() for s in bench.emulator.channels[1].segments]
    link.close()
    bench.ready(frequencies).sweep()
    bench.vna.close()
    link.open()
    assert witness.settings() == before
    if "segments" in before:
        assert [vars(s) for s in bench.emulator.channels[1].segments] == segments
    assert not bench.emulator.rf


def test_power_and_bandwidth_by_segment_or_port_that_were_found_do_not_count():
    bench = Bench(power_dbm=-30.0)
    bench.tell("SENS1:SEGM:POW:CONT ON", "SENS1:SEGM:BWID:CONT ON", "SOUR1:POW:COUP OFF", "SOUR1:POW2 13")
    vna = bench.ready([1e9, 2e9, 5e9])
    vna.sweep()
    assert {(sweep["power"], sweep["bandwidth"]) for sweep in bench.network.sweeps} == {(-30.0, 1000.0)}
    assert set(bench.emulator.channels[1].powers_dbm.values()) == {-30.0}


def test_measurements_of_a_run_that_crashed_are_cleared_away():
    bench = Bench(s_parameters=("S21", "S12"))
    bench.ready()
    bench.link.close()
    bench.config = {"s_parameters": ("S22",)}
    _, later = bench.driver()
    later.open()
    later.configure(GRID)
    assert [m.name for m in bench.emulator.of_channel(1)] == ["CH1_S11_1", "labtrain_S22"]
    later.close()
    assert [m.name for m in bench.emulator.of_channel(1)] == ["CH1_S11_1"]


def test_an_analyser_without_any_measurement():
    bench = Bench()
    bench.tell("CALC:PAR:DEL:ALL")
    bench.ready().sweep()
    bench.vna.close()
    assert bench.emulator.of_channel(1) == []
