"""The emulated PNA: the dialect as documented, and silence where the instrument is silent."""

from __future__ import annotations

import pytest

from labtrain.drivers.emulators.vna.channel import CalSet
from labtrain.drivers.emulators.vna.keysight_pna import FAMILY
from tests.drivers.emulators.vna.analysers import Session


@pytest.fixture
def session() -> Session:
    return Session()


@pytest.fixture
def ready() -> Session:
    session = Session()
    session.prepare()
    return session


# -- identity and power-up -----------------------------------------------------------------------------------------


def test_it_says_that_it_is_an_emulator(session: Session) -> None:
    assert session.ask("*IDN?") == "Keysight Technologies,N5222B,EMULATOR,A.13.95.09"
    assert session.ask("*OPT?") == "200"


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("FORM?", "ASC,0"),
        ("FORM:BORD?", "NORM"),
        ("OUTP?", "1"),
        ("SENS1:SWE:MODE?", "CONT"),
        ("TRIG:SOUR?", "IMM"),
        ("INIT:CONT?", "1"),
        ("SENS1:SWE:POIN?", "+201"),
        ("SENS1:SWE:TYPE?", "LIN"),
        ("SENS1:SWE:TIME:AUTO?", "1"),
        ("SENS1:FREQ:STAR?", "+1.00000000000E+07"),
        ("SENS1:FREQ:STOP?", "+2.65000000000E+10"),
        ("SENS1:BAND?", "+1.00000000000E+05"),
        ("SENS1:AVER?", "0"),
        ("SENS1:AVER:COUN?", "+1"),
        ("SENS1:AVER:MODE?", "SWE"),
        ("SENS1:SWE:GRO:COUN?", "+1"),
        ("SENS1:CORR?", "0"),
        ("SENS1:CORR:EXT?", "0"),
        ("SENS1:SEGM:COUN?", "+1"),
        ("SOUR1:POW1?", "-5.00000000000E+00"),
        ("SOUR1:POW:COUP?", "1"),
        ("CALC1:PAR:CAT:EXT?", '"CH1_S11_1,S11"'),
        ("CALC1:PAR:SEL?", '"CH1_S11_1"'),
        ("CALC1:PAR:MNUM?", "+1"),
        ("CALC1:FORM?", "MLOG"),
        ("SYST:CHAN:CAT?", '"1"'),
        ("SYST:MEAS:CAT? 1", '"1"'),
        ("SYST:ACT:CHAN?", "+1"),
        ("SYST:ACT:MEAS?", '"CH1_S11_1"'),
        ("SYST:CAP:HARD:PORT:COUN?", "+2"),
        ("SYST:CAP:FREQ:MIN?", "+1.00000000000E+07"),
        ("SYST:CAP:FREQ:MAX?", "+2.65000000000E+10"),
        ("SYST:CAP:POIN:MAX?", "+100003"),
        ("DISP:CAT?", '"1"'),
        ("DISP:WIND:CAT?", '"1"'),
        ("SENS1:CORR:CSET:ACT? NAME", '"No Calset Selected"'),
        ("CSET:CAT?", '""'),
    ],
)
def test_after_power_up(session: Session, question: str, answer: str) -> None:
    assert session.ask(question) == answer
    assert session.errors() == []


def test_nothing_is_swept_before_somebody_asks(session: Session) -> None:
    session.ask("*IDN?")
    session.tell("SENS1:SWE:MODE HOLD", "OUTP OFF")
    assert session.network.asked == []


