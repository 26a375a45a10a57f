"""Small analysers and their drivers, with all bytes between them written down, and sessions with something wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labtrain.clock import SimulatedClock
from labtrain.drivers.backends.memory import MemoryLink
from labtrain.drivers.emulators.emulator import Reply
from labtrain.drivers.emulators.faults import Fault, Faulty
from labtrain.drivers.vna.vna import Vna, ports_of
from labtrain.errors import InstrumentError
from labtrain.registry import emulator_of
from tests.drivers.emulators.networks import Network

GRID = np.linspace(1e9, 1.2e9, 21)
KINDS: tuple[dict[str, Any], ...] = (
    {"kind": "late", "number": 3.0},
    {"kind": "no reply"},
    {"kind": "truncated"},
    {"kind": "garbage"},
    {"kind": "disconnect"},
    {"kind": "reboot"},
)
MORE_KINDS: tuple[dict[str, Any], ...] = (
    {"kind": "late", "number": 0.5},
    {"kind": "late", "number": 30.0},
    {"kind": "truncated", "number": 1},
    {"kind": "truncated", "number": 90},
)


class Wire:
    """An emulator around another one, that remembers what came.

    Attributes
    ----------
    heard : bytearray
    spoils : list of callable
        Each is used up by the next message that is answered.
    """

    def __init__(self, emulator: Any) -> None:
        self.emulator = emulator
        self.heard = bytearray()
        self.spoils: list[Callable[[list[Reply]], list[Reply]]] = []

    def connected(self) -> list[Reply]:
        return list(self.emulator.connected())

    def receive(self, data: bytes) -> list[Reply]:
        self.heard += data
        replies = list(self.emulator.receive(data))
        return self.spoils.pop(0)(replies) if replies and self.spoils else replies


class Bench:
    """Analyser, wire and driver; not open yet.

    Parameters
    ----------
    cls : type of Vna
    timing : bool
        Sweeps take their time, on a simulated clock.
    faults : iterable of Fault
    options : dict, optional
        More for the emulator.
    config
        Keys of the driver's config.
    """

    def __init__(
        self,
        cls: type[Vna],
        *,
        timing: bool = False,
        faults: Iterable[Fault] = (),
        options: dict[str, Any] | None = None,
        timeout_s: float = 1.0,
        n_ports: int = 2,
        **config: Any,
    ) -> None:
        self.clock = SimulatedClock()
        self.network = Network(n_ports)
        made = emulator_of(cls)
        assert made is not None
        self.emulator = made(self.network, self.clock, timing=timing, **(options or {}))
        self.faulty = Faulty(self.emulator, faults)
        self.wire = Wire(self.faulty)
        self.link = MemoryLink("vna", self.wire, self.clock, timeout_s=timeout_s)
        self.vna: Any = cls(self.link, cls.Config(**config), self.clock)

    def open(self) -> Any:
        self.vna.open()
        self.wire.heard.clear()
        return self.vna

    def ready(self, frequencies_hz: ArrayLike = GRID) -> Any:
        """Open, configured, RF on."""
        self.vna.open()
        self.vna.configure(frequencies_hz)
        self.vna.rf(True)
        self.wire.heard.clear()
        self.network.asked.clear()
        return self.vna

    def expected(self, frequencies_hz: ArrayLike = GRID) -> NDArray[np.complex128]:
        """What the network is now, (s_parameters, points)."""
        return np.array([self.network.s(frequencies_hz, *ports_of(s)) for s in self.vna.config.s_parameters])


def session(bench: Bench, tolerance: float, shots: int = 3, attempts: int = 4) -> int:
    """A short run as a rig does it: open again and repeat when something went wrong; how often that was.

    Every reading must be that of the network as it is at the time, which differs from shot to shot.
    """
    vna, failures, shot, ready = bench.vna, 0, 0, False
    while shot < shots:
        bench.network.offset = 0.1 * (shot + 1) + 0.02j * failures
        try:
            if not ready:
                vna.drop()
                vna.open()
                vna.configure(GRID)
                vna.rf(True)
                ready = True
            np.testing.assert_allclose(vna.sweep(), bench.expected(), rtol=tolerance, atol=tolerance)
            shot += 1
        except InstrumentError as error:
            assert "\n" not in str(error) and str(error).startswith("vna (sim): ")
            failures, ready = failures + 1, False
            assert failures < attempts, error
    try:
        vna.close()
    except InstrumentError as error:
        assert "\n" not in str(error) and str(error).startswith("vna (sim): ")
        failures += 1
    assert not vna.is_open
    return failures


def messages(bench: Bench, tolerance: float, shots: int = 3) -> int:
    """How many messages such a session has."""
    counted = 0
    message_length = bench.faulty._message_length

    def count(data: bytes) -> int:
        nonlocal counted
        length = message_length(data)
        counted += length > 0
        return length

    bench.faulty._message_length = count  # type: ignore[method-assign]
    assert session(bench, tolerance, shots) == 0
    return counted
