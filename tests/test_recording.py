"""``labtrain record``: random drives in a run that survives everything; the pairs are those of an uninterrupted one."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from rich.console import Console
from typer.testing import CliRunner

from labtrain import inference, jobs, recording
from labtrain.cli import app
from labtrain.clock import RealClock, SimulatedClock
from labtrain.errors import InputError, Interrupted, MeasurementError, RunError
from labtrain.events import Counted
from labtrain.report import recording_table
from labtrain.rigs.recorded import RecordedRig
from labtrain.runs import Run
from labtrain.yaml_lines import dump_yaml
from tests.rigs import microwaves

ACOUSTIC = (
    "rig: {type: acoustic, speakers: 2, microphones: 2, membranes: 2, discs: 1, tone_bins: [12, 14], "
    "drift_walk_k: 0.05}\n"
    "dataset: {type: nothing}\n"
    "record: {shots: 600, seed: 5}\n"
    "run: {checkpoint_s: 60}\n"
)
# Records, and is killed in the middle of it: argv are the config, the run (or nothing), the number of the chunk.
KILLED = """
import os, signal, sys
from labtrain import recording
from labtrain.runs import Run
append, left = Run.append, int(sys.argv[3])
def killed(run, *args, **options):
    global left
    append(run, *args, **options)
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
Run.append = killed
if sys.argv[2]:
    recording.resume(sys.argv[2])
else:
    recording.record(recording.load(sys.argv[1], sys.argv[4:]), "killed")
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("cavity.yaml").write_text(ACOUSTIC)
    small = {"rig": microwaves.settings(), "record": {"shots": 300, "seed": 2}, "run": {"checkpoint_s": 60.0}}
    Path("room.yaml").write_text(dump_yaml(small))
    return tmp_path


def labtrain(*arguments: object, error: type[Exception] | None = None) -> Result:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exception is None if error is None else isinstance(done.exception, error), done.exception
    return done


def record(config: str = "cavity.yaml", *overrides: str, runs: str = "runs") -> Path:
    return Path(recording.record(recording.load(config, overrides), runs)["run"])


def pairs(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "pairs.npz") as archive:
        return {name: archive[name] for name in archive.files}


def same(one: Path, other: Path) -> bool:
    """Whether two recordings are the same, to the last bit, but for the time."""
    a, b = pairs(one), pairs(other)
    assert sorted(a) == sorted(b) and all(a[name].shape == b[name].shape for name in a)
    return all(a[name].tobytes() == b[name].tobytes() for name in a if name != "time_s")


def reading(folder: Path) -> Run:
    return Run.open(folder, write=False, clock=RealClock())


# --- what is recorded -------------------------------------------------------------------------------------------------


def test_a_drive_is_the_same_however_it_is_asked_for():
    whole = recording.drives(3, 0, 1000, 7)
    assert whole.shape == (1000, 7) and whole.min() >= 0 and whole.max() < 1
    assert abs(whole.mean() - 0.5) < 0.02
    for start, stop in ((0, 1), (255, 257), (256, 512), (300, 1000), (700, 700)):
        assert np.array_equal(recording.drives(3, start, stop, 7), whole[start:stop])
    assert not np.isin(recording.drives(4, 0, 100, 7), whole).any()


def test_pairs_are_what_was_logged_and_a_summary_tells_of_them():
    folder = record()
    found = pairs(folder)
    assert sorted(found) == ["attempts", "time_s", "x", "y"]
    assert np.array_equal(found["x"], recording.drives(5, 0, 600, 4))
    with jobs.open_rig(recording.load("cavity.yaml").value) as rig:
        rig.restart(5)  # a simulated world has the noise and drift of the recording's seed
        assert np.array_equal(rig.layers[0].forward(found["x"]), found["y"])
    with reading(folder) as run:
        assert np.array_equal(np.concatenate([shots.y for shots in run.shots()]), found["y"])
        assert (run.status, run.kind, run.provenance["y_units"]) == ("finished", "recording", {"acoustic": "Pa"})
        assert all("temperature_c" in chunk.environment for chunk in run.chunks())
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["shots"], summary["attempts"], summary["y_unit"]) == (600, 600, "Pa")
    assert np.allclose(summary["y_sd"], found["y"].std(axis=0, ddof=1))
    assert "run finished: 600 drives and their responses are in pairs.npz" in (folder / "log.txt").read_text()


