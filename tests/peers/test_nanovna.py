"""Programs for NanoVNAs, as they come from PyPI, against emulated ones on pseudo-terminals.

pynanovna finds devices by the USB ids of the computer's serial ports, so a port is listed that leads to the emulator;
QCoDeS' driver (qcodes_contrib_drivers) stands on pynanovna, scikit-rf's speaks the protocol of the V2 itself.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from labtrain.clock import Clock
from labtrain.drivers.emulators.emulator import Emulator
from labtrain.drivers.emulators.serving.pty import PtyOutlet
from labtrain.drivers.emulators.vna.nano_vna import NanoVnaEmulator
from labtrain.drivers.emulators.vna.nano_vna_v2 import NanoVnaV2Emulator
from labtrain.drivers.vna.nano_vna import NanoVna
from labtrain.drivers.vna.nano_vna_v2 import NanoVnaV2
from tests.peers.conftest import Bench, bench_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs pseudo-terminals")

START_HZ, STOP_HZ, POINTS = 2_200_000_000, 2_600_000_000, 51
SINGLE = 1e-7  # digits of single precision
EMULATORS = {NanoVna: NanoVnaEmulator, NanoVnaV2: NanoVnaV2Emulator}


@pytest.fixture(params=[NanoVna, NanoVnaV2], ids=["v1", "v2"])
def driver(request: pytest.FixtureRequest) -> Any:
    """Which generation; tests override it."""
    return request.param


@pytest.fixture
def nano(driver: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """An emulated NanoVNA, listed among the serial ports of this computer."""

    def outlet(name: str, emulator: Emulator, clock: Clock) -> PtyOutlet:
        return PtyOutlet(name, emulator, clock, tmp_path / "nanovna")

    with bench_of(EMULATORS[driver], outlet) as bench:
        ((vid, pid),) = driver.USB_IDS
        listed = SimpleNamespace(device=bench.outlet.address, vid=vid, pid=pid, hwid="")
        monkeypatch.setattr("serial.tools.list_ports.comports", lambda: [listed])
        yield bench


def agrees(bench: Bench, s11: Any, s21: Any) -> None:
    """Both traces are those that the network last answered."""
    np.testing.assert_allclose(np.asarray(s11), bench.witness.traces[1, 1], rtol=SINGLE, atol=SINGLE)
    np.testing.assert_allclose(np.asarray(s21), bench.witness.traces[2, 1], rtol=SINGLE, atol=SINGLE)
    assert np.abs(s21).max() > 1e-3


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What pynanovna waits for without looking is there at once."""
    module = pytest.importorskip(
        "pynanovna.hardware.NanoVNA_V2", reason='pynanovna is not installed; run: pip install -e ".[peers]"'
    )
    monkeypatch.setattr(module, "sleep", lambda _: None)


@pytest.mark.usefixtures("quick")
def test_pynanovna(nano: Bench) -> None:
    import pynanovna

    vna = pynanovna.VNA()
    try:
        vna.set_sweep(START_HZ, STOP_HZ, POINTS)
        s11, s21, frequencies = vna.sweep()
        np.testing.assert_array_equal(frequencies, np.linspace(START_HZ, STOP_HZ, POINTS))
        np.testing.assert_array_equal(nano.witness.frequencies_hz, frequencies)
        agrees(nano, s11, s21)
        swept = len(nano.witness.sweeps)
        stream = vna.stream()
        for _ in range(2):
            s11, s21, _ = next(stream)
            agrees(nano, s11, s21)
        assert len(nano.witness.sweeps) == swept + 2
    finally:
        vna.kill()


@pytest.mark.parametrize("driver", [NanoVna])
@pytest.mark.usefixtures("quick")
def test_what_pynanovna_finds_out(nano: Bench) -> None:
    import pynanovna

    vna = pynanovna.VNA()
    try:
        found = vna.info()
        assert found["Version"] == "1.1.0"
        assert {"Scan mask command", "Bandwidth"} <= found["Features"]
        assert found["Comment"] == "H4"
        assert vna.vna.get_calibration().strip() == ""
        vna.vna.set_bandwidth(100)
        assert nano.emulator.width_hz == 100
    finally:
        vna.kill()


