"""What follows from a survey of speckle: a value for a key and its reasons, and what looked odd."""

from __future__ import annotations

import math

from labtrain.rigs.optical_config import OpticalConfig
from labtrain.rigs.speckle.procedure import Survey
from labtrain.rigs.speckle.stability import STABLE
from labtrain.rigs.survey.proposed import Proposal

WIDE = 1.5  # pixels: a grain from which on neighbours tell the same
UNEVEN, SUMMED = 1.15, 0.85  # contrasts above and below which speckle is not one evenly lit speckle
BENT_RAD = 0.1
SAME_RAD = 0.3  # of each other, modulo 2 pi, at which the ends of a range are about one phase


def propose(rig: OpticalConfig, found: Survey) -> tuple[Proposal, ...]:
    """What the survey proposes for each key, with reasons."""
    exposure, speckle = found.exposure, found.speckle
    on_camera = rig.camera is not None and getattr(rig.camera, "exposure_s", None) is not None
    key = "rig.camera.exposure_s" if rig.on_instruments or on_camera else "rig.world.exposure_s"
    proposed = [
        Proposal(
            key,
            exposure.before_s,
            float(f"{exposure.exposure_s:.4g}"),
            (
                f"wanted {found.request.goal.told()}; found after {len(exposure.tried)} "
                f"{'exposure' if len(exposure.tried) == 1 else 'exposures'}",
                f"mean of the speckle {100 * speckle.mean_share:.2g} % of the full count, "
                f"{100 * speckle.saturated:.2g} % of the pixels saturated; a pixel at the mean has "
                f"{_electrons(found)}",
            ),
        )
    ]
    world, grain = rig.world, max(speckle.grain)
    side = round(grain)
    fits = min(world.camera_shape) >= 2 * side
    if grain > WIDE and world.pool_size < side and fits:
        why = (
            f"a grain is {speckle.grain[0]:.2g} x {speckle.grain[1]:.2g} pixels (rows x columns, half maximum): nearer "
            "pixels tell the same",
        )
        proposed.append(Proposal("rig.world.pool_size", world.pool_size, side, why))
        if world.pool_stride < side:
            proposed.append(Proposal("rig.world.pool_stride", world.pool_stride, side, ("one output for each grain",)))
    if found.phase is not None and found.other_range:
        proposed.append(
            Proposal(
                "rig.world.phase_range_rad",
                found.configured_rad,
                float(f"{found.phase.range_rad:.4g}"),
                (
                    f"speckle changes with the drive as phases from 0 to {_pi(found.phase.range_rad)} do "
                    f"(+- {found.phase.sigma_rad:.2g} rad, {100 * found.phase.explained:.3g} % of what changes)",
                ),
            )
        )
    return tuple(proposed)


def notice(rig: OpticalConfig, found: Survey) -> tuple[str, ...]:
    """What somebody who stands at the bench should know, a sentence each."""
    return (*_of_camera(found), *_of_speckle(rig, found), *_of_phase(rig, found), *_of_time(found), *_of_matrix(found))


def _of_camera(found: Survey) -> list[str]:
    told, hot, pixels = [], int(found.dark.hot.sum()), found.dark.hot.size
    if found.dark.same:
        told.append("all pixels have one dark level, which was not measured: hot ones are not known (rig.dark.how)")
    if hot:
        told.append(
            f"{hot} hot {'pixel' if hot == 1 else 'pixels'} of {pixels} ({100 * hot / pixels:.2g} %) at this exposure; "
            "dark frames take their mean away, their noise stays"
        )
    return told


