"""Least squares for one output of a multiport twin: from a quadratic form to uncoupled pixels to coupled ones.

The squared modulus of the uncoupled model is a quadratic form of the states, which linear least squares finds; its two
leading eigenvectors are the real and imaginary parts of the superposition. From there Levenberg-Marquardt steps fit the
modulus itself, without modes first, then with them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labtrain.layer import Array
from labtrain.twins.cost import product, solution

Complex = NDArray[np.complex128]

_STEPS = 40
_ENOUGH = 1e-3  # relative gain of a step below which the next would be wasted
_SMALL = 0.05  # size of the modes at the beginning
_COMPLETIONS = 200  # rounds that complete the diagonal of the quadratic form
_LARGE = 3.0  # standard deviations of an output: a constant beside which its modulus is nearly a real part


@dataclass
class Model:
    """Parameters of one output; see :mod:`labtrain.twins.multiport`."""

    offset: float
    constant: complex
    first: Complex  # (pixels,)
    second: Complex  # (pixels,)
    modes: Complex  # (pixels, modes)

    def packed(self) -> Array:
        """All parameters as real numbers: offset, real parts, imaginary parts."""
        flat = np.concatenate([[self.constant], self.first, self.second, self.modes.reshape(-1)])
        return np.concatenate([[self.offset], flat.real, flat.imag])

    def moved(self, packed: Array) -> Model:
        """The model of these parameters, shaped as this one."""
        real, imaginary = packed[1:].reshape(2, -1)
        flat, n = real + 1j * imaginary, len(self.first)
        return Model(
            float(packed[0]), flat[0], flat[1 : 1 + n], flat[1 + n : 1 + 2 * n],
            flat[1 + 2 * n :].reshape(self.modes.shape),
        )  # fmt: skip


@dataclass
class Count:
    """Multiply-adds so far."""

    multiply_adds: int = 0


def prediction(rows: int, pixels: int, modes: int, *, slopes: bool = False) -> int:
    """Multiply-adds of :func:`predict`; a real number times a complex one counts as two, two complex ones as four."""
    sums = 2 * rows * pixels * (1 + 2 * modes + modes**2)
    systems = 4 * rows * (solution(modes, 2) + modes)
    return sums + systems + (16 * rows * pixels * (1 + modes) if slopes else 0)


def fit_output(
    states: Array, y: Array, weight: Array, modes: int, rng: np.random.Generator, count: Count | None = None
) -> Model:
    """The model of one output.

    Parameters
    ----------
    states : ndarray, (rows, pixels)
    y : ndarray, (rows,)
    weight : ndarray, (rows,)
        Factor on the residual of each row.
    modes : int
    rng : Generator
        For what begins small and random.
    count : Count, optional
        Gets the multiply-adds on top.
    """
    count = count or Count()
    tried = [_refined(start, states, y, weight, count) for start in _starts(states, y, weight, rng, count)]
    model = min(tried, key=lambda model: _error(model, states, y, weight))
    if modes:
        shape = (len(model.first), modes)
        model.modes = np.asarray(_SMALL * (rng.normal(size=shape) + 1j * rng.normal(size=shape)))
        model = _refined(model, states, y, weight, count)
    return model


def _error(model: Model, states: Array, y: Array, weight: Array) -> float:
    """Weighted sum of squared residuals."""
    return float(np.sum((weight * (y - predict(model, states)[0])) ** 2))


def predict(model: Model, states: Array, *, slopes: bool = False) -> tuple[Array, Array]:
    """Outputs (rows,), and their derivatives by the packed parameters (rows, parameters), empty if not asked for."""
    b, c, f = model.first, model.second, model.modes
    (pixels, modes), rows = f.shape, len(states)
    p, q = states @ (b[:, None] * f), states @ (c[:, None] * f)
    squares = (f[:, :, None] * f[:, None, :]).reshape(pixels, modes * modes)
    system = np.eye(modes) - (states @ squares).reshape(rows, modes, modes)
    solved = np.linalg.solve(system, np.stack([p, q], axis=2))
    to_first, to_second = solved[:, :, 0], solved[:, :, 1]
    h = model.constant + states @ (b * c) + np.sum(p * to_second, axis=1)
    y = np.abs(h) - model.offset
    if not slopes:
        return y, np.empty((rows, 0))
    e = h.conj() / np.maximum(np.abs(h), np.finfo(np.float64).tiny)
    at_first = states * e[:, None] * (b + to_first @ f.T)  # the fields at the pixels, weighted
    at_second = states * e[:, None] * (c + to_second @ f.T)
    by_modes = at_first[:, :, None] * to_second[:, None, :] + at_second[:, :, None] * to_first[:, None, :]
    by = np.concatenate([e[:, None], at_second, at_first, by_modes.reshape(rows, pixels * modes)], axis=1)
    return y, np.concatenate([np.full((rows, 1), -1.0), by.real, -by.imag], axis=1)


def _refined(model: Model, states: Array, y: Array, weight: Array, count: Count) -> Model:
    """The model after Levenberg-Marquardt steps (Marquardt, SIAM J. Appl. Math. 11, 431 (1963))."""
    at, damping, shape = model.packed(), 1e-2, (len(states), *model.modes.shape)
    predicted, slopes = predict(model, states, slopes=True)
    left = weight * (y - predicted)
    cost = float(left @ left)
    for _ in range(_STEPS):
        count.multiply_adds += prediction(*shape, slopes=True) + product(len(states), len(at), 1)
        slopes *= weight[:, None]
        normal, towards = slopes.T @ slopes, slopes.T @ left
        scale = np.diag(normal) + 1e-3 * np.trace(normal) / len(normal)
        while True:
            count.multiply_adds += solution(len(at), 1) + prediction(*shape)
            step = np.linalg.solve(normal + np.diag(damping * scale), towards)
            tried = model.moved(at + step)
            now = weight * (y - predict(tried, states)[0])
            if (reached := float(now @ now)) < cost:
                break
            damping *= 4
            if damping > 1e6:
                return model
        gain, at, model, cost = 1 - reached / cost, at + step, tried, reached
        if gain < _ENOUGH:
            break
        damping = max(damping / 5, 1e-9)
        predicted, slopes = predict(model, states, slopes=True)
        left = weight * (y - predicted)
    return model


def _starts(states: Array, y: Array, weight: Array, rng: np.random.Generator, count: Count) -> list[Model]:
    """Where the steps may begin: pixels that do not couple."""
    z = np.column_stack([np.ones(len(states)), states])
    (rows, terms), pairs = z.shape, 2 + z.shape[1] * (z.shape[1] - 1) // 2
    eigenvectors = 9 * terms**3 // 2  # of a symmetric matrix (Golub, Van Loan, Matrix Computations, 8.3)
    count.multiply_adds += rows * terms**2  # least squares
    count.multiply_adds += product(rows, pairs, 1) + solution(pairs, 1) + _COMPLETIONS * eigenvectors
    found = np.linalg.lstsq(z * weight[:, None], y * weight, rcond=None)[0]
    # Beside a large constant a modulus is all but a real part, and the imaginary parts of the products begin small.
    affine = found + 0.1j * np.abs(found).mean() * rng.normal(size=len(found))
    large = _LARGE * float(y.std())
    affine[0] += large - y.mean()
    return [_uncoupled(*_of_modulus(states, y, weight)), _uncoupled(large - float(y.mean()), affine)]


def _uncoupled(offset: float, constant_and_products: Complex) -> Model:
    """Half of each product b c in either of its factors."""
    roots = np.sqrt(constant_and_products[1:].astype(np.complex128))
    none = np.empty((len(roots), 0), dtype=np.complex128)
    return Model(offset, complex(constant_and_products[0]), roots, roots.copy(), none)


def _of_modulus(states: Array, y: Array, weight: Array) -> tuple[float, Complex]:
    """Offset and [a, b c] of ``y = |a + sum s_i b_i c_i| - offset``, from y^2 = Q(s) - 2 offset y - offset^2.

    With states of -1 and 1 squares tell nothing, so the diagonal of Q is completed to that of a matrix of rank two.
    """
    z = np.column_stack([np.ones(len(states)), 2 * states - 1])
    first, second = np.triu_indices(z.shape[1], 1)
    products = np.column_stack([np.ones(len(z)), y, z[:, first] * z[:, second]]) * weight[:, None]
    normal = products.T @ products
    normal[np.diag_indices_from(normal)] += 1e-6 * np.trace(normal) / len(normal)
    found = np.linalg.solve(normal, products.T @ (weight * y**2))
    offset = -found[1] / 2
    form = np.zeros((z.shape[1], z.shape[1]))
    form[first, second] = found[2:] / 2
    form += form.T
    diagonal = np.full(len(form), max(found[0] + offset**2, 0.0) / len(form))
    for _ in range(_COMPLETIONS):
        form[np.diag_indices_from(form)] = diagonal
        values, vectors = np.linalg.eigh(form)
        parts = vectors[:, -2:] * np.sqrt(np.maximum(values[-2:], 0.0))
        diagonal = np.sum(parts**2, axis=1)
    h = parts[:, 0] + 1j * parts[:, 1]
    return float(offset), np.concatenate([[h[0] - h[1:].sum()], 2 * h[1:]])