@pytest.mark.parametrize("driver", [NanoVna])
@pytest.mark.usefixtures("quick")
def test_qcodes(nano: Bench) -> None:
    h4 = pytest.importorskip("qcodes_contrib_drivers.drivers.NanoVNA.H4")
    vna = h4.NanoVNA("nanovna")
    try:
        vna.npts(POINTS)
        vna.start_freq(START_HZ)
        vna.stop_freq(STOP_HZ)
        np.testing.assert_array_equal(vna.frequency(), np.linspace(START_HZ, STOP_HZ, POINTS))
        # Its complex parameters refuse complex values (0.24).
        agrees(nano, vna.s11_real() + 1j * vna.s11_imag(), vna.s21_real() + 1j * vna.s21_imag())
        np.testing.assert_allclose(vna.s21_mag_db(), 20 * np.log10(np.abs(nano.witness.traces[2, 1])), rtol=1e-5)
        assert vna.get_idn()["firmware"] == "1.1.0"
    finally:
        vna.close()


@pytest.mark.parametrize("driver", [NanoVna])
def test_rf_bench(nano: Bench) -> None:
    bench = pytest.importorskip("rf_bench.nanovna", reason='rf-bench is not installed; run: pip install -e ".[peers]"')
    with bench.NanoVNA(nano.outlet.address) as vna:
        assert vna.version() == "1.1"
        vna.setup_sweep(START_HZ, STOP_HZ, POINTS)
        vna.hold()
        frequencies, s11, s21 = vna.get_s_data_full()
        np.testing.assert_array_equal(frequencies, np.linspace(START_HZ, STOP_HZ, POINTS))
        agrees(nano, s11, s21)
        assert len(nano.witness.sweeps) == 1  # both of one sweep
        vna.continuous()
        assert not nano.emulator.paused
        assert not vna.is_correction_on()


@pytest.mark.parametrize("driver", [NanoVna])
def test_nvnapython(nano: Bench) -> None:
    nvnapython = pytest.importorskip("nvnapython", reason='nvnapython is not installed; run: pip install -e ".[peers]"')
    vna = nvnapython.nanoVNA()
    assert vna.connect(nano.outlet.address)
    try:
        lines = vna.get_scan_freqs_s11_s21(START_HZ, STOP_HZ, POINTS).decode().splitlines()
        values = np.array([line.split() for line in lines], dtype=np.float64)
        np.testing.assert_array_equal(values[:, 0], np.linspace(START_HZ, STOP_HZ, POINTS))
        agrees(nano, values[:, 1] + 1j * values[:, 2], values[:, 3] + 1j * values[:, 4])
    finally:
        vna.disconnect()


@pytest.mark.parametrize("driver", [NanoVnaV2])
@pytest.mark.parametrize("points", [51, 300])
def test_scikit_rf(nano: Bench, points: int) -> None:
    skrf = pytest.importorskip("skrf", reason='scikit-rf is not installed; run: pip install -e ".[peers]"')
    from skrf.vi.vna.nanovna import NanoVNAv2

    vna = NanoVNAv2(nano.resource)
    try:
        assert vna.id == "2"
        vna.frequency = skrf.Frequency(START_HZ, START_HZ + (points - 1) * 1e6, points, unit="hz")
        for _ in range(2):
            s11, s21 = vna.get_s11_s21()
            agrees(nano, s11.s[:, 0, 0], s21.s[:, 0, 0])
            np.testing.assert_array_equal(nano.witness.frequencies_hz, s21.f)
        network = vna.get_snp_network((1, 2))
        agrees(nano, network.s[:, 0, 0], network.s[:, 1, 0])
    finally:
        vna._resource.close()
