"""The emulated PNA: traces in every format, and segment tables both ways."""

from __future__ import annotations

import numpy as np
import pytest

from tests.drivers.emulators.vna.analysers import GRID, Session, close


@pytest.fixture
def ready() -> Session:
    session = Session()
    session.prepare()
    return session


# -- data ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("orders", "dtype"),
    [
        ("FORM REAL,64;:FORM:BORD SWAP", "<f8"), ("FORM REAL,64", ">f8"), ("FORM REAL,32;:FORM:BORD SWAP", "<f4"),
        ("FORM REAL,32;:FORM:BORD NORM", ">f4"),
    ],
)  # fmt: skip
def test_blocks_of_every_size_and_order(ready: Session, orders: str, dtype: str) -> None:
    ready.ask("SENS1:SWE:MODE SING;*OPC?")
    ready.tell(orders)
    values = ready.network.s(GRID, 2, 1).view(np.float64).astype(dtype)
    count = str(values.nbytes)
    assert ready.send("CALC1:DATA? SDATA") == [(0.0, f"#{len(count)}{count}".encode() + values.tobytes() + b"\n")]
    frequencies = GRID.astype(dtype)
    assert ready.send("SENS1:X?") == [(0.0, b"#2" + str(frequencies.nbytes).encode() + frequencies.tobytes() + b"\n")]


def test_several_blocks_in_one_answer(ready: Session) -> None:
    ready.tell("FORM REAL,32", "SENS1:SWE:POIN 1")
    ((_, answer),) = ready.send("CALC1:DATA? SDATA;:SENS1:SWE:POIN?;:SENS1:X?")
    assert answer == b"#18" + bytes(8) + b";+1;#14" + np.array([2e9], ">f4").tobytes() + b"\n"


