"""The quadratic-form twin on worlds whose truth is known, and on the measured cavity."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labtrain.errors import DataError, InputError
from labtrain.twin import WaveTwin, judge

DATA = Path(os.environ.get("LABTRAIN_DATA", Path(__file__).parents[2] / "shared" / "data")) / "acoustic_cavity.npz"


def superposition(rng, n_in, n_out, rows, dead=()):
    """|a + H x| of a random complex H with columns of unit size; inputs in `dead` are disconnected."""
    h = np.exp(2j * np.pi * rng.random((n_in, n_out))) * rng.uniform(0.5, 1.5, (n_in, n_out))
    h[list(dead)] = 0
    x = rng.random((rows, n_in))
    return x, np.abs(rng.normal(size=n_out) + x @ h)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 5))
def test_modulus_of_a_superposition_is_recovered_on_unseen_rows(seed, n_in, n_out):
    x, y = superposition(np.random.default_rng(seed), n_in, n_out, 400)
    twin = WaveTwin().fit(x[:300], y[:300], ridge=1e-12)
    assert twin.dead_inputs == ()
    assert np.sqrt(np.mean((twin.predict(x[300:]) - y[300:]) ** 2)) < 1e-6


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_an_exactly_quadratic_world_is_recovered(seed, n_in):
    rng = np.random.default_rng(seed)
    q = rng.normal(size=(n_in + 1, n_in + 1))
    q = q @ q.T + np.eye(n_in + 1)  # of full rank: more than one wave can make
    x = rng.random((300, n_in))
    z = np.c_[np.ones(300), x]
    y = np.sqrt(np.einsum("si,ij,sj->s", z, q, z))[:, None]
    twin = WaveTwin().fit(x[:200], y[:200], ridge=1e-12)
    assert np.abs(twin.predict(x[200:]) - y[200:]).max() < 1e-5 * y.max()


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1), st.sets(st.integers(0, 5), max_size=5), st.sampled_from([0.0, 0.02, 0.1]))
def test_dead_inputs_are_named_and_no_others(seed, dead, noise):
    rng = np.random.default_rng(seed)
    x, y = superposition(rng, 6, 4, 1500, dead)
    y = np.abs(y + noise * rng.normal(size=y.shape))
    assert WaveTwin().fit(x, y).dead_inputs == tuple(sorted(dead))


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(1, 300), st.data())
def test_the_answer_to_a_row_is_the_same_bit_for_bit_in_every_batch(seed, rows, data):
    rng = np.random.default_rng(seed)
    x, y = superposition(rng, 5, 4, 200)
    twin = WaveTwin().fit(x, y)
    drive = rng.random((rows, 5))
    whole = twin.predict(drive)
    chosen = data.draw(st.lists(st.integers(0, rows - 1), min_size=1, max_size=20))
    assert np.array_equal(twin.predict(drive[chosen]), whole[chosen])
    assert np.array_equal(twin.predict(drive[chosen[:1]]), whole[chosen[:1]])


def test_recent_rows_count_more_when_asked():
    rng = np.random.default_rng(3)
    old, new = superposition(rng, 3, 2, 300), superposition(rng, 3, 2, 300)
    x, y = (np.concatenate(pair) for pair in zip(old, new, strict=True))
    static = WaveTwin().fit(x, y)
    recent = WaveTwin().fit(x, y, half_life=20)
    assert judge(recent, *new)["rmse"] < 0.01 < judge(static, *new)["rmse"]


def test_judge_tells_the_error_of_each_output():
    x, y = superposition(np.random.default_rng(0), 3, 2, 200)
    twin = WaveTwin().fit(x, y, ridge=1e-12)
    result = judge(twin, x, y + np.array([0.0, 0.5]))
    assert result["rows"] == 200
    assert result["rmse_per_output"] == pytest.approx([0.0, 0.5], abs=1e-5)
    assert result["rmse"] == pytest.approx(0.5 / np.sqrt(2), abs=1e-5)
    assert result["r2_per_output"][0] == pytest.approx(1.0)
    assert result["r2_per_output"][1] == pytest.approx(1 - 0.25 / y[:, 1].var())
    assert judge(twin, x, np.ones_like(y))["r2"] is None


def test_arrays_bring_the_same_twin_back(tmp_path):
    x, y = superposition(np.random.default_rng(1), 4, 3, 200, dead=[2])
    twin = WaveTwin().fit(x, y)
    np.savez(tmp_path / "twin.npz", **twin.arrays())
    with np.load(tmp_path / "twin.npz") as arrays:
        loaded = WaveTwin.from_arrays(arrays)
    assert np.array_equal(loaded.predict(x), twin.predict(x))
    assert (loaded.dead_inputs, loaded.n_in, loaded.n_out) == ((2,), 4, 3)
    assert np.array_equal(loaded.rmse, twin.rmse)


GOOD_X, GOOD_Y = superposition(np.random.default_rng(2), 3, 2, 100)
WITH_NAN = GOOD_Y.copy()
WITH_NAN[4, 1] = np.nan


@pytest.mark.parametrize(
    ("x", "y", "sentence"),
    [
        (GOOD_X, GOOD_Y[:-1], "twin: 'x' has 100 rows and 'y' has 99; each drive needs one response"),
        (GOOD_X, GOOD_Y[:, 0], "twin: array 'y' has shape (100,), needed (rows, columns), neither empty"),
        (GOOD_X, WITH_NAN, "twin: array 'y' holds nan in row 4, column 1; remove such rows"),
        (GOOD_X, -GOOD_Y - 1, None),
        ([["a"]], [[1.0]], "twin: array 'x' is not numeric; store numbers of shape (rows, columns)"),
        (
            GOOD_X[:10],
            GOOD_Y[:10],
            "twin: 10 effective rows cannot fix the 10 terms of 3 inputs; "
            "record more pairs or set a longer half-life (rig.half_life_rows, --half-life)",
        ),
        (
            GOOD_X,
            np.random.default_rng(0).random((100, 2)),
            "twin: no input reaches any output; check that the rows of 'x' and 'y' belong together",
        ),
    ],
)
def test_unfit_pairs_are_refused_in_one_sentence(x, y, sentence):
    with pytest.raises(DataError) as error:
        WaveTwin().fit(x, y)
    if sentence is None:
        sentence = f"twin: array 'y' holds {y[0, 0]:g} in row 0, column 0; amplitudes are never negative"
    assert str(error.value) == sentence


def test_options_out_of_range_and_wrong_widths_are_refused():
    with pytest.raises(InputError, match=r"^twin: asked ridge 0, allowed above 0; set rig.ridge$"):
        WaveTwin().fit(GOOD_X, GOOD_Y, ridge=0)
    with pytest.raises(
        InputError,
        match=r"^twin: asked a half-life of -1 rows, allowed above 0; set rig.half_life_rows or --half-life$",
    ):
        WaveTwin().fit(GOOD_X, GOOD_Y, half_life=-1)
    with pytest.raises(InputError, match=r"^twin: drive has shape \(100, 2\), needed \(rows, 3\)$"):
        WaveTwin().fit(GOOD_X, GOOD_Y).predict(GOOD_X[:, :2])


@pytest.mark.skipif(not DATA.exists(), reason=f"measured pairs are not at {DATA}; set LABTRAIN_DATA")
def test_the_measured_cavity_is_predicted_as_well_as_stated():
    with np.load(DATA) as arrays:
        x, y = arrays["x"].astype(np.float64), arrays["y"].astype(np.float64)
    static = WaveTwin().fit(x[:-800], y[:-800])
    recent = WaveTwin().fit(x[:-800], y[:-800], half_life=600)
    assert static.dead_inputs == recent.dead_inputs == (3, 4, 8, 9, 13, 14, 18, 19)
    assert judge(static, x[-800:], y[-800:])["rmse"] < 0.0202
    assert judge(recent, x[-800:], y[-800:])["rmse"] < 0.0170
