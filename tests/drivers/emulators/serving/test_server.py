"""Emulators behind real sockets and pseudo-terminals: order, delays, one connection at a time, hanging up."""

from __future__ import annotations

import logging
import selectors
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
import serial

from labtrain.clock import RealClock, SimulatedClock
from labtrain.drivers.emulators.emulator import Reply
from labtrain.drivers.emulators.metasurface.open_source_ris import OpenSourceRisEmulator
from labtrain.drivers.emulators.serving import server as serve
from labtrain.drivers.emulators.serving.outlet import Outlet
from labtrain.drivers.emulators.serving.pty import PtyOutlet
from labtrain.drivers.emulators.serving.server import Server
from labtrain.drivers.emulators.serving.tcp import TcpOutlet
from labtrain.errors import InputError
from tests.drivers.emulators.serving.parrot import Parrot, endless, serving, turns
from tests.surfaces import Pixels

only_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs pseudo-terminals, which Linux alone has")


@pytest.fixture(autouse=True)
def soon_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "POLL_S", 0.01)


@contextmanager
def connected(outlet: Outlet) -> Iterator[socket.socket]:
    assert isinstance(outlet, TcpOutlet)
    with socket.create_connection((outlet.host, outlet.port), timeout=5.0) as client:
        yield client


def line(client: socket.socket) -> bytes:
    got = b""
    while not got.endswith(b"\n") and (byte := client.recv(1)):
        got += byte
    return got


def ask(client: socket.socket, text: str) -> bytes:
    client.sendall(text.encode() + b"\n")
    return line(client)


def ended(client: socket.socket) -> bool:
    with suppress(ConnectionError):
        return client.recv(1) == b""
    return True


def test_each_emulator_has_a_port_of_its_own() -> None:
    first, second = TcpOutlet("first", Parrot(), RealClock()), TcpOutlet("second", Parrot(), RealClock())
    with serving(first, second):
        assert first.address == f"tcp://127.0.0.1:{first.port}"
        assert first.port != second.port
        with connected(first) as a, connected(second) as b:
            a.sendall(b"one\n")
            b.sendall(b"two\n")
            assert (line(b), line(a)) == (b"TWO\n", b"ONE\n")


def test_a_late_reply_holds_up_its_own_emulator_alone() -> None:
    clock = SimulatedClock()  # real where nobody sleeps on it: an hour passes when the test says so
    first, second = TcpOutlet("first", Parrot(), clock), TcpOutlet("second", Parrot(), clock)
    with serving(first, second), connected(first) as a, connected(second) as b:
        a.sendall(b"late 3600 one\ntwo\n")
        assert ask(b, "three") == b"THREE\n"
        a.settimeout(0.05)
        with pytest.raises(TimeoutError):
            a.recv(1)
        a.settimeout(5.0)
        clock.sleep(3599.0)
        assert ask(b, "four") == b"FOUR\n"
        clock.sleep(1.0)
        assert (line(a), line(a)) == (b"ONE\n", b"TWO\n")


def test_one_connection_at_a_time(caplog: pytest.LogCaptureFixture) -> None:
    outlet = TcpOutlet("vna", Parrot(), RealClock())
    with serving(outlet), connected(outlet) as first:
        assert ask(first, "one") == b"ONE\n"
        with connected(outlet) as second:
            assert ended(second)
        assert ask(first, "still") == b"STILL\n"
    assert caplog.messages == ["emulated vna: a second connection was refused, it has one at a time"]


def test_who_talks_without_end_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    outlet = TcpOutlet("vna", Parrot(), RealClock())
    with Server([outlet], RealClock()) as server, connected(outlet):
        turns(server)
        endless(monkeypatch, outlet, "_listen")
        with connected(outlet) as second:
            turns(server)
            assert ended(second)


def test_the_next_connection_may_follow_at_once() -> None:
    parrot = Parrot()
    outlet = TcpOutlet("vna", parrot, RealClock())
    with serving(outlet):
        for n in range(100):
            with connected(outlet) as client:
                assert ask(client, f"hello {n}") == f"HELLO {n}\n".encode()
                client.sendall(b"half a message and what nobody waits for\nlate 60 x\nhal")
    assert parrot.connections == 100


def test_output_of_a_connection_that_ended_is_not_for_the_next() -> None:
    clock = SimulatedClock()
    outlet = TcpOutlet("vna", Parrot(), clock)
    with serving(outlet):
        with connected(outlet) as client:
            client.sendall(b"late 10 one\n")
        with connected(outlet) as client:
            clock.sleep(20.0)
            assert ask(client, "two") == b"TWO\n"


def test_an_emulator_that_hangs_up_says_its_last_words_first() -> None:
    parrot = Parrot()
    outlet = TcpOutlet("vna", parrot, RealClock())
    with serving(outlet):
        with connected(outlet) as client:
            assert ask(client, "bye for now") == b"FOR NOW"
            assert ended(client)
        with connected(outlet) as client:
            assert ask(client, "again") == b"AGAIN\n"
    assert parrot.connections == 2


def test_a_client_that_only_says_it_has_finished_gets_its_answers() -> None:
    outlet = TcpOutlet("vna", Parrot(), RealClock())
    with serving(outlet), connected(outlet) as client:
        client.sendall(b"late 0.05 one\n")
        client.shutdown(socket.SHUT_WR)
        assert line(client) == b"ONE\n"
        assert ended(client)


