"""What methods share whose passes carry a candidate label: positive with a sample's own, negative with wrong ones.

A block learns to give the positive pass the larger goodness; a prediction tries every label, goodness is summed over
blocks, and the largest wins. Which label belongs to a sample is thus a question to the physics, or, with
``encoding.label: behind``, to the linear map behind it: h = [physical(x), label]. The physics then sees a sample once,
whatever its labels, and so does every block: what goes on to the next is z without what the label adds to it.

Two schedules: ``joint``, all blocks in every epoch, measured afresh, and ``layerwise``, one block after the other, each
sample and label measured once per block and its response used for all epochs. ``joint`` may take its rows in batches:
memory then holds the passes of one batch alone, and blocks follow one another more often.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from labtrain.compact import parts
from labtrain.ledger import Work
from labtrain.methods.goodness import side_by_side
from labtrain.methods.layerwise import Layerwise, LayerwiseConfig
from labtrain.methods.method import Data, Metrics
from labtrain.network import PhysicalNetwork

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


class LabelledConfig(LayerwiseConfig):
    """Settings of every method whose passes carry a label."""

    schedule: Literal["layerwise", "joint"] = Field("layerwise", description="joint is the published one")
    epochs: int = Field(200, ge=1, description="layerwise: of each block")
    negatives: Literal["random", "all", "hardest"] = Field("random", description="wrong labels per sample and epoch")
    measured_negatives: int | None = Field(
        None, ge=1, description="layerwise: wrong labels measured per sample; all when left out"
    )
    score_every: int = Field(10, ge=1, description="epochs between accuracies (joint: validation costs shots)")
    batch: int | None = Field(
        None, ge=1, description="joint: rows at a time, in random order, each with updates; all when left out"
    )

    @model_validator(mode="after")
    def _nothing_ignored(self) -> LabelledConfig:
        if self.batch is not None and self.schedule == "layerwise":
            raise ValueError("batch belongs to schedule joint; layerwise measures all rows of a block before it trains")
        if self.measured_negatives is not None and self.schedule == "joint":
            raise ValueError("measured_negatives belongs to schedule layerwise; with joint, negatives decides")
        return self


class Labelled(Layerwise):
    """Trains on passes with labels, by a goodness that a method defines."""

    config: LabelledConfig
    KEPT = (*Layerwise.KEPT, "labels")
    ablations = ("off", "random", "shuffled", "no_skip", "ridge")

    @abstractmethod
    def _goodness(self, i: int, z: Array) -> Array:
        """Goodness (...) of block `i` for linear outputs z (..., width)."""

    # -- the Method interface --------------------------------------------------------------------------------------

    def start(self, net: PhysicalNetwork, data: Data, rng: np.random.Generator) -> None:
        super().start(net, data, rng)
        self.labels = self._draw_labels()

    def planned_shots(self, blocks: int, train: int, validation: int, classes: int) -> int:
        c, wrong = self.config, classes - 1
        if c.schedule == "layerwise":
            passes = 1 + min(wrong, c.measured_negatives or wrong)
            return blocks * (train * passes + validation * classes)
        passes = min(2, classes) if c.negatives == "random" else classes
        scorings = c.epochs // c.score_every + (c.epochs % c.score_every > 0)
        return blocks * (c.epochs * train * passes + scorings * validation * classes)

    def shots_per_prediction(self, blocks: int, classes: int) -> int:
        return blocks * classes

    def scores(self, net: PhysicalNetwork, rows: Array) -> Array:
        """Goodness summed over blocks, (n, classes)."""
        total: Array = self.goodness_per_block(net, rows).sum(axis=0)
        return total

    def goodness_per_block(self, net: PhysicalNetwork, rows: Array) -> Array:
        """Goodness of every label in every block, (blocks, n, classes); one physical pass per block and label seen."""
        outputs = self._predicted(net, net.encoder.every_label(rows))
        return np.stack([self._judged(i, z, self._every_label()) for i, z in enumerate(outputs)])

    # -- schedules -------------------------------------------------------------------------------------------------

    def _epoch(self) -> Metrics | None:
        return self._epoch_of_all() if self.config.schedule == "joint" else super()._epoch()

    def _epoch_of_all(self) -> Metrics | None:
        """One epoch: every block is measured afresh and updated, in order, on one batch of rows after another."""
        if self.epoch >= self.config.epochs:
            return None
        batches = list(self._batches())
        epochs = self.epoch + np.arange(len(batches)) / len(batches)
        judged = [self._train_all(rows, at / self.config.epochs) for rows, at in zip(batches, epochs, strict=True)]
        self.losses = np.mean([losses for losses, _ in judged], axis=0).tolist()
        self.epoch += 1
        last = self.epoch >= self.config.epochs
        if last or self.epoch % self.config.score_every == 0:
            if len(self.data.validation_rows):
                self.accuracy = self._validation_accuracy()
            else:
                self.accuracy = self._training_accuracy(np.concatenate([total for _, total in judged]))
            if self._out_of_patience(last):
                self.epoch = self.config.epochs
        return self._metrics(self.config.epochs, "all layers")

    def _batches(self) -> Iterator[slice | Labels]:
        """Training rows of an epoch, batch by batch; all at once as they stand."""
        n, batch = len(self.data.labels), self.config.batch
        if batch is None or batch >= n:
            yield slice(None)
            return
        order = self.rng.permutation(n)
        yield from (order[start : start + batch] for start in range(0, n, batch))

    def _train_all(self, rows: slice | Labels, progress: float) -> tuple[list[float], Array]:
        """Measure and update every block on some training rows: its losses, and the passes' goodness, summed."""
        self.labels = self._draw_labels(rows)
        x = self.net.encoder.candidates(self.data.rows[rows], self.labels)
        total = np.zeros(self.labels.shape)
        for i, block in enumerate(self.net.blocks):
            h = block.inputs(block.learn(x, self.order_rng), x)
            self._update(i, h, progress)
            z = self._forward(block, h)
            total += self._judged(i, z, self.labels)
            x = self._onward(z)
        return list(self.losses), total

    def _validation_accuracy(self) -> float:
        rows = self.data.validation_rows
        cuts = parts(len(rows), self.net.encoder.width * self.classes)
        found = np.concatenate([self.scores(self.net, np.asarray(rows[cut])).argmax(axis=1) for cut in cuts])
        return float((found == self.data.validation_labels).mean())

    def _first(self, validation: bool) -> Array:
        encoder = self.net.encoder
        if validation:
            return encoder.every_label(self.data.validation_rows)
        return encoder.candidates(self.data.rows, self.labels)

    def _layerwise_accuracy(self, last: int) -> float:
        validation = bool(len(self.data.validation_rows))
        outputs = self._replayed(last, validation)
        labels = self._every_label() if validation else self.labels
        total = np.sum([self._judged(i, z, labels) for i, z in enumerate(outputs)], axis=0)
        if not validation:
            return self._training_accuracy(total)
        return float((total.argmax(axis=1) == self.data.validation_labels).mean())

    # -- labels ----------------------------------------------------------------------------------------------------

    def _draw_labels(self, rows: slice | Labels = slice(None)) -> Labels:
        """Labels of the passes to measure, (n, 1 + m): column 0 the true one, then m different wrong ones at random."""
        truth = self.data.labels[rows, None]
        n, wrong = len(truth), self.classes - 1
        m = wrong
        if self.config.schedule == "layerwise":
            m = min(wrong, self.config.measured_negatives or wrong)
        elif self.config.negatives == "random":
            m = 1
        offsets = self.rng.permuted(np.tile(np.arange(1, self.classes), (n, 1)), axis=1)[:, :m]
        return np.hstack([truth, (truth + offsets) % self.classes])

    def _every_label(self) -> Labels:
        return np.arange(self.classes)[None, :]

    def _judged(self, i: int, z: Array, labels: Labels) -> Array:
        """Goodness (n, m) in block `i` of the passes with `labels` (n or 1, m), whose z (n, m, width) are as measured.

        Where no label was seen, z is (n, 1, width), and the labels are added here.
        """
        beside = self.net.encoder.beside
        if beside.size:
            shifts = self.net.blocks[i].shifts(beside)
            self.multiply_adds += Work(forward=beside.size * shifts.shape[1])
            z = z + shifts[labels]
        return self._goodness(i, z)

    def _labelled(self, i: int, h: Array, labels: Labels) -> Array:
        """Inputs (n, m, fan_in) of block `i` in passes with `labels` (n, m), of h as measured, as :meth:`_judged`."""
        beside = self.net.encoder.beside
        return self.net.blocks[i].labelled(h, beside[labels]) if beside.size else h

    def _passes(self, i: int, h: Array) -> Array:
        """Positive and chosen negative inputs of one epoch, side by side: (fan_in + 1, (1 + chosen) n)."""
        h = self._labelled(i, h, self.labels)
        n, columns = h.shape[:2]
        if self.config.negatives == "all" or columns == 2:
            return side_by_side(h)
        if self.config.negatives == "random":
            chosen = self.rng.integers(1, columns, n)
        else:
            chosen = 1 + self._goodness(i, self._forward(self.net.blocks[i], h[:, 1:])).argmax(axis=1)
        return side_by_side(np.stack([h[:, 0], h[np.arange(n), chosen]], axis=1))

    def _training_accuracy(self, total: Array) -> float:
        """Share of rows of `total` (n, 1 + m) won by column 0, the true label; NaN unless every label is there."""
        if total.shape[1] < self.classes:
            return float("nan")  # to win against a few wrong labels is easier than to be right
        return float((total[:, 0] > total[:, 1:].max(axis=1)).mean())
