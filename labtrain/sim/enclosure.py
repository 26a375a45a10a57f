"""The room as it stands at a shot: reduced once per set of frequencies, kept until something moves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from labtrain.sim.flips import Flips
from labtrain.sim.room import Geometry, MicrowaveParameters, place

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]
States = NDArray[np.int64]

KEPT_POINTS = 4096  # frequencies whose reduced rooms are kept, those of all sweeps together


class Enclosure:
    """Walls, scatterers, antennas and pixels, and what has moved.

    Attributes
    ----------
    offset_m : list of (float, float)
        By how much each scatterer was moved.
    """

    def __init__(self, parameters: MicrowaveParameters) -> None:
        self.parameters = parameters
        self.placed = place(parameters)
        self.offset_m = [(0.0, 0.0)] * parameters.scatterers
        self._reduced: dict[tuple[bytes, bool, tuple[tuple[float, float], ...]], Flips] = {}

    def s_parameters(
        self, patterns: States, first_shot: int, frequencies_hz: Array, pairs: Sequence[tuple[int, int]]
    ) -> Complex:
        """S-parameters (n, len(pairs), points) of patterns (n, pixels) at first_shot, first_shot + 1, ..."""
        n, moves_at = len(patterns), self.parameters.scatterer_moves_at_shot
        if moves_at is None or not first_shot < moves_at < first_shot + n:
            return self.reduced(frequencies_hz, first_shot).s_parameters(patterns, pairs)
        before = moves_at - first_shot
        return np.concatenate(
            [
                self.reduced(frequencies_hz, first_shot).s_parameters(patterns[:before], pairs),
                self.reduced(frequencies_hz, moves_at).s_parameters(patterns[before:], pairs),
            ]
        )

    def unreduced(self, patterns: States, shot: int, frequencies_hz: Array) -> Complex:
        """S-matrices (n, points, ports, ports) by one solve with all dipoles for each pattern and frequency."""
        p, geometry = self.parameters, self.geometry(shot)
        port = len(geometry.walls) + len(geometry.scatterers) + np.arange(p.antennas)
        s = np.empty((len(patterns), len(frequencies_hz), p.antennas, p.antennas), dtype=np.complex128)
        for row, pattern in enumerate(patterns):
            dipoles = geometry.dipoles(p, pattern)
            unit = np.eye(len(dipoles.position))[:, port]
            for point, frequency in enumerate(frequencies_hz / p.f0_hz):
                inverse = np.linalg.solve(dipoles.interaction(frequency), unit)[port]
                s[row, point] = p.cable_gain * (np.eye(p.antennas) - 2j * p.port_share(frequency) * inverse)
        return s

    def reduced(self, frequencies_hz: Array, shot: int) -> Flips:
        """The room at a shot without walls and scatterers, but with what they do."""
        key = frequencies_hz.tobytes(), self._bumped(shot), tuple(self.offset_m)
        if key not in self._reduced:
            p, geometry, f = self.parameters, self.geometry(shot), frequencies_hz / self.parameters.f0_hz
            dipoles = geometry.dipoles(p, np.zeros(p.pixels, dtype=np.int64))
            eliminated = len(geometry.walls) + len(geometry.scatterers)
            w = np.array([dipoles.reduced(frequency, eliminated) for frequency in f])
            self._reduced[key] = Flips(w, p.antennas, p.pixel_changes, p.port_share(f), p.cable_gain)
            while len(self._reduced) > 1 and sum(room.points for room in self._reduced.values()) > KEPT_POINTS:
                del self._reduced[next(iter(self._reduced))]
        return self._reduced[key]

    def geometry(self, shot: int) -> Geometry:
        """Where everything stands at a shot."""
        offset_m = np.array(self.offset_m).reshape(-1, 2)
        if self._bumped(shot):
            offset_m[:1, 0] += self.parameters.scatterer_move_m
        scatterers = self.placed.scatterers + offset_m / self.parameters.wavelength_m
        return Geometry(self.placed.walls, scatterers, self.placed.antennas, self.placed.pixels)

    def _bumped(self, shot: int) -> bool:
        moves_at = self.parameters.scatterer_moves_at_shot
        return moves_at is not None and shot >= moves_at
