"""VISA resources on pyvisa-py: HiSLIP, VXI-11, serial ports and sockets; libraries that are not there."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from labtrain.clock import RealClock
from labtrain.drivers.address import make_link
from labtrain.drivers.backends import visa, visa_py
from labtrain.drivers.blocks import block, read_block
from labtrain.drivers.link import Link
from labtrain.errors import LinkClosed, LinkDesync, LinkRefused, LinkTimeout
from tests.drivers.servers import Script, fence, hislip_server, tcp_server, vxi11_server

Make = Callable[..., Link]
BLOCK = block(bytes(range(256)) * 100) + b"\n"  # as of 1,600 pairs of doubles
FORMS = {
    "hislip": (hislip_server, "TCPIP::127.0.0.1::hislip0,{}::INSTR"),
    "vxi11": (vxi11_server, "TCPIP::127.0.0.1,{}::inst0::INSTR"),
}


@pytest.fixture(params=FORMS)
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes open links to a script behind a server with messages."""
    serve, form = FORMS[request.param]
    with ExitStack() as stack:

        def open_link(script: Script, timeout_s: float = 5.0) -> Link:
            port = stack.enter_context(serve(script)).port
            link = make_link("vna", form.format(port), RealClock(), timeout_s=timeout_s)
            link.synchronise = fence(link)
            return stack.enter_context(link)

        yield open_link


def ask(link: Link, question: str) -> bytes:
    with link.exchange():
        link.write(question.encode() + b"\n")
        return link.read_until(b"\n")


def test_questions_lines_and_blocks(make):
    script = Script({"*IDN?": [(0.0, b"Keysight\n")], "DATA?": [(0.0, BLOCK)]})
    link = make(script)
    assert ask(link, "*IDN?") == b"Keysight\n"
    with link.exchange():
        link.write(b"DATA?\n")
        assert read_block(link) == BLOCK[7:]
    assert ask(link, "*IDN?") == b"Keysight\n"
    assert script.heard == ["(clear)", "*IDN?", "DATA?", "*IDN?"]


def test_a_line_in_several_messages(make):
    link = make(Script({"*IDN?": [(0.0, b"Key"), (0.01, b"sight\n")]}))
    if "hislip" in link.address:  # each message is an answer of its own there
        with pytest.raises(LinkTimeout, match=r"got b'Key'$"):
            ask(link, "*IDN?")
    else:
        assert ask(link, "*IDN?") == b"Keysight\n"


def test_a_late_answer_is_cleared_away(make):
    script = Script({"slow?": [(0.2, b"late\n")], "next?": [(0.0, b"right\n")]})
    link = make(script, timeout_s=0.05)
    with pytest.raises(LinkTimeout) as told:
        ask(link, "slow?")
    assert str(told.value) == f"{link.name}: waited 0.05 s for an answer that ends in b'\\n', got nothing"
    link.timeout_s = 5.0
    for _ in range(4):
        assert ask(link, "next?") == b"right\n"
    assert script.heard == ["(clear)", "slow?", "(clear)", "PING fence0", *["next?"] * 4]


def test_an_answer_left_half_read_is_cleared_away(make):
    link = make(Script({"DATA?": [(0.0, BLOCK * 6)], "next?": [(0.0, b"right\n")]}))
    with pytest.raises(ZeroDivisionError), link.exchange():
        link.write(b"DATA?\n")
        link.read_exactly(10)
        _ = 1 / 0
    assert ask(link, "next?") == b"right\n"


def test_a_peer_that_hangs_up_is_told_at_once(make):
    link = make(Script({"bye": [(0.02, None)]}), timeout_s=3600.0)
    with pytest.raises(LinkClosed) as told:
        ask(link, "bye")
    assert str(told.value) == (f"{link.name}: the instrument closed the connection; check whether it still runs")


def test_it_opens_again(make):
    link = make(Script({"*IDN?": [(0.0, b"Keysight\n")]}))
    link.close()
    link.open()
    assert ask(link, "*IDN?") == b"Keysight\n"


# -- a socket under a library that hides it ----------------------------------------------------------------------------


@pytest.fixture
def hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """As under the system's VISA library, which lets nobody look at its sockets."""
    monkeypatch.setattr(visa_py, "socket_of", lambda _: None)


def test_a_socket_of_another_library(hidden):
    script = Script(
        {"*IDN?": [(0.0, b"Key"), (0.02, b"sight\n")], "DATA?": [(0.0, BLOCK)], "slow?": [(0.1, b"late\n")]}
    )
    with tcp_server(script) as server, ExitStack() as stack:
        link = make_link("vna", f"TCPIP::127.0.0.1::{server.port}::SOCKET", RealClock(), timeout_s=2.0)
        link.synchronise = fence(link)
        stack.enter_context(link)
        assert isinstance(link, visa.VisaLink)
        assert isinstance(link._reader, visa.StreamReader)
        for _ in range(3):
            assert ask(link, "*IDN?") == b"Keysight\n"
            with link.exchange():
                link.write(b"DATA?\n")
                assert read_block(link) == BLOCK[7:]
        link.timeout_s = 0.02
        with pytest.raises(LinkTimeout):
            ask(link, "slow?")
        link.timeout_s = 2.0
        assert ask(link, "*IDN?") == b"Keysight\n"


