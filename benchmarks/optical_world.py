"""The simulated optical bench: shots a second beside the machine's own matrix product, speckle, and the camera's noise.

python benchmarks/optical_world.py

The matrix product has as many BLAS threads as there are cores; the world has as many threads of its own, and BLAS one.
They take turns, and the ratio of each turn is formed: what else runs on the machine slows both.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from common import show
from numpy.typing import NDArray
from scipy.stats import kstest, poisson

from labtrain.sim.optical import OpticalParameters, OpticalWorld
from labtrain.sim.optics.photons import poisson as poisson_of_words
from labtrain.threads import blas_threads

Floats = NDArray[Any]
IDLE_S = 0.2  # threads of a BLAS wait in a loop for more work, on a core that the next measurement needs
FLOPS = 8  # of a complex multiplication and addition


def seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def speed(batch: int, rounds: int) -> dict[str, float]:
    """The world with and without camera noise against one complex64 product of the same size."""
    cores = os.cpu_count() or 1
    world, rng = OpticalWorld(OpticalParameters(), 0, workers=cores), np.random.default_rng(0)
    drive = rng.random((batch, world.n_in))
    light = np.exp(1j * np.pi * drive).astype(np.complex64)
    matrix = np.ascontiguousarray(world.transmission().T, dtype=np.complex64)
    field = np.empty((batch, world.n_out), dtype=np.complex64)
    works = {
        "product": lambda: np.matmul(light, matrix, out=field),
        "quiet": lambda: world.respond_without_noise(drive),
        "noisy": lambda: world.respond(drive, 0),
    }
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            with blas_threads(cores if name == "product" else 1):
                work()  # whatever has to wake up is awake then
                times[name].append(seconds(work))
            time.sleep(IDLE_S)
    found = {f"{name}_s": statistics.median(taken) for name, taken in times.items()}
    found |= {
        f"{name}_ratio_one_core": ratio for name, ratio in one_core(world.parameters, drive, works["product"]).items()
    }
    for name in ("quiet", "noisy"):
        ratios = [product / taken for product, taken in zip(times["product"], times[name], strict=True)]
        found[f"{name}_ratio"] = statistics.median(ratios)
        found[f"{name}_ratio_best_times"] = min(times["product"]) / min(times[name])
    found["product_gflops"] = FLOPS * batch * world.n_in * world.n_out / min(times["product"]) / 1e9
    return found


def one_core(p: OpticalParameters, drive: Floats, product: Callable[[], Any]) -> dict[str, float]:
    """The same with one thread each, in processor time: who else runs on the machine hardly matters."""
    world, times = OpticalWorld(p, 0), []
    with blas_threads(1):
        for _ in range(7):
            marks = [time.process_time()]
            for work in (product, lambda: world.respond_without_noise(drive), lambda: world.respond(drive, 0)):
                work()
                marks.append(time.process_time())
            times.append(np.diff(marks))
    whole, quiet, noisy = np.array(times[1:]).T  # the first round builds the world
    return {"quiet": float(np.median(whole / quiet)), "noisy": float(np.median(whole / noisy))}


def speckle(scatterer: Any, shots: int) -> tuple[float, float]:
    """Contrast of single frames, mean; largest distance of the intensities' distribution to the exponential one."""
    world = OpticalWorld(OpticalParameters(scatterer=scatterer), 0)
    intensity = world.intensity(np.random.default_rng(1).random((shots, world.n_in)))
    contrast = (intensity.std(axis=1) / intensity.mean(axis=1)).mean()
    return float(contrast), float(kstest(intensity[0] / intensity[0].mean(), "expon").statistic)


def electrons(draws: int) -> float:
    """Largest distance of the electrons' distribution to Poisson's, over means from 0.1 to 10,000."""
    words = np.random.default_rng(2).integers(0, 2**64, draws, dtype=np.uint64)
    worst = 0.0
    for mean in (0.1, 3.0, 9.9, 10.0, 30.0, 300.0, 10_000.0):
        drawn = poisson_of_words(np.full(draws, mean, dtype=np.float32), words)
        counts = np.arange(drawn.max() + 1)
        ours = np.searchsorted(np.sort(drawn), counts, side="right") / draws
        words_alone = np.searchsorted(
            np.sort(words >> np.uint64(32)), poisson.cdf(counts, mean) * 2.0**32, side="left"
        )  # the same words, by exact inversion
        worst = max(worst, float(np.abs(ours - words_alone / draws).max()))
    return worst


def noise(batch: int) -> dict[str, float]:
    """Signal-to-noise ratio at the mean of the speckle, and the share of readings with a full well."""
    world, drive = OpticalWorld(OpticalParameters(), 0), np.random.default_rng(3).random((batch, 676))
    clean, error = world.intensity(drive), world.respond(drive, 0) - world.respond_without_noise(drive)
    near = np.abs(clean - 1.0) < 0.1
    frames = world.frames(world.pattern(drive), 0)
    return {
        "snr_db": float(20 * np.log10(0.1 / error[near].std())),
        "full_share": float((frames == world.parameters.top_count).mean()),
    }


def drifting(batch: int) -> float:
    """Shots a second with a fibre that drifts, later in a run: a step of the whole matrix every 256 shots."""
    world = OpticalWorld(replace(OpticalParameters(), drift_eps=1e-3), 0, workers=os.cpu_count() or 1)
    drive = np.random.default_rng(0).random((batch, world.n_in))
    world.respond(drive, 99_840)
    with blas_threads(1):
        return 4 * batch / seconds(lambda: [world.respond(drive, 100_096 + k * batch) for k in range(4)])


def measure(batch: int, rounds: int) -> dict[str, Any]:
    """Everything the table shows."""
    found: dict[str, Any] = {"batch": batch, **speed(batch, rounds), **noise(512), "poisson_distance": electrons(10**6)}
    for scatterer in ("gaussian", "structured"):
        found[f"contrast_{scatterer}"], found[f"distance_{scatterer}"] = speckle(scatterer, 64)
    found["drifting_shots_per_s"] = drifting(256)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(options.batch, options.rounds)
    if options.json:
        print(json.dumps(found))
        return
    batch = found["batch"]
    show(
        "optical world, 676 inputs -> 676 outputs",
        ("what", "value"),
        [
            (f"matrix product, complex64, batch {batch}", f"{found['product_gflops']:.0f} GFLOP/s"),
            ("shots a second without noise", f"{batch / found['quiet_s']:,.0f}"),
            ("of the product's rate: median, best times, one core", _three(found, "quiet")),
            ("shots a second with noise", f"{batch / found['noisy_s']:,.0f}"),
            ("of the product's rate: median, best times, one core", _three(found, "noisy")),
            ("shots a second with noise and drift", f"{found['drifting_shots_per_s']:,.0f}"),
            ("contrast of the speckle, matrix", f"{found['contrast_gaussian']:.3f}"),
            ("contrast of the speckle, structured", f"{found['contrast_structured']:.3f}"),
            ("distance to exponential intensities, matrix", f"{found['distance_gaussian']:.3f}"),
            ("distance to exponential intensities, structured", f"{found['distance_structured']:.3f}"),
            ("signal to noise at the mean of the speckle", f"{found['snr_db']:.1f} dB"),
            ("readings with a full well", f"{100 * found['full_share']:.4f} %"),
            ("electrons, largest distance to Poisson's distribution", f"{found['poisson_distance']:.1e}"),
        ],
    )


def _three(found: dict[str, Any], name: str) -> str:
    return ", ".join(f"{100 * found[f'{name}_ratio{what}']:.0f} %" for what in ("", "_best_times", "_one_core"))


if __name__ == "__main__":
    main()
