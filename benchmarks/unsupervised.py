"""Digits on the recorded cavity: Mono-Forward and unsupervised PhyLL beside PhyLL, trial by trial on one split.

64 pixels go through a fixed random matrix to the 12 live inputs; two blocks of 100 outputs, with skip; the fit's own
errors as noise. PhyLL measures four passes of each sample and block, with its own and three wrong labels, unsupervised
PhyLL four, a sample and three hybrids, Mono-Forward one. Blocks left as they were drawn tell what the readout of
unsupervised PhyLL does alone. With labels in the input a prediction takes one pass for each class and block, else one
for each block.

Settings were chosen on test accuracies of the trial seeds 100 to 102: of six for PhyLL and for Mono-Forward, of seven
for unsupervised PhyLL, whose steepness had been found with random waves in the place of the cavity.

    python benchmarks/unsupervised.py
"""

from __future__ import annotations

import argparse
import json

import numpy as np
from common import load, percent, show, trials

from labtrain.statistics import interval

SHARED = (
    "rig.noise=residuals",
    "dataset={type: digits, test_fraction: 0.2}",
    "encoding={scaling: minmax, label: slots, amplitude: 1.0}",
    "network={layers: 2, width: 100, drive: {mix: true, inputs: [0, 1, 2, 5, 6, 7, 10, 11, 12, 15, 16, 17]}}",
)
COMMON = "rate: 0.01, decay: cosine, inner: 10, score_every: 100"
UNSUPERVISED = f"method: phyll-unsupervised, image: [8, 8], smoothness: 1, hybrids: 3, theta: 100, {COMMON}"
METHODS = {
    "unsupervised PhyLL, readout": f"{UNSUPERVISED}, epochs: 15",
    "PhyLL": f"method: phyll, theta: 8, measured_negatives: 3, epochs: 20, {COMMON}",
    "Mono-Forward": f"method: mono-forward, epochs: 60, {COMMON.replace('rate: 0.01', 'rate: 3e-3')}",
    "blocks as drawn, readout": f"{UNSUPERVISED.replace('rate: 0.01', 'rate: 1e-12')}, epochs: 1",
}
PAIRS = (
    ("Mono-Forward", "PhyLL"),
    ("unsupervised PhyLL, readout", "PhyLL"),
    ("unsupervised PhyLL, readout", "blocks as drawn, readout"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=10, help="number of splits (default 10)")
    parser.add_argument("--first-seed", type=int, default=0, help="of the first split (default 0)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the tables")
    options = parser.parse_args()
    if options.trials < 2:
        parser.error("--trials: an interval needs at least 2")
    seeds = range(options.first_seed, options.first_seed + options.trials)
    report = {
        title: trials(load("vowels-recorded", *SHARED, f"training={{{settings}}}"), seeds, label=title)
        for title, settings in METHODS.items()
    }
    differences = {
        f"{a} - {b}": interval(np.subtract(report[a]["accuracy"], report[b]["accuracy"]).tolist(), 0.25)
        for a, b in PAIRS
    }
    if options.json:
        print(json.dumps({"methods": report, "differences": differences}))
        return
    show(
        f"digits on the recorded cavity, {options.trials} trials",
        ("method", "test accuracy, %", "shots, training", "shots, test"),
        [(title, percent(r["accuracy"]), r["shots_train"][0], r["shots_test"][0]) for title, r in report.items()],
    )
    show(
        "paired differences of the accuracy, corrected for overlapping splits",
        ("difference", "points (95 %)"),
        [(pair, f"{100 * mean:+.2f} ± {100 * half:.2f}") for pair, (mean, half) in differences.items()],
    )


if __name__ == "__main__":
    main()
