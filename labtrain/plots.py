"""Figures of a run: accuracy against step, confusion matrix, goodness of positive and negative passes.

Drawn in grey with line styles and hatches, so that a black-and-white print says as much. matplotlib is imported when a
figure is drawn, through its object interface: no global state, no window, and nothing of a user's pyplot is touched.
"""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Iterable, Sequence
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
    from labtrain.verdict import Verdict

Array = NDArray[np.float64]

INK, MIDDLE, PALE = "0.0", "0.45", "0.7"  # greys
DPI = 150
MOST_BINS = 60


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
    from labtrain.verdict import Verdict

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
        "accuracy": plot_accuracy(
            list(histories.values()), [verdict.accuracy for verdict in verdicts], _disturbances(kept.values())
        ),
        "confusion": plot_confusion(verdicts, _class_names(run, verdicts[0].scores.shape[1])),
    }
    if verdicts[0].goodness is not None:
        largest = [result["largest_goodness"] for result in kept.values()]  # of methods whose goodness is bounded
        drawn["goodness"] = plot_goodness(verdicts, largest if all(largest) else None)
    with disk_errors(run.folder):
        (run.folder / "figures").mkdir(exist_ok=True)
        return [save(figure, run.folder / "figures" / f"{name}.png") for name, figure in drawn.items()]


def _class_names(run: Run, count: int) -> list[str]:
    """Names as in the summary; numbers as long as there is none."""
    summary = run.folder / "summary.json"
    if not summary.exists():
        return [str(i) for i in range(count)]
    return list(json.loads(summary.read_text(encoding="utf-8"))["per_class"])


def pale_grid(*panels: Axes) -> None:
    """Lines behind the data that guide the eye and no more."""
    for axes in panels:
        axes.grid(color="0.9", linewidth=0.6)
        axes.set_axisbelow(True)


def within_percent(axes: Axes) -> None:
    """Limit an axis of accuracies to what there can be: an interval may reach beyond."""
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, -2), min(high, 102))


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG.

    Raises
    ------
    RunError
        If it cannot be written.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    with disk_errors(path.parent):
        write_bytes(path, buffer.getbuffer())
    return path


def _disturbances(results: Iterable[dict[str, Any]]) -> list[tuple[float, str]]:
    """Where each disturbance stands on an axis of steps, and its name; where trials differ, at the first of them."""
    found: dict[int, tuple[float, str]] = {}
    for result in results:
        for one in result.get("disturbances", ()):
            step = result["steps"] + 1 if one["step"] == "test" else int(one["step"])
            found[one["number"]] = min(found.get(one["number"], (np.inf, "")), (step - 0.5, one["do"]))
    return sorted(found.values())


