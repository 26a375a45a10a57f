"""Runs of methods with twins: broken off they go on bit for bit, ablations included; their shots are as planned."""

from __future__ import annotations

import numpy as np
import pytest

from labtrain import jobs
from labtrain.twin import WaveTwin, save_twin
from tests.methods.test_perturbed_runs import RECORDED, configured, ended, whole_and_resumed


@pytest.fixture(autouse=True)
def _no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "figures", lambda _: None)


@pytest.mark.parametrize(
    ("method", "share", "ablations", "shots"),
    [("physics-aware-training", 0.5, ["off", "no_skip"], 2 * 24 + 3 * 24), ("in-silico", 0.0, ["off"], 0)],
)
def test_a_run_goes_on_bit_for_bit(tmp_path, method, share, ablations, shots):
    text = RECORDED.replace("[off, no_skip]", f"[{', '.join(ablations)}]")
    training = f"{{method: {method}, twin: twin.npz, epochs: 3, batch: 8}}"  # beside the configuration
    config = configured(tmp_path, text, training)
    with np.load(tmp_path / "pairs.npz") as pairs:
        save_twin(WaveTwin().fit(pairs["x"], pairs["y"]), tmp_path / "twin.npz")
    whole, resumed = whole_and_resumed(config, share)
    (weights, results), (again, repeated) = ended(whole), ended(resumed)
    assert weights == again
    assert list(results["ablations"]) == ablations
    for key in ("accuracy", "confusion", "ablations"):
        assert results[key] == repeated[key]
    assert results["train_cost"]["shots"] == repeated["train_cost"]["shots"] == shots
