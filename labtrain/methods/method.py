"""What every training method offers, and the data it is given."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from labtrain.compact import Rows
from labtrain.config import Section
from labtrain.ledger import Work
from labtrain.network import PhysicalNetwork

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Data:
    """Training rows of one trial, and validation rows if any are held out.

    Parameters
    ----------
    rows : ndarray (n, d) or CompactRows, raw features
        A method that takes them a batch at a time, ``rows[index]``, never has all of them as float64.
    labels : ndarray (n,), index into the encoder's classes
    validation_rows, validation_labels : likewise; empty when nothing is held out
    """

    rows: Rows
    labels: Labels
    validation_rows: Rows
    validation_labels: Labels


@dataclass(frozen=True)
class Metrics:
    """What one step of a method achieved.

    Parameters
    ----------
    step, steps : int
        Steps done and steps planned; early stopping may end sooner.
    stage : str
        What was done, for instance ``"layer 2"``.
    losses : tuple of float
        Latest loss of each block; NaN before its first update.
    accuracy : float
        On validation rows if there are any, else on training rows; NaN where the method cannot tell without shots.
    accuracy_on : "validation" or "training"
    """

    step: int
    steps: int
    stage: str
    losses: tuple[float, ...]
    accuracy: float
    accuracy_on: str


class Method(Protocol):
    """A training method: black-box physics in, trained network out.

    ``start`` may draw random numbers but measures nothing; each ``step`` measures and updates and leaves a state that
    a checkpoint can keep; ``scores`` predicts, in as many physical passes as the method takes.
    """

    Config: ClassVar[type[Section]]
    LEARNED: ClassVar[tuple[str, ...]]
    ablations: ClassVar[tuple[str, ...]]

    @property
    def multiply_adds(self) -> Work | int:
        """Digital multiply-adds so far, those of predictions included; one number where they are not told apart."""

    def start(self, net: PhysicalNetwork, data: Data, rng: np.random.Generator) -> None:
        """Bind network and data; `rng` drives everything random in training and prediction."""

    def planned_shots(self, blocks: int, train: int, validation: int, classes: int) -> int:
        """Shots that training will cost at most, for so many blocks and rows; needs no start.

        `classes` are those that the physics is shown: one where labels enter behind it (:attr:`Encoder.seen`).
        """

    def shots_per_prediction(self, blocks: int, classes: int) -> int:
        """Shots that one prediction costs; `classes` as for :meth:`planned_shots`."""

    def step(self) -> Metrics | None:
        """Do the next step; None when training is over."""

    def scores(self, net: PhysicalNetwork, rows: Array) -> Array:
        """Score of each class for raw feature rows (n, d): (n, classes), the largest wins."""

    def state(self) -> dict[str, Any]:
        """Everything needed to go on, the network's weights excepted: nested dict of arrays and JSON values."""

    def restore(self, state: dict[str, Any]) -> None:
        """Return to a state that :meth:`state` gave, after :meth:`start` with the same network and data."""

    def inherit(self, state: dict[str, Any]) -> None:
        """Begin with what another training had learned when its :meth:`state` gave this, after :meth:`start`.

        That is what `LEARNED` names: all that :meth:`scores` needs beside the network. Measured responses, moments of
        optimisers and counters stay those of a fresh start, so that training measures and does everything anew.
        """


class Inheriting:
    """How methods inherit: attributes that the state has under their own names."""

    LEARNED: ClassVar[tuple[str, ...]] = ()

    def inherit(self, state: dict[str, Any]) -> None:
        for name in self.LEARNED:
            setattr(self, name, deepcopy(state[name]))  # some are updated in place
