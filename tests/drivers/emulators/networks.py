"""A network for analysers in tests: a closed form that differs between ports, and writes down what it was asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labtrain.errors import InputError


@dataclass(frozen=True)
class Asked:
    """One sweep as the network was asked for it."""

    frequencies_hz: NDArray[np.float64]
    ports: tuple[tuple[int, int], ...]
    if_bandwidth_hz: float
    power_dbm: float | None
    averages: int


class Network:
    """S(to, from) of frequency, not reciprocal; `offset` makes the network another one; without power S is zero."""

    def __init__(self, n_ports: int = 2) -> None:
        self.n_ports = n_ports
        self.offset = 0.0 + 0.0j
        self.asked: list[Asked] = []
        self.simulated: list[tuple[str, int]] = []
        self.disturbed: list[tuple[str, int, dict[str, Any]]] = []

    def s(self, frequencies_hz: ArrayLike, to: int, source: int) -> NDArray[np.complex128]:
        """The S-parameter as it is now, (points,)."""
        turns = np.asarray(frequencies_hz) / 1e9
        return (0.9 / to - 0.05j * source) / (1 + 0.3j * turns) * np.exp(-2j * np.pi * 0.37 * turns) + self.offset

    def sweep(
        self,
        frequencies_hz: ArrayLike,
        ports: Sequence[tuple[int, int]],
        *,
        if_bandwidth_hz: float,
        power_dbm: float | None,
        averages: int = 1,
    ) -> NDArray[np.complex128]:
        frequencies = np.array(frequencies_hz)
        self.asked.append(Asked(frequencies, tuple(ports), if_bandwidth_hz, power_dbm, averages))
        return np.array([(power_dbm is not None) * self.s(frequencies, *pair) for pair in ports])

    def restart(self, seed: int) -> None:
        self.simulated.append(("restart", seed))

    def begin_shot(self, shot: int) -> None:
        self.simulated.append(("shot", shot))

    def disturb(self, name: str, *, at_shot: int = 0, **values: Any) -> None:
        if name == "unknown":
            raise InputError("network: unknown disturbance 'unknown'; known: all others")
        self.disturbed.append((name, at_shot, values))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"an analyser asked its network for {name}")
