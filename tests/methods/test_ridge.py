"""The ridge readout against the normal equations, and as a method."""

from __future__ import annotations

import numpy as np
import pytest

from labtrain.errors import ConfigError
from labtrain.methods.method import Data
from labtrain.methods.ridge import Ridge, solve
from labtrain.network import EncodingConfig, NetworkConfig, build
from tests.worlds import Interference, blobs


def test_solve_with_hardly_any_penalty_is_least_squares():
    rng = np.random.default_rng(0)
    H, Y = rng.standard_normal((40, 5)) * [1, 10, 0.1, 3, 1], rng.standard_normal((40, 2))
    weights, intercept = solve(H, Y, 1e-12)
    expected = np.linalg.lstsq(np.hstack([H, np.ones((40, 1))]), Y, rcond=None)[0]
    assert weights == pytest.approx(expected[:-1])
    assert intercept == pytest.approx(expected[-1])


def test_a_large_penalty_leaves_the_mean():
    rng = np.random.default_rng(0)
    H, Y = rng.standard_normal((40, 5)), rng.standard_normal((40, 1)) + 3
    weights, intercept = solve(H, Y, 1e9)
    assert np.abs(weights).max() < 1e-8
    assert intercept == pytest.approx(Y.mean(axis=0))


def make(layers=1, **config):
    rows, labels = blobs()
    layer = Interference()
    net = build(
        NetworkConfig(layers=layers, width=4), EncodingConfig(), [layer],
        rows=rows, classes=["a", "b", "c"], feature_names=["f0", "f1", "f2"], seed=0,
    )  # fmt: skip
    method = Ridge(Ridge.Config(**config))
    return net, method, Data(rows, labels, rows[:0], labels[:0]), layer


def test_it_learns_with_one_shot_a_sample():
    net, method, data, layer = make()
    method.start(net, data, np.random.default_rng(0))
    assert method.step() is not None
    assert method.step() is None
    assert layer.shot == len(data.rows) == method.planned_shots(1, len(data.rows), 0, 3)
    assert (method.scores(net, data.rows).argmax(axis=1) == data.labels).mean() > 0.95
    assert layer.shot == 2 * len(data.rows)


def test_more_than_one_layer_is_refused():
    net, method, data, _ = make(layers=2)
    with pytest.raises(ConfigError, match=r"^network.layers: 2, the ridge readout has one; set network.layers: 1$"):
        method.start(net, data, np.random.default_rng(0))
