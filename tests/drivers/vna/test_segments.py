"""Segment tables meet every frequency asked for, in order, and never overlap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labtrain.drivers.vna.segments import segments_of

FREQUENCIES = st.lists(st.integers(1, 10**10), min_size=1, max_size=40, unique=True).map(sorted)


@pytest.mark.parametrize("fewest_points", [1, 2])
@given(frequencies=FREQUENCIES)
def test_what_is_kept_is_what_was_asked(fewest_points: int, frequencies: list[int]) -> None:
    asked = np.array(frequencies, dtype=float)
    segments = segments_of(asked, fewest_points)
    swept = np.concatenate([np.linspace(*row) for row in segments.rows])
    assert len(swept) == segments.points
    np.testing.assert_array_equal(swept[segments.kept], asked)
    assert all(points >= fewest_points for _, _, points in segments.rows)
    assert (np.diff(swept) >= 0).all()


def test_neighbours_share_a_segment_where_one_point_is_too_few() -> None:
    rows, kept, points = segments_of(np.array([1.0, 5.0, 7.0]), 2)
    assert rows == [(1.0, 5.0, 2), (7.0, 7.0, 2)]
    assert (kept.tolist(), points) == ([0, 1, 2], 4)
