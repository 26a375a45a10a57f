"""Training methods side by side on the same trials (``labtrain compare``): one ordinary run for each, in one folder.

The runs are all that is kept: called again, a comparison goes on with those that are not finished, and what is told
(labtrain.compared) is taken from them alone.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, StringConstraints

from labtrain import config as configuration
from labtrain import jobs, registry
from labtrain.clock import Clock, RealClock
from labtrain.compared import Diverged, StopAtDivergence, collect, lost
from labtrain.config import Loaded, Section
from labtrain.datasets import split
from labtrain.errors import ConfigError, InputError, Interrupted, LabtrainError, LinkError, RunError, UnsafeError
from labtrain.events import Listener
from labtrain.experiment import Experiment
from labtrain.runs import Run
from labtrain.storage import disk_errors, write_bytes
from labtrain.trial import load_table

log = logging.getLogger("labtrain")

RESULT, FIGURE = "compare.json", "compare.png"
# Not of one method: the rig, the disk or a person ended it, and the next method would fare no better.
NOT_OF_THE_METHOD = (Interrupted, UnsafeError, LinkError, RunError)

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+$")]
Watch = Callable[[], AbstractContextManager[Listener | None]]


class Overlay(Section):
    """What one method has of its own, over the sections of the file."""

    training: dict[str, Any] = Field(default_factory=dict, description="settings; method: NAME where the name is free")
    network: dict[str, Any] = Field(default_factory=dict)
    encoding: dict[str, Any] = Field(default_factory=dict)


class CompareOptions(Section):
    """Settings of the methods that are compared."""

    methods: dict[Name, Overlay] = Field(default_factory=dict, description="by name, as --methods has it")


class Comparison(Experiment):
    """An experiment, and what other methods would have in the place of its own."""

    compare: CompareOptions = CompareOptions()


def load(path: str | Path, overrides: Sequence[str] = ()) -> Loaded[Comparison]:
    """Read a configuration file that may have a section ``compare``.

    Raises
    ------
    ConfigError
        With one line for each error.
    """
    return configuration.load(path, Comparison, overrides)


def of_method(loaded: Loaded[Comparison], name: str, trials: int | None = None) -> Loaded[Experiment]:
    """The experiment of one method: that of the file with its own settings, same data, splits, seeds and rig.

    Parameters
    ----------
    name : str
        A registered method, or an entry of ``compare.methods`` that says which it is.
    trials : int, optional
        Instead of ``trials.count``.

    Raises
    ------
    InputError
        If there is no such method, or what stands under its name is wrong.
    """
    own = loaded.value.compare.methods.get(name, Overlay())
    method = str(own.training.get("method", name))
    try:
        has = registry.resolve("methods", method).ablations
    except InputError as error:
        raise InputError(f"--methods {name}: {error}") from None
    options = [*loaded.overrides, f"run.name={name}"]
    if method == getattr(loaded.value.training, "method", None):
        options += _leaves("training", own.training)
    else:
        options.append(f"training={json.dumps({'method': method, **own.training})}")
    options += [*_leaves("network", own.network), *_leaves("encoding", own.encoding)]
    if loaded.value.ablations is not None:
        options.append(f"ablations={json.dumps([one for one in loaded.value.ablations if one in has])}")
    if trials is not None:
        options.append(f"trials.count={trials}")
    try:
        found = configuration.loads(loaded.text, Comparison, loaded.source, options)
    except ConfigError as error:
        own_place = rf"\1compare.methods.{name}.\2"
        raise ConfigError(re.sub(r"(^|\n)--set (training|network|encoding)\b", own_place, str(error))) from None
    sections = {key: getattr(found.value, key) for key in Experiment.model_fields}
    return Loaded(Experiment(**sections), found.source, found.text, found.overrides, found._origins)


def _leaves(section: str, values: Mapping[str, Any]) -> list[str]:
    """Overrides that set every value of a nested mapping and leave what stands beside it."""
    options = []
    for key, value in values.items():
        path = f"{section}.{key}"
        options += _leaves(path, value) if isinstance(value, dict) and value else [f"{path}={json.dumps(value)}"]
    return options


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
        Of the comparison: a run folder for each method, ``compare.json``, ``compare.png``.
    trials : int, optional
        Instead of ``trials.count``.
    target : float
        Accuracy, of which it is told how many shots each method needed to reach it.
    watch : callable, optional
        Gives a context manager with a listener, for each run anew.

    Returns
    -------
    dict, also written to ``compare.json``; see :func:`labtrain.compared.collect`

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
        raise InputError(f"--methods {','.join(methods)}: needs names of methods, each once; as in phyll,ridge")
    wanted = {name: of_method(loaded, name, trials) for name in methods}
    for experiment in wanted.values():
        jobs.check(experiment)
    runs = runs_of(folder, clock)
    for name in (name for name in methods if name in runs):
        _refuse_another(runs[name], wanted[name].value, clock)
    problems: dict[str, str] = {}
    for name, experiment in wanted.items():
        try:
            _go_on(experiment, runs.get(name), folder, watch or _nobody, clock)
        except NOT_OF_THE_METHOD:
            raise
        except (LabtrainError, ArithmeticError, np.linalg.LinAlgError) as error:
            problems[name] = str(error)
            log.warning("%s: %s", name, error)
    experiments = {name: experiment.value for name, experiment in wanted.items()}
    found = collect(
        experiments, runs_of(folder, clock), problems, target, share_of_test(experiments[methods[0]]), clock
    )
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / RESULT, (json.dumps(found, indent=2, allow_nan=False) + "\n").encode())
    return found | {"folder": str(folder)}


def runs_of(folder: Path, clock: Clock) -> dict[str, Path]:
    """Run folders of a comparison by the name of their method; the first where there are several."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if (path / "run.db").exists():
            with Run.open(path, write=False, clock=clock) as run:
                found.setdefault(str(run.config.get("run", {}).get("name")), path)
    return found


