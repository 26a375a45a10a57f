"""What a trainer tells its listeners: progress bar, log file and report only subscribe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from labtrain.ledger import Cost
from labtrain.methods.method import Metrics


@dataclass(frozen=True)
class TrialStarted:
    """Trial `index` of `count` begins, or goes on after a resume."""

    index: int
    count: int
    seed: int
    planned_shots: int
    done_shots: int


@dataclass(frozen=True)
class ShotsArrived:
    """`shots` more shots are logged; `trial_shots` since the trial began."""

    shots: int
    trial_shots: int


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


Event = TrialStarted | ShotsArrived | StepDone | Testing | AblationStarted | TrialFinished
Listener = Callable[[Event], None]
