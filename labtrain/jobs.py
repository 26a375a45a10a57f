"""What a user starts: train, resume, check, plan. The command line and scripts call the same functions."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from time import gmtime, strftime
from typing import Any

from labtrain import commissioning, provenance, warm_start
from labtrain import config as configuration
from labtrain.clock import Clock, RealClock
from labtrain.config import Loaded, Section
from labtrain.datasets.table import Table
from labtrain.errors import Interrupted, LabtrainError, RunError, RunExists
from labtrain.events import Listener, RunFinished, RunStarted
from labtrain.experiment import Experiment
from labtrain.logfile import LogFile
from labtrain.opening import check_trace, naming_lines, open_rig
from labtrain.planning import check, check_network, check_trials, plan
from labtrain.plots import figures
from labtrain.rigs.rig import Rig
from labtrain.runs import Run
from labtrain.safety import Guard, NotMadeSafe, signals_held
from labtrain.storage import disk_errors, write_bytes
from labtrain.trainer import Trainer
from labtrain.trial import load_table
from labtrain.warm_start import Earlier

__all__ = [
    "RESUMABLE",
    "SUMMARY",
    "check",
    "check_identity",
    "check_layers",
    "check_trace",
    "finish",
    "naming_lines",
    "new_run",
    "open_rig",
    "origin",
    "plan",
    "refuse_less",
    "refuse_recording",
    "resume",
    "safe_first",
    "status_kept",
    "stored_experiment",
    "train",
]

log = logging.getLogger("labtrain")

SUMMARY = "summary.json"
# What may differ when a run goes on; everything else would make another experiment of it.
RESUMABLE = (
    "training.epochs",
    "trials.count",
    "trials.start_from",  # the same run in another place, which its hashes say
    "run.checkpoint_s",
    "run.notes",
    "rig.vna.address",  # the same instruments, which say so themselves, on another connector
    "rig.metasurface.address",
    "rig.audio.device",
    "rig.audio.host_api",
    "rig.audio.input_device",
)


def train(
    loaded: Loaded[Experiment],
    runs: str | Path = "runs",
    listeners: Sequence[Listener] = (),
    clock: Clock | None = None,
    trace_io: Path | None = None,
) -> dict[str, Any]:
    """Carry out an experiment in a new run folder.

    Parameters
    ----------
    loaded : Loaded[Experiment]
        As :func:`labtrain.load` gives it.
    runs : path of the folder in which the run folder is made
    listeners : sequence of callables
        Get every event of labtrain.events.
    trace_io : path, optional
        File for every byte to and from the instruments.

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
    with naming_lines(loaded):
        table = load_table(experiment)
        check_trials(experiment, table)
        earlier = warm_start.earlier_run(experiment, table, clock)
        rig = open_rig(experiment, clock, trace_io, loaded.source)
    with Guard("nothing was measured", {"rig": rig.safe}, defers=False) as guard, naming_lines(loaded), rig:
        rig.check = guard.check
        check_trace(rig)
        check_network(experiment, rig, table, earlier)
        data = {
            "data": table.fingerprint,
            "table": {"classes": table.classes, "feature_names": table.feature_names, "inputs": table.inputs},
        }
        if earlier is not None:
            data |= {warm_start.KEY: earlier.provenance}
        guard.defer()
        name = experiment.run.name or loaded.source.stem
        with new_run(Path(runs), name, experiment, origin(loaded, rig) | data, clock) as run:
            guard.hint = f"go on with: labtrain resume {run.folder}"
            for key, value in experiment.run.notes.items():
                run.note(f"{key}: {value}", kind="config")
            run.log_environment(rig.environment())
            return _carry_out(experiment, table, rig, run, guard, listeners, RunStarted(run.folder), earlier)


