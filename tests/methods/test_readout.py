"""Logits and cross-entropy: a hand-worked example, finite differences, and what a network too narrow is told."""

from __future__ import annotations

import numpy as np
import pytest

from labtrain.errors import ConfigError
from labtrain.methods import readout
from labtrain.network import EncodingConfig, NetworkConfig, build
from tests.worlds import Interference, blobs


def make(width=4, layers=2):
    rows, labels = blobs()
    layer = Interference()
    net = build(
        NetworkConfig(layers=layers, width=width), EncodingConfig(), [layer],
        rows=rows, classes=["a", "b", "c"], feature_names=["f0", "f1", "f2"], seed=0,
    )  # fmt: skip
    return net, rows, labels, layer


def test_cross_entropy_by_hand():
    # softmax(0, log 3) = (1/4, 3/4); softmax(0, 0) = (1/2, 1/2)
    scores, labels = np.array([[0.0, np.log(3.0)], [0.0, 0.0]]), np.array([1, 0])
    assert float(readout.cross_entropy(scores, labels)) == pytest.approx((np.log(4 / 3) + np.log(2)) / 2)
    assert readout.cross_entropy_gradient(scores, labels) == pytest.approx(np.array([[0.125, -0.125], [-0.25, 0.25]]))


def test_large_logits_neither_overflow_nor_lose_the_loss():
    assert float(readout.cross_entropy(np.array([[1e4, 0.0]]), np.array([1]))) == pytest.approx(1e4)


def test_several_sets_of_logits_have_a_loss_each():
    rng = np.random.default_rng(0)
    scores, labels = rng.standard_normal((7, 5, 3)), rng.integers(3, size=7)
    together = readout.cross_entropy(scores, labels)
    assert together == pytest.approx([float(readout.cross_entropy(scores[:, k], labels)) for k in range(5)])


def test_the_gradient_is_that_of_finite_differences():
    rng = np.random.default_rng(1)
    scores, labels, step = rng.standard_normal((4, 3)), rng.integers(3, size=4), 1e-6
    found = np.empty_like(scores)
    for i in np.ndindex(*scores.shape):
        more, less = scores.copy(), scores.copy()
        more[i] += step
        less[i] -= step
        found[i] = float(readout.cross_entropy(more, labels) - readout.cross_entropy(less, labels)) / (2 * step)
    assert readout.cross_entropy_gradient(scores, labels) == pytest.approx(found, abs=1e-8)


def test_one_shot_a_row_and_block_and_the_first_outputs_are_the_logits():
    net, rows, _, layer = make()
    z = readout.forward(net, rows, np.random.default_rng(0), learn=True)
    assert z.shape == (60, 4)
    assert layer.shot == 120
    assert (readout.logits(z, readout.classes_of(net)) == z[:, :3]).all()
    assert readout.forward(net, rows, np.random.default_rng(9)) == pytest.approx(z)


def test_a_last_block_with_fewer_outputs_than_classes_is_refused():
    with pytest.raises(ConfigError) as caught:
        readout.classes_of(make(width=2)[0])
    assert str(caught.value) == (
        "network.width: 2, of the last block one output for each of 3 classes is needed; set network.width: 3 or more"
    )
