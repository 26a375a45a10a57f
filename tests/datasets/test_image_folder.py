"""Folders of image files: one class a folder, grey levels, and files that are no images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from labtrain.datasets import ImageFolder, Table, split
from labtrain.errors import DataError
from tests.datasets.idx_files import images


def put(folder: Path, kind: str, name: str, pixels: np.ndarray, mode: str | None = None) -> Path:
    path = folder / kind / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels, mode).save(path)
    return path


def filled(folder: Path, n: int = 4, seed: int = 0) -> np.ndarray:
    """n images each of classes 2 and 10; all of them, those of class 2 first."""
    pixels = images(2 * n, seed)
    for i, image in enumerate(pixels):
        put(folder, "2" if i < n else "10", f"shot{i}.png", image)
    return pixels


def load(path: Path, **keys: Any) -> Table:
    return ImageFolder(ImageFolder.Config(type="image-folder", path=path, **keys)).load()


def told(path: Path, **keys: Any) -> str:
    with pytest.raises(DataError) as caught:
        load(path, **keys)
    return str(caught.value)


def test_folders_are_classes_and_files_their_images(tmp_path: Path) -> None:
    pixels = filled(tmp_path)
    (tmp_path / "2" / "notes.txt").write_text("not an image")
    (tmp_path / "2" / "._shot0.png").write_text("left by another system")
    (tmp_path / "readme.md").write_text("not a class")
    table = load(tmp_path)
    assert table.classes == ("2", "10")
    assert table.labels.tolist() == [0] * 4 + [1] * 4
    assert np.array_equal(np.asarray(table.features), pixels.reshape(8, -1) / 255.0)
    assert table.source == tmp_path.name


def test_only_files_that_are_taken_are_opened(tmp_path: Path) -> None:
    filled(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "broken.png").write_text("no image")
    assert len(load(tmp_path, classes=["10", "2"])) == 8


def test_colours_become_grey_and_what_is_transparent_black(tmp_path: Path) -> None:
    red = np.zeros((2, 2, 4), np.uint8)
    red[..., 0], red[0, :, 3] = 255, 255  # the lower row is transparent
    put(tmp_path, "a", "red.png", red)
    put(tmp_path, "b", "white.png", np.full((2, 2, 3), 255, np.uint8))
    values = np.asarray(load(tmp_path).features)
    assert values[0].tolist() == [76 / 255, 76 / 255, 0, 0]  # 0.299 of 255, ITU-R 601
    assert values[1].tolist() == [1, 1, 1, 1]


def test_images_of_any_size_are_shrunk_to_one(tmp_path: Path) -> None:
    small = put(tmp_path, "a", "small.png", np.full((4, 4), 51, np.uint8))
    large = put(tmp_path, "b", "large.png", np.full((9, 7), 102, np.uint8))
    np.testing.assert_allclose(np.asarray(load(tmp_path, size=[3, 3]).features), [[0.2] * 9, [0.4] * 9], rtol=1e-6)
    assert told(tmp_path) == (f"{large}: 9 x 7, {small} is 4 x 4; give images of one size, or set dataset.size")


def test_a_folder_of_the_test_part(tmp_path: Path) -> None:
    filled(tmp_path / "train")
    pixels = filled(tmp_path / "test", 2, seed=1)
    config = ImageFolder.Config(type="image-folder", path=tmp_path / "train", test_path=tmp_path / "test")
    table = ImageFolder(config).load()
    assert split(table, config, 3).test.tolist() == [8, 9, 10, 11]
    assert np.array_equal(np.asarray(table.features)[8:], pixels.reshape(4, -1) / 255.0)


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    filled(tmp_path)
    bad = tmp_path / "2" / "bad.png"
    bad.write_bytes(b"not a picture")
    assert told(tmp_path).startswith(f"{bad}: cannot be read as an image (")
    bad.write_bytes((tmp_path / "2" / "shot0.png").read_bytes()[:60])
    assert told(tmp_path).startswith(f"{bad}: cannot be read as an image (")
    Image.fromarray(np.full((6, 6), 40000, np.uint16)).save(bad)
    assert told(tmp_path) == f"{bad}: pixels of mode I;16, needs 8 bits a channel; save it as 8-bit grey"
    bad.unlink()
    frames = [Image.fromarray(image) for image in images(2)]
    bad = tmp_path / "2" / "film.gif"
    frames[0].save(bad, save_all=True, append_images=frames[1:])
    assert told(tmp_path) == f"{bad}: 2 frames, needs one; save each as a file of its own"


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    needs = "needs a folder with one folder of images for each class; correct dataset.path"
    assert told(tmp_path / "none") == f"folder {tmp_path / 'none'} does not exist, {needs}"
    file = tmp_path / "file"
    file.write_text("")
    assert told(file) == f"folder {file} is a file, {needs}"
    (tmp_path / "empty").mkdir()
    assert told(tmp_path).startswith(f"folder {tmp_path}: 1 folders and no image in them, needs one folder of images (")
    put(tmp_path, "alone", "one.png", images(1)[0])
    assert told(tmp_path) == (
        f"{tmp_path.name}: the 1 rows hold 1 class, 'alone', training needs at least two; add rows of another class"
    )
