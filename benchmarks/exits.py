"""Every way out of a run, against emulated instruments in another process: is RF off, is the pattern the default one?

`labtrain train` runs on a VNA behind TCP and a metasurface behind a pseudo-terminal (Linux). It ends by itself, by an
error in a driver or in the training method, by Ctrl-C or SIGTERM at a random moment after RF was first switched on, or
by kill -9 followed by `labtrain safe`. When it has ended, other clients ask the emulators themselves: `OUTP?` must say
0 and `?Pattern` all zeros. Times are those of the bytes in the run's own trace, from the signal to the answers that
confirm the safe state, and those to the end of the process. Moments come from a printed seed.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import serial

from labtrain.drivers.trace import read_trace

ROOT = Path(__file__).parents[1]
BAR_S = 1.0
SAFE = ("0", "default")
KILL = (signal.SIGKILL,)
JOB = """\
rig:
  type: microwave
  frequencies_hz: {start: 5.15e9, stop: 5.875e9, points: 20}
  vna: {driver: keysight-pna}
  metasurface: {driver: open-source-ris, n_pixels: 40}
  commission: {patterns: 20, repeats: 5}
dataset: {type: xor-tones, classes: 2, distractors: 2, speakers: 2, values: uniform}
network: {layers: 2, width: 20}
training: {method: phyll}
trials: {count: 1}
"""
# Answers at once: most of a run is arithmetic, tests, ablations and files. Answers in real time: it is sweeping.
KINDS = {
    "at once": ("dataset.rows=300", "training.epochs=40", "training.inner=40"),
    "in real time": ("dataset.rows=60", "training.epochs=4", "rig.real_time=true"),
}
LABTRAIN = [sys.executable, "-m", "labtrain"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


@dataclass
class Outcome:
    """One run and what it left behind.

    Parameters
    ----------
    answers : str
        Of the emulators: ``at once`` or ``in real time``.
    exit : str
        How the run was ended.
    detail : str
        At which sweep or step an error was raised.
    moment_s : float or None
        Of the signal, after RF was first switched on.
    radiated : bool
        Whether RF was on, or pixels set, at the signal; without one, whether they ever were.
    rf, pattern : str
        What the emulators say afterwards: "0" and "default" when safe.
    off_s, end_s : float or None
        From the signal until everything was off, by the trace; until the process, or `labtrain safe`, had ended.
    status : int
        Exit code.
    """

    answers: str
    exit: str
    detail: str
    moment_s: float | None
    radiated: bool
    rf: str
    pattern: str
    off_s: float | None
    end_s: float | None
    status: int

    @property
    def good(self) -> bool:
        in_time = self.off_s is None or self.off_s <= BAR_S
        return (self.rf, self.pattern) == SAFE and in_time and self.status != 4


class Bench:
    """Emulators in another process, and a configuration that uses them."""

    def __init__(self, folder: Path, answers: str) -> None:
        self.folder, self.answers = folder, answers
        folder.mkdir(parents=True)
        (folder / "job.yaml").write_text(JOB, encoding="utf-8")
        self.config = folder / "lab.yaml"
        overrides = [word for setting in KINDS[answers] for word in ("--set", setting)]
        self.process = subprocess.Popen(
            [*LABTRAIN, "emulate", str(folder / "job.yaml"), *overrides, "--out", str(self.config), "--json"],
            stdout=subprocess.PIPE, env=ENVIRONMENT, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        ready = json.loads(self.process.stdout.readline())
        self.vna = ready["addresses"]["vna"]["socket"].removeprefix("tcp://")
        self.surface = ready["addresses"]["metasurface"]["pty"]
        self.runs, self.trace = 0, folder

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait()

    def ask(self) -> tuple[str, str]:
        """What the instruments say of themselves, asked by clients that share nothing with labtrain."""
        host, _, port = self.vna.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=5) as vna:
            vna.sendall(b"OUTP?\n")
            rf = vna.recv(100).decode().strip()
        with serial.Serial(self.surface, timeout=5) as surface:
            surface.reset_input_buffer()
            surface.write(b"\n?Pattern\n")
            pattern = surface.read_until(b"\n").decode().strip()
        return rf, "default" if pattern == "#0X" + "0" * 64 else pattern

    @contextmanager
    def train(self, error: str = "") -> Iterator[tuple[subprocess.Popen[str], Path]]:
        """A run, and the file to which it traces its bytes."""
        self.runs += 1
        trace = self.folder / f"{self.runs:03d}.trace"
        what = ["train", str(self.config), "--runs", str(self.folder / "runs"), "--trace-io", str(trace)]
        command = [sys.executable, __file__, "--child", error, *what] if error else [*LABTRAIN, *what]
        with trace.with_suffix(".log").open("w") as said:
            process = subprocess.Popen(command, stdout=said, stderr=said, env=ENVIRONMENT, text=True)
        try:
            yield process, trace
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()

    def run(self, exit: str, detail: str = "", moment_s: float | None = None, signals: Sequence[int] = ()) -> Outcome:
        """One run, ended in one way: by an error in `detail`, by signals, or, without either, by itself."""
        sent_s: float | None = None
        with self.train(detail) as (process, trace):
            if moment_s is not None:
                sent_s = self.began_s(process, trace) + moment_s
                time.sleep(max(0.0, sent_s - time.time()))
                sent_s = time.time()
                for number in signals:
                    process.send_signal(number)
                    time.sleep(0.0 if number == signals[-1] else 0.02)
            status = process.wait(timeout=300)
        self.trace = trace
        radiated, off_s = history(trace, sent_s)
        if signals == KILL:
            radiated, off_s = self.ask() != SAFE, None
            status = subprocess.run(
                [*LABTRAIN, "safe", str(self.config)], env=ENVIRONMENT, capture_output=True
            ).returncode
        end_s = None if sent_s is None else time.time() - sent_s
        return Outcome(self.answers, exit, detail, moment_s, radiated, *self.ask(), off_s, end_s, status)

    def began_s(self, process: subprocess.Popen[str], trace: Path) -> float:
        """When RF was first switched on, in seconds since 1970-01-01; waits for that."""
        while process.poll() is None:
            if trace.exists() and (found := next((t for t, who, on in orders(trace) if who == "vna" and on), None)):
                return found
            time.sleep(0.01)
        raise SystemExit(f"the run ended before it switched RF on: {trace.with_suffix('.log').read_text()}")


def orders(trace: Path) -> Iterator[tuple[float, str, bool]]:
    """When an instrument confirmed that it is on (RF, or pixels not in their default state), or off."""
    asked: dict[str, tuple[bool, bytes]] = {}
    for entry in read_trace(trace):
        if entry.direction == ">" and b"OUTP 1" in entry.data:
            asked[entry.who] = True, b"1"
        elif entry.direction == ">" and b"OUTP 0" in entry.data:
            asked[entry.who] = False, b"0"
        elif entry.direction == ">" and entry.data.lower().startswith(b"!0x"):
            asked[entry.who] = bool(entry.data[3:].strip(b"0\n")), b"#OK"
        elif entry.direction == "<" and entry.who in asked and entry.data.strip() == asked[entry.who][1]:
            yield entry.time_s, entry.who, asked.pop(entry.who)[0]


def history(trace: Path, since_s: float | None) -> tuple[bool, float | None]:
    """Whether anything was on at that moment (at the end, if None), and how long after it the last thing went off."""
    on: dict[str, bool] = {}
    radiated, off_s = False, 0.0
    for time_s, who, is_on in orders(trace):
        if since_s is None or time_s < since_s:
            radiated = radiated or is_on if since_s is None else any({**on, who: is_on}.values())
        elif not is_on and on.get(who):
            off_s = time_s - since_s
        on[who] = is_on
    return radiated, None if since_s is None else off_s


def break_it(what: str) -> None:
    """Make this process fail: ``driver 30``: at the 30th sweep; ``method 3``: at the third step."""
    from labtrain.drivers.vna.keysight_pna import KeysightPna
    from labtrain.methods.phyll import PhyLL

    where, _, count = what.partition(" ")
    owner: Any = {"driver": KeysightPna, "method": PhyLL}[where]
    name = {"driver": "_sweep", "method": "step"}[where]
    real, left = getattr(owner, name), [int(count)]

    def broken(self: Any) -> Any:
        left[0] -= 1
        if left[0] <= 0:
            raise RuntimeError(f"a mistake in the {where}")
        return real(self)

    setattr(owner, name, broken)


def exits(answers: str, folder: Path, seed: int, moments: int) -> list[Outcome]:
    """All the ways out with one kind of emulators."""
    rng = np.random.default_rng([seed, list(KINDS).index(answers)])
    done: list[Outcome] = []
    with Bench(folder, answers) as bench:
        done.append(bench.run("normal end"))
        times_s = [time_s for time_s, _, _ in orders(bench.trace)]
        longest_s = times_s[-1] - times_s[0]
        few = max(1, moments // 8)
        for _ in range(few):
            done.append(bench.run("error in driver", f"driver {rng.integers(1, 200)}"))
            done.append(bench.run("error in method", f"method {rng.integers(1, 5)}"))
        for number in range(moments):
            name = ("SIGINT", "SIGTERM")[number % 2]
            done.append(bench.run(name, "", rng.uniform(0, longest_s), (getattr(signal, name),)))
        for _ in range(few):
            done.append(bench.run("SIGINT twice", "", rng.uniform(0, longest_s), (signal.SIGINT, signal.SIGINT)))
            done.append(bench.run("kill -9, labtrain safe", "", rng.uniform(0, longest_s), KILL))
    return done


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of all moments")
    parser.add_argument("--moments", type=int, default=50, help="of Ctrl-C and SIGTERM, in all")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--child", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        break_it(options.child[0])
        from labtrain import cli

        sys.argv = ["labtrain", *options.child[1:]]
        cli.main()
        return 0

    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="labtrain-exits-") as folder, ThreadPoolExecutor(len(KINDS)) as pool:
        share = options.moments // len(KINDS)
        jobs = [pool.submit(exits, kind, Path(folder) / kind.replace(" ", "-"), options.seed, share) for kind in KINDS]
        rows = [row for job in jobs for row in job.result()]
    good = sum(row.good for row in rows)
    report = {"seed": options.seed, "runs": [asdict(row) for row in rows], "good": good, "of": len(rows),
              "seconds": time.monotonic() - began_s}  # fmt: skip
    if options.json:
        print(json.dumps(report))
    else:
        show_table(rows, options.seed)
        print(f"{good}/{len(rows)} safe, within {BAR_S:g} s of a signal; {report['seconds']:.0f} s")
    return 0 if good == len(rows) else 1


def show_table(rows: Sequence[Outcome], seed: int) -> None:
    from common import show

    groups: dict[tuple[str, str], list[Outcome]] = {}
    for row in rows:
        groups.setdefault((row.answers, row.exit), []).append(row)

    def worst(values: list[float | None]) -> str:
        known = [value for value in values if value is not None]
        return f"{np.median(known):.2f} / {max(known):.2f}" if known else ""

    show(
        f"ways out, seed {seed}; times in s after the signal, median / longest",
        ("answers", "exit", "runs", "was on", "safe", "all off", "process ended", "exit codes"),
        (
            (answers, exit, len(group), sum(row.radiated for row in group), sum(row.good for row in group),
             worst([row.off_s for row in group]), worst([row.end_s for row in group]),
             ", ".join(map(str, sorted({row.status for row in group}))))
            for (answers, exit), group in groups.items()
        ),
    )  # fmt: skip
    for row in rows:
        if not row.good:
            print(f"not good: {row}")


if __name__ == "__main__":
    sys.exit(main())
