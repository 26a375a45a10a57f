"""Unsupervised PhyLL: hybrids are what they should be, blocks learn without labels, one pass per prediction."""

from __future__ import annotations

import numpy as np
import pytest

from labtrain.errors import ConfigError, DataError
from labtrain.methods.goodness import goodness
from labtrain.methods.hybrids import blur, hybrids, masks
from labtrain.methods.method import Data
from labtrain.methods.phyll_unsupervised import UnsupervisedPhyLL
from tests.methods import toy
from tests.methods.toy import accuracy, broken_off, predicts_alone, run, same
from tests.worlds import blobs

QUICK = {"epochs": 20, "inner": 5, "rate": 0.02, "theta": 8.0, "score_every": 5}


def make(config: dict, **world):
    return toy.make(UnsupervisedPhyLL, QUICK | config, **world)


# -- hybrids -----------------------------------------------------------------------------------------------------------


def test_blur_by_hand():
    dot = np.zeros((1, 3, 4))
    dot[0, 1, 0] = 16.0
    # Beyond the left border stands the border again: the corner's 2 + 1 parts of four stay in its column.
    assert blur(dot)[0].tolist() == [[3, 1, 0, 0], [6, 2, 0, 0], [3, 1, 0, 0]]
    assert blur(np.ones((2, 4, 5))).tolist() == np.ones((2, 4, 5)).tolist()


def test_masks_are_zeros_and_ones_with_both_in_each():
    for shape, smoothness in [((2, 1), 0), ((8, 8), 6), ((1, 5), 0)]:
        found = masks(300, shape, smoothness, np.random.default_rng(0))
        assert set(np.unique(found)) == {0.0, 1.0}
        assert (found.mean(axis=1) > 0).all() and (found.mean(axis=1) < 1).all()


def test_smoother_masks_have_fewer_edges():
    def edges(smoothness):
        image = masks(200, (8, 8), smoothness, np.random.default_rng(1)).reshape(-1, 8, 8)
        return (image[:, 1:] != image[:, :-1]).mean() + (image[:, :, 1:] != image[:, :, :-1]).mean()

    assert edges(0) == pytest.approx(1.0, abs=0.05)
    assert edges(0) > 1.5 * edges(1) > 1.5 * edges(4)


