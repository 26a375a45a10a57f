"""The simulated room with a metasurface: exactness, what its map looks like to an affine fit, and patterns a second.

python benchmarks/microwave_world.py

One BLAS thread for all. The solver to compare with does one LU solve of the unreduced model per frequency; assembling
its matrices is not counted.
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
from numpy.typing import NDArray

from labtrain.sim.microwave import MicrowaveParameters, MicrowaveWorld
from labtrain.sim.room import place
from labtrain.threads import blas_threads

F_HZ = np.linspace(5.15e9, 5.875e9, 20)
S21 = [(2, 1)]
SWEEP: dict[str, Any] = {"if_bandwidth_hz": 1e3, "power_dbm": -10.0}
LOSSLESS = {"wall_gamma": 0.0, "pixel_gamma": 0.0, "cable_db": 0.0, "antenna_efficiency": 1.0}

Array = NDArray[np.float64]
States = NDArray[np.int64]


def seconds(work: Callable[[], Any], repeats: int) -> float:
    """Median time of a call."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def affine_db(patterns: States, y: NDArray[Any], fitted: int) -> float:
    """What an affine fit of the first `fitted` rows explains of the others' variance, median over columns."""
    x = np.column_stack([np.ones(len(patterns)), patterns])
    fit = np.linalg.lstsq(x[:fitted], y[:fitted], rcond=None)[0]
    missed = (np.abs(y[fitted:] - x[fitted:] @ fit) ** 2).mean(axis=0)
    return float(np.median(10 * np.log10(y[fitted:].var(axis=0) / missed)))


