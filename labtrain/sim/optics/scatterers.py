"""What the light goes through: linear maps of the field of the modulator's cells to that of the camera's pixels.

Every scatterer sends light of intensity 1 in all cells, with independent phases, to a mean intensity of 1. Its random
numbers are counter-based; the field of the camera goes on beyond the camera's edges, so that it can be moved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from labtrain.sim.noise import DRIFT, GEOMETRY, philox
from labtrain.sim.optics.parameters import OpticalParameters
from labtrain.sim.optics.photons import fine_normals
from labtrain.sim.optics.wander import History, Wandering

Fields = NDArray[np.complex64]
Shift = tuple[int, int]

BLOCK = 128  # shots computed together, each in its own place, since a matrix product may round differently in another
_STREAMS = 8  # of numbers, for each stretch of a history
_TILES = 1 << 20  # in either direction of a field
_CHUNK = 1024  # columns of a matrix that is drawn piece by piece


class Operator(Protocol):
    """A scatterer that stands still.

    Attributes
    ----------
    block : int
        Rows that have to be given together, in their places, if a row is always to be rounded alike.
    """

    @property
    def block(self) -> int: ...

    def forward(self, light: Fields) -> Fields:
        """Field of the camera's pixels (..., rows, pixels) for that of the cells (..., rows, width)."""

    def transposed(self, back: Fields) -> Fields:
        """The transposed map (not the adjoint): (..., rows, pixels) to (..., rows, cells or more)."""


class Scatterer(Protocol):
    """A scatterer by shot; `seed` is that of its drift.

    Attributes
    ----------
    streams : bool
        Its matrix is drawn anew whenever it is needed: better for many shots at once.
    """

    streams: bool

    def at(self, seed: int, history: History, shot: int, shift: Shift) -> Operator:
        """As it is at a shot, seen by a camera moved by so many rows and columns."""


@dataclass(frozen=True)
class Matrix:
    """A transmission matrix.

    Parameters
    ----------
    t : ndarray, (width, pixels), complex64
        Zeros beyond the cells.
    """

    t: Fields
    block: int = BLOCK

    def forward(self, light: Fields) -> Fields:
        return np.asarray(light @ self.t)

    def transposed(self, back: Fields) -> Fields:
        return np.asarray(back @ self.t.T)


@dataclass(frozen=True)
class Streamed:
    """A transmission matrix that is drawn piece by piece, for each batch again.

    Parameters
    ----------
    piece : callable (number) -> ndarray, (width, columns), complex64
    columns : list of slice
        Of the matrix, a piece each.
    width : int
    """

    piece: Callable[[int], Fields]
    columns: list[slice]
    width: int
    block: int = BLOCK

    def forward(self, light: Fields) -> Fields:
        found = np.empty((*light.shape[:-1], self.columns[-1].stop), dtype=np.complex64)
        for number, columns in enumerate(self.columns):
            found[..., columns] = light @ self.piece(number)
        return found

    def transposed(self, back: Fields) -> Fields:
        found = np.zeros((*back.shape[:-1], self.width), dtype=np.complex64)
        for number, columns in enumerate(self.columns):
            found += back[..., columns] @ self.piece(number).T
        return found