def _of_speckle(rig: OpticalConfig, found: Survey) -> list[str]:
    told, speckle = [], found.speckle
    if speckle.contrast > UNEVEN:
        told.append(
            f"contrast {speckle.contrast:.2f}, above 1: the light is uneven over the frame; read the part of it where "
            "the light is (rig.world.camera_shape, or the camera's region)"
        )
    elif speckle.contrast < SUMMED:
        told.append(
            f"contrast {speckle.contrast:.2f}, below 1: about {speckle.summed:.1f} speckles add up in a pixel "
            "(polarisations, wavelengths, grains smaller than a pixel, vibration during the exposure)"
        )
    if rig.world.pool_size > 1 and speckle.pooled_contrast < 0.5 * speckle.single_contrast:
        told.append(
            f"outputs have a contrast of {speckle.pooled_contrast:.2f}: about {speckle.pooled_summed:.0f} speckles are "
            f"averaged in each, and its changes with them; a smaller rig.world.pool_size than {rig.world.pool_size} "
            "keeps more"
        )
    if found.cells.one < speckle.noise:
        told.append(
            f"one input moves a pixel by {100 * found.cells.one:.2g} % of the mean, the noise of a frame is "
            f"{100 * speckle.noise:.2g} %: use larger inputs (rig.world.input_cells), more light, or rig.repeats"
        )
    return told


def _of_phase(rig: OpticalConfig, found: Survey) -> list[str]:
    scan = found.phase
    if scan is None and rig.world.modulation == "phase":
        return [f"a modulator of {rig.world.levels} levels: its phase range, as it is, was not measured"]
    if scan is None:
        return ["a modulator of amplitudes: neither its phase range nor a transmission matrix was measured"]
    told = []
    apart = abs(math.remainder(scan.range_rad, 2.0 * math.pi))
    if apart < SAME_RAD and scan.range_rad > math.pi:
        told.append(
            f"drives 0 and 1 are {_pi(scan.range_rad)} apart, nearly one phase: labels of two classes, or black and "
            "white, look alike; take half of the range or less"
        )
    if scan.bend_rad > BENT_RAD:
        key = "rig.slm.lut_file" if rig.on_instruments else "the modulator's look-up table"
        told.append(
            f"phases of the levels are {scan.bend_rad:.2g} rad (rms) off a straight line; the measured ones are in the "
            f"report: correct {key}"
        )
    return told


def _of_time(found: Survey) -> list[str]:
    part = found.watch
    if not part.decay:
        told = f"no drift seen in {found.request.watch_shots:,} shots"
    else:
        told = f"speckle drifts: it correlates by {STABLE:g} after"
        told += f" about {_round(part.stable_shots)} shots ({_round(part.stable_s)} s)"
        told += f", as with a drift_eps of {part.eps:.2g}"
    settled = "first frames of a pattern show it alone; how fast it settles was not measured: rig.settle_s stays"
    return [told, settled]


def _of_matrix(found: Survey) -> list[str]:
    part = found.matrix
    if part is None:
        return []
    repeats = 1.0 - (part.score["repeatability"] / part.score["rmse_constant"]) ** 2
    if part.score["r2"] is None:
        return []
    if part.score["r2"] > repeats - 0.05:
        return [
            f"the matrix predicts unseen patterns with R2 {part.score['r2']:.3f}, {repeats:.3f} could be reached; "
            "labtrain twin measure keeps one as a twin"
        ]
    return [
        f"the matrix predicts unseen patterns with R2 {part.score['r2']:.3f}, {repeats:.3f} could be reached: drift "
        f"(a speckle before and after correlates by {part.drifted:.3f}), saturation ({100 * part.saturated:.2g} % of "
        "the pixels), neighbouring cells that blur each other's phase, or phases that are not straight in the level"
    ]


def _electrons(found: Survey) -> str:
    if not found.transfer.gain:
        return f"a noise of {100 * found.speckle.noise:.2g} %"
    return f"about {_round(found.speckle.mean / found.transfer.gain)} photo-electrons"


def _round(value: float) -> str:
    """Two digits, thousands apart."""
    return f"{float(f'{value:.2g}'):,g}"


def _pi(radians: float) -> str:
    return f"{radians / math.pi:.3g} pi"
