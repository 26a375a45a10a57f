"""The noise floor: steady noise of any colour is no alarm, what strikes is one, a room that becomes louder is not."""

from __future__ import annotations

import numpy as np
import pytest

from labtrain.rigs.multitone import Multitone, between_periods
from labtrain.rigs.noise_floor import RECENT, NoiseFloor


def powers(
    rng: np.random.Generator, shots: int, period: int, periods: int, gain: np.ndarray | float = 1.0
) -> np.ndarray:
    """Of white noise of two microphones; `gain` (bins, 1) of each bin."""
    m = Multitone(period, (2,), 0, periods, 0, 0)
    return between_periods(m.spectra(rng.standard_normal((shots, periods * period, 2)))) * gain


def learned(
    rng: np.random.Generator, period: int = 512, periods: int = 2, gain: np.ndarray | float = 1.0
) -> NoiseFloor:
    floor = NoiseFloor(2 * (periods - 1))
    floor.learn(powers(rng, 16, period, periods, gain))
    return floor


@pytest.mark.parametrize(("period", "shots"), [(64, 20_000), (512, 6_000)])
def test_false_alarms_are_well_below_one_in_ten_thousand(period: int, shots: int) -> None:
    rng, alarms = np.random.default_rng(0), []
    for periods in (2, 5):
        for _ in range(4):
            floor = learned(rng, period, periods)
            for _ in range(shots // 8 // 25):
                alarms += [told for told in floor.judge(powers(rng, 25, period, periods)) if told]
    assert alarms == []


def test_a_single_shot_is_judged_as_well() -> None:
    rng = np.random.default_rng(1)
    floor = learned(rng)
    assert [floor.judge(powers(rng, 1, 512, 2)) for _ in range(40)] == 40 * [[""]]
    assert floor.judge(powers(rng, 1, 512, 2) * 30.0)[0] != ""


def test_few_first_shots_are_enough_also_of_coloured_noise_and_lines() -> None:
    rng = np.random.default_rng(2)
    bins = np.arange(257)[:, None]
    gain = 1e4 / (1.0 + bins) ** 1.5  # a rumble
    gain[[4, 9, 13]] *= 1e6  # and lines of hum
    for _ in range(5):
        floor = learned(rng, gain=gain)
        assert not any(floor.judge(powers(rng, 50, 512, 2, gain)))


def test_steady_hum_is_no_alarm_and_a_burst_of_it_is() -> None:
    rng, period, rate_hz = np.random.default_rng(3), 2048, 48_000
    m = Multitone(period, (20,), 0, 2, 0, 0)
    t = np.arange(2 * period) / rate_hz

    def shots(count: int, amplitude: float) -> np.ndarray:
        phases = rng.random(count) * 2 * np.pi
        hum = sum(amplitude / n * np.cos(2 * np.pi * 50 * n * t + n * phases[:, None]) for n in (1, 2, 3, 4, 5, 6))
        return between_periods(m.spectra(hum[:, :, None] + 1e-3 * rng.standard_normal((count, len(t), 2))))

    humming = NoiseFloor(2)
    humming.learn(shots(16, 0.002))
    assert not any(humming.judge(shots(300, 0.002)))
    quiet = NoiseFloor(2)
    quiet.learn(shots(16, 0.0))
    assert all(told.startswith("microphone") for told in quiet.judge(shots(5, 0.002)))


def test_what_strikes_is_named() -> None:
    rng = np.random.default_rng(4)
    floor = learned(rng)
    struck = powers(rng, 6, 512, 2)
    struck[2, 77, 1] = 40.0 * np.median(struck)
    struck[4, :, 0] = 5.0 * floor.power[:, 0]
    told = floor.judge(struck)
    assert told[2] == "microphone 2 was disturbed, most in bin 77"
    assert told[4] == "microphone 1 was disturbed at all frequencies"
    assert [told[i] for i in (0, 1, 3, 5)] == ["", "", "", ""]


def test_the_first_and_the_last_bin_are_not_judged() -> None:
    rng = np.random.default_rng(5)
    floor = learned(rng)
    struck = powers(rng, 2, 512, 2)
    struck[0, 0] *= 1e6
    struck[1, -1] *= 1e6
    assert floor.judge(struck) == ["", ""]


def test_a_room_that_becomes_louder_for_good_is_followed_and_back() -> None:
    rng = np.random.default_rng(6)
    floor = learned(rng)
    before = floor.power.copy()
    assert sum(bool(told) for told in floor.judge(powers(rng, 3, 512, 2) * 6.0)) == 3
    for _ in range(4):
        last = floor.judge(powers(rng, RECENT, 512, 2) * 6.0)
    assert not any(last)
    assert np.median(floor.power / before) > 4.5
    for _ in range(30):
        floor.judge(powers(rng, RECENT, 512, 2))
    assert 1.0 <= np.median(floor.power / before) < 1.2
    assert all(floor.judge(powers(rng, 2, 512, 2) * 6.0))


def test_shots_that_leave_nothing_on_the_air_do_not_lower_the_floor() -> None:
    rng = np.random.default_rng(7)
    floor = learned(rng)
    for _ in range(20):
        floor.judge(powers(rng, RECENT, 512, 2) * 1e-3)
    assert not any(floor.judge(powers(rng, 30, 512, 2)))


def test_a_few_bad_first_shots_do_not_spoil_the_floor() -> None:
    rng = np.random.default_rng(8)
    first = powers(rng, 16, 512, 2)
    first[:4] *= 1e4
    floor = NoiseFloor(2)
    floor.learn(first)
    assert not any(floor.judge(powers(rng, 50, 512, 2)))
    assert all(floor.judge(powers(rng, 2, 512, 2) * 30.0))


def test_what_was_learned_elsewhere_is_adopted_and_earlier_shots_forgotten() -> None:
    rng = np.random.default_rng(9)
    floor = learned(rng)
    floor.judge(powers(rng, RECENT, 512, 2) * 9.0)
    floor.adopt(learned(rng).power)
    assert all(floor.judge(powers(rng, 3, 512, 2) * 9.0))
