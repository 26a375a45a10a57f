"""Disturbances of a simulated world: which it knows, and what has happened to it by which shot.

A disturbance holds from a shot number on. So what a world answers to a shot is a function of seed, shot number and the
list of disturbances alone: the same in batches of any size, after a retry, and after a resume in the middle of a chunk.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from labtrain.errors import InputError
from labtrain.limits import did_you_mean, shown

__all__ = ["Disturbance", "Event", "Events", "Known", "RefusedDisturbance", "Value", "checked"]


@dataclass(frozen=True)
class Value:
    """One value that a disturbance takes.

    Parameters
    ----------
    meaning : str
    low, high : float
        Bounds, both allowed.
    unit : str
    form : "number", "whole", "list" or "order"
        A list holds whole numbers within the bounds, none twice; an order names all of 0 to `high`, each once.
    default : float, optional
        Without one the value has to be given.
    """

    meaning: str
    low: float = -math.inf
    high: float = math.inf
    unit: str = ""
    form: Literal["number", "whole", "list", "order"] = "number"
    default: float | None = None

    @property
    def allowed(self) -> str:
        """What may be given, in words."""
        if self.form == "order":
            return "all of 0, 1, ..., each once" if math.isinf(self.high) else f"all of 0 to {self.high:g}, each once"
        bounds = f"{shown(self.low, self.unit)} or more"
        if not math.isinf(self.high):
            bounds = f"{shown(self.low, self.unit)} to {shown(self.high, self.unit)}"
        kinds = {"whole": "a whole number, ", "list": "whole numbers in a list, none twice, "}
        return kinds.get(self.form, "") + bounds

    def take(self, given: Any) -> Any:
        """The value as a world uses it.

        Raises
        ------
        ValueError
            If it does not fit; :attr:`allowed` says what does.
        """
        if self.form in ("number", "whole"):
            return self._number(given, whole=self.form == "whole")
        if not isinstance(given, list | tuple) or not given:
            raise ValueError
        members = [int(self._number(member, whole=True)) for member in given]
        if len(set(members)) < len(members):
            raise ValueError
        if self.form == "order":
            count = len(members) if math.isinf(self.high) else int(self.high) + 1
            if sorted(members) != list(range(count)):
                raise ValueError
        return members

    def _number(self, given: Any, *, whole: bool) -> float:
        if isinstance(given, bool) or not isinstance(given, int | float):
            raise ValueError
        if not (math.isfinite(given) and self.low <= given <= self.high) or (whole and not float(given).is_integer()):
            raise ValueError
        return int(given) if whole else float(given)


@dataclass(frozen=True)
class Disturbance:
    """Something that may happen to a world.

    Parameters
    ----------
    meaning : str
    values : dict
        What it takes, by name.
    """

    meaning: str
    values: dict[str, Value] = field(default_factory=dict)


Known = Mapping[str, Disturbance]


class RefusedDisturbance(InputError):
    """A disturbance that a world does not know, or not with these values.

    Attributes
    ----------
    key : str
        ``do``, or the name of the value that is wrong.
    text : str
        The error without the name of who refuses.
    """

    def __init__(self, who: str, key: str, text: str) -> None:
        super().__init__(f"{who}: {text}")
        self.key, self.text = key, text


def checked(who: str, known: Known, name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a disturbance, defaults filled in.

    Raises
    ------
    RefusedDisturbance
        For an unknown name, values missing, unknown or out of range.
    """
    if name not in known:
        listed = ", ".join(known) or "none"
        raise RefusedDisturbance(who, "do", f"unknown disturbance {name!r}{did_you_mean(name, known)}; known: {listed}")
    wanted = known[name].values
    unknown = [key for key in values if key not in wanted]
    missing = [key for key, value in wanted.items() if value.default is None and key not in values]
    if unknown or missing:
        text = f"disturbance {name!r} takes {', '.join(wanted)}, got {', '.join(values) or 'nothing'}"
        raise RefusedDisturbance(who, unknown[0] if unknown else "do", text)
    taken = {}
    for key, value in wanted.items():
        given = values.get(key, value.default)
        try:
            taken[key] = value.take(given)
        except ValueError:
            asked = f"{given:g}" if isinstance(given, float) else given
            text = f"disturbance {name!r}: asked {key} {asked}, allowed {value.allowed}"
            raise RefusedDisturbance(who, key, text) from None
    return taken


@dataclass(frozen=True)
class Event:
    """A disturbance that holds from a shot on."""

    shot: int
    name: str
    values: dict[str, Any]


class Events:
    """What happens to a world, in the order of shots; at the same shot, in the order in which it was added.

    Parameters
    ----------
    always : Event
        What is part of the world, and stays when it starts anew.
    """

    def __init__(self, *always: Event) -> None:
        self._always = always
        self.clear()

    def clear(self) -> None:
        """Undo all that was added."""
        self._added: list[Event] = []
        self._all = sorted(self._always, key=lambda event: event.shot)

    def add(self, event: Event) -> None:
        self._added.append(event)
        insort(self._all, event, key=lambda event: event.shot)

    @property
    def shots(self) -> list[int]:
        """At which something happens, rising."""
        return sorted({event.shot for event in self._all})

    def until(self, shot: int) -> tuple[Event, ...]:
        """Those that hold at a shot."""
        return tuple(event for event in self._all if event.shot <= shot)

    def still(self, shot: int) -> float:
        """Shots, this one included, before the next event; infinity if there is none."""
        return min((event.shot - shot for event in self._all if event.shot > shot), default=math.inf)

    def spans(self, first_shot: int, count: int) -> Iterator[slice]:
        """Parts of so many shots during which nothing happens; one that is empty if there are none."""
        done = 0
        while True:
            stop = int(min(count, done + self.still(first_shot + done)))
            yield slice(done, stop)
            done = stop
            if done >= count:
                return

    def state(self) -> list[list[Any]]:
        """What was added, JSON-compatible."""
        return [[event.shot, event.name, dict(event.values)] for event in self._added]

    def restore(self, state: list[list[Any]]) -> None:
        """Return to a state that :meth:`state` gave."""
        self.clear()
        for shot, name, values in state:
            self.add(Event(int(shot), str(name), dict(values)))
