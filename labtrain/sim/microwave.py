"""A simulated microwave room with a programmable metasurface: what its antennas measure for a pattern of the pixels.

Coupled dipoles (:mod:`labtrain.sim.dipoles`) stand for walls, scatterers, antennas and pixels
(:mod:`labtrain.sim.room`). Walls and scatterers are eliminated once per frequency, each pattern is a few flips from a
reference pattern (:mod:`labtrain.sim.flips`), and the receivers add noise and drift (:mod:`labtrain.sim.receivers`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labtrain.errors import InputError
from labtrain.sim.changes import differences
from labtrain.sim.disturbances import Event, Events, Known, checked
from labtrain.sim.enclosure import Enclosure
from labtrain.sim.microwave_disturbances import Altered, altered, known, own
from labtrain.sim.receivers import HOLD, NOMINAL_DBM, Receivers
from labtrain.sim.room import MicrowaveParameters

__all__ = ["HOLD", "NOMINAL_DBM", "MicrowaveParameters", "MicrowaveWorld"]

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]
States = NDArray[np.int64]


class MicrowaveWorld:
    """The room as a function of pattern and shot number; also a surface and a network port for emulators.

    Noise (:mod:`labtrain.sim.receivers`) is keyed by seed, shot and number of the sweep within the shot, drift by seed
    and shot, and a pattern is solved by itself: an S-parameter of a shot is bit for bit the same in whatever batch it
    is asked for, and whichever others are asked with it.

    Parameters
    ----------
    parameters : MicrowaveParameters
    seed : int
        Of noise and drift; the geometry has its own.
    """

    def __init__(self, parameters: MicrowaveParameters, seed: int) -> None:
        self.parameters = parameters
        self.seed = seed
        self._enclosure, self._receivers = Enclosure(parameters), Receivers(parameters)
        self._events = Events(*own(parameters))
        self._pattern: States = np.zeros(parameters.pixels, dtype=np.int64)
        self._shot, self._sweeps = 0, 0

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
        """The next sweep is the first of this shot, whatever came before: for a shot that is repeated.

        Raises
        ------
        InputError
            For a negative number.
        """
        self._shot, self._sweeps = _shot_number(shot), 0

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
        states, first_shot = self._patterns(np.asarray(patterns)), _shot_number(first_shot)
        return self._respond(states, first_shot, 0, frequencies_hz, ports, if_bandwidth_hz, power_dbm, averages)

    def s_matrix(self, patterns: ArrayLike, frequencies_hz: ArrayLike, *, shot: int = 0) -> Complex:
        """Without noise and drift, as the room stands at a shot; cables and their order are not part of it.

        Parameters
        ----------
        patterns : array_like, (n, n_pixels)
        frequencies_hz : array_like, (points,)
        shot : int

        Returns
        -------
        ndarray, (n, points, n_ports, n_ports), complex128
        """
        states, f = self._patterns(np.asarray(patterns)), _frequencies(frequencies_hz)
        pairs = [(to + 1, source + 1) for to in range(self.n_ports) for source in range(self.n_ports)]
        now = self._after(shot)
        s = self._enclosure.reduced(f * now.stretch, now.moved_m).s_parameters(now.shown(states), pairs)
        return np.ascontiguousarray(s.transpose(0, 2, 1)).reshape(len(states), len(f), self.n_ports, self.n_ports)

    def s_matrix_unreduced(self, patterns: ArrayLike, frequencies_hz: ArrayLike, *, shot: int = 0) -> Complex:
        """As :meth:`s_matrix`, by one solve with all dipoles for each pattern and frequency: slow, for comparison."""
        states, f, now = self._patterns(np.asarray(patterns)), _frequencies(frequencies_hz), self._after(shot)
        return self._enclosure.unreduced(now.shown(states), now.moved_m, f * now.stretch)

    def differences(
        self,
        patterns: ArrayLike,
        pixels: States,
        states: States,
        shot: int,
        frequencies_hz: ArrayLike,
        ports: Sequence[tuple[int, int]],
    ) -> tuple[Complex, Complex]:
        """What a shot would answer to patterns, without noise, and by how much changes of some pixels would move that.

        Parameters
        ----------
        patterns : array_like, (n, n_pixels)
            All of them taken for the same shot.
        pixels, states : ndarray, (n, changes, together)
            Pixels that change together, -1 where there are fewer, and their new states. A stuck pixel stays.
        shot : int
        frequencies_hz : array_like, (points,)
        ports : sequence of (to, from)

        Returns
        -------
        s : ndarray, (n, len(ports), points), complex128
        moved : ndarray, (n, changes, len(ports), points), complex128
            S-parameters after each change, less s.
        """
        rows, f, now = self._patterns(np.asarray(patterns)), _frequencies(frequencies_hz), self._after(shot)
        self._check_ports(ports)
        for pixel, state in now.stuck:
            states = np.where(pixels == pixel, state, states)
        room = self._enclosure.reduced(f * now.stretch, now.moved_m)
        s, moved = differences(room, now.shown(rows), pixels, states, now.connected(ports))
        gain = self._receivers.gain(self.seed, shot, ports, now)[:, None]
        return gain * s, gain * moved

    def restart(self, seed: int) -> None:
        """Shot 0 again, with this seed for noise and drift; disturbances are undone, the pattern stays."""
        self.seed = seed
        self._events.clear()
        self.begin_shot(0)

    @property
    def disturbances(self) -> Known:
        """What can happen to this room."""
        return known(self.parameters)

    def disturb(self, name: str, *, at_shot: int = 0, **values: Any) -> None:
        """Change the room from a shot on: ``"cable", db=-0.1, rad=0.2``; :attr:`disturbances` has names and values.

        Raises
        ------
        RefusedDisturbance
            For an unknown name, other values than these, or values out of range.
        """
        self._events.add(Event(at_shot, name, checked("microwave world", self.disturbances, name, values)))

    def _after(self, shot: int) -> Altered:
        """What the disturbances have made of the room by a shot."""
        return altered(self.parameters, self._events.until(shot))

    def state(self) -> dict[str, Any]:
        """Seed, pattern, shot and disturbances, JSON-compatible."""
        return {
            "seed": self.seed,
            "pattern": self._pattern.tolist(),
            "shot": self._shot,
            "sweeps": self._sweeps,
            "disturbances": self._events.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Return to a state that :meth:`state` gave."""
        self.seed = int(state["seed"])
        self._pattern = np.array(state["pattern"], dtype=np.int64)
        self._shot, self._sweeps = int(state["shot"]), int(state["sweeps"])
        self._events.restore(state.get("disturbances", []))  # older runs had none

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
        found = [
            self._between(
                patterns[span], first_shot + span.start, sweep, f, ports, if_bandwidth_hz, power_dbm, averages
            )
            for span in self._events.spans(first_shot, len(patterns))
        ]
        return found[0] if len(found) == 1 else np.concatenate(found)

    def _between(
        self,
        patterns: States,
        first_shot: int,
        sweep: int,
        f: Array,
        ports: Sequence[tuple[int, int]],
        if_bandwidth_hz: float,
        power_dbm: float | None,
        averages: int,
    ) -> Complex:
        """Successive shots during which nothing happens."""
        now, s = self._after(first_shot), None
        if power_dbm is not None:
            room = self._enclosure.reduced(f * now.stretch, now.moved_m)
            s = room.s_parameters(now.shown(patterns), now.connected(ports))
        return self._receivers.read(
            s,
            ports,
            (len(patterns), len(ports), len(f)),
            (self.seed, first_shot, sweep),
            now,
            if_bandwidth_hz=if_bandwidth_hz,
            power_dbm=power_dbm,
            averages=averages,
        )

    def _patterns(self, states: NDArray[Any]) -> States:
        if states.ndim != 2 or states.shape[1] != self.n_pixels or states.dtype.kind not in "biuf":
            raise InputError(
                f"microwave world: patterns of shape {states.shape} are not (shots, {self.n_pixels}), one state a pixel"
            )
        with np.errstate(invalid="ignore"):  # what is no number becomes one, and differs from what it was
            whole = states.astype(np.int64)
        if not ((whole == states) & (whole >= 0) & (whole < 2**self.bits)).all():
            raise InputError(f"microwave world: a pixel has states 0 to {2**self.bits - 1}, got others")
        return whole

    def _check_ports(self, ports: Sequence[tuple[int, int]]) -> None:
        for to, source in ports:
            if not (1 <= to <= self.n_ports and 1 <= source <= self.n_ports):
                raise InputError(f"microwave world: no S-parameter ({to}, {source}), ports are 1 to {self.n_ports}")

    def _check(self, ports: Sequence[tuple[int, int]], if_bandwidth_hz: float, averages: int) -> None:
        self._check_ports(ports)
        if not (math.isfinite(if_bandwidth_hz) and if_bandwidth_hz > 0) or averages < 1:
            raise InputError(
                f"microwave world: IF bandwidth {if_bandwidth_hz:g} Hz and {averages} averages must be positive"
            )


def _shot_number(shot: int) -> int:
    if shot < 0:
        raise InputError(f"microwave world: asked shot {shot}, shots are numbered from 0")
    return int(shot)


def _frequencies(frequencies_hz: ArrayLike) -> Array:
    f = np.asarray(frequencies_hz, dtype=np.float64)
    if f.ndim != 1 or f.size == 0 or not (np.isfinite(f) & (f > 0)).all():
        raise InputError("microwave world: frequencies must be a row of positive numbers in Hz")
    return f