def test_a_hybrid_has_features_of_its_own_row_and_of_one_other():
    rows = np.arange(5)[:, None] * 10.0 + np.arange(4)
    found = hybrids(rows, 3, (2, 2), 1, np.random.default_rng(0))
    assert found.shape == (5, 3, 4)
    assert (found % 10 == np.arange(4)).all()  # each feature in its place
    for i, mixed in enumerate(found // 10):
        for row in mixed:
            assert i in row and len(set(row)) == 2
    assert len({tuple(row) for row in (found // 10).reshape(-1, 4)}) > 8


# -- the method --------------------------------------------------------------------------------------------------------


def test_blocks_give_real_samples_the_larger_goodness():
    net, method, _ = make({})
    before = net.blocks[0].parameters.copy()
    run(method)
    h = net.blocks[0].inputs(method.responses[0], method._first(False))

    def margin(parameters):
        g = goodness(h @ parameters[:, :-1].T + parameters[:, -1], method.xi[0])
        return (g[:, 0] - g[:, 1]).mean()

    assert margin(net.blocks[0].parameters) > max(0.1, margin(before) + 0.1)


@pytest.mark.parametrize("label", ["slots", "overlay"])
def test_it_learns(label):
    net, method, _ = make({}, label=label)
    run(method)
    assert accuracy(net, method) > 0.95


def test_no_label_enters_the_blocks():
    """Other labels, same blocks to the last bit; what the physics is told has no label in it either."""
    net, method, layer = make({})
    run(method)
    other_net, other, other_layer = make({}, labels=np.random.default_rng(5).integers(0, 3, 60))
    run(other)
    assert layer.shot == other_layer.shot
    for mine, theirs in zip(net.blocks, other_net.blocks, strict=True):
        assert mine.parameters.tobytes() == theirs.parameters.tobytes()
    assert not np.allclose(method.V, other.V)
    assert (method._first(False)[..., :3] == 0).all()


def test_the_readout_is_ridge_regression_on_all_activations():
    net, method, _ = make({"penalty": 1e-9}, layers=2)
    run(method)
    x, seen = method._first(False)[:, 0], []
    for block, y in zip(net.blocks, method.responses, strict=True):
        x = block.inputs(y[:, 0], x) @ block.W.T + block.b
        seen.append(np.abs(x))
    a = np.hstack([*seen, np.ones((60, 1))])
    expected = np.linalg.lstsq(a, np.eye(3)[method.data.labels], rcond=None)[0]
    assert a[:, :-1] @ method.V + method.c == pytest.approx(a @ expected, abs=1e-5)


def test_a_trained_state_predicts_without_training_data():
    trained = make({"patience": 2}, validation=9)
    run(trained[1])
    predicts_alone(trained)


@pytest.mark.parametrize(("config", "validation"), [({}, 0), ({"hybrids": 3}, 12)])
def test_planned_shots_are_the_shots(config, validation):
    net, method, layer = make(config, validation=validation)
    run(method)
    assert layer.shot == method.planned_shots(2, 60 - validation, validation, 3)
    assert layer.shot == 2 * ((60 - validation) * (1 + config.get("hybrids", 1)) + validation)
    before = layer.shot
    method.scores(net, blobs()[0][:7])
    assert layer.shot - before == 7 * method.shots_per_prediction(2, 3) == 14


@pytest.mark.parametrize("config", [{"epochs": 6}, {"epochs": 6, "decay": "cosine", "patience": 1, "score_every": 1}])
@pytest.mark.parametrize("after", [1, 5, 8])
def test_a_restored_state_ends_bit_for_bit_alike(config, after):
    whole = make(config, validation=9)
    run(whole[1])
    same(broken_off(UnsupervisedPhyLL, QUICK | config, after, validation=9), whole)


def test_going_on_with_more_epochs_keeps_the_first_block_s_shots():
    net, method, layer = make({"epochs": 3})
    run(method)
    shots, state, V = layer.shot, method.state(), method.V
    more = UnsupervisedPhyLL(UnsupervisedPhyLL.Config(**QUICK | {"epochs": 6}))
    more.start(net, method.data, np.random.default_rng([3, 2]))
    more.restore(state)
    run(more)
    assert layer.shot - shots == 2 * 60
    assert more.responses[0].tobytes() == state["responses"][0].tobytes()
    assert len(more.responses) == 2 and not np.allclose(more.responses[1], state["responses"][1])
    assert not np.allclose(more.V, V)


def test_accuracy_is_told_on_validation_rows_and_patience_brings_the_best_back():
    config = {"patience": 1, "epochs": 40, "rate": 0.5, "score_every": 1}
    _, method, _ = make(config, validation=20)
    metrics = run(method)
    assert len(metrics) < 80
    assert metrics[-1].accuracy_on == "validation"
    assert metrics[-1].accuracy == max(m.accuracy for m in metrics if m.stage == "layer 2")
    assert method._layerwise_accuracy(1) == metrics[-1].accuracy


def test_errors():
    with pytest.raises(ConfigError) as caught:
        make({"image": (2, 2)})
    assert str(caught.value) == (
        "training.image: 2 x 2 are 4 pixels, the data set has 3 features; set height and width of its images, or leave "
        "the key out"
    )
    net, method, _ = make({})
    with pytest.raises(ConfigError, match=r"^the readout of unsupervised PhyLL has not been trained; train to the end"):
        method.scores(net, blobs()[0])
    one = Data(blobs()[0][:1], blobs()[1][:1], blobs()[0][:0], blobs()[1][:0])
    with pytest.raises(DataError, match=r"^1 training rows of 3 features: a hybrid needs two rows of two; give more"):
        method.start(net, one, np.random.default_rng(0))
        method.step()
    with pytest.raises(ConfigError, match=r"^training.patience: there are no validation rows"):
        make({"patience": 2})[1].step()
