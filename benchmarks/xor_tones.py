"""xor-tones, the task that no linear readout of the inputs can do: interference of two inputs earns its place.

PhyLL without skip and the ridge readout, on the recorded cavity and on the acoustic world, ten trials each.

    python benchmarks/xor_tones.py
"""

from __future__ import annotations

import argparse
import json
from itertools import combinations

import numpy as np
from common import load, percent, show, trials

from labtrain.statistics import interval

CONFIGS = {
    "ridge, recorded cavity": "recorded-xor-ridge",
    "ridge, acoustic world": "acoustic-xor-ridge",
    "PhyLL no skip, recorded cavity": "recorded-xor",
    "PhyLL no skip, acoustic world": "acoustic-xor",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    seeds = range(options.trials)
    report = {title: trials(load(name), seeds, ("off", "random", "shuffled"), title) for title, name in CONFIGS.items()}
    pairs = {
        pair: trials(load("recorded-xor-ridge", f"dataset.pair={list(pair)}"), seeds, label=f"pair {pair}")["accuracy"]
        for pair in combinations(range(4), 2)
    }
    if options.json:
        print(json.dumps({"configs": report, "pairs": {f"{a}-{b}": found for (a, b), found in pairs.items()}}))
        return
    rows = []
    for title, found in report.items():
        gain, half = interval([a - b for a, b in zip(found["accuracy"], found["random"], strict=True)], 0.25)
        rows.append(
            (title, *(percent(found[key]) for key in ("accuracy", "off", "random", "shuffled")),
             f"{100 * gain:+.1f} ± {100 * half:.1f}")
        )  # fmt: skip
    show(
        f"xor-tones, 10 distractors, {options.trials} trials, test accuracy in %",
        ("what", "on", "off", "random", "shuffled", "on - random (95 %)"),
        rows,
    )
    show(
        "ridge on the recorded cavity, which two speakers interfere on tone 0",
        [*(f"{a} and {b}" for a, b in pairs), "mean of six"],
        [[*map(percent, pairs.values()), f"{100 * np.mean(list(pairs.values())):.1f}"]],
    )


if __name__ == "__main__":
    main()
