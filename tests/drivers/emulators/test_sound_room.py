"""The emulated converter: the same samples in blocks of any size, and every fault on the samples that were promised."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from labtrain.drivers.emulators.sound import BURST, Converter, SoundFault, SoundRoom, parse_sound_fault
from labtrain.errors import InputError

RATE_HZ, LATENCY, SILENCE = 48_000.0, 611, 720
FRAMES = 12_000


class Cable:
    """Microphone m hears speaker m, one pascal for each unit of flow, without a room."""

    def __init__(self) -> None:
        self.resets = 0

    def process(self, flow_m3_s: Any) -> Any:
        return np.array(flow_m3_s[:, :2])

    def reset(self) -> None:
        self.resets += 1


def quiet(**settings: Any) -> Converter:
    kept = {"noise_pa": 0.0, "latency_frames": LATENCY, "flow_full_scale_m3_s": 1.0, "pascal_full_scale": 1.0}
    return Converter(**(kept | {"loopback_gain": 1.0} | settings))


def room(*faults: SoundFault, **settings: Any) -> SoundRoom:
    return SoundRoom(Cable(), quiet(**settings), RATE_HZ, 2, 2, faults, seed=3)


def ramp(frames: int = FRAMES) -> Any:
    """Every frame has a value of its own, none is 0: 1e-5, 2e-5, ..."""
    return np.tile(1e-5 * np.arange(1, frames + 1)[:, None], (1, 3)).astype(np.float32)


def passed(one: SoundRoom, out: Any, block: int) -> Any:
    """What is recorded, in blocks of so many frames; the latency is taken off."""
    silent = np.zeros((2 * LATENCY + 400, 3), dtype=np.float32)
    whole = np.concatenate([out, silent])
    came = np.concatenate([one.process(whole[i : i + block]) for i in range(0, len(whole), block)])
    assert came.dtype == np.float32 and len(came) == len(whole)
    return came[LATENCY:].astype(np.float64)


def frames_of(came: Any) -> Any:
    """Number of the frame that each recorded value was, from 0; -1 for silence."""
    return np.round(came[:, 0] / 1e-5).astype(int) - 1


BLOCKS = [7, 64, 1024, 4096, 20_000]


def test_latency_is_exact() -> None:
    one = room()
    came = passed(one, ramp(), 1024)
    np.testing.assert_allclose(came[:FRAMES, :2], ramp()[:, :2], atol=2.0**-24)
    assert (frames_of(came)[:FRAMES] == np.arange(FRAMES)).all()
    assert np.abs(came[FRAMES:, :2]).max() == 0.0 and np.abs(came[FRAMES:]).max() < 1e-4
    assert room(latency_frames=0).process(ramp(10))[0, 0] == pytest.approx(1e-5, rel=0.05)


EVERY = (
    SoundFault("hum", 700, 300, 1),
    SoundFault("clip", 50, 1020, 1),
    SoundFault("dropout", 40, 2040, 1),
    SoundFault("mute", 90, 3000, 1),
    SoundFault("repeat", 256, 4090, 1),
    SoundFault("slip", -5, 5119, 1),
    SoundFault("slip", 3, 6000, 1),
    SoundFault("slip", -200, 6100, 1),
    SoundFault("slip", -1, 6350, 1),
)


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("ppm", [0.0, 80.0])
def test_blocks_of_any_size_carry_the_same_samples(block: int, ppm: float) -> None:
    def recorded(size: int) -> Any:
        noisy = {"noise_pa": 1e-2, "hum_pa": 1e-2, "clock_ppm": ppm}
        out = np.concatenate([ramp(), np.zeros((SILENCE, 3)), 0.5 * ramp(3000)])  # two playbacks
        return passed(room(*EVERY, SoundFault("dropout", 100, 200, 2), **noisy), out, size)

    assert np.abs(recorded(block) - recorded(512)).max() <= 2.0**-23 * (1 if ppm else 0)


def at(frames: int, first: int = 0) -> Any:
    return np.arange(first, first + frames)


@pytest.mark.parametrize("block", BLOCKS)
class TestEachFault:
    def test_dropout(self, block: int) -> None:
        came = passed(room(SoundFault("dropout", 40, 4080, 1)), ramp(), block)
        expected = np.where((at(FRAMES) >= 4080) & (at(FRAMES) < 4120), -1, at(FRAMES))
        assert (frames_of(came)[:FRAMES] == expected).all()
        assert not came[4080:4120].any()  # the loopback too

    def test_mute(self, block: int) -> None:
        came = passed(room(SoundFault("mute", 300, 4000, 1)), ramp(), block)
        expected = np.where((at(FRAMES) >= 4000) & (at(FRAMES) < 4300), -1, at(FRAMES))
        assert (frames_of(came)[:FRAMES] == expected).all()
        assert np.abs(came[4000:4300, 2]).max() < 1e-4 and came[4301, 2] > 0.04

    def test_clip(self, block: int) -> None:
        came = passed(room(SoundFault("clip", 50, 4090, 1)), ramp(), block)
        full = came[:, 0] == 1.0 - 2.0**-23
        assert (np.flatnonzero(full) == at(50, 4090)).all()
        assert came[:FRAMES, 2] == pytest.approx(ramp()[:, 2], abs=1e-4)  # not the loopback

    def test_repeat(self, block: int) -> None:
        came = passed(room(SoundFault("repeat", 256, 4000, 1)), ramp(), block)
        expected = np.where((at(FRAMES) >= 4000) & (at(FRAMES) < 4256), at(FRAMES) - 256, at(FRAMES))
        assert (frames_of(came)[:FRAMES] == expected).all()

    def test_repeat_of_what_was_before_the_first_sound(self, block: int) -> None:
        came = passed(room(SoundFault("repeat", 256, 10, 1)), ramp(), block)
        assert (frames_of(came)[10:256] == -1).all() and (frames_of(came)[256:266] == at(10)).all()

    def test_hum(self, block: int) -> None:
        came = passed(room(SoundFault("hum", 2048, 4000, 1)), ramp(), block)
        burst = came[:FRAMES] - ramp()
        expected = BURST * np.sin(2 * np.pi * 50.0 * at(2048) / RATE_HZ)
        for microphone in (0, 1):
            np.testing.assert_allclose(burst[4000:6048, microphone], expected, atol=2e-7)
        rest = np.delete(burst[:, :2], at(2048, 4000), axis=0)
        assert np.abs(rest).max() < 2e-7 and np.abs(burst[:, 2]).max() < 1e-4

    @pytest.mark.parametrize("by", [-1, -5, -300, 1, 5, 300])
    def test_slip(self, block: int, by: int) -> None:
        came = passed(room(SoundFault("slip", by, 4095, 1)), ramp(), block)
        lost = [*range(4095), *range(4095 - by, FRAMES)]
        doubled = [*range(4095), *([4095] * by), *range(4095, FRAMES)]
        expected = lost if by < 0 else doubled
        assert frames_of(came)[: len(expected)].tolist() == expected


def test_slips_add_up() -> None:
    faults = [SoundFault("slip", by, 2000 * (k + 1), 1) for k, by in enumerate((-3, 4, -2))]
    found = frames_of(passed(room(*faults), ramp(), 4096))
    assert [int(found[k]) - k for k in (1990, 2010, 4050, 6050)] == [0, 3, -1, 1]


def test_a_fault_waits_for_its_playback_and_playbacks_begin_after_15_ms_of_silence() -> None:
    one = room(SoundFault("dropout", 10, 5, 3))
    short, long = np.zeros((SILENCE - 1, 3)), np.zeros((SILENCE, 3))
    sound = ramp(600)
    out = np.concatenate([sound, long, sound, short, sound, long, sound, sound[:1] * 0, sound])
    came = passed(one, out, 1000)
    assert one.playbacks == 3
    third = 3 * 600 + 2 * SILENCE + SILENCE - 1
    expected = np.concatenate([out[:, 0], np.zeros(2 * LATENCY + 400 - LATENCY)])
    expected[third + 5 : third + 15] = 0.0
    np.testing.assert_allclose(came[:, 0], expected, atol=2.0**-24)


@pytest.mark.parametrize("block", [512, 4800, 30_000])
def test_every_playback_of_a_long_block_counts(block: int) -> None:
    one = room()
    out = np.concatenate([np.concatenate([ramp(100), np.zeros((SILENCE, 3))]) for _ in range(4)])
    passed(one, out, block)
    assert one.playbacks == 4


def test_a_sound_on_the_loopback_alone_begins_a_playback() -> None:
    one, out = room(), np.zeros((100, 3))
    out[50, 2] = 1e-6
    one.process(out)
    assert one.playbacks == 1


def test_it_clips_on_the_way_out_and_on_the_way_in_and_has_24_bits() -> None:
    one = room(latency_frames=0, flow_full_scale_m3_s=4.0)
    out = np.array([[0.2, 0.3, 0.0], [5.0, -5.0, 2.0], [1e-9, 0.1, -3.0]])
    came = one.process(out).astype(np.float64)
    np.testing.assert_allclose(came[:, :2], [[0.8, 1 - 2**-23], [1 - 2**-23, -1.0], [0.0, 0.4]], atol=2**-24)
    assert came[1, 2] == pytest.approx(1.0, abs=1e-4) and came[2, 2] == pytest.approx(-1.0, abs=1e-4)
    steps = came * 2.0**23
    np.testing.assert_array_equal(steps, np.round(steps))


def test_the_clock_of_the_inputs_is_faster_by_so_many_ppm() -> None:
    t = np.arange(60_000)
    tone = np.tile(0.5 * np.sin(2 * np.pi * 1000 / RATE_HZ * t)[:, None], (1, 3))
    for ppm in (100.0, -100.0):
        came = passed(room(clock_ppm=ppm), tone, 1024)[200:50_000, 0]
        # A faster clock takes more samples of each cycle.
        lags = [np.angle((part * np.exp(-2j * np.pi * 1000 / RATE_HZ * np.arange(4800))).sum()) for part in
                (came[:4800], came[40_800:45_600])]  # fmt: skip
        drift = (lags[1] - lags[0] + np.pi) % (2 * np.pi) - np.pi
        assert drift == pytest.approx(-2 * np.pi * 1000 / RATE_HZ * 40_800 * 1e-6 * ppm, rel=0.02)


def test_noise_belongs_to_seed_and_counter() -> None:
    def heard(one: SoundRoom, seed: int, counter: int) -> Any:
        one.begin(seed, counter)
        return one.process(np.zeros((1500, 3)))

    one, other = room(noise_pa=1e-2), room(noise_pa=1e-2)
    heard(other, 9, 9)
    first = heard(one, 5, 7)
    np.testing.assert_array_equal(heard(other, 5, 7), first)
    np.testing.assert_array_equal(heard(one, 5, 7), first)
    large = (1 << 63) + 1
    for seed, counter in ((5, 8), (6, 7), (-5, 7), (large, 7), (large + 1, 7), (0, 0)):
        assert np.abs(heard(one, seed, counter) - first).max() > 1e-3
    assert np.abs(heard(one, large, 7) - heard(one, large + 1, 7)).max() > 1e-3
    quiet_part = heard(one, 5, 7)[LATENCY:, :2]
    assert quiet_part.std() == pytest.approx(1e-2, rel=0.1)
    assert np.abs(np.corrcoef(quiet_part.T)[0, 1]) < 0.15


def test_a_beginning_is_silent_and_a_new_stream_too() -> None:
    one = room(SoundFault("slip", -300, 90, 1), SoundFault("slip", -5, 10, 2))
    one.process(ramp(100))  # 290 frames are still to be lost
    one.begin(0, 0)
    came = one.process(ramp(1000))
    assert one.playbacks == 2
    assert frames_of(came)[LATENCY : LATENCY + 20].tolist() == [*range(10), *range(15, 25)]
    one.connected()
    assert not one.process(np.zeros((1000, 3)))[:, :2].any()
    assert one.room.resets == 3


def test_hum_has_its_harmonics() -> None:
    one = room(hum_pa=0.01, hum_hz=60.0, latency_frames=0)
    came = one.process(np.zeros((4000, 3)))[:, 0].astype(np.float64)
    spectrum = 2 / 4000 * np.abs(np.fft.rfft(came))
    assert spectrum[[5, 10, 30]] == pytest.approx([0.01, 0.005, 0.01 / 6], rel=1e-3)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("dropout 40 frames at 2.5 s of 3", SoundFault("dropout", 40, 120_000, 3)),
        ("slip -1 frames at 1 s of 1", SoundFault("slip", -1, 48_000, 1)),
        (" slip  +2  frames at 0.5s of 12 ", SoundFault("slip", 2, 24_000, 12)),
        ("clip 1 frame at 0 s of 1", SoundFault("clip", 1, 0, 1)),
    ],
)
def test_faults_are_written_in_words(text: str, fault: SoundFault) -> None:
    assert parse_sound_fault(text, RATE_HZ) == fault


HOW = '"dropout 40 frames at 2.5 s of 3", "slip -1 frames at 1 s of 1", "hum 2048 frames at 1 s of 1"'


@pytest.mark.parametrize(
    "text",
    ["", "dropout", "boom 3 frames at 1 s of 1", "hum 3 frames at 1 s", "hum 3 frames at -1 s of 1",
     "hum 3 frames at 1 s of 0", "hum 3.5 frames at 1 s of 1", "hum 3 frames at 1 of 1"],
)  # fmt: skip
def test_what_is_not_understood(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_sound_fault(text, RATE_HZ)
    assert str(caught.value) == (
        f"fault {text!r}: not understood; write {HOW}; known: dropout, clip, slip, repeat, hum, mute"
    )


@pytest.mark.parametrize(
    "text", ["dropout 0 frames at 1 s of 1", "slip 0 frames at 1 s of 1", "hum -3 frames at 1 s of 1"]
)
def test_lengths_that_are_none(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_sound_fault(text, RATE_HZ)
    assert str(caught.value) == f"fault {text!r}: {text.split()[1]} frames is no length; write {HOW}"
