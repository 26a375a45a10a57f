"""What a survey of an optical rig tells, as a page and for programs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from labtrain.speckle_figures import figures
from labtrain.survey_page import page

if TYPE_CHECKING:
    from labtrain.rigs.optical_config import OpticalConfig
    from labtrain.rigs.speckle.matrix import Matrix
    from labtrain.rigs.speckle.procedure import Survey
    from labtrain.rigs.survey.proposed import Proposal


def html(source: str, rig: OpticalConfig, found: Survey, proposals: Sequence[Proposal], notes: Sequence[str]) -> str:
    """The page."""
    world, speckle, watch = rig.world, found.speckle, found.watch
    rows, columns = world.camera_shape
    facts = [
        ("configuration", source),
        ("bench", _bench(rig)),
        ("modulator", f"{world.slm_shape[0]} x {world.slm_shape[1]} cells, {found.n_in} inputs, {world.levels} levels"),
        ("camera", f"{rows} x {columns} pixels, full {found.full:.0f} counts above the dark level"),
        ("measured", took(found)),
        ("exposure", f"{found.exposure.exposure_s:.4g} s"),
        ("dark level, hot pixels", f"{found.dark.median:.1f} counts; {int(found.dark.hot.sum())}"),
        ("camera's noise", f"{found.transfer.read_noise:.2f} counts rms in the dark, {_gain(found)}"),
        ("contrast", f"{speckle.contrast:.3f} of pixels, where one evenly lit speckle has 1; "
         f"{speckle.pooled_contrast:.3f} of outputs, where it has {speckle.single_contrast:.3g}; M that add up have "
         "1 / sqrt(M) of it"),
        ("grain", f"{speckle.grain[0]:.2g} x {speckle.grain[1]:.2g} pixels, full width at half maximum"),
        ("saturated", f"{100 * speckle.saturated:.2g} % of the pixels; {100 * speckle.expected_saturated:.2g} % of an "
         "exponential distribution would be"),
        ("noise of a frame", f"{100 * speckle.noise:.2g} % of the mean, rms over pixels"),
        ("from pattern to pattern", f"pixels change by {100 * speckle.change:.0f} % of the mean, rms; speckles of two "
         f"random patterns correlate by {speckle.in_common:.2f}"),
        ("one input", f"moves a pixel by {100 * found.cells.one:.2g} % of the mean, rms"),
        ("phase range", "not measured" if found.phase is None else
         f"{found.phase.range_rad / math.pi:.3f} pi +- {found.phase.sigma_rad / math.pi:.1g} pi; "
         f"{found.configured_rad / math.pi:.3f} pi in the configuration"),
        ("drift", f"{watch.eps:.2g} (drift_eps); {100 * (1 - watch.repeatability):.2g} % of the correlation are lost "
         "to noise at once" if watch.decay else f"none seen in {found.request.watch_shots:,} shots"),
    ]  # fmt: skip
    if found.matrix is not None:
        facts += _matrix(found.matrix)
    return page(source, facts, proposals, notes, figures(found))


def took(found: Survey) -> str:
    return f"{found.shots:,} shots in {found.seconds:.0f} s of the bench's time"


def as_json(found: Survey) -> dict[str, Any]:
    """What was measured, for programs; lengths in pixels, times in seconds, levels in counts."""
    speckle, phase, watch = found.speckle, found.phase, found.watch
    return {
        "shots": found.shots,
        "seconds": found.seconds,
        "exposure_s": found.exposure.exposure_s,
        "tried": found.exposure.tried.tolist(),
        "dark": found.dark.median,
        "hot_pixels": np.flatnonzero(found.dark.hot).tolist(),
        "read_noise": found.transfer.read_noise,
        "counts_per_electron": found.transfer.gain,
        "mean_share": speckle.mean_share,
        "saturated": speckle.saturated,
        "contrast": speckle.contrast,
        "contrast_of_outputs": speckle.pooled_contrast,
        "grain": list(speckle.grain),
        "noise": speckle.noise,
        "change": speckle.change,
        "in_common": speckle.in_common,
        "phase_range_rad": None if phase is None else phase.range_rad,
        "phase_range_sigma_rad": None if phase is None else phase.sigma_rad,
        "phase_rad": None if phase is None else phase.phase_rad.tolist(),
        "changed": found.cells.changed.astype(int).tolist(),
        "changed_correlation": found.cells.correlation.mean(axis=1).tolist(),
        "one_input": found.cells.one,
        "drift_eps": watch.eps,
        "stable_shots": watch.stable_shots if watch.decay else None,
        "stable_s": watch.stable_s if watch.decay else None,
        "matrix": None if found.matrix is None else matrix_json(found.matrix),
    }


def matrix_json(part: Matrix) -> dict[str, Any]:
    """What the measurement of a matrix found, for programs."""
    return {
        "shots": part.shots,
        "correlation": part.correlation,
        "drifted": part.drifted,
        "saturated": part.saturated,
        "independent_inputs": part.independent,
        "score": part.score,
    }


def _bench(rig: OpticalConfig) -> str:
    if not rig.on_instruments:
        return f"simulated, scatterer {rig.world.scatterer}"
    return ", ".join(f"{getattr(part, 'driver', '')} {part.model}" for part in (rig.modulator, rig.imager))


def _gain(found: Survey) -> str:
    gain, full = found.transfer.gain, found.full
    if not gain:
        return "photo-electrons not to be seen"
    return f"{gain:.3g} counts a photo-electron, {float(f'{full / gain:.2g}'):,.0f} electrons in a full pixel"


def _matrix(part: Matrix) -> list[tuple[str, str]]:
    score = part.score
    reachable = 1.0 - (score["repeatability"] / score["rmse_constant"]) ** 2
    return [
        (
            "transmission matrix",
            f"{part.shots:,} shots; of {score['rows']} unseen patterns it predicts outputs with a correlation of "
            f"{part.correlation:.4f} and an R2 of {score['r2']:.4f} (repeatability allows {reachable:.4f})",
        ),
        ("drift meanwhile", f"a speckle before and after correlates by {part.drifted:.4f}"),
        ("independent inputs", f"about {part.independent:.0f} of {part.twin.n_in}, by the spread of singular values"),
    ]
