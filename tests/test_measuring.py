"""``labtrain measure``: drives of a file in, responses out, on any rig; what stands written stays."""

from __future__ import annotations

import csv
import io
import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from labtrain import measuring
from labtrain.cli import app
from labtrain.datasets.reader import read_drives
from labtrain.drivers.trace import read_trace
from labtrain.errors import DataError, InputError, Interrupted, MeasurementError
from labtrain.events import Commissioning, Counted
from labtrain.jobs import open_rig
from labtrain.layer import LayerInfo, Shots
from labtrain.yaml_lines import dump_yaml
from tests.rigs import microwaves

# Sections other than the rig are not looked at: these would not do for a training.
ACOUSTIC = (
    "rig: {type: acoustic, speakers: 2, microphones: 2, membranes: 2, discs: 1, tone_bins: [12, 14]}\n"
    "dataset: {type: nothing}\n"
)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("cavity.yaml").write_text(ACOUSTIC)
    Path("room.yaml").write_text(dump_yaml({"rig": microwaves.settings()}))
    return tmp_path


def labtrain(*arguments: object, error: type[Exception] | None = None) -> Result:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exception is None if error is None else isinstance(done.exception, error), done.exception
    return done


def drives(n_in: int, rows: int = 5, header: str = "", name: str = "rows.csv") -> np.ndarray:
    """Drives, written to a file."""
    x = np.random.default_rng(0).random((rows, n_in))
    Path(name).write_text(header + "".join(",".join(map(repr, row)) + "\n" for row in x.tolist()))
    return x


def table(text: str) -> tuple[list[str], np.ndarray]:
    header, *rows = csv.reader(io.StringIO(text))
    return header, np.array(rows, dtype=np.float64)


def answers(config: str, x: np.ndarray) -> list[Shots]:
    """What a script gets that opens the same rig by itself."""
    with open_rig(measuring.load(config).value) as rig:
        if rig.commissioning_shots:
            rig.commission()
        return list(rig.layers[0].measure(x))


def test_the_cavity_answers_as_it_does_to_a_script():
    x = drives(4, 200)
    header, rows = table(labtrain("measure", "cavity.yaml", "--input", "rows.csv").stdout)
    y = [f"y{i} (Pa)" for i in range(1, 5)]
    assert header == ["shot", "x1", "x2", "x3", "x4", *y, "attempts"]
    assert rows[:, 0].tolist() == list(range(200))
    assert np.array_equal(rows[:, 1:5], x)
    assert np.array_equal(rows[:, 5:9], np.concatenate([s.y for s in answers("cavity.yaml", x)]))
    assert (rows[:, 9] == 1).all()


def test_the_microwave_rig_is_commissioned_and_tells_its_deviations():
    x = drives(6, header="a,b,c,d,e,f\n")
    done = labtrain("measure", "room.yaml", "--input", "rows.csv", "--trace-io", "bytes.txt")
    header, rows = table(done.stdout)
    names = [f"{name}{i} (sd of |S21|)" for name in ("y", "sigma") for i in range(1, 6)]
    assert header == ["shot", *(f"x{i}" for i in range(1, 7)), *names, "attempts"]
    (shots,) = answers("room.yaml", x)
    assert np.array_equal(rows[:, 1:7], shots.x)  # as the pixels carry them
    assert np.array_equal(rows[:, 7:17], np.hstack([shots.y, shots.sigma]))
    assert len(list(read_trace(Path("bytes.txt")))) > 100


def test_a_header_may_be_left_out():
    drives(4)
    drives(4, header="one,two,three,\n", name="named.csv")
    first, second = (labtrain("measure", "cavity.yaml", "--input", name).stdout for name in ("rows.csv", "named.csv"))
    assert first == second
    where, x = read_drives("named.csv")
    assert where == [f"named.csv:{line}" for line in range(2, 7)] and x.shape == (5, 4)


def test_repeats_are_averaged():
    drives(4)
    done = labtrain("measure", "cavity.yaml", "--input", "rows.csv", "--set", "rig.repeats=3", "--json")
    told = json.loads(done.stdout)
    assert np.shape(told["y"]) == np.shape(told["sigma"]) == (5, 4)
    assert told["attempts"] == [3] * 5
    assert np.min(told["sigma"]) > 0


def test_json_with_and_without_a_file():
    x = drives(4)
    told = json.loads(labtrain("measure", "cavity.yaml", "--input", "rows.csv", "--json").stdout)
    assert (told["layer"], told["y_unit"], told["shots"], told["x"]) == ("acoustic", "Pa", 5, x.tolist())
    done = labtrain("measure", "cavity.yaml", "--input", "rows.csv", "--json", "--out", "y.csv")
    summary = json.loads(done.stdout)
    assert sorted(summary) == ["attempts", "layer", "out", "seconds", "shots", "y_unit"]
    assert np.array_equal(table(Path("y.csv").read_text())[1][:, 5:9], told["y"])


