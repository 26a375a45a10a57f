"""What a user reads after a run: tables fit the terminal and hold what the summary does, figures the right data."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console, RenderableType

from labtrain.clock import SimulatedClock
from labtrain.errors import RunError
from labtrain.formatting import ablation_name, duration, hours, losses, percent, points, rate, size, trial_name
from labtrain.ledger import Cost
from labtrain.methods.method import Metrics
from labtrain.report import (
    evaluation_table,
    figures,
    notes_table,
    plan_table,
    plot_accuracy,
    plot_confusion,
    plot_goodness,
    runs_table,
    summary_table,
)
from labtrain.runlist import RunSummary
from labtrain.runs import Note, Run
from labtrain.trainer import summarise
from labtrain.verdict import Verdict

CLASSES = ("ae", "ah", "aw", "eh")
LARGEST = [0.71, 0.69]


def text(renderable: RenderableType, width: int = 100) -> str:
    console = Console(width=width, file=io.StringIO(), highlight=False, color_system=None)
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def words(renderable: RenderableType) -> str:
    """The text with every run of spaces as one."""
    return "\n".join(" ".join(line.split()) for line in text(renderable).splitlines())


def verdict(seed: int, n: int = 60) -> Verdict:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, n)
    goodness = rng.normal(0.3, 0.08, (2, n, 4)) + 0.12 * (np.arange(4) == labels[:, None])
    ablations = {"off": 0.5 + seed / 100, "no_skip": 0.75}
    return Verdict(seed, goodness.sum(axis=0), labels, 1, goodness, Cost(100, seconds_physics=50), Cost(20), ablations)


def history(seed: int, steps: int = 6) -> list[Metrics]:
    rng = np.random.default_rng(seed)
    return [
        Metrics(i, 6, f"layer {1 + i // 4}", (1 / i, 2 / i), float(accuracy), "training")
        for i, accuracy in enumerate(rng.uniform(0.5, 1.0, steps), start=1)
    ]


def results(found: Verdict, **more: Any) -> dict[str, Any]:
    return {
        "seed": found.seed, "accuracy": found.accuracy, "confusion": found.confusion().tolist(),
        "ablations": found.ablations, "test_values_held_at_border": found.clipped, "drive_clipped_share": [0.0, 0.021],
        "largest_goodness": LARGEST, "train_cost": found.train_cost.as_dict(), "test_cost": found.test_cost.as_dict(),
    } | more  # fmt: skip


def make_run(folder: Path, verdicts: list[Verdict], classes: tuple[str, ...] | None = CLASSES) -> Run:
    run = Run.create(folder, config_text="", config={}, provenance={}, clock=SimulatedClock())
    for index, found in enumerate(verdicts):
        for metrics in history(index):
            run.log_metrics(index, metrics.step, asdict(metrics))
        state = {"verdict": {"scores": found.scores, "labels": found.labels, "goodness": found.goodness}}
        run.save_trial(index, results(found), state)
    if classes and verdicts:
        summary = summarise(classes, list(run.trials().values()))
        (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    return run


def summary(count: int = 5) -> dict[str, Any]:
    found = summarise(CLASSES, [results(verdict(seed)) for seed in range(count)])
    return found | {"seconds": 201.4, "run": "runs/2026-02-01_12-00-00_acoustic"}


# --- numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0.0 s"),
        (12.34, "12.3 s"),
        (59.94, "59.9 s"),
        (59.96, "0:01:00"),
        (65, "0:01:05"),
        (3599.6, "1:00:00"),
        (360_000, "100:00:00"),
    ],
)
def test_durations(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


def test_other_formats() -> None:
    assert [hours(5.2), hours(-1)] == ["0:00:05", "0:00:00"]
    assert [points(0.97349), percent(1.0), percent(None), percent(float("nan"))] == ["97.3", "100.0 %", "-", "-"]
    assert [size(812), size(999_960), size(123_456_789), size(5e15)] == ["812 B", "1.0 MB", "123.5 MB", "5000.0 TB"]
    assert [rate(0.0312), rate(5.11), rate(12.4), rate(1234.5)] == ["0.031/s", "5.1/s", "12/s", "1,234/s"]
    assert rate(None) == "-/s"
    assert losses([0.0521, float("nan")]) == "layer 1 0.0521, layer 2 -" and losses([0.5]) == "0.5"
    assert trial_name(0, 3, 7) == "trial 0 (1 of 3), seed 7"
    assert [ablation_name("no_skip", 2, n) for n in (5, 0)] == ["ablation 2 of 5: no skip", "ablation 2: no skip"]


# --- tables -----------------------------------------------------------------------------------------------------------


def test_summary_table_says_what_the_summary_holds() -> None:
    accuracies = [verdict(seed).accuracy for seed in range(5)]
    mean, sd = 100 * np.mean(accuracies), 100 * np.std(accuracies, ddof=1)
    low, high = 100 * min(accuracies), 100 * max(accuracies)
    shown = words(summary_table(summary()))
    assert f"test accuracy {mean:.1f} {sd:.1f} the trained network; trials from {low:.1f} to {high:.1f}" in shown
    assert "physics off 52.0 1.6 the same network with the physics switched off" in shown
    assert "no skip 75.0 0.0 one layer of physics alone" in shown
    assert "sd of 5 trials" in shown
    assert "random" not in shown and "ridge" not in shown  # ablations that were not made
    assert "shots 500 training, 100 test" in shown
    assert "time 0:04:10 physics, 0.0 s digital" in shown
    assert "wall time 0:03:21" in shown
    assert "5 test values outside the trained range" in shown
    assert "layer 2: 2.1 % of the drive values were clipped" in shown and "layer 1:" not in shown
    assert "runs/2026-02-01_12-00-00_acoustic" in shown


def test_one_trial_has_no_spread() -> None:
    shown = words(summary_table(summary(1)))
    assert "sd of" not in shown
    assert "one trial, spread unknown" in shown


def test_chance_and_weakest_class() -> None:
    found = summary() | {"confusion": [[6, 0], [1, 3]], "per_class": {"yes": 1.0, "no": 0.75, "never seen": None}}
    shown = words(summary_table(found))
    assert "chance 60.0 - always the most frequent class" in shown
    assert "weakest class no, 75.0 % of its test rows right" in shown
    assert "weakest" not in words(summary_table(found | {"per_class": {"yes": 1.0, "no": 1.0, "never seen": None}}))


def run_summaries() -> list[RunSummary]:
    problem = "runs/old[bold]: not a run folder (it has no run.db); `labtrain runs` lists the runs there are"
    return [
        RunSummary(Path("runs/2026-02-02_02-40-00_acoustic"), 123_456_789, "finished", 1.77e9, 94_400, 5),
        RunSummary(Path("runs") / ("long-" * 20), 12_345, "interrupted", 1.77e9, 1_234_567, 0),
        RunSummary(Path("runs/old[bold]"), 12, problem=problem),
    ]


def test_runs_table() -> None:
    shown = words(runs_table(run_summaries()))
    assert "2026-02-02_02-40-00_acoustic 2026-02-02 02:40 finished 5 94,400 123.5 MB" in shown
    assert "old[bold] - broken - - 12 B" in shown  # brackets are no markup
    assert "runs/old[bold]: not a run folder (it has no run.db); `labtrain runs` lists the runs there are" in shown


PLAN = {
    "trials": 5, "train_rows": 206, "validation_rows": 0, "test_rows": 52,
    "shots_commission": 0, "shots_train": 14_420, "shots_test": 3_640,
    "seconds_per_shot": 0.35, "seconds_on_rig": 6321.0, "disk_bytes": 5_900_000, "simulated": False,
}  # fmt: skip


def test_plan_table() -> None:
    shown = words(plan_table(PLAN))
    assert "rows of a trial 206 training, 52 test" in shown
    assert "shots, at most 18,060 = 14,420 training + 3,640 test" in shown
    commissioned = words(plan_table(PLAN | {"shots_commission": 200}))
    assert "shots, at most 18,260 = 200 commissioning + 14,420 training + 3,640 test" in commissioned
    assert "time per shot 350 ms" in shown
    assert "time, at most 1:45:21 on the rig" in shown
    assert "disk, about 5.9 MB for the shots alone" in shown
    assert not shown.startswith("\n")
    assert "this one is simulated" in words(plan_table(PLAN | {"simulated": True}))
    assert "dead inputs 3, 4 reach no output" in words(plan_table(PLAN | {"dead_inputs": [3, 4]}))
    assert "the rig states no time per shot" in words(plan_table(PLAN | {"seconds_per_shot": 0.0}))


ROWS = [{"trial": 0, "seed": 7, "accuracy": 0.98, "accuracy_then": 0.99, "shots": 728}]


def test_evaluation_table() -> None:
    assert "0 7 98.0 99.0 -1.0 728" in words(evaluation_table(ROWS))


def test_notes_table() -> None:
    row = json.dumps(ROWS)
    notes = [
        Note(1.77e9, "note", "moved [bold] a cable"),
        Note(1.77e9 + 61, "config", "trials.count: 1 -> 2"),
        Note(1.77e9 + 62, "evaluation", row),
    ]
    shown = words(notes_table(notes))
    assert "2026-02-02 02:40:00 note moved [bold] a cable" in shown
    assert "2026-02-02 02:41:01 config trials.count: 1 -> 2" in shown
    assert "evaluation trial 0, seed 7: 98.0 %, when trained 99.0 %, 728 shots" in shown


@pytest.mark.parametrize(
    "renderable",
    [
        summary_table(summary() | {"run": "/a/very/long/path" * 10}),
        runs_table(run_summaries()),
        plan_table(PLAN),
        evaluation_table(ROWS),
    ],
)
def test_tables_fit_100_columns_and_need_no_colour(renderable: RenderableType) -> None:
    lines = text(renderable).splitlines()
    assert max(map(len, lines)) <= 100
    assert "…" not in text(renderable)  # nothing is cut off
    assert text(renderable, 300).count("\n") <= len(lines)


# --- figures ----------------------------------------------------------------------------------------------------------


def test_figures_of_a_run(tmp_path: Path) -> None:
    verdicts = [verdict(seed) for seed in range(3)]
    with make_run(tmp_path / "run", verdicts) as run:
        paths = figures(run)
    assert [path.relative_to(tmp_path / "run" / "figures").name for path in paths] == [
        "accuracy.png", "confusion.png", "goodness.png",
    ]  # fmt: skip
    for path in paths:
        data = path.read_bytes()
        assert data.startswith(b"\x89PNG") and data.endswith(b"IEND\xaeB`\x82")
        width, height = np.frombuffer(data[16:24], ">u4")
        assert width > 500 and height > 300
        assert len(data) > 5000


def test_methods_without_goodness_get_no_goodness_figure(tmp_path: Path) -> None:
    with make_run(tmp_path / "run", [replace(verdict(0), goodness=None)]) as run:
        assert [path.name for path in figures(run)] == ["accuracy.png", "confusion.png"]


def test_no_figures_before_a_trial_is_finished(tmp_path: Path) -> None:
    with make_run(tmp_path / "run", []) as run:
        assert figures(run) == []
    assert not (tmp_path / "run" / "figures").exists()


def test_figures_can_be_drawn_before_there_is_a_summary_and_again(tmp_path: Path) -> None:
    with make_run(tmp_path / "run", [replace(verdict(0), goodness=None)], classes=None) as run:
        assert figures(run) == figures(run)


def test_a_disk_that_refuses_figures_is_one_sentence(tmp_path: Path) -> None:
    with make_run(tmp_path / "run", [verdict(0)]) as run:
        (run.folder / "figures").write_text("in the way")
        with pytest.raises(RunError, match="cannot be used"):
            figures(run)


def test_accuracy_holds_every_trial_their_mean_and_the_tests() -> None:
    histories = [history(0), history(1), history(2, steps=4)]  # the last one stopped early
    figure = plot_accuracy(histories, [0.9, 0.95, 1.0])
    curves, tests = figure.axes
    assert (curves.get_xlabel(), curves.get_ylabel()) == ("step", "accuracy on training rows (%)")
    for line, trial in zip(curves.lines, histories, strict=False):
        np.testing.assert_allclose(line.get_xdata(), [m.step for m in trial])
        np.testing.assert_allclose(line.get_ydata(), [100 * m.accuracy for m in trial])
    mean = next(line for line in curves.lines if line.get_label() == "mean")
    np.testing.assert_allclose(mean.get_xdata(), [1, 2, 3, 4])
    np.testing.assert_allclose(mean.get_ydata(), [100 * np.mean([h[i].accuracy for h in histories]) for i in range(4)])
    assert [label.get_text() for label in curves.texts] == ["layer 1", "layer 2"]
    assert (tests.get_xlabel(), tests.get_ylabel()) == ("trial, from 0", "test accuracy (%)")
    np.testing.assert_allclose(tests.lines[-1].get_ydata(), [90, 95, 100])
    assert tests.get_title() == "test rows: 95.0 ± 5.0 %"
    for trials, ticks in ((1, [0]), (3, [0, 1, 2]), (20, list(range(0, 20, 3)))):
        assert plot_accuracy(histories[:1], [0.9] * trials).axes[1].get_xticks().tolist() == ticks


def test_accuracy_of_one_trial_from_python() -> None:
    trial = [replace(m, accuracy=float("nan")) if m.step == 2 else m for m in history(0)]
    (axes,) = plot_accuracy(trial).axes
    np.testing.assert_allclose(axes.lines[0].get_xdata(), [1, 3, 4, 5, 6])
    single = plot_accuracy([replace(trial[0], accuracy_on="validation")], [0.9]).axes[0]
    assert single.get_ylabel() == "accuracy on validation rows (%)"
    assert single.lines[0].get_marker() == "o"  # a line through one point is invisible


def test_confusion_holds_counts_shares_and_names() -> None:
    verdicts = [verdict(0), verdict(1)]
    counts = verdicts[0].confusion() + verdicts[1].confusion()
    axes = plot_confusion(verdicts, CLASSES).axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    assert [label.get_text() for label in axes.get_xticklabels()] == list(CLASSES)
    assert [label.get_text() for label in axes.get_yticklabels()] == list(CLASSES)
    np.testing.assert_allclose(axes.images[0].get_array(), 100 * counts / counts.sum(axis=1, keepdims=True))
    cells = {label.get_position(): label.get_text() for label in axes.texts}
    assert cells == {(j, i): str(count) for (i, j), count in np.ndenumerate(counts)}
    assert axes.get_title() == f"test rows, 2 trials summed: {counts.trace()} of 120 right"


def test_goodness_holds_both_passes_of_each_layer_and_trial() -> None:
    verdicts, largest = [verdict(0), verdict(1)], [LARGEST, [0.7, 0.72]]
    figure = plot_goodness(verdicts, largest)
    assert len(figure.axes) == 2
    assert figure.axes[-1].get_xlabel().startswith("trial, from 0; widths: share of the passes per 0.02")
    for i, axes in enumerate(figure.axes):
        assert axes.get_ylabel() == "goodness (no unit)"
        (marks,) = axes.collections
        assert [segment[0, 1] for segment in marks.get_segments()] == [limits[i] for limits in largest]
        right, widths, shares = [], [], []
        for trial, found in enumerate(verdicts):
            assert found.goodness is not None
            own = np.arange(4) == found.labels[:, None]
            right.append(float((found.goodness[i].argmax(axis=1) == found.labels).mean()))
            for side, values in ((0, found.goodness[i][~own]), (1, found.goodness[i][own])):
                patch = axes.patches[2 * trial + side].get_data()
                assert patch.edges[0] <= values.min() and patch.edges[-1] >= values.max()
                widths.append((patch.values - trial) * (1 if side else -1))
                shares.append(np.histogram(values, patch.edges)[0] / values.size)
        np.testing.assert_allclose(np.array(widths) / np.max(widths), np.array(shares) / np.max(shares), atol=1e-12)
        assert f"largest goodness in {100 * np.mean(right):.1f} % of the test rows" in axes.get_title(loc="left")


@pytest.mark.parametrize("scale", [1.0, 300.0, 1e6])
def test_goodness_without_a_bound_has_bins_to_suit_it(scale: float) -> None:
    found = verdict(0)
    assert found.goodness is not None
    figure = plot_goodness(replace(found, goodness=scale * found.goodness))
    edges = figure.axes[0].patches[0].get_data().edges
    assert 10 < len(edges) <= 62
    assert not figure.axes[0].collections  # nothing to mark


def test_goodness_of_one_trial_from_python() -> None:
    assert len(plot_goodness(verdict(0), LARGEST).axes[0].patches) == 2
    with pytest.raises(ValueError, match="without goodness"):
        plot_goodness(replace(verdict(0), goodness=None))


def test_reporting_is_light_until_a_figure_is_drawn_and_never_touches_pyplot(tmp_path: Path) -> None:
    script = (
        "import sys; import labtrain.report as r; assert 'matplotlib' not in sys.modules; "
        "from labtrain.methods.method import Metrics; r.plot_accuracy([Metrics(1, 1, 'a', (1.0,), 0.5, 'training')]); "
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path, timeout=60)
