"""CSV files to numbers and names; everything wrong with a file is told at once, each with line and column.

Accepted: UTF-8 with or without a byte order mark, any line ends, quoted values, blank lines, spaces around values.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from labtrain.errors import DataError
from labtrain.limits import did_you_mean

Array = NDArray[np.float64]

MOST_ERRORS = 10
LOG = "log "
"""Prefix of the name of a feature that is the natural logarithm of a column."""


def read_file(path: Path, setting: str) -> bytes:
    """Contents of a data file.

    Parameters
    ----------
    path : Path
    setting : str
        Key or option that named the file, for the error.

    Raises
    ------
    DataError
        If it does not exist or cannot be read.
    """
    with readable(path, setting, "a CSV file"):
        return path.read_bytes()


@contextmanager
def readable(path: Path, setting: str, needs: str) -> Iterator[None]:
    """Inside, a file is read that may not be there: what goes wrong becomes a DataError."""
    if path.is_dir():
        raise DataError(f"data file {path} is a folder, needs {needs}; correct {setting}")
    try:
        yield
    except FileNotFoundError:
        beside = [str(path.parent / other.name) for other in path.parent.glob(f"*{path.suffix}")]
        raise DataError(
            f"data file {path} does not exist{did_you_mean(str(path), beside)}; correct {setting}"
        ) from None
    except OSError as error:
        told = error.strerror or error
        raise DataError(f"data file {path} cannot be read: {told}; check {setting}") from error


class Sheet:
    """A parsed CSV file: ask for columns, then :meth:`check` raises everything that was wrong.

    Parameters
    ----------
    data : bytes
    name : str
        What errors call the file.
    delimiter : str
    remedy : str
        What to do about a missing column.
    numbered : str, optional
        The header may be left out: columns then have this name and a number from 1. A first line with a number in it
        is no header.

    Raises
    ------
    DataError
        If there is no header, no row, or the text cannot be decoded.
    """

    def __init__(self, data: bytes, name: str, delimiter: str, remedy: str, numbered: str = "") -> None:
        self.name = name
        self._delimiter = delimiter
        self._remedy = remedy
        self._problems: list[tuple[int, str]] = []
        records = self._parse(_decode(data, name))
        if not records:
            raise DataError(self._all() or f"{name}: the file is empty; give a header line and one line for each row")
        wide, self._header_line = "the header has {} columns", records[0][0]
        if numbered and any(_parsed(cell) is not None for cell in records[0][1]):
            wide = "the first row has {}"
            records.insert(0, (self._header_line, [""] * len(records[0][1])))
        header = [cell.strip() for cell in records[0][1]]
        self.header = [name or f"{numbered}{i}" * bool(numbered) for i, name in enumerate(header, start=1)]
        for column in dict.fromkeys(self.header):
            if column and (times := self.header.count(column)) > 1:
                self.tell(self._header_line, f"column {column} appears {times} times; rename the others")
        self.lines: list[int] = []
        self._rows: list[list[str]] = []
        for line, cells in records[1:]:
            if len(cells) == len(self.header):
                self.lines.append(line)
                self._rows.append(cells)
            else:
                self.tell(line, f"{len(cells)} values, {wide.format(len(self.header))}; correct the row")
        if len(records) == 1:
            self.tell(self._header_line, "a header and no rows; add one line for each row")

    def _parse(self, text: str) -> list[tuple[int, list[str]]]:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=self._delimiter, strict=True)
        records: list[tuple[int, list[str]]] = []
        start = 1
        try:
            for cells in reader:
                if any(cell.strip() for cell in cells) or len(cells) > 1:
                    records.append((start, cells))
                start = reader.line_num + 1
        except csv.Error as error:
            self.tell(start, f"not readable as CSV ({error}); check the quotation marks")
        return records

    def tell(self, line: int, sentence: str) -> None:
        """Note that something is wrong on a line of the file."""
        self._problems.append((line, f"{self.name}:{line}: {sentence}"))

    def _all(self) -> str:
        told = [sentence for _, sentence in sorted(self._problems, key=lambda problem: problem[0])]
        more = len(told) - MOST_ERRORS
        return "\n".join(told[:MOST_ERRORS] + ([f"{self.name}: and {more} more like these"] if more > 0 else []))

    def check(self) -> None:
        """Raise a DataError with a line for each problem noted so far, the first ten of them."""
        if self._problems:
            raise DataError(self._all())

    def texts(self, column: str, needs: str) -> list[str]:
        """Values of a column that may not be empty, (rows,); `needs` is what belongs there."""
        index = self._index(column)
        if index is None:
            return []
        values = [row[index].strip() for row in self._rows]
        for line, value in zip(self.lines, values, strict=True):
            if not value:
                self.tell(line, f"column {column} is empty, needs {needs}; fill in or remove the row")
        return values

    def numbers(self, column: str, log: bool = False) -> Array:
        """Values of a column of numbers, (rows,), or their natural logarithms."""
        index = self._index(column)
        if index is None:
            return np.empty(0)
        cells = zip(self.lines, self._rows, strict=True)
        return np.array([self._number(line, column, row[index].strip(), log) for line, row in cells], dtype=np.float64)

    def _index(self, column: str) -> int | None:
        if column in self.header:
            return self.header.index(column)
        hint = did_you_mean(column, self.header)
        if len(self.header) == 1:
            hint += f", all is one column when separated by {self._delimiter!r}"
        elif not hint:
            shown = [name for name in self.header if name]
            hint = f", there are {', '.join(shown[:20])}{', ...' if len(shown) > 20 else ''}"
        self.tell(self._header_line, f"no column {column}{hint}; {self._remedy}")
        return None

    def _number(self, line: int, column: str, text: str, log: bool) -> float:
        """One value; NaN and a note of what is wrong if it cannot be used."""
        if not text:
            self.tell(line, f"column {column} is empty, needs a number; fill in or remove the row")
            return math.nan
        value = _parsed(text)
        if value is None:
            comma = text.count(",") == 1 and _parsed(text.replace(",", ".")) is not None
            remedy = "write a decimal point" if comma else "correct or remove the row"
            self.tell(line, f"column {column} holds {text!r}, needs a number; {remedy}")
        elif not math.isfinite(value):
            self.tell(line, f"column {column} holds {text!r}, needs a finite number; correct or remove the row")
        elif log and value <= 0:
            found = f"column {column} holds {text!r}"
            self.tell(line, f"{found}, needs a number above 0 for its logarithm; correct or remove the row")
        else:
            return math.log(value) if log else value
        return math.nan


def _decode(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        byte = error.object[error.start]
        raise DataError(f"{name}:{line}: byte 0x{byte:02x} is not UTF-8; save the file as UTF-8") from None


def _parsed(text: str) -> float | None:
    """The number that a text spells; None for text, and for Python's own ``1_000``."""
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def read_rows(path: str | Path, feature_names: Sequence[str], delimiter: str = ",") -> tuple[list[str], Array]:
    """Read feature rows for a prediction; other columns, a label among them, are ignored.

    Parameters
    ----------
    path : str or Path
        CSV file with a header.
    feature_names : sequence of str
        As the table of the training had them. A feature ``log F1`` without a column of that name is the natural
        logarithm of column ``F1``.
    delimiter : str

    Returns
    -------
    rows : list of str
        Where each row stands, ``"rows.csv:7"``.
    features : ndarray (n, d), float64

    Raises
    ------
    DataError
        With a line for each error in the file.
    """
    path = Path(path)
    sheet = Sheet(read_file(path, "--input"), path.name, delimiter, "add the column: the network was trained with it")
    columns = []
    for name in feature_names:
        log = name.startswith(LOG) and name not in sheet.header
        columns.append(sheet.numbers(name.removeprefix(LOG) if log else name, log))
    sheet.check()
    return [f"{path.name}:{line}" for line in sheet.lines], np.column_stack(columns)


def read_drives(path: str | Path) -> tuple[list[str], Array]:
    """Read drive vectors: a column of numbers from 0 to 1 for each input, in the order of the inputs.

    A header may be there or not; its names are for people and for errors.

    Parameters
    ----------
    path : str or Path
        CSV file.

    Returns
    -------
    rows : list of str
        Where each row stands, ``"rows.csv:7"``.
    drives : ndarray (n, columns), float64

    Raises
    ------
    DataError
        With a line for each error in the file.
    """
    path = Path(path)
    sheet = Sheet(read_file(path, "--input"), path.name, ",", "", numbered="x")
    columns = []
    for name in sheet.header:
        values = sheet.numbers(name)
        columns.append(values)
        for line, value in zip(sheet.lines, values.tolist(), strict=True):
            if not (math.isnan(value) or 0.0 <= value <= 1.0):
                found = f"column {name} holds {value!r}, needs a number from 0 to 1"
                sheet.tell(line, f"{found}; correct or remove the row")
    sheet.check()
    return [f"{path.name}:{line}" for line in sheet.lines], np.column_stack(columns)
