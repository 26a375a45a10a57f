"""Peak memory of training on 60,000 images of 28 x 28 pixels: loading, splitting, one epoch, the test of 10,000 more.

The images are generated, written as IDX files packed with gzip, and read as a user's would be. Each method trains in a
process of its own, on layers of plain arithmetic, y = |x T|, with 784 pixels in and the skip path on; the largest
resident set size of that process counts, Python and its libraries included. ``nothing`` only imports them, ``load``
also loads and splits. ``mono-forward`` takes no batches: it keeps what its linear map sees of all rows.
"""

from __future__ import annotations

import argparse
import gzip
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from labtrain.clock import RealClock
from labtrain.config import loads
from labtrain.datasets import split
from labtrain.experiment import Experiment
from labtrain.layer import Array, Layer, LayerInfo, Shots
from labtrain.trial import Trial, load_table

AIM_MB = 1500
SIDE, N_IN, N_OUT = 28, 800, 100
CONFIG = """
rig: {{type: acoustic, fidelity: physics}}
dataset:
  type: idx
  images: {folder}/train-images.gz
  labels: {folder}/train-labels.gz
  test_images: {folder}/test-images.gz
  test_labels: {folder}/test-labels.gz
encoding: {{scaling: none}}
network: {{layers: 2, width: 50, drive: {{map: affine}}}}
training: {{method: {method}}}
"""
METHODS = {
    "backpropagation": "backpropagation, epochs: 1, batch: 256",
    "augmented-dfa": "augmented-dfa, epochs: 1, batch: 256",
    "spsa": "spsa, epochs: 1, batch: 256",
    "phyll": "phyll, schedule: joint, epochs: 1, batch: 256, inner: 1",
    "mono-forward": "mono-forward, epochs: 1, inner: 1",
}


class Modulus(Layer):
    """y = |x T|, with its exact derivative."""

    name = "modulus"

    def __init__(self) -> None:
        self.T = np.random.default_rng(0).standard_normal((N_IN, N_OUT)) / np.sqrt(N_IN)

    @property
    def info(self) -> LayerInfo:
        return LayerInfo(N_IN, N_OUT, 0.0, 256, "1", "modulus", True)

    def _measure(self, x: Array) -> Iterator[Shots]:
        for start in range(0, len(x), 256):
            part = x[start : start + 256]
            yield Shots(part, np.abs(part @ self.T), None, np.ones(len(part), dtype=np.int64), 0.0)

    def vjp(self, x: Array, dy: Array) -> Array:
        """Vector-Jacobian product (n, n_in) of dy (n, n_out)."""
        return np.asarray((dy * np.sign(x @ self.T)) @ self.T.T)


def write(folder: Path, part: str, n: int, rng: np.random.Generator) -> None:
    """Images of ten classes, a random pattern each with noise on it, and their labels."""
    patterns = np.random.default_rng(1).integers(0, 128, (10, SIDE, SIDE), dtype=np.uint8)
    labels = rng.integers(0, 10, n, dtype=np.uint8)
    with gzip.open(folder / f"{part}-images.gz", "wb", compresslevel=1) as file:
        file.write(np.array([2051, n, SIDE, SIDE], ">u4").tobytes())
        for start in range(0, n, 1000):
            some = labels[start : start + 1000]
            noise = rng.integers(0, 128, (len(some), SIDE, SIDE), dtype=np.uint8)
            file.write((patterns[some] + noise).tobytes())
    with gzip.open(folder / f"{part}-labels.gz", "wb") as file:
        file.write(np.array([2049, n], ">u4").tobytes() + labels.tobytes())


def train(folder: Path, what: str) -> str:
    """What one process does; a few words about it."""
    if what == "nothing":
        return ""
    text = CONFIG.format(folder=folder, method=METHODS.get(what, "ridge"))
    experiment = loads(text, Experiment, "streaming.yaml").value
    table = load_table(experiment)
    parts = split(table, experiment.dataset, 0)
    if what == "load":
        return f"{len(parts.train):,} for training, {len(parts.test):,} for the test"
    trial = Trial(experiment, table, parts, [Modulus()], 0, RealClock(), remember=False)
    return f"accuracy {trial.fit().test().accuracy:.3f}"


def peak_mb() -> float:
    """Largest resident set size of this process so far, MB (10^6 bytes)."""
    import resource  # not on Windows

    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / 1e6 if sys.platform == "darwin" else size * 1024 / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=60_000, help="training images")
    parser.add_argument("--test-rows", type=int, default=10_000, help="test images")
    parser.add_argument("--only", choices=[*METHODS, "nothing", "load"], nargs="+", help="a part of the methods")
    parser.add_argument("--child", nargs=2, metavar=("FOLDER", "METHOD"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        started = time.perf_counter()
        said = train(Path(options.child[0]), options.child[1])
        print(f"{peak_mb():.0f} {time.perf_counter() - started:.1f} {said}")
        return
    largest = 0.0
    with tempfile.TemporaryDirectory() as name:
        rng = np.random.default_rng(0)
        write(Path(name), "train", options.rows, rng)
        write(Path(name), "test", options.test_rows, rng)
        print(f"{options.rows:,} x {SIDE**2} for training, {options.test_rows:,} for the test")
        print(f"{'':16} {'peak MB':>8} {'seconds':>8}")
        for what in options.only or ("nothing", "load", *METHODS):
            command = [sys.executable, __file__, "--child", name, what]
            done = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
            peak, seconds, said = (*done.split(" ", 2), "")[:3]
            largest = max(largest, float(peak))
            print(f"{what:16} {peak:>8} {seconds:>8}  {said}", flush=True)
    met = "met" if largest < AIM_MB else "NOT met"
    print(f"largest: {largest:.0f} MB; aim below {AIM_MB} MB: {met}")
    sys.exit(largest >= AIM_MB)


if __name__ == "__main__":
    main()