# -- settings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "question", "answer"),
    [
        ("SENS:FREQ:CENT 5 GHZ;SPAN 1 GHZ", "SENS:FREQ:STAR?;STOP?", "+4.50000000000E+09;+5.50000000000E+09"),
        ("SENS:FREQ:STAR 5e9;STOP 6e9;SPAN 4e8", "SENS:FREQ:CENT?;SPAN?", "+5.50000000000E+09;+4.00000000000E+08"),
        ("SENS:FREQ:STAR 2e9;STOP 3e9;STAR 8e9", "SENS:FREQ:STAR?;STOP?", "+8.00000000000E+09;+9.00000000000E+09"),
        ("SENS:FREQ:STAR 2e9;STOP 3e9;STOP 1.5e9", "SENS:FREQ:STAR?;STOP?", "+5.00000000000E+08;+1.50000000000E+09"),
        ("SENS:FREQ:STAR MIN;STOP MAX", "SENS:FREQ:STAR?;STOP?", "+1.00000000000E+07;+2.65000000000E+10"),
        ("SENS:BWID 1 KHZ", "SENS:BANDWIDTH:RESOLUTION?", "+1.00000000000E+03"),
        ("SENS:BAND 1001", "SENS:BAND?", "+1.50000000000E+03"),  # rounded up to what exists
        ("SENS:BAND 250e3", "SENS:BAND?", "+2.80000000000E+05"),
        ("SENS:SWE:POIN MAX", "SENS:SWE:POIN?", "+100003"),
        ("SENS:AVER:MODE POINT", "SENS:AVER:MODE?", "POIN"),
        ("SENS:AVER:COUN 16;STAT ON", "SENS:AVER:COUN?;STAT?", "+16;1"),
        ("SENS:SWE:GRO:COUN 2000000", "SENS:SWE:GRO:COUN?", "+2000000"),
        ("SOUR:POW -12.5", "SOUR1:POWER2:LEVEL:IMMEDIATE:AMPLITUDE?", "-1.25000000000E+01"),  # ports are coupled
        ("SOUR:POW:COUP OFF;:SOUR:POW2 -20 DBM", "SOUR:POW1?;:SOUR:POW2?", "-5.00000000000E+00;-2.00000000000E+01"),
        ("FORM REAL", "FORM?", "REAL,32"),
        ("FORM REAL,64;:FORM:BORD SWAP", "FORMAT:DATA?;BORD?", "REAL,64;SWAP"),
        ("FORM REAL,64;:FORM ASCII,0", "FORM?", "ASC,0"),
        ("CALC:FORM PHASE", "CALC:FORM?", "PHAS"),
        ("TRIG:SOUR MANUAL", "INIT:CONT?", "0"),
        ("INIT:CONT OFF;CONT ON", "TRIG:SEQ:SOUR?", "IMM"),
        ("SENS:SWE:TIME 2.5", "SENS:SWE:TIME?;TIME:AUTO?", "+2.50000000000E+00;0"),
        ("SENS:SWE:TIME 2.5;TIME:AUTO 1", "SENS:SWE:TIME:AUTO?", "1"),
        ("SENS:CORR:EXT:PORT2 2 NS;STAT 1", "SENS:CORR:EXT:PORT2:TIME?;:SENS:CORR:EXT?", "+2.00000000000E-09;1"),
        ("CALC:CORR:EDEL:TIME 1e-9", "CALC:CORR:EDEL?", "+1.00000000000E-09"),
        ("MMEM:STOR:TRACE:FORM:SNP RI", "MMEM:STOR:TRAC:FORM:SNP?", "RI"),
        ("SIM:TIM ON", "SIM:TIM?", "1"),
    ],
)
def test_settings_are_kept_and_told(session: Session, order: str, question: str, answer: str) -> None:
    session.tell(order)
    assert session.ask(question) == answer


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ("SENS:FREQ:STAR 1 KHZ", '-222,"Data out of range"'),
        ("SENS:FREQ:STOP 27 GHZ", '-222,"Data out of range"'),
        ("SENS:BAND 20 MHZ", '-222,"Data out of range"'),
        ("SENS:SWE:POIN 0", '-222,"Data out of range"'),
        ("SENS:AVER:COUN 65537", '-222,"Data out of range"'),
        ("SOUR:POW 14", '-222,"Data out of range"'),
        ("SOUR:POW3 0", '+159,"Specified port is out of range"'),
        ("SENS:CORR:EXT:PORT3?", '+159,"Specified port is out of range"'),
        ("SENS:SWE:TYPE POWER", '-224,"Illegal parameter value"'),
        ("FORM REAL,16", '-224,"Illegal parameter value"'),
        ("FORM ASC,64", '-224,"Illegal parameter value"'),
        ("SENS2:FREQ:STAR?", '+122,"The specified channel was not found."'),
        ("SENS2:SWE:MODE SING", '+122,"The specified channel was not found."'),
        ("INIT2:IMM", '-213,"Init ignored"'),
        ("INIT:IMM", '-213,"Init ignored"'),  # the source is not manual
        ("CALC2:DATA? SDATA", '+103,"CALC measurement selection set to none"'),
        ("CALC:PAR:SEL 'nobody'", '+106,"Requested measurement not found"'),
        ("CALC:PAR:DEL 'nobody'", '+106,"Requested measurement not found"'),
        ("CALC:PAR:DEF:EXT 'CH1_S11_1','S21'", '+104,"Duplicate measurement name"'),
        ("CALC:PAR:DEF:EXT '','S21'", '-224,"Illegal parameter value"'),
        ("CALC:PAR:DEF:EXT 'b','S31'", '+159,"Specified port is out of range"'),
        ("CALC:PAR:DEF:EXT 'b','S13'", '+159,"Specified port is out of range"'),
        ("CALC:PAR:DEF:EXT 'b','S2_0'", '+159,"Specified port is out of range"'),
        ("CALC:PAR:DEF:EXT 'b','A/R1,1'", '-224,"Illegal parameter value"'),
        ("CALC:MEAS7:DATA:SDATA?", '+106,"Requested measurement not found"'),
        ("CALC2:MEAS1:DATA:SDATA?", '+118,"Measurement does not belong to specified channel."'),
        ("CALC:DATA? SMEM", '+112,"Requested memory not found"'),
        ("CALC:DATA? SCORR1", '-224,"Illegal parameter value"'),
        ("CALC:DATA?", '-109,"Missing parameter"'),
        ("SENS:CORR ON", '+168,"A valid calibration is required before correction can be turned on."'),
        ("SENS:CORR:CSET:ACT 'mine',1", '+163,"Requested Cal Set was not found in Cal Set Storage."'),
        ("SENS:CORR:CSET:DESC?", '+164,"There is no Cal Set currently selected for the specified channel."'),
        ("CSET:DATE? 'mine'", '+163,"Requested Cal Set was not found in Cal Set Storage."'),
        ("DISP:WIND2:TRAC1:FEED 'CH1_S11_1'", '+101,"Window number not found"'),
        ("DISP:WIND1:TRAC1:FEED 'CH1_S11_1'", '+110,"Duplicate trace number"'),
        ("DISP:WIND1:STAT ON", '+100,"Duplicate window number"'),
        ("DISP:WIND1:TRAC4:DEL", '+107,"Requested trace not found"'),
        ("SENS:SEGM2:FREQ:STAR?", '+127,"The sweep segment was not found."'),
        ("SENS:SEGM3:ADD", '-114,"Header suffix out of range"'),
        ("CALC1:DATA:SNP:PORTS? '1,3'", '+159,"Specified port is out of range"'),
        ("CALC1:DATA:SNP:PORTS? 'all'", '-224,"Illegal parameter value"'),
        # Other analysers' dialects.
        ("CALC1:DATA:SDAT?", '-113,"Undefined header"'),
        ("SENS1:DATA:CORR? S21", '-113,"Undefined header"'),
        ("TRIG:SING", '-113,"Undefined header"'),
        ("CALC1:PAR1:DEF S21", '-113,"Undefined header"'),
        ("FREQ:STAR?", '-113,"Undefined header"'),
    ],
)  # fmt: skip
def test_where_the_instrument_answers_nothing_it_answers_nothing(session: Session, message: str, error: str) -> None:
    session.silent(message, error)
    assert session.network.asked == []


