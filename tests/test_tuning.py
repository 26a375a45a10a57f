"""Tuning in a comparison: the same budget for every method, splits of other seeds, the best candidate compared."""

from __future__ import annotations

import json
import math
import re
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console

from labtrain import comparison, jobs, tuning
from labtrain.clock import RealClock
from labtrain.compare_report import comparison_table
from labtrain.compare_runs import runs_of
from labtrain.compare_settings import Comparison, TuningOptions, load, of_candidate
from labtrain.config import Loaded, loads
from labtrain.errors import ConfigError, InputError, Interrupted, RunError
from labtrain.events import StepDone
from labtrain.methods.mono_forward import MonoForward
from labtrain.runs import Run

CONFIG = """\
rig: {type: acoustic}
dataset: {type: xor-tones, rows: 40}
network: {layers: 1, width: 8}
training: {method: mono-forward, epochs: 2, rate: 0.01}
trials: {count: 2, first_seed: 5}
ablations: []
compare:
  tuning: {trials: 2, first_seed: 50}
  methods:
    mono-forward:
      candidates:
        - {training: {rate: 1.0e-9}}
        - {training: {epochs: 4}}
        - {training: {epochs: 3}, network: {width: 6}}
    ridge:
      training: {penalty: 0.01}
      candidates:
        - {}
        - {training: {penalty: 10.0}}
        - {training: {penalty: 1.0}}
"""
METHODS = ("mono-forward", "ridge")


def written(folder: Path, *changes: tuple[str, str]) -> Loaded[Comparison]:
    text = CONFIG
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (folder / "toy.yaml").write_text(text, encoding="utf-8")
    return load(folder / "toy.yaml")


def told(found: dict) -> str:
    console = Console(width=100, highlight=False)
    with console.capture() as capture:
        console.print(comparison_table(found))
    return capture.get()


