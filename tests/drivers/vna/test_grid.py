"""Lists of frequencies as uniform sweeps, and the sentence for those that are none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labtrain.drivers.vna.grid import Grid, contiguous
from labtrain.errors import InputError

WHO, REMEDY = "vna (sim)", "set rig.frequencies_hz"

starts = st.integers(50_000, 6_000_000_000)
steps = st.integers(1, 10_000_000)
numbers = st.integers(2, 400)


@settings(max_examples=50, deadline=None)
@given(starts, steps, numbers, st.floats(-0.49, 0.49))
def test_what_lies_on_a_sweep_is_that_sweep(start: int, step: int, points: int, off: float) -> None:
    frequencies = start + step * np.arange(points) + off
    for step_hz in (0.0, 1.0):
        grid = contiguous(frequencies, 1.0, WHO, REMEDY, step_hz=step_hz)
        assert grid == (start, start + step * (points - 1), points)
        np.testing.assert_allclose(grid.frequencies_hz, frequencies, rtol=0, atol=0.5)


@settings(max_examples=50, deadline=None)
@given(starts, st.integers(1, 1_000_000_000), numbers)
def test_ends_of_whole_hertz_do_for_any_linear_sweep(start: int, span: int, points: int) -> None:
    frequencies = np.linspace(start, start + span, points)
    assert contiguous(frequencies, 1.0, WHO, REMEDY) == (start, start + span, points)


def test_one_frequency_is_a_sweep() -> None:
    assert contiguous([5.2e9], 1.0, WHO, REMEDY) == (5.2e9, 5.2e9, 1)
    assert contiguous([5.2e9 + 0.25], 1.0, WHO, REMEDY, step_hz=1.0) == (5.2e9, 5.2e9, 1)
    np.testing.assert_array_equal(Grid(5.2e9, 5.2e9, 1).frequencies_hz, [5.2e9])


def test_another_resolution() -> None:
    assert contiguous([1e9, 1e9 + 100.02, 1e9 + 200.0], 0.1, WHO, REMEDY) == (1e9, 1e9 + 200.0, 3)
    with pytest.raises(InputError):
        contiguous([1e9, 1e9 + 100.2, 1e9 + 200.0], 0.1, WHO, REMEDY)


def test_the_sentence_names_the_nearest_sweep() -> None:
    with pytest.raises(InputError) as caught:
        contiguous([1e9, 1.1e9, 1.3e9], 1.0, WHO, REMEDY)
    assert str(caught.value) == (
        "vna (sim): asked 3 frequencies that are no uniform sweep, and it has no list of single ones; the nearest "
        "sweep is 975000000 to 1275000000 Hz in 3 points, which moves one of them by 25 MHz; all of "
        "them are among the 4 points of 1000000000 to 1300000000 Hz; set rig.frequencies_hz"
    )
    with pytest.raises(
        InputError, match=r"by 5 MHz; all of them are among the 21 points of 1000000000 to 1200000000 Hz"
    ):
        contiguous([1e9, 1.05e9, 1.11e9, 1.15e9, 1.2e9], 1.0, WHO, REMEDY)
    with pytest.raises(InputError) as caught:
        contiguous([1e9, 1e9 + 7, 1.3e9], 1.0, WHO, REMEDY)
    assert "among" not in str(caught.value)  # nobody would want so many


def test_a_step_of_whole_hertz_is_asked_of_those_that_are_told_a_step() -> None:
    frequencies = np.linspace(1e9, 1e9 + 1001, 201)  # 5.005 Hz apart
    assert contiguous(frequencies, 1.0, WHO, REMEDY) == (1e9, 1e9 + 1001, 201)
    # What the rounded step adds up to is less than the error of its reference; at 100 kHz it is not.
    assert contiguous(frequencies, 1.0, WHO, REMEDY, step_hz=1.0) == (1e9, 1e9 + 1000, 201)
    assert (
        contiguous(np.linspace(1e9, 2e9, 20), 1.0, WHO, REMEDY, step_hz=1.0).farthest_hz(np.linspace(1e9, 2e9, 20)) < 2
    )
    frequencies -= 1e9 - 1e5
    with pytest.raises(InputError, match="the nearest sweep is 100000 to 101000 Hz in 201 points") as caught:
        contiguous(frequencies, 1.0, WHO, REMEDY, step_hz=1.0)
    assert "moves one of them by 1 Hz" in str(caught.value)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1_000_000, 2_000_000), min_size=2, max_size=12, unique=True), st.sampled_from([0.0, 1.0]))
def test_no_other_sweep_is_nearer(listed: list[int], step_hz: float) -> None:
    frequencies = np.array(sorted(listed), dtype=np.float64)
    try:
        contiguous(frequencies, 1.0, WHO, REMEDY, step_hz=step_hz)
    except InputError as error:
        told = str(error)
    else:
        return
    start, stop = (float(word) for word in told.split("sweep is ")[1].split(" Hz in")[0].split(" to "))
    farthest = Grid(start, stop, len(frequencies)).farthest_hz(frequencies)
    number, unit = told.split("by ")[1].split(";")[0].split()
    assert float(number) * {"Hz": 1, "kHz": 1e3, "MHz": 1e6}[unit] == pytest.approx(farthest, rel=1e-5)
    # No line through two of them, shifted, is nearer by more than the rounding of its ends.
    places = np.arange(len(frequencies))
    for first in range(len(places)):
        for last in range(first + 1, len(places)):
            slope = (frequencies[last] - frequencies[first]) / (last - first)
            rest = frequencies - slope * places
            assert (rest.max() - rest.min()) / 2 >= farthest - 1.0 - step_hz * len(places)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 19), st.sampled_from([-1.01, 1.01]))
def test_one_that_is_off_is_found(index: int, off: float) -> None:
    frequencies = 1e9 + 1e6 * np.arange(20)
    frequencies[index] += off * 2
    with pytest.raises(InputError, match="moves one of them by"):
        contiguous(frequencies, 1.0, WHO, REMEDY)
