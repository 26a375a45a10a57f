"""Commissioning in a run: a rig's own preparation is measured once, logged, kept, and adopted ever after."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from labtrain.errors import RunError
from labtrain.events import Commissioning, Listener
from labtrain.layer import Shots
from labtrain.rigs.rig import Rig
from labtrain.runs import Run
from labtrain.safety import Guard
from labtrain.threads import blas_threads

STEP = "commissioning"


def commission(rig: Rig, run: Run, guard: Guard, listeners: Sequence[Listener] = ()) -> None:
    """Make the rig ready: with what the run holds, or, in a run that was not commissioned to the end, anew.

    Raises
    ------
    Interrupted
        After Ctrl-C or SIGTERM, once the chunk in progress is logged; a resume begins again.
    """
    planned, done = rig.commissioning_shots, 0
    if run.commissioned is not None or not planned:
        adopt(rig, run)
        return

    def keep(name: str, shots: Shots, state: dict[str, Any]) -> None:
        nonlocal done
        run.append(name, STEP, shots, state, rig.environment(), replayable=False)
        done += len(shots)
        for listener in listeners:
            listener(Commissioning(done, planned))
        guard.check()

    with blas_threads(1):  # as in the trials
        measured = rig.commission(keep)
    run.keep_commissioned(measured)


def adopt(rig: Rig, run: Run) -> None:
    """Make the rig ready to measure as it did in this run.

    Raises
    ------
    RunError
        If the rig needs commissioning and the run holds none.
    """
    if not rig.commissioning_shots:
        return
    if run.commissioned is None:
        raise RunError(f"{run.folder}: the rig was never commissioned in this run; start a new run")
    rig.adopt(run.commissioned)


def shots(run: Run) -> int:
    """Shots of the commissioning that the run goes by, repetitions counted."""
    return int((run.commissioned or {}).get("shots", 0))
