"""The simulated cavity: shots a second, convergence, intermodulation, and what its map looks like to a quadratic form.

python benchmarks/acoustic_world.py
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from common import show

from labtrain.sim.acoustic import AcousticParameters, AcousticWorld
from labtrain.sim.time_stepping import time_stepped
from labtrain.twin import WaveTwin

STEPS, SETTLE = 2048, 8  # 48 kHz: the coarsest halving at which time stepping errs less than the noise


def seconds(work: Callable[[], Any], repeats: int) -> float:
    """Median time of a call."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def measure(batch: int, stepped: int) -> dict[str, float]:
    """Everything the table shows."""
    p = AcousticParameters()
    world = AcousticWorld(p, 0)
    drive = np.random.default_rng(0).random((4000, world.n_in))
    balance, air = world.balance(drive[:1024]), world.air(0)
    bins = list(p.tone_bins)
    pressure = 2.0 * (air.radiated @ balance.spectrum)
    tones = air.direct @ world.phasors(drive[:1024]) + pressure[bins]
    products = np.delete(pressure, bins, axis=0)

    clean = world.respond_without_noise(drive)
    linear = AcousticWorld(replace(p, cubic_n_m3=0.0), 0).respond_without_noise(drive)
    rms = np.sqrt((clean**2).mean(axis=0))
    left = WaveTwin().fit(drive[:3000], clean[:3000]).residuals(drive[3000:], clean[3000:])

    fast = batch / seconds(lambda: world.respond(drive[:batch], 0), 9)
    back = batch / seconds(lambda: world.vjp(drive[:batch], clean[:batch]), 9)
    slow_y = np.empty(0)

    def step() -> None:
        nonlocal slow_y
        slow_y = time_stepped(world, drive[:stepped], 0, STEPS, SETTLE)

    slow = stepped / seconds(step, 1)
    return {
        "construction_s": seconds(lambda: AcousticWorld(p, 0), 3),
        "batch": batch,
        "shots_per_s": fast,
        "derivative_in_shots": fast / back,
        "time_stepped_shots_per_s": slow,
        "ratio": fast / slow,
        "largest_difference_of_the_solvers": float(np.abs(slow_y - clean[:stepped]).max() / np.sqrt((clean**2).mean())),
        "residual_max": float(balance.residual.max()),
        "converged_share": float((balance.residual <= p.tolerance).mean()),
        "intermodulation_db": float(10 * np.log10((np.abs(products) ** 2).sum() / (np.abs(tones) ** 2).sum())),
        "level_db_spl": float(10 * np.log10((np.abs(tones) ** 2).sum(axis=0).mean() / 2 / 20e-6**2)),
        "cubic_effect": float(np.sqrt((((clean - linear) / rms) ** 2).mean())),
        "quadratic_form_rmse": float(np.sqrt(((left / rms) ** 2).mean())),
        "noise": p.noise,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--stepped", type=int, default=64, help="shots of the time-stepping solver")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(options.batch, options.stepped)
    if options.json:
        print(json.dumps(found))
        return
    show(
        "acoustic world, 4 speakers x 5 tones, 8 membranes",
        ("what", "value"),
        [
            (f"shots a second, batch {found['batch']}", f"{found['shots_per_s']:,.0f}"),
            ("a vector-Jacobian product, in shots", f"{found['derivative_in_shots']:.2f}"),
            ("shots a second, time stepping", f"{found['time_stepped_shots_per_s']:.1f}"),
            ("ratio", f"{found['ratio']:,.0f}"),
            ("largest difference of the two, of rms", f"{100 * found['largest_difference_of_the_solvers']:.2f} %"),
            ("construction", f"{found['construction_s']:.2f} s"),
            ("largest residual", f"{found['residual_max']:.1e}"),
            ("converged", f"{100 * found['converged_share']:.2f} %"),
            ("sound pressure level", f"{found['level_db_spl']:.0f} dB"),
            ("intermodulation, of the tones", f"{found['intermodulation_db']:.1f} dB"),
            ("effect of the cubic spring, of rms", f"{100 * found['cubic_effect']:.2f} %"),
            ("what a quadratic form of x misses, of rms", f"{100 * found['quadratic_form_rmse']:.2f} %"),
            ("noise, of rms", f"{100 * found['noise']:.2f} %"),
        ],
    )


if __name__ == "__main__":
    main()
