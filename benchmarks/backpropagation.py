"""PhyLL against backpropagation through the true simulated physics, the ideal that no lab has.

Acoustic and microwave rig, each with the vowels of Peterson and Barney, those of ``vowels.csv`` and xor-tones, with a
skip path and without; without one PhyLL also with its labels behind the physics. Each method has the same number of
candidates in each cell, tried on the splits of seeds from 100 on; the one with the best mean accuracy is measured on
those of seeds 0 to 49. Both train networks of physical blocks and linear maps on one rig with one noise and one drift;
differences are paired by split, intervals are corrected for training sets that overlap. Results are kept in
``build/backpropagation.json``: what is there is not measured again.

    python benchmarks/backpropagation.py --processes 2            # hours; needs nothing beside labtrain
    python benchmarks/backpropagation.py --cells acoustic/vowels --splits 10
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from backpropagation_cells import CELLS, METHODS, Candidate, Cell
from common import ROOT, load, percent, show
from kept import Kept

from labtrain.comparison import share_of_test
from labtrain.jobs import open_rig
from labtrain.statistics import interval
from labtrain.trial import Trial

TUNING = 100  # first seed of the splits on which candidates are tried
RESULTS = ROOT / "build" / "backpropagation.json"


def accuracy(config: str, *candidate_and_seed: Any) -> tuple[float, int]:
    """Test accuracy of one split, and shots of its training."""
    *candidate, seed = candidate_and_seed
    what = load(config, *candidate, "ablations=[]")
    with open_rig(what) as rig:
        verdict = Trial.begin(what, rig, seed).fit().test()
    return verdict.accuracy, verdict.train_cost.shots


def tuning(cell: Cell) -> range:
    return range(TUNING, TUNING + cell.tuning)


def asked(cell: Cell, candidate: Candidate, seeds: range) -> list[tuple[Any, ...]]:
    """Arguments of :func:`accuracy` for each seed."""
    return [(cell.config, *candidate, seed) for seed in seeds]


def best(kept: Kept, cell: Cell, method: str) -> int:
    """Number of the candidate with the best mean accuracy on the tuning splits; the first of equals."""
    tried = [[kept.of(*one) for one in asked(cell, candidate, tuning(cell))] for candidate in cell.candidates[method]]
    means = [np.mean([accuracy for accuracy, _ in found]) for found in tried]
    return int(np.argmax(means))


def rows(kept: Kept, names: Sequence[str], splits: int, processes: int) -> Iterator[dict[str, Any]]:
    for name in names:
        cell = CELLS[name]
        wanted = [one for method in METHODS for c in cell.candidates[method] for one in asked(cell, c, tuning(cell))]
        kept.measure(wanted, processes, f"{name}: tuning")
        row: dict[str, Any] = {"cell": name}
        for method in METHODS:
            number = best(kept, cell, method)
            candidate = cell.candidates[method][number]
            chosen = asked(cell, candidate, range(splits))
            kept.measure(chosen, processes, f"{name}: {method}")
            found = [kept.of(*one) for one in chosen]
            row[method] = {
                "candidate": [*candidate],
                "number": number,
                "candidates": len(cell.candidates[method]),
                "accuracies": [a for a, _ in found],
                "shots": found[0][1],
            }
            share = share_of_test(load(cell.config, *candidate, "ablations=[]", f"trials.count={splits}"))
        ours, ideal = (row[method]["accuracies"] for method in METHODS)
        row["difference"], row["half"] = interval([a - b for a, b in zip(ours, ideal, strict=True)], share)
        yield row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", nargs="+", default=list(CELLS), help="all by default; beginnings of names do")
    parser.add_argument("--splits", type=int, default=50)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    names = [name for name in CELLS if any(name.startswith(asked) for asked in options.cells)]
    found = list(rows(Kept(RESULTS, accuracy), names, options.splits, options.processes))
    if options.json:
        print(json.dumps(found))
        return
    show(
        f"PhyLL against backpropagation through the simulated physics, {options.splits} splits, test accuracy in %",
        ("rig/task/skip", "PhyLL ± sd", "backprop. ± sd", "difference (95 %)", "bad end", "shots of training"),
        [
            (
                row["cell"],
                *(percent(row[method]["accuracies"]) for method in METHODS),
                f"{100 * row['difference']:+.2f} ± {100 * row['half']:.2f}",
                f"{100 * (row['difference'] - row['half']):+.2f}",
                " / ".join(f"{row[method]['shots']:,.0f}" for method in METHODS),
            )
            for row in found
        ],
    )
    for row in found:
        for method in METHODS:
            print(f"{row['cell']}, {method}: {'; '.join(row[method]['candidate'])}")


if __name__ == "__main__":
    main()
