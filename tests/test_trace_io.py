"""``--trace-io``: every byte of a run in a file, on all commands that measure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from labtrain import jobs
from labtrain.cli import app
from labtrain.drivers.trace import read_trace
from labtrain.errors import InputError

ROOT = Path(__file__).parents[1]
SMALL = ["--set", "trials.count=1", "--set", "dataset.rows=60", "--set", "ablations=[]"]


def labtrain(*arguments: object, rc: int = 0) -> Result:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == rc, done.exception
    return done


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jobs, "figures", lambda _: [])


def sent(path: Path, who: str) -> list[bytes]:
    return [t.data for t in read_trace(path) if (t.who, t.direction) == (who, ">")]


def test_a_run_its_evaluation_and_its_predictions(tmp_path):
    config = ROOT / "config" / "microwave-parity.yaml"
    done = labtrain("train", config, *SMALL, "--json", "--trace-io", "train.txt")
    summary = json.loads(done.stdout.splitlines()[-1])
    shots = summary["shots_commission"] + summary["shots_train"] + summary["shots_test"]
    assert sent(tmp_path / "train.txt", "vna")[0] == b"*IDN?\n"
    patterns = [data for data in sent(tmp_path / "train.txt", "metasurface") if data.startswith(b"!0x")]
    assert len(patterns) >= shots - 1  # one that is set already is not sent again

    labtrain("evaluate", summary["run"], "--trace-io", "after.txt")
    (tmp_path / "rows.csv").write_text("bit 0,bit 1,bit 2,bit 3\n0,1,1,0\n")
    once = len(list(read_trace(tmp_path / "after.txt")))
    labtrain("predict", summary["run"], "--input", "rows.csv", "--trace-io", "after.txt")
    assert len(list(read_trace(tmp_path / "after.txt"))) > once  # written on after what is there
    more = ["--set", "trials.count=2", "--trace-io", "resume.txt"]
    labtrain("resume", summary["run"], *more)
    assert sent(tmp_path / "resume.txt", "metasurface")


def test_a_rig_without_bytes_is_told(tmp_path):
    done = labtrain("train", ROOT / "config" / "acoustic.yaml", "--trace-io", "trace.txt", rc=1)
    assert isinstance(done.exception, InputError)
    assert str(done.exception) == (
        "--trace-io trace.txt: this rig exchanges no bytes with instruments; leave the option out"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["train", "resume", "evaluate", "predict", "measure", "record", "talk"])
def test_every_command_that_measures_has_it(command):
    assert "--trace-io" in labtrain(command, "--help").stdout
