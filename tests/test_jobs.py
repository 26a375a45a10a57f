"""Jobs beside the ones that test_cli, test_resume and test_api start."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import labtrain as lt
from labtrain import jobs
from labtrain.clock import RealClock, SimulatedClock
from labtrain.drivers.scpi import ScpiError
from labtrain.errors import ConfigError, DataError, InputError, LinkTimeout, RunError, UnsafeError

ROOT = Path(__file__).parents[1]
SMALL = ("trials.count=1", "trials.first_seed=0", "training.epochs=2", "dataset.rows=40")


def test_repeats_are_averaged_counted_and_planned(tmp_path):
    loaded = lt.load(ROOT / "config" / "acoustic-xor.yaml", [*SMALL, "rig.repeats=3"])
    once = lt.plan(lt.load(ROOT / "config" / "acoustic-xor.yaml", SMALL))
    planned, summary = lt.plan(loaded), lt.train(loaded, tmp_path)
    assert planned["shots_train"] == summary["shots_train"] == 3 * once["shots_train"]
    assert planned["shots_test"] == summary["shots_test"] == 3 * once["shots_test"]


def test_a_ridge_run_has_its_own_ablations(tmp_path):
    config = (
        "rig: {type: acoustic}\ndataset: {type: xor-tones, rows: 60}\nencoding: {label: overlay}\n"
        "network: {layers: 1}\ntraining: {method: ridge}\ntrials: {count: 1}\n"
    )
    path = tmp_path / "ridge.yaml"
    path.write_text(config, encoding="utf-8")
    summary = lt.train(lt.load(path), tmp_path)
    assert summary["physics_off_accuracy"] is not None
    assert summary["ridge_accuracy"] is None
    with pytest.raises(ConfigError) as caught:
        lt.load(path, ["ablations=[off, no_skip]"])
    assert "ablation no_skip does not exist for this method, which has off, random, shuffled" in str(caught.value)


@pytest.mark.parametrize("kind", [InputError, LinkTimeout, UnsafeError, ScpiError])
def test_an_error_about_a_setting_stays_what_it_is_and_says_where_that_stands(kind):
    loaded = lt.load(ROOT / "config" / "microwave.yaml")
    with pytest.raises(kind) as caught, jobs.naming_lines(loaded):
        raise kind("vna (sim): set rig.vna.driver")
    assert type(caught.value) is kind
    assert str(caught.value) == f"vna (sim): set rig.vna.driver ({loaded.where('rig.vna.driver')})"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Folder of a finished run with two trials on a data set of its own."""
    folder = tmp_path_factory.mktemp("work")
    rng = np.random.default_rng(0)
    rows = (f"{i % 2 + 0.2 * rng.random():.4f},{rng.random():.4f},{'ab'[i % 2]}\n" for i in range(40))
    (folder / "my.csv").write_text("f,g,kind\n" + "".join(rows), encoding="utf-8")
    (folder / "my.yaml").write_text(
        "rig:\n  type: acoustic\ndataset:\n  type: csv\n  path: my.csv\n  label: kind\n  features: [f, g]\n"
        "network:\n  layers: 1\n  width: 6\ntraining:\n  method: phyll\n  epochs: 4\n  rate: 0.01\n"
        "trials:\n  count: 2\nablations: []\n",
        encoding="utf-8",
    )
    summary = lt.train(lt.load(folder / "my.yaml"), folder / "runs")
    return folder, Path(summary["run"])


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        (
            "training.epochs=3",
            "asked training.epochs 3, trial 0 has 4 behind it; ask for at least 4, or start a new run",
        ),
        ("trials.count=1", "asked trials.count 1, 2 are finished; ask for at least as many, or start a new run"),
    ],
)  # fmt: skip
def test_a_resume_towards_less_is_refused_and_changes_nothing(finished, override, sentence):
    _, run = finished
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.suffix in (".json", ".yaml")}
    with pytest.raises(RunError) as caught:
        lt.resume(run, [override])
    assert str(caught.value) == f"{run}: {sentence}"
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.suffix in (".json", ".yaml")} == before
    with lt.Run.open(run, write=False, clock=RealClock()) as opened:
        assert opened.status == "finished"


