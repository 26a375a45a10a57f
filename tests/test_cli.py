"""The command line as a user meets it: results, one sentence for each mistake, exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
LABTRAIN = [sys.executable, "-m", "labtrain.cli"]
# The main job with few speakers and few epochs.
SMALL = ["--set", "trials.count=1", "--set", "training.epochs=2", "--set", "rig.noise=0"]


def labtrain(*arguments: object, cwd: Path, rc: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*LABTRAIN, *map(str, arguments)], cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == rc, done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """Folder and summary of a small finished run."""
    folder = tmp_path_factory.mktemp("work")
    labtrain("init", "acoustic", cwd=folder)
    few = (ROOT / "labtrain" / "data" / "peterson_barney.csv").read_text(encoding="utf-8").splitlines()[:161]
    (folder / "few.csv").write_text("\n".join(few) + "\n", encoding="utf-8")
    config = (folder / "acoustic.yaml").read_text(encoding="utf-8")
    fewer = "type: csv\n  path: few.csv\n  label: vowel\n  features: [F0, F1, F2, F3]\n  group: speaker\n  log: true\n"
    (folder / "acoustic.yaml").write_text(config.replace("type: peterson-barney", fewer + " ", 1), encoding="utf-8")
    done = labtrain("train", "acoustic.yaml", *SMALL, "--json", cwd=folder)
    return folder, json.loads(done.stdout.splitlines()[-1])


def test_train_prints_the_summary_alone_on_its_last_line(finished):
    folder, summary = finished
    keys = (
        "test_accuracy test_accuracy_per_trial per_class physics_off_accuracy random_physics_accuracy ridge_accuracy "
        "shots_train shots_test seconds_physics seconds_digital seconds run"
    )
    assert set(keys.split()) <= set(summary)
    run = folder / summary["run"]
    assert json.loads((run / "summary.json").read_text()) == summary
    assert {"accuracy.png", "confusion.png", "goodness.png"} <= {path.name for path in (run / "figures").iterdir()}
    assert (run / "log.txt").read_text()
    assert "theta" in (run / "config.yaml").read_text()


def test_ablations_cost_no_shot(finished):
    folder, summary = finished
    planned = json.loads(labtrain("plan", "acoustic.yaml", *SMALL, "--json", cwd=folder).stdout)
    assert summary["shots_train"] == planned["shots_train"]
    assert summary["shots_test"] == planned["shots_test"]
    listed = json.loads(labtrain("runs", "--json", cwd=folder).stdout)
    assert [run["shots"] for run in listed] == [summary["shots_train"] + summary["shots_test"]]


def test_evaluate_measures_the_test_rows_anew(finished):
    folder, summary = finished
    (row,) = json.loads(labtrain("evaluate", summary["run"], "--json", cwd=folder).stdout)
    assert row["accuracy_then"] == summary["test_accuracy"]
    assert row["accuracy"] == summary["test_accuracy"]  # the rig is without noise here
    assert row["shots"] == summary["shots_test"]


def test_predict_reads_a_csv_and_writes_one(finished):
    folder, summary = finished
    (folder / "rows.csv").write_text("F0,F1,F2,F3\n120,270,2290,3010\n130,730,1090,2440\n")
    done = labtrain("predict", summary["run"], "--input", "rows.csv", cwd=folder)
    lines = done.stdout.splitlines()
    assert lines[0] == "row,label,margin"
    assert [line.split(",")[0] for line in lines[1:]] == ["rows.csv:2", "rows.csv:3"]


def test_notes_are_kept(finished):
    folder, summary = finished
    done = labtrain("note", summary["run"], "moved a cable", cwd=folder)
    assert done.stdout == f"{summary['run']}: noted: moved a cable\n"
    notes = json.loads(labtrain("notes", summary["run"], "--json", cwd=folder).stdout)
    assert [note["text"] for note in notes if note["kind"] == "note"] == ["moved a cable"]
    assert "note  " in labtrain("notes", summary["run"], cwd=folder).stdout
    assert "the note is empty" in labtrain("note", summary["run"], " ", cwd=folder, rc=2).stderr


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("F0,F1,F2\n1,2,3\n", "rows.csv:1: no column F3, there are F0, F1, F2; add the column"),
        ("F0,F1,F2,F3\n120,270,x,3010\n", "rows.csv:2: column F2 holds 'x', needs a number"),
        (
            "F0,F1,F2,F3\n120,270,2290,3010\n120,68000,2290,3010\n",
            "rows.csv:3: log F1 is 11.1273, the network was trained for",
        ),
    ],
)
def test_unfit_rows_are_refused_by_name(finished, content, sentence):
    folder, summary = finished
    (folder / "rows.csv").write_text(content)
    done = labtrain("predict", summary["run"], "--input", "rows.csv", cwd=folder, rc=2)
    assert sentence in done.stderr
    assert not done.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["train", "nope.yaml"], "labtrain: config file nope.yaml does not exist"),
        (["train", "acoustic.yaml", "--set", "training.thta=8"], "training.thta=8: unknown key (did you mean theta?)"),
        (["config", "check", "acoustic.yaml", "--set", "rig.type=acustic"], "'acustic' (did you mean acoustic?)"),
        (["init", "acustic"], "labtrain: no ready configuration 'acustic' (did you mean acoustic?)"),
        (["init", "acoustic"], "labtrain: acoustic.yaml: exists already; choose another name with --to FILE"),
        (["init", "acoustic", "--to", "no/a.yaml"], "cannot be written (No such file or directory); choose"),
        (["resume", "nowhere"], "labtrain: nowhere: no such run folder; `labtrain runs` lists the runs there are"),
        (["runs", "--runs", "nowhere"], "labtrain: nowhere: no such folder; name the folder"),
        (["runs", "--runs", ""], "labtrain: --runs is empty; name the folder"),
        (["train", "acoustic.yaml", "--runs", ""], "labtrain: --runs is empty; name the folder"),
        (["evaluate", "."], "labtrain: .: not a run folder (it has no run.db); `labtrain runs` lists"),
        (["train", "acoustic.yaml", "--set", "network.width=30"], "block 2 has 30 activations for 20 driven inputs"),
    ],
)  # fmt: skip
def test_a_mistake_ends_in_one_sentence(finished, arguments, sentence):
    folder, _ = finished
    before = sorted((folder / "runs").iterdir())
    done = labtrain(*arguments, cwd=folder, rc=2)
    assert sentence in done.stderr
    assert sorted((folder / "runs").iterdir()) == before


def test_ctrl_c_keeps_everything_and_says_how_to_go_on(finished, tmp_path):
    folder, summary = finished
    train = subprocess.Popen(
        [*LABTRAIN, "train", folder / "acoustic.yaml", *SMALL], cwd=tmp_path, env=ENVIRONMENT,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not any((tmp_path / "runs").glob("*/checkpoint.A.npz")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    train.send_signal(signal.SIGINT)
    _, stderr = train.communicate(timeout=60)
    assert train.returncode == 130
    (run,) = (tmp_path / "runs").iterdir()
    hint = f"stopped by Ctrl-C, everything measured is kept; go on with: labtrain resume runs/{run.name}"
    assert f"labtrain: {hint}" in stderr
    (listed,) = json.loads(labtrain("runs", "--json", cwd=tmp_path).stdout)
    assert listed["status"] == "interrupted"
    done = labtrain("resume", f"runs/{run.name}", "--json", cwd=tmp_path)
    resumed = json.loads(done.stdout.splitlines()[-1])
    assert resumed["test_accuracy_per_trial"] == summary["test_accuracy_per_trial"]
    assert resumed["shots_train"] == summary["shots_train"]


@pytest.mark.parametrize("module", ["labtrain", "labtrain.cli"])
def test_ctrl_c_before_anything_is_measured(tmp_path, module):
    script = (
        "import runpy, sys, labtrain.experiment\n"
        "def load(*_): raise KeyboardInterrupt\n"
        "labtrain.experiment.load = load\n"
        f"sys.argv = ['labtrain', 'train', 'acoustic.yaml']; runpy.run_module({module!r}, run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (130, "labtrain: stopped before anything was measured\n")


def test_a_second_ctrl_c_is_told_apart(tmp_path):
    script = (
        "import signal, sys, labtrain.experiment\n"
        "from labtrain import cli\n"
        "from labtrain.safety import Guard\n"
        "def load(*_):\n"
        "    with Guard():\n"
        "        signal.raise_signal(signal.SIGINT); signal.raise_signal(signal.SIGINT)\n"
        "labtrain.experiment.load = load\n"
        "sys.argv = ['labtrain', 'train', 'acoustic.yaml']; cli.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 130
    assert done.stderr == "labtrain: stopped at once by a second Ctrl-C; logged shots are kept\n"


def test_help_says_what_predict_wants_and_gives():
    shown = " ".join(labtrain("predict", "--help", cwd=ROOT).stdout.split())
    for word in ("same units", "in Hz for", "no probability", "counted from 0"):
        assert word in shown


def test_config_schema_is_json():
    done = labtrain("config", "schema", cwd=ROOT)
    assert set(json.loads(done.stdout)["properties"]) >= {"rig", "dataset", "network", "training", "trials"}
