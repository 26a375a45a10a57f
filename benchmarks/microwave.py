"""The microwave room: Peterson-Barney vowels through 40 pixels and 20 frequencies, and the parity of bits.

Settings of ``config/microwave.yaml``, chosen on seeds 100..119; splits of seeds 0..49, speaker-disjoint, paired with
logistic regression on the same splits. The intervals are the corrected ones of Nadeau and Bengio (2003), because the
training sets of the splits overlap. The room itself answers (``rig.fidelity: physics``).

    python benchmarks/microwave.py                       # needs labtrain[ml]
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np
from common import load, percent, show, trials
from peterson_barney import logistic

from labtrain.statistics import interval

Found = dict[str, list[Any]]

TEST_SHARE = 15 / 61  # 76 speakers: 61 to train, 15 to test
ABLATIONS = ("off", "random", "shuffled", "no_skip", "ridge")
PHYSICS = "rig.fidelity=physics"
LABELS = "1, 1, 1, 1, 1, 1, 1, 1, 1, 1"
BLOCK = (PHYSICS, "network.layers=1", "network.skip=false")  # what the ablation no_skip trains

# What one block without skip learns of other codes on the same pixels, and of the complex readout.
CODES = {
    "as in the config": (),
    "features as Gray code of 7 bits each": (f"rig.code={{kind: gray, bits: [{LABELS}, 7, 7, 7, 7]}}",),
    "features as binary code of 7 bits each": (f"rig.code={{kind: binary, bits: [{LABELS}, 7, 7, 7, 7]}}",),
    "2 bits a value, per-sample min-max, as published": (
        "rig.code={kind: published, bits: 2}", "network.drive.map=row_minmax", "network.drive.clip=0",
    ),
    "thermometers of 7 pixels each": (f"rig.code={{kind: thermometer, bits: [{LABELS}, 7, 7, 7, 7]}}",),
    "thermometers over the whole range of the features": ("network.drive.clip=0",),
    "20 outputs of the linear map": ("network.width=20",),
    "Re and Im of S21 instead of its modulus": ("rig.readout=complex",),
}  # fmt: skip

SEEN = ("parity of 2 of 4 bits, 10 pixels a bit", (PHYSICS,))
UNSEEN = (
    "parity of 2 of 10 bits, 4 pixels a bit, on patterns never seen",
    (PHYSICS, "dataset.bits=10", "dataset.split_by=group", "rig.code.bits=4", "rig.code.inputs=10",
     "training.features=[y, y2, x]"),
)  # fmt: skip


def difference(found: list[float], reference: list[float]) -> str:
    pairs = zip(found, reference[: len(found)], strict=True)  # both begin with the first seed
    mean, half = interval([a - b for a, b in pairs], TEST_SHARE)
    return f"{100 * mean:+.2f} ± {100 * half:.2f}"


def vowels(seeds: range, few: range) -> dict[str, Found]:
    """The main job; the same told no more than the pixels carry; the whole network without skip."""
    told = ("off", "random", "shuffled")
    return {
        "skip carries the activations": trials(load("microwave", PHYSICS), seeds, ABLATIONS, "vowels"),
        "skip carries what the pixels carry": trials(
            load("microwave", PHYSICS, "network.skip_carries=drive"), few, told, "vowels, quantised skip"
        ),
        "no skip in any layer": trials(load("microwave", PHYSICS, "network.skip=false"), few, (), "vowels, no skip"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=50, help="of the main job")
    parser.add_argument("--first-seed", type=int, default=0, help="100 and 20 trials: what the settings were chosen on")
    parser.add_argument("--few", type=int, default=10, help="trials of everything else")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    seeds, few = (range(options.first_seed, options.first_seed + count) for count in (options.trials, options.few))
    reference = logistic(max(seeds, few, key=len))
    report = vowels(seeds, few)
    codes = {title: trials(load("microwave", *BLOCK, *keys), few, label="codes") for title, keys in CODES.items()}
    parity = {
        title: trials(load("microwave-parity", *keys), few, ("off", "random", "shuffled"), "parity")
        for title, keys in (SEEN, UNSEEN)
    }
    if options.json:
        print(json.dumps({"logistic": reference, "vowels": report, "codes": codes, "parity": parity}))
        return
    names = {"accuracy": "physics on", "off": "physics off", "random": "random |T x|", "shuffled": "shuffled",
             "no_skip": "first layer without skip", "ridge": "ridge readout of the first layer"}  # fmt: skip
    rows = [("logistic regression", percent(reference), "")]
    for title, found in report.items():
        rows.append((f"PhyLL, {title}, {len(found['accuracy'])} splits:", "", ""))
        rows += [(f"  {names[key]}", percent(found[key]), difference(found[key], reference))
                 for key in names if key in found]  # fmt: skip
    main_job = report["skip carries the activations"]
    show(
        f"Peterson-Barney, {options.trials} speaker-disjoint splits, test accuracy in %",
        ("what", "accuracy ± sd", "- logistic (95 %)"),
        rows,
    )
    show(
        "cost of one trial with the skip path",
        ("shots to train", "shots to test", "seconds, median", "of these in the room"),
        [(main_job["shots_train"][0], main_job["shots_test"][0],
          f"{np.median(main_job['seconds']):.1f}", f"{np.median(main_job['seconds_physics']):.1f}")],
    )  # fmt: skip
    show(
        f"Peterson-Barney, one layer without skip, {options.few} splits",
        ("what is written on the pixels, and read", "accuracy ± sd"),
        [(title, percent(found["accuracy"])) for title, found in codes.items()],
    )
    show(
        f"ridge readout of |S21| at 20 frequencies, {options.few} trials",
        ("task", "on", "off", "random", "shuffled"),
        [(title, *(percent(found[key]) for key in ("accuracy", "off", "random", "shuffled")))
         for title, found in parity.items()],
    )  # fmt: skip


if __name__ == "__main__":
    main()
