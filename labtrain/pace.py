"""How fast a training run goes, and how long it will still take."""

from __future__ import annotations

from labtrain.clock import Clock
from labtrain.events import AblationStarted, Event, ShotsArrived, StepDone, Testing, TrialFinished, TrialStarted

RECENT_S = 10.0  # shots per second are those of about this long
GRAIN_S = 0.25  # arrivals closer together are one


class Pace:
    """A listener that keeps times and counts.

    The time left in a trial is the shots still planned at the seconds of physics per shot so far, plus the steps still
    planned at the digital seconds per step so far, plus ablations as long as those of earlier trials. Once a trial has
    been seen from beginning to end, the others are expected to take as long.

    Parameters
    ----------
    clock : Clock
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._started_s = self._trial_started_s = clock.monotonic()
        self._trial = TrialStarted(0, 0, 0, 0, 0)
        self._step: StepDone | None = None
        self._training = True
        self._ablating_since_s: float | None = None
        self._ablations_s: list[float] = []  # durations of all ablations of a trial
        self._finished: set[int] = set()
        self._whole_s: list[float] = []  # durations of trials seen from beginning to end
        # (time, shots of the trial); replaced as a whole, never changed: the display reads it from its own thread.
        self._arrivals: tuple[tuple[float, int], ...] = ()
        self.shots = 0

    def start(self) -> None:
        """Count elapsed time from now."""
        self._started_s = self._clock.monotonic()

    def __call__(self, event: Event) -> None:
        now = self._clock.monotonic()
        match event:
            case TrialStarted():
                self._trial, self._step = event, None
                self._training, self._ablating_since_s = True, None
                self._trial_started_s = now
                self.shots = event.done_shots
                self._arrivals = ((now, event.done_shots),)
            case ShotsArrived():
                self.shots = event.trial_shots
                self._arrive(now)
            case StepDone():
                self._step = event
            case Testing():
                self._training = False
            case AblationStarted():
                self._ablating_since_s = now if self._ablating_since_s is None else self._ablating_since_s
            case TrialFinished():
                self._finished.add(event.index)
                if self._ablating_since_s is not None:
                    self._ablations_s.append(now - self._ablating_since_s)
                if self._trial.done_shots == 0:
                    self._whole_s.append(self.trial_s())

    def _arrive(self, now: float) -> None:
        kept = self._arrivals
        if len(kept) > 1 and now - kept[-2][0] < GRAIN_S:
            kept = kept[:-1]
        kept = (*kept, (now, self.shots))
        while len(kept) > 2 and now - kept[1][0] > RECENT_S:
            kept = kept[1:]
        self._arrivals = kept

    def elapsed_s(self) -> float:
        """Seconds since :meth:`start`."""
        return self._clock.monotonic() - self._started_s

    def trial_s(self) -> float:
        """Seconds since the trial in progress began, or went on."""
        return self._clock.monotonic() - self._trial_started_s

    def shots_per_s(self) -> float:
        """Shots per second of the last ten seconds, or since the last but one chunk if chunks are rarer."""
        arrivals = self._arrivals
        if len(arrivals) < 2:
            return 0.0
        seconds = self._clock.monotonic() - arrivals[0][0]
        return (arrivals[-1][1] - arrivals[0][1]) / seconds if seconds > 0 else 0.0

    @property
    def sure(self) -> bool:
        """Whether a whole trial has been seen; before that the time left leaves ablations out."""
        return bool(self._whole_s)

    def left_s(self) -> float | None:
        """Seconds until all trials are done; None while nothing can be said. Methods that stop early need less."""
        rates, fresh = self._rates(), self._trial.done_shots == 0
        if self._whole_s:
            whole = sum(self._whole_s) / len(self._whole_s)
        elif rates is not None:
            per_shot, per_step, steps = rates
            whole = max(self._trial.planned_shots * per_shot + steps * per_step, self.trial_s() if fresh else 0.0)
        else:
            return None
        others = sum(i not in self._finished for i in range(self._trial.index + 1, self._trial.count))
        if self._trial.index in self._finished:
            return others * whole
        # The larger of two estimates: a computer that has become busy makes this trial longer than the ones before.
        as_before = whole - self.trial_s() if self._whole_s and fresh else 0.0
        return max(as_before, self._rest_s(rates)) + others * whole

    def _rest_s(self, rates: tuple[float, float, int] | None) -> float:
        """Seconds left in this trial at its own pace so far, with ablations as long as before."""
        ablations = sum(self._ablations_s) / len(self._ablations_s) if self._ablations_s else 0.0
        if self._ablating_since_s is not None:
            return max(0.0, ablations - (self._clock.monotonic() - self._ablating_since_s))
        if rates is None:
            return ablations
        per_shot, per_step, steps = rates
        done = self._step.metrics.step if self._step else 0
        digital = (steps - done) * per_step if self._training else 0.0
        return max(0, self._trial.planned_shots - self.shots) * per_shot + digital + ablations

    def _rates(self) -> tuple[float, float, int] | None:
        """Seconds of physics per shot, digital seconds per step, steps planned."""
        if self._step is not None:
            cost, metrics = self._step.cost, self._step.metrics
            return cost.seconds_physics / max(1, cost.shots), cost.seconds_digital / metrics.step, metrics.steps
        measured = self.shots - self._trial.done_shots
        return (self.trial_s() / measured, 0.0, 0) if measured else None
