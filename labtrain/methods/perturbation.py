"""What methods share that learn from a loss of slightly changed parameters: batches, passes, calibration, scores.

All trainable linear maps of the network are one vector w. In each step a batch passes the network once for each of
several *variants* of w; the passes of a sample are measured next to one another in seeded random order, so that drift
does not pass for a difference between variants. The first block's drives do not depend on w: with ``first_block: once``
the responses of the very first pass, which also teaches drives and scales their ranges, serve all training.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from labtrain.compact import in_parts, parts
from labtrain.config import Section
from labtrain.ledger import Work
from labtrain.methods import readout
from labtrain.methods.method import Data, Inheriting, Metrics
from labtrain.network import PhysicalNetwork

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


class PerturbationConfig(Section):
    """Settings of every method of this kind."""

    epochs: int = Field(100, ge=1, description="passes through the training rows, in random batches")
    batch: int = Field(32, ge=1, description="rows per step")
    first_block: Literal["once", "always"] = Field(
        "once", description="measure the first block, whose drives never change, once a row, or in every pass"
    )
    score_every: int = Field(10, ge=1, description="epochs between accuracies (validation costs shots)")


def flatten(net: PhysicalNetwork) -> Array:
    """w (p,): W with b of every block, row by row, one behind the other."""
    return np.concatenate([block.parameters.ravel() for block in net.blocks])


def assign(net: PhysicalNetwork, w: Array) -> None:
    """Give the network the parameters w (p,)."""
    for block, values in zip(net.blocks, unflatten(net, w), strict=True):
        block.parameters[...] = values


def unflatten(net: PhysicalNetwork, w: Array) -> list[Array]:
    """For each block its share (..., width, fan_in + 1) of w (..., p)."""
    ends = np.cumsum([block.parameters.size for block in net.blocks])[:-1]
    parts = np.split(w, ends, axis=-1)
    return [part.reshape(*w.shape[:-1], *block.parameters.shape) for part, block in zip(parts, net.blocks, strict=True)]


class Perturbation(Inheriting, ABC):
    """Everything but the update: subclasses say how many passes one takes, and do it."""

    ablations: ClassVar[tuple[str, ...]] = ("off", "random", "shuffled", "no_skip")

    def __init__(self, config: PerturbationConfig) -> None:
        self.config = config
        self.multiply_adds = Work()

    @property
    @abstractmethod
    def passes(self) -> int:
        """Passes of each row through the network in one step."""

    @abstractmethod
    def update(self, index: Labels) -> tuple[float, float]:
        """Change w after measuring the training rows `index`; the loss, and the share of passes that were right."""

    # -- the Method interface --------------------------------------------------------------------------------------

    def start(self, net: PhysicalNetwork, data: Data, rng: np.random.Generator) -> None:
        self.classes = readout.classes_of(net)
        self.net, self.data = net, data
        self.rng, self.order_rng, self.predict_rng = rng.spawn(3)
        self.steps, self.epoch = 0, 0
        self.order: Labels = np.empty(0, dtype=np.int64)  # training rows that are still to come in this epoch
        self.right = 0.0  # rows of this epoch that were right so far
        self.loss = self.accuracy = float("nan")
        self.first: Array = np.empty((0, 0))  # responses of the first block (n, n_out), with first_block: once

    def planned_shots(self, blocks: int, train: int, validation: int, classes: int) -> int:  # noqa: ARG002
        c = self.config
        scorings = c.epochs // c.score_every + (c.epochs % c.score_every > 0)
        return blocks * (train + scorings * validation) + c.epochs * self._shots(blocks, train)

    def _shots(self, blocks: int, rows: int) -> int:
        """Shots of one step's passes for so many rows."""
        return rows * self.passes * (blocks - (self.config.first_block == "once"))

    def shots_per_prediction(self, blocks: int, classes: int) -> int:  # noqa: ARG002
        return blocks

    def step(self) -> Metrics | None:
        """One batch; the first step also measures all training rows once, to learn ranges and scales."""
        if self.epoch >= self.config.epochs:
            return None
        if self.steps == 0:
            self._calibrate()
        if not self.order.size:
            self.order, self.right = self.rng.permutation(len(self.data.rows)), 0.0
        index, self.order = self.order[: self.config.batch], self.order[self.config.batch :]
        self.loss, right = self.update(index)
        self.right += right * len(index)
        self.steps += 1
        if not self.order.size:
            self.epoch += 1
            if self.epoch % self.config.score_every == 0 or self.epoch >= self.config.epochs:
                self._score()
        on = "validation" if len(self.data.validation_rows) else "training"
        losses = (self.loss,) * len(self.net.blocks)
        return Metrics(self.steps, self.planned_steps, f"epoch {self.epoch + 1}", losses, self.accuracy, on)

    @property
    def planned_steps(self) -> int:
        return self.config.epochs * -(-len(self.data.rows) // self.config.batch)

    def scores(self, net: PhysicalNetwork, rows: Array) -> Array:
        """Logits (n, classes) from one physical pass per row and block."""
        self.multiply_adds += Work(forward=readout.multiply_adds(net, len(rows)))
        return readout.logits(readout.forward(net, rows, self.predict_rng), self.classes)

    def state(self) -> dict[str, Any]:
        return {
            "steps": self.steps,
            "epoch": self.epoch,
            "order": self.order,
            "right": self.right,
            "loss": self.loss,
            "accuracy": self.accuracy,
            "first": self.first,
            "multiply_adds": self.multiply_adds.as_dict(),
            "generators": [rng.bit_generator.state for rng in (self.rng, self.order_rng, self.predict_rng)],
        }

    def restore(self, state: dict[str, Any]) -> None:
        for name in ("steps", "epoch", "order", "right", "loss", "accuracy", "first"):
            setattr(self, name, state[name])
        self.multiply_adds = Work.of(state["multiply_adds"])
        for rng, saved in zip((self.rng, self.order_rng, self.predict_rng), state["generators"], strict=True):
            rng.bit_generator.state = saved

    # -- measuring -------------------------------------------------------------------------------------------------

    def _calibrate(self) -> None:
        """Send all training rows through the network once: ranges, scales, and the first block's responses."""
        cuts = self._cuts()
        x: Callable[[slice], Array] = lambda part: self._features(part)[:, None, :]  # noqa: E731
        for i, block in enumerate(self.net.blocks):
            y = block.learn_in_parts(x, cuts, self.order_rng)
            if i == 0 and self.config.first_block == "once":
                self.first = y[:, 0]
            z = np.concatenate([block.linear(block.inputs(y[cut], x(cut))) for cut in cuts])
            x = z.__getitem__
        self.multiply_adds += Work(forward=readout.multiply_adds(self.net, len(self.data.rows)))

    def _cuts(self) -> list[slice]:
        """Parts of the training rows that can be worked on at once."""
        widest = max(self.net.encoder.width, *(block.fan_in for block in self.net.blocks))
        return list(parts(len(self.data.rows), widest))

    def _features(self, part: slice) -> Array:
        """Activations (n, width) of the first block for a part of the training rows."""
        return self.net.encoder.features(self.data.rows[part])

    def logits(self, index: Labels, variants: Array) -> Array:
        """Logits (rows, m, classes) of the training rows `index` with each of m parameter vectors (m, p)."""
        net, m = self.net, len(variants)
        x = np.repeat(net.encoder.features(self.data.rows[index])[:, None, :], m, axis=1)
        for i, (block, parameters) in enumerate(zip(net.blocks, unflatten(net, variants), strict=True)):
            if i == 0 and self.config.first_block == "once":
                y = np.repeat(self.first[index][:, None, :], m, axis=1)
            else:
                y = block.measure(x, self.order_rng)
            h = block.inputs(y, x).swapaxes(0, 1)  # one matrix product for each variant
            x = (h @ parameters[:, :, :-1].swapaxes(1, 2) + parameters[:, None, :, -1]).swapaxes(0, 1)
        self.multiply_adds += Work(forward=readout.multiply_adds(net, len(index) * m))
        return readout.logits(x, self.classes)

    def losses(self, index: Labels, variants: Array) -> tuple[Array, float]:
        """Loss (m,) of each variant (m, p) on these rows, and the share of all passes that were right."""
        scores, labels = self.logits(index, variants), self.data.labels[index]
        right = float((scores.argmax(axis=2) == labels[:, None]).mean())
        return readout.cross_entropy(scores, labels), right

    def _score(self) -> None:
        """Accuracy on validation rows, or of the passes of this epoch, which cost nothing more."""
        if len(self.data.validation_rows):
            best = np.concatenate(
                [self.scores(self.net, rows).argmax(axis=1) for rows in in_parts(self.data.validation_rows)]
            )
            self.accuracy = float((best == self.data.validation_labels).mean())
        else:
            self.accuracy = self.right / len(self.data.rows)
