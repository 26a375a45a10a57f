"""Ridge readout: one linear map of the measured responses to the classes, in closed form (extreme learning machine).

    W = (H^T H + penalty n I)^-1 H^T Y,   H = chosen features of the responses, Y = one-hot labels, both centred

G.-B. Huang, Q.-Y. Zhu, C.-K. Siew, Neurocomputing 70, 489 (2006). One physical pass per sample, for training as for
prediction; no label enters the physics.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from labtrain.config import Section
from labtrain.errors import ConfigError
from labtrain.ledger import Work
from labtrain.methods.method import Data, Inheriting, Metrics
from labtrain.network import PhysicalNetwork

Array = NDArray[np.float64]


class RidgeConfig(Section):
    """Settings of the ridge readout."""

    method: Literal["ridge"] = "ridge"
    penalty: float = Field(1e-4, gt=0, description="per sample, on standardised features")
    features: tuple[Literal["y", "y2", "x", "x2"], ...] = Field(
        ("y", "y2"), min_length=1, description="what is read out: responses, their squares, the activations, theirs"
    )


def solve(H: Array, Y: Array, penalty: float) -> tuple[Array, Array]:
    """Ridge regression with an unpenalised intercept on standardised columns.

    Parameters
    ----------
    H : ndarray (n, f)
    Y : ndarray (n, k)
    penalty : float, per sample

    Returns
    -------
    weights (f, k), intercept (k,), for the columns as given
    """
    mean, scale = H.mean(axis=0), H.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    standard = (H - mean) / scale
    gram = standard.T @ standard + penalty * len(H) * np.eye(H.shape[1])
    weights = np.linalg.solve(gram, standard.T @ (Y - Y.mean(axis=0))) / scale[:, None]
    return weights, Y.mean(axis=0) - mean @ weights


class Ridge(Inheriting):
    """Trains a readout of the first block's responses in one step."""

    Config = RidgeConfig
    LEARNED = ("weights", "intercept")
    ablations = ("off", "random", "shuffled")

    def __init__(self, config: RidgeConfig) -> None:
        self.config = config
        self.multiply_adds = Work()

    def start(self, net: PhysicalNetwork, data: Data, rng: np.random.Generator) -> None:
        if len(net.blocks) != 1:
            raise ConfigError(f"network.layers: {len(net.blocks)}, the ridge readout has one; set network.layers: 1")
        self.net, self.data, self.rng = net, data, rng
        self.solved = False
        self.weights: Array | None = None
        self.intercept: Array = np.zeros(len(net.encoder.classes))

    def planned_shots(self, blocks: int, train: int, validation: int, classes: int) -> int:  # noqa: ARG002
        return train + validation

    def shots_per_prediction(self, blocks: int, classes: int) -> int:  # noqa: ARG002
        return 1

    def _features(self, x: Array, y: Array) -> Array:
        columns = {"y": y, "y2": y * y, "x": x, "x2": x * x}
        return np.concatenate([columns[name] for name in self.config.features], axis=1)

    def step(self) -> Metrics | None:
        if self.solved:
            return None
        block = self.net.blocks[0]
        x = self.net.encoder.features(self.data.rows)
        H = self._features(x, block.learn(x[:, None, :], self.rng)[:, 0])
        self.weights, self.intercept = solve(H, np.eye(len(self.intercept))[self.data.labels], self.config.penalty)
        self.solved = True
        (n, f), k = H.shape, len(self.intercept)
        self.multiply_adds += Work(forward=n * f * k, update=n * f * (f + k) + f**3 // 3)
        labels, on = self.data.labels, "training"
        scores = H @ self.weights + self.intercept
        if len(self.data.validation_rows):
            labels, on = self.data.validation_labels, "validation"
            scores = self.scores(self.net, np.asarray(self.data.validation_rows))
        residual = float(np.mean((scores - np.eye(scores.shape[1])[labels]) ** 2))
        return Metrics(1, 1, "readout", (residual,), float((scores.argmax(axis=1) == labels).mean()), on)

    def scores(self, net: PhysicalNetwork, rows: Array) -> Array:
        """Linear outputs (n, classes) from one physical pass per row."""
        if self.weights is None:
            raise ConfigError("the ridge readout has not been trained; call step() first")
        x = net.encoder.features(rows)
        H = self._features(x, net.blocks[0].measure(x[:, None, :], self.rng)[:, 0])
        self.multiply_adds += Work(forward=H.shape[0] * self.weights.size)
        result: Array = H @ self.weights + self.intercept
        return result

    def state(self) -> dict[str, Any]:
        return {
            "solved": self.solved,
            "weights": self.weights,
            "intercept": self.intercept,
            "multiply_adds": self.multiply_adds.as_dict(),
            "rng": self.rng.bit_generator.state,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.weights, self.intercept = state["weights"], state["intercept"]
        self.solved = state.get("solved", self.weights is not None)  # runs of before do not tell
        self.multiply_adds = Work.of(state["multiply_adds"])
        self.rng.bit_generator.state = state["rng"]
