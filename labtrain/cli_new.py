"""``labtrain new``: packages to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from labtrain.cli_common import Json, print_json

new_app = typer.Typer(
    help="Write something to begin with: a driver of your own, the firmware of a board.", no_args_is_help=True
)


@new_app.command()
def driver(
    name: Annotated[str, typer.Argument(help="of the driver, as in my-surface", show_default=False)],
    kind: Annotated[
        Literal["metasurface", "vna", "instrument", "scpi"], typer.Option(help="what is nearest to your device")
    ] = "metasurface",
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="folder to write; default: labtrain-NAME")] = None,
    as_json: Json = False,
) -> None:
    """Write a package with a driver, its emulator and its tests, which works at once.

    It is of a device that does not exist. Make it yours step by step; its
    README says in which order, with pytest after each step.

    Kinds: metasurface, on a serial line, in lines of text; vna, a network
    analyser with a SCPI dialect of its own; instrument, anything else that
    speaks lines of text; scpi, anything else that speaks SCPI.
    """
    from labtrain.new_driver import new_driver

    written = new_driver(name, kind, out)
    if as_json:
        print_json({"folder": str(written.folder), "files": [place.as_posix() for place in written.files]})
        return
    print(*(written.folder / place for place in written.files), sep="\n")
    then = " && labtrain train config.yaml" if written.train else ""
    print(f'{written.folder} written; next: cd {written.folder} && pip install -e ".[dev]" && pytest{then}')


@new_app.command()
def firmware(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="where its folder latched_board is to be")] = Path(),
    as_json: Json = False,
) -> None:
    """Copy the firmware of the latched shift-register board, an Arduino sketch, to change and upload it.

    Which pins, which chips and which wires: the sketch begins with that. What
    your surface is, rows, columns and bits, says board_config.h.
    """
    from labtrain.new_driver import new_firmware

    written = new_firmware(folder)
    if as_json:
        print_json({"files": [place.as_posix() for place in written]})
        return
    sketch = next(place for place in written if place.suffix == ".ino")
    print(*written, sep="\n")
    print(f"{sketch.parent} written; next: edit {sketch.parent / 'board_config.h'}, then upload {sketch.name}")
