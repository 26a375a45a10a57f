"""The derivative of the acoustic cavity, against differences of its answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from labtrain.clock import SimulatedClock
from labtrain.errors import InputError, MeasurementError
from labtrain.layer import Recorded
from labtrain.rigs.acoustic import AcousticRig
from labtrain.sim import adjoint
from labtrain.sim.acoustic import HOLD, AcousticParameters, AcousticWorld
from labtrain.sim.harmonic_balance import HarmonicBalance
from tests.rigs.rooms import SmallRig

# Hard springs, and answers so exact that their differences have seven digits.
STRONG = AcousticParameters(cubic_n_m3=2.4e14, noise=0, tolerance=1e-12, max_iterations=200)
SMALL = AcousticParameters(
    speakers=2, microphones=3, membranes=2, discs=2, tone_bins=(12, 20), cubic_n_m3=2e14, noise=0
)
RNG = np.random.default_rng(3)
X, DY = RNG.uniform(0.05, 0.6, (70, 20)), RNG.standard_normal((70, 20))


@pytest.fixture(scope="module")
def world():
    return AcousticWorld(STRONG, seed=7)


@pytest.fixture
def small():
    return AcousticWorld(replace(SMALL, cubic_n_m3=2e14, tolerance=1e-12, max_iterations=200), seed=7)


def slopes(world, x, dy, shot=0, step=1e-5):
    """Central differences, (rows, n_in), around each row; all answers are of shots from `shot` on."""
    moves = step * np.eye(world.n_in)
    found = []
    for row, along in zip(x, dy, strict=True):
        up, down = np.split(world.respond_without_noise(np.concatenate([row + moves, row - moves]), shot), 2)
        found.append((up - down) @ along / (2 * step))
    return np.array(found)


def error(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def test_it_is_the_slope_of_the_answers_with_hard_springs_in_force(world, monkeypatch):
    x, dy = X[:3], DY[:3]
    expected = slopes(world, x, dy)
    assert error(world.vjp(x, dy), expected) < 1e-6
    # What the springs have to do with it: the air's own slope, and the right motion with springs that push not back.
    assert error(AcousticWorld(replace(STRONG, cubic_n_m3=0), 7).vjp(x, dy), expected) > 0.02
    monkeypatch.setattr(HarmonicBalance, "slope", lambda solver, spectrum: -solver._spring)
    assert error(world.vjp(x, dy), expected) > 0.02


def test_a_shot_that_is_solved_as_usual_has_an_exact_derivative_all_the_same(world):
    usual = AcousticWorld(replace(STRONG, tolerance=1e-4, max_iterations=60), 7)
    expected = world.vjp(X, DY)
    assert np.linalg.norm(usual.vjp(X, DY) - expected, axis=1).max() < 1e-6 * np.linalg.norm(expected, axis=1).min()


DISTURBANCES = {
    "a moved disc": ("scatterer", {"disc": 1, "dx_m": 0.02, "dy_m": -0.01}),
    "swapped microphones": ("outputs", {"order": [2, 0, 1]}),
    "swapped speakers": ("inputs", {"order": [1, 0]}),
    "a silenced speaker": ("speaker", {"speaker": 1}),
    "a stuck membrane": ("membrane", {"membrane": 0}),
    "warmer air": ("temperature", {"kelvin": 2.0}),
}


@pytest.mark.parametrize("happened", DISTURBANCES)
def test_a_disturbed_cavity_has_the_slope_of_its_disturbed_answers(small, happened):
    name, values = DISTURBANCES[happened]
    x, dy = X[:2, :4], DY[:2, :6]
    before = small.vjp(x, dy)
    small.disturb(name, at_shot=40, **values)
    found = small.vjp(x, dy, 40)
    assert error(found, slopes(small, x, dy, 40)) < 1e-6
    assert error(found, before) > 0.005
    np.testing.assert_array_equal(small.vjp(x, dy, 39), before)


def test_all_rows_are_taken_in_the_air_of_one_shot():
    world = AcousticWorld(replace(SMALL, cubic_n_m3=2e14, tolerance=1e-12, max_iterations=200, drift_walk_k=1.0), 7)
    x, dy = X[:, :4], DY[:, :6]
    late = world.vjp(x, dy, 3 * HOLD - 1)
    assert error(late[-2:], slopes(world, x[-2:], dy[-2:], 2 * HOLD)) < 1e-6
    assert error(world.vjp(x, dy, 3 * HOLD), late) > 1e-3


def test_speakers_that_reach_nothing_and_amplitudes_of_zero_have_no_slope(small):
    x, dy = X[:5, :4], DY[:5, :6]
    deaf = np.where(np.arange(6) // 2 == 2, 0, dy)
    expected = small.vjp(x, deaf)
    small.disturb("microphone", microphone=2, at_shot=10)
    assert np.abs(small.vjp(x, dy) - expected).max() > 1e-3
    np.testing.assert_allclose(small.vjp(x, dy, 10), expected, rtol=1e-9)
    small.disturb("speaker", speaker=1, at_shot=20)
    dead = small.vjp(x, dy, 20)
    assert not dead[:, 2:].any() and dead[:, :2].all()
    assert not small.vjp(np.zeros((2, 4)), dy[:2]).any()


def test_rows_stand_for_themselves_and_the_same_question_has_the_same_answer(world):
    assert len(X) > 2 * adjoint.TOGETHER
    whole = world.vjp(X, DY)
    np.testing.assert_array_equal(AcousticWorld(STRONG, seed=8).vjp(X, DY), whole)
    alone = np.concatenate([world.vjp(X[i : i + 1], DY[i : i + 1]) for i in (0, 31, 32, 69)])
    np.testing.assert_allclose(alone, whole[[0, 31, 32, 69]], rtol=0, atol=1e-9 * np.abs(whole).max())
    assert world.vjp(X[:0], DY[:0]).shape == (0, 20)


def test_springs_ten_times_harder_have_a_derivative_too():
    """Solved to more digits than a shot, they get stuck where the mixing remembers no more than a shot's does."""
    p = AcousticParameters(cubic_n_m3=8e14, geometry_seed=2, noise=0)
    world, x, dy = AcousticWorld(p, 0), X[16:19], DY[16:19]
    world.respond_without_noise(x)
    assert np.isfinite(world.vjp(x, dy)).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("drive", [50.0, 1e60])
