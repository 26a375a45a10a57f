"""What every digital twin is: a differentiable model of a layer, and how honestly it is judged."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labtrain.errors import DataError, InputError
from labtrain.layer import Array, LayerInfo, PhysicalLayer
from labtrain.sim.vectors import check_vectors
from labtrain.twins.cost import FitCost

_LOG = logging.getLogger("labtrain")

_FREEDOM = 10  # repeated readings from which a repeatability is estimated


class Twin(Protocol):
    """A model that was fitted to recorded drives and responses of one layer.

    Attributes
    ----------
    kind : str
        Its name in a file and on the command line.
    n_in, n_out : int
        Widths of a drive and of a response.
    dead_inputs : tuple of int
        Inputs that reach no output, where the fit can tell.
    fingerprint : str or None
        Of the layer it was fitted to (``LayerInfo.fingerprint``); None if the recording does not tell.
    rms : ndarray, (n_out,)
        Root mean square of the responses it was fitted to.
    errors : ndarray, (rows, n_out), or None
        Measured minus predicted responses of pairs that it was not fitted to, the latest last.
    fit_cost : FitCost or None
        What fitting it took; None for twins of an older labtrain.
    """

    kind: ClassVar[str]
    n_in: int
    n_out: int
    fingerprint: str | None
    errors: Array | None
    rms: Array
    fit_cost: FitCost | None

    @property
    def dead_inputs(self) -> tuple[int, ...]:
        """Inputs that reach no output."""

    @property
    def least(self) -> Array:
        """Below what no response can be, (n_out,)."""

    def predict(self, x: ArrayLike) -> Array:
        """Responses (rows, n_out) to drives (rows, n_in); the answer to a row does not depend on the others."""

    def vjp(self, x: ArrayLike, dy: ArrayLike) -> Array:
        """Vector-Jacobian product dx_i = sum_k dy_k d y_k(x) / d x_i, (rows, n_in), of `dy` (rows, n_out)."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything that the fit found, as named arrays without objects."""

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The twin that :meth:`arrays` described."""


def check_pairs(x: ArrayLike, y: ArrayLike, who: str = "twin") -> tuple[Array, Array]:
    """Return drives and responses as float64 (rows, n_in) and (rows, n_out).

    Raises
    ------
    DataError
        If an array is not numeric or not two-dimensional, the numbers of rows differ, or a value is NaN or infinite.
    """
    arrays: list[Array] = []
    for name, values in (("x", x), ("y", y)):
        try:
            array = np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError):
            raise DataError(f"{who}: array {name!r} is not numeric; store numbers of shape (rows, columns)") from None
        if array.ndim != 2 or 0 in array.shape:
            raise DataError(f"{who}: array {name!r} has shape {array.shape}, needed (rows, columns), neither empty")
        bad = ~np.isfinite(array)
        if bad.any():
            row, column = (int(i) for i in np.argwhere(bad)[0])
            raise DataError(
                f"{who}: array {name!r} holds {array[row, column]} in row {row}, column {column}; remove such rows"
            )
        arrays.append(array)
    if len(arrays[0]) != len(arrays[1]):
        raise DataError(
            f"{who}: 'x' has {len(arrays[0])} rows and 'y' has {len(arrays[1])}; each drive needs one response"
        )
    return arrays[0], arrays[1]


def check_drives(twin: Twin, x: ArrayLike, dy: ArrayLike | None = None) -> tuple[Array, Array]:
    """Drives, and the vectors of a :meth:`Twin.vjp` (zeros without), as float64 of the twin's widths.

    Raises
    ------
    InputError
        If a shape does not fit.
    """
    drive = np.asarray(x, dtype=np.float64)
    if drive.ndim != 2 or drive.shape[1] != twin.n_in:
        raise InputError(f"twin: drive has shape {drive.shape}, needed (rows, {twin.n_in})")
    if dy is None:
        return drive, np.zeros((len(drive), twin.n_out))
    return drive, check_vectors(dy, len(drive), twin.n_out, "twin")


def check_layer(twin: Twin, info: LayerInfo, who: str, of: str, error: type[InputError] = InputError) -> None:
    """Refuse a twin that is none of a layer; a twin that does not tell its rig passes with a warning.

    Parameters
    ----------
    info : LayerInfo
        Of the layer that the twin is to stand for.
    who, of : str
        The twin, and whose layer it is, as the sentence names them.

    Raises
    ------
    InputError, or `error`
        If the widths differ, or it was fitted to another rig.
    """
    if (twin.n_in, twin.n_out) != (info.n_in, info.n_out):
        raise error(
            f"{who} has {twin.n_in} inputs and {twin.n_out} outputs, the layer of {of} {info.n_in} and {info.n_out}; "
            "fit it to a recording of this layer with labtrain twin fit (of light: labtrain twin measure)"
        )
    if twin.fingerprint is None:
        _LOG.warning("%s does not tell which rig it was fitted to; it is taken for this one", who)
    elif twin.fingerprint != info.fingerprint:
        raise error(
            f"{who} was fitted to another rig ({twin.fingerprint}) than that of {of} ({info.fingerprint}); fit it to a "
            "recording of this one with labtrain twin fit (of light: labtrain twin measure)"
        )


def bounded_vjp(physics: Twin | PhysicalLayer, x: ArrayLike, ds: Array, scale: Array, steepest: float) -> Array:
    """Vector-Jacobian product du (rows, n_in) of s = y / scale, no row longer than `steepest` times its ds.

    The gradient of an amplitude grows without bound where it comes near 0, and one such row would outweigh a batch; its
    direction stays.

    Parameters
    ----------
    physics : Twin or PhysicalLayer
        What has a ``vjp``.
    x : array_like, (rows, n_in)
    ds : ndarray, (rows, n_out)
        Derivatives by the scaled responses.
    scale : ndarray, (n_out,)
        Unit of each response.
    """
    du = physics.vjp(x, ds / scale)
    longest, length = steepest * np.linalg.norm(ds, axis=1), np.linalg.norm(du, axis=1)
    bounded: Array = du * np.minimum(1.0, longest / np.where(length > 0, length, 1.0))[:, None]
    return bounded


def judge(twin: Twin, x: ArrayLike, y: ArrayLike, sigma: ArrayLike | None = None) -> dict[str, Any]:
    """How well a twin predicts pairs that it has not seen.

    The constant it is held against is each output's own mean over these very rows: the best constant there is.
    Repeatability is what no model can beat, the scatter of the rig's answers to one and the same drive.

    Parameters
    ----------
    sigma : array_like, (rows, n_out), optional
        Standard deviation of each response. Without it, drives that occur more than once tell the repeatability, if
        they leave at least 10 degrees of freedom.

    Returns
    -------
    dict
        ``rows``; in the unit of y ``rmse`` over all values, ``rmse_constant`` of the means, ``repeatability`` or None;
        ``r2`` = 1 - (rmse / rmse_constant)^2, below 0 where the twin is worse than a constant, None where the response
        is constant; and each again with the ending ``_per_output``.
    """
    x, y = check_pairs(x, y)
    error = np.sum((y - twin.predict(x)) ** 2, axis=0)
    spread = np.sum((y - y.mean(axis=0)) ** 2, axis=0)
    scatter = _scatter(x, y) if sigma is None else np.mean(check_pairs(x, sigma)[1] ** 2, axis=0)
    return {
        "rows": len(y),
        "rmse": float(np.sqrt(error.sum() / y.size)),
        "rmse_constant": float(np.sqrt(spread.sum() / y.size)),
        "repeatability": None if scatter is None else float(np.sqrt(scatter.mean())),
        "r2": float(1 - error.sum() / spread.sum()) if spread.sum() > 0 else None,
        "rmse_per_output": [float(value) for value in np.sqrt(error / len(y))],
        "rmse_constant_per_output": [float(value) for value in np.sqrt(spread / len(y))],
        "repeatability_per_output": None if scatter is None else [float(value) for value in np.sqrt(scatter)],
        "r2_per_output": [float(1 - e / s) if s > 0 else None for e, s in zip(error, spread, strict=True)],
    }


def _scatter(x: Array, y: Array) -> Array | None:
    """Variance of the responses to equal drives, pooled over the drives, (n_out,); None if too few drives recur."""
    _, drive, times = np.unique(x, axis=0, return_inverse=True, return_counts=True)
    freedom = len(x) - len(times)
    if freedom < _FREEDOM:
        return None
    total = np.zeros((len(times), y.shape[1]))
    np.add.at(total, drive.reshape(-1), y)
    means = total / times[:, None]
    pooled: Array = np.sum((y - means[drive.reshape(-1)]) ** 2, axis=0) / freedom
    return pooled


def weights_by_age(rows: int, half_life: float | None) -> Array:
    """Weight of each row, (rows,), the latest with 1; each `half_life` rows before, half as much."""
    return np.ones(rows) if half_life is None else 0.5 ** (np.arange(rows)[::-1] / half_life)
