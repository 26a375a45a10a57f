"""What a survey of an acoustic rig tells, as a page and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from labtrain.rigs.survey.steepness import PER_KELVIN
from labtrain.rigs.survey.tones import KELVIN
from labtrain.survey_figures import figures
from labtrain.survey_page import page

if TYPE_CHECKING:
    from labtrain.rigs.acoustic_config import AcousticConfig
    from labtrain.rigs.survey.procedure import Survey
    from labtrain.rigs.survey.proposed import Proposal


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
    bins = ("<h2>All bins of the band</h2>", _bins(found))
    return page(source, facts, proposals, notes, figures(found), bins)


def as_json(found: Survey) -> dict[str, Any]:
    """What was measured, for programs."""

    def number(value: float) -> float | None:
        return float(value) if np.isfinite(value) else None

    return {
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


def _level(rms: float, unit: str) -> str:
    if unit == "Pa":
        return f"{20.0 * np.log10(max(rms, 1e-12) / 2e-5):.0f} dB SPL"
    return f"{20.0 * np.log10(max(rms, 1e-12)):.0f} dBFS"
