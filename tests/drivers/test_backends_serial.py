"""Serial ports: a sentence for each refusal, a device that is unplugged, and the URLs of pyserial."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import serial
import serial.rfc2217
from serial.tools import list_ports, list_ports_common

from labtrain.clock import RealClock
from labtrain.drivers.address import make_link
from labtrain.drivers.backends.serial import SerialLink
from labtrain.drivers.link import Link
from labtrain.errors import InputError, LinkClosed, LinkRefused, LinkTimeout
from tests.drivers.servers import Script, fence, tcp_server


class Port:
    """A serial port of which the test holds the device's end: a pseudo terminal (Linux, macOS)."""

    def __init__(self) -> None:
        import tty

        self.device, slave = os.openpty()
        tty.setraw(slave)
        self.name = os.ttyname(slave)
        self._slave: int | None = slave

    def serve(self, script: Script) -> None:
        def work() -> None:
            with contextlib.suppress(OSError):
                while heard := os.read(self.device, 4096):
                    for _, data in script.receive(heard):
                        os.write(self.device, data or b"")

        threading.Thread(target=work, daemon=True).start()

    def unplug(self) -> None:
        for end in (self._slave, self.device):
            if end is not None:
                os.close(end)
        self._slave = None
        self.device = -1


@pytest.fixture
def port() -> Iterator[Port]:
    made = Port()
    yield made
    with contextlib.suppress(OSError):
        made.unplug()


def refused(address: str) -> str:
    with pytest.raises(LinkRefused) as told:
        make_link("metasurface", address, RealClock(), timeout_s=0.2).open()
    return str(told.value).removeprefix(f"metasurface ({address}): ")


def ask(link: Link, question: str) -> bytes:
    with link.exchange():
        link.write(question.encode() + b"\n")
        return link.read_until(b"\n")


def test_questions_and_answers(port):
    script = Script({"?Vext": [(0.0, b"#09.14 V\n")], "?Raw": [(0.0, bytes(range(256)))]})
    port.serve(script)
    with make_link("metasurface", port.name, RealClock(), baud=9600, framing="7E2") as link:
        link.synchronise = fence(link)
        assert ask(link, "?Vext") == b"#09.14 V\n"
        with link.exchange():
            link.write(b"?Raw\n")
            assert link.read_exactly(256) == bytes(range(256))
    assert script.heard == ["PING fence0", "?Vext", "?Raw"]


def test_what_the_device_said_before_is_no_answer(port):
    """A serial device does not notice who opens its port; half an answer to an earlier program may be on the line."""
    port.serve(Script({"?Vext": [(0.0, b"#09.14 V\n")]}))
    with make_link("metasurface", port.name, RealClock()) as link:
        link.synchronise = fence(link)
        os.write(port.device, b"0X1234\n")
        assert ask(link, "?Vext") == b"#09.14 V\n"


def test_silence(port):
    link = make_link("metasurface", port.name, RealClock(), timeout_s=0.07)
    with pytest.raises(LinkTimeout) as told, link:
        ask(link, "?Vext")
    assert str(told.value) == f"{link.name}: waited 0.07 s for an answer that ends in b'\\n', got nothing"


def test_unplugged_in_the_middle_of_an_answer(port):
    link = make_link("metasurface", port.name, RealClock(), timeout_s=3600.0)
    with pytest.raises(LinkClosed) as told, link, link.exchange():
        link.write(b"?Pattern\n")
        os.write(port.device, b"#0X12")
        threading.Timer(0.05, port.unplug).start()
        link.read_until(b"\n")
    assert str(told.value).startswith(f"{link.name}: the port is gone (")
    assert str(told.value).endswith("); check the plug, then start again")


def test_unplugged_between_two_questions(port):
    with make_link("metasurface", port.name, RealClock()) as link:
        link.write(b"")
        port.unplug()
        with pytest.raises(LinkClosed, match="the port is gone"):
            ask(link, "?Vext")


def test_a_port_in_use(port):
    with make_link("metasurface", port.name, RealClock()):
        told = refused(port.name)
    assert told == (
        "another program uses the port; close it (a terminal, another labtrain), or correct rig.metasurface.address"
    )


def test_a_port_that_is_not_there(monkeypatch):
    board = list_ports_common.ListPortInfo("/dev/ttyUSB1")
    board.product = "FT231X USB UART"
    there = [board, list_ports_common.ListPortInfo("/dev/ttyS0")]
    monkeypatch.setattr(list_ports, "comports", lambda: there)
    assert refused("/dev/ttyUSB77") == (
        "there is no such port, this computer has /dev/ttyS0, /dev/ttyUSB1 (FT231X USB UART); plug the device in, or "
        "correct rig.metasurface.address"
    )
    there.clear()
    assert "no such port, this computer has none; plug" in refused("/dev/ttyUSB77")


