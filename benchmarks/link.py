"""What the byte pipe costs: a short question and a block of 1,600 complex numbers through each Link, and a raw socket.

All ask the same server, a single thread in another process that answers at once, in turns and in random order. The
link holds its lock from question to answer, looks for bytes that nobody asked for, finds the end of the line and reads
the block by its header; the raw socket sends and receives, knowing how many bytes will come. pyvisa alone is
``query`` and ``query_binary_values`` of a pyvisa resource on pyvisa-py. In memory there is no server but a function:
that row is the link's own time.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import selectors
import socket
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from labtrain.clock import RealClock
from labtrain.drivers.address import make_link
from labtrain.drivers.blocks import block, read_block
from labtrain.drivers.emulators.emulator import Reply
from labtrain.drivers.link import Link

LINE = b"+1.00000000000E+000\n"
BLOCK = block(bytes(range(256)) * 100) + b"\n"  # 25.6 kB: 1,600 pairs of doubles
QUESTIONS = {b"Q?\n": LINE, b"D?\n": BLOCK}
BAR = 3.0  # times the raw socket, on pyvisa-py
WARM_UP = 200

Ask = Callable[[], object]


def serve(told: Connection) -> None:
    """Answer all connections, one question at a time."""
    with socket.create_server(("127.0.0.1", 0)) as listener, selectors.DefaultSelector() as ready:
        told.send(listener.getsockname()[1])
        ready.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                if key.fileobj is listener:
                    peer, _ = listener.accept()
                    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    ready.register(peer, selectors.EVENT_READ, peer)
                elif question := key.data.recv(4096):
                    key.data.sendall(QUESTIONS[question])
                else:
                    ready.unregister(key.data)
                    key.data.close()


class Answers:
    """The same server as an emulator in memory."""

    def connected(self) -> list[Reply]:
        return []

    def receive(self, data: bytes) -> list[Reply]:
        return [(0.0, QUESTIONS[data])]


def raw(port: int) -> tuple[Ask, Ask]:
    """Question and block through a socket."""
    bare = socket.create_connection(("127.0.0.1", port))
    bare.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(question: bytes, size: int) -> bytearray:
        bare.sendall(question)
        answer = bytearray()
        while len(answer) < size:
            answer += bare.recv(1 << 16)
        return answer

    return lambda: ask(b"Q?\n", len(LINE)), lambda: ask(b"D?\n", len(BLOCK))


def linked(link: Link) -> tuple[Ask, Ask]:
    """The same through a link, as a driver does it."""
    link.open()

    def question() -> bytes:
        with link.exchange():
            link.write(b"Q?\n")
            return link.read_until(b"\n")

    def data() -> bytes:
        with link.exchange():
            link.write(b"D?\n")
            return read_block(link)

    assert (question(), data()) == (LINE, BLOCK[7:])
    return question, data


def pyvisa_alone(port: int) -> tuple[Ask, Ask]:
    """The same through a resource of pyvisa."""
    import pyvisa

    resource: Any = pyvisa.ResourceManager("@py").open_resource(f"TCPIP::127.0.0.1::{port}::SOCKET")
    resource.read_termination = resource.write_termination = "\n"
    return lambda: resource.query("Q?"), lambda: resource.query_binary_values("D?", datatype="B", container=bytes)


def measure(repetitions: int) -> dict[str, dict[str, list[float]]]:
    """Microseconds of each repetition, by question and way."""
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(there,), daemon=True)
    server.start()
    port = here.recv()
    clock = RealClock()
    ways = {
        "raw socket": raw(port),
        "Link on pyvisa-py": linked(make_link("vna", f"TCPIP::127.0.0.1::{port}::SOCKET", clock)),
        "Link on tcp://": linked(make_link("vna", f"tcp://127.0.0.1:{port}", clock)),
        "pyvisa alone": pyvisa_alone(port),
        "Link in memory": linked(make_link("vna", "sim", clock, emulator=Answers())),
    }
    times: dict[str, dict[str, list[float]]] = {
        what: {way: [] for way in ways} for what in ("short question", "block of 25.6 kB")
    }
    order = list(ways)
    for number, found in enumerate(times.values()):
        for repetition in range(repetitions + WARM_UP):
            random.shuffle(order)
            for way in order:
                ask = ways[way][number]
                started = time.perf_counter()
                ask()
                if repetition >= WARM_UP:
                    found[way].append(1e6 * (time.perf_counter() - started))
    server.kill()
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=3000)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    options = parser.parse_args()
    random.seed(0)
    times = measure(options.repetitions)
    report = {
        what: {
            way: {
                "median_us": statistics.median(values),
                "p90_us": statistics.quantiles(values, n=10)[-1],
                "ratio": statistics.median(values) / statistics.median(found["raw socket"]),
            }
            for way, values in found.items()
        }
        for what, found in times.items()
    }
    if options.json:
        print(json.dumps(report))
        return
    from common import show

    for what, found in report.items():
        show(
            f"{what}: microseconds, {options.repetitions} times",
            ("through", "median", "90 % within", "x raw socket", "bar"),
            (
                (way, f"{v['median_us']:.1f}", f"{v['p90_us']:.1f}", f"{v['ratio']:.2f}",
                 f"{BAR:g}" if way == "Link on pyvisa-py" else "")
                for way, v in found.items()
            ),
        )  # fmt: skip


if __name__ == "__main__":
    main()
