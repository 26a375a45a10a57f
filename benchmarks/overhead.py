"""What the framework costs: microseconds per shot beyond the arithmetic, and seconds before the first line runs.

A layer of plain arithmetic, y = |x T|, is measured in batches of 256 through everything that stands in front of a real
one - thread check, log of shots in SQLite, cost ledger, drive map, shuffled order - and by a bare numpy loop doing the
same arithmetic, in turns. Each rung of the ladder adds one thing; its share is the difference to the rung before.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from labtrain.clock import RealClock
from labtrain.config import Section
from labtrain.encoding import Drive
from labtrain.layer import Array, Layer, LayerInfo, Recorded, Shots
from labtrain.ledger import Metered
from labtrain.network import Block
from labtrain.rigs.rig import Rig
from labtrain.runs import Run

N_IN, N_OUT, SAMPLES, CANDIDATES = 20, 20, 128, 2  # as the acoustic rig; 256 shots a batch
SHOTS = SAMPLES * CANDIDATES
AIM_US, AIM_IMPORT_S, AIM_HELP_S = 20.0, 0.3, 0.5


class Arithmetic(Layer):
    """y = |x T|."""

    name = "arithmetic"

    def __init__(self, T: Array) -> None:
        self.T = T
        self.shot = 0
        self._info = LayerInfo(N_IN, N_OUT, 0.25, 256, "1", "arithmetic", True)

    @property
    def info(self) -> LayerInfo:
        return self._info

    def _measure(self, x: Array) -> Iterator[Shots]:
        for start in range(0, len(x), 256):
            part = x[start : start + 256]
            self.shot += len(part)
            yield Shots(part, np.abs(part @ self.T), None, np.ones(len(part), dtype=np.int64), 0.0)

    def state(self) -> dict[str, Any]:
        return {"shot": self.shot}

    def restore(self, state: dict[str, Any]) -> None:
        self.shot = int(state["shot"])


class ArithmeticRig(Rig):
    """One layer of arithmetic."""

    class Config(Section):
        type: Literal["arithmetic"] = "arithmetic"

    def open(self) -> None:
        T = np.random.default_rng(0).standard_normal((N_IN, N_OUT, 2)) @ np.array([1.0, 1.0j])
        self.layers = (Arithmetic(T),)

    def provenance(self) -> dict[str, Any]:
        return {"instruments": {"arithmetic": "simulated"}}

    def environment(self) -> dict[str, float]:
        return {"temperature_c": 21.5}


def ladder(rig: Rig, run: Run) -> dict[str, Callable[[Array], Array]]:
    """What answers activations (samples, candidates, n_in), from bare numpy to the whole framework."""
    rng = np.random.default_rng(1)
    clock = RealClock()
    low, span = np.full(N_IN, -3.0), np.full(N_IN, 6.0)
    (owned,) = rig.layers
    T: Array = owned.inner.T  # type: ignore[attr-defined]

    def keep(name: str, shots: Shots, state: dict[str, Any]) -> None:
        run.append(name, 1, shots, state, rig.environment())

    def mapped(x: Array) -> Array:
        return np.clip((x.reshape(SHOTS, N_IN) - low) / span, 0.0, 1.0)

    logged = Recorded(owned, keep, run.replay)
    drive = Drive("affine", N_IN, range(N_IN))
    drive.low, drive.high = low, low + span
    block = Block(drive, Metered(logged, clock), N_IN, 20, True, "activations", "standard", rng)
    return {
        "bare numpy loop": lambda x: np.abs(mapped(x) @ T),
        "+ layer, thread check": lambda x: owned.forward(mapped(x)),
        "+ log of shots": lambda x: logged.forward(mapped(x)),
        "+ cost ledger": lambda x: block.layer.forward(mapped(x)),
        "+ drive, random order": lambda x: block.measure(x, rng),
    }


def per_shot_us(batches: int) -> dict[str, tuple[float, float]]:
    """Median and mean time of a batch through each rung, per shot, in microseconds; rungs take turns."""
    x = np.random.default_rng(2).standard_normal((SAMPLES, CANDIDATES, N_IN))
    with tempfile.TemporaryDirectory(prefix="labtrain-overhead-") as folder:
        run = Run.create(Path(folder) / "run", config_text="", config={}, provenance={}, clock=RealClock())
        with run, ArithmeticRig(ArithmeticRig.Config(), RealClock()) as rig:
            rungs = ladder(rig, run)
            times: dict[str, list[float]] = {name: [] for name in rungs}
            for batch in range(batches + 10):
                for name, answer in rungs.items():
                    started = time.perf_counter()
                    answer(x)
                    if batch >= 10:
                        times[name].append(time.perf_counter() - started)
    return {
        name: (1e6 * statistics.median(values) / SHOTS, 1e6 * statistics.mean(values) / SHOTS)
        for name, values in times.items()
    }


def starts_s(repeats: int) -> dict[str, float]:
    """Median wall time of starting python, of importing labtrain, and of ``labtrain --help``; they take turns."""
    script = Path(sysconfig.get_path("scripts")) / ("labtrain.exe" if sys.platform == "win32" else "labtrain")
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "import labtrain": [sys.executable, "-c", "import labtrain"],
        "labtrain --help": [str(script), "--help"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(repeats):
        for name, command in commands.items():
            started = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            times[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=7, help="of the start of a process")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    options = parser.parse_args()
    rungs, starts = per_shot_us(options.batches), starts_s(options.repeats)
    (bare, mean_bare), (whole, mean_whole) = rungs["bare numpy loop"], rungs["+ drive, random order"]
    report = {
        "batch": SHOTS, "median_and_mean_us_per_shot": rungs, "framework_us_per_shot": whole, "bare_us_per_shot": bare,
        "overhead_us_per_shot": whole - bare, "mean_overhead_us_per_shot": mean_whole - mean_bare, "starts_s": starts,
    }  # fmt: skip
    if options.json:
        print(json.dumps(report))
        return
    from common import show

    before, rows = 0.0, []
    for name, (time_us, mean_us) in rungs.items():
        added = time_us - before
        rows.append((name, f"{time_us:.2f}", f"{added:.2f}", f"{100 * added / whole:.0f} %", f"{mean_us:.2f}"))
        before = time_us
    show(
        f"microseconds per shot in batches of {SHOTS}, median of {options.batches}",
        ("through", "in all", "this adds", "share", "mean"), rows,
    )  # fmt: skip
    print(
        f"framework {whole:.2f}, bare {bare:.2f}, overhead {whole - bare:.2f} us per shot "
        f"(mean {mean_whole - mean_bare:.2f}); aim under {AIM_US:g} us"
    )
    aims = {"import labtrain": f"{AIM_IMPORT_S:g}", "labtrain --help": f"{AIM_HELP_S:g}"}
    show(
        f"seconds to start, median of {options.repeats}",
        ("command", "wall time", "aim"),
        ((name, f"{wall_s:.3f}", aims.get(name, "")) for name, wall_s in starts.items()),
    )


if __name__ == "__main__":
    main()
