"""The survey's arithmetic, on signals whose answers are known."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import lfilter

from labtrain.errors import MeasurementError
from labtrain.rigs.multitone import Multitone
from labtrain.rigs.survey.calibrator import calibration
from labtrain.rigs.survey.decay import decay, settle_times
from labtrain.rigs.survey.hum import without_hum
from labtrain.rigs.survey.idle import Idle, Line, analyse_idle
from labtrain.rigs.survey.levels import floor_digits
from labtrain.rigs.survey.shots import linearity, products, rank, repeatability, spectra_of
from labtrain.rigs.survey.steepness import fine_response, steep_features
from labtrain.rigs.survey.sweep import Sweep, band_limited, onset
from labtrain.rigs.survey.tones import Candidate, candidates, choose, products_apart

RATE = 48_000.0
BIN_HZ = RATE / 2048
SWEEP = Sweep(75.0, 2200.0, 1.0, 0.3, RATE)


def ringing(hz, alpha, frames=24_000):
    """Impulse response of a resonance: exp(-alpha t) sin(w t)."""
    time = np.arange(frames) / RATE
    return np.exp(-alpha * time) * np.sin(2 * np.pi * hz * time)


# -- sweep -----------------------------------------------------------------------------------------------------------


def test_a_sweep_gives_the_impulse_response_within_its_band():
    true = ringing(440.0, 40.0, 12_000)
    recording = lfilter(true, 1.0, 0.1 * SWEEP.samples())[:, None]
    found = SWEEP.deconvolve(recording, 0.1).impulse()[:, 0]
    np.testing.assert_allclose(found[:12_480], band_limited(true, SWEEP), atol=2e-3 * np.abs(true).max())


def test_harmonics_stand_apart_with_their_levels():
    # a2 x^2 + a3 x^3 of a sine: a2 A / 2 of it as second harmonic, a3 A^2 / 4 as third.
    wave = 0.5 * SWEEP.samples()
    found = SWEEP.deconvolve((wave + 0.1 * wave**2 + 0.2 * wave**3)[:, None], 0.5)
    frames = 1 << 14
    step = RATE / frames
    linear = abs(np.fft.rfft(found.impulse()[:, 0], frames)[round(300 / step)])
    second, third, fourth = (abs(found.harmonic(n, frames)[round(n * 300 / step), 0]) / linear for n in (2, 3, 4))
    fundamental = 1 + 0.75 * 0.2 * 0.25
    assert second == pytest.approx(0.1 * 0.5 / 2 / fundamental, rel=0.05)
    assert third == pytest.approx(0.2 * 0.25 / 4 / fundamental, rel=0.05)
    assert fourth < 0.002


def test_hum_is_taken_out_to_the_noise():
    true, time = ringing(150.0, 10.0, 12_000), np.arange(len(SWEEP.samples())) / RATE
    clean = lfilter(true, 1.0, 0.1 * SWEEP.samples())[:, None]
    orders = np.array([1, 3, 6])
    hum = np.sin(2 * np.pi * np.outer(time, orders * 50.02) + orders).sum(axis=1)[:, None]
    lines = tuple(Line(50.0 * n, np.ones(1)) for n in orders)
    idle = replace(quiet(), mains_hz=50.0, hum=lines, lines=lines)
    left = without_hum(clean + 0.01 * hum, SWEEP.quiet, idle, RATE) - clean
    assert np.abs(left).max() < 0.01 * 0.02
    assert without_hum(clean, SWEEP.quiet, quiet(), RATE) is clean


def test_onset_is_the_earliest_channel():
    impulse = np.zeros((100, 2))
    impulse[30, 0], impulse[20, 1] = 1.0, 0.5
    assert onset(impulse) == 20


# -- decay -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [0.0, 1e-3])
def test_reverberation_of_an_exponential(noise):
    rng = np.random.default_rng(0)
    t60 = 0.4
    envelope = np.exp(-3 * np.log(10) / t60 * np.arange(36_000) / RATE)
    impulse = envelope[:, None, None] * rng.standard_normal((36_000, 2, 2))
    impulse += noise * rng.standard_normal(impulse.shape)
    assert decay(impulse, RATE).t60_s == pytest.approx(t60, rel=0.04)


def test_noise_alone_has_no_reverberation_time():
    assert np.isnan(decay(np.random.default_rng(0).standard_normal((24_000, 1, 1)), RATE).t60_s)


@pytest.mark.parametrize("noise", [0.0, 3e-4])
def test_a_resonance_settles_exponentially(noise):
    alpha, target = 20.0, 0.002
    rng = np.random.default_rng(0)
    impulse = ringing(500.0, alpha) + noise * rng.standard_normal(24_000)
    found = settle_times(impulse[:, None, None], RATE, np.array([500.0]), target)
    assert found[0] == pytest.approx(np.log(1 / target) / alpha, rel=0.07)


# -- silence ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mains", [50.0, 60.0])
def test_hum_is_told_from_noise_and_from_other_lines(mains):
    time = np.arange(round(3 * RATE)) / RATE
    still = 1e-3 * np.random.default_rng(0).standard_normal((len(time), 2))
    for hz, size in ((1, 2e-3), (3, 1e-3), (7, 5e-4)):
        still[:, 0] += size * np.sin(2 * np.pi * hz * mains * 1.0004 * time)
    still[:, 1] += 1e-3 * np.sin(2 * np.pi * 777.0 * time)
    idle = analyse_idle(still, RATE, 2048, 2200.0)
    assert idle.mains_hz == mains
    assert [round(line.hz / mains) for line in idle.hum] == [1, 3, 7]
    (other,) = (line for line in idle.lines if line.hz > 700.0)
    assert other.hz == pytest.approx(777.0, abs=0.1) and other.amplitude[1] == pytest.approx(1e-3, rel=0.1)
    assert idle.bin_noise[100] == pytest.approx(1e-3 * np.sqrt(4 / 2048), rel=0.3)


def test_noise_alone_has_no_lines():
    idle = analyse_idle(np.random.default_rng(0).standard_normal((round(3 * RATE), 4)), RATE, 2048, 2200.0)
    assert idle.lines == () and idle.mains_hz is None


# -- steepness and tones ---------------------------------------------------------------------------------------------


def quiet(bins=1025, microphones=1):
    still = 1e-9 * np.ones((bins, microphones))
    return Idle(np.zeros(microphones), np.zeros(1), np.zeros((1, microphones)), still, (), None, ())


def bell(hz, q, gain):
    """A short direct sound, and a resonance (gain > 0) or a node (-1 < gain < 0) in it."""
    direct = np.zeros(48_000)
    direct[10] = 1.0
    w, alpha = 2 * np.pi * hz / RATE, np.sin(2 * np.pi * hz / RATE) / (2 * q)
    band = lfilter([alpha, 0, -alpha], [1 + alpha, -2 * np.cos(w), 1 - alpha], direct)
    return (direct + gain * band)[:, None, None]


def test_a_resonance_has_a_steepness_of_two_q():
    response = fine_response(ringing(500.0, np.pi * 500.0 / 60.0, 96_000)[:, None, None], RATE, BIN_HZ, (400.0, 600.0))
    assert response.steepness.max() == pytest.approx(120.0, rel=0.02)
    assert response.at(np.array([20 * BIN_HZ])).shape == (1, 1, 1)


def test_features_are_named():
    response = fine_response(bell(500.0, 100.0, 9.0), RATE, BIN_HZ, (200.0, 900.0))
    (feature,) = steep_features(response, 90.0, 20.0, BIN_HZ / 2)
    assert str(feature) == "resonance at 500.0 Hz (Q about 90, microphone 1)"
    response = fine_response(bell(500.0, 50.0, -0.98), RATE, BIN_HZ, (200.0, 900.0))
    assert {f.kind for f in steep_features(response, 90.0, 20.0, BIN_HZ / 2)} == {"node"}


def test_bins_near_resonances_nodes_mains_and_lines_are_no_candidates():
    response = fine_response(bell(515.0, 100.0, 9.0), RATE, BIN_HZ, (100.0, 900.0))
    found, _ = candidates(response, quiet(), BIN_HZ, (400.0, 600.0), 0.1)
    against = {c.bin: c.against for c in found}
    assert against[22] == ("1.0 Hz from a resonance at 514.6 Hz (Q about 90, microphone 1)",)
    assert against[24] == () and against[21] == ()
    assert against[23] == ("0.9 Hz from 540 Hz, a harmonic of 60 Hz mains",)


@pytest.mark.parametrize(
    ("bins", "third", "second"),
    [
        ((12, 14, 20, 24, 27), True, False),  # 24 is 2 x 12
        ((10, 13, 17), True, True),
        ((10, 14, 18), False, False),  # 2 x 14 - 10
        ((10, 13, 20, 23), False, False),  # 10 + 23 = 13 + 20
        ((10, 11, 30), False, False),  # neighbours
        ((10, 17, 27), True, False),  # 10 + 17
        ((10, 30, 37), True, False),  # 3 x 10
    ],
)
def test_products_fall_on_no_tone(bins, third, second):
    assert products_apart(bins) == third and products_apart(bins, strict=True) == second


def test_the_calmest_set_is_chosen():
    found = [Candidate(b, b * BIN_HZ, s, 0.0, s) for b, s in ((10, 1.0), (12, 2.0), (14, 3.0), (17, 4.0), (30, 9.0))]
    assert choose(found, [], 3, "audio").bins == (10, 12, 17)


def test_too_few_good_bins_are_told():
    found = [Candidate(10, 234.4, 1.0, 0.0, 1.0), Candidate(11, 257.8, 1.0, 0.0, 1.0, ("hum",))]
    with pytest.raises(MeasurementError) as error:
        choose(found, [], 2, "audio (sim)")
    assert str(error.value) == (
        "audio (sim): 1 of 2 bins are clear of hum, noise, resonances and nodes, and no 2 of them keep their products "
        "apart; ask for fewer with --tones, or widen --band"
    )


# -- shots -----------------------------------------------------------------------------------------------------------

TONE = Multitone(2048, (12, 17, 27), 1, 4, 0, 64)


def shots(amplitudes, shape=lambda x: x, noise=0.0):
    played = TONE.play(np.asarray(amplitudes)[:, None, None] * np.ones((1, 1, 3)))
    heard = shape(played) + noise * np.random.default_rng(0).standard_normal(played.shape)
    return spectra_of(TONE, heard, len(amplitudes))


def test_a_cube_gives_products_that_rise_by_12_db_with_6_db_of_level():
    levels = np.array([0.05, 0.1, 0.2])
    spectra, peak = shots(levels, lambda x: x + 0.1 * x**3)
    found = linearity(spectra, TONE.bins, levels, peak)
    np.testing.assert_allclose(np.diff(found.product_db), 12.04, atol=0.15)
    assert (found.product_db > found.noise_db).all() and np.abs(found.gain_db[0]).max() < 1e-9
    noisy, peak = shots(levels, noise=1e-3)
    found = linearity(noisy, TONE.bins, levels, peak)
    assert (found.product_db < found.noise_db).all()


def test_products_of_two_tones():
    assert products((10, 14), 60) == [4, 6, 18, 20, 24, 28, 30, 34, 38, 42]


def test_noise_and_drift_are_told_apart():
    spectra, _ = shots(np.full(40, 0.1), noise=1e-2)
    steady = repeatability(spectra, TONE.bins)
    expected = 1e-2 * np.sqrt(2 / 2048 / 4) / 0.1
    assert np.median(steady.noise) == pytest.approx(expected, rel=0.1)
    assert np.median(steady.total) == pytest.approx(expected, rel=0.25)
    drifting = repeatability(shots(0.1 * (1 + 0.01 * np.sin(np.arange(40))), noise=1e-3)[0], TONE.bins)
    assert np.median(drifting.drift) == pytest.approx(0.00716, rel=0.1)


def test_rank_counts_what_stands_above_the_noise():
    response = np.array([np.diag([1.0, 0.5, 0.1]), np.diag([1.0, 1e-3, 0.0])]).astype(complex)
    found = rank(response, 0.1, np.full((2, 3), 1e-6))
    assert found.per_tone == (3, 1) and found.total == 4
    assert rank(response, 0.1, np.full((2, 3), 5e-3)).per_tone == (2, 1)


def test_levels_are_rounded_down():
    assert [floor_digits(x) for x in (0.1899, 0.18, 0.0456, 1.0)] == [0.18, 0.18, 0.045, 1.0]


# -- calibrator ------------------------------------------------------------------------------------------------------


def test_a_calibrator_is_found_and_judged():
    time = np.arange(round(4 * RATE)) / RATE
    rng = np.random.default_rng(0)
    tone = 0.05 * np.sin(2 * np.pi * 1003.0 * time) + 1e-4 * rng.standard_normal(len(time))
    found = calibration(tone + 0.2 * np.sin(2 * np.pi * 50.0 * time), RATE, 1000.0, 94.0)
    assert found.hz == pytest.approx(1003.0, abs=0.02) and found.problem() == ""
    assert found.pascal_full_scale == pytest.approx(np.sqrt(2) * 2e-5 * 10**4.7 / 0.05, rel=1e-3)
    faint = calibration(0.01 * tone + 1e-3 * rng.standard_normal(len(time)), RATE, 1000.0, 94.0)
    assert faint.problem() == "its tone stands -9 dB above the rest, needed 20 dB"
    swaying = calibration(tone * (1 + 0.05 * np.sin(2 * np.pi * 0.7 * time)), RATE, 1000.0, 94.0)
    assert swaying.problem() == "its level varies by 0.27 dB, allowed 0.1 dB"