def test_if_bandwidths_are_those_of_the_family() -> None:
    assert list(FAMILY.if_bandwidths_hz) == sorted(FAMILY.if_bandwidths_hz)
    assert len(FAMILY.if_bandwidths_hz) == 43
    assert {5, 7, 10, 15, 700, 1500, 70e3, 100e3, 280e3, 360e3, 600e3, 1e6, 15e6} <= set(FAMILY.if_bandwidths_hz)
    assert not {1.5, 500e3, 700e3} & set(FAMILY.if_bandwidths_hz)


def test_reset_and_presets(session: Session) -> None:
    def set_up() -> None:
        session.tell("OUTP OFF", "FORM REAL,64", "SENS:SWE:POIN 11", "CALC2:PAR:DEF:EXT 'b','S21'", "TRIG:SOUR MAN")

    set_up()
    session.tell("SYST:PRES")
    assert session.ask("SENS:SWE:POIN?;:OUTP?;:TRIG:SOUR?;:CALC:PAR:CAT:EXT?") == '+201;1;IMM;"CH1_S11_1,S11"'
    assert session.ask("FORM?") == "REAL,64"  # the one thing that a preset leaves alone and a reset does not
    set_up()
    session.tell("*RST")
    assert session.ask("FORM?;:SENS:SWE:POIN?;:OUTP?;:SYST:CHAN:CAT?") == 'ASC,0;+201;1;"1"'
    session.tell("SYST:FPR")
    assert session.ask("CALC:PAR:CAT:EXT?;:DISP:CAT?;:SYST:CHAN:CAT?;:SYST:ACT:CHAN?") == '"NO CATALOG";"EMPTY";"";+0'
    session.silent("CALC:DATA? SDATA", '+103,"CALC measurement selection set to none"')
    session.silent("CALC:PAR:MNUM?", '+103,"CALC measurement selection set to none"')


