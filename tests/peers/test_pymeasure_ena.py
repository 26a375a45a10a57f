"""PyMeasure's E5062A, as it comes from PyPI, against the emulated analyser: 64 bits, little-endian, six-digit heads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from labtrain.drivers.emulators.vna.keysight_ena import KeysightE5062A
from tests.peers.conftest import Bench, bench_of

agilent = pytest.importorskip(
    "pymeasure.instruments.agilent", reason='PyMeasure is not installed; run: pip install -e ".[peers]"'
)
# The room answers at gigahertz of its own; the E5062A ends at 3.
START_HZ, STOP_HZ = 2.0e9, 2.9e9
PARAMETERS = {"S11": (1, 1), "S12": (1, 2), "S21": (2, 1), "S22": (2, 2)}


@pytest.fixture
def ena() -> Iterator[Bench]:
    with bench_of(KeysightE5062A) as bench:
        yield bench


@pytest.fixture
def client(ena: Bench) -> Iterator[Any]:
    client = agilent.AgilentE5062A(ena.resource, visa_library="@py", read_termination="\n")
    channel = client.channels[1]
    channel.start_frequency, channel.stop_frequency, channel.scan_points = START_HZ, STOP_HZ, 21
    channel.visible_traces = 4
    for trace, parameter in zip(channel.traces.values(), PARAMETERS, strict=True):
        trace.parameter = parameter
    channel.trigger_continuous = False
    client.trigger_source = "BUS"
    client.abort()
    yield client
    assert client.pop_err()[0] == 0
    client.adapter.close()


def swept(client: Any) -> None:
    client.channels[1].trigger_initiate()
    client.trigger_single()
    client.wait_for_complete()


def test_it_knows_the_instrument(client: Any) -> None:
    assert client.id == "Agilent Technologies,E5062A,EMULATOR,A.03.54"
    assert client.channels[1].scan_points == 21


@pytest.mark.parametrize("form", ["POL", "SCOM"])
def test_traces_equal_the_worlds(client: Any, ena: Bench, form: str) -> None:
    channel = client.channels[1]
    swept(client)
    np.testing.assert_array_equal(channel.frequencies, np.linspace(START_HZ, STOP_HZ, 21))
    for trace, ports in zip(channel.traces.values(), PARAMETERS.values(), strict=True):
        trace.activate()
        channel.trace_format = form
        real, imaginary = channel.data
        np.testing.assert_array_equal(real + 1j * imaginary, ena.witness.traces[ports])
    assert len(ena.witness.sweeps) == 1


def test_rectangular_traces_have_a_second_value_of_zero(client: Any, ena: Bench) -> None:
    channel = client.channels[1]
    swept(client)
    channel.traces[3].activate()
    channel.trace_format = "MLOG"
    shown, nothing = channel.data
    np.testing.assert_array_equal(shown, 20 * np.log10(np.abs(ena.witness.traces[2, 1])))
    assert not nothing.any()


def test_averages_are_triggered_one_by_one(client: Any, ena: Bench) -> None:
    channel = client.channels[1]
    channel.averages, channel.averaging_enabled = 4, True
    channel.restart_averaging()
    seen = []
    for _ in range(4):
        swept(client)
        seen.append(ena.witness.traces[1, 1])
    channel.traces[1].activate()
    channel.trace_format = "POL"
    real, imaginary = channel.data
    np.testing.assert_allclose(real + 1j * imaginary, np.mean(seen, axis=0), rtol=1e-12)


def test_the_source_can_be_switched_off(client: Any, ena: Bench) -> None:
    client.output_enabled = False
    assert client.output_enabled is False
    swept(client)
    assert ena.witness.sweeps[-1]["power_dbm"] is None
