"""The room as it stands: reduced once per set of frequencies, kept until something moves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from labtrain.sim.flips import Flips
from labtrain.sim.room import Geometry, MicrowaveParameters, place

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]
States = NDArray[np.int64]
Moved = tuple[tuple[float, float], ...]

KEPT_POINTS = 4096  # frequencies whose reduced rooms are kept, those of all sweeps together


class Enclosure:
    """Walls, scatterers, antennas and pixels; `moved_m`, everywhere, is by how much each scatterer was moved."""

    def __init__(self, parameters: MicrowaveParameters) -> None:
        self.parameters = parameters
        self.placed = place(parameters)
        self._reduced: dict[tuple[bytes, Moved], Flips] = {}

    def unreduced(self, patterns: States, moved_m: Moved, frequencies_hz: Array) -> Complex:
        """S-matrices (n, points, ports, ports) by one solve with all dipoles for each pattern and frequency."""
        p, geometry = self.parameters, self.geometry(moved_m)
        port = len(geometry.walls) + len(geometry.scatterers) + np.arange(p.antennas)
        s = np.empty((len(patterns), len(frequencies_hz), p.antennas, p.antennas), dtype=np.complex128)
        for row, pattern in enumerate(patterns):
            dipoles = geometry.dipoles(p, pattern)
            unit = np.eye(len(dipoles.position))[:, port]
            for point, frequency in enumerate(frequencies_hz / p.f0_hz):
                inverse = np.linalg.solve(dipoles.interaction(frequency), unit)[port]
                s[row, point] = p.cable_gain * (np.eye(p.antennas) - 2j * p.port_share(frequency) * inverse)
        return s

    def reduced(self, frequencies_hz: Array, moved_m: Moved) -> Flips:
        """The room without walls and scatterers, but with what they do."""
        key = frequencies_hz.tobytes(), moved_m
        if key not in self._reduced:
            p, geometry, f = self.parameters, self.geometry(moved_m), frequencies_hz / self.parameters.f0_hz
            dipoles = geometry.dipoles(p, np.zeros(p.pixels, dtype=np.int64))
            eliminated = len(geometry.walls) + len(geometry.scatterers)
            w = np.array([dipoles.reduced(frequency, eliminated) for frequency in f])
            self._reduced[key] = Flips(w, p.antennas, p.pixel_changes, p.port_share(f), p.cable_gain)
            while len(self._reduced) > 1 and sum(room.points for room in self._reduced.values()) > KEPT_POINTS:
                del self._reduced[next(iter(self._reduced))]
        return self._reduced[key]

    def geometry(self, moved_m: Moved) -> Geometry:
        """Where everything stands."""
        scatterers = self.placed.scatterers + np.array(moved_m).reshape(-1, 2) / self.parameters.wavelength_m
        return Geometry(self.placed.walls, scatterers, self.placed.antennas, self.placed.pixels)
