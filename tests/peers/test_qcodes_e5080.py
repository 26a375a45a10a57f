"""The E5080B driver of the QCoDeS community, as it comes from PyPI, against the emulated analyser: 32 bits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from labtrain.drivers.emulators.vna.keysight_e5080 import KeysightE5080
from tests.peers.conftest import Bench, bench_of

pytest.importorskip(
    "qcodes_contrib_drivers", reason='qcodes_contrib_drivers is not installed; run: pip install -e ".[peers]"'
)
with patch("time.sleep"):  # its class body sleeps for five seconds
    e5080b = pytest.importorskip("qcodes_contrib_drivers.drivers.Keysight.Keysight_E5080B")


@pytest.fixture
def e5080() -> Iterator[Bench]:
    with bench_of(KeysightE5080) as bench:
        yield bench


@pytest.fixture
def client(e5080: Bench) -> Iterator[Any]:
    client = e5080b.KeySight_E5080B("vna", e5080.resource, visalib="@py")
    client.start_freq(5.2e9)
    client.stop_freq(5.6e9)
    client.points(21)
    client.sweep_mode("HOLD")
    yield client
    assert client.ask("SYST:ERR?") == '+0,"No error"'
    client.close()


@pytest.mark.parametrize(("order", "big"), [("SWAP", False), ("NORM", True)])
def test_a_trace_equals_the_worlds(client: Any, e5080: Bench, order: str, big: bool) -> None:
    client.scattering_parameter("S21")
    client.format_data("REAL,32")
    client.write(f"FORM:BORD {order}")
    client.sweep_mode("SING")
    assert client.ask("*OPC?") == "+1"
    values = np.array(
        client.visa_handle.query_binary_values("CALC:MEAS:DATA:SDAT?", is_big_endian=True) if big else client.get_data()
    )
    np.testing.assert_allclose(values[::2] + 1j * values[1::2], e5080.witness.traces[2, 1], rtol=1e-7, atol=1e-8)
    assert len(e5080.witness.sweeps) == 1


def test_what_it_sets_it_reads_back(client: Any) -> None:
    assert client.get_idn()["model"] == "E5080B"
    for parameter in ("power", "if_bandwidth", "averages_count", "averages_enabled", "rf_on"):
        if parameter in client.parameters:
            client.parameters[parameter].get()
