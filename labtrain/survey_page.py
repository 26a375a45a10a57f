"""The page of a survey, whatever it surveyed: one HTML file that holds its figures and needs nothing else."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from labtrain.rigs.survey.proposed import Proposal

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #111; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; margin: .6rem 0; }
th, td { text-align: left; padding: .22rem .7rem; vertical-align: top; }
th { border-bottom: 1.5px solid #111; } td { border-bottom: 1px solid #ddd; }
td.number, th.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
tr.chosen td { font-weight: 600; background: #eee; }
code { font-family: ui-monospace, monospace; font-size: .92em; } figure { margin: 1.2rem 0; page-break-inside: avoid; }
img { max-width: 100%; } figcaption { color: #444; font-size: .9rem; } ul.reasons { margin: 0; padding-left: 1.1rem; }
"""


@dataclass(frozen=True)
class Surveyed:
    """A survey, what it proposes and noticed, and the files that say so.

    Parameters
    ----------
    found : object
        All that was measured.
    took : str
        What it took, for people.
    told : dict
        What was measured, for programs.
    """

    found: Any
    proposals: tuple[Proposal, ...]
    notes: tuple[str, ...]
    yaml: Path
    html: Path
    took: str
    told: dict[str, Any]


def page(
    source: str,
    facts: Iterable[tuple[str, str]],
    proposals: Sequence[Proposal],
    notes: Sequence[str],
    figures: Iterable[tuple[str, Figure]],
    after: Sequence[str] = (),
) -> str:
    """The page.

    Parameters
    ----------
    source : str
        Name of the configuration.
    facts : iterable of (name, value)
    figures : iterable of (caption, figure)
    after : sequence of str
        HTML behind the figures.
    """
    body = [
        f"<h1>Survey of {escape(source)}</h1>",
        table(("", ""), ([escape(cell) for cell in row] for row in facts)),
        "<h2>Proposed</h2>",
        table(
            ("key", "was", "proposed", "why"),
            ((_code(p.key), _code(shown(p.before)), _code(shown(p.value)), _reasons(p.reason)) for p in proposals),
        ),
        "<h2>Noticed</h2>",
        "<ul>" + "".join(f"<li>{escape(note)}</li>" for note in notes) + "</ul>" if notes else "<p>Nothing odd.</p>",
        "<h2>Measured</h2>",
        "\n".join(_embedded(caption, figure) for caption, figure in figures),
        *after,
    ]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Survey of {escape(source)}</title>'
        f'<meta name="generator" content="Written by labtrain survey"><style>{_STYLE}</style></head>\n<body>\n'
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML already."""
    heads = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{heads}</tr>{body}</table>" if any(head) else f"<table>{body}</table>"


def shown(value: Any) -> str:
    """A value of a configuration, for people."""
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def survey_text(done: Surveyed) -> Text:
    """What the terminal shows: proposals with their reasons, notes, files."""
    text = Text()
    for p in done.proposals:
        text.append(f"{p.key}: {shown(p.value)}", style="bold")
        text.append(f"  (was {shown(p.before)})\n" if p.before != p.value else "  (as it was)\n")
        text.append("".join(f"    {reason}\n" for reason in p.reason))
    text.append("".join(f"note: {note}\n" for note in done.notes))
    text.append(f"{done.took}; {done.yaml} and {done.html} written\n")
    text.append(f"next: look at the report, then labtrain train {done.yaml}")
    return text


def survey_json(done: Surveyed) -> dict[str, Any]:
    """The same for programs."""
    return {
        "yaml": str(done.yaml),
        "html": str(done.html),
        "proposed": {p.key: {"before": p.before, "value": p.value, "reason": list(p.reason)} for p in done.proposals},
        "notes": list(done.notes),
        **done.told,
    }


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"


def _reasons(reasons: Sequence[str]) -> str:
    return '<ul class="reasons">' + "".join(f"<li>{escape(reason)}</li>" for reason in reasons) + "</ul>"


def _embedded(caption: str, figure: Any) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    text = escape(caption)
    return f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption>{text}</figcaption></figure>'