def test_where_no_derivative_is_found_the_row_is_named(drive):
    world, x = AcousticWorld(AcousticParameters(), 0), X.copy()
    x[40] = drive
    with pytest.raises(MeasurementError) as raised:
        world.vjp(x, DY)
    assert str(raised.value) == (
        "acoustic world: found no derivative of the answer to row 40 of 70, the membranes' cubic springs fold nearby; "
        "lower the drive, full_drive_m3_s or cubic_n_m3"
    )


def test_an_adjoint_that_does_not_converge_is_no_answer(world, monkeypatch):
    monkeypatch.setattr(HarmonicBalance, "slope", lambda solver, spectrum: np.array([[[0.0, -1e9]]]))
    with pytest.raises(MeasurementError, match="found no derivative of the answer to row 1 of 2"):
        world.vjp(X[:2], DY[:2])


@pytest.mark.parametrize(
    ("x", "dy", "message"),
    [
        (X[:3, :19], DY[:3], r"drive of shape \(3, 19\) is not \(shots, 20\) of finite numbers"),
        (X[:3], DY[:3, :19], r"the vector of the product has shape \(3, 19\), needed \(3, 20\)"),
        (X[:3], DY[:3] * np.nan, r"dy of shape \(3, 20\) is not \(shots, 20\) of finite numbers"),
        (X[:3], DY[:2], r"the vector of the product has shape \(2, 20\), needed \(3, 20\)"),
    ],
)
def test_vectors_that_do_not_fit_are_refused(world, x, dy, message):
    with pytest.raises(InputError, match=message):
        world.vjp(x, dy)


def test_a_layer_tells_the_derivative_at_its_next_shot_and_it_costs_none():
    with AcousticRig(AcousticRig.Config(type="acoustic", drift_walk_k=0.5), SimulatedClock(5.0)) as rig:
        (layer,) = rig.layers
        rig.disturb("scatterer", disc=0, dx_m=0.02, dy_m=0.0, at_shot=10)
        before = layer.vjp(X, DY)
        layer.forward(X[:10])
        state, told = layer.state(), Recorded(layer, lambda *_: pytest.fail("a derivative was logged as a shot"))
        found = told.vjp(X, DY)
        assert layer.state() == state
        np.testing.assert_array_equal(found, layer.inner.world.vjp(X, DY, 10))
        assert error(found, before) > 0.005
        after = layer.forward(X[10:])
        layer.restore(state)
        np.testing.assert_array_equal(layer.forward(X[10:]), after)
        with pytest.raises(InputError, match=r"^acoustic: drive of shot 1, input 2 is 1\.5, allowed 0 to 1"):
            layer.vjp(np.where(np.arange(40).reshape(2, 20) == 22, 1.5, X[:2]), DY[:2])


def test_behind_a_converter_there_is_none():
    told = r"^acoustic: this layer cannot tell its derivative, only .* can; set rig\.fidelity: physics, or use a method"
    with SmallRig() as rig, pytest.raises(InputError, match=told):
        rig.layers[0].vjp(X[:2, :6], DY[:2, :6])
