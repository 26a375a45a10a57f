"""What the tests of perturbation methods share: a toy rig, a network on it, its loss by another way."""

from __future__ import annotations

from typing import Any

import numpy as np

from labtrain.layer import Shots
from labtrain.methods import readout
from labtrain.methods.method import Data, Metrics
from labtrain.methods.perturbation import assign, flatten
from labtrain.network import EncodingConfig, NetworkConfig, build
from tests.worlds import Interference, blobs


class Quiet(Interference):
    """Without noise, and the quicker for it."""

    def _measure(self, x):
        self.shot += len(x)
        yield Shots(x, np.abs(x @ self.T), None, np.ones(len(x), dtype=np.int64), 0.0)


def make(
    method: Any, config: dict, layer=None, validation: int = 0, layers: int = 2, width: int = 4, seed: int = 3,
    label: str = "slots", **shape,
):  # fmt: skip
    """A network on a toy rig and the method, started."""
    rows, labels = blobs()
    layer = layer or Interference(noise=0.01)
    cut = len(rows) - validation
    net = build(
        NetworkConfig(layers=layers, width=width, **shape), EncodingConfig(scaling="standard", label=label), [layer],
        rows=rows[:cut], classes=["a", "b", "c"], feature_names=["f0", "f1", "f2"], seed=seed,
    )  # fmt: skip
    found = method(method.Config(**config))
    found.start(net, Data(rows[:cut], labels[:cut], rows[cut:], labels[cut:]), np.random.default_rng([seed, 2]))
    return net, found, layer


def run(method) -> list[Metrics]:
    found = []
    while (metrics := method.step()) is not None:
        found.append(metrics)
    return found


def loss_of(net, data: Data, w, index) -> float:
    """Cross-entropy of the rows `index` with parameters w, by the network's own forward pass."""
    before = flatten(net)
    assign(net, w)
    z = readout.forward(net, data.rows[index], np.random.default_rng(0))
    assign(net, before)
    return float(readout.cross_entropy(z[:, :3], data.labels[index]))


def slopes(net, data: Data, index, step: float = 1e-5):
    """Finite differences of that loss, one parameter after the other."""
    w = flatten(net)
    found = np.empty_like(w)
    for i in range(w.size):
        e = np.zeros_like(w)
        e[i] = step
        found[i] = (loss_of(net, data, w + e, index) - loss_of(net, data, w - e, index)) / (2 * step)
    return found


def same_end(method: Any, config: dict, after: int) -> None:
    """Broken off after so many steps and restored into new objects, training ends with the same bits."""
    net, whole, layer = make(method, config, validation=9)
    run(whole)
    again_net, again, again_layer = make(method, config, validation=9)
    for _ in range(after):
        again.step()
    state, weights, shots = again.state(), again_net.state(), again_layer.state()
    third_net, third, third_layer = make(method, config, validation=9)
    third_net.restore(weights)
    third.restore(state)
    third_layer.restore(shots)
    run(third)
    assert flatten(third_net).tobytes() == flatten(net).tobytes()
    assert third_layer.shot == layer.shot
    assert third.multiply_adds == whole.multiply_adds
    rows = blobs()[0]
    assert third.scores(third_net, rows).tobytes() == whole.scores(net, rows).tobytes()
