"""The published acoustic PhyLL procedure, written in PyTorch: the reference that labtrain is timed against.

Momeni et al., Science 382:1297 (2023), with the settings of the authors' acoustic script: two trainable layers
40 -> 20 with a skip path, theta 4, Adam at 5e-4, 10 inner updates per measured pass, 200 epochs, full batch, one
random wrong label per sample and epoch, every layer trained by autograd on its own loss. The cavity is a forward
model fitted to measured pairs; it receives |x| / ||x||_2 of each sample.

Written to be fast within those rules: positive and negative rows share one matrix product, wrong labels are drawn
vectorised, Adam is the fused one, and accuracy is evaluated once, at the end. Two things differ from the authors'
script on purpose: features are scaled by the training rows alone, and the label amplitude is the largest scaled
*training* feature for every pass, where the script takes the largest entry of whatever batch it is given.

    python benchmarks/published_phyll.py --model forward.pt          # fits the forward model once, then 10 trials
    python benchmarks/published_phyll.py --model forward.pt --trials 3 --json
    python benchmarks/published_phyll.py --physics wave              # same training, physics as labtrain's twin has it

Needs PyTorch (``labtrain[torch]``) and the folder LABTRAIN_DATA with ``vowels.csv`` and ``acoustic_cavity.npz``.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from labtrain.errors import DataError, InputError, LabtrainError, MissingExtra
from labtrain.twin import WaveTwin

try:
    import torch
    from torch import Tensor, nn
    from torch.nn import functional
except ImportError:
    NEEDS_TORCH = "benchmarks/published_phyll.py needs PyTorch: python -m pip install -e '.[torch]'"
    if __name__ == "__main__":
        print(NEEDS_TORCH, file=sys.stderr)
        raise SystemExit(MissingExtra.exit_code) from None
    raise MissingExtra(NEEDS_TORCH) from None

N_TRAIN = 206
LABEL_SLOTS = 8  # seven of them used
CLASSES = 7
WIDTH = 20  # label slots + 12 formants = drives of the cavity = its outputs
THETA = 4.0
LEARNING_RATE = 5e-4
INNER_UPDATES = 10
EPOCHS = 200
LAYERS = 2

FIT_ROWS = 9000  # of the 9,300 measured pairs; the rest judge the fit, as in the authors' script
FIT_EPOCHS = 300
FIT_BATCH = 100
FIT_LEARNING_RATE = 1e-4

Physics = Callable[[Tensor], Tensor]


def forward_network() -> nn.Sequential:
    """The published deep forward model, untrained: drives (n, 20) -> spectral amplitudes (n, 20)."""
    return nn.Sequential(
        nn.Linear(WIDTH, 100), nn.SiLU(), nn.Linear(100, 200), nn.SiLU(), nn.Linear(200, 100), nn.SiLU(),
        nn.Linear(100, WIDTH),
    )  # fmt: skip


def fit_forward_model(x: np.ndarray, y: np.ndarray, seed: int = 0) -> nn.Sequential:
    """Fit the deep forward model to measured pairs as published: 300 epochs, batches of 100, root mean square loss.

    Parameters
    ----------
    x, y : (n, 20) drives and spectral amplitudes.
    seed : of the weights and of the order of the batches.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = forward_network()
        adam = torch.optim.Adam(model.parameters(), lr=FIT_LEARNING_RATE, fused=True)
        inputs, targets = torch.as_tensor(x, dtype=torch.float32), torch.as_tensor(y, dtype=torch.float32)
        for _ in range(FIT_EPOCHS):
            for rows in torch.randperm(len(inputs)).split(FIT_BATCH):
                adam.zero_grad()
                functional.mse_loss(model(inputs[rows]), targets[rows]).sqrt().backward()
                adam.step()
    return model.eval().requires_grad_(False)


