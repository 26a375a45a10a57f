"""MGD, multiplexed gradient descent: every parameter is perturbed at once, the change of the cost tells each its share.

    G  = sum over tau_theta perturbations of (C - C0) dw / |dw|^2,   dw_i = +-amplitude, a new random code each time
    w <- w - eta G,   then G = 0

with |dw| the amplitude of a parameter, C0 the cost without perturbation and C the cost with it.

A. N. McCaughan, B. G. Oripov, N. Ganesh, S. W. Nam, A. Dienstfrey, S. M. Buckley, APL Mach. Learn. 1, 026118 (2023),
arXiv 2303.03986. Of its time constants, counted in perturbations, tau_p is 1, and the samples, here a batch, change
with the parameters: tau_x = tau_theta. G is a sum and not a mean: a larger tau_theta takes larger, steadier steps.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from labtrain.methods.perturbation import Perturbation, PerturbationConfig, assign, flatten

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


class MGDConfig(PerturbationConfig):
    """Settings of multiplexed gradient descent."""

    method: Literal["multiplexed-gradient-descent"] = "multiplexed-gradient-descent"
    amplitude: float = Field(0.02, gt=0, description="of the perturbation of every parameter")
    eta: float = Field(3e-3, gt=0, description="learning rate")
    tau_theta: int = Field(4, ge=1, description="perturbations between two updates; each costs a pass")


class MGD(Perturbation):
    """Trains all linear maps end to end by multiplexed perturbations; the config section is :class:`MGDConfig`."""

    Config = MGDConfig
    config: MGDConfig

    @property
    def passes(self) -> int:
        return 1 + self.config.tau_theta

    def update(self, index: Labels) -> tuple[float, float]:
        w = flatten(self.net)
        G, C0, right = self.accumulate(index, w)
        assign(self.net, w - self.config.eta * G)
        return C0, right

    def accumulate(self, index: Labels, w: Array) -> tuple[Array, float, float]:
        """G (p,), C0, and the share of passes that were right; C0 and every C in one measurement, in random order."""
        amplitude = self.config.amplitude
        dw = amplitude * (self.rng.integers(2, size=(self.config.tau_theta, w.size)) * 2.0 - 1.0)
        costs, right = self.losses(index, np.concatenate([w[None], w + dw]))
        return (costs[1:] - costs[0]) @ dw / amplitude**2, float(costs[0]), right
