"""Backpropagation through simulated physics: its gradient is that of the whole network, real physics is refused."""

from __future__ import annotations

import numpy as np
import pytest

from labtrain.controls import Off, RandomWaves
from labtrain.errors import ConfigError
from labtrain.layer import Averaged
from labtrain.ledger import Work
from labtrain.methods.backpropagation import Backpropagation
from labtrain.network import DriveConfig
from tests.methods.perturbed import Quiet, make, run, same_end, slopes
from tests.worlds import Interference, blobs

QUICK = {"epochs": 3, "batch": 16, "score_every": 2}


def interference_vjp(layer, x, dy):
    amplitude = np.asarray(x) @ layer.T
    return ((dy * amplitude.conj() / np.abs(amplitude)) @ layer.T.T).real


class Known(Quiet):
    """Without noise, and it tells its derivative."""

    vjp = interference_vjp


class Noisy(Interference):
    """With noise; it tells its derivative."""

    vjp = interference_vjp


@pytest.mark.parametrize("drive", ["affine", "row_norm", "row_minmax"])
@pytest.mark.parametrize(
    "shape",
    [{}, {"skip": False}, {"skip_carries": "drive"}, {"response": "raw"}, {"layers": 1}, {"label": "behind"},
     {"label": "behind", "skip_carries": "drive"}],
)  # fmt: skip
def test_the_gradient_is_that_of_the_whole_network(drive, shape):
    shape = {"layers": 3, **shape}
    config, drives = {**QUICK, "steepest": 1e6}, DriveConfig(map=drive, clip=0.05)  # no row at the end of a range
    net, method, _ = make(Backpropagation, config, Averaged(Known(), 1), drive=drives, **shape)
    method._calibrate()
    index = np.arange(0, 60, 4)
    found = np.concatenate([gradient.ravel() for gradient in method.gradients(index)[2]])
    expected = slopes(net, method.data, index, 1e-6)
    assert found == pytest.approx(expected, abs=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("decay", ["none", "cosine"])
@pytest.mark.parametrize("skip", [True, False])
def test_it_learns_through_noise(decay, skip):
    config = {**QUICK, "epochs": 20, "decay": decay}
    net, method, _ = make(Backpropagation, config, Noisy(noise=0.01), layers=2, skip=skip)
    metrics = run(method)
    rows, labels = blobs()
    assert (method.scores(net, rows).argmax(axis=1) == labels).mean() > 0.95
    assert metrics[-1].losses[0] < 0.3 * metrics[0].losses[0]


def test_a_derivative_costs_no_shot_and_no_digital_work():
    net, method, layer = make(Backpropagation, QUICK, Known(), layers=2)
    method._calibrate()
    shots, passed = layer.shot, method.forward(np.arange(9))
    assert layer.shot == shots + 9
    before = method.multiply_adds
    method.errors(passed, np.ones((9, 3)))
    assert layer.shot == shots + 9
    assert method.multiply_adds == before + Work(update=9 * net.blocks[1].W.size)


@pytest.mark.parametrize(("decay", "rates"), [("none", [5e-3] * 4), ("cosine", [5e-3, 3.75e-3, 1.25e-3])])
def test_the_rate_decays_over_all_steps(decay, rates):
    config = {**QUICK, "epochs": 1, "batch": 20, "decay": decay}
    _, method, _ = make(Backpropagation, config, Known(), layers=2)
    seen = []
    method.adam[0].update = lambda rate, *_: seen.append(rate)
    run(method)
    assert seen == pytest.approx(rates[:3])


@pytest.mark.parametrize("after", [0, 1, 5, 8])
def test_a_restored_state_ends_bit_for_bit_alike(after, monkeypatch):
    monkeypatch.setattr(Interference, "vjp", interference_vjp)
    same_end(Backpropagation, {**QUICK, "decay": "cosine"}, after)


def test_physics_without_a_derivative_is_refused_before_anything_moves():
    layer = Quiet()
    with pytest.raises(
        ConfigError, match=r"^training\.method backpropagation: .*: this layer cannot tell its derivative"
    ):
        make(Backpropagation, QUICK, layer, layers=2)
    assert layer.shot == 0
    make(Backpropagation, QUICK, layer, layers=1)  # no error goes back through the only one


def test_stand_ins_of_ablations_have_theirs():
    layer = Quiet()
    make(Backpropagation, QUICK, Off(layer), layers=2)
    waves = RandomWaves(layer, np.random.default_rng(0))
    net, method, _ = make(Backpropagation, {**QUICK, "steepest": 1e6}, waves, layers=2)
    method._calibrate()
    index = np.arange(9)
    found = np.concatenate([gradient.ravel() for gradient in method.gradients(index)[2]])
    expected = slopes(net, method.data, index, 1e-6)
    assert found == pytest.approx(expected, abs=1e-5 * np.abs(expected).max())
