"""SPSA: its estimate is the gradient on average, a step by hand, exact shots, and a state that brings it back."""

from __future__ import annotations

import numpy as np
import pytest

from labtrain.errors import ConfigError
from labtrain.methods.perturbation import flatten
from labtrain.methods.spsa import SPSA
from tests.methods.perturbed import Quiet, loss_of, make, run, same_end, slopes
from tests.worlds import blobs

QUICK = {"epochs": 3, "batch": 16, "score_every": 2, "first_change": 0.05, "pilots": 4}


def test_estimates_are_the_gradient_on_average():
    net, method, _ = make(SPSA, QUICK, Quiet(n_out=3), width=6)
    method._calibrate()
    index = np.arange(4)
    expected = slopes(net, method.data, index)
    assert expected[-7 * 3 :] == pytest.approx(0.0)  # outputs beyond the classes take no part
    found = method.gradient(index, flatten(net), 1e-4, 20_000)[0]
    mean, error = found.mean(axis=0), found.std(axis=0) / np.sqrt(len(found))
    assert np.abs(mean - expected).max() < 4.5 * error.max()
    assert np.linalg.norm(mean - expected) < 0.15 * np.linalg.norm(expected)


@pytest.mark.parametrize("first_block", ["once", "always"])
def test_a_step_by_hand(first_block):
    net, method, layer = make(SPSA, {**QUICK, "first_block": first_block, "directions": 2, "c": 0.1}, Quiet())
    method.step()
    method.step()
    a, A, w, k, rng = method.a, method.A, flatten(net), 2, np.random.default_rng()
    assert pytest.approx(0.1 * 3 * 4) == A  # of 3 epochs with 4 batches
    rng.bit_generator.state = method.rng.bit_generator.state
    index, before = method.order[:16], layer.shot
    metrics = method.step()
    assert layer.shot - before == 16 * 4 * (1 if first_block == "once" else 2)
    c_k, g, losses = 0.1 / (k + 1) ** 0.101, np.zeros_like(w), []
    for d in rng.integers(2, size=(2, w.size)) * 2.0 - 1.0:
        more, less = (loss_of(net, method.data, w + sign * c_k * d, index) for sign in (1, -1))
        g += (more - less) / (2 * c_k) / d / 2
        losses += [more, less]
    assert flatten(net) == pytest.approx(w - a / (A + k + 1) ** 0.602 * g)
    assert metrics.losses == (pytest.approx(np.mean(losses)),) * 2


def test_the_first_step_changes_parameters_by_what_was_asked():
    changes = []
    for seed in range(20):
        net, method, _ = make(SPSA, {**QUICK, "epochs": 1, "pilots": 50}, Quiet(), seed=seed)
        before = flatten(net)
        method.step()
        changes.append(np.abs(flatten(net) - before).mean())
    assert np.mean(changes) == pytest.approx(0.05, rel=0.5)


@pytest.mark.parametrize("layers", [1, 2])
def test_it_learns(layers):
    net, method, _ = make(SPSA, {**QUICK, "epochs": 40}, layers=layers)
    metrics = run(method)
    rows, labels = blobs()
    assert (method.scores(net, rows).argmax(axis=1) == labels).mean() > 0.95
    assert metrics[-1].accuracy > 0.9
    assert metrics[-1].accuracy_on == "training"
    assert metrics[-1].losses[0] < 0.5 * metrics[0].losses[0]


@pytest.mark.parametrize(
    ("config", "validation", "layers"),
    [
        ({}, 0, 2),
        ({"first_block": "always"}, 0, 2),
        ({"directions": 3, "batch": 1000}, 12, 2),
        ({"first_block": "always", "score_every": 1}, 12, 3),
        ({}, 12, 1),
    ],
)
def test_planned_shots_are_the_shots(config, validation, layers):
    net, method, layer = make(SPSA, {**QUICK, **config}, validation=validation, layers=layers)
    metrics = run(method)
    assert layer.shot == method.planned_shots(layers, 60 - validation, validation, 3)
    assert len(metrics) == metrics[0].steps
    before = layer.shot
    method.scores(net, blobs()[0][:7])
    assert layer.shot - before == 7 * method.shots_per_prediction(layers, 3)


def test_two_passes_per_block_and_row_beside_the_first():
    method = SPSA(SPSA.Config(first_block="always", epochs=10, batch=32, pilots=5))
    assert method.planned_shots(blocks=2, train=100, validation=0, classes=7) == 2 * 100 + 2 * 2 * (10 * 100 + 5 * 32)


@pytest.mark.parametrize("config", [{}, {"first_block": "always", "directions": 2}])
@pytest.mark.parametrize("after", [0, 1, 5, 8])
def test_a_restored_state_ends_bit_for_bit_alike(config, after):
    same_end(SPSA, {**QUICK, **config}, after)


def test_a_finished_run_goes_on_with_its_gains():
    net, method, layer = make(SPSA, QUICK)
    run(method)
    longer_net, longer, longer_layer = make(SPSA, {**QUICK, "epochs": 5})
    longer_net.restore(net.state())
    longer.restore(method.state())
    metrics = run(longer)
    assert len(metrics) == 2 * 4
    assert (longer.a, longer.A) == (method.a, method.A)
    assert longer_layer.shot == 2 * 60 * 2
    assert layer.shot == method.planned_shots(2, 60, 0, 3)


def test_a_loss_that_nothing_moves_leaves_the_parameters_alone():
    net, method, _ = make(SPSA, QUICK, Quiet())
    method.losses = lambda index, variants: (np.ones(len(variants)), 0.0)
    before = flatten(net)
    method.step()
    assert (flatten(net) == before).all()


def test_fewer_outputs_than_classes_are_refused():
    with pytest.raises(ConfigError, match=r"^network\.width: 2, of the last block one output for each of 3 classes"):
        make(SPSA, QUICK, width=2)


def test_no_step_changes_a_parameter_by_more_than_five_times_the_first():
    net, method, _ = make(SPSA, {**QUICK, "first_change": 0.001}, Quiet())
    method.step()
    method.losses = lambda index, variants: (np.arange(len(variants)) * 1e6, 0.0)
    before = flatten(net)
    method.step()
    assert np.abs(flatten(net) - before) == pytest.approx(0.005)
