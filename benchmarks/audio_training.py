"""Training end to end through an audio server beside the same in memory, and the tones beside the world's own answer.

The seven vowels of `vowels.csv` (Hillenbrand et al. 1995), one layer without a skip path: all that is known of a vowel
went through the cavity. Settings were chosen on trial seeds 100 to 109 of the simulated cavity (98.8 +- 1.6 % there).

    python benchmarks/audio_training.py                 # about 20 minutes; Linux, jackd2, libportaudio2
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from audio_room import jack_room
from common import ROOT, show
from rich.console import Console
from rich.progress import track

from labtrain import config
from labtrain.experiment import Experiment
from labtrain.jobs import open_rig
from labtrain.layer import Recorded, Shots
from labtrain.rigs.acoustic import AcousticRig
from labtrain.trial import Trial, load_table

EXPERIMENT = """
dataset: {type: vowels, path: "${LABTRAIN_DATA:-../shared/data}/vowels.csv"}
encoding: {scaling: minmax, label: slots, amplitude: 1}
network: {layers: 1, width: 20, skip: false, drive: {map: affine}}
training: {method: phyll, theta: 8, negatives: random, rate: 0.04, decay: cosine, epochs: 150, score_every: 150}
ablations: [off, random]
"""
TONES = 200  # random drives for the error of the tones


def written(folder: Path, device: str) -> Path:
    """The configuration on one device, in a file."""
    rig = yaml.safe_load((ROOT / "config" / "acoustic-emulated.yaml").read_text(encoding="utf-8"))["rig"]
    rig["audio"]["device"] = device
    path = folder / f"vowels-{device}.yaml"
    path.write_text(yaml.safe_dump({"rig": rig}) + EXPERIMENT, encoding="utf-8")
    return path


def trial(path: Path, seed: int, label: str) -> dict[str, Any]:
    """Train and test one network; counts every shot and its attempts."""
    what = config.load(path, Experiment).value
    table = load_table(what)
    began = time.perf_counter()
    shots = attempts = 0
    latencies = set()
    with open_rig(what) as rig:
        rig.commission()

        def count(_: str, chunk: Shots, __: dict[str, Any]) -> None:
            nonlocal shots, attempts
            shots, attempts = shots + len(chunk), attempts + int(chunk.attempts.sum())
            latencies.add(rig.environment()["latency_frames"])

        tried = Trial.begin(what, rig, seed, table=table, wrap=lambda layer: Recorded(layer, count))
        with Console(stderr=True).status(f"{label}, seed {seed}"):
            tried.fit()
            verdict = tried.test()
    return {
        "seed": seed,
        "accuracy": verdict.accuracy,
        "off": tried.ablation("off"),
        "random": tried.ablation("random"),
        "shots": shots,
        "attempts": attempts,
        "latencies": sorted(latencies),
        "seconds": time.perf_counter() - began,
        "predicted": [int(row) for row in verdict.scores.argmax(axis=1)],
    }


def tones(path: Path) -> dict[str, float]:
    """Error of the tones through the stack against the world's own answer, as a share of each channel's RMS."""
    what = config.load(path, Experiment).value
    with open_rig(what) as rig:
        assert isinstance(rig, AcousticRig)
        rig.commission()
        drive = np.random.default_rng(3).random((TONES, rig.layers[0].info.n_in))
        chunks = [
            chunk.y
            for chunk in track(
                rig.layers[0].measure(drive), "tones", console=Console(stderr=True), transient=True,
                total=-(-TONES // rig.layers[0].info.max_batch),
            )
        ]  # fmt: skip
        truth = rig.build_world().respond_without_noise(drive)
    error = (np.concatenate(chunks) - truth) / np.sqrt((truth**2).mean(axis=0))
    return {"rms": float(np.sqrt((error**2).mean())), "largest": float(np.abs(error).max())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    os.environ.setdefault("LABTRAIN_DATA", str(ROOT.parent / "shared" / "data"))
    rows: dict[str, list[dict[str, Any]]] = {"in memory": [], "through jackd": []}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        memory, jack = written(folder, "sim"), written(folder, "labtrain-room")
        for seed in range(options.trials):
            rows["in memory"].append(trial(memory, seed, "in memory"))
            with jack_room(jack):
                rows["through jackd"].append(trial(jack, seed, "through jackd"))
        with jack_room(jack):
            error = tones(jack)
    apart = [abs(a["accuracy"] - b["accuracy"]) for a, b in zip(*rows.values(), strict=True)]
    met = max(apart) <= 0.01 and error["largest"] < 0.005
    if options.json:
        print(json.dumps({"trials": rows, "tones": error, "met": met}))
    else:
        show(
            "seven vowels, one layer without skip",
            ("where", "seed", "test accuracy, %", "off", "random", "shots", "played again", "latency", "seconds"),
            [
                (
                    where,
                    row["seed"],
                    f"{100 * row['accuracy']:.1f}",
                    f"{100 * row['off']:.1f}",
                    f"{100 * row['random']:.1f}",
                    row["shots"],
                    row["attempts"] - row["shots"],
                    ", ".join(f"{latency:.0f}" for latency in row["latencies"]),
                    f"{row['seconds']:.0f}",
                )
                for where, all_ in rows.items()
                for row in all_
            ],
        )
        same = [a["predicted"] == b["predicted"] for a, b in zip(*rows.values(), strict=True)]
        print(f"test rows predicted alike in {sum(same)} of {len(same)} trials")
        print(
            f"tones through the stack against the world's own answer, {TONES} random drives: "
            f"{100 * error['rms']:.3f} % RMS, largest {100 * error['largest']:.3f} % of a channel's RMS"
        )
    sys.exit(not met)


if __name__ == "__main__":
    main()
