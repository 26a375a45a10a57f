"""QCoDeS' driver for the M5065, as it comes from PyPI, against the emulated analyser: text, twelve digits."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from labtrain.drivers.emulators.vna.copper_mountain import CopperMountain
from tests.peers.conftest import Bench, bench_of

copper_mountain = pytest.importorskip(
    "qcodes.instrument_drivers.CopperMountain", reason='QCoDeS is not installed; run: pip install -e ".[peers]"'
)
PORTS = ((1, 1), (1, 2), (2, 1), (2, 2))


@pytest.fixture
def cmt() -> Iterator[Bench]:
    with bench_of(CopperMountain) as bench:
        yield bench


@pytest.fixture
def client(cmt: Bench) -> Iterator[Any]:
    client = copper_mountain.CopperMountainM5065("vna", cmt.resource, visalib="@py")
    client.start(5.2e9)
    client.stop(5.6e9)
    client.number_of_points(21)
    client.if_bandwidth(1000)
    yield client
    assert client.ask("SYST:ERR?") == '+0,"No error"'
    client.close()


def quietly(call: Any) -> Any:
    """Its way to read text is one that NumPy is about to give up."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return call()


def test_what_it_sets_it_reads_back(client: Any) -> None:
    assert client.get_idn()["vendor"] == "CMT"
    for parameter, value in {
        "power": -12.5, "start": 5.1e9, "stop": 5.5e9, "center": 5.4e9, "span": 0.2e9, "number_of_points": 201,
        "averages": 8, "averages_enabled": True, "averages_trigger_enabled": True, "electrical_delay": 1e-9,
        "trigger_source": "bus", "number_of_traces": 3, "output": True,
    }.items():  # fmt: skip
        client.parameters[parameter](value)
        assert client.parameters[parameter].get() == value


def test_one_trace_equals_the_worlds(client: Any, cmt: Bench) -> None:
    client.write("INIT1:CONT OFF")  # it takes the channel to be on hold
    magnitude, phase = quietly(client.s21.get)
    expected = cmt.witness.traces[2, 1]
    np.testing.assert_allclose(10 ** (magnitude / 20) * np.exp(1j * phase), expected, rtol=0, atol=1e-11)
    assert len(cmt.witness.sweeps) == 1


def test_all_traces_equal_the_worlds(client: Any, cmt: Bench) -> None:
    client.trigger_source("bus")
    frequencies_hz, *traces = quietly(client.get_s_parameters)
    np.testing.assert_allclose(frequencies_hz, cmt.witness.frequencies_hz, rtol=1e-11)
    for ports, magnitude, phase in zip(PORTS, traces[::2], traces[1::2], strict=True):
        found = 10 ** (magnitude / 20) * np.exp(1j * phase)
        np.testing.assert_allclose(found, cmt.witness.traces[ports], rtol=0, atol=1e-11)
