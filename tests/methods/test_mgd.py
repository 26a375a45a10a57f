"""Multiplexed gradient descent: G is the gradient on average, an update by hand, exact shots, resuming."""

from __future__ import annotations

import numpy as np
import pytest

from labtrain.errors import ConfigError
from labtrain.methods.mgd import MGD
from labtrain.methods.perturbation import flatten
from tests.methods.perturbed import Quiet, loss_of, make, run, same_end, slopes
from tests.worlds import blobs

QUICK = {"epochs": 3, "batch": 16, "score_every": 2, "eta": 0.01}


def test_what_accumulates_is_the_gradient_on_average():
    net, method, _ = make(MGD, {**QUICK, "amplitude": 1e-4, "tau_theta": 20_000}, Quiet(n_out=3), width=6)
    method._calibrate()
    index = np.arange(4)
    expected = slopes(net, method.data, index)
    G, C0, _ = method.accumulate(index, flatten(net))
    assert np.linalg.norm(G / 20_000 - expected) < 0.15 * np.linalg.norm(expected)
    assert pytest.approx(loss_of(net, method.data, flatten(net), index)) == C0


@pytest.mark.parametrize("first_block", ["once", "always"])
def test_an_update_by_hand(first_block):
    config = {**QUICK, "first_block": first_block, "tau_theta": 3, "amplitude": 0.1}
    net, method, layer = make(MGD, config, Quiet())
    method.step()
    w, rng = flatten(net), np.random.default_rng()
    rng.bit_generator.state = method.rng.bit_generator.state
    index, before = method.order[:16], layer.shot
    metrics = method.step()
    assert layer.shot - before == 16 * (1 + 3) * (1 if first_block == "once" else 2)
    C0, G = loss_of(net, method.data, w, index), np.zeros_like(w)
    for sign in rng.integers(2, size=(3, w.size)) * 2 - 1:
        C = loss_of(net, method.data, w + 0.1 * sign, index)
        G += (C - C0) * 0.1 * sign / 0.1**2
    assert flatten(net) == pytest.approx(w - 0.01 * G)
    assert metrics.losses == (pytest.approx(C0),) * 2


def test_it_learns():
    net, method, _ = make(MGD, {**QUICK, "epochs": 60})
    metrics = run(method)
    rows, labels = blobs()
    assert (method.scores(net, rows).argmax(axis=1) == labels).mean() > 0.95
    assert metrics[-1].losses[0] < 0.5 * metrics[0].losses[0]


@pytest.mark.parametrize(
    ("config", "validation", "layers"),
    [
        ({}, 0, 2),
        ({"first_block": "always", "tau_theta": 1}, 12, 2),
        ({"batch": 1000, "score_every": 1}, 12, 3),
        ({}, 12, 1),
    ],
)
def test_planned_shots_are_the_shots(config, validation, layers):
    net, method, layer = make(MGD, {**QUICK, **config}, validation=validation, layers=layers)
    run(method)
    assert layer.shot == method.planned_shots(layers, 60 - validation, validation, 3)
    before = layer.shot
    method.scores(net, blobs()[0][:7])
    assert layer.shot - before == 7 * method.shots_per_prediction(layers, 3)


def test_a_pass_per_perturbation_and_one_for_c0():
    method = MGD(MGD.Config(first_block="always", epochs=10, tau_theta=7))
    assert method.planned_shots(blocks=2, train=100, validation=0, classes=7) == 2 * 100 + 10 * 100 * 2 * (1 + 7)


@pytest.mark.parametrize("config", [{}, {"first_block": "always", "tau_theta": 2}])
@pytest.mark.parametrize("after", [0, 5, 8])
def test_a_restored_state_ends_bit_for_bit_alike(config, after):
    same_end(MGD, {**QUICK, **config}, after)


def test_fewer_outputs_than_classes_are_refused():
    with pytest.raises(ConfigError, match=r"^network\.width: 2, of the last block one output for each of 3 classes"):
        make(MGD, QUICK, width=2)
