"""The command that compares training methods."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from labtrain.cli_common import ConfigFile, Json, Set, print_json, show


def compare(
    config: ConfigFile,
    methods: Annotated[
        str, typer.Option(metavar="A,B,...", help="names; differences are to the first", show_default=False)
    ],
    trials: Annotated[int | None, typer.Option(min=1, help="instead of trials.count")] = None,
    target: Annotated[float, typer.Option(min=0, max=1, help="accuracy of which the shots are told")] = 0.9,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="folder of the comparison; default: compare-CONFIG")
    ] = None,
    disturb: Annotated[bool, typer.Option("--disturb", help="do compare.disturb to the rig, and train on")] = False,
    set_: Set = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Compare training methods on the same trials: accuracy, shots, time, digital work.

    Each gets a run of its own in the folder, and its settings from
    compare.methods.NAME of the file; with compare.tuning it first tries the
    candidates of each. The same command goes on where it was stopped, and does
    not repeat what is finished; more --trials come on top.
    """
    from labtrain import compare_disturbed, compare_disturbed_report, comparison
    from labtrain.compare_report import comparison_table, draw
    from labtrain.compare_settings import load
    from labtrain.progress import Progress

    names = [name.strip() for name in methods.split(",") if name.strip()]
    folder = out or Path(f"compare-{config.stem}")
    carry_out = compare_disturbed.compare if disturb else comparison.compare
    found = carry_out(load(config, set_), names, folder, trials, target, Progress)
    draw(found, folder / comparison.FIGURE)
    if disturb:
        compare_disturbed_report.draw(found, folder / compare_disturbed.FIGURE)
    if as_json:
        print_json(found)
        return
    show(comparison_table(found))
    if disturb:
        show(compare_disturbed_report.disturbed_table(found))
