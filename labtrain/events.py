"""What a trainer tells its listeners: progress bar, log file and report only subscribe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from labtrain.disturbances import Happened
from labtrain.ledger import Cost
from labtrain.methods.method import Metrics


@dataclass(frozen=True)
class RunStarted:
    """The run folder is there; the first event of all. `resumed`: it was there before; `changes`: of its config."""

    folder: Path
    resumed: bool = False
    changes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Commissioning:
    """Shots that a rig needs once, before the first trial: `shots` of `planned` are done."""

    shots: int
    planned: int


@dataclass(frozen=True)
class Counted:
    """Work that is only counted, such as a recording: `done` of `planned` of what `unit` names; 0 comes first."""

    stage: str
    done: int
    planned: int
    unit: str = "shots"


@dataclass(frozen=True)
class TrialStarted:
    """Trial `index`, from 0, of `count` begins, or goes on after a resume; 0 `ablations`: how many is not known."""

    index: int
    count: int
    seed: int
    planned_shots: int
    done_shots: int
    ablations: int = 0


@dataclass(frozen=True)
class StartTested:
    """The test rows have been measured with what trial `index` inherited, before its first step."""

    index: int
    accuracy: float


@dataclass(frozen=True)
class ShotsArrived:
    """`shots` more shots are logged; `trial_shots` since the trial began."""

    shots: int
    trial_shots: int


@dataclass(frozen=True)
class Disturbed:
    """Something has happened to the simulated world of trial `index`, as the configuration asked."""

    index: int
    what: Happened


@dataclass(frozen=True)
class StepDone:
    """The method finished a step."""

    index: int
    metrics: Metrics
    cost: Cost


@dataclass(frozen=True)
class Testing:
    """Training is over, the test rows are being measured."""

    index: int


@dataclass(frozen=True)
class AblationStarted:
    """An ablation is being computed; it costs the rig no shot."""

    index: int
    name: str


@dataclass(frozen=True)
class TrialFinished:
    """The verdict of a trial is on disk."""

    index: int
    seed: int
    accuracy: float
    ablations: dict[str, float]


@dataclass(frozen=True)
class RunFinished:
    """All trials are done; mean and sample standard deviation (None for one trial) of their test accuracies."""

    trials: int
    accuracy: float
    accuracy_sd: float | None


Event = (
    RunStarted
    | Commissioning
    | Counted
    | TrialStarted
    | StartTested
    | ShotsArrived
    | Disturbed
    | StepDone
    | Testing
    | AblationStarted
    | TrialFinished
    | RunFinished
)
Listener = Callable[[Event], None]
