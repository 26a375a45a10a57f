"""The survey of an optical bench: exposure, dark, speckle, phase, inputs, time; the matrix if it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from labtrain.errors import InputError
from labtrain.rigs.optical_bench import FrameBench
from labtrain.rigs.speckle.dark import Dark, Transfer, measure_dark, photon_transfer
from labtrain.rigs.speckle.exposure import Exposure, Goal, find_exposure, refuse_frames_that_stay
from labtrain.rigs.speckle.light import NAME, Light
from labtrain.rigs.speckle.matrix import Matrix, Told, measure_matrix, refuse_without_matrix
from labtrain.rigs.speckle.phase import LEAST_LEVELS, PhaseScan, scan_phase
from labtrain.rigs.speckle.stability import SHOTS, Cells, Watch, change_cells, watch
from labtrain.rigs.speckle.statistics import PATTERNS, Speckle, measure_speckle
from labtrain.sim.optics.parameters import OpticalParameters

OFF = 0.03  # relative difference from which a measured phase range is taken instead of the configured one
SAME = 0.02  # relative difference of two exposures until which they have one dark frame
LEAST_PIXELS = 16
SURE = 5.0  # standard deviations that it must be away, too


@dataclass(frozen=True)
class Request:
    """What is asked of a survey.

    Parameters
    ----------
    goal : Goal
        Of the exposure.
    exposure_s : (float, float), optional
        Shortest and longest allowed.
    watch_shots : int
        For which one pattern is watched.
    matrix : bool
        Measure the transmission matrix too.
    seed : int
        Of the random patterns.
    """

    goal: Goal = field(default_factory=Goal)
    exposure_s: tuple[float, float] | None = None
    watch_shots: int = SHOTS
    matrix: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.watch_shots < 32:
            raise InputError(f"--watch {self.watch_shots}: needs 32 shots or more")


def request(
    exposure_s: tuple[float, float] | None = None,
    mean: float | None = None,
    saturated: float | None = None,
    watch_shots: int | None = None,
    matrix: bool | None = None,
) -> Request | None:
    """The request of options as they were given, or None if there were none.

    Raises
    ------
    InputError
        If they cannot be.
    """
    if mean is not None and saturated is not None:
        raise InputError("--mean and --saturated: both say how bright; give one of them")
    goal = Goal() if mean is None else Goal(mean)
    goal = goal if saturated is None else Goal(saturated=saturated)
    asked = Request(goal, exposure_s, SHOTS if watch_shots is None else watch_shots, bool(matrix))
    given = (exposure_s, mean, saturated, watch_shots, matrix)
    return asked if any(option is not None for option in given) else None


@dataclass(frozen=True)
class Survey:
    """All that was found."""

    request: Request
    exposure: Exposure
    dark: Dark
    transfer: Transfer
    speckle: Speckle
    phase: PhaseScan | None
    cells: Cells
    watch: Watch
    matrix: Matrix | None
    n_in: int
    configured_rad: float
    full: float
    shots: int
    seconds: float

    @property
    def other_range(self) -> bool:
        """Whether the modulator's phase range is not that of the configuration."""
        if self.phase is None:
            return False
        off = abs(self.phase.range_rad - self.configured_rad)
        return off > max(OFF * self.configured_rad, SURE * self.phase.sigma_rad)


def survey(
    bench: FrameBench,
    parameters: OpticalParameters,
    request: Request,
    check: Callable[[], object] = lambda: None,
    tell: Told = lambda *_: None,
) -> Survey:
    """Survey a bench, as the layer of these parameters uses it.

    Parameters
    ----------
    bench : FrameBench
    parameters : OpticalParameters
        Which cells are inputs, their range, and how pixels are pooled.
    check : callable
        Called between parts; what it raises ends the survey.
    tell : callable (stage, done, planned)

    Raises
    ------
    InputError
        If what is asked cannot be.
    MeasurementError
        If no light arrives, no exposure within the bounds is right, or frames do not change with the pattern.
    InstrumentError
        If the first frame of a pattern still shows the one before.
    """
    light, rng = Light(bench, parameters, check), np.random.default_rng(request.seed)
    if light.pixels < LEAST_PIXELS:
        raise InputError(
            f"{NAME}: speckle of {light.pixels} pixels says little, needed {LEAST_PIXELS} or more; read more of them "
            "for a survey (rig.world.camera_shape, and rig.camera.region where there is one)"
        )
    if request.matrix:
        refuse_without_matrix(light.parameters)
    planned, began_s = 6 + request.matrix, bench.clock.monotonic()
    tell("dark frames", 0, planned)
    dark = measure_dark(light)
    tell("exposure", 1, planned)
    exposure = find_exposure(light, request.goal, request.exposure_s, rng)
    if abs(exposure.exposure_s - exposure.before_s) > SAME * exposure.before_s:
        dark = measure_dark(light)
    light.look()
    tell("speckle", 2, planned)
    first, second = light.twice(light.random(PATTERNS, rng))
    speckle = measure_speckle(light, first, second, refuse_frames_that_stay(light, first, second))
    tell("phase", 3, planned)
    phase = scan_phase(light, rng) if light.phase and bench.levels >= LEAST_LEVELS else None
    tell("inputs", 4, planned)
    cells = change_cells(light, speckle.contrast, rng)
    tell("time", 5, planned)
    watched = watch(light, request.watch_shots, rng)
    found = Survey(
        request=request,
        exposure=exposure,
        dark=dark,
        transfer=photon_transfer(light, first, second),
        speckle=speckle,
        phase=phase,
        cells=cells,
        watch=watched,
        matrix=None,
        n_in=light.n_in,
        configured_rad=parameters.phase_range_rad,
        full=light.full,
        shots=light.shots,
        seconds=bench.clock.monotonic() - began_s,
    )
    if request.matrix:
        tell("matrix", 6, planned)
        other = phase.range_rad if phase is not None and found.other_range else None
        matrix = measure_matrix(light, rng, phase_range_rad=other)
        found = replace(found, matrix=matrix, shots=light.shots, seconds=bench.clock.monotonic() - began_s)
    tell("done", planned, planned)
    return found