def plot_accuracy(
    history: Sequence[Metrics] | Sequence[Sequence[Metrics]],
    tested: Sequence[float] = (),
    disturbances: Sequence[tuple[float, str]] = (),
) -> Figure:
    """Accuracy against step: a thin line for each trial, their mean, and the final test accuracies beside them.

    Parameters
    ----------
    history : sequence of Metrics, or a sequence of such sequences for several trials
        ``trial.history``.
    tested : sequence of float
        Test accuracies to mark.
    disturbances : sequence of (step, name)
        To mark with vertical lines.

    Returns
    -------
    matplotlib Figure; save it with ``figure.savefig(path)``
    """
    trials = _histories(history)
    figure = empty_figure(9.0 if len(tested) else 7.0, 4.0)
    panels = figure.subplots(1, 2, width_ratios=[3, 1]) if len(tested) else [figure.add_subplot()]
    curves = [_curve(trial) for trial in trials]
    _draw_curves(panels[0], curves)
    if trials:
        _mark_stages(panels[0], trials[0])
    rows = {metrics.accuracy_on for trial in trials for metrics in trial}
    panels[0].set_xlabel("step")
    panels[0].set_ylabel(f"accuracy on {' and '.join(sorted(rows)) or 'training'} rows (%)")
    _mark_disturbances(panels[0], disturbances)
    last = max((steps[-1] for steps, _ in curves), default=0)
    panels[0].set_xlim(0, last + max(1.0, 0.02 * last))
    if len(tested):
        mean = 100 * float(np.mean(tested))
        panels[0].axhline(
            mean, color=INK, linewidth=1.0, linestyle="-.", label="test rows, mean" if len(tested) > 1 else "test rows"
        )
        _draw_tested(panels[1], 100 * np.asarray(tested, dtype=np.float64))
    panels[0].locator_params(axis="x", integer=True)
    for axes in panels:
        axes.grid(color="0.9", linewidth=0.6)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower left", ncols=3, frameon=False)
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
    """Curves in steps: an accuracy holds until it is taken again."""
    several = len(curves) > 1
    for number, (steps, accuracies) in enumerate(curves):
        label = ("each trial" if several else "training") if number == 0 else None
        axes.plot(
            steps, accuracies, color=MIDDLE if several else INK, linewidth=0.8 if several else 1.5,
            marker="o" if len(steps) < 3 else None, markersize=3.5, label=label, drawstyle="steps-post",
        )  # fmt: skip
    if several:  # where all trials have a value: a mean over fewer and fewer of them would jump
        shared = sorted(set.intersection(*(set(steps.tolist()) for steps, _ in curves)))
        mean = np.mean([[dict(zip(*curve, strict=True))[step] for step in shared] for curve in curves], axis=0)
        marker = "s" if len(shared) < 3 else None
        axes.plot(shared, mean, color=INK, linewidth=1.6, marker=marker, label="mean", drawstyle="steps-post")


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
    axes.set_xticks(range(0, len(tested), 1 + len(tested) // 10))
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


def _mark_disturbances(axes: Axes, disturbances: Sequence[tuple[float, str]]) -> None:
    """A line for each moment at which the world was disturbed, above it the names of what happened.

    They stand above those of stages, if there are some.
    """
    staged = bool(axes.texts)
    for at in dict.fromkeys(at for at, _ in disturbances):
        names = ", ".join(dict.fromkeys(name for when, name in disturbances if when == at))
        axes.axvline(at, color=INK, linewidth=1.0, linestyle=(0, (6, 2)))
        axes.annotate(
            names, (at, 1.0), xycoords=("data", "axes fraction"), xytext=(-2, 16 if staged else 3),
            textcoords="offset points", rotation=25, rotation_mode="anchor", fontsize=9,
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
    figure = empty_figure(side + 2.0 + name, side + 1.1 + (name if upright else 0.1))
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

    Each trial has two histograms back to back, for its fixed vectors xi and thus its reachable goodness are its own.

    Parameters
    ----------
    verdict : Verdict, or a sequence of them, one a trial
        Of a method with goodness.
    largest : array_like (blocks,) or (trials, blocks), optional
        Largest goodness that each layer can reach, to mark; ``trial.method.largest_goodness``.

    Returns
    -------
    matplotlib Figure
    """
    trials = [_passes(v) for v in _several(verdict)]
    blocks = len(trials[0][0])
    figure = empty_figure(min(max(7.0, 1.5 + 1.1 * len(trials)), 20.0), 1.2 + 2.7 * blocks)
    panels = figure.subplots(blocks, 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    values = [part for negative, positive, _ in trials for part in (*negative, *positive)]
    low, high = min(map(np.min, values)), max(map(np.max, values))
    width = _bin_width(float(high - low))
    edges = width * np.arange(np.floor(low / width), np.floor(high / width) + 2)
    limits = None if largest is None else np.broadcast_to(np.asarray(largest), (len(trials), blocks))
    for i, axes in enumerate(panels):
        _draw_passes(axes, [(negative[i], positive[i]) for negative, positive, _ in trials], edges)
        if limits is not None:
            x = np.arange(len(trials))
            axes.hlines(limits[:, i], x - 0.45, x + 0.45, color=INK, linestyle="--", label="largest reachable")
        axes.set_ylabel("goodness (no unit)")
        axes.set_title(
            f"layer {i + 1}: the true label has the largest goodness in "
            f"{points(float(np.concatenate([won[i] for _, _, won in trials]).mean()))} % of the test rows",
            fontsize=10, loc="left",
        )  # fmt: skip
        axes.grid(axis="y", color="0.9", linewidth=0.6)
        axes.set_axisbelow(True)
    panels[-1].set_xlabel(f"trial, from 0; widths: share of the passes per {width:g}, on one scale in each panel")
    panels[-1].set_xticks(range(0, len(trials), 1 + len(trials) // 25))
    panels[-1].set_xlim(-0.6, len(trials) - 0.4)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    return figure


def _bin_width(span: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten, 0.001 at least, that makes few enough bins."""
    widths = (step * 10.0**decade for decade in itertools.count(-3) for step in (1, 2, 5))
    return next(width for width in widths if span / width <= MOST_BINS)


def _draw_passes(axes: Axes, trials: Sequence[tuple[Array, Array]], edges: Array) -> None:
    """Histograms of negative passes to the left and of positive ones to the right of each trial's place."""
    shares = [[np.histogram(values, edges)[0] / values.size for values in trial] for trial in trials]
    scale = 0.45 / max(share.max() for pair in shares for share in pair)
    for x, (negative, positive) in enumerate(shares):
        labels = ("negative passes, wrong label", "positive pass, true label") if x == 0 else (None, None)
        axes.stairs(
            x - scale * negative, edges, baseline=x, orientation="horizontal", fill=True, facecolor="0.75",
            edgecolor=MIDDLE, linewidth=0.8, label=labels[0],
        )  # fmt: skip
        axes.stairs(
            x + scale * positive, edges, baseline=x, orientation="horizontal", fill=True, facecolor="white",
            edgecolor=INK, hatch="/////", linewidth=0.8, label=labels[1],
        )  # fmt: skip


def _passes(verdict: Verdict) -> tuple[list[Array], list[Array], list[NDArray[np.bool_]]]:
    """For each block: goodness of all negative passes, of the positive ones, and which rows it gets right."""
    if verdict.goodness is None:
        raise ValueError("these are results of a method without goodness; plot_goodness needs PhyLL's")
    own = np.arange(verdict.scores.shape[1]) == verdict.labels[:, None]
    return (
        [g[~own] for g in verdict.goodness],
        [g[own] for g in verdict.goodness],
        [g.argmax(axis=1) == verdict.labels for g in verdict.goodness],
    )


def _several(verdict: Verdict | Sequence[Verdict]) -> Sequence[Verdict]:
    return verdict if isinstance(verdict, Sequence) else [verdict]


def empty_figure(width: float, height: float) -> Figure:
    """An empty figure with a canvas of its own; sizes in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure
