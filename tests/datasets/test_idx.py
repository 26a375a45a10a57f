"""IDX files: what is read of them, and the exact sentence for everything that can be wrong with them."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from labtrain.compact import CompactRows
from labtrain.datasets import Idx, Table, split
from labtrain.datasets.images import BLOCK
from labtrain.errors import DataError
from tests.datasets.idx_files import SIDE, idx, images, labels, pair, put

NEEDS = "needs images, magic number 2051"
WHOLE = "30 images of 6 x 6 are 1,096 bytes"
AGAIN = "copy or download it again"


def load(**keys: Any) -> Table:
    return Idx(Idx.Config(type="idx", **keys)).load()


def told(**keys: Any) -> str:
    with pytest.raises(DataError) as caught:
        load(**keys)
    return str(caught.value)


def refused(**keys: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        Idx.Config(type="idx", **keys)
    return str(caught.value)


@pytest.mark.parametrize("packed", [False, True])
def test_pixels_are_bytes_over_255_row_by_row(tmp_path: Path, packed: bool) -> None:
    table = load(**pair(tmp_path, packed=packed))
    assert np.array_equal(np.asarray(table.features), images(30).reshape(30, -1) / 255.0)
    assert table.labels.tolist() == labels(30).tolist()
    assert table.classes == ("0", "1", "2")
    assert table.feature_names[:2] == ("pixel 0,0", "pixel 0,1")
    assert table.feature_names[SIDE] == "pixel 1,0"
    assert table.source == "train-images"


@pytest.mark.parametrize("packed", [False, True])
def test_images_stay_bytes_and_are_kept_once(tmp_path: Path, packed: bool) -> None:
    n = 2 * BLOCK + 3
    table = load(**pair(tmp_path, n, packed=packed))
    assert isinstance(table.features, CompactRows)
    assert table.features.nbytes == n * SIDE**2
    parts = split(table, Idx.Config(type="idx", images=tmp_path, labels=tmp_path), 0)
    train = table.features[parts.train]
    assert train.nbytes == table.features.nbytes  # a view: the same store
    assert np.array_equal(train[5], images(n).reshape(n, -1)[parts.train[5]] / 255.0)


def test_the_fingerprint_is_that_of_the_same_numbers_as_float64(tmp_path: Path) -> None:
    table = load(**pair(tmp_path))
    plain = Table(np.asarray(table.features), table.labels, table.classes, table.feature_names, None, "plain")
    assert table.fingerprint == plain.fingerprint


def test_the_test_files_are_the_test_rows_of_every_trial(tmp_path: Path) -> None:
    keys = pair(tmp_path) | pair(tmp_path, 12, "test", seed=1)
    config = Idx.Config(type="idx", validation_fraction=0.2, **keys)
    table = Idx(config).load()
    first, other = split(table, config, 0), split(table, config, 1)
    assert first.test.tolist() == other.test.tolist() == list(range(30, 42))
    assert np.array_equal(np.asarray(table.features[first.test]), images(12, 1).reshape(12, -1) / 255.0)
    assert [len(first.train), len(first.validation)] == [24, 6]
    assert sorted([*first.train, *first.validation]) == list(range(30))
    assert first.validation.tolist() != other.validation.tolist()
    assert first.train.tolist() == np.random.default_rng(0).permutation(30)[:24].tolist()


def test_a_test_part_changes_the_fingerprint(tmp_path: Path) -> None:
    table = load(**pair(tmp_path) | pair(tmp_path, 12, "test"))
    without = Table(table.features, table.labels, table.classes, table.feature_names, None, "one")
    assert table.fingerprint != without.fingerprint


def test_rows_and_test_rows_limit_each_part(tmp_path: Path) -> None:
    table = load(**pair(tmp_path) | pair(tmp_path, 12, "test", seed=1), rows=9, test_rows=6)
    assert np.bincount(table.labels[:9]).tolist() == [3, 3, 3]
    assert np.bincount(table.labels[9:]).tolist() == [2, 2, 2]
    assert table.test is not None
    assert table.test.tolist() == list(range(9, 15))


# What can be wrong


def test_swapped_files_are_recognised(tmp_path: Path) -> None:
    keys = pair(tmp_path)
    there = keys["labels"]
    assert told(images=there, labels=keys["images"]) == (
        f"{there}: holds labels, magic number 2049, needs images, magic number 2051; are the files of images and "
        "labels swapped? correct dataset.images"
    )
    assert told(images=keys["images"], labels=keys["images"]) == (
        f"{keys['images']}: holds images, magic number 2051, needs labels, magic number 2049; are the files of images "
        "and labels swapped? correct dataset.labels"
    )


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", f"begins with magic number 0, {NEEDS} (IDX of unsigned bytes); correct"),
        (b"hello", f"begins with magic number 1751477356, {NEEDS} (IDX of unsigned bytes); correct"),
        (b"\0\0\x0d\3" + bytes(12), f"begins with magic number 3331, {NEEDS} (IDX of unsigned bytes); correct"),
        (b"PK\3\4" + bytes(12), f"is a zip archive, {NEEDS}; unpack it and name the file from it in"),
    ],
)  # fmt: skip
def test_other_files_are_told_by_their_magic_number(tmp_path: Path, data: bytes, sentence: str) -> None:
    keys = pair(tmp_path)
    put(keys["images"], data)
    assert told(**keys) == f"{keys['images']}: {sentence} dataset.images"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (idx(images(30))[:-1], f"{WHOLE}, there are 1,095: the file is cut off; {AGAIN}"),
        (idx(images(30))[:17], f"{WHOLE}, there are 17: the file is cut off; {AGAIN}"),
        (idx(images(30))[:9], f"ends within its header; {AGAIN}"),
        (idx(images(30)) + b"\0", f"{WHOLE}, and more follow; {AGAIN}"),
        (idx(np.zeros((0, 6, 6))), f"its header tells of 0 images of 6 x 6; {AGAIN}"),
        (b"\0\0\x08\3" + b"\xff" * 12, f"its header tells of 4,294,967,295 images of 4294967295 x 4294967295; {AGAIN}"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("packed", [False, True])
def test_a_wrong_length_is_told(tmp_path: Path, data: bytes, sentence: str, packed: bool) -> None:
    keys = pair(tmp_path)
    put(keys["images"], data, packed)
    assert told(**keys) == f"{keys['images']}: {sentence}"


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_gzip_file_that_is_cut_off_is_told(tmp_path: Path, share: float) -> None:
    keys = pair(tmp_path)
    whole = gzip.compress(idx(images(30)))
    keys["images"].write_bytes(whole[: int(share * len(whole))])
    assert told(**keys) == (
        f"{keys['images']}: the gzip stream ends early, the file is cut off; copy or download it again"
    )


def test_a_damaged_gzip_file_is_told(tmp_path: Path) -> None:
    keys = pair(tmp_path)
    whole = bytearray(gzip.compress(idx(images(30))))
    whole[-6] ^= 1
    keys["images"].write_bytes(whole)
    sentence = told(**keys)
    assert sentence.startswith(f"{keys['images']}: cannot be unpacked (CRC check failed")
    assert sentence.endswith("; copy or download it again")


def test_files_that_do_not_belong_together(tmp_path: Path) -> None:
    keys = pair(tmp_path)
    put(keys["labels"], idx(labels(12)))
    assert told(**keys) == (
        f"{keys['images']} holds 30 images and {keys['labels']} 12 labels; name the two files of one set in "
        "dataset.images and dataset.labels"
    )
    other = pair(tmp_path, 12, "test", side=5)
    assert told(**pair(tmp_path), **other) == (
        f"image 0 of {other['test_images']}: 5 x 5, image 0 of {keys['images']} is 6 x 6; give images of one size, or "
        "set dataset.size"
    )


def test_a_class_of_the_test_alone(tmp_path: Path) -> None:
    keys = pair(tmp_path) | pair(tmp_path, 12, "test")
    put(keys["test_labels"], idx(labels(12, 5)))
    assert told(**keys) == (
        f"{keys['test_images']}: holds class '3', of which there is no training image; give the test part of the same "
        "data set, or name dataset.classes"
    )
    assert load(**keys, classes=["0", "1", "2"]).features.shape == (30 + 8, 36)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    keys = pair(tmp_path)
    wrong = tmp_path / "train-image"
    assert told(images=wrong, labels=keys["labels"]) == (
        f"data file {wrong} does not exist (did you mean {keys['images']}?); correct dataset.images"
    )
    assert told(images=tmp_path, labels=keys["labels"]) == (
        f"data file {tmp_path} is a folder, needs an IDX file; correct dataset.images"
    )


def test_keys_that_do_not_belong_together(tmp_path: Path) -> None:
    keys = pair(tmp_path)
    both = keys | pair(tmp_path, 12, "test")
    assert "test_images and test_labels belong together; give both or neither" in refused(
        **keys, test_images=tmp_path / "one"
    )
    assert "test_rows limits the test part, and there is none; set test_images or remove test_rows" in refused(
        **keys, test_rows=5
    )
    assert "test_fraction belongs to a split by chance, and test_images is the test part; remove one" in refused(
        **both, test_fraction=0.3
    )
    assert Idx.Config(type="idx", **both, test_fraction=0.2)  # as a run writes the default into its own config
