"""The emulated PNA: what is swept, when, how often, and how long that takes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from labtrain.drivers.emulators.vna.channel import CalSet
from tests.drivers.emulators.vna.analysers import GRID, Session, close


@pytest.fixture
def session() -> Session:
    return Session()


@pytest.fixture
def ready() -> Session:
    session = Session()
    session.prepare()
    return session


@pytest.fixture
def timed() -> Session:
    session = Session(timing=True)
    session.prepare()
    session.tell("SENS1:BWID 100")  # 50.15 ms a sweep
    return session


SWEEP_S = 5 * (1 / 100 + 30e-6)


# -- sweeping ------------------------------------------------------------------------------------------------------


def test_a_single_sweep(ready: Session) -> None:
    ready.tell("SENS1:BWID 1000", "SOUR1:POW -20")
    assert ready.ask("SENS1:SWE:MODE SING;*OPC?") == "+1"
    (asked,) = ready.network.asked
    np.testing.assert_array_equal(asked.frequencies_hz, GRID)
    assert (asked.ports, asked.if_bandwidth_hz, asked.power_dbm, asked.averages) == (((2, 1),), 1000.0, -20.0, 1)
    assert ready.ask("SENS1:SWE:MODE?") == "HOLD"
    close(ready.trace(), ready.network.s(GRID, 2, 1))


def test_data_are_frozen_at_the_sweep(ready: Session) -> None:
    ready.ask("SENS1:SWE:MODE SING;*OPC?")
    before = ready.trace()
    ready.network.offset = 5.0
    for question in ("CALC1:DATA? SDATA", "CALC1:MEAS1:DATA:SDATA?", "CALC1:DATA? RDATA"):
        np.testing.assert_array_equal(ready.trace(question), before)
    assert len(ready.network.asked) == 1
    ready.ask("SENS1:SWE:MODE SING;*OPC?")
    close(ready.trace(), before + 5.0)


def test_traces_without_a_sweep_are_zeros_and_old_ones_stay_until_the_next(ready: Session) -> None:
    np.testing.assert_array_equal(ready.trace(), np.zeros(5))
    ready.ask("SENS1:SWE:MODE SING;*OPC?")
    swept = ready.trace()
    ready.tell("SENS1:FREQ:STOP 4e9")
    np.testing.assert_array_equal(ready.trace(), swept)
    ready.tell("SENS1:SWE:POIN 6")
    np.testing.assert_array_equal(ready.trace(), np.zeros(6))
    ready.tell("CALC1:PAR:DEF:EXT 'b','S12'", "CALC1:PAR:SEL 'b'")
    np.testing.assert_array_equal(ready.trace(), np.zeros(6))


def test_one_sweep_measures_all_traces_of_the_channel_once(ready: Session) -> None:
    ready.tell("CALC1:PAR:DEF:EXT 'b','S12'", "CALC1:PAR:DEF:EXT 'c','S21'", "CALC2:PAR:DEF:EXT 'd','S22'")
    ready.ask("SENS1:SWE:MODE SING;*OPC?")
    assert [asked.ports for asked in ready.network.asked] == [((2, 1), (1, 2))]
    for name, ports in (("a", (2, 1)), ("b", (1, 2)), ("c", (2, 1))):
        ready.tell(f"CALC1:PAR:SEL '{name}'")
        close(ready.trace(), ready.network.s(GRID, *ports))


def test_a_continuous_sweep_is_new_whenever_it_is_read(ready: Session) -> None:
    ready.tell("SENS1:SWE:MODE CONT")
    first = ready.trace()
    ready.network.offset = 1.0
    close(ready.trace(), first + 1.0)
    ready.tell("TRIG:SOUR MAN")  # nobody triggers it any more
    ready.network.offset = 2.0
    close(ready.trace(), first + 1.0)
    assert ready.ask("SENS1:SWE:MODE?") == "CONT"


def test_the_source_may_be_off(ready: Session) -> None:
    ready.ask("OUTP OFF;:SENS1:SWE:MODE SING;*OPC?")
    assert ready.network.asked[-1].power_dbm is None
    np.testing.assert_array_equal(ready.trace(), np.zeros(5))
    ready.ask("OUTP ON;:SENS1:SWE:MODE SING;*OPC?")
    assert ready.network.asked[-1].power_dbm == -5.0


def test_ports_may_have_powers_of_their_own(ready: Session) -> None:
    ready.tell("CALC1:PAR:DEF:EXT 'b','S12'", "CALC1:PAR:DEF:EXT 'c','S11'", "SOUR:POW:COUP OFF", "SOUR:POW2 -20")
    ready.ask("SENS1:SWE:MODE SING;*OPC?")
    assert [(asked.ports, asked.power_dbm) for asked in ready.network.asked] == [
        (((2, 1), (1, 1)), -5.0),
        (((1, 2),), -20.0),
    ]
    close(ready.trace("CALC1:MEAS2:DATA:SDATA?"), ready.network.s(GRID, 1, 2))
    close(ready.trace("CALC1:MEAS3:DATA:SDATA?"), ready.network.s(GRID, 1, 1))


def test_a_channel_without_measurements_is_not_swept(session: Session) -> None:
    assert session.ask("CALC:PAR:DEL:ALL;:SENS1:SWE:MODE SING;*OPC?;:SENS1:SWE:MODE?") == "+1;HOLD"
    assert session.network.asked == []


@pytest.mark.parametrize(
    ("kind", "frequencies"),
    [("LIN", GRID), ("LOG", np.geomspace(2e9, 3e9, 5)), ("CW", np.full(5, 2.45e9))],
)
def test_sweep_types(ready: Session, kind: str, frequencies: NDArray[np.float64]) -> None:
    ready.tell(f"SENS1:SWE:TYPE {kind}", "SENS1:FREQ:CW 2.45e9")
    ready.ask("SENS1:SWE:MODE SING;*OPC?")
    np.testing.assert_array_equal(ready.network.asked[-1].frequencies_hz, frequencies)
    for question in ("SENS1:X?", "CALC1:X:VAL?", "CALC1:MEAS1:X?"):
        np.testing.assert_allclose(ready.numbers(question), frequencies, rtol=1e-11)


def test_port_extensions_move_the_reference_plane(ready: Session) -> None:
    ready.tell("SENS1:CORR:EXT:PORT1 0.2 NS", "SENS1:CORR:EXT:PORT2 0.1 NS")
    ready.ask("SENS1:SWE:MODE SING;*OPC?")
    close(ready.trace(), ready.network.s(GRID, 2, 1))
    ready.ask("SENS1:CORR:EXT ON;:SENS1:SWE:MODE SING;*OPC?")
    close(ready.trace(), ready.network.s(GRID, 2, 1) * np.exp(2j * np.pi * GRID * 0.3e-9))


# -- triggers ------------------------------------------------------------------------------------------------------


def test_manual_triggers(ready: Session) -> None:
    ready.tell("TRIG:SOUR MAN", "SENS1:SWE:MODE SING")
    assert ready.network.asked == []
    assert ready.ask("SENS1:SWE:MODE?") == "SING"
    assert ready.send("*OPC?") == []  # only a trigger could end this
    assert ready.ask("INIT1:IMM;*OPC?;:SENS1:SWE:MODE?") == "+1;HOLD"
    assert len(ready.network.asked) == 1
    ready.tell("SENS1:SWE:GRO:COUN 2", "SENS1:SWE:MODE GRO")
    ready.tell("INIT1")
    assert ready.ask("SENS1:SWE:MODE?") == "GRO"
    assert ready.ask("INIT1;:SENS1:SWE:MODE?") == "HOLD"
    assert len(ready.network.asked) == 3


def test_a_channel_on_hold_sweeps_once_when_it_is_initiated(ready: Session) -> None:
    assert ready.ask("INIT:CONT OFF;:INIT1:IMM;*OPC?;:SENS1:SWE:MODE?") == "+1;HOLD"
    assert len(ready.network.asked) == 1


def test_a_channel_that_waits_begins_when_the_source_is_internal(ready: Session) -> None:
    ready.tell("TRIG:SOUR MAN", "SENS1:SWE:MODE SING", "TRIG:SOUR IMM")
    assert ready.ask("*OPC?;:SENS1:SWE:MODE?") == "+1;HOLD"
    assert len(ready.network.asked) == 1


def test_triggers_for_several_channels(ready: Session) -> None:
    """As the help tells it: the one on hold joins the others at every second trigger."""
    ready.tell("CALC2:PAR:DEF:EXT 'b','S12'", "TRIG:SOUR MAN", "SENS2:SWE:MODE CONT")
    for swept in ([(1, 2)], [(2, 1), (1, 2)], [(1, 2)]):
        ready.network.asked.clear()
        ready.tell("INIT1:IMM")
        assert [asked.ports[0] for asked in ready.network.asked] == swept
    ready.network.asked.clear()
    ready.tell("SENS1:SWE:MODE HOLD", "TRIG:SCOP CURR", "INIT1:IMM")
    assert [asked.ports for asked in ready.network.asked] == [((2, 1),)]


def test_abort_gives_up_what_waits(ready: Session) -> None:
    ready.tell("TRIG:SOUR MAN", "SENS1:SWE:MODE SING", "ABOR")
    assert ready.ask("*OPC?;:SENS1:SWE:MODE?") == "+1;HOLD"


# -- averages ------------------------------------------------------------------------------------------------------


def test_a_group_of_sweeps_is_averaged_by_the_network_at_once(ready: Session) -> None:
    ready.tell("SENS1:AVER ON;AVER:COUN 8", "SENS1:SWE:GRO:COUN 8")
    assert ready.ask("SENS1:SWE:MODE GRO;*OPC?;:SENS1:SWE:MODE?") == "+1;HOLD"
    assert [asked.averages for asked in ready.network.asked] == [8]


def test_without_averaging_the_last_sweep_of_a_group_remains(ready: Session) -> None:
    ready.ask("SENS1:SWE:GRO:COUN 8;:SENS1:SWE:MODE GRO;*OPC?")
    assert [asked.averages for asked in ready.network.asked] == [1]


def test_point_averages_need_one_sweep(ready: Session) -> None:
    ready.tell("SENS1:AVER ON;AVER:COUN 8;MODE POIN")
    ready.ask("SENS1:SWE:MODE SING;*OPC?")
    assert [asked.averages for asked in ready.network.asked] == [8]


def test_averages_are_of_complex_values_and_go_on_until_cleared(ready: Session) -> None:
    base = ready.network.s(GRID, 2, 1)
    ready.tell("SENS1:AVER ON;AVER:COUN 4")
    shown = []
    for offset in (4.0, 8.0j, -4.0, 0.0, 4.0, 4.0):
        ready.network.offset = offset
        ready.ask("SENS1:SWE:MODE SING;*OPC?")
        shown.append(ready.trace()[0] - base[0])
    mean = (4 + 8j - 4 + 0) / 4
    fifth = 0.75 * mean + 0.25 * 4
    close(np.array(shown), np.array([4, 2 + 4j, 8j / 3, mean, fifth, 0.75 * fifth + 1.0]))
    ready.ask("SENS1:AVER:CLE;:SENS1:SWE:MODE SING;*OPC?")
    close(ready.trace(), base + 4.0)


def test_a_group_beyond_the_count_weighs_as_its_sweeps_would(ready: Session) -> None:
    base = ready.network.s(GRID, 2, 1)
    ready.tell("SENS1:AVER ON;AVER:COUN 4", "SENS1:SWE:GRO:COUN 10")
    ready.network.offset = 1.0
    ready.ask("SENS1:SWE:MODE SING;*OPC?")
    ready.network.offset = 0.0
    ready.ask("SENS1:SWE:MODE GRO;*OPC?")  # 3 to the mean of 4, then 7 with a quarter each
    close(ready.trace(), base + 0.25 * 0.75**7)
    weights = 0.25 * 0.75 ** np.arange(7)
    alike = weights.sum() ** 2 / (weights**2).sum()
    assert [asked.averages for asked in ready.network.asked] == [1, 3, round(alike)]


@pytest.mark.parametrize("order", ["SENS1:FREQ:STOP 3e9", "SENS1:BWID 1000", "SOUR1:POW -6", "SENS1:AVER ON"])
def test_a_new_stimulus_restarts_averages(ready: Session, order: str) -> None:
    ready.tell("SENS1:AVER ON;AVER:COUN 4")
    ready.network.offset = 4.0
    ready.ask("SENS1:SWE:MODE SING;*OPC?")
    ready.network.offset = 0.0
    ready.tell(order)
    ready.ask("SENS1:SWE:MODE SING;*OPC?")
    close(ready.trace(), ready.network.s(GRID, 2, 1))


# -- time ----------------------------------------------------------------------------------------------------------


def test_sweeps_take_their_time(timed: Session) -> None:
    assert float(timed.ask("SENS1:SWE:TIME?")) == pytest.approx(SWEEP_S)
    ((delay_s, answer),) = timed.send("SENS1:SWE:MODE SING;*OPC?")
    assert (delay_s, answer) == (pytest.approx(SWEEP_S), b"+1\n")


def test_until_the_sweep_is_over_the_trace_is_the_old_one(timed: Session) -> None:
    timed.tell("SENS1:SWE:MODE SING")
    timed.network.offset = 9.0  # too late for this sweep
    timed.clock.sleep(0.9 * SWEEP_S)
    assert timed.ask("SENS1:SWE:MODE?") == "SING"
    np.testing.assert_array_equal(timed.trace(), np.zeros(5))
    timed.clock.sleep(0.2 * SWEEP_S)
    assert timed.ask("SENS1:SWE:MODE?") == "HOLD"
    close(timed.trace(), timed.network.s(GRID, 2, 1) - 9.0)


@pytest.mark.parametrize(
    ("orders", "sweeps"),
    [
        (["SENS1:SWE:GRO:COUN 4", "SENS1:SWE:MODE GRO"], 4),
        (["CALC1:PAR:DEF:EXT 'b','S12'", "SENS1:SWE:MODE SING"], 2),
        (["CALC1:PAR:DEF:EXT 'b','S11'", "SENS1:SWE:MODE SING"], 1),
        (["SENS1:AVER ON;AVER:COUN 3;MODE POIN", "SENS1:SWE:MODE SING"], 3),
        (["SENS1:AVER ON;AVER:COUN 3", "SENS1:SWE:MODE SING"], 1),
        (["SENS1:SWE:MODE SING", "SENS1:SWE:MODE SING"], 1),  # begun anew
        (["CALC2:PAR:DEF:EXT 'b','S21'", "SENS2:SWE:POIN 5", "SENS2:BWID 100",
          "SENS1:SWE:MODE SING;:SENS2:SWE:MODE SING"], 2),
        (["SENS1:SWE:TIME 5e-3", "SENS1:SWE:MODE SING"], 1),  # faster than it can
        (["SENS1:SWE:MODE SING", "ABOR"], 0),
        (["SENS1:SWE:MODE SING", "SENS1:SWE:MODE HOLD"], 0),
        (["SENS1:SWE:MODE CONT"], 0),
        (["SIM:TIM OFF", "SENS1:SWE:MODE SING"], 0),
    ],
)  # fmt: skip
def test_how_long_it_is_busy(timed: Session, orders: list[str], sweeps: int) -> None:
    for order in orders:
        assert timed.send(order) == []
    assert timed.send("*OPC?") == [(pytest.approx(sweeps * SWEEP_S), b"+1\n")]


def test_corrected_sweeps_need_all_ports(timed: Session) -> None:
    timed.pna.store_calset(CalSet("mine", (2026, 5, 1)), channel=1)
    assert timed.send("SENS1:SWE:MODE SING;*OPC?") == [(pytest.approx(2 * SWEEP_S), b"+1\n")]


def test_a_longer_sweep_can_be_asked_for(timed: Session) -> None:
    assert timed.send("SENS1:SWE:TIME 2;:SENS1:SWE:MODE SING;*OPC?") == [(2.0, b"+1\n")]
    timed.clock.sleep(2.0)
    assert timed.send("SENS1:SWE:DWEL 1;:SENS1:SWE:TIME:AUTO ON;:SENS1:SWE:TIME?") == [
        (0.0, f"{5 + SWEEP_S:+.11E}\n".encode())
    ]
