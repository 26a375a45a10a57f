"""lewis' simulated Julabo bath, as it comes from PyPI, as an instrument of our drivers.

Its protocol is not SCPI: questions end in a carriage return, answers in CRLF, and what it does not know it leaves
unanswered. The bath is one of those that ESS and ISIS simulate for their control systems.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labtrain import registry
from labtrain.clock import RealClock
from labtrain.drivers.address import make_link
from labtrain.drivers.link import Link
from labtrain.drivers.sensors.scpi_sensor import ScpiSensor
from labtrain.errors import InstrumentError, LinkTimeout
from tests.peers.serving import free_port, listens, served

pytest.importorskip("lewis", reason='lewis is not installed; run: pip install -e ".[peers]"')

BATH = {
    "identify": "VERSION",
    "ieee_488": False,
    "question_end": "\r",
    "answer_end": "\r\n",
    "quantities": {
        "bath_c": {"ask": "IN_PV_00", "unit": "°C", "allowed": [20.0, 23.0]},
        "outside_c": {"ask": "IN_PV_01", "unit": "°C"},
        "heating_percent": "IN_PV_02",
    },
}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a bath, which is the same for all tests of this file."""
    folder: Path = tmp_path_factory.mktemp("lewis")
    port = free_port()
    options = f"julabo-version-1: {{bind_address: 127.0.0.1, port: {port}}}"
    code = "import sys; from lewis.scripts.run import run_simulation; sys.exit(run_simulation())"
    with served(["-c", code, "julabo", "-p", options], lambda: listens(port), folder):
        yield f"tcp://127.0.0.1:{port}"


def bath(address: str, **more: Any) -> ScpiSensor:
    cls = registry.resolve("drivers", "scpi-sensor")
    config = cls.Config.model_validate(BATH | {"address": address, "timeout_s": 5.0} | more)
    made: ScpiSensor = cls.make("bath", config, RealClock())
    return made


@pytest.fixture
def link(address: str) -> Iterator[Link]:
    with make_link("talk", address, RealClock(), timeout_s=5.0) as link:
        yield link


def test_it_is_read(address: str) -> None:
    with bath(address, model="julabo") as sensor:
        assert sensor.identity == "JULABO FP50_MH Simulator, ISIS"
        readings = sensor.read()
        assert readings == {"bath_c": 24.0, "outside_c": 26.0, "heating_percent": 5.0}
        assert sensor.outside(readings) == {"bath_c": "bath_c is 24 °C, allowed 20 °C to 23 °C"}


def test_what_it_does_not_know_it_leaves_unanswered(address: str) -> None:
    with bath(address, quantities={"humidity": "IN_HUM", "bath_c": "IN_PV_00"}) as sensor:
        sensor.link.timeout_s = 0.2
        with pytest.raises(LinkTimeout) as caught:
            sensor.read()
        assert str(caught.value).startswith(f"bath ({address}): asked 'IN_HUM', waited 0.2 s for an answer")
        sensor.link.timeout_s = 5.0
        assert sensor.asked({"bath_c": sensor.questions["bath_c"]}) == {"bath_c": 24.0}


def test_an_answer_that_is_no_number(address: str) -> None:
    with bath(address, quantities={"bath_c": "STATUS"}) as sensor, pytest.raises(InstrumentError) as caught:
        sensor.read()
    assert str(caught.value) == (
        f"bath ({address}): asked 'STATUS' for the number of bath_c, got 'Hello from the simulated Julabo'; check that "
        "the driver fits the instrument"
    )


def test_answers_under_way_are_not_taken_for_readings(address: str) -> None:
    with bath(address) as sensor:
        sensor.link.send_anyway(b"IN_PV_01\rIN_PV_01\rVERSION\rIN_PV_01\r")
        assert sensor.read()["bath_c"] == 24.0
        assert sensor.read()["bath_c"] == 24.0


def test_a_plain_link_sets_a_point_and_reads_it_back(link: Link) -> None:
    link.write(b"OUT_SP_00 25.5\r")
    assert link.read_until(b"\r\n") == b"\r\n"
    link.write(b"IN_SP_00\r")
    assert link.read_until(b"\r\n") == b"25.5\r\n"


def test_half_a_question_is_none(link: Link) -> None:
    link.write(b"IN_SP")
    assert link.drain() == b""
    link.write(b"_02\r")
    assert link.read_until(b"\r\n") == b"0.0\r\n"
