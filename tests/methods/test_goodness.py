"""Closed-form gradient against finite differences, and the algebra of goodness."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labtrain.methods import goodness as formulas
from labtrain.methods.goodness import goodness, largest_goodness


def loss_and_gradient(W, b, xi, theta, h, kind="modulus"):
    parameters = np.column_stack([W, b])
    loss, gradient = formulas.loss_and_gradient(parameters, xi, theta, formulas.side_by_side(h), len(h), kind)
    return loss, gradient[:, :-1], gradient[:, -1]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 4), st.integers(1, 6), st.integers(1, 5),
    st.floats(0.1, 20.0), st.sampled_from(["modulus", "linear"]),
)  # fmt: skip
def test_gradient_equals_finite_differences(seed, n, m, width, fan_in, theta, kind):
    rng = np.random.default_rng(seed)
    W, b = rng.standard_normal((width, fan_in)), rng.standard_normal(width)
    xi = rng.standard_normal(width)
    xi /= np.linalg.norm(xi)
    h = rng.standard_normal((n, 1 + m, fan_in))
    z = h @ W.T + b
    if np.abs(z).min() < 1e-3:  # |z| has a kink at 0, where finite differences say nothing
        return
    _, dW, db = loss_and_gradient(W, b, xi, theta, h, kind)
    step = 1e-6

    def loss(dw, dbias):
        return loss_and_gradient(W + dw, b + dbias, xi, theta, h, kind)[0]

    for index in np.ndindex(W.shape):
        e = np.zeros_like(W)
        e[index] = step
        numeric = (loss(e, 0) - loss(-e, 0)) / (2 * step)
        assert dW[index] == pytest.approx(numeric, abs=2e-6 * max(1, theta))
    for index in range(width):
        e = np.zeros_like(b)
        e[index] = step
        numeric = (loss(0, e) - loss(0, -e)) / (2 * step)
        assert db[index] == pytest.approx(numeric, abs=2e-6 * max(1, theta))


@pytest.mark.parametrize("kind", ["modulus", "linear"])
@given(seed=st.integers(0, 2**32 - 1), width=st.integers(1, 30))
def test_goodness_is_a_cosine_below_its_largest_value(kind, seed, width):
    rng = np.random.default_rng(seed)
    xi = rng.standard_normal(width)
    xi /= np.linalg.norm(xi)
    g = goodness(rng.standard_normal((50, width)), xi, kind)
    assert g.shape == (50,)
    assert (np.abs(g) <= 1 + 1e-12).all()
    assert (g <= largest_goodness(xi, kind) + 1e-12).all()
    best = np.maximum(xi, 0.0) if kind == "modulus" else xi
    assert goodness(best, xi, kind) == pytest.approx(largest_goodness(xi, kind))


def test_goodness_ignores_the_size_and_the_signs_of_z():
    rng = np.random.default_rng(0)
    xi = rng.standard_normal(7)
    xi /= np.linalg.norm(xi)
    z = rng.standard_normal((5, 7))
    signs = rng.choice([-1.0, 1.0], 7)
    assert goodness(3.0 * z * signs, xi) == pytest.approx(goodness(z, xi))


def test_linear_goodness_is_the_cosine_of_z_itself():
    """z = (3, -4) and xi = (0.6, 0.8): (1.8 - 3.2) / 5; with the modulus (1.8 + 3.2) / 5."""
    z, xi = np.array([3.0, -4.0]), np.array([0.6, 0.8])
    assert goodness(z, xi, "linear") == pytest.approx(-0.28)
    assert goodness(z, xi) == pytest.approx(1.0)
    assert largest_goodness(xi, "linear") == 1.0


def test_loss_is_the_published_one():
    """Written out pair by pair, as the paper has it."""
    rng = np.random.default_rng(1)
    W, b, h = rng.standard_normal((4, 3)), rng.standard_normal(4), rng.standard_normal((5, 3, 3))
    xi = np.array([0.5, -0.5, 0.5, 0.5])
    pairs = []
    for positive, *negatives in h:
        for negative in negatives:
            g = [np.abs(W @ v + b) @ xi / np.linalg.norm(W @ v + b) for v in (positive, negative)]
            pairs.append(np.log(1 + np.exp(-4.0 * (g[0] - g[1]))))
    assert loss_and_gradient(W, b, xi, 4.0, h)[0] == pytest.approx(np.mean(pairs))


def test_zero_outputs_have_zero_goodness_and_no_gradient():
    loss, dW, db = loss_and_gradient(np.zeros((3, 2)), np.zeros(3), np.ones(3) / np.sqrt(3), 4.0, np.ones((2, 2, 2)))
    assert loss == pytest.approx(np.log(2))
    assert not dW.any()
    assert not db.any()
