"""Jobs beside the ones that test_cli, test_resume and test_api start."""

from __future__ import annotations

from pathlib import Path

import pytest

import labtrain as lt
from labtrain.errors import ConfigError

ROOT = Path(__file__).parents[1]
SMALL = ("trials.count=1", "trials.first_seed=0", "training.epochs=2", "dataset.rows=40")


def test_repeats_are_averaged_counted_and_planned(tmp_path):
    loaded = lt.load(ROOT / "config" / "acoustic-xor.yaml", [*SMALL, "rig.repeats=3"])
    once = lt.plan(lt.load(ROOT / "config" / "acoustic-xor.yaml", SMALL).value)
    planned, summary = lt.plan(loaded.value), lt.train(loaded, tmp_path)
    assert planned["shots_train"] == summary["shots_train"] == 3 * once["shots_train"]
    assert planned["shots_test"] == summary["shots_test"] == 3 * once["shots_test"]


def test_a_ridge_run_has_its_own_ablations(tmp_path):
    config = (
        "rig: {type: acoustic}\ndataset: {type: xor-tones, rows: 60}\nencoding: {label: overlay}\n"
        "network: {layers: 1}\ntraining: {method: ridge}\ntrials: {count: 1}\n"
    )
    path = tmp_path / "ridge.yaml"
    path.write_text(config, encoding="utf-8")
    summary = lt.train(lt.load(path), tmp_path)
    assert summary["physics_off_accuracy"] is not None
    assert summary["ridge_accuracy"] is None
    with pytest.raises(ConfigError) as caught:
        lt.load(path, ["ablations=[off, no_skip]"])
    assert "ablation no_skip does not exist for this method, which has off, random, shuffled" in str(caught.value)
