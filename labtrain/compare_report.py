"""What a user reads of a comparison: tables, 100 columns wide, and accuracy against shots, in black and white."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from labtrain.formatting import percent, points, short
from labtrain.plots import INK, MIDDLE, empty_figure, pale_grid, save, within_percent
from labtrain.tuning import seeds
from labtrain.twin_report import fitted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = 20  # columns for the name of a method
TRIED = 42  # columns for the accuracies of its candidates
MARKS = {"measured": "", "estimated": "*", "emulated": "**"}  # of joules
STYLES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", "p", ">", "h", "d", "8")  # one for each method that there is


def comparison_table(found: dict[str, Any]) -> RenderableType:
    """The rows of :func:`labtrain.compared.collect`: what was reached, what it cost, why a method has none."""
    rows, trials = found["methods"], found["trials"]
    reached = results_table("accuracy, %", "minus the first", f"shots to {percent(found['target'])}", "needs a model")
    cost = results_table(
        "shots,\ntraining", "of a pre-\ndiction", "physics,\ns", "digital,\ns", "multiply-adds,\ntraining",
        "of a pre-\ndiction",
    )  # fmt: skip
    ledger = results_table(
        "writes", "converter\nsamples", "multiply-adds,\nforward", "update", "twin", "rig,\nJ", "digital,\nJ"
    )
    for row in rows:
        name = "\n".join(wrap(row["name"], NAME))
        needs = "yes" if row["needs_model"] else "no"
        if row["problem"]:
            reached.add_row(name, "failed", "-", "-", needs)
        else:
            reached.add_row(name, *_reached(row), needs)
            cost.add_row(name, *_costs(row))
            ledger.add_row(name, *_ledger(row))
    notes = [f"Means over {means(trials)}", *_notes(rows), *_tuning_notes(found)]
    return tables_and_notes((reached, cost, ledger, _tuning(rows)), rows, notes)


def tables_and_notes(tables: Sequence[Table], rows: Sequence[dict[str, Any]], notes: Sequence[str]) -> RenderableType:
    """Tables that have rows, why methods failed, and notes."""
    problems = [f"{row['name']}: {row['problem']}" for row in rows if row["problem"]]
    texts = [Text(text, overflow="fold") for text in [*problems, *notes]]
    return Group(*(part for table in tables if table.rows for part in (table, Text())), *texts)


def means(trials: int) -> str:
    """Of how many trials means are, and what is known of their spread; ends a sentence."""
    spread = "± is half of a 95 % interval, corrected for overlapping splits" if trials > 1 else "spread unknown"
    return f"{trials} trial{'s' * (trials != 1)}; {spread}."


def results_table(*headings: str) -> Table:
    """A table without rows: the method, and numbers under these headings."""
    table = Table(box=box.SIMPLE_HEAD, header_style="", pad_edge=False, show_edge=False)
    table.add_column("method", no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _reached(row: dict[str, Any]) -> tuple[str, str, str]:
    difference = "-" if row["difference"] is None else with_half(row["difference"], row["difference_half"], "+")
    shots = "-" if row["shots_to_target"] is None else shots_told(row["shots_to_target"])
    return with_half(row["accuracy"], row["accuracy_half"]), difference, shots


def _costs(row: dict[str, Any]) -> list[str]:
    keys = (
        "shots_train", "shots_per_prediction", "seconds_physics", "seconds_digital", "multiply_adds_train",
        "multiply_adds_per_prediction",
    )  # fmt: skip
    return [short(row[key]) for key in keys]


def _ledger(row: dict[str, Any]) -> list[str]:
    keys = ("configuration_writes", "converter_samples")
    work = ("multiply_adds_forward", "multiply_adds_update", "multiply_adds_twin")
    joules = [(row["energy_j"], row["energy"]), (row["energy_digital_j"], "estimated")]
    return [
        *(short(row[key]) if row[key] else "-" for key in (*keys, *work)),
        *("-" if value is None else f"{short(value)}{MARKS[kind]}" for value, kind in joules),
    ]


def with_half(mean: float, half: float | None, sign: str = "") -> str:
    """A share in %, with half of its interval where that is known; one of 10 points or more without decimals."""
    if half is None:
        return f"{100 * mean:{sign}.1f}"
    return f"{100 * mean:{sign}.1f} ± {points(half) if half < 0.0995 else f'{100 * half:.0f}'}"


def shots_told(shots: Sequence[int | None]) -> str:
    """Mean over the trials that got there, and how many these were if not all."""
    known = [count for count in shots if count is not None]
    if not known:
        return "never"
    mean = short(sum(known) / len(known))
    return mean if len(known) == len(shots) else f"{mean} ({len(known)}/{len(shots)})"


def some_never(told: Sequence[Sequence[int | None]]) -> list[str]:
    """What :func:`shots_told` means by two numbers, if it gives any."""
    if any(len(set(map(type, shots))) > 1 for shots in told):  # some None, some numbers
        return ["With (n/m): n of the m trials reached it, the mean is theirs."]
    return []


def _notes(rows: Sequence[dict[str, Any]]) -> list[str]:
    told = []
    good = [row for row in rows if not row["problem"]]
    measured = [row for row in good if row["shots_to_target"] is not None]
    if any(count is not None for row in measured for count in row["shots_to_target"]):
        on = " and ".join(sorted({name for row in measured for name in row["accuracy_on"]}))
        told.append(f"Shots are told until the accuracy on {on} rows reached the target; accuracies are of test rows.")
        told += some_never([row["shots_to_target"] for row in measured])
    if blind := [row["name"] for row in good if row["shots_to_target"] is None]:
        told.append(f"{', '.join(blind)}: trained without the rig, whose accuracy on the way nobody knows.")
    kinds = {row["energy"] for row in good} | {"estimated" for row in good if row["energy_digital_j"] is not None}
    if "estimated" in kinds:
        told.append("*: estimated from stated watts, not measured.")
    if "emulated" in kinds:
        told.append("**: told by an emulated power meter, not measured.")
    for row in good:
        for twin in row["twins"]:
            took = "what fitting it took its file does not tell" if twin["fit"] is None else fitted(twin["fit"])
            told.append(f"{row['name']}, not among its costs: {Path(twin['file']).name}, {took}.")
    return told


def _tuning(rows: Sequence[dict[str, Any]]) -> Table:
    """What each candidate reached, and what trying them cost."""
    table = results_table(
        "candidate\nchosen", "mean accuracy of each\ncandidate in tuning, %", "shots,\ntuning", "time,\ns"
    )
    for row in rows:
        if (tuning := row.get("tuning")) is not None:
            tried = [one["accuracy"] for one in tuning["candidates"]]
            accuracies = "  ".join("failed" if accuracy is None else points(accuracy) for accuracy in tried)
            table.add_row(
                "\n".join(wrap(row["name"], NAME)),
                "none" if tuning["chosen"] is None else f"{tuning['chosen']} of {len(tried)}",
                "\n".join(wrap(accuracies, TRIED)),
                short(tuning["shots"]),
                short(tuning["seconds"]),
            )
    return table


def _tuning_notes(found: dict[str, Any]) -> list[str]:
    """The budget, what was chosen, and why candidates failed."""
    rows = [row for row in found["methods"] if row.get("tuning") is not None]
    if not rows:
        return []
    trials, first = found["tuning"]["trials"], found["tuning"]["first_seed"]
    count = len(rows[0]["tuning"]["candidates"])
    told = [
        f"Tuning: {count} candidate{'s' * (count != 1)} of each method in {trials} trial{'s' * (trials != 1)} "
        f"({seeds(first, trials)}); the most accurate was compared.",
        "Shots and time of tuning are those of all candidates together, and not among the other costs.",
    ]
    for row in rows:
        candidates, chosen = row["tuning"]["candidates"], row["tuning"]["chosen"]
        for number, tried in enumerate(candidates, 1):
            if number == chosen:
                equal = sum(one["accuracy"] == tried["accuracy"] for one in candidates)
                among = f", the first of {equal} that are equal" if equal > 1 else ""
                settings = ", ".join(tried["settings"]) or "nothing changed"
                told.append(f"{row['name']} took candidate {number}{among}: {settings}")
            elif tried["problem"] and chosen is not None:  # else the row says so itself
                told.append(f"{row['name']}, candidate {number} failed: {tried['problem']}")
    return told


def draw(found: dict[str, Any], path: Path) -> Path:
    """Write :func:`plot_comparison` as PNG.

    Raises
    ------
    RunError
        If it cannot be written.
    """
    return save(plot_comparison(found), path)


def plot_comparison(found: dict[str, Any]) -> Figure:
    """Accuracy on the way against shots, a line for each method, and test accuracies with their intervals."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    figure = empty_figure(9.0, 4.4)
    left, right = figure.subplots(1, 2, width_ratios=[3, 1], sharey=True)
    good = [row for row in found["methods"] if not row["problem"]]
    for i, row in enumerate(good):
        style = {"marker": MARKERS[i % len(MARKERS)], "color": (INK, MIDDLE)[i // len(STYLES) % 2]}
        shots, accuracy = row["curve"]["shots"], [100 * value for value in row["curve"]["accuracy"]]
        left.plot(
            shots, accuracy, linestyle=STYLES[i % len(STYLES)], markersize=5, label=f"{i + 1}  {row['name']}",
            markevery=max(1, len(shots) // 8), markerfacecolor="white", **style,
        )  # fmt: skip
        half = row["accuracy_half"]
        right.errorbar(
            [i + 1], [100 * row["accuracy"]], yerr=None if half is None else [100 * half], capsize=3,
            markerfacecolor="white", linestyle="none", **style,
        )  # fmt: skip
    left.axhline(100 * found["target"], color=MIDDLE, linewidth=1.0, linestyle=(0, (1, 2)), label="target")
    spent = [shots for row in good for shots in row["curve"]["shots"]]
    if spent and min(spent) > 0:
        left.set_xscale("log")
        left.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        left.xaxis.set_minor_locator(LogLocator(subs=()))
    elif max(spent, default=0) > 0:  # trained without the rig
        left.set_xscale("symlog", linthresh=min(shots for shots in spent if shots > 0))
    left.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    within_percent(left)
    on = sorted({name for row in good for name in row["accuracy_on"]})
    left.set_xlabel("shots of a trial")
    left.set_ylabel(f"accuracy on {' and '.join(on) or 'training'} rows (%)")
    right.set_title("test rows" + (", 95 % interval" if found["trials"] > 1 else ""), fontsize=10)
    right.set_xticks(range(1, len(good) + 1))
    right.set_xlim(0.3, max(len(good), 1) + 0.7)
    right.set_xlabel("method")
    pale_grid(left, right)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower left", ncols=3, frameon=False, fontsize=9)
    return figure
