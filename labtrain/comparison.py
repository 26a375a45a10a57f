"""Training methods side by side on the same trials (``labtrain compare``): one ordinary run for each, in one folder.

The runs are all that is kept: called again, a comparison goes on with those that are not finished, and what is told
(labtrain.compared) is taken from them alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from labtrain.clock import Clock, RealClock
from labtrain.compare_runs import Watch, attempt, check, nobody, refuse_another, runs_of
from labtrain.compare_settings import Comparison, method_named, of_method
from labtrain.compared import collect
from labtrain.config import Loaded
from labtrain.datasets import split
from labtrain.errors import InputError
from labtrain.experiment import Experiment
from labtrain.storage import disk_errors, write_bytes
from labtrain.trial import load_table
from labtrain.tuning import all_out, tune

RESULT, FIGURE = "compare.json", "compare.png"


def compare(
    loaded: Loaded[Comparison],
    methods: Sequence[str],
    folder: str | Path,
    trials: int | None = None,
    target: float = 0.9,
    watch: Watch | None = None,
    clock: Clock | None = None,
) -> dict[str, Any]:
    """Carry out what is missing of a comparison, and tell what its runs hold.

    Parameters
    ----------
    methods : sequence of str
        Names, see :func:`of_method`; differences are to the first.
    folder : path
        Of the comparison: a run folder for each method, ``compare.json``, ``compare.png``, ``tuning``.
    trials : int, optional
        Instead of ``trials.count``.
    target : float
        Accuracy, of which it is told how many shots each method needed to reach it.
    watch : callable, optional
        Gives a context manager with a listener, for each run anew.

    Returns
    -------
    dict, also written to ``compare.json``; see :func:`labtrain.compared.collect`; and ``tuning``, its settings, in the
    row of each method what :func:`labtrain.tuning.tune` tells; None where nothing was tuned

    Raises
    ------
    InputError
        Before anything runs: for a method that does not exist, settings that are wrong, or a run in the folder that
        was begun with others.
    Interrupted, LinkError, UnsafeError
        What is no fault of a method ends the comparison; called again it goes on.
    """
    clock, folder = clock or RealClock(), Path(folder)
    if not methods or len(set(methods)) < len(methods):
        asked = ",".join(methods) or "''"
        raise InputError(f"--methods {asked}: needs names of methods, each once; as in phyll,ridge")
    for name in loaded.value.compare.methods:  # also of a misspelt one, whose settings would be nobody's
        method_named(loaded, name)
    tuned = tune(loaded, methods, folder, trials, watch or nobody, clock)
    problems = {name: all_out(told) for name, told in tuned.items() if told["chosen"] is None}
    chosen = {name: told["chosen"] or 1 for name, told in tuned.items()}
    wanted = {name: of_method(loaded, name, trials, chosen.get(name)) for name in methods}
    runs = runs_of(folder, clock)
    todo = [name for name in methods if name not in problems]
    for name in (name for name in todo if name in runs):
        refuse_another(runs[name], wanted[name].value, clock)
    check([wanted[name] for name in todo], runs, clock)
    for name in todo:
        if (problem := attempt(wanted[name], runs.get(name), folder, watch or nobody, clock)) is not None:
            problems[name] = problem
    experiments = {name: experiment.value for name, experiment in wanted.items()}
    found = collect(
        experiments, runs_of(folder, clock), problems, target, share_of_test(experiments[methods[0]]), clock
    )
    found["tuning"] = None if loaded.value.compare.tuning is None else loaded.value.compare.tuning.model_dump()
    for row in found["methods"]:
        row["tuning"] = tuned.get(row["name"])
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / RESULT, (json.dumps(found, indent=2, allow_nan=False) + "\n").encode())
    return found | {"folder": str(folder)}


def share_of_test(experiment: Experiment) -> float:
    """n_test / n_train, mean over the splits of all trials."""
    table, first = load_table(experiment), experiment.trials.first_seed
    parts = [split(table, experiment.dataset, first + index) for index in range(experiment.trials.count)]
    return float(np.mean([len(part.test) / len(part.train) for part in parts]))
