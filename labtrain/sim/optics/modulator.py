"""A spatial light modulator: what is written to its cells, and the light that leaves them.

    E = sqrt(1 - u) (F exp(i phi) + 1 - F) + sqrt(u),      phi = range * level / (levels - 1)

with the fill factor F and the share u of unmodulated power. Fringing fields blur the phase: each cell takes a share of
each of its neighbours' phases instead of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labtrain.sim.optics.parameters import OpticalParameters

Array = NDArray[np.float64]
Fields = NDArray[np.complex64]
Levels = NDArray[np.intp]
Stuck = Sequence[tuple[int, int]]


class Modulator:
    """Drives to levels, levels to light.

    Parameters
    ----------
    parameters : OpticalParameters
    """

    def __init__(self, parameters: OpticalParameters) -> None:
        self._p = p = parameters
        rows, columns = p.input_shape
        top, left, high, wide = p.region
        self.n_in = rows * columns
        inputs = np.arange(self.n_in).reshape(rows, columns)
        of_cell = np.full(p.slm_shape, self.n_in)
        covered = inputs.repeat(p.input_cells, axis=0).repeat(p.input_cells, axis=1)[:high, :wide]
        of_cell[top : top + high, left : left + wide] = covered
        self._input_of = of_cell.reshape(-1)  # n_in: none, the cell stays at level 0
        self._driven = np.flatnonzero(self._input_of < self.n_in)
        self._direct = bool(np.array_equal(self._input_of, np.arange(p.cells)))
        self._step = float(p.phase_range_rad if p.modulation == "phase" else 1.0) / (p.levels - 1)
        self._table = self._light(np.arange(p.levels) * self._step)

    def levels(self, drive: Array) -> Array:
        """What drives (n, n_in) in [0, 1] are rounded to, (n, n_in), whole numbers."""
        scaled = drive * (self._p.levels - 1)
        return np.rint(scaled, out=scaled)

    def quantise(self, drive: Array) -> Array:
        """Drives (n, n_in) as the modulator shows them."""
        return np.asarray(self.levels(drive) / (self._p.levels - 1))

    def cells(self, drive: Array) -> Levels:
        """Levels of all cells for drives (n, n_in), (n, width)."""
        found, levels = np.zeros((len(drive), self._p.width), dtype=np.intp), self.levels(drive)
        if self._direct:
            found[:, : self.n_in] = levels
        else:
            found[:, self._driven] = levels[:, self._input_of[self._driven]]
        return found

    def light(self, cells: Levels, stuck: Stuck = ()) -> Fields:
        """Amplitude of the light that leaves the cells, (n, width), for their levels.

        Parameters
        ----------
        cells : ndarray, (n, width)
        stuck : sequence of (cell, level)
            Cells that show this level, whatever they are told; the latest of a cell counts.
        """
        if stuck:
            cells = cells.copy()
            for cell, level in stuck:
                cells[:, cell] = level
        if self._p.cross_talk == 0:
            return np.asarray(self._table.take(cells, mode="clip"))
        found = np.zeros(cells.shape, dtype=np.complex64)
        found[:, : self._p.cells] = self._light(self._blur(cells[:, : self._p.cells] * self._step))
        return found

    def vjp(self, cells: Levels, back: NDArray[Any], stuck: Stuck = ()) -> Array:
        """From the derivative by the light to that by the drives.

        Parameters
        ----------
        cells : ndarray, (n, width)
            Levels.
        back : ndarray, (n, cells or more), complex
            b of dL = Re sum b dE.

        Returns
        -------
        ndarray, (n, n_in), float64
        """
        p = self._p
        gain = math.sqrt(1.0 - p.unmodulated) * p.fill_factor
        shown, back = cells[:, : p.cells].copy(), back[:, : p.cells]
        for cell, level in stuck:
            shown[:, cell] = level
        if p.modulation == "phase":
            phase = self._blur(shown * self._step) if p.cross_talk else shown * self._step
            slope = gain * (back * (1j * np.exp(1j * phase))).real
        else:
            slope = gain * back.real
        if p.cross_talk:
            slope = self._blur(np.asarray(slope, dtype=np.float64))  # the blur is symmetric
        slope[:, [cell for cell, _ in stuck]] = 0.0
        found = np.zeros((len(cells), self.n_in + 1))
        np.add.at(found.T, self._input_of, slope.T)
        return np.ascontiguousarray(found[:, : self.n_in] * (self._step * (p.levels - 1)))

    def _light(self, value: NDArray[Any]) -> Fields:
        """Of phases in radian, or of amplitudes, any shape."""
        p, shaped = self._p, value
        if p.modulation == "phase":
            shaped = p.fill_factor * np.exp(1j * value) + (1.0 - p.fill_factor)
        else:
            shaped = np.asarray(p.fill_factor * value, dtype=np.complex128)
        return np.asarray(math.sqrt(1.0 - p.unmodulated) * shaped + math.sqrt(p.unmodulated), dtype=np.complex64)

    def _blur(self, value: NDArray[Any]) -> Array:
        """Of (n, cells): what fringing fields leave of it."""
        flat = value.reshape(len(value), *self._p.slm_shape)
        blurred = flat.copy()
        for axis in (1, 2):
            taken = self._p.cross_talk * np.diff(flat, axis=axis)
            ahead: list[slice] = [slice(None)] * 3
            behind = list(ahead)
            ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
            blurred[tuple(behind)] += taken
            blurred[tuple(ahead)] -= taken
        return np.asarray(blurred.reshape(value.shape))
