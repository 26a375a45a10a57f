"""The optical bench as it stands at one moment: from levels of the modulator's cells to counts of the camera.

E = T e(levels) + reference,      counts ~ camera(|E|^2)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labtrain.sim.noise import REFERENCE, philox
from labtrain.sim.optics.camera import Camera, Sensor
from labtrain.sim.optics.disturbances import Altered, altered
from labtrain.sim.optics.fourier import FourierMask, Structured
from labtrain.sim.optics.modulator import Levels, Modulator
from labtrain.sim.optics.parameters import OpticalParameters
from labtrain.sim.optics.photons import Floats, Words
from labtrain.sim.optics.scatterers import BLOCK, Fibre, Fields, Gaussian, Operator, Scatterer
from labtrain.sim.optics.wander import Stretch

Array = NDArray[np.float64]

_FEW = 16  # shots that may be computed together instead of a block of which they are all that is asked for
_STREAMED = 8  # blocks for which a matrix that is not kept is drawn once
_FIELD_BYTES = 256e6  # that the fields of these shots may take

_SCATTERERS: dict[str, Callable[[OpticalParameters], Scatterer]] = {
    "gaussian": Gaussian,
    "fibre": Fibre,
    "structured": Structured,
    "fourier_mask": FourierMask,
}


@dataclass(frozen=True)
class Moment:
    """The bench during successive shots in which nothing happens.

    Parameters
    ----------
    shot : int
        The first one.
    now : Altered
    operator : Operator
    sensor : Sensor
    """

    shot: int
    now: Altered
    operator: Operator
    sensor: Sensor


class Bench:
    """Modulator, scatterer and camera, one behind the other.

    Parameters
    ----------
    parameters : OpticalParameters
    """

    def __init__(self, parameters: OpticalParameters) -> None:
        self._p = parameters
        self.modulator, self.camera = Modulator(parameters), Camera(parameters)
        self._scatterer = _SCATTERERS[parameters.scatterer](parameters)
        fit = int(_FIELD_BYTES / (8 * parameters.pixels * BLOCK))
        self.shots_at_once = BLOCK * (max(1, min(_STREAMED, fit)) if self._scatterer.streams else 1)
        self._operators: dict[Any, Operator] = {}
        self._sensors: dict[tuple[tuple[int, ...], float], Sensor] = {}

    def prepare(self) -> None:
        """Find out now what several threads would ask for at once."""
        _ = self.rate_e_s, self.few

    def at(self, seed: int, shot: int, now: Altered) -> Moment:
        """As it is at a shot, after what has happened by then; `seed` is that of the drift."""
        last = now.history[-1]
        seed = seed if any(stretch.eps for stretch in now.history) else 0  # what does not drift has none
        key = (seed, now.history, last.place(shot)[0] if last.eps else 0, now.shift)
        if key not in self._operators:
            self._operators.clear()  # a matrix may be large
            self._operators[key] = self._scatterer.at(seed, now.history, shot, now.shift)
        return Moment(shot, now, self._operators[key], self._sensor(now))

    def counts(
        self, moment: Moment, cells: Levels, exposure_s: float, words: Words | None, *, lit: bool = True
    ) -> Floats:
        """Readings (rows, pixels) for levels (rows, width) of successive shots; without words, without noise."""
        rows, block = len(cells), moment.operator.block
        row = moment.shot % block
        if block > self.few and row // self.few == (row + rows - 1) // self.few:
            block, row = self.few, row % self.few
        blocks = -(-(row + rows) // block)
        light = self.modulator.light(cells, moment.now.stuck)
        if rows < blocks * block:
            light = np.pad(light, ((row, blocks * block - row - rows), (0, 0)))
        field = moment.operator.forward(light.reshape(blocks, block, self._p.width))
        field = field.reshape(blocks * block, self._p.pixels)[row : row + rows]
        if self._p.reference:
            field += self._wave(moment.now)
        per_intensity = exposure_s * moment.now.laser * self.rate_e_s if lit else 0.0
        mean_e = self.camera.electrons(_squared(field), per_intensity, exposure_s, moment.sensor)
        return self.camera.counts(mean_e, words, moment.sensor)

    def intensity(self, moment: Moment, cells: Levels) -> Array:
        """|E|^2 (rows, pixels) for levels (rows, width), in units of its mean, whatever the laser's power."""
        field = moment.operator.forward(self.modulator.light(cells, moment.now.stuck)) + self._wave(moment.now)
        return np.asarray(_squared(field) * np.float64(self.rate_e_s / self._p.electrons_per_s))

    def vjp(self, moment: Moment, drive: Array, dy: Array, exposure_s: float) -> Array:
        """From the derivative by the outputs (rows, n_out) to that by drives (rows, n_in)."""
        alive = 1.0 if moment.sensor.alive is None else moment.sensor.alive
        per_intensity = exposure_s * moment.now.laser * self.rate_e_s * alive
        dark_e = exposure_s * self.camera.sensor.dark_e_s.astype(np.float64)
        cells = self.modulator.cells(drive)
        field = moment.operator.forward(self.modulator.light(cells, moment.now.stuck)) + self._wave(moment.now)
        mean_e = per_intensity * _squared(field.astype(np.complex128)) + dark_e * alive
        slope = self.camera.slope(mean_e, dark_e, dy) * per_intensity
        by_field = (2.0 * slope * field.conj()).astype(np.complex64)  # d|E|^2 = 2 Re(E* dE)
        return self.modulator.vjp(cells, moment.operator.transposed(by_field), moment.now.stuck)

    @cached_property
    def rms_e(self) -> Array:
        """Signal of each pixel over a fixed set of random drives, undisturbed, rms, (pixels,), in electrons."""
        intensity = _squared(self._typical + self._wave(altered(self._p, ())))
        mean_e = self._p.exposure_s * self.rate_e_s * intensity.astype(np.float64)
        return np.asarray(np.sqrt((mean_e**2).mean(axis=0)))

    @cached_property
    def rate_e_s(self) -> float:
        """Electrons a second for an |E|^2 of 1; speckle and reference arm share the light."""
        return self._p.electrons_per_s / (self.speckle * (1.0 + self._p.reference**2))

    @cached_property
    def speckle(self) -> float:
        """Mean of |T e|^2 over a fixed set of random drives: what the exposure is set for."""
        return float(_squared(self._typical).mean(dtype=np.float64))

    @cached_property
    def few(self) -> int:
        """Shots that are computed together at least: fewer than a block, if this machine rounds them as in a block."""
        light, operator = self._typical_light
        if self._scatterer.streams or operator.block < BLOCK:
            return operator.block
        few = operator.forward(light.reshape(BLOCK // _FEW, _FEW, self._p.width)).reshape(BLOCK, -1)
        return _FEW if np.array_equal(few, self._typical) else BLOCK

    @cached_property
    def _typical(self) -> Fields:
        """Fields behind the scatterer, undisturbed, of these drives, (shots, pixels)."""
        light, operator = self._typical_light
        return np.asarray(operator.forward(light[None])[0])

    @property
    def _typical_light(self) -> tuple[Fields, Operator]:
        drive = philox(self._p.geometry_seed, REFERENCE).random((BLOCK, self.modulator.n_in))
        light = self.modulator.light(self.modulator.cells(drive))
        return light, self._scatterer.at(0, (Stretch(0, 0.0),), 0, (0, 0))

    def _wave(self, now: Altered) -> Fields:
        """Field of the reference arm, (pixels,): a plane wave."""
        rows, columns = (
            tilt * (np.arange(side) + moved)
            for tilt, side, moved in zip(self._p.reference_tilt, self._p.camera_shape, now.shift, strict=True)
        )
        wave = self._p.reference * self.speckle**0.5 * np.exp(2j * np.pi * (rows[:, None] + columns))
        return np.asarray(wave.reshape(-1), dtype=np.complex64)

    def _sensor(self, now: Altered) -> Sensor:
        if (now.lost, now.noise) not in self._sensors:
            sensor = self.camera.sensor
            if now.lost:
                alive = np.ones(self._p.pixels, dtype=np.float32)
                alive[list(now.lost)] = 0.0
                sensor = replace(sensor, alive=alive)
            if now.noise:
                sensor = replace(sensor, extra_e=(now.noise * self.rms_e).astype(np.float32))
            self._sensors[now.lost, now.noise] = sensor
        return self._sensors[now.lost, now.noise]


def _squared(field: NDArray[Any]) -> NDArray[Any]:
    """|E|^2, as numbers of the same precision."""
    found = field.real * field.real
    found += field.imag * field.imag
    return np.asarray(found)
