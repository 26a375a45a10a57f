"""PhyLL as a method: it learns, both schedules count their shots right, and a state brings it back bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from labtrain.errors import ConfigError
from labtrain.methods.goodness import loss_and_gradient, side_by_side
from labtrain.methods.method import Data
from labtrain.methods.phyll import PhyLL
from labtrain.network import EncodingConfig, NetworkConfig, build
from tests.worlds import Interference, blobs

QUICK = {"epochs": 6, "inner": 5, "rate": 0.02, "theta": 8.0, "score_every": 2}


def make(config: dict, layer: Interference | None = None, validation: int = 0, layers: int = 2, seed: int = 3):
    rows, labels = blobs()
    names, features = ["a", "b", "c"], ["f0", "f1", "f2"]
    layer = layer or Interference(noise=0.01)
    cut = len(rows) - validation
    net = build(
        NetworkConfig(layers=layers, width=6),
        EncodingConfig(scaling="standard"),
        [layer],
        rows=rows[:cut],
        classes=names,
        feature_names=features,
        seed=seed,
    )
    method = PhyLL(PhyLL.Config(**{**QUICK, **config}))
    method.start(net, Data(rows[:cut], labels[:cut], rows[cut:], labels[cut:]), np.random.default_rng([seed, 2]))
    return net, method, layer


def run(method):
    found = []
    while (metrics := method.step()) is not None:
        found.append(metrics)
    return found


@pytest.mark.parametrize("schedule", ["joint", "layerwise"])
@pytest.mark.parametrize("negatives", ["random", "all", "hardest"])
@pytest.mark.parametrize("goodness", ["modulus", "linear"])
def test_it_learns(schedule, negatives, goodness):
    net, method, _ = make({"schedule": schedule, "negatives": negatives, "epochs": 30, "goodness": goodness})
    run(method)
    rows, labels = blobs(seed=0)
    assert (method.scores(net, rows).argmax(axis=1) == labels).mean() > 0.95
    assert all((best == 1.0) == (goodness == "linear") for best in method.largest_goodness)


@pytest.mark.parametrize(
    ("config", "validation"),
    [
        ({"schedule": "layerwise"}, 0),
        ({"schedule": "layerwise", "measured_negatives": 1}, 12),
        ({"schedule": "joint"}, 0),
        ({"schedule": "joint", "negatives": "all"}, 12),
        ({"schedule": "joint", "batch": 7}, 12),
    ],
)
def test_planned_shots_are_the_shots(config, validation):
    net, method, layer = make(config, validation=validation)
    run(method)
    assert layer.shot == method.planned_shots(2, 60 - validation, validation, 3)
    before = layer.shot
    method.scores(net, blobs()[0][:7])
    assert layer.shot - before == 7 * method.shots_per_prediction(2, 3)


def test_published_schedule_costs_what_was_published():
    method = PhyLL(PhyLL.Config(schedule="joint", epochs=200))
    assert method.planned_shots(blocks=2, train=206, validation=0, classes=7) == 164_800


def test_layerwise_costs_each_sample_and_label_once_per_layer():
    assert PhyLL(PhyLL.Config()).planned_shots(blocks=2, train=206, validation=0, classes=7) == 2_884


@pytest.mark.parametrize(
    "config",
    [
        {"schedule": "joint", "goodness": "linear"},
        {"schedule": "joint", "batch": 17, "negatives": "hardest", "decay": "cosine"},
        {"schedule": "layerwise", "decay": "cosine"},
    ],
)
@pytest.mark.parametrize("after", [1, 3, 5])
def test_a_restored_state_ends_bit_for_bit_alike(config, after):
    net, method, _ = make(config, validation=9)
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
        assert mine.W.tobytes() == theirs.W.tobytes()
        assert mine.b.tobytes() == theirs.b.tobytes()
    rows = blobs()[0]
    assert third.scores(third_net, rows).tobytes() == method.scores(net, rows).tobytes()


@pytest.mark.parametrize("negatives", ["random", "all", "hardest"])
def test_batches_learn_and_train_every_row_once_an_epoch(negatives, monkeypatch):
    net, method, _ = make({"schedule": "joint", "negatives": negatives, "batch": 16, "epochs": 8})
    seen, first = [], net.encoder.candidates

    def noted(rows, labels):
        seen.append(rows)
        return first(rows, labels)

    monkeypatch.setattr(net.encoder, "candidates", noted)
    method.step()
    assert [len(rows) for rows in seen] == [16, 16, 16, 12]
    assert sorted(map(tuple, np.concatenate(seen))) == sorted(map(tuple, method.data.rows))
    assert [tuple(row) for rows in seen for row in rows] != [tuple(row) for row in method.data.rows]
    monkeypatch.undo()
    run(method)
    rows, labels = blobs(seed=0)
    assert (method.scores(net, rows).argmax(axis=1) == labels).mean() > 0.95


def test_a_batch_of_all_rows_is_no_batch():
    found = []
    for config in ({}, {"batch": 60}):
        net, method, _ = make({"schedule": "joint", "negatives": "all", **config})
        accuracies = [metrics.accuracy for metrics in run(method)]
        found.append((net.blocks[1].W.tobytes(), accuracies[-1]))
    assert found[0] == found[1]


def test_updates_of_a_batch_follow_its_own_passes():
    """One block, one update a batch, by hand: labels, rows and Adam's steps in the order of the batches."""
    config = {"schedule": "joint", "batch": 24, "epochs": 1, "inner": 1, "score_every": 9}
    net, method, _ = make(config, layers=1)
    twin_net, twin, _ = make(config, layers=1)
    run(method)
    order = twin.rng.permutation(60)
    for start in (0, 24, 48):
        rows = order[start : start + 24]
        labels = twin._draw_labels(rows)
        x = twin_net.encoder.candidates(twin.data.rows[rows], labels)
        block = twin_net.blocks[0]
        h = block.inputs(block.learn(x, twin.order_rng), x)
        _, gradient = loss_and_gradient(block.parameters, twin.xi[0], twin.config.theta, side_by_side(h), len(rows))
        twin.adam[0].update(twin.config.rate, block.parameters, gradient)
    assert net.blocks[0].parameters.tobytes() == twin_net.blocks[0].parameters.tobytes()


