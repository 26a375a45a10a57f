"""Two worlds in closed form, without noise and without drift, in front of which emulators can be tried."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labtrain.errors import InputError


class Pixels:
    """A world of nothing but pixels, for emulators of metasurfaces: a SurfacePort.

    Parameters
    ----------
    n_pixels : int
    bits : int
        Of one pixel.
    """

    def __init__(self, n_pixels: int, bits: int = 1) -> None:
        self.bits = bits
        self.pattern: NDArray[np.int64] = np.zeros(n_pixels, dtype=np.int64)

    @property
    def n_pixels(self) -> int:
        """Pixels that exist."""
        return len(self.pattern)

    def set_pattern(self, states: ArrayLike) -> None:
        """Set all pixels, (n_pixels,)."""
        given = np.asarray(states, dtype=np.int64)
        if given.shape != self.pattern.shape or (given < 0).any() or (given >= 1 << self.bits).any():
            raise ValueError(f"a pattern {given.shape} for {self.n_pixels} pixels of {self.bits} bits")
        self.pattern = given.copy()


class Network:
    """A network in closed form, for emulators of network analysers: a NetworkPort. It differs between ports.

    Parameters
    ----------
    n_ports : int
        Ports of the analyser.
    """

    def __init__(self, n_ports: int = 2) -> None:
        self.n_ports = n_ports

    def s(self, frequencies_hz: ArrayLike, to: int, source: int) -> NDArray[np.complex128]:
        """S-parameter (points,)."""
        turns = np.asarray(frequencies_hz, dtype=np.float64) / 1e9
        wave: NDArray[np.complex128] = np.exp(-2j * np.pi * 0.37 * turns) / (1 + 0.3j * turns)
        return (0.9 / to - 0.05j * source) * wave

    def sweep(
        self,
        frequencies_hz: ArrayLike,
        ports: Sequence[tuple[int, int]],
        *,
        if_bandwidth_hz: float,
        power_dbm: float | None,
        averages: int = 1,
    ) -> NDArray[np.complex128]:
        """S-parameters (len(ports), points); zero while the source is off."""
        del if_bandwidth_hz, averages
        return np.array([(power_dbm is not None) * self.s(frequencies_hz, *pair) for pair in ports])

    def restart(self, seed: int) -> None:
        """Without noise there is nothing to begin anew."""

    def disturb(self, name: str, *, at_shot: int = 0, **values: Any) -> None:  # noqa: ARG002 (nothing can change)
        """Refuse it, for nothing can happen to a formula."""
        raise InputError(f"plain network: unknown disturbance {name!r}; known: none")

    def begin_shot(self, shot: int) -> None:
        """Without noise all shots are alike."""
