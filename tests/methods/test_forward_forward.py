"""Forward-Forward: its gradient, worked examples, what is passed on, shots, a state that brings it back bit for bit."""

from __future__ import annotations

import math

import numpy as np
import pytest

from labtrain.errors import ConfigError
from labtrain.methods.forward_forward import ForwardForward, goodness, loss_and_gradient
from labtrain.methods.method import Data
from labtrain.network import DriveConfig, EncodingConfig, NetworkConfig, build
from tests.worlds import Interference, blobs

QUICK = {"epochs": 6, "inner": 5, "rate": 0.02, "score_every": 2}


def make(config: dict, validation: int = 0, layers: int = 2, label: str = "slots"):
    rows, labels = blobs()
    layer = Interference(noise=0.01)
    cut = len(rows) - validation
    net = build(
        NetworkConfig(layers=layers, width=20, drive=DriveConfig(mix=True)),
        EncodingConfig(scaling="standard", label=label),
        [layer],
        rows=rows[:cut],
        classes=["a", "b", "c"],
        feature_names=["f0", "f1", "f2"],
        seed=3,
    )
    method = ForwardForward(ForwardForward.Config(**{**QUICK, **config}))
    method.start(net, Data(rows[:cut], labels[:cut], rows[cut:], labels[cut:]), np.random.default_rng([3, 2]))
    return net, method, layer


def run(method):
    found = []
    while (metrics := method.step()) is not None:
        found.append(metrics)
    return found


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
    numeric = np.empty_like(parameters)
    for place in np.ndindex(parameters.shape):
        kept, sides = parameters[place], []
        for side in (1e-6, -1e-6):
            parameters[place] = kept + side
            sides.append(loss_and_gradient(parameters, 5.0, passes, 11)[0])
        parameters[place] = kept
        numeric[place] = (sides[0] - sides[1]) / 2e-6
    assert gradient == pytest.approx(numeric, abs=1e-7)


def test_a_far_threshold_does_not_overflow():
    loss, gradient = loss_and_gradient(np.array([[0.0, 100.0]]), 5e3, np.ones((2, 3)), 1)
    assert loss == pytest.approx(5e3)  # both negative passes are 5,000 beyond it, the positive one is right
    assert np.isfinite(gradient).all()


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
    rows, labels = blobs(seed=0)
    assert (method.scores(net, rows).argmax(axis=1) == labels).mean() > 0.95
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
        x = a / np.sqrt((a**2).mean(axis=-1, keepdims=True))


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
    net, method, layer = make(config, validation=9)
    run(method)
    again_net, again, again_layer = make(config, validation=9)
    for _ in range(after):
        again.step()
    state, weights, shots = again.state(), again_net.state(), again_layer.state()
    third_net, third, third_layer = make(config, validation=9)
    third_net.restore(weights)
    third.restore(state)
    third_layer.restore(shots)
    run(third)
    for mine, theirs in zip(third_net.blocks, net.blocks, strict=True):
        assert mine.parameters.tobytes() == theirs.parameters.tobytes()
    assert third_layer.shot == layer.shot and third.multiply_adds == method.multiply_adds
    rows = blobs()[0]
    assert third.scores(third_net, rows).tobytes() == method.scores(net, rows).tobytes()


def test_settings_that_would_be_ignored_are_refused():
    with pytest.raises(ConfigError, match=r"^training.patience: there are no validation rows; set dataset.validation"):
        make({"patience": 2})
    with pytest.raises(ValueError, match="measured_negatives belongs to schedule layerwise; with joint, negatives"):
        ForwardForward.Config(schedule="joint", measured_negatives=1)
    with pytest.raises(ValueError, match="threshold"):
        ForwardForward.Config(threshold=0.0)
