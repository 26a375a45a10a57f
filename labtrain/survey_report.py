"""The report of a survey: one HTML file that holds its figures and needs nothing else."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.text import Text

from labtrain.rigs.survey.steepness import PER_KELVIN
from labtrain.rigs.survey.tones import KELVIN
from labtrain.survey_figures import figures

if TYPE_CHECKING:
    from labtrain.rigs.acoustic_config import AcousticConfig
    from labtrain.rigs.survey.procedure import Survey
    from labtrain.rigs.survey.proposal import Proposal

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
    """A survey, what it proposes and noticed, and the files that say so."""

    found: Survey
    proposals: tuple[Proposal, ...]
    notes: tuple[str, ...]
    yaml: Path
    html: Path


def html(source: str, rig: AcousticConfig, found: Survey, proposals: Sequence[Proposal], notes: Sequence[str]) -> str:
    """The page."""
    request = found.request
    facts = [
        ("configuration", source),
        ("device", f"{getattr(rig.sound, 'driver', '')}, {rig.sound.device}"),
        ("speakers, microphones", f"{len(rig.sound.speakers)} on outputs {list(rig.sound.speakers)}, "
         f"{len(rig.sound.microphones)} on inputs {list(rig.sound.microphones)}"),
        ("sound played", f"{found.seconds:.0f} s at {found.rate_hz:g} Hz"),
        ("latency", f"{found.latency} frames, {1e3 * found.latency / found.rate_hz:.1f} ms"
         f"{'' if found.has_loopback else ', of the first sound, without a loopback'}"),
        ("grid, band", f"{found.bin_hz:.4g} Hz, {request.band_hz[0]:g} to {request.band_hz[1]:g} Hz"),
        ("noise in silence", ", ".join(_level(value, found.unit) for value in found.idle.rms)),
        ("reverberation time", f"{found.decay.t60_s:.2f} s"),
        ("rank of the map", f"{found.rank.total}, of the tones {', '.join(map(str, found.rank.per_tone))}; condition "
         f"{', '.join(f'{value:.0f}' for value in found.rank.condition)}"),
        ("repeatability", f"{100 * float(np.median(found.repeatability.total)):.2g} % (median) from shot to shot, "
         f"noise alone {100 * float(np.median(found.repeatability.noise)):.2g} %"),
    ]  # fmt: skip
    drawn = "\n".join(_embedded(caption, figure) for caption, figure in figures(found))
    body = [
        f"<h1>Survey of {escape(source)}</h1>",
        _rows(("", ""), facts),
        "<h2>Proposed</h2>",
        _table(
            ("key", "was", "proposed", "why"),
            ((_code(p.key), _code(_shown(p.before)), _code(_shown(p.value)), _reasons(p.reason)) for p in proposals),
        ),
        "<h2>Noticed</h2>",
        "<ul>" + "".join(f"<li>{escape(note)}</li>" for note in notes) + "</ul>" if notes else "<p>Nothing odd.</p>",
        "<h2>Measured</h2>",
        drawn,
        "<h2>All bins of the band</h2>",
        _bins(found),
    ]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Survey of {escape(source)}</title>'
        f'<meta name="generator" content="Written by labtrain survey"><style>{_STYLE}</style></head>\n<body>\n'
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _bins(found: Survey) -> str:
    chosen = set(found.tones.bins)
    head = ("bin", "frequency (Hz)", f"change per {KELVIN:g} K (%)", "weakest microphone (dB)", "verdict")
    rows = []
    for c in found.tones.candidates:
        verdict = "proposed" if c.bin in chosen else "; ".join(c.against) or "free"
        steep = 100.0 * KELVIN * PER_KELVIN * c.steepness
        cells = [str(c.bin), f"{c.hz:.1f}", f"{steep:.1f}", f"{c.level_db:+.0f}"]
        style = ' class="chosen"' if c.bin in chosen else ""
        numbers = "".join(f'<td class="number">{cell}</td>' for cell in cells)
        rows.append(f"<tr{style}>{numbers}<td>{escape(verdict)}</td></tr>")
    heads = "".join(f'<th class="number">{escape(cell)}</th>' for cell in head[:-1]) + f"<th>{head[-1]}</th>"
    return (
        "<p>The change is the largest within half a bin of any microphone, the level that of the weakest microphone "
        f"against its surroundings.</p><table><tr>{heads}</tr>{''.join(rows)}</table>"
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML already."""
    heads = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{heads}</tr>{body}</table>" if any(head) else f"<table>{body}</table>"


def _rows(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return _table(head, ([escape(cell) for cell in row] for row in rows))


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"


def _reasons(reasons: Sequence[str]) -> str:
    return '<ul class="reasons">' + "".join(f"<li>{escape(reason)}</li>" for reason in reasons) + "</ul>"


def _shown(value: Any) -> str:
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _level(rms: float, unit: str) -> str:
    if unit == "Pa":
        return f"{20.0 * np.log10(max(rms, 1e-12) / 2e-5):.0f} dB SPL"
    return f"{20.0 * np.log10(max(rms, 1e-12)):.0f} dBFS"


def _embedded(caption: str, figure: Any) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    text = escape(caption)
    return f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption>{text}</figcaption></figure>'


def survey_text(done: Surveyed) -> Text:
    """What the terminal shows: proposals with their reasons, notes, files."""
    text = Text()
    for p in done.proposals:
        text.append(f"{p.key}: {_shown(p.value)}", style="bold")
        text.append(f"  (was {_shown(p.before)})\n" if p.before != p.value else "  (as it was)\n")
        text.append("".join(f"    {reason}\n" for reason in p.reason))
    text.append("".join(f"note: {note}\n" for note in done.notes))
    text.append(f"{done.found.seconds:.0f} s of sound; {done.yaml} and {done.html} written\n")
    text.append(f"next: look at the report, then labtrain train {done.yaml}")
    return text


def survey_json(done: Surveyed) -> dict[str, Any]:
    """The same for programs."""
    found = done.found

    def number(value: float) -> float | None:
        return float(value) if np.isfinite(value) else None

    return {
        "yaml": str(done.yaml),
        "html": str(done.html),
        "proposed": {p.key: {"before": p.before, "value": p.value, "reason": list(p.reason)} for p in done.proposals},
        "notes": list(done.notes),
        "seconds_of_sound": found.seconds,
        "latency_frames": found.latency,
        "dead_speakers": [s + 1 for s in found.wiring.dead_speakers],
        "dead_microphones": [m + 1 for m in found.wiring.dead_microphones],
        "mains_hz": found.idle.mains_hz,
        "t60_s": number(found.decay.t60_s),
        "settle_s": found.settle_s.tolist(),
        "tones_hz": found.tones_hz.tolist(),
        "rank": list(found.rank.per_tone),
        "repeatability": number(float(np.median(found.repeatability.total))),
        "features": [str(feature) for feature in found.tones.features],
        "rejected": {str(c.bin): list(c.against) for c in found.tones.candidates if c.against},
    }
