"""Cavities with planted resonances, nodes and hum, for the survey to find, and what they are in truth.

A resonance is P(f) = 1 + g R(f) in front of a microphone, a node 1 - a R(f), R being a second-order bandpass of unit
gain (scipy.signal.iirpeak): a bell or a dent of known frequency, quality and height in whatever the cavity answers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import iirpeak, lfilter

from labtrain.sim.acoustic import AcousticParameters, AcousticWorld
from labtrain.sim.waveform import CavityWaveform

Array = NDArray[np.float64]

RATE_HZ = 48_000.0
BIN_HZ = RATE_HZ / 2048
BAND_HZ = (150.0, 1100.0)


@dataclass(frozen=True)
class Planted:
    """A resonance (level above 0 dB) or a node (below) at some microphones."""

    hz: float
    q: float
    level_db: float
    microphones: tuple[int, ...]

    def coefficients(self) -> tuple[Array, Array]:
        """Of the filter."""
        b, a = iirpeak(self.hz, self.q, RATE_HZ)
        return a + (10.0 ** (self.level_db / 20.0) - 1.0) * b, a

    def reaches(self, hz: float) -> bool:
        """Whether a tone lies on it: within half a bin, or within its own bandwidth."""
        return abs(hz - self.hz) <= max(BIN_HZ / 2.0, self.hz / self.q / 2.0)


class PlantedRoom:
    """A Room of labtrain.drivers.emulators.sound: a cavity, what was planted, and hum.

    Parameters
    ----------
    seed : int
        Of geometry, of what is planted and where.
    """

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng([seed, 1])
        self.world = AcousticWorld(
            AcousticParameters(geometry_seed=seed, cavity_q=float(rng.uniform(20.0, 50.0))), seed
        )
        self.cavity = CavityWaveform(self.world, RATE_HZ)
        self.noise_pa = float(rng.uniform(1e-3, 4e-3))
        self.mains_hz = float(rng.choice([50.0, 60.0]))
        self.features = _plant(rng, self.world.parameters.microphones)
        harmonics = np.unique(np.concatenate([[1, 2, 3], rng.integers(3, 20, 6)]))
        self.hum_hz = self.mains_hz * harmonics
        loudest = float(rng.uniform(0.003, 0.02))
        self._hum_pa = loudest / np.sqrt(harmonics) * rng.uniform(0.5, 1.0, len(harmonics))
        self._hum_rad = rng.uniform(0.0, 2.0 * np.pi, len(harmonics))
        self.reset()

    def reset(self) -> None:
        """Silence."""
        self.cavity.reset()
        self._frame = 0
        self._states = [np.zeros((2, len(f.microphones))) for f in self.features]

    def process(self, flow_m3_s: Array) -> Array:
        """Volume velocities to pressures."""
        heard = self.cavity.process(flow_m3_s)
        for number, feature in enumerate(self.features):
            columns = list(feature.microphones)
            filtered, self._states[number] = lfilter(
                *feature.coefficients(), heard[:, columns], axis=0, zi=self._states[number]
            )
            heard[:, columns] = filtered
        time = (self._frame + np.arange(len(heard))) / RATE_HZ
        self._frame += len(heard)
        hum = np.sin(2.0 * np.pi * np.outer(time, self.hum_hz) + self._hum_rad) @ self._hum_pa
        return np.asarray(heard + hum[:, None])

    def impulse(self, frames: int) -> Array:
        """Pressure per volume velocity in one sample, (frames, microphones, speakers): exact, without springs' cube."""
        impulse = self.cavity.impulse_response(frames) / RATE_HZ
        for feature in self.features:
            columns = list(feature.microphones)
            impulse[:, columns] = lfilter(*feature.coefficients(), impulse[:, columns], axis=0)
        return impulse

    def on_planted(self, hz: float) -> list[str]:
        """What a tone lies on; nothing for a good one."""
        told = [f"{'resonance' if f.level_db > 0 else 'node'} at {f.hz:.1f} Hz" for f in self.features if f.reaches(hz)]
        return told + [f"hum at {line:g} Hz" for line in self.hum_hz if abs(line - hz) < 5.0]


def _plant(rng: np.random.Generator, microphones: int) -> list[Planted]:
    """Resonances and nodes at random places, the first of each on a bin that mains would leave free."""

    def on_a_bin() -> float:
        while True:
            number = int(rng.integers(np.ceil(BAND_HZ[0] / BIN_HZ), BAND_HZ[1] / BIN_HZ))
            hz = number * BIN_HZ
            if all(abs(hz - mains * round(hz / mains)) >= 5.0 for mains in (50.0, 60.0)):
                return float(hz + rng.uniform(-2.0, 2.0))

    def where() -> tuple[int, ...]:
        return tuple(range(microphones)) if rng.random() < 0.5 else (int(rng.integers(microphones)),)

    def anywhere(first: bool) -> float:
        return on_a_bin() if first else float(rng.uniform(170.0, 1080.0))

    resonances = [
        Planted(anywhere(k == 0), float(rng.uniform(60.0, 150.0)), float(rng.uniform(15.0, 25.0)), where())
        for k in range(int(rng.integers(2, 5)))
    ]
    nodes = [
        Planted(anywhere(k == 0), float(rng.uniform(40.0, 100.0)), -float(rng.uniform(25.0, 40.0)), where())
        for k in range(int(rng.integers(2, 4)))
    ]
    return resonances + nodes
