"""The multiport twin on networks whose truth is known: pixels that couple, read as moduli and as quadratures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labtrain.errors import DataError, InputError
from labtrain.twin import judge, load_twin, save_twin
from labtrain.twins.multiport import MultiportTwin
from labtrain.twins.multiport_fit import Model, predict

PIXELS, OUTPUTS, MODES = 8, 3, 2


def complex_normal(rng, *shape):
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)) / np.sqrt(2)


def network(rng, states):
    """H (rows, outputs) of a + b^T S (I - C S)^-1 c with the whole matrix inverted, C = F F^T."""
    answers = []
    for _ in range(OUTPUTS):
        a, b, c = 3 * complex_normal(rng), complex_normal(rng, PIXELS), complex_normal(rng, PIXELS)
        f = 0.3 * complex_normal(rng, PIXELS, MODES)
        coupled = [
            b @ np.diag(s) @ np.linalg.inv(np.eye(PIXELS) - f @ f.T @ np.diag(s)) @ c for s in states.astype(float)
        ]
        answers.append(a + np.array(coupled))
    return np.array(answers).T


@pytest.fixture(scope="module")
def room():
    rng = np.random.default_rng(3)
    x = rng.integers(0, 2, (900, PIXELS)).astype(float)
    return x, network(rng, x)


@pytest.fixture(scope="module")
def fitted(room):
    x, h = room
    y = np.abs(h) - 1.5  # a layer's outputs may stand about their mean
    return MultiportTwin().fit(x[:700], y[:700], modes=MODES), x, y


def test_a_network_is_recovered_on_patterns_it_has_not_seen(fitted, room):
    twin, x, y = fitted
    assert judge(twin, x[700:], y[700:])["r2"] > 0.999
    uncoupled = MultiportTwin().fit(x[:700], y[:700], modes=0)
    assert judge(uncoupled, x[700:], y[700:])["r2"] < 0.995  # so the modes are what explains it


def test_quadratures_are_fitted_as_well(room):
    x, h = room
    twin = MultiportTwin().fit(x[:700], h[:700].imag, modes=MODES)
    assert judge(twin, x[700:], h[700:].imag)["r2"] > 0.99


def test_the_answers_are_those_of_the_whole_network(fitted):
    twin, x, _ = fitted
    for k in range(OUTPUTS):
        c = twin.modes[k] @ twin.modes[k].T
        whole = [
            twin.constant[k] + twin.first[k] @ (s * np.linalg.solve(np.eye(PIXELS) - c * s, twin.second[k]))
            for s in x[:20]
        ]
        assert twin.predict(x[:20])[:, k] == pytest.approx(np.abs(whole) - twin.offset[k], abs=1e-12)


def differences(function, at, step=1e-6):
    """Central differences of a function of one vector, a row for each element."""
    steps = step * np.eye(len(at))
    return np.array([(function(at + d) - function(at - d)) / (2 * step) for d in steps])


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**32 - 1))
def test_the_gradient_at_relaxed_states(fitted, seed):
    twin, rng = fitted[0], np.random.default_rng(seed)
    x, dy = rng.uniform(0.01, 0.99, (1, PIXELS)), rng.normal(size=(1, OUTPUTS))
    expected = differences(lambda v: float((twin.predict(v[None]) * dy).sum()), x[0])
    assert twin.vjp(x, dy)[0] == pytest.approx(expected, abs=1e-6)


def test_slopes_of_the_fit():
    rng = np.random.default_rng(1)
    states = rng.random((5, 4))
    model = Model(0.3, 2.0 + 0.5j, complex_normal(rng, 4), complex_normal(rng, 4), 0.2 * complex_normal(rng, 4, 2))
    _, slopes = predict(model, states, slopes=True)
    expected = differences(lambda v: predict(model.moved(v), states)[0], model.packed())
    assert np.abs(slopes.T - expected).max() < 1e-6


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(1, 300), st.data())
def test_the_answer_to_a_row_is_the_same_bit_for_bit_in_every_batch(fitted, seed, rows, data):
    twin = fitted[0]
    x = np.random.default_rng(seed).random((rows, PIXELS))
    whole = twin.predict(x)
    chosen = data.draw(st.lists(st.integers(0, rows - 1), min_size=1, max_size=10))
    assert np.array_equal(twin.predict(x[chosen]), whole[chosen])
    assert np.array_equal(twin.predict(x[chosen[:1]]), whole[chosen[:1]])


def test_thermometers_switch_one_pixel_after_the_other():
    rng = np.random.default_rng(4)
    x = np.column_stack([rng.integers(0, 4, 900) / 3, rng.integers(0, 2, 900), np.full(900, 0.5)])
    states = np.column_stack([x[:, :1] > [0.1, 0.4, 0.8], x[:, 1]])
    y = np.abs(2 + states @ complex_normal(rng, 4, 2))
    twin = MultiportTwin().fit(x, y, modes=0)
    assert twin.loads.inputs.tolist() == [0, 0, 0, 1]
    assert twin.dead_inputs == (2,)
    assert np.array_equal(twin.loads.states(x), states)
    assert judge(twin, x, y)["rmse"] < 1e-3
    # Between two values the slope is that of the pixel between them, at a value the mean of both sides.
    at = np.array([[0.5, 0.0, 0.5], [1 / 3, 1.0, 0.5]])
    dy = np.ones((2, 2))
    for row in range(2):
        expected = differences(lambda v, row=row: float((twin.predict(v[None]) * dy[row]).sum()), at[row])
        assert twin.vjp(at, dy)[row, 0] == pytest.approx(expected[0], abs=1e-5)
    inward = (twin.predict(at + np.array([0, 1e-6, 0])) - twin.predict(at))[0].sum() / 1e-6
    assert twin.vjp(at, dy)[0, 1] == pytest.approx(inward, abs=1e-4)
    assert not twin.vjp(at, dy)[:, 2].any()


def test_recent_patterns_count_more_when_asked():
    rng = np.random.default_rng(5)
    x = rng.integers(0, 2, (1200, PIXELS)).astype(float)
    y = np.concatenate([np.abs(network(rng, x[:600])), np.abs(network(rng, x[600:]))])
    recent = MultiportTwin().fit(x[:1100], y[:1100], modes=0, half_life=80)
    static = MultiportTwin().fit(x[:1100], y[:1100], modes=0)
    assert judge(recent, x[1100:], y[1100:])["rmse"] < 0.5 * judge(static, x[1100:], y[1100:])["rmse"]


def test_the_same_twin_comes_back(fitted, tmp_path):
    twin, x, _ = fitted
    save_twin(twin, tmp_path / "twin.npz")
    loaded = load_twin(tmp_path / "twin.npz")
    assert isinstance(loaded, MultiportTwin)
    assert np.array_equal(loaded.predict(x), twin.predict(x))
    assert (loaded.n_in, loaded.n_out) == (PIXELS, OUTPUTS)


def test_unfit_pairs_and_options_are_refused_in_one_sentence(fitted):
    _, x, y = fitted
    with pytest.raises(DataError) as error:
        MultiportTwin().fit(np.random.default_rng(0).random((900, 2)), y)
    assert str(error.value) == (
        "twin: input 0 takes 900 values; a multiport twin is of a layer whose inputs switch pixels, "
        "at most 33 values each: fit --kind wave"
    )
    with pytest.raises(DataError) as error:
        MultiportTwin().fit(x[:60], y[:60])
    assert str(error.value) == (
        "twin: 60 effective rows cannot fix the 99 numbers of 8 pixels and 4 modes; "
        "record more pairs, or set a smaller --modes or a longer --half-life"
    )
    with pytest.raises(DataError, match=r"^twin: no input ever changes; record random drives with labtrain record$"):
        MultiportTwin().fit(np.ones((900, 2)), y)
    with pytest.raises(InputError, match=r"^twin: asked -1 modes, allowed 0 or more; set --modes$"):
        MultiportTwin().fit(x, y, modes=-1)
    with pytest.raises(InputError, match=r"^twin: asked a half-life of 0 rows, allowed above 0; set --half-life$"):
        MultiportTwin().fit(x, y, half_life=0)