def test_formatted_data(ready: Session) -> None:
    ready.ask("SENS1:SWE:MODE SING;*OPC?")
    s = ready.network.s(GRID, 2, 1)
    expected = {
        "MLOG": 20 * np.log10(np.abs(s)),
        "MLIN": np.abs(s),
        "PHAS": np.rad2deg(np.angle(s)),
        "UPH": np.rad2deg(np.unwrap(np.angle(s))),
        "REAL": s.real,
        "IMAG": s.imag,
        "POL": s.view(np.float64),
        "SMIT": s.view(np.float64),
        "SWR": (1 + np.abs(s)) / (1 - np.abs(s)),
        "GDEL": -np.gradient(np.unwrap(np.angle(s)), GRID) / (2 * np.pi),
    }
    for form, values in expected.items():
        ready.tell(f"CALC1:FORM {form}")
        np.testing.assert_allclose(ready.numbers("CALC1:DATA? FDATA"), values, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(ready.numbers("CALC1:MEAS1:DATA:FDATA?"), values, rtol=1e-10, atol=1e-10)
    ready.tell("CALC1:FORM REAL", "CALC1:CORR:EDEL:TIME 0.3e-9")
    delayed = s * np.exp(2j * np.pi * GRID * 0.3e-9)
    np.testing.assert_allclose(ready.numbers("CALC1:DATA? FDATA"), delayed.real, rtol=1e-10, atol=1e-10)
    close(ready.trace(), s)


def test_formats_of_nothing_are_finite(ready: Session) -> None:
    ready.tell("SENS1:SWE:POIN 1")
    for form in ("MLOG", "SWR", "GDEL", "PHAS"):
        ready.tell(f"CALC1:FORM {form}")
        assert np.isfinite(ready.numbers("CALC1:DATA? FDATA")).all()


def test_memory(ready: Session) -> None:
    ready.ask("SENS1:SWE:MODE SING;*OPC?")
    stored = ready.trace()
    ready.tell("CALC1:MATH:MEM", "CALC1:FORM MLIN")
    ready.network.offset = 1.0
    ready.ask("SENS1:SWE:MODE SING;*OPC?")
    for question in ("CALC1:DATA? SMEM", "CALC1:MEAS1:DATA:SMEM?"):
        np.testing.assert_array_equal(ready.trace(question), stored)
    for question in ("CALC1:DATA? FMEM", "CALC1:MEAS1:DATA:FMEM?"):
        np.testing.assert_allclose(ready.numbers(question), np.abs(stored), rtol=1e-11)
    close(ready.trace(), stored + 1.0)


def test_all_s_parameters_at_once() -> None:
    session = Session(n_ports=3)
    session.prepare()
    session.tell("CALC1:PAR:DEF:EXT 'b','S11'", "CALC1:PAR:DEF:EXT 'c','S12'", "MMEM:STOR:TRAC:FORM:SNP RI")
    session.ask("SENS1:SWE:MODE SING;*OPC?")
    rows = session.numbers("CALC1:DATA:SNP:PORTS? '1,2'").reshape(9, 5)
    np.testing.assert_allclose(rows[0], GRID)
    for row, ports in enumerate([(1, 1), (1, 2), (2, 1)]):
        close(rows[1 + 2 * row] + 1j * rows[2 + 2 * row], session.network.s(GRID, *ports))
    np.testing.assert_array_equal(rows[7:], 0)  # S22 was not measured
    np.testing.assert_array_equal(session.numbers("CALC1:DATA:SNP? 2").reshape(9, 5), rows)
    assert session.numbers("CALC1:DATA:SNP:PORTS? '1 2 3',fast").shape == (19 * 5,)
    s = session.network.s(GRID, 1, 1)
    session.tell("MMEM:STOR:TRAC:FORM:SNP MA")
    np.testing.assert_allclose(session.numbers("CALC1:DATA:SNP? 1")[5:10], np.abs(s), rtol=1e-11)
    session.tell("MMEM:STOR:TRAC:FORM:SNP AUTO")  # as shown: dB
    np.testing.assert_allclose(session.numbers("CALC1:DATA:SNP? 1")[5:10], 20 * np.log10(np.abs(s)), rtol=1e-10)
    np.testing.assert_allclose(session.numbers("CALC1:DATA:SNP? 1")[10:], np.rad2deg(np.angle(s)), rtol=1e-10)


# -- segments ------------------------------------------------------------------------------------------------------


def test_single_points_by_a_list_of_segments(ready: Session) -> None:
    points = [2.1e9, 2.2e9, 2.95e9]
    listed = ",".join(f"1,1,{f},{f}" for f in points)
    ready.tell("SENS1:SEGM:DEL:ALL", f"SENS1:SEGM:LIST SSTOP,3,{listed}", "SENS1:SWE:TYPE SEGM")
    assert ready.ask("SENS1:SEGM:COUN?;:SENS1:SWE:POIN?;:SENS1:FREQ:STAR?;STOP?") == (
        "+3;+3;+2.10000000000E+09;+2.95000000000E+09"
    )
    ready.ask("SENS1:SWE:MODE SING;*OPC?")
    np.testing.assert_array_equal(ready.network.asked[-1].frequencies_hz, points)
    close(ready.trace(), ready.network.s(points, 2, 1))


def test_segments_one_by_one(ready: Session) -> None:
    ready.tell(
        "SENS1:SEGM:DEL:ALL", "SENS1:SEGM:ADD", "SENS1:SEGM2:ADD", "SENS1:SEGM1:FREQ:STAR 2e9;STOP 2.5e9",
        "SENS1:SEGM2:FREQ:STAR 2.6e9;STOP 2.8e9", "SENS1:SEGM1:SWE:POIN 3", "SENS1:SEGM2:SWE:POIN 2",
    )  # fmt: skip
    ready.silent("SENS1:SWE:TYPE SEGM", '-221,"Settings conflict"')  # segments are added switched off
    ready.tell("SENS1:SEGM1 ON", "SENS1:SEGM2:STAT 1", "SENS1:SWE:TYPE SEGM")
    np.testing.assert_allclose(ready.numbers("SENS1:X?"), [2e9, 2.25e9, 2.5e9, 2.6e9, 2.8e9])
    ready.tell("SENS1:SEGM1 OFF")
    np.testing.assert_allclose(ready.numbers("SENS1:X?"), [2.6e9, 2.8e9])
    ready.tell("SENS1:SEGM2:DEL", "SENS1:SEGM:DEL:ALL")
    assert ready.ask("SENS1:SWE:TYPE?;:SENS1:SEGM:COUN?") == "LIN;+0"


def test_neighbours_give_way_unless_segments_are_arbitrary(ready: Session) -> None:
    ready.tell("SENS1:SEGM:LIST SSTOP,2,1,2,2e9,3e9,1,2,4e9,5e9", "SENS1:SEGM2:FREQ:STAR 2.5e9")
    assert ready.ask("SENS1:SEGM1:FREQ:STAR?;STOP?") == "+2.00000000000E+09;+2.50000000000E+09"
    ready.silent("SENS1:SEGM:LIST SSTOP,2,1,2,4e9,5e9,1,2,2e9,3e9", '-221,"Settings conflict"')
    ready.tell("SENS1:SEGM:ARB ON", "SENS1:SEGM:LIST SSTOP,2,1,2,4e9,5e9,1,2,2e9,3e9", "SENS1:SWE:TYPE SEGM")
    np.testing.assert_allclose(ready.numbers("SENS1:X?"), [4e9, 5e9, 2e9, 3e9])


def test_segments_with_settings_of_their_own(ready: Session) -> None:
    ready.tell(
        "SENS1:SEGM:LIST CSPAN,3,1,2,2e9,0,100,0,-7,1,1,3e9,0,100,0,-7,1,3,4e9,1e9,1000,0,-9", "SENS1:SWE:TYPE SEGM",
        "SENS1:SEGM:BWID:CONT ON", "SENS1:SEGM:POW:CONT ON",
    )  # fmt: skip
    ready.ask("SENS1:SWE:MODE SING;*OPC?")
    settings = [(len(a.frequencies_hz), a.if_bandwidth_hz, a.power_dbm) for a in ready.network.asked]
    assert settings == [(3, 100.0, -7.0), (3, 1000.0, -9.0)]
    close(ready.trace(), ready.network.s([2e9, 2e9, 3e9, 3.5e9, 4e9, 4.5e9], 2, 1))
    ready.tell("SENS1:SEGM2:BWID 10", "SENS1:SEGM:POW:CONT OFF", "SENS1:SEGM3:POW -3")
    ready.network.asked.clear()
    ready.ask("SENS1:SWE:MODE SING;*OPC?")
    assert [(a.if_bandwidth_hz, a.power_dbm) for a in ready.network.asked] == [(100, -5), (10, -5), (1000, -5)]


def test_the_segment_table_can_be_read_and_written_back(ready: Session) -> None:
    ready.tell("SENS1:SEGM:LIST SSTOP,2,1,3,2e9,2.5e9,1000,0,-7,0,1,3e9,3e9,10,0,-8")
    listed = ready.numbers("SENS1:SEGM:LIST? SSTOP")
    np.testing.assert_array_equal(
        listed.reshape(2, 8), [[1, 3, 2e9, 2.5e9, 1000, 0, -7, -7], [0, 1, 3e9, 3e9, 10, 0, -8, -8]]
    )
    assert ready.ask("SENS1:SEGM2:POW?;:SENS1:SEGM1?;:SENS1:SEGM2:SWE:POIN?") == "-8.00000000000E+00;1;+1"
    ready.tell("FORM REAL,64", "FORM:BORD SWAP")
    raw = listed.reshape(2, 8)[:, :7].astype("<f8").tobytes()
    assert ready.send(b"SENS1:SEGM:LIST SSTOP,2,#3112" + raw + b"\n") == []
    assert ready.errors() == []
    ready.tell("FORM ASC")
    np.testing.assert_array_equal(ready.numbers("SENS1:SEGM:LIST?"), listed)


@pytest.mark.parametrize(
    ("listed", "error"),
    [
        ("SSTOP,2,1,1,2e9,2e9", '-220,"Parameter error"'),
        ("SSTOP,1,1,1,2e9", '-220,"Parameter error"'),
        ("SSTOP,1,1,1,1e3,2e9", '-222,"Data out of range"'),
        ("SSTOP,1,1,0,2e9,2e9", '-222,"Data out of range"'),
        ("SSTOP,1,1,1,2e9,2e9,1e9", '-222,"Data out of range"'),
        ("SSTOP,2,1,60000,2e9,2e9,1,60000,3e9,3e9", '-222,"Data out of range"'),
        ("SSTOP,1,#18\x00\x00\x00\x00\x00\x00\x00\x00", '-161,"Invalid block data"'),  # numbers are text now
        ("SSTOP,1,x,1,2e9,2e9", '-148,"Character data not allowed"'),
    ],
)
def test_segment_lists_that_do_not_fit(ready: Session, listed: str, error: str) -> None:
    ready.silent(f"SENS1:SEGM:LIST {listed}", error)
    assert ready.ask("SENS1:SEGM:COUN?") == "+1"
