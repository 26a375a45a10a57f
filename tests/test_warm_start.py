"""Warm start: what is inherited and what is not, the test before the first step, resume, and what is refused."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import yaml
from rich.console import Console

from labtrain import events, jobs
from labtrain.clock import RealClock
from labtrain.config import Loaded, loads
from labtrain.errors import ConfigError, InputError, RunError
from labtrain.experiment import Experiment
from labtrain.methods.coordinate_descent import CoordinateDescent
from labtrain.methods.method import Inheriting
from labtrain.methods.mono_forward import MonoForward
from labtrain.methods.phyll import PhyLL
from labtrain.report import summary_table
from labtrain.runs import Run
from labtrain.trial import Trial
from tests.methods.pixels import Pixels, make_with
from tests.worlds import blobs

ROOT = Path(__file__).resolve().parent.parent
METHODS: dict[str, dict[str, Any]] = {
    "layerwise": {"method": "phyll", "epochs": 4, "inner": 2, "rate": 0.02, "score_every": 1},
    "joint": {"method": "phyll", "schedule": "joint", "epochs": 3, "inner": 2, "rate": 0.02, "score_every": 1},
    "mono-forward": {"method": "mono-forward", "epochs": 4, "inner": 2, "rate": 0.02, "score_every": 1},
    "spsa": {"method": "spsa", "epochs": 2, "batch": 8, "pilots": 2, "score_every": 1},
    "ridge": {"method": "ridge"},
    "augmented-dfa": {"method": "augmented-dfa", "epochs": 2, "batch": 8, "score_every": 1},
    "phyll-unsupervised": {"method": "phyll-unsupervised", "epochs": 4, "inner": 2, "rate": 0.02, "score_every": 1},
}


def _benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("kill_resume", ROOT / "benchmarks" / "kill_resume.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["kill_resume"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


differences = _benchmark().differences


class Broken(Exception):
    """Stands for whatever broke a training off."""


@pytest.fixture(autouse=True)
def _no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "figures", lambda _: None)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recorded rig of 6 inputs and 5 outputs, and a table of three features."""
    folder = tmp_path_factory.mktemp("lab")
    rng = np.random.default_rng(0)
    x = rng.random((400, 6))
    y = np.abs(x @ (rng.standard_normal((6, 5)) + 1j * rng.standard_normal((6, 5))))
    np.savez(folder / "pairs.npz", x=x, y=y)
    rows = "".join(f"{a},{b},{c},{'pq'[int(a > 0.5)]}\n" for a, b, c in rng.random((40, 3)))
    (folder / "table.csv").write_text("a,b,c,kind\n" + rows)
    return folder


def config(lab: Path, name: str = "joint", start: Path | None = None, **sections: Any) -> Loaded[Experiment]:
    """The configuration of a method; sections go on top."""
    values: dict[str, Any] = {
        "rig": {"type": "recorded", "pairs": "pairs.npz", "held_out_rows": 100},
        "dataset": {"type": "csv", "path": "table.csv", "label": "kind", "features": ["a", "b", "c"]},
        "network": {"layers": 1 if name == "ridge" else 2, "width": 5},
        "training": METHODS[name],
        "trials": {"count": 2, "first_seed": 3, "start_from": None if start is None else str(start)},
        "ablations": [],
        "run": {"checkpoint_s": 60},
    }  # fmt: skip
    for key, section in sections.items():
        values[key] = {**values[key], **section} if isinstance(section, dict) else section
    return loads(yaml.safe_dump(values, sort_keys=False), Experiment, lab / "lab.yaml")


@pytest.fixture(scope="module")
def earlier(lab: Path) -> Callable[[str], Path]:
    """Finished runs by name, trained once."""
    known: dict[str, Path] = {}

    def train(name: str) -> Path:
        if name not in known:
            known[name] = Path(jobs.train(config(lab, name), lab / "earlier")["run"])
        return known[name]

    return train


