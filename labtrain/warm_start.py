"""Warm start: trial i of a run begins with what trial i of an earlier, finished run has learned.

The earlier run is read when a trial begins and never again: from then on the checkpoints of the new run hold all of it.
The new run keeps the hashes of what its trials were to begin with: an earlier run that goes on meanwhile is noticed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from labtrain.clock import Clock
from labtrain.datasets.table import Table
from labtrain.errors import ConfigError, RunError
from labtrain.experiment import Experiment
from labtrain.runs import Run, diff_config
from labtrain.trial import Trial

KEY = "start_from"  # in the provenance of a run


class Earlier:
    """A finished run that the trials of another one begin from; call it with the number of a trial for its state.

    Parameters
    ----------
    folder : path
        Of the earlier run.
    digests : sequence of str
        SHA-256 of what its trials ended with, as many as are known; they must still be the same.
    clock : Clock
    """

    def __init__(self, folder: Path, digests: Sequence[str], clock: Clock) -> None:
        self.folder, self.digests, self._clock = folder, list(digests), clock

    @property
    def provenance(self) -> dict[str, Any]:
        """What the new run keeps of it; JSON values."""
        return {"run": str(self.folder), "trials": self.digests}

    def __call__(self, trial: int) -> dict[str, Any]:
        """Final state of a trial.

        Raises
        ------
        RunError
            If the run is gone, is not what it was, or its trial does not exist or is damaged.
        """
        with Run.open(self.folder, write=False, clock=self._clock) as run:
            now = run.trial_digests()
            # The others too: of trials that were added later no hash is known, and another run may lie here by now.
            for known in sorted(range(len(self.digests)), key=lambda known: known != trial):
                if now.get(known) != self.digests[known]:
                    raise RunError(
                        f"{self.folder}: trial {known} is not what it was when a run was begun that starts from it "
                        "(trials.start_from); start a new run from it"
                    )
            state: dict[str, Any] = run.trial_state(trial)
            return state

    def hand_on(self, trial: Trial, index: int) -> None:
        """Let a trial begin with what trial `index` has learned.

        Raises
        ------
        ConfigError
            If it has not learned the same kind of network, or the method does not inherit.
        """
        state = self(index)
        if not hasattr(trial.method, "inherit"):  # one of somebody else's
            name = getattr(trial.experiment.training, "method", "")
            raise ConfigError(f"trials.start_from: method {name} cannot begin with what another trial has learned")
        try:
            trial.inherit(state)
        except RunError as error:
            raise ConfigError(f"trials.start_from: {self.folder}: {error}") from None


def earlier_run(experiment: Experiment, table: Table, clock: Clock) -> Earlier | None:
    """The run that an experiment starts from, checked; None if it starts from nothing.

    Raises
    ------
    ConfigError
        If the folder is no run, not finished, damaged, holds too few trials, or trained something else.
    """
    if (folder := experiment.trials.start_from) is None:
        return None
    try:
        opened = Run.open(folder, write=False, clock=clock)
    except RunError as error:
        raise ConfigError(f"trials.start_from: {error}") from None
    with opened as run:
        if run.kind == "recording":
            raise ConfigError(f"trials.start_from: {folder} is a recording, in which nothing was trained; name a run")
        if run.status != "finished":
            raise ConfigError(
                f"trials.start_from: {folder} is not finished ({run.status}); go on with it first: "
                f"`labtrain resume {folder}`"
            )
        if len(run.trials()) < experiment.trials.count:
            raise ConfigError(
                f"trials.start_from: {folder} holds {len(run.trials())} trials, trials.count asks for "
                f"{experiment.trials.count}; ask for fewer, or resume that run with more"
            )
        differences = _differences(run, experiment)
        if not differences and run.provenance["data"] != table.fingerprint:
            differences = ["the data have changed"]
        if differences:
            raise ConfigError(
                f"trials.start_from: {folder} trained something else ({'; '.join(differences)}); these must be alike"
            )
        digests = run.trial_digests()
        try:
            for trial in range(experiment.trials.count):  # not only when its turn comes, hours later
                run.trial_state(trial)
        except RunError as error:
            raise ConfigError(f"trials.start_from: {error}") from None
        return Earlier(folder, [digests[trial] for trial in range(experiment.trials.count)], clock)


def _differences(run: Run, experiment: Experiment) -> list[str]:
    """How the network, the data and the splits of a run differ from those of an experiment."""
    try:
        before = Experiment.model_validate(run.config)
    except ValidationError:
        return [f"labtrain {run.provenance.get('labtrain', 'of another version')} wrote its configuration"]
    return diff_config(_same(before), _same(experiment), ("dataset.path",))


def _same(experiment: Experiment) -> dict[str, Any]:
    """What must be alike: shape and kind of the network, and which rows are for the test of which trial."""
    sections = experiment.model_dump(mode="json", include={"dataset", "encoding", "network"})
    method = {"method": getattr(experiment.training, "method", None)}
    return sections | {"training": method, "trials": {"first_seed": experiment.trials.first_seed}}


def resumed(run: Run, experiment: Experiment, clock: Clock) -> Earlier | None:
    """The earlier run of one that goes on, wherever its folder is now.

    Raises
    ------
    RunError
        If a run would change whether it starts from another one, or trials are added that the other one lacks.
    """
    kept, folder = run.provenance.get(KEY), experiment.trials.start_from
    if (kept is None) != (folder is None):
        raise RunError(
            f"{run.folder}: trials.start_from is {folder or 'not set'}, the run began "
            f"{'from nothing' if kept is None else 'from ' + kept['run']}; start a new run"
        )
    if kept is None or folder is None:
        return None
    last = run.last_checkpoint()
    begun = {*run.trials(), *([] if last is None else [last[1]["index"]])}  # these need the earlier run no more
    if any(trial not in begun for trial in range(len(kept["trials"]), experiment.trials.count)):
        with Run.open(folder, write=False, clock=clock) as earlier:
            if len(earlier.trials()) < experiment.trials.count:
                raise RunError(
                    f"{run.folder}: asked trials.count {experiment.trials.count}, and {folder}, which they start from "
                    f"(trials.start_from), holds {len(earlier.trials())}; ask for fewer, or resume that run with more"
                )
    return Earlier(folder, kept["trials"], clock)
