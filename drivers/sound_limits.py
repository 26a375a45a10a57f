"""What may leave for a speaker, and how loud it may become: checked before samples leave, and listened for after."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from labtrain.errors import UnsafeError

Array = NDArray[np.float64]

P0_PA = 20e-6  # 0 dB SPL
SHORT_S = 0.1  # window of the RMS limit
COIL_S = 1.0  # window of a voice coil's: about its thermal time constant
FAST_S = 0.125  # time weighting "fast" of sound level meters (IEC 61672-1)


class OutputLimits(NamedTuple):
    """Limits of every speaker; None: no limit.

    Parameters
    ----------
    peak : ndarray, (speakers,)
        Fraction of full scale.
    rms : ndarray, (speakers,)
        Fraction of full scale, over any 0.1 s.
    coil_rms_v : float or None
        Volts over any second.
    volts : ndarray, (speakers,), or None
        Volts of full scale.
    spl_db : float or None
        Sound level, predicted from `spl_full_scale_db`.
    spl_full_scale_db : ndarray, (speakers,), or None
        Sound level of a full-scale sine of each speaker, at the microphone and frequency where it is loudest.
    """

    peak: Array
    rms: Array
    coil_rms_v: float | None
    volts: Array | None
    spl_db: float | None
    spl_full_scale_db: Array | None


class OutputCheck:
    """Checks playbacks before they leave; a window may reach back into the playback before.

    Parameters
    ----------
    who : str
        Name of the device in errors.
    key : str
        Section of the configuration, for remedies: ``rig.audio``.
    limits : OutputLimits
    channels : sequence of int
        Output channel of each speaker, from 1.
    rate_hz : float
    """

    def __init__(self, who: str, key: str, limits: OutputLimits, channels: Sequence[int], rate_hz: float) -> None:
        self._who, self._key, self._limits, self._channels, self._rate_hz = who, key, limits, channels, rate_hz
        self._tail = np.zeros((0, len(channels)))

    def __call__(self, speakers: Array) -> None:
        """Check samples (frames, speakers), fractions of full scale, and take them for played.

        Raises
        ------
        UnsafeError
            Naming speaker, what it would get, the limit and its key; nothing may be played then.
        """
        limits = self._limits
        self._refuse("peak", np.abs(speakers).max(axis=0, initial=0.0), limits.peak, "of full scale", "max_peak")
        joined = np.concatenate([self._tail, speakers])
        self._refuse("RMS", self._loudest(joined, SHORT_S), limits.rms, "of full scale in 0.1 s", "max_rms")
        if limits.coil_rms_v is not None and limits.volts is not None:
            slow = self._loudest(joined, COIL_S)
            most = np.full(len(slow), limits.coil_rms_v)
            self._refuse("RMS", slow * limits.volts, most, "V in 1 s", "max_coil_rms_v")
        if limits.spl_db is not None and limits.spl_full_scale_db is not None:
            # A sine of full scale has an RMS of 1/sqrt(2); speakers may add up in phase.
            gains = P0_PA * 10.0 ** (limits.spl_full_scale_db / 20.0) * math.sqrt(2.0)
            level = 20.0 * np.log10(max(1e-12, float((self._loudest(joined, FAST_S) * gains).sum()) / P0_PA))
            if level > limits.spl_db:
                raise UnsafeError(
                    f"{self._who}: this playback may reach {level:.0f} dB SPL, allowed {limits.spl_db:g} dB "
                    f"({self._key}.max_spl_db); lower rig.shot.level"
                )
        self._tail = joined[-round(COIL_S * self._rate_hz) :]

    def _loudest(self, samples: Array, window_s: float) -> Array:
        """Largest RMS over any window, (speakers,)."""
        window = min(len(samples), round(window_s * self._rate_hz))
        if window == 0:
            return np.zeros(samples.shape[1])
        energy = np.concatenate([np.zeros((1, samples.shape[1])), np.cumsum(samples**2, axis=0)])
        most = (energy[window:] - energy[:-window]).max(axis=0)
        return np.asarray(np.sqrt(np.maximum(most, 0.0) / round(window_s * self._rate_hz)))

    def _refuse(self, what: str, found: Array, most: Array, unit: str, key: str) -> None:
        over = np.flatnonzero(~(found <= most * (1 + 1e-9)))  # what is no number is no small one
        if len(over):
            i = int(over[0])
            raise UnsafeError(
                f"{self._who}: speaker {i + 1} (output {self._channels[i]}) would get {what} {found[i]:.3g} {unit}, "
                f"allowed {most[i]:.3g} ({self._key}.{key}); lower rig.shot.level"
            )


def sound_guard(
    who: str, key: str, max_spl_db: float, pascal: Array, rate_hz: float, pick: Sequence[int]
) -> Callable[[NDArray[np.float32]], str | None]:
    """A watch over the microphones: the reason for silence once one hears more than is allowed, whatever made it.

    Parameters
    ----------
    pascal : ndarray, (microphones,)
        Pascal of full scale.
    pick : sequence of int
        Column of each microphone in the input samples.
    """
    power = np.zeros(len(pick))
    columns = list(pick)
    most = (P0_PA * 10.0 ** (max_spl_db / 20.0)) ** 2

    def watch(samples: NDArray[np.float32]) -> str | None:
        # The exponential average of IEC 61672, a buffer at a time.
        share = 1.0 - math.exp(-len(samples) / (FAST_S * rate_hz))
        heard = (np.square(samples[:, columns], dtype=np.float64).mean(axis=0)) * pascal**2
        power[:] += share * (heard - power)
        loudest = int(power.argmax())
        if power[loudest] <= most:
            return None
        level = 10.0 * math.log10(power[loudest] / P0_PA**2)
        return (
            f"{who}: microphone {loudest + 1} hears {level:.0f} dB SPL, allowed {max_spl_db:g} dB ({key}.max_spl_db); "
            "the output was silenced; if it goes on, an active membrane howls: switch its amplifier off"
        )

    return watch
