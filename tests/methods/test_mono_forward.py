"""Mono-Forward: its gradient, a worked example, one pass per prediction, a state that brings it back bit for bit."""

from __future__ import annotations

import math

import numpy as np
import pytest

from labtrain.errors import ConfigError
from labtrain.methods.mono_forward import MonoForward, loss_and_gradients
from tests.methods import toy
from tests.methods.toy import accuracy, broken_off, numeric_gradient, predicts_alone, run, same
from tests.worlds import Interference, blobs

QUICK = {"epochs": 20, "inner": 5, "rate": 0.02, "score_every": 5}


def make(config: dict, **world):
    return toy.make(MonoForward, QUICK | config, **world)


def test_a_sample_by_hand():
    """h = (1, 2); W h + b = (3, -1) so a = (3, 0); G = a M^T = (3, 0): softmax(G) = (e^3, 1) / (e^3 + 1)."""
    parameters = np.array([[1.0, 1.0, 0.0], [1.0, -2.0, 2.0]])
    M = np.array([[1.0, 5.0], [0.0, 7.0]])
    loss, gradient, gradient_M = loss_and_gradients(parameters, M, np.array([[1.0], [2.0], [1.0]]), np.array([1]))
    p = math.exp(3) / (math.exp(3) + 1)
    assert loss == pytest.approx(math.log(math.exp(3) + 1))  # -log p_1
    # dL/dG = (p, -p); dL/da = (p, ...): only the first unit is active.
    assert gradient == pytest.approx(np.array([[p, 2 * p, p], [0, 0, 0]]))
    assert gradient_M == pytest.approx(np.array([[3 * p, 0], [-3 * p, 0]]))


def test_gradient_against_finite_differences():
    rng = np.random.default_rng(0)
    parameters, M = rng.standard_normal((5, 8)), rng.standard_normal((3, 5))
    passes = np.vstack([rng.standard_normal((7, 11)), np.ones((1, 11))])
    labels = rng.integers(0, 3, 11)
    _, *gradients = loss_and_gradients(parameters, M, passes, labels)
    for values, gradient in zip((parameters, M), gradients, strict=True):
        numeric = numeric_gradient(lambda: loss_and_gradients(parameters, M, passes, labels)[0], values)
        assert gradient == pytest.approx(numeric, abs=1e-8)


def test_large_goodness_does_not_overflow():
    loss, *gradients = loss_and_gradients(
        np.array([[1e4, 0.0]]), np.array([[1.0], [-1.0]]), np.ones((2, 1)), np.array([1])
    )
    assert loss == pytest.approx(2e4)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("prediction", ["last", "summed"])
@pytest.mark.parametrize("label", ["slots", "overlay"])
def test_it_learns(prediction, label):
    net, method, _ = make({"prediction": prediction}, label=label)
    metrics = run(method)
    assert metrics[-1].losses[1] < metrics[20].losses[1] < math.log(3)
    assert accuracy(net, method) > 0.95
    assert metrics[-1].accuracy > 0.95


def test_the_next_block_sees_activations_and_scores_are_those_of_the_last_block_or_their_sum():
    net, method, layer = make({"prediction": "last"})
    run(method)
    rows = blobs()[0][:9]
    layer.noise = 0.0
    x, found = net.encoder.features(rows), []
    for block, M in zip(net.blocks, method.M, strict=True):
        h = block.inputs(layer.forward(block.drive.map(x)), x)
        x = np.maximum(h @ block.W.T + block.b, 0.0)
        found.append(x @ M.T)
    assert method.scores(net, rows) == pytest.approx(found[1])
    method.config = method.config.model_copy(update={"prediction": "summed"})
    assert method.scores(net, rows) == pytest.approx(found[0] + found[1])


def test_no_label_enters_the_physics():
    told = []

    class Spy(Interference):
        def _measure(self, x):
            told.append(x.copy())
            yield from super()._measure(x)

    for given in (blobs()[1], blobs()[1][::-1].copy()):
        _, method, _ = make({}, labels=given, layer=Spy(max_batch=1000))
        method.step()
    assert told[0].tobytes() == told[1].tobytes()


def test_a_trained_state_predicts_without_training_data():
    trained = make({"patience": 2}, validation=9)
    run(trained[1])
    predicts_alone(trained)


@pytest.mark.parametrize("validation", [0, 12])
def test_planned_shots_are_the_shots(validation):
    net, method, layer = make({}, validation=validation)
    run(method)
    assert layer.shot == method.planned_shots(2, 60 - validation, validation, 3) == 120
    before = layer.shot
    method.scores(net, blobs()[0][:7])
    assert layer.shot - before == 7 * method.shots_per_prediction(2, 3) == 14


@pytest.mark.parametrize("config", [{"epochs": 6}, {"epochs": 6, "decay": "cosine", "patience": 1, "score_every": 1}])
@pytest.mark.parametrize("after", [1, 5, 8])
def test_a_restored_state_ends_bit_for_bit_alike(config, after):
    whole = make(config, validation=9)
    run(whole[1])
    again = broken_off(MonoForward, QUICK | config, after, validation=9)
    same(again, whole)
    assert [M.tobytes() for M in again[1].M] == [M.tobytes() for M in whole[1].M]


def test_accuracy_is_told_every_few_epochs_and_after_the_last():
    _, method, _ = make({"epochs": 5, "score_every": 3}, layers=1)
    assert [not math.isnan(metrics.accuracy) for metrics in run(method)] == [False, False, True, True, True]
    told = [metrics.accuracy for metrics in run(make({"epochs": 5, "score_every": 3, "rate": 0.002}, layers=1)[1])]
    assert told[2] == told[3] != told[4]


def test_patience_brings_the_best_weights_and_projections_back():
    config = {"patience": 1, "epochs": 40, "rate": 0.5, "score_every": 1}
    _, method, _ = make(config, validation=20, labels=np.random.default_rng(0).integers(0, 3, 60))
    metrics = run(method)
    assert len(metrics) < 80
    assert metrics[-1].accuracy == max(m.accuracy for m in metrics if m.stage == "layer 2")
    assert method._layerwise_accuracy(1) == metrics[-1].accuracy


def test_patience_needs_validation_rows():
    with pytest.raises(ConfigError, match=r"^training.patience: there are no validation rows; set dataset.validation"):
        make({"patience": 2})[1].step()
