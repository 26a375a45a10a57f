"""Arrays of images, or of features, and of labels in one .npz archive, as NumPy's ``savez`` writes it."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal
from zipfile import BadZipFile, ZipFile

import numpy as np
from pydantic import Field, model_validator

from labtrain.config import InputPath
from labtrain.datasets.images import Images, OfficialOptions, image_table
from labtrain.datasets.reader import readable
from labtrain.datasets.streams import TooShortError, chosen_records
from labtrain.datasets.table import Indices, Table
from labtrain.errors import DataError
from labtrain.limits import did_you_mean

Header = tuple[tuple[int, ...], np.dtype[Any]]


@contextmanager
def _archive(path: Path) -> Iterator[ZipFile]:
    with readable(path, "dataset.path", "an .npz file"):
        try:
            with ZipFile(path) as archive:
                yield archive
        except (BadZipFile, zlib.error, EOFError) as error:
            raise DataError(f"{path}: not a whole .npz archive ({error}); save or copy it again") from None


class NpzPair:
    """An array of images and one of labels, as a source of images.

    Parameters
    ----------
    path : Path
    images, labels : str
        Names of the arrays.
    part : str
        In front of the keys that named them: ``""`` or ``"test_"``.
    """

    def __init__(self, path: Path, images: str, labels: str, part: str) -> None:
        self.path, self._images, self.what = path, images, f"{path}: array {images}"
        with _archive(path) as archive:
            with _member(archive, path, images, f"dataset.{part}images") as file:
                self._shape, self._dtype = _header(file, self.what)
            with _member(archive, path, labels, f"dataset.{part}labels") as file:
                self.names = _labels(file, f"{path}: array {labels}")
        if len(self._shape) not in (2, 3) or 0 in self._shape:
            raise DataError(f"{self.what} has shape {self._shape}, needs (rows, height, width) or (rows, features)")
        if self._dtype.kind not in "uif":
            raise DataError(f"{self.what} holds {self._dtype}, needs numbers; save it as uint8 or float32")
        if self._shape[0] != len(self.names):
            raise DataError(
                f"{path}: array {images} has {self._shape[0]:,} rows, array {labels} {len(self.names):,}; name two of "
                f"one set in dataset.{part}images and dataset.{part}labels"
            )
        self.full = 255.0 if self._dtype == np.uint8 else 1.0

    def called(self, number: int) -> str:
        return f"image {number} of {self.what}"

    def blocks(self, chosen: Indices) -> Iterator[Images]:
        with _archive(self.path) as archive, archive.open(f"{self._images}.npy") as file:
            _header(file, self.what)
            try:
                yield from chosen_records(file, self._shape, self._dtype, chosen)
            except TooShortError:
                raise DataError(f"{self.what} is shorter than its shape {self._shape}; save it again") from None


@contextmanager
def _member(archive: ZipFile, path: Path, name: str, key: str) -> Iterator[IO[bytes]]:
    there = [member.removesuffix(".npy") for member in archive.namelist()]
    if name not in there:
        hint = did_you_mean(name, there) or f", there are {', '.join(there[:20]) or 'none'}"
        raise DataError(f"{path}: no array {name}{hint}; correct {key}")
    with archive.open(f"{name}.npy") as file:
        yield file


def _header(file: IO[bytes], what: str) -> Header:
    """Shape and type of an array; the file then stands at its values."""
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        shape, fortran, dtype = read[np.lib.format.read_magic(file)](file)
    except (ValueError, KeyError) as error:
        raise DataError(f"{what} cannot be read ({error}); save a plain array of numbers again") from None
    if fortran and len(shape) > 1:
        raise DataError(f"{what} is stored column by column; save numpy.ascontiguousarray of it")
    return shape, dtype


def _labels(file: IO[bytes], what: str) -> list[str]:
    """Class of each row: integers, or text."""
    shape, dtype = _header(file, what)
    if dtype.kind not in "uiU" or len(shape) not in (1, 2) or shape[1:] not in ((), (1,)):
        raise DataError(f"{what} holds {dtype} of shape {shape}, needs integers or text of shape (rows,); save it so")
    try:
        blocks = list(chosen_records(file, shape, dtype, np.arange(shape[0])))
    except TooShortError:
        raise DataError(f"{what} is shorter than its shape {shape}; save it again") from None
    return [str(label) for block in blocks for label in block.ravel().tolist()]


class Npz:
    """Images or features with labels in an .npz archive.

    Bytes (uint8) are pixels, made 0 to 1 by a division by 255; other numbers are taken as they are.
    """

    class Config(OfficialOptions):
        """Settings of the data set ``npz``."""

        type: Literal["npz"]
        path: InputPath = Field(description=".npz file")
        images: str = Field("images", description="name of the array (rows, height, width) or (rows, features)")
        labels: str = Field("labels", description="name of the array of classes, integers or text")
        test_images: str | None = Field(None, description="array of the test part; none: split by chance")
        test_labels: str | None = Field(None, description="classes of the test part")

        @model_validator(mode="after")
        def _pairs(self) -> Npz.Config:
            self._official_pair(self.test_images, self.test_labels)
            return self

    def __init__(self, config: Config) -> None:
        self.config = config

    def load(self) -> Table:
        """Read the archive.

        Raises
        ------
        DataError
            If it is missing or damaged, lacks an array, or arrays have the wrong type or do not belong together.
        """
        config = self.config
        train, test = NpzPair(config.path, config.images, config.labels, ""), None
        if config.test_images is not None and config.test_labels is not None:
            test = NpzPair(config.path, config.test_images, config.test_labels, "test_")
        return image_table(config, config.path.name, train, test)
