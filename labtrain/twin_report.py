"""The score of a digital twin as a table of at most 100 columns."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from labtrain.formatting import short

_COLUMNS = ("output", "R2", "RMSE", "RMSE of a constant", "repeatability")


def twin_table(found: dict[str, Any]) -> RenderableType:
    """Each output, and all of them: R2, RMSE, RMSE of a constant, repeatability where it is known.

    Parameters
    ----------
    found : dict
        As :func:`labtrain.twins.fitting.fit_twin` or ``judge_twin`` gives it.
    """
    table = Table(box=box.SIMPLE_HEAD, header_style="", pad_edge=False, show_edge=False)
    for name in _COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    repeats = found["repeatability_per_output"] or [None] * found["n_out"]
    lines = zip(
        found["r2_per_output"], found["rmse_per_output"], found["rmse_constant_per_output"], repeats, strict=True
    )
    for number, line in enumerate(lines, start=1):
        table.add_row(f"y{number}", *map(_number, line))
    table.add_section()
    total = (found["r2"], found["rmse"], found["rmse_constant"], found["repeatability"])
    table.add_row("all", *map(_number, total))
    took = [Text(fitted(found["fit"]))] if found.get("fit") else []
    return Group(table, Text(_about(found)), *took)


def measured_text(found: dict[str, Any]) -> str:
    """What measuring a twin found, for people.

    Parameters
    ----------
    found : dict
        As :func:`labtrain.twin_measuring.measure_twin` gives it.
    """
    allowed = 1.0 - (found["repeatability"] / found["rmse_constant"]) ** 2
    return "\n".join(
        [
            f"{found['out']}: {found['kind']} twin of {found['n_in']:,} inputs and {found['n_out']:,} outputs, from "
            f"{found['shots']:,} shots ({found['seconds']:.0f} s)",
            f"{found['rows']} unseen patterns: correlation {found['correlation']:.4f}, R2 {found['r2']:.4f} "
            f"(repeatability allows {allowed:.4f})",
            f"RMSE {found['rmse']:.3g} {found['y_unit']}, of a constant {found['rmse_constant']:.3g}, repeatability "
            f"{found['repeatability']:.3g}",
            f"meanwhile the speckle of one pattern kept a correlation of {found['drifted']:.4f}",
            f"frames, patterns and matrix took {found['memory_bytes'] / 1e6:.0f} MB; {fitted(found['fit'])}",
        ]
    )


def fitted(fit: dict[str, Any]) -> str:
    """What a fit took, as :class:`labtrain.twins.cost.FitCost` tells it."""
    return (
        f"fitted to {fit['rows']:,} rows with about {short(fit['multiply_adds'])} multiply-adds, in "
        f"{fit['cpu_s']:.3g} s of a processor"
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _about(found: dict[str, Any]) -> str:
    fitted = f"fitted to {found['fitted_rows']:,} rows, " if "fitted_rows" in found else ""
    unit = found["y_unit"] or "the unit of y"
    dead = f"; inputs {', '.join(map(str, found['dead_inputs']))} reach no output" if found["dead_inputs"] else ""
    judged = f"judged on {found['rows']:,}{' later ones' if fitted else ' rows'}"
    return f"{found['out']}: {found['kind']} twin, {fitted}{judged}; RMSE in {unit}{dead}"