def test_the_recorded_rig_reads_the_pairs():
    config = {"type": "recorded", "pairs": str(record() / "pairs.npz"), "held_out_rows": 100}
    with RecordedRig(RecordedRig.Config.model_validate(config), SimulatedClock()) as rig:
        assert rig.layers[0].forward(np.full((3, 4), 0.5)).shape == (3, 4)


def test_repeats_are_logged_one_by_one_and_averaged_in_the_pairs():
    folder = record("cavity.yaml", "rig.repeats=3", "record.shots=100")
    found = pairs(folder)
    with reading(folder) as run:
        y = np.concatenate([shots.y for shots in run.shots()])
    assert len(y) == 300
    assert np.array_equal(found["y"], y.reshape(100, 3, 4).mean(axis=1))
    assert np.array_equal(found["x"], recording.drives(5, 0, 100, 4))
    assert found["sigma"].shape == (100, 4) and found["attempts"].tolist() == [3] * 100


# --- broken off -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "moment", "options"),
    [
        ("cavity.yaml", 2, []),
        ("cavity.yaml", 5, ["rig.repeats=3", "run.checkpoint_s=0"]),  # in the middle of a block of drives
        ("room.yaml", 2, []),
        ("room.yaml", 3, ["rig.readout=complex", "rig.repeats=2", "run.checkpoint_s=0"]),
    ],
)
def test_a_killed_recording_ends_as_if_nothing_had_happened(config, moment, options):
    def start(run: str, left: int) -> int:
        command = [sys.executable, "-c", KILLED, config, run, str(left), *options]
        return subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=60).returncode

    with reading(record(config, *options)) as run:
        assert moment < sum(1 for _ in run.chunks())
        whole = run.folder
    assert start("", moment) == -signal.SIGKILL
    (folder,) = Path("killed").iterdir()
    with reading(folder) as run:
        assert run.status == "interrupted" and run.layers()
        assert not (folder / "pairs.npz").exists()
    labtrain("resume", folder)
    assert same(whole, folder)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_the_chunk_and_says_how_to_go_on(number, monkeypatch):
    append = Run.append

    def interrupted(run: Run, *args: Any, **options: Any) -> None:
        append(run, *args, **options)
        signal.raise_signal(number)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "append", interrupted)
        done = labtrain("record", "cavity.yaml", "--runs", "stopped", error=Interrupted)
    (folder,) = Path("stopped").iterdir()
    name = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
    assert str(done.exception) == (
        f"stopped by {name}, everything measured is kept; go on with: labtrain resume {folder}"
    )
    with reading(folder) as run:
        assert run.status == "interrupted"
    labtrain("resume", folder)
    assert same(record(), folder)


def test_more_shots_are_those_of_a_longer_recording():
    folder = record("cavity.yaml", "record.shots=300")
    assert json.loads(labtrain("resume", folder, "--set", "record.shots=700", "--json").stdout)["shots"] == 700
    assert same(record("cavity.yaml", "record.shots=700"), folder)
    with reading(folder) as run:
        assert [note.text for note in run.notes()] == ["record.shots: 300 -> 700"]
        assert run.shots_count() == 700


def test_a_finished_recording_has_nothing_to_do(caplog):
    folder = record()
    before = (folder / "pairs.npz").read_bytes()
    labtrain("resume", folder)
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warned == [f"{folder}: finished already, nothing is left to do"]
    assert (folder / "pairs.npz").read_bytes() == before


def test_a_shot_that_stays_bad_ends_a_recording_that_can_go_on(monkeypatch):
    rig = microwaves.FaultyRig("vna: no reply from 100 of SDATA")
    with monkeypatch.context() as patch:
        patch.setattr(recording, "open_rig", lambda *_: rig)
        labtrain("record", "room.yaml", error=MeasurementError)
    (folder,) = Path("runs").iterdir()
    with reading(folder) as run:
        assert run.status == "failed" and run.shots_count("microwave") > 30
    labtrain("resume", folder)
    assert same(record("room.yaml"), folder)


# --- refused ----------------------------------------------------------------------------------------------------------

RECORDING = "a recording of random drives, in which nothing was trained"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            ["record.shots=599"],
            "asked record.shots 599, 600 are recorded; ask for at least as many, or start a new run",
        ),
        (
            ["record.shots=900", "record.seed=6"],
            "the config differs from the one this run began with (record.seed: 5 -> 6); resume with the old values, or "
            "start a new run",
        ),
        (
            ["rig.noise=0.1"],
            "the config differs from the one this run began with (rig.noise: 0.003 -> 0.1); resume with the old "
            "values, or start a new run",
        ),
    ],
)
def test_another_recording_is_refused(options, sentence):
    folder = record("cavity.yaml", "rig.noise=0.003")
    done = labtrain("resume", folder, *(word for option in options for word in ("--set", option)), error=RunError)
    assert str(done.exception) == f"{folder}: {sentence}"
    with reading(folder) as run:
        assert run.status == "finished" and run.shots_count() == 600


