"""The loop: trials, steps, checkpoints, tests and ablations; every result goes to the run, every event to listeners."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from labtrain.datasets import Table
from labtrain.disturbances import outcomes
from labtrain.events import (
    AblationStarted,
    Disturbed,
    Event,
    Listener,
    ShotsArrived,
    StartTested,
    StepDone,
    Testing,
    TrialFinished,
    TrialStarted,
)
from labtrain.experiment import Experiment
from labtrain.layer import PhysicalLayer, Recorded, Shots
from labtrain.ledger import Cost, rig_joules
from labtrain.rigs.rig import Rig
from labtrain.runs import Run
from labtrain.safety import Guard
from labtrain.trial import REMEMBERING, Trial
from labtrain.verdict import Verdict

ABLATION_KEYS = {
    "off": "physics_off_accuracy",
    "random": "random_physics_accuracy",
    "shuffled": "shuffled_accuracy",
    "no_skip": "no_skip_accuracy",
    "ridge": "ridge_accuracy",
}


class Trainer:
    """Carries out an experiment on an opened rig and keeps everything in a run.

    Parameters
    ----------
    experiment : Experiment
    table : Table
        The data set that the experiment names.
    rig : Rig
        Opened.
    run : Run
        Opened for writing; what it already holds is not done again.
    guard : Guard
        Asked after every chunk of shots and every step whether someone wants to stop.
    listeners : sequence of callables
        Get every event of labtrain.events.
    earlier : callable (index) -> state of a trial, optional
        Of another run: what each trial inherits before its first step.
    """

    def __init__(
        self,
        experiment: Experiment,
        table: Table,
        rig: Rig,
        run: Run,
        guard: Guard,
        listeners: Sequence[Listener] = (),
        earlier: Callable[[int], dict[str, Any]] | None = None,
    ) -> None:
        self.experiment, self.table, self.rig, self.run = experiment, table, rig, run
        self._earlier = earlier
        self.guard, self.clock, self.listeners = guard, rig.clock, listeners
        self._index = 0
        self._goal = 0
        self._step = 0
        self._phase: str | None = None  # before the first step, or after the last
        self._shots = 0
        self._saved_at = 0.0

    def train(self) -> dict[str, Any]:
        """Do all trials that the run does not hold yet, and return the summary.

        Raises
        ------
        Interrupted
            After Ctrl-C or SIGTERM, once the chunk in progress is kept.
        """
        while (index := self._next()) is not None:
            self._trial(index)
        kept = self.run.trials()
        return summarise(self.table.classes, [kept[index] for index in range(self.experiment.trials.count)])

    def _epochs(self) -> int:
        """How far each trial is to be trained; more epochs make a finished trial go on."""
        return int(getattr(self.experiment.training, "epochs", 1))

    def _next(self) -> int | None:
        """Index of the next trial to do; None when all are done."""
        kept, goal, last = self.run.trials(), self._epochs(), self._broken_off()
        todo = [i for i in range(self.experiment.trials.count) if i not in kept or kept[i]["goal"] < goal]
        if last is not None and last[1]["index"] in todo:
            return int(last[1]["index"])  # first of all: the next checkpoint overwrites the state it stands on
        return todo[0] if todo else None

    def _broken_off(self) -> tuple[int | str, Any] | None:
        """The last checkpoint, unless the trial it belongs to has been kept since."""
        last = self.run.last_checkpoint()
        if last is None:
            return None
        kept = self.run.trials().get(last[1]["index"])
        return None if kept is not None and kept["goal"] == last[1]["goal"] else last

    def _trial(self, index: int) -> None:
        """Train and test one trial, from its beginning, from its last checkpoint, or on from where it had ended."""
        self._index, last = index, self._broken_off()
        if last is not None and last[1]["index"] == index:
            self._step = int(last[0])
            trial = self._begin(last[1]["goal"], last[1]["trial"])
        else:
            self.run.skip_replay()  # whatever is logged belongs to trials that ended
            kept = self.run.trials().get(index)
            self._step = kept["steps"] if kept else 0
            trial = self._begin(self._epochs(), self.run.trial_state(index) if kept else None)
            self._checkpoint(trial)
        if trial.inherited and trial.start is None:
            self._test_start(trial)
        self._steps(trial)
        if self._goal != self._epochs() and not self.run.replaying:
            trial = self._begin(self._epochs(), trial.state())
            self._checkpoint(trial)
            self._steps(trial)
        self._phase = "test"
        self._emit(Testing(index))
        verdict = trial.test()
        for name in self.experiment.chosen_ablations:
            self._emit(AblationStarted(index, name))
            verdict.ablations[name] = trial.ablation(name, self.guard.check)
            self.guard.check()
        self._keep(trial, verdict)
        self._emit(TrialFinished(index, trial.seed, verdict.accuracy, verdict.ablations))

    def _begin(self, goal: int, state: dict[str, Any] | None) -> Trial:
        """The trial on its way to `goal`, from a state if there is one."""
        self._goal, self._phase, experiment = goal, None, self.experiment
        if goal != self._epochs():
            training = experiment.training.model_copy(update={"epochs": goal})
            experiment = experiment.model_copy(update={"training": training})
        seed = experiment.trials.first_seed + self._index
        trial = Trial.begin(
            experiment, self.rig, seed, table=self.table, wrap=self._logged, on_shots=self._on_shots,
            on_disturbed=lambda happened: self._emit(Disturbed(self._index, happened)),
            remember=not set(REMEMBERING).isdisjoint(experiment.chosen_ablations),
        )  # fmt: skip
        if state is not None:
            trial.restore(state)
            trial.remember((chunk.layer, chunk.shots) for chunk in self.run.seen(self._index))
        elif self._earlier is not None:
            trial.inherit(self._earlier(self._index))
        self._shots = trial.cost.shots
        ablations = len(experiment.chosen_ablations)
        count, planned = experiment.trials.count, sum(trial.planned_shots())
        self._emit(TrialStarted(self._index, count, seed, planned, self._shots, ablations))
        return trial

    def _test_start(self, trial: Trial) -> None:
        """Measure the test rows with what was inherited."""
        self._phase = "start"
        start = trial.test_start()
        self._phase = None
        self._emit(StartTested(self._index, start.accuracy))
        self._checkpoint(trial)

    def _steps(self, trial: Trial) -> None:
        """Train to the goal.

        Epochs that were changed while a trial was broken off must not change what it has logged: more of them count
        when the old goal is reached, fewer when nothing is left to replay.
        """
        while self._goal <= self._epochs() or self.run.replaying:
            metrics = trial.step()
            if metrics is None:
                break
            self._step = metrics.step
            self.run.log_metrics(self._index, metrics.step, asdict(metrics))
            self._emit(StepDone(self._index, metrics, trial.cost))
            if self.clock.monotonic() - self._saved_at >= self.experiment.run.checkpoint_s:
                self._checkpoint(trial)
            self.guard.check()
        self._checkpoint(trial)

    def _checkpoint(self, trial: Trial) -> None:
        self.run.checkpoint(self._step, {}, {"index": self._index, "goal": self._goal, "trial": trial.state()})
        self._saved_at = self.clock.monotonic()

    def _keep(self, trial: Trial, verdict: Verdict) -> None:
        """Results of a trial, and its final state: predictions and a later continuation start from there."""
        kept = self.run.trials().get(self._index)
        start = trial.start
        # Tests before this one, of what was inherited and before the trial went on: its state counts them too.
        tested = Cost(**kept["test_cost"]) if kept else Cost() if start is None else start.cost
        tests = tests_of(kept) if kept else int(start is not None)
        results = {
            "seed": verdict.seed,
            "goal": self._goal,
            "steps": self._step,
            "accuracy": verdict.accuracy,
            "start_accuracy": None if start is None else start.accuracy,
            "confusion": verdict.confusion().tolist(),
            "ablations": verdict.ablations,
            "test_values_held_at_border": verdict.clipped,
            "drive_clipped_share": [block.drive.clipped_share for block in trial.net.blocks],
            "largest_goodness": getattr(trial.method, "largest_goodness", []),
            "train_cost": (verdict.train_cost - tested).as_dict(),
            "test_cost": (verdict.test_cost + tested).as_dict(),
            "tests": tests + 1,
            "disturbances": outcomes(trial.happened, self._accuracies()),
            "twins": getattr(trial.method, "twin_costs", []),
            "energy": None if self.rig.power is None else self.rig.power.kind,
        }
        state = trial.state()
        state["verdict"] = {"scores": verdict.scores, "labels": verdict.labels, "goodness": verdict.goodness}
        self.run.save_trial(self._index, results, state)

    def _accuracies(self) -> list[tuple[int, float]]:
        """Accuracy after each step of the trial, this process's steps and earlier ones."""
        logged = [row for row in self.run.metrics() if row.trial == self._index]
        return sorted((int(row.step), float(row.value["accuracy"])) for row in logged)

    def _logged(self, layer: PhysicalLayer) -> PhysicalLayer:
        return Recorded(layer, self._log, self.run.replay)

    def _log(self, name: str, shots: Shots, state: dict[str, Any]) -> None:
        step = self._phase or self._step + 1
        self.run.append(name, step, shots, state, self.rig.environment(), trial=self._index)

    def _on_shots(self, shots: int) -> None:
        self._shots += shots
        self._emit(ShotsArrived(shots, self._shots))
        self.guard.check()

    def _emit(self, event: Event) -> None:
        for listener in self.listeners:
            listener(event)


