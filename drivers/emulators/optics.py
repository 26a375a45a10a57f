"""A modulator and a camera with light between them, in their own time: what happens when nobody keeps them in step.

    pattern written --latency--> it begins to be seen --rise--> it is seen alone
    camera:  |exposure|readout|exposure|readout| ...   by itself, whoever reads; the latest frames are kept

A frame shows whatever the modulator showed while it was exposed: the pattern before, or both, each for its share of the
time. The camera hands out the oldest frame that it kept. So who does not wait, flush and throw away what may be
old gets wrong frames, as in a laboratory.

What a frame shows belongs to a shot of the simulated world, which is told by :meth:`EmulatedOptics.begin`; the noise of
a good frame depends on the shot and on its number within it alone, never on when it was taken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from labtrain.clock import Clock
from labtrain.drivers.frames import Counts

BOUNDS_S = (1e-6, 10.0)  # of its exposure
OF_NO_SHOT = 1 << 32  # numbers of frames that belong to no shot: noise that no good frame has
KEPT_PATTERNS = 16
PARTS = 16  # of an exposure, in which a pattern that is just changing is taken to stand still


class Light(Protocol):
    """What is simulated between modulator and camera."""

    def frames(
        self, patterns: NDArray[np.integer], first_shot: int, *, exposure_s: float, frame: int, lit: bool
    ) -> Counts:
        """Counts (n, rows, columns) for patterns (n, rows, columns), one shot each."""


@dataclass(frozen=True)
class BenchTiming:
    """How slow modulator and camera are.

    Parameters
    ----------
    latency_s : float
        From writing a pattern until the first of it is seen.
    rise_s : float
        From then on until nothing else is seen.
    readout_s : float
        Of a frame, during which nothing is exposed.
    kept : int
        Frames that the camera keeps for whoever reads late.
    """

    latency_s: float = 0.012
    rise_s: float = 0.012
    readout_s: float = 0.01
    kept: int = 3


@dataclass(frozen=True)
class _Pattern:
    written_s: float
    steps: NDArray[np.uint16]
    shot: int


class EmulatedOptics:
    """The emulator: an OpticalEmulator of labtrain.drivers.backends.memory_frames.

    Parameters
    ----------
    light : Light
        May be replaced.
    clock : Clock
        Passes while frames are waited for.
    timing : BenchTiming
    cells : (rows, columns)
        Of the modulator.
    cell_pixels : int
        Pixels of a cell along each side, of which the one in its corner is looked at.
    corner : (row, column)
        Of pixels, where the cells begin; behind the last one it ends.
    levels : int
    radians : float
        From the lowest level to the highest; 0: it modulates amplitudes.
    camera_shape : (rows, columns)
    top_count : int
    exposure_s : float
        Before another one is set.
    """

    exposure_bounds_s = BOUNDS_S

    def __init__(
        self,
        light: Light,
        clock: Clock,
        timing: BenchTiming,
        *,
        cells: tuple[int, int],
        cell_pixels: int = 1,
        corner: tuple[int, int] = (0, 0),
        levels: int,
        radians: float,
        camera_shape: tuple[int, int],
        top_count: int,
        exposure_s: float,
    ) -> None:
        self.light = light
        self._clock, self._timing = clock, timing
        self._looked_at = tuple(slice(begin, None, cell_pixels) for begin in corner)
        self.slm_shape = corner[0] + cells[0] * cell_pixels, corner[1] + cells[1] * cell_pixels
        self.levels, self.radians, self.camera_shape, self.top_count = levels, radians, camera_shape, top_count
        self._patterns = [_Pattern(-math.inf, np.zeros(cells, dtype=np.uint16), 0)]
        self._shot, self._number, self._other = 0, 0, 0
        self._covered = False
        self._run(exposure_s)

    # -- what the simulation is told -----------------------------------------------------------------------------

    def begin(self, shot: int, number: int) -> None:
        """Patterns written from now on belong to this shot, good frames of them are numbered from `number` on."""
        self._shot, self._number = shot, number

    def cover(self, covered: bool) -> None:
        """Whether the light is kept from the camera."""
        self._covered = covered

    # -- the modulator -------------------------------------------------------------------------------------------

    def show(self, levels: Counts) -> None:
        """A pattern is written now."""
        steps = np.array(levels[self._looked_at])
        self._patterns = [*self._patterns[1 - KEPT_PATTERNS :], _Pattern(self._clock.monotonic(), steps, self._shot)]

    # -- the camera ----------------------------------------------------------------------------------------------

    def expose(self, exposure_s: float) -> float:
        """Frames begin anew, with this exposure."""
        self._run(exposure_s)
        return exposure_s

    def _run(self, exposure_s: float) -> None:
        self._exposure_s, self._began_s, self._next = exposure_s, self._clock.monotonic(), 0

    def flush(self) -> None:
        """Forget the frames that are complete."""
        self._next = max(self._next, self._complete())

    def next_frame(self) -> Counts:
        """Wait for the oldest frame that is kept, and read it."""
        began_s = self._wait()
        seen = self._seen(began_s)
        if len(seen) == 1 and seen[0][0] is self._patterns[-1]:
            found = self._frame(seen[0][0], self._number)
            self._number += 1
            return found
        total = np.zeros(self.camera_shape)
        self._other += 1
        for pattern, share in seen:
            total += share * self._frame(pattern, OF_NO_SHOT + self._other)
        return np.rint(total).astype(np.uint16)

    def skip_frame(self) -> None:
        """The same, of which nobody wants to know what it shows."""
        self._wait()

    @property
    def _period_s(self) -> float:
        return self._exposure_s + self._timing.readout_s

    def _complete(self) -> int:
        """Frames that have been read out since it runs."""
        return int((self._clock.monotonic() - self._began_s) / self._period_s + 1e-9)

    def _wait(self) -> float:
        """When the oldest frame that was not read began, behind the wait until it is there."""
        number = max(self._next, self._complete() - self._timing.kept)
        began_s = self._began_s + number * self._period_s
        self._clock.sleep(began_s + self._period_s - self._clock.monotonic())
        self._next = number + 1
        return began_s

    def _seen(self, began_s: float) -> list[tuple[_Pattern, float]]:
        """Patterns that a frame shows, each with its share of the exposure."""
        times = began_s + self._exposure_s * np.linspace(0.0, 1.0, PARTS)
        found, left = [], np.ones(PARTS)
        for pattern in self._patterns[::-1]:
            rise_s = max(self._timing.rise_s, 1e-9)
            share = left * np.clip((times - pattern.written_s - self._timing.latency_s) / rise_s, 0.0, 1.0)
            if share.any():
                found.append((pattern, float(share.mean())))
            left = left - share
            if not left.any():
                break
        return found

    def _frame(self, pattern: _Pattern, number: int) -> Counts:
        lit = not self._covered
        found = self.light.frames(pattern.steps[None], pattern.shot, exposure_s=self._exposure_s, frame=number, lit=lit)
        return np.asarray(found[0], dtype=np.uint16)
