"""What a user starts: train, resume, evaluate, predict, plan. The command line and scripts call the same functions."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import gmtime, strftime
from typing import Any

import numpy as np

from labtrain import config as configuration
from labtrain import provenance
from labtrain.clock import Clock, RealClock
from labtrain.config import Loaded
from labtrain.datasets import split
from labtrain.datasets.reader import read_rows
from labtrain.datasets.table import Table
from labtrain.errors import Interrupted, LabtrainError, RunError
from labtrain.events import Listener
from labtrain.experiment import Experiment, registered
from labtrain.layer import PhysicalLayer, Recorded, Shots
from labtrain.logfile import LogFile
from labtrain.methods.method import Method
from labtrain.plots import figures
from labtrain.rigs.rig import Rig
from labtrain.runs import Run
from labtrain.safety import Guard
from labtrain.storage import disk_errors, write_bytes
from labtrain.trainer import Trainer
from labtrain.trial import Trial, load_table

log = logging.getLogger("labtrain")

# What may differ when a run goes on; everything else would make another experiment of it.
RESUMABLE = ("training.epochs", "trials.count", "run.checkpoint_s", "run.notes")


def open_rig(experiment: Experiment, clock: Clock | None = None) -> Rig:
    """The rig that an experiment names, not opened yet: use it in a ``with`` block."""
    rig: Rig = registered("rigs", experiment.rig)(experiment.rig, clock or RealClock())
    return rig


def train(
    loaded: Loaded[Experiment],
    runs: str | Path = "runs",
    listeners: Sequence[Listener] = (),
    clock: Clock | None = None,
) -> dict[str, Any]:
    """Carry out an experiment in a new run folder.

    Parameters
    ----------
    loaded : Loaded[Experiment]
        As :func:`labtrain.load` gives it.
    runs : path of the folder in which the run folder is made
    listeners : sequence of callables
        Get every event of labtrain.events.

    Returns
    -------
    summary : dict, also written to ``summary.json`` in the run folder, which ``run`` names

    Raises
    ------
    LabtrainError
        Of the kind that labtrain.errors describes; the run is kept and can be resumed.
    """
    clock = clock or RealClock()
    experiment = loaded.value
    table = load_table(experiment)
    _check_trials(experiment, table)
    name = experiment.run.name or loaded.source.stem
    folder = Path(runs) / f"{strftime('%Y-%m-%d_%H-%M-%S', gmtime(clock.now()))}_{name}"
    suffix = 1
    while folder.exists():
        suffix += 1
        folder = folder.with_name(f"{folder.name.removesuffix(f'-{suffix - 1}')}-{suffix}")
    text = configuration.dump(experiment)
    with Guard(f"go on with: labtrain resume {folder}") as guard, open_rig(experiment, clock) as rig:
        guard.push("rig", rig.safe)
        _check_network(experiment, rig, table)
        origin = (
            provenance.collect()
            | _identity(rig, table)
            | {
                "rig": rig.provenance(),
                "config_file": str(loaded.source),
                "config_source": loaded.text,
                "overrides": list(loaded.overrides),
            }
        )
        run = Run.create(
            folder, config_text=text, config=json.loads(experiment.model_dump_json()), provenance=origin, clock=clock
        )
        with run:
            for key, value in experiment.run.notes.items():
                run.note(f"{key}: {value}", kind="config")
            run.log_environment(rig.environment())
            return _carry_out(experiment, rig, run, guard, clock, listeners)


def resume(
    folder: str | Path,
    overrides: Sequence[str] = (),
    listeners: Sequence[Listener] = (),
    clock: Clock | None = None,
) -> dict[str, Any]:
    """Go on with a run where it was broken off, or beyond its end with more epochs or trials.

    Parameters
    ----------
    folder : path of a run folder
    overrides : sequence of ``"section.key=value"``
        Only training.epochs, trials.count, run.checkpoint_s and run.notes may change.

    Raises
    ------
    RunError
        If the folder is no run, is in use, or its config, data or rig differ from the ones it began with.
    """
    clock, folder = clock or RealClock(), Path(folder)
    with Run.open(folder, write=True, clock=clock) as run:
        experiment = stored_experiment(run, overrides)
        changes = run.adopt_config(configuration.dump(experiment), json.loads(experiment.model_dump_json()), RESUMABLE)
        for change in changes:
            log.info("resumed with %s", change)
        with Guard(f"go on with: labtrain resume {folder}") as guard, open_rig(experiment, clock) as rig:
            guard.push("rig", rig.safe)
            _check_identity(run, _identity(rig, load_table(experiment)))
            run.log_environment(rig.environment())
            return _carry_out(experiment, rig, run, guard, clock, listeners)


def stored_experiment(run: Run, overrides: Sequence[str] = ()) -> Experiment:
    """The experiment of a run as its ``config.yaml`` says, with overrides."""
    source = run.folder / "config.yaml"
    text = source.read_text(encoding="utf-8") if source.exists() else run.config_text
    return configuration.loads(text, Experiment, source, overrides).value


def evaluate(folder: str | Path, clock: Clock | None = None) -> list[dict[str, Any]]:
    """Measure the test rows of every finished trial anew, with the weights it ended with.

    Returns
    -------
    list of dict
        For each trial: ``trial``, ``seed``, ``accuracy`` now, ``accuracy_then`` at the end of training, ``shots``.
        The shots are logged; the run's results stay as they are.
    """
    clock, rows = clock or RealClock(), []
    with _reopened(Path(folder), clock) as (experiment, rig, run, guard):
        table = load_table(experiment)
        for index, kept in run.trials().items():
            trial = _trained(experiment, rig, run, guard, index, table)
            verdict = trial.test()
            rows.append(
                {
                    "trial": index,
                    "seed": kept["seed"],
                    "accuracy": verdict.accuracy,
                    "accuracy_then": kept["accuracy"],
                    "shots": verdict.test_cost.shots,
                }
            )
        run.note(json.dumps(rows), kind="evaluation")
    return rows


@dataclass(frozen=True)
class Prediction:
    """The winning class of one row; `margin` is its score's lead over the second best."""

    row: str
    label: str
    margin: float


