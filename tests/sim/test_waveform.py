import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from labtrain.errors import InputError, MeasurementError
from labtrain.sim.acoustic import AcousticParameters, AcousticWorld
from labtrain.sim.waveform import CavityWaveform

PARAMETERS = AcousticParameters(noise=0)
RATE_HZ, PERIOD = 48_000, 2048
RNG = np.random.default_rng(0)
DRIVE = np.concatenate([RNG.random((1, 20)), np.ones((1, 20))])
NOISE = 5e-5 * RNG.normal(size=(3000, 4))


@pytest.fixture(scope="module")
def world():
    return AcousticWorld(PARAMETERS, seed=0)


@pytest.fixture(scope="module")
def linear_world():
    return AcousticWorld(replace(PARAMETERS, cubic_n_m3=0), seed=0)


@pytest.fixture(scope="module")
def shared(world):
    return CavityWaveform(world, RATE_HZ)


@pytest.fixture(scope="module")
def shared_linear(linear_world):
    return CavityWaveform(linear_world, RATE_HZ)


@pytest.fixture
def cavity(shared):
    shared.reset()
    return shared


@pytest.fixture
def linear(shared_linear):
    shared_linear.reset()
    return shared_linear


def rms(values):
    return np.sqrt((values**2).mean())


def multitone(world, drive, frames):
    """Flows of the speakers, (frames, speakers), as the frequency-domain world has them."""
    phasors = world.parameters.full_drive_m3_s * world.phasors(drive[None])[:, :, 0]
    return (np.exp(2j * np.pi * np.outer(np.arange(frames) / RATE_HZ, world.tones_hz)) @ phasors).real


def steady_amplitudes(cavity, world, drive, periods=12):
    heard = cavity.process(multitone(world, drive, periods * PERIOD))[-PERIOD:]
    spectrum = 2 * np.fft.rfft(heard, axis=0, norm="forward")
    return np.abs(spectrum[list(world.parameters.tone_bins)]).T.ravel()


@pytest.mark.parametrize("drive", DRIVE)
def test_steady_tones_are_those_of_harmonic_balance(world, cavity, drive):
    expected = world.respond_without_noise(drive[None])[0]
    assert np.abs(steady_amplitudes(cavity, world, drive) - expected).max() < 3e-4 * rms(expected)


def test_the_onset_is_that_of_direct_integration():
    world = AcousticWorld(replace(PARAMETERS, highest_mode_hz=500), seed=0)
    p, air, frames = world.parameters, world.air(0).cavity, 1500
    n, tones = len(air.resonance), p.full_drive_m3_s * world.phasors(DRIVE[1:])[:, :, 0]

    def flow(t):
        return np.sin(np.pi / 2 * min(t / 0.01, 1)) ** 2 * (np.exp(2j * np.pi * world.tones_hz * t) @ tones).real

    def rates(t, x):
        b, db, xi, dxi = np.split(x, [n, 2 * n, 2 * n + p.membranes])
        pushed = flow(t) @ air.at_speakers + p.membrane_area_m2 * dxi @ air.at_membranes
        force = -p.membrane_loss_n_s_m * dxi - air.spring_n_m * xi - p.cubic_n_m3 * xi**3
        force -= p.membrane_area_m2 * air.at_membranes @ db
        ddb = air.gain * pushed - air.damping * db - air.resonance**2 * b
        return np.concatenate([db, ddb, dxi, force / p.membrane_mass_kg])

    times = np.arange(frames) / RATE_HZ
    start = np.zeros(2 * (n + p.membranes))
    solved = solve_ivp(rates, (0, times[-1]), start, "DOP853", times, rtol=1e-8, atol=1e-14)
    expected = solved.y[n : 2 * n].T @ air.at_microphones.T
    found = CavityWaveform(world, RATE_HZ).process([flow(t) for t in times])
    assert np.abs(found - expected).max() < 2e-5 * np.abs(expected).max()


def test_without_cubic_springs_the_tones_agree_closely(world, linear_world, linear):
    expected = linear_world.respond_without_noise(DRIVE[:1])[0]
    found = steady_amplitudes(linear, linear_world, DRIVE[0])
    assert np.abs(found - expected).max() < 2e-5 * rms(expected)
    # The agreement above with cubic springs is far inside what they do.
    assert np.abs(found - world.respond_without_noise(DRIVE[:1])[0]).max() > 0.02 * rms(expected)


