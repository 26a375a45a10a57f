"""A sound calibrator on a microphone: its tone, found in a recording, says what full scale is in pascal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal.windows import hann

Array = NDArray[np.float64]

P0_PA = 2e-5
OFF = 0.03  # share by which a calibrator's frequency may be off
CLEAR_DB = 20.0  # above everything else
STEADY_DB = 0.1  # standard deviation of the level in pieces
PIECES = 10
MAIN_LOBE = 4  # bins beside a peak that a Hann window spreads it over


@dataclass(frozen=True)
class Calibration:
    """A calibrator's tone.

    Parameters
    ----------
    hz : float
    amplitude : float
        Fraction of full scale.
    pascal_full_scale : float
    clear_db : float
        Tone against everything else, RMS, without what lies below half of its frequency.
    steady_db : float
        Standard deviation of its level.
    """

    hz: float
    amplitude: float
    pascal_full_scale: float
    clear_db: float
    steady_db: float

    def problem(self) -> str:
        """Why it is not to be used, or nothing."""
        if self.clear_db < CLEAR_DB:
            return f"its tone stands {self.clear_db:.0f} dB above the rest, needed {CLEAR_DB:g} dB"
        if self.steady_db > STEADY_DB:
            return f"its level varies by {self.steady_db:.2f} dB, allowed {STEADY_DB:g} dB"
        return ""


def calibration(samples: Array, rate_hz: float, tone_hz: float, level_db: float) -> Calibration:
    """Find the tone near `tone_hz` in samples (frames,), fractions of full scale, and take it for `level_db` SPL."""
    hz = _frequency(samples, rate_hz, tone_hz)
    pieces = samples[: len(samples) // PIECES * PIECES].reshape(PIECES, -1)
    levels = np.array([_amplitude(piece, rate_hz, hz) for piece in pieces])
    amplitude = float(np.sqrt((levels**2).mean()))
    window = hann(len(samples), sym=False)
    power = np.abs(np.fft.rfft((samples - samples.mean()) * window)) ** 2
    at = round(hz * len(samples) / rate_hz)
    tone = power[at - MAIN_LOBE : at + MAIN_LOBE + 1].sum()
    # What is below half of the tone's frequency is the room, and does not disturb the tone.
    rest = power[at // 2 :].sum() - tone
    clear = 10.0 * np.log10(max(tone, 1e-30) / max(rest, 1e-30))
    pascal = P0_PA * 10.0 ** (level_db / 20.0) * np.sqrt(2.0) / max(amplitude, 1e-12)
    spread = float((20.0 * np.log10(np.maximum(levels, 1e-12))).std())
    return Calibration(hz, amplitude, float(pascal), float(clear), spread)


def _frequency(samples: Array, rate_hz: float, near_hz: float) -> float:
    """Peak within `OFF` of a frequency: the parabola through the logarithms of three bins of a Hann window."""
    power = np.abs(np.fft.rfft((samples - samples.mean()) * hann(len(samples), sym=False))) ** 2
    step = rate_hz / len(samples)
    first, last = round((1.0 - OFF) * near_hz / step), round((1.0 + OFF) * near_hz / step)
    k = first + int(power[first : last + 1].argmax())
    left, middle, right = np.log(np.maximum(power[k - 1 : k + 2], 1e-300))
    curve = left - 2.0 * middle + right
    return float(step * (k + (0.5 * (left - right) / curve if curve < 0 else 0.0)))


def _amplitude(piece: Array, rate_hz: float, hz: float) -> float:
    """Amplitude of a sine, by least squares together with a constant."""
    turns = 2.0 * np.pi * hz / rate_hz * np.arange(len(piece))
    basis = np.stack([np.cos(turns), np.sin(turns), np.ones(len(piece))], axis=1)
    found = np.linalg.lstsq(basis, piece, rcond=None)[0]
    return float(np.hypot(found[0], found[1]))
