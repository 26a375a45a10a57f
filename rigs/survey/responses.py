"""The long sweeps: a speaker at a time, impulse responses of all pairs, and the harmonics of each speaker."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labtrain.rigs.survey.hum import without_hum
from labtrain.rigs.survey.idle import Idle
from labtrain.rigs.survey.player import CLIPPED, Player
from labtrain.rigs.survey.sweep import HARMONICS, Deconvolved, Sweep

Array = NDArray[np.float64]

SWEEP_S = 4.0
RING_S = 1.5  # taken for the reverberation time where the quiet sweeps were too noisy to tell
ATTEMPTS = 3
QUIETER = 10.0 ** (-10.0 / 20.0)  # after clipping: resonances ring up further in a long sweep than in a short one
FRAMES = 1 << 14  # of a harmonic's response


@dataclass(frozen=True)
class Distortion:
    """Harmonics of one speaker's sweep: `db` (orders, n), all microphones together, at frequencies played, `hz`."""

    hz: Array
    db: Array


def long_sweep(band: tuple[float, float], t60_s: float, rate: float) -> Sweep:
    """Long enough that the second harmonic has lost 30 dB before the linear response begins."""
    ring = RING_S if math.isnan(t60_s) else t60_s
    octaves = math.log2(band[1] / band[0])
    return Sweep(*band, max(SWEEP_S, 0.5 * ring * octaves), float(np.clip(1.3 * ring, 0.7, 5.0)), rate)


def measure_responses(
    player: Player,
    sweep: Sweep,
    amplitude: float,
    speakers: list[int],
    microphones: list[int],
    idle: Idle,
    tell: Callable[[int], object],
) -> tuple[Array, tuple[Distortion, ...]]:
    """Sweep each speaker alone.

    Parameters
    ----------
    speakers, microphones : list of int
        Those that live, from 0; `idle` is of these microphones.
    tell : callable (number)
        Called before each speaker.

    Returns
    -------
    Impulse responses (frames, microphones, speakers), and the distortion of each speaker

    Raises
    ------
    MeasurementError
        If a microphone is saturated however quiet the sweep.
    """
    impulses, distortion = [], []
    for number, s in enumerate(speakers):
        tell(number)
        for _ in range(ATTEMPTS):
            out = np.outer(sweep.samples() * amplitude, np.arange(player.sound.n_speakers) == s)
            heard = player.play(out)[:, microphones]
            if player.peak.max() < CLIPPED:
                break
            amplitude *= QUIETER
        player.refuse_clipping(f"by speaker {s + 1} at {20.0 * math.log10(amplitude / QUIETER):.0f} dBFS")
        answer = sweep.deconvolve(without_hum(heard, sweep.quiet, idle, sweep.rate_hz), amplitude)
        impulses.append(answer.impulse())
        distortion.append(_distortion(answer))
    return np.stack(impulses, axis=2), tuple(distortion)


def _distortion(answer: Deconvolved) -> Distortion:
    sweep = answer.sweep
    linear = np.abs(np.fft.rfft(answer.impulse(), FRAMES, axis=0))
    step = sweep.rate_hz / FRAMES
    hz = np.geomspace(sweep.first_hz, sweep.last_hz, 200)
    db = np.full((len(HARMONICS), len(hz)), np.nan)
    for row, order in enumerate(HARMONICS):
        made = np.abs(answer.harmonic(order, FRAMES))
        inside = order * hz <= sweep.last_hz
        at, of = np.rint(order * hz[inside] / step).astype(int), np.rint(hz[inside] / step).astype(int)
        share = np.sqrt((made[at] ** 2).sum(axis=1) / np.maximum((linear[of] ** 2).sum(axis=1), 1e-30))
        db[row, inside] = 20.0 * np.log10(np.maximum(share, 1e-12))
    return Distortion(hz, db)