# --- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "rows.csv: the file is empty; give a header line and one line for each row"),
        ("a,b\n", "rows.csv:1: a header and no rows; add one line for each row"),
        (
            "a,b,c,d\n0,0.5,1,x\n0,-1e-9,nan,\n\n0,1\n1.5,0,0,0\n",
            "rows.csv:2: column d holds 'x', needs a number; correct or remove the row\n"
            "rows.csv:3: column b holds -1e-09, needs a number from 0 to 1; correct or remove the row\n"
            "rows.csv:3: column c holds 'nan', needs a finite number; correct or remove the row\n"
            "rows.csv:3: column d is empty, needs a number; fill in or remove the row\n"
            "rows.csv:5: 2 values, the header has 4 columns; correct the row\n"
            "rows.csv:6: column a holds 1.5, needs a number from 0 to 1; correct or remove the row",
        ),
        (
            "0,O.5,1,0\n0,1,1\n",
            "rows.csv:1: column x2 holds 'O.5', needs a number; correct or remove the row\n"
            "rows.csv:2: 3 values, the first row has 4; correct the row",
        ),
        (
            "0,0.5,1\n0,0,0\n",
            "rows.csv:1: 3 columns, layer 'acoustic' of this rig has 4 inputs; give one column for each, "
            "in their order",
        ),
    ],
)
def test_unfit_rows_are_refused_all_at_once(content, sentence):
    Path("rows.csv").write_text(content)
    done = labtrain("measure", "cavity.yaml", "--input", "rows.csv", "--out", "y.csv", error=DataError)
    assert str(done.exception) == sentence
    assert not done.stdout and not Path("y.csv").exists()


def test_bad_rows_are_refused_before_the_rig_is_opened(monkeypatch):
    monkeypatch.setattr(measuring, "open_rig", lambda *_: pytest.fail("opened"))
    Path("rows.csv").write_text("0,2\n")
    labtrain("measure", "cavity.yaml", "--input", "rows.csv", error=DataError)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--layer", 1], "--layer: asked layer 1, this rig has 0 (acoustic); ask for one of these"),
        (["--set", "dataset.rows=3"], "--set dataset.rows=3: nothing but rig is looked at here; leave the option out"),
        (["--out", "rows.csv"], "rows.csv: exists already; choose another file with --out FILE"),
        (
            ["--out", "no/y.csv"],
            "no/y.csv: cannot be written (No such file or directory); choose another place with --out FILE",
        ),
        (
            ["--trace-io", "t.txt"],
            "--trace-io t.txt: this rig exchanges no bytes with instruments; leave the option out",
        ),
    ],
)
def test_a_mistake_is_told_in_one_sentence(options, sentence):
    drives(4)
    done = labtrain("measure", "cavity.yaml", "--input", "rows.csv", *options, error=InputError)
    assert str(done.exception) == sentence


def test_a_disk_that_is_full_is_told(monkeypatch):
    drives(4)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(measuring.CsvShots, "_write", full)
    done = labtrain("measure", "cavity.yaml", "--input", "rows.csv", "--out", "y.csv", error=InputError)
    assert str(done.exception) == (
        "y.csv: cannot be written (No space left on device); choose another place with --out FILE"
    )


# --- broken off -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_rows_stay_after_a_signal(number, monkeypatch):
    x, write = drives(4, 400), measuring.CsvShots._write

    def writes(self: measuring.CsvShots, info: LayerInfo, shots: Shots) -> None:
        write(self, info, shots)
        signal.raise_signal(number)

    monkeypatch.setattr(measuring.CsvShots, "_write", writes)
    done = labtrain("measure", "cavity.yaml", "--input", "rows.csv", "--out", "y.csv", error=Interrupted)
    _, rows = table(Path("y.csv").read_text())
    assert 0 < len(rows) < 400
    assert str(done.exception) == (
        f"stopped by {'Ctrl-C' if number == signal.SIGINT else 'SIGTERM'}, everything measured is kept; "
        f"{len(rows)} of 400 rows are done"
    )
    assert np.array_equal(rows[:, 1:5], x[: len(rows)])


def test_a_signal_during_commissioning_says_that_nothing_is_done():
    drives(6, 40)
    stop = [lambda event: signal.raise_signal(signal.SIGINT)]
    with pytest.raises(Interrupted) as caught:
        measuring.measure(measuring.load("room.yaml"), "rows.csv", pytest.fail, listeners=stop)
    assert str(caught.value) == "stopped by Ctrl-C, everything measured is kept; 0 of 40 rows are done"


def test_rows_stay_after_a_shot_that_stays_bad(monkeypatch):
    drives(6, 40)
    rig = microwaves.FaultyRig("vna: no reply from 50 of SDATA")
    monkeypatch.setattr(measuring, "open_rig", lambda *_: rig)
    labtrain("measure", "room.yaml", "--input", "rows.csv", "--out", "y.csv", error=MeasurementError)
    assert 0 < len(table(Path("y.csv").read_text())[1]) < 40


def test_listeners_hear_how_far_it_is():
    drives(6, 40)
    heard: list[Any] = []
    done = measuring.measure(measuring.load("room.yaml"), "rows.csv", lambda *_: None, listeners=[heard.append])
    assert (done.shots, done.attempts, done.layer) == (40, 40, "microwave")
    commissioning = [event for event in heard if isinstance(event, Commissioning)]
    counted = [event.done for event in heard if isinstance(event, Counted)]
    assert commissioning[-1] == Commissioning(30, 30)
    assert counted[0] == 0 and counted[-1] == 40 and counted == sorted(counted)
