"""PhysicalLayer, the one interface between a piece of the physical world and everything that trains it.

A *shot* is one physical evaluation of one drive vector. Layers take batches and give batches; the rig decides how
a batch meets the hardware. Arrays are ``(shots, n)`` everywhere.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labtrain.errors import InputError

Array = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class LayerInfo:
    """What a caller must know of a layer before the first shot.

    Parameters
    ----------
    n_in, n_out : int
        Width of a drive vector and of a response.
    seconds_per_shot : float
        Time one shot costs on this rig, settling and integration included, in seconds.
    max_batch : int
        Largest chunk of shots handed back at once.
    y_unit : str
        Unit of the response, for axis labels.
    fingerprint : str
        Changes when the same drive can no longer be expected to give the same answer (other geometry, other
        instrument, other calibration). A resumed run refuses a changed fingerprint.
    simulated : bool
        True when no real instrument stands behind the layer.
    settle_s, integration_s : float
        Parts of `seconds_per_shot` spent waiting for the physics and recording it, in seconds.
    writes_per_shot : int
        Instrument configuration writes that one shot costs.
    samples_per_shot : int
        Numbers that converters give and take for one shot, settling included; 0: not known.
    dead_inputs : tuple of int
        Inputs known to reach no output.
    """

    n_in: int
    n_out: int
    seconds_per_shot: float
    max_batch: int
    y_unit: str
    fingerprint: str
    simulated: bool
    settle_s: float = 0.0
    integration_s: float = 0.0
    writes_per_shot: int = 1
    dead_inputs: tuple[int, ...] = ()
    samples_per_shot: int = 0


@dataclass(frozen=True)
class Shots:
    """A chunk of finished shots, in the order in which they were asked for.

    Parameters
    ----------
    x : ndarray, (n, n_in), float64
        Drive vectors as the instrument was really told.
    y : ndarray, (n, n_out), float64
        Responses, in the layer's ``y_unit``.
    sigma : ndarray, (n, n_out), float64, or None
        Standard deviation of each response where the layer can tell it.
    attempts : ndarray, (n,), int64
        Times each shot was measured until it was good; 1 when the first reading was.
    started_s : float
        When the chunk began, seconds since 1970-01-01 UTC.
    """

    x: Array
    y: Array
    sigma: Array | None
    attempts: NDArray[np.int64]
    started_s: float

    def __post_init__(self) -> None:
        # A replayed log answers in row order; in another order of the same numbers, sums differ in the last bit.
        for name in ("x", "y", "sigma"):
            if (values := getattr(self, name)) is not None:
                object.__setattr__(self, name, np.ascontiguousarray(values, dtype=np.float64))

    def __len__(self) -> int:
        return len(self.y)


class PhysicalLayer(Protocol):
    """A fixed, unknown, nonlinear map from drives in [0, 1] to responses."""

    @property
    def info(self) -> LayerInfo:
        """Widths, cost, identity."""

    def measure(self, x: ArrayLike) -> Iterator[Shots]:
        """Measure drives of shape (shots, n_in), in order, chunk by chunk."""

    def forward(self, x: ArrayLike) -> Array:
        """Measure everything and return the responses, (shots, n_out)."""

    def quantise(self, x: ArrayLike) -> Array:
        """What the instrument will really be told for these drives, (shots, n_in)."""

    def state(self) -> dict[str, Any]:
        """Shot counter, drift, calibration in use: JSON-compatible values."""

    def restore(self, state: dict[str, Any]) -> None:
        """Return to a state that :meth:`state` gave."""

    @property
    def parameters(self) -> Integers:
        """States of what could be trained in the physics itself, such as pixels that carry no value; often none."""

    def set_parameters(self, states: ArrayLike) -> None:
        """Set what :attr:`parameters` tells; shots of other parameters are answers of another layer."""

    def vjp(self, x: ArrayLike, dy: ArrayLike) -> Array:
        """Vector-Jacobian product of simulated physics; real physics refuses."""


def check_drive(
    x: ArrayLike, n_in: int, who: str = "layer", remedy: str = "map activations with a Drive first"
) -> Array:
    """Return drives as float64 (shots, n_in), or refuse them before anything moves; `remedy` is for their range.

    Raises
    ------
    InputError
        For a wrong shape or width, NaN or infinity, or a value outside [0, 1]; names the shot and the input.
    """
    try:
        drive = np.asarray(x, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{who}: drive is not numeric ({error}); give an array of shape (shots, {n_in})") from None
    if drive.ndim != 2 or drive.shape[1] != n_in:
        raise InputError(f"{who}: drive has shape {drive.shape}, needed (shots, {n_in}); check the width of the drive")
    bad = ~((drive >= 0.0) & (drive <= 1.0))
    if bad.any():
        shot, column = (int(i) for i in np.argwhere(bad)[0])
        raise InputError(
            f"{who}: drive of shot {shot}, input {column} is {drive[shot, column]:g}, allowed 0 to 1; {remedy}"
        )
    return drive


class Layer(ABC):
    """Base of every layer: checks drives, joins chunks. Subclasses fill `info` and `_measure`."""

    name = "layer"

    PHYSICS: ClassVar[str] = ""
    """Setting with which simulated physics answers instead of emulated instruments; of layers behind instruments."""

    @property
    @abstractmethod
    def info(self) -> LayerInfo:
        """Widths, cost, identity."""

    @abstractmethod
    def _measure(self, x: Array) -> Iterator[Shots]:
        """Measure checked drives; yields at most ``info.max_batch`` shots at a time."""

    def measure(self, x: ArrayLike) -> Iterator[Shots]:
        """Measure drives of shape (shots, n_in) in [0, 1], in order, chunk by chunk.

        Raises
        ------
        InputError
            At the call, before anything moves, if the drives do not fit.
        MeasurementError
            While iterating, if a shot stays bad; earlier chunks have been handed out.
        """
        return self._measure(check_drive(x, self.info.n_in, self.name))

    def forward(self, x: ArrayLike) -> Array:
        """Measure everything; returns responses of shape (shots, n_out)."""
        chunks = [shots.y for shots in self.measure(x)]
        return np.concatenate(chunks) if chunks else np.empty((0, self.info.n_out))

    def quantise(self, x: ArrayLike) -> Array:
        """What the instrument will really be told, (shots, n_in); here the drives themselves."""
        return check_drive(x, self.info.n_in, self.name)

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:  # noqa: B027  a layer without state has nothing to return to
        """Return to a state that :meth:`state` gave."""

    @property
    def parameters(self) -> Integers:
        """States of what could be trained in the physics itself; none here."""
        return np.empty(0, dtype=np.int64)

    def set_parameters(self, states: ArrayLike) -> None:
        """Set what :attr:`parameters` tells.

        Raises
        ------
        InputError
            If they do not fit.
        """
        if np.size(states):
            raise InputError(f"{self.name}: asked {np.size(states)} parameters, this layer has none")

    def vjp(self, x: ArrayLike, dy: ArrayLike) -> Array:  # noqa: ARG002
        """Exact vector-Jacobian product dx_i = sum_k dy_k d y_k(x) / d x_i of simulated physics, without its noise.

        No laboratory has it: it is what methods without derivatives are held against. It costs no shot; the physics is
        taken as it stands at the next one, with its drift and its disturbances.

        Parameters
        ----------
        x : array_like, (shots, n_in)
            Drives in [0, 1]; what they are rounded to is taken for them.
        dy : array_like, (shots, n_out)

        Returns
        -------
        ndarray, (shots, n_in)

        Raises
        ------
        InputError
            If this layer has no derivative: it is real, emulated, or none was written; asked of no shot at all, too.
        """
        physics = f"set {self.PHYSICS}, or " if self.PHYSICS and self.info.simulated else ""
        raise InputError(
            f"{self.name}: this layer cannot tell its derivative, only simulated physics can; {physics}use a method "
            "that needs none, or one with a twin (training.twin)"
        )


class Wrapper(Layer):
    """A layer that stands in front of another one and does one thing."""

    def __init__(self, inner: PhysicalLayer) -> None:
        self.inner = inner
        self.name = getattr(inner, "name", "layer")

    @property
    def info(self) -> LayerInfo:
        return self.inner.info

    def _measure(self, x: Array) -> Iterator[Shots]:
        yield from self.inner.measure(x)

    def quantise(self, x: ArrayLike) -> Array:
        return self.inner.quantise(x)

    def state(self) -> dict[str, Any]:
        return self.inner.state()

    def restore(self, state: dict[str, Any]) -> None:
        self.inner.restore(state)

    @property
    def parameters(self) -> Integers:
        return self.inner.parameters

    def set_parameters(self, states: ArrayLike) -> None:
        self.inner.set_parameters(states)

    def vjp(self, x: ArrayLike, dy: ArrayLike) -> Array:
        return self.inner.vjp(x, dy)


class Averaged(Wrapper):
    """Repeats every shot and returns the mean, with its standard error as sigma.

    For responses that average without bias only: complex quadratures, powers, or amplitudes far above the noise.
    The mean of a modulus is biased upwards near the noise floor (Rice); there, average in the instrument.

    Parameters
    ----------
    inner : PhysicalLayer
    repeats : int
        Shots per drive, at least 1. The cost in shots multiplies accordingly.
    """

    def __init__(self, inner: PhysicalLayer, repeats: int) -> None:
        super().__init__(inner)
        if repeats < 1:
            raise InputError(f"{self.name}: asked {repeats} repeats, allowed 1 or more; set rig.repeats")
        self.repeats = repeats

    def _measure(self, x: Array) -> Iterator[Shots]:
        step = max(1, self.info.max_batch // self.repeats)
        for start in range(0, len(x), step):
            part = x[start : start + step]
            chunks = list(self.inner.measure(np.repeat(part, self.repeats, axis=0)))
            readings = np.concatenate([shots.y for shots in chunks]).reshape(len(part), self.repeats, -1)
            told = np.concatenate([shots.x for shots in chunks])[:: self.repeats]
            attempts = np.concatenate([shots.attempts for shots in chunks]).reshape(len(part), self.repeats)
            sigma = readings.std(axis=1, ddof=1) / np.sqrt(self.repeats) if self.repeats > 1 else chunks[0].sigma
            yield Shots(told, readings.mean(axis=1), sigma, attempts.sum(axis=1), chunks[0].started_s)


ShotSink = Callable[[str, Shots, dict[str, Any]], None]
ShotSource = Callable[[str, Array], Iterator[tuple[Shots, dict[str, Any]]]]


class Recorded(Wrapper):
    """Logs every chunk before anyone may use it, and hands out what is already logged instead of measuring it again.

    Parameters
    ----------
    inner : PhysicalLayer
        The rig's own layer: every physical shot passes here.
    sink : callable (name, shots, layer state after the chunk) -> None
        Returns once the chunk is safe.
    replay : callable (name, drives) -> iterator of (shots, layer state after the chunk), optional
        Logged chunks for the first of these drives; fewer, or none, when the log ends. It raises if the drives differ.
    """

    def __init__(self, inner: PhysicalLayer, sink: ShotSink, replay: ShotSource | None = None) -> None:
        super().__init__(inner)
        self._sink = sink
        self._replay = replay

    def _measure(self, x: Array) -> Iterator[Shots]:
        done = 0
        if self._replay is not None:
            for shots, state in self._replay(self.name, self.quantise(x)):
                self.inner.restore(state)
                done += len(shots)
                yield shots
        if done < len(x):
            for shots in self.inner.measure(x[done:]):
                self._sink(self.name, shots, self.inner.state())
                yield shots
