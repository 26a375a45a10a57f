"""python-vxi11, as it comes from PyPI, against the emulated analyser behind VXI-11.

It knows portmappers alone, so its client of the core channel is given the port.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from labtrain.drivers.emulators.serving.vxi11 import Vxi11Outlet
from tests.peers.conftest import Bench, bench_of

vxi11 = pytest.importorskip("vxi11", reason='python-vxi11 is not installed; run: pip install -e ".[peers]"')


@pytest.fixture
def served() -> Iterator[Bench]:
    with bench_of(outlet=Vxi11Outlet) as bench:
        yield bench


@pytest.fixture
def pna(served: Bench) -> Iterator[Any]:
    pna = vxi11.Instrument("127.0.0.1")
    assert isinstance(served.outlet, Vxi11Outlet)
    pna.client = vxi11.vxi11.CoreClient("127.0.0.1", served.outlet.port)
    pna.open()
    yield pna
    assert pna.ask("SYST:ERR?").startswith("+0")
    pna.close()


def test_it_asks_without_a_line_feed(pna: Any) -> None:
    assert pna.ask("*IDN?") == "Keysight Technologies,N5222B,EMULATOR,A.13.95.09"
    pna.write("SENS1:SWE:POIN 11")
    assert pna.ask("SENS1:SWE:POIN?") == "+11"


def test_a_block_in_reads_of_a_few_bytes(pna: Any, served: Bench) -> None:
    pna.write("FORM:BORD SWAP;:FORM REAL,64;:SENS1:SWE:POIN 51;:SENS1:SWE:MODE SING")
    assert pna.ask("*OPC?") == "+1"
    pna.write("CALC1:MEAS1:DATA:SDATA?")
    assert pna.read_raw(5) == b"#3816"
    block = pna.read_raw()
    np.testing.assert_array_equal(np.frombuffer(block[:-1], np.complex128), served.witness.traces[1, 1])


def test_status_trigger_clear_and_locks(pna: Any) -> None:
    assert pna.read_stb() == 0
    pna.write("*IDN?")
    assert pna.read_stb() == 16
    pna.clear()
    assert pna.read_stb() == 0
    pna.trigger()
    pna.remote()
    pna.local()
    pna.lock()
    pna.unlock()
    with pytest.raises(vxi11.vxi11.Vxi11Exception, match="12: No lock held"):
        pna.unlock()
    pna.write("*CLS")


def test_it_is_told_when_time_is_up(pna: Any) -> None:
    pna.timeout = 0.05
    with pytest.raises(vxi11.vxi11.Vxi11Exception, match="15: IO timeout"):
        pna.read()
    pna.timeout = 5
    assert pna.ask("SYST:ERR?").startswith("-420")


def test_it_aborts(pna: Any) -> None:
    pna.abort()
    assert pna.ask("*OPT?") == "200"
    pna.abort_client.close()


def test_a_second_link_is_refused(pna: Any, served: Bench) -> None:
    assert isinstance(served.outlet, Vxi11Outlet)
    other = vxi11.Instrument("127.0.0.1")
    other.client = vxi11.vxi11.CoreClient("127.0.0.1", served.outlet.port)
    with pytest.raises(vxi11.vxi11.Vxi11Exception, match="9: Out of resources"):
        other.open()
    other.client.close()
    assert pna.ask("*OPT?") == "200"
