"""Figures of a run: accuracy against step, confusion matrix, goodness of positive and negative passes.

Drawn in grey with line styles and hatches, so that a black-and-white print says as much. matplotlib is imported when a
figure is drawn, through its object interface: no global state, no window, and nothing of a user's pyplot is touched.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labtrain.formatting import points
from labtrain.storage import disk_errors, write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from labtrain.methods.method import Metrics
    from labtrain.runs import Run
    from labtrain.trial import Verdict

Array = NDArray[np.float64]

INK, MIDDLE, PALE = "0.0", "0.45", "0.7"  # greys
DPI = 150
BIN_WIDTHS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05)  # of goodness, which lies between -1 and 1


def figures(run: Run) -> list[Path]:
    """Draw what a run holds so far into its folder ``figures``.

    Parameters
    ----------
    run : Run
        Open, for reading or writing.

    Returns
    -------
    Paths of the PNG files: ``accuracy.png`` and ``confusion.png``, for methods with goodness also ``goodness.png``;
    none while no trial is finished

    Raises
    ------
    RunError
        If they cannot be written.
    """
    from labtrain.ledger import Cost
    from labtrain.methods.method import Metrics
    from labtrain.trial import Verdict

    kept = run.trials()
    if not kept:
        return []
    verdicts = []
    for index, result in kept.items():
        found = run.trial_state(index)["verdict"]
        verdicts.append(
            Verdict(
                result["seed"],
                found["scores"],
                found["labels"],
                result["test_values_held_at_border"],
                found["goodness"],
                Cost(**result["train_cost"]),
                Cost(**result["test_cost"]),
                result["ablations"],
            )
        )
    histories: dict[int, list[Metrics]] = {}
    for logged in run.metrics():
        histories.setdefault(logged.trial, []).append(Metrics(**logged.value))
    drawn = {
        "accuracy": plot_accuracy(list(histories.values()), [verdict.accuracy for verdict in verdicts]),
        "confusion": plot_confusion(verdicts, _class_names(run, verdicts[0].scores.shape[1])),
    }
    if verdicts[0].goodness is not None:
        drawn["goodness"] = plot_goodness(verdicts, [result["largest_goodness"] for result in kept.values()])
    with disk_errors(run.folder):
        (run.folder / "figures").mkdir(exist_ok=True)
        return [_write(figure, run.folder / "figures" / f"{name}.png") for name, figure in drawn.items()]


def _class_names(run: Run, count: int) -> list[str]:
    """Names as in the summary; numbers as long as there is none."""
    summary = run.folder / "summary.json"
    if not summary.exists():
        return [str(i) for i in range(count)]
    return list(json.loads(summary.read_text(encoding="utf-8"))["per_class"])


def _write(figure: Figure, path: Path) -> Path:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    write_bytes(path, buffer.getbuffer())
    return path


def plot_accuracy(history: Sequence[Metrics] | Sequence[Sequence[Metrics]], tested: Sequence[float] = ()) -> Figure:
    """Accuracy against step: a thin line for each trial, their mean, and the final test accuracies beside them.

    Parameters
    ----------
    history : sequence of Metrics, or a sequence of such sequences for several trials
        ``trial.history``.
    tested : sequence of float
        Test accuracies to mark.

    Returns
    -------
    matplotlib Figure; save it with ``figure.savefig(path)``
    """
    trials = _histories(history)
    figure = _figure(9.0 if len(tested) else 7.0, 4.0)
    panels = figure.subplots(1, 2, width_ratios=[3, 1]) if len(tested) else [figure.add_subplot()]
    curves = [_curve(trial) for trial in trials]
    _draw_curves(panels[0], curves)
    if trials:
        _mark_stages(panels[0], trials[0])
    rows = {metrics.accuracy_on for trial in trials for metrics in trial}
    panels[0].set_xlabel("step")
    panels[0].set_ylabel(f"accuracy on {' and '.join(sorted(rows)) or 'training'} rows (%)")
    last = max((steps[-1] for steps, _ in curves), default=0)
    panels[0].set_xlim(0, last + max(1.0, 0.02 * last))
    if len(tested):
        mean = 100 * float(np.mean(tested))
        panels[0].axhline(mean, color=INK, linewidth=1.0, linestyle="-.", label="test rows, mean")
        _draw_tested(panels[1], 100 * np.asarray(tested, dtype=np.float64))
    for axes in panels:
        axes.grid(color="0.9", linewidth=0.6)
        axes.locator_params(axis="x", integer=True)
    panels[0].legend(loc="lower right", framealpha=1.0, edgecolor=PALE)
    return figure


def _histories(history: Sequence[Any]) -> list[Sequence[Metrics]]:
    """One history or several, as several; empty ones left out."""
    return [trial for trial in (history if history and isinstance(history[0], Sequence) else [history]) if trial]


def _curve(trial: Sequence[Metrics]) -> tuple[Array, Array]:
    """Steps and accuracies in percent, where the accuracy is known; the last point at least."""
    curve = np.array([(metrics.step, 100 * metrics.accuracy) for metrics in trial])
    known = ~np.isnan(curve[:, 1])
    known[-1] = True
    return curve[known, 0], curve[known, 1]


def _draw_curves(axes: Axes, curves: Sequence[tuple[Array, Array]]) -> None:
    several = len(curves) > 1
    for number, (steps, accuracies) in enumerate(curves):
        label = ("each trial" if several else "training") if number == 0 else None
        axes.plot(
            steps, accuracies, color=MIDDLE if several else INK, linewidth=0.8 if several else 1.5,
            marker="o" if len(steps) < 3 else None, markersize=3.5, label=label,
        )  # fmt: skip
    if several:  # where all trials have a value: a mean over fewer and fewer of them would jump
        shared = sorted(set.intersection(*(set(steps.tolist()) for steps, _ in curves)))
        mean = np.mean([[dict(zip(*curve, strict=True))[step] for step in shared] for curve in curves], axis=0)
        axes.plot(shared, mean, color=INK, linewidth=1.6, marker="s" if len(shared) < 3 else None, label="mean")


def _draw_tested(axes: Axes, tested: Array) -> None:
    """Test accuracy of each trial on a scale of its own, with mean and sample standard deviation."""
    mean = float(tested.mean())
    title = f"test rows: {mean:.1f} %"
    if len(tested) > 1:
        sd = float(tested.std(ddof=1))
        title = f"test rows: {mean:.1f} ± {sd:.1f} %"
        axes.axhspan(mean - sd, mean + sd, color="0.88")
    axes.axhline(mean, color=INK, linewidth=1.0, linestyle="-.")
    axes.plot(range(len(tested)), tested, "D", color=INK, markerfacecolor="white", markersize=5)
    low, high = axes.get_ylim()
    if high - low < 2:  # one trial, or trials alike: not a scale of hundredths of a point
        low, high = mean - 1, mean + 1
    axes.set_ylim(low, min(high, 100.4))
    axes.set_xlim(-0.7, len(tested) - 0.3)
    axes.set_xlabel("trial, from 0")
    axes.set_ylabel("test accuracy (%)")
    axes.yaxis.set_label_position("right")
    axes.yaxis.tick_right()
    axes.set_title(title, fontsize=10)


def _mark_stages(axes: Axes, trial: Sequence[Metrics]) -> None:
    """Name the stages of training along the upper edge, where there are a few."""
    starts = [0, *(i for i in range(1, len(trial)) if trial[i].stage != trial[i - 1].stage)]
    if not 1 < len(starts) <= 8:
        return
    for i in starts:
        step = trial[i].step
        if i:
            axes.axvline(step - 0.5, color=MIDDLE, linewidth=0.8, linestyle=":")
        axes.annotate(
            trial[i].stage, (step, 1.0), xycoords=("data", "axes fraction"), xytext=(2, 3),
            textcoords="offset points", fontsize=9,
        )  # fmt: skip


def plot_confusion(verdict: Verdict | Sequence[Verdict], classes: Sequence[str]) -> Figure:
    """Confusion matrix: counts in the cells, grey by the share of the true class.

    Parameters
    ----------
    verdict : Verdict, or a sequence of them, which are summed
    classes : sequence of str
        Names, in the order of labels.

    Returns
    -------
    matplotlib Figure
    """
    verdicts = _several(verdict)
    counts = np.sum([v.confusion() for v in verdicts], axis=0)
    rows = counts.sum(axis=1, keepdims=True)
    share = 100 * counts / np.maximum(rows, 1)
    k = len(counts)
    side = min(max(0.52 * k, 2.4), 16.0)
    room = 72 * side / k  # points across a cell
    name = 0.085 * max(len(name) for name in classes)  # inches along the longest name
    upright = 72 * name > room
    figure = _figure(side + 2.0 + name, side + 1.1 + (name if upright else 0.1))
    axes = figure.add_subplot()
    image = axes.imshow(share, cmap="Greys", vmin=0, vmax=100)
    digits = max(len(str(counts.max())), 2)
    for (i, j), count in np.ndenumerate(counts):
        ink = "white" if share[i, j] > 55 else INK if count else PALE
        axes.text(j, i, str(count), ha="center", va="center", color=ink, fontsize=min(10.0, 1.3 * room / digits))
    axes.set_xticks(range(k), classes, rotation=90 if upright else 0)
    axes.set_yticks(range(k), classes)
    axes.set_xticks(np.arange(k - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(k - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="0.85", linewidth=0.5)
    axes.tick_params(which="minor", length=0)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    of = f", {len(verdicts)} trials summed" if len(verdicts) > 1 else ""
    axes.set_title(f"test rows{of}: {counts.trace():,} of {counts.sum():,} right", fontsize=10)
    figure.colorbar(image, ax=axes, label="share of the true class (%)", fraction=0.046, pad=0.03)
    return figure


def plot_goodness(verdict: Verdict | Sequence[Verdict], largest: ArrayLike | None = None) -> Figure:
    """Goodness of the positive pass and of the negative passes on the test rows, one panel for each layer.

    Parameters
    ----------
    verdict : Verdict, or a sequence of them, which are pooled
        Of a method with goodness.
    largest : array_like (blocks,) or (trials, blocks), optional
        Largest goodness that each layer can reach, to mark; ``trial.method.largest_goodness()``.

    Returns
    -------
    matplotlib Figure
    """
    positive, negative, won = _passes(_several(verdict))
    blocks = len(positive)
    limits = np.atleast_2d(np.asarray([] if largest is None else largest, dtype=np.float64))
    figure = _figure(7.0, 1.1 + 2.2 * blocks)
    panels = figure.subplots(blocks, 1, sharex=True, squeeze=False)[:, 0]
    everything = [*positive, *negative]
    low, high = min(map(np.min, everything)), max(map(np.max, everything))
    width = next((w for w in BIN_WIDTHS if (high - low) / w <= 50), BIN_WIDTHS[-1])
    edges = width * np.arange(np.floor(low / width), np.floor(high / width) + 2)
    for i, axes in enumerate(panels):
        for values, label, style in (
            (negative[i], "negative passes, wrong label", {"facecolor": "0.85", "edgecolor": MIDDLE}),
            (positive[i], "positive pass, true label", {"facecolor": "none", "edgecolor": INK, "hatch": "////"}),
        ):
            weights = np.full(values.size, 100 / values.size)
            axes.hist(values, edges, weights=weights, histtype="stepfilled", linewidth=1.2, label=label, **style)
        for number, limit in enumerate(limits[:, i] if limits.size else ()):
            label = "largest reachable" + (" in each trial" if len(limits) > 1 else "")
            axes.axvline(limit, color=INK, linewidth=1.0, linestyle="--", label=label if number == 0 else None)
        axes.set_ylabel(f"passes per {width:g} (%)")
        axes.set_title(
            f"layer {i + 1}: the true label has the largest goodness in {points(won[i])} % of the test rows",
            fontsize=10, loc="left",
        )  # fmt: skip
    panels[-1].set_xlabel("goodness g = cos(|W h + b|, ξ), no unit")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    return figure


def _passes(verdicts: Sequence[Verdict]) -> tuple[list[Array], list[Array], list[float]]:
    """For each block: goodness of all positive passes, of all negative ones, and the share of rows it gets right."""
    found = []
    for verdict in verdicts:
        if verdict.goodness is None:
            raise ValueError("these are results of a method without goodness; plot_goodness needs PhyLL's")
        found.append((verdict.goodness, np.arange(verdict.scores.shape[1]) == verdict.labels[:, None], verdict.labels))
    blocks = range(len(found[0][0]))
    positive = [np.concatenate([g[i][own] for g, own, _ in found]) for i in blocks]
    negative = [np.concatenate([g[i][~own] for g, own, _ in found]) for i in blocks]
    won = [float(np.concatenate([g[i].argmax(axis=1) == labels for g, _, labels in found]).mean()) for i in blocks]
    return positive, negative, won


def _several(verdict: Verdict | Sequence[Verdict]) -> Sequence[Verdict]:
    return verdict if isinstance(verdict, Sequence) else [verdict]


def _figure(width: float, height: float) -> Figure:
    """An empty figure with a canvas of its own; sizes in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure
