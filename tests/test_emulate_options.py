"""Options of `labtrain emulate`: other transports and other drivers for an instrument, and what cannot be had."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from labtrain import experiment
from labtrain.config import Loaded, loads
from labtrain.emulate import Serving, emulate
from labtrain.emulate_options import Transport, load, parse_transports
from labtrain.errors import ConfigError, InputError
from labtrain.experiment import Experiment
from labtrain.registry import resolve
from labtrain.rigs.microwave import MicrowaveRig
from labtrain.sim.microwave import MicrowaveWorld

ROOT = Path(__file__).parents[1]
MICROWAVE = ROOT / "config" / "microwave.yaml"
DIALECTS = "keysight-ena, keysight-pna"  # in the middle of a list that grows


def listening(
    transports: dict[str, Transport], loaded: Loaded[Experiment] | None = None, ports: dict[str, int] | None = None
) -> Serving:
    told: list[Serving] = []
    loaded = loaded or experiment.load(MICROWAVE)
    emulate(loaded, told.append, transports=transports, ports=ports, stopped=lambda: True)
    return told[0]


# -- transports ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("transport", "before", "after"),
    [("hislip", "TCPIP::127.0.0.1::hislip0,", "::INSTR"), ("vxi11", "TCPIP::127.0.0.1,", "::inst0::INSTR")],
)
def test_the_resource_is_listed_once_and_written_as_the_address(transport: Transport, before: str, after: str) -> None:
    serving = listening({"vna": transport, "metasurface": "socket"})
    found = serving.addresses["vna"]
    assert list(found) == [transport, "visa"]
    address = found["visa"]
    assert address == found[transport]
    assert address.startswith(before)
    assert address.removeprefix(before).removesuffix(after).isdigit()
    assert serving.listing()[0] == f"vna: {address}"
    written = loads(serving.config, Experiment).value.model_dump()["rig"]
    assert written["vna"]["address"] == address
    assert written["metasurface"]["address"].startswith("socket://127.0.0.1:")


@pytest.mark.parametrize(
    ("transports", "ports", "sentence"),
    [
        (
            {"vna": "pty"}, {},
            "--transport vna=pty: the emulator of keysight-pna cannot be served so; it can be by: socket, hislip, ",
        ),
        (
            {"metasurface": "hislip"}, {},
            "--transport metasurface=hislip: the emulator of open-source-ris cannot be served so; it can be by: ",
        ),
        (
            {"vn": "hislip"}, {},
            "--transport vn: there is no such instrument (did you mean vna?); there are: vna, metasurface",
        ),
    ],
)  # fmt: skip
def test_a_transport_that_an_instrument_does_not_have(
    transports: dict[str, Transport], ports: dict[str, int], sentence: str
) -> None:
    with pytest.raises(InputError) as told:
        listening(transports, ports=ports)
    assert str(told.value).startswith(sentence)


def test_a_terminal_has_no_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labtrain.emulate.sys.platform", "linux")
    with pytest.raises(InputError) as told:
        listening({"metasurface": "pty"}, ports={"metasurface": 5000})
    assert str(told.value) == (
        "--port metasurface=5000: a pseudo-terminal has no port; leave it out, or --transport metasurface=pty"
    )


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        (
            "vna=hislp",
            "--transport vna=hislp: needs the form vna=hislip (did you mean hislip?); there are: socket, hislip, "
            "vxi11, pty",
        ),
        ("vna", "--transport vna: needs the form vna=hislip; there are: socket, hislip, vxi11, pty"),
    ],
)
def test_a_transport_that_there_is_not(option: str, sentence: str) -> None:
    with pytest.raises(InputError) as told:
        parse_transports([option])
    assert str(told.value) == sentence
    assert parse_transports(["vna=vxi11", "metasurface=pty"]) == {"vna": "vxi11", "metasurface": "pty"}


def test_hislip_needs_an_address_of_ipv4() -> None:
    with pytest.raises(InputError) as told:
        emulate(experiment.load(MICROWAVE), lambda _: None, host="::1", transports={"vna": "hislip"})
    assert str(told.value) == "--host ::1: VISA resources of hislip have no IPv6 addresses; give one of IPv4"


def test_what_stands_in_for_a_library_cannot_be_served(monkeypatch: pytest.MonkeyPatch) -> None:
    emulators = MicrowaveRig.emulators

    def with_one_of_a_library(rig: MicrowaveRig, world: MicrowaveWorld) -> dict[str, Any]:
        return {**emulators(rig, world), "metasurface": object()}

    monkeypatch.setattr(MicrowaveRig, "emulators", with_one_of_a_library)
    with pytest.raises(InputError) as told:
        listening({})
    assert str(told.value) == (
        "rig.metasurface.driver: what stands in for the library of open-source-ris is in this process alone and cannot "
        "be served; take a driver that speaks bytes, with --dialect metasurface=DRIVER"
    )


# -- dialects --------------------------------------------------------------------------------------------------------


def test_another_driver_takes_the_place_of_the_configured_one() -> None:
    loaded = load(MICROWAVE, ["rig.vna.if_bandwidth_hz=300"], ["vna=keysight-ena"])
    given = experiment.load(MICROWAVE, ["rig.vna.if_bandwidth_hz=300", "rig.vna.driver=keysight-ena"])
    assert loaded.value == given.value
    serving = listening({"vna": "hislip"}, loaded)
    written = loads(serving.config, Experiment).value.model_dump()["rig"]["vna"]
    assert (written["driver"], written["if_bandwidth_hz"]) == ("keysight-ena", 300)


def refused(*dialects: str, config: Path = MICROWAVE) -> str:
    with pytest.raises((InputError, ConfigError)) as told:
        load(config, [], dialects)
    return str(told.value)


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("vna=keysight-pma", "there is no driver 'keysight-pma' (did you mean keysight-pna?)"),
        ("vna=open-source-ris", "open-source-ris is for another kind of instrument than keysight-pna"),
        ("vna=audio", "audio is for another kind of instrument than keysight-pna"),
    ],
)
def test_a_driver_that_cannot_take_its_place(option: str, sentence: str) -> None:
    told = refused(option)
    assert told.startswith(f"--dialect {option}: {sentence}; there are: ")
    assert DIALECTS in told
    assert "open-source-ris" not in told.partition("; there are: ")[2]


def test_what_stands_in_for_a_library_is_not_offered() -> None:
    told, _, offered = refused("metasurface=vendor-example").partition("; there are: ")
    assert told == (
        "--dialect metasurface=vendor-example: what stands in for the library of vendor-example cannot be served to "
        "other programs"
    )
    assert "vendor-example" not in offered and "openris" in offered


def test_a_driver_without_an_emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolve("drivers", "keysight-ena"), "EMULATOR", "")
    assert refused("vna=keysight-ena").startswith(
        "--dialect vna=keysight-ena: there is no emulator for keysight-ena; there are: "
    )


def test_mistakes_in_the_option() -> None:
    assert refused("vna") == "--dialect vna: needs the form vna=keysight-pna, the name of a driver"
    assert refused("vn=keysight-ena") == (
        "--dialect vn: there is no such instrument (did you mean vna?); there are: vna, metasurface"
    )
    acoustic = ROOT / "config" / "acoustic.yaml"
    assert refused("vna=keysight-ena", config=acoustic) == (
        f"--dialect vna=keysight-ena: the rig of {acoustic} has no instruments with a driver to replace"
    )


def test_keys_that_the_other_driver_does_not_know_are_named_with_their_line(tmp_path: Path) -> None:
    config = tmp_path / "lab.yaml"
    text = MICROWAVE.read_text(encoding="utf-8")
    config.write_text(text.replace("    n_pixels: 40", "    n_pixels: 40\n    serial_number: 7"), encoding="utf-8")
    line = next(
        n for n, row in enumerate(config.read_text(encoding="utf-8").splitlines(), 1) if "serial_number:" in row
    )
    told = refused("metasurface=openris", config=config).splitlines()
    assert told == [
        f"lab.yaml:{line}: rig.metasurface.serial_number: a key of latched-board and open-source-ris, not of openris; "
        "delete it"
    ]
