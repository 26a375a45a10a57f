"""Power meters: watts, volts times amperes, and the integrators of those that have one."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from labtrain.drivers.scpi import ScpiError
from labtrain.drivers.sensors.energy import EnergyMeter
from labtrain.drivers.sensors.scpi_power_meter import ScpiPowerMeter
from labtrain.errors import InstrumentError
from tests.drivers.sensors.sensing import Bench
from tests.drivers.wires import late

HMC8015: dict[str, Any] = {
    "prepare": ["CHAN1:MEAS:FUNC P,WH", "INT:STAT ON"],
    "power": {"ask": "CHAN1:MEAS:DATA?"},
    "energy": {"ask": "CHAN1:MEAS:DATA?", "field": 2, "scale": 3600.0},
    "start_energy": ["INT:RES", "INT:STAR"],
}


def test_watts() -> None:
    bench = Bench("scpi-power-meter").opened()
    assert bench.driver.power_w() == 12.5
    assert bench.driver.read() == {"power_w": 12.5}
    assert not bench.driver.counts
    assert bench.wire.heard == ["MEAS:POW?", "SYST:ERR?"] * 2


def test_volts_times_amperes() -> None:
    bench = Bench("scpi-power-meter", volts="MEAS:VOLT?", amps={"ask": "MEAS:CURR?", "scale": 2.0}).opened()
    assert bench.driver.read() == {"power_w": 25.0, "voltage_v": 5.0, "current_a": 5.0}
    assert bench.driver.power_w() == 25.0


def test_its_own_integrator_counts_joules() -> None:
    bench = Bench("scpi-power-meter", **HMC8015).opened()
    meter = EnergyMeter(bench.driver, bench.clock)
    meter.start()
    assert bench.wire.heard[:3] == ["INT:RES", "INT:STAR", "SYST:ERR?"]
    bench.clock.sleep(100.0)
    assert meter.sample() == pytest.approx(1250.0)
    bench.world["power_w"] = 0.0
    bench.clock.sleep(1.0)
    assert meter.sample() == pytest.approx(1256.25)  # the emulated world went down along a line
    assert (meter.method, meter.error_j) == ("counted", 0.0)
    assert bench.driver.read() == {"power_w": 0.0, "energy_j": pytest.approx(1256.25)}


def test_what_it_shows_before_the_start_is_not_counted() -> None:
    bench = Bench("scpi-power-meter", **HMC8015 | {"start_energy": ["INT:STAR"]}).opened()
    meter = EnergyMeter(bench.driver, bench.clock)
    meter.start()
    bench.clock.sleep(10.0)
    meter.sample()
    meter.start()
    bench.clock.sleep(20.0)
    assert meter.sample() == pytest.approx(250.0)


def test_an_integrator_that_is_reset_meanwhile_is_told() -> None:
    bench = Bench("scpi-power-meter", **HMC8015).opened()
    meter = EnergyMeter(bench.driver, bench.clock)
    meter.start()
    bench.clock.sleep(10.0)
    meter.sample()
    bench.emulator.receive(b"INT:RES\n")
    with pytest.raises(InstrumentError) as caught:
        meter.sample()
    assert str(caught.value) == (
        "meter (sim): its integrator counted 125 J and then 0 J, so it was reset in between; leave it alone while a "
        "run measures"
    )


def test_an_order_that_it_does_not_know_ends_the_opening() -> None:
    with pytest.raises(ScpiError, match=r"-113 .* after 'INT:GO'"):
        Bench("scpi-power-meter", prepare=["INT:GO"]).opened()


def test_without_an_integrator_there_are_no_joules() -> None:
    bench = Bench("scpi-power-meter").opened()
    bench.driver.start_counting()
    assert bench.wire.heard == ["SYST:ERR?"]
    with pytest.raises(InstrumentError) as caught:
        bench.driver.counted_j()
    assert str(caught.value) == "meter (sim): has no integrator; set rig.meter.energy to the question for it"


def test_a_late_answer_is_no_power() -> None:
    bench = Bench("scpi-power-meter").opened()
    bench.wire.spoils = [late(2.5)]
    with pytest.raises(InstrumentError):
        bench.driver.power_w()
    bench.world["power_w"] = 3.0
    assert bench.driver.power_w() == 3.0


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"volts": "V?"}, "volts and amps make watts together"),
        ({"power": "P?", "volts": "V?", "amps": "A?"}, "two ways to watts"),
        ({"start_energy": ["INT:STAR"]}, "an integrator that nothing asks"),
    ],
)
def test_one_way_to_watts(config: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        ScpiPowerMeter.Config.model_validate(config)


def test_with_timing_readings_take_their_time() -> None:
    bench = Bench("scpi-power-meter", timing=True).opened()
    before_s = bench.clock.monotonic()
    bench.driver.power_w()
    assert bench.clock.monotonic() - before_s == pytest.approx(0.1)
