"""Multitones: what is played is what was asked for, without clicks, and what is heard comes apart without leakage."""

from __future__ import annotations

import numpy as np
import pytest

from labtrain.rigs.multitone import Multitone, between_periods

PERIOD, BINS = 512, (12, 14, 20, 24, 27)


def tones(
    guards: int = 0, ramp: int = 100, bins: tuple[int, ...] = BINS, periods: tuple[int, int] = (2, 3)
) -> Multitone:
    return Multitone(PERIOD, bins, *periods, guards, ramp)


def windows(m: Multitone, played: np.ndarray, shots: int) -> np.ndarray:
    starts = [k * m.shot_frames for k in range(shots)]
    return np.stack([played[s + m.window.start : s + m.window.stop] for s in starts])


@pytest.mark.parametrize("guards", [0, 1])
def test_the_analysed_window_holds_the_tones_that_were_asked_for(guards: int) -> None:
    m, amplitudes = tones(guards), np.random.default_rng(0).random((4, 2, 5))
    spectra = m.spectra(windows(m, m.play(amplitudes), 4))
    assert spectra.shape == (4, 3, PERIOD // 2 + 1, 2)
    heard = np.swapaxes(spectra[:, :, list(BINS)], 2, 3)  # (shots, periods, speakers, tones)
    expected = amplitudes[:, None] * np.exp(1j * m.phases_rad)
    np.testing.assert_allclose(heard, np.broadcast_to(expected, heard.shape), atol=1e-12)
    np.testing.assert_allclose(m.referred(spectra[:, :, list(BINS)], BINS).imag, 0.0, atol=1e-12)


def test_tones_do_not_leak_into_one_another_or_anywhere_else() -> None:
    m, one = tones(), np.zeros((1, 1, 5))
    one[0, 0, 2] = 1.0
    modulus = np.abs(m.spectra(windows(m, m.play(one), 1)))[0, :, :, 0]
    assert modulus[:, 20] == pytest.approx(1.0, abs=1e-12)
    assert np.delete(modulus, 20, axis=1).max() < 1e-12


def test_phases_keep_the_crest_factor_low() -> None:
    for count in (5, 10, 20):
        m = tones(bins=tuple(range(12, 12 + count)), ramp=0)
        period = m.play(np.ones((1, 1, count)))[:PERIOD, 0]
        crest = np.abs(period).max() / np.sqrt((period**2).mean())
        assert crest < 2.2  # 1.4 is a sine; in phase it is sqrt(2 * count), 3.2 to 6.3
    np.testing.assert_allclose(tones().phases_rad, np.pi * np.arange(5) ** 2 / 5)


@pytest.mark.parametrize("guards", [0, 1])
def test_no_step_is_larger_than_tones_and_ramp_allow(guards: int) -> None:
    ramp = 100
    m = tones(guards, ramp)
    amplitudes = np.random.default_rng(1).integers(0, 2, (6, 3, 5)).astype(float)
    out = m.play(amplitudes)
    # |d/dn a(n) cos(w n)| <= a w + |da/dn|; a cosine ramp changes by pi / 2 / frames at most.
    steepest = sum(2 * np.pi * b / PERIOD for b in BINS) + 5 * np.pi / 2 / ramp
    silent = np.zeros((1, 3))
    steps = np.abs(np.diff(np.concatenate([silent, out, silent]), axis=0))
    assert steps.max() <= steepest * 1.001
    if not guards:  # a bound with sense: without ramps it is broken
        hard = np.abs(np.diff(np.concatenate([silent, tones(0, 0).play(amplitudes)]), axis=0))
        assert hard.max() > 1.5 * steps.max()


def test_shots_of_the_same_drive_are_one_unbroken_sound() -> None:
    m, same = tones(), np.repeat(np.random.default_rng(2).random((1, 2, 5)), 3, axis=0)
    out = m.play(same)
    sounding = out[PERIOD : 3 * m.shot_frames]
    np.testing.assert_allclose(sounding[PERIOD:], sounding[:-PERIOD], atol=1e-12)
    assert len(out) == 3 * m.shot_frames + 100 and np.abs(out[-1]).max() < 1e-3


def test_guards_are_silent_and_the_ramp_before_them_is_not_analysed() -> None:
    m = tones(guards=2)
    out = m.play(np.ones((2, 1, 5)))
    assert len(out) == 2 * m.shot_frames
    for shot in range(2):
        guard = out[shot * m.shot_frames + m.window.stop : (shot + 1) * m.shot_frames]
        assert len(guard) == 2 * PERIOD and np.abs(guard[:100]).max() > 0.1 and not guard[100:].any()


def test_a_ramp_may_be_longer_than_a_period() -> None:
    long = tones(guards=2, ramp=700).play(np.ones((2, 2, 5)))
    assert np.abs(np.diff(long, axis=0)).max() < sum(2 * np.pi * b / PERIOD for b in BINS) + 5 * np.pi / 2 / 700


def test_a_bin_that_is_not_played_keeps_its_phase() -> None:
    m = tones()
    heard = np.full((1, 3, 2), 1j)
    referred = m.referred(heard, (14, 40, 27))
    np.testing.assert_allclose(referred[0, :, 0], 1j * np.exp(-1j * np.array([m.phases_rad[1], 0.0, m.phases_rad[4]])))


@pytest.mark.parametrize("periods", [2, 3, 8])
def test_noise_between_periods_is_the_noise_of_one_period_without_bias(periods: int) -> None:
    m, sigma = tones(periods=(1, periods)), 0.3
    noise = sigma * np.random.default_rng(3).standard_normal((400, periods * PERIOD, 1))
    steady = np.tile(m.play(np.ones((1, 1, 5)))[PERIOD : 2 * PERIOD], (periods, 1))
    power = between_periods(m.spectra(noise + steady))[:, 1:-1, 0]
    expected = 4.0 / PERIOD * sigma**2  # |2/N X|^2 of white noise
    assert power.mean() == pytest.approx(expected, rel=0.02)
    # Chi-square with 2 (P - 1) degrees of freedom: its variance is mean^2 / (P - 1).
    assert power.var() == pytest.approx(expected**2 / (periods - 1), rel=0.05)
    assert np.abs(between_periods(m.spectra(steady[None]))).max() < 1e-20
