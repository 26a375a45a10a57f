"""How a twin is judged: against the best constant and against what the rig itself repeats."""

from __future__ import annotations

import numpy as np
import pytest

from labtrain.errors import InputError
from labtrain.twin import WaveTwin, check_drives, judge


def of(x, y):
    return WaveTwin().fit(x, y, ridge=1e-12)


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(0)
    x = rng.random((400, 3))
    return x, np.abs(rng.normal(size=2) + x @ (rng.normal(size=(3, 2)) + 1j * rng.normal(size=(3, 2))))


def test_the_constant_is_the_mean_of_the_rows_that_are_judged(pairs):
    x, y = pairs
    found = judge(of(x, y), x, y + np.array([0.0, 0.5]))
    assert found["rmse_constant_per_output"] == pytest.approx(y.std(axis=0))
    assert found["rmse_constant"] == pytest.approx(np.sqrt(y.var(axis=0).mean()))
    assert found["r2"] == pytest.approx(1 - (found["rmse"] / found["rmse_constant"]) ** 2)
    for r2, rmse, constant in zip(
        found["r2_per_output"], found["rmse_per_output"], found["rmse_constant_per_output"], strict=True
    ):
        assert r2 == pytest.approx(1 - (rmse / constant) ** 2)


def test_repeatability_comes_from_sigma(pairs):
    x, y = pairs
    sigma = np.full_like(y, [0.01, 0.02])
    found = judge(of(x, y), x, y, sigma)
    assert found["repeatability_per_output"] == pytest.approx([0.01, 0.02])
    assert found["repeatability"] == pytest.approx(np.sqrt(0.00025))


def test_repeatability_comes_from_drives_that_recur_and_else_is_not_told(pairs):
    x, y = pairs
    twice = np.concatenate([x, x])
    noise = np.random.default_rng(1).normal(size=(800, 2)) * [0.01, 0.03]
    found = judge(of(x, y), twice, np.concatenate([y, y]) + noise)
    assert found["repeatability_per_output"] == pytest.approx([0.01, 0.03], rel=0.1)
    assert judge(of(x, y), x, y)["repeatability"] is None
    nine = np.concatenate([x, x[:9]])  # too few to tell
    assert judge(of(x, y), nine, np.concatenate([y, y[:9]]))["repeatability_per_output"] is None


def test_vectors_of_another_shape_are_refused(pairs):
    x, y = pairs
    twin = of(x, y)
    with pytest.raises(InputError, match=r"^twin: the vector of the product has shape \(5, 3\), needed \(5, 2\)$"):
        twin.vjp(x[:5], np.ones((5, 3)))
    with pytest.raises(InputError, match=r"^twin: drive has shape \(400, 2\), needed \(rows, 3\)$"):
        check_drives(twin, x[:, :2])