def test_the_impulse_response_is_the_transform_of_the_frequency_response(linear_world, linear):
    p, air = linear_world.parameters, linear_world.air(0)
    omega = 2 * np.pi * p.bin_hz * np.arange(p.bins)
    at = air.cavity
    force = -p.membrane_area_m2 * at.impedance(omega, at.at_membranes, at.at_speakers)
    load = 1j * omega[:, None, None] * p.membrane_area_m2**2 * at.impedance(omega, at.at_membranes, at.at_membranes)
    own = at.spring_n_m + omega[:, None] * (1j * p.membrane_loss_n_s_m - omega[:, None] * p.membrane_mass_kg)
    moved = np.linalg.solve(load + own[:, :, None] * np.eye(p.membranes), force)
    expected = at.impedance(omega, at.at_microphones, at.at_speakers) + air.radiated @ moved
    # Folded onto one period, a response has the spectrum of the answer to an impulse per period.
    response = linear.impulse_response(48 * PERIOD).reshape(48, PERIOD, p.microphones, p.speakers).sum(axis=0)
    found = np.fft.rfft(response, axis=0)[: p.bins] / RATE_HZ
    assert np.abs(found - expected).max() < 5e-5 * np.abs(expected).max()


def test_a_single_sample_of_flow_gives_the_impulse_response(linear):
    expected = linear.impulse_response(1000)
    for speaker in range(4):
        linear.reset()
        flow = np.zeros((1000, 4))
        flow[0, speaker] = RATE_HZ
        np.testing.assert_allclose(linear.process(flow), expected[:, :, speaker], atol=1e-11 * np.abs(expected).max())
    np.testing.assert_array_equal(linear.impulse_response(1), expected[:1])


@pytest.mark.parametrize("cuts", [range(1, 40), range(64, 3000, 64), [1000, 1001, 1033, 2500], [0, 256, 511, 2999]])
def test_how_the_stream_is_cut_does_not_matter(world, cavity, linear, cuts):
    for system, flow, tolerance in ((linear, NOISE, 1e-11), (cavity, multitone(world, DRIVE[1], 3000), 1e-8)):
        system.reset()
        whole = system.process(flow)
        system.reset()
        parts = np.concatenate([system.process(part) for part in np.split(flow, list(cuts))])
        np.testing.assert_allclose(parts, whole, rtol=0, atol=tolerance * np.abs(whole).max())


def test_the_answer_is_causal(cavity):
    whole = cavity.process(NOISE)
    cavity.reset()
    changed = NOISE.copy()
    changed[777:] *= -0.5
    answer = cavity.process(changed)
    np.testing.assert_allclose(answer[:777], whole[:777], rtol=0, atol=1e-8 * np.abs(whole).max())
    assert (np.abs(answer[777:780] - whole[777:780]) > 1e-6 * np.abs(whole).max()).any()


def test_sound_dies_away_at_the_decay_rates(linear_world):
    # At a low rate four seconds pass quickly; of all modes the slowest remains, as a damped cosine.
    cavity = CavityWaveform(linear_world, 8_000)
    rates = cavity.decay_rates()
    assert rates.min() > 0
    cavity.process(NOISE[:500])
    tail = cavity.process(np.zeros((32_000, 4)))[-2_000:, 0]
    (a, b), *_ = np.linalg.lstsq(np.stack([tail[1:-1], tail[:-2]], axis=1), tail[2:], rcond=None)
    pole = np.log(np.roots([1, -a, -b])[0]) * 8_000
    slowest = rates.argmin()
    np.testing.assert_allclose(-pole.real, rates[slowest], rtol=1e-4)
    np.testing.assert_allclose(abs(pole.imag), 2 * np.pi * cavity.resonance_hz()[slowest], rtol=1e-6)


def test_modes_are_as_many_as_the_equations_have(linear_world, linear):
    air, membranes = linear_world.air(0).cavity.resonance, PARAMETERS.membranes
    frequencies = linear.resonance_hz()
    # Each swings as a pair of states, but for the uniform mode, which can only leak.
    assert (frequencies > 0).sum() * 2 + (frequencies == 0).sum() == 2 * (len(air) + membranes) - 1
    assert (np.diff(frequencies) >= 0).all()


def test_silence_stays_silent_and_returns_after_a_reset(cavity):
    assert not cavity.process(np.zeros((1000, 4))).any()
    cavity.process(NOISE)
    assert cavity.process(np.zeros((10, 4))).any()
    cavity.reset()
    assert not cavity.process(np.zeros((1000, 4))).any()


def test_no_frames_give_no_frames(cavity):
    assert cavity.process(np.zeros((0, 4))).shape == (0, 4)


