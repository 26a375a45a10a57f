"""Playing through a converter and getting back what belongs to it: latency off, marks compared, calibration applied."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from labtrain.drivers.sound import SoundInterface
from labtrain.errors import MeasurementError
from labtrain.rigs.acoustic_sync import LoopbackSync

Array = NDArray[np.float64]

SPARE_S = 0.3  # recorded behind a playback: for the latency, and for what may have slipped
ATTEMPTS = 3
CLIPPED = 0.99  # of full scale


class Player:
    """Plays on speakers, returns what the microphones heard in the same frames.

    Parameters
    ----------
    sound : SoundInterface
        Opened.
    check : callable
        Called while waiting; what it raises ends the survey.
    two_clocks : bool
        Whether outputs and inputs have clocks of their own.
    seed : int
        Of the marks on the loopback.

    Attributes
    ----------
    seconds : float
        Sound played so far, silence included.
    peak : ndarray, (microphones,)
        Largest sample of the last playback, as a fraction of full scale.
    latency : int
        Frames; without a loopback 0 until somebody sets it.
    """

    def __init__(
        self, sound: SoundInterface, check: Callable[[], object] = lambda: None, two_clocks: bool = False, seed: int = 0
    ) -> None:
        self.sound, self._check = sound, check
        self.seconds, self.latency, self._number = 0.0, 0, 0
        self.peak = np.zeros(sound.n_microphones)
        pascal = sound.config.pascal()
        self.unit = "Pa" if pascal is not None else "of full scale"
        self._scale = np.ones(sound.n_microphones) if pascal is None else pascal
        self._sync = LoopbackSync(sound, seed, two_clocks) if sound.has_loopback else None

    @property
    def pascal(self) -> Array | None:
        """Pascal at full scale of each microphone; None if not calibrated."""
        return self.sound.config.pascal()

    def begin(self) -> None:
        """Learn the loopback, if there is one.

        Raises
        ------
        InstrumentError
            If it is dead, noisy, or clips.
        """
        if self._sync is not None:
            self._sync.learn(self._check)
            self.latency = self._sync.latency

    def play(self, speakers: Array) -> Array:
        """Play (frames, speakers), fractions of full scale; what was heard meanwhile, (frames, microphones).

        In pascal if calibrated, else in fractions of full scale.

        Raises
        ------
        MeasurementError
            If samples were lost in every attempt.
        InstrumentError, UnsafeError
            As of SoundInterface.transfer.
        """
        frames, mics = len(speakers), self.sound.n_microphones
        lead = self._sync.lead if self._sync is not None else 0
        spare = round(SPARE_S * self.sound.rate_hz) + self.latency
        out = np.concatenate([np.zeros((lead, speakers.shape[1])), speakers, np.zeros((spare, speakers.shape[1]))])
        fault = ""
        for _ in range(ATTEMPTS):
            self._number += 1
            mark = None if self._sync is None else self._sync.mark(self._number, len(out))
            recording = self.sound.transfer(out, mark, self._check)
            self.seconds += len(out) / self.sound.rate_hz
            start = self.latency
            if self._sync is not None:
                recording, (place,) = self._sync.places(recording, [lead], frames)
                start, fault = place.start, place.fault
            if not fault:
                heard = recording[start : start + frames, :mics]
                self.peak = np.abs(heard).max(axis=0, initial=0.0)
                return np.asarray(heard * self._scale)
        raise MeasurementError(
            f"{self.sound.name}: playback {self._number} of the survey failed {ATTEMPTS} times: {fault}; check cables, "
            "and close other programs that use the device"
        )

    def refuse_clipping(self, what: str) -> None:
        """Raise MeasurementError if a microphone was saturated in the last playback."""
        over = np.flatnonzero(self.peak >= CLIPPED)
        if len(over):
            m = int(over[0])
            raise MeasurementError(
                f"{self.sound.name}: microphone {m + 1} (input {self.sound.config.microphones[m]}) is saturated "
                f"{what}; turn its gain down and start the survey again"
            )
