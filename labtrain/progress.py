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
from labtrain.events import AblationStarted, Event, ShotsArrived, StepDone, Testing, TrialFinished, TrialStarted
from labtrain.formatting import duration, hours, percent, points, rate
from labtrain.methods.method import Metrics
from labtrain.pace import Pace

LINE_EVERY_S = 10.0


class Progress:
    """A listener that shows how far training is and how long it will take; use it in a ``with`` block.

    On a terminal a few lines that renew themselves; elsewhere a plain line about every ten seconds. In both cases one
    line stays for each finished trial, and warnings of labtrain appear among them.

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
        terminal = self._console.is_terminal and not self._console.is_dumb_terminal
        if terminal and not self.quiet:
            # stdout stays untouched: what a script prints must not land on stderr.
            self._live = Live(
                console=self._console, get_renderable=self._view, refresh_per_second=4, transient=True,
                redirect_stdout=False,
            )  # fmt: skip
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        logging.getLogger("labtrain").removeHandler(self._warnings)
        if self._live is not None:
            self._live.stop()
            self._live = None

    def __call__(self, event: Event) -> None:
        """Take note of an event, and write a line when one is due."""
        self._pace(event)
        match event:
            case TrialStarted():
                self._trial, self._metrics, self._stage = event, None, "measuring"
            case StepDone(metrics=metrics):
                self._metrics, self._stage = metrics, metrics.stage
            case Testing():
                self._stage = "testing"
            case AblationStarted(name=name):
                self._stage = f"ablation {name.replace('_', ' ')}"
            case TrialFinished():
                self._stage = "saved"
                if not self.quiet:
                    self._say(self._finished(event))
                return
            case ShotsArrived():
                pass
        if self._live is None and not self.quiet and self._clock.monotonic() >= self._line_at_s + LINE_EVERY_S:
            self._line_at_s = self._clock.monotonic()
            self._say(", ".join(filter(None, [self._where(), *self._learned(), *self._shots(), self._times()])))

    def _say(self, line: str) -> None:
        """A line that stays; above the live display, if there is one."""
        self._console.print(Text(line), soft_wrap=True)

    # --- the words ----------------------------------------------------------------------------------------------------

    def _where(self) -> str:
        number = f"trial {self._trial.index + 1} of {self._trial.count}, " if self._trial.count else ""
        return number + self._stage

    def _learned(self) -> list[str]:
        if (metrics := self._metrics) is None:
            return []
        losses = " ".join("-" if math.isnan(loss) else f"{loss:.3g}" for loss in metrics.losses)
        accuracy = f"accuracy {percent(metrics.accuracy)} ({metrics.accuracy_on})"
        return [f"step {metrics.step:,} of {metrics.steps:,}", f"loss {losses}", accuracy]

    def _shots(self) -> list[str]:
        done = f"shots {self._pace.shots:,} of {self._trial.planned_shots:,}"
        return [done, rate(self._pace.shots_per_s())] if self._pace.shots else [done]

    def _times(self) -> str:
        left = self._pace.left_s()
        if left is None:
            return f"{hours(self._pace.elapsed_s())} elapsed"
        about = "" if self._pace.sure else "about "
        return f"{hours(self._pace.elapsed_s())} elapsed, {about}{hours(left)} left"

    def _finished(self, event: TrialFinished) -> str:
        """One line for the record: the result and, beside it, what each ablation reached."""
        others = ", ".join(f"{name.replace('_', ' ')} {points(value)}" for name, value in event.ablations.items())
        beside = f" ({others})" if others else ""
        took = duration(self._pace.trial_s())
        return (
            f"trial {event.index + 1} of {self._trial.count}, seed {event.seed}: "
            f"test accuracy {percent(event.accuracy)}{beside} in {took}"
        )

    # --- the live display ---------------------------------------------------------------------------------------------

    def _view(self) -> RenderableType:
        metrics, trial, pace = self._metrics, self._trial, self._pace
        if not trial.count:
            return Text(f"{self._where()}, {self._times()}")
        learned = self._learned()
        head = "   ".join([f"{self._where()} (seed {trial.seed})", *learned[2:]])
        bars = Table.grid(padding=(0, 2))
        bars.add_column()
        bars.add_column(width=32)
        bars.add_column(justify="right")
        bars.add_column()
        step, steps = (metrics.step, metrics.steps) if metrics else (0, 1)
        bars.add_row("steps", ProgressBar(steps, step), f"{step:,} of {steps:,}" if metrics else "", *learned[1:2])
        shots = f"{pace.shots:,} of {trial.planned_shots:,}"
        bars.add_row("shots", ProgressBar(max(1, trial.planned_shots), pace.shots), shots, *self._shots()[1:])
        return Group(Text(head, no_wrap=True, overflow="ellipsis"), bars, Text(self._times()))


class _Warnings(logging.Handler):
    """Shows warnings where the progress is."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        self._say(f"{record.levelname.lower()}: {record.getMessage()}")
