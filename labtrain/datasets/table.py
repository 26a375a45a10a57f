"""A table of features and labels, and its seeded split into training, validation and test rows."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from labtrain.compact import Rows, in_parts
from labtrain.config import Section
from labtrain.errors import DataError

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Table:
    """Labelled samples, one a row.

    Parameters
    ----------
    features : ndarray (n, d), float64, or CompactRows
    labels : ndarray (n,), int64
        Index into `classes`.
    classes : tuple of str
    feature_names : tuple of str
    groups : ndarray (n,), int64, or None
        What must not be torn apart by a split by group, for instance the speaker.
    source : str
        What errors and reports call the table.
    inputs : tuple of int, or None
        Physical input of the rig that each feature belongs to, where the task is about certain inputs.
    test : ndarray, int64, or None
        Row numbers of the data set's own test part, on which every trial is then tested.

    Raises
    ------
    DataError
        If shapes do not fit, a feature is not finite, or there are fewer than two classes.
    """

    features: Rows
    labels: Indices
    classes: tuple[str, ...]
    feature_names: tuple[str, ...]
    groups: Indices | None
    source: str
    inputs: tuple[int, ...] | None = None
    test: Indices | None = None

    def __post_init__(self) -> None:
        shape = (len(self.labels), len(self.feature_names))
        if self.features.shape != shape:
            raise DataError(f"{self.source}: features have shape {self.features.shape}, needed {shape}")
        if self.groups is not None and len(self.groups) != len(self.labels):
            raise DataError(f"{self.source}: {len(self.groups)} groups for {len(self.labels)} rows; give one each")
        if self.inputs is not None and len(self.inputs) != shape[1]:
            raise DataError(f"{self.source}: {len(self.inputs)} inputs for {shape[1]} features; give one each")
        first = 0
        for part in in_parts(self.features):
            if not np.isfinite(part).all():
                row, column = (int(i) for i in np.argwhere(~np.isfinite(part))[0])
                found = f"{self.feature_names[column]} of row {first + row} is {part[row, column]}"
                raise DataError(f"{self.source}: {found}, needs a number")
            first += len(part)
        if len(self.classes) < 2:
            only = f", {self.classes[0]!r}" if self.classes else ""
            raise DataError(
                f"{self.source}: the {len(self.labels)} rows hold {len(self.classes)} class{only}, training needs at "
                "least two; add rows of another class"
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of names, classes and values: changes when the data do."""
        digest = hashlib.sha256(repr((self.classes, self.feature_names, self.inputs, self.features.shape)).encode())
        for part in in_parts(self.features):
            digest.update(np.ascontiguousarray(part, dtype="<f8").data)
        for array in (self.labels, self.groups):
            digest.update(b"none" if array is None else np.ascontiguousarray(array, dtype="<i8").tobytes())
        if self.test is not None:
            digest.update(b"test" + np.ascontiguousarray(self.test, dtype="<i8").tobytes())
        return digest.hexdigest()


class SplitOptions(Section):
    """Keys that every data set's Config has: how its rows are split."""

    test_fraction: float = Field(0.2, gt=0, lt=1, description="share of the rows (or groups) kept for the test")
    validation_fraction: float = Field(0.0, ge=0, lt=1, description="share of the other rows (or groups)")
    split_by: Literal["rows", "group"] | None = Field(
        None, description="what is dealt out; when left out, groups if the data set has them, else rows"
    )


@dataclass(frozen=True)
class Split:
    """Row numbers of a table, each row in exactly one part.

    Parameters
    ----------
    train, validation, test : ndarray (rows,), int64
    """

    train: Indices
    validation: Indices
    test: Indices


def split(table: Table, options: SplitOptions, seed: int) -> Split:
    """Deal the rows, or whole groups, of a table into training, validation and test.

    ``numpy.random.default_rng(seed).permutation(n)``: the first ``round(n (1 - test_fraction))`` are for training, the
    rest for the test; the last ``round(train * validation_fraction)`` of the training part are held out for validation.
    By group, n counts the groups, in the order of their numbers, and no group is torn apart. Of a table with a test
    part of its own only the other rows are dealt, into training and validation, and ``test_fraction`` does not apply.

    Parameters
    ----------
    table : Table
    options : SplitOptions
        Of the data set's Config.
    seed : int

    Raises
    ------
    DataError
        If the table has no groups to split by, a part that was asked for stays empty, or a class has no training row.
    """
    by = options.split_by or ("rows" if table.groups is None else "group")
    mine = np.arange(len(table)) if table.test is None else np.setdiff1d(np.arange(len(table)), table.test)
    if by == "rows":
        units, members = "rows", list(mine[:, None])
    elif table.groups is None:
        raise DataError(
            f"{table.source}: asked a split by group, the table has no groups; set dataset.split_by to rows, or name "
            "the column of the groups"
        )
    else:
        dealt = table.groups[mine]
        units, members = "groups", [mine[dealt == group] for group in np.unique(dealt)]
    n = len(members)
    order = np.random.default_rng(seed).permutation(n)
    known = n if table.test is not None else round(n * (1 - options.test_fraction))
    fitted = known - round(known * options.validation_fraction)
    parts = {"train": order[:fitted], "validation": order[fitted:known], "test": order[known:]}
    for name, part in parts.items():
        if name == "test" and table.test is not None:
            continue
        if len(part) == 0 and (name != "validation" or options.validation_fraction > 0):
            key = "validation_fraction" if name == "validation" else "test_fraction"
            share = getattr(options, key)
            raise DataError(
                f"{table.source}: {key} {share:g} of {n} {units} leaves none for {name}; change dataset.{key} or add "
                f"{units}"
            )
    rows = {name: _rows(members, part) for name, part in parts.items()}
    if table.test is not None:
        rows["test"] = table.test
    absent = [name for i, name in enumerate(table.classes) if not (table.labels[rows["train"]] == i).any()]
    if absent:
        raise DataError(
            f"{table.source}: class {absent[0]!r} has no training row in the split by {by} of seed {seed}; add rows of "
            "it, lower dataset.test_fraction or use other seeds"
        )
    return Split(**rows)


def _rows(members: list[Indices], part: Indices) -> Indices:
    return np.concatenate([members[i] for i in part]) if len(part) else np.empty(0, dtype=np.int64)
