"""SPSA on physical parameters of two states, such as pixels that carry no value (physical.py has the frame).

A pixel is on where its latent value is positive, and simultaneous perturbation (J. C. Spall, IEEE Trans. Autom. Control
37, 332, 1992) moves the latent values, all at once from two losses:

    s(u) = 1 where u > 0, else 0,   u_0 = +-1/2 by the state a pixel has
    g_k  = (L(s(u + c_k d)) - L(s(u - c_k d))) / (2 c_k) * d,   d_i = +-1 with equal chance
    u   <- clip(u - a_k g_k, -1, 1),   a_k = a / (A + k + 1)^0.602,   c_k = 1 / (k + 1)^0.101

A is a tenth of all steps, and a such that a step at the beginning moves a latent value by `first_change`, for which the
first `pilots` steps measure |g| and move nothing. L is piecewise constant in u, so this is a heuristic, and no gradient
of anything: perturbations begin as large as the range of u, where every pixel follows d, and what counts is the end.
The s(u) found replaces the state before only if it is better beyond repeatability, each read three times:

    median L(found) < median L(before) - margin sqrt(2) sigma,   sigma^2 = mean (L_j - L_(j+1))^2 / 2 of both
"""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import median
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from labtrain.errors import ConfigError
from labtrain.methods.method import Data
from labtrain.methods.physical import FIRST_READINGS, Batch, PhysicalConfig, PhysicalTuning, Round
from labtrain.methods.spsa import ALPHA, GAMMA, STABILITY
from labtrain.network import PhysicalNetwork

Array = NDArray[np.float64]


class PhysicalSPSAConfig(PhysicalConfig):
    """Settings of SPSA on physical parameters."""

    method: Literal["physical-spsa"] = "physical-spsa"  # type: ignore[assignment]
    pairs: int = Field(20, ge=1, description="steps in a break; each reads two states")
    pilots: int = Field(4, ge=1, description="steps before them that measure |g| for the gain and move nothing")
    first_change: float = Field(0.2, gt=0, le=1, description="change of a latent value, between -1 and 1, in a step")


class PhysicalSPSA(PhysicalTuning):
    """Trains pixels beside W and b by simultaneous perturbation; the config is :class:`PhysicalSPSAConfig`."""

    Config = PhysicalSPSAConfig
    config: PhysicalSPSAConfig

    def start(self, net: PhysicalNetwork, data: Data, rng: np.random.Generator) -> None:
        super().start(net, data, rng)
        for number, block in enumerate(net.blocks, start=1):
            if (block.layer.parameters > 1).any():
                raise ConfigError(
                    f"training.method: physical-spsa, and physical parameters of block {number} have more than two "
                    "states; use method: coordinate-descent with training.states"
                )

    @property
    def readings(self) -> int:
        return 2 * (self.config.pilots + self.config.pairs) + 2 * FIRST_READINGS

    def _tune(self, i: int) -> Round:
        c, block, batch = self.config, self.net.blocks[i], self._fixed_batch(i)
        start = block.layer.parameters if block.physical is None else block.physical
        first = self._readings_of(i, batch, start, FIRST_READINGS)
        u, A = np.where(start > 0, 0.5, -0.5), STABILITY * c.pairs
        size = float(np.mean([np.abs(self._slope(i, batch, u, 1.0)[0]) for _ in range(c.pilots)]))
        a = c.first_change * (A + 1) ** ALPHA / size if size > 0 else 0.0
        for k in range(c.pairs):
            g = self._slope(i, batch, u, 1.0 / (k + 1) ** GAMMA)
            u = np.clip(u - a / (A + k + 1) ** ALPHA * g, -1.0, 1.0)
        found = (u > 0).astype(np.int64)
        last = self._readings_of(i, batch, found, FIRST_READINGS)
        sigma = math.sqrt(np.mean([(p - q) ** 2 / 2 for part in (first, last) for p, q in pairwise(part)]))
        before, after = median(first), median(last)
        better = after < before - c.margin * math.sqrt(2) * sigma
        block.physical = found if better else start
        changed = int((found != start).sum()) if better else 0
        return Round(i + 1, c.pilots + c.pairs, changed, before, after if better else before, sigma)

    def _slope(self, i: int, batch: Batch, u: Array, c: float) -> Array:
        """g (p,) at latent values u (p,); which of the two states is read first is left to chance, because of drift."""
        d = self.flip_rng.integers(2, size=u.size) * 2.0 - 1.0
        losses = {}
        for sign in self.flip_rng.permutation([1, -1]):
            losses[int(sign)] = self._readings_of(i, batch, (u + sign * c * d > 0).astype(np.int64), 1)[0]
        return np.asarray((losses[1] - losses[-1]) / (2 * c) * d, dtype=np.float64)

    def _readings_of(self, i: int, batch: Batch, states: NDArray[np.int64], count: int) -> list[float]:
        self.net.blocks[i].physical = states
        return [self._read(i, batch) for _ in range(count)]