def states(folder: Path | str) -> list[dict[str, Any]]:
    with Run.open(Path(folder), write=False, clock=RealClock()) as run:
        return [run.trial_state(trial) for trial in run.trials()]


CHANGED = [{"at_shot": 0, "do": "outputs", "order": [1, 0, 3, 2, 4]}]


@pytest.mark.parametrize("name", METHODS)
def test_it_equals_a_continuation_by_hand(lab: Path, earlier: Callable[[str], Path], name: str, tmp_path: Path) -> None:
    loaded = config(lab, name, earlier(name), disturbances=CHANGED)
    summary = jobs.train(loaded, tmp_path)
    for index, (before, after) in enumerate(zip(states(earlier(name)), states(summary["run"]), strict=True)):
        with jobs.open_rig(loaded.value) as rig:
            trial = Trial.begin(loaded.value, rig, 3 + index)
            for block, saved in zip(trial.net.blocks, before["net"]["blocks"], strict=True):
                block.parameters[:, :-1], block.parameters[:, -1] = saved["W"], saved["b"]
                block.learned, block.y_mean, block.y_scale = True, saved["y_mean"], saved["y_scale"]
                block.drive.low, block.drive.high = saved["drive"]["low"], saved["drive"]["high"]
            drawn: dict[str, Any] = before["method"]
            if isinstance(trial.method, PhyLL):
                trial.method.xi = drawn["xi"]
            elif isinstance(trial.method, MonoForward):
                trial.method.M = [M.copy() for M in drawn["M"]]
            elif name == "ridge":
                trial.method.weights, trial.method.intercept = drawn["weights"], drawn["intercept"]
            elif name == "augmented-dfa":
                trial.method.B = drawn["B"]
            elif name == "phyll-unsupervised":
                trial.method.xi, trial.method.V, trial.method.c = drawn["xi"], drawn["V"], drawn["c"]
            rows, labels = trial.table.features[trial.split.test], trial.table.labels[trial.split.test]
            start = float((trial.method.scores(trial.net, rows).argmax(axis=1) == labels).mean())
            verdict = trial.fit().test()
        assert summary["start_accuracy_per_trial"][index] == start
        assert summary["test_accuracy_per_trial"][index] == verdict.accuracy
        assert verdict.scores.tobytes() == after["verdict"]["scores"].tobytes()
        for block, saved in zip(trial.net.blocks, after["net"]["blocks"], strict=True):
            assert block.W.tobytes() == saved["W"].tobytes()
            assert (block.drive.clipped, block.drive.mapped) == (saved["drive"]["clipped"], saved["drive"]["mapped"])
        assert trial.steps == after["steps"] == before["steps"]
        last = [state["net"]["blocks"][-1]["W"].tobytes() for state in (before, after)]
        assert last[0] != last[1] or name == "ridge"


@pytest.mark.parametrize("name", METHODS)
def test_a_trial_of_another_seed_predicts_alike_once_it_has_inherited(lab: Path, name: str) -> None:
    what = config(lab, name, rig={"noise": "none"}).value
    with jobs.open_rig(what) as rig:
        one = Trial.begin(what, rig, 3).fit()
        other = Trial.begin(what, rig, 4)
        other.inherit(one.state())
        rows = one.table.features
        assert other.scores(rows).tobytes() == one.scores(rows).tobytes()
        if name == "augmented-dfa":  # feedback is of training alone
            assert all((a == b).all() for a, b in zip(other.method.state()["B"], one.method.state()["B"], strict=True))
        assert (other.steps, one.steps > 0) == (0, True)
        other.fit()  # and what it learns is its own
        assert one.scores(rows).tobytes() != other.scores(rows).tobytes()


