"""What the tests of physical parameters share: a toy rig with pixels, and a network on it."""

from __future__ import annotations

import numpy as np

from labtrain.layer import Shots
from labtrain.methods.method import Data
from labtrain.network import EncodingConfig, NetworkConfig, build
from tests.worlds import Interference, blobs


class Pixels(Interference):
    """Interference on which four pixels act: the first is a shutter, open at 1, the others change scattered waves."""

    name = "pixels"

    def __init__(self, start=(0, 0, 0, 0), **options):
        super().__init__(**options)
        draw = np.random.default_rng(99)
        self.scattered = 0.3 * (
            draw.standard_normal((4, *self.T.shape)) + 1j * draw.standard_normal((4, *self.T.shape))
        )
        self.pixels = np.array(start)

    @property
    def parameters(self):
        return self.pixels.copy()

    def set_parameters(self, states):
        assert np.isin(states, (0, 1)).all()
        self.pixels = np.array(states)

    def _measure(self, x):
        for start in range(0, len(x), self.info.max_batch):
            part = x[start : start + self.info.max_batch]
            waves = self.T + np.tensordot(self.pixels[1:], self.scattered[1:], 1)
            y = self.pixels[0] * np.abs(part @ waves)
            for row in range(len(part)):
                y[row] += self.noise * np.random.default_rng(self.shot).standard_normal(y.shape[1])
                self.shot += 1
            yield Shots(part, y, None, np.ones(len(part), dtype=np.int64), 0.0)

    def state(self):
        return {"shot": self.shot, "pixels": self.pixels.tolist()}

    def restore(self, state):
        self.shot, self.pixels = state["shot"], np.array(state["pixels"])


def make_with(method, config, layer=None, validation=0, layers=2, skip=True, seed=3):
    rows, labels = blobs()
    layer = layer or Pixels(noise=0.01)
    cut = len(rows) - validation
    net = build(
        NetworkConfig(layers=layers, width=6, skip=skip), EncodingConfig(scaling="standard"), [layer],
        rows=rows[:cut], classes=["a", "b", "c"], feature_names=["f0", "f1", "f2"], seed=seed,
    )  # fmt: skip
    found = method(method.Config(**config))
    found.start(net, Data(rows[:cut], labels[:cut], rows[cut:], labels[cut:]), np.random.default_rng([seed, 2]))
    return net, found, layer
