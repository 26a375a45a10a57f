"""What is connected: all that can be listed, nobody asked who was not meant to be, a note instead of a traceback."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from labtrain import backends, devices, discover, riglock
from labtrain.cli_devices import discovered, width_of
from labtrain.clock import RealClock, SimulatedClock
from labtrain.devices import Found
from labtrain.discover import Asking, addresses_of, together
from labtrain.drivers.address import parse_address
from labtrain.drivers.emulators.metasurface.open_source_ris import OpenSourceRisEmulator
from labtrain.errors import InputError
from labtrain.riglock import InstrumentLock
from tests.drivers.servers import Script, tcp_server
from tests.surfaces import Pixels

PNA = "Keysight Technologies,N5222B,EMULATOR,A.13.95.09"
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs pseudo terminals")

SIM = r"""
spec: "1.1"
devices:
  pna:
    eom: {GPIB INSTR: {q: "\n", r: "\n"}}
    dialogues: [{q: "*IDN?", r: "PNA"}]
  old:
    eom: {GPIB INSTR: {q: "\n", r: "\n"}}
    dialogues: [{q: "ID", r: "HP8510C"}]
  port:
    eom: {ASRL INSTR: {q: "\n", r: "\n"}}
    dialogues: [{q: "*IDN?", r: "Acme,T,1,1"}]
resources:
  GPIB0::16::INSTR: {device: pna}
  GPIB0::17::INSTR: {device: old}
  ASRL7::INSTR: {device: port}
""".replace('"PNA"', f'"{PNA}"')


@pytest.fixture(autouse=True)
def nothing_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither this computer's own devices nor its locks."""
    monkeypatch.setattr("serial.tools.list_ports.comports", list)
    monkeypatch.setattr(devices, "sound_devices", list)
    monkeypatch.setattr(devices, "ni_devices", list)
    monkeypatch.setattr(riglock, "lock_folder", lambda: tmp_path / "locks")


@pytest.fixture
def sim(tmp_path: Path) -> str:
    """A VISA library with two instruments on GPIB, one of which knows no ``*IDN?``, and one on a serial port."""
    pytest.importorskip("pyvisa_sim", reason='pyvisa-sim is not installed; run: pip install -e ".[peers]"')
    (tmp_path / "lab.yaml").write_text(SIM)
    return f"{tmp_path / 'lab.yaml'}@sim"


@pytest.fixture
def without_visa(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "visa_resources", lambda library: [])


def looked(**asking: Any) -> dict[str, Found]:
    found, remarks = discover.discover(Asking(**{"timeout_s": 5.0} | asking))
    assert remarks == []
    return {device.address: device for device in found}


class Line:
    """A serial port (a pseudo terminal) with an emulator behind it."""

    def __init__(self, emulator: Any) -> None:
        import tty

        self.device, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.name, self.heard = os.ttyname(self._slave), b""
        threading.Thread(target=self._serve, args=(emulator,), daemon=True).start()

    def _serve(self, emulator: Any) -> None:
        emulator.connected()
        while heard := os.read(self.device, 4096):
            self.heard += heard
            for _, data in emulator.receive(heard):
                os.write(self.device, data or b"")


def port(device: str, **known: Any) -> SimpleNamespace:
    nothing = dict.fromkeys(("description", "manufacturer", "vid", "pid", "serial_number", "product"))
    return SimpleNamespace(device=device, **nothing | known)


# -- VISA --------------------------------------------------------------------------------------------------------


def test_visa_resources_are_asked_who_they_are(sim: str) -> None:
    found = looked(visa=sim, timeout_s=0.2)["GPIB0::16::INSTR"]
    assert (found.told, found.drivers, found.answered, found.note) == (PNA, ("keysight-pna",), True, "")
    assert found.lines() == ["driver: keysight-pna", "address: GPIB0::16::INSTR", f"visa: {sim}"]


