"""Figures of a survey: grey lines and styles that a black-and-white print keeps apart, units on every axis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from labtrain.plots import INK, MIDDLE, PALE, pale_grid
from labtrain.rigs.survey.decay import FITTED_DB
from labtrain.rigs.survey.steepness import PER_KELVIN
from labtrain.rigs.survey.sweep import HARMONICS
from labtrain.rigs.survey.tones import KELVIN, STEEP

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from labtrain.rigs.survey.procedure import Survey

WIDTH = 9.0
STYLES = ("-", "--", "-.", ":")
GREYS = (INK, "0.35", "0.55", "0.7")


def figures(found: Survey) -> list[tuple[str, Figure]]:
    """All figures with their captions, in the order of the survey."""
    tones = ", ".join(f"{hz:.1f}" for hz in found.tones_hz)
    limit = STEEP * PER_KELVIN * KELVIN * 100
    return [
        (
            "Response: RMS over the speakers at each microphone (above), and by how much it changes when the room "
            f"becomes {KELVIN:g} K warmer (below); proposed tones as vertical lines ({tones} Hz), places "
            f"steeper than {limit:.1f} % as small marks at the top, harmonics of the mains as ticks at the bottom.",
            response(found),
        ),
        (
            "Silence: noise of each microphone; circles mark lines that stand out, filled ones those of the mains.",
            silence(found),
        ),
        (
            "Who hears whom: level of a quiet sweep above silence, and below each speaker the sweep's amplitude.",
            wiring(found),
        ),
        (
            "Decay: energy still to come after a short sound (Schroeder's integral, mean of all pairs), the line that "
            "the reverberation time is taken from, and the time after which the slowest tone has settled.",
            decay(found),
        ),
        (
            "Harmonics of each speaker's sweep against its fundamental, by the frequency that was played, at "
            f"{len(found.microphones)} microphones together; what all harmonics share is noise.",
            distortion(found),
        ),
        (
            "Linearity: gain of every tone and microphone against the lowest level (left), and what all second- and "
            "third-order products amount to together (right).",
            linearity(found),
        ),
        (
            "Repeatability: the same shot again and again, each tone and microphone against its mean (left), and what "
            "noise and drift have in the deviations (right).",
            repeatability(found),
        ),
        (
            "Singular values of the response at each tone, at the proposed level; circles count for the rank.",
            ranks(found),
        ),
    ]


def _figure(height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _unit(found: Survey) -> str:
    return "Pa" if found.unit == "Pa" else "full scale"


def response(found: Survey) -> Figure:
    """Level and steepness over frequency."""
    figure = _figure(6.2)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    hz, half = found.response.hz, found.bin_hz / 2.0
    level = 20.0 * np.log10(np.maximum(np.sqrt((np.abs(found.response.values) ** 2).mean(axis=2)), 1e-12))
    steep = 100.0 * KELVIN * PER_KELVIN * found.response.steepness
    for m, number in enumerate(found.microphones):
        style = {"linestyle": STYLES[m % 4], "color": GREYS[m % 4], "linewidth": 1.0}
        above.plot(hz, level[:, m], label=f"microphone {number + 1}", **style)
        below.plot(hz, steep[:, m], **style)
    top, bottom = float(level.max()) + 4.0, float(np.percentile(level, 0.5)) - 8.0
    above.set_ylim(bottom, top)
    for axes in (above, below):
        for tone in found.tones_hz:
            axes.axvspan(tone - half, tone + half, color="0.92", zorder=0)
            axes.axvline(tone, color=INK, linewidth=1.6, zorder=1)
    for kind, marker in (("resonance", "v"), ("node", "^"), ("steep place", "d")):
        at = [f.hz for f in found.tones.features if f.kind == kind]
        above.plot(at, [top - 1.5] * len(at), marker, color=INK, markersize=5, fillstyle="none", label=f"{kind}s")
    hum = [line.hz for line in found.idle.hum]
    above.plot(hum, [bottom + 1.5] * len(hum), "|", color=INK, markersize=9, label="hum")
    above.set_ylabel(f"level (dB re 1 {_unit(found)} per full scale)")
    below.axhline(100.0 * KELVIN * PER_KELVIN * STEEP, color=INK, linestyle=":", linewidth=1.2)
    below.set_yscale("log")
    below.set_ylim(max(0.05, float(steep.min())), float(steep.max()) * 1.5)
    below.set_ylabel(f"change per {KELVIN:g} K (%)")
    below.set_xlabel("frequency (Hz)")
    below.set_xlim(*found.request.band_hz)
    pale_grid(above, below)
    figure.legend(*above.get_legend_handles_labels(), loc="outside upper center", ncols=8, frameon=False, fontsize=8)
    return figure


def silence(found: Survey) -> Figure:
    """Noise density and lines."""
    figure = _figure(3.4)
    axes = figure.add_subplot()
    hz, density = found.idle.frequencies_hz[1:], found.idle.density[1:]
    for m, number in enumerate(found.microphones):
        axes.plot(
            hz, 10.0 * np.log10(np.maximum(density[:, m], 1e-30)),
            linestyle=STYLES[m % 4], color=GREYS[m % 4], linewidth=0.9, label=f"microphone {number + 1}",
        )  # fmt: skip
    hum = {line.hz for line in found.idle.hum}
    for filled in (True, False):
        lines = [line.hz for line in found.idle.lines if (line.hz in hum) == filled]
        height = [float(np.interp(line, hz, 10.0 * np.log10(density.max(axis=1)))) + 2.0 for line in lines]
        axes.plot(
            lines, height, "o", color=INK, markersize=4, fillstyle="full" if filled else "none",
            label=("mains" if filled else "other lines") if lines else None,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlim(20.0, found.rate_hz / 2.0)
    axes.set_xlabel("frequency (Hz)")
    axes.set_ylabel(f"noise (dB re 1 {_unit(found)}²/Hz)")
    pale_grid(axes)
    axes.legend(frameon=False, fontsize=8, ncols=3)
    return figure


def wiring(found: Survey) -> Figure:
    """Levels above silence as a table of grey cells."""
    levels = found.wiring.level_db
    figure = _figure(1.4 + 0.36 * len(levels))
    axes = figure.add_subplot()
    image = axes.imshow(levels, cmap="Greys", vmin=0.0, vmax=max(60.0, float(levels.max())), aspect="auto")
    for (m, s), value in np.ndenumerate(levels):
        color = "white" if value > 0.6 * image.norm.vmax else "black"  # type: ignore[operator]
        dead = s in found.wiring.dead_speakers or m in found.wiring.dead_microphones
        axes.text(s, m, f"{value:.0f}{' dead' if dead else ''}", ha="center", va="center", color=color, fontsize=9)
    dbfs = 20.0 * np.log10(found.wiring.amplitude)
    axes.set_xticks(range(levels.shape[1]), [f"speaker {s + 1}\n({dbfs[s]:.0f} dBFS)" for s in range(levels.shape[1])])
    axes.set_yticks(range(len(levels)), [f"microphone {m + 1}" for m in range(len(levels))])
    figure.colorbar(image, label="above silence (dB)")
    return figure


def decay(found: Survey) -> Figure:
    """Schroeder's curve and its fit."""
    figure = _figure(3.2)
    axes = figure.add_subplot()
    curve = found.decay
    axes.plot(curve.time_s, curve.level_db, color=INK, linewidth=1.2, label="mean of all pairs")
    if np.isfinite(curve.t60_s):
        fitted = np.array(FITTED_DB)
        axes.plot(
            (fitted - curve.line[0]) / curve.line[1],
            fitted,
            color=MIDDLE,
            linewidth=4.0,
            alpha=0.7,
            label=f"T60 = {curve.t60_s:.2f} s",
        )
    settled = float(found.settle_s.max())
    axes.axvline(settled, color=INK, linestyle="--", linewidth=1.2, label=f"settled, {settled:.2f} s")
    axes.set_ylim(-75.0, 2.0)
    axes.set_xlim(0.0, max(settled * 1.1, float(curve.time_s[-1]) if len(curve.time_s) else 0.1))
    axes.set_xlabel("time (s)")
    axes.set_ylabel("energy to come (dB)")
    pale_grid(axes)
    axes.legend(frameon=False, fontsize=8)
    return figure


