"""The cost of a run, counted where it arises: shots, writes, waiting, recording, samples, digital work, joules."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labtrain.clock import Clock
from labtrain.layer import LayerInfo, PhysicalLayer, Shots, Wrapper

Array = NDArray[np.float64]

KINDS = ("measured", "emulated", "estimated")  # of joules, the best known first


@dataclass(frozen=True)
class Work:
    """Digital multiply-adds of a training method, counted from array sizes.

    Parameters
    ----------
    forward : int
        Of linear maps, z = W h + b, in training and prediction.
    update : int
        Of gradients, feedback and readouts in closed form.
    twin : int
        Of digital twins that were asked, or gone back through.
    untold : int
        Not told apart: by older labtrain, or by methods that count one number.
    """

    forward: int = 0
    update: int = 0
    twin: int = 0
    untold: int = 0

    def __add__(self, other: Work | int) -> Work:
        more = Work.of(other)
        return Work(
            self.forward + more.forward, self.update + more.update, self.twin + more.twin, self.untold + more.untold
        )

    @property
    def total(self) -> int:
        return self.forward + self.update + self.twin + self.untold

    @classmethod
    def of(cls, value: Any) -> Work:
        """Of a count that is one number, or of what :meth:`as_dict` gave."""
        if isinstance(value, Work):
            return value
        return cls(**value) if isinstance(value, dict) else cls(untold=int(value))

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


@dataclass(frozen=True)
class Cost:
    """What was spent.

    Parameters
    ----------
    shots : int
        Physical evaluations, repeated attempts included; counted.
    configuration_writes : int
        Instrument writes, counted from the shots and the rig's writes per shot.
    converter_samples : int
        Numbers that converters gave and took, counted from the shots and the rig's samples per shot; 0 where the rig
        does not tell.
    settle_s, integration_s : float
        Seconds of waiting and recording, estimated from the rig's stated times per shot.
    multiply_adds : int
        Digital multiply-adds of linear maps forward, gradients, readouts and twins, counted from array sizes.
    multiply_adds_forward, multiply_adds_update, multiply_adds_twin : int
        Its parts, as far as they are told apart (:class:`Work`).
    seconds_physics, seconds_digital : float
        Wall time inside the layer's ``measure``, logging of the shots included, and everything else; measured.
    energy_j : float
        What the rig drew by its power meter, from the beginning of a trial to its latest shots; 0 without one.
    energy_estimated_j : float
        The rig's stated watts times its stated time per shot and the shots; 0 without watts. Never added to `energy_j`.
    energy_digital_j : float
        The computer's stated watts times `seconds_digital`, estimated; 0 without watts.
    """

    shots: int = 0
    configuration_writes: int = 0
    converter_samples: int = 0
    settle_s: float = 0.0
    integration_s: float = 0.0
    multiply_adds: int = 0
    multiply_adds_forward: int = 0
    multiply_adds_update: int = 0
    multiply_adds_twin: int = 0
    seconds_physics: float = 0.0
    seconds_digital: float = 0.0
    energy_j: float = 0.0
    energy_estimated_j: float = 0.0
    energy_digital_j: float = 0.0

    @classmethod
    def of_shots(cls, count: int, info: LayerInfo, watts: float = 0.0) -> Cost:
        """Of so many shots, repeated attempts included, on a layer of a rig that draws so many watts."""
        return cls(
            shots=count,
            configuration_writes=count * info.writes_per_shot,
            converter_samples=count * info.samples_per_shot,
            settle_s=count * info.settle_s,
            integration_s=count * info.integration_s,
            energy_estimated_j=count * info.seconds_per_shot * watts,
        )

    @classmethod
    def of_work(cls, work: Work, seconds: float, watts: float = 0.0) -> Cost:
        """Of digital work that took so many seconds on a computer that draws so many watts."""
        return cls(
            multiply_adds=work.total,
            multiply_adds_forward=work.forward,
            multiply_adds_update=work.update,
            multiply_adds_twin=work.twin,
            seconds_digital=seconds,
            energy_digital_j=seconds * watts,
        )

    def __add__(self, other: Cost) -> Cost:
        return Cost(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})

    def __sub__(self, other: Cost) -> Cost:
        return Cost(**{f.name: getattr(self, f.name) - getattr(other, f.name) for f in fields(self)})

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def rig_joules(trials: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Joules of the rig over trials, by how they are known (KINDS); kinds are never added to one another.

    ``measured`` by a power meter, ``emulated`` by one that says of itself that it is an emulator, ``estimated`` from
    the rig's stated watts.
    """
    found: dict[str, float] = {}
    for trial in trials:
        cost = Cost(**trial["train_cost"]) + Cost(**trial["test_cost"])
        if (meter := trial.get("energy")) is not None:
            found[meter] = found.get(meter, 0.0) + cost.energy_j
        if cost.energy_estimated_j:
            found["estimated"] = found.get("estimated", 0.0) + cost.energy_estimated_j
    return dict(sorted(found.items(), key=lambda item: KINDS.index(item[0])))


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
    watts : float
        That the rig is stated to draw.
    remember : bool
        False: drives and responses are not kept, where no ablation will ask for them and they would be many.
    """

    def __init__(
        self,
        inner: PhysicalLayer,
        clock: Clock,
        on_shots: Callable[[int], None] | None = None,
        energy_j: Callable[[], float] | None = None,
        watts: float = 0.0,
        remember: bool = True,
    ) -> None:
        super().__init__(inner)
        self._clock = clock
        self._on_shots, self._energy_j, self._watts = on_shots, energy_j, watts
        self.cost = Cost()
        self.memory: list[tuple[Array, Array]] = []
        self._remember = remember

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
            self.cost += Cost.of_shots(attempts, self.info, self._watts) + Cost(
                seconds_physics=seconds,
                energy_j=0.0 if self._energy_j is None else self._energy_j(),
            )
            if self._remember:
                self.memory.append((shots.x, shots.y))
            if self._on_shots is not None:
                self._on_shots(attempts)
            yield shots
