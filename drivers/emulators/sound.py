"""A converter in front of a simulated room, seen from its connectors: samples in, samples out.

    speakers -> latency -> room -> microphones -> noise, hum -> clipping -> 24 bits
    loopback output -> latency -> cable -> loopback input

with a clock of its own, if asked for, and with scripted faults. A fault has its place in a *playback*: playbacks are
counted from 1, each begins with the first sample that is not 0 after 15 ms of zeros. So a fault falls on the same
sample of the same shot in memory and through an audio server. (Guards without a loopback are such zeros, too.)

    dropout 40 frames at 2.5 s of 3        zeros come on every input, 2.5 s into the 3rd playback
    clip 400 frames at 1 s of 1            the microphones' inputs are driven into clipping
    slip -1 frames at 1 s of 1             one frame is lost; slip 1 frames: one comes twice
    repeat 256 frames at 1 s of 1          256 frames come again instead of those that belong there
    hum 2048 frames at 1 s of 1            a burst of mains hum, 2 % of full scale
    mute 256 frames at 1 s of 1            the outputs stand still, as when a buffer came too late
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from labtrain.drivers.stream import Samples
from labtrain.errors import InputError

Array = NDArray[np.float64]
Kind = Literal["dropout", "clip", "slip", "repeat", "hum", "mute"]

ONSET_S = 0.015  # of zeros, after which a sample that is not 0 begins a playback; less than a converter's latency
BURST = 0.02  # amplitude of a burst of hum, as a fraction of full scale
OVERDRIVE = 1e4
TAPS = 32  # of the interpolation between the samples of two clocks
EXAMPLES = '"dropout 40 frames at 2.5 s of 3", "slip -1 frames at 1 s of 1", "hum 2048 frames at 1 s of 1"'

_FAULT = re.compile(
    r"\s*(?P<kind>\w+)\s+(?P<frames>[+-]?\d+)\s+frames?\s+at\s+(?P<at>\d+(?:\.\d*)?)\s*s\s+of\s+(?P<playback>\d+)\s*"
)


class Room(Protocol):
    """What is simulated behind the speakers and in front of the microphones."""

    def process(self, flow_m3_s: Array) -> Array:
        """Volume velocities (frames, speakers) to pressures in pascal (frames, microphones)."""

    def reset(self) -> None:
        """Silence."""


@dataclass(frozen=True)
class SoundFault:
    """One fault.

    Parameters
    ----------
    kind : str
    frames : int
        How long; of a slip, by how much.
    at : int
        Frames after the onset of the playback.
    playback : int
        From 1.
    """

    kind: Kind
    frames: int
    at: int
    playback: int


def parse_sound_fault(text: str, rate_hz: float) -> SoundFault:
    """The fault of ``dropout 40 frames at 2.5 s of 3``.

    Raises
    ------
    InputError
        Saying how it is written.
    """
    match = _FAULT.fullmatch(text)
    kinds = get_args(Kind)
    if match is None or match["kind"] not in kinds or int(match["playback"]) < 1:
        raise InputError(f"fault {text!r}: not understood; write {EXAMPLES}; known: {', '.join(kinds)}")
    frames = int(match["frames"])
    if frames == 0 or (frames < 0 and match["kind"] != "slip"):
        raise InputError(f"fault {text!r}: {frames} frames is no length; write {EXAMPLES}")
    return SoundFault(match["kind"], frames, round(float(match["at"]) * rate_hz), int(match["playback"]))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Converter:
    """What a converter and its surroundings are like.

    Parameters
    ----------
    flow_full_scale_m3_s : float
        Volume velocity of a speaker at full scale.
    pascal_full_scale : float
        Pressure at full scale of a microphone's input.
    noise_pa : float
        RMS of each microphone's noise, white.
    hum_pa : float
        Amplitude of the mains hum at each microphone; the harmonics fall off as 1/n.
    hum_hz : float
    latency_frames : int
        From output to input.
    clock_ppm : float
        By how much the input's clock is faster than the output's.
    loopback_gain : float
        Of the cable; 0: it is pulled out.
    """

    flow_full_scale_m3_s: float = 5e-5 / 0.15
    pascal_full_scale: float = 20.0
    noise_pa: float = 2e-3
    hum_pa: float = 0.0
    hum_hz: float = 50.0
    latency_frames: int = 611
    clock_ppm: float = 0.0
    loopback_gain: float = 0.9


class SoundRoom:
    """The emulator: a SoundEmulator of labtrain.drivers.backends.memory_stream.

    Channels are speakers, then the loopback's output; microphones, then the loopback's input.

    Parameters
    ----------
    room : Room
    converter : Converter
    rate_hz : float
    speakers, microphones : int
    faults : iterable of SoundFault
    seed : int
        Of the noise, until :meth:`begin` gives another.
    """

    def __init__(
        self,
        room: Room,
        converter: Converter,
        rate_hz: float,
        speakers: int,
        microphones: int,
        faults: Iterable[SoundFault] = (),
        seed: int = 0,
    ) -> None:
        self.room, self.converter, self.rate_hz = room, converter, rate_hz
        self._speakers, self._microphones = speakers, microphones
        self.n_out, self.n_in = speakers + 1, microphones + 1
        self.faults = tuple(faults)
        self.playbacks = 0
        """Playbacks begun so far."""
        self._key = seed, 0
        self.connected()

    def connected(self) -> None:
        """A stream begins: silence everywhere; playbacks go on being counted."""
        self.begin(*self._key)

    def begin(self, seed: int, counter: int) -> None:
        """Silence in the room and on the cables; noise starts from (seed, counter), hum from its first phase."""
        self._key = int(seed) & ((1 << 64) - 1), int(counter)
        # As an array: a list of large numbers would be rounded.
        self._draw = np.random.Generator(np.random.Philox(key=np.array(self._key, dtype=np.uint64)))
        self.room.reset()
        self._frame = 0
        self._zeros = round(ONSET_S * self.rate_hz)  # as if it had been silent for long
        self._delayed = np.zeros((self.converter.latency_frames, self.n_in))
        self._history = np.zeros((0, self.n_in))  # what came lately, for repeats
        self._skip = 0  # frames that a slip has still to lose
        self._struck: list[tuple[SoundFault, int]] = []  # faults of this playback, and their first frame
        self._resampler = _Resampler(self.converter.clock_ppm, self.n_in) if self.converter.clock_ppm else None

    def process(self, out: Samples) -> Samples:
        """Play (frames, n_out), fractions of full scale, and return what is recorded meanwhile, (frames, n_in)."""
        most = round(ONSET_S * self.rate_hz)  # frames in which only one playback can begin
        return np.concatenate([self._block(out[first : first + most]) for first in range(0, max(1, len(out)), most)])

    def _block(self, out: Samples) -> Samples:
        played = np.clip(np.asarray(out, dtype=np.float64), -1.0, 1.0)
        self._look_for_onset(played)
        first, converter = self._frame, self.converter
        for fault, at in self._faults("mute"):
            self._over(played, first, at, fault.frames)[:] = 0.0
        heard = self.room.process(played[:, : self._speakers] * converter.flow_full_scale_m3_s)
        noise = self._draw.standard_normal((len(played), self.n_in))  # at once: the same in blocks of any size
        heard += converter.noise_pa * noise[:, : self._microphones]
        if converter.hum_pa:
            heard += self._hum(first, len(heard))[:, None] * converter.hum_pa
        heard /= converter.pascal_full_scale
        cable = converter.loopback_gain * played[:, self._speakers :]
        came = np.hstack([heard, cable + 1e-5 * noise[:, self._microphones :]])
        self._frame += len(came)
        came = self._disturb(came, first)
        came = self._delay(came, len(played))
        limited = np.clip(came, -1.0, 1.0 - 2.0**-23)
        return np.asarray(np.round(limited * 2.0**23) / 2.0**23, dtype=np.float32)

    def _look_for_onset(self, played: Array) -> None:
        sounding = (played != 0.0).max(axis=1)
        if not sounding.any():
            self._zeros += len(played)
            return
        first, last = int(sounding.argmax()), len(sounding) - 1 - int(sounding[::-1].argmax())
        if self._zeros + first >= ONSET_S * self.rate_hz:
            self.playbacks += 1
            onset = self._frame + first
            begun = [(fault, at) for fault, at in self._struck if at < onset]
            self._struck = begun + [(f, onset + f.at) for f in self.faults if f.playback == self.playbacks]
        self._zeros = len(played) - 1 - last

    def _faults(self, *kinds: Kind) -> list[tuple[SoundFault, int]]:
        return [(fault, at) for fault, at in self._struck if fault.kind in kinds]

    def _over(self, samples: Array, first: int, at: int, frames: int) -> Array:
        """The part of samples, which begin at frame `first`, that a fault of so many frames at frame `at` covers."""
        return samples[max(0, at - first) : max(0, at + frames - first)]

    def _disturb(self, came: Array, first: int) -> Array:
        """The faults of the inputs, in room time: before the latency."""
        microphones, frames = slice(0, self._microphones), len(came)
        for fault, at in self._faults("hum"):
            part = self._over(came, first, at, fault.frames)
            since = np.arange(len(part)) + max(0, first - at)
            part[:, microphones] += BURST * np.sin(2 * np.pi * self.converter.hum_hz * since / self.rate_hz)[:, None]
        for fault, at in self._faults("clip"):
            self._over(came, first, at, fault.frames)[:, microphones] *= OVERDRIVE
        for fault, at in self._faults("dropout"):
            self._over(came, first, at, fault.frames)[:] = 0.0
        kept = max([1, *(f.frames for f in self.faults if f.kind == "repeat")])
        before = np.zeros((max(0, kept - len(self._history)), self.n_in))
        joined = np.concatenate([before, self._history, came])
        offset = len(joined) - len(came)
        for fault, at in self._faults("repeat"):
            part = self._over(came, first, at, fault.frames)
            start = offset + max(0, at - first)
            part[:] = joined[start - fault.frames : start - fault.frames + len(part)]
        self._history = joined[-kept:]
        if self._resampler is not None:
            came = self._resampler(came)
        return self._slip(came, first, frames)

    def _slip(self, came: Array, first: int, frames: int) -> Array:
        """Lose frames, or let some come twice: `frames` of the room's, from frame `first` on, are in `came`."""
        skip, self._skip = self._skip, 0
        for fault, at in sorted(self._faults("slip"), key=lambda struck: -struck[1]):  # the last first: cuts stay valid
            if not (first <= at < first + frames and len(came)):
                continue
            cut = min(at - first, len(came) - 1)
            if fault.frames > 0:
                again = np.repeat(came[cut : cut + 1], fault.frames, axis=0)
                came = np.concatenate([came[:cut], again, came[cut:]])
            else:
                self._skip += max(0, cut - fault.frames - len(came))  # of the next block
                came = np.concatenate([came[:cut], came[cut - fault.frames :]])
        self._skip += max(0, skip - len(came))
        return came[skip:]

    def _delay(self, came: Array, frames: int) -> Array:
        """The latency: so many frames as were played come; what was lost or came twice makes it shorter or longer."""
        waiting = np.concatenate([self._delayed, came])
        if len(waiting) < frames:  # the input's clock has fallen behind for good
            waiting = np.concatenate([waiting, np.zeros((frames - len(waiting), self.n_in))])
        self._delayed = waiting[frames:]
        return waiting[:frames]

    def _hum(self, first: int, frames: int) -> Array:
        turns = 2.0 * np.pi * self.converter.hum_hz / self.rate_hz * (first + np.arange(frames))
        return np.asarray(sum(np.sin(n * turns) / n for n in (1, 2, 3, 4, 5, 6)))


class _Resampler:
    """The samples of a clock that is faster by some ppm: windowed sinc interpolation."""

    def __init__(self, ppm: float, channels: int) -> None:
        self._step = 1.0 / (1.0 + 1e-6 * ppm)  # of the room's time, between two samples of the faster clock
        self._kept = np.zeros((2 * TAPS, channels))
        self._at = float(TAPS)  # of the next sample, in frames of `_kept`

    def __call__(self, samples: Array) -> Array:
        kept = np.concatenate([self._kept, samples])
        count = max(0, int((len(kept) - TAPS - self._at) / self._step))
        at = self._at + self._step * np.arange(count)
        whole = np.floor(at).astype(np.int64)
        offsets = np.arange(1 - TAPS // 2, TAPS // 2 + 1)
        away = (at - whole)[:, None] - offsets
        window = np.sinc(away) * (0.5 + 0.5 * np.cos(np.pi * away / (TAPS // 2 + 1)))
        out = np.einsum("nt,ntc->nc", window, kept[whole[:, None] + offsets])
        drop = max(0, int(self._at + self._step * count) - TAPS)
        self._kept, self._at = kept[drop:], self._at + self._step * count - drop
        return np.asarray(out)
