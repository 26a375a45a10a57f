"""Image files in folders, one folder a class, as photographs and camera frames are often kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from labtrain.config import InputPath
from labtrain.datasets.files import natural
from labtrain.datasets.images import Images, OfficialOptions, image_table
from labtrain.datasets.table import Indices, Table
from labtrain.errors import DataError

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
EIGHT_BITS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")


class FolderSource:
    """The image files under a folder, as a source of images of 8 bits of grey; each is opened when it is its turn.

    Parameters
    ----------
    folder : Path
    key : str
        Setting that named it, for errors.
    """

    full = 255.0

    def __init__(self, folder: Path, key: str) -> None:
        self.what = str(folder)
        if not folder.is_dir():
            found = "is a file" if folder.exists() else "does not exist"
            raise DataError(f"folder {folder} {found}, needs a folder with one folder of images for each class; "
                            f"correct {key}")  # fmt: skip
        kinds = sorted((entry for entry in folder.iterdir() if entry.is_dir()), key=lambda entry: natural(entry.name))
        self.files = [
            file
            for kind in kinds
            for file in sorted(kind.iterdir(), key=lambda file: natural(file.stem))
            if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
        ]
        self.names = [file.parent.name for file in self.files]
        if not self.files:
            raise DataError(
                f"folder {folder}: {len(kinds)} folders and no image in them, needs one folder of images "
                f"({', '.join(SUFFIXES)}) for each class; correct {key}"
            )

    def called(self, number: int) -> str:
        return str(self.files[number])

    def blocks(self, chosen: Indices) -> Iterator[Images]:
        for i in chosen:
            yield grey(self.files[i])[None]


def grey(path: Path) -> Images:
    """An image file as (height, width), uint8: what is transparent is black, colours by their luminance.

    Raises
    ------
    DataError
        If it cannot be read, or has more than 8 bits.
    """
    from PIL import Image, UnidentifiedImageError  # here, because every command imports the data sets

    try:
        with Image.open(path) as image:
            if image.mode not in EIGHT_BITS:
                raise DataError(f"{path}: pixels of mode {image.mode}, needs 8 bits a channel; save it as 8-bit grey")
            if (frames := getattr(image, "n_frames", 1)) > 1:
                raise DataError(f"{path}: {frames} frames, needs one; save each as a file of its own")
            if "A" in image.getbands() or "transparency" in image.info:
                seen = Image.new("RGBA", image.size, "black")
                seen.alpha_composite(image.convert("RGBA"))
                return np.asarray(seen.convert("L"))
            return np.asarray(image.convert("L"))
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as an image ({error}); replace or remove the file") from None


class ImageFolder:
    """Image files in one folder for each class, named by it.

    Features are grey levels from 0 to 1, row by row.
    """

    class Config(OfficialOptions):
        """Settings of the data set ``image-folder``."""

        type: Literal["image-folder"]
        path: InputPath = Field(description="folder with one folder of images for each class")
        test_path: InputPath | None = Field(None, description="folder of the test part; none: split by chance")

        @model_validator(mode="after")
        def _parts(self) -> ImageFolder.Config:
            self._official(self.test_path is not None, "test_path")
            return self

    def __init__(self, config: Config) -> None:
        self.config = config

    def load(self) -> Table:
        """Read the images.

        Raises
        ------
        DataError
            If a folder is missing or empty, a file is no image, or sizes differ.
        """
        config = self.config
        train = FolderSource(config.path, "dataset.path")
        test = None if config.test_path is None else FolderSource(config.test_path, "dataset.test_path")
        return image_table(config, config.path.name, train, test)
