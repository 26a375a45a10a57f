"""The emulated R&S analyser: the dialect as documented, and silence where the instrument is silent."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from labtrain.drivers.emulators.vna.channel import CalSet
from labtrain.drivers.emulators.vna.rohde_schwarz import RohdeSchwarz
from tests.drivers.emulators.vna.analysers import GRID, Session, close

SWEEP_S = 5 * (1 / 100 + 30e-6)


class RsSession(Session):
    """An R&S analyser and somebody who talks to it."""

    pna: Any

    def __init__(self, *, n_ports: int = 2, timing: bool = False) -> None:
        super().__init__(n_ports=n_ports)
        self.pna = RohdeSchwarz(self.network, self.clock, timing=timing)

    def errors(self) -> list[str]:
        found = []
        while (error := self.ask("SYST:ERR?")) != '0,"No error"':
            found.append(error)
        return found

    def prepare(self) -> None:
        self.tell("INIT1:CONT OFF", "SENS1:FREQ:STAR 2e9;STOP 3e9", "SENS1:SWE:POIN 5")


@pytest.fixture
def session() -> RsSession:
    return RsSession()


@pytest.fixture
def ready() -> RsSession:
    session = RsSession()
    session.prepare()
    return session


@pytest.fixture
def timed() -> RsSession:
    session = RsSession(timing=True)
    session.prepare()
    session.tell("SENS1:BWID 100")  # 50.15 ms a sweep
    return session


# -- identity and power-up -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ports", [2, 4])
def test_it_says_that_it_is_an_emulator_with_so_many_ports(ports: int) -> None:
    session = RsSession(n_ports=ports)
    assert session.ask("*IDN?") == f"Rohde-Schwarz,ZNB20-{ports}Port,EMULATOR,3.45"
    assert session.ask("INST:PORT:COUN?") == str(ports)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("FORM?", "ASC,0"),
        ("FORM:BORD?", "SWAP"),
        ("OUTP?", "1"),
        ("OUTP1:STAT?", "1"),
        ("INIT1:CONT?", "1"),
        ("TRIG1:SOUR?", "IMM"),
        ("SENS1:SWE:POIN?", "201"),
        ("SWE:POIN?", "201"),  # SENSe may be left out
        ("SENS1:SWE:COUN?", "1"),
        ("SENS1:SWE:TYPE?", "LIN"),
        ("SENS1:FREQ:STAR?", "100000"),
        ("SENSe1:FREQuency:STOP?", "20000000000"),
        ("SYST:FREQ? MIN", "100000"),
        ("SYST:FREQ? MAX", "20000000000"),
        ("SENS1:BAND?", "10000"),
        ("SENS1:AVER:STAT?", "0"),
        ("SENS1:AVER:COUN?", "10"),
        ("SENS1:AVER:MODE?", "AUTO"),
        ("SENS1:CORR:STAT?", "0"),
        ("SENS1:CORR:DATE?", "''"),
        ("SENS1:CORR:EDEL2:TIME?", "0"),
        ("MMEM:LOAD:CORR? 1", "''"),
        ("SENS1:SEGM:COUN?", "0"),
        ("SOUR1:POW?", "-10"),
        ("SOUR1:POW2:LEV:IMM:OFFS?", "0,CPAD"),
        ("CALC1:PAR:CAT?", "'Trc1,S21'"),
        ("CALC1:PAR:SEL?", "'Trc1'"),
        ("CALC1:PAR:MEAS? 'Trc1'", "'S21'"),
        ("CALC1:FORM?", "MLOG"),
        ("CONF:CHAN:CAT?", "'1,Ch1'"),
        ("CONF:TRAC:CAT?", "'1,Trc1'"),
        ("INST:NSEL?", "1"),
        ("STAT:QUES:INT:HARD?", "0"),
        ("ROSC:EXT:FREQ?", "10000000Hz"),
        ("SYST:ERR:ALL?", '0,"No error"'),
        ("*OPC?", "1"),
        ("*STB?", "0"),
    ],
)
def test_after_power_up(session: RsSession, question: str, answer: str) -> None:
    assert session.ask(question) == answer
    assert session.errors() == []


# -- settings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "question", "answer"),
    [
        ("FREQ:CENT 5 GHZ;SPAN 1 GHZ", "SENS:FREQ:STAR?;STOP?", "4500000000;5500000000"),
        ("FREQ:STAR 2E9;STOP 3E9;:SWE:STEP 250MHZ", "SWE:POIN?;STEP?;:FREQ:STOP?", "5;250000000;3000000000"),
        ("SENS:BWID 1 KHZ", "SENS:BANDWIDTH:RESOLUTION?", "1000"),
        ("SENS:BAND 1001", "SENS:BAND?", "1500"),
        ("AVER:COUN 16;STAT ON;MODE REDuce", "SENS:AVER:COUN?;STAT?;MODE?", "16;1;RED"),
        ("SOUR:POW -12.5", "SOUR1:POWER2:LEVEL:IMMEDIATE:AMPLITUDE?", "-12.5"),  # of all ports
        ("SOUR1:POW2:OFFS 3.5,ONLY;SLOP 1", "SOUR1:POW2:OFFS?;SLOP?;:SOUR1:POW1:OFFS?", "3.5,ONLY;1;0,CPAD"),
        ("FORM REAL,64;:FORM:BORD NORM", "FORMAT:DATA?;BORD?", "REAL,64;NORM"),
        ("OUTP1 OFF", "OUTP?", "0"),
        ("SWE:TYPE POINt;:FREQ:CW 3GHZ", "SWE:TYPE?;:FREQ:FIX?", "POIN;3000000000"),
        ("TRIG1:SEQ:SOUR EXTernal", "TRIG1:SOUR?", "EXT"),
        ("INIT:CONT:ALL OFF", "INIT1:CONT?", "0"),
        ("CALC1:FORM ISMith", "CALC1:FORM?", "ISM"),
        ("CONF:CHAN1:NAME 'mine';MEAS OFF", "CONF:CHAN1:NAME?;MEAS?", "'mine';0"),
        ("SYST:DISP:UPD ONCE;:SYST:ERR:DISP ON", "SYST:ERR:DISP?", "1"),
        ("ROSC EXT;:ROSC:EXT:FREQ 5MHZ", "ROSC:SOUR?;EXT:FREQ?", "EXT;5000000Hz"),
        ("SENS1:CORR:EDEL2:TIME 2 NS", "SENS1:CORR:EDEL2?;OFFS1:STAT?", "2E-09;1"),
    ],
)
def test_settings_are_kept_and_told(session: RsSession, order: str, question: str, answer: str) -> None:
    session.tell(order)
    assert session.ask(question) == answer


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ("SENS:FREQ:STAR 1 KHZ", '-222,"Data out of range"'),
        ("SENS:AVER:COUN 1001", '-222,"Data out of range"'),
        ("SOUR:POW 26", '-222,"Data out of range"'),
        ("SOUR:POW3:OFFS 0,CPAD", '-114,"Header suffix out of range"'),
        ("SENS:SWE:TYPE POWER", '-224,"Illegal parameter value"'),
        ("SENS:SWE:TYPE SEGM", '-221,"Settings conflict"'),  # there are none
        ("SENS2:FREQ:STAR?", '-114,"Header suffix out of range"'),
        ("INIT2", '-114,"Header suffix out of range"'),
        ("CALC1:PAR:SEL 'nobody'", '-200,"Execution error;no such trace"'),
        ("CALC1:PAR:DEL 'nobody'", '-200,"Execution error;no such trace"'),
        ("CALC2:PAR:SDEF 'Trc1','S21'", '-200,"Execution error;another channel has a trace of that name"'),
        ("CALC1:PAR:SDEF 'b','S31'", '-114,"Header suffix out of range"'),
        ("CALC1:PAR:SDEF 'b','A1'", '-224,"Illegal parameter value"'),
        ("CALC1:PAR:SDEF '','S21'", '-224,"Illegal parameter value"'),
        ("CALC1:PAR:SDEF b,'S21'", '-104,"Data type error"'),
        ("CALC1:DATA:SGR? SDAT", '-200,"Execution error;no such trace"'),
        ("SENS:CORR ON", '-221,"Settings conflict"'),
        ("MMEM:LOAD:CORR 1,'mine.cal'", '-256,"File name not found"'),
        ("SENS:SEGM2:ADD", '-114,"Header suffix out of range;no such segment"'),
        ("SENS:SEGM1:DEF?", '-114,"Header suffix out of range;no such segment"'),
        ("SENS:SEGM2:INS 1E9,2E9,5,-10,0,0,1E3", '-114,"Header suffix out of range;no such segment"'),
        ("SENS:SEGM1:INS 2E9,1E9,5,-10,0,0,1E3", '-221,"Settings conflict"'),
        ("SENS:SEGM1:INS 1E9,2E9,5,-10,0,0", '-109,"Missing parameter"'),
        ("SENS:SEGM1:INS 1E9,2E9,5,-10,0,0,1E3,POS,NORM,1", '-108,"Parameter not allowed"'),
        ("DISP:WIND2:TRAC1:FEED 'Trc1'", '-114,"Header suffix out of range"'),
        # Other analysers' dialects.
        ("SENS1:SWE:MODE SING", '-113,"Undefined header"'),
        ("CALC1:DATA:SDAT?", '-113,"Undefined header"'),
        ("SENS1:DATA:CORR? S21", '-113,"Undefined header"'),
        ("TRIG:SING", '-113,"Undefined header"'),
        ("SOUR:FREQ:STAR?", '-113,"Undefined header"'),  # only SENSe may be left out
    ],
)
def test_where_the_instrument_answers_nothing_it_answers_nothing(session: RsSession, message: str, error: str) -> None:
    session.silent(message, error)
    assert session.network.asked == []


def test_errors_are_told_all_at_once(session: RsSession) -> None:
    session.send("NONSENSE")
    session.pna.push_error(102, "Hardware")
    assert session.ask("*STB?") == "4"
    assert session.ask("SYST:ERR:ALL?") == '-113,"Undefined header",102,"Hardware"'


def test_reset_and_reboot(session: RsSession) -> None:
    def set_up() -> None:
        session.tell("OUTP OFF", "FORM REAL,64;:FORM:BORD NORM", "SWE:POIN 11", "CALC2:PAR:SDEF 'b','S21'")

    questions = "FORM?;:FORM:BORD?;:OUTP?;:SWE:POIN?;:CONF:CHAN:CAT?;:CALC:PAR:CAT?"
    set_up()
    session.tell("*RST")
    assert session.ask(questions) == "ASC,0;SWAP;1;201;'1,Ch1';'Trc1,S21'"
    set_up()
    session.pna.store_calibration(CalSet("mine.cal", (2026, 5, 1)), channel=1)
    assert session.pna.reboot() == [(0.0, None)]
    assert session.ask(questions + ";:SENS1:CORR?") == "ASC,0;SWAP;1;201;'1,Ch1';'Trc1,S21';0"
    session.tell("MMEM:LOAD:CORR 1,'mine.cal'")  # files survive
    assert session.ask("SENS1:CORR?;:SENS1:CORR:SST?;DATE?") == "1;'CAL';'05/01/26,12:00:00'"
    session.tell("SENS1:CORR OFF")
    assert session.ask("SENS1:CORR?;:SENS1:CORR:SST?") == "0;'CAL OFF'"


# -- traces and channels -------------------------------------------------------------------------------------------


def test_traces_are_made_selected_changed_and_deleted(session: RsSession) -> None:
    session.tell("CALC1:PAR:SDEF 'a','S11'", 'CALC1:PAR:SDEF "b","S0102"')
    assert session.ask("CALC1:PAR:CAT?;SEL?") == "'Trc1,S21,a,S11,b,S12';'b'"  # the newest is the active one
    session.tell("CALC1:PAR:SDEF 'a','S22'", "CALC1:PAR:MEAS 'b','S11'")
    assert session.ask("CALC1:PAR:CAT?;SEL?") == "'Trc1,S21,a,S22,b,S11';'a'"
    session.tell("CALC1:PAR:DEL 'a'")
    assert session.ask("CALC1:PAR:CAT?;SEL?") == "'Trc1,S21,b,S11';'b'"
    session.tell("CALC1:PAR:DEL:CALL")
    assert session.ask("CALC1:PAR:CAT?;SEL?") == "'';''"
    session.silent("CALC1:DATA? SDAT", '-200,"Execution error;no such trace"')


def test_channels(session: RsSession) -> None:
    session.tell("CALC2:PAR:SDEF 'b','S11'", "SENS2:SWE:POIN 11", "CONF:CHAN3 ON")
    assert session.ask("CONF:CHAN:CAT?;:INST:NSEL?;:SENS1:SWE:POIN?") == "'1,Ch1,2,Ch2,3,Ch3';3;201"
    session.silent("CALC1:PAR:SEL 'b'", '-200,"Execution error;no such trace"')
    session.tell("INST:NSEL 2", "CONF:CHAN3 OFF", "CONF:CHAN2 OFF")
    assert session.ask("CONF:CHAN:CAT?;:CONF:TRAC:CAT?;:INST:NSEL?;:CONF:CHAN2?") == "'1,Ch1';'1,Trc1';1;0"


def test_a_group_of_all_s_parameters(ready: RsSession) -> None:
    ready.tell("CALC1:PAR:DEF:SGR 2,1", "CALC1:PAR:DEF:SGR 1,2")  # in place of the one before
    assert ready.ask("CALC1:PAR:CAT?") == "'Trc1,S21,Ch1_SG_S11,S11,Ch1_SG_S12,S12,Ch1_SG_S21,S21,Ch1_SG_S22,S22'"
    ready.ask("INIT1;*OPC?")
    s = ready.network.s
    expected = np.concatenate([s(GRID, to, source) for to in (1, 2) for source in (1, 2)])
    close(ready.trace("CALC1:DATA:SGR? SDAT"), expected)
    ready.tell("CALC1:PAR:DEL:SGR")
    assert ready.ask("CALC1:PAR:CAT?") == "'Trc1,S21'"


# -- sweeps --------------------------------------------------------------------------------------------------------


def test_a_single_sweep(ready: RsSession) -> None:
    ready.tell("SENS1:BWID 1000", "SOUR1:POW -20")
    assert ready.ask("INIT1:IMM;*OPC?") == "1"
    (asked,) = ready.network.asked
    np.testing.assert_array_equal(asked.frequencies_hz, GRID)
    assert (asked.ports, asked.if_bandwidth_hz, asked.power_dbm, asked.averages) == (((2, 1),), 1000.0, -20.0, 1)
    expected = ready.network.s(GRID, 2, 1)
    ready.network.offset = 5.0  # too late
    for question in ("CALC1:DATA? SDAT", "CALC1:DATA:TRAC? 'Trc1',SDATA", "CALC1:DATA:CALL? SDAT"):
        close(ready.trace(question), expected)
    np.testing.assert_array_equal(ready.numbers("CALC1:DATA:STIM?"), GRID)
    np.testing.assert_allclose(ready.numbers("CALC1:DATA? FDAT"), 20 * np.log10(np.abs(expected)), rtol=1e-11)
    ready.tell("CALC1:FORM COMP")
    close(ready.trace("CALC1:DATA? FDAT"), expected)
    assert len(ready.network.asked) == 1


def test_continuous_sweeps_are_fresh_whenever_they_are_read(ready: RsSession) -> None:
    ready.tell("INIT1:CONT ON")
    for offset in (1.0, 2.0):
        ready.network.offset = offset
        close(ready.trace("CALC1:DATA? SDAT"), ready.network.s(GRID, 2, 1))


@pytest.mark.parametrize(("form", "order", "dtype"), [("REAL,64", "SWAP", "<c16"), ("REAL,32", "NORM", ">c8")])
def test_binary(ready: RsSession, form: str, order: str, dtype: str) -> None:
    ready.tell(f"FORM {form};:FORM:BORD {order}")
    ready.ask("INIT1;*OPC?")
    ((_, answer),) = ready.send("CALC1:DATA? SDAT")
    assert answer is not None
    size = 5 * np.dtype(dtype).itemsize
    assert answer.startswith(f"#{len(str(size))}{size}".encode()) and answer.endswith(b"\n")
    data = np.frombuffer(answer[-size - 1 : -1], dtype)
    np.testing.assert_allclose(data, ready.network.s(GRID, 2, 1), rtol=1e-7 if "32" in form else 0.0)


def test_a_trigger_is_as_many_sweeps_as_are_counted_and_averages_are_of_these(ready: RsSession) -> None:
    ready.tell("SENS1:SWE:COUN 4", "AVER:COUN 4;STAT ON;CLE")
    ready.ask("INIT1;*OPC?")
    assert [asked.averages for asked in ready.network.asked] == [4]


def test_averages_go_on_until_they_are_cleared(ready: RsSession) -> None:
    ready.tell("AVER:COUN 2;STAT ON")
    base = ready.network.s(GRID, 2, 1)
    for offset, shown in ((4.0, 4.0), (0.0, 2.0), (0.0, 1.0)):
        ready.network.offset = offset
        ready.ask("INIT1;*OPC?")
        close(ready.trace("CALC1:DATA? SDAT"), base + shown)
    ready.tell("AVER:CLE")
    ready.ask("INIT1;*OPC?")
    close(ready.trace("CALC1:DATA? SDAT"), base)


@pytest.mark.parametrize(
    ("orders", "powers"),
    [
        (["SOUR1:POW1:OFFS 5,CPAD"], {1: -15.0, 2: -20.0}),
        (["SOUR1:POW2:OFFS 5,ONLY"], {1: -20.0, 2: 5.0}),
        (["SOUR1:POW1:SLOP 2"], {1: -18.0, 2: -20.0}),  # over 1 GHz
        (["OUTP OFF"], {1: None, 2: None}),
    ],
)
def test_power_at_each_port(ready: RsSession, orders: list[str], powers: dict[int, float | None]) -> None:
    ready.tell("SOUR1:POW -20", "CALC1:PAR:SDEF 'b','S12'", *orders)
    ready.ask("INIT1;*OPC?")
    assert {pair[1]: asked.power_dbm for asked in ready.network.asked for pair in asked.ports} == powers


def test_a_length_offset_turns_the_phase(ready: RsSession) -> None:
    ready.tell("SENS1:CORR:EDEL1:TIME 1E-10;:SENS1:CORR:EDEL2:TIME 2E-10")
    ready.ask("INIT1;*OPC?")
    turned = ready.network.s(GRID, 2, 1) * np.exp(2j * math.pi * GRID * 3e-10)
    close(ready.trace("CALC1:DATA? SDAT"), turned)


def test_it_finds_a_length_offset_by_itself(ready: RsSession) -> None:
    ready.tell("CALC1:FORM GDEL")
    ready.ask("INIT1;*OPC?")
    before = ready.numbers("CALC1:DATA? FDAT").mean()
    ready.tell("SENS1:CORR:EDEL2:AUTO ONCE")
    ready.ask("INIT1;*OPC?")
    assert abs(ready.numbers("CALC1:DATA? FDAT").mean()) < 1e-6 * before


# -- segments ------------------------------------------------------------------------------------------------------


def test_segments_are_inserted_told_and_swept(ready: RsSession) -> None:
    ready.tell(
        "SENS1:SEGM1:INS 2GHZ,3GHZ,1,-20 DBM,0.5S,0,1KHZ",  # one point: it ends where it begins
        "SEGM1:INS 1E9,1.5E9,3,-10,MIN,0,300",  # before the one that was the first
        "SEGM3:INS 1.2E9,1.4E9,2,-10,0,0,300,NEG,HIGH",  # they may overlap
        "SWE:TYPE SEGM",
    )
    assert ready.ask("SEGM:COUN?;:SEGM1:DEF?") == "3;1000000000,1500000000,3,-10,0,0,300,POS,NORM"
    assert ready.ask("SEGM2:DEF?;:SEGM3:DEF?") == (
        "2000000000,2000000000,1,-20,0.5,0,1000,POS,NORM;1200000000,1400000000,2,-10,0,0,300,NEG,HIGH"
    )
    assert ready.ask("SEGM:BWID:CONT?;:SEGM:POW:CONT?;:SEGM:SWE:TIME:CONT?;:SEGM:SWE:DWEL:CONT?") == "1;1;1;0"
    ready.ask("INIT1;*OPC?")
    swept = [(list(a.frequencies_hz / 1e9), a.if_bandwidth_hz, a.power_dbm) for a in ready.network.asked]
    assert swept == [([1.0, 1.25, 1.5], 300.0, -10.0), ([2.0], 1000.0, -20.0), ([1.2, 1.4], 300.0, -10.0)]
    ready.network.asked.clear()
    ready.tell("SEGM:BWID:CONT 0;:SEGM:POW:CONT 0", "SOUR1:POW -5", "SEGM2:STAT OFF")
    ready.ask("INIT1;*OPC?")
    swept = [(list(a.frequencies_hz / 1e9), a.if_bandwidth_hz, a.power_dbm) for a in ready.network.asked]
    assert swept == [([1.0, 1.25, 1.5, 1.2, 1.4], 10e3, -5.0)]
    ready.tell("SEGM2:DEL", "SEGM:CLE")
    assert ready.ask("SWE:TYPE?;:SEGM:COUN?") == "LIN;0"


def test_segments_are_added_and_changed(ready: RsSession) -> None:
    ready.tell("SEGM:INS:SEL DWEL;:SEGM1:INS 1E9,2E9,3,-10,0,0,300", "SEGM2:ADD")
    assert ready.ask("SEGM:SWE:DWEL:CONT?;:SEGM2:FREQ:STAR?;STOP?") == "1;2000000000;20000000000"
    ready.tell("SEGM2:FREQ:STOP 3GHZ;STAR 2.5GHZ", "SEGM2:SWE:POIN 1", "SEGM2:BWID 1KHZ;POW -30")
    assert ready.ask("SEGM2:FREQ:STAR?;STOP?;:SEGM2:SWE:POIN?;:SEGM2:BWID?;POW?;STAT?") == (
        "2500000000;2500000000;1;1000;-30;1"
    )
    ready.tell("SEGM2:FREQ:STAR 4GHZ")
    assert ready.ask("SEGM2:FREQ:STOP?") == "4000000000"


# -- time ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("orders", "sweeps"),
    [
        (["INIT1"], 1),
        (["SENS1:SWE:COUN 4", "INIT1"], 4),
        (["CALC1:PAR:SDEF 'b','S12'", "INIT1"], 2),
        (["INIT1", "INIT1"], 1),  # begun anew
        (["CALC2:PAR:SDEF 'c','S21'", "SENS2:SWE:POIN 5", "SENS2:BWID 100", "INIT:ALL"], 2),
        (["INIT1", "INIT1:CONT OFF"], 0),
        (["INIT1", "ABOR"], 0),
        (["INIT1:CONT ON"], 0),
    ],
)
def test_how_long_it_is_busy(timed: RsSession, orders: list[str], sweeps: int) -> None:
    for order in orders:
        assert timed.send(order) == []
    assert timed.send("*OPC?") == [(pytest.approx(sweeps * SWEEP_S), b"1\n")]


def test_corrected_sweeps_need_all_ports(timed: RsSession) -> None:
    timed.pna.store_calibration(CalSet("mine.cal", (2026, 5, 1)), channel=1)
    assert timed.send("INIT1;*OPC?") == [(pytest.approx(2 * SWEEP_S), b"1\n")]


def test_a_trigger_from_outside_is_waited_for(ready: RsSession) -> None:
    ready.tell("TRIG1:SOUR EXT", "INIT1")
    assert ready.send("*OPC?") == []  # for ever
    ready.tell("TRIG1:SOUR IMM")
    assert ready.ask("*OPC?") == "1"
    close(ready.trace("CALC1:DATA? SDAT"), ready.network.s(GRID, 2, 1))


def test_windows_take_traces(session: RsSession) -> None:
    session.tell(
        "DISP:WIND2:STAT ON", "DISP:WIND2:TRAC3:FEED 'Trc1'", "DISP:TRAC:EFE 'Trc1'", "DISP:LAY GRID;LAY:GRID 2,1"
    )
    session.tell("DISP:WIND2:TRAC3:Y:SCAL:AUTO ONCE,'Trc1'", "DISP:TRAC1:Y:AUTO ONCE,Trc1")
    assert session.pna.windows == {1: {1: "Trc1", 2: "Trc1"}, 2: {3: "Trc1"}}
    session.tell("CALC1:PAR:DEL 'Trc1'", "DISP:WIND2 OFF")
    assert session.pna.windows == {1: {}}
