import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labtrain.errors import InputError, MeasurementError
from labtrain.sim.acoustic import BLOCK, HOLD, AcousticParameters, AcousticWorld
from labtrain.sim.time_stepping import time_stepped

PARAMETERS = AcousticParameters()
DRIVE = np.random.default_rng(0).random((300, 20))


@pytest.fixture(scope="module")
def world():
    return AcousticWorld(PARAMETERS, seed=7)


@pytest.fixture
def own_world():
    return AcousticWorld(PARAMETERS, seed=7)


def rms(values):
    return np.sqrt((values**2).mean())


def test_harmonic_balance_agrees_with_time_stepping(world):
    quiet, linear = AcousticWorld(replace(PARAMETERS, noise=0), 0), AcousticWorld(replace(PARAMETERS, cubic_n_m3=0), 0)
    drive = np.concatenate([DRIVE[:2], np.ones((1, 20))])
    y = quiet.respond_without_noise(drive)
    coarse, fine = (time_stepped(quiet, drive, steps_per_period=n, settle_periods=8) for n in (512, 1024))
    assert np.abs(fine - y).max() < 0.01 * rms(y)
    # Second order: extrapolated to steps of zero length the two solvers meet far inside the cubic spring's effect.
    assert np.abs((4 * fine - coarse) / 3 - y).max() < 1e-3 * rms(y)
    assert np.abs(linear.respond_without_noise(drive) - y).max() > 0.02 * rms(y)


def test_every_shot_converges_and_intermodulation_is_as_stated(world):
    balance, air = world.balance(DRIVE), world.air(0)
    assert balance.residual.max() <= 1e-4
    bins = list(PARAMETERS.tone_bins)
    pressure = 2 * (air.radiated @ balance.spectrum)
    tones = air.direct @ world.phasors(DRIVE) + pressure[bins]
    products = np.delete(pressure, bins, axis=0)
    level_db = 10 * np.log10((np.abs(products) ** 2).sum() / (np.abs(tones) ** 2).sum())
    assert -50 < level_db < -40


@settings(max_examples=12, deadline=None)
@given(first=st.integers(0, 600), cuts=st.lists(st.integers(1, 39), max_size=3))
def test_an_answer_depends_on_its_shot_alone(world, first, cuts):
    drive = DRIVE[:40]
    whole = world.respond(drive, first)
    parts = np.split(np.arange(40), sorted(set(cuts)))
    split = [world.respond(drive[part], first + part[0]) for part in reversed(parts)]
    np.testing.assert_array_equal(np.concatenate(split[::-1]), whole)
    # Shot 20 again, alone and between other neighbours.
    np.testing.assert_array_equal(world.respond(drive[20:21], first + 20)[0], whole[20])
    neighbours = DRIVE[100:140].copy()
    neighbours[20] = drive[20]
    np.testing.assert_array_equal(world.respond(neighbours, first)[20], whole[20])


def test_the_same_drive_at_the_same_place_of_two_blocks_differs_by_noise_alone(world):
    clean = world.respond_without_noise(DRIVE[:BLOCK], 0)
    np.testing.assert_array_equal(clean, world.respond_without_noise(DRIVE[:BLOCK], 5 * BLOCK))
    assert not np.array_equal(world.respond(DRIVE[:BLOCK], 0), world.respond(DRIVE[:BLOCK], 5 * BLOCK))


def test_noise_has_its_stated_size_and_follows_the_seed(world):
    clean, noisy = world.respond_without_noise(DRIVE[:1]), world.respond(np.repeat(DRIVE[:1], 800, axis=0), 0)
    reference = np.sqrt((world.respond_without_noise(DRIVE) ** 2).mean(axis=0))
    loud = clean[0] > 0.2 * reference  # there the amplitude scatters as much as one quadrature
    assert loud.sum() > 10
    np.testing.assert_allclose(noisy.std(axis=0)[loud], 0.002 * reference[loud], rtol=0.3)
    other = AcousticWorld(PARAMETERS, seed=8).respond(DRIVE[:4], 0)
    assert not np.array_equal(other, world.respond(DRIVE[:4], 0))


def test_tones_that_share_a_channel_interfere(world):
    """An amplitude is the modulus of a superposition: speakers at one tone interfere, tones hardly meet."""
    both, first, second = np.zeros((3, 20))
    both[[0, 5]] = 0.5
    first[0] = second[5] = 0.5
    y = world.respond_without_noise(np.stack([both, first, second])).reshape(3, 4, 5)
    assert np.abs(y[0, :, 0] ** 2 - y[1, :, 0] ** 2 - y[2, :, 0] ** 2).max() > 0.1 * (y[0, :, 0] ** 2).max()
    assert y[:, :, 1:].max() < 0.01 * y[:, :, 0].max()


