"""Opening over TCP: a sentence for each refusal, within the deadline; bytes that the other end does not take."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Iterator

import pytest

from labtrain.clock import RealClock
from labtrain.drivers.address import make_link
from labtrain.drivers.backends import sockets
from labtrain.drivers.backends.opening import within
from labtrain.drivers.backends.sockets import SocketPipe
from labtrain.errors import LinkClosed, LinkRefused, LinkTimeout


def refused(address: str, **options: object) -> str:
    with pytest.raises(LinkRefused) as told:
        make_link("vna", address, RealClock(), **options).open()  # type: ignore[arg-type]
    return str(told.value)


@pytest.fixture
def free_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


@pytest.fixture
def dead_port() -> Iterator[int]:
    """A port that takes no connection and refuses none, as one behind a switched-off instrument: its queue is full."""
    server = socket.create_server(("127.0.0.1", 0), backlog=0)
    waiting = []
    for _ in range(4):
        peer = socket.socket()
        peer.setblocking(False)
        peer.connect_ex(server.getsockname())
        waiting.append(peer)
    yield server.getsockname()[1]
    for peer in [server, *waiting]:
        peer.close()


TRANSPORTS = ["tcp://127.0.0.1:{}", "TCPIP::127.0.0.1::{}::SOCKET"]


@pytest.mark.parametrize("form", [*TRANSPORTS, "socket://127.0.0.1:{}", "rfc2217://127.0.0.1:{}"])
def test_nobody_listens(form, free_port):
    address = form.format(free_port)
    assert refused(address) == (
        f"vna ({address}): 127.0.0.1 refuses a connection to port {free_port}; switch the instrument's server on, or "
        "correct rig.vna.address"
    )


@pytest.mark.parametrize(
    "resource", ["TCPIP::127.0.0.1::hislip0,{}::INSTR", "TCPIP::127.0.0.1,{}::inst0::INSTR", "TCPIP::127.0.0.1::INSTR"]
)
def test_no_visa_server_listens(resource, free_port):
    address = resource.format(free_port)
    assert refused(address) == (
        f"vna ({address}): 127.0.0.1 refuses the connection; switch the instrument's server on, or correct "
        "rig.vna.address"
    )


@pytest.mark.parametrize("form", [*TRANSPORTS, "TCPIP::127.0.0.1::hislip0,{}::INSTR"])
def test_no_answer_within_the_deadline(form, dead_port):
    address = form.format(dead_port)
    assert refused(address, open_timeout_s=0.15) == (
        f"vna ({address}): no answer from 127.0.0.1 within 0.15 s; check that the instrument is on and in this "
        "network, and rig.vna.address"
    )


@pytest.mark.parametrize("form", ["tcp://{}:5025", "TCPIP::{}::5025::SOCKET", "TCPIP::{}::INSTR", "socket://{}:5025"])
def test_no_such_host(form):
    address = form.format("vna.invalid")
    assert refused(address, where="the address") == (
        f"vna ({address}): no host vna.invalid is known; correct the address, or use the IP address"
    )


def test_no_way_to_the_host(monkeypatch):
    def unreachable(*_: object) -> None:
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr(socket, "create_connection", unreachable)
    assert refused("tcp://10.0.0.5:5025") == (
        "vna (tcp://10.0.0.5:5025): 10.0.0.5 cannot be reached (Network is unreachable); check the network and "
        "rig.vna.address"
    )


def test_what_opens_too_late_is_closed():
    go, closed = threading.Event(), threading.Event()

    def slow() -> str:
        go.wait()
        return "opened"

    with pytest.raises(TimeoutError):
        within(0.05, slow, lambda _: closed.set())
    go.set()
    assert closed.wait(10)


def test_what_opens_in_time_is_returned_and_errors_are_raised():
    assert within(10.0, lambda: "opened", pytest.fail) == "opened"
    with pytest.raises(ZeroDivisionError):
        within(10.0, lambda: 1 // 0, pytest.fail)


@pytest.mark.parametrize("form", TRANSPORTS)
def test_bytes_that_are_not_taken(form):
    """More than the system's buffers hold, to a server that reads nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = form.format(server.getsockname()[1])
        with make_link("vna", address, RealClock(), timeout_s=0.05) as link:
            with pytest.raises(LinkTimeout) as told:
                link.write(bytes(50_000_000))
            assert link.dirty
    assert str(told.value) == (
        f"vna ({address}): 50000000 bytes could not be sent within 0.05 s, they are not taken; check whether it still "
        "runs"
    )


@pytest.mark.parametrize("form", TRANSPORTS)
def test_a_reset_connection(form):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = form.format(server.getsockname()[1])
        with make_link("vna", address, RealClock()) as link:
            peer, _ = server.accept()
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # close by a reset
            peer.close()
            with pytest.raises(LinkClosed) as told:
                link.read_until(b"\n")
    assert str(told.value) == f"vna ({address}): the connection broke (Connection reset by peer); check power and cable"


def test_without_poll_as_on_windows(monkeypatch):
    monkeypatch.delattr(sockets.select, "poll", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        here = socket.create_connection(server.getsockname())
        there, _ = server.accept()
    with here, there:
        pipe = SocketPipe(here)
        assert pipe.recv(0.0) == pipe.recv(0.15) == b""
        there.sendall(b"answer\n")
        assert pipe.recv(10.0) == b"answer\n"
        assert pipe.send(b"question\n", 1.0) == 9
        assert pipe.send(bytes(50_000_000), 0.01) < 50_000_000
        there.shutdown(socket.SHUT_WR)
        with pytest.raises(EOFError):
            pipe.recv(10.0)
