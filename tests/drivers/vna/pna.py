"""An analyser and its driver, with all bytes between them written down: a Keysight PNA, unless a subclass says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labtrain.clock import SimulatedClock
from labtrain.drivers.backends.memory import MemoryLink
from labtrain.drivers.emulators.vna import keysight_pna as emulated
from labtrain.drivers.vna.keysight_pna import KeysightPna
from labtrain.errors import InputError
from tests.drivers.wires import Wire

GRID = np.linspace(5.15e9, 5.875e9, 21)


class Network:
    """Answers with what tells frequency, ports and number of the sweep apart; remembers what it was asked."""

    def __init__(self, n_ports: int = 2) -> None:
        self.n_ports = n_ports
        self.sweeps: list[dict[str, Any]] = []
        self.restarted: list[int] = []
        self.shots: list[int] = []
        self.disturbed: list[tuple[str, int, dict[str, Any]]] = []

    def value(self, frequency_hz: NDArray[np.float64], to: int, source: int) -> NDArray[np.complex128]:
        return frequency_hz / 1e9 * (1 + 0.1j * to - 0.01j * source) + len(self.sweeps)

    def sweep(
        self,
        frequencies_hz: ArrayLike,
        ports: Sequence[tuple[int, int]],
        *,
        if_bandwidth_hz: float,
        power_dbm: float | None,
        averages: int = 1,
    ) -> NDArray[np.complex128]:
        frequencies = np.asarray(frequencies_hz)
        self.sweeps.append(
            {"frequencies": frequencies, "ports": list(ports), "bandwidth": if_bandwidth_hz, "power": power_dbm,
             "averages": averages}
        )  # fmt: skip
        return np.array([self.value(frequencies, to, source) for to, source in ports])

    def restart(self, seed: int) -> None:
        self.restarted.append(seed)

    def begin_shot(self, shot: int) -> None:
        self.shots.append(shot)

    def disturb(self, name: str, *, at_shot: int = 0, **values: Any) -> None:
        if name == "unknown":
            raise InputError("network: unknown disturbance 'unknown'; known: all others")
        self.disturbed.append((name, at_shot, values))


class Bench:
    """Analyser, wire and driver; not open yet.

    Parameters
    ----------
    n_ports : int
    timing : bool
        Sweeps take their time, on a simulated clock.
    config
        Keys of the driver's config.
    """

    EMULATOR: ClassVar[Any] = emulated.KeysightPna
    DRIVER: ClassVar[Any] = KeysightPna

    def __init__(self, *, n_ports: int = 2, timing: bool = False, timeout_s: float = 5.0, **config: Any) -> None:
        self.clock = SimulatedClock()
        self.network = Network(n_ports)
        self.emulator = self.EMULATOR(self.network, self.clock, timing=timing)
        self.wire = Wire(self.emulator)
        self.config = config
        self.timeout_s = timeout_s
        self.link, self.vna = self.driver()

    def driver(self) -> tuple[MemoryLink, Any]:
        """Another driver of the same analyser."""
        link = MemoryLink("vna", self.wire, self.clock, timeout_s=self.timeout_s)
        return link, self.DRIVER(link, self.DRIVER.Config(**self.config), self.clock)

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
        self.network.sweeps.clear()
        return self.vna

    def tell(self, *orders: str) -> None:
        """What somebody does at the front panel."""
        for order in orders:
            assert self.emulator.receive(order.encode() + b"\n") == []
        ((_, error),) = self.emulator.receive(b"SYST:ERR?\n")
        assert error.lstrip(b"+") == b'0,"No error"\n', (orders, error)
