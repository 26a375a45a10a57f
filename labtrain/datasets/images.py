"""What data sets of images share: which images are taken, their size, and the table made of them.

Images are read a block at a time and only those that are taken are kept, as the bytes they were stored in: 60,000 of
28 x 28 pixels are 47 MB, and never stand in memory twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, model_validator

from labtrain.compact import CompactRows
from labtrain.datasets.files import natural
from labtrain.datasets.table import Indices, SplitOptions, Table
from labtrain.errors import DataError
from labtrain.limits import did_you_mean

Images = NDArray[Any]

BLOCK = 1024
"""Images read at once."""


class Source(Protocol):
    """Labelled images that can be read, such as a pair of files.

    Attributes
    ----------
    what : str
        What errors call it.
    names : list of str
        Class of each image.
    full : float
        Stored number that stands for 1.
    """

    what: str
    names: list[str]
    full: float

    def called(self, number: int) -> str:
        """What errors call one image."""

    def blocks(self, chosen: Indices) -> Iterator[Images]:
        """The images of these ascending numbers, in blocks (b, height, width); (b, d) where they have no shape."""


def _names(value: Any) -> Any:
    return [str(name) if type(name) is int else name for name in value] if isinstance(value, list | tuple) else value


class ImageOptions(SplitOptions):
    """Keys of every data set of images."""

    classes: Annotated[tuple[str, ...], BeforeValidator(_names)] | None = Field(
        None, description="names of the classes to take, in this order; all when left out"
    )
    rows: int | None = Field(
        None, ge=2, description="images to take, each class its share, drawn by seed; all when left out"
    )
    size: tuple[int, int] | None = Field(
        None, description="height and width to shrink images to: means over equal areas; untouched when left out"
    )
    binary: float | None = Field(None, ge=0, description="make 1 of what is larger, 0 of the rest; none: untouched")
    seed: int = Field(0, ge=0, description="of the images drawn for rows; trials differ in their splits")

    @model_validator(mode="after")
    def _possible(self) -> ImageOptions:
        named = self.classes or ()
        if self.classes is not None and len(set(named)) < max(2, len(named)):
            raise ValueError(f"classes {list(named)} must be two or more different names")
        if self.size is not None and min(self.size) < 1:
            raise ValueError(f"size {list(self.size)} must be a height and a width of at least 1")
        if self.split_by == "group":
            raise ValueError("split_by: group needs groups, and images have none; set it to rows or leave it out")
        return self


class OfficialOptions(ImageOptions):
    """Further keys of data sets that may bring a test part of their own."""

    test_rows: int | None = Field(
        None, ge=1, description="images of the test part to take, as rows says; all when left out"
    )

    def _official(self, given: bool, key: str) -> None:
        """Refuse keys that belong to the other kind of split."""
        if given and self.test_fraction != SplitOptions.model_fields["test_fraction"].default:
            raise ValueError(f"test_fraction belongs to a split by chance, and {key} is the test part; remove one")
        if not given and self.test_rows is not None:
            raise ValueError(f"test_rows limits the test part, and there is none; set {key} or remove test_rows")

    def _official_pair(self, images: object | None, labels: object | None) -> None:
        """As :meth:`_official`, where a test part is ``test_images`` with ``test_labels``."""
        if (images is None) != (labels is None):
            raise ValueError("test_images and test_labels belong together; give both or neither")
        self._official(images is not None, "test_images")


def stratified(labels: Indices, rows: int, seed: int) -> Indices:
    """Ascending numbers of `rows` images of which each class has its share, to within one image.

    Each image stands at (rank among its class, shuffled by the seed, + 1/2) / (images of its class); those at the front
    are taken.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    place = np.empty(len(labels))
    for label in np.unique(labels):
        own = order[labels[order] == label]
        place[own] = (np.arange(len(own)) + 0.5) / len(own)
    return np.sort(np.lexsort((labels, place))[:rows])


def resized(images: Images, size: tuple[int, int]) -> NDArray[np.float32]:
    """Means of images (b, height, width) over equal areas, (b, *size); borders may cut through pixels."""
    down, across = (_averaging(n, into) for n, into in zip(images.shape[1:], size, strict=True))
    return np.asarray((down @ images.astype(np.float64) @ across.T).astype(np.float32))


def _averaging(n: int, into: int) -> NDArray[np.float64]:
    """Matrix (into, n) of the share that each of n pixels has in each of the larger ones; rows sum to 1."""
    edges = np.arange(into + 1)[:, None] * (n / into)
    covered = np.clip(edges - np.arange(n), 0.0, 1.0)  # of each pixel, by what lies before an edge
    shares: NDArray[np.float64] = np.diff(covered, axis=0) / (n / into)
    return shares


