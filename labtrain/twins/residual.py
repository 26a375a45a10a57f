"""The residual twin: a wave twin, and a small network for what no superposition of waves explains.

    y = w + s * N(u),   w = wave(x),   N(u) = W3 tanh(W2 tanh(W1 u + b1) + b2) + b3,   u = [2 x - 1, (w - m) / d]

The network sees the live inputs, and what the waves would be (`m` and `d`: their means and standard deviations): what
saturates or leaks does so as a function of these. `s` is the root mean square of what the wave twin leaves of each
output. W3 and b3 begin at 0, so training begins at the wave twin, and it ends with the epoch that was best on the
latest tenth of the fitted rows, which neither the network nor the waves below it have seen by then: a network that
finds nothing stays out of the way. PyTorch trains it (Adam); the twin itself is plain arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labtrain.errors import DataError, InputError, MissingExtra
from labtrain.layer import Array
from labtrain.twins.cost import Costed, costed
from labtrain.twins.twin import check_drives, check_pairs, weights_by_age
from labtrain.twins.wave import WaveTwin

_NEEDS_TORCH = (
    "a residual twin is fitted by PyTorch, which is not installed; "
    'run: pip install "labtrain[torch]", or fit --kind wave'
)
_WAVE = "wave_"  # before the names of its arrays
_SCALES = ("scale", "mean", "deviation", "rmse")
_BATCH = 32
_RATE = 2e-3
_VALIDATION = 10  # the latest of so many parts of the rows choose the epoch

Weights = list[Array]  # W1, b1, W2, b2, W3, b3; W of shape (inputs, outputs)


class ResidualTwin(Costed):
    """A wave twin and the network on top of it.

    Attributes
    ----------
    wave : WaveTwin
    scale : ndarray, (n_out,)
        Unit of the network's outputs, in that of y.
    mean, deviation : ndarray, (n_out,)
        Of the wave twin's answers over the fitted rows.
    weights : list of six ndarrays
        W1 (live inputs + n_out, width), b1 (width,), W2 (width, width), b2, W3 (width, n_out), b3 (n_out,).
    epochs : int
        After which training was best; 0: the wave twin alone.
    rmse : ndarray, (n_out,)
        Root mean square of the residuals over the fitted rows, in the unit of y.
    """

    kind: ClassVar[str] = "residual"

    n_in: int
    n_out: int
    fingerprint: str | None = None
    errors: Array | None = None
    rms: Array
    wave: WaveTwin
    scale: Array
    mean: Array
    deviation: Array
    weights: Weights
    epochs: int
    rmse: Array

    def __init__(self) -> None:
        self.wave = WaveTwin()

    @property
    def dead_inputs(self) -> tuple[int, ...]:
        """Inputs that reach no output by way of the waves; the network does not see them either."""
        return self.wave.dead_inputs

    @property
    def least(self) -> Array:
        """Below what no response can be, (n_out,)."""
        return np.zeros(self.n_out)

    @costed
    def fit(
        self,
        x: ArrayLike,
        y: ArrayLike,
        *,
        half_life: float | None = None,
        width: int = 64,
        epochs: int = 60,
        seed: int = 0,
        told: Callable[[int, int], object] | None = None,
    ) -> ResidualTwin:
        """Fit the wave twin, then the network to what is left.

        Parameters
        ----------
        x : array_like, (rows, n_in)
        y : array_like, (rows, n_out)
            Amplitudes, not negative.
        half_life : float, optional
            Rows after which a pair counts half as much as the latest one, for a rig that drifts.
        width : int
            Units of each of the two hidden layers.
        epochs : int
            Passes over the rows.
        seed : int
            Of weights and batches.
        told : callable (epochs done, epochs), optional

        Raises
        ------
        MissingExtra
            If PyTorch is not installed.
        DataError, InputError
            As :meth:`WaveTwin.fit`; also for fewer than 20 rows, and options out of range.
        """
        torch = _torch()
        x, y = check_pairs(x, y)
        if width < 1 or epochs < 1:
            raise InputError(f"twin: asked width {width} and {epochs} epochs, allowed from 1 on")
        if len(x) < 2 * _VALIDATION:
            raise DataError(f"twin: {len(x)} rows, a residual twin needs {2 * _VALIDATION}; record more pairs")
        self.wave.fit(x, y, half_life=half_life)
        self.n_in, self.n_out = self.wave.n_in, self.wave.n_out
        # The network learns from a wave twin that has not seen the rows that choose the epoch either: of rows that it
        # was fitted to it leaves less than of later ones, and the network would seem to be in the way.
        train = len(x) - len(x) // _VALIDATION
        before = WaveTwin().fit(x[:train], y[:train], half_life=half_life)
        left, waves = before.residuals(x, y), before.predict(x)
        size = np.sqrt(np.mean(left**2, axis=0))
        self.scale = np.where(size > 0, size, 1.0)
        weight = weights_by_age(len(x), half_life)
        self.mean, spread = waves.mean(axis=0), waves.std(axis=0)
        self.deviation = np.where(spread > 0, spread, 1.0)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # more of them only get in each other's way in products as small as these
        try:
            self.weights, self.epochs = _train(
                torch, self._seen(x, waves).T, left / self.scale, weight, train, width, epochs, seed, told
            )
        finally:
            torch.set_num_threads(threads)
        self.rms = np.sqrt(np.mean(y**2, axis=0))
        self.rmse = np.sqrt(np.mean((y - self.predict(x)) ** 2, axis=0))
        network = sum(w.size for w in self.weights[::2])
        # Both wave twins; a step goes forward, and backward for about twice that; three predictions.
        self._multiply_adds = self.wave._multiply_adds + before._multiply_adds + len(x) * network
        self._multiply_adds += 3 * len(x) * before.coefficients.size
        self._multiply_adds += (3 * epochs * train + (epochs + 1) * (len(x) - train)) * network
        return self

    def predict(self, x: ArrayLike) -> Array:
        """Responses (rows, n_out) to drives (rows, n_in); never negative, as amplitudes are not.

        Sums are elementwise and in a fixed order: the answer to a row is the same bit for bit in every batch.

        Raises
        ------
        InputError
            If the width of the drives is not the fitted one.
        """
        drive, _ = check_drives(self, x)
        return np.maximum(self._answers(drive)[0], 0.0)

    def vjp(self, x: ArrayLike, dy: ArrayLike) -> Array:
        """Vector-Jacobian product, (rows, n_in), of `dy` (rows, n_out) at the drives `x` (rows, n_in).

        Where a prediction stands at 0, the gradient of that output is 0.

        Raises
        ------
        InputError
            If a width is not the fitted one.
        """
        drive, vector = check_drives(self, x, dy)
        answers, first, second = self._answers(drive)
        vector = np.where(answers > 0, vector, 0.0)
        w1, _, w2, _, w3, _ = self.weights
        delta = (vector * self.scale) @ w3.T * (1 - second.T**2)
        delta = delta @ w2.T * (1 - first.T**2) @ w1.T
        live = len(self.wave.live_inputs)
        dx = self.wave.vjp(drive, vector + delta[:, live:] / self.deviation)
        dx[:, self.wave.live_inputs] += 2 * delta[:, :live]
        return dx

    def _answers(self, drive: Array) -> tuple[Array, Array, Array]:
        """Waves and network together (rows, n_out), and the activations of both hidden layers, (width, rows)."""
        waves = self.wave.predict(drive)
        w1, b1, w2, b2, w3, b3 = self.weights
        first = np.tanh(_affine(self._seen(drive, waves), w1, b1))
        second = np.tanh(_affine(first, w2, b2))
        return waves + self.scale * _affine(second, w3, b3).T, first, second

    def _seen(self, drive: Array, waves: Array) -> Array:
        """What the network sees, (live inputs + n_out, rows)."""
        return np.vstack([2 * drive[:, self.wave.live_inputs].T - 1, ((waves - self.mean) / self.deviation).T])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything that defines the twin, as named arrays for an .npz file."""
        return {
            **{_WAVE + name: values for name, values in self.wave.arrays().items()},
            **{name: getattr(self, name) for name in _SCALES},
            "epochs": np.array(self.epochs),
            **{f"weights{i}": values for i, values in enumerate(self.weights)},
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> ResidualTwin:
        """The twin that :meth:`arrays` described."""
        twin = cls()
        twin.wave = WaveTwin.from_arrays({name.removeprefix(_WAVE): values for name, values in arrays.items()
                                          if name.startswith(_WAVE)})  # fmt: skip
        twin.n_in, twin.n_out, twin.epochs = twin.wave.n_in, twin.wave.n_out, int(arrays["epochs"])
        twin.weights = [np.asarray(arrays[f"weights{i}"], dtype=np.float64) for i in range(6)]
        for name in _SCALES:
            setattr(twin, name, np.asarray(arrays[name], dtype=np.float64))
        return twin


def _affine(h: Array, w: Array, b: Array) -> Array:
    """W^T h + b, (outputs, rows), summed in a fixed order, for h (inputs, rows)."""
    total = np.repeat(b[:, None], h.shape[1], axis=1)
    for row, column in zip(h, w, strict=True):
        total += column[:, None] * row
    return total


def _torch() -> Any:
    """PyTorch, imported by name: who has no use for it needs no types of it either."""
    try:
        return import_module("torch")
    except ImportError:
        raise MissingExtra(_NEEDS_TORCH) from None


def _train(
    torch: Any,
    inputs: Array,
    targets: Array,
    weight: Array,
    train: int,
    width: int,
    epochs: int,
    seed: int,
    told: Callable[[int, int], object] | None,
) -> tuple[Weights, int]:
    """Weights of the epoch that is best on the rows from `train` on, and its number; 0 if none beat an answer of 0."""
    u, target, share = (torch.as_tensor(values, dtype=torch.float64) for values in (inputs, targets, weight[:, None]))
    draw = torch.Generator().manual_seed(seed)
    widths = [inputs.shape[1], width, width, targets.shape[1]]
    parameters: list[Any] = []
    for ins, outs in pairwise(widths):
        w = torch.randn(ins, outs, generator=draw, dtype=torch.float64) / ins**0.5
        parameters += [w if len(parameters) < 4 else 0 * w, torch.zeros(outs, dtype=torch.float64)]
    for parameter in parameters:
        parameter.requires_grad_()

    def loss(rows: Any) -> Any:
        w1, b1, w2, b2, w3, b3 = parameters
        predicted = torch.tanh(torch.tanh(u[rows] @ w1 + b1) @ w2 + b2) @ w3 + b3
        return (share[rows] * (predicted - target[rows]) ** 2).sum() / (share[rows].sum() * target.shape[1])

    adam = torch.optim.Adam(parameters, lr=_RATE)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(adam, epochs)
    best, at, kept = np.inf, 0, []
    for epoch in range(epochs + 1):
        for rows in torch.randperm(train, generator=draw).split(_BATCH) if epoch else ():
            adam.zero_grad()
            loss(rows).backward()
            adam.step()
        if epoch:
            decay.step()
        with torch.no_grad():
            reached = float(loss(slice(train, None)))
        if reached < best:
            best, at = reached, epoch
            kept = [parameter.detach().numpy().copy() for parameter in parameters]
        if told is not None and epoch:
            told(epoch, epochs)
    return kept, at