def test_resuming_what_is_finished_says_so(finished, caplog):
    _, run = finished
    before = (run / "summary.json").read_bytes()
    assert lt.resume(run)["run"] == str(run)
    assert f"{run}: finished already, nothing is left to do" in caplog.text
    assert (run / "summary.json").read_bytes() == before


def test_a_run_predicts_without_the_file_it_was_trained_on(finished):
    folder, run = finished
    (folder / "rows.csv").write_text("g,f\n0.5,0.1\n0.5,1.1\n", encoding="utf-8")
    with_data = lt.predict(run, folder / "rows.csv")
    (folder / "my.csv").rename(folder / "moved.csv")
    try:
        assert lt.predict(run, folder / "rows.csv") == with_data
    finally:
        (folder / "moved.csv").rename(folder / "my.csv")
    assert [found.label for found in with_data] == ["a", "b"]


def test_runs_begun_in_the_same_second_get_folders_of_their_own(finished, tmp_path):
    folder, _ = finished
    clock = SimulatedClock(1e9)
    loaded = lt.load(folder / "my.yaml", ["trials.count=1"])
    names = [Path(lt.train(loaded, tmp_path, clock=clock)["run"]).name for _ in range(3)]
    assert names == ["2001-09-09_01-46-40_my", "2001-09-09_01-46-40_my-2", "2001-09-09_01-46-40_my-3"]


def test_an_error_about_a_setting_names_its_line(finished, tmp_path, monkeypatch):
    folder, _ = finished
    text = (folder / "my.yaml").read_text(encoding="utf-8")
    (tmp_path / "lab.yaml").write_text(text.replace("path: my.csv", "path: ${MINE:-here}/my.csv"), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        lt.train(lt.load(tmp_path / "lab.yaml"), tmp_path / "runs")
    assert str(caught.value) == (
        f"data file {tmp_path / 'here' / 'my.csv'} does not exist; correct dataset.path "
        "(lab.yaml:5: path: ${MINE:-here}/my.csv)"
    )
    assert not (tmp_path / "runs").exists()


def test_testing_before_training_is_refused(finished):
    folder, _ = finished
    experiment = lt.load(folder / "my.yaml").value
    with lt.open_rig(experiment) as rig, pytest.raises(InputError) as caught:
        lt.Trial.begin(experiment, rig, seed=0).test()
    assert str(caught.value) == "the network of this trial has not been trained; call fit() first"


def test_driving_dead_inputs_is_warned_of(data_dir, caplog, monkeypatch):
    monkeypatch.setenv("LABTRAIN_DATA", str(data_dir))
    config = ROOT / "config" / "vowels-recorded.yaml"
    assert lt.plan(lt.load(config))["dead_inputs"] == [3, 4, 8, 9, 13, 14, 18, 19]
    assert "reach no output of this rig" not in caplog.text
    lt.plan(lt.load(config, ["network.drive.inputs=null"]))
    assert "network.drive.inputs: 3, 4, 8, 9, 13, 14, 18, 19 reach no output of this rig; leave them out" in caplog.text


def test_an_error_about_a_run_folder_is_no_error_about_a_setting(finished, tmp_path, monkeypatch):
    def refuse(*arguments, **named):
        raise RunError("somewhere: run.db cannot be used; choose another folder")

    folder, _ = finished
    monkeypatch.setattr(lt.Run, "create", refuse)
    with pytest.raises(RunError) as caught:
        lt.train(lt.load(folder / "my.yaml"), tmp_path)
    assert str(caught.value) == "somewhere: run.db cannot be used; choose another folder"
