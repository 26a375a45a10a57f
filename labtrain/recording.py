"""Recording random drives and their responses in a run (``labtrain record``): pairs for twins, statistics, drift."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from labtrain import commissioning
from labtrain import config as configuration
from labtrain.clock import Clock, RealClock
from labtrain.config import Loaded, Section
from labtrain.errors import RunError
from labtrain.events import Counted, Listener, RunStarted
from labtrain.experiment import RunOptions
from labtrain.jobs import (
    RESUMABLE,
    SUMMARY,
    check_layers,
    check_trace,
    finish,
    naming_lines,
    new_run,
    open_rig,
    origin,
    safe_first,
    status_kept,
)
from labtrain.layer import Array, Layer, Recorded, Shots
from labtrain.ledger import Cost, rig_joules
from labtrain.measuring import layer_of, load_sections, refuse_others, tell
from labtrain.rigs.rig import Rig
from labtrain.runs import Run
from labtrain.safety import Guard
from labtrain.sim.noise import philox
from labtrain.stop import RigAlone
from labtrain.storage import disk_errors, write_arrays
from labtrain.threads import blas_threads

log = logging.getLogger("labtrain")

PAIRS = "pairs.npz"
STEP = "recording"
BLOCK = 256  # drives that share one counter: the number of a drive alone says what it is
STREAM = 0x5245434F5244  # apart from the streams of the noise of simulated worlds, which may have the same seed
ON_THE_RIG = ("shots", "configuration_writes", "converter_samples", "settle_s", "integration_s")  # costs of a recording
# What may differ when a recording goes on.
ADAPTABLE = ("record.shots", *(key for key in RESUMABLE if key.startswith(("rig.", "run."))))


class RecordOptions(Section):
    """What is recorded."""

    shots: int = Field(10_000, ge=1, description="random drives; each is measured rig.repeats times")
    seed: int = Field(0, ge=0, description="of the drives, and of a simulated world")
    layer: int = Field(0, ge=0, description="number of the rig's layer that is driven, from 0")


class Recording(RigAlone):
    """A rig and what is recorded of it; what else a file holds (a data set, a network) is not looked at."""

    record: RecordOptions = RecordOptions()
    run: RunOptions = RunOptions()


def load(path: str | Path, overrides: Sequence[str] = ()) -> Loaded[Recording]:
    """Read the sections ``rig``, ``record`` and ``run`` of a configuration file; the last two may be missing.

    Raises
    ------
    ConfigError
        If one of them has an error.
    InputError
        If an override is about another section.
    """
    return load_sections(path, Recording, overrides)


def drives(seed: int, start: int, stop: int, n_in: int) -> Array:
    """Drives `start` to `stop` of a recording, (stop - start, n_in), uniform in [0, 1)."""
    blocks = range(start // BLOCK, -(-stop // BLOCK))
    drawn = [philox(seed, STREAM, block).random((BLOCK, n_in)) for block in blocks]
    first = blocks.start * BLOCK
    return np.concatenate(drawn)[start - first : stop - first] if drawn else np.empty((0, n_in))


def record(
    loaded: Loaded[Recording],
    runs: str | Path = "runs",
    listeners: Sequence[Listener] = (),
    clock: Clock | None = None,
    trace_io: Path | None = None,
) -> dict[str, Any]:
    """Measure random drives in a new run folder, and leave ``pairs.npz`` there, which rig ``recorded`` reads.

    Parameters
    ----------
    loaded : Loaded[Recording]
        As :func:`load` gives it.
    runs : path of the folder in which the run folder is made
    listeners : sequence of callables
        Get events RunStarted, Commissioning and Counted of labtrain.events.
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
    clock, config = clock or RealClock(), loaded.value
    with naming_lines(loaded):
        rig = open_rig(config, clock, trace_io, loaded.source)
    with Guard("nothing was measured", {"rig": rig.safe}, defers=False) as guard, naming_lines(loaded), rig:
        rig.check = guard.check
        check_trace(rig)
        layer_of(rig, config.record.layer, "record.layer")
        guard.defer()
        name = config.run.name or f"record-{loaded.source.stem}"
        with new_run(Path(runs), name, config, origin(loaded, rig), clock) as run:
            guard.hint = f"go on with: labtrain resume {run.folder}"
            for key, value in config.run.notes.items():
                run.note(f"{key}: {value}", kind="config")
            run.log_environment(rig.environment())
            return _carry_out(config, rig, run, guard, listeners, RunStarted(run.folder))