def test_a_reboot_loses_settings_but_not_calibrations(ready: Session) -> None:
    ready.pna.store_calset(CalSet("mine", (2026, 5, 1)), channel=1)
    ready.tell("OUTP OFF", "FORM REAL,64")
    assert ready.pna.reboot() == [(0.0, None)]
    assert ready.ask("FORM?;:OUTP?;:SENS:SWE:POIN?;:SENS:CORR?;:CSET:CAT?") == 'ASC,0;1;+201;0;"mine"'
    assert ready.ask("*ESR?") == "+128"


# -- measurements --------------------------------------------------------------------------------------------------


def test_measurements_are_made_selected_changed_and_deleted(session: Session) -> None:
    session.tell("CALC1:PAR:DEF:EXT 'Tx',S21", 'CALC1:PAR:EXT "Rx","S1_2"', "CALC1:PAR 'Ref',S22,1")
    assert session.ask("CALC:PAR:CAT:EXT?") == '"CH1_S11_1,S11,Tx,S21,Rx,S12,Ref,S22"'
    assert session.ask("CALC:PAR:SEL?") == '"CH1_S11_1"'  # making one does not select it
    session.tell("CALC1:PAR:SEL 'Rx',fast")
    assert session.ask("CALC:PAR:SEL?;:CALC:PAR:MNUM?;:SYST:ACT:MEAS?") == '"Rx";+3;"Rx"'
    session.tell("CALC1:PAR:MOD:EXT 'S21'", "CALC1:PAR:MNUM 4", "CALC1:PAR:DEL 'Tx'")
    assert session.ask("CALC:PAR:CAT?;:SYST:MEAS:CAT?") == '"CH1_S11_1,S11,Rx,S21,Ref,S22";"1,3,4"'
    session.tell("CALC1:PAR:DEF:EXT 'new','S11'")  # takes the number that is free
    assert session.ask("SYST:MEAS:CAT?;:CALC:MEAS2:NAME?") == '"1,2,3,4";"new"'
    session.silent("CALC1:PAR:SEL 'rx'", '+106,"Requested measurement not found"')  # names are case-sensitive
    session.tell("CALC1:PAR:DEL 'Ref'")  # the selected one
    session.silent("CALC1:DATA? SDATA", '+103,"CALC measurement selection set to none"')


def test_measurements_by_number(session: Session) -> None:
    session.tell("CALC1:MEAS5:DEF 'S21'", "CALC2:MEAS6:DEF S12")
    assert session.ask("CALC1:MEAS5:PAR?;NAME?;FORM?") == '"S21";"CH1_S21_5";MLOG'
    session.tell("CALC1:MEAS5:PAR 'S22';FORM REAL")
    assert (
        session.ask("CALC1:MEAS5:PAR?;FORM?;:CALC1:MEAS5:X:AXIS:UNIT?;:CALC1:MEAS1:Y:AXIS:UNIT?")
        == '"S22";REAL;FREQ;DB'
    )
    assert session.ask("SYST:CHAN:CAT?;:SYST:MEAS:CAT? 2;:CALC2:PAR:CAT:EXT?") == '"1,2";"6";"CH2_S12_6,S12"'
    session.silent("CALC1:MEAS5:DEF 'S21'", '+104,"Duplicate measurement name"')
    session.tell("CALC1:MEAS5:DEL")
    assert session.ask("SYST:MEAS:CAT?") == '"1,6"'


