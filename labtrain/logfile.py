"""The log of a run: ``log.txt`` in its folder, one line for each thing that happened, with UTC time stamps."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path
from time import gmtime, strftime
from types import TracebackType
from typing import Self

from labtrain.clock import Clock, RealClock
from labtrain.errors import LabtrainError, RunError
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
from labtrain.formatting import ablation_name, losses, percent, points, trial_name
from labtrain.storage import disk_errors

log = logging.getLogger("labtrain")


class LogFile:
    """A listener that writes what happens to ``log.txt``, with all that labtrain logs; use it in a ``with`` block.

    Steps are logged at the first and the last one, when the stage changes, and otherwise every `cadence_s` seconds.

    Parameters
    ----------
    folder : Path
        The run folder; an existing log is continued.
    clock : Clock, optional
        Gives the time stamps.
    cadence_s : float

    Raises
    ------
    RunError
        If the log cannot be written, for instance on a full disk.
    """

    def __init__(self, folder: Path, clock: Clock | None = None, cadence_s: float = 30.0) -> None:
        self.path = folder / "log.txt"
        self._clock = clock or RealClock()
        self._cadence_s = cadence_s
        self._handler: _Handler | None = None
        self._level = logging.NOTSET
        self._trial = TrialStarted(0, 0, 0, 0, 0)
        self._ablation = 0
        self._stage = ""
        self._step_at_s = 0.0

    def __enter__(self) -> Self:
        with disk_errors(self.path.parent):
            self._handler = _Handler(self.path, self._clock)
        self._level = log.level
        log.setLevel(min(log.getEffectiveLevel(), logging.INFO))
        log.addHandler(self._handler)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handler is None:
            return
        if error is not None:
            foreseen = isinstance(error, LabtrainError | KeyboardInterrupt)
            text = f"{type(error).__name__}: {error}"
            trace_too = None if foreseen else (type(error), error, trace)
            record = log.makeRecord(log.name, logging.ERROR, __file__, 0, text, (), trace_too)
            with suppress(RunError):  # a log that cannot be written must not hide the error that ended the run
                self._handler.handle(record)  # here alone: the caller tells the user
        log.removeHandler(self._handler)
        log.setLevel(self._level)
        with suppress(OSError):  # what could not be written has been raised when it was logged
            self._handler.close()
        self._handler = None

    def __call__(self, event: Event) -> None:
        """Log an event."""
        match event:
            case RunStarted():
                log.info("run %s", "goes on" if event.resumed else "begins")
                for change in event.changes:
                    log.info("changed: %s", change)
            case Commissioning():
                if event.shots == event.planned:
                    log.info("rig commissioned with %d shots", event.shots)
            case Counted():
                now, ends = self._clock.monotonic(), event.done in (0, event.planned)
                if ends or now - self._step_at_s >= self._cadence_s:
                    self._step_at_s = now
                    log.info("%s: %d of %d %s", event.stage, event.done, event.planned, event.unit)
            case TrialStarted():
                self._stage, self._trial, self._ablation = "", event, 0
                done, planned = event.done_shots, event.planned_shots
                how = f"goes on after {done} shots" if done else "begins"
                plan = f"at most {planned} shots" if done < planned else f"more than the {planned} of one training"
                log.info("%s %s: %s", trial_name(event.index, event.count, event.seed), how, plan)
            case StartTested():
                log.info("trial %d: begins at %s of the test rows", event.index, percent(event.accuracy))
            case Disturbed(what=what):
                during = "in the test" if what.step == "test" else f"in step {what.step}"
                log.info("trial %d: disturbed from shot %d on, %s: %s", event.index, what.shot, during, what.text)
            case StepDone():
                self._step(event)
            case Testing():
                log.info("trial %d: testing", event.index)
            case AblationStarted():
                self._ablation += 1
                name = ablation_name(event.name, self._ablation, self._trial.ablations)
                log.info("trial %d: %s", event.index, name)
            case TrialFinished():
                others = "".join(f", {n.replace('_', ' ')} {percent(value)}" for n, value in event.ablations.items())
                log.info("trial %d finished: test accuracy %s%s", event.index, percent(event.accuracy), others)
            case RunFinished():
                spread = f", mean of {event.trials} trials, sd {points(event.accuracy_sd)}" if event.trials > 1 else ""
                log.info("run finished: test accuracy %s%s", percent(event.accuracy), spread)
            case ShotsArrived():
                pass  # every shot is in run.db

    def _step(self, event: StepDone) -> None:
        metrics, now = event.metrics, self._clock.monotonic()
        due = metrics.stage != self._stage or metrics.step == metrics.steps or now - self._step_at_s >= self._cadence_s
        if not due:
            return
        self._stage, self._step_at_s = metrics.stage, now
        log.info(
            "trial %d: step %d of %d, %s, loss %s, accuracy %s (%s), %d shots",
            event.index,
            metrics.step,
            metrics.steps,
            metrics.stage,
            losses(metrics.losses, digits=6),
            percent(metrics.accuracy),
            metrics.accuracy_on,
            event.cost.shots,
        )


class _Handler(logging.FileHandler):
    """Appends to the file; what the disk reports is raised, not printed and forgotten."""

    def __init__(self, path: Path, clock: Clock) -> None:
        super().__init__(path, encoding="utf-8")
        self._folder = path.parent
        self.setFormatter(_Formatter(clock))

    def handleError(self, record: logging.LogRecord) -> None:
        del record
        with disk_errors(self._folder):
            raise  # the error that logging is handling when it calls this


class _Formatter(logging.Formatter):
    """``2026-01-31T12:00:00.123Z INFO message``; the clock may be a simulated one."""

    def __init__(self, clock: Clock) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")
        self._clock = clock

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        del record, datefmt
        milliseconds = round(1000 * self._clock.now())
        return strftime("%Y-%m-%dT%H:%M:%S", gmtime(milliseconds // 1000)) + f".{milliseconds % 1000:03d}Z"