def parity(world: MicrowaveWorld, trial: int, physics: bool) -> float:
    """Accuracy of a ridge readout of [y, y^2]: parity of two of four bits, each on ten pixels; or of the bits alone."""
    rng, n = np.random.default_rng(trial), 2000
    bits = rng.integers(0, 2, (2 * n, 4))
    patterns = np.repeat(bits, world.n_pixels // 4, axis=1)[:, rng.permutation(world.n_pixels)]
    y = np.abs(world.respond(patterns, 0, F_HZ, S21, **SWEEP)[:, 0]) if physics else bits.astype(float)
    rows = np.column_stack([y, y**2])
    rows = np.column_stack([np.ones(2 * n), (rows - rows[:n].mean(axis=0)) / rows[:n].std(axis=0)])
    sign = 2.0 * (bits[:, 0] ^ bits[:, 1]) - 1.0
    weights = np.linalg.solve(rows[:n].T @ rows[:n] + 1e-3 * np.eye(rows.shape[1]), rows[:n].T @ sign[:n])
    return float((np.sign(rows[n:] @ weights) == sign[n:]).mean())


def quality(world: MicrowaveWorld, patterns: States) -> float:
    """Q of the echoes, from the backward integral of their energy (Schroeder 1965) between -5 and -25 dB."""
    f0_hz, points = world.parameters.f0_hz, 401
    s = world.s_matrix(patterns, np.linspace(0.9, 1.1, points) * f0_hz)[..., 1, 0]
    energy = (np.abs(np.fft.ifft(s * np.hanning(points))) ** 2).mean(axis=0)[: points // 2]
    left = np.cumsum(energy[::-1])[::-1]
    db, periods = 10 * np.log10(left / left[0]), np.arange(len(left)) * (points - 1) / (0.2 * points)
    part = (db < -5) & (db > -25)
    return float(-20 * np.pi * np.log10(np.e) / np.polyfit(periods[part], db[part], 1)[0])


def shot_by_shot(world: MicrowaveWorld, patterns: States) -> NDArray[np.complex128]:
    """As an instrument sees it: pattern, sweep, pattern, sweep."""
    found = []
    for pattern in patterns:
        world.set_pattern(pattern)
        found.append(world.sweep(F_HZ, S21, **SWEEP))
    return np.array(found)


def lu_solves(world: MicrowaveWorld, pattern: States) -> tuple[Callable[[], Any], int]:
    """One solve of the unreduced model per frequency, and the number of dipoles."""
    p, geometry = world.parameters, place(world.parameters)
    dipoles = geometry.dipoles(p, pattern)
    full = [dipoles.interaction(f) for f in F_HZ / p.f0_hz]
    port = np.eye(len(full[0]))[:, [len(geometry.walls) + len(geometry.scatterers)]]
    return lambda: [np.linalg.solve(w, port) for w in full], len(port)


def measure(batch: int, trials: int) -> dict[str, float]:
    """Everything the table shows."""
    p = MicrowaveParameters()
    world, fine = MicrowaveWorld(p, 0), MicrowaveWorld(replace(p, bits=2), 0)
    rng = np.random.default_rng(0)
    patterns, shades = rng.integers(0, 2, (4000, p.pixels)), rng.integers(0, 4, (batch, p.pixels))
    lossless = MicrowaveWorld(replace(p, **LOSSLESS), 0).s_matrix(patterns[:500], F_HZ)
    s, full = world.s_matrix(patterns, F_HZ), world.s_matrix_unreduced(patterns[:20], F_HZ)
    y, read = s[..., 1, 0], world.respond(patterns, 0, F_HZ, S21, **SWEEP)[:, 0]
    power, noise = (np.abs(y) ** 2).mean(axis=0), (np.abs(read - y) ** 2).mean(axis=0)
    fine.s_matrix(shades[:1], F_HZ)

    fast = batch / seconds(lambda: world.respond(patterns[:batch], 0, F_HZ, S21, **SWEEP), 9)
    solve, dipoles = lu_solves(world, patterns[0])
    slow = 1 / seconds(solve, 9)
    one_by_one = seconds(lambda: shot_by_shot(world, patterns[:batch]), 3) / batch
    world.restart(0)
    return {
        "dipoles": dipoles,
        "reduction_s": seconds(lambda: MicrowaveWorld(p, 0).s_matrix(patterns[:1], F_HZ), 3),
        "agreement": float(np.abs(s[:20] - full).max()),
        "agreement_bits_2": float(
            np.abs(fine.s_matrix(shades[:5], F_HZ) - fine.s_matrix_unreduced(shades[:5], F_HZ)).max()
        ),
        "singular_value": float(np.linalg.svd(s, compute_uv=False).max()),
        "singular_value_lossless": float(np.linalg.svd(lossless, compute_uv=False).max()),
        "reciprocity": float(np.abs(s - s.swapaxes(-1, -2)).max()),
        "affine_db": affine_db(patterns, y, 2000),
        "affine_modulus_db": affine_db(patterns, np.abs(y), 2000),
        "level_db": float(10 * np.log10(power.mean())),
        "swing": float(np.median(y.std(axis=0) / np.sqrt(power))),
        "snr_db": float(np.median(10 * np.log10(power / noise))),
        "quality": quality(world, patterns[:4]),
        "batch": batch,
        "patterns_per_s": fast,
        "patterns_bits_2_per_s": batch / seconds(lambda: fine.respond(shades, 0, F_HZ, S21, **SWEEP), 3),
        "single_s": one_by_one,
        "same": bool(np.array_equal(shot_by_shot(world, patterns[:batch])[:, 0], read[:batch])),
        "lu_patterns_per_s": slow,
        "ratio": fast / slow,
        "parity_on": statistics.mean(parity(world, trial, True) for trial in range(trials)),
        "parity_off": statistics.mean(parity(world, trial, False) for trial in range(trials)),
        "trials": trials,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=2000)
    parser.add_argument("--trials", type=int, default=10, help="of the parity task")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with blas_threads(1):
        found = measure(options.batch, options.trials)
    if options.json:
        print(json.dumps(found))
        return
    show(
        "microwave world, 40 pixels x 20 frequencies",
        ("what", "value"),
        [
            ("dipoles of the unreduced model", f"{found['dipoles']}"),
            ("largest difference to the unreduced model", f"{found['agreement']:.1e}"),
            ("the same, pixels of 2 bits", f"{found['agreement_bits_2']:.1e}"),
            ("largest singular value of S", f"{found['singular_value']:.3f}"),
            ("the same, room and cables without loss", f"{found['singular_value_lossless']:.4f}"),
            ("largest |S21 - S12|", f"{found['reciprocity']:.1e}"),
            ("an affine fit of S21 explains, 2,000 + 2,000 patterns", f"{found['affine_db']:.1f} dB"),
            ("an affine fit of |S21| explains", f"{found['affine_modulus_db']:.1f} dB"),
            ("rms of S21", f"{found['level_db']:.1f} dB"),
            ("of it, by the pattern", f"{100 * found['swing']:.0f} %"),
            ("signal to noise, 1 kHz, -10 dBm", f"{found['snr_db']:.1f} dB"),
            ("quality factor", f"{found['quality']:.0f}"),
            (f"patterns a second, batch {found['batch']}", f"{found['patterns_per_s']:,.0f}"),
            ("patterns a second, pixels of 2 bits", f"{found['patterns_bits_2_per_s']:,.0f}"),
            ("shot by shot, pattern and sweep", f"{1e6 * found['single_s']:.0f} us"),
            ("the same bits shot by shot as in a batch", "yes" if found["same"] else "NO"),
            ("patterns a second, one LU solve per frequency", f"{found['lu_patterns_per_s']:.0f}"),
            ("ratio", f"{found['ratio']:,.0f}"),
            ("construction and reduction", f"{found['reduction_s']:.2f} s"),
            (f"parity of 2 of 4 bits, ridge readout, {found['trials']} trials", f"{100 * found['parity_on']:.1f} %"),
            ("the same, physics off", f"{100 * found['parity_off']:.1f} %"),
        ],
    )


if __name__ == "__main__":
    main()
