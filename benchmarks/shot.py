"""Where the time of a shot goes in a dry run: the layer, drivers and links, against the emulators behind them.

The microwave rig of config/microwave.yaml measures random drives on emulated instruments in memory. A wrapper around
each emulator counts the time spent inside it; what is left is labtrain's own software: layer, pixel code, drivers and
links, three messages to the analyser and one to the metasurface a shot.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import Any

import numpy as np
from common import load, show

from labtrain.clock import RealClock
from labtrain.drivers.emulators.emulator import Emulator, Reply
from labtrain.rigs.microwave import MicrowaveRig
from labtrain.sim.microwave import MicrowaveWorld
from labtrain.threads import blas_threads

AIM_US = 300.0
SHOTS = 256


class Timed:
    """An emulator that counts the seconds spent inside it.

    Parameters
    ----------
    inner : Emulator
    """

    def __init__(self, inner: Emulator) -> None:
        self.inner, self.seconds = inner, 0.0

    def receive(self, data: bytes) -> list[Reply]:
        started = time.perf_counter()
        replies = self.inner.receive(data)
        self.seconds += time.perf_counter() - started
        return replies

    def connected(self) -> list[Reply]:
        return self.inner.connected()


class TimedRig(MicrowaveRig):
    """The microwave rig with a stop-watch in front of each emulator."""

    def emulators(self, world: MicrowaveWorld) -> dict[str, Emulator]:
        self.timed = {name: Timed(inner) for name, inner in super().emulators(world).items()}
        return dict(self.timed)


def measure(batches: int) -> dict[str, float]:
    """Median over batches of 256 shots, in microseconds a shot."""
    rig = TimedRig(load("microwave").rig, RealClock())  # type: ignore[arg-type]
    times: dict[str, list[float]] = {"all": [], "vna": [], "metasurface": []}
    with blas_threads(1), rig:
        rig.commission()
        layer = rig.layers[0]
        drives = np.random.default_rng(0).random((SHOTS, layer.info.n_in))
        for _ in range(batches):
            before = {name: timed.seconds for name, timed in rig.timed.items()}
            started = time.perf_counter()
            layer.forward(drives)
            times["all"].append(time.perf_counter() - started)
            for name, timed in rig.timed.items():
                times[name].append(timed.seconds - before[name])
    own = [a - v - m for a, v, m in zip(times["all"], times["vna"], times["metasurface"], strict=True)]
    return {name: 1e6 * statistics.median(values) / SHOTS for name, values in {**times, "own": own}.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=40)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    options = parser.parse_args()
    found: dict[str, Any] = measure(options.batches)
    if options.json:
        print(json.dumps(found))
        return
    rows = (
        ("layer, drivers and links: labtrain's own software", f"{found['own']:.0f}", f"{AIM_US:g}"),
        ("emulated analyser, the simulated room included", f"{found['vna']:.0f}", ""),
        ("emulated metasurface", f"{found['metasurface']:.0f}", ""),
        ("all", f"{found['all']:.0f}", ""),
    )
    show(
        f"microseconds per shot, in memory, median of {options.batches} batches of {SHOTS}", ("part", "us", "aim"), rows
    )


if __name__ == "__main__":
    main()
