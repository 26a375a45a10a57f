"""Small microwave rigs for tests: 12 pixels, 5 frequencies, instruments in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from labtrain.clock import Clock, SimulatedClock
from labtrain.drivers.emulators.emulator import Emulator
from labtrain.drivers.emulators.faults import Faulty, parse_fault
from labtrain.rigs.microwave import MicrowaveRig
from labtrain.sim.microwave import MicrowaveWorld

DRIVES = np.random.default_rng(0).random((30, 6))


def settings(**changes: Any) -> dict[str, Any]:
    """A section ``rig``; sections in `changes` are merged with those that are there."""
    found: dict[str, Any] = {
        "type": "microwave",
        "frequencies_hz": {"start": 5.3e9, "stop": 5.7e9, "points": 5},
        "vna": {"driver": "keysight-pna", "address": "sim"},
        "metasurface": {"driver": "open-source-ris", "address": "sim", "n_pixels": 12},
        "commission": {"patterns": 20, "repeats": 10},
        "world": {"pixels": 12, "length": 8.0, "width": 6.0, "scatterers": 4},
    }
    for name, value in changes.items():
        found[name] = {**found.get(name, {}), **value} if isinstance(value, dict) and name in found else value
    return found


def config(**changes: Any) -> MicrowaveRig.Config:
    return MicrowaveRig.Config.model_validate(settings(**changes))


def rig(clock: Clock | None = None, **changes: Any) -> MicrowaveRig:
    """Not opened yet."""
    return MicrowaveRig(config(**changes), clock or SimulatedClock(1000.0))


def emulator(opened: MicrowaveRig, name: str) -> Any:
    """What stands behind an instrument."""
    return opened.instruments[name].link.emulator  # type: ignore[attr-defined]


def failing(emulators: dict[str, Emulator], faults: Sequence[str]) -> dict[str, Emulator]:
    """The emulators with scripted faults: ``vna: no reply at 3 of SDATA``."""
    parsed = [parse_fault(fault) for fault in faults]
    return {name: Faulty(one, [f for who, f in parsed if who == name], name) for name, one in emulators.items()}


class FaultyRig(MicrowaveRig):
    """A rig whose emulators fail as scripted."""

    def __init__(self, *faults: str, **changes: Any) -> None:
        super().__init__(config(**changes), SimulatedClock(1000.0))
        self._faults = faults

    def emulators(self, world: MicrowaveWorld) -> dict[str, Emulator]:
        return failing(super().emulators(world), self._faults)
