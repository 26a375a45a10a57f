"""Encoders and drives: row by row, inside [0, 1], learned on training rows alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from labtrain.encoding import Drive, Encoder, FeatureScaler
from labtrain.errors import DataError

numbers = st.floats(-1e6, 1e6, allow_nan=False)
tables = arrays(np.float64, st.tuples(st.integers(1, 8), st.just(4)), elements=numbers)


@given(tables, st.sampled_from(Drive.KINDS), st.booleans())
def test_a_drive_lies_in_0_to_1_and_depends_on_its_own_row_alone(x, kind, mixed):
    mix = np.random.default_rng(0).standard_normal((4, 3)) if mixed else None
    drive = Drive(kind, 6, (5, 0, 2) if mixed else (5, 0, 2, 1), mix).fit(x)
    together = drive(x)
    assert together.shape == (len(x), 6)
    assert ((together >= 0) & (together <= 1)).all()
    assert not together[:, [3, 4]].any()
    for i in range(len(x)):
        assert drive(x[i : i + 1])[0].tobytes() == together[i].tobytes()


def test_row_norm_is_the_published_map():
    drive = Drive("row_norm", 2, (0, 1))
    assert drive(np.array([[3.0, -4.0], [0.0, 0.0]])).tolist() == [[0.6, 0.8], [0.0, 0.0]]


def test_row_minmax_is_the_published_map():
    drive = Drive("row_minmax", 3, (0, 1, 2))
    assert drive(np.array([[-1.0, 0.0, 3.0], [2.0, 2.0, 2.0]])).tolist() == [[0.0, 0.25, 1.0], [0.0, 0.0, 0.0]]


def test_affine_is_learned_once_and_counts_what_it_clips():
    drive = Drive("affine", 2, (1, 0)).fit(np.array([[0.0, 10.0], [2.0, 20.0]]))
    assert drive(np.array([[1.0, 25.0]])).tolist() == [[1.0, 0.5]]
    assert drive.clipped_share == 0.5


@pytest.mark.parametrize("kind", Drive.KINDS)
@pytest.mark.parametrize("mixed", [False, True])
def test_the_gradient_of_a_drive_is_that_of_finite_differences(kind, mixed):
    rng = np.random.default_rng(5)
    mix = rng.standard_normal((4, 3)) if mixed else None
    drive = Drive(kind, 6, (5, 0, 2) if mixed else (5, 0, 2, 1), mix).fit(rng.standard_normal((20, 4)))
    x, du, step = 1.3 * rng.standard_normal((30, 4)), rng.standard_normal((30, 6)), 1e-6
    found = drive.vjp(x, du)
    for j in range(4):
        e = step * np.eye(4)[j]
        expected = (du * (drive.map(x + e) - drive.map(x - e))).sum(axis=1) / (2 * step)
        assert found[:, j] == pytest.approx(expected, abs=1e-6)
    assert kind != "affine" or (drive(x) == 1.0).any()  # some are clipped, and their gradient is checked as well


@pytest.mark.parametrize("kind", ["row_norm", "row_minmax"])
def test_a_row_that_is_all_alike_has_no_gradient(kind):
    assert not Drive(kind, 2, (0, 1)).vjp(np.zeros((1, 2)), np.ones((1, 2))).any()


def test_affine_cuts_off_outliers_if_told_and_keeps_rare_labels():
    column = np.append(np.linspace(0.0, 1.0, 99), 100.0)
    label = np.append(np.zeros(99), 4.0)
    x = np.column_stack([column, label])
    drive = Drive("affine", 2, (0, 1), clip=0.02).fit(x)
    mapped = drive(x)
    assert np.allclose(mapped[2:97, 0], (column[2:97] - drive.low[0]) / (drive.high[0] - drive.low[0]))
    assert 0.01 < drive.low[0] < 0.03
    assert 0.97 < drive.high[0] < 1.0
    assert mapped[[0, 1, 98, 99], 0].tolist() == [0.0, 0.0, 1.0, 1.0]
    assert mapped[:, 1].tolist() == [0.0] * 99 + [1.0]
    assert drive.clipped_share == 4 / 200


@given(tables, st.sampled_from(["minmax", "standard", "none"]))
def test_scaling_changes_no_training_value_by_clipping(rows, kind):
    scaler = FeatureScaler(kind).fit(rows)
    back = scaler.transform(rows) * scaler.scale + scaler.offset
    assert back == pytest.approx(rows, rel=1e-6, abs=1e-6)


def test_values_far_outside_are_held_at_the_border_and_reported():
    scaler = FeatureScaler("minmax", margin=0.5).fit(np.array([[0.0], [10.0]]))
    assert scaler.transform(np.array([[100.0], [15.0]])).tolist() == [[1.5], [1.5]]
    assert scaler.outside(np.array([[15.1], [15.0], [-5.1]])).tolist() == [[True], [False], [True]]


def encoder(label="slots", codes=None):
    scaler = FeatureScaler("minmax").fit(np.array([[100.0, 0.0], [300.0, 1.0]]))
    return Encoder(["iy", "aa"], ["F1", "F2"], scaler, label, 2.0, codes)


def test_slots_put_the_label_in_front_of_the_features():
    x = encoder().candidates(np.array([[200.0, 0.25]]), np.array([[1, 0]]))
    assert x.tolist() == [[[0.0, 2.0, 0.5, 0.25], [2.0, 0.0, 0.5, 0.25]]]
    assert encoder().features([[200.0, 0.25]]).tolist() == [[0.0, 0.0, 0.5, 0.25]]


def test_overlay_adds_the_labels_code_to_the_features():
    made = encoder("overlay", np.array([[1.0, -1.0], [1.0, 1.0]]))
    assert made.every_label(np.array([[200.0, 0.25]])).tolist() == [[[2.5, -1.75], [2.5, 2.25]]]
    assert made.width == 2


def test_a_border_takes_the_place_of_the_first_features():
    rows = np.array([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    made = Encoder(["a", "b"], ["f0", "f1", "f2"], FeatureScaler("minmax").fit(rows), "border", 2.0)
    row = np.array([[0.3, 0.4, 0.5]])
    assert made.width == 3 and made.features(row).tolist() == [[0.0, 0.0, 0.5]]
    assert made.candidates(row, np.array([[1, 0]])).tolist() == [[[0.0, 2.0, 0.5], [2.0, 0.0, 0.5]]]
    assert row.tolist() == [[0.3, 0.4, 0.5]]  # what came in is left as it was


def test_a_label_behind_the_physics_is_none_of_the_activations():
    made, row = encoder("behind"), np.array([[200.0, 0.25]])
    assert (made.width, made.seen, encoder().seen) == (2, 1, 2)
    assert made.candidates(row, np.array([[1, 0]])).tolist() == made.every_label(row).tolist() == [[[0.5, 0.25]]]
    assert made.beside.tolist() == [[2.0, 0.0], [0.0, 2.0]]
    assert encoder().beside.shape == (2, 0)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([[1.0]], "features have shape (1, 1), needed (rows, 2): F1, F2; give one column for each feature"),
        ([[200.0, 0.5], [np.nan, 0.5]], "row 1: F1 is nan; give a finite number"),
        ([[200.0, -np.inf]], "row 0: F2 is -inf; give a finite number"),
    ],
)
def test_unfit_rows_are_refused(rows, sentence):
    with pytest.raises(DataError) as caught:
        encoder().features(rows)
    assert str(caught.value) == sentence


def test_a_feature_outside_its_range_names_row_value_and_remedy():
    with pytest.raises(DataError) as caught:
        encoder().refuse_outside(np.array([[200.0, 0.5], [68000.0, 0.5]]), ["rows.csv:2", "rows.csv:7"])
    assert str(caught.value) == (
        "rows.csv:7: F1 is 68000, the network was trained for 0 to 400; correct the row, or train with "
        "encoding.margin above 0.5"
    )