def test_a_state_goes_through_json_and_goes_on_bit_for_bit(cavity, world):
    cavity.process(NOISE[:1111])
    state = json.loads(json.dumps(cavity.state()))
    expected = cavity.process(NOISE[1111:])
    cavity.restore(state)
    np.testing.assert_array_equal(cavity.process(NOISE[1111:]), expected)
    other = CavityWaveform(world, RATE_HZ)
    other.restore(state)
    np.testing.assert_array_equal(other.process(NOISE[1111:]), expected)


def test_a_state_of_another_cavity_is_refused(cavity):
    state = cavity.state()
    modes = len(state["real"])
    with pytest.raises(InputError) as caught:
        cavity.restore({**state, "last": state["last"][:-1]})
    assert str(caught.value) == (
        f"acoustic waveform: a state of {modes} modes and 11 inputs is not one of this cavity of {modes} and 12; "
        "restore with the acoustic parameters it was kept with"
    )


def test_a_warmer_cavity_answers_as_the_world_does(world):
    own = AcousticWorld(PARAMETERS, seed=0)
    cavity, cold = CavityWaveform(own, RATE_HZ), world.respond_without_noise(DRIVE[:1])[0]
    own.disturb("temperature", kelvin=1.0)
    cavity.process(NOISE)
    cavity.follow(0)
    warm = own.respond_without_noise(DRIVE[:1])[0]
    assert np.abs(steady_amplitudes(cavity, own, DRIVE[0]) - warm).max() < 3e-4 * rms(warm)
    assert np.abs(warm - cold).max() > 0.05 * rms(warm)


def test_what_sounds_sounds_on_when_the_temperature_changes(world):
    own = AcousticWorld(PARAMETERS, seed=0)
    cavity, still = CavityWaveform(own, RATE_HZ), CavityWaveform(world, RATE_HZ)
    for system in (cavity, still):
        system.process(NOISE)
    modes = cavity.resonance_hz()
    cavity.follow(300)  # no drift: the same air
    np.testing.assert_array_equal(cavity.resonance_hz(), modes)
    own.disturb("temperature", kelvin=0.01)
    cavity.follow(0)
    assert (cavity.resonance_hz() > modes)[1:].any()
    sound, expected = cavity.process(np.zeros((100, 4))), still.process(np.zeros((100, 4)))
    np.testing.assert_allclose(sound, expected, rtol=0, atol=1e-3 * np.abs(expected).max())


def test_springs_too_hard_to_follow_are_an_error_and_change_nothing(cavity):
    cavity.process(NOISE)
    state = cavity.state()
    flow = np.concatenate([NOISE[:1000], 1e4 * NOISE])
    with pytest.raises(MeasurementError) as caught:
        cavity.process(flow)
    assert str(caught.value) == (
        "acoustic waveform: the membranes' cubic springs are too hard to follow at 48000 Hz; lower the flow or "
        "cubic_n_m3, or raise the sampling rate"
    )
    assert cavity.state() == state


def test_louder_sound_takes_shorter_chunks_and_agrees_with_a_finer_sampling(world, cavity):
    tone = 5e-4 * np.sin(2 * np.pi * 400 * np.arange(4096) / (2 * RATE_HZ))[:, None] * np.ones(4)
    fine = CavityWaveform(world, 2 * RATE_HZ).process(tone)[::2]
    np.testing.assert_allclose(cavity.process(tone[::2]), fine, rtol=0, atol=1e-3 * np.abs(fine).max())


@pytest.mark.parametrize("flow", [np.zeros(4), np.zeros((5, 3)), np.full((5, 4), np.nan)])
def test_a_flow_of_the_wrong_kind_is_refused(cavity, flow):
    with pytest.raises(InputError, match="flow of shape") as caught:
        cavity.process(flow)
    assert str(caught.value) == (f"acoustic waveform: flow of shape {flow.shape} is not (frames, 4) of finite numbers")


@pytest.mark.parametrize("rate_hz", [3000, float("nan")])
def test_a_rate_below_the_modes_is_refused(world, rate_hz):
    with pytest.raises(InputError) as caught:
        CavityWaveform(world, rate_hz)
    highest_hz = world.air(0).cavity.resonance.max() / np.pi
    assert str(caught.value) == (
        f"acoustic waveform: sampling rate {rate_hz:g} Hz, allowed {highest_hz:.0f} Hz or more, twice the highest "
        "resonance; raise it or lower highest_mode_hz"
    )