def save_forward_model(model: nn.Sequential, path: Path, fit_seconds: float) -> None:
    """Write the fitted weights, and how long the fit took, to ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"weights": model.state_dict(), "fit_seconds": fit_seconds}, path)


def load_forward_model(path: Path) -> tuple[nn.Sequential, float]:
    """Read what `save_forward_model` wrote: the model, and the seconds its fit took."""
    model = forward_network()
    try:
        saved = torch.load(path, weights_only=True)
        model.load_state_dict(saved["weights"])
        fit_seconds = float(saved["fit_seconds"])
    except Exception as error:  # torch raises a different class for every way in which a file can be wrong
        raise DataError(f"{path}: not a forward model saved by this script; delete it to fit it again") from error
    return model.eval().requires_grad_(False), fit_seconds


def fit_wave(x: np.ndarray, y: np.ndarray) -> Physics:
    """labtrain's own model of the same pairs, the square root of a quadratic form, evaluated in PyTorch."""
    twin = WaveTwin().fit(x, y)
    live = list(twin.live_inputs)
    first, second = np.triu_indices(1 + len(live))
    form = torch.as_tensor(twin.coefficients, dtype=torch.float32)

    def physics(drives: Tensor) -> Tensor:
        z = functional.pad(drives[:, live], (1, 0), value=1.0)
        return ((z[:, first] * z[:, second]) @ form).clamp_min(0.0).sqrt()

    return physics


class Layer:
    """One trainable layer: 40 -> 20, its fixed direction xi, its own Adam."""

    def __init__(self, generator: torch.Generator) -> None:
        self.linear = nn.Linear(2 * WIDTH, WIDTH)
        bound = (2 * WIDTH) ** -0.5  # what nn.Linear draws from by default, here from the trial's own generator
        for parameter in self.linear.parameters():
            nn.init.uniform_(parameter, -bound, bound, generator=generator)
        self.xi = functional.normalize(torch.randn(WIDTH, generator=generator), dim=0)
        self.adam = torch.optim.Adam(self.linear.parameters(), lr=LEARNING_RATE, fused=True)

    def goodness(self, output: Tensor) -> Tensor:
        """cos(|W h + b|, xi) of each row of ``output`` = W h + b: (n, 20) -> (n,)."""
        return output.abs() @ self.xi / torch.linalg.vector_norm(output, dim=1)

    def train(self, h: Tensor) -> Tensor:
        """Ten updates on the measured rows ``h`` (positive, then negative); the updated layer's output, detached."""
        for _ in range(INNER_UPDATES):
            positive, negative = self.goodness(self.linear(h)).chunk(2)
            loss = functional.softplus(-THETA * (positive - negative)).mean()
            self.adam.zero_grad()
            loss.backward()
            self.adam.step()
        with torch.no_grad():
            return self.linear(h)


def measure(physics: Physics, x: Tensor) -> Tensor:
    """h = [physical(|x| / ||x||_2), x] of each sample: (n, 20) -> (n, 40)."""
    with torch.no_grad():
        return torch.cat((physics(functional.normalize(x.abs())), x), dim=1)


