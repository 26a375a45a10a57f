"""How methods take a change of the simulated cavity that costs them their skill: `labtrain compare --disturb`.

Vowels of ``vowels.csv`` on the acoustic rig without the skip path, so that all skill is in the physics. Then disc 0 is
moved by 14 cm and the air becomes 5 K warmer. Twins are fitted once to random drives of the undisturbed rig, and stay.
Settings, and the size of the change, were chosen on seeds 100 to 102; the table is of seeds 0, 1, ... Runs are kept in
``build/disturbances``: what is there is not measured again.

    python benchmarks/disturbances.py
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy is imported

import numpy as np
from common import ROOT
from rich.console import Console

from labtrain import compare_disturbed
from labtrain.compare_disturbed_report import disturbed_table, draw
from labtrain.compare_settings import load
from labtrain.jobs import open_rig
from labtrain.progress import Progress
from labtrain.twin import WaveTwin, save_twin

FOLDER = ROOT / "build" / "disturbances"
METHODS = ("phyll", "layerwise", "mono-forward", "in-silico", "physics-aware-training")
TWIN_SHOTS = 4000
CONFIG = """\
rig: {type: acoustic, membranes: 4}
dataset: {type: vowels, path: "${LABTRAIN_DATA}/vowels.csv", validation_fraction: 0.2}
encoding: {scaling: standard, label: slots, amplitude: 1.0}
network: {layers: 2, width: 20, skip: false}
training: {method: phyll, schedule: joint, theta: 8, rate: 0.01, epochs: 20, inner: 10, score_every: 1}
ablations: []
compare:
  disturb:
    - {do: scatterer, disc: 0, dx_m: 0.1, dy_m: 0.1}
    - {do: temperature, kelvin: 5}
  methods:
    layerwise: {training: {method: phyll, schedule: layerwise, epochs: 30, score_every: 5}}
    mono-forward: {training: {rate: 0.01, epochs: 100, inner: 5, score_every: 5}}
    in-silico: {training: {twin: twin.npz, rate: 0.01, epochs: 30, score_every: 1}}
    physics-aware-training: {training: {twin: twin.npz, rate: 0.01, epochs: 30, score_every: 1}}
"""


def fit_twin() -> None:
    """A twin of the undisturbed rig beside the configuration."""
    with open_rig(load(FOLDER / "vowels.yaml").value) as rig:
        rig.restart(0)
        layer = rig.layers[0]
        x = np.random.default_rng(0).random((TWIN_SHOTS, layer.info.n_in))
        twin = WaveTwin().fit(x, layer.forward(x))
        twin.fingerprint = layer.info.fingerprint
        save_twin(twin, FOLDER / "twin.npz")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--methods", default=",".join(METHODS))
    options = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "vowels.yaml").write_text(CONFIG, encoding="utf-8")
    if not (FOLDER / "twin.npz").exists():
        fit_twin()
    loaded = load(FOLDER / "vowels.yaml", [f"trials.first_seed={options.first_seed}"])
    runs = FOLDER / f"from-seed-{options.first_seed}"
    found = compare_disturbed.compare(loaded, options.methods.split(","), runs, options.trials, watch=Progress)
    draw(found, runs / compare_disturbed.FIGURE)
    Console(width=100, highlight=False).print(disturbed_table(found))


if __name__ == "__main__":
    main()
