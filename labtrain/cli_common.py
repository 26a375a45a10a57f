"""What the commands share: options, and how results are printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from labtrain.errors import InputError


def _folder(text: str | Path) -> Path:
    """The folder an option names; an empty text would silently mean the current folder."""
    if not str(text).strip():
        raise InputError("--runs is empty; name the folder that holds the run folders, or leave the option out")
    return Path(text)


ConfigFile = Annotated[Path, typer.Argument(help="YAML configuration file", show_default=False)]
RunFolder = Annotated[Path, typer.Argument(help="run folder", show_default=False)]
Set = Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="override, as in training.theta=8")]
Runs = Annotated[Path, typer.Option("--runs", metavar="DIR", parser=_folder, help="folder that holds the run folders")]
TraceIo = Annotated[
    Path | None,
    typer.Option("--trace-io", metavar="FILE", help="append every byte to and from the instruments to a file, timed"),
]
Json = Annotated[bool, typer.Option("--json", help="print the result as one line of JSON, alone on the last line")]


def print_json(value: Any) -> None:
    print(json.dumps(value, allow_nan=False), flush=True)


def show(renderable: Any, least: int = 0) -> None:
    """Print, 100 columns wide or as narrow as the terminal, but no narrower than `least`."""
    from rich.console import Console

    console = Console(highlight=False)
    console.width = max(least, min(100, console.width) if console.is_terminal else 100)
    console.print(renderable)


def finish(summary: dict[str, Any], as_json: bool, recorded: bool = False) -> None:
    from labtrain.report import recording_table, summary_table

    if as_json:
        print_json(summary)
    else:
        show((recording_table if recorded else summary_table)(summary))