@pytest.mark.parametrize("name", ["layerwise", "mono-forward", "ridge"])
def test_at_the_start_it_is_the_earlier_network_on_the_changed_rig(
    lab: Path, earlier: Callable[[str], Path], name: str, tmp_path: Path
) -> None:
    quiet = {"noise": "none"}
    before = jobs.train(config(lab, name, rig=quiet), tmp_path)
    loaded = config(lab, name, Path(before["run"]), rig=quiet, disturbances=CHANGED)
    summary = jobs.train(loaded, tmp_path)
    undisturbed = jobs.train(config(lab, name, Path(before["run"]), rig=quiet), tmp_path)
    assert undisturbed["start_accuracy_per_trial"] == before["test_accuracy_per_trial"]
    expected = []
    for index, state in enumerate(states(before["run"])):
        with jobs.open_rig(loaded.value) as rig:
            trial = Trial.begin(loaded.value, rig, 3 + index)
            trial.net.restore(state["net"])
            trial.method.restore(state["method"])
            rows, labels = trial.table.features[trial.split.test], trial.table.labels[trial.split.test]
            expected.append(float((trial.method.scores(trial.net, rows).argmax(axis=1) == labels).mean()))
    assert summary["start_accuracy_per_trial"] == expected != before["test_accuracy_per_trial"]
    assert summary["start_accuracy"] == pytest.approx(np.mean(expected))
    assert [(row["shot"], row["step"]) for row in summary["disturbances"]] == [(0, 1)] * 2