def test_a_slow_reader_holds_up_nobody() -> None:
    first, second = TcpOutlet("first", Parrot(), RealClock()), TcpOutlet("second", Parrot(), RealClock())
    size = 20_000_000  # more than the system buffers
    with serving(first, second), connected(first) as a, connected(second) as b:
        a.sendall(b"long %d\nbye done" % size + b"\n")
        assert ask(b, "two") == b"TWO\n"
        got = b"".join(iter(lambda: a.recv(1 << 20), b""))
    assert len(got) == size + 4
    assert got.endswith(b"xDONE")


def test_a_world_that_fails_ends_the_connection_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    outlet = TcpOutlet("vna", Parrot(), RealClock())
    with serving(outlet):
        with connected(outlet) as client:
            client.sendall(b"fail\n")
            assert ended(client)
        with connected(outlet) as client:
            assert ask(client, "again") == b"AGAIN\n"
    assert caplog.record_tuples == [
        ("labtrain", logging.ERROR, "emulated vna hangs up: the world stands still"),
    ]


def test_a_port_in_use_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        free, taken = TcpOutlet("free", Parrot(), RealClock()), TcpOutlet("vna", Parrot(), RealClock(), port=port)
        with pytest.raises(InputError) as caught, Server([free, taken], RealClock()):
            pass
    assert str(caught.value).startswith(f"emulated vna: cannot listen on port {port} of 127.0.0.1 (")
    assert str(caught.value).endswith("; choose others with --port vna=NUMBER, --host")
    with pytest.raises(ConnectionError), connected(free):
        pass


@pytest.mark.parametrize(
    ("host", "scheme", "address"),
    [
        ("0.0.0.0", "tcp", "tcp://127.0.0.1:5025"),
        ("10.0.0.5", "socket", "socket://10.0.0.5:5025"),
        ("::", "tcp", "tcp://[::1]:5025"),
    ],
)
def test_addresses_are_those_a_client_takes(host: str, scheme: str, address: str) -> None:
    assert TcpOutlet("vna", Parrot(), RealClock(), host=host, port=5025, scheme=scheme).address == address


# -- pseudo-terminals ------------------------------------------------------------------------------------------------


def opened(outlet: PtyOutlet) -> serial.Serial:
    return serial.Serial(outlet.address, 115200, timeout=5.0)


@only_linux
def test_a_serial_port_may_be_closed_and_opened_again(tmp_path: Path) -> None:
    world = Pixels()
    outlet = PtyOutlet("metasurface", OpenSourceRisEmulator(world, RealClock()), RealClock(), tmp_path / "ris")
    with serving(outlet):
        assert outlet.address == str(tmp_path / "ris")
        with opened(outlet) as port:
            port.write(b"!0x8" + b"0" * 63 + b"\n")
            assert port.readline() == b"#OK\n"
            port.write(b"?Pat")
        assert np.flatnonzero(world.pattern).tolist() == [0]
        with opened(outlet) as port:  # half a question was left in it
            port.write(b"tern\n")
            assert port.readline() == b"#0X8" + b"0" * 63 + b"\n"
    assert not (tmp_path / "ris").is_symlink()


@only_linux
def test_every_byte_passes_a_pseudo_terminal_unchanged(tmp_path: Path) -> None:
    class Echo(Parrot):
        def receive(self, data: bytes) -> list[Reply]:
            return [(0.0, data)]

    outlet = PtyOutlet("echo", Echo(), RealClock(), tmp_path / "echo")
    sent = bytes(range(256)) * 40  # more than a terminal buffers
    with serving(outlet), opened(outlet) as port:
        thread = threading.Thread(target=port.write, args=(sent,))
        thread.start()
        assert port.read(len(sent)) == sent
        thread.join()


@only_linux
def test_the_terminal_is_raw_for_clients_that_know_nothing_of_terminals(tmp_path: Path) -> None:
    outlet = PtyOutlet("ris", Parrot(), RealClock(), tmp_path / "ris")
    with serving(outlet), (tmp_path / "ris").open("r+b", buffering=0) as port:
        port.write(b"one\rtwo\n")
        assert port.read(100) == b"ONE\rTWO\n"


@only_linux
def test_a_serial_device_that_is_unplugged_comes_back_under_the_same_link(tmp_path: Path) -> None:
    outlet = PtyOutlet("ris", Parrot(), RealClock(), tmp_path / "ris")
    with serving(outlet):
        with opened(outlet) as port:
            port.write(b"bye\n")
            with pytest.raises(serial.SerialException):
                port.read(1)
        with opened(outlet) as port:
            port.write(b"again\n")
            assert port.readline() == b"AGAIN\n"


@only_linux
def test_a_link_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    outlet = PtyOutlet("ris", Parrot(), RealClock(), tmp_path / "no" / "ris")
    with pytest.raises(InputError) as caught, Server([outlet], RealClock()):
        pass
    assert str(caught.value) == (
        f"emulated ris: the link {tmp_path}/no/ris cannot be made (No such file or directory); choose another place"
    )


def test_other_systems_are_told_to_take_tcp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    outlet = PtyOutlet("ris", Parrot(), RealClock(), tmp_path / "ris")
    with pytest.raises(InputError) as caught:
        outlet.open(selectors.SelectSelector())
    assert str(caught.value) == "emulated ris: win32 has no pseudo-terminals for it; serve it on TCP"
