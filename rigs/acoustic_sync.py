"""Where the shots of a playback lie in a recording, and whether all of it came: by a loopback, or by the sounds alone.

With a loopback (:mod:`labtrain.rigs.sync_mark`) every sample of a shot is accounted for. Without one, each playback
begins and ends with a *reference shot*, always the same: its phases, tone by tone, tell by how many frames it came
later than when the rig was commissioned, and both ends must tell the same. That finds what shifted a playback or
happened between its shots, not a fault that undoes itself; temperature, too, turns phases, by a few frames per kelvin.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from labtrain.drivers.sound import SoundInterface
from labtrain.errors import InstrumentError
from labtrain.rigs.multitone import Multitone
from labtrain.rigs.sync_mark import PROMINENT, REACH, Loop, first_difference, learn_loop, locate, mark
from labtrain.rigs.two_clocks import fractional_lag, resampled

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

SEARCH = 4096  # frames by which a playback may have slipped and still be found again
LEARN_FRAMES = 16_384  # of the mark from which the loop is learned
LATEST = 48_000  # frames: latency up to which a first mark is looked for
LEAD = 2 * REACH  # frames of mark before the first shot
ALIKE = 0.9  # coherence of a reference shot with the commissioned one
ABSURD_PPM = 1000.0  # by which no two clocks differ: what was found is noise
STEADY = 0.35  # frames by which the two references of a playback may differ


@dataclass(frozen=True)
class Place:
    """Where one shot lies in a recording: its first frame, or why it is not to be used."""

    start: int
    fault: str = ""


class Sync(ABC):
    """One way to place shots. A playback begins with `lead` frames of silence."""

    references = 0
    """Reference shots at each end of a playback."""

    lead = LEAD

    @property
    @abstractmethod
    def latency(self) -> int:
        """Frames from output to input, as last seen."""

    @abstractmethod
    def mark(self, number: int, frames: int) -> Array | None:
        """What the loopback plays in the playback of that number, (frames,)."""

    @abstractmethod
    def places(self, recording: Array, starts: Sequence[int], length: int) -> tuple[Array, list[Place]]:
        """Place the shots of the last playback.

        Parameters
        ----------
        recording : ndarray, (frames, inputs)
            From the first frame of the playback on.
        starts : sequence of int
            First frame of each shot in the playback, references included.
        length : int
            Frames of a shot that must be whole.

        Returns
        -------
        recording, as the places count it; places, one a shot
        """


class LoopbackSync(Sync):
    """By the mark on the loopback.

    Parameters
    ----------
    sound : SoundInterface
        Opened, with a loopback.
    seed : int
        Of the marks.
    two_clocks : bool
        Whether outputs and inputs have clocks of their own: recordings are then brought to the output's.

    Attributes
    ----------
    ppm : float
        By how much the input's clock was faster in the last playback.
    """

    def __init__(self, sound: SoundInterface, seed: int, two_clocks: bool) -> None:
        assert sound.config.loopback is not None
        self._sound, self._seed, self._two_clocks = sound, seed, two_clocks
        self._cable = sound.config.loopback
        self._loop: Loop | None = None
        self._sent = np.empty(0)
        self._lag = 0.0  # with a fraction, of the mark that the loop was learned from
        self._late = 0.0  # of two clocks: by about how much more a playback begins later, as they drift apart
        self.ppm = 0.0

    @property
    def loop(self) -> Loop:
        """What was learned of the loop."""
        assert self._loop is not None, "learn() comes first"
        return self._loop

    @property
    def latency(self) -> int:
        return self.loop.latency + round(self._late)

    def learn(self, check: Callable[[], object] = lambda: None) -> None:
        """Play a mark, nothing on the speakers, and learn latency and filter of the loop.

        Raises
        ------
        InstrumentError
            If it does not come back, saying what did.
        """
        sound, cable = self._sound, self._cable
        sent = mark(self._seed, 0, LEARN_FRAMES, cable.level)
        out = np.concatenate([sent, np.zeros(LATEST)])
        received = sound.transfer(np.zeros((len(out), sound.n_speakers)), out, check)[:, -1]
        if self._two_clocks:
            self.ppm = self._measured_ppm(sent, received)
            received = resampled(received[:, None], 0.0, self.ppm)[:, 0]
        loop = learn_loop(sent, received)
        heard, told = _db(np.sqrt((received**2).max())), _db(cable.level)
        if loop is None:
            raise InstrumentError(
                f"{sound.name}: the mark sent on output {cable.output} ({told:.0f} dBFS) did not come back on input "
                f"{cable.input}, which hears {heard:.0f} dBFS at most; is the loopback cable out, or its gain down? "
                f"Check {sound.key}.loopback, or leave it out"
            )
        if np.abs(received).max() >= 0.99:
            raise InstrumentError(
                f"{sound.name}: the mark clips input {cable.input}; lower its gain or {sound.key}.loopback.level"
            )
        if 4.0 * loop.noise > 0.1 * loop.level:
            raise InstrumentError(
                f"{sound.name}: the loopback from output {cable.output} to input {cable.input} is too noisy "
                f"({_db(loop.noise / loop.level):.0f} dB of the mark, needed -32 dB); raise its gain; or outputs and "
                "inputs do not share a clock"
            )
        self._loop = loop
        self._lag = fractional_lag(sent, received[: len(sent) + LATEST])

    def mark(self, number: int, frames: int) -> Array:
        # The mark goes on behind the last shot: a slip leaves enough of it to be compared with.
        self._sent = mark(self._seed, number + 1, frames, self._cable.level)
        return self._sent

    def places(self, recording: Array, starts: Sequence[int], length: int) -> tuple[Array, list[Place]]:
        if self._two_clocks:
            recording = self._on_the_output_clock(recording)
        loop, heard = self.loop, recording[:, -1]
        expected = loop.expected(self._sent)
        latency, found = loop.latency, []
        for start in starts:
            stop = start + length
            if not self._matches(expected, heard, latency, start, stop):
                latency = self._search(heard, latency, start, stop)
                if not self._matches(expected, heard, latency, start, stop):
                    found.append(Place(start + latency, self._fault(heard, expected, latency, start, stop)))
                    continue
            found.append(Place(start + latency))
        self._loop = replace(loop, latency=latency)
        return recording, found

    def _matches(self, expected: Array, heard: Array, latency: int, start: int, stop: int) -> bool:
        came = heard[start + latency : stop + latency]
        return len(came) == stop - start and first_difference(expected[start:stop], came, self.loop.tolerance) is None

    def _search(self, heard: Array, latency: int, start: int, stop: int) -> int:
        """The latency at which the second half of a shot is found: a slip may have come before it."""
        middle = (start + stop) // 2
        first = max(0, middle + latency - SEARCH)
        lag, prominence = locate(self._sent[middle:stop], heard[first : stop + latency + SEARCH])
        return first + lag - middle if prominence >= PROMINENT else latency

    def _fault(self, heard: Array, expected: Array, latency: int, start: int, stop: int) -> str:
        cable = self._cable
        came = heard[max(0, start + latency) : stop + latency]
        if len(came) < stop - start:
            return "the recording ended too early"
        if np.sqrt((came**2).mean()) < 0.1 * self.loop.level:
            return f"no mark on input {cable.input}: is the loopback cable out?"
        at = first_difference(expected[start:stop], came, self.loop.tolerance)
        return f"samples were lost, repeated or late {0 if at is None else at} frames into the shot"

    def _measured_ppm(self, sent: Array, received: Array) -> float:
        """By how much the input's clock is faster, from both ends of a mark."""
        part = min(len(sent) // 4, 8192)
        late, room = self._lag + self._late, SEARCH
        if self._loop is None:
            late, room = float(locate(sent[:part], received)[0]), 256
        lags = []
        # A recording may end before the mark does: by as much as it comes late, or because somebody wanted to stop.
        end = min(len(sent), len(received) - round(late)) - part - SEARCH // 4
        if end <= 0:
            return self.ppm
        for begin in (0, end):
            first = max(0, int(begin + late - room))
            piece = received[first : first + part + 2 * room]
            lags.append(first + fractional_lag(sent[begin : begin + part], piece) - begin)
        return 1e6 * (lags[1] - lags[0]) / end

    def _on_the_output_clock(self, recording: Array) -> Array:
        self.ppm = self._measured_ppm(self._sent, recording[:, -1])
        part = min(len(self._sent) // 4, 8192)
        rate = 1.0 + 1e-6 * self.ppm
        first = max(0, round(self._lag + self._late) - SEARCH)
        lag = first + fractional_lag(self._sent[:part], recording[first : first + part + 2 * SEARCH, -1])
        if abs(self.ppm) < ABSURD_PPM and abs(lag - self._lag - self._late) > SEARCH / 8:
            self._late = lag - self._lag
        # The lag is found for the middle of the part, and wanted for frame 0.
        lag -= (rate - 1.0) * part / 2
        # Frame n of the output lies at lag + n rate, and is to lie where it lay when the loop was learned: at n + _lag.
        return resampled(recording, lag - self._lag * rate, self.ppm)


class ReferenceSync(Sync):
    """By the phases of reference shots.

    Parameters
    ----------
    tones : Multitone
    read : callable (windows (1, frames, microphones)) -> (tones, microphones), complex
        Reads the tones of a shot.
    latency : int
        A first guess.
    """

    references = 1

    def __init__(self, tones: Multitone, read: Callable[[Array], Complex], latency: int) -> None:
        self._read, self._window, self._latency = read, tones.window, latency
        self._angular = 2.0 * np.pi * np.array(tones.bins) / tones.period_frames
        # All tones together repeat after so many frames: phases cannot tell a longer delay.
        repeats = tones.period_frames // math.gcd(*tones.bins)
        self._delays = np.arange(-repeats // 2 + 1, repeats // 2 + 1)
        self.phases: Complex | None = None
        """Tones of the commissioned reference, (tones, microphones); None before."""

    @property
    def latency(self) -> int:
        return self._latency

    def mark(self, number: int, frames: int) -> None:  # noqa: ARG002 (the sounds are the mark)
        return None

    def places(self, recording: Array, starts: Sequence[int], length: int) -> tuple[Array, list[Place]]:
        ends = [self._delay(recording, starts[0]), self._delay(recording, starts[-1])]
        fault = ""
        if self.phases is not None:
            if any(delay is None for delay in ends):
                fault = "the reference shot is not heard as it was: the latency jumped, or the room changed"
            elif abs(ends[1] - ends[0]) > STEADY:  # type: ignore[operator]
                fault = f"samples were lost or repeated: the playback shifted by {ends[1] - ends[0]:+.1f} frames"  # type: ignore[operator]
            elif abs(ends[0]) >= 0.5:  # type: ignore[arg-type]
                self._latency += round(ends[0])  # type: ignore[arg-type]
        short = "the recording ended too early"
        return recording, [
            Place(s + self._latency, fault or ("" if s + self._latency + length <= len(recording) else short))
            for s in starts
        ]

    def _delay(self, recording: Array, start: int) -> float | None:
        """Frames by which a reference is later than expected, 0 before there is one to compare with; None: not it."""
        first = start + self._latency
        part = recording[first + self._window.start : first + self._window.stop]
        if self.phases is None:
            return 0.0
        if len(part) < self._window.stop - self._window.start:
            return None
        product = self._read(part[None]) * self.phases.conj()
        turned, delays = product.sum(axis=1), self._delays
        coherence = (np.exp(1j * np.outer(delays, self._angular)) @ turned).real / float(np.abs(product).sum())
        best = int(coherence.argmax())
        if coherence[best] < ALIKE:
            return None
        # The remaining phases, in proportion to the tones, weighted by their power.
        left = np.angle(turned * np.exp(1j * delays[best] * self._angular))
        weight = np.abs(turned) * self._angular
        return float(delays[best] - (weight * left).sum() / (weight * self._angular).sum())


def _db(value: float) -> float:
    return float(20.0 * np.log10(max(value, 1e-9)))
