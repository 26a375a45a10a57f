"""How fast a training run goes, and how long it will still take."""

from __future__ import annotations

from labtrain.clock import Clock
from labtrain.events import (
    AblationStarted,
    Counted,
    Event,
    ShotsArrived,
    StepDone,
    Testing,
    TrialFinished,
    TrialStarted,
)

RECENT_S = 10.0  # shots per second are those of about this long
GRAIN_S = 0.25  # arrivals closer together are one


class Pace:
    """A listener that keeps times and counts.

    The time left in a trial is the shots still planned at the seconds of physics per shot so far, plus the steps still
    planned at the digital seconds per step so far, plus ablations as long as those of earlier trials; in the first
    trial each is expected to take as long as the digital part of training, for it trains again, or as long as those
    before it. Once a trial has been seen from beginning to end, the others are expected to take as long.

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
        self._ablation_started_s = 0.0
        self._ablations_s: list[float] = []  # durations of all ablations of a trial
        self._finished: set[int] = set()
        self._whole_s: list[float] = []  # durations of trials seen from beginning to end
        # (time, shots of the trial); replaced as a whole, never changed: the display reads it from its own thread.
        self._arrivals: tuple[tuple[float, int], ...] = ()
        self._counting: tuple[float, Counted] | None = None  # since when, and what was done then
        self.counted: Counted | None = None
        self.shots = 0
        self.ablation = 0

    def start(self) -> None:
        """Count elapsed time from now."""
        self._started_s = self._clock.monotonic()

    def __call__(self, event: Event) -> None:
        now = self._clock.monotonic()
        match event:
            case TrialStarted():
                self._trial, self._step = event, None
                self._training, self._ablating_since_s, self.ablation = True, None, 0
                self._trial_started_s = now
                self.shots = event.done_shots
                self._arrivals = ((now, event.done_shots),)
            case Counted():
                if self._counting is None or self._counting[1].stage != event.stage:
                    self._counting, self._arrivals = (now, event), ()
                self.counted, self.shots = event, event.done
                self._arrive(now)
            case ShotsArrived():
                self.shots = event.trial_shots
                self._arrive(now)
            case StepDone():
                if self._step is not None and event.cost.shots == self._step.cost.shots:
                    self._arrivals = ((now, self.shots),)  # steps without shots are no slow measurement
                self._step = event
            case Testing():
                self._training = False
                self._arrivals = ((now, self.shots),)
            case AblationStarted():
                self._ablating_since_s = now if self._ablating_since_s is None else self._ablating_since_s
                self._ablation_started_s = now
                self.ablation += 1
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

    def shots_per_s(self) -> float | None:
        """Shots per second of the last ten seconds, or since the last but one chunk if chunks are rarer.

        None while nothing is measured: when the next chunk is late by ten seconds and by twice the last pause.
        """
        arrivals = self._arrivals
        if len(arrivals) < 2:
            return None
        now = self._clock.monotonic()
        pause = arrivals[-1][0] - arrivals[-2][0]
        if now - arrivals[-1][0] > max(RECENT_S, 2 * pause):
            return None
        seconds = now - arrivals[0][0]
        return (arrivals[-1][1] - arrivals[0][1]) / seconds if seconds > 0 else None

    @property
    def sure(self) -> bool:
        """Whether a whole trial has been seen; before that the time left rests on guesses about the ablations."""
        return bool(self._whole_s) or self.counted is not None

    def left_s(self) -> float | None:
        """Seconds until all trials are done; None while nothing can be said. Methods that stop early need less."""
        if self._counting is not None and self.counted is not None:
            (since, first), now = self._counting, self.counted
            done = now.done - first.done
            return (self._arrivals[-1][0] - since) / done * (now.planned - now.done) if done else None
        rates, fresh = self._rates(), self._trial.done_shots == 0
        rest = self._rest_s(rates)
        if self._whole_s:
            whole = sum(self._whole_s) / len(self._whole_s)
        elif rates is not None and rest is not None:
            per_shot, per_step, steps = rates
            alone = self._trial.planned_shots * per_shot + steps * per_step + (self._all_ablations_s() or 0.0)
            whole = max(alone, self.trial_s() if fresh else 0.0)
        else:
            return None
        others = sum(i not in self._finished for i in range(self._trial.index + 1, self._trial.count))
        if self._trial.index in self._finished:
            return others * whole
        # The larger of two estimates: a computer that has become busy makes this trial longer than the ones before.
        as_before = whole - self.trial_s() if self._whole_s and fresh else 0.0
        return max(as_before, rest or 0.0) + others * whole

    def _rest_s(self, rates: tuple[float, float, int] | None) -> float | None:
        """Seconds left in this trial at its own pace so far; None in ablations of which nothing is known."""
        ablations = self._all_ablations_s()
        if self._ablating_since_s is not None:
            now, each = self._clock.monotonic(), self._each_ablation_s()
            to_come = 0.0 if each is None else max(0, self._trial.ablations - self.ablation) * each
            if ablations is None:
                return None
            return max(to_come, ablations - (now - self._ablating_since_s))
        if rates is None:
            return ablations
        per_shot, per_step, steps = rates
        done = self._step.metrics.step if self._step else 0
        digital = (steps - done) * per_step if self._training else 0.0
        return max(0, self._trial.planned_shots - self.shots) * per_shot + digital + (ablations or 0.0)

    def _all_ablations_s(self) -> float | None:
        """Expected duration of all ablations of a trial."""
        if self._ablations_s:
            return sum(self._ablations_s) / len(self._ablations_s)
        each = self._each_ablation_s()
        return self._trial.ablations * each if each is not None and self._trial.ablations else None

    def _each_ablation_s(self) -> float | None:
        """Expected duration of one ablation: that of those done in this trial, else of the digital part of training."""
        if self._ablating_since_s is not None and self.ablation > 1:
            return (self._ablation_started_s - self._ablating_since_s) / (self.ablation - 1)
        if self._step is None or not self._trial.ablations:
            return None
        per_step = self._step.cost.seconds_digital / self._step.metrics.step
        return per_step * (self._step.metrics.steps if self._training else self._step.metrics.step)

    def _rates(self) -> tuple[float, float, int] | None:
        """Seconds of physics per shot, digital seconds per step, steps planned."""
        if self._step is not None:
            cost, metrics = self._step.cost, self._step.metrics
            return cost.seconds_physics / max(1, cost.shots), cost.seconds_digital / metrics.step, metrics.steps
        measured = self.shots - self._trial.done_shots
        return (self.trial_s() / measured, 0.0, 0) if measured else None
