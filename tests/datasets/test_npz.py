"""Archives of NumPy: which arrays are taken, and what can be wrong with them."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labtrain.datasets import Npz, Table, split
from labtrain.errors import DataError
from tests.datasets.idx_files import images, labels


def saved(folder: Path, **arrays: np.ndarray) -> Path:
    path = folder / "mine.npz"
    np.savez_compressed(path, **arrays)
    return path


def load(path: Path, **keys: Any) -> Table:
    return Npz(Npz.Config(type="npz", path=path, **keys)).load()


def told(path: Path, **keys: Any) -> str:
    with pytest.raises(DataError) as caught:
        load(path, **keys)
    return str(caught.value)


def test_bytes_are_pixels(tmp_path: Path) -> None:
    table = load(saved(tmp_path, images=images(30), labels=labels(30)))
    assert np.array_equal(np.asarray(table.features), images(30).reshape(30, -1) / 255.0)
    assert table.labels.tolist() == labels(30).tolist()
    assert table.feature_names[7] == "pixel 1,1"
    assert table.source == "mine.npz"


@pytest.mark.parametrize("dtype", ["float32", "float64", ">i2"])
def test_other_numbers_are_taken_as_they_are(tmp_path: Path, dtype: str) -> None:
    features = (np.random.default_rng(0).standard_normal((30, 4)) * 90).astype(dtype)
    table = load(saved(tmp_path, images=features, labels=labels(30)))
    assert np.array_equal(np.asarray(table.features), features.astype(np.float64))
    assert table.feature_names == ("feature 0", "feature 1", "feature 2", "feature 3")


def test_names_of_arrays_labels_in_a_column_and_a_test_part(tmp_path: Path) -> None:
    kinds = np.array(["cat", "dog"])
    path = saved(
        tmp_path,
        x_train=images(30),
        y_train=kinds[labels(30, 2)][:, None],
        x_test=images(8, 1),
        y_test=kinds[labels(8, 2)],
    )
    config = Npz.Config(
        type="npz", path=path, images="x_train", labels="y_train", test_images="x_test", test_labels="y_test"
    )
    table = Npz(config).load()
    assert table.classes == ("cat", "dog")
    assert split(table, config, 5).test.tolist() == list(range(30, 38))
    assert np.array_equal(np.asarray(table.features)[30:], images(8, 1).reshape(8, -1) / 255.0)


def test_arrays_that_are_not_there_or_do_not_fit(tmp_path: Path) -> None:
    path = saved(tmp_path, images=images(30), labels=labels(30), few=labels(12), deep=np.zeros((30, 2, 2, 3)))
    assert told(path, images="image") == (f"{path}: no array image (did you mean images?); correct dataset.images")
    assert told(path, labels="kinds") == (
        f"{path}: no array kinds, there are images, labels, few, deep; correct dataset.labels"
    )
    assert told(path, labels="few") == (
        f"{path}: array images has 30 rows, array few 12; name two of one set in dataset.images and dataset.labels"
    )
    assert told(path, images="deep") == (
        f"{path}: array deep has shape (30, 2, 2, 3), needs (rows, height, width) or (rows, features)"
    )
    assert told(path, labels="deep") == (
        f"{path}: array deep holds float64 of shape (30, 2, 2, 3), needs integers or text of shape (rows,); save it so"
    )


def test_types_that_cannot_be_used(tmp_path: Path) -> None:
    path = saved(tmp_path, images=images(30) > 9, labels=labels(30))
    assert told(path) == f"{path}: array images holds bool, needs numbers; save it as uint8 or float32"
    path = saved(tmp_path, images=np.asfortranarray(images(30)), labels=labels(30))
    assert told(path) == f"{path}: array images is stored column by column; save numpy.ascontiguousarray of it"
    path = saved(tmp_path, images=images(30), labels=np.array(["a", None] * 15, dtype=object))
    assert "array labels holds object of shape (30,), needs integers or text" in told(path)


def test_rows_of_numbers_have_no_size(tmp_path: Path) -> None:
    path = saved(tmp_path, images=np.zeros((30, 4)), labels=labels(30))
    assert told(path, size=[2, 2]) == (
        f"{path}: array images: rows of numbers and no images, which have no size; remove dataset.size"
    )


def test_damaged_archives(tmp_path: Path) -> None:
    path = saved(tmp_path, images=images(300), labels=labels(300))
    whole = bytearray(path.read_bytes())
    path.write_bytes(whole[: len(whole) // 2])
    assert told(path) == f"{path}: not a whole .npz archive (File is not a zip file); save or copy it again"
    whole[len(whole) // 3] ^= 0xFF
    path.write_bytes(whole)
    assert told(path).startswith(f"{path}: not a whole .npz archive (")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", b"nothing of the kind")
        archive.writestr("labels.npy", b"")
    assert told(path).startswith(f"{path}: array images cannot be read (")
    missing = tmp_path / "main.npz"
    assert told(missing) == f"data file {missing} does not exist (did you mean {path}?); correct dataset.path"
