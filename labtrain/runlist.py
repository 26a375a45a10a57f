"""What runs a folder holds, the broken ones included."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from labtrain.clock import Clock
from labtrain.errors import RunError
from labtrain.runs import Run
from labtrain.storage import disk_errors, folder_bytes


@dataclass(frozen=True)
class RunSummary:
    """One line of a listing.

    Parameters
    ----------
    folder : Path
    size_bytes : int
        Everything in the folder.
    status : str
        As ``Run.status``, or ``broken``.
    created_s : float
        When it was made, seconds since 1970-01-01 UTC; nan if broken.
    shots, trials : int
        Logged shots and finished trials.
    problem : str
        Why a broken run is broken; empty otherwise.
    kind : str
        As ``Run.kind``; empty if broken.
    """

    folder: Path
    size_bytes: int
    status: str = "broken"
    created_s: float = float("nan")
    shots: int = 0
    trials: int = 0
    problem: str = ""
    kind: str = ""


def list_runs(root: Path, clock: Clock) -> list[RunSummary]:
    """Summaries of all folders in `root`, by name; what cannot be read as a run is listed with its reason.

    A folder of runs, as a comparison has them beside its own, is none that is broken: to be listed by itself.

    Raises
    ------
    RunError
        If `root` itself does not exist or cannot be listed.
    """
    if not root.exists():
        raise RunError(f"{root}: no such folder; name the folder that holds the run folders with --runs DIR")
    with disk_errors(root):
        folders = sorted(path for path in root.iterdir() if path.is_dir() and not _holds_runs(path))
    return [_summary(folder, clock) for folder in folders]


def _holds_runs(folder: Path) -> bool:
    return not (folder / "run.db").exists() and any(folder.glob("*/run.db"))


def _summary(folder: Path, clock: Clock) -> RunSummary:
    size = folder_bytes(folder)
    try:
        with Run.open(folder, write=False, clock=clock) as run:
            return RunSummary(
                folder, size, run.status, run.created_s, run.shots_count(), len(run.trials()), kind=run.kind
            )
    except RunError as error:
        return RunSummary(folder, size, problem=str(error))
