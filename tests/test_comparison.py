"""Methods side by side: paired trials, going on, what diverges, shots to a target, and what is told of it."""

from __future__ import annotations

import json
import math
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console

from labtrain import compared, comparison, experiment, jobs, recording
from labtrain.cli import main
from labtrain.clock import RealClock
from labtrain.compare_report import comparison_table, draw, plot_comparison, short
from labtrain.compare_runs import runs_of
from labtrain.compare_settings import Comparison, load, of_method
from labtrain.config import Loaded, loads
from labtrain.errors import ConfigError, InputError, Interrupted, RunError
from labtrain.events import StepDone
from labtrain.methods.mono_forward import MonoForward
from labtrain.runs import Run

CONFIG = """\
rig: {type: acoustic}
dataset: {type: xor-tones, rows: 40}
network: {layers: 2, width: 8}
training: {method: phyll, epochs: 3, rate: 0.01}
trials: {count: 2, first_seed: 5}
ablations: []
compare:
  methods:
    ridge: {network: {layers: 1}, training: {penalty: 0.01}}
    mono-forward: {training: {epochs: 4}}
    slow: {training: {method: phyll, epochs: 2}}
"""
METHODS = ("phyll", "ridge", "mono-forward")


def written(folder: Path, text: str = CONFIG) -> Loaded[Comparison]:
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
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Loaded, Path, dict]:
    folder = tmp_path_factory.mktemp("compare")
    loaded = written(folder)
    return loaded, folder / "out", comparison.compare(loaded, METHODS, folder / "out")


def test_all_have_the_same_trials_and_settings_of_their_own(finished):
    _, folder, found = finished
    clock, runs = RealClock(), runs_of(folder, RealClock())
    seeds, configs = [], []
    for name in METHODS:
        with Run.open(runs[name], write=False, clock=clock) as run:
            seeds.append([kept["seed"] for kept in run.trials().values()])
            configs.append(run.config)
    assert seeds == [[5, 6]] * 3
    assert [config["training"]["method"] for config in configs] == [*METHODS]
    assert [config["network"]["layers"] for config in configs] == [2, 1, 2]
    assert (configs[1]["training"]["penalty"], configs[2]["training"]["epochs"]) == (0.01, 4)
    assert all("compare" not in config for config in configs)
    assert json.loads((folder / "compare.json").read_text(encoding="utf-8"))["methods"] == found["methods"]


def test_differences_are_paired_and_costs_are_of_a_trial(finished):
    _, folder, found = finished
    phyll, ridge, mono = found["methods"]
    assert phyll["difference"] is None
    pairs = [a - b for a, b in zip(mono["accuracies"], phyll["accuracies"], strict=True)]
    assert mono["difference"] == pytest.approx(sum(pairs) / 2)
    assert found["test_share"] == pytest.approx(8 / 32)
    # 32 training rows, one shot each; a prediction costs one shot, and in two blocks with 2 labels 4.
    assert (ridge["shots_train"], ridge["shots_per_prediction"], phyll["shots_per_prediction"]) == (32, 1, 4)
    assert mono["shots_train"] == 64
    assert mono["curve"]["shots"][-1] == 64
    with Run.open(runs_of(folder, RealClock())["ridge"], write=False, clock=RealClock()) as run:
        costs = [run.trials()[trial]["train_cost"]["multiply_adds"] for trial in (0, 1)]
    assert ridge["multiply_adds_train"] == sum(costs) / 2


def test_what_is_finished_is_not_repeated_and_more_trials_come_on_top(finished, monkeypatch):
    loaded, folder, found = finished
    monkeypatch.setattr(jobs, "train", lambda *_: pytest.fail("repeated"))
    with monkeypatch.context() as patch:
        patch.setattr(jobs, "resume", lambda *_: pytest.fail("repeated"))
        assert comparison.compare(loaded, METHODS, folder) == found
    more = comparison.compare(loaded, ["phyll", "ridge"], folder, trials=3)
    assert [row["accuracies"][:2] for row in more["methods"]] == [row["accuracies"] for row in found["methods"][:2]]
    assert [len(row["accuracies"]) for row in more["methods"]] == [3, 3]


