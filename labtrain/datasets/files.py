"""Data sets that are CSV files: a user's own, the vowels of Hillenbrand et al., and those of Peterson and Barney."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from labtrain.config import InputPath
from labtrain.datasets.reader import LOG, Sheet, read_file
from labtrain.datasets.table import SplitOptions, Table


def natural(name: str) -> tuple[int, int, str]:
    """Sort key of class names: numbers by value, before text."""
    return (0, int(name), name) if re.fullmatch(r"-?[0-9]{1,18}", name) else (1, 0, name)


def _numbered(names: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Sorted distinct names, and each name's number among them."""
    distinct = sorted(set(names), key=natural)
    number = {name: i for i, name in enumerate(distinct)}
    return tuple(distinct), np.array([number[name] for name in names], dtype=np.int64)


def _table(sheet: Sheet, label: str, features: Sequence[str], groups: Sequence[str] | None, log: bool) -> Table:
    names = sheet.texts(label, "a label")
    columns = [sheet.numbers(feature, log) for feature in features]
    sheet.check()
    classes, labels = _numbered(names)
    return Table(
        features=np.column_stack(columns),
        labels=labels,
        classes=classes,
        feature_names=tuple(LOG + feature if log else feature for feature in features),
        groups=None if groups is None else _numbered(groups)[1],
        source=sheet.name,
    )


class CsvTable:
    """A user's own table: a CSV file with a header, its columns named in the config.

    Classes are sorted by name, numbers by value. Columns that are not named are ignored.
    """

    class Config(SplitOptions):
        """Settings of the data set ``csv``."""

        type: Literal["csv"]
        path: InputPath = Field(description="CSV file, UTF-8, with a header")
        label: str = Field(description="column of the class")
        features: tuple[str, ...] = Field(min_length=1, description="columns of numbers, in the order of the inputs")
        group: str | None = Field(None, description="column of what a split by group keeps together, such as a speaker")
        log: bool = Field(False, description="take the natural logarithm of every feature")
        delimiter: str = Field(",", pattern=r'^[^"\r\n]$', description="one character between values")

        @model_validator(mode="after")
        def _distinct(self) -> CsvTable.Config:
            named = [self.label, *self.features, *([self.group] if self.group is not None else [])]
            twice = [name for name in named if named.count(name) > 1]
            if twice:
                raise ValueError(f"column {twice[0]} is named twice among label, features and group; name each once")
            return self

    def __init__(self, config: Config) -> None:
        self.config = config

    def load(self) -> Table:
        """Read the file.

        Raises
        ------
        DataError
            With a line for each error in the file, naming file, line and column.
        """
        config = self.config
        remedy = "correct the header, or the name under dataset in the config"
        sheet = Sheet(read_file(config.path, "dataset.path"), config.path.name, config.delimiter, remedy)
        groups = None if config.group is None else sheet.texts(config.group, "the name of a group")
        return _table(sheet, config.label, config.features, groups, config.log)


class Vowels:
    """Formants F1-F3 of 7 vowels spoken by 48 women, at steady state and at 20, 50 and 80 % of the vowel.

    The table ``vowels.csv`` of Momeni et al. (Science 382:1297, 2023), after Hillenbrand et al. (J. Acoust. Soc. Am.
    97:3099, 1995). Features in Hz; groups are the speakers (``w01`` of the utterance ``w01ae``). Split by rows unless
    told otherwise, as in the published comparisons.
    """

    FEATURES = tuple(f"F{i}_{when}" for when in ("steady", "20", "50", "80") for i in (1, 2, 3))

    class Config(SplitOptions):
        """Settings of the data set ``vowels``."""

        type: Literal["vowels"]
        path: InputPath = Field(description="vowels.csv")
        log: bool = Field(False, description="take the natural logarithm of every feature")
        split_by: Literal["rows", "group"] | None = Field("rows", description="rows, or group for disjoint speakers")

    def __init__(self, config: Config) -> None:
        self.config = config

    def load(self) -> Table:
        """Read the file.

        Raises
        ------
        DataError
            With a line for each error in the file, naming file, line and column.
        """
        path = self.config.path
        sheet = Sheet(read_file(path, "dataset.path"), path.name, ",", "give vowels.csv as published")
        utterances = sheet.texts("utterance", "a speaker and a vowel such as w01ae")
        speakers = [re.match(r"[a-z]+[0-9]+(?=[a-z]+$)", utterance) for utterance in utterances]
        for line, utterance, speaker in zip(sheet.lines, utterances, speakers, strict=False):
            if utterance and speaker is None:
                told = f"column utterance holds {utterance!r}, needs a speaker and a vowel such as w01ae"
                sheet.tell(line, f"{told}; correct or remove the row")
        groups = [speaker[0] if speaker else "" for speaker in speakers]
        return _table(sheet, "vowel", self.FEATURES, groups, self.config.log)


class PetersonBarney:
    """The vowels of Peterson and Barney: F0-F3 of 10 vowels spoken twice by each of 76 speakers, built in.

    Features are natural logarithms of frequencies in Hz; groups are the speakers, and a split is by speaker unless told
    otherwise. Source: G. E. Peterson and H. L. Barney, J. Acoust. Soc. Am. 24:175 (1952); ``labtrain/data`` holds the
    table with its provenance.
    """

    FEATURES = ("F0", "F1", "F2", "F3")

    class Config(SplitOptions):
        """Settings of the data set ``peterson-barney``."""

        type: Literal["peterson-barney"]

    def __init__(self, config: Config) -> None:
        self.config = config

    def load(self) -> Table:
        """Read the built-in table: 1,520 rows, 4 features, 10 classes, 76 groups."""
        name = "peterson_barney.csv"
        sheet = Sheet(files("labtrain.data").joinpath(name).read_bytes(), name, ",", "install labtrain again")
        return _table(sheet, "vowel", self.FEATURES, sheet.texts("speaker", "a speaker"), log=True)
