"""An experiment before it runs: whether it fits, and what it will cost."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from labtrain import warm_start
from labtrain.clock import Clock, RealClock
from labtrain.config import Loaded
from labtrain.datasets import split
from labtrain.datasets.table import Table
from labtrain.disturbances import warn
from labtrain.errors import InputError
from labtrain.experiment import Experiment
from labtrain.methods.through_twins import open_twin
from labtrain.opening import naming_lines, open_rig
from labtrain.rigs.rig import Rig
from labtrain.trial import Trial, load_table
from labtrain.warm_start import Earlier

log = logging.getLogger("labtrain")


def check(loaded: Loaded[Experiment]) -> None:
    """Check what can be checked of an experiment without touching a rig: its files, and the splits of all trials.

    Raises
    ------
    InputError
        Naming the line of the file that the error is about.
    """
    check_files(loaded, check_data(loaded), RealClock())


def check_data(loaded: Loaded[Experiment]) -> Table:
    """The data set of an experiment, of which the splits of all trials work; errors as of :func:`check`."""
    with naming_lines(loaded):
        table = load_table(loaded.value)
        check_trials(loaded.value, table)
    return table


def check_files(loaded: Loaded[Experiment], table: Table, clock: Clock, begun: bool = False) -> None:
    """Check files that the rig reads, the twins and the earlier run of an experiment.

    Parameters
    ----------
    table : Table
        Its data set.
    begun : bool
        It has a run already, which knows the earlier one.
    Errors as of :func:`check`.
    """
    with naming_lines(loaded):
        for key, path in loaded.value.rig.files().items():
            if not path.exists():
                raise InputError(f"rig.{key}: {path} does not exist; correct the path")
        for twin in getattr(loaded.value.training, "twin", ()):
            open_twin(twin)
        if not begun:
            warm_start.earlier_run(loaded.value, table, clock)


def plan(loaded: Loaded[Experiment]) -> dict[str, Any]:
    """What an experiment will cost at most, before anything runs: shots, hours at the rig's speed, joules, disk.

    The rig is opened for its widths and seconds per shot; nothing is measured.
    """
    with naming_lines(loaded):
        return _plan(loaded.value, loaded.source)


def _plan(experiment: Experiment, source: Path) -> dict[str, Any]:
    table = load_table(experiment)
    check_trials(experiment, table)
    earlier = warm_start.earlier_run(experiment, table, RealClock())
    with open_rig(experiment, config_file=source) as rig:
        trial = check_network(experiment, rig, table, earlier)
        info = rig.layers[0].info
        commission = rig.commissioning_shots
    parts, (train_shots, test_shots) = trial.split, trial.planned_shots()
    watts = experiment.rig.total_watts
    shots = commission + (train_shots + test_shots) * experiment.trials.count
    return {
        "trials": experiment.trials.count,
        "train_rows": len(parts.train),
        "validation_rows": len(parts.validation),
        "test_rows": len(parts.test),
        "shots_commission": commission,
        "shots_train": train_shots * experiment.trials.count,
        "shots_test": test_shots * experiment.trials.count,
        "seconds_per_shot": info.seconds_per_shot,
        "seconds_on_rig": shots * info.seconds_per_shot,
        "energy_j": {"estimated": shots * info.seconds_per_shot * watts} if watts else None,
        "disk_bytes": shots * 8 * (info.n_in + info.n_out + 1),
        "simulated": info.simulated,
        "dead_inputs": list(info.dead_inputs),
    }


def check_trials(experiment: Experiment, table: Table) -> None:
    """Every split must work before the first shot is spent."""
    for index in range(experiment.trials.count):
        split(table, experiment.dataset, experiment.trials.first_seed + index)


def check_network(experiment: Experiment, rig: Rig, table: Table, earlier: Earlier | None = None) -> Trial:
    """The first trial, unstarted: data, network and method must fit this rig before a run is made or a shot spent."""
    trial = Trial.begin(experiment, rig, experiment.trials.first_seed, table=table, commission=False)
    if earlier is not None:
        earlier.hand_on(trial, 0)
    warn(experiment.disturbances, experiment.training, *trial.planned_shots())
    for block in trial.net.blocks:
        driven = block.drive.inputs.tolist()
        if dead := [str(i) for i in block.layer.info.dead_inputs if i in driven]:
            log.warning("network.drive.inputs: %s reach no output of this rig; leave them out", ", ".join(dead))
            break
    return trial
