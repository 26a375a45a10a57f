"""Addresses: every known form makes its link, spellings of one connector are one, and what is unknown is told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from labtrain.clock import RealClock
from labtrain.drivers.address import make_link, parse_address
from labtrain.errors import InputError
from tests.drivers.servers import Script

USB = "USB0::0x2A8D::0x0001::MY1::0::INSTR"


@pytest.mark.parametrize(
    ("text", "transport", "real"),
    [
        ("sim", "memory", False),
        ("tcp://10.0.0.5:5025", "tcp", True),
        ("tcp://[::1]:5025", "tcp", True),
        ("COM3", "serial", True),
        (r"\\.\COM12", "serial", True),
        ("/dev/ttyUSB0", "serial", True),
        ("/dev/cu.usbserial-1410", "serial", True),
        ("socket://10.0.0.5:4001", "serial", True),
        ("rfc2217://10.0.0.5:4001", "serial", True),
        ("TCPIP::10.0.0.5::5025::SOCKET", "visa", True),
        ("TCPIP::10.0.0.5::hislip0::INSTR", "visa", True),
        ("TCPIP0::vna.lab", "visa", True),
        ("GPIB0::16::INSTR", "visa", True),
        ("GPIB::16", "visa", True),
        (USB, "visa", True),
        ("ASRL3::INSTR", "visa", True),
        ("ASRL/dev/ttyUSB0::INSTR", "visa", True),
    ],
)
def test_known_forms(text, transport, real):
    found = parse_address(text, "rig.vna.address")
    assert (found.transport, found.real) == (transport, real)
    kinds = {"memory": "MemoryLink", "tcp": "TcpLink", "serial": "SerialLink", "visa": "VisaLink"}
    link = make_link("vna", text, RealClock(), emulator=Script())
    assert (type(link).__name__, link.address, link.is_open) == (kinds[transport], text, False)


@pytest.mark.parametrize(
    "spellings",
    [
        ["sim"],
        [
            "tcp://10.0.0.5:5025",
            "TCPIP::10.0.0.5::5025::SOCKET",
            "tcpip0::10.0.0.5::5025::socket",
            "socket://10.0.0.5:5025",
        ],
        ["tcp://VNA.lab:5025", "TCPIP0::vna.LAB::5025::SOCKET"],
        ["tcp://localhost:5025", "TCPIP::127.0.0.1::5025::SOCKET"],
        ["tcp://10.0.0.5:5026"],
        ["rfc2217://10.0.0.5:5025", "rfc2217://10.0.0.5:5025?timeout=3"],
        ["TCPIP::10.0.0.5::INSTR", "TCPIP0::10.0.0.5::inst0::INSTR", "tcpip::10.0.0.5"],
        ["TCPIP::10.0.0.5::hislip0::INSTR", "TCPIP1::10.0.0.5::HiSLIP0,4880::INSTR"],
        ["TCPIP::localhost::hislip0,5000::INSTR", "TCPIP0::127.0.0.1::hislip0,5000"],
        ["TCPIP::localhost,5000::INSTR", "TCPIP0::127.0.0.1,5000::inst0::INSTR"],
        ["GPIB::16", "GPIB0::16::INSTR", "gpib0::16::instr"],
        ["GPIB1::16::INSTR"],
        ["COM3", "com3", r"\\.\COM3", "ASRL3::INSTR", "ASRLCOM3::INSTR"],
        ["COM4"],
        [USB, "USB::0x2A8D::0x0001::MY1", "usb0::0x2a8d::0x0001::my1::instr"],
        ["/dev/ttyUSB0", "/dev/./ttyUSB0", "ASRL/dev/ttyUSB0::INSTR"],
    ],
)
def test_spellings_of_one_connector(spellings):
    here = {parse_address(text, "x").canonical for text in spellings}
    assert len(here) == 1
    ALL.setdefault(here.pop(), spellings[0])
    assert ALL[parse_address(spellings[0], "x").canonical] == spellings[0]


ALL: dict[str, str] = {}  # canonical -> first spelling: two connectors are never one


@pytest.mark.skipif(sys.platform == "win32", reason="needs real hardware: ports have one name on Windows")
def test_a_port_by_its_link(tmp_path):
    port = tmp_path / "ttyUSB0"
    port.touch()
    by_id = tmp_path / "usb-FTDI_FT231X-if00-port0"
    by_id.symlink_to(port)
    assert parse_address(str(by_id), "x").canonical == parse_address(str(port), "x").canonical == str(port)


KNOWN = (
    "known are sim, tcp://10.0.0.5:5025, a serial port (COM3, /dev/ttyUSB0), socket://host:port, rfc2217://host:port, "
    "or a VISA resource (TCPIP::10.0.0.5::5025::SOCKET, TCPIP::10.0.0.5::hislip0::INSTR, TCPIP::10.0.0.5::INSTR, "
    "GPIB0::16::INSTR, USB0::0x2A8D::0x0001::MY1::INSTR, ASRL3::INSTR)"
)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        *(
            (text, f"rig.vna.address is {text!r}, an address of an unknown form; {KNOWN}")
            for text in ("10.0.0.5:5025", "tpc://10.0.0.5:5025", "simulated", "ttyUSB0", "MyVna", "", "COM", "LPT1")
        ),
        ("tcp://10.0.0.5", "rig.vna.address is 'tcp://10.0.0.5'; write tcp://host:port, with a port from 1 to 65535"),
        ("tcp://:5025", "rig.vna.address is 'tcp://:5025'; write tcp://host:port, with a port from 1 to 65535"),
        (
            "socket://vna:0",
            "rig.vna.address is 'socket://vna:0'; write socket://host:port, with a port from 1 to 65535",
        ),
        (
            "tcp://vna:99999",
            "rig.vna.address is 'tcp://vna:99999'; write tcp://host:port, with a port from 1 to 65535",
        ),
        ("tcp://vna:scpi", "rig.vna.address is 'tcp://vna:scpi'; write tcp://host:port, with a port from 1 to 65535"),
        (
            "TCPIP::10.0.0.5::5025",
            "rig.vna.address is 'TCPIP::10.0.0.5::5025', which names a device 5025; for a socket write "
            "TCPIP::10.0.0.5::5025::SOCKET",
        ),
        (
            "TCPIP::10.0.0.5::5025::SOKCET",
            "rig.vna.address is 'TCPIP::10.0.0.5::5025::SOKCET', which is no VISA resource: Could not parse "
            "'TCPIP::10.0.0.5::5025::SOKCET'. The syntax is 'TCPIP[board]::host address[::lan device name][::INSTR]' "
            "(too many parts)",
        ),
        (
            "TCPIP::10.0.0.5::scpi::SOCKET",
            "rig.vna.address is 'TCPIP::10.0.0.5::scpi::SOCKET'; the port must be a number, as in "
            "TCPIP::10.0.0.5::5025::SOCKET",
        ),
        (
            "GPIB0::INTFC",
            "rig.vna.address is 'GPIB0::INTFC'; name an instrument, not its interface (GPIB0::16::INSTR)",
        ),
    ],
)
def test_unknown_forms(text, sentence):
    with pytest.raises(InputError) as told:
        make_link("vna", text, RealClock())
    assert str(told.value) == sentence


def test_sim_needs_an_emulator():
    with pytest.raises(InputError) as told:
        make_link("vna", "sim", RealClock(), where="the address")
    assert str(told.value) == (
        "the address is 'sim', and there is no emulator here to answer; give the address of an instrument, or of an "
        "emulator that labtrain emulate has started"
    )


def test_a_transport_is_loaded_when_it_is_needed():
    """pyvisa alone takes a fifth of a second."""
    code = (
        "import sys\n"
        "from labtrain.clock import RealClock\n"
        "from labtrain.drivers.address import make_link\n"
        "make_link('vna', 'tcp://10.0.0.5:5025', RealClock())\n"
        "print({'pyvisa', 'serial'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent, env=dict(os.environ), capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert done.stdout == "set()\n"