def predict(folder: str | Path, rows_csv: str | Path, trial: int = 0, clock: Clock | None = None) -> list[Prediction]:
    """Predict rows of a CSV file with the network of one trial of a run; costs shots, which are logged.

    Raises
    ------
    DataError
        If a column is missing, a value is no number or lies far outside what the network was trained for.
    """
    clock = clock or RealClock()
    with _reopened(Path(folder), clock) as (experiment, rig, run, guard):
        table = load_table(experiment)
        where, rows = read_rows(rows_csv, table.feature_names)
        network = _trained(experiment, rig, run, guard, trial, table)
        network.net.encoder.refuse_outside(rows, where)
        scores = network.scores(rows)
        best = np.sort(scores, axis=1)
        return [
            Prediction(name, table.classes[int(row.argmax())], float(top[-1] - top[-2]))
            for name, row, top in zip(where, scores, best, strict=True)
        ]


def plan(experiment: Experiment) -> dict[str, Any]:
    """What an experiment will cost at most, before anything runs: shots, hours at the rig's speed, disk.

    The rig is opened for its widths and seconds per shot; nothing is measured.
    """
    table = load_table(experiment)
    method: Method = registered("methods", experiment.training, "method")(experiment.training)
    _check_trials(experiment, table)
    parts = split(table, experiment.dataset, experiment.trials.first_seed)
    blocks, classes = experiment.network.layers, len(table.classes)
    repeats = experiment.rig.repeats
    train_shots = repeats * method.planned_shots(blocks, len(parts.train), len(parts.validation), classes)
    test_shots = repeats * len(parts.test) * method.shots_per_prediction(blocks, classes)
    with open_rig(experiment) as rig:
        _check_network(experiment, rig, table)
        info = rig.layers[0].info
    shots = (train_shots + test_shots) * experiment.trials.count
    return {
        "trials": experiment.trials.count,
        "train_rows": len(parts.train),
        "validation_rows": len(parts.validation),
        "test_rows": len(parts.test),
        "shots_train": train_shots * experiment.trials.count,
        "shots_test": test_shots * experiment.trials.count,
        "seconds_per_shot": info.seconds_per_shot,
        "seconds_on_rig": shots * info.seconds_per_shot,
        "disk_bytes": shots * 8 * (info.n_in + info.n_out + 1),
        "simulated": info.simulated,
    }


