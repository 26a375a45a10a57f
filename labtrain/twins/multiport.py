"""The multiport twin: a microwave room whose metasurface pixels are switched loads of a multiport network.

A pixel is a port with a load of two values. With the coupled dipoles of PhysFad (Faqiri et al., IEEE Trans. Wireless
Commun. 22, 580 (2023)), which is the multiport model of del Hougne (arXiv:2409.20509, arXiv:2507.02168) in other words,
the transfer from one antenna to another is

    H(s) = a + b^T S (I - C S)^-1 c,    S = diag(s),   s_i in {0, 1} the states of the pixels:

`a` is the room with all pixels off, b_i and c_i couple pixel i to the two antennas, C couples the pixels to each other;
the change of a pixel's polarisability and its own reverberation are absorbed in them (only their products can be known
from outside: arXiv:2507.22750). A full C would take N (N - 1) / 2 complex numbers. Here the pixels talk to each other
through a few modes of the room, C = F F^T with F (N, modes), so that a model costs 1 + N (2 + modes) complex numbers
for each output, and an answer one small system of equations, whatever N:

    H(s) = a + sum_i s_i b_i c_i + p^T (I - G)^-1 q
    p = sum_i s_i b_i f_i,   q = sum_i s_i c_i f_i,   G = sum_i s_i f_i f_i^T

Without modes the pixels do not couple, the cascaded model. An output is ``|H| - offset``; a real or imaginary part is
the limit of a large constant, so that complex readouts are fitted as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labtrain.errors import DataError, InputError
from labtrain.layer import Array
from labtrain.twins.cost import Costed, costed
from labtrain.twins.loads import Loads
from labtrain.twins.multiport_fit import Count, fit_output, prediction
from labtrain.twins.twin import check_drives, check_pairs, weights_by_age

Complex = NDArray[np.complex128]

_BLOCK = 256  # rows that are worked on at once: what they need stays in the cache


class MultiportTwin(Costed):
    """Coupled pixels in a room, one set of parameters for each output.

    Attributes
    ----------
    n_in, n_out : int
        Widths of a drive and of a response.
    loads : Loads
        Which pixels the inputs switch, and at which drives.
    offset : ndarray, (n_out,), float64
    constant : ndarray, (n_out,), complex128
        a of each output.
    first, second : ndarray, (n_out, pixels), complex128
        b and c, the couplings of the pixels to the antennas.
    modes : ndarray, (n_out, pixels, modes), complex128
        F, through which they couple to each other.
    rmse : ndarray, (n_out,)
        Root mean square of the residuals over the fitted rows, in the unit of y.
    """

    kind: ClassVar[str] = "multiport"

    n_in: int
    n_out: int
    fingerprint: str | None = None
    errors: Array | None = None
    rms: Array
    loads: Loads
    offset: Array
    constant: Complex
    first: Complex
    second: Complex
    modes: Complex
    rmse: Array

    @property
    def dead_inputs(self) -> tuple[int, ...]:
        """Inputs that switch nothing: they never changed in the recording."""
        return tuple(sorted(set(range(self.n_in)) - set(self.loads.inputs.tolist())))

    @property
    def least(self) -> Array:
        """Below what no response can be, (n_out,)."""
        return -self.offset

    @costed
    def fit(
        self,
        x: ArrayLike,
        y: ArrayLike,
        *,
        modes: int = 4,
        half_life: float | None = None,
        seed: int = 0,
        told: Callable[[int, int], object] | None = None,
    ) -> MultiportTwin:
        """Fit one model to each output by least squares, from the uncoupled model on.

        Parameters
        ----------
        x : array_like, (rows, n_in)
            Random patterns: drives of few values each, as a layer with pixels is told.
        y : array_like, (rows, n_out)
        modes : int
            Through which the pixels couple; each costs two real numbers a pixel and output.
        half_life : float, optional
            Rows after which a pair counts half as much as the latest one, for a room that drifts.
        seed : int
            Of the modes at the beginning.
        told : callable (outputs done, outputs), optional

        Raises
        ------
        DataError
            If the pairs do not fit together, an input takes too many values, or there are too few rows.
        InputError
            If an option is out of range.
        """
        x, y = check_pairs(x, y)
        if modes < 0:
            raise InputError(f"twin: asked {modes} modes, allowed 0 or more; set --modes")
        if half_life is not None and not half_life > 0:
            raise InputError(f"twin: asked a half-life of {half_life:g} rows, allowed above 0; set --half-life")
        weight = weights_by_age(len(x), half_life)
        rows = float(weight.sum() ** 2 / (weight**2).sum())  # effective number of rows
        self.n_in, self.n_out = x.shape[1], y.shape[1]
        self.loads = Loads.of(x)
        pixels = len(self.loads.inputs)
        unknown = 1 + 2 * (1 + pixels * (2 + modes))
        if rows <= unknown:
            raise DataError(
                f"twin: {rows:.0f} effective rows cannot fix the {unknown} numbers of {pixels} pixels and {modes} "
                "modes; record more pairs, or set a smaller --modes or a longer --half-life"
            )
        states, rng = self.loads.states(x), np.random.default_rng(seed)
        root = np.sqrt(weight)
        found, count = [], Count()
        for k in range(self.n_out):
            found.append(fit_output(states, y[:, k], root, modes, rng, count))
            if told is not None:
                told(k + 1, self.n_out)
        self.offset = np.array([model.offset for model in found])
        self.constant = np.array([model.constant for model in found])
        self.first = np.array([model.first for model in found])
        self.second = np.array([model.second for model in found])
        self.modes = np.array([model.modes for model in found])
        self.rms = np.sqrt(np.mean(y**2, axis=0))
        self.rmse = np.sqrt(np.mean((y - self.predict(x)) ** 2, axis=0))
        self._multiply_adds = count.multiply_adds + self.n_out * prediction(len(x), pixels, modes)
        return self

    def predict(self, x: ArrayLike) -> Array:
        """Responses (rows, n_out) to drives (rows, n_in); between the values of an input its load changes linearly.

        Sums are elementwise and in a fixed order: the answer to a row is the same bit for bit in every batch.

        Raises
        ------
        InputError
            If the width of the drives is not the fitted one.
        """
        drive, _ = check_drives(self, x)
        response = np.empty((len(drive), self.n_out))
        for at in range(0, len(drive), _BLOCK):
            h = self._transfer(self.loads.states(drive[at : at + _BLOCK]))[0]
            # Not abs(): it may round differently at the end of an array than in its vectorised middle.
            response[at : at + _BLOCK] = np.sqrt(h.real**2 + h.imag**2).T - self.offset
        return response

    def vjp(self, x: ArrayLike, dy: ArrayLike) -> Array:
        """Vector-Jacobian product, (rows, n_in), of `dy` (rows, n_out) at the drives `x` (rows, n_in).

        The states are relaxed to [0, 1]. dH / ds_i is the product of the fields that the antennas make at pixel i,
        by way of the other pixels too: (b_i + f_i^T (I - G)^-1 p) (c_i + f_i^T (I - G)^-1 q).

        Raises
        ------
        InputError
            If a width is not the fitted one.
        """
        drive, vector = check_drives(self, x, dy)
        dx = np.empty(drive.shape)
        for at in range(0, len(drive), _BLOCK):
            part, along = drive[at : at + _BLOCK], vector[at : at + _BLOCK].T
            h, to_first, to_second = self._transfer(self.loads.states(part))
            size = np.abs(h)
            weight = along * np.where(size > 0, h.conj(), 0) / np.where(size > 0, size, 1.0)
            ds = np.zeros((len(part), self.first.shape[1]))
            for k in range(self.n_out):
                fields = (self.first[k] + to_first[k] @ self.modes[k].T) * (
                    self.second[k] + to_second[k] @ self.modes[k].T
                )
                ds += (weight[k][:, None] * fields).real
            dx[at : at + _BLOCK] = self.loads.pull_back(part, ds)
        return dx

    def _transfer(self, states: Array) -> tuple[Complex, Complex, Complex]:
        """H (n_out, rows), (I - G)^-1 p and (I - G)^-1 q (n_out, rows, modes)."""
        rows, count = len(states), self.modes.shape[2]
        i, j = np.triu_indices(count)
        f = self.modes
        # Of each pixel, what it adds to a sum over states: b c, b f, c f, and the upper triangle of f f^T.
        adds = np.concatenate(
            [
                (self.first * self.second)[:, :, None],
                self.first[:, :, None] * f,
                self.second[:, :, None] * f,
                f[:, :, i] * f[:, :, j],
            ],
            axis=2,
        )
        parts = np.stack([adds.real, adds.imag])[:, :, :, :, None]
        total = np.zeros((2, self.n_out, adds.shape[2], rows))
        for pixel, state in enumerate(states.T):
            total += parts[:, :, pixel] * state
        sums: Complex = np.empty(total.shape[1:], dtype=np.complex128)
        sums.real, sums.imag = total
        sums = np.ascontiguousarray(sums.transpose(0, 2, 1))  # (n_out, rows, what is added)
        direct, p, q = sums[..., 0], sums[..., 1 : 1 + count], sums[..., 1 + count : 1 + 2 * count]
        h = direct + self.constant[:, None]
        if not count:
            return h, p, q
        system = np.broadcast_to(np.eye(count, dtype=np.complex128), (self.n_out, rows, count, count)).copy()
        system[..., i, j] -= sums[..., 1 + 2 * count :]
        system[..., j, i] = system[..., i, j]
        solved: Complex = np.linalg.solve(system, np.stack([p, q], axis=-1)).astype(np.complex128)
        to_first, to_second = solved[..., 0], solved[..., 1]
        for mode in range(count):  # in real arithmetic: a complex product may round differently at an array's end
            a, b = p[..., mode], to_second[..., mode]
            h.real += a.real * b.real - a.imag * b.imag
            h.imag += a.real * b.imag + a.imag * b.real
        return h, to_first, to_second

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything that defines the twin, as named arrays for an .npz file."""
        return self.loads.arrays() | {
            "n_in": np.array(self.n_in),
            "offset": self.offset,
            "constant": self.constant,
            "first": self.first,
            "second": self.second,
            "modes": self.modes,
            "rmse": self.rmse,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> MultiportTwin:
        """The twin that :meth:`arrays` described."""
        twin = cls()
        twin.n_in, twin.loads = int(arrays["n_in"]), Loads.from_arrays(arrays)
        twin.offset, twin.rmse = (np.asarray(arrays[name], dtype=np.float64) for name in ("offset", "rmse"))
        twin.constant, twin.first, twin.second, twin.modes = (
            np.asarray(arrays[name], dtype=np.complex128) for name in ("constant", "first", "second", "modes")
        )
        twin.n_out = len(twin.offset)
        return twin
