"""What the tests of local methods share: a toy rig, a network on it, a method started, resumed and compared."""

from __future__ import annotations

from typing import Any

import numpy as np

from labtrain.methods.method import Data, Metrics
from labtrain.network import DriveConfig, EncodingConfig, NetworkConfig, build
from tests.worlds import Interference, blobs


def make(
    method: Any,
    config: dict,
    *,
    validation: int = 0,
    layers: int = 2,
    width: int = 6,
    label: str = "slots",
    amplitude: float = 1.0,
    skip: bool = True,
    labels: np.ndarray | None = None,
    layer: Interference | None = None,
):
    """Three blobs on a noisy toy rig of six inputs; the last `validation` rows are held out."""
    rows, truth = blobs()
    labels = truth if labels is None else labels
    layer = layer or Interference(noise=0.01)
    cut = len(rows) - validation
    shape = NetworkConfig(layers=layers, width=width, skip=skip, drive=DriveConfig(mix=width > layer.info.n_in))
    net = build(
        shape, EncodingConfig(scaling="standard", label=label, amplitude=amplitude), [layer],
        rows=rows[:cut], classes=["a", "b", "c"], feature_names=["f0", "f1", "f2"], seed=3,
    )  # fmt: skip
    found = method(method.Config(**config))
    found.start(net, Data(rows[:cut], labels[:cut], rows[cut:], labels[cut:]), np.random.default_rng([3, 2]))
    return net, found, layer


def run(method: Any) -> list[Metrics]:
    """To the end of training."""
    found = []
    while (metrics := method.step()) is not None:
        found.append(metrics)
    return found


def accuracy(net, method) -> float:
    """On all rows, by predictions that cost shots."""
    rows, labels = blobs()
    return float((method.scores(net, rows).argmax(axis=1) == labels).mean())


def numeric_gradient(loss: Any, values: np.ndarray, step: float = 1e-6) -> np.ndarray:
    """Central differences of loss() for each of the values, which it reads."""
    found = np.empty_like(values)
    for place in np.ndindex(values.shape):
        kept, sides = values[place], []
        for side in (step, -step):
            values[place] = kept + side
            sides.append(loss())
        values[place] = kept
        found[place] = (sides[0] - sides[1]) / (2 * step)
    return found


def broken_off(method: Any, config: dict, after: int, **world: Any):
    """Trained to the end from a state that was kept `after` steps on, by a method that then went on itself."""
    net, first, layer = make(method, config, **world)
    for _ in range(after):
        first.step()
    state, weights, shots = first.state(), net.state(), layer.state()
    first.step()  # what was kept must not move on with the method
    net, again, layer = make(method, config, **world)
    net.restore(weights)
    again.restore(state)
    layer.restore(shots)
    run(again)
    return net, again, layer


def same(one: tuple, other: tuple) -> None:
    """Two of (net, method, layer) are alike bit for bit: weights, shots, cost, and predictions."""
    for mine, theirs in zip(one[0].blocks, other[0].blocks, strict=True):
        assert mine.parameters.tobytes() == theirs.parameters.tobytes()
    assert (one[2].shot, one[1].multiply_adds) == (other[2].shot, other[1].multiply_adds)
    rows = blobs()[0]
    assert one[1].scores(one[0], rows).tobytes() == other[1].scores(other[0], rows).tobytes()


def predicts_alone(trained: tuple) -> None:
    """Started with hardly any data, a method predicts with the state of a trained one: as `labtrain predict` does."""
    net, method, layer = trained
    rows, labels = blobs()
    again = type(method)(method.config)
    again.start(net, Data(rows[:1], labels[:1], rows[:0], labels[:0]), np.random.default_rng([3, 2]))
    again.restore(method.state())
    shots = layer.state()
    expected = method.scores(net, rows)
    layer.restore(shots)
    assert again.scores(net, rows).tobytes() == expected.tobytes()