def test_one_that_does_not_answer_is_listed_with_the_reason(sim: str) -> None:
    found = looked(visa=sim, timeout_s=0.2)["GPIB0::17::INSTR"]
    assert (found.told, found.drivers, found.answered) == ("", (), False)
    assert found.note == "waited 0.2 s for an answer that ends in b'\\n', got nothing"
    assert found.lines() == []


def test_serial_resources_of_visa_are_not_asked_unless_that_is_wanted(sim: str) -> None:
    found = looked(visa=sim, timeout_s=0.2)["ASRL7::INSTR"]
    assert not found.answered
    assert found.note == "not asked; --ask-serial does, which may reset or move what is connected"
    assert looked(visa=sim, timeout_s=0.2, serial=True)["ASRL7::INSTR"].told == "Acme,T,1,1"


def test_a_library_that_there_is_not_is_a_remark(monkeypatch: pytest.MonkeyPatch) -> None:
    found, remarks = discover.discover(Asking(visa="/nowhere/libvisa.so"))
    assert found == []
    (remark,) = remarks
    assert remark.startswith("VISA resources are not listed, library /nowhere/libvisa.so says: ")


def test_interfaces_are_no_instruments(monkeypatch: pytest.MonkeyPatch) -> None:
    manager = SimpleNamespace(list_resources=lambda query: ("GPIB0::INTFC", "GPIB0::3::INSTR", "GPIB0::3::INSTR"))
    monkeypatch.setattr("pyvisa.ResourceManager", lambda library: manager)
    assert devices.visa_resources("@py") == [Found("VISA", "GPIB0::3::INSTR")]


def test_a_serial_port_is_listed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: [port("/dev/ttyUSB7")])
    monkeypatch.setattr(devices, "visa_resources", lambda library: [Found("VISA", "ASRL/dev/ttyUSB7::INSTR")])
    assert [device.kind for device in looked().values()] == ["serial"]


# -- hosts -------------------------------------------------------------------------------------------------------


def test_an_address_that_is_given_is_asked(without_visa: None) -> None:
    script = Script({"*IDN?": [(0.0, PNA.encode() + b"\n")]})
    with tcp_server(script) as server:
        address = f"tcp://127.0.0.1:{server.port}"
        for host in (address, f"127.0.0.1:{server.port}"):
            found = looked(hosts=[host])[address]
            assert (found.told, found.drivers) == (PNA, ("keysight-pna",))
            assert found.lines() == ["driver: keysight-pna", f"address: {address}"]
    assert script.heard == ["*IDN?"] * 2


def test_a_host_without_a_port_is_tried_where_instruments_listen(
    without_visa: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discover, "VISA_FORMS", ())
    with tcp_server(Script({"*IDN?": [(0.0, b"Acme,X,1,1\n")]})) as server:
        monkeypatch.setattr(discover, "PORTS", {server.port: "", 1: ""})
        found = looked(hosts=["127.0.0.1"])
    assert list(found) == [f"tcp://127.0.0.1:{server.port}"]  # the closed port is not worth a line
    monkeypatch.setattr(discover, "PORTS", {1: "", 2: ""})
    (nobody,) = looked(hosts=["127.0.0.1"]).values()
    assert (nobody.address, nobody.note) == (
        "127.0.0.1", "nobody answers at tcp://127.0.0.1:1, tcp://127.0.0.1:2",
    )  # fmt: skip


def test_answers_of_all_sorts(without_visa: None) -> None:
    """A message without an end, a greeting, silence, one that hangs up: a line each."""
    scripts = [
        Script({"*IDN?": [(0.0, b"Acme,endless,1,1")]}),
        Script({"*IDN?": [(0.0, b"Acme,odd\xff,1,1\r\n")]}),
        Script(),
        Script({"*IDN?": [(0.0, None)]}),
    ]
    servers = [tcp_server(script) for script in scripts]
    ports = [server.__enter__().port for server in servers]
    found = looked(hosts=[f"127.0.0.1:{p}" for p in ports], timeout_s=0.3)
    told = [(device.told, device.note) for device in found.values()]
    for server in servers:
        server.__exit__(None, None, None)
    assert told == [
        ("Acme,endless,1,1", ""),
        ("Acme,odd\\xff,1,1", ""),
        ("", "waited 0.3 s for an answer that ends in b'\\n', got nothing"),
        ("", "the instrument closed the connection; check whether it still runs"),
    ]


