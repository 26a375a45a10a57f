"""Marks on a loopback: found to the sample, and whatever is not as it was sent is noticed."""

from __future__ import annotations

import numpy as np
import pytest

from labtrain.rigs.sync_mark import BAND, BLOCK, PROMINENT, REACH, first_difference, learn_loop, locate, mark

SENT = mark(5, 1, 16_384, 0.25)
RNG = np.random.default_rng(0)


def heard(sent: np.ndarray, latency: int, noise: float = 1e-5, gain: float = 0.9, more: int = 4000) -> np.ndarray:
    received = np.concatenate([np.zeros(latency), gain * sent, np.zeros(more)])
    return received + noise * np.random.default_rng(1).standard_normal(len(received))


def test_a_mark_belongs_to_its_seed_and_number_alone() -> None:
    assert mark(5, 1, 16_384, 0.25).tobytes() == SENT.tobytes()
    for other in (mark(5, 2, 16_384, 0.25), mark(6, 1, 16_384, 0.25), mark(-5, 1, 16_384, 0.25)):
        assert abs(np.corrcoef(SENT, other)[0, 1]) < 0.1
    assert np.abs(SENT).max() == pytest.approx(0.25)
    power = np.abs(np.fft.rfft(SENT)) ** 2
    f = np.linspace(0, 1, len(power))
    inside = (f > 0.5 * BAND[0]) & (f < BAND[1] + 0.03)
    assert power[~inside].sum() < 1e-3 * power.sum()


@pytest.mark.parametrize("latency", [0, 1, 611, 3999])
@pytest.mark.parametrize("gain", [0.9, -0.01])
def test_it_is_found_to_the_sample(latency: int, gain: float) -> None:
    lag, prominence = locate(SENT, heard(SENT, latency, 1e-3 * abs(gain), gain))
    assert lag == latency and prominence > 2 * PROMINENT


def test_what_is_not_there_is_not_prominent() -> None:
    for number in range(20):
        assert locate(mark(5, 2 + number, 16_384, 0.25), heard(SENT, 700))[1] < PROMINENT
    assert locate(SENT, np.zeros(20_000))[1] == 0.0
    assert locate(SENT, RNG.standard_normal(20_000))[1] < PROMINENT


def test_where_there_is_nowhere_else_nothing_is_prominent() -> None:
    assert locate(SENT, RNG.standard_normal(len(SENT))) == (0, 0.0)
    assert locate(SENT, RNG.standard_normal(100))[1] == 0.0


def test_latency_and_filter_are_learned() -> None:
    response = np.array([0.05, -0.1, 0.8, 0.3, -0.1])  # peak at its third sample
    received = heard(np.convolve(SENT, response), 611, gain=1.0)
    loop = learn_loop(SENT, received)
    assert loop is not None and loop.latency == 613
    assert loop.noise == pytest.approx(1e-5, rel=0.1)
    other = mark(5, 9, 8000, 0.25)
    came = heard(np.convolve(other, response), 611, gain=1.0)[613 : 613 + 8000]
    inner = slice(REACH, -REACH)
    assert np.sqrt(((loop.expected(other) - came)[inner] ** 2).mean()) < 3e-5
    assert first_difference(loop.expected(other)[inner], came[inner], loop.tolerance) is None
    assert loop.tolerance == pytest.approx(0.02 * loop.level)


def test_a_mark_that_did_not_come_back_is_not_learned() -> None:
    assert learn_loop(SENT, 1e-3 * RNG.standard_normal(30_000)) is None
    assert learn_loop(SENT, heard(SENT, 611)[:16_000]) is None
    assert learn_loop(SENT, np.zeros(30_000)) is None


def clean(frames: int = 8000) -> np.ndarray:
    return mark(5, 3, frames, 0.25)


def slipped(frames: int, by: int) -> np.ndarray:
    """The mark, from frame 4000 on so many frames later."""
    whole = mark(5, 3, frames, 0.25)
    return np.concatenate([whole[:4000], np.roll(whole, by)[4000:]])


@pytest.mark.parametrize("by", [1, -1, 5, 256])
def test_a_slip_of_any_size_is_noticed_where_it_is(by: int) -> None:
    level = float(np.sqrt((clean() ** 2).mean()))
    at = first_difference(clean(), slipped(8000, by), 0.02 * level)
    assert at is not None and 4000 - BLOCK <= at <= 4000 + BLOCK


@pytest.mark.parametrize("frames", [1, 8, 40])
def test_zeros_are_noticed_wherever_they_are(frames: int) -> None:
    length = 8000 + 17  # not a whole number of blocks
    sent = clean(length)
    level, missed = float(np.sqrt((sent**2).mean())), 0
    places = [*range(0, 3 * BLOCK), *range(length - 2 * BLOCK, length - frames + 1)]
    for at in places:
        came = sent.copy()
        came[at : at + frames] = 0.0
        found = first_difference(sent, came, 0.02 * level)
        missed += found is None
        assert found is None or found <= at < found + BLOCK or found <= at + frames - 1
    assert missed <= (frames == 1) * len(places) // 5  # one sample may have been 0 nearly


def test_steady_noise_is_no_difference_and_numbers_that_are_none_are_one() -> None:
    sent = clean()
    assert first_difference(sent, sent + 1e-4 * RNG.standard_normal(8000), 4e-4) is None
    broken = sent.copy()
    broken[5000] = np.nan
    assert first_difference(sent, broken, 0.1) == 5000 // BLOCK * BLOCK
    assert first_difference(sent[:20], sent[:20], 1e-9) is None
    assert first_difference(sent[:20], -sent[:20], 1e-9) == 0
    assert first_difference(sent[:0], sent[:0], 1e-9) is None