def resume(
    folder: str | Path,
    overrides: Sequence[str] = (),
    listeners: Sequence[Listener] = (),
    clock: Clock | None = None,
    trace_io: Path | None = None,
) -> dict[str, Any]:
    """Go on with a run where it was broken off, or beyond its end with more epochs or trials.

    Parameters
    ----------
    folder : path of a run folder
    overrides : sequence of ``"section.key=value"``
        Only training.epochs, trials.count, run.checkpoint_s, run.notes, addresses of instruments and the place of
        trials.start_from may change.
    trace_io : path, optional
        File for every byte to and from the instruments.

    Raises
    ------
    RunError
        If the folder is no run, is in use, or its config, data or rig differ from the ones it began with.
    """
    clock, folder = clock or RealClock(), Path(folder)
    with Run.open(folder, write=True, clock=clock) as run:
        refuse_recording(run, "labtrain.recording.resume goes on with it")
        experiment = stored_experiment(run, overrides)
        text, parsed = configuration.dump(experiment), json.loads(experiment.model_dump_json())
        changes = run.config_changes(parsed, RESUMABLE, Experiment)
        earlier = warm_start.resumed(run, experiment, clock)
        refuse_less(run, experiment)
        if run.status == "finished" and not changes:
            log.warning("%s: finished already, nothing is left to do", folder)
            summary: dict[str, Any] = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
            return summary
        rig = open_rig(experiment, clock, trace_io, folder / "config.yaml")
        with Guard(f"go on with: labtrain resume {folder}", {"rig": rig.safe}, defers=False) as guard, rig:
            rig.check = guard.check
            check_trace(rig)
            table = load_table(experiment)
            check_identity(run, rig, table)
            guard.defer()
            run.adopt_config(text, parsed, RESUMABLE, Experiment)
            run.log_environment(rig.environment())
            begins = RunStarted(run.folder, True, tuple(changes))
            return _carry_out(experiment, table, rig, run, guard, listeners, begins, earlier)


def stored_experiment(run: Run, overrides: Sequence[str] = ()) -> Experiment:
    """The experiment of a run as its ``config.yaml`` says, with overrides."""
    source = run.folder / "config.yaml"
    text = source.read_text(encoding="utf-8") if source.exists() else run.config_text
    return configuration.loads(text, Experiment, source, overrides).value


def new_run(runs: Path, name: str, config: Section, origin: dict[str, Any], clock: Clock) -> Run:
    """A run in folder DATE_TIME_NAME of `runs`, or in the first of NAME-2, NAME-3, ... that nobody else has made."""
    text, parsed = configuration.dump(config), json.loads(config.model_dump_json())
    dated = f"{strftime('%Y-%m-%d_%H-%M-%S', gmtime(clock.now()))}_{name}"
    for suffix in count(1):
        folder = runs / (dated if suffix == 1 else f"{dated}-{suffix}")
        with suppress(RunExists):
            return Run.create(folder, config_text=text, config=parsed, provenance=origin, clock=clock)
    raise AssertionError("count() does not end")


def refuse_less(run: Run, experiment: Experiment) -> None:
    """Refuse to resume towards less than is done: results would mix, or drop out of the summary."""
    for index, kept in run.trials().items():
        epochs = getattr(experiment.training, "epochs", kept["goal"])
        if epochs < kept["goal"]:
            raise RunError(
                f"{run.folder}: asked training.epochs {epochs}, trial {index} has {kept['goal']} behind it; "
                f"ask for at least {kept['goal']}, or start a new run"
            )
        if index >= experiment.trials.count:
            raise RunError(
                f"{run.folder}: asked trials.count {experiment.trials.count}, {len(run.trials())} are finished; "
                "ask for at least as many, or start a new run"
            )


