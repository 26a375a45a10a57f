"""What a run is good for once it is trained: measuring the test rows anew, predicting new ones. Both cost shots."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from labtrain import commissioning
from labtrain.clock import Clock, RealClock
from labtrain.datasets import Split
from labtrain.datasets.reader import read_rows
from labtrain.datasets.table import Table
from labtrain.errors import RunError
from labtrain.experiment import Experiment
from labtrain.jobs import check_identity, check_layers, check_trace, open_rig, refuse_recording, stored_experiment
from labtrain.layer import PhysicalLayer, Recorded, Shots
from labtrain.logfile import LogFile
from labtrain.rigs.rig import Rig
from labtrain.runs import Run
from labtrain.safety import Guard
from labtrain.trial import Trial, load_table

log = logging.getLogger("labtrain")


def evaluate(folder: str | Path, clock: Clock | None = None, trace_io: Path | None = None) -> list[dict[str, Any]]:
    """Measure the test rows of every finished trial anew, with the weights it ended with.

    Parameters
    ----------
    trace_io : path, optional
        File for every byte to and from the instruments.

    Returns
    -------
    list of dict
        For each trial: ``trial``, ``seed``, ``accuracy`` now, ``accuracy_then`` at the end of training, ``shots``.
        The shots are logged; the run's results stay as they are.
    """
    clock, rows = clock or RealClock(), []
    with _reopened(Path(folder), clock, trace_io) as (experiment, rig, run, guard):
        table = load_table(experiment)
        check_identity(run, rig, table)
        for index, kept in run.trials().items():
            trial = _trained(experiment, rig, run, guard, index, table)
            verdict = trial.test()
            log.info("trial %d evaluated: %.1f %%, %d shots", index, 100 * verdict.accuracy, verdict.test_cost.shots)
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


def predict(
    folder: str | Path,
    rows_csv: str | Path,
    trial: int = 0,
    clock: Clock | None = None,
    trace_io: Path | None = None,
) -> list[Prediction]:
    """Predict rows of a CSV file with the network of one trial of a run; costs shots, which are logged.

    Parameters
    ----------
    trace_io : path, optional
        File for every byte to and from the instruments.

    Raises
    ------
    DataError
        If a column is missing, a value is no number or lies far outside what the network was trained for.
    """
    clock = clock or RealClock()
    with _reopened(Path(folder), clock, trace_io) as (experiment, rig, run, guard):
        network = _trained(experiment, rig, run, guard, trial, None)
        encoder = network.net.encoder
        where, rows = read_rows(rows_csv, encoder.feature_names)
        encoder.refuse_outside(rows, where)
        scores = network.scores(rows)
        best = np.sort(scores, axis=1)
        log.info("%d rows of %s predicted by trial %d", len(rows), rows_csv, trial)
        return [
            Prediction(name, encoder.classes[int(row.argmax())], float(top[-1] - top[-2]))
            for name, row, top in zip(where, scores, best, strict=True)
        ]


@contextmanager
def _reopened(folder: Path, clock: Clock, trace_io: Path | None) -> Iterator[tuple[Experiment, Rig, Run, Guard]]:
    """A finished run with its rig, to measure more with what was trained."""
    with Run.open(folder, write=True, clock=clock) as run:
        refuse_recording(run, f"take the responses with `labtrain export {folder}`")
        if not run.trials():
            raise RunError(f"{folder}: no trial is finished yet; go on with `labtrain resume {folder}` first")
        experiment = stored_experiment(run)
        rig = open_rig(experiment, clock, trace_io, folder / "config.yaml")
        with LogFile(folder, clock), Guard(safe={"rig": rig.safe}, defers=False) as guard, rig:
            rig.check = guard.check
            check_trace(rig)
            check_layers(run, rig)
            rig.serve(folder)
            guard.defer()
            commissioning.adopt(rig, run)
            yield experiment, rig, run, guard


def _trained(experiment: Experiment, rig: Rig, run: Run, guard: Guard, index: int, table: Table | None) -> Trial:
    """The trial as it ended; its further shots are logged apart from training.

    Without a table it can predict, though not test: a run knows its classes and features by heart.
    """

    def keep(name: str, shots: Shots, state: dict[str, Any]) -> None:
        run.append(name, "after training", shots, state, rig.environment(), trial=index, replayable=False)

    def logged(layer: PhysicalLayer) -> PhysicalLayer:
        return Recorded(layer, keep)

    state = run.trial_state(index)
    seed = experiment.trials.first_seed + index
    only = np.arange(1)
    trial = Trial.begin(
        experiment,
        rig,
        seed,
        table=_stored_table(run) if table is None else table,
        parts=Split(only, only[:0], only[:0]) if table is None else None,
        wrap=logged,
        on_shots=lambda _: guard.check(),
    )
    trial.restore(state)
    return trial


def _stored_table(run: Run) -> Table:
    """A table with the classes and features of a run and no data: enough to build its network again."""
    kept = run.provenance["table"]
    return Table(
        np.zeros((1, len(kept["feature_names"]))),
        np.zeros(1, dtype=np.int64),
        tuple(kept["classes"]),
        tuple(kept["feature_names"]),
        None,
        str(run.folder),
        None if kept["inputs"] is None else tuple(kept["inputs"]),
    )
