"""The VNA face: what is refused before a byte leaves, RF, and sweeps, on an emulated Keysight PNA."""

from __future__ import annotations

import numpy as np
import pytest

from labtrain.config import loads
from labtrain.drivers.vna.keysight_pna import KeysightPna
from labtrain.drivers.vna.vna import is_uniform, ports_of
from labtrain.errors import ConfigError, InputError, InstrumentError
from tests.drivers.vna.pna import GRID, Bench

# Known from the config alone, so refused before the link is even open.
CONFIGURED = [
    ({"power_dbm": 5.0}, GRID,
     "vna (sim): asked power 5 dBm, allowed up to 0 dBm (rig.vna.max_power_dbm); set rig.vna.power_dbm"),
    ({"power_dbm": -5.0, "receiver_gain_db": 20.0}, GRID,
     "vna (sim): asked power -5 dBm, which a gain of 20 dB (rig.vna.receiver_gain_db) brings to 15 dBm at the "
     "receiver, allowed up to 10 dBm (rig.vna.receiver_max_dbm); set rig.vna.power_dbm, or attenuate"),
    ({"if_bandwidth_hz": 0.5}, GRID,
     "vna (sim): asked IF bandwidth 0.5 Hz, allowed 1 Hz to 15 MHz; set rig.vna.if_bandwidth_hz"),
    ({"s_parameters": ("S21", "S11", "S21")}, GRID,
     "vna (sim): asked S21 more than once; set rig.vna.s_parameters"),
    ({"frequency_limits_hz": (5.15e9, 5.35e9)}, GRID,
     "vna (sim): asked frequency 5.875 GHz, allowed 5.15 GHz to 5.35 GHz; set rig.frequencies_hz or "
     "rig.vna.frequency_limits_hz"),
    ({}, [5.2e9, 5.1e9],
     "vna (sim): asked frequencies out of order, 5100000000 Hz after 5200000000 Hz; sort them"),
    ({}, [5.2e9, 5.2e9],
     "vna (sim): asked frequencies out of order, 5200000000 Hz after 5200000000 Hz; sort them"),
    ({}, [], "vna (sim): asked frequencies of shape (0,), needs a list of them"),
    ({}, np.linspace(1e9, 2e9, 100_004),
     "vna (sim): asked points 100004, allowed 1 to 100003; measure at fewer frequencies (rig.frequencies_hz)"),
]  # fmt: skip
# Known once the analyser has told what it can do.
TOLD = [
    ({"max_power_dbm": 30.0, "receiver_max_dbm": 30.0, "power_dbm": 20.0}, GRID,
     "vna (sim): asked power 20 dBm, allowed -30 dBm to 13 dBm; set rig.vna.power_dbm"),
    ({"power_dbm": -40.0}, GRID, "vna (sim): asked power -40 dBm, allowed -30 dBm to 13 dBm; set rig.vna.power_dbm"),
    ({}, [26e9, 26.5e9, 27e9],
     "vna (sim): asked frequency 27 GHz, allowed 10 MHz to 26.5 GHz; set rig.frequencies_hz"),
    ({}, [1e6, 26e9], "vna (sim): asked frequency 1 MHz, allowed 10 MHz to 26.5 GHz; set rig.frequencies_hz"),
    ({"s_parameters": ("S21", "S31")}, GRID, "vna (sim): asked S31, it has 2 ports; set rig.vna.s_parameters"),
]  # fmt: skip


@pytest.mark.parametrize(("config", "frequencies", "sentence"), CONFIGURED)
def test_the_config_is_refused_before_the_link_is_open(config, frequencies, sentence):
    bench = Bench(**config)
    with pytest.raises(InputError) as caught:
        bench.vna.check(frequencies)
    assert str(caught.value) == sentence
    assert bench.wire.connections == 0


@pytest.mark.parametrize(("config", "frequencies", "sentence"), CONFIGURED + TOLD)
def test_what_is_out_of_limits_is_refused_before_a_byte_is_sent(config, frequencies, sentence):
    bench = Bench(**config)
    vna = bench.open()
    with pytest.raises(InputError) as caught:
        vna.configure(frequencies)
    assert str(caught.value) == sentence
    assert bench.wire.heard == []
    assert bench.network.sweeps == []


def test_the_highest_power_that_is_allowed_is_allowed():
    bench = Bench(power_dbm=0.0, receiver_gain_db=10.0)
    bench.ready().sweep()
    assert [sweep["power"] for sweep in bench.network.sweeps] == [0.0]


def test_limits_hold_for_settings_made_one_by_one():
    bench = Bench(receiver_gain_db=15.0, frequency_limits_hz=(5e9, 6e9))
    vna = bench.open()
    for name, value, sentence in (
        ("power_dbm", -4.0, "asked power -4 dBm, allowed -30 dBm to -5 dBm; set rig.vna.power_dbm"),
        ("start_hz", 4e9, "asked start frequency 4 GHz, allowed 5 GHz to 6 GHz; set rig.vna.start_hz"),
    ):
        with pytest.raises(InputError) as caught:
            setattr(vna, name, value)
        assert str(caught.value) == f"vna (sim): {sentence}"
    assert bench.wire.heard == []


