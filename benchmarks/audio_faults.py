"""Faults inside the analysis windows of shots: is every one of them found, and is nothing else thrown away?

Through jackd, in real time, with busy processes beside it; and in memory, without faults, for the false alarms.

    python benchmarks/audio_faults.py                   # about 25 minutes; Linux, jackd2, libportaudio2
    python benchmarks/audio_faults.py --quiet-shots 0 --per-kind 20
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from audio_room import jack_room
from common import ROOT, load, show
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from labtrain.drivers.emulators.sound import SoundFault
from labtrain.jobs import open_rig
from labtrain.rigs.acoustic import AcousticRig
from labtrain.rigs.acoustic_layer import SoundLayer
from labtrain.threads import blas_threads

Array = NDArray[np.float64]

# Kind, frames: a dropout of a millisecond, a clipped burst, one sample lost or doubled, a buffer again, a burst of hum.
KINDS = (("dropout", 40), ("clip", 400), ("slip", -1), ("slip", 1), ("repeat", 256), ("hum", 2048))
APART_S = 0.15  # of silence between playbacks, by which the emulator counts them for sure
CONFIG = ROOT / "config" / "acoustic-emulated.yaml"


def name(kind: str, frames: int) -> str:
    return f"{kind} {frames:+d} frames" if kind == "slip" else f"{kind}, {frames} frames"


def sound_layer(rig: Any) -> SoundLayer:
    assert isinstance(rig, AcousticRig)
    layer = rig.layers[0].inner  # type: ignore[attr-defined]
    assert isinstance(layer, SoundLayer)
    return layer


def _busy() -> None:
    while True:
        sum(i * i for i in range(10_000))


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """So many processes that compute beside it."""
    load = [multiprocessing.Process(target=_busy, daemon=True) for _ in range(processes)]
    for process in load:
        process.start()
    try:
        yield
    finally:
        for process in load:
            process.kill()


def plan(per_kind: int, batch: int, shot: int, window: slice, lead: int, first: int) -> dict[tuple[int, int], Any]:
    """(playback, shot of it) -> the fault that falls into its window; every second shot has one."""
    rng = np.random.default_rng(0)
    order = rng.permutation(np.repeat(np.arange(len(KINDS)), per_kind))
    found = {}
    for number, which in enumerate(order):
        playback, row = divmod(2 * number + 1, batch - batch % 2)
        kind, frames = KINDS[which]
        # All of it inside the window, and not on its very last samples.
        at = int(rng.integers(window.start, window.stop - abs(frames) - 2))
        found[playback, row] = SoundFault(kind, frames, lead + row * shot + at, first + playback)
    return found


def through_jack(per_kind: int, load_processes: int) -> dict[str, Any]:
    """Shots with and without faults through jackd."""
    what = load("acoustic-emulated")
    with open_rig(load("acoustic-emulated", "rig.audio.device=sim")) as memory, blas_threads(1):
        inner = sound_layer(memory)
        protocol = inner.protocol
        batch = inner.info.max_batch - inner.info.max_batch % 2
        # Playback 1 is the mark that the latency is learned from, 2 the commissioning.
        faults = plan(per_kind, batch, protocol.tones.shot_frames, protocol.tones.window, protocol.sync.lead, 3)
        playbacks = max(playback for playback, _ in faults) + 1
        drive = np.random.default_rng(1).random((playbacks * batch, inner.info.n_in))
        memory.commission()
        memory.restart(0)
        rows = [
            memory.layers[0].forward(drive[i : i + batch])
            for i in track(
                range(0, len(drive), batch), "in memory, without faults", console=Console(stderr=True), transient=True
            )
        ]
        quiet = np.concatenate(rows)
    found: dict[str, dict[str, Any]] = {}
    noises = []
    with jack_room(CONFIG, list(faults.values())) as room, open_rig(what) as rig, blas_threads(1):
        layer = sound_layer(rig)
        time.sleep(APART_S)
        rig.commission()
        with busy(load_processes):
            for playback in track(
                range(playbacks), "through jackd, with faults", console=Console(stderr=True), transient=True
            ):
                time.sleep(APART_S)
                part = slice(playback * batch, (playback + 1) * batch)
                taken = layer.protocol.take(drive[part].reshape(batch, layer.protocol.sound.n_speakers, -1))
                y, sigma = layer._outputs(taken.tones, taken.sigma)
                for row, told in enumerate(taken.faults):
                    fault = faults.get((playback, row))
                    kind = "none" if fault is None else name(fault.kind, fault.frames)
                    entry = found.setdefault(kind, {"shots": 0, "rejected": 0, "off": [], "why": []})
                    entry["shots"] += 1
                    entry["rejected"] += bool(told)
                    if told:
                        entry["why"].append(told)
                    else:
                        entry["off"].append(float(np.sqrt(((y[row] - quiet[part][row]) ** 2).mean())))
                        noises.append(float(np.sqrt((sigma[row] ** 2).mean())))
        late = layer.protocol.sound.stream.late
    counts = room.end()
    noise = float(np.sqrt(np.mean(np.square(noises))))
    return {"kinds": found, "noise": noise, "late_buffers": late, **counts, "rms": float(np.sqrt((quiet**2).mean()))}


def in_quiet(shots: int) -> dict[str, Any]:
    """Good shots that are rejected in memory, where nothing happens."""
    with open_rig(load("acoustic-emulated", "rig.audio.device=sim")) as rig, blas_threads(1):
        rig.commission()
        rig.restart(1)
        drive, repeated, done = np.random.default_rng(2), 0, 0
        batch = rig.layers[0].info.max_batch
        for _ in track(
            range(-(-shots // batch)), "in memory, for false alarms", console=Console(stderr=True), transient=True
        ):
            for chunk in rig.layers[0].measure(drive.random((batch, rig.layers[0].info.n_in))):
                repeated += int((chunk.attempts - 1).sum())
                done += len(chunk)
    return {"shots": done, "rejected": repeated}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--per-kind", type=int, default=200, help="faults of each kind")
    parser.add_argument("--busy", type=int, default=3, help="busy processes beside it")
    parser.add_argument("--quiet-shots", type=int, default=10_000, help="shots in memory; 0: none")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = through_jack(options.per_kind, options.busy)
    quiet = in_quiet(options.quiet_shots) if options.quiet_shots else None
    kinds = found["kinds"]
    missed = sum(entry["shots"] - entry["rejected"] for kind, entry in kinds.items() if kind != "none")
    good = kinds["none"]
    met = missed == 0 and good["rejected"] <= 0.01 * good["shots"]
    if quiet is not None:
        met &= quiet["rejected"] <= quiet["shots"] / 10_000
    if options.json:
        print(json.dumps({**found, "quiet": quiet, "met": met}))
    else:
        show(
            f"faults inside the analysis window, through jackd, {options.busy} busy processes beside it",
            ("fault", "shots", "rejected", "passed as data"),
            [
                (kind, entry["shots"], entry["rejected"], entry["shots"] - entry["rejected"])
                for kind, entry in sorted(kinds.items())
                if kind != "none"
            ]
            + [("none: good shots", good["shots"], good["rejected"], "")],
        )
        off = np.array(good["off"])
        print(
            f"accepted shots differ from the run without faults by {off.mean():.2e} Pa RMS (largest {off.max():.2e}); "
            f"noise of two readings {np.sqrt(2) * found['noise']:.2e} Pa; responses {found['rms']:.2f} Pa RMS"
        )
        print(f"JACK tells of {found['xruns']} xruns, PortAudio of {found['late_buffers']} late buffers")
        for why in sorted(set(good["why"])):
            print(f"  a good shot was rejected: {why}")
        if quiet is not None:
            print(f"in memory, nothing happens: {quiet['rejected']} of {quiet['shots']} shots rejected")
    sys.exit(not met)


if __name__ == "__main__":
    main()
