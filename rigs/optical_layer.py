"""The simulated optical bench, and layers that are this bench alone: regions of its modulator."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from labtrain.clock import Clock
from labtrain.layer import Array, Layer, LayerInfo, Shots, check_drive
from labtrain.sim.optical import OpticalWorld
from labtrain.threads import blas_threads

MAX_BATCH = 1024  # for as many shots at once the world draws a matrix that it does not keep

UNITS = {"intensity": "full well", "amplitude": "root of full well"}


class SimulatedBench:
    """One bench, as several layers see it: a world for each, which all have the same seed, shots and disturbances.

    Their scatterers are alike. Shots are counted over all layers, so that no two shots have the same noise.

    Parameters
    ----------
    worlds : sequence of OpticalWorld
        One for each layer, alike but for the input region.
    """

    def __init__(self, worlds: Sequence[OpticalWorld]) -> None:
        self.worlds = tuple(worlds)
        self.shot = 0  # number of the next shot

    def restart(self, seed: int) -> None:
        """Shot 0, with this seed of noise and drift; disturbances are undone."""
        self.shot = 0
        for world in self.worlds:
            world.restart(seed)

    def disturb(self, shot: int, name: str, values: dict[str, Any]) -> None:
        """Let something happen from a shot on."""
        for world in self.worlds:
            world.disturb(name, at_shot=shot, **values)

    def environment(self) -> dict[str, float]:
        """Readings at the latest shot."""
        return self.worlds[0].environment(max(self.shot - 1, 0))

    def state(self) -> dict[str, Any]:
        return {"shot": self.shot, **self.worlds[0].state()}

    def restore(self, state: dict[str, Any]) -> None:
        self.shot = int(state["shot"])
        for world in self.worlds:
            world.restore(state)


class OpticalLayer(Layer):
    """Drives in [0, 1], one per input of a region, to outputs pooled from the camera's pixels.

    Parameters
    ----------
    number : int
        Of the layer, from 0.
    bench : SimulatedBench
        Shared, with its count of shots, by all layers of a rig.
    settle_s, readout_s : float
        Before and after the exposure of a shot.
    workers : int
        Threads that the worlds compute on.
    clock : Clock
    """

    def __init__(
        self, number: int, bench: SimulatedBench, settle_s: float, readout_s: float, workers: int, clock: Clock
    ) -> None:
        self.name = "optical" if number == 0 else f"optical {number + 1}"
        self._bench, self._world = bench, bench.worlds[number]
        self._workers, self._clock = workers, clock
        p = self._world.parameters
        described = json.dumps(asdict(p), sort_keys=True)
        self._info = LayerInfo(
            n_in=self._world.n_in,
            n_out=self._world.n_out,
            seconds_per_shot=settle_s + p.exposure_s + readout_s,
            max_batch=MAX_BATCH,
            y_unit=UNITS[p.readout],
            fingerprint="optical:" + hashlib.sha256(described.encode()).hexdigest()[:16],
            simulated=True,
            settle_s=settle_s,
            integration_s=p.exposure_s,
            samples_per_shot=p.pixels,
        )

    @property
    def info(self) -> LayerInfo:
        return self._info

    def quantise(self, x: ArrayLike) -> Array:
        """Drives as the levels of the modulator show them, (shots, n_in)."""
        return self._world.quantise(check_drive(x, self._info.n_in, self.name))

    def _measure(self, x: Array) -> Iterator[Shots]:
        done = 0
        while done < len(x):
            # A chunk ends where the bench may change, so that one reading of the environment describes it, and on
            # multiples of its size: there the blocks end in which a world computes.
            shot = self._bench.shot
            count = int(min(MAX_BATCH - shot % MAX_BATCH, self._world.steady(shot)))
            part = self._world.quantise(x[done : done + count])
            started_s = self._clock.now()
            y = self._respond(part, shot)
            self._bench.shot += len(part)
            done += len(part)
            yield Shots(part, y, None, np.ones(len(part), dtype=np.int64), started_s)

    def _respond(self, x: Array, shot: int) -> Array:
        if self._workers == 1:
            return self._world.respond(x, shot)
        with blas_threads(1):  # each worker computes blocks of its own; threads within threads wait for one another
            return self._world.respond(x, shot)

    def vjp(self, x: ArrayLike, dy: ArrayLike) -> Array:
        """That of the bench as it stands at the next shot; levels of modulator and camera are passed straight through.

        A pixel whose well is full passes nothing.
        """
        return self._world.vjp(check_drive(x, self._info.n_in, self.name), dy, self._bench.shot)

    def state(self) -> dict[str, Any]:
        return self._bench.state()

    def restore(self, state: dict[str, Any]) -> None:
        self._bench.restore(state)
