"""What local methods share that train one block after the other: every pass is measured once per block, for all epochs.

While a block is trained, the weights before it no longer change, so its inputs stay what they were when they were
measured. A method says what enters the first block, what one update is, what a block hands on and how good it is; here
are the order of blocks and epochs, the measured responses, validation with patience, and the state for a checkpoint.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from labtrain.compact import parts
from labtrain.config import Section
from labtrain.errors import ConfigError
from labtrain.ledger import Work
from labtrain.methods.adam import Adam
from labtrain.methods.method import Data, Inheriting, Metrics
from labtrain.network import Block, PhysicalNetwork

Array = NDArray[np.float64]


class LayerwiseConfig(Section):
    """Settings of every method that trains one block after the other."""

    rate: float = Field(5e-4, gt=0, description="Adam's learning rate")
    decay: Literal["none", "cosine"] = Field("none", description="of the learning rate over the epochs of a block")
    epochs: int = Field(200, ge=1, description="of each block")
    inner: int = Field(10, ge=1, description="updates per epoch")
    score_every: int = Field(10, ge=1, description="epochs between accuracies")
    patience: int | None = Field(
        None, ge=1, description="accuracies without a better one on validation before training stops; none: never"
    )


class Layerwise(Inheriting, ABC):
    """Order, bookkeeping and state of local training, one block after the other."""

    config: LayerwiseConfig
    # What a checkpoint keeps beside optimisers and generators; a method adds what it draws or learns.
    KEPT: tuple[str, ...] = ("losses", "steps", "epoch", "block", "trained_epochs", "responses", "validation_responses",
                             "accuracy", "best")  # fmt: skip

    def __init__(self, config: LayerwiseConfig) -> None:
        self.config = config
        self.multiply_adds = Work()

    # -- what a method fills in ------------------------------------------------------------------------------------

    @abstractmethod
    def _first(self, validation: bool) -> Array:
        """Activations of the first block in all measured passes of training or validation rows, (n, m, width)."""

    @abstractmethod
    def _passes(self, i: int, h: Array) -> Array:
        """Inputs of block `i` in one epoch, of measured h (n, m, fan_in), side by side: (fan_in + 1, passes)."""

    @abstractmethod
    def _descend(self, i: int, passes: Array, n: int, rate: float) -> float:
        """One update of block `i` on the passes of n samples; returns the loss before it."""

    @abstractmethod
    def _layerwise_accuracy(self, last: int) -> float:
        """Accuracy of the blocks up to `last` on measured responses: validation rows if any, else training rows."""

    def _check_data(self) -> None:
        """Refuse data that cannot be trained on; not at start, because a trial that only predicts has no such data."""
        if self.config.patience is not None and not len(self.data.validation_rows):
            raise ConfigError(
                "training.patience: there are no validation rows; set dataset.validation_fraction above 0"
            )

    def _onward(self, z: Array) -> Array:
        """What the next block receives of z (..., width)."""
        return z

    def _trained(self, i: int) -> None:
        """Called when block `i` has had its last epoch."""

    def _weights(self) -> dict[str, Any]:
        """All that is trained: what patience brings back with :meth:`_bring_back`."""
        return {"net": self.net.state()}

    def _bring_back(self, weights: dict[str, Any]) -> None:
        self.net.restore(weights["net"])

    # -- the Method interface --------------------------------------------------------------------------------------

    def start(self, net: PhysicalNetwork, data: Data, rng: np.random.Generator) -> None:
        self.net, self.data = net, data
        # Separate streams: what is drawn for training must not depend on how many shots were shuffled before.
        self.rng, self.order_rng, self.predict_rng = rng.spawn(3)
        self.classes = len(net.encoder.classes)
        self.adam = [Adam(block.parameters.shape) for block in net.blocks]
        self.losses = [float("nan")] * len(net.blocks)
        self.steps = 0
        self.epoch = 0  # of the block in training
        self.block = 0  # in training
        self.trained_epochs = 0  # epochs that every block has behind it; more appear when a finished run goes on
        self.responses: list[Array] = []  # of every measured block, (n, m, n_out)
        self.validation_responses: list[Array] = []
        self.accuracy = float("nan")
        self.best: dict[str, Any] = {}
        self._h: Array | None = None

    def step(self) -> Metrics | None:
        self._check_data()
        return self._epoch()

    def state(self) -> dict[str, Any]:
        return {name: _own(getattr(self, name)) for name in self.KEPT} | {
            "multiply_adds": self.multiply_adds.as_dict(),
            "adam": [adam.state() for adam in self.adam],
            "generators": [rng.bit_generator.state for rng in (self.rng, self.order_rng, self.predict_rng)],
        }

    def restore(self, state: dict[str, Any]) -> None:
        for name in self.KEPT:
            setattr(self, name, _own(state[name]))
        self.multiply_adds = Work.of(state["multiply_adds"])
        for adam, saved in zip(self.adam, state["adam"], strict=True):
            adam.restore(saved)
        for rng, saved in zip((self.rng, self.order_rng, self.predict_rng), state["generators"], strict=True):
            rng.bit_generator.state = saved
        self._h = None

    def _epoch(self) -> Metrics | None:
        """One epoch of one block; its first epoch measures what the block needs."""
        planned = self.config.epochs - self.trained_epochs
        if planned <= 0:
            return None
        i, blocks = self.block, len(self.net.blocks)
        if self.epoch == 0:
            self._measure(i)
            self.accuracy = float("nan")  # of the block before; this one has none yet
            # Counted here and not where it is computed: a resume computes it again and must not count it again.
            passes = math.prod(self.responses[i].shape[:2])
            self.multiply_adds += Work(forward=passes * sum(block.W.size for block in self.net.blocks[:i]))
        if self._h is None:
            self._h = self.net.blocks[i].inputs(self.responses[i], self._activations(i))
        self._update(i, self._h, self.epoch / planned)
        self.epoch += 1
        done = self.epoch >= planned
        if done or self.epoch % self.config.score_every == 0:
            self.accuracy = self._layerwise_accuracy(i)
            done = self._out_of_patience(done) or done
        if done:
            self._trained(i)
            self.block, self.epoch, self.best, self._h = (i + 1) % blocks, 0, {}, None
            if self.block == 0:
                self.trained_epochs = self.config.epochs
        return self._metrics(self.config.epochs * blocks, f"layer {i + 1}")

    # -- shared with other schedules -------------------------------------------------------------------------------

    def _update(self, i: int, h: Array, progress: float) -> None:
        """`inner` updates of block `i` on measured inputs h (n, m, fan_in)."""
        c, passes = self.config, self._passes(i, h)
        rate = c.rate * (0.5 + 0.5 * np.cos(np.pi * progress) if c.decay == "cosine" else 1.0)
        for _ in range(c.inner):
            self.losses[i] = self._descend(i, passes, len(h), rate)
        each = c.inner * passes.shape[1] * self.net.blocks[i].W.size
        self.multiply_adds += Work(forward=each, update=each)

    def _forward(self, block: Block, h: Array) -> Array:
        """z of a block, counted."""
        self.multiply_adds += Work(forward=math.prod(h.shape[:-1]) * block.W.size)
        return block.linear(h)

    def _out_of_patience(self, last: bool) -> bool:
        """Keep the best weights on validation; True, with those weights back, when patience is over."""
        if self.config.patience is None:
            return False
        if self.accuracy > self.best.get("accuracy", -1.0):
            self.best = {"accuracy": self.accuracy, "waited": 0, **self._weights()}
        else:
            self.best = {**self.best, "waited": self.best["waited"] + 1}
        over = bool(self.best["waited"] >= self.config.patience)
        if over or last:
            self._bring_back(self.best)
            self.accuracy = self.best["accuracy"]
        return over

    def _metrics(self, steps: int, stage: str) -> Metrics:
        self.steps += 1
        on = "validation" if len(self.data.validation_rows) else "training"
        return Metrics(self.steps, steps, stage, tuple(self.losses), self.accuracy, on)

    def _predicted(self, net: PhysicalNetwork, x: Array) -> Iterator[Array]:
        """z of block after block, (n, m, width), for activations x (n, m, width) of the first; measures them all."""
        for block in net.blocks:
            z = self._forward(block, block.inputs(block.measure(x, self.predict_rng), x))
            yield z
            x = self._onward(z)

    # -- measured responses ----------------------------------------------------------------------------------------

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
        """x of block `i` for all measured passes, (n, m, width), from the responses of the blocks before."""
        x = self._first(validation)
        for block, y in zip(self.net.blocks[:i], self._measured(validation), strict=False):
            x = self._onward(_linear(block, y, x))
        return x

    def _replayed(self, last: int, validation: bool, passes: slice = slice(None)) -> Iterator[Array]:
        """z of the blocks up to `last`, (n, m, width), for some of the measured passes of each sample."""
        x = self._first(validation)[:, passes]
        for block, y in zip(self.net.blocks[: last + 1], self._measured(validation), strict=False):
            z = _linear(block, y[:, passes], x)
            self.multiply_adds += Work(forward=math.prod(z.shape[:-1]) * block.W.size)
            yield z
            x = self._onward(z)

    def _measured(self, validation: bool) -> list[Array]:
        return self.validation_responses if validation else self.responses


def _linear(block: Block, y: Array, x: Array) -> Array:
    """z (n, m, width) of a block for measured responses y (n, m, n_out) and activations x, h a part at a time."""
    cuts = list(parts(len(x), x.shape[1] * block.fan_in)) or [slice(0, 0)]
    found = [block.linear(block.inputs(y[cut], x[cut])) for cut in cuts]
    return found[0] if len(found) == 1 else np.concatenate(found)


def _own(value: Any) -> Any:
    """The value, lists and dicts copied: they change while training goes on, what is in them is replaced as a whole."""
    return value.copy() if isinstance(value, list | dict) else value
