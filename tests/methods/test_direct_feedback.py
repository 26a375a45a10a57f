"""Augmented DFA: a step by hand, the last block's gradient, exact shots, and a state that brings it back."""

from __future__ import annotations

import numpy as np
import pytest

from labtrain.errors import ConfigError
from labtrain.methods.direct_feedback import DirectFeedback
from tests.methods.perturbed import Quiet, make, run, same_end, slopes
from tests.worlds import blobs

QUICK = {"epochs": 3, "batch": 16, "score_every": 2}


@pytest.mark.parametrize("layers", [1, 3])
def test_the_last_block_has_the_gradient(layers):
    net, method, _ = make(DirectFeedback, QUICK, Quiet(n_out=3), layers=layers)
    method._calibrate()
    index = np.arange(7)
    last = net.blocks[-1].parameters.size
    gradients = method.gradients(index)[2]
    assert gradients[-1].ravel() == pytest.approx(slopes(net, method.data, index)[-last:], abs=1e-7)


@pytest.mark.parametrize("g", ["one", "cosine", "tanh-slope"])
def test_a_step_by_hand(g):
    net, method, _ = make(DirectFeedback, {**QUICK, "g": g, "eta": 0.3, "batch": 1}, Quiet(), layers=3)
    method._calibrate()
    x, label = net.encoder.features(method.data.rows[4:5]), method.data.labels[4]
    inputs, outputs = [], []
    for block in net.blocks:
        h = block.inputs(block.layer.forward(block.drive.map(x)), x)
        x = h @ block.W.T + block.b
        inputs.append(h[0])
        outputs.append(x[0])
    shares = np.exp(x[0, :3]) / np.exp(x[0, :3]).sum()
    e = shares - np.eye(3)[label]
    slope = {"one": lambda a: 1.0, "cosine": np.cos, "tanh-slope": lambda a: 1 / np.cosh(a) ** 2}[g]
    before = [block.parameters.copy() for block in net.blocks]
    loss, right = method.update(np.array([4]))
    assert loss == pytest.approx(-np.log(shares[label]))
    assert right == (shares.argmax() == label)
    for i, (block, w, h, a) in enumerate(zip(net.blocks, before, inputs, outputs, strict=True)):
        delta = np.append(e, 0.0) if i == 2 else (method.B[i] @ e) * slope(a)
        assert block.parameters == pytest.approx(w - 0.3 * np.outer(delta, np.append(h, 1.0)))


@pytest.mark.parametrize("g", ["one", "cosine", "tanh-slope"])
def test_it_learns(g):
    net, method, _ = make(DirectFeedback, {**QUICK, "epochs": 40, "g": g})
    before = net.blocks[0].W.copy()
    metrics = run(method)
    rows, labels = blobs()
    assert (method.scores(net, rows).argmax(axis=1) == labels).mean() > 0.95
    assert metrics[-1].accuracy > 0.95
    assert metrics[-1].losses[0] < 0.3 * metrics[0].losses[0]
    assert np.abs(net.blocks[0].W - before).max() > 0.01  # the blocks before the last learn as well


@pytest.mark.parametrize(
    ("config", "validation", "layers", "shots"),
    [
        ({}, 0, 2, 2 * 60 + 3 * 60),
        ({"first_block": "always"}, 0, 2, 2 * 60 + 2 * 3 * 60),
        ({"first_block": "always", "score_every": 1}, 12, 3, 3 * (48 + 3 * 12) + 3 * 3 * 48),
        ({}, 12, 1, 48 + 2 * 12),
    ],
)
def test_planned_shots_are_the_shots(config, validation, layers, shots):
    net, method, layer = make(DirectFeedback, {**QUICK, **config}, validation=validation, layers=layers)
    run(method)
    assert layer.shot == shots == method.planned_shots(layers, 60 - validation, validation, 3)
    before = layer.shot
    method.scores(net, blobs()[0][:7])
    assert layer.shot - before == 7 * method.shots_per_prediction(layers, 3) == 7 * layers


@pytest.mark.parametrize("first_block", ["once", "always"])
@pytest.mark.parametrize("after", [0, 1, 5, 8])
def test_a_restored_state_ends_bit_for_bit_alike(first_block, after):
    same_end(DirectFeedback, {**QUICK, "first_block": first_block}, after)


def test_the_feedback_is_part_of_the_state():
    _, method, _ = make(DirectFeedback, QUICK)
    _, other, _ = make(DirectFeedback, QUICK, seed=4)
    assert not np.array_equal(method.B[0], other.B[0])
    other.restore(method.state())
    assert np.array_equal(method.B[0], other.B[0])


def test_fewer_outputs_than_classes_are_refused():
    with pytest.raises(ConfigError, match=r"^network\.width: 2, of the last block one output for each of 3 classes"):
        make(DirectFeedback, QUICK, width=2)