def image_table(options: ImageOptions, source: str, train: Source, test: Source | None = None) -> Table:
    """The table of a data set of images, in the order of the files, test part behind the others.

    Raises
    ------
    DataError
        If a class that was asked for does not exist, the parts have different classes or sizes, `size` is larger than
        the images, or more rows were asked for than there are.
    """
    there = sorted(set(train.names), key=natural)
    for name in options.classes or ():
        if name not in there:
            known = f", there are {', '.join(there[:20])}{', ...' if len(there) > 20 else ''}"
            hint = did_you_mean(name, there) or known
            raise DataError(f"{train.what}: no image of class {name!r}{hint}; correct dataset.classes")
    classes = options.classes or tuple(there)
    labels, chosen = _chosen(options, train, classes, options.rows, "rows")
    taken = [(train, chosen)]
    if test is not None:
        limit = getattr(options, "test_rows", None)
        test_labels, test_chosen = _chosen(options, test, classes, limit, "test_rows")
        taken, labels = [*taken, (test, test_chosen)], np.concatenate([labels, test_labels])
        if train.full != test.full:
            raise DataError(f"{test.what}: another type of numbers than {train.what}; store both alike")
    store, shape = _gathered(options, taken, len(labels))
    names = [f"feature {i}" for i in range(shape[0])] if len(shape) == 1 else [
        f"pixel {row},{column}" for row in range(shape[0]) for column in range(shape[1])
    ]  # fmt: skip
    return Table(
        features=CompactRows(store, 1.0 if options.binary is not None else train.full),
        labels=labels,
        classes=classes,
        feature_names=tuple(names),
        groups=None,
        source=source,
        test=None if test is None else np.arange(len(chosen), len(labels)),
    )


def _chosen(
    options: ImageOptions, source: Source, classes: Sequence[str], rows: int | None, key: str
) -> tuple[Indices, Indices]:
    """Labels of the images that are taken of one part, and their numbers."""
    number = {name: i for i, name in enumerate(classes)}
    labels = np.array([number.get(name, -1) for name in source.names], dtype=np.int64)
    kept = np.flatnonzero(labels >= 0)
    if options.classes is None and len(kept) < len(labels):
        strange = source.names[int(np.argmin(labels))]
        raise DataError(
            f"{source.what}: holds class {strange!r}, of which there is no training image; give the test part of the "
            "same data set, or name dataset.classes"
        )
    if rows is not None and rows > len(kept):
        raise DataError(f"{source.what}: {key} {rows} of {len(kept)} images; lower dataset.{key} or leave it out")
    if not len(kept):
        raise DataError(f"{source.what}: no image of classes {', '.join(classes)}; correct dataset.classes")
    chosen = kept if rows is None else kept[stratified(labels[kept], rows, options.seed)]
    return labels[chosen], chosen


def _gathered(options: ImageOptions, taken: Sequence[tuple[Source, Indices]], n: int) -> tuple[Images, tuple[int, ...]]:
    """All chosen images, (n, pixels), and the shape of one."""
    store: Images | None = None
    shape: tuple[int, ...] = ()
    at, (first, numbers) = 0, taken[0]
    for source, chosen in taken:
        begin = at
        for block in source.blocks(chosen):
            images = _prepared(options, source, block)
            if store is None:
                shape = images.shape[1:]
                store = np.empty((n, int(np.prod(shape))), images.dtype)
            if images.shape[1:] != shape:
                found, needed = (" x ".join(str(side) for side in sides) for sides in (images.shape[1:], shape))
                raise DataError(
                    f"{source.called(int(chosen[at - begin]))}: {found}, {first.called(int(numbers[0]))} is {needed}; "
                    "give images of one size, or set dataset.size"
                )
            store[at : at + len(images)] = images.reshape(len(images), -1)
            at += len(images)
    assert store is not None and at == n
    return store, shape


def _prepared(options: ImageOptions, source: Source, images: Images) -> Images:
    """One block, shrunk and made binary as the options ask."""
    if options.size is not None:
        if images.ndim != 3:
            raise DataError(f"{source.what}: rows of numbers and no images, which have no size; remove dataset.size")
        height, width = images.shape[1:]
        if options.size[0] > height or options.size[1] > width:
            asked = "{} x {}".format(*options.size)
            raise DataError(
                f"{source.what}: images of {height} x {width} cannot be shrunk to {asked}; lower dataset.size"
            )
        images = resized(images, options.size)
    if options.binary is not None:
        images = (images > options.binary * source.full).astype(np.uint8)
    return images
