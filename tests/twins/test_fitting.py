"""Twins of recordings, runs and files, as scripts and the command line fit and judge them."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from labtrain import recording
from labtrain.cli import app
from labtrain.clock import RealClock
from labtrain.errors import DataError, InputError, LabtrainError, MissingExtra, RunError
from labtrain.layer import Shots
from labtrain.runs import Run
from labtrain.twin import load_twin
from labtrain.twins.fitting import fit_twin, judge_twin
from labtrain.twins.pairs import read_pairs

RIG = "rig: {type: acoustic, speakers: 2, microphones: 2, membranes: 2, discs: 1, tone_bins: [12, 14]%s}\n"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Folder of a finished recording of 200 drives of 4 inputs, each twice, and of one of another room."""
    folder = tmp_path_factory.mktemp("recorded")
    for name, more in (("one", ", repeats: 2"), ("other", ", discs: 2")):
        text = RIG % more if name == "one" else (RIG % "").replace("discs: 1", "discs: 2")
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
        summary = recording.record(recording.load(folder / f"{name}.yaml", ["record.shots=200"]), folder / "runs")
        (folder / name).symlink_to(summary["run"])
    return folder


@pytest.fixture
def pairs(tmp_path):
    """A file of 300 pairs: waves of 3 inputs at 2 outputs."""
    rng = np.random.default_rng(0)
    x = rng.random((300, 3))
    y = np.abs(1 + x @ (rng.normal(size=(3, 2)) + 1j * rng.normal(size=(3, 2))))
    path = tmp_path / "waves.npz"
    np.savez(path, x=x, y=y + 0.001 * rng.normal(size=y.shape))
    return path


def twin(*arguments, rc=0):
    """What the command prints; its error if it has one."""
    done = CliRunner().invoke(app, ["twin", *map(str, arguments)])
    if isinstance(done.exception, LabtrainError):
        raise done.exception
    assert done.exit_code == rc, done.output
    return done.stdout


def test_a_recording_is_fitted_judged_and_kept(recorded, tmp_path):
    found = fit_twin(recorded / "one", tmp_path / "twin.npz", rows=150)
    assert (found["kind"], found["fitted_rows"], found["rows"]) == ("wave", 150, 50)
    assert found["r2"] > 0.9
    assert found["fingerprint"].startswith("acoustic:")
    assert found["y_unit"]
    assert 0 < found["repeatability"] < found["rmse_constant"]  # of repeated shots
    loaded = load_twin(tmp_path / "twin.npz")
    unseen = read_pairs(recorded / "one").rows(slice(150, None))
    assert loaded.fingerprint == found["fingerprint"]
    assert np.array_equal(loaded.errors, unseen.y - loaded.predict(unseen.x))
    judged = judge_twin(tmp_path / "twin.npz", recorded / "one", (150, None))
    assert {name: judged[name] for name in judged} == {name: found[name] for name in judged}


def test_all_that_a_training_has_logged_is_there_while_it_goes_on(tmp_path):
    told = {"layers": {"room": "acoustic:1", "hall": "acoustic:2"}, "y_units": {"room": "Pa"}}
    rng = np.random.default_rng(1)
    chunks = [Shots(rng.random((3, 2)), rng.random((3, 1)), None, np.ones(3, dtype=np.int64), 0.0) for _ in range(4)]
    with Run.create(tmp_path / "run", config_text="", config={}, provenance=told, clock=RealClock()) as run:
        with pytest.raises(RunError, match=r"no shot is logged"):
            read_pairs(tmp_path / "run")
        run.append("commissioning", 0, chunks[0], {})
        run.append("room", 0, chunks[1], {})
        run.append("room", 1, chunks[2], {})
        found = read_pairs(tmp_path / "run")
        assert np.array_equal(found.x, np.concatenate([chunks[1].x, chunks[2].x]))
        assert np.array_equal(found.y, np.concatenate([chunks[1].y, chunks[2].y]))
        assert (found.fingerprint, found.y_unit, found.sigma) == ("acoustic:1", "Pa", None)
        run.append("hall", 1, chunks[3], {})
        with pytest.raises(InputError, match=r"run: shots of layers room, hall; choose one with --layer$"):
            read_pairs(tmp_path / "run")
        assert read_pairs(tmp_path / "run", "hall").fingerprint == "acoustic:2"
        with pytest.raises(InputError, match=r"run: no shot of a layer 'cellar'; there are: room, hall$"):
            read_pairs(tmp_path / "run", "cellar")


def test_the_table_fits_100_columns_and_tells_each_output(pairs, tmp_path):
    told = twin("fit", pairs, "--out", tmp_path / "twin.npz")
    assert max(map(len, told.splitlines())) <= 100
    rows = {line.split()[0]: line.split()[1:] for line in told.splitlines() if line.split()}
    assert rows["output"] == ["R2", "RMSE", "RMSE", "of", "a", "constant", "repeatability"]
    assert float(rows["y2"][0]) > 0.99
    assert rows["all"][3] == "-"
    assert "fitted to 270 rows, judged on 30 later ones" in " ".join(told.split())
    assert "y1" in twin("judge", tmp_path / "twin.npz", pairs, "--rows", "270:")


