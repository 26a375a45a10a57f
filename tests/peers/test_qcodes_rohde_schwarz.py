"""QCoDeS' drivers for R&S ZNB and ZNLE, as they come from PyPI, against the emulated analyser: numbers as text.

They expect answers to keep their line feed, as of HiSLIP and VXI-11.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from labtrain.drivers.emulators.serving.hislip import HislipOutlet
from labtrain.drivers.emulators.serving.vxi11 import Vxi11Outlet
from labtrain.drivers.emulators.vna.rohde_schwarz import RohdeSchwarz
from labtrain.drivers.scpi import EMULATOR
from tests.peers.conftest import Bench, bench_of

drivers = pytest.importorskip(
    "qcodes.instrument_drivers.rohde_schwarz", reason='QCoDeS is not installed; run: pip install -e ".[peers]"'
)

MODELS = {"ZNB8": "RohdeSchwarzZNB8", "ZNB20": "RohdeSchwarzZNB20", "ZNLE6": "RohdeSchwarzZNLE6"}
one_model = pytest.mark.parametrize(("outlet", "model"), [(HislipOutlet, "ZNB20")])
every_model = pytest.mark.parametrize(
    ("outlet", "model"), [(HislipOutlet, "ZNB8"), (Vxi11Outlet, "ZNB20"), (HislipOutlet, "ZNLE6")]
)


@pytest.fixture
def znb(outlet: Any, model: str) -> Iterator[Bench]:
    named = type(model, (RohdeSchwarz,), {"identity": f"Rohde-Schwarz,{model}-{{ports}}Port,{EMULATOR},3.45"})
    with bench_of(named, outlet) as bench:
        yield bench


@pytest.fixture
def client(znb: Bench, model: str) -> Iterator[Any]:
    client = getattr(drivers, MODELS[model])(model, znb.resource, visalib="@py")
    client.rf_on()
    client.channels.start(5.2e9)
    client.channels.stop(5.6e9)
    client.channels.npts(21)
    client.channels.bandwidth(1000)
    client.channels.avg(1)
    yield client
    assert client.ask("SYST:ERR:ALL?") == '0,"No error"\n'
    client.close()


@every_model
def test_traces_equal_the_worlds(client: Any, znb: Bench) -> None:
    for name, ports in (("S11", (1, 1)), ("S21", (2, 1)), ("S12", (1, 2))):
        magnitude, phase = getattr(client, name).trace_mag_phase()
        expected = znb.witness.traces[ports]
        np.testing.assert_allclose(magnitude * np.exp(1j * phase), expected, rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(client.S21.trace_mag_phase.setpoints[0][0], znb.witness.frequencies_hz)
    assert znb.witness.sweeps[-1] == {"if_bandwidth_hz": 1000.0, "power_dbm": -10.0, "averages": 1}
    shown = client.S21.trace()
    np.testing.assert_allclose(shown, 20 * np.log10(np.abs(znb.witness.traces[2, 1])), rtol=1e-9)
    level, _ = client.S21.trace_db_phase()
    np.testing.assert_allclose(level, 20 * np.log10(np.abs(znb.witness.traces[2, 1])), rtol=1e-9)


@one_model
def test_averages_and_points_of_one_frequency(client: Any, znb: Bench) -> None:
    client.S21.avg(4)
    before = len(znb.witness.sweeps)
    client.S21.trace_mag_phase()
    assert [sweep["averages"] for sweep in znb.witness.sweeps[before:]] == [1] * 4  # each triggered by itself
    client.S21.setup_cw_sweep()
    client.S21.cw_frequency(5.3e9)
    in_phase, quadrature = client.S21.trace_fixed_frequency()
    np.testing.assert_allclose(in_phase + 1j * quadrature, znb.witness.traces[2, 1], rtol=1e-11, atol=1e-12)
    assert set(znb.witness.frequencies_hz) == {5.3e9}
    client.S21.setup_lin_sweep()


@one_model
def test_what_it_sets_it_reads_back(client: Any) -> None:
    channel = client.S11
    for parameter, value in {
        "power": -12.5, "start": 5.2e9, "stop": 5.6e9, "center": 5.4e9, "span": 0.4e9, "npts": 21, "avg": 8,
        "bandwidth": 300, "electrical_delay": 1e-9, "status": 1, "sweep_type": "Logarithmic", "format": "Smith",
    }.items():  # fmt: skip
        channel.parameters[parameter](value)
        assert channel.parameters[parameter].get() == value
    for parameter, value in {"ref_osc_source": "EXT", "rf_power": False}.items():
        client.parameters[parameter](value)
        assert client.parameters[parameter].get() == value
    assert client.ref_osc_PLL_locked() is True
    client.update_display_once()
    client.tooltip_off()
    channel.sweep_type("Linear")
    channel.set_electrical_delay_auto()
    channel.autoscale()
    client.ask("*OPC?")


@one_model
def test_a_channel_on_a_trace_that_is_there(znb: Bench) -> None:
    znb.emulator.receive(b"SENS1:FREQ:STAR 5.2GHZ;STOP 5.6GHZ;:SENS1:SWE:POIN 5\n")
    client = drivers.RohdeSchwarzZNB20("bound", znb.resource, visalib="@py", init_s_params=False, reset_channels=False)
    client.add_channel("S21", vna_parameter="S21", existing_trace_to_bind_to="Trc1")
    client.S21.avg(1)
    magnitude, _ = client.S21.trace_mag_phase()
    np.testing.assert_allclose(magnitude, np.abs(znb.witness.traces[2, 1]), rtol=1e-11)
    assert client.ask("SYST:ERR:ALL?") == '0,"No error"\n'
    client.close()
