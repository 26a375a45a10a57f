"""Augmented direct feedback alignment: the error reaches every block through a fixed random matrix.

    delta_l = (B_l e) * g(a_l),   W_l <- W_l - eta delta_l h_l^T,   b_l <- b_l - eta delta_l;   delta = e for the last

M. Nakajima, K. Inoue, K. Tanaka, Y. Kuniyoshi, T. Hashimoto, K. Nakajima, Nature Communications 13, 7847 (2022). e is
the error at the logits, B_l a fixed random matrix, a_l = W_l h_l + b_l what a block hands to the physics behind it.
Direct feedback alignment (A. Nokland, NeurIPS 2016) has the slope of the nonlinearity in the place of g; that of a
black box is not known, and a function chosen beforehand stands for it: neither derivative nor model is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from labtrain.ledger import Work
from labtrain.methods.end_to_end import EndToEnd, Passed
from labtrain.methods.method import Data
from labtrain.methods.perturbation import PerturbationConfig
from labtrain.network import PhysicalNetwork

Array = NDArray[np.float64]

AUGMENTATIONS: dict[str, Callable[[Array], Array]] = {
    "one": np.ones_like,
    "cosine": np.cos,
    "tanh-slope": lambda a: 1.0 - np.tanh(a) ** 2,
}


class DirectFeedbackConfig(PerturbationConfig):
    """Settings of augmented direct feedback alignment."""

    method: Literal["augmented-dfa"] = "augmented-dfa"
    eta: float = Field(0.1, gt=0, description="learning rate")
    g: Literal["one", "cosine", "tanh-slope"] = Field(
        "one", description="in the place of the slope of the physics: 1, cos a, or 1 - tanh(a)^2"
    )


class DirectFeedback(EndToEnd):
    """Trains all linear maps by random feedback; the config section is :class:`DirectFeedbackConfig`."""

    Config = DirectFeedbackConfig
    config: DirectFeedbackConfig
    LEARNED = ("B",)

    def start(self, net: PhysicalNetwork, data: Data, rng: np.random.Generator) -> None:
        super().start(net, data, rng)
        # Entries of variance 1 / classes: B e is then about as long, output by output, as e.
        shapes = [(len(block.b), self.classes) for block in net.blocks[:-1]]
        self.B: list[Array] = [rng.standard_normal(shape) / np.sqrt(self.classes) for shape in shapes]

    def state(self) -> dict[str, Any]:
        return super().state() | {"B": self.B}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self.B = list(state["B"])

    def errors(self, passed: list[Passed], e: Array) -> list[Array]:
        g = AUGMENTATIONS[self.config.g]
        self.multiply_adds += Work(update=len(e) * sum(B.size for B in self.B))
        return [*((e @ B.T) * g(p.z) for B, p in zip(self.B, passed, strict=False)), self.at_the_end(e)]

    def descend(self, i: int, gradient: Array) -> None:
        self.net.blocks[i].parameters -= self.config.eta * gradient
