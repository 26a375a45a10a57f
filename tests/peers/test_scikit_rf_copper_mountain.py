"""scikit-rf's Cobalt class, as it comes from PyPI, against the emulated analyser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from labtrain.drivers.emulators.vna.copper_mountain import CopperMountain
from tests.peers.conftest import Bench, bench_of

skrf = pytest.importorskip("skrf", reason='scikit-rf is not installed; run: pip install -e ".[peers]"')
cobalt = pytest.importorskip("skrf.vi.vna.cmt.cobalt", reason="this scikit-rf does not know Copper Mountain yet")


@pytest.fixture
def cmt() -> Iterator[Bench]:
    with bench_of(CopperMountain) as bench:
        yield bench


@pytest.fixture
def client(cmt: Bench) -> Iterator[Any]:
    client = cobalt.Cobalt(cmt.resource, backend="@py")
    client.trigger_source = cobalt.TriggerSource.BUS
    client.ch1.frequency = skrf.Frequency(5.2, 5.6, 21, unit="ghz")
    client.ch1.if_bandwidth = 1000
    yield client
    assert client.read_next_error()[0] == 0
    client._resource.close()


def test_it_knows_the_instrument(client: Any) -> None:
    assert client.model == "C4220"
    assert client.ch1.npoints == 21
    assert client.max_chan == 16


def test_a_measurement_equals_the_worlds(client: Any, cmt: Bench) -> None:
    network = client.ch1.get_sdata(2, 1)
    np.testing.assert_allclose(network.s[:, 0, 0], cmt.witness.traces[2, 1], rtol=0, atol=1e-11)
    np.testing.assert_allclose(network.f, cmt.witness.frequencies_hz)
    assert len(cmt.witness.sweeps) == 1
    assert cmt.witness.sweeps[-1] == {"if_bandwidth_hz": 1000.0, "power_dbm": 0.0, "averages": 1}


def test_all_s_parameters_of_one_averaged_trigger_equal_the_worlds(client: Any, cmt: Bench) -> None:
    client.ch1.averaging_on, client.ch1.averaging_count = True, 8
    network = client.ch1.get_snp_network((1, 2))
    for to in (1, 2):
        for source in (1, 2):
            found = network.s[:, to - 1, source - 1]
            np.testing.assert_allclose(found, cmt.witness.traces[to, source], rtol=0, atol=1e-11)
    assert [sweep["averages"] for sweep in cmt.witness.sweeps] == [8]
    assert (client.ch1.ntraces, client.ch1.param_def) == (1, cobalt.TraceParameter.S11)  # put back