@pytest.fixture(scope="module", autouse=True)
def _no_figures():
    """Those of the single runs take longer than all else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "figures", lambda *_: [])
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Loaded[Comparison], Path, dict]:
    folder = tmp_path_factory.mktemp("tuning")
    loaded = written(folder)
    return loaded, folder / "out", comparison.compare(loaded, METHODS, folder / "out")


def test_the_most_accurate_candidate_is_compared(finished):
    _, folder, found = finished
    for row in found["methods"]:
        candidates = row["tuning"]["candidates"]
        accuracies = [candidate["accuracy"] for candidate in candidates]
        assert row["tuning"]["chosen"] == 1 + accuracies.index(max(accuracies))
        for number, candidate in enumerate(candidates, 1):
            with Run.open(Path(candidate["run"]), write=False, clock=RealClock()) as run:
                assert run.config["run"]["name"] == f"{row['name']}-{number}"
                assert [trial["seed"] for trial in run.trials().values()] == [50, 51]
                assert [trial["accuracy"] for trial in run.trials().values()] == candidate["accuracies"]
                assert all(trial["ablations"] == {} for trial in run.trials().values())
                assert run.shots_count() == candidate["shots"]
            assert candidate["accuracy"] == pytest.approx(sum(candidate["accuracies"]) / 2)
            assert candidate["seconds"] > 0
    mono, ridge = found["methods"]
    assert mono["tuning"]["candidates"][2]["settings"] == ["training.epochs=3", "network.width=6"]
    # 32 rows for training, 8 for the test, each a shot: of 2 trials and 3 candidates.
    assert (mono["tuning"]["shots"], ridge["tuning"]["shots"]) == (240, 240)
    assert found["tuning"] == {"trials": 2, "first_seed": 50}
    assert json.loads((folder / "compare.json").read_text(encoding="utf-8"))["methods"] == found["methods"]


def test_what_was_chosen_stands_in_the_run_of_the_comparison(finished):
    _, folder, found = finished
    runs = runs_of(folder, RealClock())
    assert [*runs] == [*METHODS]
    for row in found["methods"]:
        assert row["run"] == str(runs[row["name"]])
        tried = row["tuning"]["candidates"][row["tuning"]["chosen"] - 1]
        with Run.open(Path(tried["run"]), write=False, clock=RealClock()) as run:
            settings = run.config
        with Run.open(runs[row["name"]], write=False, clock=RealClock()) as run:
            assert [trial["seed"] for trial in run.trials().values()] == [5, 6]
            for section in ("training", "network", "encoding", "dataset", "rig"):
                assert run.config[section] == settings[section]
            if row["name"] == "mono-forward":  # 1e-9 learns nothing, so another one than the first was chosen
                assert run.config["training"]["epochs"] > 2


def test_what_is_finished_is_not_repeated(finished, monkeypatch):
    loaded, folder, found = finished
    for task in ("train", "resume"):
        monkeypatch.setattr(jobs, task, lambda *_: pytest.fail("repeated"))
    assert comparison.compare(loaded, METHODS, folder) == found


def test_it_goes_on_within_a_candidate_where_it_was_stopped(finished, tmp_path):
    _, _, whole = finished
    loaded = written(tmp_path)
    methods = METHODS[:1]
    begun: list[str] = []

    @contextmanager
    def stops_in_the_second_candidate():
        begun.append("")

        def listener(event):
            if len(begun) == 2 and isinstance(event, StepDone) and event.index == 1 and event.metrics.step == 2:
                raise Interrupted("stopped")

        yield listener

    with pytest.raises(Interrupted):
        comparison.compare(loaded, methods, tmp_path / "out", watch=stops_in_the_second_candidate)
    assert [*runs_of(tmp_path / "out" / tuning.FOLDER, RealClock())] == ["mono-forward-1", "mono-forward-2"]
    assert not runs_of(tmp_path / "out", RealClock())
    found = comparison.compare(loaded, methods, tmp_path / "out", watch=stops_in_the_second_candidate)
    assert len(begun) == 2 + 2 + 1  # the second candidate again, the third, and the comparison
    assert len(list((tmp_path / "out" / tuning.FOLDER).iterdir())) == 3
    for row, before in zip(found["methods"], whole["methods"], strict=False):
        assert row["accuracies"] == before["accuracies"]
        assert row["tuning"]["shots"] == before["tuning"]["shots"]
        for one, other in zip(row["tuning"]["candidates"], before["tuning"]["candidates"], strict=True):
            assert one["accuracies"] == other["accuracies"]


def test_every_method_has_the_same_budget_or_nothing_runs(tmp_path):
    loaded = written(tmp_path, ("        - {training: {penalty: 1.0}}\n", ""))
    with pytest.raises(InputError, match=r"and they have: mono-forward 3, ridge 2, phyll none; list as many under"):
        comparison.compare(loaded, [*METHODS, "phyll"], tmp_path / "out")
    with pytest.raises(InputError, match=r"and they have: phyll none; list as many"):
        comparison.compare(loaded, ["phyll"], tmp_path / "out")
    with pytest.raises(InputError, match=r"--methods rigde: unknown method 'rigde'"):
        comparison.compare(loaded, ["mono-forward", "rigde"], tmp_path / "out")
    twice = written(tmp_path, ("- {training: {penalty: 10.0}}", "- {training: {penalty: 0.01}}"))
    with pytest.raises(InputError, match=r"compare\.methods\.ridge: candidates 1 and 2 are the same settings"):
        comparison.compare(twice, METHODS, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_candidates_without_splits_to_be_tried_on_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"^toy\.yaml:\d+: compare: candidates of mono-forward, ridge need splits"):
        written(tmp_path, ("  tuning: {trials: 2, first_seed: 50}\n", ""))


@pytest.mark.parametrize(("first", "trials"), [(6, None), (4, None), (7, 3)])
def test_splits_of_the_comparison_itself_are_refused(tmp_path, first, trials):
    loaded = written(tmp_path, ("first_seed: 50", f"first_seed: {first}"))
    end = 5 + (trials or 2)
    told = rf"has seeds {first} to {first + 1}, and the comparison seeds 5 to {end - 1}: .*first_seed: {end}, or more$"
    with pytest.raises(InputError, match=told):
        comparison.compare(loaded, METHODS, tmp_path / "out", trials=trials)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("first", "count"), [(7, 2), (3, 2)])
def test_neighbouring_seeds_are_not_shared(first, count):
    tuning._refuse_shared(tuning.Trials(first_seed=first, count=count), tuning.Trials(first_seed=5, count=2))


def test_what_is_wrong_with_a_candidate_is_said_before_anything_runs(finished, tmp_path):
    wrong = written(tmp_path, ("{penalty: 10.0}", "{penalti: 10.0}"))
    with pytest.raises(ConfigError, match=r"^toy.yaml:19: compare\.methods\.ridge, candidate 2: training\.penalti: "):
        comparison.compare(wrong, METHODS, tmp_path / "out")
    other = written(tmp_path, ("{penalty: 10.0}", "{method: phyll}"))
    with pytest.raises(InputError, match=r"^toy.yaml:19: .*ridge, candidate 2: training\.method phyll is not ridge"):
        comparison.compare(other, METHODS, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    changed = written(tmp_path, ("{penalty: 10.0}", "{penalty: 20.0}"))
    with pytest.raises(RunError, match=r"_ridge-2: .*training\.penalty: 10\.0 -> 20\.0\); move that folder away"):
        comparison.compare(changed, METHODS, finished[1])


def test_what_candidates_cannot_be_tried_with_is_said_once_before_anything_runs(tmp_path):
    loaded = written(tmp_path, ("first_seed: 5}", "first_seed: 5, start_from: earlier}"))
    told = r"^trials\.start_from: candidates are tried on other splits .*; leave one of the two out \(toy\.yaml:5\)$"
    with pytest.raises(ConfigError, match=told):
        comparison.compare(loaded, METHODS, tmp_path / "out")
    twin = (
        "    in-silico: {training: {twin: twin.npz}, candidates: [{}, {network: {width: 6}}, {network: {width: 4}}]}\n"
    )
    lacking = load(written(tmp_path, ("  methods:\n", f"  methods:\n{twin}")).source)
    with pytest.raises(ConfigError, match=r"^in-silico-1: training\.twin: .*twin\.npz does not exist"):
        comparison.compare(lacking, [*METHODS, "in-silico"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_candidates_that_fail_are_out_and_a_method_without_any_is_a_row(tmp_path, monkeypatch):
    step = MonoForward.step

    def diverging(method):
        metrics = step(method)
        if metrics is not None and metrics.step == 2 and method.config.epochs > 2:
            object.__setattr__(metrics, "losses", (math.nan,))
        return metrics

    monkeypatch.setattr(MonoForward, "step", diverging)
    layers = [(f"penalty: {value}}}", f"penalty: {value}}}, network: {{layers: 2}}") for value in ("10.0", "1.0")]
    loaded = written(tmp_path, *layers, ("- {}\n", "- {network: {layers: 3}}\n"))
    found = comparison.compare(loaded, METHODS, tmp_path / "out")
    mono, ridge = found["methods"]
    assert mono["tuning"]["chosen"] == 1
    assert (mono["problem"], len(mono["accuracies"])) == (None, 2)
    diverged = mono["tuning"]["candidates"][1]
    assert diverged["problem"] == "diverged: in trial 0, step 2, the loss of block 1 is no number"
    assert (diverged["accuracy"], diverged["accuracies"]) == (None, None)
    assert diverged["shots"] > 0
    assert ridge["tuning"]["chosen"] is None
    assert ridge["problem"].startswith("no candidate came through tuning; 1: ")
    assert ridge["problem"].count("set network.layers: 1") == 3
    assert list(runs_of(tmp_path / "out", RealClock())) == ["mono-forward"]
    table = told(found)
    assert "mono-forward, candidate 2 failed: diverged: in trial 0" in table
    assert [line.split()[1] for line in table.splitlines() if line.startswith("ridge ")] == ["failed", "none"]
    monkeypatch.setattr(jobs, "resume", lambda *_: pytest.fail("a candidate that has diverged went on"))
    assert comparison.compare(loaded, METHODS, tmp_path / "out")["methods"][0]["tuning"] == mono["tuning"]


def test_ties_go_to_the_earlier_candidate():
    assert tuning.choose([None, 0.5, 0.75, 0.75]) == 3
    assert tuning.choose([None, None]) is None


def test_the_table_tells_budget_choice_and_cost(finished):
    lines = told(finished[2]).splitlines()
    assert max(map(len, lines)) <= 100
    text = " ".join(" ".join(lines).split())
    assert "Tuning: 3 candidates of each method in 2 trials (seeds 50 to 51); the most accurate was compared." in text
    mono = finished[2]["methods"][0]["tuning"]
    settings = ", ".join(mono["candidates"][mono["chosen"] - 1]["settings"])
    assert f"mono-forward took candidate {mono['chosen']}: {settings}" in text
    (row,) = [line.split() for line in lines if line.startswith("mono-forward") and "of 3" in line]
    assert row[1:4] == [str(mono["chosen"]), "of", "3"]
    assert row[4:7] == [f"{100 * candidate['accuracy']:.1f}" for candidate in mono["candidates"]]
    assert row[7] == "240"


def test_the_table_tells_of_ties_and_of_nothing_changed(finished):
    mono, ridge = finished[2]["methods"]
    tied = [one | {"accuracy": 0.5} for one in ridge["tuning"]["candidates"]]
    again = finished[2] | {
        "methods": [mono, ridge | {"tuning": ridge["tuning"] | {"chosen": 1, "candidates": tied}}],
        "tuning": {"trials": 1, "first_seed": 50},
    }
    text = told(again)
    assert "ridge took candidate 1, the first of 3 that are equal: nothing changed" in text
    assert "in 1 trial (seed 50);" in text


def test_untuned_comparisons_tell_nothing_of_tuning(finished):
    found = finished[2] | {"tuning": None, "methods": [row | {"tuning": None} for row in finished[2]["methods"]]}
    assert "uning" not in told(found)


def test_the_documentation_is_right():
    page = (Path(__file__).parent.parent / "docs/compare.md").read_text(encoding="utf-8")
    section = page.partition("\n## Tuning\n")[2].partition("\n## ")[0]
    (example,) = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    lab = CONFIG.partition("compare:")[0]
    options = loads(lab + example, Comparison).value.compare
    assert tuning.candidates_each(options, ["phyll", "ridge"]) == 3
    for name in ("phyll", "ridge"):
        for number in (1, 2, 3):
            of_candidate(loads(lab + example, Comparison), name, number)
    defaults = {
        **{f"compare.tuning.{key}": str(field.default) for key, field in TuningOptions.model_fields.items()},
        "compare.methods.NAME.candidates": "`[]`",
    }
    assert dict(re.findall(r"^\| `(.+?)` \| (.+?) \|", section, re.MULTILINE)) == defaults
