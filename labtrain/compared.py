"""What the runs of a comparison hold, a row for each method: accuracies, differences, shots to a target, costs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from labtrain.checkpoints import Logged
from labtrain.clock import Clock
from labtrain.errors import Diverged
from labtrain.events import Event, StepDone
from labtrain.experiment import Experiment, registered
from labtrain.ledger import Cost, rig_joules
from labtrain.methods.backward import Backward
from labtrain.runs import Run
from labtrain.statistics import interval
from labtrain.trainer import tests_of

BOTH = (
    "configuration_writes", "converter_samples", "settle_s", "integration_s", "seconds_physics", "seconds_digital",
    "multiply_adds_forward", "multiply_adds_update", "multiply_adds_twin",
)  # fmt: skip
"""Costs of a trial, training and test together."""


class Losses:
    """Watches the losses of a trial: NaN is one that is not known yet, but only before its first value."""

    def __init__(self) -> None:
        self._known: set[int] = set()

    def lost(self, losses: Sequence[float]) -> int | None:
        """Number of a block whose loss has just become infinite or no number, or None."""
        for i, loss in enumerate(losses):
            if math.isinf(loss) or (math.isnan(loss) and i in self._known):
                return i
            if not math.isnan(loss):
                self._known.add(i)
        return None


class StopAtDivergence:
    """A listener that ends a run at once instead of spending its shots on networks that hold no numbers."""

    def __init__(self) -> None:
        self._losses: dict[int, Losses] = {}

    def __call__(self, event: Event) -> None:
        if isinstance(event, StepDone):
            block = self._losses.setdefault(event.index, Losses()).lost(event.metrics.losses)
            if block is not None:
                raise Diverged(_told(event.index, event.metrics.step, block))


def _told(trial: int, step: int | str, block: int) -> str:
    return f"diverged: in trial {trial}, step {step}, the loss of block {block + 1} is no number"


def lost(run: Run) -> str | None:
    """Where a run has diverged, in words; None for one that has not."""
    losses: dict[int, Losses] = {}
    last: dict[int, Logged] = {}
    for row in run.metrics():
        last[row.trial] = row
        if (block := losses.setdefault(row.trial, Losses()).lost(row.value["losses"])) is not None:
            return _told(row.trial, row.step, block)
    for trial in run.trials():
        if (end := last.get(trial)) is not None:
            unknown = [block for block, loss in enumerate(end.value["losses"]) if math.isnan(loss)]
            if unknown:
                return _told(trial, end.step, unknown[0])
    return None


def collect(
    experiments: Mapping[str, Experiment],
    runs: Mapping[str, Path],
    problems: Mapping[str, str],
    target: float,
    test_share: float,
    clock: Clock,
) -> dict[str, Any]:
    """Everything that a comparison tells, as JSON values; what is not known is None.

    Parameters
    ----------
    experiments, runs, problems : by the name of the method, in the order of the table
        Experiments of all; run folders and what went wrong of some.
    target : float
    test_share : float
        n_test / n_train, for the intervals.

    Returns
    -------
    dict with ``trials``, ``target``, ``test_share`` and ``methods``, a list with a dict for each:
    ``name``, ``method``, ``needs_model``, ``problem``, ``run``; and for those that are finished, costs as means over
    the trials, ``accuracies``, ``accuracy`` and ``accuracy_half`` (half width of the 95 % interval), ``difference``
    and ``difference_half`` to the first method, ``shots_train``, ``shots_per_prediction``, ``shots_to_target`` (one a
    trial, None where it was never reached; None alone where training measured nothing), ``accuracy_on`` (rows of
    accuracies on the way), those of BOTH, ``multiply_adds_train``, ``multiply_adds_per_prediction``, ``twins`` (what
    fitting them took, not among the costs), ``energy_j`` and ``energy`` (of labtrain.ledger.KINDS the best known),
    ``energy_digital_j``, ``curve`` (mean ``shots`` and ``accuracy`` after the steps that all trials have)
    """
    rows: list[dict[str, Any]] = []
    for name, experiment in experiments.items():
        row: dict[str, Any] = {
            "name": name,
            "method": getattr(experiment.training, "method", None),
            "needs_model": _needs_model(experiment),
            "problem": problems.get(name),
            "run": str(runs[name]) if name in runs else None,
        }
        if name in runs and name not in problems:
            with Run.open(runs[name], write=False, clock=clock) as run:
                row |= _results(run, experiment.trials.count, target, test_share)
                row["problem"] = row["problem"] or lost(run)
        rows.append(row)
    first = rows[0]
    for row in rows[1:]:
        if not row["problem"] and not first["problem"]:
            paired = [a - b for a, b in zip(row["accuracies"], first["accuracies"], strict=True)]
            row["difference"], row["difference_half"] = _interval(paired, test_share)
    count = next(iter(experiments.values())).trials.count
    return {"trials": count, "target": target, "test_share": test_share, "methods": rows}


def _needs_model(experiment: Experiment) -> bool:
    """Whether a method was given a twin, or goes backward through something else that has derivatives."""
    method = registered("methods", experiment.training, "method")
    return bool(getattr(experiment.training, "twin", ())) or issubclass(method, Backward)


def _interval(values: Sequence[float], test_share: float) -> tuple[float, float | None]:
    mean, half = interval(values, test_share)
    return mean, None if math.isnan(half) else half


def _results(run: Run, count: int, target: float, test_share: float) -> dict[str, Any]:
    """The results of a finished run."""
    kept = run.trials()
    trials = [kept[index] for index in range(count)]
    train = sum((Cost(**trial["train_cost"]) for trial in trials), Cost())
    test = sum((Cost(**trial["test_cost"]) for trial in trials), Cost())
    tested = sum(tests_of(trial) * int(np.sum(trial["confusion"])) for trial in trials)  # predictions paid for
    accuracies = [trial["accuracy"] for trial in trials]
    accuracy, half = _interval(accuracies, test_share)
    # Without a shot the accuracies on the way are those of a model; nothing is known of the rig's before the test.
    ways = [way(run, index) if train.shots else {} for index in range(count)]
    both, joules = asdict(train + test), rig_joules(trials)
    kind = next(iter(joules), None)  # the best known
    return {
        "accuracies": accuracies,
        "accuracy": accuracy,
        "accuracy_half": half,
        "difference": None,
        "difference_half": None,
        "shots_train": train.shots / count,
        "shots_per_prediction": test.shots / tested,
        "shots_to_target": [_reached(steps, target) for steps in ways] if train.shots else None,
        "accuracy_on": sorted({row.value["accuracy_on"] for row in run.metrics()}),
        **{key: both[key] / count for key in BOTH},
        "multiply_adds_train": train.multiply_adds / count,
        "multiply_adds_per_prediction": test.multiply_adds / tested,
        "twins": trials[0].get("twins", []),
        "energy": kind,
        "energy_j": None if kind is None else joules[kind] / count,
        "energy_digital_j": both["energy_digital_j"] / count or None,
        "curve": _mean(ways),
    }


def way(run: Run, trial: int) -> dict[int, tuple[int, float]]:
    """Step -> shots logged up to its end, and accuracy then; steps whose accuracy is not known left out."""
    spent, shots, way = run.shots_by_step(trial), 0, {}
    for row in sorted((row for row in run.metrics() if row.trial == trial), key=lambda row: int(row.step)):
        shots += spent.pop(int(row.step), 0)
        if not math.isnan(row.value["accuracy"]):
            way[int(row.step)] = shots, float(row.value["accuracy"])
    return way


def _reached(way: Mapping[int, tuple[int, float]], target: float) -> int | None:
    return next((shots for shots, accuracy in way.values() if accuracy >= target), None)


def _mean(ways: Sequence[Mapping[int, tuple[int, float]]]) -> dict[str, list[float]]:
    """Mean over trials, at the steps that all of them have: one over fewer and fewer of them would jump."""
    steps = sorted(set.intersection(*(set(way) for way in ways)))
    return {
        key: [float(np.mean([way[step][i] for way in ways])) for step in steps]
        for i, key in enumerate(("shots", "accuracy"))
    }
