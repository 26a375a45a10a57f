"""How much of the time is there sound in the air? A batch of labtrain's beside `sounddevice.playrec` shot by shot.

Both play the same shots in real time through PortAudio and a JACK server, on the simulated room of
config/acoustic-emulated.yaml as a sound card (audio_room.py; Linux), one after the other in one run.

shots/s     good shots in a second of wall time, from the call to the last response; judging and repeating bad ones is
            in it. labtrain's must reach 95 % of what shots without any gap would: 1 / (settle + integration).
in the air  share of this time in which a good shot settles or is recorded. Guards, leads and repeats do not count.
sounding    share of the served time in which a speaker got samples that are not 0, as the room recorded it.
served      share of the wall time that the server's clock counted. A sound card keeps its clock whatever the computer
            does; this server falls behind when the machine is busy: what lacks here is no gap of labtrain's.
bad         shots that were played again (labtrain); shots of which samples are missing or wrong, found by the mark on
            the loopback, which a plain loop does not look for (playrec).
latency     from output to input in frames, least and most, and how many shots did not have the most frequent one.

The loop plays a shot, 0.2 s of silence so that its end is recorded too, waits for `playrec`, and goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from audio_room import DEVICE, PERIOD, Room, jack_room
from common import ROOT, load, show
from numpy.typing import NDArray

from labtrain.jobs import open_rig
from labtrain.rigs.acoustic import AcousticRig
from labtrain.rigs.acoustic_layer import SoundLayer
from labtrain.rigs.sync_mark import first_difference, locate, mark

Array = NDArray[np.float64]

CONFIG = ROOT / "config" / "acoustic-emulated.yaml"
BAR, RATE_HZ = 0.95, 48_000.0
TAIL_S = 0.2


@dataclass
class Measured:
    """A batch.

    Parameters
    ----------
    what : str
    shots, bad : int
    began_s, ended_s : float
        Seconds since 1970-01-01.
    shot_s : float
        Settle and integration.
    latencies : list of int
        Of each playback (labtrain) or shot (playrec).
    sounding, served : float
        Shares of the time.
    """

    what: str
    shots: int
    bad: int
    began_s: float
    ended_s: float
    shot_s: float
    latencies: list[int]
    sounding: float = 0.0
    served: float = 1.0

    @property
    def rate(self) -> float:
        return self.shots / (self.ended_s - self.began_s)

    @property
    def elsewhere(self) -> int:
        """Latencies that are not the most frequent one."""
        return len(self.latencies) - Counter(self.latencies).most_common(1)[0][1]


def batch(rig: AcousticRig, drive: Array) -> Measured:
    """labtrain: all shots in one call."""
    (layer,) = rig.layers
    inner: Any = layer
    while not isinstance(inner, SoundLayer):
        inner = inner.inner
    attempts, latencies = 0, []
    began_s = time.time()
    for shots in layer.measure(drive):
        attempts += int(shots.attempts.sum())
        latencies.append(inner.protocol.sync.latency)
    shot_s = layer.info.settle_s + layer.info.integration_s
    name = f"labtrain, batch of {len(drive)}"
    return Measured(name, len(drive), attempts - len(drive), began_s, time.time(), shot_s, latencies)


def loop(rig: AcousticRig, drive: Array) -> Measured:
    """A loop as one would write it; the shots are looked at afterwards."""
    import sounddevice

    config = rig.config
    tones, cable = rig.multitone(), config.sound.loopback
    assert cable is not None
    rate = config.rate_hz
    played = []
    for number, row in enumerate(drive):
        speakers = tones.play(config.shot.level * row.reshape(1, len(config.sound.speakers), -1))
        sent = mark(0, number, len(speakers), cable.level)
        tail = np.zeros((round(TAIL_S * rate), speakers.shape[1] + 1))
        played.append(np.concatenate([np.column_stack([speakers, sent]), tail]).astype(np.float32))
    sounddevice._terminate()
    sounddevice._initialize()  # it lists devices once
    channels = len(config.sound.microphones) + 1
    began_s = time.time()
    came = [sounddevice.playrec(out, rate, channels=channels, device=DEVICE, blocking=True) for out in played]
    ended_s = time.time()
    latencies, bad = [], 0
    for out, heard in zip(played, came, strict=True):
        sent = out[: len(out) - round(TAIL_S * rate), -1].astype(np.float64)
        lag, _ = locate(sent[: len(sent) // 4], heard[:, -1])
        part = heard[lag : lag + len(sent), -1]
        gain = float(part @ sent[: len(part)] / (sent[: len(part)] @ sent[: len(part)]))
        wrong = first_difference(gain * sent[: len(part)], part, 0.05 * cable.level)
        bad += len(part) < len(sent) or wrong is not None
        latencies.append(lag)
    shot_s = (config.settle_periods + config.average_periods) * config.period_s
    return Measured("playrec, shot by shot", len(drive), bad, began_s, ended_s, shot_s, latencies)


def listen(measured: Measured, room: Room) -> None:
    """Fill in what the room recorded."""
    samples, times_s = room.heard()
    first, last = np.searchsorted(times_s, [measured.began_s, measured.ended_s])
    part = samples[first * PERIOD : last * PERIOD, :-1]
    # A tone passes through 0: a moment counts as silent if a whole millisecond is.
    whole = len(part) // 48 * 48
    loud: Array = (part[:whole] != 0).any(axis=1).reshape(-1, 48).any(axis=1)
    measured.sounding = float(loud.mean())
    measured.served = len(part) / RATE_HZ / (measured.ended_s - measured.began_s)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shots", type=int, default=512, help="of labtrain's batch; it takes 0.35 s a shot")
    parser.add_argument("--loop", type=int, default=64, help="shots of the loop beside it")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    options = parser.parse_args()

    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with jack_room(CONFIG, keep=True) as room:
        rig = open_rig(load("acoustic-emulated"))
        assert isinstance(rig, AcousticRig)
        drive = np.random.default_rng(0).random((max(options.shots, options.loop), 20))
        rows = [loop(rig, drive[: options.loop])]
        with rig:
            rig.commission()
            rows.insert(0, batch(rig, drive[: options.shots]))
    for row in rows:
        listen(row, room)
    share = rows[0].rate * rows[0].shot_s
    good = share >= BAR
    if options.json:
        told = [asdict(row) | {"shots_per_s": row.rate, "in_the_air": row.rate * row.shot_s} for row in rows]
        print(json.dumps({"rows": told, "room": room.end(), "good": good, "load": os.getloadavg()[0]}))
    else:
        show_table(rows)
        word = "at least" if good else "less than"
        print(
            f"labtrain: {share:.3f} / (settle + integration), {word} {BAR:g} ({share / rows[0].served:.3f} on the "
            f"server's clock); load {os.getloadavg()[0]:.1f}"
        )
    return 0 if good else 1


def show_table(rows: Sequence[Measured]) -> None:
    show(
        f"sound in the air; a shot settles and is recorded for {rows[0].shot_s:.3f} s",
        ("", "shots", "s", "shots/s", "in the air", "sounding", "served", "bad", "latency", "another"),
        (
            (row.what, row.shots, f"{row.ended_s - row.began_s:.1f}", f"{row.rate:.3f}",
             f"{100 * row.rate * row.shot_s:.1f} %", f"{100 * row.sounding:.1f} %", f"{100 * row.served:.1f} %",
             row.bad, f"{min(row.latencies)} to {max(row.latencies)}", row.elsewhere)
            for row in rows
        ),
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
