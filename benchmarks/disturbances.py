"""How methods take a change of the simulated rig that costs them their skill: `labtrain compare --disturb`.

No skip path, so that all skill is in the physics. Twins are of the undisturbed rig, and stay.

- ``acoustic``: vowels of ``vowels.csv``; disc 0 is moved by 14 cm and the air becomes 5 K warmer. Wave twins, fitted to
  random drives. Settings, and the size of the change, were chosen on seeds 100 to 102.
- ``optical``: 8 x 8 digits on the bench of ``config/optical.yaml``; the fibre is bent until its speckle correlates by
  0.5 with what it was. Its twin is the transmission matrix, measured by phase stepping.

The tables are of seeds 0, 1, ... Runs are kept in ``build/disturbances``: what is there is not measured again.

    python benchmarks/disturbances.py
    python benchmarks/disturbances.py --rig optical          # needs labtrain[ml]
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy is imported

import numpy as np
from common import ROOT
from rich.console import Console

from labtrain import compare_disturbed
from labtrain.compare_disturbed_report import disturbed_table, draw
from labtrain.compare_settings import load
from labtrain.jobs import open_rig
from labtrain.layer import PhysicalLayer
from labtrain.progress import Progress
from labtrain.twin import Twin, WaveTwin, save_twin
from labtrain.twins.phase_stepping import plan, retrieve
from labtrain.twins.speckle import SpeckleTwin

FOLDER = ROOT / "build" / "disturbances"
TWIN_SHOTS = 4000  # of the wave twin
ACOUSTIC = """\
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


OPTICAL = """\
rig: {type: optical, world: {slm_shape: [8, 8], camera_shape: [32, 32], drift_eps: 1.0e-3}}
dataset: {type: digits, validation_fraction: 0.2}
encoding: {scaling: minmax, label: behind, amplitude: 5}
network: {layers: 1, width: 100, skip: false}
training: {method: phyll, theta: 8, rate: 0.005, decay: cosine, epochs: 60, inner: 1, score_every: 10}
ablations: []
compare:
  disturb:
    - {do: fibre, correlation: 0.5}
  methods:
    backpropagation: {network: {width: 10}, training: {rate: 0.003, epochs: 10, decay: cosine, score_every: 1}}
    in-silico: {network: {width: 10}, training: {twin: twin.npz, rate: 0.003, epochs: 10, decay: cosine}}
"""


def wave(layer: PhysicalLayer) -> Twin:
    x = np.random.default_rng(0).random((TWIN_SHOTS, layer.info.n_in))
    return WaveTwin().fit(x, layer.forward(x))


def speckle(layer: PhysicalLayer) -> Twin:
    """Of a camera whose pixels are the outputs."""
    asked = plan(layer.info.n_in, np.pi, 256, np.random.default_rng(0))
    side = round(layer.info.n_out**0.5)
    return SpeckleTwin(retrieve(asked, layer.forward(asked.drives)), np.pi, (side, side))


@dataclass(frozen=True)
class Case:
    """What is compared on a rig; its twin is fitted once."""

    config: str
    methods: tuple[str, ...]
    twin: Callable[[PhysicalLayer], Twin]


CASES = {
    "acoustic": Case(ACOUSTIC, ("phyll", "layerwise", "mono-forward", "in-silico", "physics-aware-training"), wave),
    "optical": Case(OPTICAL, ("phyll", "backpropagation", "in-silico"), speckle),
}


def fit_twin(case: Case, config: Path) -> None:
    """A twin of the undisturbed rig beside the configuration."""
    with open_rig(load(config).value) as rig:
        rig.restart(0)
        layer = rig.layers[0]
        twin = case.twin(layer)
        twin.fingerprint = layer.info.fingerprint
        save_twin(twin, config.with_name("twin.npz"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rig", choices=CASES, default="acoustic")
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--methods", help="all of the rig's when left out")
    options = parser.parse_args()
    case = CASES[options.rig]
    methods = options.methods.split(",") if options.methods else case.methods
    config = FOLDER / "vowels.yaml" if options.rig == "acoustic" else FOLDER / options.rig / "digits.yaml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(case.config, encoding="utf-8")
    if not config.with_name("twin.npz").exists():
        fit_twin(case, config)
    loaded = load(config, [f"trials.first_seed={options.first_seed}"])
    runs = config.parent / f"from-seed-{options.first_seed}"
    found = compare_disturbed.compare(loaded, methods, runs, options.trials, watch=Progress)
    draw(found, runs / compare_disturbed.FIGURE)
    Console(width=100, highlight=False).print(disturbed_table(found))


if __name__ == "__main__":
    main()
