"""When does the physics help? Every rig, task and method, with the physics and with something else in its place.

One block, so that every method meets the same responses: each drive is measured once a trial, whoever asks. ``on`` is
the physics beside the skip path, ``off`` the skip path alone. In the place of the physics, ``random`` is a medium |T x|
and ``shuffled`` deals its responses to the wrong samples. Without skip each is trained anew on responses alone. The
width of what has fewer inputs is chosen so that the number of trainable parameters is nearest to that of ``on``; a
ridge readout has one weight for each column and class, and cannot be widened.

GRID gives every method six settings. CHOSEN are the best of them by the mean accuracy of on, off and no skip on the
split of seed 100, mean over rigs (``--choose`` prints them); the splits of seeds 0 to 9 were used once.

A drive has the noise of the shot with which it was first measured: a part of the methods alone sees other noise.

Left out: xor-tones on the microwave rig, which has no tones, and parity on sound, where it is xor-tones.

    python benchmarks/physics.py --trials 10              # needs labtrain[ml]; goes on where it was broken off
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
from common import ROOT, load, percent, show
from numpy.typing import NDArray
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import track

from labtrain.controls import Off
from labtrain.datasets import Split, Table, split
from labtrain.experiment import Experiment
from labtrain.jobs import open_rig
from labtrain.layer import PhysicalLayer, Shots, Wrapper
from labtrain.methods.mono_forward import MonoForward
from labtrain.methods.ridge import Ridge
from labtrain.statistics import interval
from labtrain.trial import Trial, load_table

Settings = tuple[float, ...]
Row = dict[str, float]
Line = tuple[str, ...]

RIGS = {
    "acoustic": ("acoustic",),
    "microwave": ("microwave", "rig.fidelity=physics", "rig.more_codes=[]"),
    "recorded": ("vowels-recorded", "rig.noise=residuals"),
}
LIVE = "[0, 1, 2, 5, 6, 7, 10, 11, 12, 15, 16, 17]"  # inputs of the recorded cavity that reach an output
MIXED = "network.drive={mix: true}"
MIXED_LIVE = f"network.drive={{mix: true, inputs: {LIVE}}}"
SLOTS = "encoding={scaling: standard, label: slots, amplitude: 4}"
VOWELS = f"dataset={{type: vowels, path: {os.environ['LABTRAIN_DATA']}/vowels.csv}}"
DIGITS = ("dataset={type: digits}", "encoding={scaling: minmax, label: slots, amplitude: 1}")
XOR = "dataset={type: xor-tones, seed: 1, %s}"
GENERATED = ("xor-tones", "parity")  # rows of seed 1 for the test, of seed 0 to choose settings on
TASKS: dict[tuple[str, str], tuple[str, ...]] = {
    ("acoustic", "peterson-barney"): (),
    ("acoustic", "vowels"): (VOWELS, SLOTS),
    ("acoustic", "xor-tones"): (
        XOR % "rows: 1000, distractors_share_tone: false, values: uniform",
        "encoding={scaling: minmax, label: slots, amplitude: 1}",
    ),
    ("acoustic", "digits"): (*DIGITS, MIXED),
    ("microwave", "peterson-barney"): (),
    ("microwave", "vowels"): (
        VOWELS, SLOTS, "rig.code.bits=[1, 1, 1, 1, 1, 1, 1, 3, 3, 3, 3, 3, 3, 3, 3, 3, 2, 2, 2]",
    ),
    ("microwave", "parity"): (
        "dataset={type: parity, seed: 1, bits: 10, split_by: group}", "network.drive={clip: 0}",
        "encoding={scaling: minmax, label: slots, amplitude: 1}", "rig.code.bits=[5, 5, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3]",
    ),
    ("microwave", "digits"): (*DIGITS, MIXED, "rig.code={kind: gray, bits: 1}"),
    ("recorded", "peterson-barney"): ("dataset={type: peterson-barney}", SLOTS, MIXED_LIVE),
    ("recorded", "vowels"): (),
    ("recorded", "xor-tones"): (
        XOR % "live_tones: [0, 1, 2], pair: [0, 3]", "encoding={scaling: none, label: overlay, amplitude: 1}",
        f"network.drive={{inputs: {LIVE}}}",
    ),
    ("recorded", "digits"): (*DIGITS, MIXED_LIVE),
}  # fmt: skip

UPDATES = "decay: cosine, epochs: 20, inner: 10, score_every: 100"
LABELLED = f"{UPDATES}, measured_negatives: 4"
METHODS = {
    "phyll": f"method: phyll, theta: %g, rate: %g, {LABELLED}",
    "phyll, linear": f"method: phyll, goodness: linear, theta: %g, rate: %g, {LABELLED}",
    "forward-forward": f"method: forward-forward, threshold: %g, rate: %g, {LABELLED}",
    "mono-forward": f"method: mono-forward, rate: %g, {UPDATES}",
    "ridge": "method: ridge, penalty: %g",
}
GRID: dict[str, list[Settings]] = {
    "phyll": list(product((4, 12, 30), (0.01, 0.04))),
    "phyll, linear": list(product((4, 12, 30), (0.01, 0.04))),
    "forward-forward": list(product((0.05, 0.2, 0.8), (0.01, 0.04))),
    "mono-forward": [(rate,) for rate in (0.001, 0.003, 0.01, 0.02, 0.04, 0.1)],
    "ridge": [(penalty,) for penalty in (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)],
}
CHOSEN: dict[str, dict[str, Settings]] = {
    "peterson-barney": {
        "phyll": (30, 0.01), "phyll, linear": (30, 0.01), "forward-forward": (0.05, 0.04),
        "mono-forward": (0.01,), "ridge": (0.001,),
    },
    "vowels": {
        "phyll": (12, 0.04), "phyll, linear": (12, 0.01), "forward-forward": (0.2, 0.04),
        "mono-forward": (0.003,), "ridge": (0.01,),
    },
    "xor-tones": {
        "phyll": (12, 0.01), "phyll, linear": (12, 0.01), "forward-forward": (0.05, 0.04),
        "mono-forward": (0.01,), "ridge": (1e-05,),
    },
    "parity": {
        "phyll": (4, 0.01), "phyll, linear": (4, 0.01), "forward-forward": (0.05, 0.04),
        "mono-forward": (0.01,), "ridge": (0.0001,),
    },
    "digits": {
        "phyll": (30, 0.01), "phyll, linear": (12, 0.01), "forward-forward": (0.05, 0.01),
        "mono-forward": (0.02,), "ridge": (0.001,),
    },
}  # fmt: skip
FEATURES = {True: "[y, y2, x, x2]", False: "[y, y2]"}  # of ridge, with skip and without

TEST_SHARE = 0.25  # n_test / n_train of all splits

CONDITIONS = ("on", "off", "random", "shuffled", "no skip", "no skip, random", "no skip, shuffled")
JUDGED = ("on", "off", "no skip")  # settings are chosen by
DIFFERENCES = (("on", "random"), ("on", "off"), ("no skip", "no skip, random"), ("no skip", "off"))


class Remembered(Wrapper):
    """Measures each drive once; whoever asks again gets the same answer, with the same noise."""

    def __init__(self, inner: PhysicalLayer) -> None:
        super().__init__(inner)
        self._known: dict[bytes, NDArray[np.float64]] = {}

    def _measure(self, x: NDArray[np.float64]) -> Iterator[Shots]:
        told = self.quantise(x)
        keys = [row.tobytes() for row in told]
        new = {key: row for key, row in zip(keys, told, strict=True) if key not in self._known}
        if new:
            self._known |= dict(zip(new, self.inner.forward(list(new.values())), strict=True))
        y = np.stack([self._known[key] for key in keys])
        yield Shots(told, y, None, np.ones(len(x), dtype=np.int64), 0.0)


def overrides(
    rig: str, task: str, method: str, settings: Settings, judged: bool = False, skip: bool = True
) -> list[str]:
    """What one cell of the comparison has other than the rig's configuration."""
    training = METHODS[method] % settings
    if method == "ridge":
        training += f", features: {FEATURES[skip]}"
    shape = ("network.layers=1", "network.width=40", f"network.skip={str(skip).lower()}")
    rows = ("dataset.seed=0",) if judged and task in GENERATED else ()
    return [*RIGS[rig][1:], *shape, *TASKS[rig, task], *rows, f"training={{{training}}}"]


