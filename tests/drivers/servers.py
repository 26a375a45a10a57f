"""Small servers with a scripted instrument behind them: raw TCP, HiSLIP and VXI-11, each in threads of the test."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Reply = tuple[float, bytes | None]


class Script:
    """An instrument with lines of text for questions; an Emulator.

    ``PING n`` is answered by ``PONG n``: the fence. Everything else as `answers` says: lists of replies by line, which
    leave in their order, each so many seconds after the line that caused it.
    """

    def __init__(self, answers: dict[str, list[Reply]] | None = None, greeting: list[Reply] | None = None) -> None:
        self.answers = answers or {}
        self.greeting = greeting or []
        self.heard: list[str] = []
        self._line = b""

    def connected(self) -> list[Reply]:
        self._line = b""
        return self.greeting

    def receive(self, data: bytes) -> list[Reply]:
        *lines, self._line = (self._line + data).split(b"\n")
        return [reply for line in lines for reply in self._answer(line.decode())]

    def _answer(self, line: str) -> list[Reply]:
        self.heard.append(line)
        if found := re.fullmatch(r"PING (\w+)", line):
            return [(0.0, f"PONG {found[1]}\n".encode())]
        return self.answers.get(line, [])


def fence(link: object) -> Callable[[], None]:
    """The driver's half of the fence, for ``link.synchronise``."""
    turns = iter(range(1000))

    def synchronise() -> None:
        wanted = f"PONG fence{next(turns)}\n".encode()
        link.write(wanted.replace(b"PONG", b"PING"))  # type: ignore[attr-defined]
        while not link.read_until(b"\n").endswith(wanted):  # type: ignore[attr-defined]
            pass

    return synchronise


class _Listener:
    """Takes connections, each into a thread of its own."""

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self.serve = serve
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.connections: list[socket.socket] = []
        self.gone = threading.Event()  # a connection has ended
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self.listener.accept()
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.connections.append(peer)
                threading.Thread(target=self._guarded, args=(peer,), daemon=True).start()

    def _guarded(self, peer: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError):
            self.serve(peer)
        peer.close()
        self.gone.set()

    def hang_up(self) -> None:
        for peer in self.connections:
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.listener.close()
        self.hang_up()


def send(out: Callable[[bytes], object], replies: list[Reply]) -> bool:
    """Send each when it is due; False if one of them is to hang up."""
    began = time.monotonic()
    for delay_s, data in replies:
        time.sleep(max(0.0, began + delay_s - time.monotonic()))
        if data is None:
            return False
        out(data)
    return True


@contextmanager
def tcp_server(emulator: Script) -> Iterator[_Listener]:
    """Bytes as they are."""

    def serve(peer: socket.socket) -> None:
        replies = emulator.connected()
        while True:
            if not send(peer.sendall, replies):
                return
            heard = peer.recv(4096)
            if not heard:
                return
            replies = emulator.receive(heard)

    server = _Listener(serve)
    try:
        yield server
    finally:
        server.close()


def _exactly(peer: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = peer.recv(count - len(data))
        if not more:
            raise EOFError
        data += more
    return data


@contextmanager
def hislip_server(emulator: Script) -> Iterator[_Listener]:
    """HiSLIP 1.0 as far as clients in synchronised mode need it (IVI-6.1)."""
    clears = 0

    def message(kind: int, control: int = 0, parameter: int = 0, payload: bytes = b"") -> bytes:
        return struct.pack("!2sBBIQ", b"HS", kind, control, parameter, len(payload)) + payload

    def reply(peer: socket.socket, replies: list[Reply], number: int, before: int) -> None:
        def out(data: bytes) -> None:
            if clears == before:  # device clear drops what is under way
                peer.sendall(message(7, 0, number, data))

        with contextlib.suppress(OSError):
            if not send(out, replies):
                peer.shutdown(socket.SHUT_RDWR)

    def serve(peer: socket.socket) -> None:
        nonlocal clears
        while True:
            _, kind, _, parameter, length = struct.unpack("!2sBBIQ", _exactly(peer, 16))
            payload = _exactly(peer, length)
            if kind == 0:
                emulator.connected()
                peer.sendall(message(1, 0, 0x0100_0001))
            elif kind == 17:
                peer.sendall(message(18))
            elif kind == 15:
                peer.sendall(message(16, 0, 0, payload))
            elif kind in (6, 7):  # answers in a thread, so that a late one does not hold up a device clear
                replies = emulator.receive(payload)
                threading.Thread(target=reply, args=(peer, replies, parameter, clears), daemon=True).start()
            elif kind == 19:
                clears += 1
                emulator.heard.append("(clear)")
                peer.sendall(message(23))
            elif kind == 8:
                peer.sendall(message(9))

    server = _Listener(serve)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def vxi11_server(emulator: Script) -> Iterator[_Listener]:
    """The core channel of VXI-11 on a port of its own (VXIbus TCP/IP instrument protocol, revision 1.0).

    A read of what was not asked for is an error of IEEE 488.2, -420 Query UNTERMINATED: noted among what was heard.
    """

    def opaque(data: bytes) -> bytes:
        return struct.pack("!I", len(data)) + data + bytes(-len(data) % 4)

    def serve(peer: socket.socket) -> None:
        output: list[tuple[float, bytes | None]] = []  # due time, bytes
        asked = False
        while True:
            (header,) = struct.unpack("!I", _exactly(peer, 4))
            call = _exactly(peer, header & 0x7FFF_FFFF)
            xid, _, _, _, _, procedure = struct.unpack("!6I", call[:24])
            arguments = call[40:]  # after two empty authentications
            if procedure == 10:
                emulator.connected()
                result = struct.pack("!4I", 0, 1, 0, 1 << 20)
            elif procedure == 11:
                (size,) = struct.unpack("!I", arguments[16:20])
                asked, now = True, time.monotonic()
                output += [(now + delay_s, data) for delay_s, data in emulator.receive(arguments[20 : 20 + size])]
                result = struct.pack("!2I", 0, size)
            elif procedure == 12:
                if not asked:
                    emulator.heard.append("(-420)")
                _, wanted, timeout_ms = struct.unpack("!3I", arguments[:12])
                until = time.monotonic() + timeout_ms / 1000
                while time.monotonic() < until and not (output and output[0][0] <= time.monotonic()):
                    time.sleep(0.001)
                if not (output and output[0][0] <= time.monotonic()):
                    result = struct.pack("!2I", 15, 0) + opaque(b"")
                else:
                    due, data = output.pop(0)
                    if data is None:
                        return
                    if rest := data[wanted:]:
                        output.insert(0, (due, rest))
                    result = struct.pack("!2I", 0, 0 if rest else 4) + opaque(data[:wanted])
            elif procedure == 15:
                emulator.heard.append("(clear)")
                asked = False
                output.clear()
                result = struct.pack("!I", 0)
            else:
                result = struct.pack("!I", 0)
            answer = struct.pack("!6I", xid, 1, 0, 0, 0, 0) + result
            peer.sendall(struct.pack("!I", 0x8000_0000 | len(answer)) + answer)

    server = _Listener(serve)
    try:
        yield server
    finally:
        server.close()
