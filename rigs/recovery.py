"""Recovery: what a rig may spend on shots that went wrong before it gives up."""

from __future__ import annotations

import logging
from collections.abc import Callable

from pydantic import Field

from labtrain.clock import Clock
from labtrain.config import Section
from labtrain.errors import InstrumentError, MeasurementError

log = logging.getLogger("labtrain")


class RecoveryConfig(Section):
    """The budget."""

    per_shot: int = Field(
        4, ge=0, le=20, description="times a shot is measured again; 0: the first failure ends the run"
    )
    per_run: int = Field(100, ge=0, description="the same, for all shots since the rig was opened")
    pause_s: float = Field(
        0.5,
        ge=0,
        le=60,
        description="wait before instruments are opened again; twice as long each further time for a shot",
    )


class Recovery:
    """Counts failures against the budget, tells of each, and waits before the next attempt.

    Parameters
    ----------
    config : RecoveryConfig
    clock : Clock
        Passes the pauses.
    check : callable, optional
        Raises Interrupted if somebody wants to stop: asked before each pause and after it.
    """

    def __init__(self, config: RecoveryConfig, clock: Clock, check: Callable[[], object] = lambda: None) -> None:
        self._config, self._clock, self._check = config, clock, check
        self.used = 0

    def again(self, shot: str, failures: int, error: InstrumentError, *, reopens: bool = True) -> None:
        """Return if the shot may be measured again; after a pause, if instruments are opened again first.

        Parameters
        ----------
        shot : str
            Which shot, for people: ``shot 3 of 40``.
        failures : int
            Of this shot so far, the present one included.
        error : InstrumentError
            The present one.
        reopens : bool
            Whether the instruments failed, and not the shot alone.

        Raises
        ------
        MeasurementError
            If the budget is used up.
        Interrupted
            If somebody wants to stop.
        """
        self._check()
        budget = self._config
        if failures > budget.per_shot:
            spent = f"{budget.per_shot} repetitions (rig.recovery.per_shot)"
        elif self.used >= budget.per_run:
            spent = f"{budget.per_run} repetitions in this run (rig.recovery.per_run)"
        else:
            self.used += 1
            log.log(
                logging.WARNING if reopens else logging.INFO,
                "%s: %s; %sit is repeated (%d of %d, in this run %d of %d)",
                *(shot, error, "instruments are opened again and " if reopens else ""),
                *(failures, budget.per_shot, self.used, budget.per_run),
            )
            if reopens:
                self._clock.sleep(budget.pause_s * 2.0 ** (failures - 1))
                self._check()
            return
        raise MeasurementError(f"{shot}: no good reading after {spent}, at last: {error}") from error