def resume(
    folder: str | Path,
    overrides: Sequence[str] = (),
    listeners: Sequence[Listener] = (),
    clock: Clock | None = None,
    trace_io: Path | None = None,
) -> dict[str, Any]:
    """Go on with a recording where it was broken off, or beyond its end with more shots.

    Parameters
    ----------
    folder : path of a run folder
    overrides : sequence of ``"section.key=value"``
        Only record.shots, run.checkpoint_s, run.notes and addresses of instruments may change.

    Raises
    ------
    RunError
        If the folder is no run, is in use, or its config or rig differ from the ones it began with.
    """
    clock, folder = clock or RealClock(), Path(folder)
    with Run.open(folder, write=True, clock=clock) as run:
        if run.kind != "recording":
            raise RunError(f"{folder}: a training, not a recording; labtrain.resume goes on with it")
        config = _stored(run, overrides)
        text, parsed = configuration.dump(config), json.loads(config.model_dump_json())
        changes = run.config_changes(parsed, ADAPTABLE, Recording)
        if run.status == "finished" and not changes:
            log.warning("%s: finished already, nothing is left to do", folder)
            summary: dict[str, Any] = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
            return summary
        rig = open_rig(config, clock, trace_io, folder / "config.yaml")
        with Guard(f"go on with: labtrain resume {folder}", {"rig": rig.safe}, defers=False) as guard, rig:
            rig.check = guard.check
            check_trace(rig)
            check_layers(run, rig)
            _refuse_less(run, rig, config)
            guard.defer()
            run.adopt_config(text, parsed, ADAPTABLE, Recording)
            run.log_environment(rig.environment())
            return _carry_out(config, rig, run, guard, listeners, RunStarted(run.folder, True, tuple(changes)))


def _stored(run: Run, overrides: Sequence[str] = ()) -> Recording:
    """The recording of a run as its ``config.yaml`` says, with overrides."""
    source = run.folder / "config.yaml"
    text = source.read_text(encoding="utf-8") if source.exists() else run.config_text
    refuse_others(Recording, overrides)
    return configuration.loads(text, Recording, source, overrides).value


