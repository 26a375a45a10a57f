"""Backpropagation in silico: the network is trained on digital twins alone, then the rig gets its weights.

What L. G. Wright et al., Nature 601, 549 (2022), hold physics-aware training against. Training costs no shot beside
those that the twins were fitted to. Ranges of drives and scales of responses are those of the twins too: whatever they
miss, and how the rig has drifted since, shows in the test.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from labtrain.compact import in_parts
from labtrain.ledger import Work
from labtrain.methods import readout
from labtrain.methods.through_twins import ThroughTwins, ThroughTwinsConfig, multiply_adds
from labtrain.network import Block

Array = NDArray[np.float64]


class InSilicoConfig(ThroughTwinsConfig):
    """Settings of backpropagation in silico."""

    method: Literal["in-silico"] = "in-silico"
    first_block: Literal["once"] = Field("once", description="the only one: a twin's answers do not change")


class InSilico(ThroughTwins):
    """Trains all linear maps without the rig and predicts with it; the config section is :class:`InSilicoConfig`."""

    Config = InSilicoConfig
    config: InSilicoConfig
    # A twin is one of this rig, and it alone answers in training: with other responses nothing would be compared.
    ablations = ("off",)

    def planned_shots(self, blocks: int, train: int, validation: int, classes: int) -> int:  # noqa: ARG002
        return 0

    def asked(self, i: int) -> bool:  # noqa: ARG002
        return True

    def respond(self, block: Block, x: Array) -> Array:
        """What the twin says of activations x (n, width): (n, n_out)."""
        twin = self.twins[self.net.blocks.index(block)]
        if twin is None:
            return np.empty((len(x), 0))
        self.multiply_adds += Work(twin=len(x) * multiply_adds(twin))
        return twin.predict(block.layer.quantise(block.drive(x)))

    def _calibrate(self) -> None:
        """Ranges and scales from the training rows, which go through the twins once."""
        cuts = self._cuts()
        x: Callable[[slice], Array] = self._features
        for i, block in enumerate(self.net.blocks):
            if block.drive.needs_fit:
                block.drive.fit_in_parts(map(x, cuts))
            y = np.concatenate([self.respond(block, x(cut)) for cut in cuts])
            if not block.learned:
                block.learn_scale(y[:, None])
                block.learned = True
            if i == 0:
                self.first = y
            z = np.concatenate([block.linear(block.inputs(y[cut], x(cut))) for cut in cuts])
            x = z.__getitem__
        self.multiply_adds += Work(forward=readout.multiply_adds(self.net, len(self.data.rows)))

    def _score(self) -> None:
        """Accuracy as the twins see it, on validation rows or of the passes of this epoch."""
        rows = self.data.validation_rows
        if not len(rows):
            super()._score()
            return
        best = []
        for part in in_parts(rows):
            x = self.net.encoder.features(part)
            for block in self.net.blocks:
                x = block.linear(block.inputs(self.respond(block, x), x))
            best.append(readout.logits(x, self.classes).argmax(axis=1))
        self.multiply_adds += Work(forward=readout.multiply_adds(self.net, len(rows)))
        self.accuracy = float((np.concatenate(best) == self.data.validation_labels).mean())
