"""Forward-Forward: its gradient, worked examples, what is passed on, shots, a state that brings it back bit for bit."""

from __future__ import annotations

import math

import numpy as np
import pytest

from labtrain.errors import ConfigError
from labtrain.methods.forward_forward import ForwardForward, goodness, loss_and_gradient
from labtrain.methods.goodness import side_by_side
from tests.methods import toy
from tests.methods.toy import accuracy, broken_off, numeric_gradient, predicts_alone, run, same
from tests.worlds import blobs

QUICK = {"epochs": 6, "inner": 5, "rate": 0.02, "score_every": 2}


def make(config: dict, **world):
    return toy.make(ForwardForward, QUICK | config, width=20, **world)


def test_goodness_is_the_sum_of_squares_of_what_is_above_zero():
    assert goodness(np.array([[3.0, -7.0, 4.0], [-1.0, -1.0, 0.0]])).tolist() == [25.0, 0.0]


def test_a_pair_by_hand():
    """W h + b = 2 for the positive pass h = 1, and 1 for the negative pass h = 0: G = 4 and 1, threshold 3."""
    loss, gradient = loss_and_gradient(np.array([[1.0, 1.0]]), 3.0, np.array([[1.0, 0.0], [1.0, 1.0]]), 1)
    assert loss == pytest.approx(math.log(1 + math.exp(3 - 4)) + math.log(1 + math.exp(1 - 3)))
    positive, negative = -1 / (1 + math.exp(4 - 3)), 1 / (1 + math.exp(3 - 1))  # dL/dG
    assert gradient == pytest.approx(np.array([[4 * positive, 4 * positive + 2 * negative]]))


@pytest.mark.parametrize("m", [1, 3])
def test_gradient_against_finite_differences(m):
    rng = np.random.default_rng(0)
    parameters = rng.standard_normal((5, 8))
    passes = np.vstack([0.5 * rng.standard_normal((7, 11 * (1 + m))), np.ones((1, 11 * (1 + m)))])
    _, gradient = loss_and_gradient(parameters, 5.0, passes, 11)
    numeric = numeric_gradient(lambda: loss_and_gradient(parameters, 5.0, passes, 11)[0], parameters)
    assert gradient == pytest.approx(numeric, abs=1e-7)


def test_a_far_threshold_does_not_overflow():
    loss, gradient = loss_and_gradient(np.array([[0.0, 100.0]]), 5e3, np.ones((2, 3)), 1)
    assert loss == pytest.approx(5e3)  # both negative passes are 5,000 beyond it, the positive one is right
    assert np.isfinite(gradient).all()


def test_the_threshold_is_for_each_output():
    net, method, _ = make({"inner": 1, "negatives": "all", "threshold": 0.3}, layers=1)
    drawn = net.blocks[0].parameters.copy()
    (loss,) = method.step().losses
    h = net.blocks[0].inputs(method.responses[0], net.encoder.candidates(method.data.rows, method.labels))
    assert loss == pytest.approx(loss_and_gradient(drawn, 20 * 0.3, side_by_side(h), 60)[0])


def test_the_next_block_sees_the_direction_alone():
    _, method, _ = make({})
    z = np.array([[[3.0, -2.0, 4.0, 0.0]], [[-1.0, -1.0, -1.0, -1.0]]])
    assert method._onward(z) == pytest.approx(np.array([[[1.2, 0, 1.6, 0]], [[0, 0, 0, 0]]]))  # sqrt(4) a / 5
    assert method._onward(7.0 * z) == pytest.approx(method._onward(z))


@pytest.mark.parametrize("schedule", ["joint", "layerwise"])
@pytest.mark.parametrize("negatives", ["random", "all", "hardest"])
def test_it_learns(schedule, negatives):
    net, method, _ = make({"schedule": schedule, "negatives": negatives, "epochs": 30})
    metrics = run(method)
    assert accuracy(net, method) > 0.95
    assert all(loss < 2 * math.log(2) for loss in metrics[-1].losses)  # better than goodness at the threshold


def test_scores_are_goodness_summed_over_blocks():
    net, method, layer = make({})
    run(method)
    layer.noise = 0.0
    per_block = method.goodness_per_block(net, blobs()[0][:5])
    assert per_block.shape == (2, 5, 3)
    assert method.scores(net, blobs()[0][:5]) == pytest.approx(per_block[0] + per_block[1])
    x = net.encoder.every_label(blobs()[0][:5])
    for block, expected in zip(net.blocks, per_block, strict=True):
        h = block.inputs(layer.forward(block.drive.map(x.reshape(15, -1))).reshape(5, 3, -1), x)
        a = np.maximum(h @ block.W.T + block.b, 0.0)
        assert (a**2).sum(axis=-1) == pytest.approx(expected)
        length = np.sqrt((a**2).mean(axis=-1, keepdims=True))
        x = np.divide(a, length, out=np.zeros_like(a), where=length > 0)


def test_a_trained_state_predicts_without_training_data():
    trained = make({"patience": 2}, validation=9)
    run(trained[1])
    predicts_alone(trained)


@pytest.mark.parametrize(
    ("config", "validation"),
    [({}, 0), ({"measured_negatives": 1}, 12), ({"schedule": "joint"}, 0), ({"schedule": "joint"}, 12)],
)
def test_planned_shots_are_the_shots(config, validation):
    net, method, layer = make(config, validation=validation)
    run(method)
    assert layer.shot == method.planned_shots(2, 60 - validation, validation, 3)
    before = layer.shot
    method.scores(net, blobs()[0][:7])
    assert layer.shot - before == 7 * method.shots_per_prediction(2, 3) == 42


@pytest.mark.parametrize("config", [{"schedule": "joint"}, {"decay": "cosine", "patience": 1, "score_every": 1}])
@pytest.mark.parametrize("after", [1, 3, 5])
def test_a_restored_state_ends_bit_for_bit_alike(config, after):
    whole = make(config, validation=9)
    run(whole[1])
    same(broken_off(ForwardForward, QUICK | config, after, width=20, validation=9), whole)


def test_settings_that_would_be_ignored_are_refused():
    with pytest.raises(ConfigError, match=r"^training.patience: there are no validation rows; set dataset.validation"):
        make({"patience": 2})[1].step()
    with pytest.raises(ValueError, match="measured_negatives belongs to schedule layerwise; with joint, negatives"):
        ForwardForward.Config(schedule="joint", measured_negatives=1)
    with pytest.raises(ValueError, match="threshold"):
        ForwardForward.Config(threshold=0.0)