def test_a_run_that_cannot_be_read_is_told_with_its_remedy(tmp_path):
    (tmp_path / "out" / "begun").mkdir(parents=True)
    (tmp_path / "out" / "begun" / "run.db").touch()  # as a kill in the moment of its making leaves it
    with pytest.raises(RunError, match=r"begun: not a run folder .*; restore it, or move it out of .*out to have its"):
        comparison.compare(written(tmp_path), ["phyll"], tmp_path / "out")


def test_a_recording_is_not_taken_for_a_run_of_the_comparison(tmp_path):
    text = "rig: {type: acoustic}\nrecord: {shots: 4}\nrun: {name: ridge}\n"
    recording.record(loads(text, recording.Recording), tmp_path / "out")
    with pytest.raises(RunError, match=r"_ridge: a recording of random drives, .*; move it out of .*out$"):
        comparison.compare(written(tmp_path), ["ridge"], tmp_path / "out")


def test_what_goes_through_derivatives_needs_a_model(tmp_path):
    loaded = written(tmp_path, CONFIG + "    in-silico: {training: {twin: twin.npz}}\n")
    names = ("phyll", "ridge", "augmented-dfa", "backpropagation", "in-silico")
    experiments = {name: of_method(loaded, name).value for name in names}
    rows = compared.collect(experiments, {}, dict.fromkeys(names, "not run"), 0.9, 0.25, RealClock())["methods"]
    assert [row["needs_model"] for row in rows] == [False, False, False, True, True]


