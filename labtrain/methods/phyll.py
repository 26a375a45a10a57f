"""PhyLL, physical local learning: two forward passes instead of backpropagation (goodness.py has the equations).

Every block is trained alone. The *positive* pass carries a sample with its own label, *negative* passes the same
sample with wrong labels; a block learns to give its positive pass the larger goodness. The next block sees
z = W h + b of the updated weights. A prediction tries every label; goodness is summed over blocks, the largest wins.

Two schedules: ``joint``, all blocks in every epoch, measured afresh (as published), and ``layerwise``, one block after
the other, each sample and label measured once per block and its response used for all epochs.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from labtrain.config import Section
from labtrain.errors import ConfigError
from labtrain.methods.adam import Adam
from labtrain.methods.goodness import goodness, largest_goodness, loss_and_gradient, side_by_side
from labtrain.methods.method import Data, Metrics
from labtrain.network import Block, PhysicalNetwork

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


class PhyLLConfig(Section):
    """Settings of PhyLL."""

    method: Literal["phyll"] = "phyll"
    schedule: Literal["layerwise", "joint"] = Field("layerwise", description="joint is the published one")
    theta: float = Field(4.0, gt=0, description="steepness of the loss")
    rate: float = Field(5e-4, gt=0, description="Adam's learning rate")
    decay: Literal["none", "cosine"] = Field("none", description="of the learning rate over the epochs of a block")
    epochs: int = Field(200, ge=1, description="layerwise: of each block")
    inner: int = Field(10, ge=1, description="updates per epoch")
    negatives: Literal["random", "all", "hardest"] = Field("random", description="wrong labels per sample and epoch")
    measured_negatives: int | None = Field(
        None, ge=1, description="layerwise: wrong labels measured per sample; all when left out"
    )
    score_every: int = Field(10, ge=1, description="epochs between accuracies (joint: validation costs shots)")
    patience: int | None = Field(
        None, ge=1, description="accuracies without a better one on validation before training stops; none: never"
    )

    @model_validator(mode="after")
    def _nothing_ignored(self) -> PhyLLConfig:
        if self.measured_negatives is not None and self.schedule == "joint":
            raise ValueError("measured_negatives belongs to schedule layerwise; with joint, negatives decides")
        return self


class PhyLL:
    """Trains a network by physical local learning; the config section is :class:`PhyLLConfig`."""

    Config = PhyLLConfig
    ablations = ("off", "random", "shuffled", "no_skip", "ridge")

    def __init__(self, config: PhyLLConfig) -> None:
        self.config = config
        self.multiply_adds = 0

    # -- the Method interface --------------------------------------------------------------------------------------

    def start(self, net: PhysicalNetwork, data: Data, rng: np.random.Generator) -> None:
        if self.config.patience is not None and not len(data.validation_rows):
            raise ConfigError(
                "training.patience: there are no validation rows; set dataset.validation_fraction above 0"
            )
        self.net, self.data = net, data
        # Separate streams: which labels are drawn must not depend on how many shots were shuffled before.
        self.rng, self.order_rng, self.predict_rng = rng.spawn(3)
        self.classes = len(net.encoder.classes)
        directions = [rng.standard_normal(len(block.b)) for block in net.blocks]
        self.xi = [xi / np.linalg.norm(xi) for xi in directions]
        self.adam = [Adam(block.parameters.shape) for block in net.blocks]
        self.losses = [float("nan")] * len(net.blocks)
        self.steps = 0
        self.epoch = 0  # of the block in training (layerwise) or of all (joint)
        self.block = 0  # layerwise: the block in training
        self.trained_epochs = 0  # epochs that every block has behind it; more appear when a finished run goes on
        self.labels = self._draw_labels()
        self.responses: list[Array] = []  # layerwise: of every measured block, (n, 1 + m, n_out)
        self.validation_responses: list[Array] = []
        self.accuracy = float("nan")
        self.best: dict[str, Any] = {}
        self._h: Array | None = None

    def planned_shots(self, blocks: int, train: int, validation: int, classes: int) -> int:
        c, wrong = self.config, classes - 1
        if c.schedule == "layerwise":
            passes = 1 + min(wrong, c.measured_negatives or wrong)
            return blocks * (train * passes + validation * classes)
        passes = 2 if c.negatives == "random" else classes
        scorings = c.epochs // c.score_every + (c.epochs % c.score_every > 0)
        return blocks * (c.epochs * train * passes + scorings * validation * classes)

    def shots_per_prediction(self, blocks: int, classes: int) -> int:
        return blocks * classes

    def step(self) -> Metrics | None:
        return self._step_joint() if self.config.schedule == "joint" else self._step_layerwise()

    def scores(self, net: PhysicalNetwork, rows: Array) -> Array:
        """Goodness summed over blocks, (n, classes)."""
        total: Array = self.goodness_per_block(net, rows).sum(axis=0)
        return total

    def goodness_per_block(self, net: PhysicalNetwork, rows: Array) -> Array:
        """Goodness of every label in every block, (blocks, n, classes); one physical pass per block and label."""
        x = net.encoder.every_label(rows)
        found = []
        for block, xi in zip(net.blocks, self.xi, strict=True):
            h = block.inputs(block.measure(x, self.predict_rng), x)
            x = self._forward(block, h)
            found.append(goodness(x, xi))
        return np.stack(found)

    @property
    def largest_goodness(self) -> list[float]:
        """Largest goodness that each block can reach with its xi."""
        return [largest_goodness(xi) for xi in self.xi]

    def state(self) -> dict[str, Any]:
        return {
            "xi": self.xi,
            "adam": [adam.state() for adam in self.adam],
            "losses": list(self.losses),
            "steps": self.steps,
            "epoch": self.epoch,
            "block": self.block,
            "trained_epochs": self.trained_epochs,
            "labels": self.labels,
            "responses": list(self.responses),
            "validation_responses": list(self.validation_responses),
            "accuracy": self.accuracy,
            "best": dict(self.best),
            "multiply_adds": self.multiply_adds,
            "generators": [rng.bit_generator.state for rng in (self.rng, self.order_rng, self.predict_rng)],
        }

    def restore(self, state: dict[str, Any]) -> None:
        for name in ("xi", "losses", "steps", "epoch", "block", "trained_epochs", "labels"):
            setattr(self, name, state[name])
        for name in ("responses", "validation_responses", "accuracy", "best", "multiply_adds"):
            setattr(self, name, state[name])
        for adam, saved in zip(self.adam, state["adam"], strict=True):
            adam.restore(saved)
        for rng, saved in zip((self.rng, self.order_rng, self.predict_rng), state["generators"], strict=True):
            rng.bit_generator.state = saved
        self._h = None

    # -- schedules -------------------------------------------------------------------------------------------------

    def _step_joint(self) -> Metrics | None:
        """One epoch: every block is measured afresh and updated, in order."""
        if self.epoch >= self.config.epochs:
            return None
        self.labels = self._draw_labels()
        x = self.net.encoder.candidates(self.data.rows, self.labels)
        total = np.zeros(self.labels.shape)
        for i, block in enumerate(self.net.blocks):
            h = block.inputs(block.learn(x, self.order_rng), x)
            self._update(i, h, self.epoch / self.config.epochs)
            x = self._forward(block, h)
            total += goodness(x, self.xi[i])
        self.epoch += 1
        last = self.epoch >= self.config.epochs
        if last or self.epoch % self.config.score_every == 0:
            if len(self.data.validation_rows):
                scores = self.scores(self.net, self.data.validation_rows)
                self.accuracy = float((scores.argmax(axis=1) == self.data.validation_labels).mean())
            else:
                self.accuracy = self._training_accuracy(total)
            if self._out_of_patience(last):
                self.epoch = self.config.epochs
        return self._metrics(self.config.epochs, "all layers")

    def _step_layerwise(self) -> Metrics | None:
        """One epoch of one block; its first epoch measures what the block needs."""
        planned = self.config.epochs - self.trained_epochs
        if planned <= 0:
            return None
        i, blocks = self.block, len(self.net.blocks)
        if self.epoch == 0:
            self._measure(i)
            self.accuracy = float("nan")  # of the block before; this one has none yet
            # Counted here and not where it is computed: a resume computes it again and must not count it again.
            self.multiply_adds += self.labels.size * sum(block.W.size for block in self.net.blocks[:i])
        if self._h is None:
            self._h = self._inputs(i)
        self._update(i, self._h, self.epoch / planned)
        self.epoch += 1
        stage = f"layer {i + 1}"
        done = self.epoch >= planned
        if done or self.epoch % self.config.score_every == 0:
            self.accuracy = self._layerwise_accuracy(i)
            done = self._out_of_patience(done) or done
        if done:
            self.block, self.epoch, self.best, self._h = (i + 1) % blocks, 0, {}, None
            if self.block == 0:
                self.trained_epochs = self.config.epochs
        return self._metrics(self.config.epochs * blocks, stage)

    def _measure(self, i: int) -> None:
        """Measure block `i` for every training and validation pass; block 0 keeps its answers for later sweeps."""
        if i < len(self.responses):
            if i == 0:
                return
            del self.responses[i:], self.validation_responses[i:]
        block = self.net.blocks[i]
        self.responses.append(block.learn(self._activations(i), self.order_rng))
        if len(self.data.validation_rows):
            x = self._activations(i, validation=True)
            self.validation_responses.append(block.measure(x, self.predict_rng))

    def _activations(self, i: int, validation: bool = False) -> Array:
        """x of block `i` for all measured passes, (n, 1 + m, width), from the logged responses of the blocks before."""
        encoder = self.net.encoder
        if validation:
            x, responses = encoder.every_label(self.data.validation_rows), self.validation_responses
        else:
            x, responses = encoder.candidates(self.data.rows, self.labels), self.responses
        for block, y in zip(self.net.blocks[:i], responses, strict=False):
            x = block.linear(block.inputs(y, x))
        return x

    def _inputs(self, i: int) -> Array:
        return self.net.blocks[i].inputs(self.responses[i], self._activations(i))

    def _layerwise_accuracy(self, last: int) -> float:
        """Accuracy of the blocks up to `last` on measured responses: validation rows if any, else training rows."""
        validation = bool(len(self.data.validation_rows))
        x = self._activations(0, validation)
        responses = self.validation_responses if validation else self.responses
        total = np.zeros(x.shape[:2])
        for block, y, xi in zip(self.net.blocks[: last + 1], responses, self.xi, strict=False):
            x = self._forward(block, block.inputs(y, x))
            total += goodness(x, xi)
        if not validation:
            return self._training_accuracy(total)
        return float((total.argmax(axis=1) == self.data.validation_labels).mean())

    # -- shared by both schedules ----------------------------------------------------------------------------------

    def _draw_labels(self) -> Labels:
        """Labels of the passes to measure, (n, 1 + m): column 0 the true one, then m different wrong ones at random."""
        n, wrong = len(self.data.labels), self.classes - 1
        m = wrong
        if self.config.schedule == "layerwise":
            m = min(wrong, self.config.measured_negatives or wrong)
        elif self.config.negatives == "random":
            m = 1
        offsets = self.rng.permuted(np.tile(np.arange(1, self.classes), (n, 1)), axis=1)[:, :m]
        truth = self.data.labels[:, None]
        return np.hstack([truth, (truth + offsets) % self.classes])

    def _passes(self, i: int, h: Array) -> Array:
        """Positive and chosen negative inputs of one epoch, side by side: (fan_in + 1, (1 + chosen) n)."""
        n, columns = h.shape[:2]
        if self.config.negatives == "all" or columns == 2:
            return side_by_side(h)
        if self.config.negatives == "random":
            chosen = self.rng.integers(1, columns, n)
        else:
            chosen = 1 + goodness(self._forward(self.net.blocks[i], h[:, 1:]), self.xi[i]).argmax(axis=1)
        return side_by_side(np.stack([h[:, 0], h[np.arange(n), chosen]], axis=1))

    def _forward(self, block: Block, h: Array) -> Array:
        """z of a block, counted."""
        self.multiply_adds += math.prod(h.shape[:-1]) * block.W.size
        return block.linear(h)

    def _update(self, i: int, h: Array, progress: float) -> None:
        """`inner` Adam updates of block `i` on measured inputs h (n, 1 + m, fan_in)."""
        block, passes, n = self.net.blocks[i], self._passes(i, h), len(h)
        rate = self.config.rate * (0.5 + 0.5 * np.cos(np.pi * progress) if self.config.decay == "cosine" else 1.0)
        for _ in range(self.config.inner):
            loss, gradient = loss_and_gradient(block.parameters, self.xi[i], self.config.theta, passes, n)
            self.adam[i].update(rate, block.parameters, gradient)
        self.losses[i] = loss
        self.multiply_adds += 2 * self.config.inner * passes.shape[1] * block.W.size

    def _training_accuracy(self, total: Array) -> float:
        """Share of rows of `total` (n, 1 + m) won by column 0, the true label; NaN unless every label is there."""
        if total.shape[1] < self.classes:
            return float("nan")  # to win against a few wrong labels is easier than to be right
        return float((total[:, 0] > total[:, 1:].max(axis=1)).mean())

    def _out_of_patience(self, last: bool) -> bool:
        """Keep the best weights on validation; True, with those weights back, when patience is over."""
        if self.config.patience is None:
            return False
        if self.accuracy > self.best.get("accuracy", -1.0):
            self.best = {"accuracy": self.accuracy, "waited": 0, "net": self.net.state()}
        else:
            self.best = {**self.best, "waited": self.best["waited"] + 1}
        over = bool(self.best["waited"] >= self.config.patience)
        if over or last:
            self.net.restore(self.best["net"])
            self.accuracy = self.best["accuracy"]
        return over

    def _metrics(self, steps: int, stage: str) -> Metrics:
        self.steps += 1
        on = "validation" if len(self.data.validation_rows) else "training"
        return Metrics(self.steps, steps, stage, tuple(self.losses), self.accuracy, on)
