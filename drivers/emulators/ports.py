"""What emulators need of a simulated world, one port a kind of instrument. Worlds fill them, drivers never see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray


class SurfacePort(Protocol):
    """The world as a metasurface controller changes it."""

    @property
    def n_pixels(self) -> int:
        """Pixels that exist."""

    @property
    def bits(self) -> int:
        """Bits of one pixel: states 0 to 2^bits - 1."""

    @property
    def pattern(self) -> NDArray[np.int64]:
        """State of each pixel, (n_pixels,)."""

    def set_pattern(self, states: ArrayLike) -> None:
        """Set all pixels, (n_pixels,). The first one after a sweep begins the next shot."""


class NetworkPort(Protocol):
    """The world as a vector network analyser measures it; also the way in for those who run a simulation."""

    @property
    def n_ports(self) -> int:
        """Ports of the analyser that are connected, numbered from 1."""

    def sweep(
        self,
        frequencies_hz: ArrayLike,
        ports: Sequence[tuple[int, int]],
        *,
        if_bandwidth_hz: float,
        power_dbm: float | None,
        averages: int = 1,
    ) -> NDArray[np.complex128]:
        """S-parameters (len(ports), points) for pairs (to, from), as the receivers see them: S21 is (2, 1).

        `power_dbm` None: the source is off and receivers see noise alone. Averages are of complex values.
        """

    def restart(self, seed: int) -> None:
        """Shot 0 again, with this seed for noise and drift."""

    def begin_shot(self, shot: int) -> None:
        """The next sweep belongs to this shot, whatever came before: for a shot that is repeated."""

    def disturb(self, name: str, *, at_shot: int = 0, **values: Any) -> None:
        """Something happens to the world, for the answers to this shot and later ones; InputError for what cannot."""


class SensorPort(Protocol):
    """The world as sensors read it."""

    def read(self, name: str) -> float:
        """A quantity now, by its name with the unit: ``temperature_c``, ``power_w``; KeyError if there is none."""
