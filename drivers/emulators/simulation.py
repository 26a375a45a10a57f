"""What a driver offers to those who run a simulation in another process, behind an emulator."""

from __future__ import annotations

import json
from typing import Any, Protocol, runtime_checkable

from labtrain.drivers.emulators.ports import NetworkPort
from labtrain.errors import InputError


@runtime_checkable
class Simulation(Protocol):
    """A driver that can tell its emulator where the simulation behind it is to go on; never asked of a real device."""

    def simulate_restart(self, seed: int) -> None:
        """Shot 0 again, with this seed for noise and drift."""

    def simulate_shot(self, shot: int) -> None:
        """The next reading belongs to this shot, whatever came before: for a shot that is repeated."""

    def simulate_disturb(self, shot: int, name: str, values: dict[str, Any]) -> None:
        """Something happens to the world behind the emulator, from this shot on."""


def written(shot: int, name: str, values: dict[str, Any]) -> str:
    """A disturbance as emulators are told it: one line of JSON without spaces."""
    return json.dumps({"at_shot": shot, "do": name, **values}, separators=(",", ":"))


def carry_out(network: NetworkPort, told: str) -> None:
    """Do to a network what :func:`written` wrote.

    Raises
    ------
    InputError
        If it is no disturbance, or one that the network does not know.
    """
    try:
        values = json.loads(told)
        name, shot = str(values.pop("do")), int(values.pop("at_shot"))
    except (AttributeError, KeyError, TypeError, ValueError):
        raise InputError(f"simulation: {told!r} is no disturbance; write JSON with do and at_shot") from None
    network.disturb(name, at_shot=shot, **values)