def test_a_twin_that_is_missing_is_told_before_anything_runs(tmp_path):
    loaded = written(tmp_path, CONFIG + "    in-silico: {training: {twin: twin.npz}}\n")
    told = r"^in-silico: training\.twin: .*twin\.npz does not exist; .*toy\.yaml:12: compare\.methods\.in-silico\)$"
    with pytest.raises(ConfigError, match=told):
        comparison.compare(loaded, ["phyll", "in-silico"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_methods_that_cannot_begin_from_an_earlier_run_are_refused_before_anything_runs(tmp_path):
    loaded = written(tmp_path)
    start = jobs.train(of_method(loaded, "phyll", 1), tmp_path / "earlier")["run"]
    begun = load(loaded.source, [f"trials.start_from={start}"])
    (phyll, slow) = comparison.compare(begun, ["phyll", "slow"], tmp_path / "out", trials=1)["methods"]
    assert phyll["problem"] is slow["problem"] is None
    told = r"^ridge: trials\.start_from: .*\(network\.layers: 2 -> 1; .* must be alike \(--set trials\.start_from\)$"
    with pytest.raises(ConfigError, match=told):
        comparison.compare(begun, ["slow", "ridge"], tmp_path / "new", trials=1)
    with pytest.raises(ConfigError, match=r"^slow: trials\.start_from: .* holds 1 trials, trials\.count asks for 2"):
        comparison.compare(begun, ["slow"], tmp_path / "new")
    assert not (tmp_path / "new").exists()
    with pytest.raises(RunError, match=r"asked trials\.count 2, and .* holds 1; ask for fewer"):
        comparison.compare(begun, ["phyll"], tmp_path / "out")


def test_another_setting_is_refused_and_what_is_wrong_is_said_before_anything_runs(finished, tmp_path):
    _, folder, _ = finished
    other = written(tmp_path, CONFIG.replace("penalty: 0.01", "penalty: 0.02"))
    with pytest.raises(RunError, match=r"training.penalty: 0.01 -> 0.02\); move that folder away, or compare in an"):
        comparison.compare(other, METHODS, folder, trials=3)
    with pytest.raises(InputError, match=r"--methods rigde: unknown method 'rigde' \(did you mean ridge"):
        comparison.compare(other, ["phyll", "rigde"], tmp_path / "new")
    for methods, told in ((["phyll", "phyll"], "phyll,phyll"), ([], "''")):
        with pytest.raises(InputError, match=f"--methods {told}: needs names of methods, each once"):
            comparison.compare(other, methods, tmp_path / "new")
    wrong = written(tmp_path, CONFIG.replace("penalty: 0.01", "penalti: 0.02"))
    with pytest.raises(ConfigError, match=r"^toy.yaml:9: compare\.methods\.ridge: training\.penalti: unknown key"):
        comparison.compare(wrong, METHODS, tmp_path / "new")
    wrong = written(tmp_path, CONFIG.replace("{method: phyll, epochs: 2}", "{method: phyl, epochs: 2}"))
    told = r"^toy.yaml:11: compare\.methods\.slow\.training\.method: unknown method 'phyl' \(did you mean phyll"
    with pytest.raises(InputError, match=told):
        comparison.compare(wrong, ["phyll", "slow"], tmp_path / "new")
    wrong = written(tmp_path, CONFIG.replace("{method: phyll, epochs: 2}", "{epochs: 2}"))
    told = r"^toy.yaml:11: compare\.methods\.slow has no training\.method: unknown method 'slow'"
    with pytest.raises(InputError, match=told):
        comparison.compare(wrong, ["phyll", "slow"], tmp_path / "new")
    told = r"^toy.yaml: compare.methods.in-silico: training.twin: required key is missing$"
    with pytest.raises(ConfigError, match=told):
        comparison.compare(other, ["phyll", "in-silico"], tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_an_error_names_the_entry_of_the_method_it_is_about(tmp_path):
    text = CONFIG.replace("ridge: {network: {layers: 1}, training: {penalty: 0.01}}", "ridge: {network: {layers: 3}}")
    loaded = written(tmp_path, text + "    phyll: {training: {measured_negatives: 1, schedule: joint}}\n")
    ridge = of_method(loaded, "ridge")
    places = [ridge.remedy(key) for key in ("network.layers", "network.width", "training.penalty", "trials.count")]
    entry = "toy.yaml:9: compare.methods.ridge"
    assert places == [entry, f"{entry}; toy.yaml:3 is for all methods", entry, "toy.yaml:5"]
    assert of_method(loaded, "spsa").remedy("network.skip") == "toy.yaml: compare.methods.spsa"
    told = r"^toy\.yaml:4: training: measured_negatives belongs to .* \(toy\.yaml:12: compare\.methods\.phyll\)$"
    with pytest.raises(ConfigError, match=told):
        of_method(loaded, "phyll")
    one = load(loaded.source, ["compare.methods.phyll.training={}"])
    assert of_method(one, "phyll").remedy("training.epochs") == "toy.yaml:4"  # the file's own method


def test_it_goes_on_where_it_was_stopped_and_ends_as_if_it_had_not_been(finished, tmp_path):
    _, _, whole = finished
    loaded = written(tmp_path)

    @contextmanager
    def stops_in_the_second_trial():
        def listener(event):
            if isinstance(event, StepDone) and event.index == 1 and event.metrics.step == 2:
                raise Interrupted("stopped by Ctrl-C, everything is kept; go on with: labtrain resume RUN")

        yield listener

    with pytest.raises(Interrupted, match=r"^stopped by Ctrl-C, everything is kept; the same command goes on with"):
        comparison.compare(loaded, METHODS, tmp_path / "out", watch=stops_in_the_second_trial)
    (begun,) = runs_of(tmp_path / "out", RealClock()).values()
    found = comparison.compare(loaded, METHODS, tmp_path / "out")
    assert runs_of(tmp_path / "out", RealClock())["phyll"] == begun
    assert [row["accuracies"] for row in found["methods"]] == [row["accuracies"] for row in whole["methods"]]
    assert [row["curve"] for row in found["methods"]] == [row["curve"] for row in whole["methods"]]


def test_who_is_stopped_between_two_runs_is_told_of_the_comparison(tmp_path, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt("stopped by SIGTERM; nothing was measured")

    monkeypatch.setattr("labtrain.compare_runs.jobs.train", stopped)
    with pytest.raises(Interrupted, match=r"^stopped by SIGTERM; the same command goes on with the comparison$"):
        comparison.compare(written(tmp_path), METHODS, tmp_path / "out")


def test_settings_of_a_method_that_there_is_not_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"compare\.methods\.mono-foward.* \(did you mean mono-forward\?\)"):
        comparison.compare(
            written(tmp_path, CONFIG.replace("mono-forward:", "mono-foward:")), METHODS, tmp_path / "out"
        )


def test_a_prediction_costs_the_same_however_often_a_run_has_gone_on(tmp_path):
    loaded = written(tmp_path)
    for epochs in (2, 3, 4):
        longer = load(loaded.source, [f"training.epochs={epochs}"])
        (row,) = comparison.compare(longer, ["phyll"], tmp_path / "out", trials=1)["methods"]
        # In two blocks with 2 labels.
        assert row["shots_per_prediction"] == 4
        if epochs == 2:
            work = row["multiply_adds_per_prediction"]
    assert row["multiply_adds_per_prediction"] == work > 0
    with Run.open(Path(row["run"]), write=False, clock=RealClock()) as run:
        assert run.trials()[0]["tests"] == 3 and run.trials()[0]["goal"] == 4


def test_less_than_there_is_is_refused_before_anything_runs(finished, monkeypatch):
    loaded, folder, _ = finished
    monkeypatch.setattr(jobs, "train", lambda *_: pytest.fail("another method ran first"))
    with pytest.raises(RunError, match=r"_phyll: asked trials.count 1, \d are finished; ask for at least as many"):
        comparison.compare(loaded, ["slow", "phyll"], folder, trials=1)
    shorter = load(loaded.source, ["training.epochs=2"])
    with pytest.raises(RunError, match=r"_phyll: asked training.epochs 2, trial 0 has 3 behind it; ask for at least 3"):
        comparison.compare(shorter, ["slow", "phyll"], folder, trials=3)


def test_what_may_change_goes_on_with_its_new_value(tmp_path, monkeypatch):
    loaded = written(tmp_path)

    @contextmanager
    def stops():
        def listener(event):
            if isinstance(event, StepDone) and event.metrics.step == 2:
                raise Interrupted("stopped")

        yield listener

    with pytest.raises(Interrupted):
        comparison.compare(loaded, ["phyll"], tmp_path / "out", trials=1, watch=stops)
    noted = load(loaded.source, ["run.notes={gain: '3'}", "run.checkpoint_s=7"])
    (row,) = comparison.compare(noted, ["phyll"], tmp_path / "out", trials=1)["methods"]
    with Run.open(Path(row["run"]), write=False, clock=RealClock()) as run:
        assert (run.config["run"]["notes"], run.config["run"]["checkpoint_s"]) == ({"gain": "3"}, 7.0)
    monkeypatch.setattr(jobs, "resume", lambda *_: pytest.fail("a finished run has nothing to do"))
    comparison.compare(loaded, ["phyll"], tmp_path / "out", trials=1)


def test_a_method_that_diverges_or_does_not_fit_is_a_row(tmp_path, monkeypatch):
    step = MonoForward.step

    def diverging(method):
        metrics = step(method)
        if metrics is not None and metrics.step == 2:
            object.__setattr__(metrics, "losses", (math.nan, *metrics.losses[1:]))
        return metrics

    monkeypatch.setattr(MonoForward, "step", diverging)
    loaded = written(tmp_path, CONFIG.replace("{network: {layers: 1}, training", "{training"))
    found = comparison.compare(loaded, ("phyll", "mono-forward", "ridge"), tmp_path / "out")
    good, diverged, unfit = found["methods"]
    assert good["problem"] is None
    assert diverged["problem"] == "diverged: in trial 0, step 2, the loss of block 1 is no number"
    sentence = "network.layers: 2, the ridge readout has one; set network.layers: 1"
    assert unfit["problem"] == f"{sentence} (toy.yaml:9: compare.methods.ridge; toy.yaml:3 is for all methods)"
    table = told(found)
    assert "mono-forward: diverged: in trial 0, step 2" in table
    assert [line.split()[1] for line in table.splitlines() if line.startswith(("mono-forward ", "ridge "))] == [
        "failed",
        "failed",
    ]
    monkeypatch.setattr(jobs, "resume", lambda *_: pytest.fail("a run that has diverged went on"))
    again = comparison.compare(loaded, ("phyll", "mono-forward"), tmp_path / "out")
    assert again["methods"][1]["problem"] == diverged["problem"]
    plot_comparison(found)


def test_a_loss_that_is_not_known_yet_is_no_divergence():
    losses = compared.Losses()
    assert losses.lost((0.5, math.nan)) is None
    assert losses.lost((0.5, 0.7)) is None
    assert losses.lost((0.5, math.nan)) == 1
    assert compared.Losses().lost((math.inf,)) == 0


def test_a_target_that_is_never_reached_and_names_of_ones_own(tmp_path):
    loaded = written(tmp_path)
    found = comparison.compare(loaded, ["slow", "phyll"], tmp_path / "out", trials=1, target=1.0)
    slow, phyll = found["methods"]
    assert (slow["name"], slow["method"], slow["accuracy_half"]) == ("slow", "phyll", None)
    for shots, text in (([None], "never"), ([None, 40], "40 (1/2)"), ([40, 60], "50")):
        slow["shots_to_target"] = shots
        (line,) = [line for line in told(found).splitlines() if line.startswith("slow") and "no" in line.split()]
        assert text in line
    assert "spread unknown" in told(found)
    slow["shots_to_target"] = [None, 0]
    assert "n of the m trials reached it" in told(found)
    for scale in ("symlog", "linear"):  # as of methods that train on a twin alone
        slow["curve"] = {"shots": [0.0, 0.0], "accuracy": [0.5, 1.0]}
        assert plot_comparison(found).axes[0].get_xscale() == scale
        phyll["curve"] = slow["curve"]


def test_shots_until_a_target_are_those_of_the_first_step_that_reaches_it():
    way = {1: (10, 0.5), 3: (30, 0.9), 4: (40, 0.8)}
    assert compared._reached(way, 0.9) == 30
    assert compared._reached(way, 0.91) is None
    assert compared._mean([way, {1: (20, 0.7), 4: (60, 0.6)}]) == {
        "shots": [15.0, 50.0],
        "accuracy": pytest.approx([0.6, 0.7]),
    }


def test_numbers_fit_their_columns():
    assert [short(value) for value in (0, 0.01234, 999.4, 999.6, 12_345, 9.51e6, 2e15)] == [
        "0", "0.0123", "999", "1k", "12.3k", "9.51M", "2000T"
    ]  # fmt: skip


def test_a_figure_that_cannot_be_written_is_told(finished, tmp_path):
    (tmp_path / "compare.png").mkdir()
    with pytest.raises(RunError, match=r"compare\.png"):
        draw(finished[2], tmp_path / "compare.png")


def test_the_command_writes_table_and_figure(finished, capsys, monkeypatch):
    loaded, folder, _ = finished
    arguments = ["compare", str(loaded.source), "--methods", "phyll, ridge", "--trials", "3", "--out", str(folder)]
    monkeypatch.setattr("sys.argv", ["labtrain", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    assert [line.split()[0] for line in lines if line and not line.startswith(" ")][:4] == [
        "method", "─" * len(lines[1]), "phyll", "ridge"
    ]  # fmt: skip
    assert (folder / "compare.png").stat().st_size > 10_000


def test_other_commands_say_whose_the_section_is(tmp_path):
    written(tmp_path)
    with pytest.raises(
        ConfigError, match=r"^toy\.yaml:7: compare: a section of labtrain compare \(labtrain compare FILE"
    ):
        experiment.load(tmp_path / "toy.yaml")
