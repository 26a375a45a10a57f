"""Sensors with configured questions: what is read, what is refused, and that nothing late is taken for a reading."""

from __future__ import annotations

from typing import Any

import pytest

from labtrain.config import Section, loads
from labtrain.drivers.emulators.faults import Faulty, parse_fault
from labtrain.drivers.scpi import ScpiError
from labtrain.drivers.sensors.scpi_sensor import ScpiSensor
from labtrain.errors import ConfigError, InstrumentError, LinkDesync, LinkTimeout
from tests.drivers.sensors.sensing import Bench, Lines
from tests.drivers.wires import cut, instead, late, silent

ROOM = {
    "temperature_c": {"ask": "MEAS:TEMP?", "unit": "°C", "allowed": [15.0, 30.0]},
    "humidity": {"ask": "MEAS:HUM?", "unit": "", "scale": 0.01, "allowed": [0.2, 0.6]},
}
BATH = {"identify": "VERSION", "ieee_488": False, "question_end": "\r", "answer_end": "\r\n"}


def room(**more: Any) -> Bench:
    return Bench("scpi-sensor", quantities=ROOM, **more).opened()


def bath(**answers: str) -> Bench:
    lines = Lines({"VERSION": "Bath 1, EMULATOR", "T0": "24.5", "T1": "26.0"} | answers, "\r", "\r\n")
    return Bench("scpi-sensor", lines, quantities={"inside_c": "T0", "outside_c": "T1"}, **BATH).opened()


def test_it_reads_numbers_with_units() -> None:
    bench = room()
    assert bench.driver.read() == {"temperature_c": 21.5, "humidity": pytest.approx(0.4)}
    assert bench.driver.units == {"temperature_c": "°C", "humidity": ""}
    assert bench.driver.emulated
    assert bench.wire.heard == ["MEAS:TEMP?", "MEAS:HUM?", "SYST:ERR?"]


def test_readings_that_are_not_allowed_are_facts() -> None:
    bench = room()
    assert bench.driver.outside(bench.driver.read()) == {}
    bench.world.update(temperature_c=41.25, humidity_percent=60.0)
    assert bench.driver.outside(bench.driver.read()) == {
        "temperature_c": "temperature_c is 41.25 °C, allowed 15 °C to 30 °C"
    }


def test_opening_reading_and_leaving_tells_it_nothing_but_the_mask_of_the_fence() -> None:
    bench = Bench("scpi-sensor", quantities=ROOM)
    with bench.driver:
        bench.driver.read()
    orders = [line for line in bench.wire.heard if "?" not in line]
    assert orders == ["*ESE 0", "*CLS"]


def test_questions_that_share_an_answer_are_asked_once() -> None:
    lines = Lines({"*IDN?": "x", "ALL?": "1.5, 2.5"})
    both = {"a": {"ask": "ALL?"}, "b": {"ask": "ALL?", "field": 2}}
    bench = Bench("scpi-sensor", lines, quantities=both, ieee_488=False).opened()
    assert bench.driver.read() == {"a": 1.5, "b": 2.5}
    assert bench.wire.heard == ["ALL?"]


def test_a_question_that_it_does_not_know() -> None:
    bench = Bench("scpi-sensor", quantities={"flow": "MEAS:FLOW?"}).opened()
    with pytest.raises(ScpiError) as caught:
        bench.driver.read()
    assert str(caught.value) == (
        "meter (sim): reports -113 \"Undefined header\" after 'MEAS:FLOW?'; check the settings under rig.meter"
    )


def test_a_quantity_that_the_world_has_not() -> None:
    bench = Bench("scpi-sensor", quantities={"pressure_pa": "MEAS:PRES?"}).opened()
    with pytest.raises(ScpiError, match='-241 "Hardware missing"'):
        bench.driver.read()


def test_answers_that_are_none() -> None:
    bench = room()
    bench.wire.spoils = [instead(b"+9.9E37\n")]
    with pytest.raises(InstrumentError) as caught:
        bench.driver.read()
    assert str(caught.value) == (
        "meter (sim): asked 'MEAS:TEMP?' for temperature_c, got '+9.9E37', which stands for out of range; check its "
        "range and what is connected to it"
    )
    bench.wire.spoils = [instead(b"warm\n")]
    with pytest.raises(InstrumentError) as caught:
        bench.driver.read()
    assert str(caught.value) == (
        "meter (sim): asked 'MEAS:TEMP?' for the number of temperature_c, got 'warm'; check that the driver fits the "
        "instrument"
    )
    assert bench.driver.read()["temperature_c"] == 21.5


@pytest.mark.parametrize("spoil", [late(2.5), late(30.0), silent, cut(4), instead(b"\xff\x00")])
@pytest.mark.parametrize("make", [room, bath])
def test_what_was_broken_off_is_never_a_later_reading(make: Any, spoil: Any) -> None:
    bench = make()
    right = bench.driver.read()
    bench.wire.spoils = [spoil]
    with pytest.raises(InstrumentError):
        bench.driver.read()
    bench.clock.sleep(40.0)
    for _ in range(3):
        try:
            assert bench.driver.read() == right
        except LinkDesync:  # told, and the next one is right
            assert spoil is not silent
    assert bench.driver.read() == right


