"""What the tests of methods with twins share: a toy rig without noise and a file with its exact twin."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from labtrain.twin import WaveTwin, save_twin
from tests.methods.perturbed import Quiet


def exact_twin(layer: Quiet, path: Path, fingerprint: str | None = "") -> Path:
    """Fitted to so many answers without noise that nothing is left to miss."""
    x = np.random.default_rng(9).random((400, layer.info.n_in))
    twin = WaveTwin().fit(x, np.abs(x @ layer.T), ridge=1e-14)
    twin.fingerprint = layer.info.fingerprint if fingerprint == "" else fingerprint
    save_twin(twin, path)
    return path
