"""SampleStream, the sample pipe to one converter: a queue of what is to be played, a store of what came, one counter.

Output frame n and input frame n pass the converter's driver in the same call. How much later a sound played at n is
heard is the converter's latency, of which nobody is told reliably: whoever needs it measures it. The stream runs from
:meth:`SampleStream.open` to :meth:`SampleStream.close` and plays silence where nothing is queued: streams that are
opened for each shot begin at another latency each time, and lose their first samples.

Samples are fractions of full scale. What a backend knows of buffers that came too late is counted, never trusted.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labtrain.clock import Clock
from labtrain.errors import InputError, LinkClosed, LinkDesync, LinkTimeout, UnsafeError

Samples = NDArray[np.float32]
Array = NDArray[np.float64]

FADE_S = 0.010  # of a playback that is broken off: too slow for a click
KEPT_S = 30.0  # for which input is kept; that of a playback or a recording, after its end
POLL_S = 0.005  # between two questions whether somebody wants to stop: sound goes on meanwhile
STILL_S = 0.5  # after which a stream that should fade out is taken to stand still


class SampleStream(ABC):
    """A full-duplex stream. Backends fill `_open` and `_close`; each buffer is a :meth:`_next` and an :meth:`_arrived`.

    Parameters
    ----------
    who : str
        Name of the device in errors, for instance ``audio``.
    address : str
        As configured.
    clock : Clock
    rate_hz : float
        Frames a second.
    n_out, n_in : int
        Channels in use.
    timeout_s : float
        Longest time without a new sample.
    open_timeout_s : float
        Deadline of :meth:`open`.
    where : str
        Where the address is configured, for remedies in errors.

    Attributes
    ----------
    watch : callable (input samples) -> str or None
        Sees every buffer as it comes; a reason for which the output must fall silent at once, or None.
    late : int
        Buffers of which the backend says that they came too late; for the log alone.
    """

    real_time = True
    """Whether playing takes its time, and not only that of the computation."""

    def __init__(
        self,
        who: str,
        address: str,
        clock: Clock,
        *,
        rate_hz: float,
        n_out: int,
        n_in: int,
        timeout_s: float = 5.0,
        open_timeout_s: float = 5.0,
        where: str = "",
    ) -> None:
        self.who, self.address, self.clock = who, address, clock
        self.rate_hz, self.n_out, self.n_in = rate_hz, n_out, n_in
        self.timeout_s, self.open_timeout_s = timeout_s, open_timeout_s
        self.where = where or f"rig.{who}.device"
        self.watch: Callable[[Samples], str | None] = lambda _: None
        self.late = 0
        self._arrival = threading.Condition()  # guards all that follows
        self._is_open = False
        self._reset()

    def _reset(self) -> None:
        self._queue: deque[Samples] = deque()  # to be played from _given on
        self._given = 0  # output frames that the backend has taken
        self._now = 0  # input frames that have come: between `_next` and `_arrived` fewer than `_given`
        self._ends = 0  # the first frame after all that is queued
        self._wanted: list[tuple[int, int]] = []  # first frame and end of playbacks and recordings
        self._store: deque[tuple[int, Samples]] = deque()  # (first frame, what came)
        self._floor = 0  # the oldest frame that is kept
        self._cut = ""  # why the output is held silent
        self._ended = ""  # why nothing more will come
        self._closing = False

    # -- what a backend fills ------------------------------------------------------------------------------------

    @abstractmethod
    def _open(self) -> None:
        """Start the stream, or raise LinkRefused, or InputError for what this device cannot do."""

    @abstractmethod
    def _close(self) -> None:
        """Let go; called once for each `_open`."""

    def _run(self, until: int) -> None:  # noqa: B027 (hardware runs by itself)
        """Go on to a frame, for a backend whose samples pass only when somebody waits for them."""

    def _lost(self) -> str:
        """Why nothing more will come, where the backend knows when it is asked but is not told; or nothing."""
        return ""

    # -- what the caller uses ------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """For errors: ``audio (Scarlett 4i4 USB)``."""
        return f"{self.who} ({self.address})"

    @property
    def is_open(self) -> bool:
        return self._is_open

    @property
    def now(self) -> int:
        """The next frame to come in."""
        return self._now

    def open(self) -> None:
        """Start the stream, silent; an open one stays as it is.

        Raises
        ------
        LinkRefused
            If the device does not start.
        InputError
            If it lacks channels, or the sample rate.
        """
        if not self._is_open:
            with self._arrival:
                self._reset()
            self._open()
            self._is_open = True

    def close(self) -> None:
        """Fade out what is being played, and end the stream; a closed one stays as it is."""
        with self._arrival:
            if not self._is_open or self._closing:
                return
            self._closing = True  # from here on nothing can be queued behind the fade
            self._arrival.notify_all()
        try:
            self.silence()
        finally:
            self._is_open = False
            self._close()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def play(self, out: ArrayLike) -> int:
        """Queue samples behind all that is queued already, without a gap, and return at once.

        Parameters
        ----------
        out : array_like, (frames, n_out)
            Fractions of full scale.

        Returns
        -------
        int
            Frame at which the first of them leaves.

        Raises
        ------
        InputError
            If the array does not fit, or has values outside -1 to 1; nothing is played.
        LinkClosed
            If the stream is not open or has ended.
        UnsafeError
            If the output is being held silent (:attr:`watch`).
        """
        samples = np.array(out, dtype=np.float32, order="C")  # a copy: the caller may go on with its array
        if samples.ndim != 2 or samples.shape[1] != self.n_out:
            raise InputError(
                f"{self.name}: asked to play an array of shape {samples.shape}, needed (frames, {self.n_out})"
            )
        if not (np.abs(samples) <= 1.0).all():
            worst = samples[~(np.abs(samples) <= 1.0)][0]
            raise InputError(f"{self.name}: asked to play {worst:g} of full scale, allowed -1 to 1; lower the level")
        with self._arrival:
            self._check()
            start = max(self._ends, self._given)
            self._ends = start + len(samples)
            if len(samples):
                self._queue.append(samples)
                self._wanted.append((start, self._ends))
        return start

    def record(self, start: int, frames: int, check: Callable[[], object] = lambda: None) -> Array:
        """Wait for input frames start, start + 1, ...; frames before `start` are forgotten.

        Parameters
        ----------
        start, frames : int
        check : callable
            Called several times a second while waiting; what it raises ends the wait.

        Returns
        -------
        ndarray, (frames, n_in), float64
            Fractions of full scale.

        Raises
        ------
        LinkTimeout
            If no sample comes for `timeout_s`.
        LinkClosed
            If the stream ends.
        LinkDesync
            If these frames have been forgotten already.
        UnsafeError
            If the output was silenced meanwhile (:attr:`watch`).
        """
        until = start + frames
        with self._arrival:
            self._check_kept(start)
            self._wanted.append((start, until))
            self._floor = start
            self._forget()
        seen, since = -1, self.clock.monotonic()
        while True:
            self._run(min(until, self._now + round(self.rate_hz)))
            with self._arrival:
                self._arrival.wait_for(lambda: self._now >= until or self._trouble, POLL_S * self.real_time)
                self._check()
                self._check_kept(start)
                now = self._now
                if now >= until:
                    kept = list(self._store)
                    break
            check()  # not within the lock: the converter's thread never waits for what it does
            if why := self._lost():
                self._end(why)
            elif now != seen:
                seen, since = now, self.clock.monotonic()
            elif self.clock.monotonic() - since > self.timeout_s:
                raise LinkTimeout(
                    f"{self.name}: no sample came for {self.timeout_s:g} s; check that the device is plugged in "
                    f"and that no other program changed its settings ({self.where})"
                )
        return _cut_out(kept, start, until) if frames else np.empty((0, self.n_in))

    def transfer(self, out: ArrayLike, check: Callable[[], object] = lambda: None) -> Array:
        """Play (frames, n_out) and return what came in the same frames, (frames, n_in); raises as play and record."""
        samples = np.asarray(out)
        return self.record(self.play(samples), len(samples), check)

    def silence(self) -> None:
        """Fade out within `FADE_S`, forget what is queued, and return once the last audible frame was handed over.

        May be called from any thread, at any time; what is played afterwards comes behind the fade. A stream that
        stands still is silent: this does not wait for it.
        """
        with self._arrival:
            silent_at = self._fade_out()
        self._run(silent_at)
        with self._arrival:
            self._arrival.wait_for(lambda: self._now >= silent_at or self._ended, STILL_S)

    # -- what backends call --------------------------------------------------------------------------------------

    def _next(self, frames: int) -> Samples:
        """The next frames to be played, (frames, n_out); to be followed by `_arrived` with those that came."""
        out: Samples = np.zeros((frames, self.n_out), dtype=np.float32)
        with self._arrival:
            done = 0
            while done < frames and self._queue:
                block = self._queue[0]
                part = block[: frames - done]
                out[done : done + len(part)] = part
                done += len(part)
                if len(part) < len(block):
                    self._queue[0] = block[len(part) :]
                else:
                    self._queue.popleft()
            self._given += frames
        return out

    def _arrived(self, samples: Samples) -> None:
        """Take the input frames (frames, n_in) that belong to the last `_next`; the array must not change any more."""
        reason = self.watch(samples)
        with self._arrival:
            if reason and not self._cut:
                self._cut = reason
                self._fade_out()
            self._store.append((self._now, samples))
            self._now += len(samples)
            oldest = self._now - round(KEPT_S * self.rate_hz)
            self._floor = max(self._floor, min([oldest, *(start for start, end in self._wanted if end > oldest)]))
            self._forget()
            self._arrival.notify_all()

    def _end(self, why: str) -> None:
        """Nothing more will come, the device is gone; the first reason stays."""
        with self._arrival:
            self._ended = self._ended or why
            self._arrival.notify_all()

    # -- within the lock -----------------------------------------------------------------------------------------

    def _fade_out(self) -> int:
        """Put a fade-out of its next frames in the place of the queue; the first silent frame.

        A fade within a fade is the product of both: it has no step either, and ends no later.
        """
        if not self._queue:
            return self._given
        count = max(1, round(FADE_S * self.rate_hz))
        tail = np.concatenate([block[:count] for block in self._queue])[:count]
        ramp = 0.5 + 0.5 * np.cos(np.pi * (np.arange(len(tail)) + 1) / count)
        self._queue = deque([tail * ramp[:, None].astype(np.float32)])
        self._ends = self._given + len(tail)
        return self._ends

    @property
    def _trouble(self) -> bool:
        return bool(self._cut or self._ended or self._closing or not self._is_open)

    def _forget(self) -> None:
        while self._store and self._store[0][0] + len(self._store[0][1]) <= self._floor:
            self._store.popleft()
        self._wanted = [(start, end) for start, end in self._wanted if end > self._floor]

    def _check_kept(self, start: int) -> None:
        if start < self._floor:
            raise LinkDesync(
                f"{self.name}: asked input frame {start}, kept are those from {self._floor} on; read what is played "
                f"within {KEPT_S:g} s"
            )

    def _check(self) -> None:
        if self._cut:
            raise UnsafeError(self._cut)
        if self._closing or not self._is_open:
            raise LinkClosed(f"{self.name}: is not open; call open() or use it in a with statement")
        if self._ended:
            raise LinkClosed(f"{self.name}: {self._ended}")


def _cut_out(kept: list[tuple[int, Samples]], start: int, until: int) -> Array:
    parts = [
        block[max(0, start - first) : until - first]
        for first, block in kept
        if first < until and first + len(block) > start
    ]
    return np.concatenate(parts).astype(np.float64) if parts else np.empty((0, 0))