@pytest.mark.parametrize("fault", ["late 3 s", "no reply", "truncated 3 bytes", "garbage"])
@pytest.mark.parametrize("at", range(1, 9))
def test_faults_end_in_a_sentence_or_in_the_right_reading(fault: str, at: int) -> None:
    bench = Bench("scpi-sensor", quantities=ROOM)
    _, parsed = parse_fault(f"meter: {fault} at {at}")
    bench.wire.emulator = Faulty(bench.emulator, [parsed])
    told = 0
    for _ in range(6):
        try:
            if not bench.driver.is_open:
                bench.driver.open()
            assert bench.driver.read() == {"temperature_c": 21.5, "humidity": pytest.approx(0.4)}
        except InstrumentError as error:
            assert str(error).startswith("meter (sim): ")
            bench.driver.drop()
            told += 1
    assert told <= 1
    assert bench.driver.read()["temperature_c"] == 21.5


# -- small instruments -------------------------------------------------------------------------------------------


def test_instruments_without_an_error_queue() -> None:
    bench = bath()
    assert bench.driver.identity == "Bath 1, EMULATOR"
    assert bench.driver.emulated
    assert bench.driver.read() == {"inside_c": 24.5, "outside_c": 26.0}


def test_a_small_instrument_is_silent_about_what_it_does_not_know() -> None:
    bench = Bench("scpi-sensor", Lines({"*IDN?": "x"}), quantities={"t": "T?"}, ieee_488=False).opened()
    with pytest.raises(LinkTimeout) as caught:
        bench.driver.read()
    assert str(caught.value) == (
        "meter (sim): asked 'T?', waited 2 s for an answer that ends in b'\\n', got nothing; check rig.meter.address "
        "and that it is ready, or raise rig.meter.timeout_s"
    )


def test_equal_readings_do_not_pass_for_the_fence() -> None:
    """Two late readings that are the same number come before the answers to who it is."""
    lines = Lines({"*IDN?": "Acme", "T?": "24.5"})
    bench = Bench("scpi-sensor", lines, quantities={"t": "T?"}, ieee_488=False).opened()
    bench.link.send_anyway(b"T?\nT?\nT?\n")
    lines.answers["T?"] = "25.5"
    assert bench.driver.read() == {"t": 25.5}


def test_late_answers_to_who_it_is_are_out_of_the_way() -> None:
    lines = Lines({"*IDN?": "Acme", "T?": "24.5"})
    bench = Bench("scpi-sensor", lines, quantities={"t": "T?"}, ieee_488=False).opened()
    bench.wire.spoils = [late(0.2)]
    bench.link.send_anyway(b"*IDN?\n*IDN?\n*IDN?\n")
    assert [bench.driver.read() for _ in range(2)] == [{"t": 24.5}] * 2


def test_an_instrument_that_never_says_the_same_twice() -> None:
    lines = Lines({"*IDN?": "24.5"})
    bench = Bench("scpi-sensor", lines, ieee_488=False)
    bench.driver.open()
    bench.link.dirty = True
    with pytest.raises(LinkDesync) as caught:
        bench.driver.read()
    assert str(caught.value) == (
        "meter (sim): asked '*IDN?' 6 times, never got the same answer twice; check rig.meter.identify and that no "
        "other program uses it"
    )


def test_it_greets() -> None:
    lines = Lines({"*IDN?": "Acme", "TEMP": "20.0"})
    lines.connected_with = "Welcome\nto Acme\n"
    bench = Bench("scpi-sensor", lines, quantities={"t": "TEMP"}, ieee_488=False).opened()
    assert (bench.driver.identity, bench.driver.read()) == ("Acme", {"t": 20.0})


# -- who it is ---------------------------------------------------------------------------------------------------


def test_the_model_is_looked_at() -> None:
    Bench("scpi-sensor", model="SENSOR").opened()
    with pytest.raises(InstrumentError) as caught:
        Bench("scpi-sensor", model="34461A").opened()
    assert str(caught.value) == (
        "meter (sim): 'labtrain,Sensor,EMULATOR,1.0' answers, asked '34461A'; correct rig.meter.address or "
        "rig.meter.model"
    )
    Bench("scpi-sensor", model="34461A", identity="any").opened()


def test_it_is_proposed_for_no_instrument_in_particular() -> None:
    assert not ScpiSensor.fits("labtrain,Sensor,EMULATOR,1.0")


# -- configuration -----------------------------------------------------------------------------------------------


class _File(Section):
    sensor: ScpiSensor.Config


def _configured(text: str) -> ScpiSensor.Config:
    return loads(f"sensor:\n  driver: scpi-sensor\n  quantities:\n    {text}\n", _File, "lab.yaml").value.sensor


def test_a_question_may_stand_for_itself() -> None:
    short = _configured('t: "TEMP?"').quantities["t"]
    assert short == _configured('t: {ask: "TEMP?"}').quantities["t"]
    assert _configured('t: {ask: "TEMP?", allowed: [0, 50]}').quantities["t"].allowed == (0.0, 50.0)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("t: {asks: TEMP}", "lab.yaml:4: sensor.quantities.t.asks: unknown key (did you mean ask?)"),
        ("t: {ask: T, scale: 0}", "lab.yaml:4: sensor.quantities.t: scale 0 makes every reading the same"),
        ("t: 7", "lab.yaml:4: sensor.quantities.t: 7 is not allowed, must be a mapping"),
    ],
)
def test_errors_name_the_line(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        _configured(text)
    assert told in str(caught.value)


def test_ends_are_for_small_instruments() -> None:
    with pytest.raises(ConfigError, match="fixed where ieee_488 is true; set it to false"):
        _configured('t: T\n  identify: "VERSION"')
