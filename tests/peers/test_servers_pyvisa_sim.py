"""pyvisa-sim's engine and the devices that come with it, as instruments of our drivers: ``visa: "@sim"``.

Its answers need no hardware, but they take the way of VISA resources: GPIB, USB, serial, HiSLIP or VXI-11, sockets.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from labtrain import registry
from labtrain.clock import RealClock
from labtrain.drivers.address import make_link
from labtrain.drivers.sensors.sensor import PowerMeter, Sensor
from labtrain.errors import InstrumentError, LinkRefused, LinkTimeout

pytest.importorskip("pyvisa_sim", reason='pyvisa-sim is not installed; run: pip install -e ".[peers]"')

SCPI_SUPPLY = ["GPIB::9::INSTR", "USB::0x1111::0x2222::0x2468::INSTR"]  # "device 2"
GENERATOR = ["GPIB::8::INSTR", "USB::0x1111::0x2222::0x1234::INSTR", "TCPIP::localhost::INSTR"]  # "device 1"
SOCKET = "TCPIP::localhost::10001::SOCKET"

MULTIMETER = r"""
spec: "1.1"
devices:
  multimeter:
    eom:
      GPIB INSTR: {q: "\n", r: "\n"}
    error:
      error_queue:
        - {q: "SYST:ERR?", default: '0,"No error"', command_error: '-113,"Undefined header"'}
    dialogues:
      - {q: "*IDN?", r: "Acme,M-100,7,1.0"}
      - {q: "*CLS"}
      - {q: ""}
      - {q: "MEAS:VOLT?", r: "+1.234500E+00"}
      - {q: "FETC?", r: "1,2,+3.5E+00"}
    properties:
      mask:
        default: 0
        getter: {q: "*ESE?", r: "{:d}"}
        setter: {q: "*ESE {:d}"}
        specs: {min: 0, max: 255, type: int}
resources:
  GPIB0::12::INSTR: {device: multimeter}
"""


def driver(name: str, address: str, visa: str = "@sim", **config: Any) -> Any:
    cls = registry.resolve("drivers", name)
    section = {"address": address, "visa": visa, "timeout_s": 0.5} | config
    return cls.make("meter", cls.Config.model_validate(section), RealClock())


@pytest.mark.parametrize("address", SCPI_SUPPLY)
def test_a_power_supply_of_theirs_tells_watts(address: str) -> None:
    meter = driver(
        "scpi-power-meter", address, volts=":VOLT:IMM:AMPL?", amps=":CURR:IMM:AMPL?", model="MOCK", ieee_488=False
    )
    assert isinstance(meter, PowerMeter)
    with meter:
        assert meter.identity == "SCPI,MOCK,VERSION_1.0"
        assert meter.read() == {"power_w": 1.0, "voltage_v": 1.0, "current_a": 1.0}
        meter.tell(":VOLT:IMM:AMPL 2.500")
        assert meter.power_w() == 2.5
        meter.tell(":VOLT:IMM:AMPL 1.000")  # the library keeps it for the next one


@pytest.mark.parametrize("address", GENERATOR)
def test_a_generator_of_theirs_with_questions_of_its_own(address: str) -> None:
    quantities = {"frequency_hz": {"ask": "?FREQ", "unit": "Hz", "allowed": [0.0, 50.0]}, "amplitude_v": "?AMP"}
    sensor = driver("scpi-sensor", address, quantities=quantities, identify="?IDN", ieee_488=False)
    assert isinstance(sensor, Sensor)
    with sensor:
        assert sensor.identity == "LSG Serial #1234"
        assert sensor.read() == {"frequency_hz": 100.0, "amplitude_v": 1.0}
        assert sensor.outside(sensor.read()) == {"frequency_hz": "frequency_hz is 100 Hz, allowed 0 Hz to 50 Hz"}


def test_it_says_that_it_does_not_understand() -> None:
    sensor = driver("scpi-sensor", GENERATOR[0], quantities={"phase": "?PHASE"}, identify="?IDN", ieee_488=False)
    with sensor, pytest.raises(InstrumentError) as caught:
        sensor.read()
    assert str(caught.value) == (
        "meter (GPIB::8::INSTR): asked '?PHASE' for the number of phase, got 'ERROR'; check that the driver fits the "
        "instrument"
    )


def test_it_says_nothing() -> None:
    """Their SCPI supply is silent about what it does not know; what was asked after it is not mistaken."""
    quantities = {"volts": ":VOLT:IMM:AMPL?", "amps": ":CURR?"}
    with driver("scpi-sensor", SCPI_SUPPLY[0], quantities=quantities, ieee_488=False) as sensor:
        with pytest.raises(LinkTimeout) as caught:
            sensor.read()
        assert "asked ':CURR?', waited 0.5 s" in str(caught.value)
        assert sensor.asked({"volts": sensor.questions["volts"]}) == {"volts": 1.0}


def test_a_multimeter_of_ours_on_their_engine_with_its_error_queue(tmp_path: Path) -> None:
    (tmp_path / "devices.yaml").write_text(MULTIMETER)
    visa = f"{tmp_path / 'devices.yaml'}@sim"
    known = {"volts": {"ask": "MEAS:VOLT?", "unit": "V"}, "third": {"ask": "FETC?", "field": 3}}
    with driver("scpi-sensor", "GPIB0::12::INSTR", visa, quantities=known) as sensor:
        assert sensor.read() == {"volts": 1.2345, "third": 3.5}
        sensor.link.dirty = True
        assert sensor.read() == {"volts": 1.2345, "third": 3.5}
    with driver("scpi-sensor", "GPIB0::12::INSTR", visa, quantities={"amps": "MEAS:CURR?"}) as sensor:
        with pytest.raises(InstrumentError) as caught:
            sensor.read()
        assert "reports -113 \"Undefined header\" after 'MEAS:CURR?'" in str(caught.value)


def test_a_plain_link_on_their_socket() -> None:
    with make_link("talk", SOCKET, RealClock(), visa="@sim", timeout_s=0.5) as link:
        link.write(b"?FREQ\n")
        assert link.read_until(b"\n") == b"100.00\n"


def test_nobody_there() -> None:
    with pytest.raises(LinkRefused) as caught:
        make_link("talk", "GPIB::30::INSTR", RealClock(), visa="@sim").open()
    assert str(caught.value).startswith("talk (GPIB::30::INSTR): no instrument answers there")


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(LinkRefused) as caught:
        make_link("talk", "GPIB::8::INSTR", RealClock(), visa=f"{tmp_path}/none.yaml@sim").open()
    assert str(caught.value).startswith(f"talk (GPIB::8::INSTR): this computer has no VISA library {tmp_path}")
