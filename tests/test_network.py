"""The network: what fits, what is saved, what is learned once."""

from __future__ import annotations

import numpy as np
import pytest

from labtrain.errors import ConfigError, Diverged, RunError
from labtrain.network import DriveConfig, EncodingConfig, NetworkConfig, build
from tests.worlds import Interference, blobs


def make(network=None, encoding=None, layer=None, **more):
    rows, _ = blobs()
    return build(
        network or NetworkConfig(width=6), encoding or EncodingConfig(), [layer or Interference()],
        rows=rows, classes=["a", "b", "c"], feature_names=["f0", "f1", "f2"], **{"seed": 0, **more},
    )  # fmt: skip


def test_saved_and_loaded_it_is_the_same(tmp_path):
    net, rng = make(), np.random.default_rng(0)
    x = net.encoder.every_label(blobs()[0])
    net.blocks[0].learn(x, rng)
    net.save(tmp_path / "net.npz")
    other = make(seed=1)
    other.load(tmp_path / "net.npz")
    assert other.blocks[0].W.tobytes() == net.blocks[0].W.tobytes()
    y = other.blocks[0].measure(x, rng)
    assert other.blocks[0].inputs(y, x).tobytes() == net.blocks[0].inputs(y, x).tobytes()


@pytest.mark.parametrize("content", [None, b"junk", b""])
def test_what_is_no_saved_network_is_refused(tmp_path, content):
    path = tmp_path / "net.npz"
    if content is None:
        with pytest.raises(RunError, match=r"no such file; save a network there first$"):
            make().load(path)
        return
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"not a saved network \(.*\); save it again$"):
        make().load(path)


def test_other_shapes_are_refused(tmp_path):
    make().save(tmp_path / "net.npz")
    with pytest.raises(RunError) as caught:
        make(NetworkConfig(width=5)).load(tmp_path / "net.npz")
    assert str(caught.value) == (
        "saved weights have shapes [(6, 14), (6, 14)], this network [(5, 14), (5, 13)]; build it from the same config"
    )


def test_a_border_of_labels_that_leaves_no_feature_is_refused():
    with pytest.raises(ConfigError) as caught:
        make(encoding=EncodingConfig(label="border"))
    assert str(caught.value) == (
        "encoding.label: border puts 3 classes in the place of the first of 3 features, which leaves none; set "
        "encoding.label: slots"
    )


@pytest.mark.parametrize(
    ("inputs", "width", "told"),
    [
        ((0, 1, 2, 3), 3, "block 1 has 6 activations for 4 driven inputs; set encoding.label: behind, or overlay, or "
         "network.drive.mix: true"),
        ((0, 1), 2, "block 1 has 6 activations for 2 driven inputs; they are 3 features: take fewer (dataset.size, if "
         "they are images), drive more inputs, or set network.drive.mix: true"),
        ((0, 1, 2, 3, 4, 5), 7, "block 2 has 7 activations for 6 driven inputs; set network.width to 6 or less, or "
         "network.drive.mix: true"),
    ],
)  # fmt: skip
def test_activations_that_do_not_fit_are_refused(inputs, width, told):
    with pytest.raises(ConfigError) as caught:
        make(NetworkConfig(layers=2, width=width, drive=DriveConfig(inputs=inputs)))
    assert str(caught.value) == f"network: {told}"


def test_inputs_that_do_not_exist_are_refused():
    with pytest.raises(ConfigError) as caught:
        make(NetworkConfig(drive=DriveConfig(inputs=(0, 6), mix=True)))
    assert str(caught.value) == "network.drive.inputs: 6 does not exist, this rig has inputs 0 to 5"


def test_features_keep_the_inputs_that_the_data_set_wires():
    net = make(NetworkConfig(width=6, layers=1), EncodingConfig(scaling="none"), Interference(n_in=8), inputs=(7, 1, 4))
    assert net.blocks[0].drive.inputs.tolist() == [0, 2, 3, 7, 1, 4]


def test_scales_are_learned_from_the_first_training_pass_alone():
    net, rng = make(), np.random.default_rng(0)
    block, x = net.blocks[0], net.encoder.every_label(blobs()[0])
    block.learn(x, rng)
    low, mean = block.drive.low.copy(), block.y_mean.copy()
    block.learn(3 * x, rng)
    assert block.drive.low.tolist() == low.tolist()
    assert block.y_mean.tolist() == mean.tolist()
    y = block.measure(x, rng)
    scaled = block.inputs(y, x)[..., : y.shape[-1]]
    assert scaled.mean(axis=(0, 1)) == pytest.approx(0, abs=1e-9)
    assert scaled.std(axis=(0, 1)) == pytest.approx(1)


def test_without_skip_the_linear_map_sees_the_response_alone():
    assert make(NetworkConfig(width=6, skip=False)).blocks[0].W.shape == (6, 8)
    assert make(NetworkConfig(width=6, skip=True)).blocks[0].W.shape == (6, 8 + 6)


class Halves(Interference):
    """Is told halves alone."""

    def quantise(self, x):
        return np.round(2 * super().quantise(x)) / 2


@pytest.mark.parametrize("mix", [False, True])
def test_the_skip_path_may_carry_only_what_the_rig_is_told(mix):
    drive = DriveConfig(inputs=(5, 0, 1, 2, 3, 4), mix=mix)
    net = make(NetworkConfig(width=6, layers=1, skip_carries="drive", drive=drive), layer=Halves())
    (block,), x = net.blocks, net.encoder.every_label(blobs()[0])
    y = block.learn(x, np.random.default_rng(0))
    clipped = block.drive.mapped
    beside = block.inputs(y, x)[..., y.shape[-1] :]
    assert block.W.shape == (6, 8 + 6) and beside.shape == (60, 3, 6)
    assert np.unique(beside).tolist() == [0.0, 0.5, 1.0]
    told = block.layer.quantise(block.drive.map(x.reshape(-1, 6)))[:, [5, 0, 1, 2, 3, 4]]
    assert beside.reshape(-1, 6).tolist() == told.tolist()
    assert block.drive.mapped == clipped  # what is not measured counts in no statistics
    plain = make(NetworkConfig(width=6, layers=1), layer=Halves()).blocks[0]
    assert plain.inputs(y, x)[..., y.shape[-1] :].tobytes() == x.tobytes()


@pytest.mark.parametrize("lost", [np.nan, np.inf])
def test_what_has_diverged_is_told_before_anything_is_measured(lost):
    layer = Interference()
    net, rng = make(layer=layer), np.random.default_rng(0)
    x = net.encoder.every_label(blobs()[0])
    net.blocks[0].learn(x, rng)
    shots = layer.shot
    x[7, 1, 2] = lost
    with pytest.raises(Diverged, match=r"^diverged: activations .* set a smaller learning rate in the"):
        net.blocks[0].measure(x, rng)
    assert layer.shot == shots