def test_an_s_parameter_that_is_none_is_refused_with_the_line():
    text = "driver: keysight-pna\ns_parameters: [S21, S2]\n"
    with pytest.raises(ConfigError) as caught:
        loads(text, KeysightPna.Config, "lab.yaml")
    assert str(caught.value).startswith("lab.yaml:2: s_parameters.1: ")


# -- RF ----------------------------------------------------------------------------------------------------------


def test_configuring_leaves_rf_off_and_a_sweep_needs_it_on():
    bench = Bench()
    vna = bench.open()
    assert bench.emulator.rf  # as it comes out of preset
    vna.configure(GRID)
    assert bench.wire.heard[0] == "OUTP 0;:SENS1:SWE:MODE HOLD;:OUTP?"  # before anything is changed
    assert not bench.emulator.rf
    bench.wire.heard.clear()
    with pytest.raises(InstrumentError) as caught:
        vna.sweep()
    assert str(caught.value) == "vna (sim): asked a sweep with RF off; call configure(), then rf(True)"
    assert bench.wire.heard == []
    vna.rf(True)
    assert bench.emulator.rf and vna.radiating
    vna.sweep()
    vna.rf(False)
    assert not bench.emulator.rf and not vna.radiating
    assert bench.emulator.channels[1].mode == "HOLD"


def test_rf_stays_off_until_the_power_is_known():
    bench = Bench()
    vna = bench.open()
    with pytest.raises(InstrumentError) as caught:
        vna.rf(True)
    assert str(caught.value) == "vna (sim): asked RF on before configure(), which sets its power"
    assert bench.wire.heard == []


def test_a_configuration_that_fails_leaves_rf_off_and_nothing_to_sweep():
    bench = Bench()
    vna = bench.ready()
    bench.emulator.push_error(-221, "Settings conflict")
    with pytest.raises(InstrumentError, match="-221"):
        vna.configure(GRID)
    assert not bench.emulator.rf
    with pytest.raises(InstrumentError, match="RF off"):
        vna.sweep()


# -- sweeps ------------------------------------------------------------------------------------------------------


def test_a_sweep_is_what_the_network_answers():
    bench = Bench()
    sweep = bench.ready().sweep()
    assert sweep.dtype == np.complex128 and sweep.shape == (1, 21)
    np.testing.assert_array_equal(sweep[0], bench.network.value(GRID, 2, 1))
    assert sweep.flags.writeable
    (asked,) = bench.network.sweeps
    np.testing.assert_array_equal(asked["frequencies"], GRID)
    assert (asked["bandwidth"], asked["power"], asked["averages"]) == (1000.0, -10.0, 1)


def test_s_parameters_come_in_the_order_of_the_config():
    bench = Bench(s_parameters=("S22", "S21", "S11"))
    vna = bench.ready()
    for _ in range(2):
        sweep = vna.sweep()
        for row, (to, source) in zip(sweep, [(2, 2), (2, 1), (1, 1)], strict=True):
            np.testing.assert_array_equal(row, bench.network.value(GRID, to, source))


@pytest.mark.parametrize(
    "frequencies",
    [[5.2e9], [5.15e9, 5.875e9], [5.15e9, 5.1500001e9, 5.3e9, 5.875e9], np.linspace(5.15e9, 5.875e9, 20).round()],
    ids=["one", "two", "any", "rounded"],
)
def test_any_list_of_frequencies(frequencies):
    bench = Bench()
    sweep = bench.ready(frequencies).sweep()
    np.testing.assert_allclose(bench.network.sweeps[-1]["frequencies"], frequencies, rtol=0, atol=0.5)
    np.testing.assert_allclose(sweep[0], bench.network.value(np.asarray(frequencies), 2, 1), rtol=1e-9)


def test_a_list_after_a_grid_after_a_list():
    bench = Bench()
    vna = bench.ready()
    for frequencies in ([5.2e9, 5.3e9, 5.5e9], GRID, [1e9, 1.5e9, 1.7e9], [2e9, 2.1e9, 2.5e9, 2.6e9]):
        vna.configure(frequencies)
        vna.rf(True)
        np.testing.assert_array_equal(vna.sweep()[0], bench.network.value(np.asarray(frequencies), 2, 1))


def test_averages_begin_anew_with_each_sweep():
    bench = Bench(averages=8)
    vna = bench.ready()
    for _ in range(3):
        np.testing.assert_array_equal(vna.sweep()[0], bench.network.value(GRID, 2, 1))
    assert [sweep["averages"] for sweep in bench.network.sweeps] == [8, 8, 8]


def test_names_of_s_parameters_and_grids():
    assert ports_of("S21") == (2, 1)
    assert is_uniform(GRID, 0.5) and is_uniform(np.array([1e9]), 0.5)
    assert not is_uniform(np.array([1e9, 2e9, 3e9 + 1]), 0.4)


@pytest.mark.parametrize("frequency", [-1.0, 0.0, float("inf")])
def test_frequencies_that_do_not_exist(frequency):
    bench = Bench()
    with pytest.raises(InputError) as caught:
        bench.vna.check([frequency])
    told = {-1.0: "-1 Hz", 0.0: "0 Hz"}.get(frequency, "inf Hz")
    assert str(caught.value) == (f"vna (sim): asked frequency {told}, allowed 1 Hz to 1000 GHz; set rig.frequencies_hz")
    with pytest.raises(InputError, match="asked frequencies out of order, nan Hz after 1 Hz"):
        bench.vna.check([1.0, float("nan"), 3.0])