@pytest.mark.parametrize(
    ("host", "addresses"),
    [
        ("10.0.0.5:5025", ["tcp://10.0.0.5:5025"]),
        ("[fe80::1]:5025", ["tcp://[fe80::1]:5025"]),
        ("TCPIP::10.0.0.5::INSTR", ["TCPIP::10.0.0.5::INSTR"]),
        ("/dev/ttyUSB0", ["/dev/ttyUSB0"]),
        ("usb-lab.example.org:1000", ["tcp://usb-lab.example.org:1000"]),
    ],
)
def test_forms_of_hosts(host: str, addresses: list[str]) -> None:
    assert addresses_of(host) == addresses


@pytest.mark.parametrize("host", ["sim", "GPIB0", "10.0.0.5:99999", "a b", "http://10.0.0.5", "10.0.0.5:"])
def test_what_is_no_host(host: str) -> None:
    with pytest.raises(InputError, match="--host"):
        addresses_of(host)
        assert host == "GPIB0", "taken for the name of a host"
        raise InputError("--host")


# -- serial ports ------------------------------------------------------------------------------------------------


def test_serial_ports_with_what_usb_tells_of_them(without_visa: None, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"description": "FT231X", "manufacturer": "FTDI", "vid": 0x0403, "pid": 0x6015, "serial_number": "DK0"}
    ports = [port("/dev/ttyUSB9", **known), port("/dev/ttyS0", description="n/a")]
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: ports)
    plain, usb = looked().values()
    assert (plain.address, plain.told, plain.drivers) == ("/dev/ttyS0", "", ())
    assert (usb.told, usb.usb) == ("FT231X, by FTDI, USB 0403:6015, serial number DK0", (0x0403, 0x6015))
    assert "--ask-serial" in usb.note


def test_usb_ids_name_the_driver(without_visa: None, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = devices.instrument_drivers()["open-source-ris"]
    monkeypatch.setattr(driver, "USB_IDS", ((0x1234, 0x5678),))
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: [port("COM7", vid=0x1234, pid=0x5678)])
    (found,) = looked().values()
    assert found.drivers == ("open-source-ris",)
    assert found.lines() == ["driver: open-source-ris", "address: COM7"]


@posix
def test_a_serial_port_is_told_nothing_unless_that_is_wanted(
    without_visa: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = Line(Script({"*IDN?": [(0.0, b"Acme,T,1,1\n")]}))
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: [port(line.name)])
    assert not looked()[line.name].answered
    assert line.heard == b""
    for asking in ({"serial": True}, {"hosts": [line.name]}):
        assert looked(**asking)[line.name].told == "Acme,T,1,1"
    assert line.heard == b"*IDN?\n" * 2


@posix
def test_a_driver_may_ask_in_its_own_way(without_visa: None, monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line(OpenSourceRisEmulator(Pixels(256), SimulatedClock(), serial_number=12))
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: [port(line.name, description="FT231X")])
    found = looked(serial=True, trying=["open-source-ris"])[line.name]
    assert found.told == "FT231X; OpenSourceRIS, serial number 12"
    assert (found.drivers, found.answered) == (("open-source-ris",), True)
    assert b"!" not in line.heard, "nothing was set"