def test_drawn_labels_are_the_true_one_and_different_wrong_ones():
    _, method, _ = make({})
    assert (method.labels[:, 0] == method.data.labels).all()
    assert all(len(set(row)) == 3 for row in method.labels.tolist())


def test_candidates_are_measured_in_random_order():
    """A fixed order would tie the label to drift: the drives of a batch must not keep the order of the labels."""
    seen = []

    class Spy(Interference):
        def _measure(self, x):
            seen.append(x.copy())
            yield from super()._measure(x)

    net, method, _ = make({}, Spy(max_batch=1000))
    method.step()
    x = net.encoder.candidates(method.data.rows, method.labels)
    n, m, width = x.shape
    in_label_order = net.blocks[0].drive(x.reshape(n * m, width)).reshape(n, m, -1)
    measured = seen[0].reshape(n, m, -1)
    first = (measured[:, 0] == in_label_order[:, 0]).all(axis=1).mean()
    assert 0.1 < first < 0.6  # one third by chance
    assert np.allclose(np.sort(measured, axis=1), np.sort(in_label_order, axis=1))


@pytest.mark.parametrize("config", [{"schedule": "joint"}, {"measured_negatives": 1}])
def test_training_accuracy_is_told_where_every_label_was_measured(config):
    assert all(np.isnan(metrics.accuracy) for metrics in run(make(config)[1]))
    assert run(make({**config, "negatives": "all", "measured_negatives": None})[1])[-1].accuracy > 0.5


def test_settings_that_would_be_ignored_are_refused():
    with pytest.raises(ConfigError) as caught:
        make({"patience": 2})[1].step()
    assert str(caught.value) == (
        "training.patience: there are no validation rows; set dataset.validation_fraction above 0"
    )
    with pytest.raises(ValueError, match="measured_negatives belongs to schedule layerwise; with joint, negatives"):
        PhyLL.Config(schedule="joint", measured_negatives=1)
    with pytest.raises(ValueError, match="batch belongs to schedule joint; layerwise measures all rows of a block"):
        PhyLL.Config(batch=8)


def test_patience_brings_the_best_weights_back():
    _, method, _ = make({"patience": 1, "epochs": 40, "rate": 0.5, "score_every": 1}, validation=20)
    metrics = run(method)
    assert len(metrics) < 80
    assert metrics[-1].accuracy_on == "validation"


def test_without_physics_and_skip_it_still_runs():
    from labtrain.controls import Off

    rows, labels = blobs()
    net = build(
        NetworkConfig(layers=1, width=4, skip=False), EncodingConfig(), [Off(Interference())],
        rows=rows, classes=["a", "b", "c"], feature_names=["f0", "f1", "f2"], seed=0,
    )  # fmt: skip
    method = PhyLL(PhyLL.Config(**QUICK))
    method.start(net, Data(rows, labels, rows[:0], labels[:0]), np.random.default_rng(0))
    run(method)
    scores = method.scores(net, rows)
    assert np.ptp(scores) == pytest.approx(0.0)  # nothing to tell the labels apart
