"""QCoDeS' driver for the N5222B, as it comes from PyPI, against the emulated analyser: 32 bits, big-endian."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.peers.conftest import Bench

keysight = pytest.importorskip(
    "qcodes.instrument_drivers.Keysight", reason='QCoDeS is not installed; run: pip install -e ".[peers]"'
)


@pytest.fixture
def pna(bench: Bench) -> Iterator[Any]:
    pna = keysight.KeysightN5222B("pna", bench.resource, visalib="@py")
    pna.start(5.2e9)
    pna.stop(5.6e9)
    pna.points(21)
    pna.if_bandwidth(1000)
    yield pna
    assert pna.ask("SYST:ERR?") == '+0,"No error"'
    pna.close()


def test_what_it_sets_it_reads_back(pna: Any) -> None:
    assert pna.get_idn() == {
        "vendor": "Keysight Technologies",
        "model": "N5222B",
        "serial": "EMULATOR",
        "firmware": "A.13.95.09",
    }
    for parameter, value in {
        "power": -12.5, "start": 5.2e9, "stop": 5.6e9, "center": 5.4e9, "span": 0.4e9, "points": 21, "averages": 8,
        "averages_enabled": True, "sweep_type": "LIN", "trigger_source": "IMM", "output": True, "cw": 5.3e9,
        "electrical_delay": 1e-9, "group_trigger_count": 3, "sweep_mode": "HOLD",
    }.items():  # fmt: skip
        pna.parameters[parameter](value)
        assert pna.parameters[parameter].get() == value
    np.testing.assert_allclose(pna.frequency_axis(), np.linspace(5.2e9, 5.6e9, 21))


def test_traces_equal_the_worlds(pna: Any, bench: Bench) -> None:
    trace = pna.traces[0]
    trace.trace("S21")
    assert trace.trace() == "S21"
    pna.sweep_mode("HOLD")
    pna.auto_sweep(False)
    trace.run_sweep()
    expected = bench.witness.traces[2, 1]
    np.testing.assert_allclose(trace.polar(), expected, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(trace.real(), expected.real, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(trace.magnitude(), 20 * np.log10(np.abs(expected)), rtol=1e-6)
    np.testing.assert_allclose(trace.linear_magnitude(), np.abs(expected), rtol=1e-7)
    np.testing.assert_allclose(trace.unwrapped_phase(), np.rad2deg(np.unwrap(np.angle(expected))), rtol=1e-6)
    assert len(bench.witness.sweeps) == 1


@pytest.mark.parametrize("timing", [True])
def test_it_waits_for_a_group_of_averages(pna: Any, bench: Bench, timing: bool) -> None:
    pna.sweep_mode("HOLD")
    pna.averages(4)
    pna.averages_enabled(True)
    imaginary = pna.traces[0].imaginary()
    assert bench.witness.sweeps == [{"if_bandwidth_hz": 1000.0, "power_dbm": -5.0, "averages": 4}]
    np.testing.assert_allclose(imaginary, bench.witness.traces[1, 1].imag, rtol=1e-7, atol=1e-8)
    assert pna.sweep_mode() == "HOLD"
