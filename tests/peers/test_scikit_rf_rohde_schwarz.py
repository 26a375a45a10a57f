"""scikit-rf's ZVA and ZNA classes, as they come from PyPI, against the emulated R&S analyser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from labtrain.drivers.emulators.serving.hislip import HislipOutlet
from labtrain.drivers.emulators.serving.tcp import TcpOutlet
from labtrain.drivers.emulators.vna.rohde_schwarz import RohdeSchwarz
from tests.peers.conftest import Bench, bench_of

skrf = pytest.importorskip("skrf", reason='scikit-rf is not installed; run: pip install -e ".[peers]"')


CASES = {"ZNA": TcpOutlet, "ZVA": HislipOutlet}


@pytest.fixture(params=CASES)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def znb(kind: str) -> Iterator[Bench]:
    with bench_of(RohdeSchwarz, CASES[kind]) as bench:
        yield bench


@pytest.fixture
def client(znb: Bench, kind: str) -> Iterator[Any]:
    from skrf.vi.vna import rohde_schwarz

    client = getattr(rohde_schwarz, kind)(znb.resource, backend="@py")
    client.ch1.frequency = skrf.Frequency(5.2, 5.6, 21, unit="ghz")
    client.ch1.if_bandwidth = 1000
    yield client
    client.check_errors()
    client._resource.close()


def test_a_measurement_equals_the_worlds(client: Any, znb: Bench) -> None:
    client.ch1.create_measurement("mine", "S12")
    network = client.ch1.get_measurement("mine")
    np.testing.assert_array_equal(network.s[:, 0, 0], znb.witness.traces[1, 2])
    np.testing.assert_array_equal(network.f, znb.witness.frequencies_hz)
    assert np.abs(network.s).max() > 0.01
    assert znb.witness.sweeps[-1] == {"if_bandwidth_hz": 1000.0, "power_dbm": -10.0, "averages": 1}
    client.ch1.delete_measurement("mine")
    assert client.ch1.measurements == [("Trc1", "S21")]


def test_all_s_parameters_equal_the_worlds(client: Any, znb: Bench) -> None:
    network = client.ch1.get_snp_network()
    for to in (1, 2):
        for source in (1, 2):
            np.testing.assert_array_equal(network.s[:, to - 1, source - 1], znb.witness.traces[to, source])


def test_averages_and_other_formats(client: Any, znb: Bench) -> None:
    from skrf.vi.vna import ValuesFormat
    from skrf.vi.vna.rohde_schwarz import AveragingMode, SweepMode, SweepType

    channel = client.ch1
    channel.sweep_mode = SweepMode.SINGLE
    channel.averaging_on, channel.averaging_count, channel.averaging_mode = True, 4, AveragingMode.REDUCE
    channel.clear_averaging()
    for _ in range(4):
        channel.sweep()
    assert sum(sweep["averages"] for sweep in znb.witness.sweeps) == 4
    assert (channel.averaging_count, channel.averaging_mode) == (4, AveragingMode.REDUCE)
    assert (channel.sweep_type, channel.sweep_mode) == (SweepType.LINEAR, SweepMode.SINGLE)
    channel.averaging_on = False
    channel.sweep()
    for form, digits in ((ValuesFormat.BINARY_64, 0.0), (ValuesFormat.BINARY_32, 1e-7), (ValuesFormat.ASCII, 1e-11)):
        client.query_format = form
        assert client.query_format is form
        np.testing.assert_allclose(channel.active_trace_sdata, znb.witness.traces[2, 1], rtol=digits, atol=digits)


def test_channels(client: Any, znb: Bench) -> None:
    client.create_channel(2, "Second")
    client.ch2.npoints = 11
    assert (client.ch1.npoints, client.ch2.npoints) == (21, 11)
    client.active_channel = client.ch2
    assert client.active_channel is client.ch2
    client.ch2.freq_center, client.ch2.freq_span = 5e9, 1e9
    assert (client.ch2.freq_start, client.ch2.freq_step) == (4.5e9, 1e8)
    client.delete_channel(2)
    assert client.nports == 2  # an answer: what was written before has been carried out
    assert list(znb.emulator.channels) == [1]
