"""What a user reads of runs: tables for the terminal, in black and white, 100 columns wide; figures are in plots.py."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from time import gmtime, strftime
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from labtrain.formatting import duration, percent, points, short, size
from labtrain.plots import figures, plot_accuracy, plot_confusion, plot_goodness
from labtrain.twin_report import fitted

if TYPE_CHECKING:
    from labtrain.runlist import RunSummary
    from labtrain.runs import Note

__all__ = [
    "evaluation_table",
    "figures",
    "notes_table",
    "plan_table",
    "plot_accuracy",
    "plot_confusion",
    "plot_goodness",
    "recording_table",
    "runs_table",
    "summary_table",
]

# Of joules.
KINDS = {"measured": "measured", "emulated": "told by an emulated meter", "estimated": "estimated"}

# Key in the summary, name, what it means.
ABLATIONS = (
    ("physics_off_accuracy", "physics off", "the same network with the physics switched off"),
    ("random_physics_accuracy", "random physics", "a random linear medium, as wide as the rig, without noise"),
    ("shuffled_accuracy", "shuffled", "true responses dealt to the wrong samples"),
    ("no_skip_accuracy", "no skip", "one layer of physics alone, without the skip path"),
    ("ridge_accuracy", "ridge readout", "a linear readout of the first layer's responses"),
)


def summary_table(summary: dict[str, Any]) -> RenderableType:
    """The result of a run beside its ablations, and what it cost.

    Parameters
    ----------
    summary : dict
        As ``summary.json`` holds it.

    Returns
    -------
    A rich renderable, at most 100 columns wide
    """
    trials = summary["test_accuracy_per_trial"]
    several = len(trials) > 1
    table = _table()
    table.add_column("")
    table.add_column("accuracy, %", justify="right")
    if several:
        table.add_column(f"sd of {len(trials)} trials", justify="right")
    table.add_column("what it is", ratio=1)

    def row(name: str, mean: float, sd: float | None, meaning: str, style: str = "") -> None:
        spread = [points(sd)] if several else []
        table.add_row(name, points(mean), *spread, meaning, style=style)

    span = f"; trials from {points(min(trials))} to {points(max(trials))}" if several else "; one trial, spread unknown"
    row("test accuracy", summary["test_accuracy"], summary["test_accuracy_sd"], f"the trained network{span}", "bold")
    if summary.get("start_accuracy") is not None:
        inherited = "what it inherited (trials.start_from), before its first step"
        row("at the start", summary["start_accuracy"], summary["start_accuracy_sd"], inherited)
    for key, name, meaning in ABLATIONS:
        if summary.get(key) is not None:
            row(name, summary[key], summary.get(f"{key}_sd"), meaning)
    rows = [sum(counts) for counts in summary["confusion"]]
    row("chance", max(rows) / sum(rows), None, "always the most frequent class of the test rows")
    return Group(table, Text(), _facts(_costs(summary)))


def _costs(summary: dict[str, Any]) -> list[tuple[str, str]]:
    known = {name: share for name, share in summary["per_class"].items() if share is not None}
    weakest = min(known, key=lambda name: known[name])
    facts = [("weakest class", f"{weakest}, {percent(known[weakest])} of its test rows right")]
    if known[weakest] == 1.0:
        facts = []  # none is weaker than another
    commission = f"{summary['shots_commission']:,} commissioning, " if summary.get("shots_commission") else ""
    facts += [
        ("shots", f"{commission}{summary['shots_train']:,} training, {summary['shots_test']:,} test"),
        ("time", f"{duration(summary['seconds_physics'])} physics, {duration(summary['seconds_digital'])} digital"),
    ]
    facts += _ledger(summary)
    if "seconds" in summary:
        facts.append(("wall time", f"{duration(summary['seconds'])} for this command, ablations included"))
    facts += _disturbed(summary.get("disturbances", ()))
    if held := summary.get("test_values_held_at_border"):
        facts.append(("note", f"{held:,} test values outside the trained range were held at its border"))
    for i, share in enumerate(summary.get("drive_clipped_share", ())):
        if share >= 0.0005:  # 0.1 % when rounded
            facts.append(("note", f"layer {i + 1}: {percent(share)} of the drive values were clipped at 0 or 1"))
    if "run" in summary:
        facts.append(("run folder", str(summary["run"])))
    return facts


def _ledger(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """What else was spent, as far as it was counted; older summaries lack some of it."""
    cost, facts = summary.get("cost", {}), []
    counts = (("configuration_writes", "configuration writes"), ("converter_samples", "converter samples"))
    spent = [f"{short(cost[key])} {name}" for key, name in counts if cost.get(key)]
    times = (("settle_s", "settling"), ("integration_s", "integration"))
    spent += [f"{duration(cost[key])} {name}" for key, name in times if cost.get(key)]
    if spent:
        facts.append(("on the rig", ", ".join(spent)))
    if total := cost.get("multiply_adds"):
        parts = {name: cost.get(f"multiply_adds_{name}", 0) for name in ("forward", "update", "twin")}
        told = ", ".join(f"{short(count)} {name}" for name, count in parts.items() if count)
        told += f"{', ' * bool(told)}{short(total)} in all" if sum(parts.values()) < total else ""
        facts.append(("multiply-adds", told))
    for twin in summary.get("twins", ()):
        fit = twin["fit"]
        took = "what fitting it took its file does not tell" if fit is None else fitted(fit)
        facts.append(("twin", f"{Path(twin['file']).name}, {twin['kind']}: {took}; not among the above"))
    sources = {"estimated": "from the watts stated for the rig"}
    for kind, joules in (summary.get("energy_j") or {}).items():
        source = sources.get(kind, "of all that is behind the power meter")
        facts.append(("energy", f"{short(joules)} J {KINDS[kind]}, {source}"))
    for kind, joules in (summary.get("energy_digital_j") or {}).items():
        facts.append(("energy, digital", f"{short(joules)} J {kind}, from the watts stated for the computer"))
    return facts


def _disturbed(happened: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """What happened to the world, a row for each disturbance; accuracies are means over the trials that know them."""
    facts = []
    for number in sorted({one["number"] for one in happened}):
        same = [one for one in happened if one["number"] == number]
        both = [(one["accuracy_before"], one["accuracy_after"]) for one in same]
        known = [(before, after) for before, after in both if before is not None and after is not None]
        told = "accuracy before or after unknown"
        if known:
            before, after = (sum(values) / len(known) for values in zip(*known, strict=True))
            told = f"accuracy {percent(before)} before, {percent(after)} when next told"
        trials = f"{len(same)} trial{'s' * (len(same) != 1)}"
        facts.append(("disturbed", f"{same[0]['do']} in {trials}, first at shot {same[0]['shot']:,}: {told}"))
    return facts


def runs_table(runs: Sequence[RunSummary]) -> RenderableType:
    """The runs of a folder, one line each; the reasons of broken ones below."""
    table = _table()
    table.add_column("run", overflow="fold", ratio=1)
    table.add_column("began, UTC", no_wrap=True)
    table.add_column("status", no_wrap=True)
    for name in ("trials", "shots", "disk"):
        table.add_column(name, justify="right", no_wrap=True)
    for run in runs:
        if run.problem:
            table.add_row(Text(run.folder.name), "-", run.status, "-", "-", size(run.size_bytes))
        else:
            began = strftime("%Y-%m-%d %H:%M", gmtime(run.created_s))
            trials = "-" if run.kind == "recording" else str(run.trials)
            table.add_row(Text(run.folder.name), began, run.status, trials, f"{run.shots:,}", size(run.size_bytes))
    problems = [Text(run.problem, overflow="fold") for run in runs if run.problem]
    return Group(table, Text(), *problems) if problems else table


def plan_table(plan: dict[str, Any]) -> RenderableType:
    """What an experiment will cost at most.

    Parameters
    ----------
    plan : dict
        As :func:`labtrain.jobs.plan` gives it.
    """
    each = plan["seconds_per_shot"]
    parts_of_shots = (("shots_commission", "commissioning"), ("shots_train", "training"), ("shots_test", "test"))
    shots = sum(plan[key] for key, _ in parts_of_shots)
    sums = " + ".join(f"{plan[key]:,} {name}" for key, name in parts_of_shots if plan[key] or name != "commissioning")
    where = "on a real rig of this kind; this one is simulated" if plan["simulated"] else "on the rig"
    time = f"{duration(plan['seconds_on_rig'])} {where}" if each > 0 else "the rig states no time per shot"
    named = (("train_rows", "training"), ("validation_rows", "validation"), ("test_rows", "test"))
    parts = ", ".join(f"{plan[key]:,} {name}" for key, name in named if plan[key])
    dead = ", ".join(map(str, plan.get("dead_inputs", ())))
    measuring = "of the rig while it measures; pauses and computer come on top"
    return _facts(
        [
            *([("dead inputs", f"{dead} reach no output")] if dead else []),
            ("trials", f"{plan['trials']:,}"),
            ("rows of a trial", parts),
            ("shots, at most", f"{shots:,} = {sums}"),
            ("time per shot", f"{1e3 * each:,.3g} ms" if each > 0 else "-"),
            ("time, at most", time),
            *(
                ("energy, at most", f"{short(joules)} J {kind}, {measuring}")
                for kind, joules in (plan.get("energy_j") or {}).items()
            ),
            ("disk, about", f"{size(plan['disk_bytes'])} for the shots alone; checkpoints and figures come on top"),
        ]
    )


def recording_table(summary: dict[str, Any]) -> RenderableType:
    """What was recorded, and how much the outputs vary with the drives.

    Parameters
    ----------
    summary : dict
        As :func:`labtrain.recording.record` gives it.
    """
    shots, attempts, repeats = summary["shots"], summary["attempts"], summary["repeats"]
    each = f", each {repeats} times" if repeats > 1 else ""
    commission = f"{summary['shots_commission']:,} commissioning, " if summary["shots_commission"] else ""
    facts = [
        ("shots", f"{commission}{shots:,} random drive{'s' * (shots != 1)} of {summary['n_in']} inputs{each}"),
        ("repeated", f"{attempts - shots * repeats:,} readings were bad and taken again"),
        ("wall time", f"{duration(summary['seconds'])} for this command"),
        *_ledger(summary),
        *_spreads(summary),
    ]
    if dead := summary["dead_inputs"]:
        facts.append(("dead inputs", f"{', '.join(map(str, dead))} reach no output"))
    return _facts([*facts, ("pairs", str(Path(summary["run"]) / "pairs.npz"))])


def _spreads(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """Median and extremes over the outputs of what is told of each."""
    unit = "" if summary["y_unit"] == "1" else f" {summary['y_unit']}"
    found = []
    for key, name, of in (("y_sd", "spread", "sd over the drives"), ("sigma", "sigma", "of one response")):
        if values := summary[key]:
            low, high = min(values), max(values)
            where = f"from {low:.3g} (y{values.index(low) + 1}) to {high:.3g} (y{values.index(high) + 1})"
            text = f"{of}, median of {len(values)} outputs {median(values):.3g}{unit}, {where}"
            found.append((name, text))
    return found


def evaluation_table(rows: Sequence[dict[str, Any]]) -> RenderableType:
    """Test accuracies measured anew beside those at the end of training.

    Parameters
    ----------
    rows : sequence of dict
        As :func:`labtrain.inference.evaluate` gives them.
    """
    table = _table()
    for name in ("trial", "seed", "accuracy now, %", "when trained, %", "change, points", "shots"):
        table.add_column(name, justify="right")
    for row in rows:
        now, then = row["accuracy"], row["accuracy_then"]
        change = f"{100 * (now - then):+.1f}"
        table.add_row(str(row["trial"]), str(row["seed"]), points(now), points(then), change, f"{row['shots']:,}")
    return table


def notes_table(notes: Sequence[Note]) -> RenderableType:
    """What was noted in a run, oldest first: by a person, by its configuration and its changes, by evaluations."""
    table = _table()
    for name in ("noted, UTC", "kind"):
        table.add_column(name, no_wrap=True)
    table.add_column("text", overflow="fold", ratio=1)
    for note in notes:
        text = _evaluation(note.text) if note.kind == "evaluation" else note.text
        table.add_row(strftime("%Y-%m-%d %H:%M:%S", gmtime(note.time_s)), note.kind, Text(text))
    return table


def _evaluation(text: str) -> str:
    """The note of an evaluation, as labtrain.inference.evaluate leaves it, in words."""
    return "; ".join(
        f"trial {row['trial']}, seed {row['seed']}: {percent(row['accuracy'])}, when trained "
        f"{percent(row['accuracy_then'])}, {row['shots']:,} shots"
        for row in json.loads(text)
    )


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, header_style="", pad_edge=False, show_edge=False)


def _facts(facts: Sequence[tuple[str, str]]) -> Table:
    """Names and values in two columns."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(name, Text(value))  # Text: a path or a class name is never read as markup
    return table
