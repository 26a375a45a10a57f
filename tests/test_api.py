"""The ten lines of the README: they are the example's, they run, and they give what the command gives."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import labtrain as lt
from labtrain.clock import RealClock

ROOT = Path(__file__).parents[1]
SMALL = ("trials.count=1", "trials.first_seed=0", "training.epochs=2", "dataset.rows=60", "ablations=[]")


def test_the_readme_shows_the_example():
    example = (ROOT / "examples" / "ten_lines.py").read_text(encoding="utf-8")
    assert f"```python\n{example}```" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_example_runs(tmp_path):
    small = (ROOT / "config" / "acoustic.yaml").read_text(encoding="utf-8")
    small = re.sub(r"epochs: \d+", "epochs: 2\n  measured_negatives: 1", small)
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "acoustic.yaml").write_text(small, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "ten_lines.py"], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=120, check=True,
    )  # fmt: skip
    assert "% of" in done.stdout
    assert (tmp_path / "confusion.png").stat().st_size > 1000


def test_script_and_command_agree_to_the_last_bit(tmp_path):
    loaded = lt.load(ROOT / "config" / "acoustic-xor.yaml", SMALL)
    summary = lt.train(loaded, tmp_path)
    with lt.open_rig(loaded.value) as rig:
        trial = lt.Trial.begin(loaded.value, rig, seed=0)
        verdict = trial.fit().test()
    assert [verdict.accuracy] == summary["test_accuracy_per_trial"]
    with lt.Run.open(Path(summary["run"]), write=False, clock=RealClock()) as run:
        state = run.trial_state(0)
    for block, kept in zip(trial.net.blocks, state["net"]["blocks"], strict=True):
        assert block.W.tobytes() == kept["W"].tobytes()
    assert verdict.scores.tobytes() == state["verdict"]["scores"].tobytes()


def test_everything_offered_is_there():
    for name in lt._LAZY:
        assert getattr(lt, name).__doc__
