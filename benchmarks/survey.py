"""The survey on cavities with planted resonances, nodes and hum: are its tones clear of them, is its decay true?

Each cavity has its own geometry, quality (20 to 50), noise, mains frequency and planted features; the survey plays
through an emulated converter, with a loopback or, every other time, without. Reverberation time (T20, mean over all
pairs, in the sweep's band) and settle times of the proposed tones are compared with the same functions of the exact
impulse response. Exit status 1 unless every cavity gets the tones asked for, none on a planted feature, and a
reverberation time within 10 %.

python benchmarks/survey.py --cavities 50
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

import numpy as np
from planted import BAND_HZ, RATE_HZ, PlantedRoom

from labtrain.clock import Clock, RealClock
from labtrain.drivers.emulators.sound import Converter, SoundRoom
from labtrain.drivers.sound import LoopbackConfig, SoundConfig, SoundInterface
from labtrain.drivers.stream import SampleStream
from labtrain.errors import LabtrainError
from labtrain.rigs.survey.decay import decay, settle_times
from labtrain.rigs.survey.procedure import Request, survey
from labtrain.rigs.survey.sweep import Sweep, band_limited

BAR = 0.10
FLOW = Converter().flow_full_scale_m3_s


class Emulated(SoundInterface):
    """The interface on an emulator alone."""

    canonical = None
    emulated = True

    def _identify(self) -> str:
        return "emulated converter"

    @classmethod
    def _stream(cls, who: str, config: Any, clock: Clock) -> SampleStream:
        raise NotImplementedError


def one(seed: int, tones: int) -> dict[str, Any]:
    """Survey one cavity and compare."""
    started = time.perf_counter()
    room = PlantedRoom(seed)
    loopback = LoopbackConfig(output=5, input=5) if seed % 2 else None
    config = SoundConfig(loopback=loopback, pascal_full_scale=20.0)
    emulator = SoundRoom(room, Converter(noise_pa=room.noise_pa), RATE_HZ, 4, 4, seed=seed)
    row: dict[str, Any] = {"seed": seed, "planted": len(room.features), "on": [], "problem": ""}
    with Emulated.make("audio", config, RealClock(), emulator) as sound:
        try:
            found = survey(sound, Request(tones=tones, band_hz=BAND_HZ))
        except LabtrainError as error:
            return row | {"problem": str(error), "tones": 0}
    wide = (BAND_HZ[0] / 2.0, 2.0 * BAND_HZ[1])
    sweep = Sweep(*wide, 1.0, 1.0, RATE_HZ)
    exact = band_limited(FLOW * room.impulse(round(4.0 * RATE_HZ)), sweep)
    truth = decay(exact, RATE_HZ).t60_s
    settle = settle_times(exact, RATE_HZ, found.tones_hz, found.request.target, sweep.before)
    return row | {
        "tones": len(found.tones.bins),
        "bins": list(found.tones.bins),
        "on": [f"{hz:.1f} Hz: {what}" for hz in found.tones_hz for what in room.on_planted(hz)],
        "mains_right": found.idle.mains_hz == room.mains_hz,
        "t60_s": found.decay.t60_s,
        "true_t60_s": truth,
        "off": found.decay.t60_s / truth - 1.0,
        "settle_off": float(found.settle_s.max() / settle.max() - 1.0),
        "sound_s": found.seconds,
        "seconds": time.perf_counter() - started,
        "clear": sum(not c.against for c in found.tones.candidates),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cavities", type=int, default=50)
    parser.add_argument("--first", type=int, default=1, help="seed of the first cavity")
    parser.add_argument("--tones", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    options = parser.parse_args()
    from rich.console import Console
    from rich.progress import track

    seeds = range(options.first, options.first + options.cavities)
    rows = [one(s, options.tones) for s in track(seeds, "cavities", console=Console(stderr=True), transient=True)]
    done = [row for row in rows if not row["problem"]]
    clear = [row for row in done if row["tones"] == options.tones and not row["on"]]
    close = [row for row in done if abs(row["off"]) <= BAR]
    met = len(clear) == len(close) == len(rows)
    if options.json:
        print(json.dumps({"met": met, "cavities": rows}))
    else:
        from common import show

        off, settle = (100.0 * np.abs([row[key] for row in done]) for key in ("off", "settle_off"))
        show(
            f"survey over {len(rows)} seeded cavities, {sum(r['planted'] for r in rows)} planted resonances and nodes",
            ("what", "found", "asked"),
            (
                (f"{options.tones} tones, none on a planted feature or on hum", f"{len(clear)}/{len(rows)}", "all"),
                ("reverberation time within 10 % of the exact one", f"{len(close)}/{len(rows)}", "all"),
                ("  off by, median / largest (%)", f"{np.median(off):.1f} / {off.max():.1f}", "10"),
                ("settle time off by, median / largest (%)", f"{np.median(settle):.0f} / {settle.max():.0f}", ""),
                ("mains frequency right", f"{sum(row['mains_right'] for row in done)}/{len(done)}", ""),
                ("clear bins of 40, smallest", str(min(row["clear"] for row in done)), ""),
                ("sound played (s), median", f"{np.median([row['sound_s'] for row in done]):.0f}", ""),
                ("computing (s), median", f"{np.median([row['seconds'] for row in done]):.1f}", ""),
            ),
        )
        for row in rows:
            if row not in clear or row not in close:
                print(
                    f"cavity {row['seed']}: {row['problem'] or row['on'] or ''} decay {100 * row.get('off', 0):+.1f} %"
                )
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