def run_trial(features: np.ndarray, labels: np.ndarray, model: Physics, seed: int) -> dict[str, float]:
    """Train and test on one split.

    Parameters
    ----------
    features : (n, 12) formants in Hz, unscaled.
    labels : (n,) integers 0..6.
    model : drives (n, 20) -> spectral amplitudes (n, 20), float32.
    seed : of the split ``numpy.random.default_rng(seed).permutation(n)``, the weights, xi and the wrong labels.

    Returns
    -------
    dict
        ``accuracy`` (test rows, 0..1), ``seconds`` (training and the one evaluation at the end, wall clock),
        ``cpu_seconds`` (the same, of all threads), ``shots`` (in training), ``shots_test``.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    train, test = order[:N_TRAIN], order[N_TRAIN:]
    scaled = (features - features[train].mean(axis=0)) / features[train].std(axis=0)
    scaled -= scaled[train].min()  # the authors keep the drives positive, so that |x| loses no sign
    amplitude = float(scaled[train].max())
    x = torch.as_tensor(scaled, dtype=torch.float32)
    y = torch.as_tensor(labels, dtype=torch.int64)

    started_s, cpu_started_s = time.perf_counter(), time.process_time()
    generator = torch.Generator().manual_seed(seed)
    layers = [Layer(generator) for _ in range(LAYERS)]
    shots = _fit(layers, x[train], y[train], model, amplitude, generator)
    scores = _scores(layers, x[test], model, amplitude)
    accuracy = (scores.argmax(dim=1) == y[test]).double().mean().item()
    return {
        "accuracy": accuracy,
        "seconds": time.perf_counter() - started_s,
        "cpu_seconds": time.process_time() - cpu_started_s,
        "shots": shots,
        "shots_test": LAYERS * CLASSES * len(test),
    }


def _with_labels(x: Tensor, y: Tensor, amplitude: float) -> Tensor:
    """Label slots before the features: (n, 12), (n,) -> (n, 20)."""
    return torch.cat((amplitude * functional.one_hot(y, LABEL_SLOTS), x), dim=1)


def _fit(
    layers: list[Layer], x: Tensor, y: Tensor, physics: Physics, amplitude: float, generator: torch.Generator
) -> int:
    """Train all layers, every epoch; the number of shots spent."""
    shots = 0
    twice = torch.cat((x, x))
    for _ in range(EPOCHS):
        wrong = (y + torch.randint(1, CLASSES, y.shape, generator=generator)) % CLASSES
        rows = _with_labels(twice, torch.cat((y, wrong)), amplitude)
        for layer in layers:
            shots += len(rows)
            rows = layer.train(measure(physics, rows))
    return shots


@torch.no_grad()
def _scores(layers: list[Layer], x: Tensor, physics: Physics, amplitude: float) -> Tensor:
    """Goodness summed over the layers, for each candidate label: (n, 12) -> (n, 7)."""
    candidates = torch.arange(CLASSES).repeat(len(x))
    rows = _with_labels(x.repeat_interleave(CLASSES, dim=0), candidates, amplitude)
    total = torch.zeros(len(rows))
    for layer in layers:
        rows = layer.linear(measure(physics, rows))
        total += layer.goodness(rows)
    return total.reshape(-1, CLASSES)


def read_vowels(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """``vowels.csv``: formants (258, 12) in Hz, and labels (258,) as places in the sorted list of vowels."""
    with _found(folder / "vowels.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    labels = np.unique([row[1] for row in rows], return_inverse=True)[1]
    return np.array([row[2:] for row in rows], dtype=float), labels


def read_cavity(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """``acoustic_cavity.npz``: measured drives and spectral amplitudes, (9300, 20) each, in order of measurement."""
    with np.load(_found(folder / "acoustic_cavity.npz")) as pairs:
        return pairs["x"], pairs["y"]


def _found(path: Path) -> Path:
    if not path.is_file():
        raise DataError(f"{path} is missing; set LABTRAIN_DATA to the folder that holds it")
    return path


def fitted_physics(name: str, x: np.ndarray, y: np.ndarray, path: Path) -> tuple[Physics, float]:
    """The model of the cavity, and the seconds its fit took; a deep one is read from ``path``, or saved there."""
    if name == "deep" and path.is_file():
        return load_forward_model(path)
    started_s = time.perf_counter()
    if name == "wave":
        return fit_wave(x, y), time.perf_counter() - started_s
    print(f"fitting the forward model ({FIT_EPOCHS} epochs), then saving it as {path}", file=sys.stderr)
    model = fit_forward_model(x, y)
    fit_seconds = time.perf_counter() - started_s
    save_forward_model(model, path, fit_seconds)
    return model, fit_seconds


def _rmse(physics: Physics, x: np.ndarray, y: np.ndarray) -> float:
    predicted = physics(torch.as_tensor(x, dtype=torch.float32)).numpy()
    return float(np.sqrt(np.mean((predicted - y) ** 2)))


def main(arguments: list[str] | None = None) -> int:
    """Run the trials and print the table; the exit code."""
    parser = argparse.ArgumentParser(description="Published acoustic PhyLL in PyTorch: accuracy and time per trial.")
    add = parser.add_argument
    add("--trials", type=int, default=10, help="number of splits (default 10)")
    add("--first-seed", type=int, default=0, help="seed of the first split (default 0)")
    add("--physics", choices=("deep", "wave"), default="deep", help="model of the cavity (default deep, as published)")
    add("--model", type=Path, default=Path("build/published-forward-model.pt"), metavar="FILE",
        help="the deep model; fitted and saved there if missing (default %(default)s)")  # fmt: skip
    add("--threads", type=int, default=2, help="threads of PyTorch (default 2)")
    add("--json", action="store_true", help="print one JSON object instead of the table")
    options = parser.parse_args(arguments)
    try:
        report = benchmark(options)
    except LabtrainError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    if options.json:
        print(json.dumps(report))
    else:
        print_table(report)
    return 0


def benchmark(options: argparse.Namespace) -> dict[str, Any]:
    """All trials and their summary, as a dictionary that JSON can hold."""
    if min(options.trials, options.threads) < 1 or options.first_seed < 0:
        raise InputError("--trials and --threads must be at least 1, --first-seed at least 0")
    torch.set_num_threads(options.threads)
    folder = Path(os.environ.get("LABTRAIN_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
    features, labels = read_vowels(folder)
    x, y = read_cavity(folder)
    model, fit_seconds = fitted_physics(options.physics, x[:FIT_ROWS], y[:FIT_ROWS], options.model)
    Layer(torch.Generator()).train(torch.ones(2, 2 * WIDTH))  # untimed: PyTorch imports seconds' worth on first use
    trials = []
    for seed in range(options.first_seed, options.first_seed + options.trials):
        trials.append({"seed": seed, **run_trial(features, labels, model, seed)})
        print(f"seed {seed}: {trials[-1]['accuracy']:.3f} in {trials[-1]['seconds']:.2f} s", file=sys.stderr)
    accuracies = [trial["accuracy"] for trial in trials]
    return {
        "accuracy": statistics.fmean(accuracies),
        "accuracy_sd": statistics.stdev(accuracies) if len(accuracies) > 1 else None,
        "seconds": statistics.median(trial["seconds"] for trial in trials),
        "cpu_seconds": statistics.median(trial["cpu_seconds"] for trial in trials),
        "shots": trials[0]["shots"],
        "shots_test": trials[0]["shots_test"],
        "threads": options.threads,
        "torch": torch.__version__,
        "physics": options.physics,
        "fit_seconds": fit_seconds,
        "fit_rmse": _rmse(model, x[FIT_ROWS:], y[FIT_ROWS:]),
        "trials": trials,
    }


def print_table(report: dict[str, Any]) -> None:
    """The summary, one quantity a line."""
    sd = "" if report["accuracy_sd"] is None else f" (sd {100 * report['accuracy_sd']:.1f})"
    print(f"published PhyLL, PyTorch {report['torch']}, {report['threads']} threads, {len(report['trials'])} trials")
    print(f"  test accuracy      {100 * report['accuracy']:.2f} %{sd}")
    print(f"  seconds per trial  {report['seconds']:.2f} (median; {report['cpu_seconds']:.2f} of CPU time)")
    print(f"  shots per trial    {report['shots']:,} in training, {report['shots_test']:,} in the one evaluation")
    fit = f"{report['fit_seconds']:.1f} s to fit (not in the trial), RMSE {report['fit_rmse']:.4f} on later pairs"
    print(f"  physics            {report['physics']}: {fit}")


if __name__ == "__main__":
    raise SystemExit(main())
