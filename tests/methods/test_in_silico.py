"""Backpropagation in silico: the twin's gradient, no shot in training, and the rig's own answers at the end."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from labtrain.controls import Off
from labtrain.errors import ConfigError
from labtrain.methods.in_silico import InSilico
from labtrain.methods.physics_aware import PhysicsAware
from labtrain.network import DriveConfig
from tests.methods.perturbed import Quiet, make, run, same_end, slopes
from tests.methods.twinned import exact_twin
from tests.worlds import blobs

QUICK = {"epochs": 3, "batch": 16, "score_every": 2}


@pytest.fixture
def twin(tmp_path):
    return exact_twin(Quiet(), tmp_path / "twin.npz")


@pytest.mark.parametrize("drive", ["affine", "row_norm", "row_minmax"])
def test_the_gradient_is_that_of_the_whole_network(twin, drive):
    config = {**QUICK, "twin": twin, "steepest": 1e6}
    net, method, _ = make(InSilico, config, Quiet(), layers=3, drive=DriveConfig(map=drive))
    method._calibrate()
    index = np.arange(0, 60, 4)
    found = np.concatenate([gradient.ravel() for gradient in method.gradients(index)[2]])
    expected = slopes(net, method.data, index, 1e-6)
    assert found == pytest.approx(expected, abs=1e-5 * np.abs(expected).max())


def test_with_an_exact_twin_it_is_physics_aware_training(twin):
    ours, theirs = (make(method, {**QUICK, "twin": twin}, Quiet()) for method in (InSilico, PhysicsAware))
    run(ours[1])
    run(theirs[1])
    for mine, other in zip(ours[0].blocks, theirs[0].blocks, strict=True):
        assert mine.y_mean == pytest.approx(other.y_mean)
        assert mine.y_scale == pytest.approx(other.y_scale)
        assert mine.parameters == pytest.approx(other.parameters, abs=1e-4)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_it_learns(twin, layers):
    net, method, _ = make(InSilico, {**QUICK, "epochs": 20, "twin": twin}, layers=layers)
    metrics = run(method)
    rows, labels = blobs()
    assert (method.scores(net, rows).argmax(axis=1) == labels).mean() > 0.95
    assert metrics[-1].losses[0] < 0.3 * metrics[0].losses[0]


@pytest.mark.parametrize(("validation", "layers"), [(0, 2), (12, 3), (12, 1)])
def test_training_costs_no_shot(twin, validation, layers):
    net, method, layer = make(InSilico, {**QUICK, "twin": twin}, validation=validation, layers=layers)
    metrics = run(method)
    assert layer.shot == 0 == method.planned_shots(layers, 60 - validation, validation, 3)
    assert metrics[-1].accuracy_on == ("validation" if validation else "training")
    method.scores(net, blobs()[0][:7])
    assert layer.shot == 7 * method.shots_per_prediction(layers, 3) == 7 * layers


def test_accuracies_on_the_way_are_those_of_the_twin_on_validation_rows(twin):
    net, method, _ = make(InSilico, {**QUICK, "twin": twin}, Quiet(), validation=21)
    seen = [metrics.accuracy for metrics in run(method)]
    best = method.scores(net, method.data.validation_rows).argmax(axis=1)  # an exact twin agrees with the rig
    assert seen[-1] == (best == method.data.validation_labels).mean()
    assert 0.4 < seen[-1] < 1.0  # neither chance nor all of them: the rows matter


def test_the_rig_answers_when_it_predicts(twin, tmp_path):
    net, method, layer = make(InSilico, {**QUICK, "twin": twin}, Quiet())
    run(method)
    rows = blobs()[0]
    before = method.scores(net, rows)
    layer.T = layer.T[::-1]
    assert not np.allclose(method.scores(net, rows), before)


@pytest.mark.parametrize("after", [0, 1, 5, 8])
def test_a_restored_state_ends_bit_for_bit_alike(twin, after):
    same_end(InSilico, {**QUICK, "twin": twin}, after)


def test_physics_that_is_off_needs_no_twin(twin):
    net, method, _ = make(InSilico, {**QUICK, "epochs": 20, "twin": twin}, Off(Quiet()))
    run(method)
    rows, labels = blobs()
    assert (method.scores(net, rows).argmax(axis=1) == labels).mean() > 0.9
    assert method.twins == [None, None]


def test_its_first_block_needs_a_twin_too(tmp_path):
    with pytest.raises(ConfigError, match=r"^training\.twin: .*twin\.npz does not exist; record the rig"):
        make(InSilico, {**QUICK, "twin": tmp_path / "twin.npz"}, layers=1)
    with pytest.raises(ValidationError):
        InSilico.Config(twin="twin.npz", first_block="always")
