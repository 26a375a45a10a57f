"""The Rohde & Schwarz driver against the emulated analyser, byte for byte."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest

from labtrain.clock import Clock
from labtrain.drivers.emulators import plain
from labtrain.drivers.emulators.vna import rohde_schwarz as emulated
from labtrain.drivers.emulators.vna.channel import CalSet
from labtrain.drivers.scpi import ScpiError
from labtrain.drivers.testing import fault_matrix
from labtrain.drivers.vna.calibration import Calibration
from labtrain.drivers.vna.rohde_schwarz import RohdeSchwarz
from labtrain.errors import InputError, InstrumentError, LinkClosed, LinkTimeout
from tests.drivers.vna import pna
from tests.drivers.vna.pna import GRID
from tests.drivers.wires import cut, hang_up, instead, late, silent

OFF = "OUTP 0;:INIT1:CONT 0"
SWEEP = ["INIT1;*OPC?", "CALC1:PAR:SEL 'labtrain_S21';:CALC1:DATA? SDAT", "SYST:ERR?"]
LISTED = [1e9, 2e9, 5000000000.5]


class Bench(pna.Bench):
    """An R&S analyser, a wire and its driver."""

    EMULATOR = emulated.RohdeSchwarz
    DRIVER = RohdeSchwarz

    def told(self, question: str) -> str:
        """What the instrument answers to somebody else."""
        ((_, answer),) = self.emulator.receive(question.encode() + b"\n")
        assert isinstance(answer, bytes)
        return answer.decode().strip()


def test_a_sweep_is_three_questions():
    bench = Bench()
    vna = bench.ready()
    for _ in range(3):
        vna.sweep()
    assert bench.wire.heard == 3 * SWEEP


def test_a_sweep_of_several_s_parameters_or_averages():
    bench = Bench(s_parameters=("S21", "S11"), averages=4)
    sweep = bench.ready().sweep()
    assert bench.wire.heard == [
        "SENS1:AVER:CLE;:INIT1;*OPC?",
        "CALC1:PAR:SEL 'labtrain_S21';:CALC1:DATA? SDAT",
        "CALC1:PAR:SEL 'labtrain_S11';:CALC1:DATA? SDAT",
        "SYST:ERR?",
    ]
    assert [s["averages"] for s in bench.network.sweeps] == [4]
    np.testing.assert_array_equal(sweep, [bench.network.value(GRID, 2, 1), bench.network.value(GRID, 1, 1)])


def test_a_list_of_frequencies_is_a_segment_each():
    bench = Bench(power_dbm=-20.0, if_bandwidth_hz=300.0)
    sweep = bench.ready(LISTED).sweep()
    (swept,) = bench.network.sweeps
    np.testing.assert_array_equal(swept["frequencies"], LISTED)
    assert (swept["power"], swept["bandwidth"]) == (-20.0, 300.0)
    np.testing.assert_array_equal(sweep[0], bench.network.value(np.array(LISTED), 2, 1))
    bench.vna.configure(LISTED)
    at = bench.wire.heard.index("SENS1:SEGM:DEL:ALL")
    assert bench.wire.heard[at : at + 9] == [
        "SENS1:SEGM:DEL:ALL",
        "SENS1:SEGM1:INS 1000000000,1000000000,1,-20,MIN,0,300",
        "SENS1:SEGM2:INS 2000000000,2000000000,1,-20,MIN,0,300",
        "SENS1:SEGM3:INS 5000000000.5,5000000000.5,1,-20,MIN,0,300",
        "SENS1:SEGM:BWID:CONT 0",
        "SENS1:SEGM:POW:CONT 0",
        "SENS1:SEGM:SWE:DWEL:CONT 0",
        "SENS1:SEGM:SWE:TIME:CONT 0",
        "SENS1:SWE:TYPE SEGM",
    ]


@pytest.mark.parametrize(
    "identity",
    [
        "Rohde-Schwarz,ZNB20-2Port,1311601062101657,3.32",
        "Rohde-Schwarz,ZNBT8-16Port,1318700624100104,2.70",
        "Rohde-Schwarz,ZNA67-4Port,1332450064101810,2.73",
        "Rohde&Schwarz,ZVA50-4Port,1145111052100151,3.60",
        "Rohde&Schwarz,ZVA24,1145110024100100,4.11",
        "Rohde & Schwarz,ZNL6,1323001206100100,1.20",
        "Rohde-Schwarz,ZNLE6-2Port,1323001256100100,1.92",
        "ROHDE-SCHWARZ,ZND8-2Port,1328517092100100,3.20",
    ],
)
def test_analysers_it_is_for(identity):
    bench = Bench()
    bench.wire.spoils = [instead(identity.encode() + b"\n")]
    bench.vna.open()
    assert not bench.vna.emulated


@pytest.mark.parametrize("identity", ["Rohde&Schwarz,FSW-26,101025,3.20", "Keysight Technologies,N9912A,MY1,A.1"])
def test_analysers_it_is_not_for(identity):
    bench = Bench()
    bench.wire.spoils = [instead(identity.encode() + b"\n")]
    with pytest.raises(InstrumentError) as caught:
        bench.vna.open()
    assert str(caught.value) == (
        f"vna (sim): {identity!r} answers, and driver rohde-schwarz is for Rohde & Schwarz ZNA, ZNB, ZNBT, ZNC, ZND, "
        "ZNL, ZNLE, ZVA, ZVB and ZVT; correct rig.vna.address or rig.vna.driver, or set rig.vna.identity to any"
    )
    bench.vna.close()
    assert bench.wire.heard == ["*IDN?"]  # an instrument that is not ours is told nothing at all


def test_analysers_without_averaging_modes_are_told_nothing_of_them():
    bench = Bench(averages=3)
    bench.wire.spoils = [instead(b"Rohde&Schwarz,ZVA50-4Port,1145111052100151,3.60\n")]
    bench.ready().sweep()
    bench.vna.close()
    assert not any("AVER:MODE" in message for message in bench.wire.heard)


# -- limits ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "frequencies", "told"),
    [
        ({"averages": 1001}, GRID, "asked averaging factor 1001, allowed 1 to 1000; set rig.vna.averages"),
        (
            {"power_dbm": 5.0},
            GRID,
            "asked power 5 dBm, allowed up to 0 dBm (rig.vna.max_power_dbm); set rig.vna.power_dbm",
        ),
        ({"s_parameters": ("S31",)}, GRID, "asked S31, it has 2 ports; set rig.vna.s_parameters"),
        ({}, [1e3, 2e3], "asked frequency 1 kHz, allowed 100 kHz to 20 GHz; set rig.frequencies_hz"),
        ({}, np.linspace(1e9, 2e9, 100_002), "asked points 100002, allowed 1 to 100001; measure at fewer frequencies"),
    ],
)
def test_limits_hold_before_a_byte_leaves(config, frequencies, told):
    bench = Bench(**config)
    bench.open()
    with pytest.raises(InputError) as caught:
        bench.vna.configure(frequencies)
    assert str(caught.value).startswith(f"vna (sim): {told}")
    assert bench.wire.heard == []


def test_a_power_that_this_model_does_not_have():
    bench = Bench(power_dbm=-70.0)
    bench.open()
    with pytest.raises(ScpiError, match='reports -222 "Data out of range" after '):
        bench.vna.configure(GRID)


def test_what_ports_add_to_the_power_of_their_own_is_taken_away():
    bench = Bench(power_dbm=-10.0, s_parameters=("S21", "S12"))
    bench.tell("SOUR1:POW1:OFFS 15,CPAD", "SOUR1:POW2:OFFS 3,ONLY;SLOP 2")
    bench.ready(LISTED).sweep()
    assert {sweep["power"] for sweep in bench.network.sweeps} == {-10.0}
    bench.vna.close()
    assert bench.told("SOUR1:POW1:OFFS?;SLOP?;:SOUR1:POW2:OFFS?;SLOP?") == "15,CPAD;0;3,ONLY;2"


def test_an_if_bandwidth_that_does_not_exist_is_not_rounded_in_silence():
    bench = Bench(if_bandwidth_hz=1100.0)
    vna = bench.open()
    with pytest.raises(InputError) as caught:
        vna.configure(GRID)
    assert str(caught.value) == (
        "vna (sim): asked IF bandwidth 1.1 kHz, it set 1.5 kHz instead; set rig.vna.if_bandwidth_hz"
    )


# -- time --------------------------------------------------------------------------------------------------------


def test_how_long_a_sweep_takes_is_known_and_waited_for():
    bench = Bench(timing=True, if_bandwidth_hz=2.0, averages=3)
    vna = bench.ready()
    assert vna.sweep_s == pytest.approx(3 * 21 * (1 / 2 + 30e-6))  # much longer than the longest silence allowed
    began_s = bench.clock.monotonic()
    vna.sweep()
    assert bench.clock.monotonic() - began_s == pytest.approx(vna.sweep_s)


def test_traces_of_somebody_else_on_the_channel_are_counted_and_kept():
    bench = Bench()
    bench.tell("CALC1:PAR:SDEF 'theirs','S22'")
    vna = bench.ready()
    assert vna.sweep_s == pytest.approx(2 * 21 * (1 / 1000 + 30e-6))
    vna.close()
    assert bench.told("CALC1:PAR:CAT?;SEL?") == "'Trc1,S21,theirs,S22';'theirs'"


# -- what goes wrong ---------------------------------------------------------------------------------------------


def test_somebody_looks_at_another_trace():
    bench = Bench()
    vna = bench.ready()
    bench.tell("CALC1:PAR:SDEF 'theirs','S12'")  # it is the active one now
    np.testing.assert_array_equal(vna.sweep()[0], bench.network.value(GRID, 2, 1))


def test_what_the_analyser_reports_ends_the_sweep():
    bench = Bench()
    vna = bench.ready()
    bench.emulator.push_error(102, "Hardware;port 1 overloaded")  # R&S has errors of its own above 0
    with pytest.raises(ScpiError, match=r'reports 102 "Hardware;port 1 overloaded" after \'INIT1;\*OPC\?\'') as caught:
        vna.sweep()
    assert caught.value.reports == ((102, "Hardware;port 1 overloaded"),)
    vna.sweep()


@pytest.mark.parametrize(
    ("order", "told"),
    [
        ("*RST", r"a block of 336 bytes, got '\+"),  # text
        ("CALC1:PAR:DEL:ALL", 'reports -200 "Execution error;no such trace"'),
        ("CALC1:PAR:DEL 'labtrain_S21'", 'reports -200 "Execution error;no such trace"'),  # Trc1 answers in its place
    ],
)
def test_somebody_takes_our_traces_away(order, told):
    bench = Bench()
    vna = bench.ready()
    bench.tell(order, "SENS1:SWE:POIN 21")
    with pytest.raises(InstrumentError, match=told):
        vna.sweep()
    vna.configure(GRID)
    vna.rf(True)
    np.testing.assert_array_equal(vna.sweep()[0], bench.network.value(GRID, 2, 1))


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
    vna.configure(GRID)
    vna.rf(True)
    np.testing.assert_array_equal(vna.sweep()[0], bench.network.value(GRID, 2, 1))


def test_an_analyser_that_could_not_be_opened():
    bench = Bench()
    bench.wire.spoils = [silent]
    with pytest.raises(LinkTimeout):
        bench.vna.open()
    with pytest.raises(InstrumentError) as caught:
        bench.vna.calibration()
    assert str(caught.value) == "vna (sim): does not know its ports, because opening it failed; open it again"


def session(vna: RohdeSchwarz) -> list[np.ndarray]:
    vna.configure(LISTED)
    vna.rf(True)
    return [vna.sweep(), vna.sweep()]


def test_no_fault_at_any_message_gives_a_wrong_value():
    def emulator(clock: Clock) -> emulated.RohdeSchwarz:
        return emulated.RohdeSchwarz(plain.Network(), clock)

    config = {"averages": 3, "s_parameters": ("S21", "S12")}
    matrix = fault_matrix(RohdeSchwarz, emulator, session, config=config, state=lambda rs: rs.rf, most=1)
    assert not matrix.bad, matrix


# -- calibration -------------------------------------------------------------------------------------------------


def test_no_calibration():
    bench = Bench()
    assert bench.open().calibration() == Calibration(on=False, extensions_s={1: 0.0, 2: 0.0})


def test_the_calibration_in_use():
    bench = Bench()
    bench.emulator.store_calibration(CalSet("cavity.cal", (2026, 1, 31), (9, 5, 0)), channel=1)
    bench.tell("SENS1:CORR:EDEL2:TIME 1.25E-10")
    vna = bench.open()
    found = vna.calibration()
    assert found == Calibration(True, "cavity.cal", "2026-01-31T09:05:00", "", True, {1: 0.0, 2: 1.25e-10})
    bench.tell("SENS1:CORR OFF")
    assert found.change(vna.calibration()).startswith("was on, set 'cavity.cal' of 2026-01-31T09:05:00, extensions on")


@pytest.mark.parametrize("told", ["2026-09-15 10:02:11", ""])
def test_dates_in_another_form_are_kept_as_they_are(told):
    bench = Bench()
    bench.emulator.store_calibration(CalSet("cavity.cal", (2026, 1, 31)), channel=1)
    vna = bench.open()
    keep = lambda replies: replies  # noqa: E731
    bench.wire.spoils = [keep, keep, instead(f"'{told}'\n".encode())]
    assert vna.calibration().date == told


@pytest.mark.parametrize(("s_parameters", "corrected", "sources"), [(("S21",), False, 1), (("S21",), True, 2)])
def test_a_sweep_from_each_source(s_parameters, corrected, sources):
    bench = Bench(s_parameters=s_parameters)
    if corrected:
        bench.emulator.store_calibration(CalSet("both ports.cal", (2026, 1, 31)), channel=1)
    assert bench.ready().sweep_s == pytest.approx(sources * 21 * (1 / 1000 + 30e-6))


# -- the way out -------------------------------------------------------------------------------------------------


def test_rf_that_does_not_come_on():
    bench = Bench()
    vna = bench.open()
    vna.configure(GRID)
    bench.wire.spoils = [instead(b"0\n")]
    with pytest.raises(InstrumentError) as caught:
        vna.rf(True)
    assert str(caught.value) == "vna (sim): asked 'OUTP 1;:OUTP?' for RF on, got '0'; see its front panel"


def test_safe_is_one_question():
    bench = Bench()
    vna = bench.ready()
    vna.safe()
    assert bench.wire.heard == [f"{OFF};:OUTP?"]
    assert not bench.emulator.rf
    assert bench.told("INIT1:CONT?") == "0"


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
    vna.safe()
    assert bench.wire.heard[:2] == ["", OFF]  # leaves before the link is brought back in step
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


def test_safe_when_it_has_hung_up_is_not_taken_for_safe():
    bench = Bench()
    vna = bench.ready()
    bench.wire.spoils = [hang_up]
    with pytest.raises(LinkClosed):
        vna.sweep()
    with pytest.raises(InstrumentError, match="told to switch RF off, but did not confirm it"):
        vna.safe()
    vna.link.close()
    vna.link.open()  # as a rig does to reach it once more
    vna.safe()
    assert not bench.emulator.rf


# -- settings ----------------------------------------------------------------------------------------------------

FOUND = {
    "preset": [],
    "external trigger": ["TRIG1:SOUR EXT", "SENS1:SWE:COUN 7"],
    "single sweeps of another grid": [
        "INIT1:CONT OFF", "SENS1:FREQ:STAR 10E9", "SENS1:FREQ:STOP 15E9", "SENS1:SWE:POIN 401", "SENS1:BWID 70",
    ],
    "averaging": ["SENS1:AVER ON", "SENS1:AVER:COUN 16", "SENS1:AVER:MODE FLAT"],
    "ports of their own power": ["SOUR1:POW 13", "SOUR1:POW2:OFFS -5,CPAD", "SOUR1:POW1:SLOP 1.5"],
    "segments": [
        "SENS1:SEGM1:INS 1E9,2E9,21,-10,0,0,1E3", "SENS1:SEGM2:INS 2E9,2E9,1,-20,0.5,0,1E4,NEG,HIGH",
        "SENS1:SEGM3:ADD", "SENS1:SEGM3:STAT OFF", "SENS1:SWE:TYPE SEGM", "SENS1:SEGM:POW:CONT OFF",
    ],
    "segments that are not swept": ["SENS1:SEGM1:INS 1E9,2E9,21,-10,0,0,1E3", "SENS1:SWE:TYPE LOG"],
    "transfer": ["FORM REAL,32", "FORM:BORD NORM"],
    "selection": ["CALC1:PAR:SDEF 'theirs','S12'", "CALC1:PAR:SEL 'Trc1'"],
    "RF off": ["OUTP OFF"],
}  # fmt: skip


@pytest.mark.parametrize("orders", FOUND.values(), ids=FOUND)
@pytest.mark.parametrize("frequencies", [GRID, LISTED], ids=["grid", "list"])
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
    assert [vars(s) for s in bench.emulator.channels[1].segments] == segments
    assert not bench.emulator.rf


def test_power_and_bandwidth_by_segment_that_were_found_do_not_count():
    bench = Bench(power_dbm=-30.0)
    bench.tell("SENS1:SEGM:POW:CONT ON", "SENS1:SEGM:BWID:CONT ON", "SOUR1:POW 13")
    bench.ready(LISTED).sweep()
    assert {(sweep["power"], sweep["bandwidth"]) for sweep in bench.network.sweeps} == {(-30.0, 1000.0)}


def test_traces_of_a_run_that_crashed_are_cleared_away():
    bench = Bench(s_parameters=("S21", "S12"))
    bench.ready()
    bench.link.close()
    bench.config = {"s_parameters": ("S22",)}
    _, later = bench.driver()
    later.open()
    later.configure(GRID)
    assert bench.told("CALC1:PAR:CAT?") == "'Trc1,S21,labtrain_S22,S22'"
    later.close()
    assert bench.told("CALC1:PAR:CAT?") == "'Trc1,S21'"


def test_an_analyser_without_any_trace():
    bench = Bench()
    bench.tell("CALC:PAR:DEL:ALL")
    bench.ready().sweep()
    bench.vna.close()
    assert bench.told("CALC1:PAR:CAT?;SEL?") == "'';''"