def distortion(found: Survey) -> Figure:
    """Harmonics against the fundamental, a panel for each speaker."""
    count = len(found.distortion)
    columns = min(4, count)
    rows = -(-count // columns)
    figure = _figure(0.6 + 2.2 * rows)
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for s, (speaker, made) in enumerate(zip(found.speakers, found.distortion, strict=True)):
        for row, order in enumerate(HARMONICS):
            panels[s].plot(
                made.hz, made.db[row], linestyle=STYLES[row], color=GREYS[row], linewidth=1.0, label=f"harmonic {order}"
            )
        panels[s].set_title(f"speaker {speaker + 1}", fontsize=9, loc="left")
        panels[s].set_xscale("log")
        panels[s].set_ylim(-90.0, 0.0)
    for axes in panels[count:]:
        axes.set_visible(False)
    pale_grid(*panels[:count])
    figure.supxlabel("frequency played (Hz)", fontsize=10)
    figure.supylabel("harmonic (dB)", fontsize=10)
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False, fontsize=8
    )
    return figure


def linearity(found: Survey) -> Figure:
    """Gain and products over level."""
    figure = _figure(3.3)
    left, right = figure.subplots(1, 2)
    part = found.linearity
    level = 20.0 * np.log10(part.levels)
    gains = part.gain_db.reshape(len(level), -1)
    left.plot(level, gains, color=PALE, linewidth=0.8)
    left.plot(level, np.median(gains, axis=1), color=INK, linewidth=1.6, marker="o", markersize=4, label="median")
    left.set_ylabel("gain against lowest level (dB)")
    seen = np.where(part.product_db > part.noise_db, part.product_db, np.nan)
    right.plot(level, seen, color=INK, marker="o", markersize=4, label="products")
    right.plot(level, part.noise_db, color=MIDDLE, linestyle="--", label="least to be seen in the noise")
    right.set_ylabel("against the tones (dB)")
    for axes in (left, right):
        axes.axvline(20.0 * np.log10(found.level), color=INK, linestyle=":", linewidth=1.2, label="proposed level")
        axes.set_xlabel("amplitude of a tone (dB of full scale)")
        axes.legend(frameon=False, fontsize=8)
    pale_grid(left, right)
    return figure


