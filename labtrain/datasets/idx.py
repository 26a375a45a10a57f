"""IDX files, as MNIST, Fashion-MNIST and KMNIST are published in: images in one, their labels in another.

    0  0  type  dimensions   size of each dimension (32 bits, big end first)   values, last dimension fastest

Type 8 is unsigned bytes: images begin with 0x00000803 = 2051 and labels with 0x00000801 = 2049, their magic numbers.
Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits" (1998).
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from labtrain.config import InputPath
from labtrain.datasets.images import Images, OfficialOptions, image_table
from labtrain.datasets.reader import readable
from labtrain.datasets.streams import TooShortError, chosen_records
from labtrain.datasets.table import Indices, Table
from labtrain.errors import DataError

IMAGES, LABELS = 2051, 2049
HOLDS = {IMAGES: "images", LABELS: "labels"}
MOST_PIXELS = 2**24  # of one image; a header that tells of more is damaged
AGAIN = "copy or download it again"
BYTES = np.dtype(np.uint8)


@contextmanager
def unpacked(path: Path, key: str) -> Iterator[IO[bytes]]:
    """A file that is packed with gzip or not, whatever it is called."""
    with readable(path, key, "an IDX file"):
        try:
            with path.open("rb") as raw:
                packed = raw.read(2) == b"\x1f\x8b"
                raw.seek(0)
                yield cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if packed else raw
        except (gzip.BadGzipFile, zlib.error) as error:
            raise DataError(f"{path}: cannot be unpacked ({error}); {AGAIN}") from None
        except EOFError:
            raise DataError(f"{path}: the gzip stream ends early, the file is cut off; {AGAIN}") from None


class IdxFile:
    """An IDX file of unsigned bytes: images (n, height, width) or labels (n,).

    Parameters
    ----------
    path : Path
    key : str
        Setting that named it, for errors.
    magic : IMAGES or LABELS
        What it must hold.

    Raises
    ------
    DataError
        If there is no such file, or it holds something else.
    """

    def __init__(self, path: Path, key: str, magic: int) -> None:
        self.path, self.key = path, key
        with unpacked(path, key) as file:
            self.shape = self._header(file, magic)

    def _header(self, file: IO[bytes], magic: int) -> tuple[int, ...]:
        needs = f"needs {HOLDS[magic]}, magic number {magic}"
        start, sizes = file.read(4), file.read(12 if magic == IMAGES else 4)
        found = int.from_bytes(start, "big")
        if start[:2] == b"PK":
            raise DataError(
                f"{self.path}: is a zip archive, {needs}; unpack it and name the file from it in {self.key}"
            )
        if found in HOLDS and found != magic:
            raise DataError(
                f"{self.path}: holds {HOLDS[found]}, magic number {found}, {needs}; are the files of images and labels "
                f"swapped? correct {self.key}"
            )
        if found != magic:
            raise DataError(
                f"{self.path}: begins with magic number {found}, {needs} (IDX of unsigned bytes); correct {self.key}"
            )
        if len(sizes) < (12 if magic == IMAGES else 4):
            raise DataError(f"{self.path}: ends within its header; {AGAIN}")
        shape = tuple(int(size) for size in np.frombuffer(sizes, ">u4"))
        if min(shape) == 0 or math.prod(shape[1:]) > MOST_PIXELS:
            raise DataError(f"{self.path}: its header tells of {_told(shape)}; {AGAIN}")
        return shape

    def records(self, chosen: Indices) -> Iterator[NDArray[Any]]:
        """The chosen ones, ascending, in blocks.

        Raises
        ------
        DataError
            If the file is shorter or longer than its header says, or cannot be unpacked.
        """
        begin = 4 + 4 * len(self.shape)
        needed = begin + math.prod(self.shape)
        with unpacked(self.path, self.key) as file:
            file.read(begin)
            try:
                yield from chosen_records(file, self.shape, BYTES, chosen)
            except TooShortError as short:
                found = f"{_told(self.shape)} are {needed:,} bytes, there are {begin + short.got:,}"
                raise DataError(f"{self.path}: {found}: the file is cut off; {AGAIN}") from None
            if file.read(1):
                raise DataError(f"{self.path}: {_told(self.shape)} are {needed:,} bytes, and more follow; {AGAIN}")


def _told(shape: tuple[int, ...]) -> str:
    return f"{shape[0]:,} labels" if len(shape) == 1 else f"{shape[0]:,} images of {shape[1]} x {shape[2]}"


class IdxPair:
    """A file of images and the file of their labels, as a source of images.

    Parameters
    ----------
    images, labels : Path
    part : str
        In front of the keys that named them: ``""`` or ``"test_"``.
    """

    full = 255.0

    def __init__(self, images: Path, labels: Path, part: str) -> None:
        keys = [f"dataset.{part}images", f"dataset.{part}labels"]
        self.what = str(images)
        self._images, marked = IdxFile(images, keys[0], IMAGES), IdxFile(labels, keys[1], LABELS)
        n, m = self._images.shape[0], marked.shape[0]
        if n != m:
            raise DataError(
                f"{images} holds {n:,} images and {labels} {m:,} labels; name the two files of one set in "
                f"{' and '.join(keys)}"
            )
        self.names = [str(label) for block in marked.records(np.arange(m)) for label in block.tolist()]

    def called(self, number: int) -> str:
        return f"image {number} of {self.what}"

    def blocks(self, chosen: Indices) -> Iterator[Images]:
        return self._images.records(chosen)


class Idx:
    """Images in IDX files: MNIST, Fashion-MNIST, KMNIST and others of their kind, which the user has.

    Features are pixels from 0 to 1, row by row; classes are the numbers in the file of labels.
    """

    class Config(OfficialOptions):
        """Settings of the data set ``idx``."""

        type: Literal["idx"]
        images: InputPath = Field(description="IDX file of images, packed with gzip or not")
        labels: InputPath = Field(description="IDX file of their labels")
        test_images: InputPath | None = Field(None, description="images of the test part; none: split by chance")
        test_labels: InputPath | None = Field(None, description="labels of the test part")

        @model_validator(mode="after")
        def _pairs(self) -> Idx.Config:
            self._official_pair(self.test_images, self.test_labels)
            return self

    def __init__(self, config: Config) -> None:
        self.config = config

    def load(self) -> Table:
        """Read the files.

        Raises
        ------
        DataError
            If a file is missing, damaged or not what its key asks for, or the files do not belong together.
        """
        config = self.config
        train, test = IdxPair(config.images, config.labels, ""), None
        if config.test_images is not None and config.test_labels is not None:
            test = IdxPair(config.test_images, config.test_labels, "test_")
        return image_table(config, config.images.name, train, test)
