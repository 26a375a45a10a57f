"""Who hears whom: a quiet sweep from each speaker alone, against the silence before it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labtrain.rigs.survey.player import CLIPPED, Player
from labtrain.rigs.survey.sweep import Deconvolved, Sweep, onset

Array = NDArray[np.float64]

LADDER = (0.02, 0.1, 0.4)  # of full scale, tried in turn until a speaker is heard
CLEAR_DB = 25.0  # above silence: loud enough to look no further
DEAD_DB = 8.0  # above silence: not heard
WEAK_DB = 20.0  # below the best pair of the same microphone: worth a note
SECONDS, TAIL_S = 0.4, 0.4


@dataclass(frozen=True)
class Wiring:
    """What the quiet sweeps showed.

    Parameters
    ----------
    level_db : ndarray, (microphones, speakers)
        Sweep against silence, both within the band.
    amplitude : ndarray, (speakers,)
        At which each speaker was played, as a fraction of full scale.
    peak : ndarray, (microphones, speakers)
        Largest sample per unit of amplitude, both as fractions of full scale.
    impulse : ndarray, (frames, microphones, speakers)
    dead_speakers, dead_microphones : tuple of int
        From 0.
    """

    level_db: Array
    amplitude: Array
    peak: Array
    impulse: Array
    dead_speakers: tuple[int, ...]
    dead_microphones: tuple[int, ...]

    def notes(self) -> list[str]:
        """What looks unlike the rest, a sentence each."""
        speakers = [s for s in range(self.level_db.shape[1]) if s not in self.dead_speakers]
        told = []
        for m in range(len(self.level_db)):
            if m in self.dead_microphones or not speakers:
                continue
            gain = self.level_db[m] - 20.0 * np.log10(self.amplitude)
            best = float(gain[speakers].max())
            told += [
                f"microphone {m + 1} hears speaker {s + 1} {best - gain[s]:.0f} dB less than its loudest: a node, a "
                "shadow, or a loose plug"
                for s in speakers
                if best - gain[s] > WEAK_DB
            ]
        return told


def check_wiring(player: Player, silence: Array, band_hz: tuple[float, float], most: float) -> Wiring:
    """Play each speaker alone.

    Parameters
    ----------
    player : Player
    silence : ndarray, (frames, microphones)
        Recorded before.
    band_hz : (float, float)
    most : float
        Largest amplitude allowed for one speaker.

    Raises
    ------
    MeasurementError
        If a microphone is saturated by the quietest sweep.
    """
    sound = player.sound
    sweep = Sweep(*band_hz, SECONDS, TAIL_S, sound.rate_hz)
    wave = sweep.samples()
    quiet = _power(silence, sweep)
    mics, speakers = sound.n_microphones, sound.n_speakers
    levels, peaks = np.zeros((mics, speakers)), np.zeros((mics, speakers))
    amplitudes, heard = np.zeros(speakers), []
    for s in range(speakers):
        for step in LADDER:
            amplitude = min(step, most)
            out = np.zeros((len(wave), speakers))
            out[:, s] = amplitude * wave
            came = player.play(out)
            if step == LADDER[0]:
                player.refuse_clipping(f"by speaker {s + 1} at {20 * np.log10(amplitude):.0f} dBFS")
            elif player.peak.max() >= CLIPPED:
                break  # the step before was loud enough to judge
            levels[:, s] = 10.0 * np.log10(np.maximum(_power(came, sweep), 1e-30) / np.maximum(quiet, 1e-30))
            peaks[:, s], amplitudes[s], kept = player.peak / amplitude, amplitude, came
            if levels[:, s].max() >= CLEAR_DB or amplitude >= most:
                break
        heard.append(sweep.deconvolve(kept, amplitudes[s]))
    alive = levels.max(axis=0) >= DEAD_DB
    dead_speakers = tuple(int(s) for s in np.flatnonzero(~alive))
    dead_microphones = tuple(int(m) for m in np.flatnonzero(levels.max(axis=1) < DEAD_DB))
    impulse = _aligned(player, heard, alive)
    return Wiring(levels, amplitudes, peaks, impulse, dead_speakers, dead_microphones)


def _power(recording: Array, sweep: Sweep) -> Array:
    """Mean power within the band, (microphones,)."""
    spectrum = np.fft.rfft(recording, axis=0)
    weight = sweep.band(np.fft.rfftfreq(len(recording), 1.0 / sweep.rate_hz).astype(np.float64))
    return np.asarray(2.0 * (np.abs(spectrum * weight[:, None]) ** 2).sum(axis=0) / len(recording) ** 2)


def _aligned(player: Player, heard: list[Deconvolved], alive: NDArray[np.bool_]) -> Array:
    """All impulse responses; without a loopback the earliest sound tells the latency."""
    if player.sound.has_loopback or not alive.any():
        return np.stack([one.impulse() for one in heard], axis=2)
    whole = np.stack([one.samples for one in heard], axis=2)
    reach = whole[: round(0.3 * player.sound.rate_hz)][:, :, alive].reshape(-1, whole.shape[1] * int(alive.sum()))
    loud = np.abs(reach).max(axis=0)
    player.latency = max(0, onset(reach[:, loud >= 0.1 * loud.max()]) - round(0.001 * player.sound.rate_hz))
    frames = len(heard[0].impulse())
    return np.roll(whole, -player.latency, axis=0)[:frames]