@posix
def test_with_try_alone_that_driver_alone_asks(without_visa: None, monkeypatch: pytest.MonkeyPatch) -> None:
    board = Line(OpenSourceRisEmulator(Pixels(256), SimulatedClock(), serial_number=12))
    stage = Line(Script({"*IDN?": [(0.0, b"Acme,T,1,1\n")]}))
    here: list[Any] = []
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: here)
    here[:] = [port(board.name, vid=0x0483, pid=0x5740)]  # the ids of another driver's instrument
    assert looked(trying=["open-source-ris"])[board.name].told.endswith("OpenSourceRIS, serial number 12")
    here[:] = [port(stage.name, vid=0x0483, pid=0x5740)]
    found = looked(trying=["open-source-ris"], timeout_s=0.1)[stage.name]
    assert found.note == "no answer to open-source-ris; --ask-serial asks *IDN? too"
    assert b"*IDN?" not in board.heard + stage.heard


NEXT = (
    "--baud N asks at another speed than 9600, --try DRIVER lets a driver ask in its own way (labtrain drivers lists "
    "them)"
)


@posix
@pytest.mark.parametrize(
    ("answers", "told", "note"),
    [
        ([], "", f"waited 0.1 s for an answer that ends in b'\\n', got nothing; {NEXT}"),
        ([(0.0, b"\xfe\xfd,\xf0\n")], "\\xfe\\xfd,\\xf0", f"no answer to *IDN?; {NEXT}"),
        ([(0.0, b"what?\n")], "what?", f"no answer to *IDN?; {NEXT}"),
        ([(0.0, b"Acme,T,1,1\n")], "Acme,T,1,1", ""),
    ],
)
def test_a_serial_port_without_a_good_answer_names_the_next_step(
    without_visa: None, monkeypatch: pytest.MonkeyPatch, answers: list[Any], told: str, note: str
) -> None:
    line = Line(Script({"*IDN?": answers}))
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: [port(line.name)])
    found = looked(serial=True, baud=9600, timeout_s=0.1 if not answers else 5.0)[line.name]
    assert (found.told, found.note) == (told, note)


def test_only_drivers_of_serial_ports_may_try() -> None:
    with pytest.raises(InputError) as caught:
        discover.discover(Asking(trying=["keysight-pna"]))
    assert str(caught.value).startswith("--try keysight-pna: that driver is for no serial port; those that are: ")
    with pytest.raises(InputError, match="unknown driver 'none'"):
        discover.discover(Asking(trying=["none"]))


# -- in use ------------------------------------------------------------------------------------------------------


def test_an_instrument_in_use_is_left_alone(without_visa: None) -> None:
    script = Script({"*IDN?": [(0.0, PNA.encode() + b"\n")]})
    with tcp_server(script) as server:
        address = f"tcp://127.0.0.1:{server.port}"
        canonical = parse_address(address, "").canonical
        with InstrumentLock("vna", address, RealClock(), canonical=canonical):
            found = looked(hosts=[address])[address]
        assert looked(hosts=[address])[address].told == PNA
    assert (found.told, found.answered) == ("", False)
    assert found.note.startswith(f"in use by process {os.getpid()} (")
    assert found.note.endswith("); not asked")
    assert script.heard == ["*IDN?"]


def test_a_sound_card_in_use_says_by_whom(without_visa: None, monkeypatch: pytest.MonkeyPatch) -> None:
    card = Found("sound", "Scarlett 4i4 USB", "ALSA", ("audio",), {"host_api": "ALSA"})
    monkeypatch.setattr(devices, "sound_devices", lambda: [card])
    with InstrumentLock("audio", "scarlett", RealClock(), canonical="audio:/scarlett"):
        assert looked()[card.address].note.startswith(f"in use by process {os.getpid()} (")
    assert looked()[card.address].note == ""


# -- sound and NI ------------------------------------------------------------------------------------------------


def test_sound_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    module = ModuleType("sounddevice")
    device = {"index": 0, "name": "Scarlett: 4i4", "hostapi": 0, "max_output_channels": 4, "max_input_channels": 6,
              "default_samplerate": 48000.0}  # fmt: skip
    vars(module).update(
        query_hostapis=lambda: [{"name": "ALSA"}], query_devices=lambda: [device], PortAudioError=OSError
    )
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    (found,) = devices.sound_devices()
    assert found.told == "ALSA, 4 outputs, 6 inputs, 48000 Hz"
    assert found.lines() == ["driver: audio", "device: 'Scarlett: 4i4'", "host_api: ALSA"]


