"""The speckle twin: gradients, files, and what phase stepping retrieves from frames without noise."""

from __future__ import annotations

import numpy as np
import pytest

from labtrain.errors import InputError
from labtrain.twin import load_twin, save_twin
from labtrain.twins.fitting import fit_twin
from labtrain.twins.hadamard import hadamard
from labtrain.twins.phase_stepping import plan, retrieve
from labtrain.twins.speckle import SpeckleTwin

INPUTS, SHAPE = 10, (6, 7)


def matrix(seed: int = 0, inputs: int = INPUTS, pixels: int = 42) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(inputs + 1, pixels)) + 1j * rng.normal(size=(inputs + 1, pixels))) * 0.1


def twin(**options) -> SpeckleTwin:
    return SpeckleTwin(matrix(), 2.5, SHAPE, **options)


def test_it_is_the_superposition_of_its_inputs():
    x = np.random.default_rng(1).random((5, INPUTS))
    t = matrix()
    power = np.abs(t[0] + np.exp(2.5j * x) @ t[1:]) ** 2
    np.testing.assert_allclose(twin().predict(x), power, rtol=1e-12)
    np.testing.assert_allclose(twin(readout="amplitude").predict(x), np.sqrt(power), rtol=1e-12)
    pooled = power.reshape(5, 6, 7)[:, :, :6].reshape(5, 3, 2, 3, 2).mean(axis=(2, 4)).reshape(5, 9)
    np.testing.assert_allclose(twin(pool=(2, 2, 0)).predict(x), pooled, rtol=1e-12)
    np.testing.assert_array_equal(twin(full=0.2).predict(x), np.minimum(twin().predict(x), 0.2))


@pytest.mark.parametrize(
    "options", [{}, {"readout": "amplitude"}, {"pool": (3, 2, 1)}, {"full": 0.25, "pool": (2, 2, 0)}]
)
def test_its_gradient_is_that_of_its_prediction(options):
    made, rng = twin(**options), np.random.default_rng(2)
    x, dy = rng.random((4, INPUTS)), rng.normal(size=(4, made.n_out))
    h = 1e-6
    for i in range(INPUTS):
        step = h * np.eye(INPUTS)[i]
        by_difference = ((made.predict(x + step) - made.predict(x - step)) * dy).sum(axis=1) / (2 * h)
        np.testing.assert_allclose(made.vjp(x, dy)[:, i], by_difference, rtol=1e-6, atol=1e-7)


def test_a_dark_pixel_and_a_full_one_pass_nothing():
    dark = SpeckleTwin(np.zeros((3, 4)), 2.5, (2, 2), readout="amplitude")
    assert (dark.vjp([[0.1, 0.9]], np.ones((1, 4))) == 0).all()
    assert (twin(full=0.0).vjp(np.full((1, INPUTS), 0.5), np.ones((1, 42))) == 0).all()


def test_the_answer_to_a_row_does_not_depend_on_the_others():
    made = SpeckleTwin(matrix(3, INPUTS, 2048), 2.5, (32, 64), pool=(2, 2, 0))  # 16 rows at once
    x = np.random.default_rng(3).random((37, INPUTS))
    dy = np.random.default_rng(4).normal(size=(37, made.n_out))
    y, dx = made.predict(x), made.vjp(x, dy)
    for row in (0, 15, 16, 36):
        np.testing.assert_array_equal(made.predict(x[row : row + 1])[0], y[row])
        np.testing.assert_array_equal(made.vjp(x[row : row + 1], dy[row : row + 1])[0], dx[row])


def test_the_same_twin_comes_back_from_its_file(tmp_path):
    made = twin(pool=(2, 1, 1), readout="amplitude", full=np.linspace(0.1, 1.0, 42))
    made.fingerprint, made.errors = "optical:0123", np.ones((3, made.n_out))
    save_twin(made, tmp_path / "twin.npz")
    again = load_twin(tmp_path / "twin.npz")
    x = np.random.default_rng(5).random((3, INPUTS))
    assert isinstance(again, SpeckleTwin) and again.fingerprint == "optical:0123"
    np.testing.assert_array_equal(again.predict(x), made.predict(x))
    np.testing.assert_array_equal(again.least, np.zeros(made.n_out))
    assert (twin().least == -np.inf).all() and twin().dead_inputs == ()


