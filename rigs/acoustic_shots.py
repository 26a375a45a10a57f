"""The shot protocol: playbacks of multitone shots, and for each shot what was heard, or why it is not to be trusted.

A playback is [lead | shot | shot | ... | ramp], played in one piece. A shot counts if the recording of it is whole
(:mod:`labtrain.rigs.acoustic_sync`), no microphone came near full scale, and what differs between its periods is the
noise of the room (:mod:`labtrain.rigs.noise_floor`). Nothing that the converter's driver says of itself is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from labtrain.drivers.sound import SoundInterface
from labtrain.drivers.stream import FADE_S
from labtrain.errors import InstrumentError, Interrupted, LabtrainError
from labtrain.rigs.acoustic_sync import SEARCH, LoopbackSync, ReferenceSync, Sync
from labtrain.rigs.multitone import Multitone, between_periods
from labtrain.rigs.noise_floor import NoiseFloor

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

CLIP = 0.99  # of full scale
ALIKE_BINS = 5  # neighbouring bins that share a noise level
REFERENCE = 0.5  # drive of every tone in a reference shot
ONSET = 8.0  # times the noise, at which a microphone hears the first sound


@dataclass(frozen=True)
class Taken:
    """Consecutive shots of one playback.

    Parameters
    ----------
    tones : ndarray, (shots, bins, microphones), complex
        Amplitudes and phases, fractions of full scale; bins are the tones, then the products.
    sigma : ndarray, (shots, bins, microphones)
        Standard deviation of each quadrature.
    faults : list of str
        Of each shot; empty for a good one.
    recording : ndarray, (frames, inputs)
    starts : list of int
        Where each shot begins in it.
    ended : Interrupted or None
        Somebody wanted to stop: shots that were not heard to their end are missing.
    """

    tones: Complex
    sigma: Array
    faults: list[str]
    recording: Array
    starts: list[int]
    ended: Interrupted | None = None


class ShotProtocol:
    """Plays and judges shots on an opened SoundInterface.

    Parameters
    ----------
    sound : SoundInterface
    tones : Multitone
    level : float
        Amplitude of a tone at drive 1, as a fraction of full scale.
    products : sequence of int
        Further bins to read.
    seed : int
        Of the marks on a loopback.
    two_clocks : bool
        As of LoopbackSync.
    """

    def __init__(
        self,
        sound: SoundInterface,
        tones: Multitone,
        level: float,
        products: Sequence[int] = (),
        *,
        seed: int = 0,
        two_clocks: bool = False,
    ) -> None:
        self.sound, self.tones, self.level = sound, tones, level
        self.bins = (*tones.bins, *products)
        self._seed, self._two_clocks = seed, two_clocks
        self.floor = NoiseFloor(2 * (tones.average_periods - 1))
        self._sync: Sync | None = None
        self.playbacks = 0
        """Playbacks begun so far."""

    @property
    def sync(self) -> Sync:
        """How shots are placed."""
        assert self._sync is not None, "prepare() comes first"
        return self._sync

    @property
    def overhead_s(self) -> float:
        """Seconds that a playback takes beyond its shots, about."""
        frames = self.sync.lead + 2 * self.sync.references * self.tones.shot_frames + self.sync.latency
        return float(frames / self.sound.rate_hz)

    def prepare(self, check: Callable[[], object] = lambda: None) -> None:
        """Learn the latency: by a mark on the loopback, or by a first reference shot, which is heard.

        Raises
        ------
        InstrumentError
            If nothing comes back; it says what to check.
        """
        if self.sound.has_loopback:
            loopback = LoopbackSync(self.sound, self._seed, self._two_clocks)
            loopback.learn(check)
            self._sync = loopback
            return
        kept = self._sync.phases if isinstance(self._sync, ReferenceSync) else None
        self._sync = ReferenceSync(self.tones, self._own_tones, self._onset(check))
        self._sync.phases = kept

    def _own_tones(self, windows: Array) -> Complex:
        """The tones (tones, microphones) of one window (1, frames, microphones)."""
        spectra = self.tones.spectra(windows[..., : self.sound.n_microphones])
        return np.asarray(spectra[0].mean(axis=0)[list(self.tones.bins)])

    def _onset(self, check: Callable[[], object]) -> int:
        """Frames after which the microphones hear a first shot: latency and travel, to a few milliseconds."""
        sound, silent = self.sound, round(0.1 * self.sound.rate_hz)
        shot = self.tones.play(np.full((1, sound.n_speakers, len(self.tones.bins)), REFERENCE * self.level))
        out = np.concatenate([np.zeros((silent, sound.n_speakers)), shot, np.zeros((silent, sound.n_speakers))])
        heard = np.abs(sound.transfer(out, check=check)[:, : sound.n_microphones])
        loud = heard[silent:].max(axis=1) > ONSET * max(float(heard[:silent].std()), 1e-7)
        # A click is over at once; a sound lasts for a tone's cycle at least.
        cycle = self.tones.period_frames // self.tones.bins[0]
        lasting = uniform_filter1d(loud.astype(np.float64), cycle, origin=-(cycle // 2)) > 0.5
        if not lasting.any():
            raise InstrumentError(
                f"{sound.name}: no microphone heard the first sound, {self.level * REFERENCE:.2g} of full scale; "
                f"check amplifiers, gains and {sound.key}.microphones, or run: labtrain survey"
            )
        return int(lasting.argmax())

    def reference(self, drive: Array) -> Array:
        """Drives (shots, speakers, tones) with reference shots at both ends, where marks need them."""
        if not self.sync.references:
            return drive
        ends = np.full((self.sync.references, *drive.shape[1:]), REFERENCE)
        return np.concatenate([ends, drive, ends])

    def take(self, drive: Array, check: Callable[[], object] = lambda: None, number: int | None = None) -> Taken:
        """Play shots in one playback and judge them.

        Parameters
        ----------
        drive : ndarray, (shots, speakers, tones)
            In [0, 1].
        check : callable
            Raises Interrupted if somebody wants to stop: it is silent then within milliseconds, and what was heard
            to its end is kept.
        number : int, optional
            Which mark the loopback carries; one that no playback before had, unless told.

        Raises
        ------
        UnsafeError
            If a limit would be exceeded; nothing is played.
        LinkError
            If the stream fails.
        """
        sound, sync = self.sound, self.sync
        played = self.reference(drive)
        speakers = self.tones.play(self.level * played)
        lead, tail = np.zeros((sync.lead, sound.n_speakers)), np.zeros((SEARCH // 4, sound.n_speakers))
        speakers = np.concatenate([lead, speakers, tail])
        self.playbacks += 1
        mark = sync.mark(self.playbacks if number is None else number, len(speakers))
        start = sound.stream.now
        ended: Interrupted | None = None
        try:
            check()  # not one more sound for whoever wants to stop
            start = sound.play(speakers, mark)
            recording = sound.record(start, len(speakers) + sync.latency, check)
        except Interrupted as stop:
            ended = stop
            sound.safe()
            recording = sound.record(start, max(0, sound.stream.now - start))
        except LabtrainError:
            raise
        except BaseException:  # Ctrl-C where nobody holds it back: whoever goes on finds nothing queued
            sound.safe()
            raise
        starts = [sync.lead + k * self.tones.shot_frames for k in range(len(played))]
        return self._judge(recording, starts, len(drive), ended)

    def _judge(self, recording: Array, starts: list[int], shots: int, ended: Interrupted | None) -> Taken:
        sync, tones, microphones = self.sync, self.tones, self.sound.n_microphones
        if ended is not None:
            # What is heard while it fades out is cut off: nothing of it can be a shot.
            faded = max(SEARCH // 4, round(FADE_S * self.sound.rate_hz))
            whole = sum(s + tones.window.stop + sync.latency <= len(recording) - faded for s in starts)
            if sync.references:
                whole = 0  # the reference at the end is missing
            starts, shots = starts[:whole], min(whole, shots)
        if not starts:
            empty = np.empty((0, len(self.bins), microphones))
            return Taken(empty.astype(np.complex128), empty, [], recording, [], ended)
        recording, places = sync.places(recording, starts, tones.window.stop)
        places = places[sync.references : sync.references + shots]
        length = tones.window.stop - tones.window.start
        windows = np.zeros((shots, length, microphones))
        for number, place in enumerate(places):
            part = recording[place.start + tones.window.start : place.start + tones.window.stop, :microphones]
            windows[number, : len(part)] = part
        spectra = tones.spectra(windows)
        powers = between_periods(spectra)
        faults = [place.fault for place in places]
        for number, window in enumerate(windows):
            loudest = np.abs(window).max(axis=0)
            if not faults[number] and loudest.max() >= CLIP:
                microphone = int(loudest.argmax())
                channel = self.sound.config.microphones[microphone]
                faults[number] = f"microphone {microphone + 1} clipped (input {channel} at full scale): lower its gain"
        # What is whole and loud enough is what the floor is learned from and compared with.
        sound_ones = [number for number, fault in enumerate(faults) if not fault]
        if sound_ones and self.floor.power is not None:
            for number, fault in zip(sound_ones, self.floor.judge(powers[sound_ones]), strict=True):
                faults[number] = fault
        own = uniform_filter1d(powers, ALIKE_BINS, axis=1, mode="nearest")[:, list(self.bins)]
        sigma = np.sqrt(own / 2.0 / tones.average_periods)
        mean = tones.referred(spectra.mean(axis=1)[:, list(self.bins)], self.bins)
        self._powers = powers
        return Taken(mean, sigma, faults, recording, [place.start for place in places], ended)

    def first_drives(self, shots: int) -> Array:
        """Drives (shots, speakers, tones) to commission with: every other one is a reference shot.

        Those between are as different from it as shots can be: what is still on the air of the shot before belongs to
        the noise that shots are judged by.
        """
        drive = np.full((shots, self.sound.n_speakers, len(self.tones.bins)), REFERENCE)
        draw = np.random.default_rng(self._seed & ((1 << 64) - 1))
        drive[1::2] = draw.integers(0, 2, drive[1::2].shape)
        return drive

    def commission(
        self, shots: int, check: Callable[[], object] = lambda: None, at_once: int | None = None
    ) -> tuple[Taken, Array]:
        """Take first shots, and learn the noise floor, and without a loopback the references' phases, from them.

        Parameters
        ----------
        at_once : int, optional
            Shots in one playback, at most.

        Returns
        -------
        Taken, of which recording and starts are those of the last playback; and the noise floor (bins, microphones)
        """
        self.floor.power = None
        if isinstance(self.sync, ReferenceSync):
            self.sync.phases = None
        drive, at_once = self.first_drives(shots), at_once or shots
        parts, powers = [], []
        for first in range(0, shots, at_once):
            parts.append(self.take(drive[first : first + at_once], check))
            if (ended := parts[-1].ended) is not None:
                raise ended
            powers.append(self._powers)
        tones, sigma = np.concatenate([part.tones for part in parts]), np.concatenate([part.sigma for part in parts])
        faults = [fault for part in parts for fault in part.faults]
        good = [number for number, fault in enumerate(faults) if not fault]
        if 2 * len(good) < shots:
            raise InstrumentError(
                f"{self.sound.name}: {shots - len(good)} of {shots} first shots are not to be used: "
                f"{next(fault for fault in faults if fault)}"
            )
        power = self.floor.learn(np.concatenate(powers)[good])
        if isinstance(self.sync, ReferenceSync):
            references = [number for number in good if number % 2 == 0]
            raw = tones[references][:, : len(self.tones.bins)].mean(axis=0)
            self.sync.phases = raw * np.exp(1j * self.tones.phases_rad)[:, None]
        return replace(parts[-1], tones=tones, sigma=sigma, faults=faults), power
