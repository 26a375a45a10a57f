"""A simulated cavity behind an emulated converter, told which shot comes next: its answers then belong to the shot."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from labtrain.drivers.emulators.sound import SoundRoom
from labtrain.sim.acoustic import AcousticWorld
from labtrain.sim.waveform import CavityWaveform

ATTEMPTS = 64  # playbacks that may begin with one shot, each with noise of its own
COMMISSIONING = ATTEMPTS - 1  # attempt of the playback from which the rig learns its noise: no shot has it


class SimulatedRoom:
    """Keeps world and emulator together.

    Parameters
    ----------
    world : AcousticWorld
        Temperature, discs, the seed.
    room : SoundRoom
        In front of a CavityWaveform of that world.
    frames : int
        That are averaged to an amplitude.
    loudness : float
        Of the speakers, as a factor on that of the cavity alone.
    """

    def __init__(self, world: AcousticWorld, room: SoundRoom, frames: int, loudness: float) -> None:
        self._world, self._room = world, room
        self._noise_pa, self._more = room.converter.noise_pa, 0.0  # its own noise, and what is added now
        # White noise of an RMS s gives each quadrature of an amplitude over n frames a deviation of s sqrt(2 / n).
        self._noise_per_pascal = math.sqrt(frames / 2.0) * loudness

    def begin(self, shot: int, attempt: int) -> int:
        """A playback begins with this shot: silence, the cavity as it is then, noise of this shot and attempt.

        Returns
        -------
        int
            A number, from 0, that this shot and attempt alone have.
        """
        cavity = self._room.room
        assert isinstance(cavity, CavityWaveform)
        cavity.follow(shot)
        number = shot * ATTEMPTS + (attempt if attempt == COMMISSIONING else attempt % COMMISSIONING)
        more = self._world.more_noise(shot)
        if more != self._more:
            rms_pa = math.sqrt(float((self._world.rms_pa**2).mean()))
            noise_pa = math.hypot(self._noise_pa, more * rms_pa * self._noise_per_pascal)
            self._room.converter, self._more = replace(self._room.converter, noise_pa=noise_pa), more
        self._room.begin(self._world.seed, number)
        return number

    def steady(self, shot: int) -> int:
        """Shots from this one on during which the cavity stays as it is."""
        return self._world.steady(shot)

    def restart(self, seed: int) -> None:
        """Another seed for noise and drift; disturbances are undone."""
        self._world.restart(seed)

    def state(self) -> dict[str, Any]:
        return self._world.state()

    def restore(self, state: dict[str, Any]) -> None:
        self._world.restore(state)