def kept(p: OpticalParameters, size: float) -> int:
    """Arrays of so many bytes that are remembered while they wander."""
    return int(min(32, p.memory_mb * 1e6 // size))


def words(seed: int, stream: int, node: int, tile: int, count: int) -> NDArray[np.uint64]:
    """Random words under a counter of two numbers."""
    raw: Any = philox(seed, stream, node, tile).bit_generator.random_raw(count)
    return np.asarray(raw, dtype=np.uint64)


def complex_normals(seed: int, stream: int, node: int, tile: int, shape: tuple[int, int]) -> Fields:
    """Complex normal numbers of variance 1."""
    found = np.empty((*shape, 2), dtype=np.float32)
    raw = words(seed, stream, node, tile, shape[0] * shape[1]).reshape(shape)
    found[..., 0] = fine_normals(raw)
    found[..., 1] = fine_normals(raw << np.uint64(32))
    found *= np.float32(0.5**0.5)
    return np.asarray(found.view(np.complex64)[..., 0])


def wandering(
    p: OpticalParameters, seed: int, tile: int, shape: tuple[int, int], start: Callable[[], Any] | None, keep: int
) -> Wandering:
    """A complex normal array; its first numbers, and those that a bend brings, belong to the geometry."""

    def draw(stretch: int, node: int) -> Fields:
        own, purpose = (seed, DRIFT) if node else (p.geometry_seed, GEOMETRY)
        return complex_normals(own, purpose + _STREAMS * stretch, node, tile, shape)

    return Wandering(start or (lambda: draw(0, 0)), draw, keep=keep)


class Gaussian:
    """Independent complex normal numbers, a piece of the matrix for each row of the camera."""

    def __init__(self, p: OpticalParameters) -> None:
        self._p = p
        self._tiles: dict[tuple[int, int], Wandering] = {}
        self._seed: int | None = None
        size = 8.0 * p.cells * p.pixels
        self.streams = size > p.memory_mb * 1e6
        self._keep = 0 if self.streams else kept(p, size)

    def at(self, seed: int, history: History, shot: int, shift: Shift) -> Operator:
        if seed != self._seed:
            self._tiles.clear()
            self._seed = seed
        (rows, columns), cells, width = self._p.camera_shape, self._p.cells, self._p.width

        def piece(number: int) -> Fields:
            first = number * high
            found = np.zeros((width, min(high, rows - first), columns), dtype=np.complex64)
            for row in range(found.shape[1]):
                found[:cells, row] = self._row(first + row + shift[0], shift[1], history, shot)
            found *= np.float32(cells**-0.5)
            return found.reshape(width, -1)

        if not self.streams:
            high = rows
            return Matrix(piece(0))
        high = max(1, _CHUNK // columns)
        starts = range(0, rows, high)
        return Streamed(piece, [slice(s * columns, min(rows, s + high) * columns) for s in starts], width)

    def _row(self, row: int, left: int, history: History, shot: int) -> Fields:
        """Columns of the matrix, (cells, columns), for a row of the camera that begins `left` pixels aside."""
        columns = self._p.camera_shape[1]
        tile, offset = divmod(left, columns)
        found = self._tile(row, tile).at(history, shot)
        if offset:
            found = np.concatenate([found, self._tile(row, tile + 1).at(history, shot)], axis=1)
        return np.asarray(found[:, offset : offset + columns])

    def _tile(self, row: int, tile: int) -> Wandering:
        if (row, tile) not in self._tiles:
            p, number = self._p, (row % _TILES) * _TILES + tile % _TILES
            shape = (p.cells, p.camera_shape[1])
            made = wandering(p, self._seed or 0, number, shape, None, self._keep)
            if self.streams:
                return made
            self._tiles[row, tile] = made
        return self._tiles[row, tile]


class Fibre:
    """Modes of a graded-index fibre, all of them coupled: a random unitary matrix between modes.

    Modulator and camera each see one end face, with Hermite-Gauss modes u_m(x) u_n(y), m + n < mode_groups.
    """

    streams = False

    def __init__(self, p: OpticalParameters) -> None:
        self._p, groups = p, p.mode_groups
        self.modes = groups * (groups + 1) // 2
        self._into = hermite_gauss(p.slm_shape, (0, 0), groups)
        self._scale = (self.modes * p.pixels) ** 0.5 / (
            np.linalg.norm(self._into) * np.linalg.norm(hermite_gauss(p.camera_shape, (0, 0), groups))
        )
        self._core: Wandering | None = None
        self._seed: int | None = None

    def at(self, seed: int, history: History, shot: int, shift: Shift) -> Operator:
        if self._core is None or seed != self._seed:
            keep = kept(self._p, 8 * self.modes**2)
            self._core = wandering(self._p, seed, 0, (self.modes, self.modes), self._unitary, keep)
            self._seed = seed
        # Of variance 1 a number, as what it drifts to.
        core = self._core.at(history, shot) * np.float32(self.modes**-0.5)
        out = hermite_gauss(self._p.camera_shape, shift, self._p.mode_groups)
        t = np.zeros((self._p.width, self._p.pixels), dtype=np.complex64)
        t[: self._p.cells] = self._scale * (self._into @ core) @ out.T
        return Matrix(t)

    def _unitary(self) -> Fields:
        """Of Haar's measure, times the root of the number of modes."""
        drawn = complex_normals(self._p.geometry_seed, GEOMETRY, 0, 0, (self.modes, self.modes))
        q, r = np.linalg.qr(drawn.astype(np.complex128))
        phases = np.diag(r) / np.abs(np.diag(r))
        return np.asarray(q * phases * self.modes**0.5, dtype=np.complex64)


def hermite_gauss(shape: tuple[int, int], shift: Shift, groups: int) -> NDArray[np.float64]:
    """Modes sampled on a grid of rows and columns, which the highest one fills, (rows * columns, modes)."""
    half = (2.0 * groups - 1.0) ** 0.5 + 1.0
    along = []
    for side, moved in zip(shape, shift, strict=True):
        step = 2.0 * half / side
        x = (np.arange(side) + 0.5 + moved) * step - half
        mode = [np.pi**-0.25 * np.exp(-0.5 * x**2)]
        for n in range(1, groups):
            before = mode[n - 2] if n > 1 else 0.0 * x
            mode.append((2.0 / n) ** 0.5 * x * mode[n - 1] - ((n - 1) / n) ** 0.5 * before)
        along.append(step**0.5 * np.array(mode))
    pairs = [(m, n) for m in range(groups) for n in range(groups - m)]
    return np.stack([np.outer(along[0][m], along[1][n]).reshape(-1) for m, n in pairs], axis=1)
