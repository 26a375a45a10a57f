"""First looks through a bench: is there light, does it change with the pattern, is the first frame of a pattern new?

A few random patterns are shown one after another, as the shot protocol does, and each is watched for some frames more.
What the frames of a pattern differ by at the end is noise, what the patterns differ by is signal; a first frame that
differs from the last ones by more than noise shows the pattern before in it.

A camera that keeps many frames may be behind by a whole pattern, and fall further behind the longer a run goes on, each
frame being that of some pattern all the same. So the patterns come again, some times in turn, as shots are taken: each
must look as it did.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labtrain.errors import InstrumentError
from labtrain.limits import shown
from labtrain.rigs.optical_shots import Counts, ShotProtocol
from labtrain.rigs.saturation import TOLD, full_pixels

Array = NDArray[np.float64]

LATER = 6  # frames watched beyond the first one
LAST = 3  # of them, that are taken to show the pattern alone
ROUNDS = 3  # of all patterns, as shots
OLD = 0.01  # share of the difference between patterns, as power, that a new frame may still have of the old one
AGAIN = 0.05  # the same of a pattern that is shown again: the bench may have drifted a little
SIGMAS = 8.0  # by which noise alone may be mistaken; pixels are neither alike nor normal


log = logging.getLogger("labtrain")


@dataclass(frozen=True)
class Looks:
    """What was seen.

    Parameters
    ----------
    frames : list of ndarray, (1 + LATER, rows, columns)
        Of each pattern, in order.
    again : list of ndarray, (rows, columns)
        First frames of the patterns as they came again, ROUNDS times in turn.
    light : float
        Mean counts above the dark frame.
    """

    frames: list[Counts]
    again: list[Counts]
    light: float


def look(
    protocol: ShotProtocol,
    patterns: NDArray[np.integer],
    begin: Callable[[], None],
    check: Callable[[], object] = lambda: None,
) -> Looks:
    """Show patterns (two or more, rows, columns), and refuse a bench that a network would learn nothing from.

    Parameters
    ----------
    begin : callable
        Called before each pattern.
    check : callable
        Raises Interrupted if somebody wants to stop.

    Raises
    ------
    InstrumentError
        If there is no light, too much, none that changes, or if first frames are old; it says what to do.
    """
    assert protocol.dark is not None, "the dark frame comes first"
    frames = []
    for pattern in patterns:
        check()
        begin()
        frames.append(protocol.see(pattern, 1 + LATER))
    ends = np.stack([some[-LAST:].mean(axis=0, dtype=np.float64) for some in frames])
    noise = float(np.mean([some[-LAST:].var(axis=0, ddof=1, dtype=np.float64).mean() for some in frames]))
    light = float((ends - protocol.dark).mean())
    _refuse_dark(protocol, light, noise, frames[0][0].size)
    full = [full_pixels(some[-1:], protocol.camera.top_count) for some in frames]
    brightest = frames[int(np.argmax(full))][-1:]
    if fault := protocol.saturation(brightest):
        raise InstrumentError(f"{protocol.camera.name}: {fault}")
    if sum(full) > TOLD * len(frames) * brightest.size:
        log.warning("%s: %s", protocol.camera.name, protocol.brightness(brightest))
    change = float((np.diff(ends, axis=0) ** 2).mean()) - 2.0 * noise / LAST
    # What chance makes of the noise in all pixels together.
    unsure = SIGMAS * noise * math.sqrt(2.0 / frames[0][0].size)
    if change <= unsure / math.sqrt(len(frames)):
        raise InstrumentError(
            f"{protocol.camera.name}: its frames do not change with the pattern of the {protocol.slm.who}, though "
            f"light comes ({light:.3g} counts above the dark frame); does the light pass the modulator, does the "
            f"scatterer stand in it, is {protocol.slm.where} the right one?"
        )
    _refuse_old(protocol, frames, ends, noise, change, unsure)
    allowed = AGAIN * change + (1.0 + 1.0 / LAST) * noise + unsure
    return Looks(frames, _refuse_behind(protocol, patterns, ends, allowed, begin, check), light)


def _refuse_dark(protocol: ShotProtocol, light: float, noise: float, pixels: int) -> None:
    least = SIGMAS * math.sqrt(noise / pixels) + 0.01
    if light < least:
        raise InstrumentError(
            f"{protocol.camera.name}: no light comes: {light:.3g} counts above the dark frame at an exposure of "
            f"{shown(protocol.camera.exposure_s, 's')}, whatever the pattern; is the laser off, a shutter closed, the "
            "camera still covered?"
        )


def _refuse_old(
    protocol: ShotProtocol, frames: list[Counts], ends: Array, noise: float, change: float, unsure: float
) -> None:
    """The first frame of each pattern but the first must be as the last ones are."""
    allowed = OLD * change + (1.0 + 1.0 / LAST) * noise + unsure
    late = 0
    for some, end in zip(frames[1:], ends[1:], strict=True):
        apart = ((some[: 1 + LATER - LAST] - end) ** 2).mean(axis=(1, 2))
        new = np.flatnonzero(apart <= allowed)
        late = max(late, int(new[0]) if len(new) else 1 + LATER - LAST)
    if late:
        camera = protocol.camera
        raise InstrumentError(
            f"{camera.name}: the first frame of a new pattern still shows the one before, {late} more had to pass; set "
            f"rig.{camera.who}.stale_frames to {camera.config.stale_frames + late} or more, or raise rig.settle_s"
        )


def _refuse_behind(
    protocol: ShotProtocol,
    patterns: NDArray[np.integer],
    ends: Array,
    allowed: float,
    begin: Callable[[], None],
    check: Callable[[], object],
) -> list[Counts]:
    """Shown again, as shots, the patterns must look as they did; their first frames."""
    assert protocol.dark is not None
    camera = protocol.camera
    count, other = min(camera.config.frames, 1 + LATER), 0
    found = []
    for _ in range(ROUNDS):
        for pattern, end in zip(patterns, ends, strict=True):
            check()
            begin()
            found.append(protocol.see(pattern, count)[0])
            other += _apart(found[-1] - protocol.dark, end - protocol.dark) > allowed
    if other:
        raise InstrumentError(
            f"{camera.name}: {other} of {ROUNDS * len(patterns)} patterns look different when they are shown again: "
            f"frames are old, if a flush leaves those that it kept: raise rig.{camera.who}.stale_frames (it is "
            f"{camera.config.stale_frames}) or set the camera to keep fewer; or does the light or the scatterer move?"
        )
    return found


def _apart(seen: Array, end: Array) -> float:
    """Mean square by which a frame differs from another one that is brighter or darker as a whole."""
    gain = float((seen * end).sum() / (end**2).sum())
    return float(((seen - gain * end) ** 2).mean())
