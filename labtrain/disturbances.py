"""Disturbances of a run: what a configuration says will happen to the world, checked, carried out and written down.

``at_shot`` counts the trial's shots: the world itself knows of it beforehand, so that it takes effect in the middle of
a chunk, whatever the batch size. ``at_step`` is before that step of the method; the shot that comes next is then noted,
and the world told of it. Both are part of the state of the layers and of the trial, so a resumed run meets them again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from labtrain.config import Section
from labtrain.errors import InputError
from labtrain.limits import shown
from labtrain.rigs.rig import Rig, RigConfig
from labtrain.sim.disturbances import RefusedDisturbance, checked

log = logging.getLogger("labtrain")

# Settings with which a method keeps responses: value, what is measured once with it, and the value without that. What
# happens at shot 0 is there before anything is measured.
KEEPS = {"schedule": ("layerwise", "each block", "joint"), "first_block": ("once", "the first block", "always")}


class ChangeConfig(Section):
    """Something that happens to the simulated world; its values stand beside this key."""

    model_config = ConfigDict(extra="allow")

    do: str = Field(description="what happens")

    @property
    def values(self) -> dict[str, Any]:
        """What it takes, as written."""
        return dict(self.model_extra or {})


class DisturbanceConfig(ChangeConfig):
    """When it happens."""

    at_shot: int | None = Field(None, ge=0, description="first shot of each trial that it is about, from 0")
    at_step: int | None = Field(None, ge=1, description="step of the method before which it happens, from 1")

    @model_validator(mode="after")
    def _one_moment(self) -> DisturbanceConfig:
        if (self.at_shot is None) == (self.at_step is None):
            named = "neither at_shot nor at_step is" if self.at_shot is None else "both at_shot and at_step are"
            raise ValueError(f"{named} given; give one of them")
        return self


def refuse_unknown(entries: Sequence[ChangeConfig], rig: RigConfig, place: tuple[str, ...] = ("disturbances",)) -> None:
    """Check entries of a configuration, which stand at `place`, against what the world of its rig knows.

    Raises
    ------
    pydantic.ValidationError
        With the place of each error.
    """
    if not entries:
        return
    errors: list[Any] = []
    try:
        known = rig.disturbances()
    except InputError as error:
        errors.append(_error(error, place))
    else:
        for index, entry in enumerate(entries):
            try:
                checked("", known, entry.do, entry.values)
            except RefusedDisturbance as error:
                errors.append(_error(error.text, (*place, index, error.key)))
    if errors:
        raise ValidationError.from_exception_data("disturbances", errors)


def _error(text: object, place: tuple[str | int, ...]) -> Any:
    return {"type": PydanticCustomError("value_error", "", {"error": str(text)}), "loc": place, "input": None}


@dataclass(frozen=True)
class Happened:
    """A disturbance that has happened in a trial.

    Parameters
    ----------
    number : int
        Its place in the configuration, from 0.
    do : str
    values : dict
    shot : int
        First shot that it was about.
    step : int or "test"
        Step of the method under way, from 1, or the test after the last one.
    """

    number: int
    do: str
    values: dict[str, Any]
    shot: int
    step: int | str

    @property
    def text(self) -> str:
        """For people: ``scatterer (scatterer 0, dx_m 0.02, dy_m 0)``."""
        told = ", ".join(f"{key} {shown(v) if isinstance(v, int | float) else v}" for key, v in self.values.items())
        return f"{self.do} ({told})" if told else self.do


class Disturber:
    """Carries out the disturbances of one trial.

    Parameters
    ----------
    entries : sequence of DisturbanceConfig
    rig : Rig
        Opened and restarted; it is told here of all that has a shot of its own.
    tell : callable, optional
        Gets what has happened, once each: what has a shot of its own as soon as that shot is there.
    """

    def __init__(
        self, entries: Sequence[DisturbanceConfig], rig: Rig, tell: Callable[[Happened], None] | None = None
    ) -> None:
        self.happened: list[Happened] = []
        self._entries, self._rig, self._tell = tuple(entries), rig, tell or (lambda _: None)
        self._step: int | str = 1
        known = rig.disturbances()
        for number, entry in enumerate(self._entries):
            try:
                checked("", known, entry.do, entry.values)
            except RefusedDisturbance as error:
                raise InputError(f"disturbances.{number}.{error.key}: {error.text}") from None
            if entry.at_shot is not None:
                self._do(number, entry.at_shot)

    def before_step(self, step: int) -> None:
        """The method is about to do this step."""
        self._step = step
        for number, entry in self._open():
            if entry.at_step == step:
                self._note(number, self._do(number, None))

    def before_test(self) -> None:
        """Training is over."""
        self._step = "test"

    def after_shots(self) -> None:
        """More shots have been measured, or taken from the log."""
        if waiting := [(number, entry) for number, entry in self._open() if entry.at_shot is not None]:
            after = self._rig.next_shot
            for number, entry in waiting:
                assert entry.at_shot is not None
                if entry.at_shot < after:
                    self._note(number, entry.at_shot)

    def _do(self, number: int, shot: int | None) -> int:
        entry = self._entries[number]
        try:
            return self._rig.disturb(entry.do, at_shot=shot, **entry.values)
        except RefusedDisturbance as error:  # of what the world alone can tell, such as a disc that runs into another
            raise InputError(f"disturbances.{number}.{error.key}: {error.text}") from None

    def _open(self) -> list[tuple[int, DisturbanceConfig]]:
        done = {one.number for one in self.happened}
        return [(number, entry) for number, entry in enumerate(self._entries) if number not in done]

    def _note(self, number: int, shot: int) -> None:
        entry = self._entries[number]
        one = Happened(number, entry.do, entry.values, shot, self._step)
        self.happened.append(one)
        self._tell(one)

    def state(self) -> list[dict[str, Any]]:
        """What has happened, JSON-compatible; what it did is in the state of the layers."""
        return [asdict(one) for one in self.happened]

    def restore(self, state: list[dict[str, Any]]) -> None:
        """Return to a state that :meth:`state` gave."""
        self.happened = [Happened(**one) for one in state]


def outcomes(happened: Sequence[Happened], accuracies: Sequence[tuple[int, float]]) -> list[dict[str, Any]]:
    """What has happened, with the accuracies known before and after.

    Parameters
    ----------
    accuracies : sequence of (step, accuracy)
        As the method told them, NaN where it could not. It repeats one until it takes the next.

    Returns
    -------
    list of dict
        ``number``, ``do``, ``values``, ``shot``, ``step``, ``accuracy_before``: the last one told before that step, and
        ``accuracy_after``: the first other one told since; None where there is none.
    """
    found = []
    for one in happened:
        before = after = None
        for step, accuracy in accuracies:
            if accuracy != accuracy:
                continue
            if one.step == "test" or step < int(one.step):
                before = accuracy
            elif after is None and accuracy != before:
                after = accuracy
        found.append({**asdict(one), "accuracy_before": before, "accuracy_after": after})
    return found


def warn(entries: Sequence[DisturbanceConfig], training: Section, train: int, test: int) -> None:
    """Say what of the disturbances a training will not see: a trial takes so many shots to train and test, at most."""
    shots = train + test
    if entries and not train:
        log.warning(
            "training.method: %s measures nothing before the test, which alone meets a disturbance; a method that "
            "trains on the rig can learn from it",
            getattr(training, "method", ""),
        )
    for key, (kept, what, afresh) in KEEPS.items():
        if train and any(entry.at_shot != 0 for entry in entries) and getattr(training, key, None) == kept:
            log.warning(
                "training.%s: %s measures %s once and keeps the responses: a disturbance changes what is measured "
                "after it, not what was learned before; %s measures afresh, where the method has it",
                *(key, kept, what, afresh),
            )
    for number, entry in enumerate(entries):
        if entry.at_shot is not None and entry.at_shot >= shots:
            log.warning(
                "disturbances.%d.at_shot: shot %d will not come, a trial takes %d shots at most",
                number,
                entry.at_shot,
                shots,
            )