def origin(loaded: Loaded[Any], rig: Rig) -> dict[str, Any]:
    """Where the shots of a new run come from: software, rig, configuration; JSON values."""
    return provenance.collect() | {
        "layers": {layer.name: layer.info.fingerprint for layer in rig.layers},
        "y_units": {layer.name: layer.info.y_unit for layer in rig.layers},
        "rig": rig.provenance() | ({} if rig.power is None else {"power_meter": rig.power.provenance()}),
        "config_file": str(loaded.source),
        "config_source": loaded.text,
        "overrides": list(loaded.overrides),
    }


def refuse_recording(run: Run, instead: str) -> None:
    """Refuse what only a run that trained something can do."""
    if run.kind == "recording":
        raise RunError(f"{run.folder}: a recording of random drives, in which nothing was trained; {instead}")


def check_layers(run: Run, rig: Rig) -> None:
    """Refuse to go on with another rig than the run began with."""
    began = run.provenance["layers"]
    for layer in rig.layers:
        if began.get(layer.name) != layer.info.fingerprint:
            raise RunError(
                f"{run.folder}: layer {layer.name!r} was {began.get(layer.name)} when the run began and is "
                f"{layer.info.fingerprint} now; restore the rig, or start a new run"
            )


def check_identity(run: Run, rig: Rig, table: Table) -> None:
    """Refuse to go on with another rig or other data than the run began with."""
    check_layers(run, rig)
    if run.provenance["data"] != table.fingerprint:
        raise RunError(f"{run.folder}: the data set has changed since the run began; restore it, or start a new run")


def _carry_out(
    experiment: Experiment,
    table: Table,
    rig: Rig,
    run: Run,
    guard: Guard,
    told: Sequence[Listener],
    begins: RunStarted,
    earlier: Earlier | None = None,
) -> dict[str, Any]:
    """Train, write summary and figures."""
    started = rig.clock.monotonic()
    with status_kept(run, rig, told, begins) as listeners:
        try:
            commissioning.commission(rig, run, guard, listeners)
            summary = Trainer(experiment, table, rig, run, guard, listeners, earlier).train()
        finally:
            safe_first(rig)
        finish(run, summary, rig.clock.monotonic() - started)
        figures(run)
        run.mark("finished")
        ends = RunFinished(len(summary["seeds"]), summary["test_accuracy"], summary["test_accuracy_sd"])
        for listener in listeners:
            listener(ends)
    return summary


@contextmanager
def status_kept(run: Run, rig: Rig, told: Sequence[Listener], begins: RunStarted) -> Iterator[list[Listener]]:
    """Log what happens in a run, and leave it with a true status however it ends; gives all listeners."""
    with LogFile(run.folder, rig.clock) as logged:
        listeners: list[Listener] = [logged, *told]
        try:
            run.mark("running")
            for listener in listeners:
                listener(begins)
            for layer in rig.layers:
                if dead := layer.info.dead_inputs:
                    log.info("rig: inputs %s of layer %s reach no output", ", ".join(map(str, dead)), layer.name)
            rig.serve(run.folder)
            yield listeners
        except BaseException as error:
            stopped = isinstance(error, Interrupted | KeyboardInterrupt)
            _finish_quietly(run, "interrupted" if stopped else "failed")
            raise


def finish(run: Run, summary: dict[str, Any], seconds: float) -> None:
    """Add to a summary what every run has, and write it."""
    summary |= {"shots_commission": commissioning.shots(run), "seconds": seconds, "run": str(run.folder)}
    with disk_errors(run.folder):
        write_bytes(run.folder / SUMMARY, (json.dumps(summary, indent=2) + "\n").encode())


def safe_first(rig: Rig) -> None:
    """Make safe before figures or a slow disk take their time; whatever fails is tried again, and told, on leaving."""
    with signals_held():
        try:
            rig.safe()
        except NotMadeSafe as error:
            log.error("%s", error)


def _finish_quietly(run: Run, status: str) -> None:
    """Set the status on the way out of an error; a disk that is full must not hide that error."""
    try:
        run.mark(status)
    except LabtrainError as error:
        log.error("status of the run not written: %s", error)
