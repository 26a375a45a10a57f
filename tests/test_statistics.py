"""Intervals of accuracies over trials."""

from __future__ import annotations

import math

import pytest

from labtrain.statistics import interval


def test_a_worked_example():
    # Variance 1 over three splits; with n_test / n_train = 1/4 that of the mean is 1/3 + 1/4. With two degrees of
    # freedom the distribution has a closed form: t = 0.95 sqrt(2 / (1 - 0.95^2)).
    mean, half = interval([1.0, 2.0, 3.0], 0.25)
    assert mean == pytest.approx(2.0)
    assert half == pytest.approx(math.sqrt(1 / 3 + 1 / 4) * 0.95 * math.sqrt(2 / (1 - 0.95**2)))


def test_one_value_tells_nothing_of_the_spread_and_none_nothing_at_all():
    mean, half = interval([0.9], 0.25)
    assert mean == 0.9
    assert math.isnan(half)
    with pytest.raises(ValueError, match="at least one value"):
        interval([], 0.25)
