"""Scatterers by fast Fourier transforms: one that needs no matrix, and the one that PhyLL was published with.

The structured scatterer is a product of unitary maps: random phases, Fourier transform, and so on (after J. Dong et
al., "Reservoir computing meets recurrent kernels and structured transforms", NeurIPS 2020). Three layers of n points
stand for a matrix of n x n: their speckle is as fully developed, for n log n operations and no memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import fft2, ifft2, next_fast_len

from labtrain.sim.noise import DRIFT, GEOMETRY
from labtrain.sim.optics.parameters import OpticalParameters, rounded_up
from labtrain.sim.optics.photons import fine_normals
from labtrain.sim.optics.scatterers import _STREAMS, BLOCK, Operator, Shift, kept, wandering, words
from labtrain.sim.optics.wander import History, Wandering

Fields = NDArray[np.complex64]
Integers = NDArray[np.int64]

_LARGE = 1 << 14  # points of a plane that is transformed for each shot by itself: nothing is gained by more at once


@dataclass(frozen=True)
class PhasesAndTransforms:
    """Light on a plane: for each layer its phases, then a Fourier transform.

    Parameters
    ----------
    phases : tuple of ndarray, (rows, columns), complex64
        Of modulus 1.
    into, out : ndarray of int
        Points of the plane, flat, on which cells lie and that pixels see.
    scale : float
    block : int
        Rows that are transformed together.
    """

    phases: tuple[Fields, ...]
    into: Integers
    out: Integers
    scale: float
    block: int

    def forward(self, light: Fields) -> Fields:
        def through(plane: Fields) -> Fields:
            for phases in self.phases:
                plane = fft2(plane * phases, norm="ortho")
            return plane

        return self._mapped(light[..., : len(self.into)], self.into, through, self.out)

    def transposed(self, back: Fields) -> Fields:
        def through(plane: Fields) -> Fields:
            for phases in reversed(self.phases):
                plane = fft2(plane, norm="ortho") * phases  # the transform is symmetric
            return plane

        return self._mapped(back, self.out, through, self.into)

    def _mapped(self, given: Fields, at: Integers, through: Callable[[Fields], Fields], seen: Integers) -> Fields:
        """Values at some points of the plane (..., points), through it, at others, a block of rows at a time."""
        rows = given.reshape(-1, given.shape[-1])
        found = np.empty((len(rows), len(seen)), dtype=np.complex64)
        for start in range(0, len(rows), self.block):
            part = slice(start, start + self.block)
            plane = np.zeros((len(rows[part]), self.phases[0].size), dtype=np.complex64)
            plane[:, at] = rows[part]
            plane = through(plane.reshape(-1, *self.phases[0].shape)).reshape(len(plane), -1)
            np.take(plane, seen, axis=1, out=found[part], mode="clip")
        found *= np.float32(self.scale)
        return found.reshape(*given.shape[:-1], len(seen))


class Structured:
    """Random phases and Fourier transforms, on a plane as large as modulator and camera; the second layer wanders."""

    streams = False

    def __init__(self, p: OpticalParameters) -> None:
        self._p = p
        sides = zip(p.slm_shape, p.camera_shape, strict=True)
        self._plane = tuple(next_fast_len(max(pair)) for pair in sides)
        self._moves = min(1, p.structured_layers - 1)
        self._still = [self._uniform(layer) for layer in range(p.structured_layers)]
        self._wanders: Wandering | None = None
        self._seed: int | None = None

    def at(self, seed: int, history: History, shot: int, shift: Shift) -> Operator:
        if self._wanders is None or seed != self._seed:
            keep = kept(self._p, 4 * self._points)
            self._wanders = Wandering(lambda: self._still[self._moves], self._draw, phases=True, keep=keep)
            self._seed = seed
        phases = list(self._still)
        phases[self._moves] = self._wanders.at(history, shot)
        return PhasesAndTransforms(
            tuple(np.exp(1j * layer).astype(np.complex64) for layer in phases),
            self._where(self._p.slm_shape, (0, 0)),
            self._where(self._p.camera_shape, shift),
            (self._points / self._p.cells) ** 0.5,
            1 if self._points >= _LARGE else BLOCK,
        )

    @property
    def _points(self) -> int:
        return self._plane[0] * self._plane[1]

    def _where(self, shape: tuple[int, int], shift: Shift) -> Integers:
        """Flat places on the plane, which goes on at its other end."""
        rows, columns = (
            (np.arange(side) + moved) % whole for side, moved, whole in zip(shape, shift, self._plane, strict=True)
        )
        return np.asarray((rows[:, None] * self._plane[1] + columns).reshape(-1))

    def _uniform(self, layer: int) -> NDArray[np.float32]:
        raw = words(self._p.geometry_seed, GEOMETRY, 0, layer, self._points) >> np.uint64(40)
        return (raw.astype(np.float32) * np.float32(2.0 * np.pi / 2**24)).reshape(self._plane)

    def _draw(self, stretch: int, node: int) -> NDArray[np.float32]:
        own, purpose = (self._seed or 0, DRIFT) if node else (self._p.geometry_seed, GEOMETRY)
        raw = words(own, purpose + _STREAMS * stretch, node, self._p.structured_layers, self._points)
        return fine_normals(raw).reshape(self._plane)


@dataclass(frozen=True)
class MaskedMatrix:
    """A matrix between the spatial frequencies that two masks let pass.

    Parameters
    ----------
    t : ndarray, (frequencies, up to a multiple of 16; frequencies), complex64
    passed : ndarray of int
        Their flat places among those of the image, both ways.
    shape : (rows, columns)
    shift : (rows, columns)
    """

    t: Fields
    passed: Integers
    shape: tuple[int, int]
    shift: Shift
    block: int = BLOCK

    def forward(self, light: Fields) -> Fields:
        cells, frequencies = self.shape[0] * self.shape[1], len(self.passed)
        transform = fft2(self._image(light[..., :cells]), norm="ortho").reshape(*light.shape[:-1], cells)
        spectrum = np.zeros((*light.shape[:-1], len(self.t)), dtype=np.complex64)
        spectrum[..., :frequencies] = transform[..., self.passed]
        behind = np.zeros_like(transform)
        behind[..., self.passed] = spectrum @ self.t
        found = ifft2(self._image(behind), norm="ortho")
        if any(self.shift):
            found = np.roll(found, (-self.shift[0], -self.shift[1]), axis=(-2, -1))
        return np.ascontiguousarray(found).reshape(transform.shape)

    def transposed(self, back: Fields) -> Fields:
        image = self._image(back)
        if any(self.shift):
            image = np.roll(image, self.shift, axis=(-2, -1))
        behind = ifft2(image, norm="ortho").reshape(back.shape)[..., self.passed]
        spectrum = np.zeros_like(back)
        spectrum[..., self.passed] = behind @ self.t[: len(self.passed)].T
        return np.asarray(fft2(self._image(spectrum), norm="ortho").reshape(back.shape))

    def _image(self, flat: Fields) -> Any:
        return flat.reshape(*flat.shape[:-1], *self.shape)


class FourierMask:
    """Fourier transform of the image, a disc of its frequencies, a matrix, and back."""

    streams = False

    def __init__(self, p: OpticalParameters) -> None:
        self._p = p
        rows, columns = (np.arange(side) - side // 2 for side in p.slm_shape)
        inside = (rows[:, None] / (0.5 * p.slm_shape[0])) ** 2 + (columns / (0.5 * p.slm_shape[1])) ** 2 <= 1.0
        # The transform has frequency 0 first; the disc is about it.
        self._passed = np.flatnonzero(np.roll(inside, [-(side // 2) for side in p.slm_shape], axis=(0, 1)))
        self._wanders: Wandering | None = None
        self._seed: int | None = None

    def at(self, seed: int, history: History, shot: int, shift: Shift) -> Operator:
        size = len(self._passed)
        if self._wanders is None or seed != self._seed:
            keep = kept(self._p, 8 * size**2)
            self._wanders = wandering(self._p, seed, 0, (size, size), None, keep)
            self._seed = seed
        t = np.zeros((rounded_up(size), size), dtype=np.complex64)
        t[:size] = self._wanders.at(history, shot) * np.float32(self._p.cells**0.5 / size)
        return MaskedMatrix(t, self._passed, self._p.slm_shape, shift)
