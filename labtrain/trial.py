"""One trial: a split, a network with fresh weights, training, and the verdict of the test rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labtrain.clock import Clock, RealClock
from labtrain.compact import in_parts, parts
from labtrain.controls import ridge_readout, stand_in
from labtrain.datasets import Split, Table, split
from labtrain.disturbances import Disturber, Happened
from labtrain.errors import InputError, MeasurementError
from labtrain.experiment import Ablation, Experiment, registered
from labtrain.layer import Averaged, PhysicalLayer, Shots
from labtrain.ledger import Cost, Metered, Work
from labtrain.methods.labelled import Labelled
from labtrain.methods.method import Data, Method, Metrics
from labtrain.network import NetworkConfig, build
from labtrain.rigs.rig import Rig
from labtrain.threads import blas_threads
from labtrain.verdict import Start, Verdict, share_right

Array = NDArray[np.float64]

REMEMBERING: tuple[Ablation, ...] = ("shuffled", "no_skip", "ridge")
"""Ablations that are computed from the drives and responses of the trial, which are then kept in memory."""


class Trial:
    """A network in training on one split.

    Parameters
    ----------
    experiment : Experiment
    table : Table
    parts : Split
    layers : sequence of PhysicalLayer
        Of an opened rig (or stand-ins for it).
    seed : int
        Of weights and of everything random in the method.
    clock : Clock
    on_shots : callable (number of shots), optional
    network : NetworkConfig, optional
        Another shape than the experiment's, for ablations.
    energy_j : callable, optional
        As of :class:`labtrain.ledger.Metered`.
    disturber : Disturber, optional
        For layers of a world that is disturbed.
    remember : bool
        Keep drives and responses for the ablations in :data:`REMEMBERING`; without, these are refused.
    """

    def __init__(
        self,
        experiment: Experiment,
        table: Table,
        parts: Split,
        layers: Sequence[PhysicalLayer],
        seed: int,
        clock: Clock | None = None,
        on_shots: Callable[[int], None] | None = None,
        network: NetworkConfig | None = None,
        energy_j: Callable[[], float] | None = None,
        disturber: Disturber | None = None,
        remember: bool = True,
    ) -> None:
        self._disturber, self._on_shots = disturber, on_shots
        self.experiment, self.table, self.split, self.seed = experiment, table, parts, seed
        self.clock = clock or RealClock()
        watts = experiment.rig.total_watts
        self.remembers = remember
        self.layers = [Metered(layer, self.clock, self._arrived, energy_j, watts, remember) for layer in layers]
        self.net = build(
            network or experiment.network,
            experiment.encoding,
            self.layers,
            rows=table.features[parts.train],
            classes=table.classes,
            feature_names=table.feature_names,
            seed=seed,
            inputs=table.inputs,
        )
        self.method: Method = registered("methods", experiment.training, "method")(experiment.training)
        data = Data(
            table.features[parts.train],
            table.labels[parts.train],
            table.features[parts.validation],
            table.labels[parts.validation],
        )
        self.method.start(self.net, data, np.random.default_rng([seed, 2]))
        self.inherited = False
        self.start: Start | None = None
        self.seconds = 0.0
        self.steps = 0
        self.history: list[Metrics] = []

    @classmethod
    def begin(
        cls,
        experiment: Experiment,
        rig: Rig,
        seed: int = 0,
        *,
        table: Table | None = None,
        parts: Split | None = None,
        wrap: Callable[[PhysicalLayer], PhysicalLayer] | None = None,
        on_shots: Callable[[int], None] | None = None,
        commission: bool = True,
        on_disturbed: Callable[[Happened], None] | None = None,
        remember: bool = True,
    ) -> Trial:
        """A trial on an opened rig: data loaded and split, the rig told of the seed, weights drawn.

        A rig that needs commissioning and has neither been commissioned nor adopted what was measured then is
        commissioned first, which costs shots.

        Parameters
        ----------
        table : Table, optional
            The data set, if it is loaded already.
        parts : Split, optional
            Instead of the split that the experiment asks for.
        wrap : callable, optional
            Put in front of each of the rig's layers, as a run's log is.
        commission : bool
            False: measure nothing yet; such a trial can plan, and be trained once the rig is commissioned.
        on_disturbed : callable, optional
            Gets each of the experiment's disturbances when it has happened.
        remember : bool
            Keep drives and responses for the ablations in :data:`REMEMBERING`.
        """
        table = table or load_table(experiment)
        if commission and rig.commissioning_shots:
            with blas_threads(1):
                rig.commission()
        rig.restart(seed)
        repeats = experiment.rig.repeats
        layers = [wrap(layer) if wrap else layer for layer in rig.layers]
        layers = [Averaged(layer, repeats) if repeats > 1 else layer for layer in layers]
        parts = parts or split(table, experiment.dataset, seed)
        energy_j = None if rig.power is None else rig.power.since
        if energy_j is not None:
            energy_j()  # what was drawn before is none of this trial's
        disturber = Disturber(experiment.disturbances, rig, on_disturbed) if experiment.disturbances else None
        return cls(
            experiment, table, parts, layers, seed, rig.clock, on_shots,
            energy_j=energy_j, disturber=disturber, remember=remember,
        )  # fmt: skip

    @property
    def cost(self) -> Cost:
        """Everything spent so far."""
        total = sum((layer.cost for layer in self.layers), Cost())
        work, seconds = Work.of(self.method.multiply_adds), max(0.0, self.seconds - total.seconds_physics)
        return total + Cost.of_work(work, seconds, self.experiment.run.computer_watts or 0.0)

    def planned_shots(self) -> tuple[int, int]:
        """Shots of training, at most, and of the test."""
        blocks, seen, repeats = len(self.net.blocks), self.net.encoder.seen, self.experiment.rig.repeats
        train = self.method.planned_shots(blocks, len(self.split.train), len(self.split.validation), seen)
        test = len(self.split.test) * self.method.shots_per_prediction(blocks, seen) * (1 + self.inherited)
        return repeats * train, repeats * test

    def remember(self, shots: Iterable[tuple[str, Shots]]) -> None:
        """Take logged shots of this trial, by layer name, into the memory that ablations are computed from."""
        if not self.remembers:
            return
        repeats, logged = self.experiment.rig.repeats, list(shots)
        for layer in self.layers:
            x = [chunk.x for name, chunk in logged if name == layer.name]
            y = [chunk.y for name, chunk in logged if name == layer.name]
            if x:
                means = np.concatenate(y).reshape(-1, repeats, layer.info.n_out).mean(axis=1)
                layer.memory.append((np.concatenate(x)[::repeats], means))

    @property
    def happened(self) -> list[Happened]:
        """Disturbances that have happened so far."""
        return [] if self._disturber is None else self._disturber.happened

    def _arrived(self, shots: int) -> None:
        if self._disturber is not None:
            self._disturber.after_shots()
        if self._on_shots is not None:
            self._on_shots(shots)

    def inherit(self, state: dict[str, Any]) -> None:
        """Begin with what another trial had learned when its :meth:`state` gave this, and train from there.

        Learned are weights, ranges of drives, scales of responses, physical parameters and what the method names; it
        measures anew and takes all its steps again. The random numbers are those of a fresh trial of this seed.

        Raises
        ------
        RunError
            If the shapes do not fit this network.
        """
        self.net.inherit(state["net"])
        self.method.inherit(state["method"])
        self.inherited = True

    def test_start(self) -> Start:
        """Measure the test rows with what was inherited, before the first step."""
        before = self.cost
        scores, _ = self._test_scores()
        self.start = Start(share_right(scores, self.table.labels[self.split.test]), self.cost - before)
        return self.start

    def step(self) -> Metrics | None:
        """Do the method's next step; None when training is over."""
        if self._disturber is not None:
            self._disturber.before_step(self.steps + 1)
        started = self.clock.monotonic()
        try:
            with blas_threads(self.experiment.run.threads):
                metrics = self.method.step()
        finally:
            self.seconds += self.clock.monotonic() - started
        if metrics is not None:
            self.steps = metrics.step
            self.history.append(metrics)
        return metrics

    def fit(self, check: Callable[[], None] | None = None) -> Trial:
        """Train to the end; `check` is called after every step and may raise to stop."""
        while self.step() is not None:
            if check is not None:
                check()
        return self

    def scores(self, rows: Array) -> Array:
        """Score of each class for raw feature rows (n, d): (n, classes). Costs shots."""
        self._check_trained()
        with blas_threads(self.experiment.run.threads):
            return self.method.scores(self.net, rows)

    def _check_trained(self) -> None:
        if self.steps == 0 and not self.inherited:
            raise InputError("the network of this trial has not been trained; call fit() first")

    def predict(self, rows: Array) -> list[str]:
        """Names of the winning classes for raw feature rows (n, d). Costs shots.

        Raises
        ------
        DataError
            For a wrong number of columns, or a value far outside what the network was trained for.
        """
        self.net.encoder.features(rows)
        self.net.encoder.refuse_outside(np.asarray(rows), [f"row {i}" for i in range(len(rows))])
        return [self.table.classes[i] for i in self.scores(np.asarray(rows)).argmax(axis=1)]

    def test(self) -> Verdict:
        """Measure the test rows, once."""
        rows, labels = self.table.features[self.split.test], self.table.labels[self.split.test]
        if self._disturber is not None:
            self._disturber.before_test()
        before = self.cost
        scores, goodness = self._test_scores()
        clipped = sum(int(self.net.encoder.scaler.outside(part).sum()) for part in in_parts(rows))
        return Verdict(self.seed, scores, labels, clipped, goodness, before, self.cost - before)

    def _test_scores(self) -> tuple[Array, Array | None]:
        """Scores (n_test, classes) of the test rows, and goodness (blocks, n_test, classes) where there is any."""
        self._check_trained()
        rows, started = self.table.features[self.split.test], self.clock.monotonic()
        try:
            with blas_threads(self.experiment.run.threads):
                cuts = parts(len(rows), self.net.encoder.width * len(self.table.classes))
                some = (np.asarray(rows[cut]) for cut in cuts)
                if isinstance(self.method, Labelled):
                    method = self.method
                    goodness = np.concatenate([method.goodness_per_block(self.net, part) for part in some], axis=1)
                    return goodness.sum(axis=0), goodness
                return np.concatenate([self.method.scores(self.net, part) for part in some]), None
        finally:
            self.seconds += self.clock.monotonic() - started

    def ablation(self, name: Ablation, check: Callable[[], None] | None = None) -> float:
        """Test accuracy of the same trial with the physics replaced; to be called after :meth:`test`.

        ``off``: skip path only; ``random``: |T x| of equal width; ``shuffled``: true responses dealt to wrong samples;
        ``no_skip``: the first block's responses alone, without the skip path, as far as they were measured; ``ridge``:
        a linear readout, one for each candidate label, of the first block's responses. `check` is called after every
        step and may raise to stop.
        """
        if name in REMEMBERING and not self.remembers:
            raise InputError(f"ablation {name} needs the shots of the trial, which were not kept; name it in ablations")
        if name == "ridge":
            train, test, labels = self.split.train, self.split.test, self.table.labels
            known, asked = self.table.features[train], self.table.features[test]
            return share_right(ridge_readout(self.net, self.layers[0], known, labels[train], asked), labels[test])
        rng = np.random.default_rng([self.seed, 3])
        shape = self.experiment.network
        layers = [stand_in(name, layer, rng) for layer in self.layers]
        if name == "no_skip":
            shape = shape.model_copy(update={"layers": 1, "skip": False})
        again = Trial(self.experiment, self.table, self.split, layers, self.seed, self.clock, network=shape)
        try:
            again.fit(check)
        except MeasurementError:
            # Where each epoch has labels of its own, a trial that stopped early measured none for the epochs left out.
            if again.steps < self.steps:
                raise
        return again.test().accuracy

    def state(self) -> dict[str, Any]:
        """Everything needed to go on: weights, method, layers, cost; nested dict of arrays and JSON values."""
        return {
            "seed": self.seed,
            "seconds": self.seconds,
            "steps": self.steps,
            "inherited": self.inherited,
            "start": None if self.start is None else asdict(self.start),
            "net": self.net.state(),
            "method": self.method.state(),
            "layers": [layer.state() for layer in self.layers],
            "costs": [layer.cost.as_dict() for layer in self.layers],
            "happened": [] if self._disturber is None else self._disturber.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Return to a state that :meth:`state` gave."""
        self.seconds, self.steps = state["seconds"], state["steps"]
        self.inherited = state.get("inherited", False)  # trials of before do not tell
        if (start := state.get("start")) is not None:
            self.start = Start(start["accuracy"], Cost(**start["cost"]))
        self.net.restore(state["net"])
        self.method.restore(state["method"])
        if self._disturber is not None:
            self._disturber.restore(state["happened"])
        for layer, saved, cost in zip(self.layers, state["layers"], state["costs"], strict=True):
            layer.restore(saved)
            layer.cost = Cost(**cost)


def load_table(experiment: Experiment) -> Table:
    """Load the data set that an experiment names."""
    table: Table = registered("datasets", experiment.dataset)(experiment.dataset).load()
    return table