def parameters(trial: Trial) -> int:
    """Numbers that training sets: W and b, and M of Mono-Forward; of ridge a weight for each column and class."""
    classes, block = len(trial.table.classes), trial.net.blocks[0]
    if isinstance(trial.method, Ridge):
        width = {"y": block.layer.info.n_out, "x": trial.net.encoder.width}
        return classes * (1 + sum(width[column[0]] for column in trial.method.config.features))
    return trial.net.parameters + (classes * len(block.b) if isinstance(trial.method, MonoForward) else 0)


def cell(
    layer: PhysicalLayer, table: Table, parts: Split, seed: int, conditioned: Callable[[bool], Experiment], judged: bool
) -> Row:
    """Test accuracy under each condition, and the number of parameters that were trained.

    `conditioned` gives the experiment with skip and without.
    """

    def alike(layer: PhysicalLayer, skip: bool) -> Trial:
        what = conditioned(skip)
        made = Trial(what, table, parts, [layer], seed)
        if isinstance(made.method, Ridge):
            return made
        width = round(what.network.width * parameters(on) / parameters(made))
        shape = what.network.model_copy(update={"width": width})
        return Trial(what.model_copy(update={"network": shape}), table, parts, [layer], seed)

    on = Trial(conditioned(True), table, parts, [layer], seed)
    made = {"on": on, "off": alike(Off(layer), True), "no skip": alike(layer, False)}
    found: Row = {}
    for condition, one in made.items():
        found[condition] = one.fit().test().accuracy
        found[f"parameters, {condition}"] = parameters(one)
        if condition != "off" and not judged:
            before = "" if condition == "on" else f"{condition}, "
            found[f"{before}random"], found[f"{before}shuffled"] = one.ablation("random"), one.ablation("shuffled")
    return found


