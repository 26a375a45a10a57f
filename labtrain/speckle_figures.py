"""Figures of a survey of speckle: greys and styles that a black-and-white print keeps apart, units on every axis."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from labtrain.plots import INK, MIDDLE, PALE, empty_figure, pale_grid
from labtrain.rigs.speckle.stability import STABLE
from labtrain.rigs.speckle.statistics import BINS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from labtrain.rigs.speckle.matrix import Matrix
    from labtrain.rigs.speckle.procedure import Survey
    from labtrain.rigs.speckle.stability import Watch

WIDTH = 9.0
STYLES = ("-", "--", "-.", ":")
GREYS = (INK, "0.35", "0.5", "0.65")
MARKERS = ("o", "s", "^", "D")
_DOTS = 4000  # outputs drawn


def figures(found: Survey) -> list[tuple[str, Figure]]:
    """All figures with their captions."""
    drawn = [
        (
            "Speckle: the frame of one random pattern (left), and how intensities of many are distributed, beside "
            f"exp(-I / mean) (right). Contrast {found.speckle.contrast:.3f}.",
            speckle(found),
        ),
        (
            "Exposure: mean of the speckle and share of saturated pixels of every exposure that was tried (left; the "
            "dotted line is the one proposed), and the noise of a pixel against its signal, with the line that tells "
            "the camera's gain and read noise (right).",
            exposure(found),
        ),
        (
            "Grain: autocorrelation of the intensity, noise taken off (left). Inputs: correlation of the speckle "
            "before and after some of them change by half of their range (right; circles are single draws).",
            grains(found),
        ),
    ]
    if found.phase is not None:
        drawn.append(
            (
                "Phase: half of the inputs stepped together; the four pixels that change most with the curve that all "
                "pixels share (left), and the phase of each drive by itself (right).",
                phase(found),
            )
        )
    drawn.append(
        (
            "Time: correlation of two frames of one pattern by the shots between them; bars say how many pairs.",
            stability(found.watch),
        )
    )
    if found.matrix is not None:
        drawn.append(
            (
                "Transmission matrix: outputs of patterns it was not measured with, predicted and measured (left), and "
                "its singular values beside those of a matrix of independent complex normal numbers (right).",
                matrix(found.matrix),
            )
        )
    return drawn


def speckle(found: Survey) -> Figure:
    """A frame, and the distribution of intensities."""
    figure = empty_figure(WIDTH, 3.6)
    left, right = figure.subplots(1, 2)
    part = found.speckle
    shown = part.frame / part.mean
    image = left.imshow(shown, cmap="Greys_r", vmin=0.0, vmax=float(np.quantile(shown, 0.998)), interpolation="none")
    left.set_xlabel("column (pixel)")
    left.set_ylabel("row (pixel)")
    figure.colorbar(image, ax=left, label="intensity / mean", fraction=0.046, pad=0.03)
    width = float(BINS[1] - BINS[0])
    middle = (BINS[:-1] + BINS[1:]) / 2.0
    density = part.shares / width
    seen = density > 0
    right.plot(middle[seen], density[seen], "o", color=INK, markersize=3.5, label="pixels")
    right.plot(BINS, np.exp(-BINS), color=MIDDLE, linestyle="--", linewidth=1.3, label="exp(-I / mean)")
    full = found.full / part.mean
    if full < BINS[-1]:
        right.axvline(full, color=INK, linestyle=":", linewidth=1.2, label="full pixel")
    right.set_yscale("log")
    right.set_xlim(0.0, BINS[-1])
    right.set_ylim(max(float(density[seen].min()) / 3.0, 1e-7), 3.0)
    right.set_xlabel("intensity / mean")
    right.set_ylabel("share of pixels per unit of intensity / mean")
    right.legend(frameon=False, fontsize=8)
    pale_grid(right)
    return figure


def exposure(found: Survey) -> Figure:
    """Exposures tried, and the photon transfer."""
    figure = empty_figure(WIDTH, 3.3)
    left, right = figure.subplots(1, 2)
    tried = found.exposure.tried[np.argsort(found.exposure.tried[:, 0])]
    time_ms = 1e3 * tried[:, 0]
    left.plot(time_ms, 100.0 * tried[:, 1], "o-", color=INK, markersize=4.5, label="mean, of the full count")
    some = tried[:, 2] > 0
    if some.any():
        left.plot(time_ms[some], 100.0 * tried[some, 2], "s--", color=MIDDLE, markersize=4.5, label="saturated pixels")
    left.axvline(1e3 * found.exposure.exposure_s, color=INK, linestyle=":", linewidth=1.2)
    left.set_xscale("log")
    left.set_yscale("log")
    if np.ptp(time_ms) == 0:
        left.set_xlim(time_ms[0] / 10.0, time_ms[0] * 10.0)
    left.set_xlabel("exposure (ms)")
    left.set_ylabel("share (%)")
    left.legend(frameon=False, fontsize=8)
    part = found.transfer
    lit = part.signal > 0
    right.plot(part.signal[lit], np.sqrt(part.variance[lit]), "o", color=INK, markersize=3.5, label="pixels")
    line = np.geomspace(max(float(part.signal[lit].min()), 1e-3), float(part.signal.max()), 60)
    fitted = np.sqrt(part.read_noise**2 + part.gain * line)
    label = f"read noise {part.read_noise:.2g} counts, {part.gain:.2g} counts an electron"
    right.plot(line, fitted, color=MIDDLE, linestyle="--", linewidth=1.3, label=label)
    right.set_xscale("log")
    right.set_yscale("log")
    right.set_xlabel("signal (counts)")
    right.set_ylabel("noise (counts rms)")
    right.legend(frameon=False, fontsize=8)
    pale_grid(left, right)
    return figure


def grains(found: Survey) -> Figure:
    """Autocorrelation, and what changed inputs do."""
    figure = empty_figure(WIDTH, 3.3)
    left, right = figure.subplots(1, 2)
    for axis, name in enumerate(("down the rows", "across the columns")):
        auto = found.speckle.autocorrelation[axis]
        style = {"linestyle": STYLES[axis], "color": GREYS[axis], "marker": MARKERS[axis]}
        left.plot(
            np.arange(len(auto)), auto, linewidth=1.2, markersize=4,
            label=f"{name}: {found.speckle.grain[axis]:.2g} pixels wide", **style,
        )  # fmt: skip
    left.axhline(0.5, color=MIDDLE, linestyle=":", linewidth=1.0)
    left.set_xlabel("distance (pixels)")
    left.set_ylabel("correlation of intensities")
    left.legend(frameon=False, fontsize=8)
    part = found.cells
    right.plot(np.repeat(part.changed, part.correlation.shape[1]), part.correlation.ravel(), "o", color=PALE,
               markersize=4)  # fmt: skip
    right.plot(
        part.changed, part.correlation.mean(axis=1), "o-", color=INK, markersize=4.5, linewidth=1.3, label="mean"
    )
    right.plot(part.changed, part.expected, color=MIDDLE, linestyle="--", linewidth=1.3, label="if all count alike")
    right.set_xscale("log", base=2)
    right.set_xticks(part.changed, [f"{number:.0f}" for number in part.changed])
    right.minorticks_off()
    right.set_ylim(-0.05, 1.05)
    right.set_xlabel("inputs changed")
    right.set_ylabel("correlation of the speckle")
    right.legend(frameon=False, fontsize=8)
    pale_grid(left, right)
    return figure


def phase(found: Survey) -> Figure:
    """Pixels against the drive, and the phases that they tell."""
    part = found.phase
    assert part is not None
    figure = empty_figure(WIDTH, 3.5)
    left, right = figure.subplots(1, 2)
    for k in range(part.signal.shape[1]):
        left.plot(part.drives, part.signal[:, k], MARKERS[k], color=GREYS[k], markersize=4)
        left.plot(
            part.drives, part.fitted[:, k], color=GREYS[k], linestyle=STYLES[k], linewidth=1.2, label=f"pixel {k + 1}"
        )
    left.set_xlabel("drive")
    left.set_ylabel("intensity / mean of the pixel")
    left.set_ylim(bottom=0.0)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower left", ncols=4, frameon=False, fontsize=8)
    right.plot(part.drives, part.phase_rad / math.pi, "o", color=INK, markersize=4.5, label="each drive by itself")
    right.plot(
        part.drives, part.range_rad * part.drives / math.pi, color=INK, linewidth=1.2,
        label=f"straight to {part.range_rad / math.pi:.3f} pi",
    )  # fmt: skip
    right.plot(
        part.drives, found.configured_rad * part.drives / math.pi, color=MIDDLE, linestyle="--", linewidth=1.2,
        label=f"configured, to {found.configured_rad / math.pi:.3f} pi",
    )  # fmt: skip
    right.set_xlabel("drive")
    right.set_ylabel("phase (pi)")
    right.legend(frameon=False, fontsize=8)
    pale_grid(left, right)
    return figure


def stability(part: Watch) -> Figure:
    """Correlation against the shots between two frames."""
    figure = empty_figure(WIDTH, 3.3)
    axes = figure.add_subplot()
    counts = axes.twinx()
    low, high = float(part.lag_shots[0]), float(part.lag_shots[-1])
    edge = np.sqrt(part.lag_shots[1:] * part.lag_shots[:-1])
    edges = np.concatenate([[low**2 / edge[0]], edge, [high**2 / edge[-1]]]) if len(edge) else np.array([low, high + 1])
    counts.bar(edges[:-1], part.pairs, np.diff(edges), align="edge", color="0.93", edgecolor="0.8", linewidth=0.5)
    counts.set_ylabel("pairs of frames")
    counts.set_ylim(0.0, 3.0 * float(part.pairs.max()))
    axes.set_zorder(counts.get_zorder() + 1)
    axes.patch.set_visible(False)
    axes.plot(part.lag_shots, part.correlation, "o", color=INK, markersize=4.5, label="measured")
    line = np.geomspace(low, high, 100)
    told = f"exp(-n / {1.0 / part.decay:,.0f})" if part.decay else "no drift seen"
    axes.plot(line, part.repeatability * np.exp(-part.decay * line), color=INK, linewidth=1.2, label=told)
    bottom = min(float(part.correlation.min()), part.repeatability)
    axes.set_ylim(bottom - max(0.35 * (1.0 - bottom), 0.0005), 1.0 + max(0.05 * (1.0 - bottom), 0.0001))
    if part.decay and part.repeatability * STABLE > axes.get_ylim()[0]:
        axes.axhline(
            part.repeatability * STABLE, color=MIDDLE, linestyle="--", linewidth=1.0, label=f"{STABLE:g} of it"
        )
    axes.set_xscale("log")
    axes.set_xlabel(f"shots between two frames (a shot took {1e3 * part.shot_s:.3g} ms)")
    axes.set_ylabel("correlation")
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.legend(frameon=False, fontsize=8, loc="lower left")
    pale_grid(axes)
    return figure


def matrix(part: Matrix) -> Figure:
    """Predicted against measured, and singular values."""
    figure = empty_figure(WIDTH, 4.0)
    left, right = figure.subplots(1, 2)
    some = slice(None, None, max(1, part.measured.size // _DOTS))
    x, y = part.predicted.ravel()[some], part.measured.ravel()[some]
    top = float(max(x.max(), y.max()))
    left.plot(x, y, ".", color=INK, markersize=2, alpha=0.35, rasterized=True)
    left.plot([0.0, top], [0.0, top], color=MIDDLE, linestyle="--", linewidth=1.2, label="equal")
    left.set_aspect("equal")
    left.set_xlabel(f"predicted ({_unit(part)})")
    left.set_ylabel(f"measured ({_unit(part)})")
    left.legend(frameon=False, fontsize=8, loc="upper left")
    values = part.singular_values
    rng = np.random.default_rng(0)
    shape = part.twin.transmission[1:].shape
    random = np.linalg.svd(rng.normal(size=shape) + 1j * rng.normal(size=shape), compute_uv=False)
    number = np.arange(1, len(values) + 1)
    right.plot(number, values, "o", color=INK, markersize=3, label="measured")
    random /= np.sqrt(np.mean(random**2))
    right.plot(number, random, color=MIDDLE, linestyle="--", linewidth=1.3, label="independent numbers")
    right.set_ylim(bottom=0.0)
    right.set_xlabel("number of the singular value")
    right.set_ylabel("singular value / rms of all")
    right.legend(frameon=False, fontsize=8)
    pale_grid(left, right)
    return figure


def _unit(part: Matrix) -> str:
    return "root of full well" if part.twin.readout == "amplitude" else "full well"