def test_drift_is_a_function_of_the_shot_number():
    p = replace(PARAMETERS, drift_walk_k=0.05, drift_sine_k=0.2, drift_period_shots=3000.0)
    world, again = AcousticWorld(p, 3), AcousticWorld(p, 3)
    late = world.respond(DRIVE[:4], 9 * HOLD)
    assert not np.array_equal(
        world.respond_without_noise(DRIVE[:4], 0), world.respond_without_noise(DRIVE[:4], 9 * HOLD)
    )
    np.testing.assert_array_equal(again.respond(DRIVE[:4], 9 * HOLD), late)
    readings = [world.environment(shot)["temperature_c"] for shot in range(0, 40 * HOLD, HOLD)]
    assert 0.05 < np.std(readings) < 2
    assert world.environment(HOLD - 1) == world.environment(0)


def test_a_bumped_scatterer_changes_the_answers_from_its_shot_on():
    world = AcousticWorld(replace(PARAMETERS, scatterer_moves_at_shot=HOLD, scatterer_move_m=0.02), 0)
    before, after = (world.respond_without_noise(DRIVE[:20], shot) for shot in (0, HOLD))
    assert 0.01 < rms(after - before) / rms(before) < 0.5


def test_temperature_detunes_as_the_speed_of_sound_does(own_world):
    before = own_world.respond_without_noise(DRIVE[:50])
    own_world.disturb("temperature", kelvin=0.02)
    small = rms(own_world.respond_without_noise(DRIVE[:50]) - before) / rms(before)
    assert 2e-4 < small < 5e-3  # 0.02 K costs about the noise


def test_a_disturbed_world_comes_back_from_its_state(own_world):
    own_world.disturb("temperature", kelvin=0.5)
    own_world.disturb("scatterer", disc=1, dx_m=0.01, dy_m=0.0)
    state = json.loads(json.dumps(own_world.state()))
    disturbed = own_world.respond(DRIVE[:5], 40)
    own_world.restart(9)
    assert own_world.state()["seed"] == 9 and own_world.state()["disturbances"] == []
    assert not np.array_equal(own_world.respond(DRIVE[:5], 40), disturbed)
    own_world.restore(state)
    np.testing.assert_array_equal(own_world.respond(DRIVE[:5], 40), disturbed)


@pytest.mark.parametrize(("strong", "found"), [(0, "no"), (3, "more than one")])
def test_a_folded_shot_is_refused_by_its_number(strong, found):
    world = AcousticWorld(replace(PARAMETERS, noise=0, cubic_n_m3=4e14), 0)
    drive = np.full((40, 20), 0.05)
    world.respond(drive, 100)
    drive[23] = DRIVE[strong]
    with pytest.raises(MeasurementError) as raised:
        world.respond(drive, 100)
    assert str(raised.value) == (
        f"acoustic world: found {found} steady answer to shot 123, the membranes' cubic springs fold; "
        "lower the drive, full_drive_m3_s or cubic_n_m3"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tone_bins": (12, 12)}, "must rise from 1 or more"),
        ({"tone_bins": (12, 99)}, "to less than 40"),
        ({"tone_bins": (12, 17)}, r"tone bin 17 is 398.4 Hz, less than 5 Hz from the mains harmonic 400 Hz"),
        ({"membranes": 200}, "no room for 3 discs, 200 membranes"),
    ],
)
def test_a_cavity_that_cannot_be_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        AcousticWorld(replace(PARAMETERS, **change), 0)


@pytest.mark.parametrize("drive", [np.zeros((3, 19)), np.zeros(20), np.full((1, 20), np.nan)])
def test_drives_that_do_not_fit_are_refused(world, drive):
    with pytest.raises(InputError, match=r"is not \(shots, 20\) of finite numbers"):
        world.respond(drive, 0)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("temperatur", {}, r"unknown disturbance 'temperatur' \(did you mean temperature\?\)"),
        ("temperature", {"celsius": 1.0}, "takes kelvin, got celsius"),
        ("scatterer", {"disc": 3, "dx_m": 0.0, "dy_m": 0.0}, "asked disc 3, allowed a whole number, 0 to 2"),
    ],
)
def test_disturbances_that_do_not_exist_are_refused(own_world, name, values, message):
    with pytest.raises(InputError, match=message):
        own_world.disturb(name, **values)


def test_other_sizes_work():
    p = AcousticParameters(speakers=2, microphones=3, membranes=2, discs=0, tone_bins=(12, 20))
    world = AcousticWorld(p, 0)
    assert (world.n_in, world.n_out) == (4, 6)
    np.testing.assert_allclose(world.tones_hz, [281.25, 468.75])
    assert world.respond(np.full((2, 4), 0.5), 0).shape == (2, 6)
    assert world.respond(np.empty((0, 4)), 0).shape == (0, 6)
