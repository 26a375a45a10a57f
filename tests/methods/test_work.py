"""Multiply-adds of methods: forward, update and twin by hand; counts that older checkpoints hold."""

from __future__ import annotations

import numpy as np
import pytest

from labtrain.ledger import Work
from labtrain.methods.direct_feedback import DirectFeedback
from labtrain.methods.in_silico import InSilico
from labtrain.methods.mono_forward import MonoForward
from labtrain.methods.phyll import PhyLL
from labtrain.methods.phyll_unsupervised import UnsupervisedPhyLL
from labtrain.methods.physics_aware import PhysicsAware
from labtrain.methods.ridge import Ridge
from labtrain.methods.spsa import SPSA
from labtrain.twin import load_twin
from labtrain.twins.cost import FitCost
from tests.methods import perturbed, toy
from tests.methods.perturbed import Quiet
from tests.methods.twinned import exact_twin
from tests.worlds import blobs

ROWS, CLASSES = 60, 3  # of blobs(); each layer has 8 outputs


def sizes(net) -> list[int]:
    return [block.W.size for block in net.blocks]


def test_ridge():
    net, method, _ = toy.make(Ridge, {"features": ["y", "x"]}, layers=1)
    toy.run(method)
    features = 8 + net.encoder.features(blobs()[0]).shape[1]
    solved = Work(forward=ROWS * features * CLASSES, update=ROWS * features * (features + CLASSES) + features**3 // 3)
    assert method.multiply_adds == solved
    method.scores(net, blobs()[0][:7])
    assert method.multiply_adds == solved + Work(forward=7 * features * CLASSES)


def test_phyll_joint():
    config = {"schedule": "joint", "epochs": 2, "inner": 4, "score_every": 9}
    net, method, _ = toy.make(PhyLL, config)
    toy.run(method)
    # Each update: both passes of each row, z = W h forward and its gradient back; then z once more for the next block.
    each = 2 * 4 * 2 * ROWS * sum(sizes(net))
    assert method.multiply_adds == Work(forward=each + 2 * 2 * ROWS * sum(sizes(net)), update=each)


def test_mono_forward_counts_its_class_maps():
    net, method, _ = toy.make(MonoForward, {"epochs": 1, "inner": 4, "score_every": 1}, layers=1)
    toy.run(method)
    (W,), M = sizes(net), method.M[0].size
    assert method.multiply_adds == Work(
        forward=4 * ROWS * (W + M) + ROWS * (W + M),  # updates, then the accuracy
        update=4 * ROWS * (W + 2 * M),
    )


def test_unsupervised_phyll_counts_its_readout():
    net, method, _ = toy.make(UnsupervisedPhyLL, {"epochs": 1, "inner": 2, "score_every": 9}, layers=1, width=5)
    toy.run(method)
    (W,), each = sizes(net), 2 * 2 * ROWS * sizes(net)[0]
    readout = ROWS * 5 * (5 + CLASSES) + 5**3 // 3  # for the accuracy, and at the end
    assert method.multiply_adds == Work(forward=each + 2 * ROWS * W + ROWS * 5 * CLASSES, update=each + 2 * readout)


def test_spsa_goes_forward_alone():
    net, method, _ = perturbed.make(SPSA, {"epochs": 1, "batch": 20, "pilots": 2, "score_every": 9}, Quiet())
    perturbed.run(method)
    # Once to calibrate, two variants of each batch, and twice two more of the first one for the gain.
    assert method.multiply_adds == Work(forward=(ROWS + 2 * ROWS + 2 * 2 * 20) * sum(sizes(net)))


def test_direct_feedback():
    net, method, _ = perturbed.make(DirectFeedback, {"epochs": 2, "batch": 20, "score_every": 9}, Quiet())
    perturbed.run(method)
    every = sum(sizes(net))
    fed_back = len(net.blocks[0].b) * CLASSES
    assert method.multiply_adds == Work(forward=(1 + 2) * ROWS * every, update=2 * ROWS * (every + fed_back))


@pytest.mark.parametrize(("method", "asked"), [(PhysicsAware, 0), (InSilico, 1)])
def test_twins_are_counted_apart(tmp_path, method, asked):
    layer = Quiet()
    file = exact_twin(layer, tmp_path / "twin.npz")
    held = load_twin(file).coefficients.size + 8  # the form and its rmse
    config = {"epochs": 2, "batch": 20, "score_every": 9, "twin": [str(file)]}
    net, found, _ = perturbed.make(method, config, layer)
    perturbed.run(found)
    first, second = sizes(net)
    # Each gradient goes back through the second block, its twin for two predictions' worth. In silico both blocks'
    # twins answer once to calibrate, then that of the second one for each row.
    answers = asked * (2 * ROWS + 2 * ROWS)
    assert found.multiply_adds == Work(
        forward=(1 + 2) * ROWS * (first + second),
        update=2 * ROWS * (first + second + second),
        twin=(2 * ROWS * 2 + answers) * held,
    )
    (told,) = found.twin_costs  # one file, for both blocks
    assert (told["file"], told["kind"], told["fit"]["rows"]) == (str(file), "wave", 400)
    assert found.multiply_adds.total < told["fit"]["multiply_adds"]  # fitting it is no part of the method's own


def test_twins_that_do_not_tell_and_twins_that_are_different(tmp_path):
    layer = Quiet()
    one, other = (exact_twin(layer, tmp_path / f"{name}.npz") for name in "ab")
    with np.load(one) as arrays:
        np.savez(other, **{name: arrays[name] for name in arrays.files if not name.startswith("fit_")})
    assert load_twin(other).fit_cost is None
    assert isinstance(load_twin(one).fit_cost, FitCost)
    _, found, _ = perturbed.make(PhysicsAware, {"epochs": 1, "twin": [str(other)]}, layer)
    assert found.twin_costs == [{"file": str(other), "kind": "wave", "fit": None}]


@pytest.mark.parametrize(
    ("make", "method", "config"),
    [(toy.make, PhyLL, {"epochs": 2}), (perturbed.make, SPSA, {"epochs": 2}), (toy.make, Ridge, {})],
)
def test_older_checkpoints_hold_one_number(make, method, config):
    trained, first, _ = make(method, config, layers=1)
    first.step()
    state = first.state()
    assert state["multiply_adds"] == first.multiply_adds.as_dict()
    net, again, _ = make(method, config, layers=1)
    net.restore(trained.state())
    again.restore({**state, "multiply_adds": 1234})
    assert again.multiply_adds == Work(untold=1234)
    again.scores(net, blobs()[0][:5])
    assert again.multiply_adds.total > again.multiply_adds.untold == 1234
