"""What a user sees while a network trains: a live display on a terminal, plain lines in a log or a CI job.

Everything goes to stderr; stdout is left to results. Listens to the events of labtrain.events.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from labtrain.clock import Clock, RealClock
from labtrain.events import (
    AblationStarted,
    Commissioning,
    Counted,
    Disturbed,
    Event,
    RunFinished,
    RunStarted,
    ShotsArrived,
    StartTested,
    StepDone,
    Testing,
    TrialFinished,
    TrialStarted,
)
from labtrain.formatting import ablation_name, duration, hours, losses, percent, points, rate, trial_name
from labtrain.methods.method import Metrics
from labtrain.pace import Pace

LINE_EVERY_S = 10.0
UNTOLD_S = 2.0  # commissioning or counting that is over sooner is not worth a line
BAR = 28  # columns
SAVED = "saved"


class Progress:
    """A listener that shows how far training is and how long it will take; use it in a ``with`` block.

    On a terminal a few lines that renew themselves; elsewhere a plain line about every ten seconds, and one for each
    ablation. In both cases a line stays for the run folder and for each finished trial, and warnings of labtrain appear
    among them.

    Parameters
    ----------
    quiet : bool
        Show warnings alone.
    clock : Clock, optional
    console : rich Console, optional
        Where to write; default: stderr.
    """

    def __init__(self, quiet: bool = False, clock: Clock | None = None, console: Console | None = None) -> None:
        self.quiet = quiet
        self._clock = clock or RealClock()
        self._console = console or Console(stderr=True)
        self._pace = Pace(self._clock)
        self._trial = TrialStarted(0, 0, 0, 0, 0)
        self._metrics: Metrics | None = None
        self._stage = "starting"
        self._line_at_s = -math.inf
        self._live: Live | None = None
        self._warnings = _Warnings(self._say)

    def __enter__(self) -> Self:
        self._pace.start()
        log = logging.getLogger("labtrain")
        if not log.hasHandlers():  # who has set up logging gets warnings there, once
            log.addHandler(self._warnings)
        return self

    def _go_live(self) -> None:
        """Begin the live display: with the first event, for until then a rig may ask something."""
        terminal = self._console.is_terminal and not self._console.is_dumb_terminal
        if terminal and not self.quiet and self._live is None:
            # stdout stays untouched: what a script prints must not land on stderr.
            self._live = Live(
                console=self._console, get_renderable=self._view, refresh_per_second=4, transient=True,
                redirect_stdout=False,
            )  # fmt: skip
            self._live.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        logging.getLogger("labtrain").removeHandler(self._warnings)
        if self._live is not None:
            self._live.stop()
            self._live = None

    def __call__(self, event: Event) -> None:
        """Take note of an event, and write a line when one is due."""
        self._go_live()
        self._pace(event)
        match event:
            case RunStarted(folder=folder):
                if not self.quiet:
                    self._say(f"run folder: {folder}")
                return
            case Commissioning(shots=done, planned=planned):
                self._stage = f"commissioning, shots {done:,} of {planned:,}"
                if self._pace.elapsed_s() < UNTOLD_S:
                    return
            case Counted(stage=stage):
                self._stage = stage
                if self._pace.elapsed_s() < UNTOLD_S:
                    return
            case TrialStarted():
                self._trial, self._metrics, self._stage = event, None, "measuring"
            case StartTested():
                if not self.quiet:
                    self._say(f"trial {event.index} begins at {percent(event.accuracy)} of the test rows")
                return
            case Disturbed():
                if not self.quiet:
                    self._say(self._disturbed(event))
                return
            case StepDone(metrics=metrics):
                self._metrics, self._stage = metrics, metrics.stage
            case Testing():
                self._stage = "testing"
            case AblationStarted(name=name):
                self._stage = ablation_name(name, self._pace.ablation, self._trial.ablations)
                self._line_at_s = -math.inf  # it may take minutes in which nothing else is told
            case TrialFinished():
                self._stage = SAVED
                if not self.quiet:
                    self._say(self._finished(event))
                return
            case ShotsArrived() | RunFinished():
                pass
        if self._live is None and not self.quiet and self._clock.monotonic() >= self._line_at_s + LINE_EVERY_S:
            self._line_at_s = self._clock.monotonic()
            quiet = self._pace.ablation or not self._trial.count
            learned = self._counted() if quiet else [*self._learned(), ", ".join(self._shots())]
            self._say(", ".join([self._where(), *learned, self._times()]))

    def _say(self, line: str) -> None:
        """A line that stays; above the live display, if there is one."""
        self._console.print(Text(line), soft_wrap=True)

    # --- the words ----------------------------------------------------------------------------------------------------

    def _where(self) -> str:
        trial = self._trial
        return f"{trial_name(trial.index, trial.count, trial.seed)}, {self._stage}" if trial.count else self._stage

    def _learned(self) -> list[str]:
        if (metrics := self._metrics) is None:
            return []
        accuracy = f"accuracy {percent(metrics.accuracy)} ({metrics.accuracy_on})"
        return [f"step {metrics.step:,} of {metrics.steps:,}", f"loss {losses(metrics.losses)}", accuracy]

    def _shots(self) -> tuple[str, str]:
        """Shots done, of those planned as long as the plan holds, and their rate."""
        done, planned, recent = self._pace.shots, self._trial.planned_shots, self._pace.shots_per_s()
        return f"shots {done:,} of {planned:,}" if self._planned() else f"shots {done:,}", rate(recent)

    def _counted(self) -> list[str]:
        """What was counted, of what, and how fast; nothing where nothing is counted."""
        if (counted := self._pace.counted) is None:
            return []
        recent = rate(self._pace.shots_per_s())
        return [f"{counted.unit} {counted.done:,} of {counted.planned:,}", recent]

    def _planned(self) -> bool:
        """Whether the plan holds: a trial that goes on to more epochs measures anew what its plan counts once."""
        planned = self._trial.planned_shots
        return self._trial.done_shots < planned and self._pace.shots <= planned

    def _times(self) -> str:
        elapsed, left = f"{hours(self._pace.elapsed_s())} elapsed", self._pace.left_s()
        if left is None or round(left) == 0:  # an estimate that has run out says nothing
            return elapsed
        about = "" if self._pace.sure else "about "
        whole = "" if self._pace.counted is not None else " for the whole run"
        return f"{elapsed}, {about}{hours(left)} left{whole}"

    def _disturbed(self, event: Disturbed) -> str:
        what = event.what
        during = "in the test" if what.step == "test" else f"in step {what.step:,}"
        return f"trial {event.index}: disturbed from shot {what.shot:,} on, {during}: {what.text}"

    def _finished(self, event: TrialFinished) -> str:
        """One line for the record: the result and, beside it, what each ablation reached."""
        others = ", ".join(f"{name.replace('_', ' ')} {points(value)}" for name, value in event.ablations.items())
        beside = f" ({others})" if others else ""
        took = duration(self._pace.trial_s())
        return (
            f"{trial_name(event.index, self._trial.count, event.seed)}: "
            f"test accuracy {percent(event.accuracy)}{beside} in {took}"
        )

    # --- the live display ---------------------------------------------------------------------------------------------

    def _view(self) -> RenderableType:
        if (counted := self._pace.counted) is not None:
            bars = _bars()
            bar = ProgressBar(max(1, counted.planned), counted.done, width=BAR)
            bars.add_row(self._stage, bar, *self._counted())
            return Group(bars, Text(self._times()))
        if not self._trial.count:
            return Text(f"{self._where()}, {self._times()}")
        parts: list[RenderableType] = [Text(self._where(), no_wrap=True, overflow="ellipsis")]
        parts.append(self._ablation_bar() if self._pace.ablation else self._training_bars())
        if self._metrics and not self._pace.ablation:
            parts.append(Text("   ".join(self._learned()[1:]), no_wrap=True, overflow="ellipsis"))
        return Group(*parts, Text(self._times()))

    def _training_bars(self) -> Table:
        metrics, planned, bars = self._metrics, self._trial.planned_shots, _bars()
        if metrics:
            bar = ProgressBar(metrics.steps, metrics.step, width=BAR)
            bars.add_row("steps", bar, f"{metrics.step:,} of {metrics.steps:,}", "")
        count, recent = self._shots()
        whole = ProgressBar(max(1, planned), self._pace.shots, width=BAR) if self._planned() else ""
        bars.add_row("shots", whole, count.removeprefix("shots "), recent)
        return bars

    def _ablation_bar(self) -> Table:
        count, done, bars = self._trial.ablations, self._pace.ablation - (self._stage != SAVED), _bars()
        bar = ProgressBar(count, done, width=BAR) if count else ""
        bars.add_row("ablations", bar, f"{done} of {count} done" if count else f"{done} done")
        return bars


def _bars() -> Table:
    """A grid for rows of name, bar, count, rate."""
    bars = Table.grid(padding=(0, 2))
    for _ in range(2):
        bars.add_column()
    for _ in range(2):
        bars.add_column(justify="right", no_wrap=True)
    return bars


class _Warnings(logging.Handler):
    """Shows warnings where the progress is."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        self._say(f"{record.levelname.lower()}: {record.getMessage()}")
