"""Disturbed comparison: three runs a method, what is told of them, going on, and what is refused."""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from labtrain import compare_disturbed, comparison, jobs
from labtrain.cli import main
from labtrain.clock import RealClock
from labtrain.compare_disturbed_report import disturbed_table, plot_disturbed
from labtrain.compare_report import comparison_table, plot_comparison
from labtrain.compare_runs import runs_of
from labtrain.compare_settings import Comparison, load
from labtrain.compared import collect
from labtrain.config import Loaded
from labtrain.errors import ConfigError, InputError, Interrupted, RunError
from labtrain.events import StepDone
from labtrain.experiment import Experiment
from labtrain.runs import Run
from labtrain.statistics import interval
from labtrain.twin import WaveTwin, save_twin

CONFIG = """\
rig: {type: recorded, pairs: pairs.npz, held_out_rows: 100}
dataset: {type: csv, path: table.csv, label: kind, features: [a, b, c]}
network: {layers: 2, width: 5, skip: false}
training: {method: phyll, schedule: joint, epochs: 4, inner: 3, rate: 0.02, score_every: 1}
trials: {count: 2, first_seed: 5}
ablations: []
compare:
  disturb:
    - {do: outputs, order: [4, 3, 2, 1, 0]}
    - {do: noise, share: 0.001}
  methods:
    ridge: {network: {layers: 1}}
    mono-forward: {training: {epochs: 6, inner: 4, rate: 0.02, score_every: 1}}
    in-silico: {training: {twin: twin.npz, epochs: 3, batch: 8, score_every: 1}}
"""
METHODS = ("phyll", "ridge", "in-silico")


def written(folder: Path, text: str = CONFIG) -> Loaded[Comparison]:
    rng = np.random.default_rng(0)
    x = rng.random((400, 6))
    y = np.abs(x @ (rng.standard_normal((6, 5)) + 1j * rng.standard_normal((6, 5))))
    np.savez(folder / "pairs.npz", x=x, y=y)
    save_twin(WaveTwin().fit(x, y), folder / "twin.npz")
    rows = "".join(f"{a},{b},{c},{'pq'[int(a > 0.5)]}\n" for a, b, c in rng.random((40, 3)))
    (folder / "table.csv").write_text("a,b,c,kind\n" + rows)
    (folder / "toy.yaml").write_text(text, encoding="utf-8")
    return load(folder / "toy.yaml")


def shown(found: dict[str, Any]) -> str:
    console = Console(width=100, highlight=False)
    with console.capture() as capture:
        console.print(disturbed_table(found))
    return capture.get()


def config_of(folder: Path, name: str) -> dict[str, Any]:
    with Run.open(runs_of(folder, RealClock())[name], write=False, clock=RealClock()) as run:
        return run.config


