"""scikit-rf's PNA class, as it comes from PyPI, against the emulated analyser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.peers.conftest import Bench

skrf = pytest.importorskip("skrf", reason='scikit-rf is not installed; run: pip install -e ".[peers]"')


@pytest.fixture
def pna(bench: Bench) -> Iterator[Any]:
    from skrf.vi.vna.keysight import PNA

    pna = PNA(bench.resource, backend="@py")
    pna.ch1.frequency = skrf.Frequency(5.2, 5.6, 21, unit="ghz")
    pna.ch1.if_bandwidth = 1000
    yield pna
    pna.check_errors()
    pna._resource.close()


def test_a_measurement_equals_the_worlds(pna: Any, bench: Bench) -> None:
    pna.ch1.create_measurement("mine", "S21")
    network = pna.ch1.get_measurement("mine")
    np.testing.assert_array_equal(network.s[:, 0, 0], bench.witness.traces[2, 1])
    np.testing.assert_array_equal(network.f, bench.witness.frequencies_hz)
    assert np.abs(network.s).max() > 0.01
    assert bench.witness.sweeps[-1] == {"if_bandwidth_hz": 1000.0, "power_dbm": -5.0, "averages": 1}


def test_all_s_parameters_equal_the_worlds(pna: Any, bench: Bench) -> None:
    network = pna.ch1.get_snp_network((1, 2))
    for to in (1, 2):
        for source in (1, 2):
            np.testing.assert_array_equal(network.s[:, to - 1, source - 1], bench.witness.traces[to, source])
    assert pna.ch1.measurement_names == ["CH1_S11_1"]  # its own are deleted again


def test_its_temporary_measurement_equals_the_worlds(pna: Any, bench: Bench) -> None:
    network = pna.ch1.get_sdata(1, 2)
    np.testing.assert_array_equal(network.s[:, 0, 0], bench.witness.traces[1, 2])


@pytest.mark.parametrize(("form", "digits"), [("BINARY_64", 0.0), ("BINARY_32", 1e-7), ("ASCII", 1e-11)])
def test_every_format_is_as_precise_as_it_can_be(pna: Any, bench: Bench, form: str, digits: float) -> None:
    from skrf.vi.vna import ValuesFormat
    from skrf.vi.vna.keysight.pna import SweepMode

    pna.query_format = ValuesFormat[form]
    assert pna.query_format is ValuesFormat[form]
    pna.ch1.sweep_mode = SweepMode.SINGLE
    pna.wait_for_complete()
    np.testing.assert_allclose(pna.ch1.active_trace_sdata, bench.witness.traces[1, 1], rtol=digits, atol=digits)
    assert len(bench.witness.sweeps) == 1


def test_averages(pna: Any, bench: Bench) -> None:
    pna.ch1.averaging_on = True
    pna.ch1.averaging_count = 16
    pna.ch1.n_sweep_groups = 16  # its sweep() sets this after the group has begun, which is too late
    pna.ch1.sweep()
    assert bench.witness.sweeps == [{"if_bandwidth_hz": 1000.0, "power_dbm": -5.0, "averages": 16}]


def test_channels(pna: Any, bench: Bench) -> None:
    pna.create_channel(2, "Second")
    assert pna.channel_numbers == [1, 2]
    pna.ch2.npoints = 11
    assert (pna.ch1.npoints, pna.ch2.npoints) == (21, 11)
    pna.active_channel = pna.ch2
    assert pna.active_measurement == "CH2_S11_1"
    pna.delete_channel(2)
    assert pna.channel_numbers == [1]
