"""An emulated instrument on a TCP port, for software that was not written here.

The clients come with ``pip install -e ".[peers]"``; what is not installed is skipped and says so.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from labtrain.clock import RealClock
from labtrain.drivers.emulators.ports import NetworkPort
from labtrain.drivers.emulators.serving import server as serve
from labtrain.drivers.emulators.serving.server import Server, TcpOutlet
from labtrain.drivers.emulators.vna.keysight_pna import KeysightPna
from labtrain.sim.microwave import MicrowaveParameters, MicrowaveWorld

Pair = tuple[int, int]


class Witness:
    """A network that remembers what it answered, and notices if it is another network than before."""

    def __init__(self, network: NetworkPort) -> None:
        self.network = network
        self.frequencies_hz = np.empty(0)
        self.traces: dict[Pair, NDArray[np.complex128]] = {}
        self.sweeps: list[dict[str, object]] = []

    @property
    def n_ports(self) -> int:
        return self.network.n_ports

    def sweep(
        self,
        frequencies_hz: ArrayLike,
        ports: Sequence[Pair],
        *,
        if_bandwidth_hz: float,
        power_dbm: float | None,
        averages: int = 1,
    ) -> NDArray[np.complex128]:
        settings = {"if_bandwidth_hz": if_bandwidth_hz, "power_dbm": power_dbm, "averages": averages}
        values = self.network.sweep(frequencies_hz, ports, **settings)  # type: ignore[arg-type]
        self.frequencies_hz = np.array(frequencies_hz)
        self.traces = dict(zip(ports, values, strict=True))
        self.sweeps.append(settings)
        return values

    def restart(self, seed: int) -> None:
        self.network.restart(seed)

    def begin_shot(self, shot: int) -> None:
        self.network.begin_shot(shot)


class Bench:
    """The room, what its analyser heard from it last, and where a VISA client finds that."""

    def __init__(self, world: MicrowaveWorld, timing: bool) -> None:
        self.world = world
        self.witness = Witness(world)
        self.clock = RealClock()
        self.emulator = KeysightPna(self.witness, self.clock, timing=timing)
        self.outlet = TcpOutlet("vna", self.emulator, self.clock)

    @property
    def resource(self) -> str:
        return f"TCPIP0::127.0.0.1::{self.outlet.port}::SOCKET"


def room() -> MicrowaveWorld:
    """Small, and with noise."""
    return MicrowaveWorld(MicrowaveParameters(pixels=8, scatterers=2, length=5.0, width=4.0), seed=3)


@pytest.fixture
def timing() -> bool:
    """Whether sweeps take their time; tests override it."""
    return False


@pytest.fixture
def bench(timing: bool, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(serve, "POLL_S", 0.01)
    bench = Bench(room(), timing)
    stopped = threading.Event()
    with Server([bench.outlet], bench.clock) as server:
        thread = threading.Thread(target=server.run, args=(stopped.is_set,))
        thread.start()
        try:
            yield bench
        finally:
            stopped.set()
            thread.join()
