"""What the receivers of a network analyser, and the cables to them, make of the S-parameters of a room.

Receiver noise is complex Gaussian and adds to S: its power is the noise density times the IF bandwidth, less the
source's power. Trace noise multiplies S: its variance too is proportional to the IF bandwidth. Averages of complex
readings divide both variances. Cables drift: S is multiplied by a slow complex function of the shot number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from labtrain.sim.microwave_disturbances import Altered
from labtrain.sim.noise import DRIFT, NOISE, philox
from labtrain.sim.room import MicrowaveParameters

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

HOLD = 256  # shots between two steps of the drift's random walks, which go straight from one to the next
NOMINAL_DBM = -10.0  # source power to which receivers refer their readings while the source is off
NOMINAL_HZ = 1_000.0  # IF bandwidth at which trace noise is stated


class Receivers:
    """Noise and drift by seed, shot and number of the sweep within the shot.

    Parameters
    ----------
    parameters : MicrowaveParameters
    """

    def __init__(self, parameters: MicrowaveParameters) -> None:
        self._p = parameters
        self._walks: dict[tuple[int, int, int], float] = {}

    def read(
        self,
        s: Complex | None,
        ports: Sequence[tuple[int, int]],
        shape: tuple[int, int, int],
        key: tuple[int, int, int],
        altered: Altered,
        *,
        if_bandwidth_hz: float,
        power_dbm: float | None,
        averages: int,
    ) -> Complex:
        """Readings of successive shots.

        Parameters
        ----------
        s : ndarray, (n, pairs, points), complex, or None
            None: the source is off.
        ports : sequence of (to, from)
            The pairs, counted from 1. The noise of one does not depend on which others are read with it.
        shape : (n, pairs, points)
        key : (seed, first shot, number of the sweep within each shot)
        altered : Altered
            What disturbances have done to cables and noise, the same for all these shots.
        if_bandwidth_hz, power_dbm, averages
            As for a sweep.

        Returns
        -------
        ndarray, (n, pairs, points), complex128
        """
        p, (n, pairs, points), (seed, first_shot, sweep) = self._p, shape, key
        chosen = [(to - 1) * p.antennas + source - 1 for to, source in ports]
        drawn, normals = np.empty((p.antennas**2, 2, points, 2)), np.empty((n, pairs, 2, points, 2))
        for row in range(n):
            philox(seed, NOISE, first_shot + row, sweep).standard_normal(out=drawn)
            normals[row] = drawn[chosen]
        dbm = NOMINAL_DBM if power_dbm is None else power_dbm
        noise = p.noise_dbm_hz + 10.0 * math.log10(0.5 * if_bandwidth_hz / averages) - dbm
        readings = 10.0 ** (noise / 20.0) * normals[:, :, 0]
        if s is not None:
            trace_noise = math.hypot(p.trace_noise, altered.noise) if altered.noise else p.trace_noise
            factor = trace_noise * math.sqrt(0.5 * if_bandwidth_hz / NOMINAL_HZ / averages) * normals[:, :, 1]
            factor[..., 0] += 1.0
            cables = np.array([self._cables(seed, first_shot + row, altered) for row in range(n)]).reshape(n, 1, 1, 2)
            true = np.ascontiguousarray(s).view(np.float64).reshape(factor.shape)
            if any(altered.antenna_db):
                true = 10.0 ** (_antennas_db(ports, altered) / 20.0)[:, None, None] * true
            readings += _product(_product(cables, factor), true)
        return np.asarray(readings.view(np.complex128)[..., 0])

    def gain(self, seed: int, shot: int, ports: Sequence[tuple[int, int]], altered: Altered) -> Complex:
        """By which cables and antennas multiply the S-parameters of a shot, without noise: (pairs,)."""
        cables = complex(*self._cables(seed, shot, altered))
        return np.asarray(cables * 10.0 ** (_antennas_db(ports, altered) / 20.0))

    def _cables(self, seed: int, shot: int, altered: Altered) -> tuple[float, float]:
        """Complex gain at a shot: real and imaginary part."""
        p = self._p
        sine = math.sin(2.0 * math.pi * shot / p.drift_period_shots)
        db, rad = altered.cables_at(shot)
        db += p.drift_sine_db * sine
        rad += p.drift_sine_rad * sine
        if p.drift_walk_db:
            db += p.drift_walk_db * self._walk(seed, 0, shot)
        if p.drift_walk_rad:
            rad += p.drift_walk_rad * self._walk(seed, 1, shot)
        gain = 10.0 ** (db / 20.0)
        return gain * math.cos(rad), gain * math.sin(rad)

    def _walk(self, seed: int, which: int, shot: int) -> float:
        hold, rest = divmod(shot, HOLD)
        start, end = self._step(seed, which, hold), self._step(seed, which, hold + 1)
        return start + (end - start) * rest / HOLD

    def _step(self, seed: int, which: int, step: int) -> float:
        """A random walk of unit steps, after `step` of them."""
        key = seed, which, step
        if key not in self._walks:
            if len(self._walks) >= 64:
                self._walks.clear()
            self._walks[key] = float(philox(seed, DRIFT, which).standard_normal(step).sum())
        return self._walks[key]


def _antennas_db(ports: Sequence[tuple[int, int]], altered: Altered) -> Array:
    """Gain of the cables of the two antennas of each pair, (pairs,)."""
    antennas = [[altered.antenna_of[port - 1] for port in pair] for pair in ports]
    return np.array([sum(altered.antenna_db[antenna] for antenna in pair) for pair in antennas])


def _product(a: Array, b: Array) -> Array:
    """Complex product of arrays (..., 2) of real and imaginary parts.

    Written out because a complex multiplication may round differently in the vectorised middle and at the end of an
    array, and an answer must not depend on its place in a batch.
    """
    out = np.empty(np.broadcast_shapes(a.shape, b.shape))
    out[..., 0] = a[..., 0] * b[..., 0] - a[..., 1] * b[..., 1]
    out[..., 1] = a[..., 0] * b[..., 1] + a[..., 1] * b[..., 0]
    return out
