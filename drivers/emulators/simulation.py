"""What a driver offers to those who run a simulation in another process, behind an emulator."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class Simulation(Protocol):
    """A driver that can tell its emulator where the simulation behind it is to go on; never asked of a real device."""

    def simulate_restart(self, seed: int) -> None:
        """Shot 0 again, with this seed for noise and drift."""

    def simulate_shot(self, shot: int) -> None:
        """The next reading belongs to this shot, whatever came before: for a shot that is repeated."""
