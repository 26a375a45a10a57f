"""SPSA, simultaneous perturbation stochastic approximation: a gradient of all parameters from two losses.

    g_k = (L(w + c_k d) - L(w - c_k d)) / (2 c_k) * d,   d_i = +-1 with equal chance      (1 / d_i = d_i)
    w  <- w - a_k g_k,   a_k = a / (A + k + 1)^0.602,   c_k = c / (k + 1)^0.101,   k = 0, 1, ...

J. C. Spall, IEEE Trans. Autom. Control 37, 332 (1992); gains after J. C. Spall, IEEE Trans. Aerosp. Electron. Syst. 34,
817 (1998): A is a tenth of all steps, and a such that the first step changes every parameter by a chosen amount; pairs
of passes at the beginning measure |g| for it. L is the cross-entropy of a batch (readout.py), which both losses see.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from labtrain.methods.method import Data
from labtrain.methods.perturbation import Perturbation, PerturbationConfig, assign, flatten
from labtrain.network import PhysicalNetwork

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

ALPHA, GAMMA = 0.602, 0.101  # decay of a_k and c_k: the slowest that still converge
STABILITY = 0.1  # A as a share of all steps
LIMIT = 5.0  # times first_change: no step changes a parameter by more, however steep a batch looks


class SPSAConfig(PerturbationConfig):
    """Settings of SPSA."""

    method: Literal["spsa"] = "spsa"
    c: float = Field(0.1, gt=0, description="first perturbation of every parameter")
    first_change: float = Field(0.01, gt=0, description="change of every parameter in the first step, on average")
    directions: int = Field(1, ge=1, description="perturbations d that a step averages; each costs two passes")
    pilots: int = Field(10, ge=1, description="pairs of passes of the first batch that measure |g| for the gain a")


class SPSA(Perturbation):
    """Trains all linear maps end to end by simultaneous perturbation; the config section is :class:`SPSAConfig`."""

    Config = SPSAConfig
    config: SPSAConfig

    def start(self, net: PhysicalNetwork, data: Data, rng: np.random.Generator) -> None:
        super().start(net, data, rng)
        self.a = float("nan")
        self.A = 0.0

    @property
    def passes(self) -> int:
        return 2 * self.config.directions

    def planned_shots(self, blocks: int, train: int, validation: int, classes: int) -> int:
        first = min(train, self.config.batch)
        pilots = self._shots(blocks, first) // self.passes * 2 * self.config.pilots
        return super().planned_shots(blocks, train, validation, classes) + pilots

    def update(self, index: Labels) -> tuple[float, float]:
        k = self.steps
        if k == 0:
            self._choose_gain(index)
        w, c = flatten(self.net), self.config.c / (k + 1) ** GAMMA
        g, loss, right = self.gradient(index, w, c, self.config.directions)
        limit = LIMIT * self.config.first_change
        assign(self.net, w - np.clip(self.a / (self.A + k + 1) ** ALPHA * g.mean(axis=0), -limit, limit))
        return loss, right

    def gradient(self, index: Labels, w: Array, c: float, directions: int) -> tuple[Array, float, float]:
        """Estimates of dL/dw on the rows `index`, one for each direction: (directions, p).

        With them the mean loss and the share of passes that were right.
        """
        d = self.rng.integers(2, size=(directions, w.size)) * 2.0 - 1.0
        losses, right = self.losses(index, np.concatenate([w + c * d, w - c * d]))
        slope = (losses[:directions] - losses[directions:]) / (2 * c)
        return slope[:, None] * d, float(losses.mean()), right

    def _choose_gain(self, index: Labels) -> None:
        """A and a, kept from now on: a run that goes on with more epochs goes on with the same gains."""
        g, _, _ = self.gradient(index, flatten(self.net), self.config.c, self.config.pilots)
        size = float(np.abs(g[:, 0]).mean())  # alike for all parameters
        self.A = STABILITY * self.planned_steps
        # A loss that does not move at all gives no scale: any step is as good, and it will be 0.
        self.a = self.config.first_change * (self.A + 1) ** ALPHA / size if size > 0 else 0.0

    def state(self) -> dict[str, Any]:
        return {**super().state(), "a": self.a, "A": self.A}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self.a, self.A = state["a"], state["A"]
