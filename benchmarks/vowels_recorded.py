"""Vowels on the recorded cavity: accuracy with and without skip, ablations, and speed against the published procedure.

Test splits: ``numpy.random.default_rng(s).permutation(258)``, s = 0..9, the first 206 rows train. The settings of
``config/vowels-recorded.yaml`` were chosen on the permutations of seeds 100..119.

    python benchmarks/vowels_recorded.py                 # accuracies; add --speed for the PyTorch reference (slow)
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

from common import ROOT, load, percent, show, trials

# The published schedule and settings in labtrain's code: as many shots and updates as the reference.
PUBLISHED = (
    "training.schedule=joint", "training.epochs=200", "training.inner=10", "training.theta=4", "training.rate=5e-4",
    "training.decay=none", "training.negatives=random", "training.score_every=200", "network.layers=2",
    "network.width=20", "network.skip=true", "network.drive.map=row_norm", "network.drive.inputs=null",
    "network.drive.mix=false", "network.response=raw", "encoding.scaling=standard", "encoding.label=slots",
)  # fmt: skip
MODEL = ROOT / "build" / "published-forward-model.pt"
# Shares of the fit's own errors (3 to 6 % of a strong channel): a tenth is about what repeats of a shot differ by.
NOISE = (0.1, 1.0)
ABLATIONS = ("off", "random", "shuffled", "no_skip", "ridge")


def accuracies(seeds: range) -> dict[str, Any]:
    """Per-seed accuracies of the frozen settings, of the whole network without skip, and of the ablations."""
    found = trials(load("vowels-recorded"), seeds, ABLATIONS, "with skip")
    bare = trials(load("vowels-recorded-no-skip"), seeds, ("random", "shuffled"), "no skip")
    noisy = {
        scale: {
            name: trials(load(name, "rig.noise=residuals", f"rig.noise_scale={scale}"), seeds, label=f"noise {scale}")
            for name in ("vowels-recorded", "vowels-recorded-no-skip")
        }
        for scale in NOISE
    }
    return {"with_skip": found, "no_skip": bare, "noise": noisy}


def speed(seeds: range, model: Path) -> dict[str, Any]:
    """Seconds per trial of labtrain and of the published procedure, in turn, two threads each.

    Told apart: labtrain's own code on the published schedule (as many shots) tells what faster code gives, the rest
    comes from fewer shots and fewer updates.
    """
    import published_phyll as published
    import torch

    torch.set_num_threads(2)
    data = Path(os.environ["LABTRAIN_DATA"])
    features, labels = published.read_vowels(data)
    x, y = published.read_cavity(data)
    physics, _ = published.fitted_physics("deep", x, y, model)
    rows: dict[str, list[float]] = {"published": [], "published_accuracy": [], "same_schedule": [], "labtrain": []}
    for seed in seeds:
        done = published.run_trial(features, labels, physics, seed)
        rows["published"].append(done["seconds"])
        rows["published_accuracy"].append(done["accuracy"])
        rows["same_schedule"] += trials(load("vowels-recorded", *PUBLISHED), [seed])["seconds"]
        rows["labtrain"] += trials(load("vowels-recorded"), [seed])["seconds"]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--speed", action="store_true", help="time against the published procedure in PyTorch")
    parser.add_argument(
        "--model", type=Path, default=ROOT / "build" / "published-forward-model.pt", help="fitted forward model"
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    started = time.perf_counter()
    report = accuracies(range(10))
    if options.speed:
        report["speed"] = speed(range(10), options.model)
    report["seconds"] = time.perf_counter() - started
    if options.json:
        print(json.dumps(report))
        return
    found, bare = report["with_skip"], report["no_skip"]
    show(
        "vowels on the recorded cavity, test accuracy in % over splits 0..9",
        ("what", "accuracy ± sd", "shots to train"),
        [
            ("PhyLL, physics and skip", percent(found["accuracy"]), found["shots_train"][0]),
            ("PhyLL, no skip, both layers", percent(bare["accuracy"]), bare["shots_train"][0]),
            ("  random physics, no skip", percent(bare["random"]), 0),
            ("  shuffled responses, no skip", percent(bare["shuffled"]), 0),
            ("physics off (skip alone)", percent(found["off"]), 0),
            ("random physics and skip", percent(found["random"]), 0),
            ("shuffled responses and skip", percent(found["shuffled"]), 0),
            ("ridge readout of the same responses", percent(found["ridge"]), 0),
            *(
                (f"{name}, {scale:g} x replayed residuals", percent(one["accuracy"]), one["shots_train"][0])
                for scale, both in report["noise"].items()
                for name, one in both.items()
            ),
        ],
    )
    if options.speed:
        s = {key: statistics.median(values) for key, values in report["speed"].items()}
        show(
            "seconds per trial, medians, same run",
            ("what", "seconds", "faster than published"),
            [
                (name, f"{s[key]:.2f}", f"{s['published'] / s[key]:.1f}")
                for name, key in (
                    (f"published, PyTorch ({percent(report['speed']['published_accuracy'])} %)", "published"),
                    ("labtrain's code, published schedule and shots", "same_schedule"),
                    ("labtrain, frozen settings", "labtrain"),
                )
            ],
        )


if __name__ == "__main__":
    main()
