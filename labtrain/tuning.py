"""The same tuning budget for all methods of a comparison: candidates, tried on splits of other seeds; the best goes on.

Each candidate is an ordinary run in the folder ``tuning`` of the comparison, and what is told of it is taken from that
run alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from labtrain.clock import Clock
from labtrain.compare_runs import Watch, attempt, check, refuse_another, runs_of
from labtrain.compare_settings import CompareOptions, Comparison, Entry, leaves, method_named, of_candidate, of_method
from labtrain.compared import lost
from labtrain.config import Loaded
from labtrain.errors import ConfigError, InputError
from labtrain.experiment import Experiment, Trials
from labtrain.opening import naming_lines
from labtrain.planning import check_data
from labtrain.runs import Run

FOLDER = "tuning"  # within that of the comparison


def tune(
    loaded: Loaded[Comparison], methods: Sequence[str], folder: Path, trials: int | None, watch: Watch, clock: Clock
) -> dict[str, dict[str, Any]]:
    """Try the candidates of each method as far as that is not done yet; empty without a section ``compare.tuning``.

    Parameters
    ----------
    methods, folder, trials : of the comparison, see :func:`labtrain.comparison.compare`

    Returns
    -------
    dict of dict, by the name of the method
        ``candidates``: a list with a dict for each, ``settings`` (as overrides), ``run``, ``problem``, ``accuracies``
        (test rows of the tuning splits), ``accuracy`` (their mean), ``shots``, ``seconds``; ``chosen``: number, from 1,
        of the most accurate, the earliest of several; None if all failed; ``shots``, ``seconds``: of all candidates.

    Raises
    ------
    InputError
        Before anything runs: if methods have candidates in different numbers or the same twice, if splits are those of
        the comparison, or as of :func:`labtrain.comparison.compare`.
    Interrupted, LinkError, UnsafeError
    """
    if loaded.value.compare.tuning is None:
        return {}
    for name in methods:
        method_named(loaded, name)
    budget = candidates_each(loaded.value.compare, methods)
    compared = [of_method(loaded, name, trials, 1) for name in methods]
    wanted = {name: [of_candidate(loaded, name, number + 1) for number in range(budget)] for name in methods}
    tried = wanted[methods[0]][0]
    _refuse_shared(tried.value.trials, compared[0].value.trials)
    for name, experiments in wanted.items():
        _refuse_twice(name, [experiment.value for experiment in experiments])
    _refuse_start(tried)
    runs = runs_of(folder / FOLDER, clock)
    everything = [experiment for experiments in wanted.values() for experiment in experiments]
    for experiment in everything:
        if (before := runs.get(str(experiment.value.run.name))) is not None:
            refuse_another(before, experiment.value, clock)
    check_data(compared[0])
    check(everything, runs, clock)
    told: dict[str, dict[str, Any]] = {}
    for name, experiments in wanted.items():
        rows = []
        for experiment, overlay in zip(experiments, loaded.value.compare.methods[name].candidates, strict=True):
            problem = attempt(experiment, runs.get(str(experiment.value.run.name)), folder / FOLDER, watch, clock)
            run = runs_of(folder / FOLDER, clock).get(str(experiment.value.run.name))
            rows.append({"settings": leaves(overlay), **_found(run, tried.value.trials.count, problem, clock)})
        told[name] = {
            "chosen": choose([row["accuracy"] for row in rows]),
            **{key: sum(row[key] for row in rows) for key in ("shots", "seconds")},
            "candidates": rows,
        }
    return told


def candidates_each(options: CompareOptions, methods: Sequence[str]) -> int:
    """How many candidates every method has.

    Raises
    ------
    InputError
        If not all have the same number, or have none.
    """
    counts = {name: len(options.methods.get(name, Entry()).candidates) for name in methods}
    if len(set(counts.values())) > 1 or not all(counts.values()):
        has = ", ".join(f"{name} {count or 'none'}" for name, count in counts.items())
        raise InputError(
            f"compare.tuning tries the same number of candidates for every method, and they have: {has}; list as many "
            "under compare.methods.NAME.candidates of each"
        )
    return next(iter(counts.values()))


def choose(accuracies: Sequence[float | None]) -> int | None:
    """Number, from 1, of the most accurate candidate, the earliest of several; None is one that is out."""
    best = max((accuracy for accuracy in accuracies if accuracy is not None), default=None)
    return None if best is None else 1 + accuracies.index(best)


def seeds(first: int, count: int) -> str:
    """``seed 100``, ``seeds 100 to 102``."""
    return f"seed {first}" if count == 1 else f"seeds {first} to {first + count - 1}"


def all_out(told: dict[str, Any]) -> str:
    """Why a method of which no candidate was chosen has no result."""
    reasons = [f"{number}: {row['problem']}" for number, row in enumerate(told["candidates"], 1)]
    return f"no candidate came through tuning; {'; '.join(reasons)}"


def _refuse_shared(tuning: Trials, comparison: Trials) -> None:
    ends = [trials.first_seed + trials.count for trials in (tuning, comparison)]
    if max(tuning.first_seed, comparison.first_seed) < min(ends):
        own, theirs = (seeds(trials.first_seed, trials.count) for trials in (tuning, comparison))
        raise InputError(
            f"compare.tuning has {own}, and the comparison {theirs}: what was chosen on a split cannot be judged on "
            f"it; set compare.tuning.first_seed: {ends[1]}, or more"
        )


def _refuse_start(tried: Loaded[Experiment]) -> None:
    """What trials begin from has learned on the splits of the comparison, if on any of these."""
    if (start := tried.value.trials.start_from) is not None:
        with naming_lines(tried):
            raise ConfigError(
                f"trials.start_from: candidates are tried on other splits (compare.tuning) than those that {start} "
                "has learned on; leave one of the two out"
            )


def _refuse_twice(name: str, experiments: Sequence[Experiment]) -> None:
    """The same candidate twice would be a smaller budget than it seems."""
    seen: list[dict[str, Any]] = []
    for number, experiment in enumerate(experiments, 1):
        settings = experiment.model_dump(exclude={"run"})
        if settings in seen:
            raise InputError(
                f"compare.methods.{name}: candidates {seen.index(settings) + 1} and {number} are the same settings; "
                "change one of them"
            )
        seen.append(settings)


def _found(folder: Path | None, trials: int, problem: str | None, clock: Clock) -> dict[str, Any]:
    """What a run tells of its candidate."""
    row: dict[str, Any] = {"run": None if folder is None else str(folder), "problem": problem}
    row |= {"accuracies": None, "accuracy": None, "shots": 0, "seconds": 0.0}
    if folder is None:
        return row
    with Run.open(folder, write=False, clock=clock) as run:
        row["problem"] = problem or lost(run)
        row["shots"], row["seconds"] = run.shots_count(), _seconds(run)
        if row["problem"] is None:
            row["accuracies"] = [run.trials()[index]["accuracy"] for index in range(trials)]
            row["accuracy"] = fmean(row["accuracies"])  # exact sum: the order of the trials decides no tie
    return row


def _seconds(run: Run) -> float:
    """Wall time of all trials, in the rig and outside; of one that was broken off, up to its last checkpoint."""
    kept = run.trials()
    costs = [trial[part] for trial in kept.values() for part in ("train_cost", "test_cost")]
    seconds = sum(cost["seconds_physics"] + cost["seconds_digital"] for cost in costs)
    last = run.last_checkpoint()
    if last is not None and last[1]["index"] not in kept:
        seconds += last[1]["trial"]["seconds"]
    return float(seconds)
