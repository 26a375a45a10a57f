"""What the test rows say of a trial: before its first step, and at its end."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from labtrain.ledger import Cost

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


def share_right(scores: Array, labels: Labels) -> float:
    """Share of rows whose largest score (n, classes) is their own label's (n,)."""
    return float((scores.argmax(axis=1) == labels).mean())


@dataclass(frozen=True)
class Verdict:
    """What the test rows say of one trial.

    Parameters
    ----------
    seed : int
    scores : ndarray (n_test, classes)
    labels : ndarray (n_test,)
    clipped : int
        Test values outside the range accepted at prediction, held at its border.
    goodness : ndarray (blocks, n_test, classes), or None for methods without goodness
    ablations : accuracies by name
    train_cost, test_cost : Cost
    """

    seed: int
    scores: Array
    labels: Labels
    clipped: int
    goodness: Array | None
    train_cost: Cost
    test_cost: Cost
    ablations: dict[str, float] = field(default_factory=dict)

    @property
    def accuracy(self) -> float:
        """Share of test rows whose largest score is their own label's."""
        return share_right(self.scores, self.labels)

    def confusion(self) -> NDArray[np.int64]:
        """Counts (classes, classes): row = true class, column = predicted."""
        k = self.scores.shape[1]
        table = np.zeros((k, k), dtype=np.int64)
        np.add.at(table, (self.labels, self.scores.argmax(axis=1)), 1)
        return table


@dataclass(frozen=True)
class Start:
    """What the test rows say of an inherited network before its first step.

    Parameters
    ----------
    accuracy : float
    cost : Cost
    """

    accuracy: float
    cost: Cost