def test_ni_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    errors, system = ModuleType("nidaqmx.errors"), ModuleType("nidaqmx.system")
    Error = type("Error", (Exception,), {})
    vars(errors).update(Error=Error, DaqError=type("DaqError", (Error,), {}))
    box = SimpleNamespace(name="cDAQ1Mod1", product_type="NI 9234")
    vars(system).update(System=SimpleNamespace(local=lambda: SimpleNamespace(devices=[box])))
    monkeypatch.setitem(sys.modules, "nidaqmx.errors", errors)
    monkeypatch.setitem(sys.modules, "nidaqmx.system", system)
    assert devices.ni_devices()[0].lines() == ["driver: nidaqmx", "device: cDAQ1Mod1"]

    def missing() -> None:
        raise Error("no library")

    vars(system).update(System=SimpleNamespace(local=missing))
    assert devices.ni_devices() == []


# -- ways that are missing ---------------------------------------------------------------------------------------


def test_ways_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "find_spec", lambda name: None)
    monkeypatch.setattr(backends, "_system_visa", list)
    monkeypatch.setattr(sys, "platform", "linux")
    told = {lack.what: lack.how for lack in backends.missing()}
    assert told == {
        "pyusb": "python -m pip install pyusb",
        "gpib-ctypes": "python -m pip install gpib-ctypes",
        "zeroconf": "python -m pip install zeroconf",
        "a system's VISA library": "get NI-VISA, Keysight IO Libraries or R&S VISA from its maker",
        "sounddevice": "python -m pip install sounddevice",
        "JACK-Client": 'python -m pip install "labtrain[jack]"',
        "nidaqmx": 'python -m pip install "labtrain[daq]"',
        "slmsuite": 'python -m pip install "labtrain[optics]"',
    }


def test_packages_without_their_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(f"{name}: no library")

    monkeypatch.setattr(backends, "find_spec", lambda name: object())
    monkeypatch.setattr(backends, "import_module", missing)
    monkeypatch.setattr(backends, "_system_visa", lambda: ["/usr/lib/libvisa.so"])
    monkeypatch.setattr(sys, "platform", "linux")
    told = {lack.what: lack.how for lack in backends.missing()}
    assert told["PortAudio"] == "apt install libportaudio2"
    assert list(told) == ["libusb", "PortAudio", "JACK's library", "NI-DAQmx"]


def test_nothing_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "find_spec", lambda name: object())
    monkeypatch.setattr(backends, "_found", lambda look: True)
    assert backends.missing() == []


# -- all at once -------------------------------------------------------------------------------------------------


