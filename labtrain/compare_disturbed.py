"""How each method of a comparison takes an unforeseen change of the rig (``labtrain compare --disturb``).

Beside the run NAME of a comparison there are two more ordinary runs in its folder, in the world that `compare.disturb`
makes, from the first shot on: NAME-after, whose trials begin with what those of NAME have learned (warm_start.py), and
NAME-scratch, whose trials begin with fresh weights. All have the same splits and seeds, so that trial i of the three
makes a pair of before and after, and another of after and scratch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from labtrain import comparison
from labtrain.clock import Clock, RealClock
from labtrain.compare_runs import Watch, attempt, check, nobody, refuse_another, runs_of
from labtrain.compare_settings import Comparison, Entry, of_disturbed, of_method
from labtrain.compared import collect, way
from labtrain.config import Loaded
from labtrain.errors import InputError, RunError
from labtrain.experiment import Experiment
from labtrain.runs import Run
from labtrain.statistics import interval
from labtrain.storage import disk_errors, write_bytes
from labtrain.warm_start import KEY

FIGURE = "compare-disturbed.png"
AFTER, SCRATCH = "after", "scratch"
MARGIN = 0.01  # below the accuracy that a network from scratch ends with: reached, for the count of shots
REMEDY = "move that folder and the one of the run from scratch away, or compare in another folder with --out DIR"


def compare(
    loaded: Loaded[Comparison],
    methods: Sequence[str],
    folder: str | Path,
    trials: int | None = None,
    target: float = 0.9,
    watch: Watch | None = None,
    clock: Clock | None = None,
) -> dict[str, Any]:
    """Carry out what is missing of a comparison and of its disturbed runs, and tell what all of them hold.

    Parameters
    ----------
    As of :func:`labtrain.comparison.compare`.

    Returns
    -------
    dict, also written to ``compare.json``: what that function gives, and ``disturbed``: a dict with ``changes``,
    ``margin`` and ``methods``, a list with a dict for each, see :func:`told`

    Raises
    ------
    InputError
        Before anything runs, if nothing is to happen or names would clash; else as that function.
    RunError
        If a run in the folder was begun with other settings, or from a run that has gone on since.
    """
    clock, folder = clock or RealClock(), Path(folder)
    if not loaded.value.compare.disturb:
        raise InputError(
            "--disturb: compare.disturb says nothing of what shall happen; add it, as in "
            "disturb: [{do: noise, share: 0.1}] (docs/configuration.md, disturbances)"
        )
    if clash := [name for name in methods if name in {f"{one}-{part}" for one in methods for part in (AFTER, SCRATCH)}]:
        raise InputError(f"--methods {clash[0]}: --disturb needs that name for a run of its own; choose another one")
    _refuse_other_pairs(loaded, methods, folder, trials, clock)
    check(list(_disturbed(loaded, methods, trials)), runs_of(folder, clock), clock)
    found = comparison.compare(loaded, methods, folder, trials, target, watch, clock)
    rows = []
    for row in found["methods"]:
        problem, wanted = row["problem"], {}
        if problem is None:
            chosen = row["tuning"]["chosen"] if row["tuning"] else None
            wanted = {
                SCRATCH: of_disturbed(loaded, row["name"], SCRATCH, trials, chosen),
                AFTER: of_disturbed(loaded, row["name"], AFTER, trials, chosen, Path(row["run"])),
            }
            _refuse_another_pair(loaded, row["name"], chosen, runs_of(folder, clock), trials, clock)
            problem = _carry_out(wanted, row["name"], folder, watch or nobody, clock)
        experiments = {part: experiment.value for part, experiment in wanted.items()}
        rows.append(told(row, experiments, runs_of(folder, clock), problem, found["test_share"], clock))
    changes = [{"do": one.do, **one.values} for one in loaded.value.compare.disturb]
    found["disturbed"] = {"changes": changes, "margin": MARGIN, "methods": rows}
    kept = {key: value for key, value in found.items() if key != "folder"}
    with disk_errors(folder):
        write_bytes(folder / comparison.RESULT, (json.dumps(kept, indent=2, allow_nan=False) + "\n").encode())
    return found


def _disturbed(loaded: Loaded[Comparison], methods: Sequence[str], trials: int | None) -> Iterator[Loaded[Experiment]]:
    """The disturbed runs as far as they are known before the undisturbed ones, with the first candidate of each."""
    for name in methods:
        candidate = 1 if loaded.value.compare.methods.get(name, Entry()).candidates else None
        for part in (SCRATCH, AFTER):
            yield of_disturbed(loaded, name, part, trials, candidate)


def _carry_out(
    wanted: Mapping[str, Loaded[Experiment]], name: str, folder: Path, watch: Watch, clock: Clock
) -> str | None:
    """Begin, go on with or leave the disturbed runs of one method; what went wrong by its fault."""
    runs = runs_of(folder, clock)
    for part, experiment in wanted.items():
        problem = attempt(experiment, runs.get(f"{name}-{part}"), folder, watch, clock)
        if problem is not None:
            return f"{name}-{part}: {problem}"
    return None


def _refuse_other_pairs(
    loaded: Loaded[Comparison], methods: Sequence[str], folder: Path, trials: int | None, clock: Clock
) -> None:
    """Refuse before anything runs what the disturbed runs in the folder would be refused for in the end."""
    runs = runs_of(folder, clock)
    for name in (name for name in methods if name in runs):
        refused: list[RunError] = []
        for candidate in _fitting(loaded, name, runs[name], trials, clock):
            try:
                _refuse_another_pair(loaded, name, candidate, runs, trials, clock)
                break
            except RunError as error:
                refused.append(error)
        else:
            if refused:
                raise refused[0]


def _fitting(
    loaded: Loaded[Comparison], name: str, run: Path, trials: int | None, clock: Clock
) -> Iterator[int | None]:
    """Candidates that the undisturbed run of a method may be one of, before it is known which is chosen."""
    tried = len(loaded.value.compare.methods.get(name, Entry()).candidates)
    for candidate in range(1, tried + 1) if loaded.value.compare.tuning else (None,):
        try:
            refuse_another(run, of_method(loaded, name, trials, candidate).value, clock)
        except RunError:
            continue  # where none fits, the comparison itself says so
        yield candidate


def _refuse_another_pair(
    loaded: Loaded[Comparison],
    name: str,
    candidate: int | None,
    runs: Mapping[str, Path],
    trials: int | None,
    clock: Clock,
) -> None:
    """Refuse disturbed runs of other settings, or an undisturbed one that would go on after another began from it."""
    for part in (SCRATCH, AFTER):
        if (begun := runs.get(f"{name}-{part}")) is not None:
            start = runs[name] if part == AFTER else None
            refuse_another(begun, of_disturbed(loaded, name, part, trials, candidate, start).value, clock)
    if (after := runs.get(f"{name}-{AFTER}")) is None:
        return
    epochs = getattr(of_method(loaded, name, trials, candidate).value.training, "epochs", 1)
    with Run.open(after, write=False, clock=clock) as run, Run.open(runs[name], write=False, clock=clock) as earlier:
        now, kept = earlier.trial_digests(), earlier.trials()
        began = run.provenance.get(KEY, {"trials": ()})["trials"]
        for trial, then in enumerate(began):
            if now.get(trial) != then:
                raise RunError(f"{runs[name]}: has gone on since {after.name} began from it; {REMEDY}")
            if kept[trial]["goal"] < epochs:
                raise RunError(
                    f"{runs[name]}: training.epochs {epochs} asks it to go on from {kept[trial]['goal']}, and "
                    f"{after.name} has begun from it as it is; {REMEDY}"
                )


def told(
    row: dict[str, Any],
    experiments: Mapping[str, Experiment],
    runs: Mapping[str, Path],
    problem: str | None,
    test_share: float,
    clock: Clock,
) -> dict[str, Any]:
    """What the three runs of a method hold, as JSON values; what is not known is None.

    Parameters
    ----------
    row : dict
        Of :func:`labtrain.compared.collect`, of the undisturbed run.
    experiments : by part, ``scratch`` first
    runs : run folders by name
    problem : str, optional
        What went wrong.

    Returns
    -------
    dict
        ``name``, ``method``, ``problem``, ``runs`` by part. For those that are finished: ``accuracies``, one a trial,
        of ``before``, ``at``, ``after`` and ``scratch``; their means and, as ``NAME_half``, half of 95 % intervals; the
        same of ``dip`` (before - at) and ``difference`` (after - scratch), trial by trial; ``shots_after``,
        ``shots_scratch``: of training, mean; ``shots_back``, ``shots_same``: one a trial, until the accuracy on the way
        reached that of scratch's end less the margin (None: never), going on and from scratch, and both None where no
        shot was measured; ``accuracy_on``; ``curves`` of both parts, as of ``collect``
    """
    names = {part: f"{row['name']}-{part}" for part in experiments}
    folders = {part: str(runs[name]) for part, name in names.items() if name in runs}
    result: dict[str, Any] = {
        "name": row["name"],
        "method": row["method"],
        "problem": problem,
        "runs": {"before": row["run"], **folders},
    }
    if problem is not None:
        return result
    named = {names[part]: experiment for part, experiment in experiments.items()}
    parts = collect(named, runs, {}, 1.0, test_share, clock)["methods"]
    if lost := [f"{part['name']}: {part['problem']}" for part in parts if part["problem"]]:
        return result | {"problem": lost[0]}
    scratch, after = parts
    accuracies = {"before": row["accuracies"], "at": [], AFTER: after["accuracies"], SCRATCH: scratch["accuracies"]}
    back, same = [], []
    with (
        Run.open(runs[names[AFTER]], write=False, clock=clock) as going_on,
        Run.open(runs[names[SCRATCH]], write=False, clock=clock) as fresh,
    ):
        kept = going_on.trials()
        for trial in range(len(row["accuracies"])):
            accuracies["at"].append(kept[trial]["start_accuracy"])
            ways = way(going_on, trial), way(fresh, trial)
            level = _last(ways[1]) - MARGIN
            back.append(_reached(ways[0], level))
            same.append(_reached(ways[1], level))
    blind = not after["shots_train"]
    means = {**accuracies, "dip": _minus(accuracies, "before", "at"), "difference": _minus(accuracies, AFTER, SCRATCH)}
    for name, values in means.items():
        mean, half = interval(values, test_share)
        result |= {name: mean, f"{name}_half": None if math.isnan(half) else half}
    return result | {
        "accuracies": accuracies,
        "shots_after": after["shots_train"],
        "shots_scratch": scratch["shots_train"],
        "shots_back": None if blind else back,
        "shots_same": None if blind else same,
        "accuracy_on": sorted({*after["accuracy_on"], *scratch["accuracy_on"]}),
        "curves": {AFTER: after["curve"], SCRATCH: scratch["curve"]},
    }


def _minus(accuracies: Mapping[str, Sequence[float]], first: str, second: str) -> list[float]:
    return [a - b for a, b in zip(accuracies[first], accuracies[second], strict=True)]


def _last(steps: Mapping[int, tuple[int, float]]) -> float:
    """Accuracy on the way at its end; NaN where it was never known, which nothing reaches."""
    return list(steps.values())[-1][1] if steps else math.nan


def _reached(steps: Mapping[int, tuple[int, float]], level: float) -> int | None:
    return next((shots for shots, accuracy in steps.values() if accuracy >= level), None)