def test_another_rig_is_refused():
    x = np.random.default_rng(0).random((300, 4))
    y = np.abs(x @ np.random.default_rng(1).random((4, 3)))
    np.savez("pairs.npz", x=x, y=y)
    Path("twin.yaml").write_text("rig: {type: recorded, pairs: pairs.npz, held_out_rows: 50}\nrecord: {shots: 20}\n")
    folder = record("twin.yaml")
    with reading(folder) as run:
        before = run.provenance["layers"]["recorded"]
    np.savez("pairs.npz", x=x, y=1.01 * y)
    with jobs.open_rig(recording.load("twin.yaml").value) as rig:
        now = rig.layers[0].info.fingerprint
    done = labtrain("resume", folder, "--set", "record.shots=30", error=RunError)
    assert str(done.exception) == (
        f"{folder}: layer 'recorded' was {before} when the run began and is {now} now; "
        "restore the rig, or start a new run"
    )


def test_what_only_a_training_can_do_is_refused():
    folder = record()
    Path("rows.csv").write_text("a\n1\n")
    what = [lambda: inference.evaluate(folder), lambda: inference.predict(folder, "rows.csv")]
    for command in what:
        with pytest.raises(RunError) as caught:
            command()
        assert str(caught.value) == f"{folder}: {RECORDING}; take the responses with `labtrain export {folder}`"
    with pytest.raises(RunError) as caught:
        jobs.resume(folder)
    assert str(caught.value) == f"{folder}: {RECORDING}; labtrain.recording.resume goes on with it"


def test_a_training_is_no_recording():
    folder = Path("trained")
    Run.create(folder, config_text="", config={}, provenance={}, clock=RealClock()).close()
    with pytest.raises(RunError) as caught:
        recording.resume(folder)
    assert str(caught.value) == f"{folder}: a training, not a recording; labtrain.resume goes on with it"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--layer", "1"], "record.layer: asked layer 1, this rig has 0 (acoustic); ask for one of these"),
        (
            ["--set", "training.epochs=3"],
            "--set training.epochs=3: nothing but rig, record, run is looked at here; leave the option out",
        ),
        (["--set", "record.shot=3"], "--set record.shot=3: unknown key (did you mean shots?)"),
    ],
)
def test_a_mistake_leaves_no_run_behind(options, sentence):
    done = labtrain("record", "cavity.yaml", *options, error=InputError)
    assert str(done.exception).startswith(sentence)
    assert not Path("runs").exists()


# --- on the command line ----------------------------------------------------------------------------------------------


def test_record_runs_note_and_the_table():
    done = labtrain("record", "cavity.yaml", "--shots", 50, "--seed", 9, "--json")
    summary = json.loads(done.stdout)
    assert (summary["shots"], summary["seed"]) == (50, 9)
    folder = summary["run"]
    labtrain("note", folder, "a draught")
    assert "a draught" in labtrain("notes", folder).stdout
    (listed,) = json.loads(labtrain("runs", "--json").stdout)
    assert (listed["kind"], listed["status"], listed["shots"]) == ("recording", "finished", 50)
    assert "finished        -      50" in labtrain("runs").stdout
    again = labtrain("resume", folder)  # nothing is left to do: the same table
    assert "50 random drives of 4 inputs" in again.stdout and "median of 4 outputs" in again.stdout
    assert max(map(len, again.stdout.splitlines())) <= 100


def test_progress_is_told_in_shots():
    heard: list[Any] = []
    recording.record(recording.load("room.yaml"), "runs", [heard.append])
    counted = [event for event in heard if isinstance(event, Counted)]
    assert counted[0] == Counted("recording", 0, 300) and counted[-1] == Counted("recording", 300, 300)


def test_a_table_of_what_the_rig_tells():
    folder = record("room.yaml", "record.shots=1")
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["y_sd"] is None and len(summary["sigma"]) == 5
    console = Console(width=100, file=io.StringIO())
    console.print(recording_table(summary))
    shown = console.file.getvalue()
    assert "30 commissioning, 1 random drive of 6 inputs" in shown and "sigma" in shown
    assert "spread" not in shown
