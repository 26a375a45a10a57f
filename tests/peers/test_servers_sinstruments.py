"""sinstruments' server (TCP, serial lines) with instruments that we configure, as instruments of our drivers.

The server is theirs: sockets, pseudo terminals, line framing, the baud rate that holds bytes up. What an instrument
answers is ours, in their plug-in format: a power supply that speaks SCPI, and a thermometer that only prints numbers.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labtrain import registry
from labtrain.clock import RealClock
from labtrain.drivers.sensors.energy import EnergyMeter
from labtrain.errors import InstrumentError, LinkClosed, LinkTimeout
from tests.peers.serving import free_port, listens, served

pytest.importorskip("sinstruments", reason='sinstruments is not installed; run: pip install -e ".[peers]"')
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sinstruments needs pseudo terminals")

PLUG_IN = '''
import gevent
from sinstruments.simulator import BaseDevice


class Supply(BaseDevice):
    """5 V, 2 A, with an error queue."""

    def __init__(self, name, **options):
        super().__init__(name, **options)
        self.mask, self.errors, self.amps = 0, [], 2.0

    def handle_message(self, line):
        answers = [self.answer(part.strip()) for part in line.decode().strip().split(";")]
        told = [answer for answer in answers if answer is not None]
        return (";".join(told) + "\\n").encode() if told else None

    def answer(self, part):
        word, _, value = part.partition(" ")
        if word == "*ESE":
            self.mask = int(value)
        elif word == "*CLS":
            self.errors.clear()
        elif word == "LOAD":
            self.amps = float(value)
        elif word == "SLOW?":
            gevent.sleep(1.0)
            return "9.75"
        elif word == "SYST:ERR?":
            return self.errors.pop(0) if self.errors else '0,"No error"'
        elif word in ("*IDN?", "*ESE?", "MEAS:VOLT?", "MEAS:CURR?", "MEAS:POW?"):
            return {"*IDN?": "Acme,PS-1,4711,1.0", "*ESE?": str(self.mask), "MEAS:VOLT?": "5.000",
                    "MEAS:CURR?": f"{self.amps:.3f}", "MEAS:POW?": f"{5 * self.amps:.3E}"}[word]
        elif word:
            self.errors.append('-113,"Undefined header"')


class Thermometer(BaseDevice):
    """Nothing but lines."""

    def handle_message(self, line):
        answers = {b"ID": b"Thermo 7", b"T1": b"21.50 C", b"T2": b"22.25 C"}
        answer = answers.get(line.strip())
        return None if answer is None else answer + b"\\r\\n"
'''
THERMOMETER = {
    "identify": "ID",
    "ieee_488": False,
    "answer_end": "\r\n",
    "baud": 9600,
    "quantities": {name: {"ask": name.upper(), "unit": "°C", "suffix": "C"} for name in ("t1", "t2")},
}


class Lab:
    """Where the instruments are."""

    def __init__(self, folder: Path) -> None:
        self.port, self.serial = free_port(), str(folder / "ttyThermo")
        (folder / "plug_in.py").write_text(PLUG_IN)
        (folder / "lab.yml").write_text(
            f"""
devices:
  - {{name: supply, class: Supply, package: plug_in, transports: [{{type: tcp, url: [127.0.0.1, {self.port}]}}]}}
  - name: thermometer
    class: Thermometer
    package: plug_in
    transports: [{{type: serial, url: {self.serial}, baudrate: 9600}}]
"""
        )

    @property
    def supply(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    arguments = ["-m", "sinstruments", "-c", "lab.yml"]
    with served(arguments, lambda: Path(lab.serial).exists() and listens(lab.port), tmp_path):
        yield lab


def driver(name: str, address: str, **config: Any) -> Any:
    cls = registry.resolve("drivers", name)
    return cls.make("meter", cls.Config.model_validate({"address": address} | config), RealClock())


def test_watts_of_a_supply(lab: Lab) -> None:
    with driver("scpi-power-meter", lab.supply) as meter:
        assert meter.identity == "Acme,PS-1,4711,1.0"
        assert meter.read() == {"power_w": 10.0}
        energy = EnergyMeter(meter, RealClock())
        energy.start()
        meter.tell("LOAD 4.0")
        assert energy.sample() == pytest.approx(15 * energy.longest_gap_s)
    with driver("scpi-power-meter", lab.supply, volts="MEAS:VOLT?", amps="MEAS:CURR?") as meter:
        assert meter.read() == {"power_w": 20.0, "voltage_v": 5.0, "current_a": 4.0}


def test_what_the_supply_does_not_know_is_explained_by_its_error_queue(lab: Lab) -> None:
    with driver("scpi-sensor", lab.supply, quantities={"flow": "MEAS:FLOW?"}) as sensor:
        sensor.link.timeout_s = 0.2
        with pytest.raises(InstrumentError) as caught:
            sensor.read()
        assert str(caught.value) == (
            f"meter ({lab.supply}): reports -113 \"Undefined header\" after 'MEAS:FLOW?'; check the settings under "
            "rig.meter"
        )


def test_a_late_answer_is_not_taken_for_the_next_ones(lab: Lab) -> None:
    both = {"slow": "SLOW?", "volts": "MEAS:VOLT?"}
    with driver("scpi-sensor", lab.supply, quantities=both) as sensor:
        sensor.link.timeout_s = 0.2
        with pytest.raises(LinkTimeout):
            sensor.read()
        sensor.link.timeout_s = 5.0
        assert sensor.asked({"volts": sensor.questions["volts"]}) == {"volts": 5.0}
        assert sensor.read() == {"slow": 9.75, "volts": 5.0}


def test_a_thermometer_on_a_serial_line(lab: Lab) -> None:
    with driver("scpi-sensor", lab.serial, **THERMOMETER) as sensor:
        assert sensor.identity == "Thermo 7"
        assert sensor.read() == {"t1": 21.5, "t2": 22.25}
        sensor.link.dirty = True
        assert sensor.read() == {"t1": 21.5, "t2": 22.25}


def test_nobody_understands_the_question_on_a_serial_line(lab: Lab) -> None:
    with driver("scpi-sensor", lab.serial, **THERMOMETER | {"quantities": {"t3": "T3"}}) as sensor:
        sensor.link.timeout_s = 0.2
        with pytest.raises(LinkTimeout) as caught:
            sensor.read()
    assert str(caught.value) == (
        f"meter ({lab.serial}): asked 'T3', waited 0.2 s for an answer that ends in b'\\r\\n', got nothing; check "
        "rig.meter.address and that it is ready, or raise rig.meter.timeout_s"
    )


def test_the_server_ends(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    sensor = driver("scpi-sensor", lab.supply, quantities={"volts": "MEAS:VOLT?"})
    with served(["-m", "sinstruments", "-c", "lab.yml"], lambda: listens(lab.port), tmp_path):
        sensor.open()
        assert sensor.read() == {"volts": 5.0}
    with pytest.raises(LinkClosed):
        sensor.read()
    sensor.drop()
