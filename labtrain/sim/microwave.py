"""A simulated microwave room with a programmable metasurface: what its antennas measure for a pattern of the pixels.

Coupled dipoles (:mod:`labtrain.sim.dipoles`) stand for walls, scatterers, antennas and pixels
(:mod:`labtrain.sim.room`). Walls and scatterers are eliminated once per frequency, and each pattern is a few flips from
a reference pattern (:mod:`labtrain.sim.flips`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labtrain.errors import InputError
from labtrain.limits import did_you_mean
from labtrain.sim.dipoles import TAU
from labtrain.sim.flips import Flips
from labtrain.sim.noise import DRIFT, NOISE, philox, random_walk
from labtrain.sim.room import Geometry, MicrowaveParameters, dipoles, place, port_share

__all__ = ["HOLD", "NOMINAL_DBM", "MicrowaveParameters", "MicrowaveWorld"]

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]
States = NDArray[np.int64]

HOLD = 256  # shots between two steps of the drift's random walk, which goes straight from one to the next
NOMINAL_DBM = -10.0  # source power to which receivers refer their readings while the source is off


class MicrowaveWorld:
    """The room as a function of pattern and shot number; also a surface and a network port for emulators.

    Receiver noise is complex Gaussian, its power that of `noise_dbm_hz` in the IF bandwidth, less the source's; trace
    noise multiplies. Both are counter-based, keyed by seed, shot and number of the sweep within the shot. Drift
    multiplies all S-parameters by a slow function of the shot number: what cables do.

    Parameters
    ----------
    parameters : MicrowaveParameters
    seed : int
        Of noise and drift; the geometry has its own.
    """

    def __init__(self, parameters: MicrowaveParameters, seed: int) -> None:
        self.parameters = parameters
        self.seed = seed
        self.geometry = place(parameters)
        self._pattern: States = np.zeros(parameters.pixels, dtype=np.int64)
        self._shot, self._sweeps = 0, 0
        self._scatterer_offset_m = [(0.0, 0.0)] * parameters.scatterers
        self._cable_db, self._cable_rad = 0.0, 0.0
        self._flips: dict[tuple[bytes, bytes], Flips] = {}
        self._walks: dict[tuple[int, int, int], float] = {}

    @property
    def n_pixels(self) -> int:
        return self.parameters.pixels

    @property
    def bits(self) -> int:
        return self.parameters.bits

    @property
    def n_ports(self) -> int:
        return self.parameters.antennas

    @property
    def pattern(self) -> States:
        """State of each pixel, (n_pixels,)."""
        return self._pattern.copy()

    @property
    def shot(self) -> int:
        """Number of the shot under way."""
        return self._shot

    def set_pattern(self, states: ArrayLike) -> None:
        """Set all pixels, (n_pixels,). The first one after a sweep begins the next shot.

        Raises
        ------
        InputError
            If a state is missing, is no whole number or does not exist.
        """
        self._pattern = self._patterns(np.asarray(states)[None])[0]
        if self._sweeps > 0:
            self.begin_shot(self._shot + 1)

    def begin_shot(self, shot: int) -> None:
        """The next sweep is the first of this shot, whatever came before: for a shot that is repeated."""
        self._shot, self._sweeps = int(shot), 0

    def sweep(
        self,
        frequencies_hz: ArrayLike,
        ports: Sequence[tuple[int, int]],
        *,
        if_bandwidth_hz: float,
        power_dbm: float | None,
        averages: int = 1,
    ) -> Complex:
        """S-parameters as the receivers see them, of the present pattern.

        Parameters
        ----------
        frequencies_hz : array_like, (points,)
        ports : sequence of (to, from)
            Counted from 1: S21 is (2, 1).
        if_bandwidth_hz : float
        power_dbm : float or None
            None: the source is off, and receivers see noise alone, referred to -10 dBm.
        averages : int
            Sweeps averaged as complex numbers.

        Returns
        -------
        ndarray, (len(ports), points), complex128

        Raises
        ------
        InputError
            For frequencies, ports, bandwidths or averages that do not exist.
        """
        found = self._respond(
            self._pattern[None], self._shot, self._sweeps, frequencies_hz, ports, if_bandwidth_hz, power_dbm, averages
        )
        self._sweeps += 1
        return np.asarray(found[0])

    def respond(
        self,
        patterns: ArrayLike,
        first_shot: int,
        frequencies_hz: ArrayLike,
        ports: Sequence[tuple[int, int]],
        *,
        if_bandwidth_hz: float,
        power_dbm: float | None,
        averages: int = 1,
    ) -> Complex:
        """Patterns (n, n_pixels) as shots first_shot, first_shot + 1, ... of one sweep each, (n, len(ports), points).

        Bit for bit what :meth:`set_pattern` and :meth:`sweep` give one by one; pattern and shot of the world stay.
        """
        states = self._patterns(np.asarray(patterns))
        return self._respond(states, first_shot, 0, frequencies_hz, ports, if_bandwidth_hz, power_dbm, averages)

    def s_matrix(self, patterns: ArrayLike, frequencies_hz: ArrayLike) -> Complex:
        """Without noise and drift, (n, points, n_ports, n_ports), of patterns (n, n_pixels)."""
        states, f = self._patterns(np.asarray(patterns)), _frequencies(frequencies_hz)
        pairs = [(to + 1, source + 1) for to in range(self.n_ports) for source in range(self.n_ports)]
        s = self._room(f, 0).s_parameters(states, pairs)
        return np.ascontiguousarray(s.transpose(0, 2, 1)).reshape(len(states), len(f), self.n_ports, self.n_ports)

    def s_matrix_unreduced(self, patterns: ArrayLike, frequencies_hz: ArrayLike) -> Complex:
        """As :meth:`s_matrix`, by one solve with all dipoles per pattern and frequency: slow, for comparison."""
        states, f = self._patterns(np.asarray(patterns)), _frequencies(frequencies_hz)
        p, geometry = self.parameters, self._geometry(0)
        first = len(geometry.walls) + len(geometry.scatterers)
        port = np.arange(first, first + p.antennas)
        s = np.empty((len(states), len(f), p.antennas, p.antennas), dtype=np.complex128)
        for row, pattern in enumerate(states):
            everything = dipoles(p, geometry, pattern)
            for point, frequency in enumerate(f / p.f0_hz):
                unit = np.eye(len(everything.position))[:, port]
                inverse = np.linalg.solve(everything.interaction(frequency), unit)[port]
                s[row, point] = np.eye(p.antennas) - 2j * port_share(p, frequency) * inverse
        return s

    def restart(self, seed: int) -> None:
        """Shot 0 again, with this seed for noise and drift; disturbances are undone, the pattern stays."""
        self.seed = seed
        self._scatterer_offset_m = [(0.0, 0.0)] * self.parameters.scatterers
        self._cable_db, self._cable_rad = 0.0, 0.0
        self.begin_shot(0)

    def disturb(self, name: str, **values: float) -> None:
        """Change the world: ``"scatterer", scatterer=0, dx_m=0.01, dy_m=0`` or ``"cable", db=-0.1, rad=0.2``.

        Raises
        ------
        InputError
            For an unknown name, other values than these, or a scatterer that does not exist.
        """
        wanted = {"scatterer": {"scatterer", "dx_m", "dy_m"}, "cable": {"db", "rad"}}
        if name not in wanted:
            raise InputError(
                f"microwave world: unknown disturbance {name!r}{did_you_mean(name, wanted)}; known: {', '.join(wanted)}"
            )
        if set(values) != wanted[name]:
            raise InputError(
                f"microwave world: disturbance {name!r} takes {', '.join(sorted(wanted[name]))}, "
                f"got {', '.join(sorted(values)) or 'nothing'}"
            )
        if name == "cable":
            self._cable_db += float(values["db"])
            self._cable_rad += float(values["rad"])
            return
        which = int(values["scatterer"])
        if not 0 <= which < self.parameters.scatterers:
            raise InputError(
                f"microwave world: no scatterer {which}, there are {self.parameters.scatterers}, counted from 0"
            )
        dx, dy = self._scatterer_offset_m[which]
        self._scatterer_offset_m[which] = (dx + float(values["dx_m"]), dy + float(values["dy_m"]))

    def state(self) -> dict[str, Any]:
        """Seed, pattern, shot and disturbances, JSON-compatible."""
        return {
            "seed": self.seed,
            "pattern": self._pattern.tolist(),
            "shot": self._shot,
            "sweeps": self._sweeps,
            "scatterer_offset_m": [list(offset) for offset in self._scatterer_offset_m],
            "cable_db": self._cable_db,
            "cable_rad": self._cable_rad,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Return to a state that :meth:`state` gave."""
        self.seed = int(state["seed"])
        self._pattern = np.array(state["pattern"], dtype=np.int64)
        self._shot, self._sweeps = int(state["shot"]), int(state["sweeps"])
        self._scatterer_offset_m = [(float(dx), float(dy)) for dx, dy in state["scatterer_offset_m"]]
        self._cable_db, self._cable_rad = float(state["cable_db"]), float(state["cable_rad"])

    def _respond(
        self,
        patterns: States,
        first_shot: int,
        sweep: int,
        frequencies_hz: ArrayLike,
        ports: Sequence[tuple[int, int]],
        if_bandwidth_hz: float,
        power_dbm: float | None,
        averages: int,
    ) -> Complex:
        f = _frequencies(frequencies_hz)
        self._check(ports, if_bandwidth_hz, averages)
        p, n = self.parameters, len(patterns)
        dbm = NOMINAL_DBM if power_dbm is None else power_dbm
        noise = 10.0 ** ((p.noise_dbm_hz + 10.0 * math.log10(if_bandwidth_hz / averages) - dbm) / 20.0) / math.sqrt(2.0)
        trace = p.trace_noise / math.sqrt(2.0 * averages) if power_dbm is not None else 0.0
        normals = np.empty((n, 2, len(ports), len(f), 2))
        for row in range(n):
            normals[row] = philox(self.seed, NOISE, first_shot + row, sweep).standard_normal(normals.shape[1:])
        readings = noise * normals[:, 0]
        if power_dbm is not None:
            s = self._clean(patterns, first_shot, f, ports)
            factors = trace * normals[:, 1]
            factors[..., 0] += 1.0
            gains = np.array([self._cables(first_shot + row) for row in range(n)]).reshape(n, 1, 1, 2)
            readings += _product(_product(gains, factors), s.view(np.float64).reshape(normals[:, 0].shape))
        return np.asarray(readings.view(np.complex128)[..., 0])

    def _clean(self, patterns: States, first_shot: int, f: Array, ports: Sequence[tuple[int, int]]) -> Complex:
        """Without noise and drift, (n, len(ports), points)."""
        moves_at = self.parameters.scatterer_moves_at_shot
        before = len(patterns) if moves_at is None else min(max(moves_at - first_shot, 0), len(patterns))
        parts = [
            self._room(f, first_shot + start).s_parameters(patterns[start:stop], ports)
            for start, stop in ((0, before), (before, len(patterns)))
            if start < stop
        ]
        return np.concatenate(parts) if parts else np.empty((0, len(ports), len(f)), dtype=np.complex128)

    def _room(self, f: Array, shot: int) -> Flips:
        """The room at these frequencies as it stands at a shot."""
        geometry = self._geometry(shot)
        key = (f.tobytes(), geometry.scatterers.tobytes())
        if key not in self._flips:
            p = self.parameters
            points, eliminated = dipoles(p, geometry), len(geometry.walls) + len(geometry.scatterers)
            reduced = np.array([points.reduced(frequency, eliminated) for frequency in f / p.f0_hz])
            squares = (TAU * p.pixel_resonances) ** 2 / p.pixel_chi**2
            self._flips[key] = Flips(reduced, p.antennas, squares - squares[0], port_share(p, f / p.f0_hz))
            if len(self._flips) > 4:
                del self._flips[next(iter(self._flips))]
        return self._flips[key]

    def _geometry(self, shot: int) -> Geometry:
        """Where everything stands at a shot."""
        p = self.parameters
        offset_m = np.array(self._scatterer_offset_m).reshape(-1, 2)
        if p.scatterer_moves_at_shot is not None and shot >= p.scatterer_moves_at_shot and len(offset_m):
            offset_m[0, 0] += p.scatterer_move_m
        g = self.geometry
        return Geometry(g.walls, g.scatterers + offset_m / p.wavelength_m, g.antennas, g.pixels)

    def _cables(self, shot: int) -> tuple[float, float]:
        """Complex gain at a shot: real and imaginary part."""
        p = self.parameters
        sine = math.sin(TAU * shot / p.drift_period_shots)
        db = self._cable_db + p.drift_sine_db * sine + p.drift_walk_db * self._walk(0, shot)
        rad = self._cable_rad + p.drift_sine_rad * sine + p.drift_walk_rad * self._walk(1, shot)
        gain = 10.0 ** (db / 20.0)
        return gain * math.cos(rad), gain * math.sin(rad)

    def _walk(self, kind: int, shot: int) -> float:
        """Random walk of unit steps every HOLD shots, straight in between."""
        p = self.parameters
        if (p.drift_walk_db, p.drift_walk_rad)[kind] == 0:
            return 0.0
        hold, rest = divmod(shot, HOLD)
        for step in (hold, hold + 1):
            if (self.seed, kind, step) not in self._walks:
                if len(self._walks) > 64:
                    self._walks.clear()
                self._walks[self.seed, kind, step] = random_walk(self.seed, DRIFT + 16 * (kind + 1), step)
        start, end = self._walks[self.seed, kind, hold], self._walks[self.seed, kind, hold + 1]
        return start + (end - start) * rest / HOLD

    def _patterns(self, states: NDArray[Any]) -> States:
        if states.ndim != 2 or states.shape[1] != self.n_pixels:
            raise InputError(
                f"microwave world: patterns of shape {states.shape} are not (shots, {self.n_pixels}), one state a pixel"
            )
        whole = states.astype(np.int64)
        if not ((whole == states) & (whole >= 0) & (whole < 2**self.bits)).all():
            raise InputError(f"microwave world: a pixel has states 0 to {2**self.bits - 1}, got others")
        return whole

    def _check(self, ports: Sequence[tuple[int, int]], if_bandwidth_hz: float, averages: int) -> None:
        for to, source in ports:
            if not (1 <= to <= self.n_ports and 1 <= source <= self.n_ports):
                raise InputError(f"microwave world: no S-parameter ({to}, {source}), ports are 1 to {self.n_ports}")
        if not (math.isfinite(if_bandwidth_hz) and if_bandwidth_hz > 0) or averages < 1:
            raise InputError(
                f"microwave world: IF bandwidth {if_bandwidth_hz:g} Hz and {averages} averages must be positive"
            )


def _frequencies(frequencies_hz: ArrayLike) -> Array:
    f = np.asarray(frequencies_hz, dtype=np.float64)
    if f.ndim != 1 or not (np.isfinite(f) & (f > 0)).all():
        raise InputError("microwave world: frequencies must be a row of positive numbers in Hz")
    return f


def _product(a: Array, b: Array) -> Array:
    """Complex product of arrays (..., 2) of real and imaginary parts.

    Written out because a complex multiplication may round differently in the vectorised middle and at the end of an
    array, and an answer must not depend on its place in a batch.
    """
    return np.stack(
        [a[..., 0] * b[..., 0] - a[..., 1] * b[..., 1], a[..., 0] * b[..., 1] + a[..., 1] * b[..., 0]], axis=-1
    )
