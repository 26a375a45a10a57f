"""Runs of methods that perturb weights or pixels: broken off they go on bit for bit; afterwards pixels are put back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labtrain import events, experiment, inference, jobs
from labtrain.clock import RealClock
from labtrain.runs import Run

RECORDED = """
rig: {type: recorded, pairs: pairs.npz, held_out_rows: 100, noise: none}
dataset: {type: csv, path: table.csv, label: kind, features: [a, b, c]}
network: {layers: 2, width: 5}
trials: {count: 1}
ablations: [off, no_skip]
run: {checkpoint_s: 60}
"""
MICROWAVE = """
rig:
  type: microwave
  fidelity: physics
  frequencies_hz: {start: 5.15e9, stop: 5.875e9, points: 4}
  code: {bits: 1, inputs: 5}
  vna: {driver: keysight-pna, address: sim}
  metasurface: {driver: open-source-ris, address: sim, n_pixels: 12}
dataset: {type: csv, path: table.csv, label: kind, features: [a, b, c]}
network: {layers: 2, width: 5}
trials: {count: 1}
ablations: []
run: {checkpoint_s: 60}
"""
WEIGHTS = "{method: spsa, epochs: 3, batch: 8, pilots: 2, first_block: always}"
PIXELS = "{method: coordinate-descent, epochs: 4, flips: 5, margin: 0, tuning_batch: 6}"


class Broken(Exception):
    """Stands for whatever broke a training off."""


@pytest.fixture(autouse=True)
def _no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "figures", lambda _: None)


def configured(folder: Path, text: str, training: str) -> Path:
    rng = np.random.default_rng(0)
    x = rng.random((400, 6))
    y = np.abs(x @ (rng.standard_normal((6, 5)) + 1j * rng.standard_normal((6, 5))))
    np.savez(folder / "pairs.npz", x=x, y=y)
    rows = "".join(f"{a},{b},{c},{'pq'[int(a > 0.5)]}\n" for a, b, c in rng.random((30, 3)))
    (folder / "table.csv").write_text("a,b,c,kind\n" + rows)
    (folder / "lab.yaml").write_text(f"{text}training: {training}\n")
    return folder / "lab.yaml"


def breaks_after(share: float):
    def listener(event: Any) -> None:
        if isinstance(event, events.TrialStarted):
            listener.limit = share * event.planned_shots
        if isinstance(event, events.ShotsArrived) and event.trial_shots > listener.limit:
            raise Broken

    return listener


def ended(folder: Path) -> tuple[list[bytes], dict[str, Any]]:
    """Weights and pixels of every block, and the results."""
    with Run.open(folder, write=False, clock=RealClock()) as run:
        state, results = run.trial_state(0), run.trials()[0]
    learned = [np.asarray(block[key]) for block in state["net"]["blocks"] for key in ("W", "b", "physical")
               if block[key] is not None]  # fmt: skip
    return [values.tobytes() for values in learned], results


def whole_and_resumed(config: Path, share: float) -> tuple[Path, Path]:
    found = []
    for name in ("whole", "broken"):
        runs = config.parent / name
        if name == "whole":
            jobs.train(experiment.load(config), runs)
        else:
            with pytest.raises(Broken):
                jobs.train(experiment.load(config), runs, [breaks_after(share)])
        found.append(max(runs.iterdir()))
    jobs.resume(found[1])
    return found[0], found[1]


def test_a_run_of_perturbed_weights_goes_on_bit_for_bit(tmp_path):
    whole, resumed = whole_and_resumed(configured(tmp_path, RECORDED, WEIGHTS), 0.5)
    (weights, results), (again, others) = ended(whole), ended(resumed)
    assert weights == again
    assert results["accuracy"] == others["accuracy"]
    assert results["train_cost"]["shots"] == others["train_cost"]["shots"]
    assert results["ablations"] == others["ablations"]


def test_a_run_of_pixels_goes_on_bit_for_bit_and_predicts_through_them(tmp_path):
    whole, resumed = whole_and_resumed(configured(tmp_path, MICROWAVE, PIXELS), 0.6)  # while block 2 is tuned
    (weights, results), (again, others) = ended(whole), ended(resumed)
    assert weights == again
    assert results["accuracy"] == others["accuracy"]
    assert any(np.frombuffer(part, np.int64).any() for part in weights[2::3])  # some pixel has left its state
    measured = inference.evaluate(resumed)
    assert measured[0]["accuracy"] == pytest.approx(results["accuracy"], abs=0.2)  # noise is that of later shots
