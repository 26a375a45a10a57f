"""Check the last line of `labtrain train --json`: a summary with every promised key, and its run folder.

check_summary.py FILE [KEY ...]     keys that this training has not
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

ACCURACIES = sorted(
    {"test_accuracy", "physics_off_accuracy", "random_physics_accuracy", "ridge_accuracy"} - {*sys.argv[2:]}
)
COUNTS = ("shots_train", "shots_test")
SECONDS = ("seconds_physics", "seconds_digital", "seconds")
OTHERS = ("test_accuracy_per_trial", "per_class", "run")

summary = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()[-1])
missing = sorted({*ACCURACIES, *COUNTS, *SECONDS, *OTHERS} - set(summary))
assert not missing, f"the summary has no {', '.join(missing)}"
assert all(0.0 <= summary[key] <= 1.0 for key in ACCURACIES), "an accuracy is no share"
assert all(summary[key] > 0 for key in (*COUNTS, *SECONDS)), "a cost is not positive"
assert len(summary["test_accuracy_per_trial"]) == 1, "asked for one trial"
run = Path(summary["run"])
assert json.loads((run / "summary.json").read_text(encoding="utf-8")) == summary, f"{run}/summary.json differs"
kept = ", ".join(sorted(path.name for path in run.iterdir()))
print(f"test accuracy {summary['test_accuracy']:.3f}, {summary['shots_train']} shots; {run} holds {kept}")