def test_the_first_test_costs_test_shots_and_is_planned_and_told(
    lab: Path, earlier: Callable[[str], Path], tmp_path: Path
) -> None:
    told: list[events.Event] = []
    loaded = config(lab, "joint", earlier("joint"))
    plan = jobs.plan(loaded)
    summary = jobs.train(loaded, tmp_path, [told.append])
    fresh = jobs.plan(config(lab, "joint"))
    assert (plan["shots_train"], plan["shots_test"]) == (fresh["shots_train"], 2 * fresh["shots_test"])
    assert (summary["shots_train"], summary["shots_test"]) == (plan["shots_train"], plan["shots_test"])
    started = [event for event in told if isinstance(event, events.TrialStarted)]
    assert [event.planned_shots for event in started] == [(plan["shots_train"] + plan["shots_test"]) // 2] * 2
    at = [event.accuracy for event in told if isinstance(event, events.StartTested)]
    assert at == summary["start_accuracy_per_trial"]
    assert f"trial 1: begins at {100 * at[1]:.1f} % of the test rows" in (Path(summary["run"]) / "log.txt").read_text()
    with Run.open(Path(summary["run"]), write=False, clock=RealClock()) as run:
        assert sum(run.shots_by_step(0).values()) == plan["shots_train"] // 2
    longer = jobs.resume(summary["run"], ["training.epochs=4"])
    assert longer["start_accuracy_per_trial"] == at
    assert (longer["shots_train"], longer["shots_test"]) == (plan["shots_train"] * 4 // 3, plan["shots_test"] * 3 // 2)
    console = Console(width=100)
    with console.capture() as capture:
        console.print(summary_table(summary))
    assert any(line.startswith("at the start ") for line in capture.get().splitlines())
    assert "start_accuracy" in summary and jobs.train(config(lab), tmp_path)["start_accuracy"] is None


@pytest.mark.parametrize(
    ("checkpoint_s", "stop"),
    [
        (60, lambda e: isinstance(e, events.ShotsArrived)),  # in the very first test
        (60, lambda e: isinstance(e, events.StartTested)),
        (0, lambda e: isinstance(e, events.StepDone) and e.metrics.step == 1),
        (60, lambda e: isinstance(e, events.StepDone) and e.metrics.step == 2),
        (60, lambda e: isinstance(e, events.TrialFinished) and e.index == 0),
        (60, lambda e: isinstance(e, events.StepDone) and e.index == 1),
    ],
)
def test_a_run_that_was_broken_off_ends_the_same(
    lab: Path, earlier: Callable[[str], Path], checkpoint_s: float, stop: Callable[[Any], bool], tmp_path: Path
) -> None:
    loaded = config(lab, "joint", earlier("joint"), disturbances=CHANGED, run={"checkpoint_s": checkpoint_s})

    def breaks(event: Any) -> None:
        if stop(event):
            raise Broken

    whole = Path(jobs.train(loaded, tmp_path / "whole")["run"])
    with pytest.raises(Broken):
        jobs.train(loaded, tmp_path / "broken", [breaks])
    (broken,) = (tmp_path / "broken").iterdir()
    summary = jobs.resume(broken)
    assert [difference for difference in differences(whole, broken) if "status" not in difference] == []
    assert len(summary["start_accuracy_per_trial"]) == 2


def test_an_earlier_run_may_move_but_not_go_on(lab: Path, tmp_path: Path) -> None:
    one = Path(jobs.train(config(lab, trials={"count": 1}), tmp_path)["run"])
    later = Path(jobs.train(config(lab, "joint", one, trials={"count": 1}), tmp_path)["run"])
    with pytest.raises(
        RunError, match=r"asked trials.count 2, and .*, which they start from .*, holds 1; ask for fewer"
    ):
        jobs.resume(later, ["trials.count=2"])
    with Run.open(later, write=False, clock=RealClock()) as run:
        assert (run.config["trials"]["count"], run.status) == (1, "finished")
    jobs.resume(one, ["trials.count=2"])
    moved = tmp_path / "elsewhere"
    shutil.move(one, moved)
    with pytest.raises(RunError, match=r"no such run|does not exist"):
        jobs.resume(later, ["trials.count=2"])
    summary = jobs.resume(later, ["trials.count=2", f"trials.start_from={moved}"])
    assert len(summary["start_accuracy_per_trial"]) == 2
    with pytest.raises(RunError, match=r"trials\.start_from is not set, the run began from "):
        jobs.resume(later, ["trials.count=3", "trials.start_from=null"])
    another = jobs.train(config(lab, trials={"count": 3, "first_seed": 5}), tmp_path)["run"]
    with pytest.raises(RunError, match="trial 0 is not what it was when a run was begun that starts from it"):
        jobs.resume(later, ["trials.count=3", f"trials.start_from={another}"])
    broken = config(lab, "joint", moved)

    def breaks(event: Any) -> None:
        if isinstance(event, events.StepDone):
            raise Broken

    with pytest.raises(Broken):
        jobs.train(broken, tmp_path / "broken", [breaks])
    (begun,) = (tmp_path / "broken").iterdir()
    jobs.resume(moved, ["training.epochs=4"])
    with pytest.raises(RunError, match="trial 1 is not what it was when a run was begun that starts from it"):
        jobs.resume(begun)  # trial 0, which had begun, ends all the same
    with Run.open(begun, write=False, clock=RealClock()) as run:
        assert list(run.trials()) == [0]


def test_what_does_not_fit_is_refused_with_its_line(lab: Path, earlier: Callable[[str], Path], tmp_path: Path) -> None:
    start = earlier("joint")
    where = r"\(lab.yaml:\d+\)$"
    for sections, told in (
        ({"network": {"width": 6}}, r"trained something else \(network.width: 5 -> 6\); these must be alike"),
        ({"training": METHODS["spsa"]}, r'training.method: "phyll" -> "spsa"'),
        ({"trials": {"first_seed": 4}}, "trials.first_seed: 3 -> 4"),
        ({"dataset": {"features": ["a", "b"]}}, "dataset.features"),
        ({"dataset": {"validation_fraction": 0.2}}, "dataset.validation_fraction: 0.0 -> 0.2"),
        ({"trials": {"count": 3}}, "holds 2 trials, trials.count asks for 3; ask for fewer"),
        ({"trials": {"start_from": "nowhere"}}, r"^trials.start_from: .*nowhere"),
    ):
        with pytest.raises(InputError, match=told) as caught:
            jobs.train(_over(config(lab, "joint", start), lab, sections), tmp_path / "new")
        assert caught.match(where)
    other = config(lab, "layerwise", start)  # a schedule is no other method
    assert jobs.plan(other)["shots_train"] > 0
    (lab / "other.csv").write_text((lab / "table.csv").read_text() + "0.1,0.2,0.3,p\n")
    with pytest.raises(ConfigError, match="the data have changed"):
        jobs.train(_over(config(lab, "joint", start), lab, {"dataset": {"path": "other.csv"}}), tmp_path / "new")
    with Run.open(start, write=True, clock=RealClock()) as run:
        run.mark("interrupted")
    try:
        with pytest.raises(
            ConfigError, match=r"is not finished \(interrupted\); go on with it first: `labtrain resume "
        ):
            jobs.plan(config(lab, "joint", start))
    finally:
        with Run.open(start, write=True, clock=RealClock()) as run:
            run.mark("finished")
    assert not (tmp_path / "new").exists()


def test_a_damaged_run_is_refused_before_anything_is_measured(
    lab: Path, earlier: Callable[[str], Path], tmp_path: Path
) -> None:
    damaged = Path(shutil.copytree(earlier("joint"), tmp_path / "damaged"))
    (file,) = damaged.glob("trial-001.*.npz")
    file.unlink()
    with pytest.raises(ConfigError, match=r"^trials.start_from: .*trial-001.A.npz: missing, .*\(lab.yaml:\d+\)$"):
        jobs.train(config(lab, "joint", damaged), tmp_path / "new")
    assert not (tmp_path / "new").exists()
    with pytest.raises(ConfigError, match=r"^trials.start_from: .*trial-001.A.npz: missing, .*\(lab.yaml:\d+\)$"):
        jobs.check(config(lab, "joint", damaged))  # which opens no rig
    jobs.check(config(lab, "joint", earlier("joint")))


def _over(loaded: Loaded[Experiment], lab: Path, sections: dict[str, dict[str, Any]]) -> Loaded[Experiment]:
    values = yaml.safe_load(loaded.text)
    for key, section in sections.items():
        values[key] = section if key == "training" else {**values[key], **section}
    return loads(yaml.safe_dump(values, sort_keys=False), Experiment, lab / "lab.yaml")


def test_a_rig_of_another_shape_is_refused(lab: Path, earlier: Callable[[str], Path], tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    x = rng.random((300, 6))
    np.savez(lab / "wide.npz", x=x, y=np.abs(x @ (rng.standard_normal((6, 7)) + 1j * rng.standard_normal((6, 7)))))
    loaded = config(lab, "joint", earlier("joint"), rig={"pairs": "wide.npz"})
    with pytest.raises(ConfigError, match=r"^trials.start_from: .*: saved weights have shapes .*\(lab.yaml:\d+\)$"):
        jobs.train(loaded, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_method_that_does_not_inherit_is_refused(
    lab: Path, earlier: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(Inheriting, "inherit")
    with pytest.raises(ConfigError, match=r"^trials.start_from: method ridge cannot begin with what another"):
        jobs.plan(config(lab, "ridge", earlier("ridge")))


def test_trained_pixels_are_inherited_and_others_refused() -> None:
    settings = {"epochs": 4, "breaks": (1,), "flips": 4, "tuning_batch": 16, "refit": 2, "inner": 2}
    net, one, _ = make_with(CoordinateDescent, settings, Pixels((1, 0, 0, 0), noise=0.0))
    while one.step() is not None:
        pass
    net.blocks[0].physical = np.array([1, 1, 0, 1])
    begun, other, _ = make_with(CoordinateDescent, settings, Pixels((1, 0, 0, 0), noise=0.0), seed=4)
    begun.inherit(net.state())
    other.inherit(one.state())
    assert begun.blocks[0].physical.tolist() == [1, 1, 0, 1] and other.rounds == [] != one.rounds
    assert (other.goodness_per_block(begun, blobs()[0]) == one.goodness_per_block(net, blobs()[0])).all()
    state = net.state()
    state["blocks"][1]["physical"] = np.array([1, 0, 0])
    with pytest.raises(RunError, match="block 2: 3 physical parameters were saved, its layer has 4"):
        begun.inherit(state)
