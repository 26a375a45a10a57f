"""Physical parameters as weights, such as pixels that carry no value, tuned in breaks between epochs of PhyLL.

W and b of a block are trained by PhyLL, layer by layer. After each of its epochs `breaks` a method looks for better
physical parameters of the block, judged by the block's own loss (goodness.py) on a fixed batch of positive and negative
passes. Then all passes are measured anew, the responses' scale is learned anew, and PhyLL goes on.

W fits the responses it has seen and would condemn every other physics; so a loss is read with responses in a scale of
their own, after `refit` updates of a copy of W and b on the batch. (Read from another half of the batch it was four
times as uncertain, and found less.)
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from labtrain.errors import ConfigError
from labtrain.ledger import Work
from labtrain.methods.adam import Adam
from labtrain.methods.goodness import loss_and_gradient, side_by_side
from labtrain.methods.method import Data, Metrics
from labtrain.methods.phyll import PhyLL, PhyLLConfig
from labtrain.network import PhysicalNetwork

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

FIRST_READINGS = 3  # of a state whose repeatability is asked for: the least that tells a spread


class PhysicalConfig(PhyLLConfig):
    """Settings of every method of this kind, beside those of PhyLL layer by layer."""

    schedule: Literal["layerwise"] = Field("layerwise", description="the only one")
    batch: None = Field(None, description="belongs to schedule joint: none here")
    breaks: tuple[int, ...] = Field((1,), description="epochs of a block after which its physics is tuned")
    tuning_batch: int = Field(64, ge=2, description="training rows in the fixed batch; two passes each")
    refit: int = Field(60, ge=0, description="updates of a copy of W and b on that batch before a loss is read")
    margin: float = Field(2.0, ge=0, description="how far beyond repeatability a change must be better, in sigma")

    @model_validator(mode="after")
    def _within_the_epochs(self) -> PhysicalConfig:
        for after in self.breaks:
            if not 0 < after < self.epochs:
                raise ValueError(f"a break after epoch {after} of {self.epochs}; breaks are after 1 to epochs - 1")
        if len(set(self.breaks)) < len(self.breaks):
            raise ValueError("a break is named twice; name each once")
        return self


@dataclass
class Round:
    """What the changes in a break came to."""

    block: int
    tried: int
    kept: int
    before: float
    after: float
    sigma: float


@dataclass(frozen=True)
class Batch:
    """Passes that physical parameters are judged by: a right and a wrong one of each row.

    Parameters
    ----------
    x : ndarray (rows, 2, width), or (rows, 1, width) where the physics is shown no label
    labels : ndarray (rows, 2)
    """

    x: Array
    labels: Labels


class PhysicalTuning(PhyLL):
    """PhyLL with breaks for physical parameters; subclasses look for better ones."""

    Config = PhysicalConfig
    config: PhysicalConfig
    KEPT = (*PhyLL.KEPT, "rounds")

    @property
    @abstractmethod
    def readings(self) -> int:
        """Measurements of the fixed batch in one break."""

    @abstractmethod
    def _tune(self, i: int) -> Round:
        """Look for better physical parameters of block `i` and leave the best with it."""

    # -- the Method interface --------------------------------------------------------------------------------------

    def start(self, net: PhysicalNetwork, data: Data, rng: np.random.Generator) -> None:
        for number, block in enumerate(net.blocks, start=1):
            if not block.layer.parameters.size:
                raise ConfigError(
                    f"training.method: {self.config.method}, and the layer of block {number} has no physical "
                    "parameters; use a microwave rig with pixels that carry no value (fewer rig.code.inputs), or "
                    "method: phyll"
                )
        super().start(net, data, rng)
        self.flip_rng = rng.spawn(1)[0]
        self.rounds: list[dict[str, Any]] = []
        for block in net.blocks:
            block.physical = block.layer.parameters

    def planned_shots(self, blocks: int, train: int, validation: int, classes: int) -> int:
        c, breaks = self.config, len(self.config.breaks)
        tuning = self.readings * min(2, classes) * min(c.tuning_batch, train)
        return (1 + breaks) * super().planned_shots(blocks, train, validation, classes) + blocks * breaks * tuning

    def step(self) -> Metrics | None:
        """One epoch of one block; in a break, all changes of its physical parameters before it.

        When a finished run goes on with more epochs, physical parameters stay as they are.
        """
        if self.trained_epochs == 0 and self.epoch in self.config.breaks:
            i = self.block
            self.rounds.append(asdict(self._tune(i)))
            del self.responses[i:], self.validation_responses[i:]
            self.net.blocks[i].learned = False
            self._measure(i)
            self._h = None
            passes = math.prod(self.responses[i].shape[:2])
            self.multiply_adds += Work(forward=passes * sum(block.W.size for block in self.net.blocks[:i]))
        return super().step()

    def state(self) -> dict[str, Any]:
        return {**super().state(), "flip_generator": self.flip_rng.bit_generator.state}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self.flip_rng.bit_generator.state = state["flip_generator"]

    def _weights(self) -> dict[str, Any]:
        # With its pixels a block gets back what was measured through them: the next block stands on it.
        responses = {"responses": list(self.responses), "validation_responses": list(self.validation_responses)}
        return {**super()._weights(), **responses}

    def _bring_back(self, weights: dict[str, Any]) -> None:
        super()._bring_back(weights)
        self.responses, self.validation_responses = weights["responses"], weights["validation_responses"]

    # -- judging ---------------------------------------------------------------------------------------------------

    def _fixed_batch(self, i: int) -> Batch:
        """Activations of block `i` for some training rows, each with its own and a wrong label."""
        x = self._activations(i)
        rows = self.flip_rng.choice(len(x), min(self.config.tuning_batch, len(x)), replace=False)
        wrong = self.flip_rng.integers(1, self.labels.shape[1], len(rows))
        pairs = rows[:, None], np.stack([np.zeros_like(wrong), wrong], axis=1)
        return Batch(x[pairs] if x.shape[1] > 1 else x[rows], self.labels[pairs])

    def _read(self, i: int, batch: Batch) -> float:
        """Measure the fixed batch with the physics as it is: the loss of block `i`, after `refit` updates if any."""
        c, block, x = self.config, self.net.blocks[i], batch.x
        y, trained = block.measure(x, self.order_rng), (block.y_mean, block.y_scale)
        block.learn_scale(y)
        h = self._labelled(i, block.inputs(y, x), batch.labels)
        block.y_mean, block.y_scale = trained
        parameters, adam, passes = block.parameters.copy(), Adam(block.parameters.shape), side_by_side(h)
        for _ in range(c.refit):
            _, gradient = loss_and_gradient(parameters, self.xi[i], c.theta, passes, len(h), c.goodness)
            adam.update(c.rate, parameters, gradient)
        loss, _ = loss_and_gradient(parameters, self.xi[i], c.theta, passes, len(h), c.goodness)
        each = (c.refit + 1) * passes.shape[1] * block.W.size
        self.multiply_adds += Work(forward=each, update=each)
        return loss
