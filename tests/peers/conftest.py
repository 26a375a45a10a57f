"""An emulated instrument behind a transport, for software that was not written here.

The clients come with ``pip install -e ".[peers]"``; what is not installed is skipped and says so. The fixture `bench`
is the Keysight PNA on a TCP port; a fixture of one's own for another instrument, or another transport:

    @pytest.fixture
    def znb() -> Iterator[Bench]:
        with bench_of(RohdeSchwarzZnb, outlet=HislipOutlet) as bench:
            yield bench
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from labtrain.clock import Clock, RealClock
from labtrain.drivers.emulators.emulator import Emulator
from labtrain.drivers.emulators.ports import NetworkPort
from labtrain.drivers.emulators.serving import server as serve
from labtrain.drivers.emulators.serving.outlet import Outlet
from labtrain.drivers.emulators.serving.server import Server
from labtrain.drivers.emulators.serving.tcp import TcpOutlet
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

    def disturb(self, name: str, *, at_shot: int = 0, **values: Any) -> None:
        self.network.disturb(name, at_shot=at_shot, **values)


MakeEmulator = Callable[..., Emulator]
MakeOutlet = Callable[[str, Emulator, Clock], Outlet]


class Bench:
    """The room, what its analyser heard from it last, and where a VISA client finds that.

    Parameters
    ----------
    world : MicrowaveWorld
        In the `witness`, which the emulator stands in front of.
    emulator : callable
        Class of the emulator, made as ``emulator(port, clock, timing=..., **options)``.
    outlet : callable
        Class of the outlet, made as ``outlet("vna", emulator, clock)``.
    port : object, optional
        What the emulator stands in front of instead, for one that is no network analyser.
    timing : bool
    options
        More for the emulator.
    """

    def __init__(
        self,
        world: MicrowaveWorld,
        emulator: MakeEmulator = KeysightPna,
        outlet: MakeOutlet = TcpOutlet,
        *,
        port: object = None,
        timing: bool = False,
        **options: Any,
    ) -> None:
        self.world = world
        self.witness = Witness(world)
        self.clock = RealClock()
        self.emulator: Any = emulator(port or self.witness, self.clock, timing=timing, **options)
        self.outlet = outlet("vna", self.emulator, self.clock)

    @property
    def resource(self) -> str:
        return self.outlet.visa


def room() -> MicrowaveWorld:
    """Small, and with noise."""
    return MicrowaveWorld(MicrowaveParameters(pixels=8, scatterers=2, length=5.0, width=4.0), seed=3)


@contextmanager
def bench_of(emulator: MakeEmulator = KeysightPna, outlet: MakeOutlet = TcpOutlet, **options: Any) -> Iterator[Bench]:
    """A bench that is served; `options` are those of Bench."""
    bench = Bench(room(), emulator, outlet, **options)
    stopped = threading.Event()
    with patch.object(serve, "POLL_S", 0.01), Server([bench.outlet], bench.clock) as server:
        thread = threading.Thread(target=server.run, args=(stopped.is_set,))
        thread.start()
        try:
            yield bench
        finally:
            stopped.set()
            thread.join()


@pytest.fixture
def timing() -> bool:
    """Whether sweeps take their time; tests override it."""
    return False


@pytest.fixture
def bench(timing: bool) -> Iterator[Bench]:
    with bench_of(timing=timing) as bench:
        yield bench
