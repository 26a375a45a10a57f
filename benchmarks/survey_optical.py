"""The survey of speckle on simulated benches with something planted in each: is it found?

Each bench has its own transmission matrix, an exposure that is wrong by up to 100 times either way, hot pixels, a phase
range of 0.6 to 2 pi where pi is configured, read noise, a reference arm or none, and every other one drifts. Told are
the benches on which each of these came out within its bar, and how far off it was; and what the transmission matrix,
measured by phase stepping, predicts of patterns it has not seen. Exit status 1 unless all are within.

python benchmarks/survey_optical.py --benches 20
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from typing import Any

import numpy as np

from labtrain.clock import SimulatedClock
from labtrain.rigs.optical_bench import SimulatedFrames
from labtrain.rigs.speckle.procedure import Request, survey
from labtrain.sim.optical import OpticalParameters, OpticalWorld

BARS = {"exposure": 0.1, "hot": 0, "read_noise": 0.25, "gain": 0.05, "range": 0.03, "eps": 0.2, "unexplained": 0.05}
SHAPES: dict[str, tuple[int, int]] = {"slm_shape": (8, 8), "camera_shape": (32, 32)}


def one(seed: int) -> dict[str, Any]:
    """Plant and survey one bench; how far off each number is, relative unless it is a count."""
    rng, started_s = np.random.default_rng(seed), time.process_time()
    eps = float(10.0 ** rng.uniform(-2.5, -1.8)) if seed % 2 else 0.0
    planted = OpticalParameters(
        **SHAPES,
        geometry_seed=seed,
        exposure_s=1e-3 * float(10.0 ** rng.uniform(-2.0, 2.0)),
        phase_range_rad=math.pi * float(rng.uniform(0.6, 2.0)),
        hot_pixels=float(rng.uniform(0.0, 0.01)),
        read_noise_e=float(rng.uniform(2.0, 10.0)),
        reference=float(rng.choice([0.0, 0.5])),
        drift_eps=eps,
    )
    bench = SimulatedFrames(OpticalWorld(planted, seed), SimulatedClock(), 0.03, 0.01)
    found = survey(bench, OpticalParameters(**SHAPES), Request(watch_shots=2048, matrix=True, seed=seed))
    assert found.phase is not None and found.matrix is not None
    score = found.matrix.score
    noise = math.hypot(planted.read_noise_e * planted.counts_per_e, 12**-0.5)
    return {
        "seed": seed,
        "exposure": abs(found.speckle.mean_share / 0.1 - 1.0),
        "hot": abs(int(found.dark.hot.sum()) - round(planted.hot_pixels * planted.pixels)),
        "read_noise": abs(found.transfer.read_noise / noise - 1.0),
        "gain": abs(found.transfer.gain / planted.counts_per_e - 1.0),
        "range": abs(found.phase.range_rad / planted.phase_range_rad - 1.0),
        "eps": abs(found.watch.eps / eps - 1.0) if eps else found.watch.eps,
        # What the matrix leaves of the variance beyond what the bench's own scatter leaves.
        "unexplained": 1.0 - score["r2"] - (score["repeatability"] / score["rmse_constant"]) ** 2,
        "r2": score["r2"],
        "correlation": found.matrix.correlation,
        "drift_eps": eps,
        "shots": found.shots,
        "cpu_s": time.process_time() - started_s,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--benches", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = [one(options.first_seed + number) for number in range(options.benches)]
    within = {key: sum(row[key] <= bar for row in rows) for key, bar in BARS.items()}
    if options.json:
        print(json.dumps({"rows": rows, "within": within}))
    else:
        for key, bar in BARS.items():
            off = [row[key] for row in rows]
            print(
                f"{key:12} {within[key]:3} of {len(rows)} within {bar:g}; off by {np.median(off):.3g} (median), "
                f"{max(off):.3g} (largest)"
            )
        for name, drifts in (("without drift", False), ("with drift", True)):
            some = [row for row in rows if bool(row["drift_eps"]) == drifts]
            if some:
                r2 = [row["r2"] for row in some]
                print(
                    f"matrix {name}: correlation {min(row['correlation'] for row in some):.4f} or more, R2 "
                    f"{np.median(r2):.4f} (median), {min(r2):.4f} (least)"
                )
        print(f"{np.mean([row['cpu_s'] for row in rows]):.1f} s of a processor and {rows[0]['shots']:,} shots each")
    return 0 if all(count == len(rows) for count in within.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
