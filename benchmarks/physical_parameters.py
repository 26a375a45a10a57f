"""Pixels as weights: 20 spare pixels of the microwave room, tuned between epochs of PhyLL, against the same frozen.

Peterson-Barney vowels through 20 of 40 pixels, one layer without skip, |S21| at few frequencies, so that the room has
to do the work. All networks start from the same random spare pixels, drawn anew in every trial, and have the same
settings of PhyLL, epochs, splits and noise; the room itself answers (``rig.fidelity: physics``). Tuning costs shots, so
pixels are frozen once more with the shots spent on wrong labels, as many as there are. The interval is the corrected
one of Nadeau and Bengio (2003). Settings were chosen on seeds 100..103, on validation speakers: 38.8 % frozen, 41.6
with all labels, 44.0 by coordinate descent, 44.5 by SPSA.

    python benchmarks/physical_parameters.py
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np
from common import load, percent, show, trials

from labtrain.statistics import interval

TEST_SHARE = 15 / 61  # 76 speakers: 61 to train, 15 to test
EPOCHS = 200
PHYLL = f"theta: 20, rate: 0.02, decay: cosine, epochs: {EPOCHS}, inner: 1, score_every: {EPOCHS}"
TUNED = f"{PHYLL}, measured_negatives: 2, tuning_batch: 256, refit: 60, margin: 1, breaks: [1]"
METHODS = {
    "frozen": f"method: phyll, measured_negatives: 2, {PHYLL}",
    "frozen, every label measured": f"method: phyll, {PHYLL}",
    "coordinate descent": f"method: coordinate-descent, {TUNED}, flips: 40, remeasure: 10",
    "SPSA": f"method: physical-spsa, {TUNED}, pairs: 20, pilots: 4",
}


def run(name: str, seed: int, points: int) -> dict[str, list[Any]]:
    """One trial; its spare pixels start in states drawn with its seed."""
    code = f"kind: thermometer, bits: [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 3, 3, 2], held_seed: {seed}"
    what = load(
        "microwave", "rig.fidelity=physics", "rig.more_codes=[]", f"rig.code={{{code}}}", "network.layers=1",
        "network.skip=false", f"rig.frequencies_hz={{start: 5.15e9, stop: 5.875e9, points: {points}}}",
        f"training={{{METHODS[name]}}}",
    )  # fmt: skip
    return trials(what, [seed], label=f"{name}, seed {seed}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--points", type=int, default=4, help="frequencies at which |S21| is read")
    parser.add_argument("--only", nargs="+", choices=METHODS, default=list(METHODS), help="with --json: some of them")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    names = options.only if options.json else list(METHODS)
    found: dict[str, dict[str, list[Any]]] = {name: {} for name in names}
    for seed in range(options.first_seed, options.first_seed + options.trials):
        for name in names:
            for key, values in run(name, seed, options.points).items():
                found[name].setdefault(key, []).extend(values)
    if options.json:
        print(json.dumps(found))
        return
    frozen, rows = found["frozen"]["accuracy"], []
    for name, one in found.items():
        differences = [a - b for a, b in zip(one["accuracy"], frozen, strict=True)]
        mean, half = interval(differences, TEST_SHARE)
        better = f"{100 * mean:+.1f} ± {100 * half:.1f}, better in {sum(d > 0 for d in differences)}"
        seconds = f"{np.median(one['seconds']):.0f}"
        row = (name, percent(one["accuracy"]), better if name != "frozen" else "", one["shots_train"][0], seconds)
        rows.append(row)
    show(
        f"Peterson-Barney, {options.trials} speaker-disjoint splits, |S21| at {options.points} frequencies",
        ("20 spare pixels", "test ± sd, %", "- frozen (95 %)", "shots to train", "seconds"),
        rows,
    )


if __name__ == "__main__":
    main()