def test_it_is_not_fitted_to_a_recording(tmp_path):
    with pytest.raises(InputError) as error:
        fit_twin(tmp_path / "pairs.npz", tmp_path / "twin.npz", "speckle")
    assert str(error.value) == (
        "twin: one of kind 'speckle' is measured on its bench, not fitted to a recording; use labtrain twin measure"
    )


# -- phase stepping ----------------------------------------------------------------------------------------------------


def retrieved(range_rad: float, static: float = 1.0, steps: int = 3, ceiling: float | None = None):
    """True and retrieved matrix of 24 inputs, from frames without noise; t_0 is real and not negative in both."""
    t = matrix(7, 24, 60)
    t[0] *= static
    t *= np.exp(-1j * np.angle(t[0]))
    asked = plan(24, range_rad, 256, np.random.default_rng(0), steps)
    frames = np.abs(asked.light(asked.drives) @ t) ** 2
    full = None if ceiling is None else np.full(60, ceiling)
    return t, retrieve(asked, frames if full is None else np.minimum(frames, full), full)


@pytest.mark.parametrize(("range_rad", "steps"), [(np.pi, 3), (np.pi, 5), (0.8 * np.pi, 3), (2 * np.pi, 4)])
def test_a_matrix_comes_back_up_to_the_phase_of_each_pixel(range_rad, steps):
    true, found = retrieved(range_rad, steps=steps)
    off = np.linalg.norm(found - true, axis=0) / np.linalg.norm(true, axis=0)
    assert np.median(off) < 0.02 and np.mean(off > 0.2) < 0.1
    assert (found[0].real >= 0).all() and np.abs(found[0].imag).max() < 1e-12


def test_the_mean_field_may_be_strong():
    true, found = retrieved(np.pi, static=10.0)
    off = np.linalg.norm(found - true, axis=0) / np.linalg.norm(true, axis=0)
    assert np.median(off) < 0.05


def test_full_pixels_are_lower_bounds():
    true, found = retrieved(np.pi, ceiling=1.2)  # of a mean of 0.5: one frame in eleven
    clipped = np.abs(plan(24, np.pi, 256, np.random.default_rng(0)).light(np.zeros((1, 24))) @ true)
    assert np.isfinite(found).all() and clipped.size
    off = np.linalg.norm(found - true, axis=0) / np.linalg.norm(true, axis=0)
    assert np.median(off) < 0.1


def test_patterns_are_within_the_range_and_on_levels():
    asked = plan(9, 0.5 * np.pi, 16, np.random.default_rng(0))
    assert asked.drives.min() == 0.0 and asked.drives.max() == 1.0
    np.testing.assert_allclose(asked.drives * 15, np.rint(asked.drives * 15), atol=1e-9)
    assert sorted(np.concatenate(asked.halves)) == list(range(9))
    turning = plan(9, 2 * np.pi, 256, np.random.default_rng(0), steps=4)
    np.testing.assert_allclose(turning.steps_rad, np.pi * np.array([0, 0.5, 1, 1.5]), atol=0.02)


def test_too_few_steps_are_refused():
    with pytest.raises(InputError, match="asked 2 steps, needed 3 or more"):
        plan(4, np.pi, 256, np.random.default_rng(0), steps=2)


@pytest.mark.parametrize("least", [1, 2, 3, 7, 17, 33, 65, 101, 339])
def test_hadamard_matrices_are_close_to_any_order(least):
    found = hadamard(least).astype(int)
    assert (found @ found.T == len(found) * np.eye(len(found), dtype=int)).all()
    assert (found[:, 0] == 1).all() and least <= len(found) <= max(4, 1.25 * least)