def repeatability(found: Survey) -> Figure:
    """Deviations shot by shot, and what they are made of."""
    figure = _figure(3.3)
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    part = found.repeatability
    off = 100.0 * (part.amplitudes / part.amplitudes.mean(axis=0) - 1.0)
    left.plot(np.arange(1, len(off) + 1), off.reshape(len(off), -1), color=PALE, linewidth=0.8)
    left.plot(np.arange(1, len(off) + 1), off.mean(axis=(1, 2)), color=INK, linewidth=1.6, marker="o", markersize=4)
    left.set_xlabel("shot")
    left.set_ylabel("deviation (%)")
    tones = np.arange(len(found.tones_hz))
    for offset, values, hatch, face, label in (
        (-0.2, part.noise, "", "0.8", "noise"),
        (0.2, part.drift, "////", "white", "drift"),
    ):
        right.bar(
            tones + offset, 100.0 * np.sqrt((values**2).mean(axis=1)), 0.38, facecolor=face, edgecolor=INK, hatch=hatch,
            label=label,
        )  # fmt: skip
    right.set_xticks(tones, [f"{hz:.0f}" for hz in found.tones_hz])
    right.set_xlabel("tone (Hz)")
    right.set_ylabel("RMS over microphones (%)")
    right.legend(frameon=False, fontsize=8)
    pale_grid(left, right)
    return figure


def ranks(found: Survey) -> Figure:
    """Singular values of each tone."""
    figure = _figure(3.0)
    axes = figure.add_subplot()
    for t, values in enumerate(found.rank.values):
        counted = np.arange(len(values)) < found.rank.per_tone[t]
        axes.plot(t + 0 * values[counted], values[counted], "o", color=INK, markersize=6)
        axes.plot(t + 0 * values[~counted], values[~counted], "x", color=MIDDLE, markersize=6)
    axes.set_yscale("log")
    axes.set_xticks(range(len(found.tones_hz)), [f"{hz:.1f}" for hz in found.tones_hz])
    axes.set_xlim(-0.6, len(found.tones_hz) - 0.4)
    axes.set_xlabel("tone (Hz)")
    axes.set_ylabel(f"singular value ({_unit(found)})")
    pale_grid(axes)
    return figure
