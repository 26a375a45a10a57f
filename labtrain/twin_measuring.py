"""``labtrain twin measure CONFIG``: the transmission matrix of an optical rig, kept as a twin of one of its layers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from labtrain.clock import Clock, RealClock
from labtrain.config import Loaded
from labtrain.errors import InputError, MeasurementError
from labtrain.events import Counted, Listener
from labtrain.jobs import naming_lines, open_rig, safe_first
from labtrain.rigs.optical import OpticalRig
from labtrain.rigs.optical_config import OpticalConfig
from labtrain.rigs.speckle.dark import measure_dark
from labtrain.rigs.speckle.exposure import PATTERNS, refuse_frames_that_stay
from labtrain.rigs.speckle.light import NAME, Light
from labtrain.rigs.speckle.matrix import Matrix, measure_matrix, planned_bytes, refuse_without_matrix
from labtrain.safety import Guard
from labtrain.threads import blas_threads
from labtrain.twin import save_twin
from labtrain.twins.phase_stepping import STEPS

POOR = 0.5  # R2 below which a warning is given
SATURATED = 0.02  # share of the pixels above which too little is known of the bright ones

log = logging.getLogger("labtrain")


def measure_twin(
    loaded: Loaded[Any],
    out: str | Path,
    layer: int = 0,
    steps: int = STEPS,
    seed: int = 0,
    listeners: Sequence[Listener] = (),
    clock: Clock | None = None,
) -> dict[str, Any]:
    """Measure the matrix of a layer at the configured exposure, judge it on unseen patterns, and write the twin.

    Parameters
    ----------
    loaded : Loaded
        With a section ``rig``.
    out : path of the file to write
    layer : int
    steps : int
        Of the reference's phase; 3 or more.
    seed : int
        Of the random patterns.

    Returns
    -------
    dict
        What :func:`labtrain.twins.twin.judge` gives of the unseen patterns; ``kind``, ``out``, ``n_in``, ``n_out``,
        ``y_unit``, ``fingerprint``, ``dead_inputs``, ``fit``, as :class:`labtrain.twins.cost.FitCost`; ``shots``,
        ``memory_bytes``, ``seconds``, ``correlation``, ``drifted`` and ``saturated``, as of
        :class:`labtrain.rigs.speckle.matrix.Matrix`.

    Raises
    ------
    InputError
        If the rig is not optical, has no such layer, or the file is there already.
    MeasurementError
        If frames do not change with the pattern, or too many pixels are saturated.
    InstrumentError
        If the first frame of a pattern still shows the one before.
    Interrupted
        After Ctrl-C or SIGTERM; nothing is written then.
    """
    out, config = Path(out), loaded.value.rig
    if not isinstance(config, OpticalConfig):
        raise InputError(
            f"{loaded.source}: its rig is not optical, and has no transmission matrix to step through; record it with "
            "labtrain record, then labtrain twin fit RUN"
        )
    if not 0 <= layer < len(config.benches):
        raise InputError(f"--layer {layer}: this rig has layers 0 to {len(config.benches) - 1}")
    if out.exists():
        raise InputError(f"{out}: exists already; move it away, or choose another place with --out")
    clock = clock or RealClock()
    refuse_without_matrix(config.benches[layer], steps)
    with naming_lines(loaded):
        rig = open_rig(loaded.value, clock, config_file=loaded.source)

    def tell(stage: str, done: int, planned: int) -> None:
        for listener in listeners:
            listener(Counted(stage, done, planned, "patterns" if stage == "phase stepping" else "pixels"))

    nothing = "the twin was not finished, nothing was written"
    with Guard(nothing, {"rig": rig.safe}, defers=False) as guard, naming_lines(loaded), rig, blas_threads(1):
        assert isinstance(rig, OpticalRig)
        rig.check = guard.check
        light, rng = Light(rig.bench, config.benches[layer], guard.check), np.random.default_rng(seed)
        began_s, info = light.bench.clock.monotonic(), rig.layers[layer].info
        measure_dark(light)
        _refuse_unfit(light, rng)
        light.look()
        found = measure_matrix(light, rng, tell, steps=steps)
        seconds = light.bench.clock.monotonic() - began_s
        safe_first(rig)
    found.twin.fingerprint = info.fingerprint
    save_twin(found.twin, out)
    _warn_of_poor(found, out)
    return _about(found, out) | {
        "y_unit": info.y_unit,
        "memory_bytes": planned_bytes(light.n_in, light.pixels, steps),
        "seconds": seconds,
    }


def _refuse_unfit(light: Light, rng: np.random.Generator) -> None:
    first, second = light.twice(light.random(PATTERNS, rng))
    full = float(light.saturated(first + light.dark)[:, light.good].mean())
    if full > SATURATED:
        raise MeasurementError(
            f"{NAME}: {100 * full:.2g} % of the pixels are saturated at an exposure of {light.exposure_s:.2g} s, "
            f"allowed {100 * SATURATED:g} %; labtrain survey finds one that fits"
        )
    refuse_frames_that_stay(light, first, second)


def _warn_of_poor(found: Matrix, out: Path) -> None:
    r2 = found.score["r2"]
    if r2 is not None and r2 < POOR:
        log.warning(
            "%s: of little use: it explains %.2g of what unseen patterns differ by (R2). Is rig.world.phase_range_rad "
            "that of the modulator (labtrain survey measures it), are its cells apart, did the bench drift meanwhile?",
            out,
            r2,
        )


def _about(found: Matrix, out: Path) -> dict[str, Any]:
    twin = found.twin
    return {
        "kind": twin.kind,
        "out": str(out),
        "n_in": twin.n_in,
        "n_out": twin.n_out,
        "fingerprint": twin.fingerprint,
        "dead_inputs": list(twin.dead_inputs),
        "fit": None if twin.fit_cost is None else twin.fit_cost.as_dict(),
        "shots": found.shots,
        "correlation": found.correlation,
        "drifted": found.drifted,
        "saturated": found.saturated,
        **found.score,
    }
