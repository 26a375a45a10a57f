"""kill -9 at 25 moments, resume, and compare with the run that nobody killed: bit for bit, and no shot measured twice.

Moments are drawn from a printed seed. `delay`: killed from outside at a random time between two commits. `before`,
`after`: the process kills itself right before or right after a certain COMMIT. `file`: after an array file has been
written and before the transaction that names it; `rename`: before that file gets its name. Some runs are killed again
while they resume. The run is small: config/acoustic.yaml with drift and a generated task, two trials of a few seconds.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
SMALL = (
    "dataset.type=xor-tones",
    "dataset.values=uniform",
    "dataset.distractors=4",
    "rig.drift_walk_k=0.05",  # the world has a state that a resume must meet again
    "network.width=12",
    "trials.count=2",
    "training.inner=10",
)
SETTINGS = {
    "layerwise": (*SMALL, "dataset.rows=400", "training.epochs=20"),
    "joint": (
        *SMALL, "dataset.rows=100", "dataset.validation_fraction=0.2", "training.schedule=joint",
        "training.negatives=random", "training.epochs=6", "training.score_every=2", "training.patience=9",
    ),
}  # fmt: skip
CADENCES_S = (0.0, 0.2, 60.0)  # between checkpoints: after every step, some, none but the first and the last


@dataclass(frozen=True)
class Kill:
    """The moment of a kill.

    Parameters
    ----------
    kind : "delay", "before", "after", "file" or "rename"
    phase : "training", "test" or "ablations"; the commit counted is one of this phase
    what : "chunk", "metrics", "checkpoint" or "trial": what the commit is about; "begun", "ablation": marks without one
    count : int
        Which one of them in this process, from 1.
    delay_s : float
        Time from the commit to the kill, for ``delay``.
    """

    kind: str
    phase: str
    what: str
    count: int
    delay_s: float = 0.0

    def __str__(self) -> str:
        place = f"{self.phase} {self.what} {self.count}"
        return f"{1e3 * self.delay_s:.1f} ms after {place}" if self.kind == "delay" else f"{self.kind} {place}"


# --- the process that is killed ---------------------------------------------------------------------------------------


class Child:
    """Trains or resumes, tells each commit on stdout, and kills itself where it was told to."""

    def __init__(self, kill: Kill | None) -> None:
        self.kill = kill if kill is not None and kill.kind != "delay" else None
        self.phase = "training"
        self.counts: Counter[tuple[str, str, str]] = Counter()

    def at(self, kind: str, what: str) -> None:
        """A moment that may be the one to die at."""
        self.counts[kind, self.phase, what] += 1
        here = (kind, self.phase, what, self.counts[kind, self.phase, what])
        if self.kill is not None and here == (self.kill.kind, self.kill.phase, self.kill.what, self.kill.count):
            os.kill(os.getpid(), signal.SIGKILL)

    def tell(self, what: str) -> None:
        os.write(sys.stdout.fileno(), f"{self.phase} {what}\n".encode())

    def hear(self, event: Any) -> None:
        """Listener of the trainer: knows the phase."""
        phases = {"TrialStarted": "training", "Testing": "test", "AblationStarted": "ablations"}
        if type(event).__name__ in phases:
            self.phase = phases[type(event).__name__]
            self.tell("ablation" if self.phase == "ablations" else "begun")

    def run(self, config: str, overrides: Sequence[str], runs: str, folder: str | None) -> None:
        from labtrain import checkpoints, experiment, jobs, rundb

        jobs.figures = lambda _: None  # drawing takes longer than the rest and is not what is tested
        callers = {"append": "chunk", "log_metrics": "metrics", "checkpoint": "checkpoint", "save_trial": "trial"}
        transaction, write_arrays, replace = rundb.Database.transaction, checkpoints.write_arrays, os.replace

        def purpose() -> str:
            frame: FrameType | None = sys._getframe(2)
            while frame is not None and frame.f_code.co_name not in callers:
                frame = frame.f_back
            return callers[frame.f_code.co_name] if frame is not None else "other"

        @contextmanager
        def watched(database: rundb.Database, *, durable: bool = False) -> Iterator[Any]:
            what = purpose()
            with transaction(database, durable=durable) as connection:
                yield connection
                self.at("before", what)
            self.at("after", what)
            self.tell(what)

        def written(path: Path, arrays: Any) -> str:
            digest: str = write_arrays(path, arrays)
            self.at("file", purpose())
            return digest

        def renamed(source: Any, target: Any, **options: Any) -> None:
            if str(target).endswith(".npz"):
                self.at("rename", purpose())
            replace(source, target, **options)

        rundb.Database.transaction = watched  # type: ignore[method-assign, assignment]
        checkpoints.write_arrays = written
        os.replace = renamed  # type: ignore[assignment]
        if folder is None:
            jobs.train(experiment.load(config, overrides), runs, [self.hear])
        else:
            jobs.resume(folder, overrides, [self.hear])


def start(
    runs: Path, kill: Kill | None, overrides: Sequence[str], folder: Path | None = None,
    config: Path = ROOT / "config" / "acoustic.yaml",
) -> tuple[int, list[tuple[float, str]]]:  # fmt: skip
    """Train in a process of its own (or resume `folder`), killed at `kill`; returns its exit status and marks.

    Marks are (seconds since the start, "phase what"), one for each commit, each phase and each ablation begun.
    """
    told = {
        "kill": dataclasses.asdict(kill) if kill else None,
        "run": [str(config), list(overrides), str(runs), str(folder) if folder else None],
    }
    command = [sys.executable, str(Path(__file__).resolve()), "--child", json.dumps(told)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    marks: list[tuple[float, str]] = []
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=environment, text=True) as process,
    ):
        began, left = time.monotonic(), kill.count if kill else 0
        assert process.stdout is not None
        for line in process.stdout:
            marks.append((time.monotonic() - began, line.strip()))
            if kill is not None and kill.kind == "delay" and line.split() == [kill.phase, kill.what]:
                left -= 1
                if left == 0:
                    time.sleep(kill.delay_s)
                    process.kill()
        status = process.wait()
        errors.seek(0)
        if status not in (0, -signal.SIGKILL):
            raise SystemExit(f"the child failed with status {status}: {errors.read()}")
    return status, marks


# --- what is compared -------------------------------------------------------------------------------------------------


def timeless(value: Any) -> Any:
    """The same without wall-clock seconds; arrays as dtype, shape and bytes."""
    if isinstance(value, dict):
        return {key: timeless(item) for key, item in value.items() if not key.startswith("seconds")}
    if isinstance(value, list):
        return [timeless(item) for item in value]
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    return repr(value)  # of floats exact, and equal for nan


def differences(reference: Path, folder: Path) -> list[str]:
    """In what a run differs from the uninterrupted one; empty if in nothing but times."""
    from labtrain.clock import RealClock
    from labtrain.runs import Run

    found = []
    with (
        Run.open(reference, write=False, clock=RealClock()) as a,
        Run.open(folder, write=False, clock=RealClock()) as b,
    ):
        if b.status != "finished":
            found.append(f"status {b.status}")
        if a.trials().keys() != b.trials().keys():
            return [*found, f"trials {list(b.trials())}, not {list(a.trials())}"]
        for trial, results in a.trials().items():
            if timeless(results) != timeless(b.trials()[trial]):
                found.append(f"results of trial {trial}")
            if timeless(a.trial_state(trial)) != timeless(b.trial_state(trial)):
                found.append(f"final state of trial {trial}")
        if [(m.trial, m.step, timeless(m.value)) for m in a.metrics()] != [
            (m.trial, m.step, timeless(m.value)) for m in b.metrics()
        ]:
            found.append("metrics")
        found += shots_measured_again(a, b)
    return found


def shots_measured_again(a: Any, b: Any) -> list[str]:
    """In what the log of run `b` differs from that of `a`: numbers of shots, drives, answers."""
    found, logs = [], []
    for run in (a, b):
        counters: Counter[int] = Counter()
        drives: Counter[tuple[int, bytes]] = Counter()
        rows = []
        for chunk in run.chunks():
            if chunk.state["shot"] != counters[chunk.trial] + len(chunk.shots):
                found.append(f"shot numbers break off at chunk {chunk.id}")
            counters[chunk.trial] = chunk.state["shot"]
            drives.update((chunk.trial, row.tobytes()) for row in chunk.shots.x)
            shots = dataclasses.asdict(chunk.shots)
            del shots["started_s"]
            rows.append(timeless([chunk.trial, chunk.layer, chunk.step, shots, chunk.state, chunk.environment]))
        logs.append((run.shots_count(), drives, rows))
    for name, mine, reference in zip(("total of shots", "drives", "logged answers"), logs[1], logs[0], strict=True):
        if mine != reference:
            found.append(name)
    return found


# --- the 25 moments ---------------------------------------------------------------------------------------------------


def moments(schedule: str, marks: Sequence[tuple[float, str]], rng: np.random.Generator) -> list[tuple[Kill, float]]:
    """Kills and checkpoint cadences for one schedule, from the marks of its uninterrupted run."""
    # Checkpoints do not count: how many there are depends on the machine's speed.
    steady = [(time_s, mark) for time_s, mark in marks if mark.split()[1] in ("begun", "chunk", "metrics", "ablation")]
    total = Counter(mark for _, mark in steady)
    training = [i for i, (_, mark) in enumerate(steady[:-1]) if mark.startswith("training")]
    lengths = np.array([steady[i + 1][0] - steady[i][0] for i in training])
    drawn: list[tuple[Kill, float]] = []

    def any_of(mark: str) -> int:
        return int(rng.integers(1, total[mark] + 1))

    for _ in range(6 if schedule == "layerwise" else 5):
        i = int(rng.choice(training, p=lengths / lengths.sum()))  # so that every moment in training is as likely
        phase, what = steady[i][1].split()
        count = sum(mark == steady[i][1] for _, mark in steady[: i + 1])
        delay_s = float(rng.uniform(0, steady[i + 1][0] - steady[i][0]))
        drawn.append((Kill("delay", phase, what, count, delay_s), float(rng.choice(CADENCES_S))))
    steps = total["training metrics"]
    for kind, what in (("before", "chunk"), ("after", "chunk"), ("after", "metrics")):
        drawn.append((Kill(kind, "training", what, any_of(f"training {what}")), float(rng.choice(CADENCES_S))))
    # Except with one after every step.
    drawn += [(Kill(kind, "training", "checkpoint", int(rng.integers(2, steps + 1))), 0.0) for kind in
              (("before", "file") if schedule == "layerwise" else ("after", "rename"))]  # fmt: skip
    if schedule == "layerwise":
        drawn.append((Kill("before", "test", "chunk", any_of("test chunk")), 60.0))
        drawn.append((Kill("delay", "ablations", "ablation", any_of("ablations ablation"), 0.005), 0.2))
    else:
        drawn.append((Kill("after", "test", "chunk", any_of("test chunk")), 0.2))
        drawn.append((Kill("file", "ablations", "trial", int(rng.integers(1, 3))), 60.0))
    return drawn


def attempt(
    name: str, schedule: str, reference: Path, kill: Kill, cadence_s: float, again: Kill | None
) -> dict[str, Any]:
    """Kill one run, resume it, compare."""
    runs = reference.parents[1] / name
    status, marks = start(runs, kill, (*SETTINGS[schedule], f"run.checkpoint_s={cadence_s}"))
    died_in = (marks[-1][1].split()[0] if kill.kind == "delay" else kill.phase) if status else None
    folder = next(runs.iterdir())
    second = None
    if again is not None and status:
        second = start(runs, again, (), folder)[0] != 0
    if status:
        start(runs, None, (), folder)
    wrong = differences(reference, folder) if status else ["was not killed"]
    return {
        "run": name, "schedule": schedule, "checkpoint_s": cadence_s, "moment": str(kill), "died_in": died_in,
        "second_kill": None if again is None else str(again), "second_kill_met": second, "wrong": wrong,
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of all moments")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        told = json.loads(options.child)
        Child(Kill(**told["kill"]) if told["kill"] else None).run(*told["run"])
        return 0

    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="labtrain-kill-") as folder, ThreadPoolExecutor(2) as pool:
        jobs: list[Future[dict[str, Any]]] = []
        for number, schedule in enumerate(SETTINGS):
            rng = np.random.default_rng([options.seed, number])
            marks = start(Path(folder) / schedule, None, SETTINGS[schedule])[1]
            reference = next((Path(folder) / schedule).iterdir())
            for kill, cadence_s in moments(schedule, marks, rng):
                again = None
                if kill.kind == "delay" and kill.phase == "training" and rng.random() < 0.5:
                    again = Kill("delay", "training", "metrics", int(rng.integers(1, 4)), float(rng.uniform(0, 0.05)))
                name = f"{len(jobs) + 1:02d}"
                jobs.append(pool.submit(attempt, name, schedule, reference, kill, cadence_s, again))
        rows = [job.result() for job in jobs]
    good = sum(not row["wrong"] for row in rows)
    training = sum(row["died_in"] == "training" for row in rows)
    report = {"seed": options.seed, "runs": rows, "good": good, "in_training": training,
              "killed_twice": sum(bool(row["second_kill_met"]) for row in rows),
              "seconds": time.monotonic() - began}  # fmt: skip
    if options.json:
        print(json.dumps(report))
    else:
        from common import show

        show(
            f"kill -9 and resume, seed {options.seed}",
            ("run", "schedule", "checkpoints", "killed", "in", "killed again", "result"),
            (
                (row["run"], row["schedule"], f"{row['checkpoint_s']:g} s", row["moment"], row["died_in"],
                 "" if not row["second_kill"] else row["second_kill"] if row["second_kill_met"] else "not met",
                 "; ".join(row["wrong"]) or "same bits")
                for row in rows
            ),
        )  # fmt: skip
        print(f"{training} killed in mid-training, {report['killed_twice']} twice; {report['seconds']:.0f} s")
        print(f"{good}/{len(rows)}")
    return 0 if good == len(rows) == 25 and training >= 20 else 1


if __name__ == "__main__":
    sys.exit(main())