Job = tuple[str, str, int, bool, tuple[tuple[str, Settings], ...]]


def key(rig: str, task: str, seed: int, judged: bool, method: str, settings: Settings) -> str:
    """Of a cell in the file of results; changes with every setting above."""
    both = [overrides(rig, task, method, settings, judged, skip) for skip in (True, False)]
    text = repr([RIGS[rig][0], both, judged])
    return f"{rig}, {task}, {method}, {settings}, seed {seed}: {hashlib.sha256(text.encode()).hexdigest()[:8]}"


def work(job: Job) -> dict[str, Row]:
    """All methods of one rig, task and seed."""
    rig, task, seed, judged, methods = job

    def conditioned(skip: bool, one: tuple[str, Settings] = methods[0]) -> Experiment:
        return load(RIGS[rig][0], *overrides(rig, task, *one, judged, skip))

    what = conditioned(True)
    table = load_table(what)
    parts = split(table, what.dataset, seed)
    found = {}
    with open_rig(what) as opened:
        if opened.commissioning_shots:
            opened.commission()
        opened.restart(seed)
        layer = Remembered(opened.layers[0])
        for one in methods:
            row = cell(layer, table, parts, seed, partial(conditioned, one=one), judged)
            found[key(rig, task, seed, judged, *one)] = row
    return found


def carry_out(jobs: list[Job], results: Path, processes: int) -> dict[str, Row]:
    """Do what the file of results does not hold yet, and return all it holds then."""
    known: dict[str, Row] = json.loads(results.read_text()) if results.exists() else {}
    todo: list[Job] = []
    for rig, task, seed, judged, methods in jobs:
        missing = tuple(one for one in methods if key(rig, task, seed, judged, *one) not in known)
        if missing:
            todo.append((rig, task, seed, judged, missing))
    results.parent.mkdir(exist_ok=True)
    with ProcessPoolExecutor(processes) as pool:
        running = [pool.submit(work, job) for job in todo]
        for done in track(as_completed(running), "cells", len(running), console=Console(stderr=True)):
            known |= done.result()
            fresh = results.with_suffix(".new")
            fresh.write_text(json.dumps(known, indent=1))
            fresh.replace(results)
    return known


