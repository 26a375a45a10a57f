"""The runs of a comparison in their folder: found again by name, never mixed, begun or gone on with."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from labtrain import jobs
from labtrain.clock import Clock
from labtrain.compared import StopAtDivergence, lost
from labtrain.config import Loaded
from labtrain.errors import ConfigError, Diverged, Interrupted, LabtrainError, LinkError, RunError, UnsafeError
from labtrain.events import Listener
from labtrain.experiment import Experiment
from labtrain.planning import check_data, check_files
from labtrain.runs import Run

log = logging.getLogger("labtrain")

# Not of one method: the rig, the disk or a person ended it, and the next method would fare no better.
NOT_OF_THE_METHOD = (Interrupted, UnsafeError, LinkError, RunError)

Watch = Callable[[], AbstractContextManager[Listener | None]]


def runs_of(folder: Path, clock: Clock) -> dict[str, Path]:
    """Run folders of a comparison by the name of their method; the first where there are several.

    Raises
    ------
    RunError
        If one of them cannot be read: what it holds is neither measured anew nor left out unasked.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if (path / "run.db").exists():
            try:
                with Run.open(path, write=False, clock=clock) as run:
                    found.setdefault(str(run.config.get("run", {}).get("name")), path)
            except RunError as error:
                told = str(error).partition("; ")[0]
                raise RunError(f"{told}; restore it, or move it out of {folder} to have its run begun anew") from None
    return found


def refuse_another(folder: Path, experiment: Experiment, clock: Clock) -> None:
    """A run that was begun with other settings, or holds more, is neither overwritten nor taken for one with these."""
    with Run.open(folder, write=False, clock=clock) as run:
        jobs.refuse_recording(run, f"move it out of {folder.parent}")
        try:
            run.config_changes(json.loads(experiment.model_dump_json()), jobs.RESUMABLE, Experiment)
        except RunError as error:
            told = str(error).partition("; resume with")[0]
            raise RunError(f"{told}; move that folder away, or compare in another one with --out DIR") from None
        jobs.refuse_less(run, experiment)


def check(experiments: Sequence[Loaded[Experiment]], runs: Mapping[str, Path], clock: Clock) -> None:
    """Refuse before anything runs what runs would fail for that still have something to do.

    Parameters
    ----------
    experiments : sequence of Loaded[Experiment]
        Data, splits and trials are the same in all.
    runs : of those that have begun, by name

    Raises
    ------
    InputError
        For data or splits that are wrong, a twin that is missing, an earlier run that trials cannot begin from.
    """
    if not experiments:
        return
    table = check_data(experiments[0])
    for experiment in experiments:
        name = str(experiment.value.run.name)
        begun = runs.get(name)
        if begun is not None:
            with Run.open(begun, write=False, clock=clock) as run:
                if not _left(run, experiment.value):
                    continue
        try:
            check_files(experiment, table, clock, begun is not None)
        except ConfigError as error:
            raise ConfigError(f"{name}: {error}") from None


def _left(run: Run, experiment: Experiment) -> bool:
    """Whether a run has still something to do; none that has diverged has."""
    if lost(run) is not None:
        return False
    kept, epochs = run.trials(), getattr(experiment.training, "epochs", 0)
    ended = all(index in kept and kept[index]["goal"] >= epochs for index in range(experiment.trials.count))
    return not ended or run.status != "finished"


def nobody() -> AbstractContextManager[None]:
    """A watch that listens to nothing."""
    return nullcontext()


def attempt(
    experiment: Loaded[Experiment], before: Path | None, folder: Path, watch: Watch, clock: Clock
) -> str | None:
    """Begin, go on with or leave a run as it is, and say in words what went wrong by fault of the method.

    Raises
    ------
    Interrupted, LinkError, UnsafeError, RunError
        What is no fault of the method.
    """
    try:
        _go_on(experiment, before, folder, watch, clock)
    except Interrupted as error:  # which tells of this run alone
        told = str(error).partition("; go on with")[0]
        raise Interrupted(f"{told}; the same command goes on with the comparison") from None
    except KeyboardInterrupt as error:  # of this run nothing was measured yet, of others before it there may be much
        told = str(error).partition(";")[0] or "stopped by Ctrl-C"
        raise Interrupted(f"{told}; the same command goes on with the comparison") from None
    except NOT_OF_THE_METHOD:
        raise
    except (LabtrainError, ArithmeticError, np.linalg.LinAlgError) as error:
        log.warning("%s: %s", experiment.value.run.name, error)
        return str(error)
    return None


def _go_on(experiment: Loaded[Experiment], before: Path | None, folder: Path, watch: Watch, clock: Clock) -> None:
    """Begin, go on with or leave a run as it is."""
    overrides = []
    if before is not None:
        wanted = json.loads(experiment.value.model_dump_json())
        with Run.open(before, write=False, clock=clock) as run:
            if (problem := lost(run)) is not None:
                raise Diverged(problem)
            run.config_changes(wanted, jobs.RESUMABLE, Experiment)
            if not _left(run, experiment.value):
                return
        overrides = [f"{key}={json.dumps(value)}" for key in jobs.RESUMABLE for value in _at(wanted, key.split("."))]
    with watch() as listener:
        listeners: list[Listener] = [*([] if listener is None else [listener]), StopAtDivergence()]
        if before is None:
            jobs.train(experiment, folder, listeners, clock)
        else:
            jobs.resume(before, overrides, listeners, clock)


def _at(config: Any, path: Sequence[str]) -> list[Any]:
    """The value at a path, alone in a list; an empty one where there is none."""
    for key in path:
        if not isinstance(config, dict) or key not in config:
            return []
        config = config[key]
    return [config]
