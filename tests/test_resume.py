"""A run that was killed, broken off or finished goes on: bit for bit, no shot measured twice, or refused by name."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from labtrain import events, experiment, jobs
from labtrain.clock import RealClock
from labtrain.errors import RunError
from labtrain.layer import Shots
from labtrain.runs import Run

ROOT = Path(__file__).resolve().parent.parent


def _benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("kill_resume", ROOT / "benchmarks" / "kill_resume.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["kill_resume"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


kill_resume = _benchmark()
Kill, differences = kill_resume.Kill, kill_resume.differences


@pytest.fixture(autouse=True)
def _no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "figures", lambda _: None)


@pytest.fixture
def lab(tmp_path: Path) -> Callable[..., Path]:
    """Writes a config with a recorded rig and a table of its own; returns the path."""
    rng = np.random.default_rng(0)
    x = rng.random((400, 6))
    y = np.abs(x @ (rng.standard_normal((6, 5)) + 1j * rng.standard_normal((6, 5))))
    np.savez(tmp_path / "pairs.npz", x=x, y=y)
    rows = "".join(f"{a},{b},{c},{'pq'[int(a > 0.5)]}\n" for a, b, c in rng.random((40, 3)))
    (tmp_path / "table.csv").write_text("a,b,c,kind\n" + rows)
    (tmp_path / "lab.yaml").write_text(
        "rig: {type: recorded, pairs: pairs.npz, held_out_rows: 100, noise: none}\n"
        "dataset: {type: csv, path: table.csv, label: kind, features: [a, b, c]}\n"
        "network: {layers: 2, width: 5}\n"
        "training: {method: phyll, epochs: 4, inner: 2, rate: 0.01, decay: cosine}\n"
        "trials: {count: 1}\nablations: [off, ridge]\nrun: {checkpoint_s: 60}\n"
    )
    return tmp_path / "lab.yaml"


def train(config: Path, *overrides: str, name: str = "runs", stop: Callable[[Any], bool] | None = None) -> Path:
    """Train; returns the run folder, also after `stop` broke the training off at an event."""
    runs = config.parent / name
    if stop is None:
        jobs.train(experiment.load(config, overrides), runs)
    else:
        with pytest.raises(Broken):
            jobs.train(experiment.load(config, overrides), runs, [breaks_at(stop)])
    return max(runs.iterdir())


class Broken(Exception):
    """Stands for whatever broke a training off."""


def breaks_at(stop: Callable[[Any], bool]) -> Callable[[Any], None]:
    def listener(event: Any) -> None:
        if stop(event):
            raise Broken

    return listener


def weights(folder: Path, trial: int = 0) -> Any:
    with Run.open(folder, write=False, clock=RealClock()) as run:
        state = run.trial_state(trial)
    learned = [[block["W"], block["b"]] for block in state["net"]["blocks"]]
    return kill_resume.timeless(learned + state["method"]["adam"])


def shots(folder: Path) -> list[tuple[int | str, int]]:
    """(step, shots) of every logged chunk; shot numbers must not have a gap or an overlap."""
    with Run.open(folder, write=False, clock=RealClock()) as run:
        chunks = list(run.chunks())
    for trial in {chunk.trial for chunk in chunks}:
        mine = [chunk for chunk in chunks if chunk.trial == trial]
        assert [chunk.state["shot"] for chunk in mine] == np.cumsum([len(chunk.shots) for chunk in mine]).tolist()
    return [(chunk.step, len(chunk.shots)) for chunk in chunks]


def results(folder: Path, trial: int = 0) -> dict[str, Any]:
    with Run.open(folder, write=False, clock=RealClock()) as run:
        return run.trials()[trial]


# --- killed -----------------------------------------------------------------------------------------------------------

CAVITY = (
    "dataset.type=xor-tones", "dataset.values=uniform", "dataset.rows=300", "dataset.distractors=2",
    "dataset.speakers=2", "rig.speakers=2", "rig.membranes=2", "rig.drift_walk_k=0.05", "network.width=8",
    "trials.count=1", "training.epochs=3", "training.inner=2",
)  # fmt: skip


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in the simulated cavity that nobody killed, and then went on for one more epoch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "figures", lambda _: None)
        runs = tmp_path_factory.mktemp("reference")
        summary = jobs.train(experiment.load(ROOT / "config" / "acoustic.yaml", CAVITY), runs)
        jobs.resume(summary["run"], ["training.epochs=4"])
    return Path(summary["run"])


@pytest.mark.parametrize(
    ("kill", "checkpoint_s"),
    [
        (Kill("before", "training", "chunk", 3), 60),
        (Kill("after", "training", "chunk", 2), 60),
        (Kill("delay", "training", "metrics", 2, 0.02), 60),
        (Kill("file", "training", "checkpoint", 4), 0),
        (Kill("after", "test", "chunk", 1), 60),
    ],
    ids=str,
)
def test_a_killed_run_ends_as_if_nothing_had_happened(
    uninterrupted: Path, tmp_path: Path, kill: Any, checkpoint_s: float
) -> None:
    assert kill_resume.start(tmp_path, kill, (*CAVITY, f"run.checkpoint_s={checkpoint_s}"))[0] == -9
    (folder,) = tmp_path.iterdir()
    jobs.resume(folder)
    jobs.resume(folder, ["training.epochs=4"])
    assert differences(uninterrupted, folder) == []


@pytest.mark.parametrize(
    "kill", [Kill("after", "training", "chunk", 1), Kill("file", "ablations", "trial", 1)], ids=str
)
def test_a_run_killed_while_it_went_on_further(uninterrupted: Path, tmp_path: Path, kill: Any) -> None:
    jobs.train(experiment.load(ROOT / "config" / "acoustic.yaml", CAVITY), tmp_path)
    (folder,) = tmp_path.iterdir()
    assert kill_resume.start(tmp_path, kill, ["training.epochs=4"], folder)[0] == -9
    jobs.resume(folder)  # the new number of epochs is the run's own by now
    assert differences(uninterrupted, folder) == []


def test_shots_have_one_memory_order_measured_or_replayed() -> None:
    columns = np.asfortranarray(np.ones((3, 2), dtype=np.float32))
    chunk = Shots(columns, columns, columns, np.ones(3, dtype=np.int64), 0.0)
    for values in (chunk.x, chunk.y, chunk.sigma):
        assert values is not None and values.flags.c_contiguous and values.dtype == np.float64


def test_the_comparison_sees_a_difference(uninterrupted: Path, tmp_path: Path) -> None:
    config = ROOT / "config" / "acoustic.yaml"
    summary = jobs.train(experiment.load(config, (*CAVITY, "training.rate=0.006")), tmp_path)
    found = differences(uninterrupted, Path(summary["run"]))
    assert {"final state of trial 0", "metrics", "total of shots", "drives", "logged answers"} <= set(found)


# --- beyond the end ---------------------------------------------------------------------------------------------------


def test_more_epochs_of_joint_training_are_those_of_one_long_run(lab: Path) -> None:
    joint = ("training.schedule=joint", "training.decay=none")
    folder = train(lab, *joint)
    jobs.resume(folder, ["training.epochs=7"])
    long = train(lab, *joint, "training.epochs=7", name="long")
    assert weights(folder) == weights(long)
    assert results(folder)["steps"] == 7
    spent, needed = results(folder), results(long)
    assert spent["train_cost"]["shots"] == needed["train_cost"]["shots"]
    assert spent["test_cost"]["shots"] == 2 * needed["test_cost"]["shots"]


def test_more_epochs_of_layerwise_training_are_a_second_sweep_over_the_blocks(lab: Path) -> None:
    folder = train(lab)
    first = shots(folder)
    assert first == [(1, 64), (5, 64), ("test", 16), ("test", 16)]
    jobs.resume(folder, ["training.epochs=6"])
    # Block 1 keeps its answers; block 2 is driven by new weights.
    assert shots(folder) == [*first, (11, 64), ("test", 16), ("test", 16)]
    assert results(folder)["steps"] == 12
    with Run.open(folder, write=False, clock=RealClock()) as run:
        assert [row.value["stage"] for row in run.metrics()] == (
            4 * ["layer 1"] + 4 * ["layer 2"] + 2 * ["layer 1"] + 2 * ["layer 2"]
        )
        assert [note.text for note in run.notes()] == ["training.epochs: 4 -> 6"]


def test_more_trials_are_those_of_a_run_that_had_them_from_the_start(lab: Path) -> None:
    folder = train(lab)
    summary = jobs.resume(folder, ["trials.count=3"])
    assert summary["seeds"] == [0, 1, 2]
    assert differences(train(lab, "trials.count=3", name="three"), folder) == []


def test_a_finished_run_has_nothing_to_do(lab: Path) -> None:
    runs = lab.parent / "runs"
    summary = jobs.train(experiment.load(lab), runs)
    (folder,) = runs.iterdir()
    before = shots(folder)
    again = jobs.resume(folder)
    assert {key for key in summary if summary[key] != again[key]} <= {"seconds"}
    assert shots(folder) == before
    refusal(folder, "training.rate=0.1")
    with Run.open(folder, write=False, clock=RealClock()) as run:
        assert run.status == "finished"  # a refusal leaves that as it is


# --- broken off, and the epochs changed -------------------------------------------------------------------------------


def after_step(number: int) -> Callable[[Any], bool]:
    return lambda event: isinstance(event, events.StepDone) and event.metrics.step == number


@pytest.mark.parametrize("schedule", ["layerwise", "joint"])
def test_more_epochs_for_a_run_broken_off_count_when_the_old_ones_are_done(lab: Path, schedule: str) -> None:
    # Cosine decay depends on the number of epochs: new ones must not change what is replayed.
    chosen = f"training.schedule={schedule}"
    folder = train(lab, chosen, stop=after_step(3 if schedule == "joint" else 6))
    jobs.resume(folder, ["training.epochs=6"])
    whole = train(lab, chosen, name="whole")
    jobs.resume(whole, ["training.epochs=6"])
    assert weights(folder) == weights(whole)
    assert results(folder)["goal"] == 6
    # The test between the two parts was not needed.
    assert results(folder)["test_cost"]["shots"] == results(whole)["test_cost"]["shots"] // 2
    shots(folder)


def test_a_test_that_was_broken_off_is_finished_before_more_epochs(lab: Path) -> None:
    testing = []

    def in_test(event: Any) -> bool:
        testing.extend([event] if isinstance(event, events.Testing) else [])
        return bool(testing) and isinstance(event, events.ShotsArrived)

    folder = train(lab, stop=in_test)
    assert shots(folder)[-1] == ("test", 16)
    jobs.resume(folder, ["training.epochs=6"])
    whole = train(lab, name="whole")
    jobs.resume(whole, ["training.epochs=6"])
    assert differences(whole, folder) == []


def test_fewer_epochs_for_a_run_broken_off(lab: Path) -> None:
    long = ("training.schedule=joint", "training.epochs=9")
    folder = train(lab, *long, stop=after_step(3))
    before = shots(folder)
    jobs.resume(folder, ["training.epochs=5"])
    assert results(folder)["steps"] == 5
    assert shots(folder)[: len(before)] == before


# --- refused ----------------------------------------------------------------------------------------------------------


def refusal(folder: Path, *overrides: str) -> str:
    """The sentence with which a resume is refused; the log must stay as it was."""
    before = shots(folder)
    with pytest.raises(RunError) as caught:
        jobs.resume(folder, overrides)
    assert shots(folder) == before
    return str(caught.value)


def test_a_config_edited_by_hand_is_refused(lab: Path) -> None:
    folder = train(lab, stop=after_step(2))
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("theta: 4.0", "theta: 8.0").replace("width: 5", "width: 6"))
    assert refusal(folder) == (
        f"{folder}: the config differs from the one this run began with (network.width: 5 -> 6; training.theta: 4.0 -> "
        "8.0); resume with the old values, or start a new run"
    )


def forget(folder: Path, *keys: str) -> None:
    """Make the run one of a labtrain that did not know these settings yet."""
    with Run.open(folder, write=True, clock=RealClock()) as run:
        config, text = run.config, run.config_text
        for key in keys:
            section, _, name = key.partition(".")
            (line,) = (line for line in text.splitlines(keepends=True) if line.strip().startswith(f"{name}:"))
            text = text.replace(line, "")
            del config[section][name]
        (folder / "config.yaml").write_text(text)
        run._db.set_meta(config=config, config_text=text)


def test_settings_that_an_older_labtrain_did_not_know_are_their_defaults(lab: Path) -> None:
    whole, folder = train(lab, name="whole"), train(lab, stop=after_step(2))
    forget(folder, "training.goodness", "run.threads")
    assert 'training.goodness: "modulus" -> "linear"' in refusal(folder, "training.goodness=linear")
    jobs.resume(folder)
    unlike = [line for line in differences(whole, folder) if "config" not in line]
    assert unlike == []
    jobs.resume(folder, ["training.epochs=6"])
    with Run.open(folder, write=False, clock=RealClock()) as run:
        assert [note.text for note in run.notes()] == ["training.epochs: 4 -> 6"]
        assert run.config["training"]["goodness"] == "modulus"


def test_an_override_that_makes_another_experiment_is_refused(lab: Path) -> None:
    folder = train(lab, stop=after_step(2))
    assert refusal(folder, "training.rate=0.1", "training.epochs=9") == (
        f"{folder}: the config differs from the one this run began with (training.rate: 0.01 -> 0.1); "
        "resume with the old values, or start a new run"
    )
    jobs.resume(folder)
    assert results(folder)["goal"] == 4  # the refused epochs left no trace


def test_changed_data_are_refused(lab: Path) -> None:
    folder = train(lab, stop=after_step(2))
    table = lab.parent / "table.csv"
    table.write_text(table.read_text() + "0.1,0.2,0.3,p\n")
    assert refusal(folder) == (
        f"{folder}: the data set has changed since the run began; restore it, or start a new run"
    )


def test_another_rig_is_refused(lab: Path) -> None:
    folder = train(lab, stop=after_step(2))
    with Run.open(folder, write=False, clock=RealClock()) as run:
        before = run.provenance["layers"]["recorded"]
    with np.load(lab.parent / "pairs.npz") as pairs:
        np.savez(lab.parent / "pairs.npz", x=pairs["x"], y=1.01 * pairs["y"])
    with jobs.open_rig(experiment.load(lab).value) as rig:
        now = rig.layers[0].info.fingerprint
    assert before != now
    assert refusal(folder) == (
        f"{folder}: layer 'recorded' was {before} when the run began and is {now} now; "
        "restore the rig, or start a new run"
    )
