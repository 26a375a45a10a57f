"""What the benchmarks share: trials of a configuration without a run folder, tables."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table as Grid

from labtrain import experiment
from labtrain.experiment import Experiment
from labtrain.jobs import open_rig
from labtrain.trial import Trial, load_table

ROOT = Path(__file__).resolve().parents[1]
os.environ.setdefault("LABTRAIN_DATA", str(ROOT.parent / "shared" / "data"))


def load(name: str, *overrides: str) -> Experiment:
    """A ready configuration of this checkout, with overrides as of ``--set``."""
    return experiment.load(ROOT / "config" / f"{name}.yaml", overrides).value


def trials(
    what: Experiment, seeds: Iterable[int], ablations: Sequence[str] = (), label: str = "trials"
) -> dict[str, Any]:
    """Train and test one network for each seed.

    Returns
    -------
    dict of lists, one entry a seed: ``accuracy``, each ablation, ``shots_train``, ``shots_test``, ``seconds`` (of
    training and testing alone), ``seconds_physics``
    """
    table = load_table(what)
    found: dict[str, list[Any]] = {}
    with open_rig(what) as rig:
        for seed in track(list(seeds), label, console=Console(stderr=True), transient=True):
            started = time.perf_counter()
            trial = Trial.begin(what, rig, seed, table=table).fit()
            verdict = trial.test()
            row = {
                "seed": seed,
                "accuracy": verdict.accuracy,
                "shots_train": verdict.train_cost.shots,
                "shots_test": verdict.test_cost.shots,
                "seconds": time.perf_counter() - started,
                "seconds_physics": trial.cost.seconds_physics,
            }
            row |= {name: trial.ablation(name) for name in ablations}  # type: ignore[arg-type]
            for key, value in row.items():
                found.setdefault(key, []).append(value)
    return found


def percent(values: Sequence[float]) -> str:
    """Mean and sample standard deviation in percent: ``98.3 ± 0.9``."""
    mean, sd = 100 * np.mean(values), 100 * np.std(values, ddof=1) if len(values) > 1 else math.nan
    return f"{mean:.1f} ± {sd:.1f}"


def show(title: str, header: Sequence[str], rows: Iterable[Sequence[Any]], **style: Any) -> None:
    """Print a table that fits 100 columns; `style` as of rich's tables."""
    grid = Grid(*header, title=title, title_justify="left", **style)
    for row in rows:
        grid.add_row(*map(str, row))
    Console(width=100, highlight=False).print(grid)