def _check_trials(experiment: Experiment, table: Table) -> None:
    """Every split must work before the first shot is spent."""
    for index in range(experiment.trials.count):
        split(table, experiment.dataset, experiment.trials.first_seed + index)


def _check_network(experiment: Experiment, rig: Rig, table: Table) -> None:
    """Data, network and method must fit this rig before a run folder is made or a shot is spent."""
    Trial.begin(experiment, rig, experiment.trials.first_seed, table=table)


def _identity(rig: Rig, table: Table) -> dict[str, Any]:
    return {"layers": {layer.name: layer.info.fingerprint for layer in rig.layers}, "data": table.fingerprint}


def _check_identity(run: Run, now: dict[str, Any]) -> None:
    """Refuse to go on with another rig or other data than the run began with."""
    began = run.provenance
    for name, fingerprint in now["layers"].items():
        if began["layers"].get(name) != fingerprint:
            raise RunError(
                f"{run.folder}: layer {name!r} was {began['layers'].get(name)} when the run began and is {fingerprint} "
                "now; restore the rig, or start a new run"
            )
    if began["data"] != now["data"]:
        raise RunError(f"{run.folder}: the data set has changed since the run began; restore it, or start a new run")


def _carry_out(
    experiment: Experiment, rig: Rig, run: Run, guard: Guard, clock: Clock, listeners: Sequence[Listener]
) -> dict[str, Any]:
    """Train, write summary and figures, and leave the run with a true status however it ends."""
    started = clock.monotonic()
    with LogFile(run.folder, clock) as logged:
        try:
            run.mark("running")
            summary = Trainer(experiment, rig, run, guard, clock, [logged, *listeners]).train()
            summary |= {"seconds": clock.monotonic() - started, "run": str(run.folder)}
            with disk_errors(run.folder):
                write_bytes(run.folder / "summary.json", (json.dumps(summary, indent=2) + "\n").encode())
            figures(run)
            run.mark("finished")
        except BaseException as error:
            stopped = isinstance(error, Interrupted | KeyboardInterrupt)
            _finish_quietly(run, "interrupted" if stopped else "failed")
            raise
    return summary


def _finish_quietly(run: Run, status: str) -> None:
    """Set the status on the way out of an error; a disk that is full must not hide that error."""
    try:
        run.mark(status)
    except LabtrainError as error:
        log.error("status of the run not written: %s", error)


@contextmanager
def _reopened(folder: Path, clock: Clock) -> Iterator[tuple[Experiment, Rig, Run, Guard]]:
    """A finished run with its rig, to measure more with what was trained."""
    with Run.open(folder, write=True, clock=clock) as run:
        if not run.trials():
            raise RunError(f"{folder}: no trial is finished yet; go on with `labtrain resume {folder}` first")
        experiment = stored_experiment(run)
        with Guard() as guard, open_rig(experiment, clock) as rig:
            guard.push("rig", rig.safe)
            _check_identity(run, _identity(rig, load_table(experiment)))
            yield experiment, rig, run, guard


def _trained(experiment: Experiment, rig: Rig, run: Run, guard: Guard, index: int, table: Table) -> Trial:
    """The trial as it ended; its further shots are logged apart from training."""

    def keep(name: str, shots: Shots, state: dict[str, Any]) -> None:
        run.append(name, "after training", shots, state, rig.environment(), trial=index, replayable=False)

    def logged(layer: PhysicalLayer) -> PhysicalLayer:
        return Recorded(layer, keep)

    state = run.trial_state(index)
    seed = experiment.trials.first_seed + index
    trial = Trial.begin(experiment, rig, seed, table=table, wrap=logged, on_shots=lambda _: guard.check())
    trial.restore(state)
    return trial
