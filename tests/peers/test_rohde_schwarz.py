"""RsInstrument, Rohde & Schwarz' own package from PyPI, against the emulated analyser, over everything it can use.

It asks for errors after each command, and waits for the end of one by the status byte.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from labtrain.drivers.emulators.serving.hislip import HislipOutlet
from labtrain.drivers.emulators.serving.tcp import TcpOutlet
from labtrain.drivers.emulators.serving.vxi11 import Vxi11Outlet
from labtrain.drivers.emulators.vna.rohde_schwarz import RohdeSchwarz
from tests.peers.conftest import Bench, bench_of

rs = pytest.importorskip("RsInstrument", reason='RsInstrument is not installed; run: pip install -e ".[peers]"')

WAYS = {
    "its own socket": (TcpOutlet, "socketio"),
    "tcp": (TcpOutlet, "pyvisa-py"),
    "hislip": (HislipOutlet, "pyvisa-py"),
    "vxi11": (Vxi11Outlet, "pyvisa-py"),
}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def timing() -> bool:
    return False


@pytest.fixture
def znb(way: str, timing: bool) -> Iterator[Bench]:
    with bench_of(RohdeSchwarz, WAYS[way][0], timing=timing) as bench:
        yield bench


@pytest.fixture
def client(znb: Bench, way: str) -> Iterator[Any]:
    """After R&S's own examples for the ZNB."""
    client = rs.RsInstrument(znb.resource, True, True, f"SelectVisa='{WAYS[way][1]}'")
    client.instrument_status_checking = True
    client.write_str_with_opc("SYSTEM:DISPLAY:UPDATE ON")
    client.write_str("SENSe1:FREQuency:STARt 5.2 GHZ;STOP 5.6GHZ")
    client.write_str_with_opc("SENSe1:SWEep:POINts 21")
    client.write_str_with_opc("INIT1:CONT OFF")
    yield client
    assert client.query_all_errors() is None
    client.close()


def numbers(client: Any, question: str) -> NDArray[np.complex128]:
    return np.array(client.query_bin_or_ascii_float_list(question)).view(np.complex128)


def test_who_it_is(client: Any) -> None:
    assert client.idn_string == "Rohde-Schwarz,ZNB20-2Port,EMULATOR,3.45"
    assert (client.full_instrument_model_name, client.instrument_options) == ("ZNB20-2Port", ["K2", "K7"])
    assert client.query_int("INST:PORT:COUN?") == 2
    assert client.query_int("*TST?") == 0


def test_a_trace_equals_the_worlds_in_every_format(client: Any, znb: Bench) -> None:
    client.write_str("CALCulate1:PARameter:MEASure 'Trc1', 'S12'")
    client.write_str_with_opc("INIT1:IMM")
    expected = znb.witness.traces[1, 2]
    assert np.abs(expected).max() > 0.01
    formats = rs.BinFloatFormat
    for question, form, digits in (
        ("FORM ASC;:CALC1:DATA? SDAT", formats.Single_4bytes, 1e-11),
        ("FORM REAL,32;CALCulate1:DATA? SDATa", formats.Single_4bytes, 1e-7),
        ("FORM:BORD NORM;:CALC1:DATA? SDAT", formats.Single_4bytes_swapped, 1e-7),
        ("FORM REAL,64;:CALC1:DATA? SDAT", formats.Double_8bytes_swapped, 0.0),
        ("FORM:BORD SWAP;:CALC1:DATA? SDAT", formats.Double_8bytes, 0.0),
    ):
        client.bin_float_numbers_format = form
        np.testing.assert_allclose(numbers(client, question), expected, rtol=digits, atol=digits)
    frequencies_hz = client.query_bin_or_ascii_float_list("CALC1:DATA:STIM?")
    np.testing.assert_array_equal(frequencies_hz, znb.witness.frequencies_hz)
    assert len(znb.witness.sweeps) == 1


@pytest.mark.parametrize("timing", [True])
def test_it_waits_for_averages(client: Any, znb: Bench, timing: bool) -> None:
    client.write_str("AVER:COUN 4;STAT ON;CLE")
    client.write_str("SENS1:SWE:COUN 4")
    client.write_str_with_opc("INIT")
    assert znb.witness.sweeps[-1]["averages"] == 4
    np.testing.assert_allclose(numbers(client, "CALC:DATA? SDAT"), znb.witness.traces[2, 1], rtol=1e-11, atol=1e-12)


def test_segments(client: Any, znb: Bench) -> None:
    client.write_str_with_opc("SEGment:CLEar")
    for number, start, stop, points, power, width in ((1, 5.1, 5.2, 11, 10, 500), (2, 5.5, 5.6, 6, 0, 1000)):
        segment = f"SENSe1:SEGMent{number}"
        client.write_str_with_opc(f"{segment}:ADD")
        client.write_str_with_opc(f"{segment}:FREQuency:STARt {start * 1e3}MHz")
        client.write_str_with_opc(f"{segment}:FREQuency:STOP {stop * 1e3}MHz")
        client.write_str_with_opc(f"{segment}:SWEep:POINts {points}")
        client.write_str_with_opc(f"{segment}:POWer:LEVel {power}")
        client.write_str_with_opc(f"{segment}:BWIDth {width}Hz")
    client.write_str_with_opc("SWEep:TYPE SEGMent")
    client.write_str_with_opc("INIT")
    frequencies_hz = client.query_bin_or_ascii_float_list("CALC1:DATA:STIM?")
    np.testing.assert_allclose(frequencies_hz, np.r_[np.linspace(5.1e9, 5.2e9, 11), np.linspace(5.5e9, 5.6e9, 6)])
    assert [(s["power_dbm"], s["if_bandwidth_hz"]) for s in znb.witness.sweeps] == [(10.0, 500.0), (0.0, 1000.0)]
    data = numbers(client, "CALCulate:DATA? SDATa")
    np.testing.assert_allclose(data[11:], znb.witness.traces[2, 1], rtol=1e-11, atol=1e-12)


def test_its_errors_are_reported(client: Any) -> None:
    with pytest.raises(rs.StatusException, match='-113,"Undefined header"'):
        client.write_str("SENSe1:NONSENSE 1")
    with pytest.raises(rs.StatusException, match='-222,"Data out of range"'):
        client.write_str_with_opc("SWE:POIN 0")
    assert client.query_int("SENSe1:SWEep:POINts?") == 21


def test_it_waits_with_a_question(client: Any, znb: Bench) -> None:
    client.write_str("FORM REAL,64")
    client.bin_float_numbers_format = rs.BinFloatFormat.Double_8bytes
    client.write_str_with_opc("INIT")
    data = client.query_bin_or_ascii_float_list_with_opc("CALC1:DATA? SDAT")
    np.testing.assert_array_equal(np.array(data).view(np.complex128), znb.witness.traces[2, 1])