def test_channels_are_made_by_their_measurements_and_have_their_own_settings(session: Session) -> None:
    session.tell("CALC2:PAR:DEF:EXT 'b','S21'", "SENS2:SWE:POIN 11", "SENS1:SWE:POIN 7")
    assert session.ask("SENS2:SWE:POIN?;:SENS1:SWE:POIN?") == "+11;+7"
    session.tell("SYST:CHAN:DEL 2")
    session.silent("SENS2:SWE:POIN?", '+122,"The specified channel was not found."')
    assert session.ask("SYST:CHAN:CAT?") == '"1"'


def test_windows(session: Session) -> None:
    session.tell("CALC1:PAR:DEF:EXT 'a','S21'", "DISP:WIND2:STAT ON", "DISP:WIND2:TRAC3:FEED 'a'", "DISP:MEAS1:FEED 2")
    assert session.ask("DISP:CAT?;:DISP:WIND2:CAT?;:DISP:WIND2?;:DISP:WIND3?") == '"1,2";"1,3";1;0'
    session.tell("CALC1:PAR:SEL 'a'", "DISP:WIND2:TRAC3:Y:SCAL:AUTO")
    assert session.ask("CALC1:PAR:TNUM?;WNUM?") == "+3;+2"
    session.tell("CALC1:PAR:DEL 'a'", "DISP:WIND2:TRAC1:DEL")
    assert session.ask("DISP:WIND2:CAT?") == '"EMPTY"'
    session.tell("DISP:WIND2 OFF")
    session.silent("DISP:WIND2 OFF", '+101,"Window number not found"')


# -- correction ----------------------------------------------------------------------------------------------------


def test_calibrations(ready: Session) -> None:
    ready.pna.store_calset(CalSet("mine", (2026, 5, 1), (14, 30, 5), "at the cable ends"))
    assert (
        ready.ask("CSET:CAT?;:CSET:EXIS? 'MINE';:CSET:EXIS? 'yours';:SENS1:CORR:CSET:CAT? NAME") == '"mine";1;0;"mine"'
    )
    assert ready.ask("CSET:DATE? 'mine';:CSET:TIME? 'mine'") == "+2026,+5,+1;+14,+30,+5"
    assert ready.ask("SENS1:CORR?;:CALC1:CORR:IND?") == "0;NONE"
    ready.tell("SENS1:CORR:CSET:ACT 'mine',0")
    assert ready.ask("SENS1:CORR?;:CALC1:CORR:STAT?;:CALC1:MEAS1:CORR:STAT?") == "1;1;1"
    assert ready.ask("SENS1:CORR:CSET:ACT? NAME;DESC?") == '"mine";"at the cable ends"'
    assert ready.ask("SENS1:CORR:CSET:ACT?") == '"{FD6F863E-9719-11D5-8D6C-00108334AE96}"'
    assert ready.ask("CALC1:CORR:TYPE?;:CALC1:MEAS1:CORR:TYPE?") == '"Full 2 Port(1,2)";"Full 2 Port(1,2)"'
    assert ready.ask("CALC1:CORR:IND?;:CALC1:MEAS1:CORR:IND?") == "MAST;MAST"
    ready.tell("SENS1:CORR OFF", "SENS1:CORR ON", "SENS1:CORR:CSET:DEAC")
    assert ready.ask("SENS1:CORR?") == "0"


# -- simulation ----------------------------------------------------------------------------------------------------


def test_the_simulation_is_reached_through_the_instrument(session: Session) -> None:
    assert session.ask("SIM:REST 9007199254740993;*OPC?") == "+1"
    session.tell("SIMulation:SHOT 7", "SIM:REST -5")
    assert session.network.simulated == [("restart", 9007199254740993), ("shot", 7), ("restart", -5)]
    session.silent("SIM:SHOT -1", '-222,"Data out of range"')


def test_messages_cost_little_beyond_the_network(ready: Session) -> None:
    """What is parsed is remembered: a thousand sweeps leave no more in memory than one."""
    ready.tell("FORM REAL,64")
    for _ in range(1000):
        ready.send("SENS1:SWE:MODE SING;*OPC?")
        ready.send("CALC1:DATA? SDATA")
    assert len(ready.pna._remembered) < 20
