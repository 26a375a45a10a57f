"""Coordinate descent on physical parameters, such as pixels that carry no value (physical.py has the frame).

One parameter after the other is changed and measured, and a change is kept if

    L(changed) < L(incumbent) - margin sqrt(2) sigma,   sigma^2 = mean (L_j - L_(j+1))^2 / 2

with L_j the readings of one and the same state: three at the beginning, of which the median counts, and one after every
`remeasure` changes, which also follow the rig's drift.

Flipping single pixels and keeping what is better is the sequential search of I. M. Vellekoop, A. P. Mosk, Opt. Commun.
281, 3071 (2008), who focused light with it.
"""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import median
from typing import Literal

import numpy as np
from pydantic import Field

from labtrain.methods.physical import FIRST_READINGS, PhysicalConfig, PhysicalTuning, Round


class CoordinateDescentConfig(PhysicalConfig):
    """Settings of coordinate descent."""

    method: Literal["coordinate-descent"] = "coordinate-descent"  # type: ignore[assignment]
    flips: int = Field(40, ge=1, description="changes tried in a break, of one parameter each")
    states: int = Field(2, ge=2, description="of each physical parameter: 2 for pixels of 1 bit, 4 for 2 bits")
    remeasure: int = Field(10, ge=1, description="changes between two readings of the incumbent")


class CoordinateDescent(PhysicalTuning):
    """Trains physical parameters beside W and b; the config section is :class:`CoordinateDescentConfig`."""

    Config = CoordinateDescentConfig
    config: CoordinateDescentConfig

    @property
    def readings(self) -> int:
        return FIRST_READINGS + self.config.flips + (self.config.flips - 1) // self.config.remeasure

    def _tune(self, i: int) -> Round:
        """Change physical parameters of block `i`, one at a time, each once before any is changed again."""
        c, block, batch = self.config, self.net.blocks[i], self._fixed_batch(i)
        incumbent = block.layer.parameters if block.physical is None else block.physical
        first = [self._read(i, batch) for _ in range(FIRST_READINGS)]
        squares = [(a - b) ** 2 / 2 for a, b in pairwise(first)]
        before = loss = median(first)
        kept, p = 0, incumbent.size
        order = np.concatenate([self.flip_rng.permutation(p) for _ in range(-(-c.flips // p))])
        for number, j in enumerate(order[: c.flips], start=1):
            changed = incumbent.copy()
            changed[j] = (changed[j] + self.flip_rng.integers(1, c.states)) % c.states
            block.physical = changed
            read = self._read(i, batch)
            if read < loss - c.margin * math.sqrt(2 * np.mean(squares)):
                incumbent, loss, kept = changed, read, kept + 1
            block.physical = incumbent
            if number % c.remeasure == 0 and number < c.flips:
                again = self._read(i, batch)
                squares.append((loss - again) ** 2 / 2)
                loss = again
        return Round(i + 1, min(c.flips, order.size), kept, before, loss, math.sqrt(np.mean(squares)))