# -- a serial port -----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="needs real hardware: Windows has no pseudo terminals")
def test_a_serial_port():
    import tty

    device, slave = os.openpty()
    tty.setraw(slave)
    script = Script({"?Vext": [(0.0, b"#09.14 V\n")], "?Raw": [(0.0, bytes(range(256)))]})

    def serve() -> None:
        while heard := os.read(device, 4096):
            if heard == b"END\n":
                break
            for _, data in script.receive(heard):
                os.write(device, data or b"")
        os.close(slave)
        os.close(device)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    link = make_link("metasurface", f"ASRL{os.ttyname(slave)}::INSTR", RealClock(), baud=9600)
    link.synchronise = fence(link)
    with link:
        assert ask(link, "?Vext") == b"#09.14 V\n"
        with link.exchange():
            link.write(b"?Raw\n")
            assert link.read_exactly(256) == bytes(range(256))
        os.write(device, b"#READY!\n")
        while not link._buffer:
            link._buffer += link._arrived()
        with pytest.raises(LinkDesync, match="without being asked"):
            ask(link, "?Vext")
        assert ask(link, "?Vext") == b"#09.14 V\n"
        link.write(b"END\n")
        thread.join()
        with pytest.raises(LinkClosed, match="the connection broke"):
            ask(link, "?Vext")


# -- what does not open ------------------------------------------------------------------------------------------------


def refused(address: str, library: str = "@py", **options: object) -> str:
    with pytest.raises(LinkRefused) as told:
        make_link("vna", address, RealClock(), visa=library, **options).open()  # type: ignore[arg-type]
    return str(told.value).removeprefix(f"vna ({address}): ")


@pytest.mark.parametrize(
    ("library", "reason"),
    [
        ("@ivi", "Could not open VISA library"),
        ("@nobodys", "Wrapper not found: No package named pyvisa_nobodys"),
        ("/nowhere/libvisa.so", None),
    ],
)
def test_no_such_visa_library(library, reason, monkeypatch):
    monkeypatch.setattr("pyvisa.ctwrapper.highlevel.IVIVisaLibrary.get_library_paths", tuple)
    told = refused("GPIB0::16::INSTR", library)
    before, _, after = f"this computer has no VISA library {library} (|); install one, or set ".partition("|")
    assert told.startswith(before)
    assert told.endswith(f"{after}rig.vna.visa to @py")
    assert reason is None or reason in told
    assert "or set --visa to @py" in refused("GPIB0::16::INSTR", library, where="the address")


def test_a_resource_that_pyvisa_py_needs_more_for():
    assert refused("VICP::10.0.0.5::INSTR") == (
        "pyvisa-py cannot reach it yet: Please install PyVICP to use this resource type; or use another VISA library "
        "with rig.vna.visa"
    )


def test_a_serial_resource_that_is_not_there():
    assert refused("ASRL/dev/ttyUSB77::INSTR").startswith("there is no such port, this computer has ")


def test_a_library_that_hangs(monkeypatch):
    monkeypatch.setattr("pyvisa.ResourceManager", lambda _: threading.Event().wait(0.5))
    assert refused("GPIB0::16::INSTR", open_timeout_s=0.02) == (
        "not open within 0.02 s; check that the instrument is on and connected, and rig.vna.address"
    )
    assert refused("TCPIP::10.0.0.5::INSTR", open_timeout_s=0.02) == (
        "no answer from 10.0.0.5 within 0.02 s; check that the instrument is on and in this network, and "
        "rig.vna.address"
    )


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("error_resource_busy", "another program uses the instrument; close it"),
        ("error_resource_locked", "another program uses the instrument; close it"),
        (
            "error_resource_not_found",
            "no instrument answers there; check that it is on and connected, and rig.vna.address",
        ),
        ("error_timeout", "not open within 5 s; check that the instrument is on and connected, and rig.vna.address"),
        (
            "error_interface_number_not_configured",
            "VISA library @py says: The interface type is valid but the specified interface number is not "
            "configured; check rig.vna.address",
        ),
    ],
)
def test_what_a_library_may_say(code, sentence, monkeypatch):
    from pyvisa.constants import StatusCode
    from pyvisa.errors import VisaIOError

    def open_(*_: object, **__: object) -> None:
        raise VisaIOError(StatusCode[code])

    monkeypatch.setattr("pyvisa_py.highlevel.PyVisaLibrary.open", open_)
    assert refused("GPIB0::16::INSTR") == sentence
