"""The cost of a run, counted where it arises: shots, writes, waiting, recording, digital work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labtrain.clock import Clock
from labtrain.layer import PhysicalLayer, Shots, Wrapper

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Cost:
    """What was spent.

    Parameters
    ----------
    shots : int
        Physical evaluations, repeated attempts included; counted.
    configuration_writes : int
        Instrument writes, counted from the shots and the rig's writes per shot.
    settle_s, integration_s : float
        Seconds of waiting and recording, estimated from the rig's stated times per shot.
    multiply_adds : int
        Digital multiply-adds of linear maps forward, gradients and readouts, counted from array sizes.
    seconds_physics, seconds_digital : float
        Wall time inside the layer's ``measure``, logging of the shots included, and everything else; measured.
    energy_j : float
        What the rig drew by its power meter, from the beginning of a trial to its latest shots; 0 without one.
    """

    shots: int = 0
    configuration_writes: int = 0
    settle_s: float = 0.0
    integration_s: float = 0.0
    multiply_adds: int = 0
    seconds_physics: float = 0.0
    seconds_digital: float = 0.0
    energy_j: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})

    def __sub__(self, other: Cost) -> Cost:
        return Cost(**{f.name: getattr(self, f.name) - getattr(other, f.name) for f in fields(self)})

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Metered(Wrapper):
    """Counts the cost of every shot that passes and remembers drives and responses.

    The memory is what ablations are computed from: they ask the rig for nothing.

    Parameters
    ----------
    inner : PhysicalLayer
    clock : Clock
    on_shots : callable (number of shots, repetitions counted), optional
        Called after every chunk: progress has a place, and so has an interrupt.
    energy_j : callable, optional
        Joules since it was last called; asked after every chunk.
    """

    def __init__(
        self,
        inner: PhysicalLayer,
        clock: Clock,
        on_shots: Callable[[int], None] | None = None,
        energy_j: Callable[[], float] | None = None,
    ) -> None:
        super().__init__(inner)
        self._clock = clock
        self._on_shots, self._energy_j = on_shots, energy_j
        self.cost = Cost()
        self.memory: list[tuple[Array, Array]] = []

    def _measure(self, x: Array) -> Iterator[Shots]:
        chunks = self.inner.measure(x)
        while True:
            started = self._clock.monotonic()
            shots = next(chunks, None)
            seconds = self._clock.monotonic() - started
            if shots is None:
                self.cost += Cost(seconds_physics=seconds)
                return
            attempts = int(shots.attempts.sum())
            self.cost += Cost(
                shots=attempts,
                configuration_writes=attempts * self.info.writes_per_shot,
                settle_s=attempts * self.info.settle_s,
                integration_s=attempts * self.info.integration_s,
                seconds_physics=seconds,
                energy_j=0.0 if self._energy_j is None else self._energy_j(),
            )
            self.memory.append((shots.x, shots.y))
            if self._on_shots is not None:
                self._on_shots(attempts)
            yield shots
