"""A simulated bench behind an emulated modulator and camera, told which shot comes next: answers belong to the shot."""

from __future__ import annotations

from collections.abc import Sequence

from labtrain.drivers.emulators.optics import EmulatedOptics
from labtrain.sim.optical import OpticalWorld

ATTEMPTS = 64  # readings of a shot with noise of their own
COMMISSIONING = ATTEMPTS - 1  # attempt of readings that belong to no shot
FRAMES = 1 << 16  # of a reading, at most


class SimulatedOptics:
    """Keeps the count of shots and the emulator together.

    Parameters
    ----------
    emulator : EmulatedOptics
    worlds : sequence of OpticalWorld
        The bench as each layer sees it.
    """

    def __init__(self, emulator: EmulatedOptics, worlds: Sequence[OpticalWorld]) -> None:
        self._emulator, self._worlds = emulator, tuple(worlds)
        self._looks = 0

    def begin(self, shot: int, attempt: int, layer: int = 0) -> None:
        """The next pattern is that of this shot of a layer, in its so many-th attempt, from 0."""
        self._emulator.light = self._worlds[layer]  # alike, but each exposed for its own input region
        self._emulator.begin(shot, (attempt % COMMISSIONING) * FRAMES)

    def look(self, shot: int) -> None:
        """The next pattern is none of a layer's; the bench is as at this shot."""
        self._emulator.light = self._worlds[0]
        self._emulator.begin(shot, COMMISSIONING * FRAMES + self._looks)
        self._looks += 1 << 10

    def light(self, on: bool) -> None:
        """Switch the laser."""
        self.cover(not on)

    def cover(self, covered: bool) -> None:
        """Keep the light from the camera, or let it in again."""
        self._emulator.cover(covered)
