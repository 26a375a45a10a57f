"""Physics-aware training: its gradient is that of the whole network, its twins are checked, its shots are exact."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from labtrain.errors import ConfigError, RunError
from labtrain.methods.physics_aware import PhysicsAware
from labtrain.network import DriveConfig
from tests.methods.perturbed import Quiet, make, run, same_end, slopes
from tests.methods.twinned import exact_twin
from tests.worlds import Interference, blobs

QUICK = {"epochs": 3, "batch": 16, "score_every": 2}


@pytest.fixture
def twin(tmp_path):
    return exact_twin(Quiet(), tmp_path / "twin.npz")


@pytest.mark.parametrize("drive", ["affine", "row_norm", "row_minmax"])
@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"skip": False},
        {"skip_carries": "drive"},
        {"response": "raw"},
        {"layers": 1},
        {"mix": True, "width": 8, "layers": 2},
    ],
)
def test_the_gradient_is_that_of_the_whole_network(twin, drive, shape):
    shape = {"layers": 3, **shape}
    drives = DriveConfig(map=drive, mix=shape.pop("mix", False), clip=0.05)
    config = {**QUICK, "twin": twin, "steepest": 1e6}
    net, method, _ = make(PhysicsAware, config, Quiet(), drive=drives, **shape)
    method._calibrate()
    index = np.arange(0, 60, 4)
    found = np.concatenate([gradient.ravel() for gradient in method.gradients(index)[2]])
    expected = slopes(net, method.data, index, 1e-6)
    assert found == pytest.approx(expected, abs=1e-5 * np.abs(expected).max())


def test_no_row_is_steeper_than_the_bound(twin):
    net, method, _ = make(PhysicsAware, {**QUICK, "twin": twin, "steepest": 0.5}, Quiet(), skip=False)
    method._calibrate()
    seen = []
    vjp, block = net.blocks[1].drive.vjp, net.blocks[1]
    block.drive.vjp = lambda x, du: seen.append(du.copy()) or vjp(x, du)
    passed = method.forward(np.arange(9))
    dz = np.random.default_rng(0).standard_normal((9, 4))
    method.behind(1, passed[1].x, dz)
    ds = dz @ block.W
    free = method.twins[1].vjp(block.drive.map(passed[1].x), ds / block.y_scale)
    lengths = np.linalg.norm(free, axis=1)
    assert (lengths > 0.5 * np.linalg.norm(ds, axis=1)).any()
    expected = np.minimum(lengths, 0.5 * np.linalg.norm(ds, axis=1))
    assert np.linalg.norm(seen[0], axis=1) == pytest.approx(expected)
    assert seen[0] / expected[:, None] == pytest.approx(free / lengths[:, None])  # shorter, and no other direction


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_it_learns(twin, layers):
    _, method, _ = trained = make(PhysicsAware, {**QUICK, "epochs": 20, "twin": twin}, layers=layers)
    metrics = run(method)
    rows, labels = blobs()
    assert (method.scores(trained[0], rows).argmax(axis=1) == labels).mean() > 0.95
    assert metrics[-1].losses[0] < 0.3 * metrics[0].losses[0]


@pytest.mark.parametrize(
    ("config", "validation", "layers", "shots"),
    [
        ({}, 0, 2, 2 * 60 + 3 * 60),
        ({"first_block": "always"}, 0, 2, 2 * 60 + 2 * 3 * 60),
        ({"first_block": "always", "score_every": 1}, 12, 3, 3 * (48 + 3 * 12) + 3 * 3 * 48),
        ({}, 12, 1, 48 + 2 * 12),
    ],
)
def test_planned_shots_are_the_shots(twin, config, validation, layers, shots):
    net, method, layer = make(PhysicsAware, {**QUICK, **config, "twin": twin}, validation=validation, layers=layers)
    run(method)
    assert layer.shot == shots == method.planned_shots(layers, 60 - validation, validation, 3)
    before = layer.shot
    method.scores(net, blobs()[0][:7])
    assert layer.shot - before == 7 * method.shots_per_prediction(layers, 3)


@pytest.mark.parametrize("first_block", ["once", "always"])
@pytest.mark.parametrize("after", [0, 1, 5, 8])
def test_a_restored_state_ends_bit_for_bit_alike(twin, first_block, after):
    same_end(PhysicsAware, {**QUICK, "first_block": first_block, "twin": twin}, after)


def test_each_layer_has_its_own_twin(tmp_path):
    files = [exact_twin(Quiet(seed=seed), tmp_path / f"{seed}.npz") for seed in (0, 1)]
    net, method, _ = make(PhysicsAware, {**QUICK, "twin": files[0]}, Quiet(), layers=4)
    other = Quiet(seed=1)
    for block in net.blocks[1::2]:
        block.layer = other
    with pytest.raises(ConfigError, match=r"0\.npz was fitted to another rig \(interference:0\) than that"):
        method.start(net, method.data, np.random.default_rng(0))
    method.config = PhysicsAware.Config(**QUICK, twin=files)
    method.start(net, method.data, np.random.default_rng(0))
    found = [twin and twin.fingerprint for twin in method.twins]
    assert found == [None, "interference:1", "interference:0", "interference:1"]
    net.blocks[3].layer = Quiet(seed=2)
    with pytest.raises(ConfigError, match=r"^training\.twin: 2 files for 3 layers; give one for each layer, or one"):
        method.start(net, method.data, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("write", "layer", "sentence"),
    [
        (
            None,
            Quiet(),
            r"^training\.twin: .*twin\.npz does not exist; record the rig .* labtrain twin fit RUN --out twin",
        ),
        (
            Quiet(seed=5),
            Quiet(),
            r"another rig \(interference:5\) than that of block 2 \(interference:0\); fit it to",
        ),
        (
            Quiet(),
            Quiet(n_out=9),
            r"has 6 inputs and 8 outputs, the layer of block 2 6 and 9; fit it to a recording of",
        ),
    ],
)
def test_a_twin_of_something_else_is_refused(tmp_path, write, layer, sentence):
    if write is not None:
        exact_twin(write, tmp_path / "twin.npz")
    with pytest.raises(ConfigError, match=sentence):
        make(PhysicsAware, {**QUICK, "twin": tmp_path / "twin.npz"}, layer)


def test_a_file_that_is_no_twin_is_refused(tmp_path):
    (tmp_path / "twin.npz").write_text("no")
    with pytest.raises(
        ConfigError, match=r"^training\.twin: .*holds no twin; name a file that labtrain twin fit wrote"
    ):
        make(PhysicsAware, {**QUICK, "twin": tmp_path / "twin.npz"})
    with pytest.raises(ValidationError):
        PhysicsAware.Config(twin=[])


def test_a_twin_that_does_not_tell_its_rig_is_taken_with_a_warning(tmp_path, caplog):
    make(PhysicsAware, {**QUICK, "twin": exact_twin(Quiet(), tmp_path / "twin.npz", None)})
    assert "twin.npz does not tell which rig it was fitted to" in caplog.text


def test_training_does_not_go_on_with_another_twin_but_predicts(twin):
    net, method, layer = make(PhysicsAware, {**QUICK, "twin": twin}, Interference())
    method.step()
    state, weights = method.state(), net.state()
    exact_twin(Quiet(seed=1), twin, layer.info.fingerprint)  # fitted anew, and found otherwise
    net, other, _ = make(PhysicsAware, {**QUICK, "twin": twin}, layer)
    net.restore(weights)
    other.restore(state)
    assert other.scores(net, blobs()[0]).shape == (60, 3)
    with pytest.raises(RunError, match=r"twin\.npz is not what it was when this training began; put the file back"):
        other.step()
