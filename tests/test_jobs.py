"""Jobs beside the ones that test_cli, test_resume and test_api start."""

from __future__ import annotations

from pathlib import Path

import labtrain as lt

ROOT = Path(__file__).parents[1]
SMALL = ("trials.count=1", "trials.first_seed=0", "training.epochs=2", "dataset.rows=40")


def test_repeats_are_averaged_counted_and_planned(tmp_path):
    loaded = lt.load(ROOT / "config" / "acoustic-xor.yaml", [*SMALL, "rig.repeats=3"])
    once = lt.plan(lt.load(ROOT / "config" / "acoustic-xor.yaml", SMALL).value)
    planned, summary = lt.plan(loaded.value), lt.train(loaded, tmp_path)
    assert planned["shots_train"] == summary["shots_train"] == 3 * once["shots_train"]
    assert planned["shots_test"] == summary["shots_test"] == 3 * once["shots_test"]