def test_no_permission(port, monkeypatch):
    """As an ordinary user meets it; the superuser, who runs some builds, may open everything."""
    import grp

    def open_(path: str, *rest: object) -> int:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "open", open_)
    group = grp.getgrgid(Path(port.name).stat().st_gid).gr_name
    assert refused(port.name) == (
        f"no permission to open the port; add yourself to its group: sudo usermod -aG {group} $USER, then log in again"
    )
    assert "usermod -aG dialout $USER" in refused("/dev/ttyUSB77")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "could not open port 'COM3': PermissionError(13, 'Access is denied.', None, 5)",
            "another program uses the port; close it (a terminal, another labtrain), or correct "
            "rig.metasurface.address",
        ),
        (
            "could not open port 'COM3': FileNotFoundError(2, 'The system cannot find the file specified.', None, 2)",
            "there is no such port, this computer has none; plug the device in, or correct rig.metasurface.address",
        ),
        (
            "Cannot configure port, something went wrong. Original message: OSError(22, 'No such command', None, 22)",
            "COM3 does not open (Cannot configure port, something went wrong. Original message: OSError(22, 'No such "
            "command', None, 22)); correct rig.metasurface.address",
        ),
    ],
)
def test_as_windows_tells_it(text, sentence, monkeypatch):
    def open_(*_: object, **__: object) -> None:
        raise serial.SerialException(text)

    monkeypatch.setattr(serial, "serial_for_url", open_)
    monkeypatch.setattr(list_ports, "comports", list)
    assert refused("COM3") == sentence


def test_a_port_that_hangs(monkeypatch):
    monkeypatch.setattr(serial, "serial_for_url", lambda *_, **__: threading.Event().wait(0.5))
    with pytest.raises(LinkRefused) as told:
        make_link("metasurface", "COM3", RealClock(), open_timeout_s=0.02).open()
    assert str(told.value) == ("metasurface (COM3): did not open within 0.02 s; unplug the device and plug it in again")


# -- URLs --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("read", [lambda link: link.read_until(b"\n"), lambda link: link.read_exactly(4)])
def test_a_serial_server_on_a_socket(read):
    """Its last words are read although it has hung up by then."""
    script = Script({"?Vext": [(0.0, b"#09.14 V\n")], "bye": [(0.0, b"bye\n"), (0.0, None)]})
    with tcp_server(script) as server, ExitStack() as stack:
        link = make_link("metasurface", f"socket://127.0.0.1:{server.port}", RealClock(), timeout_s=3600.0)
        assert isinstance(link, SerialLink)
        stack.enter_context(link)
        link.synchronise = fence(link)
        assert ask(link, "?Vext") == b"#09.14 V\n"
        with link.exchange():
            link.write(b"bye\n")
            server.gone.wait(10)
            assert read(link) == b"bye\n"
        with pytest.raises(LinkClosed):
            ask(link, "?Vext")


@contextlib.contextmanager
def rfc2217_server(device: serial.SerialBase) -> Iterator[int]:
    """Serves one client, after the example of pyserial's documentation (rfc2217_server.py)."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        peers = []

        def work() -> None:
            peer, _ = server.accept()
            peers.append(peer)
            out = threading.Lock()

            class Wire:
                def write(self, data: bytes) -> None:
                    with out:
                        peer.sendall(data)

            manager = serial.rfc2217.PortManager(device, Wire())

            def back() -> None:
                with contextlib.suppress(OSError, serial.SerialException):
                    while True:
                        if data := device.read(device.in_waiting or 1):
                            Wire().write(b"".join(manager.escape(data)))

            threading.Thread(target=back, daemon=True).start()
            with contextlib.suppress(OSError, serial.SerialException):
                while data := peer.recv(1024):
                    device.write(b"".join(manager.filter(data)))

        threading.Thread(target=work, daemon=True).start()
        yield server.getsockname()[1]
        for peer in peers:
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)


def test_a_serial_server_after_rfc_2217():
    """In front of a wire that leads back: what is sent comes."""
    with serial.serial_for_url("loop://", timeout=0.01) as device, rfc2217_server(device) as number:
        link = make_link("metasurface", f"rfc2217://127.0.0.1:{number}", RealClock(), baud=9600, timeout_s=10.0)
        with link:
            assert ask(link, "?Vext \xff") == "?Vext \xff\n".encode()
            assert device.baudrate == 9600


def test_a_server_that_does_not_know_rfc_2217():
    with tcp_server(Script()) as server:
        address = f"rfc2217://127.0.0.1:{server.port}"
        with pytest.raises(LinkRefused) as told:
            make_link("metasurface", address, RealClock(), open_timeout_s=0.1).open()
    assert str(told.value) == (
        f"metasurface ({address}): no answer from 127.0.0.1 within 0.1 s; check that the instrument is on and in this "
        "network, and rig.metasurface.address"
    )


def test_a_wrong_framing():
    with pytest.raises(InputError) as told:
        make_link("metasurface", "/dev/ttyUSB0", RealClock(), framing="9X1")
    assert str(told.value) == (
        "metasurface (/dev/ttyUSB0): asked serial framing '9X1'; it is data bits, parity, stop bits, as in 8N1"
    )
