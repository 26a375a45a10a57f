"""A camera: photo-electrons, wells, a converter, and outputs pooled from its pixels.

    electrons = min(Poisson(t (r |E|^2 + d)), full well) + read noise
    counts    = offset + electrons * counts_per_e

rounded and clipped to the bits, with the exposure t, the rate r and the dark current d. Wells are full after the draw:
the noise of a saturated pixel is gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labtrain.sim.noise import GEOMETRY, NOISE, philox
from labtrain.sim.optics.parameters import OpticalParameters
from labtrain.sim.optics.photons import Floats, Words, coarse_normals, poisson

Array = NDArray[np.float64]

_TOGETHER = 16  # shots that share a counter of the noise: to begin one costs as much as some thousand words
_SENSOR = 8 * 1000 + GEOMETRY  # a stream of its own, beyond those of any scatterer


@dataclass(frozen=True)
class Sensor:
    """The pixels as they are at a shot.

    Parameters
    ----------
    dark_e_s : ndarray, (pixels,), float32
        Hot pixels included.
    alive : ndarray, (pixels,), float32, or None
        0 for a pixel that is lost; None: none is.
    extra_e : ndarray, (pixels,), float32, or None
        Standard deviation of further noise.
    """

    dark_e_s: Floats
    alive: Floats | None = None
    extra_e: Floats | None = None


class Camera:
    """Intensities to counts, counts to outputs.

    Parameters
    ----------
    parameters : OpticalParameters
    """

    def __init__(self, parameters: OpticalParameters) -> None:
        self._p = p = parameters
        dark = np.full(p.pixels, p.dark_e_s, dtype=np.float32)
        hot = philox(p.geometry_seed, _SENSOR).permutation(p.pixels)[: round(p.hot_pixels * p.pixels)]
        dark[hot] += np.float32(p.hot_e_s)
        self.sensor = Sensor(dark)
        self.n_out = p.output_shape[0] * p.output_shape[1]

    def words(self, seed: int, first_shot: int, frame: int, shots: int) -> Words:
        """Random words of successive shots, (shots, pixels)."""
        pixels, last = self._p.pixels, first_shot + shots - 1
        draws = []
        for group in range(first_shot // _TOGETHER, last // _TOGETHER + 1):
            raw: Any = philox(seed, NOISE, group, frame).bit_generator.random_raw(_TOGETHER * pixels)
            draws.append(np.asarray(raw, dtype=np.uint64))
        found = draws[0] if len(draws) == 1 else np.concatenate(draws)
        row = first_shot % _TOGETHER
        return found.reshape(-1, pixels)[row : row + shots]

    def electrons(self, intensity: Floats, per_intensity: float, exposure_s: float, sensor: Sensor) -> Floats:
        """Mean electrons for intensities (n, pixels) of which 1 gives so many; works in their place."""
        intensity *= np.float32(per_intensity)
        intensity += np.float32(exposure_s) * sensor.dark_e_s
        if sensor.alive is not None:
            intensity *= sensor.alive
        return intensity

    def counts(self, mean_e: Floats, words: Words | None, sensor: Sensor) -> Floats:
        """Readings (n, pixels), whole numbers; without words, without noise."""
        p = self._p
        found = mean_e if words is None else poisson(mean_e, words)
        np.minimum(found, np.float32(p.full_well_e), out=found)
        if words is not None and p.read_noise_e:
            noise = coarse_normals(words, 0)
            noise *= np.float32(p.read_noise_e)
            found += noise
        if words is not None and sensor.extra_e is not None:
            found += sensor.extra_e * coarse_normals(words, 1)
        found *= np.float32(p.counts_per_e)
        found += np.float32(p.offset_counts)
        np.rint(found, out=found)
        np.clip(found, np.float32(0.0), np.float32(p.top_count), out=found)
        return found

    def dark_counts(self, exposure_s: float) -> Floats:
        """Mean reading without light, of the camera as it was built, (pixels,)."""
        electrons = np.minimum(np.float32(exposure_s) * self.sensor.dark_e_s, np.float32(self._p.full_well_e))
        return np.asarray(electrons * np.float32(self._p.counts_per_e) + np.float32(self._p.offset_counts))

    def outputs(self, counts: Floats, dark: Floats) -> Floats:
        """Readings (n, pixels), less a dark frame (pixels,), pooled: (n, n_out), as a fraction of the full well.

        Linear in the intensity, noise around 0 included; or the root of it, with negative readings taken for 0.
        """
        p = self._p
        fraction = counts - dark
        fraction *= np.float32(1.0 / (p.top_count - p.offset_counts))
        if p.readout == "amplitude":
            np.maximum(fraction, np.float32(0.0), out=fraction)
            np.sqrt(fraction, out=fraction)
        return self.pool(fraction)

    def pool(self, values: NDArray[Any]) -> NDArray[Any]:
        """Means of neighbouring pixels, (n, pixels) to (n, n_out)."""
        p = self._p
        if p.pool_size == 1 and p.pool_stride == 1:
            return values
        plane = values.reshape(len(values), *p.camera_shape)
        for axis, side in ((1, p.output_shape[0]), (2, p.output_shape[1])):
            plane = _summed(_padded(plane, axis, p.pool_padding), axis, side, p.pool_size, p.pool_stride)
        plane *= values.dtype.type(1.0 / p.pool_size**2)
        return np.ascontiguousarray(plane).reshape(len(values), self.n_out)

    def unpool(self, back: Array) -> Array:
        """The transpose of :meth:`pool`, (n, n_out) to (n, pixels)."""
        p = self._p
        if p.pool_size == 1 and p.pool_stride == 1:
            return back
        (rows, columns), pad = p.camera_shape, p.pool_padding
        plane = np.zeros((len(back), rows + 2 * pad, columns + 2 * pad))
        shaped = back.reshape(len(back), *p.output_shape) / p.pool_size**2
        high, wide = (p.pool_stride * (side - 1) + 1 for side in p.output_shape)
        for i in range(p.pool_size):
            for j in range(p.pool_size):
                plane[:, i : i + high : p.pool_stride, j : j + wide : p.pool_stride] += shaped
        return np.ascontiguousarray(plane[:, pad : pad + rows, pad : pad + columns]).reshape(len(back), p.pixels)

    def slope(self, mean_e: Array, dark_e: Array, dy: Array) -> Array:
        """From the derivative by outputs to that by mean electrons, rounding left out; 0 where the well is full.

        Parameters
        ----------
        mean_e : ndarray, (n, pixels)
        dark_e : ndarray, (pixels,)
            Of the dark frame.
        dy : ndarray, (n, n_out)
        """
        p = self._p
        back = self.unpool(dy)
        if p.readout == "amplitude":
            fraction = (np.minimum(mean_e, p.full_well_e) - np.minimum(dark_e, p.full_well_e)) / p.full_well_e
            lit = fraction > 0
            back = np.where(lit, back / (2.0 * np.sqrt(np.where(lit, fraction, 1.0))), 0.0)
        return np.asarray(np.where(mean_e < p.full_well_e, back / p.full_well_e, 0.0))


def _padded(plane: NDArray[Any], axis: int, pad: int) -> NDArray[Any]:
    around = [(0, 0)] * 3
    around[axis] = (pad, pad)
    return np.pad(plane, around) if pad else plane


def _summed(plane: NDArray[Any], axis: int, side: int, size: int, stride: int) -> NDArray[Any]:
    """Sums along an axis over windows of `size`, one after another: in the same order for each shot of any batch."""

    def shifted(offset: int) -> NDArray[Any]:
        where = [slice(None)] * 3
        where[axis] = slice(offset, offset + stride * (side - 1) + 1, stride)
        return plane[tuple(where)]

    total = shifted(0).copy()
    for offset in range(1, size):
        total += shifted(offset)
    return total