def _refuse_less(run: Run, rig: Rig, config: Recording) -> None:
    name = rig.layers[config.record.layer].name
    done = -(-run.shots_count(name) // config.rig.repeats)
    if config.record.shots < done:
        raise RunError(
            f"{run.folder}: asked record.shots {config.record.shots}, {done} are recorded; "
            "ask for at least as many, or start a new run"
        )


def _carry_out(
    config: Recording, rig: Rig, run: Run, guard: Guard, told: Sequence[Listener], begins: RunStarted
) -> dict[str, Any]:
    """Record, write pairs and summary."""
    started = rig.clock.monotonic()
    with status_kept(run, rig, told, begins) as listeners:
        layer = rig.layers[config.record.layer]
        try:
            commissioning.commission(rig, run, guard, listeners)
            with blas_threads(config.run.threads):
                joules = _measure(config, rig, layer, run, guard, listeners)
        finally:
            safe_first(rig)
        found = pairs(run, layer.name, config.rig.repeats)
        with disk_errors(run.folder):
            write_arrays(run.folder / PAIRS, found)
        summary = _summary(config, layer, found) | _spent(config, rig, layer, found, joules)
        finish(run, summary, rig.clock.monotonic() - started)
        run.mark("finished")
        log.info("run finished: %d drives and their responses are in %s", summary["shots"], PAIRS)
    return summary


def _measure(config: Recording, rig: Rig, layer: Layer, run: Run, guard: Guard, listeners: Sequence[Listener]) -> float:
    """Measure what the log does not hold yet; what it holds must have been asked for with the same drives.

    Returns
    -------
    float
        Joules by the rig's power meter, those before a resume included as far as a checkpoint knew them; 0 without one.
    """
    repeats, shots, n_in = config.rig.repeats, config.record.shots, layer.info.n_in
    rig.restart(config.record.seed)
    done, joules = 0, 0.0
    if (last := run.last_checkpoint()) is not None:
        done, joules = int(last[0]), last[1].get("energy_j", 0.0)
        layer.restore(last[1].get("layer", last[1]))  # recordings of an older labtrain keep the layer's state alone
    if rig.power is not None:
        rig.power.since()  # what was drawn before is none of this recording's

    def keep(name: str, chunk: Shots, state: dict[str, Any]) -> None:
        run.append(name, STEP, chunk, state, rig.environment())

    logged = Recorded(layer, keep, run.replay)
    stage, measured, saved_at = "recording", done * repeats, rig.clock.monotonic()
    tell(listeners, Counted(stage, measured, shots * repeats))
    while done < shots:
        stop = min((done // BLOCK + 1) * BLOCK, shots)
        for chunk in logged.measure(np.repeat(drives(config.record.seed, done, stop, n_in), repeats, axis=0)):
            measured += len(chunk)
            joules += 0.0 if rig.power is None else rig.power.since()
            tell(listeners, Counted(stage, measured, shots * repeats))
            guard.check()
        done = stop
        if done == shots or rig.clock.monotonic() - saved_at >= config.run.checkpoint_s:
            run.checkpoint(done, {}, {"layer": layer.state(), "energy_j": joules})
            saved_at = rig.clock.monotonic()
    return joules


def _spent(config: Recording, rig: Rig, layer: Layer, found: dict[str, Any], joules: float) -> dict[str, Any]:
    """What the rig spent on the recording, as far as it concerns a recording."""
    cost = Cost.of_shots(int(found["attempts"].sum()), layer.info, config.rig.total_watts) + Cost(energy_j=joules)
    meter = None if rig.power is None else rig.power.kind
    kinds = rig_joules([{"energy": meter, "train_cost": cost.as_dict(), "test_cost": {}}])
    return {"cost": {key: getattr(cost, key) for key in ON_THE_RIG}, "energy_j": kinds or None}


def pairs(run: Run, layer: str, repeats: int = 1) -> dict[str, Any]:
    """All that a layer was asked and answered in a recording, oldest first.

    Returns
    -------
    dict
        ``x`` (shots, n_in), ``y`` (shots, n_out), ``attempts`` (shots,), ``time_s`` (shots,): when the chunk began to
        which a shot belongs, seconds since 1970-01-01 UTC; and ``sigma`` (shots, n_out) if the layer tells it, or, of
        repeated shots, the standard error of the mean ``y``.
    """
    chunks = [chunk.shots for chunk in run.chunks(layer) if chunk.step == STEP]
    x, y = np.concatenate([chunk.x for chunk in chunks]), np.concatenate([chunk.y for chunk in chunks])
    attempts = np.concatenate([chunk.attempts for chunk in chunks])
    time_s = np.concatenate([np.full(len(chunk), chunk.started_s) for chunk in chunks])
    sigma = [chunk.sigma for chunk in chunks if chunk.sigma is not None]
    found = {"x": x[::repeats], "y": y, "attempts": attempts, "time_s": time_s[::repeats]}
    if repeats > 1:
        readings = y.reshape(-1, repeats, y.shape[1])
        found["y"], found["attempts"] = readings.mean(axis=1), attempts.reshape(-1, repeats).sum(axis=1)
        found["sigma"] = readings.std(axis=1, ddof=1) / np.sqrt(repeats)
    elif len(sigma) == len(chunks):
        found["sigma"] = np.concatenate(sigma)
    return found


def _summary(config: Recording, layer: Layer, found: dict[str, Any]) -> dict[str, Any]:
    """Means and standard deviations of each output are over the drives; `sigma` is a median over them."""
    x, y, shots = found["x"], found["y"], len(found["y"])
    return {
        "layer": layer.name,
        "y_unit": layer.info.y_unit,
        "shots": shots,
        "repeats": config.rig.repeats,
        "attempts": int(found["attempts"].sum()),
        "seed": config.record.seed,
        "n_in": x.shape[1],
        "n_out": y.shape[1],
        "dead_inputs": list(layer.info.dead_inputs),
        "y_mean": y.mean(axis=0).tolist(),
        "y_sd": y.std(axis=0, ddof=1).tolist() if shots > 1 else None,
        "sigma": np.median(found["sigma"], axis=0).tolist() if "sigma" in found else None,
    }