def test_json_is_one_line(pairs, tmp_path):
    found = json.loads(twin("fit", pairs, "--rows", 200, "--out", tmp_path / "twin.npz", "--json").splitlines()[-1])
    assert (found["rows"], found["fitted_rows"], len(found["r2_per_output"])) == (100, 200, 2)
    found = json.loads(twin("judge", tmp_path / "twin.npz", pairs, "--rows", "-50:", "--json").splitlines()[-1])
    assert found["rows"] == 50


def test_options_reach_the_kind_that_has_them(pairs, tmp_path):
    rng = np.random.default_rng(2)
    x = rng.integers(0, 2, (200, 4)).astype(float)
    np.savez(tmp_path / "pixels.npz", x=x, y=np.abs(2 + x @ rng.normal(size=(4, 1)) + 1j * x @ rng.normal(size=(4, 1))))
    told = twin("fit", tmp_path / "pixels.npz", "--kind", "multiport", "--modes", 1, "--out", tmp_path / "m.npz")
    assert "multiport twin, fitted to 180 rows" in " ".join(told.split())
    assert load_twin(tmp_path / "m.npz").modes.shape == (1, 4, 1)
    with pytest.raises(InputError, match=r"^--modes: a wave twin has no such option; leave it out$"):
        twin("fit", pairs, "--modes", 1, "--out", tmp_path / "w.npz")
    assert not (tmp_path / "w.npz").exists()


def test_mistakes_are_told_in_one_sentence(pairs, recorded, tmp_path, monkeypatch):
    kept = tmp_path / "twin.npz"
    fit_twin(recorded / "one", kept)
    one, other = load_twin(kept).fingerprint, read_pairs(recorded / "other").fingerprint
    with np.load(pairs) as archive:
        x, y = archive["x"], archive["y"]
    np.savez(tmp_path / "nan.npz", x=x, y=np.where(np.arange(300)[:, None] == 7, np.nan, y))
    np.savez(tmp_path / "sigma.npz", x=x, y=y, sigma=y[:, :1])
    np.savez(tmp_path / "x.npz", x=x)
    monkeypatch.setitem(sys.modules, "torch", None)
    out = tmp_path / "new.npz"
    mistakes = [
        (DataError, lambda: judge_twin(kept, recorded / "other"),
         f"{kept}: a twin of {one}, {recorded / 'other'} is of {other}, another rig; fit a twin of this one"),
        (DataError, lambda: judge_twin(kept, pairs),
         f"{kept}: a twin of 4 inputs and 4 outputs, {pairs} has 3 and 2; fit a twin of this layer"),
        (InputError, lambda: judge_twin(kept, recorded / "one", (500, None)),
         f"{recorded / 'one'}: no row is left, it has 200; set --rows"),
        (InputError, lambda: fit_twin(pairs, kept),
         f"{kept}: exists already; move it away, or choose another place with --out"),
        (InputError, lambda: fit_twin(pairs, out, rows=300),
         f"{pairs}: asked to fit 300 rows, it has 300 and at least one is kept to judge; set --rows"),
        (DataError, lambda: fit_twin(pairs, out, rows=8),
         "twin: 8 effective rows cannot fix the 10 terms of 3 inputs; record more pairs or set a longer "
         "half-life (rig.half_life_rows, --half-life)"),
        (DataError, lambda: fit_twin(tmp_path / "nan.npz", out),
         f"{tmp_path / 'nan.npz'}: array 'y' holds nan in row 7, column 0; remove such rows"),
        (DataError, lambda: fit_twin(tmp_path / "sigma.npz", out),
         f"{tmp_path / 'sigma.npz'}: 'sigma' has shape (300, 1) and 'y' has (300, 2); they must be alike"),
        (DataError, lambda: fit_twin(tmp_path / "x.npz", out),
         f"{tmp_path / 'x.npz'}: no array 'y', there are: x; write it with numpy.savez(file, x=drives, y=responses)"),
        (DataError, lambda: fit_twin(tmp_path / "gone.npz", out),
         f"{tmp_path / 'gone.npz'}: cannot be read (No such file or directory); name a run folder or an .npz file "
         "with arrays x and y"),
        (InputError, lambda: fit_twin(pairs, out, layer="room"),
         f"{pairs}: a file of pairs is of one layer; leave --layer out"),
        (InputError, lambda: fit_twin(pairs, out, "horn"),
         "twin: no kind 'horn'; there are: multiport, residual, wave"),
        (InputError, lambda: twin("judge", kept, recorded / "one", "--rows", "7"),
         "--rows 7: not two numbers with a colon between; as in --rows 8500:9300"),
        (MissingExtra, lambda: twin("fit", pairs, "--kind", "residual", "--out", out),
         "a residual twin is fitted by PyTorch, which is not installed; "
         'run: pip install "labtrain[torch]", or fit --kind wave'),
    ]  # fmt: skip
    for kind, mistake, sentence in mistakes:
        with pytest.raises(kind) as error:
            mistake()
        assert str(error.value) == sentence
    assert not out.exists()
