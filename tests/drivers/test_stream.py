"""SampleStream: a queue without gaps, silence without a click, nothing forgotten that somebody waits for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from labtrain.clock import RealClock, SimulatedClock
from labtrain.drivers.backends.memory_stream import MemoryStream
from labtrain.drivers.stream import FADE_S, KEPT_S, Samples, SampleStream
from labtrain.errors import InputError, Interrupted, LinkClosed, LinkDesync, LinkTimeout, UnsafeError

RATE_HZ = 48_000.0
FADE = round(FADE_S * RATE_HZ)
DELAY = 37


class Hand(SampleStream):
    """A backend moved by hand: every buffer comes back as it went out."""

    def __init__(self, rate_hz: float = RATE_HZ, timeout_s: float = 5.0, channels: int = 2) -> None:
        super().__init__(
            "audio", "by hand", RealClock(), rate_hz=rate_hz, n_out=channels, n_in=channels, timeout_s=timeout_s
        )
        self.buffers: list[Samples] = []
        self.closed = 0
        self.lost = ""

    def _open(self) -> None:
        pass

    def _close(self) -> None:
        self.closed += 1

    def _lost(self) -> str:
        return self.lost

    def move(self, frames: int) -> Samples:
        out = self._next(frames)
        self.buffers.append(out)
        self._arrived(out.copy())
        return out

    @contextmanager
    def moving(self, frames: int = 256, pause_s: float = 0.0005) -> Iterator[None]:
        leave = threading.Event()

        def move() -> None:
            while not leave.wait(pause_s):
                self.move(frames)

        mover = threading.Thread(target=move)
        mover.start()
        try:
            yield
        finally:
            leave.set()
            mover.join()


class Room:
    """Each input is an output some frames ago, times a gain."""

    n_out = n_in = 4

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = gain
        self.fails = False
        self.out: list[Samples] = []
        self.connected()

    def connected(self) -> None:
        self.under_way = np.zeros((DELAY, 4), dtype=np.float32)

    def process(self, out: Samples) -> Samples:
        if self.fails:
            raise RuntimeError("the roof came down")
        self.out.append(out)
        joined = np.concatenate([self.under_way, out])
        self.under_way = joined[len(out) :]
        return joined[: len(out)] * np.float32(self.gain)


def memory(room: Room) -> MemoryStream:
    return MemoryStream("audio", room, SimulatedClock(), outputs=(1, 3), inputs=(1, 3), rate_hz=RATE_HZ)


def noise(frames: int, channels: int = 2, seed: int = 0) -> Samples:
    return np.random.default_rng(seed).uniform(-1, 1, (frames, channels)).astype(np.float32)


def test_playbacks_follow_one_another_without_a_gap() -> None:
    first, second = noise(1000), noise(500, seed=1)
    with Hand() as stream:
        stream.move(256)
        assert (stream.play(first), stream.play(second)) == (256, 1256)
        for _ in range(8):
            stream.move(256)
        played = np.concatenate(stream.buffers)
        assert np.array_equal(played[256:1756], np.concatenate([first, second]))
        assert not played[1756:].any()
        assert np.array_equal(stream.record(256, 1500), played[256:1756])
        assert stream.play(first) == stream.now


def test_what_is_played_while_a_buffer_is_under_way_leaves_when_it_was_said_to() -> None:
    with Hand() as stream:
        out = stream._next(256)
        start = stream.play(noise(100))
        stream._arrived(out)
        stream.move(256)
        assert np.array_equal(stream.record(start, 100), noise(100))


def test_a_transfer_is_aligned() -> None:
    with memory(Room()) as stream:
        for k, frames in enumerate((10_000, 1, 4096, 5000)):
            out = np.concatenate([noise(frames, seed=k), np.zeros((DELAY, 2))])
            assert np.array_equal(stream.transfer(out)[DELAY:], out[:-DELAY])
        assert stream.now == 10_000 + 1 + 4096 + 5000 + 4 * DELAY
        assert stream.record(stream.now, 0).shape == (0, 2)


def test_an_array_may_be_used_again_after_play() -> None:
    out = noise(100)
    with Hand() as stream:
        stream.play(out)
        out[:] = 0.0
        assert np.array_equal(stream.move(100), noise(100))


def step(samples: Samples) -> float:
    return float(np.abs(np.diff(samples[:, 0], prepend=samples[:1, 0])).max())


SMOOTH = 0.5 * np.pi / FADE * 1.01
"""Largest step of a raised cosine."""


def test_silence_fades_and_forgets() -> None:
    with Hand() as stream:
        for _ in range(20):
            stream.play(np.ones((4800, 2)))
        stream.move(1000)
        with stream.moving():
            stream.silence()
            begun = sum(map(len, stream.buffers))
        played = np.concatenate(stream.buffers)
        assert step(played) < SMOOTH
        last = int(np.flatnonzero(played[:, 0])[-1])
        assert last < begun and last - int(np.flatnonzero(played[:, 0] == 1.0)[-1]) < FADE
        assert not stream.move(100_000).any()


def test_what_is_played_after_silence_comes_behind_the_fade() -> None:
    with Hand() as stream:
        stream.play(np.ones((48_000, 2)))
        stream.move(100)
        with stream._arrival:
            end = stream._fade_out()
        assert end == 100 + FADE
        start = stream.play(noise(50))
        assert start == end
        assert np.array_equal(stream.move(FADE + 50)[FADE:], noise(50))


def test_a_fade_within_a_fade_has_no_step() -> None:
    with Hand() as stream:
        stream.play(np.ones((48_000, 2)))
        stream.move(100)
        for _ in range(6):
            with stream._arrival:
                stream._fade_out()
            stream.move(60)
        stream.move(FADE)
        played = np.concatenate(stream.buffers)
        assert step(played) < 2 * SMOOTH
        assert not played[100 + FADE - 1 :].any()


def test_a_stream_that_stands_still_is_not_waited_for() -> None:
    clock = RealClock()
    with Hand() as stream:
        begun = clock.monotonic()
        stream.silence()
        assert clock.monotonic() - begun < 0.1  # nothing was being played
        stream.play(np.ones((48_000, 2)))
        stream.silence()
        assert clock.monotonic() - begun < 1.0


def too_loud(samples: Samples) -> str | None:
    return "too loud" if np.abs(samples).max() > 0.5 else None


def test_the_watch_silences_at_once_and_for_good() -> None:
    room = Room(gain=0.9)
    stream = memory(room)
    stream.watch = too_loud
    stream.open()
    stream.transfer(np.full((5000, 2), 0.5))
    with pytest.raises(UnsafeError, match=r"^too loud$"):
        stream.transfer(np.full((100_000, 2), 0.8))
    with pytest.raises(UnsafeError, match=r"^too loud$"):
        stream.play(np.zeros((10, 2)))
    stream.close()  # the simulated clock stands still, and nothing hangs
    played = np.concatenate(room.out)
    sounding = np.flatnonzero(played[:, 0])
    assert not played[:, [1, 3]].any()
    assert sounding[-1] < 5000 + 2 * 4096 + FADE
    assert abs(played[sounding[-1], 0]) < 1e-3
    stream.open()
    assert stream.play(np.zeros((10, 2))) == 0


def test_the_watch_hears_what_nobody_played() -> None:
    with Hand() as stream:
        stream.watch = too_loud
        stream._next(256)
        stream._arrived(np.ones((256, 2), dtype=np.float32))
        with pytest.raises(UnsafeError, match=r"^too loud$"):
            stream.play(np.zeros((10, 2)))


SLOW_HZ = 1000.0
KEPT = round(KEPT_S * SLOW_HZ)


def test_days_of_idling_take_no_memory() -> None:
    with Hand(SLOW_HZ) as stream:
        for _ in range(300):
            stream.move(1000)
        assert sum(len(block) for _, block in stream._store) <= KEPT + 1000
        assert stream._wanted == []


def test_nobody_listening_to_a_playback_without_end_takes_no_memory() -> None:
    with Hand(SLOW_HZ) as stream:
        for _ in range(300):
            stream.play(np.zeros((1000, 2)))
            stream.move(1000)
        assert sum(len(block) for _, block in stream._store) <= KEPT + 2000
        assert len(stream._wanted) <= KEPT_S + 1


def test_a_playback_is_kept_until_some_time_after_its_end() -> None:
    with Hand(SLOW_HZ) as stream:
        out = noise(2 * KEPT)
        start, after = stream.play(out), stream.play(out[:10])
        stream.move(2 * KEPT)
        stream.move(KEPT - 10)
        assert np.array_equal(stream.record(start, 2 * KEPT), out)
        assert np.array_equal(stream.record(after, 10), out[:10])
        stream.move(2 * KEPT)
        late = r"^audio \(by hand\): asked input frame 60000, kept are those from 119990 on; read what is played "
        with pytest.raises(LinkDesync, match=late + r"within 30 s$"):
            stream.record(after, 10)


def test_a_long_silence_is_recorded_whole() -> None:
    with Hand(SLOW_HZ) as stream, stream.moving(1000, 0.0001):
        assert stream.record(stream.now, 3 * KEPT).shape == (3 * KEPT, 2)
    quiet = MemoryStream("audio", Room(), SimulatedClock(), outputs=(1,), inputs=(1,), rate_hz=SLOW_HZ)
    with quiet:
        assert quiet.record(0, 3 * KEPT).shape == (3 * KEPT, 1)


def test_no_sample_for_too_long() -> None:
    sentence = (
        r"^audio \(by hand\): no sample came for 0\.1 s; check that the device is plugged in and that no other program "
        r"changed its settings \(rig\.audio\.device\)$"
    )
    with Hand(timeout_s=0.1) as stream:
        stream.move(100)
        with pytest.raises(LinkTimeout, match=sentence):
            stream.record(0, 101)


def test_closed() -> None:
    stream = Hand()
    sentence = r"^audio \(by hand\): is not open; call open\(\) or use it in a with statement$"
    for _ in range(2):
        with pytest.raises(LinkClosed, match=sentence):
            stream.play(noise(10))
        with stream:
            stream.move(256)
        stream.close()
    assert stream.closed == 2


def later(do: Callable[[], object]) -> threading.Timer:
    timer = threading.Timer(0.05, do)
    timer.start()
    return timer


def test_closed_by_another_thread() -> None:
    stream = Hand()
    stream.open()
    timer = later(stream.close)
    with pytest.raises(LinkClosed, match=r"is not open"):
        stream.record(0, 100)
    timer.join()
    assert stream.closed == 1


def test_unplugged() -> None:
    with Hand() as stream:
        stream.play(noise(1000))
        timer = later(lambda: stream._end("it was unplugged"))
        with pytest.raises(LinkClosed, match=r"^audio \(by hand\): it was unplugged$"):
            stream.record(0, 1000)
        timer.join()
        stream._end("and more")
        with pytest.raises(LinkClosed, match=r"^audio \(by hand\): it was unplugged$"):
            stream.play(noise(1000))


def test_lost_without_a_word() -> None:
    with Hand() as stream:
        stream.lost = "it is gone"
        with pytest.raises(LinkClosed, match=r"^audio \(by hand\): it is gone$"):
            stream.record(0, 1000)


def test_playing_from_many_threads() -> None:
    starts: dict[float, int] = {}

    def play(stream: Hand, who: int) -> None:
        for k in range(50):
            value = float(np.float32((1 + who * 50 + k) / 1000))
            starts[value] = stream.play(np.full((100 + who, 1), value))

    with Hand(channels=1) as stream, stream.moving(64, 0.0001):
        players = [threading.Thread(target=play, args=(stream, who)) for who in range(4)]
        for player in players:
            player.start()
        for player in players:
            player.join()
        came = stream.record(0, max(starts.values()) + 104)
    for value, start in starts.items():
        assert set(np.flatnonzero(came[:, 0] == np.float32(value))) >= set(range(start, start + 100))


def test_the_converter_never_waits_for_whoever_waits_for_it() -> None:
    moved: list[bool] = []

    def check() -> None:
        mover = threading.Thread(target=stream.move, args=(100,), daemon=True)
        mover.start()
        mover.join(2)
        moved.append(not mover.is_alive())

    with Hand() as stream:
        assert len(stream.record(0, 300, check)) == 300
    assert moved == [True] * 3


@pytest.mark.parametrize("simulated", [True, False])
def test_a_recording_can_be_stopped(simulated: bool) -> None:
    asked: list[int] = []

    def check() -> None:
        asked.append(stream.now)
        if len(asked) == 3:
            raise Interrupted("stopped")

    stream: SampleStream = memory(Room()) if simulated else Hand()
    with stream, pytest.raises(Interrupted):
        stream.transfer(np.zeros((int(100 * RATE_HZ), 2)), check)
    assert len(asked) == 3


@pytest.mark.parametrize(
    ("out", "sentence"),
    [
        (np.zeros((10, 3)), r"asked to play an array of shape \(10, 3\), needed \(frames, 2\)$"),
        (np.zeros(10), r"asked to play an array of shape \(10,\), needed \(frames, 2\)$"),
        (np.full((10, 2), -1.5), r"asked to play -1\.5 of full scale, allowed -1 to 1; lower the level$"),
        (np.full((10, 2), np.nan), r"asked to play nan of full scale, allowed -1 to 1; lower the level$"),
    ],
)
def test_what_cannot_be_played(out: Samples, sentence: str) -> None:
    with Hand() as stream:
        with pytest.raises(InputError, match=r"^audio \(by hand\): " + sentence):
            stream.play(out)
        assert stream.play(noise(10)) == 0


def test_an_emulator_that_fails_ends_the_stream() -> None:
    room = Room()
    with memory(room) as stream:
        room.fails = True
        with pytest.raises(RuntimeError, match="roof"):
            stream.transfer(noise(10))
        with pytest.raises(LinkClosed, match=r"^audio \(sim\): its emulator failed; see the first error$"):
            stream.transfer(noise(10))
