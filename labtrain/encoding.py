"""Features and labels to activations, and activations to drives in [0, 1].

Everything learned here (ranges, scales) is learned on training rows and then frozen; everything works row by row,
so a prediction never depends on its batch-mates.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labtrain.compact import CompactRows, Rows, parts
from labtrain.errors import DataError, InputError

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass
class FeatureScaler:
    """Feature scaling learned on training rows.

    Parameters
    ----------
    kind : "minmax", "standard" or "none"
        To [0, 1] over the training rows, to zero mean and unit variance, or untouched.
    margin : float
        A feature may leave its training range by this share of the range; beyond, :meth:`outside` reports it.
    """

    kind: Literal["minmax", "standard", "none"] = "minmax"
    margin: float = 0.5
    low: Array = field(default_factory=lambda: np.empty(0))
    high: Array = field(default_factory=lambda: np.empty(0))
    offset: Array = field(default_factory=lambda: np.empty(0))
    scale: Array = field(default_factory=lambda: np.empty(0))

    def fit(self, rows: Rows) -> FeatureScaler:
        """Learn range and scale from training rows, (n, d); a constant feature keeps scale 1."""
        self.low, self.high = rows.min(axis=0), rows.max(axis=0)
        if self.kind == "minmax":
            self.offset, self.scale = self.low, self.high - self.low
        elif self.kind == "standard":
            self.offset, self.scale = rows.mean(axis=0), rows.std(axis=0)
        else:
            self.offset, self.scale = np.zeros(rows.shape[1]), np.ones(rows.shape[1])
        self.scale = np.where(self.scale > 0, self.scale, 1.0)
        return self

    def bounds(self) -> tuple[Array, Array]:
        """Lowest and highest value accepted at prediction, (d,) each."""
        reach = self.margin * np.where(self.high > self.low, self.high - self.low, 1.0)
        return self.low - reach, self.high + reach

    def outside(self, rows: Array) -> NDArray[np.bool_]:
        """Mask (n, d) of values beyond the accepted range."""
        low, high = self.bounds()
        return (rows < low) | (rows > high)

    def transform(self, rows: Array) -> Array:
        """Scale rows (n, d), values beyond the accepted range held at its border."""
        return (np.clip(rows, *self.bounds()) - self.offset) / self.scale

    def state(self) -> dict[str, Any]:
        return {"low": self.low, "high": self.high, "offset": self.offset, "scale": self.scale}

    def restore(self, state: dict[str, Any]) -> None:
        self.low, self.high = state["low"], state["high"]
        self.offset, self.scale = state["offset"], state["scale"]


class Encoder:
    """Features (and a candidate label) to the activation vector x of the first block.

    ``slots``: one position per class in front of the features, `amplitude` at the candidate's (Momeni et al. 2023).
    ``overlay``: the candidate's fixed code, entries -1 or +1, times `amplitude`, added to the features: no input is
    spent on labels, and the interference of label and feature is left to the physics.
    ``border``: as slots, in the place of the first features: an image keeps its shape and loses the beginning of its
    border, in which there is often nothing (Hinton 2022, arXiv:2212.13345, for handwritten digits).
    ``behind``: no label in the activations, so that the physics sees the sample alone; the trainable linear maps see
    `beside`, one position per class, `amplitude` at the candidate's.

    Parameters
    ----------
    classes : sequence of str
    feature_names : sequence of str
        For ``border`` more than there are classes.
    scaler : FeatureScaler
        Fitted on training rows.
    label : "slots", "overlay", "border" or "behind"
    amplitude : float
    codes : ndarray (classes, d), for ``overlay``
    """

    def __init__(
        self,
        classes: Sequence[str],
        feature_names: Sequence[str],
        scaler: FeatureScaler,
        label: Literal["slots", "overlay", "border", "behind"] = "slots",
        amplitude: float = 1.0,
        codes: Array | None = None,
    ) -> None:
        self.classes = tuple(classes)
        self.feature_names = tuple(feature_names)
        self.scaler = scaler
        self.label = label
        self.amplitude = float(amplitude)
        count = len(self.classes)
        self.width = len(self.feature_names) + (count if label == "slots" else 0)
        """Number of activations."""
        one_each = np.eye(count, self.width)
        patterns = one_each if label != "overlay" or codes is None else np.asarray(codes, dtype=np.float64)
        self.patterns: Array = self.amplitude * patterns
        self.beside: Array = self.amplitude * np.eye(count, count if label == "behind" else 0)
        """What the linear maps see of each label beside what the physics says, (classes, columns); often no column."""

    @property
    def seen(self) -> int:
        """Labels that the physics is shown for one prediction: each of them, or one sample without any."""
        return 1 if self.label == "behind" else len(self.classes)

    def features(self, rows: ArrayLike) -> Array:
        """Activations without any label, (n, width); raw feature rows are (n, d).

        Raises
        ------
        DataError
            If the number of columns is wrong or a value is not finite.
        """
        if isinstance(rows, CompactRows) and len(cuts := list(parts(len(rows), self.width))) > 1:
            activations = np.empty((len(rows), self.width))
            for cut in cuts:
                activations[cut] = self.features(rows[cut])
            return activations
        table = np.asarray(rows, dtype=np.float64)
        d = len(self.feature_names)
        if table.ndim != 2 or table.shape[1] != d:
            raise DataError(
                f"features have shape {table.shape}, needed (rows, {d}): {', '.join(self.feature_names)}; "
                "give one column for each feature"
            )
        if not np.isfinite(table).all():
            row, column = (int(i) for i in np.argwhere(~np.isfinite(table))[0])
            raise DataError(f"row {row}: {self.feature_names[column]} is {table[row, column]}; give a finite number")
        scaled = self.scaler.transform(table)
        if self.label == "slots":
            return np.hstack([np.zeros((len(table), len(self.classes))), scaled])
        if self.label == "border":
            scaled[:, : len(self.classes)] = 0.0
        return scaled

    def candidates(self, rows: ArrayLike, labels: Labels) -> Array:
        """Activations (n, m, width) of raw feature rows (n, d), each with its m candidate labels (n, m).

        With ``behind`` they are the same for all labels: (n, 1, width).
        """
        x = self.features(rows)[:, None, :]
        return x if self.label == "behind" else np.asarray(x + self.patterns[labels])

    def every_label(self, rows: ArrayLike) -> Array:
        """Activations (n, seen, width) with each label in turn, as prediction needs them."""
        return self.candidates(rows, np.arange(len(self.classes))[None, :])

    def refuse_outside(self, rows: Array, where: Sequence[str]) -> None:
        """Raise a DataError for the first value outside the range accepted at prediction.

        Parameters
        ----------
        rows : ndarray (n, d)
        where : sequence of str
            What to call each row, for instance ``"rows.csv:7"``.
        """
        outside = self.scaler.outside(rows)
        if outside.any():
            row, column = (int(i) for i in np.argwhere(outside)[0])
            low, high = self.scaler.bounds()
            raise DataError(
                f"{where[row]}: {self.feature_names[column]} is {rows[row, column]:g}, the network was trained for "
                f"{low[column]:g} to {high[column]:g}; correct the row, or train with encoding.margin above "
                f"{self.scaler.margin:g}"
            )


class Drive:
    """Activations to drives in [0, 1], row by row; the skip path keeps the unmapped activations.

    Parameters
    ----------
    kind : "row_norm", "row_minmax" or "affine"
        ``row_norm``: |x| / ||x||_2, as published for sound; ``row_minmax``: (x - min) / (max - min) of the row, as
        published for microwaves; ``affine``: each column from its training range to [0, 1], then frozen, clipped.
    n_in : int
        Width of the layer's drive vector.
    inputs : sequence of int
        Physical inputs that carry the activations, in order; all others stay at 0.
    mix : ndarray (width, len(inputs)), optional
        Fixed matrix applied to the activations first; needed when there are more activations than inputs.
    clip : float
        Of ``affine``: share of a column's training values that lies below 0, and likewise above 1, and is held there. A
        column that would keep no range, as a rare label has one, is mapped from end to end.
    """

    KINDS = ("row_norm", "row_minmax", "affine")

    def __init__(
        self,
        kind: Literal["row_norm", "row_minmax", "affine"],
        n_in: int,
        inputs: Sequence[int],
        mix: Array | None = None,
        clip: float = 0.0,
    ) -> None:
        if kind not in self.KINDS:
            raise InputError(f"drive {kind!r} is unknown; use one of {', '.join(self.KINDS)}")
        self.kind = kind
        self.n_in = n_in
        self.inputs = np.asarray(inputs, dtype=np.int64)
        self.mix = mix
        self.clip = clip
        self.low = np.zeros(0)
        self.high = np.ones(0)
        self.clipped = 0
        self.mapped = 0

    @property
    def needs_fit(self) -> bool:
        return self.kind == "affine" and self.low.size == 0

    def _wire(self, x: Array) -> Array:
        # einsum and not @: the sum of a row must not be rounded differently in another batch.
        return x if self.mix is None else np.einsum("ij,jk->ik", x, self.mix)

    def fit(self, x: Array) -> Drive:
        """Learn the column ranges of an ``affine`` drive from training activations (n, width)."""
        return self.fit_in_parts([x])

    def fit_in_parts(self, parts: Iterable[Array]) -> Drive:
        """As :meth:`fit`, of activations that come part by part; for the quantiles of `clip` all are kept at once."""
        ranges, kept = [], []
        for x in parts:
            wired = self._wire(x)
            ranges.append((wired.min(axis=0), wired.max(axis=0)))
            if self.clip > 0:
                kept.append(wired)
        self.low, self.high = np.min([low for low, _ in ranges], axis=0), np.max([high for _, high in ranges], axis=0)
        if self.clip > 0:
            wired = np.concatenate(kept)
            low, high = np.quantile(wired, [self.clip, 1.0 - self.clip], axis=0)
            self.low, self.high = np.where(high > low, [low, high], [self.low, self.high])
        return self

    def __call__(self, x: Array) -> Array:
        """Drives (n, n_in) for activations (n, width) that are to be measured: counts what is clipped."""
        mapped = self._mapped(x)
        if self.kind == "affine":
            self.clipped += int(((mapped < 0.0) | (mapped > 1.0)).sum())
            self.mapped += mapped.size
        return self._placed(mapped)

    def map(self, x: Array) -> Array:
        """Drives (n, n_in) for activations (n, width)."""
        return self._placed(self._mapped(x))

    def carriers(self, width: int) -> NDArray[np.int64]:
        """Physical inputs that carry `width` activations."""
        return self.inputs[: width if self.mix is None else self.mix.shape[1]]

    def vjp(self, x: Array, du: Array) -> Array:
        """Vector-Jacobian product dx_j = sum_i du_i d map(x)_i / d x_j, (n, width), of `du` (n, n_in).

        Clipped values have no gradient, as the drive does not follow them. Where several values of a row are its
        smallest or largest, the first of them counts.
        """
        wired = self._wire(x)
        given = du[:, self.inputs[: wired.shape[1]]]
        if self.kind == "affine":
            mapped = self._mapped(x)
            span = np.where(self.high > self.low, self.high - self.low, 1.0)
            back = np.where((mapped >= 0.0) & (mapped <= 1.0), given / span, 0.0)
        elif self.kind == "row_norm":
            square = np.einsum("ij,ij->i", wired, wired)[:, None]
            norm = np.sqrt(np.where(square > 0, square, 1.0))
            along = np.einsum("ij,ij->i", given, np.abs(wired))[:, None]  # a longer row makes all its drives smaller
            back = np.sign(wired) * given / norm - wired * along / norm**3
        else:
            mapped, rows = self._mapped(x), np.arange(len(wired))
            span = wired.max(axis=1) - wired.min(axis=1)
            back = given / np.where(span > 0, span, 1.0)[:, None]
            up = np.einsum("ij,ij->i", back, mapped)  # smallest and largest value carry the ends of the range
            back[rows, wired.argmin(axis=1)] -= back.sum(axis=1) - up
            back[rows, wired.argmax(axis=1)] -= up
            back[span == 0] = 0.0
        return back if self.mix is None else np.asarray(np.einsum("ik,jk->ij", back, self.mix))

    def _mapped(self, x: Array) -> Array:
        """Unclipped drives of the inputs in use, (n, inputs)."""
        wired = self._wire(x)
        if self.kind == "row_norm":
            norm = np.sqrt(np.einsum("ij,ij->i", wired, wired))[:, None]
            return np.asarray(np.abs(wired) / np.where(norm > 0, norm, 1.0))
        if self.kind == "row_minmax":
            low = wired.min(axis=1, keepdims=True)
            span = wired.max(axis=1, keepdims=True) - low
            return np.asarray((wired - low) / np.where(span > 0, span, 1.0))
        span = np.where(self.high > self.low, self.high - self.low, 1.0)
        return np.asarray((wired - self.low) / span)

    def _placed(self, mapped: Array) -> Array:
        drive = np.zeros((len(mapped), self.n_in))
        drive[:, self.inputs[: mapped.shape[1]]] = np.clip(mapped, 0.0, 1.0)
        return drive

    @property
    def clipped_share(self) -> float:
        """Share of all mapped numbers that had to be clipped since the drive was made."""
        return self.clipped / self.mapped if self.mapped else 0.0

    def state(self) -> dict[str, Any]:
        return {"low": self.low, "high": self.high, "clipped": self.clipped, "mapped": self.mapped}

    def restore(self, state: dict[str, Any]) -> None:
        self.low, self.high = state["low"], state["high"]
        self.clipped, self.mapped = int(state["clipped"]), int(state["mapped"])
