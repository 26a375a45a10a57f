"""Peterson-Barney vowels on the acoustic world, speaker-disjoint, paired with logistic regression on the same splits.

Settings of ``config/acoustic.yaml``, chosen on seeds 100..119; splits of seeds 0..49. The interval of the mean
difference is the corrected one of Nadeau and Bengio (2003), because the training sets of the splits overlap.

    python benchmarks/peterson_barney.py                 # needs labtrain[ml]
"""

from __future__ import annotations

import argparse
import json

import numpy as np
from common import load, percent, show, trials
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from labtrain.datasets import split
from labtrain.statistics import interval
from labtrain.trial import load_table


def logistic(seeds: range) -> list[float]:
    """Test accuracies of logistic regression on standardised log F0-F3."""
    what = load("acoustic")
    table, accuracies = load_table(what), []
    for seed in seeds:
        parts = split(table, what.dataset, seed)
        train = np.concatenate([parts.train, parts.validation])
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))
        model.fit(table.features[train], table.labels[train])
        accuracies.append(float(model.score(table.features[parts.test], table.labels[parts.test])))
    return accuracies


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--splits", type=int, default=50)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    seeds = range(options.splits)
    reference = logistic(seeds)
    found = trials(load("acoustic"), seeds, ("off", "no_skip"), "PhyLL")
    differences = [a - b for a, b in zip(found["accuracy"], reference, strict=True)]
    mean, half = interval(differences, 15 / 61)  # 76 speakers: 61 to train, 15 to test
    if options.json:
        print(json.dumps(found | {"logistic": reference, "difference": mean, "half_width": half}))
        return
    show(
        f"Peterson-Barney, {options.splits} speaker-disjoint splits, test accuracy in %",
        ("what", "accuracy ± sd"),
        [
            ("PhyLL on the acoustic world", percent(found["accuracy"])),
            ("logistic regression", percent(reference)),
            ("PhyLL, physics off", percent(found["off"])),
            ("PhyLL, first layer without skip", percent(found["no_skip"])),
            ("PhyLL - logistic regression (95 %)", f"{100 * mean:+.2f} ± {100 * half:.2f} points"),
            ("seconds per trial (median)", f"{np.median(found['seconds']):.1f}"),
        ],
    )


if __name__ == "__main__":
    main()
