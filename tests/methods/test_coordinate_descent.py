"""Coordinate descent on physical parameters: finds what helps, believes no noise, and is brought back bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from labtrain.controls import Off
from labtrain.errors import ConfigError
from labtrain.experiment import load
from labtrain.jobs import open_rig
from labtrain.ledger import Work
from labtrain.methods.adam import Adam
from labtrain.methods.coordinate_descent import CoordinateDescent
from labtrain.methods.goodness import loss_and_gradient, side_by_side
from labtrain.methods.physical import FIRST_READINGS
from labtrain.trial import Trial
from tests.methods.perturbed import run
from tests.methods.pixels import Pixels, make_with
from tests.worlds import Interference, blobs

ROOT = Path(__file__).resolve().parents[2]

QUICK = {"epochs": 6, "inner": 3, "rate": 0.02, "theta": 8.0, "score_every": 2, "flips": 5, "remeasure": 2,
         "tuning_batch": 20, "refit": 3, "breaks": [2]}  # fmt: skip


def make(config=None, *args, **options):
    return make_with(CoordinateDescent, {**QUICK, **(config or {})}, *args, **options)


def scripted(method, readings, start=(0, 0, 0, 0)):
    """Tune block 1 with these readings of the loss: the round, and pixels at each reading."""
    left, seen = list(readings), []

    def read(i, x):
        seen.append(tuple(method.net.blocks[0].physical.tolist()))
        return left.pop(0)

    method.net.blocks[0].physical = np.array(start)
    method._read = read
    found = method._tune(0)
    assert not left
    return found, seen


def test_only_a_change_beyond_repeatability_is_kept():
    _, method, _ = make({"flips": 3, "remeasure": 100, "margin": 2.0}, layers=1)
    # Readings 1.0, 1.2, 1.0: sigma^2 = 0.2^2 / 2, median 1.0; needed: below 1.0 - 2 * 0.2 = 0.6.
    found, seen = scripted(method, [1.0, 1.2, 1.0, 0.61, 0.59, 0.20])
    assert found.sigma == pytest.approx(0.2 / np.sqrt(2))
    assert (found.tried, found.kept) == (3, 1)  # the third needed less than 0.19
    assert (found.before, found.after) == (1.0, 0.59)
    assert seen[:3] == [(0, 0, 0, 0)] * 3
    assert sum(seen[3]) == sum(seen[4]) == 1  # the first was undone
    assert sum(seen[5]) == 2
    assert tuple(method.net.blocks[0].physical) == seen[4]


def test_the_incumbent_is_measured_again_and_followed():
    _, method, _ = make({"flips": 4, "remeasure": 2, "margin": 0.0}, layers=1)
    # The rig drifts: 1.0 has become 2.0 when it is read again, and 1.5 is then better.
    found, seen = scripted(method, [1.0, 1.0, 1.0, 1.1, 1.1, 2.0, 1.5, 1.6])
    assert seen[5] == (0, 0, 0, 0)
    assert (found.kept, found.after) == (1, 1.5)
    assert found.sigma == pytest.approx(np.sqrt(0.5 / 3))  # of 0, 0 and 1 squared, halved


def test_every_parameter_has_its_turn_before_any_has_another():
    _, method, _ = make({"flips": 8, "remeasure": 100}, layers=1)
    _, seen = scripted(method, [1.0] * 3 + [2.0] * 8)
    flipped = [state.index(1) for state in seen[3:]]
    assert sorted(flipped[:4]) == sorted(flipped[4:]) == [0, 1, 2, 3]


def test_more_states_than_two():
    _, method, _ = make({"flips": 40, "states": 4, "remeasure": 100}, layers=1)
    _, seen = scripted(method, [1.0] * 3 + [2.0] * 40, (2, 2, 2, 2))
    assert {value for state in seen[3:] for value in state} == {0, 1, 2, 3}
    assert all(sum(value != 2 for value in state) == 1 for state in seen[3:])


@pytest.mark.parametrize("refit", [0, 4])
@pytest.mark.parametrize("goodness", ["modulus", "linear"])
def test_a_reading_is_the_loss_of_the_block(refit, goodness):
    net, method, layer = make({"refit": refit, "goodness": goodness}, Pixels((1, 0, 0, 0)), layers=1)
    method.step()
    scale = net.blocks[0].y_scale.copy()
    block, batch = net.blocks[0], method._fixed_batch(0)
    x = batch.x
    assert x.shape == (20, 2, 6)
    assert x.tolist() == (net.encoder.patterns[batch.labels] + x * ([0] * 3 + [1] * 3)).tolist()
    before, shots, weights = method.multiply_adds, layer.shot, block.parameters.copy()
    found = method._read(0, batch)
    assert layer.shot - shots == 40
    assert (block.parameters == weights).all()
    y = np.abs(block.drive.map(x.reshape(40, -1)) @ layer.T).reshape(20, 2, -1)
    assert (block.y_scale == scale).all()
    block.y_mean, block.y_scale = y.mean(axis=(0, 1)), y.std(axis=(0, 1))
    passes = side_by_side(block.inputs(y, x))
    each = (refit + 1) * 40 * block.W.size
    assert method.multiply_adds == before + Work(forward=each, update=each)
    adam = Adam(weights.shape)
    for _ in range(refit):
        adam.update(0.02, weights, loss_and_gradient(weights, method.xi[0], 8.0, passes, 20, goodness)[1])
    assert found == pytest.approx(loss_and_gradient(weights, method.xi[0], 8.0, passes, 20, goodness)[0])


def test_it_opens_the_shutter_and_learns():
    net, method, _ = make({"epochs": 40, "flips": 8, "refit": 30, "tuning_batch": 60}, layers=1, skip=False)
    metrics = run(method)
    assert net.blocks[0].physical[0] == 1
    assert method.rounds[0]["kept"] >= 1
    assert method.rounds[0]["after"] < method.rounds[0]["before"]
    rows, labels = blobs()
    assert (method.scores(net, rows).argmax(axis=1) == labels).mean() > 0.9
    assert len(metrics) == 40
    # Frozen, the shutter stays closed: no change beats a margin that wide.
    frozen_net, frozen, _ = make({"epochs": 40, "margin": 1e9}, layers=1, skip=False)
    run(frozen)
    assert (frozen.scores(frozen_net, rows).argmax(axis=1) == labels).mean() < 0.6


@pytest.mark.parametrize(
    ("config", "validation", "layers"),
    [
        ({}, 0, 2),
        ({"breaks": [4, 2], "measured_negatives": 1}, 12, 2),
        ({"flips": 4, "breaks": [1, 2, 3, 4, 5]}, 0, 1),
        ({"tuning_batch": 1000}, 0, 1),
        ({"breaks": []}, 0, 2),
    ],
)
def test_planned_shots_are_the_shots(config, validation, layers):
    _, method, layer = make(config, validation=validation, layers=layers)
    run(method)
    assert layer.shot == method.planned_shots(layers, 60 - validation, validation, 3)


def test_a_round_costs_its_readings_and_every_pass_anew():
    method = CoordinateDescent(CoordinateDescent.Config(flips=40, remeasure=10, tuning_batch=64))
    passes = 2 * 100 * 7
    assert method.planned_shots(2, 100, 0, 7) == 2 * passes + 2 * (FIRST_READINGS + 40 + 3) * 2 * 64


@pytest.mark.parametrize("after", [0, 2, 3, 5, 8, 11])
def test_a_restored_state_ends_bit_for_bit_alike(after):
    config = {"flips": 8, "patience": 1, "score_every": 1, "epochs": 8}
    net, whole, layer = make(config, validation=12)
    run(whole)
    again_net, again, again_layer = make(config, validation=12)
    for _ in range(after):
        again.step()
    state, weights, shots = again.state(), again_net.state(), again_layer.state()
    third_net, third, third_layer = make(config, validation=12)
    third_net.restore(weights)
    third.restore(state)
    third_layer.restore(shots)
    run(third)
    for mine, theirs in zip(third_net.blocks, net.blocks, strict=True):
        assert mine.parameters.tobytes() == theirs.parameters.tobytes()
        assert (mine.physical == theirs.physical).all()
    assert third.rounds == whole.rounds
    assert third_layer.shot == layer.shot
    assert third.multiply_adds == whole.multiply_adds
    rows = blobs()[0]
    assert third.scores(third_net, rows).tobytes() == whole.scores(net, rows).tobytes()


def test_blocks_that_share_a_layer_have_their_own_pixels_and_a_saved_network_carries_them(tmp_path):
    net, method, layer = make({"epochs": 3}, Pixels((1, 0, 0, 0)))
    run(method)
    net.blocks[0].physical, net.blocks[1].physical = np.array([1, 0, 1, 0]), np.array([1, 1, 0, 1])
    rows = blobs()[0]
    expected = method.goodness_per_block(net, rows)
    assert layer.pixels.tolist() == [1, 1, 0, 1]
    net.save(tmp_path / "net.npz")
    other_net, other, _ = make({"epochs": 3}, Pixels((0, 0, 0, 0)))
    other_net.load(tmp_path / "net.npz")
    other.xi = method.xi
    assert other.goodness_per_block(other_net, rows) == pytest.approx(expected)


def test_patience_brings_pixels_and_responses_back_together():
    config = {"epochs": 4, "patience": 9, "score_every": 1, "flips": 8, "refit": 30}
    net, method, _ = make(config, Pixels(), validation=20, skip=False)
    accuracies = iter([0.9, 0.8, 0.7, 0.6])
    method._layerwise_accuracy = lambda last: next(accuracies)
    method.step()
    first = method.responses[0].copy()
    for _ in range(3):
        method.step()
    assert method.rounds[0]["kept"] >= 1
    assert net.blocks[0].physical.tolist() == [0, 0, 0, 0]
    assert method.responses[0].tobytes() == first.tobytes()


@pytest.mark.parametrize(
    ("breaks", "told"), [([6], "a break after epoch 6 of 6; breaks are after 1 to epochs - 1"), ([2, 2], "named twice")]
)
def test_breaks_that_cannot_be_are_refused(breaks, told):
    with pytest.raises(ValueError, match=told):
        CoordinateDescent.Config(**{**QUICK, "breaks": breaks})


def test_a_rig_without_physical_parameters_is_refused():
    with pytest.raises(ConfigError) as caught:
        make(layer=Interference())
    assert str(caught.value) == (
        "training.method: coordinate-descent, and the layer of block 1 has no physical parameters; use a microwave rig "
        "with pixels that carry no value (fewer rig.code.inputs), or method: phyll"
    )


def test_without_the_physics_pixels_can_be_changed_and_nothing_is_kept():
    net, method, _ = make(layer=Off(Pixels()))
    run(method)
    assert [found["kept"] for found in method.rounds] == [0, 0]
    assert len(net.blocks[0].physical) == 4


def test_on_the_microwave_rig_a_restored_trial_predicts_through_its_own_pixels():
    what = load(
        ROOT / "config" / "microwave-parity.yaml",
        ["rig.fidelity=physics", "dataset.rows=40", "rig.code.bits=1", "rig.code.inputs=6", "network.skip=true",
         "training={method: coordinate-descent, epochs: 4, breaks: [2], flips: 8, margin: 0, tuning_batch: 8}",
         "rig.frequencies_hz={start: 5.15e9, stop: 5.875e9, points: 4}", "encoding.label=slots", "ablations=[]"],
    ).value  # fmt: skip
    with open_rig(what) as rig:
        trial = Trial.begin(what, rig, 5).fit()
        assert trial.cost.shots == trial.planned_shots()[0]
        tuned = trial.net.blocks[0].physical
        assert tuned.size == 34
        assert tuned.sum() == sum(found["kept"] for found in trial.method.rounds) > 0
        state, rows = trial.state(), trial.table.features[trial.split.test]
        expected = trial.scores(rows)
        again = Trial.begin(what, rig, 5)
        assert again.layers[0].parameters.sum() == 0
        again.restore(state)
        assert again.scores(rows).tobytes() == expected.tobytes()
        assert again.layers[0].parameters.tolist() == tuned.tolist()
        assert {name: trial.ablation(name) for name in ("off", "random", "shuffled", "no_skip", "ridge")}
