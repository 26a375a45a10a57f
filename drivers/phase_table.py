"""What phase each level of a modulator makes, and the level for each step of a drive.

Levels are what the modulator is told, steps what a network drives: step k of n is the phase k / (n - 1) of a range, and
is shown by the level whose phase is nearest. A modulator's response is seldom a straight line; what was measured of it
stands in a table, a CSV file with columns level and phase_rad.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from labtrain.errors import InputError

Array = NDArray[np.float64]
Levels = NDArray[np.uint16]


def straight(levels: int, radians: float) -> Array:
    """Phases (levels,) of a modulator that is linear from 0 to so many radians."""
    return np.asarray(np.arange(levels) * (radians / max(levels - 1, 1)), dtype=np.float64)


def read_phases(path: Path, levels: int, where: str) -> Array:
    """Phases (levels,) from a table of some levels; in between they are interpolated.

    Parameters
    ----------
    path : Path
        CSV with the columns level, a whole number, and phase_rad, unwrapped.
    levels : int
        That the modulator has.
    where : str
        Key of the configuration that names the file.

    Raises
    ------
    InputError
        With file and line, if it is no such table.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); correct {where}") from None
    except (UnicodeDecodeError, csv.Error):
        raise InputError(f"{path}: is no CSV file in UTF-8; save it as such, or correct {where}") from None
    at: list[int] = []
    phases: list[float] = []
    for number, row in enumerate(rows, start=2):
        try:
            level, phase = float(row["level"]), float(row["phase_rad"])
        except (KeyError, TypeError, ValueError):
            there = ", ".join(f"{name} {value!r}" for name, value in row.items() if name)
            raise InputError(
                f"{path}:{number}: needs the columns level and phase_rad, with numbers; found {there}"
            ) from None
        if not (level.is_integer() and 0 <= level < levels and math.isfinite(phase)):
            raise InputError(
                f"{path}:{number}: level {level:g}, phase {phase:g}; levels are whole numbers 0 to {levels - 1}, "
                "phases finite"
            )
        if at and level <= at[-1]:
            raise InputError(f"{path}:{number}: level {level:g} does not come behind level {at[-1]}; sort the rows")
        if at and abs(phase - phases[-1]) > math.pi:
            raise InputError(
                f"{path}:{number}: the phase jumps by {abs(phase - phases[-1]):.3g} rad from level {at[-1]} to level "
                f"{level:g}, more than half a turn; unwrap it, or measure more levels"
            )
        at.append(int(level))
        phases.append(phase)
    if len(at) < 2:
        raise InputError(f"{path}: {len(at)} rows, needed at least the first and the last level; correct {where}")
    found = np.interp(np.arange(levels), at, phases)
    found[: at[0]] = found[at[-1] + 1 :] = np.nan  # nobody knows
    return found


def levels_of_steps(phases: Array, radians: float, steps: int, who: str, told: str) -> Levels:
    """Levels (steps,) whose phases are nearest to 0 ... `radians`, counted from the least phase of all levels.

    A modulator whose phase falls with its levels is as good: the sign of all phases together is not seen.

    Parameters
    ----------
    phases : ndarray, (levels,)
        NaN where it is not known.
    radians : float
        To be reached.
    steps : int
    who, told : str
        For errors: the device, and where its phases are configured.

    Raises
    ------
    InputError
        If they are not reached, or two steps would be shown by one level.
    """
    known = np.flatnonzero(np.isfinite(phases))
    delay = phases[known] if phases[known[-1]] >= phases[known[0]] else -phases[known]
    start = int(delay.argmin())
    delay = delay[start:] - delay[start]  # what lies before the turning point comes twice
    known = known[start:]
    reached = float(delay.max())
    if reached < radians * (1.0 - 0.5 / max(steps - 1, 1)):
        raise InputError(
            f"{who}: its phase reaches {reached:.4g} rad ({told}), asked {radians:.4g}; set rig.world.phase_range_rad "
            f"to {math.floor(1000 * reached) / 1000:g} or less"
        )
    wanted = np.linspace(0.0, radians, steps)
    nearest = np.abs(delay[None, :] - wanted[:, None]).argmin(axis=1)
    found: Levels = known[nearest].astype(np.uint16)
    if len(np.unique(found)) < steps:
        there = int(np.count_nonzero(delay <= radians * (1.0 + 0.5 / max(steps - 1, 1))))
        raise InputError(
            f"{who}: {steps} steps from 0 to {radians:.4g} rad are more than the levels that it has there, {there} "
            f"({told}); set rig.world.levels to {_most(delay, radians, there)} or less"
        )
    return found


def _most(delay: Array, radians: float, there: int) -> int:
    """Steps that have a level each: of a curved response fewer than there are levels."""
    for steps in range(max(there, 2), 2, -1):
        wanted = np.linspace(0.0, radians, steps)
        if len(np.unique(np.abs(delay[None, :] - wanted[:, None]).argmin(axis=1))) == steps:
            return steps
    return 2
