"""The speckle twin: an optical layer whose transmission matrix was measured by phase stepping.

    E_k = t_k0 + sum_i t_ki exp(i range x_i),      y = pool(I), or pool(sqrt(I)),      I_k = min(|E_k|^2, full_k)

It is not fitted to pairs of a recording: :mod:`labtrain.twins.phase_stepping` has what is shown and what follows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labtrain.layer import Array
from labtrain.sim.optics.camera import Camera
from labtrain.sim.optics.parameters import OpticalParameters
from labtrain.twins.cost import Costed
from labtrain.twins.twin import check_drives

Complex = NDArray[np.complex128]

_CACHED = 2**15  # numbers of a field that are worked on at once


class SpeckleTwin(Costed):
    """Phases of the inputs through a matrix to a camera.

    Parameters
    ----------
    transmission : ndarray, (1 + n_in, pixels), complex
        t_0 first; |E|^2 of 1 is a full pixel.
    phase_range_rad : float
        From drive 0 to drive 1.
    camera_shape : (int, int)
        Rows and columns of the pixels.
    pool : (int, int, int)
        Size, stride and padding.
    readout : "intensity" or "amplitude"
    full : ndarray, (pixels,), optional
        Intensity at which a pixel is full; default: none is.
    """

    kind: ClassVar[str] = "speckle"

    fingerprint: str | None = None
    errors: Array | None = None
    rms: Array

    def __init__(
        self,
        transmission: Complex,
        phase_range_rad: float,
        camera_shape: tuple[int, int],
        pool: tuple[int, int, int] = (1, 1, 0),
        readout: Literal["intensity", "amplitude"] = "intensity",
        full: ArrayLike = np.inf,
    ) -> None:
        self.transmission = np.asarray(transmission, dtype=np.complex128)
        self.phase_range_rad, self.readout = float(phase_range_rad), readout
        size, stride, padding = pool
        self._p = OpticalParameters(
            camera_shape=camera_shape, pool_size=size, pool_stride=stride, pool_padding=padding, readout=readout,
            hot_pixels=0.0,
        )  # fmt: skip
        self._camera = Camera(self._p)
        self.n_in, self.n_out = len(self.transmission) - 1, self._camera.n_out
        if self.transmission.shape != (self.n_in + 1, self._p.pixels):
            raise ValueError(f"a matrix of shape {self.transmission.shape} for {self._p.pixels} pixels")
        self.full = np.broadcast_to(np.asarray(full, dtype=np.float64), (self._p.pixels,))
        self.rms = np.ones(self.n_out)

    @property
    def dead_inputs(self) -> tuple[int, ...]:
        """None: an input that moves no light is seen as a small one."""
        return ()

    @property
    def least(self) -> Array:
        """Intensities scatter around 0 in the dark; a root does not fall below it."""
        return np.full(self.n_out, 0.0 if self.readout == "amplitude" else -np.inf)

    def predict(self, x: ArrayLike) -> Array:
        """Responses (rows, n_out) to drives (rows, n_in), without noise.

        Sums are elementwise and in a fixed order: the answer to a row is the same bit for bit in every batch.

        Raises
        ------
        InputError
            If the width of the drives is not that of the twin.
        """
        drive, _ = check_drives(self, x)
        response = np.empty((len(drive), self.n_out))
        for rows in self._parts(len(drive)):
            real, imaginary = self._field(drive[rows])
            pixel = np.minimum(real**2 + imaginary**2, self.full)
            response[rows] = self._camera.pool(np.sqrt(pixel) if self.readout == "amplitude" else pixel)
        return response

    def vjp(self, x: ArrayLike, dy: ArrayLike) -> Array:
        """Vector-Jacobian product, (rows, n_in), of `dy` (rows, n_out) at the drives `x` (rows, n_in).

        dI_k / d x_i = 2 range Re(i E_k* t_ki exp(i range x_i)). A full pixel passes nothing; and the root of an
        intensity has no slope where it is 0, there it is taken for 0.

        Raises
        ------
        InputError
            If a width is not that of the twin.
        """
        drive, vector = check_drives(self, x, dy)
        dx = np.empty(drive.shape)
        for rows in self._parts(len(drive)):
            real, imaginary = self._field(drive[rows])
            power = real**2 + imaginary**2
            by_pixel = np.where(power < self.full, self._camera.unpool(vector[rows]), 0.0)
            if self.readout == "amplitude":
                size = np.sqrt(power)
                by_pixel = np.where(size > 0, by_pixel / (2.0 * np.where(size > 0, size, 1.0)), 0.0)
            real, imaginary = real * by_pixel, imaginary * by_pixel  # of b E; below b E* t = (u + i v) by its parts
            phase = self.phase_range_rad * drive[rows]
            for i, (a, b) in enumerate(zip(self.transmission.real[1:], self.transmission.imag[1:], strict=True)):
                u = (real * a + imaginary * b).sum(axis=1)
                v = (real * b - imaginary * a).sum(axis=1)
                dx[rows, i] = -2.0 * self.phase_range_rad * (u * np.sin(phase[:, i]) + v * np.cos(phase[:, i]))
        return dx

    def _field(self, drive: Array) -> tuple[Array, Array]:
        """Real and imaginary part of E, (rows, pixels)."""
        phase = self.phase_range_rad * drive
        cosine, sine = np.cos(phase), np.sin(phase)
        real, imaginary = (np.tile(part[0], (len(drive), 1)) for part in self._both)
        for i, (a, b) in enumerate(zip(self.transmission.real[1:], self.transmission.imag[1:], strict=True)):
            c, s = cosine[:, i, None], sine[:, i, None]
            real += c * a - s * b
            imaginary += c * b + s * a
        return real, imaginary

    @property
    def _both(self) -> tuple[Array, Array]:
        return self.transmission.real, self.transmission.imag

    def _parts(self, rows: int) -> Iterator[slice]:
        size = max(1, _CACHED // self._p.pixels)
        yield from (slice(at, at + size) for at in range(0, rows, size))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything that defines the twin, as named arrays for an .npz file."""
        p = self._p
        return {
            "real": self.transmission.real,
            "imaginary": self.transmission.imag,
            "phase_range_rad": np.array(self.phase_range_rad),
            "camera_shape": np.array(p.camera_shape),
            "pool": np.array([p.pool_size, p.pool_stride, p.pool_padding]),
            "readout": np.array(self.readout),
            "full": self.full,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> SpeckleTwin:
        """The twin that :meth:`arrays` described."""
        rows, columns = (int(side) for side in arrays["camera_shape"])
        size, stride, padding = (int(number) for number in arrays["pool"])
        readout: Any = str(arrays["readout"])
        return cls(
            arrays["real"] + 1j * arrays["imaginary"], float(arrays["phase_range_rad"]), (rows, columns),
            (size, stride, padding), readout, arrays["full"],
        )  # fmt: skip