@pytest.fixture(autouse=True)
def _no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "figures", lambda _: None)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Loaded[Comparison], Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("disturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "figures", lambda _: None)
        loaded = written(folder)
        return loaded, folder / "out", compare_disturbed.compare(loaded, METHODS, folder / "out")


def test_three_runs_of_each_method_on_the_same_trials(finished):
    _, folder, _ = finished
    changes = [("outputs", 0), ("noise", 0)]
    for name in METHODS:
        before, after, scratch = (config_of(folder, f"{name}{part}") for part in ("", "-after", "-scratch"))
        assert [(one["do"], one["at_shot"]) for one in after["disturbances"]] == changes
        assert after["disturbances"] == scratch["disturbances"] and before["disturbances"] == []
        assert after["trials"]["start_from"] == str(runs_of(folder, RealClock())[name])
        assert before["trials"]["start_from"] is scratch["trials"]["start_from"] is None
        for key in ("rig", "dataset", "encoding", "network", "training"):
            assert before[key] == after[key] == scratch[key]


def test_what_is_told_is_what_the_runs_hold(finished):
    _, folder, found = finished
    assert json.loads((folder / "compare.json").read_text()) == {k: v for k, v in found.items() if k != "folder"}
    assert [one["do"] for one in found["disturbed"]["changes"]] == ["outputs", "noise"]
    share, runs = found["test_share"], runs_of(folder, RealClock())
    for row, plain in zip(found["disturbed"]["methods"], found["methods"], strict=True):
        assert (row["name"], row["problem"]) == (plain["name"], None)
        told = row["accuracies"]
        summaries = {
            part: json.loads((runs[f"{row['name']}-{part}"] / "summary.json").read_text())
            for part in ("after", "scratch")
        }
        assert told["before"] == plain["accuracies"]
        assert told["at"] == summaries["after"]["start_accuracy_per_trial"]
        assert told["after"] == summaries["after"]["test_accuracy_per_trial"]
        assert told["scratch"] == summaries["scratch"]["test_accuracy_per_trial"]
        for key, pair in {"dip": ("before", "at"), "difference": ("after", "scratch")}.items():
            values = np.subtract(told[pair[0]], told[pair[1]])
            assert (row[key], row[f"{key}_half"]) == pytest.approx(interval(list(values), share))
        for part in ("after", "scratch"):
            assert row[f"shots_{part}"] == summaries[part]["shots_train"] / 2
    phyll, ridge, blind = found["disturbed"]["methods"]
    assert phyll["dip"] > 0
    assert ridge["shots_back"] == ridge["shots_same"] == [32, 32]
    assert blind["shots_after"] == 0 and blind["shots_back"] is blind["shots_same"] is None
    for trial in (0, 1):
        with Run.open(runs["phyll-scratch"], write=False, clock=RealClock()) as run:
            accuracies = [row.value["accuracy"] for row in run.metrics() if row.trial == trial]
        first = next(i for i, accuracy in enumerate(accuracies) if accuracy >= accuracies[-1] - 0.01)
        assert phyll["shots_same"][trial] == (first + 1) * 2 * 2 * 32


def test_the_test_before_the_first_step_makes_no_prediction_dearer(finished):
    _, folder, _ = finished
    runs = runs_of(folder, RealClock())
    for name, shots in {"phyll": 4, "ridge": 1, "in-silico": 2}.items():
        with Run.open(runs[f"{name}-after"], write=False, clock=RealClock()) as run:
            kept = run.trials()[0]
            experiment = Experiment.model_validate(run.config)
            assert kept["tests"] == 2
            assert kept["test_cost"]["shots"] == 2 * 8 * shots
            (row,) = collect({name: experiment}, {name: run.folder}, {}, 0.9, 0.25, RealClock())["methods"]
        assert row["shots_per_prediction"] == shots


def test_what_is_finished_is_not_repeated_and_what_was_stopped_goes_on(finished, tmp_path, monkeypatch):
    loaded, folder, found = finished
    with monkeypatch.context() as patch:
        for name in ("train", "resume"):
            patch.setattr(jobs, name, lambda *_: pytest.fail("repeated"))
        assert compare_disturbed.compare(loaded, METHODS, folder) == found
    begun = []

    @contextmanager
    def stops_in_the_warm_start():
        begun.append(1)

        def listener(event):
            if len(begun) == 3 and isinstance(event, StepDone) and event.index == 1 and event.metrics.step == 2:
                raise Interrupted("stopped")

        yield listener

    again = written(tmp_path)
    with pytest.raises(Interrupted):
        compare_disturbed.compare(again, ["phyll"], tmp_path / "out", watch=stops_in_the_warm_start)
    assert set(runs_of(tmp_path / "out", RealClock())) == {"phyll", "phyll-scratch", "phyll-after"}
    whole, ended = found["disturbed"]["methods"][0], compare_disturbed.compare(again, ["phyll"], tmp_path / "out")
    (row,) = ended["disturbed"]["methods"]
    assert {key: value for key, value in row.items() if key != "runs"} == {
        key: value for key, value in whole.items() if key != "runs"
    }
    (tmp_path / "out").rename(tmp_path / "moved")  # and more trials come on top
    (more,) = compare_disturbed.compare(again, ["phyll"], tmp_path / "moved", trials=3)["disturbed"]["methods"]
    for part, accuracies in row["accuracies"].items():
        assert more["accuracies"][part][:2] == accuracies and len(more["accuracies"][part]) == 3


def test_another_change_or_a_run_that_has_gone_on_is_refused(finished, tmp_path):
    _, folder, _ = finished
    other = written(folder.parent, CONFIG.replace("share: 0.001", "share: 0.002"))
    with pytest.raises(RunError, match=r"phyll-scratch: .*disturbances.*move that folder away"):
        compare_disturbed.compare(other, METHODS, folder, trials=3)
    loaded = written(folder.parent)
    longer = load(loaded.source, ["training.epochs=5"])
    told = r"_phyll: training.epochs 5 asks it to go on from 4, and .*_phyll-after has begun from it as it is; move"
    with pytest.raises(RunError, match=told):
        compare_disturbed.compare(longer, ["mono-forward", "phyll"], folder)
    runs = runs_of(folder, RealClock())
    with Run.open(runs["phyll"], write=False, clock=RealClock()) as run:  # nothing ran first
        assert "mono-forward" not in runs and {kept["goal"] for kept in run.trials().values()} == {4}
        assert len(run.trials()) == 2
    shutil.copytree(folder, tmp_path / "copy")
    jobs.resume(runs_of(tmp_path / "copy", RealClock())["phyll"], ["training.epochs=5"])
    with pytest.raises(RunError, match=r"_phyll: has gone on since .*_phyll-after began from it; move that folder"):
        compare_disturbed.compare(longer, ["phyll"], tmp_path / "copy")
    nothing = written(tmp_path, CONFIG.partition("  disturb:")[0] + "  methods: {}\n")
    with pytest.raises(InputError, match=r"--disturb: compare.disturb says nothing"):
        compare_disturbed.compare(nothing, ["phyll"], tmp_path / "out")
    named = written(tmp_path, CONFIG + "    phyll-after: {training: {method: phyll}}\n")
    with pytest.raises(InputError, match="--methods phyll-after: --disturb needs that name for a run of its own"):
        compare_disturbed.compare(named, ["phyll", "phyll-after"], tmp_path / "out")
    with pytest.raises(ConfigError, match=r"toy.yaml:9: compare.disturb.0.shape: .*takes order, got shape"):
        written(tmp_path, CONFIG.replace("do: outputs, order", "do: outputs, shape"))
    assert not (tmp_path / "out").exists()


TUNED = CONFIG.replace(
    "  methods:\n    ridge: {network: {layers: 1}}",
    "  tuning: {trials: 1, first_seed: 50}\n  methods:\n"
    "    phyll: {candidates: [{training: {rate: 1.0e-9}}, {training: {rate: 0.05}}]}",
)


def test_tuned_runs_are_refused_before_anything_runs(tmp_path, monkeypatch):
    loaded = written(tmp_path, TUNED)
    found = compare_disturbed.compare(loaded, ["phyll"], tmp_path / "out", trials=1)
    assert compare_disturbed.compare(loaded, ["phyll"], tmp_path / "out", trials=1) == found
    for name in ("train", "resume"):
        monkeypatch.setattr(jobs, name, lambda *_: pytest.fail("something ran"))
    for wrong, told in (
        (load(loaded.source, ["training.epochs=5"]), "training.epochs 5 asks it to go on from 4"),
        (written(tmp_path, TUNED.replace("share: 0.001", "share: 0.002")), "phyll-scratch: .*disturbances"),
    ):
        with pytest.raises(RunError, match=told):
            compare_disturbed.compare(wrong, ["phyll"], tmp_path / "out", trials=1)


def test_it_begins_from_an_earlier_run_where_all_methods_can(finished, tmp_path):
    _, folder, _ = finished
    loaded = load(written(tmp_path).source, [f"trials.start_from={runs_of(folder, RealClock())['phyll']}"])
    (row,) = compare_disturbed.compare(loaded, ["phyll"], tmp_path / "out", trials=1)["disturbed"]["methods"]
    assert row["problem"] is None
    starts = {part: config_of(tmp_path / "out", f"phyll{part}")["trials"]["start_from"] for part in ("", "-scratch")}
    assert starts == {"": str(runs_of(folder, RealClock())["phyll"]), "-scratch": None}
    with pytest.raises(ConfigError, match=r"^ridge: trials\.start_from: .*these must be alike"):
        compare_disturbed.compare(loaded, ["phyll", "ridge"], tmp_path / "new", trials=1)
    assert not (tmp_path / "new").exists()


def test_a_twin_is_asked_for_as_long_as_a_run_needs_it(tmp_path):
    loaded, out, away = written(tmp_path), tmp_path / "out", tmp_path / "away.npz"
    (row,) = comparison.compare(loaded, ["in-silico"], out, trials=1)["methods"]
    (tmp_path / "twin.npz").rename(away)
    again = comparison.compare(loaded, ["in-silico", "ridge"], out, trials=1)["methods"]
    assert again[0] == row and row["problem"] is again[1]["problem"] is None
    for carry_out, trials, name in ((comparison, 2, "in-silico"), (compare_disturbed, 1, "in-silico-scratch")):
        told = rf"^{name}: training\.twin: .*twin\.npz does not exist; record"
        with pytest.raises(ConfigError, match=told):
            carry_out.compare(loaded, ["mono-forward", "in-silico"], out, trials=trials)
    assert [*runs_of(out, RealClock())] == ["in-silico", "ridge"]  # nothing ran first
    (tmp_path / "twin.npz").write_bytes(away.read_bytes()[:300])
    told = r"^in-silico: training\.twin: .*twin\.npz: holds no twin; name a file .*\(toy\.yaml:14: compare"
    with pytest.raises(ConfigError, match=told):
        comparison.compare(loaded, ["mono-forward", "in-silico"], out, trials=2)
    away.rename(tmp_path / "twin.npz")
    found = compare_disturbed.compare(loaded, ["in-silico"], out, trials=1)
    (tmp_path / "twin.npz").unlink()
    assert compare_disturbed.compare(loaded, ["in-silico"], out, trials=1) == found


def test_a_method_that_cannot_begin_from_its_run_is_a_row(tmp_path):
    loaded = written(tmp_path, CONFIG.replace("do: outputs, order: [4, 3, 2, 1, 0]", "do: output, output: 7"))
    found = compare_disturbed.compare(loaded, ["ridge"], tmp_path / "out", trials=1)
    (row,) = found["disturbed"]["methods"]
    assert row["problem"].startswith("ridge-scratch: disturbances.0.output: disturbance 'output': asked output 7")
    assert row["problem"].endswith("(toy.yaml:8: compare.disturb)")
    assert found["methods"][0]["problem"] is None
    lines = shown(found).splitlines()
    assert [line.split()[:2] for line in lines if line.startswith("ridge ")] == [["ridge", "failed"]]
    assert any(line.startswith("ridge: ridge-scratch: disturbances.0.output") for line in lines)
    plot_disturbed(found)


def test_the_table_says_what_was_reached_and_what_was_not(finished):
    _, _, found = finished
    told = shown(found)
    assert max(map(len, told.splitlines())) <= 100
    for sentence in (
        "The change: outputs (order [4, 3, 2, 1, 0]); noise (share 0.001).",
        "The level: the accuracy on training rows that scratch ends with, less 1.0 points",
        "in-silico: trained without the rig",
    ):
        assert sentence in " ".join(told.split())
    copy = json.loads(json.dumps(found))
    for shots, text in (([None, None], "never"), ([None, 40], "40 (1/2)"), ([40, 60], "50")):
        copy["disturbed"]["methods"][0]["shots_back"] = shots
        line = [line for line in shown(copy).splitlines() if line.startswith("phyll ")][-1]
        assert line.split("  ", 1)[1].strip().startswith(text)
    one = json.loads(json.dumps(found)) | {"trials": 1}
    for row in one["disturbed"]["methods"]:
        row |= {key: None for key in row if key.endswith("_half")}
    assert "spread unknown" in shown(one)
    panels = plot_disturbed(one).axes
    assert [panel.get_title() for panel in panels] == [*METHODS]
    drawn = [[text for text in panel.get_legend_handles_labels()[1] if "training rows" in text] for panel in panels]
    assert drawn == [["training goes on (training rows)", "from scratch (training rows)"]] * 2 + [[]]


def test_accuracies_of_a_model_are_not_taken_for_those_of_the_rig(finished):
    _, folder, found = finished
    phyll, ridge, blind = found["methods"]
    with Run.open(runs_of(folder, RealClock())["in-silico"], write=False, clock=RealClock()) as run:
        assert run.metrics()[-1].value["accuracy"] > 0  # of the twin, without a shot
    assert blind["shots_to_target"] is None and blind["curve"] == {"shots": [], "accuracy": []}
    assert len(phyll["shots_to_target"]) == len(ridge["shots_to_target"]) == 2 and phyll["curve"]["shots"]
    console = Console(width=100, highlight=False)
    with console.capture() as capture:
        console.print(comparison_table(found))
    (line,) = [line for line in capture.get().splitlines() if line.startswith("in-silico ") and line.endswith("yes")]
    assert line.split()[-2:] == ["-", "yes"]
    assert "in-silico: trained without the rig, whose accuracy on the way nobody knows." in capture.get()
    plot_comparison(found)


@pytest.mark.parametrize(("half", "text"), [(0.0994, "100.0 ± 9.9"), (0.123, "100.0 ± 12"), (1.946, "100.0 ± 195")])
def test_no_number_is_cut_however_wide_its_interval(finished, half, text):
    copy = json.loads(json.dumps(finished[2]))
    for row in copy["disturbed"]["methods"]:
        row |= {key: half for key in row if key.endswith("_half")}
        row |= dict.fromkeys(("before", "at", "dip", "after", "scratch"), 1.0) | {"difference": -1.0}
    copy["disturbed"]["methods"][0]["name"] = "backpropagation-of-mine"
    lines = shown(copy).splitlines()
    (line,) = (line for line in lines if line.startswith("ridge ") and "±" in line)
    assert line.count(text) == 6 and not any("…" in line for line in lines) and max(map(len, lines)) <= 100


def test_the_command_writes_tables_and_figure(finished, capsys, monkeypatch, tmp_path):
    written(tmp_path)
    arguments = ["compare", str(tmp_path / "toy.yaml"), "--methods", "ridge", "--trials", "1", "--disturb", "--out"]
    monkeypatch.setattr("sys.argv", ["labtrain", *arguments, str(tmp_path / "out")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    out = capsys.readouterr().out
    assert "The change: outputs" in out and "minus the first" in out
    assert max(map(len, out.splitlines())) <= 100
    assert (tmp_path / "out" / compare_disturbed.FIGURE).stat().st_size > 10_000
    assert (tmp_path / "out" / comparison.FIGURE).exists()
