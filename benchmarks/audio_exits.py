"""Every way out of a run that plays sound, through driver, PortAudio and a JACK server: silent in time, and no click?

`labtrain record` and `labtrain train` run on config/acoustic-emulated.yaml and a simulated room that is a sound card
(audio_room.py; Linux). Each ends at a random moment after the first sample that is not 0, which is the mark from which
the rig learns its latency; commissioning and playbacks follow. What the room's outputs got is recorded and looked at:

silent      from the signal to the last sample of any output, loopback included, that is not 0; at most 100 ms. An
            error counts from where it is raised, `labtrain safe` from its SIGTERM: before, it starts and looks around.
step        largest difference of two consecutive samples of a speaker from the signal on; at most that of all tones
            at drive 1: level * sum of 2 sin(pi bin / period).
peak        largest sample of a speaker, likewise; at most rig.audio.max_peak.
click       largest sample of a speaker above 5 kHz, where its tones have nothing; at most -60 dB of full scale. A
            playback that is cut at once has about -24 dB, steady playback about -88 dB.

kill -9 cannot fade: the server cuts the output at once. It counts as good when it is silent in time; its click is told.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
from audio_room import PERIOD, Room, jack_room
from common import ROOT, load, show
from numpy.typing import NDArray
from scipy.signal import firwin, oaconvolve

Array = NDArray[np.float64]

BAR_S = 0.1
CLICK_DB, ABOVE_HZ = -60.0, 5000.0
RATE_HZ = 48_000.0
CONFIG = ROOT / "config" / "acoustic-emulated.yaml"
SETTINGS = ("rig.shot.playback_s=4",)  # so that moments fall between playbacks, too
LONGEST_S = 11.0  # latency 1.4 s, commissioning 5.6 s, then a playback and more
AFTER_S = 0.5  # for which it is recorded after the end
NORMAL, KILL, SAFE = "normal end", "kill -9", "labtrain safe"
SIGNALS = {"Ctrl-C": signal.SIGINT, "SIGTERM": signal.SIGTERM, "closed terminal": signal.SIGHUP, KILL: signal.SIGKILL}
BROKEN = ("error anywhere", "error in driver")  # raised in a child that is told to by SIGUSR1
MIX = ("Ctrl-C", "SIGTERM", *BROKEN, "Ctrl-C", "closed terminal", SAFE, "SIGTERM", "Ctrl-C", KILL)
WHAT = (["record", str(CONFIG), "--shots", "100000"], ["train", str(CONFIG)])


@dataclass
class Outcome:
    """One run and what was heard of its end.

    Parameters
    ----------
    exit : str
    command : str
        ``record`` or ``train``.
    moment_s : float
        Of the signal, after the first sample.
    signal_s : float
        Seconds since 1970-01-01.
    status : int
        Exit code.
    end_s : float
        From the signal to the end of the process.
    until_s : float
        Until when it is looked at.
    sounding : str
        What the outputs had at the signal: ``speakers``, ``mark`` or ``nothing``; empty if it was not recorded.
    silent_s, step, peak, click : float
        As the module says; `click` as a fraction of full scale.
    stood_s : float
        Longest time from one block of samples to the next, from the signal to the silence: 5 ms, or the server stood
        still.
    """

    exit: str
    command: str
    moment_s: float
    signal_s: float
    status: int
    end_s: float
    until_s: float
    sounding: str = ""
    silent_s: float = 0.0
    step: float = 0.0
    peak: float = 0.0
    click: float = 0.0
    stood_s: float = 0.0

    def wrong(self, limits: dict[str, float]) -> list[str]:
        """What is not as it should be."""
        if not self.sounding:
            return ["not recorded"]
        told = []
        if self.silent_s > BAR_S:
            told.append(f"silent after {1e3 * self.silent_s:.0f} ms (server still for {1e3 * self.stood_s:.0f} ms)")
        if self.peak > limits["peak"]:
            told.append(f"peak {self.peak:.3f}")
        if self.exit != KILL:
            if self.step > limits["step"]:
                told.append(f"step {self.step:.3f}")
            if self.click > 10 ** (CLICK_DB / 20):
                told.append(f"click {_db(self.click)} dB")
        expected = {NORMAL: (0,), KILL: (-9,), BROKEN[0]: (1,), BROKEN[1]: (1,)}.get(self.exit, (130,))
        if self.status not in expected:
            told.append(f"exit code {self.status}")
        return told


def run(exit: str, command: Sequence[str], moment_s: float, room: Room, folder: Path) -> Outcome:
    """One run, ended in one way."""
    when = folder / "when"
    when.unlink(missing_ok=True)
    rest = [*command, "--runs", str(folder / "runs"), *(word for item in SETTINGS for word in ("--set", item))]
    started_s = time.time()
    log = folder / "log"
    labtrain = [sys.executable, __file__, "--child", str(when)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with log.open("w") as said:
        process = subprocess.Popen([*labtrain, *rest], stdout=said, stderr=said, env=environment)
    try:
        while room.sounded_s() < started_s:
            if process.poll() is not None:
                raise SystemExit(f"the run ended before it played anything: {log.read_text()}")
            time.sleep(0.002)
        first_s = room.sounded_s()
        if exit == NORMAL:
            status = process.wait(timeout=120)
            end_s = room.sounded_s()
            signal_s = end_s - AFTER_S  # there is none: how the last playback ends is looked at
        else:
            time.sleep(max(0.0, first_s + moment_s - time.time()))
            signal_s = time.time()
            if exit == SAFE:
                subprocess.run([*labtrain, "safe", str(CONFIG)], capture_output=True, env=environment, check=True)
            else:
                if exit in BROKEN:
                    (folder / "break").write_text(exit)
                process.send_signal(SIGNALS.get(exit, signal.SIGUSR1))
            status = process.wait(timeout=60)
            end_s = time.time()
            if exit == SAFE or exit in BROKEN:
                signal_s = float(when.read_text())
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    while room.recorded_s() < max(end_s, signal_s) + AFTER_S:  # a busy machine may hold the server up
        time.sleep(0.01)
    if exit != NORMAL and status not in (0, 1, 130, -9):
        print(log.read_text(), file=sys.stderr)
    return Outcome(exit, command[0], moment_s, signal_s, status, end_s - signal_s, room.recorded_s())


def listen(outcomes: Sequence[Outcome], room: Room) -> float:
    """Fill in what was heard; returns the click of steady playback."""
    samples, times_s = room.heard()
    sharp = firwin(255, ABOVE_HZ, fs=RATE_HZ, pass_zero=False)
    steady = 0.0
    for row in outcomes:
        first, last = np.searchsorted(times_s, [row.signal_s - 1.0, row.until_s + 1e-3])
        part = samples[first * PERIOD : last * PERIOD]
        if not (times_s[first:last] > row.signal_s).any():
            continue  # not recorded: that is no silence
        # Samples of a block leave one after the other from the time at which the server has it.
        at_s = np.repeat(times_s[first:last], PERIOD) + np.tile(np.arange(1, PERIOD + 1), last - first) / RATE_HZ
        before, after = at_s <= row.signal_s, at_s > row.signal_s
        speakers = part[:, :-1].astype(np.float64)
        recent = part[before][-1024:]
        row.sounding = "speakers" if recent[:, :-1].any() else "mark" if recent.any() else "nothing"
        loud = np.flatnonzero(part.any(axis=1) & after)
        row.silent_s = float(at_s[loud[-1]] - row.signal_s) if len(loud) and row.exit != NORMAL else 0.0
        high = np.abs(oaconvolve(speakers, sharp[:, None], mode="same", axes=0)).max(axis=1)
        row.step = float(np.abs(np.diff(speakers[after], axis=0)).max(initial=0.0))
        row.peak = float(np.abs(speakers[after]).max(initial=0.0))
        late = at_s > row.signal_s - 0.002
        row.click = float(high[late].max(initial=0.0))
        blocks_s = times_s[first:last]
        around_s = blocks_s[blocks_s <= row.signal_s][-1:].tolist() + blocks_s[blocks_s > row.signal_s].tolist()
        within_s = [time_s for time_s in around_s if time_s <= row.signal_s + row.silent_s + 0.01]
        row.stood_s = float(np.diff(within_s).max(initial=0.0))
        steady = max(steady, float(high[~late][len(sharp) :].max(initial=0.0)))  # behind the edge of what is looked at
    return steady


def _db(value: float) -> str:
    return f"{20 * np.log10(value):.0f}" if value > 0 else "none"


def child(when: Path, arguments: list[str]) -> None:
    """`labtrain` in this process, which notes when an error is raised or SIGTERM is sent."""
    import psutil

    from labtrain import cli
    from labtrain.drivers.stream import SampleStream

    broken = threading.Event()

    def fail(what: str) -> None:
        when.write_text(repr(time.time()))
        raise RuntimeError(f"a mistake in the {what}")

    def told(number: int, frame: Any) -> None:  # noqa: ARG001
        if (when.parent / "break").read_text() == BROKEN[0]:
            fail("method")
        broken.set()

    def record(self: SampleStream, start: int, frames: int, check: Any = lambda: None) -> Any:
        def checked() -> None:
            if broken.is_set():
                broken.clear()
                fail("driver")
            check()

        return real(self, start, frames, checked)

    def terminate(self: psutil.Process) -> None:
        when.write_text(repr(time.time()))
        self.send_signal(signal.SIGTERM)

    real, SampleStream.record = SampleStream.record, record  # type: ignore[method-assign]
    psutil.Process.terminate = terminate  # type: ignore[method-assign]
    signal.signal(signal.SIGUSR1, told)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["labtrain", *arguments]
    cli.main()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of all moments")
    parser.add_argument("--moments", type=int, default=50, help="random moments; normal ends come beside them")
    parser.add_argument("--only", choices=sorted({*MIX, NORMAL}), help="one way out alone")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--child", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(Path(options.child[0]), options.child[1:])
        return 0

    rig: Any = load("acoustic-emulated").rig
    limits = {
        "step": rig.shot.level * sum(2 * np.sin(np.pi * b / rig.period_frames) for b in rig.tones),
        "peak": float(np.min(rig.sound.max_peak)),
    }
    began_s, rng = time.monotonic(), np.random.default_rng(options.seed)
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="labtrain-exits-") as made, jack_room(CONFIG, keep=True) as room:
        kinds = list(islice(cycle([options.only] if options.only else MIX), options.moments))
        kinds += [] if options.only else [NORMAL, NORMAL]
        few = ["record", str(CONFIG), "--shots", "10"]
        try:
            for number, kind in enumerate(kinds):
                # Each way out with both commands in turn.
                what = few if kind == NORMAL else WHAT[(number // len(MIX) + number) % 2]
                outcomes.append(run(kind, what, rng.uniform(0, LONGEST_S), room, Path(made)))
                print(f"{number + 1} of {len(kinds)}: {kind}", file=sys.stderr, flush=True)
        except KeyboardInterrupt:
            print("stopped: what there is, is told", file=sys.stderr)
    steady = listen(outcomes, room)
    good = sum(not row.wrong(limits) for row in outcomes)
    report = {"seed": options.seed, "runs": [asdict(row) | {"wrong": row.wrong(limits)} for row in outcomes],
              "limits": limits, "steady_click": steady, "xruns": room.end()["xruns"], "good": good,
              "of": len(outcomes), "seconds": time.monotonic() - began_s, "load": os.getloadavg()[2]}  # fmt: skip
    if options.json:
        print(json.dumps(report))
    else:
        show_table(outcomes, limits, steady, options.seed)
        print(f"{good}/{len(outcomes)} as they should be; {report['seconds']:.0f} s, load {report['load']:.1f}")
    return 0 if good == len(outcomes) else 1


def show_table(outcomes: Sequence[Outcome], limits: dict[str, float], steady: float, seed: int) -> None:
    groups: dict[str, list[Outcome]] = {}
    for row in outcomes:
        groups.setdefault(row.exit, []).append(row)

    def spread(values: list[float]) -> str:
        return f"{np.median(values):.0f} / {max(values):.0f}"

    rows = []
    for exit, group in groups.items():
        sounding = [1e3 * row.silent_s for row in group if row.sounding != "nothing" and exit != NORMAL]
        rows.append((
            exit, len(group), sum(row.sounding == "speakers" for row in group),
            spread(sounding) if sounding else "", f"{max(row.step for row in group):.4f}",
            f"{max(row.peak for row in group):.2f}", _db(max(row.click for row in group)),
            spread([1e3 * row.end_s for row in group]) if exit != NORMAL else "",
            ", ".join(map(str, sorted({row.status for row in group}))), sum(not row.wrong(limits) for row in group),
        ))  # fmt: skip
    rows.append(("allowed", "", "", f"{1e3 * BAR_S:.0f}", f"{limits['step']:.4f}", f"{limits['peak']:.2f}",
                 f"{CLICK_DB:.0f}", "", "", ""))  # fmt: skip
    show(
        f"ways out while sound plays, seed {seed}; ms after the signal, median / longest; steady click "
        f"{_db(steady)} dB",
        ("exit", "runs", "sounded", "silent, ms", "step", "peak", "click, dB", "ended, ms", "exit codes", "good"),
        rows,
    )
    for row in outcomes:
        if wrong := row.wrong(limits):
            print(f"not good: {row.exit} ({row.command}), {row.moment_s:.2f} s after the first sound: {wrong}")


if __name__ == "__main__":
    sys.exit(main())
