"""Our own driver of the analyser at INSTR resources, through pyvisa-py, with emulators behind HiSLIP and VXI-11."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from labtrain.clock import RealClock
from labtrain.drivers.emulators.serving import server as serve
from labtrain.drivers.emulators.serving.hislip import HislipOutlet
from labtrain.drivers.emulators.serving.vxi11 import Vxi11Outlet
from labtrain.drivers.emulators.vna.keysight_pna import KeysightPna as Emulated
from labtrain.drivers.scpi import ScpiError
from labtrain.drivers.vna.keysight_pna import KeysightPna
from labtrain.errors import LinkRefused
from labtrain.sim.microwave import MicrowaveParameters, MicrowaveWorld
from tests.drivers.emulators.serving.parrot import serving

CLOCK = RealClock()


@pytest.fixture(params=[HislipOutlet, Vxi11Outlet])
def outlet(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[HislipOutlet | Vxi11Outlet]:
    monkeypatch.setattr(serve, "POLL_S", 0.01)
    world = MicrowaveWorld(MicrowaveParameters(pixels=8, scatterers=2, length=5.0, width=4.0), seed=3)
    outlet: HislipOutlet | Vxi11Outlet = request.param("vna", Emulated(world, CLOCK), CLOCK)
    with serving(outlet):
        yield outlet


def driver(address: str) -> KeysightPna:
    return KeysightPna.make("vna", KeysightPna.Config(address=address), CLOCK)


def test_it_sweeps_and_leaves_no_error_behind(outlet: HislipOutlet | Vxi11Outlet) -> None:
    with driver(outlet.address) as vna:
        vna.configure(np.linspace(5.2e9, 5.6e9, 21))
        vna.rf(True)
        assert vna.sweep().shape == (1, 21)
        assert vna.emulated
        vna.check_errors()


@pytest.mark.parametrize(
    ("question", "unknown"), [("NOPE?", True), ("SENS1:SWE:POIN? 5 K", True), ("CALC9:DATA? SDATA", False)]
)
def test_a_question_that_is_not_known_is_told_from_one_that_failed(
    outlet: HislipOutlet | Vxi11Outlet, question: str, unknown: bool
) -> None:
    with driver(outlet.address) as vna:
        with pytest.raises(ScpiError) as told:
            vna.ask(question, timeout_s=0.1)
        assert told.value.not_understood is unknown  # over VXI-11 reading the answer was an error as well
        assert vna.ask("*OPT?") == "200"


def test_whoever_has_left_it_in_the_middle_of_an_answer_it_can_be_made_safe(
    outlet: HislipOutlet | Vxi11Outlet,
) -> None:
    first = driver(outlet.address)
    first.open()
    first.configure(np.linspace(5.2e9, 5.6e9, 21))
    first.rf(True)
    first.link.write(b"*IDN?\n")  # and is gone
    first.drop()
    second = driver(outlet.address)
    second.reach()
    second.safe()
    assert second.ask("OUTP?") == "0"
    second.drop()


def test_an_instrument_that_refuses_is_told_as_that(outlet: HislipOutlet | Vxi11Outlet) -> None:
    with driver(outlet.address):
        with pytest.raises(LinkRefused) as told:
            driver(outlet.address).open()
        elsewhere = outlet.address.replace("hislip0", "hislip3").replace("inst0", "inst3")
        with pytest.raises(LinkRefused) as wrong:
            driver(elsewhere).open()
    sentences = str(told.value), str(wrong.value)
    if isinstance(outlet, HislipOutlet):
        assert sentences == (
            f"vna ({outlet.address}): the instrument refuses (one client at a time); close other programs that use it, "
            "or correct rig.vna.address",
            f"vna ({elsewhere}): the instrument refuses (no hislip3 here, hislip0 alone); close other programs that "
            "use it, or correct rig.vna.address",
        )
    else:
        assert sentences == (
            f"vna ({outlet.address}): another program uses the instrument; close it",
            f"vna ({elsewhere}): the instrument has no device of this name; correct rig.vna.address",
        )
