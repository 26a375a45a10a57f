"""parity: a generated task that no linear readout of its bits can do, whatever their number.

With b in {0, 1}, the parity of b_i and b_j is b_i + b_j - 2 b_i b_j: over random bits the product has no correlation
with any sum of single bits. What holds products of inputs, as a medium does whose elements scatter each other's waves,
holds the parity for a linear readout.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from labtrain.datasets.table import SplitOptions, Table


class Parity:
    """Random bits, 0 or 1; the class is the parity of some of them, the others are distractors.

    Rows are drawn independently: 4 bits have 16 patterns, so that with the usual split every test row has its like
    among the training rows. Groups are the patterns: ``split_by: group`` judges on patterns that were never trained
    on, which makes sense where there are many. Linear readouts then fall below chance, because the patterns kept back
    are the complement of those fitted.
    """

    class Config(SplitOptions):
        """Settings of the data set ``parity``."""

        type: Literal["parity"]
        rows: int = Field(1000, ge=1, description="samples")
        bits: int = Field(4, ge=2, le=62, description="inputs, each 0 or 1")
        of: tuple[int, ...] = Field((0, 1), min_length=2, description="bits, from 0, whose parity is the class")
        seed: int = Field(0, ge=0, description="of the generated bits; trials differ in their splits")
        split_by: Literal["rows", "group"] | None = Field("rows", description="rows, or group for patterns never seen")

        @model_validator(mode="after")
        def _exist(self) -> Parity.Config:
            if len(set(self.of)) < len(self.of) or not all(0 <= bit < self.bits for bit in self.of):
                raise ValueError(f"of {list(self.of)} must be distinct bits from 0 to {self.bits - 1}")
            return self

    def __init__(self, config: Config) -> None:
        self.config = config

    def load(self) -> Table:
        """Generate the table, feature i being bit i."""
        config = self.config
        bits = np.random.default_rng(config.seed).integers(0, 2, (config.rows, config.bits))
        return Table(
            features=bits.astype(np.float64),
            labels=bits[:, config.of].sum(axis=1) % 2,
            classes=("even", "odd"),
            feature_names=tuple(f"bit {i}" for i in range(config.bits)),
            groups=bits @ (1 << np.arange(config.bits)),
            source="parity",
        )