def tests_of(results: Mapping[str, Any]) -> int:
    """How often a trial has measured its test rows: at its end, before its first step, and before it went on."""
    at_least = 1 + (results.get("start_accuracy") is not None)  # trials of before do not tell
    return int(results.get("tests", at_least))


def summarise(classes: Sequence[str], trials: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The summary of a run from the results of its trials: means over trials, sums of costs.

    Keys: ``test_accuracy`` and ``test_accuracy_sd`` (sample standard deviation over trials; None for one trial),
    ``test_accuracy_per_trial``, the same of ``start_accuracy`` (None unless trials inherited something), ``seeds``,
    ``per_class``, one accuracy for each ablation, shots, seconds and costs.
    """
    accuracies = [trial["accuracy"] for trial in trials]
    confusion = np.sum([trial["confusion"] for trial in trials], axis=0)
    rows = confusion.sum(axis=1)
    train = sum((Cost(**trial["train_cost"]) for trial in trials), Cost())
    test = sum((Cost(**trial["test_cost"]) for trial in trials), Cost())
    total = train + test
    starts = [trial["start_accuracy"] for trial in trials if trial.get("start_accuracy") is not None]
    summary: dict[str, Any] = {
        "test_accuracy": float(np.mean(accuracies)),
        "test_accuracy_sd": float(np.std(accuracies, ddof=1)) if len(accuracies) > 1 else None,
        "test_accuracy_per_trial": accuracies,
        "start_accuracy": float(np.mean(starts)) if starts else None,
        "start_accuracy_sd": float(np.std(starts, ddof=1)) if len(starts) > 1 else None,
        "start_accuracy_per_trial": starts or None,
        "seeds": [trial["seed"] for trial in trials],
        "per_class": {name: float(confusion[i, i] / rows[i]) if rows[i] else None for i, name in enumerate(classes)},
        "confusion": confusion.tolist(),
    }
    for name, key in ABLATION_KEYS.items():
        values = [trial["ablations"][name] for trial in trials if name in trial["ablations"]]
        summary[key] = float(np.mean(values)) if values else None
        summary[f"{key}_sd"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return summary | {
        "shots_train": train.shots,
        "shots_test": test.shots,
        "seconds_physics": total.seconds_physics,
        "seconds_digital": total.seconds_digital,
        "cost": total.as_dict(),
        "twins": trials[0].get("twins", []),
        "energy_j": rig_joules(trials) or None,
        "energy_digital_j": {"estimated": total.energy_digital_j} if total.energy_digital_j else None,
        "disturbances": [
            {"trial": index, **happened}
            for index, trial in enumerate(trials)
            for happened in trial.get("disturbances", ())
        ],
        "test_values_held_at_border": sum(trial["test_values_held_at_border"] for trial in trials),
        "drive_clipped_share": np.mean([trial["drive_clipped_share"] for trial in trials], axis=0).tolist(),
    }
