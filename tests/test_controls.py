"""Ablations: they ask the rig for nothing, and each takes away what it says."""

from __future__ import annotations

import numpy as np
import pytest

from labtrain import jobs
from labtrain.clock import SimulatedClock
from labtrain.config import loads
from labtrain.controls import Logged, Off, RandomWaves, Shuffled
from labtrain.errors import Interrupted, MeasurementError
from labtrain.experiment import Experiment
from labtrain.ledger import Metered
from labtrain.trial import Trial
from tests.worlds import Interference


def test_off_answers_with_nothing():
    assert Off(Interference()).forward(np.zeros((4, 6))).shape == (4, 0)


def test_random_waves_are_a_fixed_modulus_of_a_superposition():
    layer = RandomWaves(Interference(3, 5), np.random.default_rng(0))
    x = np.random.default_rng(1).uniform(size=(10, 3))
    assert layer.forward(x).tobytes() == layer.forward(x).tobytes()
    assert layer.forward(x / 2) == pytest.approx(layer.forward(x) / 2)
    both, first, second = (layer.forward(np.array([row]))[0] for row in ([0.3, 0.4, 0], [0.3, 0, 0], [0, 0.4, 0]))
    assert (both < first + second - 1e-6).all()  # they interfere


def test_shuffled_deals_each_true_response_once_to_some_batch_mate():
    responses = np.arange(24.0).reshape(12, 2)
    layer = Shuffled(Interference(), responses, np.random.default_rng(0))
    dealt = layer.forward(np.zeros((12, 6)))
    assert dealt.tolist() != responses.tolist()
    assert sorted(dealt.tolist()) == responses.tolist()


def test_logged_answers_what_was_measured_and_nothing_else():
    rig = Metered(Interference(noise=0.1), SimulatedClock())
    x = np.random.default_rng(0).uniform(size=(9, 6))
    y = rig.forward(x)
    shots = rig.cost.shots
    logged = Logged(rig)
    assert logged.forward(x[::-1]).tobytes() == y[::-1].copy().tobytes()
    assert rig.cost.shots == shots
    new = np.vstack([x[:2], np.full((1, 6), 0.5)])
    assert logged.knows(new).tolist() == [True, True, False]
    with pytest.raises(MeasurementError) as caught:
        logged.forward(new)
    assert str(caught.value) == (
        "logged responses: drive 2 of 3 was never measured; leave this ablation out of the config's list"
    )


class Rounding(Interference):
    """Is told halves alone."""

    def quantise(self, x):
        return np.round(2 * super().quantise(x)) / 2


def test_stand_ins_are_told_no_more_than_the_rig_would_be():
    rig, x = Rounding(), np.random.default_rng(0).uniform(size=(5, 6))
    rounded = np.round(2 * x) / 2
    layer = RandomWaves(rig, np.random.default_rng(0))
    assert layer.quantise(x).tolist() == rounded.tolist()
    (shots,) = layer.measure(x)
    assert shots.x.tolist() == rounded.tolist() and shots.y.tobytes() == layer.forward(rounded).tobytes()
    assert Off(rig).quantise(x).tolist() == rounded.tolist()


@pytest.fixture(scope="module")
def broken_off():
    """A trial whose training stopped after two of six epochs, each of which drew wrong labels of its own."""
    text = (
        "rig: {type: acoustic, membranes: 1, discs: 0}\n"
        "dataset: {type: xor-tones, classes: 8, rows: 100, distractors: 4}\n"
        "encoding: {label: overlay}\n"
        "training: {method: phyll, schedule: joint, epochs: 6}\n"
    )
    experiment = loads(text, Experiment, "lab.yaml").value
    with jobs.open_rig(experiment) as rig:
        trial = Trial.begin(experiment, rig)
        trial.step()
        trial.step()
        trial.test()
        yield trial


def test_no_skip_uses_what_was_measured_when_training_stopped_early(broken_off):
    assert 0.0 <= broken_off.ablation("no_skip") <= 1.0
    broken_off.steps = 3  # a label that the log should hold and does not is no early stop
    with pytest.raises(MeasurementError, match="was never measured"):
        broken_off.ablation("no_skip")


@pytest.mark.parametrize("name", ["off", "random", "shuffled", "no_skip"])
def test_an_ablation_can_be_stopped_after_any_step(broken_off, name):
    def stop():
        raise Interrupted("stopped")

    with pytest.raises(Interrupted):
        broken_off.ablation(name, stop)
