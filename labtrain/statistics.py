"""Intervals of accuracies over trials, whose training sets overlap."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit


def interval(values: Sequence[float], test_share: float, level: float = 0.95) -> tuple[float, float]:
    """Mean and half width of the corrected resampled t interval, which allows for overlapping training sets.

    C. Nadeau, Y. Bengio, Machine Learning 52, 239 (2003): the variance of the mean over J splits is
    (1/J + n_test/n_train) times the sample variance.

    Parameters
    ----------
    values : sequence of float
        One for each split: accuracies, or differences of two methods on the same splits.
    test_share : float
        n_test / n_train of every split.
    level : float
        Probability that the interval covers.

    Returns
    -------
    mean, half width; the half width is nan for a single value, which tells nothing of the spread

    Raises
    ------
    ValueError
        For no value.
    """
    found = np.asarray(values, dtype=float)
    if not len(found):
        raise ValueError("an interval needs at least one value")
    if len(found) < 2:
        return float(found[0]), math.nan
    spread = math.sqrt((1 / len(found) + test_share) * found.var(ddof=1))
    return float(found.mean()), float(stdtrit(len(found) - 1, 0.5 + level / 2) * spread)