def share_of_test(experiment: Experiment) -> float:
    """n_test / n_train, mean over the splits of all trials."""
    table, first = load_table(experiment), experiment.trials.first_seed
    parts = [split(table, experiment.dataset, first + index) for index in range(experiment.trials.count)]
    return float(np.mean([len(part.test) / len(part.train) for part in parts]))


def _nobody() -> AbstractContextManager[None]:
    return nullcontext()


def _refuse_another(folder: Path, experiment: Experiment, clock: Clock) -> None:
    """A run that was begun with other settings is neither overwritten nor taken for one with these."""
    with Run.open(folder, write=False, clock=clock) as run:
        try:
            run.config_changes(json.loads(experiment.model_dump_json()), jobs.RESUMABLE)
        except RunError as error:
            told = str(error).partition("; resume with")[0]
            raise RunError(f"{told}; move that folder away, or compare in another one with --out DIR") from None


def _go_on(experiment: Loaded[Experiment], before: Path | None, folder: Path, watch: Watch, clock: Clock) -> None:
    """Begin, go on with or leave a run as it is."""
    overrides = []
    if before is not None:
        with Run.open(before, write=False, clock=clock) as run:
            if (problem := lost(run)) is not None:
                raise Diverged(problem)
            changes = run.config_changes(json.loads(experiment.value.model_dump_json()), jobs.RESUMABLE)
            if run.status == "finished" and not changes:
                return
        overrides.append(f"trials.count={experiment.value.trials.count}")
        if (epochs := getattr(experiment.value.training, "epochs", None)) is not None:
            overrides.append(f"training.epochs={epochs}")
    with watch() as listener:
        listeners: list[Listener] = [*([] if listener is None else [listener]), StopAtDivergence()]
        if before is None:
            jobs.train(experiment, folder, listeners, clock)
        else:
            jobs.resume(before, overrides, listeners, clock)
