"""The wave twin: a rig whose responses are amplitudes behind a linear wave system.

Such an amplitude is the modulus of a superposition, ``y_k = |a_k + sum_i h_ki x_i|``, so its square is a quadratic form
of the drive, ``y_k^2 = [1, x]^T Q_k [1, x]``. Fitting the form is linear algebra.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import fdtrc

from labtrain.errors import DataError, InputError
from labtrain.layer import Array
from labtrain.twins.cost import Costed, costed, product, solution
from labtrain.twins.twin import check_drives, check_pairs, weights_by_age

# An input counts as reaching an output if its terms explain at least this share of what is unexplained without them,
# and significantly so. With thousands of rows significance alone is too easy: a slight saturation passes it.
_REACH = 0.2
_SIGNIFICANCE = 0.01  # chance that any dead input of a twin passes for live
_ROUNDING = 1e-10  # share of a response's power that may be rounding or the bias of the ridge
_ROWS = 512  # that are worked on at once: what they need stays in the cache
_FLOOR = 0.05  # of an output's rms: below it an amplitude is not resolved, so no row weighs more than this allows


class WaveTwin(Costed):
    """Quadratic-form model of a rig whose responses are wave amplitudes.

    Attributes
    ----------
    n_in, n_out : int
        Widths of a drive and of a response.
    live_inputs, dead_inputs : tuple of int
        Inputs that reach at least one output, and those that reach none; the model leaves the dead ones out.
    coefficients : ndarray, (terms, n_out)
        Upper triangles of all Q_k: terms z_i z_j, i <= j, of z = [1, live inputs], in the order of ``triu_indices``.
    rmse : ndarray, (n_out,)
        Root mean square of the residuals over the fitted rows, in the unit of y.
    """

    kind: ClassVar[str] = "wave"

    n_in: int
    n_out: int
    fingerprint: str | None = None
    errors: Array | None = None
    rms: Array
    live_inputs: tuple[int, ...]
    coefficients: Array
    rmse: Array

    @property
    def dead_inputs(self) -> tuple[int, ...]:
        return tuple(i for i in range(self.n_in) if i not in self.live_inputs)

    @property
    def least(self) -> Array:
        """Below what no response can be, (n_out,)."""
        return np.zeros(self.n_out)

    @costed
    def fit(self, x: ArrayLike, y: ArrayLike, *, ridge: float = 1e-8, half_life: float | None = None) -> WaveTwin:
        """Fit the form to recorded pairs, in the order in which they were measured.

        Least squares on y^2 finds the inputs that matter and a first form; one Gauss-Newton step from there
        minimises the error of y itself (on y^2 alone, loud rows would count most).

        Parameters
        ----------
        x : array_like, (rows, n_in)
        y : array_like, (rows, n_out)
            Amplitudes, not negative.
        ridge : float
            Penalty on the coefficients, as a share of the mean diagonal of the normal equations.
        half_life : float, optional
            Rows after which a pair counts half as much as the latest one, for a rig that drifts.

        Returns
        -------
        WaveTwin
            This twin.

        Raises
        ------
        DataError
            If the pairs do not fit together, an amplitude is negative, there are too few rows for the terms, or no
            input reaches any output.
        InputError
            If `ridge` or `half_life` is out of range.
        """
        x, y = check_pairs(x, y)
        if not ridge > 0:
            raise InputError(f"twin: asked ridge {ridge:g}, allowed above 0; set rig.ridge")
        if half_life is not None and not half_life > 0:
            raise InputError(
                f"twin: asked a half-life of {half_life:g} rows, allowed above 0; set rig.half_life_rows or --half-life"
            )
        if (y < 0).any():
            row, column = (int(i) for i in np.argwhere(y < 0)[0])
            raise DataError(
                f"twin: array 'y' holds {y[row, column]:g} in row {row}, column {column}; amplitudes are never negative"
            )
        weight = weights_by_age(len(x), half_life)
        rows = float(weight.sum() ** 2 / (weight**2).sum())  # effective number of rows
        count = (x.shape[1] + 1) * (x.shape[1] + 2) // 2
        if rows <= count:
            raise DataError(
                f"twin: {rows:.0f} effective rows cannot fix the {count} terms of {x.shape[1]} inputs; "
                "record more pairs or set a longer half-life (rig.half_life_rows, --half-life)"
            )
        self.n_in, self.n_out = x.shape[1], y.shape[1]
        self.live_inputs = _live_inputs(x, y**2, weight, rows, ridge)
        if not self.live_inputs:
            raise DataError("twin: no input reaches any output; check that the rows of 'x' and 'y' belong together")
        terms = _terms(x[:, self.live_inputs])
        self.coefficients = _ridge_fit(terms, y**2, weight, ridge)
        for k in range(self.n_out):
            floor = max(_FLOOR * float(np.sqrt(np.mean(y[:, k] ** 2))), float(np.finfo(np.float64).tiny))
            s = np.sqrt(np.maximum(self.coefficients[:, k] @ terms, 0.0))
            # y - sqrt(P q) linearised around P q = s^2 is (s (2 y - s) - P q) / (2 s).
            target, resolved = s * (2 * y[:, k] - s), np.maximum(s, floor)
            self.coefficients[:, k] = _ridge_fit(terms, target[:, None], weight / resolved**2, ridge)[:, 0]
        self.rms = np.sqrt(np.mean(y**2, axis=0))
        predicted = np.sqrt(np.maximum(self.coefficients.T @ terms, 0.0)).T
        self.rmse = np.sqrt(np.mean((y - predicted) ** 2, axis=0))
        self._multiply_adds = _fit_multiply_adds(len(x), self.n_in, len(self.live_inputs), self.n_out)
        return self

    def predict(self, x: ArrayLike) -> Array:
        """Responses (rows, n_out) to drives (rows, n_in); values outside the fitted domain are extrapolated.

        Elementwise arithmetic in a fixed order: the answer to a row is the same bit for bit in every batch, which a
        library's matrix product does not promise.

        Raises
        ------
        InputError
            If the width of the drives is not the fitted one.
        """
        drive, _ = check_drives(self, x)
        response: Array = np.sqrt(np.maximum(self._power(drive), 0.0)).T
        return response

    def vjp(self, x: ArrayLike, dy: ArrayLike) -> Array:
        """Vector-Jacobian product, (rows, n_in), of `dy` (rows, n_out) at the drives `x` (rows, n_in).

        From y_k^2 = z^T Q_k z follows d y_k / d z_i = (Q_k z)_i / y_k. Where the form is not positive, so that the
        prediction stands at 0, the gradient of that output is 0; dead inputs have none either. Elementwise in a fixed
        order, as :meth:`predict`.

        Raises
        ------
        InputError
            If a width is not the fitted one.
        """
        drive, vector = check_drives(self, x, dy)
        power = self._power(drive)
        above = power > 0
        weight = np.where(above, vector.T / (2 * np.sqrt(np.where(above, power, 1.0))), 0.0)
        inner = np.zeros((len(self.coefficients), len(drive)))
        for row, column in zip(weight, self.coefficients.T, strict=True):
            inner += column[:, None] * row
        z = np.vstack([np.ones(len(drive)), drive[:, self.live_inputs].T])
        gradient = np.zeros_like(z)
        for i, j, part in zip(*np.triu_indices(len(z)), inner, strict=True):
            gradient[i] += part * z[j]
            gradient[j] += part * z[i]
        dx = np.zeros(drive.shape)
        dx[:, self.live_inputs] = gradient[1:].T
        return dx

    def _power(self, drive: Array) -> Array:
        """The quadratic forms z^T Q_k z, (n_out, rows)."""
        power = np.zeros((self.n_out, len(drive)))
        for term, column in zip(_terms(drive[:, self.live_inputs]), self.coefficients, strict=True):
            power += column[:, None] * term
        return power

    def residuals(self, x: ArrayLike, y: ArrayLike) -> Array:
        """Measured minus predicted responses, (rows, n_out)."""
        x, y = check_pairs(x, y)
        return y - self.predict(x)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything that defines the twin, as named arrays for an .npz file."""
        return {
            "n_in": np.array(self.n_in),
            "live_inputs": np.array(self.live_inputs, dtype=np.int64),
            "coefficients": self.coefficients,
            "rmse": self.rmse,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> WaveTwin:
        """The twin that :meth:`arrays` described."""
        twin = cls()
        twin.n_in = int(arrays["n_in"])
        twin.live_inputs = tuple(int(i) for i in arrays["live_inputs"])
        twin.coefficients = np.asarray(arrays["coefficients"], dtype=np.float64)
        twin.n_out = twin.coefficients.shape[1]
        twin.rmse = np.asarray(arrays["rmse"], dtype=np.float64)
        return twin


def _terms(x: Array) -> Array:
    """Products z_i z_j, i <= j, of z = [1, x], as (terms, rows)."""
    z = np.vstack([np.ones(len(x)), x.T])
    first, second = np.triu_indices(len(z))
    products: Array = z[first] * z[second]
    return products


def _normal(terms: Array, target: Array, weight: Array, ridge: float) -> tuple[Array, Array]:
    """Normal equations with their penalty, (terms, terms), and their right side, (terms, targets)."""
    root = np.sqrt(weight)
    gram, right = np.zeros((len(terms), len(terms))), np.zeros((len(terms), target.shape[1]))
    for at in range(0, len(root), _ROWS):
        rows = slice(at, at + _ROWS)
        scaled = terms[:, rows] * root[rows]
        gram += scaled @ scaled.T  # a product with itself costs half
        right += scaled @ (root[rows, None] * target[rows])
    gram[np.diag_indices_from(gram)] += ridge * np.trace(gram) / len(gram)
    return gram, right


def _ridge_fit(terms: Array, target: Array, weight: Array, ridge: float) -> Array:
    return np.asarray(np.linalg.solve(*_normal(terms, target, weight, ridge)))


def _live_inputs(x: Array, power: Array, weight: Array, rows: float, ridge: float) -> tuple[int, ...]:
    """Inputs whose terms, dropped together from the full form, are missed by at least one output (partial F test)."""
    n_in, n_out = x.shape[1], power.shape[1]
    terms = _terms(x)
    gram, right = _normal(terms, power, weight, ridge)
    covariance = np.linalg.inv(gram)
    coefficients = covariance @ right
    rest = np.sum(weight[:, None] * (power - terms.T @ coefficients) ** 2, axis=0)
    rest += _ROUNDING * np.sum(weight[:, None] * power**2, axis=0)
    first, second = np.triu_indices(n_in + 1)
    live = []
    for i in range(n_in):
        own = np.flatnonzero((first == i + 1) | (second == i + 1))
        part = coefficients[own]
        gain = np.sum(part * np.linalg.solve(covariance[np.ix_(own, own)], part), axis=0)
        heard = gain > 0
        statistic = gain[heard] / rest[heard] * (rows - len(gram)) / len(own)
        chance = fdtrc(len(own), rows - len(gram), statistic)
        share = gain[heard] / (gain[heard] + rest[heard])
        if np.any((share >= _REACH) & (chance < _SIGNIFICANCE / (n_in * n_out))):
            live.append(i)
    return tuple(live)


def _fit_multiply_adds(rows: int, n_in: int, live: int, n_out: int) -> int:
    """Of :meth:`WaveTwin.fit`: the test for inputs that matter, the form of all outputs, a step for each of them."""
    full, kept, own = (n_in + 1) * (n_in + 2) // 2, (live + 1) * (live + 2) // 2, n_in + 1
    tests = product(rows, full, n_out) + full**3 + full**2 * n_out + rows * full * n_out + n_in * solution(own, n_out)
    form = product(rows, kept, n_out) + solution(kept, n_out)
    steps = n_out * (rows * kept + product(rows, kept, 1) + solution(kept, 1))
    return tests + form + steps + rows * kept * n_out  # at the end what it predicts
