"""The closed-form gradient of the wave twin, against finite differences and where there is none."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from labtrain.twin import WaveTwin


def fitted(seed, n_in=5, n_out=4, dead=()):
    rng = np.random.default_rng(seed)
    h = np.exp(2j * np.pi * rng.random((n_in, n_out))) * rng.uniform(0.5, 1.5, (n_in, n_out))
    h[list(dead)] = 0
    x = rng.random((300, n_in))
    return WaveTwin().fit(x, np.abs(rng.normal(size=n_out) + x @ h)), rng


def differences(twin, x, dy, step=1e-6):
    """Central differences of sum_k dy_k y_k(x), input by input."""
    gradient = np.empty_like(x)
    for i in range(x.shape[1]):
        ahead, behind = x.copy(), x.copy()
        ahead[:, i] += step
        behind[:, i] -= step
        gradient[:, i] = np.sum(dy * (twin.predict(ahead) - twin.predict(behind)), axis=1) / (2 * step)
    return gradient


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(1, 4), st.booleans())
def test_finite_differences(seed, n_in, n_out, one_dead):
    twin, rng = fitted(seed, n_in, n_out, dead=[1] if one_dead else [])
    x, dy = rng.random((60, n_in)), rng.normal(size=(60, n_out))
    x = x[(twin.predict(x) > 0.1).all(axis=1)]  # at a zero of the amplitude it has a corner
    dy = dy[: len(x)]
    gradient = twin.vjp(x, dy)
    assert gradient.shape == x.shape
    assert np.abs(gradient - differences(twin, x, dy)).max(initial=0) < 1e-6
    assert not gradient[:, list(twin.dead_inputs)].any()


def test_where_the_form_is_not_positive_nothing_flows_back():
    twin, _ = fitted(0, 2, 2)
    twin.coefficients[0] -= 1e3  # pushes every amplitude below zero
    x = np.random.default_rng(1).random((7, 2))
    assert not twin.predict(x).any()
    assert not twin.vjp(x, np.ones((7, 2))).any()


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(1, 200), st.data())
def test_the_gradient_of_a_row_is_the_same_bit_for_bit_in_every_batch(seed, rows, data):
    twin, rng = fitted(seed)
    x, dy = rng.random((rows, 5)), rng.normal(size=(rows, 4))
    whole = twin.vjp(x, dy)
    chosen = data.draw(st.lists(st.integers(0, rows - 1), min_size=1, max_size=10))
    assert np.array_equal(twin.vjp(x[chosen], dy[chosen]), whole[chosen])
    assert np.array_equal(twin.vjp(x[chosen[:1]], dy[chosen[:1]]), whole[chosen[:1]])
