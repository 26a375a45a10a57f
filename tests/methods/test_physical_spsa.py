"""SPSA on physical parameters: a step by hand, what it keeps, exact shots, resuming."""

from __future__ import annotations

import numpy as np
import pytest

from labtrain.errors import ConfigError
from labtrain.methods.perturbation import flatten
from labtrain.methods.physical_spsa import PhysicalSPSA
from tests.methods.perturbed import run
from tests.methods.pixels import Pixels, make_with
from tests.worlds import Interference, blobs

QUICK = {"epochs": 6, "inner": 3, "rate": 0.02, "theta": 8.0, "score_every": 2, "breaks": [2], "pairs": 5,
         "pilots": 2, "tuning_batch": 20, "refit": 3}  # fmt: skip


def make(config=None, *args, **options):
    return make_with(PhysicalSPSA, {**QUICK, **(config or {})}, *args, **options)


def judged(method, loss):
    """Tune block 1 with a loss of its pixels in the place of a measurement: the round, and the states it read."""
    seen = []

    def read(i, x):
        seen.append(method.net.blocks[i].physical.copy())
        return float(loss(seen[-1]))

    method._read = read
    return method._tune(0), seen


def test_a_slope_by_hand():
    _, method, _ = make(layers=1)
    seen = []

    def read(i, x):
        seen.append(method.net.blocks[0].physical.tolist())
        return float(np.dot(seen[-1], [1.0, 2.0, 4.0, 8.0]))

    method._read = read
    rng = np.random.default_rng()
    rng.bit_generator.state = method.flip_rng.bit_generator.state
    u, c = np.array([0.9, -0.1, 0.1, -0.9]), 0.5
    d = rng.integers(2, size=4) * 2.0 - 1.0
    found = method._slope(0, None, u, c)
    # Only the two in the middle are within reach of 0.
    more, less = [[1, int(s * d[1] > 0), int(s * d[2] > 0), 0] for s in (1, -1)]
    assert sorted(seen) == sorted([more, less])
    assert found == pytest.approx((np.dot(more, [1, 2, 4, 8]) - np.dot(less, [1, 2, 4, 8])) / (2 * 0.5) * d)


def test_it_finds_the_pixels_that_a_loss_asks_for():
    _, method, _ = make({"pairs": 60, "pilots": 4}, layers=1)
    wanted = np.array([1, 0, 1, 0])
    found, seen = judged(method, lambda states: (states != wanted).sum())
    assert method.net.blocks[0].physical.tolist() == wanted.tolist()
    assert (found.before, found.after, found.kept) == (2.0, 0.0, 2)
    assert len(seen) == method.readings


def test_what_is_found_must_be_better_beyond_repeatability():
    _, method, _ = make({"pairs": 60, "pilots": 4, "margin": 2.0}, layers=1)
    noise = iter(np.tile([0.0, 1.0], 200))
    found, _ = judged(method, lambda states: (states != [1, 0, 1, 0]).sum() + next(noise))
    assert found.sigma == pytest.approx(np.sqrt(0.5))
    assert found.kept == 0  # 2 is not more than 2 sqrt(2) sqrt(1/2), though the pixels are those asked for
    assert found.after == found.before
    assert method.net.blocks[0].physical.tolist() == [0, 0, 0, 0]


def test_a_loss_that_nothing_moves_leaves_pixels_alone():
    _, method, _ = make(layer=Pixels((1, 0, 1, 1)), layers=1)
    found, _ = judged(method, lambda states: 1.0)
    assert found.kept == 0
    assert method.net.blocks[0].physical.tolist() == [1, 0, 1, 1]


def test_it_opens_the_shutter_and_learns():
    net, method, _ = make({"epochs": 40, "pairs": 20, "refit": 30, "tuning_batch": 60}, layers=1, skip=False)
    run(method)
    assert net.blocks[0].physical[0] == 1
    rows, labels = blobs()
    assert (method.scores(net, rows).argmax(axis=1) == labels).mean() > 0.9


@pytest.mark.parametrize(("config", "validation", "layers"), [({}, 0, 2), ({"breaks": [1, 3], "pairs": 3}, 12, 2)])
def test_planned_shots_are_the_shots(config, validation, layers):
    _, method, layer = make(config, validation=validation, layers=layers)
    run(method)
    assert layer.shot == method.planned_shots(layers, 60 - validation, validation, 3)


@pytest.mark.parametrize("after", [0, 2, 3, 8])
def test_a_restored_state_ends_bit_for_bit_alike(after):
    net, whole, layer = make()
    run(whole)
    again_net, again, again_layer = make()
    for _ in range(after):
        again.step()
    state, weights, shots = again.state(), again_net.state(), again_layer.state()
    third_net, third, third_layer = make()
    third_net.restore(weights)
    third.restore(state)
    third_layer.restore(shots)
    run(third)
    assert flatten(third_net).tobytes() == flatten(net).tobytes()
    assert [block.physical.tolist() for block in third_net.blocks] == [b.physical.tolist() for b in net.blocks]
    assert third.rounds == whole.rounds
    assert third_layer.shot == layer.shot


def test_rigs_without_physical_parameters_or_with_more_states_are_refused():
    with pytest.raises(
        ConfigError, match=r"^training\.method: physical-spsa, and the layer of block 1 has no physical"
    ):
        make(layer=Interference())
    with pytest.raises(ConfigError, match=r"block 1 have more than two states; use method: coordinate-descent with tr"):
        make(layer=Pixels((0, 3, 0, 0)))
