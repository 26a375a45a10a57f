"""Joules from samples of the power: equations of the module, checked against integrals known otherwise."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labtrain.clock import SimulatedClock
from labtrain.drivers.sensors.energy import EnergyMeter
from labtrain.errors import InstrumentError


class Meter:
    """Tells a power that is a function of time, and takes a while to answer."""

    name, counts = "meter (sim)", False

    def __init__(self, clock: SimulatedClock) -> None:
        self.clock, self.answer_s = clock, 0.0
        self.broken = False

    def of(self, t: float) -> float:
        return 10.0 + 0.5 * t

    def power_w(self) -> float:
        self.clock.sleep(self.answer_s / 2)
        if self.broken:
            raise InstrumentError("meter (sim): silent")
        value = self.of(self.clock.monotonic())
        self.clock.sleep(self.answer_s / 2)
        return value

    def start_counting(self) -> None:
        raise AssertionError("it does not count")

    def counted_j(self) -> float:
        raise AssertionError("it does not count")


@given(st.lists(st.tuples(st.floats(0.01, 100.0), st.floats(0.0, 1.0)), min_size=1, max_size=20))
def test_a_line_is_integrated_exactly_however_long_answers_take(times_s: list[tuple[float, float]]) -> None:
    clock = SimulatedClock()
    meter = Meter(clock)
    energy = EnergyMeter(meter, clock)
    energy.start()
    sampled_s = [0.0]
    for gap_s, meter.answer_s in times_s:
        clock.sleep(gap_s)
        energy.sample()
        sampled_s.append(clock.monotonic() - meter.answer_s / 2)
    ended_s = sampled_s[-1]
    assert energy.joules == pytest.approx(10 * ended_s + 0.25 * ended_s**2, rel=1e-9)
    assert energy.samples == len(times_s) + 1
    assert energy.longest_gap_s == pytest.approx(max(b - a for a, b in itertools.pairwise(sampled_s)))


@given(st.lists(st.floats(0.0, 1e3), min_size=2, max_size=12), st.floats(0.1, 10.0), st.floats(0.0, 1.0))
def test_the_bound_holds_for_whatever_rises_or_falls_between_samples(
    watts: list[float], gap_s: float, share: float
) -> None:
    """The power jumps from one sample's to the next one's at any moment between them."""
    clock = SimulatedClock()
    meter = Meter(clock)
    energy = EnergyMeter(meter, clock)
    true_j = 0.0
    for i, value in enumerate(watts):
        meter.of = lambda t, value=value: value  # type: ignore[misc]
        if i == 0:
            energy.start()
        else:
            clock.sleep(gap_s)
            energy.sample()
            true_j += gap_s * (share * watts[i - 1] + (1 - share) * value)
    assert abs(energy.joules - true_j) <= energy.error_j * (1 + 1e-9) + 1e-9


def test_a_smooth_curve() -> None:
    clock = SimulatedClock()
    meter = Meter(clock)
    meter.of = lambda t: 10 + math.sin(t)  # type: ignore[method-assign]
    energy = EnergyMeter(meter, clock)
    energy.start()
    for _ in range(1000):
        clock.sleep(0.01)
        energy.sample()
    assert energy.joules == pytest.approx(100 + 1 - math.cos(10), abs=1e-4)
    assert energy.error_j < 0.05


def test_a_sample_that_fails_leaves_a_gap_that_the_next_one_bridges() -> None:
    clock = SimulatedClock()
    meter = Meter(clock)
    energy = EnergyMeter(meter, clock)
    energy.start()
    clock.sleep(2.0)
    meter.broken = True
    with pytest.raises(InstrumentError, match="silent"):
        energy.sample()
    assert (energy.joules, energy.samples) == (0.0, 1)
    meter.broken = False
    clock.sleep(2.0)
    assert energy.sample() == pytest.approx(44.0)
    assert energy.error_j == pytest.approx(4.0)
    assert energy.longest_gap_s == 4.0


def test_it_must_be_started() -> None:
    clock = SimulatedClock()
    with pytest.raises(InstrumentError) as caught:
        EnergyMeter(Meter(clock), clock).sample()
    assert str(caught.value) == "meter (sim): energy was asked for before its measurement was started"
