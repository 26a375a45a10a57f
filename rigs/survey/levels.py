"""How loud tones may be: what the limits of the configuration leave, and what the microphones bear."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from labtrain.drivers.sound import SoundConfig
from labtrain.drivers.sound_limits import P0_PA
from labtrain.rigs.survey.shots import Linearity

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

HEADROOM = 0.5  # of full scale: the largest sample that a proposed level may give at a microphone
SPL_MARGIN_DB = 3.0
UNSTEADY = 2.0, 0.01  # times the noise of the lowest level, and share of the tones: above both, the rig acts by itself


def single_limit(config: SoundConfig) -> float:
    """Largest amplitude of a sine that every speaker may play alone, as a fraction of full scale."""
    most = min(float(np.min(config.max_peak)), math.sqrt(2.0) * float(np.min(config.max_rms)))
    volts = config.volts()
    if config.max_coil_rms_v is not None and volts is not None:
        most = min(most, math.sqrt(2.0) * config.max_coil_rms_v / float(np.max(volts)))
    return 0.999 * most


def sweep_limit(config: SoundConfig, peak: Array, pascal: Array | None) -> float:
    """Amplitude of one speaker at which no microphone comes near clipping or the sound level allowed.

    Parameters
    ----------
    peak : ndarray, (microphones, speakers)
        Fractions of full scale per amplitude.
    pascal : ndarray, (microphones,), or None
    """
    most = HEADROOM / max(float(peak.max()), 1e-12)
    if config.max_spl_db is not None and pascal is not None:
        loudest = float((peak * pascal[:, None]).max()) / math.sqrt(2.0)
        most = min(most, P0_PA * 10.0 ** ((config.max_spl_db - 2.0 * SPL_MARGIN_DB) / 20.0) / loudest)
    return most


def level_limit(
    config: SoundConfig, response: Complex, pascal: Array | None, spl_full_scale_db: tuple[float, ...] | None
) -> tuple[float, str]:
    """Largest amplitude of a tone if all speakers play all tones at drive 1, and what limits it.

    Parameters
    ----------
    response : ndarray, (tones, microphones, speakers), complex
        Per full scale, in pascal if calibrated.
    pascal : ndarray, (microphones,), or None
    spl_full_scale_db : tuple of float, or None
        Of each speaker, measured or configured: what the driver will reckon with.
    """
    tones = len(response)
    rms = math.sqrt(2.0 / tones)  # turns an RMS into the amplitude of each of so many tones
    peak, volts = float(np.min(config.max_peak)), config.volts()
    limits = [
        (peak / tones, f"max_peak {peak:g}, were {tones} tones in phase"),
        (rms * float(np.min(config.max_rms)), f"max_rms {np.min(config.max_rms):g}"),
    ]
    if config.max_coil_rms_v is not None and volts is not None:
        limits.append((rms * config.max_coil_rms_v / float(np.max(volts)), f"max_coil_rms_v {config.max_coil_rms_v:g}"))
    if config.max_spl_db is not None and spl_full_scale_db is not None:
        gains = P0_PA * 10.0 ** (np.array(spl_full_scale_db) / 20.0) * math.sqrt(2.0)
        most = P0_PA * 10.0 ** (config.max_spl_db / 20.0)
        limits.append((rms * most / float(gains.sum()), f"max_spl_db {config.max_spl_db:g}, speakers at their loudest"))
    heard = np.abs(response).sum(axis=(0, 2)) / (1.0 if pascal is None else pascal)  # everything in phase
    limits.append((HEADROOM / float(heard.max()), f"microphones below {HEADROOM:g} of full scale"))
    return min(limits)


def spl_full_scale(response: Complex) -> Array:
    """Sound level of each speaker at full scale where it is loudest, (speakers,), from (n, microphones, speakers)."""
    loudest = np.maximum(np.abs(response).max(axis=(0, 1)), 1e-12)
    return np.asarray(20.0 * np.log10(loudest / math.sqrt(2.0) / P0_PA))


def floor_digits(value: float) -> float:
    """Rounded down to two significant digits."""
    digits = 1 - math.floor(math.log10(value))
    return math.floor(value * 10.0**digits + 1e-9) / 10.0**digits


def highest_good(found: Linearity, limit: str) -> tuple[float, str]:
    """The highest of the levels played that clips nothing and leaves the rig steady, and why not more."""
    noise = found.between * found.levels / (found.between[0] * found.levels[0])
    good = (found.peak.max(axis=1) < 0.9) & ((noise <= UNSTEADY[0]) | (found.between <= UNSTEADY[1]))
    best = int(good.argmin()) - 1 if not good.all() else len(good) - 1
    best = max(best, 0)
    if best == len(good) - 1:
        why = f"limited by {limit}"
    elif found.peak[best + 1].max() >= 0.9:
        why = f"at {found.levels[best + 1]:.2g} a microphone clips"
    else:
        why = f"at {found.levels[best + 1]:.2g} the periods of a shot differ"
    return floor_digits(float(found.levels[best])), why


def told_products(found: Linearity) -> str:
    """Products at the highest of the levels, in words."""
    products, least = float(found.product_db[-1]), float(found.noise_db[-1])
    told = f"{products:.0f} dB" if products > least else f"below {least:.0f} dB"
    return f"harmonics and intermodulation there together {told} against the tones"
