"""What a user reads of disturbed methods: tables, 100 columns wide, and how each came back, in black and white."""

from __future__ import annotations

from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from labtrain.compare_report import means, results_table, shots_told, some_never, tables_and_notes, with_half
from labtrain.formatting import points, short
from labtrain.plots import INK, MIDDLE, empty_figure, pale_grid, save, within_percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME = 15  # columns for the name of a method: six numbers with intervals stand beside it
COLUMNS = 3  # panels side by side


def disturbed_table(found: dict[str, Any]) -> RenderableType:
    """The rows of :func:`labtrain.compare_disturbed.compare`: before, at and after, beside a training from scratch."""
    disturbed = found["disturbed"]
    accuracy = results_table("before", "at", "dip", "after", "from\nscratch", "after minus\nscratch")
    shots = results_table("back at\nthe level", "from scratch\nto the same", "all shots,\nafter", "all shots,\nscratch")
    for row in disturbed["methods"]:
        name = "\n".join(wrap(row["name"], NAME))
        if row["problem"]:
            accuracy.add_row(name, "failed", *["-"] * 5)
            continue
        told = [with_half(row[key], row[f"{key}_half"]) for key in ("before", "at", "dip", "after", "scratch")]
        accuracy.add_row(name, *told, with_half(row["difference"], row["difference_half"], "+"))
        reached = ["-" if row[key] is None else shots_told(row[key]) for key in ("shots_back", "shots_same")]
        shots.add_row(name, *reached, short(row["shots_after"]), short(row["shots_scratch"]))
    notes = [
        f"The change: {'; '.join(_change(one) for one in disturbed['changes'])}.",
        f"Test accuracies in %, means over {means(found['trials'])}",
        "At: the network as it was, on the changed rig. After: trained on there. From scratch: fresh weights there.",
        *_shots_notes(found),
    ]
    return tables_and_notes((accuracy, shots), disturbed["methods"], notes)


def _change(change: dict[str, Any]) -> str:
    values = ", ".join(f"{key} {value}" for key, value in change.items() if key != "do")
    return f"{change['do']} ({values})" if values else str(change["do"])


def _shots_notes(found: dict[str, Any]) -> list[str]:
    good = [row for row in found["disturbed"]["methods"] if not row["problem"]]
    measured = [row for row in good if row["shots_back"] is not None]
    told = []
    if measured:
        on = " and ".join(sorted({name for row in measured for name in row["accuracy_on"]}))
        told.append(
            f"The level: the accuracy on {on} rows that scratch ends with, less {points(found['disturbed']['margin'])} "
            "points, trial by trial. Shots are of training; the test at the beginning is not among them."
        )
        told += some_never([row[key] for row in measured for key in ("shots_back", "shots_same")])
    if blind := [row["name"] for row in good if row["shots_back"] is None]:
        told.append(f"{', '.join(blind)}: trained without the rig, so training did not see the change.")
    return told


def draw(found: dict[str, Any], path: Path) -> Path:
    """Write :func:`plot_disturbed` as PNG.

    Raises
    ------
    RunError
        If it cannot be written.
    """
    return save(plot_disturbed(found), path)


def plot_disturbed(found: dict[str, Any]) -> Figure:
    """A panel for each method: test accuracies before, at and after, and the accuracy on the way against shots."""
    good = [row for row in found["disturbed"]["methods"] if not row["problem"]]
    columns = max(1, min(COLUMNS, len(good)))
    lines = max(1, -(-len(good) // columns))
    figure = empty_figure(3.2 * columns + 0.4, 2.7 * lines + 1.0)
    panels = figure.subplots(lines, columns, sharey=True, squeeze=False).ravel()
    for axes, row in zip(panels, good, strict=False):
        _panel(axes, row)
    within_percent(panels[0])  # all share its limits
    for axes in panels[len(good) :]:
        axes.set_visible(False)
    for axes in panels[::columns]:
        axes.set_ylabel("accuracy (%)")
    handles = {
        label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    if handles:
        figure.legend(
            list(handles.values()), list(handles), loc="outside lower center", ncols=3, frameon=False, fontsize=9
        )
    return figure


def _panel(axes: Axes, row: dict[str, Any]) -> None:
    """One method; markers are of test rows, lines of the rows that the accuracy on the way is of."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

    on = " and ".join(row["accuracy_on"]) or "training"
    blind = row["shots_back"] is None  # its accuracies on the way are those of its model
    end = max(row["shots_after"], row["shots_scratch"], 1)
    styles: dict[str, dict[str, Any]] = {
        "after": {"color": INK, "linewidth": 1.4, "label": f"training goes on ({on} rows)"},
        "scratch": {"color": MIDDLE, "linewidth": 1.2, "linestyle": "--", "label": f"from scratch ({on} rows)"},
    }
    for part, style in styles.items() if not blind else ():
        curve = row["curves"][part]
        axes.plot(curve["shots"], [100 * value for value in curve["accuracy"]], **style)
    axes.axhline(100 * row["scratch"], color=MIDDLE, linewidth=1.0, linestyle=(0, (1, 2)), label="from scratch, test")
    marks = {"before": (-0.06 * end, "s", INK), "at": (0.0, "v", INK), "after": (row["shots_after"] or 0.06, "o", INK)}
    for name, (shots, marker, color) in marks.items():
        half = row[f"{name}_half"]
        axes.errorbar(
            [shots], [100 * row[name]], yerr=None if half is None else [100 * half], marker=marker, color=color,
            markerfacecolor="white", markersize=6, linestyle="none", capsize=2, label=f"{name}, test",
        )  # fmt: skip
    axes.set_xlim(-0.12 * end, 1.05 * end)
    axes.xaxis.set_major_locator(FixedLocator([0]) if blind else MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value) if value >= 0 else ""))
    axes.set_title("\n".join(wrap(row["name"], 30)), fontsize=10)
    axes.set_xlabel("shots of training on the changed rig")
    pale_grid(axes)
