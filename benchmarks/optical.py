"""What PhyLL makes of speckle without a skip path, beside what else could be done with the same images.

On the simulated bench of ``config/optical.yaml`` (8 x 8 digits) or ``config/optical-mnist.yaml``: backpropagation
through the true simulated physics, a ridge readout of the same speckle, PhyLL with the physics off (its skip path
alone), and logistic regression on the pixels. Each method has as many candidates, tried on the splits of seeds from 100
on; the one with the best mean is measured on the splits of seeds 0, 1, ... Results are kept in ``build``, in a file for
each configuration: what is there is not measured again.

    python benchmarks/optical.py --processes 2
    python benchmarks/optical.py --table mnist --splits 10
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy is imported
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from common import ROOT, load, percent, show
from kept import Kept
from sklearn.linear_model import LogisticRegression

from labtrain.comparison import share_of_test
from labtrain.controls import Off
from labtrain.datasets import split
from labtrain.jobs import open_rig
from labtrain.statistics import interval
from labtrain.trial import Trial, load_table

TUNING = 100  # first seed of the splits on which candidates are tried
OURS = "PhyLL"

Candidate = tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """A method of the table.

    Parameters
    ----------
    on : "rig", "off" or "pixels"
        What it trains on: speckle; the skip path alone; the scaled images, by logistic regression.
    candidates : overrides of the configuration, as many for each method; for logistic regression scikit-learn's C
    """

    on: str
    candidates: list[Candidate]


@dataclass(frozen=True)
class Task:
    """One configuration, its table's methods, and the number of splits on which candidates are tried."""

    config: str
    tuning: int
    rows: dict[str, Row]


def _backpropagation(layers: int, width: int, rate: float, epochs: int) -> Candidate:
    settings = f"method: backpropagation, rate: {rate}, epochs: {epochs}, decay: cosine, score_every: 1000"
    return (f"network.layers={layers}", f"network.width={width}", f"training={{{settings}}}")


def _ridge(penalty: float) -> Candidate:
    return (f"training={{method: ridge, features: [y], penalty: {penalty:.0e}}}",)


def _off(width: int, epochs: int, rate: float) -> Candidate:
    return ("network.skip=true", f"network.width={width}", f"training.epochs={epochs}", f"training.rate={rate}")


LOGISTIC = [("1",), ("3",), ("10",), ("30",)]
TASKS = {
    "digits": Task("optical", 6, {
        OURS: Row("rig", [
            (), ("encoding.amplitude=10",), ("network.width=40", "training.epochs=100"),
            ("encoding.amplitude=10", "network.width=40"),
        ]),
        "backpropagation": Row("rig", [
            _backpropagation(1, 10, 0.003, 10), _backpropagation(1, 10, 0.001, 20),
            _backpropagation(2, 64, 0.001, 10), _backpropagation(2, 64, 0.003, 10),
        ]),
        "the same, one block": Row("rig", [
            _backpropagation(1, 10, 0.003, 10), _backpropagation(1, 10, 0.001, 20),
            _backpropagation(1, 10, 0.01, 10), _backpropagation(1, 10, 0.001, 60),
        ]),
        "ridge readout": Row("rig", [_ridge(penalty) for penalty in (0.001, 0.01, 0.1, 1.0)]),
        "PhyLL, physics off": Row("off", [
            _off(100, 150, 0.02), _off(100, 300, 0.005), _off(100, 300, 0.02), _off(200, 300, 0.02),
        ]),
        "logistic regression": Row("pixels", LOGISTIC),
    }),
    "mnist": Task("optical-mnist", 2, {
        OURS: Row("rig", [(), ("encoding.amplitude=50",)]),
        "backpropagation": Row("rig", [_backpropagation(1, 10, 0.003, 10), _backpropagation(2, 40, 0.003, 10)]),
        "ridge readout": Row("rig", [_ridge(0.01), _ridge(0.1)]),
        "PhyLL, physics off": Row("off", [_off(100, 150, 0.005), _off(100, 150, 0.02)]),
        "logistic regression": Row("pixels", [("0.03",), ("0.1",)]),
    }),
}  # fmt: skip


def measure(config: str, on: str, candidate: list[str], seed: int) -> dict[str, float]:
    """Test accuracy of one split, shots of training and of a prediction."""
    if on == "pixels":
        return {"accuracy": _logistic(config, float(candidate[0]), seed), "shots": 0, "per_prediction": 0}
    what = load(config, *candidate, "ablations=[]")
    table = load_table(what)
    with open_rig(what) as rig:
        if on == "off":
            layers = [Off(layer) for layer in rig.layers]
            trial = Trial(what, table, split(table, what.dataset, seed), layers, seed)
        else:
            trial = Trial.begin(what, rig, seed, table=table, remember=False)
        verdict = trial.fit().test()
    if on == "off":
        return {"accuracy": verdict.accuracy, "shots": 0, "per_prediction": 0}
    per_prediction = verdict.test_cost.shots // len(verdict.labels)
    return {"accuracy": verdict.accuracy, "shots": verdict.train_cost.shots, "per_prediction": per_prediction}


def _logistic(config: str, C: float, seed: int) -> float:
    """Test accuracy of logistic regression on the activations, which with ``encoding.label: behind`` have no label."""
    what = load(config, "ablations=[]")
    table = load_table(what)
    parts = split(table, what.dataset, seed)
    with open_rig(what) as rig:
        encode = Trial(what, table, parts, rig.layers, seed).net.encoder.features
    model = LogisticRegression(C=C, max_iter=5000)
    model.fit(encode(table.features[parts.train]), table.labels[parts.train])
    return float(model.score(encode(table.features[parts.test]), table.labels[parts.test]))


def carry_out(task: Task, splits: int, processes: int) -> list[dict[str, Any]]:
    """Tune and measure what is missing; a dict for each method."""
    kept, seeds = Kept(ROOT / "build" / f"{task.config}.json", measure), range(TUNING, TUNING + task.tuning)
    found, share = [], share_of_test(load(task.config, f"trials.count={splits}"))
    for name, row in task.rows.items():
        asked = [(task.config, row.on, list(c)) for c in row.candidates]
        kept.measure([(*one, seed) for one in asked for seed in seeds], processes, f"{name}: tuning")
        means = [float(np.mean([kept.of(*one, seed)["accuracy"] for seed in seeds])) for one in asked]
        chosen = asked[int(np.argmax(means))]
        kept.measure([(*chosen, seed) for seed in range(splits)], processes, name)
        measured = [kept.of(*chosen, seed) for seed in range(splits)]
        found.append({
            "method": name, "candidate": chosen[2], "tuning": means, "shots": measured[0]["shots"],
            "per_prediction": measured[0]["per_prediction"], "accuracies": [one["accuracy"] for one in measured],
        })  # fmt: skip
    (ours,) = (row["accuracies"] for row in found if row["method"] == OURS)
    for row in found:
        row["difference"], row["half"] = interval(np.subtract(ours, row["accuracies"]).tolist(), share)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", choices=TASKS, default="digits")
    parser.add_argument("--splits", type=int, default=50, help="at least 2")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.splits < 2:
        parser.error("--splits: an interval needs at least 2")
    found = carry_out(TASKS[options.table], options.splits, options.processes)
    if options.json:
        print(json.dumps(found))
        return
    show(
        f"{options.table}, {options.splits} splits, test accuracy in %",
        ("method", "accuracy ± sd", "PhyLL - method (95 %)", "bad end", "shots", "a prediction"),
        [
            (
                row["method"],
                percent(row["accuracies"]),
                *_difference(row),
                f"{row['shots']:,}",
                row["per_prediction"],
            )
            for row in found
        ],
    )
    for row in found:
        tried = ", ".join(f"{100 * mean:.2f}" for mean in row["tuning"])
        print(f"{row['method']}: {'; '.join(row['candidate'])} (candidates: {tried})")


def _difference(row: dict[str, Any]) -> tuple[str, str]:
    if row["method"] == OURS:
        return "", ""
    mean, half = 100 * row["difference"], 100 * row["half"]
    return f"{mean:+.2f} ± {half:.2f}", f"{mean - half:+.2f}"


if __name__ == "__main__":
    main()
