"""A label behind the physics: in the linear maps alone, each sample measured once per block whatever the classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from labtrain import events, experiment, jobs
from labtrain.clock import RealClock
from labtrain.config import loads
from labtrain.experiment import Experiment
from labtrain.ledger import Work
from labtrain.methods.coordinate_descent import CoordinateDescent
from labtrain.methods.forward_forward import ForwardForward
from labtrain.methods.mono_forward import MonoForward
from labtrain.methods.phyll import PhyLL
from labtrain.methods.phyll_unsupervised import UnsupervisedPhyLL
from labtrain.methods.physical_spsa import PhysicalSPSA
from labtrain.runs import Run
from labtrain.trial import Trial
from tests.methods import toy
from tests.methods.pixels import Pixels
from tests.worlds import Interference, blobs

QUICK = {"epochs": 6, "inner": 5, "rate": 0.02, "theta": 8.0, "score_every": 2}
FORWARD = {key: value for key, value in QUICK.items() if key != "theta"}


def make(config, method=PhyLL, **world):
    return toy.make(method, {**(QUICK if method is PhyLL else FORWARD), **config}, **{"label": "behind", **world})


class Spy(Interference):
    """Keeps the drives that it was given."""

    def __init__(self, **options):
        super().__init__(**options)
        self.drives = []

    def _measure(self, x):
        self.drives.append(x.copy())
        yield from super()._measure(x)


def goodness(block, xi, y, x, label):
    """cos(|W [y, x, label] + b|, xi) of one pass."""
    scaled = (y - block.y_mean) / block.y_scale
    z = np.abs(block.W @ np.concatenate([scaled, x if block.skip else [], label]) + block.b)
    return z @ xi / np.linalg.norm(z)


@pytest.mark.parametrize("skip", [True, False])
def test_the_first_update_goes_down_the_slope_of_the_loss_by_hand(skip):
    net, method, _ = make({"inner": 1, "negatives": "all"}, layers=1, amplitude=3.0, skip=skip)
    block, before = net.blocks[0], net.blocks[0].parameters.copy()
    method.step()
    after, x = block.parameters.copy(), net.encoder.features(blobs()[0])
    (y,), onehot = method.responses, 3.0 * np.eye(3)
    assert y.shape == (60, 1, 8) and block.fan_in == 8 + 3 * skip + 3

    def loss():
        pairs = []
        for n in range(60):
            g = [goodness(block, method.xi[0], y[n, 0], x[n], onehot[label]) for label in method.labels[n]]
            pairs += [np.log1p(np.exp(-8.0 * (g[0] - wrong))) for wrong in g[1:]]
        return np.mean(pairs)

    block.parameters[...] = before
    assert method.losses[0] == pytest.approx(loss())
    gradient = toy.numeric_gradient(loss, block.parameters)
    steep = np.abs(gradient) > 1e-5  # the first step of Adam is the rate, whatever the size of the gradient
    assert steep.mean() > 0.9
    assert (after - before)[steep] == pytest.approx(-0.02 * np.sign(gradient[steep]), rel=1e-2)


@pytest.mark.parametrize("method", [PhyLL, ForwardForward])
def test_scores_are_those_of_each_label_in_its_own_pass(method):
    net, found, _ = make({}, method, layers=2, layer=Interference())
    toy.run(found)
    rows = blobs()[0][:9]
    expected, x = 0.0, net.encoder.features(rows)[:, None, :]
    for i, block in enumerate(net.blocks):
        h = block.inputs(block.measure(x, np.random.default_rng(0)), x)
        assert not h[..., -3:].any()  # what goes on knows no label
        each = np.repeat(h, 3, axis=1)
        each[..., -3:] = np.eye(3)
        expected = expected + found._goodness(i, block.linear(each))
        x = found._onward(block.linear(h))
    assert found.scores(net, rows) == pytest.approx(expected)


@pytest.mark.parametrize("schedule", ["joint", "layerwise"])
@pytest.mark.parametrize("negatives", ["random", "all", "hardest"])
@pytest.mark.parametrize("skip", [True, False])
def test_it_learns(schedule, negatives, skip):
    config = {"schedule": schedule, "negatives": negatives, "epochs": 30, "goodness": "modulus"}
    net, method, _ = make(config, skip=skip)
    metrics = toy.run(method)
    assert toy.accuracy(net, method) > 0.95
    if negatives == "all" or schedule == "layerwise":
        assert metrics[-1].accuracy > 0.95  # on training rows, without a shot


def test_forward_forward_learns():
    net, method, _ = make({"epochs": 60, "threshold": 0.2}, ForwardForward, width=20)
    toy.run(method)
    assert toy.accuracy(net, method) > 0.95


@pytest.mark.parametrize(
    ("config", "validation", "training"),
    [
        ({"schedule": "layerwise"}, 0, 2 * 60),
        ({"schedule": "layerwise", "measured_negatives": 1}, 12, 2 * (48 + 12)),
        ({"schedule": "joint"}, 0, 2 * 6 * 60),
        ({"schedule": "joint", "negatives": "all"}, 12, 2 * (6 * 48 + 3 * 12)),
        ({"schedule": "joint", "negatives": "hardest", "batch": 17}, 0, 2 * 6 * 60),
    ],
)
def test_each_sample_is_one_shot_for_each_block(config, validation, training):
    net, method, layer = make(config, validation=validation)
    toy.run(method)
    assert net.encoder.seen == 1
    assert layer.shot == training == method.planned_shots(2, 60 - validation, validation, 1)
    method.scores(net, blobs()[0][:7])
    assert layer.shot - training == 7 * method.shots_per_prediction(2, 1) == 14


@pytest.mark.parametrize("method", [CoordinateDescent, PhysicalSPSA])
def test_physical_parameters_are_judged_by_one_pass_a_row(method):
    tuned = {"epochs": 3, "inner": 2, "tuning_batch": 20, "refit": 2}
    _, found, layer = toy.make(method, tuned, label="behind", layers=1, layer=Pixels((1, 0, 0, 0)))
    found.step()
    batch = found._fixed_batch(0)
    assert batch.x.shape == (20, 1, 3) and batch.labels.shape == (20, 2)
    assert (batch.labels[:, 0] != batch.labels[:, 1]).all()
    toy.run(found)
    assert layer.shot == found.planned_shots(1, 60, 0, 1)


def test_the_physics_is_shown_the_features_alone_and_later_blocks_no_label():
    layer = Spy(max_batch=1000)
    net, method, _ = make({}, layer=layer)
    toy.run(method)
    x = net.encoder.features(blobs()[0])
    first, second = layer.drives
    assert first.tolist() == net.blocks[0].drive.map(x).tolist()
    y = method.responses[0]
    onward = net.blocks[0].linear(net.blocks[0].inputs(y, x[:, None, :]))[:, 0]
    assert second == pytest.approx(net.blocks[1].drive.map(onward))


@pytest.mark.parametrize(
    ("config", "after"),
    [
        ({"schedule": "joint"}, 1),
        ({"schedule": "joint", "batch": 20}, 5),
        ({"negatives": "hardest", "decay": "cosine"}, 1),
        ({}, 7),  # in the second block
    ],
)
def test_a_restored_state_ends_bit_for_bit_alike(config, after):
    whole = make(config, validation=9)
    toy.run(whole[1])
    again = toy.broken_off(PhyLL, {**QUICK, **config}, after, label="behind", validation=9)
    toy.same(again, whole)
    toy.predicts_alone(again)


def test_work_is_counted_as_it_is_done():
    net, method, _ = make({"schedule": "joint", "epochs": 1, "inner": 4, "score_every": 9}, layers=1)
    toy.run(method)
    W = net.blocks[0].W.size
    # Updates see both passes of each row; z is worked out once a row, and what each label adds to it once for all.
    assert method.multiply_adds == Work(forward=4 * 2 * 60 * W + 60 * W + 3 * 3 * 6, update=4 * 2 * 60 * W)


@pytest.mark.parametrize("method", [MonoForward, UnsupervisedPhyLL])
def test_methods_without_labels_do_without_its_columns(method):
    net, found, layer = toy.make(method, {"epochs": 2, "inner": 2, "rate": 0.02}, label="behind")
    drawn = [block.W[:, -3:].copy() for block in net.blocks]
    toy.run(found)
    assert layer.shot == found.planned_shots(2, 60, 0, 1) == found.planned_shots(2, 60, 0, 3)
    for block, before in zip(net.blocks, drawn, strict=True):
        assert block.W[:, -3:].tolist() == before.tolist()  # nothing ever came through them
    scores, state = found.scores(net, blobs()[0]), layer.state()
    for block in net.blocks:
        block.W[:, -3:] = 7.0
    layer.restore(state)
    assert np.abs(found.scores(net, blobs()[0]) - scores).max() < 0.5  # noise alone: another answer to the same drive


# --- in a trial -------------------------------------------------------------------------------------------------------

SMALL = (
    "rig: {type: acoustic, membranes: 2, speakers: 2, fidelity: physics}\n"
    "dataset: {type: xor-tones, classes: 8, values: uniform, rows: 160, distractors: 2, speakers: 2}\n"
    "encoding: {label: behind, amplitude: 2}\n"
    "network: {layers: 2, width: 8, skip: false}\n"
    "training: {method: phyll, epochs: 4, inner: 2, rate: 0.02}\n"
    "trials: {count: 2}\n"
)


@pytest.mark.parametrize("training", ["schedule: layerwise", "schedule: joint, negatives: all"])
def test_a_trial_costs_what_is_planned(training):
    what = loads(SMALL.replace("method: phyll,", f"method: phyll, {training},"), Experiment, "lab.yaml").value
    with jobs.open_rig(what) as rig:
        trial = Trial.begin(what, rig)
        train, test = trial.planned_shots()
        rows = len(trial.split.train)
        assert (train, test) == (2 * rows * (1 if "layerwise" in training else 4), 2 * len(trial.split.test))
        verdict = trial.fit().test()
        assert (verdict.train_cost.shots, verdict.test_cost.shots) == (train, test)
        assert verdict.scores.shape == (len(trial.split.test), 8) and np.ptp(verdict.scores, axis=1).min() > 0.0
        # Without physics and skip path there is the label alone: one and the same answer to all rows.
        answers = np.bincount(trial.table.labels[trial.split.test], minlength=8) / len(trial.split.test)
        assert trial.ablation("off") in answers
        assert 0.0 <= trial.ablation("shuffled") <= 1.0
        assert 0.0 <= trial.ablation("no_skip") <= 1.0
        assert trial.ablation("ridge") > 0.125


def test_a_run_that_was_broken_off_ends_as_if_nothing_had_happened(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(jobs, "figures", lambda _: None)
    (tmp_path / "lab.yaml").write_text(SMALL + "ablations: [ridge]\nrun: {checkpoint_s: 60}\n")

    class BrokenOff(Exception):
        pass

    def breaks(event):
        if isinstance(event, events.StepDone) and event.metrics.step == 6:  # in the second block
            raise BrokenOff

    whole = jobs.train(experiment.load(tmp_path / "lab.yaml"), tmp_path / "whole")
    with pytest.raises(BrokenOff):
        jobs.train(experiment.load(tmp_path / "lab.yaml"), tmp_path / "broken", [breaks])
    (folder,) = (tmp_path / "broken").iterdir()
    again = jobs.resume(folder)
    for key in ("test_accuracy_per_trial", "shots_train", "shots_test", "confusion"):
        assert again[key] == whole[key]
    kept = []
    for place in (Path(whole["run"]), folder):
        with Run.open(place, write=False, clock=RealClock()) as run:
            kept.append([block["W"].tobytes() for block in run.trial_state(0)["net"]["blocks"]])
    assert kept[0] == kept[1]
    plan = jobs.plan(experiment.load(tmp_path / "lab.yaml"))
    assert (plan["shots_train"], plan["shots_test"]) == (whole["shots_train"], whole["shots_test"])