def choose(cells: list[tuple[str, str]], methods: list[str], results: Path, processes: int) -> None:
    """Print the best settings of each task and method on the validation seeds, ready for CHOSEN."""
    every = tuple((method, settings) for method in methods for settings in GRID[method])
    jobs = [(*where, 100, True, every) for where in cells]
    known = carry_out(jobs, results, processes)
    for task in dict.fromkeys(task for _, task in cells):
        best = {}
        for method in methods:
            rows = {
                settings: [known[key(rig, which, 100, True, method, settings)] for rig, which in cells if which == task]
                for settings in GRID[method]
            }  # fmt: skip
            score = {one: np.mean([row[name] for row in found for name in JUDGED]) for one, found in rows.items()}
            best[method] = max(score, key=lambda one: score[one])
        print(f"    {json.dumps(task)}: {best},")


def tables(rig: str, found: dict[tuple[str, str], list[Row]]) -> None:
    """Accuracies, paired differences and parameters of one rig; `found` by task and method."""
    accuracies: list[Line] = []
    paired: list[Line] = []
    seen = ""
    for (task, method), rows in found.items():
        columns = {name: [row[name] for row in rows] for name in rows[0]}
        if task != seen:
            accuracies.append((f"{task} ({len(rows)})", *[""] * len(CONDITIONS)))
            paired.append((task, *[""] * (len(DIFFERENCES) + 1)))
            seen = task
        accuracies.append((f"  {method}", *(percent(columns[name]).replace(" ", "") for name in CONDITIONS)))
        differences = []
        for a, b in DIFFERENCES:
            mean, half = interval(np.subtract(columns[a], columns[b]).tolist(), TEST_SHARE)
            differences.append(f"{100 * mean:+.1f}±{100 * half:.1f}")
        counts = [f"{columns[f'parameters, {name}'][0]:.0f}" for name in JUDGED]
        paired.append((f"  {method}", *differences, ", ".join(counts)))
    style = {"box": SIMPLE, "padding": (0, 1, 0, 0)}
    header = ("on", "off", "random", "shuffled", "no skip", "  random", "  shuffled")
    show(f"{rig}: test accuracy in % (trials)", ("", *header), accuracies, **style)
    pairs = (f"{a} - {b}".replace("- no skip,", "-") for a, b in DIFFERENCES)
    title = f"{rig}: paired differences in points (95 %, corrected), number of parameters"
    show(title, ("", *pairs, "on, off, no skip"), paired, **style)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rigs", nargs="+", choices=RIGS, default=list(RIGS))
    parser.add_argument("--tasks", nargs="+", choices=sorted({task for _, task in TASKS}))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--trials", type=int, default=10, help="splits of each cell, 2 or more (default 10)")
    parser.add_argument("--processes", type=int, default=1, help="at work at once (default 1)")
    parser.add_argument("--results", type=Path, default=ROOT / "build" / "physics.json", help="what is there is kept")
    parser.add_argument("--choose", action="store_true", help="print the best of GRID on the validation seeds instead")
    parser.add_argument("--tables", action="store_true", help="run nothing, print what the file of results holds")
    options = parser.parse_args()
    if options.trials < 2:
        parser.error("--trials: an interval needs at least 2")
    cells = [(rig, task) for rig, task in TASKS if rig in options.rigs and task in (options.tasks or [task])]
    if options.choose:
        choose(cells, options.methods, options.results, options.processes)
        return
    jobs = [
        (rig, task, seed, False, tuple((method, CHOSEN[task][method]) for method in options.methods))
        for seed in range(options.trials)
        for rig, task in cells
    ]
    known = carry_out([] if options.tables else jobs, options.results, options.processes)
    for rig in options.rigs:
        found: dict[tuple[str, str], list[Row]] = {}
        for _, task, seed, judged, methods in (job for job in jobs if job[0] == rig):
            for method, settings in methods:
                row = known.get(key(rig, task, seed, judged, method, settings))
                found.setdefault((task, method), []).extend([row] if row else [])
        if enough := {which: rows for which, rows in found.items() if len(rows) > 1}:
            tables(rig, enough)


if __name__ == "__main__":
    main()