def test_what_hangs_holds_up_nobody() -> None:
    forever, told = threading.Event(), []
    jobs = {"quick": lambda: 1, "hangs": forever.wait, "fails": lambda: 1 // 0}
    results = together(jobs, 0.2, lambda done, of: told.append((done, of)))  # type: ignore[arg-type]
    forever.set()
    assert results["quick"] == 1
    assert isinstance(results["hangs"], TimeoutError) and str(results["hangs"]) == "not done within 0.2 s"
    assert isinstance(results["fails"], ZeroDivisionError)
    assert told[-1] == (2, 3)


def test_a_listing_that_fails_is_a_remark(without_visa: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> list[Found]:
        raise RuntimeError("odd")

    monkeypatch.setattr(devices, "sound_devices", broken)
    assert discover.discover(Asking()) == ([], ["sound devices are not listed: RuntimeError('odd')"])


def test_a_listing_that_hangs_says_who_did_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    forever = threading.Event()
    monkeypatch.setattr(discover, "LIST_S", 0.05)
    monkeypatch.setattr(devices, "visa_resources", lambda library: forever.wait() and [])
    assert discover.discover(Asking())[1] == ["VISA devices are not listed: pyvisa-py did not answer within 0.05 s"]
    assert discover.discover(Asking(visa="/opt/libvisa.so"))[1] == [
        "VISA devices are not listed: /opt/libvisa.so did not answer within 0.05 s"
    ]
    forever.set()


# -- the command -------------------------------------------------------------------------------------------------


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"COLUMNS": "300", "PYTHONWARNINGS": "error::DeprecationWarning:labtrain"}
    line = [sys.executable, "-m", "labtrain", "discover", *arguments]
    return subprocess.run(line, capture_output=True, text=True, check=False, env=environment)


def test_the_command_prints_a_table_and_lines_to_copy() -> None:
    long = PNA.replace("EMULATOR", "EMULATOR" + "0" * 80)
    with tcp_server(Script({"*IDN?": [(0.0, long.encode() + b"\n")]})) as server:
        done = command("--host", f"127.0.0.1:{server.port}")
        listed = command("--host", f"127.0.0.1:{server.port}", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert f"  driver: keysight-pna\n  address: tcp://127.0.0.1:{server.port}\n" in done.stdout
    found = json.loads(listed.stdout)
    (mine,) = [device for device in found["devices"] if device["kind"] == "network"]
    assert (mine["told"], mine["drivers"], mine["note"]) == (long, ["keysight-pna"], "")
    assert mine["yaml"] == ["driver: keysight-pna", f"address: tcp://127.0.0.1:{server.port}"]
    assert {"what", "reaches", "how"} == set().union(*found["missing"]) or not found["missing"]


def printed(found: list[Found], *, missing: int = 0, tell_missing: bool = False, width: int = 80) -> str:
    lacking = [backends.Missing(f"way {n}", "instruments", "get it") for n in range(missing)]
    console = Console(width=max(width, width_of(found)), record=True, file=io.StringIO())
    for part in discovered(found, [], lacking, tell_missing):
        console.print(part)
    return console.export_text()


def test_addresses_are_never_broken() -> None:
    address = "/dev/serial/by-id/usb-FTDI_FT231X_USB_UART_" + "0" * 60 + "-if00-port0"
    found = Found("serial", address, "told " * 30, ("arduino-shift-register",), note="x" * 90)
    told = printed([found])
    assert len(re.findall(rf"^serial +{address} ", told, re.MULTILINE)) == 1
    assert told.endswith(f"\n  driver: arduino-shift-register\n  address: {address}\n")
    assert re.search(r"^serial .* arduino-shift-register *$", told, re.MULTILINE)


def test_ways_that_are_missing_are_one_line_unless_asked_for() -> None:
    card = Found("sound", "Card")
    assert printed([card], missing=6).endswith(
        "\n6 ways to instruments are missing here: labtrain discover --missing\n"
    )
    assert printed([card], missing=1).endswith("\n1 way to instruments is missing here: labtrain discover --missing\n")
    assert "missing" not in printed([card])
    told = printed([card], missing=2, tell_missing=True)
    assert "way 1" in told and "get it" in told and "--missing" not in told


def test_the_command_tells_what_is_missing() -> None:
    done = command("--missing")
    assert (done.returncode, done.stderr) == (0, "")
    assert "labtrain discover --missing" not in done.stdout
    assert not backends.missing() or "ways to instruments that are missing here:" in done.stdout


def test_a_mistake_is_one_sentence() -> None:
    done = command("--host", "gopher://10.0.0.5")
    assert done.returncode == 2
    assert done.stderr.startswith("labtrain: --host is 'gopher://10.0.0.5', an address of an unknown form")
    assert "Traceback" not in done.stderr


def test_several_drivers_that_fit_are_all_told() -> None:
    assert Found("VISA", "a", drivers=("x", "y", "z")).lines() == ["driver: x  # or y, z", "address: a"]
