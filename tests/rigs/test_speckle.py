"""What is planted in a simulated optical bench is found from its frames."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from labtrain.errors import InputError, MeasurementError
from labtrain.rigs.optical_config import OpticalConfig
from labtrain.rigs.speckle.dark import measure_dark, photon_transfer
from labtrain.rigs.speckle.exposure import Goal, find_exposure, refuse_frames_that_stay
from labtrain.rigs.speckle.light import correlation
from labtrain.rigs.speckle.matrix import measure_matrix
from labtrain.rigs.speckle.phase import scan_phase
from labtrain.rigs.speckle.procedure import Request, request, survey
from labtrain.rigs.speckle.proposal import notice, propose
from labtrain.rigs.speckle.stability import change_cells, watch
from labtrain.rigs.speckle.statistics import measure_speckle
from tests.rigs.planted import Bench, Bent, Coarse, Fussy, Grainy, Shut, Unmoved, light, parameters


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def found_in(bench: Bench, goal: Goal | None = None, bounds=None):
    lit = light(bench)
    return lit, find_exposure(lit, goal or Goal(), bounds, rng())


# -- exposure ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [0.01, 1.0, 100.0])
def test_an_exposure_that_is_wrong_by_100_is_put_right(times):
    lit, found = found_in(Bench(exposure_s=1e-3 * times, electrons_per_s=1e6))
    assert found.before_s == 1e-3 * times
    assert found.exposure_s == pytest.approx(1e-3, rel=0.1) and lit.exposure_s == found.exposure_s
    measure_dark(lit)
    assert lit.signal(lit.random(30, rng(1))).mean() / lit.full == pytest.approx(0.1, rel=0.1)
    assert len(found.tried) <= 6


@pytest.mark.parametrize("before_s", [1e-2, 2.5e-3])  # of which two in a hundred are saturated
def test_a_share_of_saturated_pixels_may_be_asked_for(before_s):
    lit, found = found_in(Bench(exposure_s=before_s), Goal(saturated=0.01))
    assert found.exposure_s == pytest.approx(1e-3 * 10 / -math.log(0.01), rel=0.1)
    assert lit.saturated(lit.counts(lit.random(60, rng(1)))).mean() == pytest.approx(0.01, rel=0.4)


def test_the_camera_has_bounds_and_steps_of_its_own():
    _, found = found_in(Fussy(exposure_s=5e-2))
    assert found.exposure_s == pytest.approx(1e-3, rel=0.3)
    with pytest.raises(MeasurementError, match=r"too dark: at the longest exposure allowed, 0.0\d+ s"):
        found_in(Fussy(exposure_s=1e-3, electrons_per_s=1e3))
    with pytest.raises(InputError, match=r"allowed 0\.0001 to 0\.1 s"):
        found_in(Fussy(exposure_s=1e-3), bounds=(1e-6, 1e-5))


@pytest.mark.parametrize(
    ("bench", "bounds", "sentence"),
    [
        (
            Bench(exposure_s=0.01),
            (0.01, 1.0),
            "optical bench: too bright: at the shortest exposure allowed, 0.01 s, 3[5-8] % of the pixels are saturated;"
            " attenuate the light, or allow shorter ones with --exposure LOW HIGH",
        ),
        (
            Bench(),
            (1e-6, 1e-5),
            "optical bench: too dark: at the longest exposure allowed, 1e-05 s, the mean of the speckle is 0.1 % of "
            "the full count, wanted a mean of 10 % of the full count; turn the laser up, or allow longer ones with "
            "--exposure LOW HIGH",
        ),
        (
            Shut(),
            None,
            "optical bench: no light reaches the camera: at the longest exposure allowed, 1 s, its frames are dark "
            r"frames within 0\.\d+ counts; is the laser on, the shutter open, the fibre coupled\?",
        ),
        (Bench(), (1.0, 0.5), "--exposure 1 0.5: needs two rising times above 0, in seconds"),
    ],
)
def test_no_exposure_does_it(bench, bounds, sentence):
    with pytest.raises((InputError, MeasurementError)) as error:
        found_in(bench, bounds=bounds)
    assert re.fullmatch(sentence, str(error.value)), str(error.value)


def test_frames_that_do_not_change_are_told():
    lit = light(Unmoved())
    with pytest.raises(MeasurementError) as error:
        refuse_frames_that_stay(lit, *lit.twice(lit.random(8, rng())))
    assert str(error.value).startswith("optical bench: frames do not change with the pattern: light arrives, ")
    assert "modulator's shutter closed" in str(error.value)
    lit = light(Shut())
    with pytest.raises(MeasurementError, match=r"no light reaches the camera: at an exposure of 0\.001 s its frames"):
        refuse_frames_that_stay(lit, *lit.twice(lit.random(8, rng())))
    lit = light(Bench())
    change = refuse_frames_that_stay(lit, *lit.twice(lit.random(32, rng())))
    assert change == pytest.approx(0.91, abs=0.03)  # a pixel's mean over patterns is speckle too


# -- camera and speckle ------------------------------------------------------------------------------------------------


def test_dark_level_hot_pixels_and_noise():
    bench = Bench(hot_pixels=0.01, hot_e_s=2e6, read_noise_e=5.0, electrons_per_s=5e5)
    lit = light(bench)
    dark = measure_dark(lit)
    hot = bench.world._bench.camera.sensor.dark_e_s > 1e5
    assert hot.sum() == 10 and (dark.hot == hot).all() and (lit.good == ~hot).all()
    assert dark.median == pytest.approx(64.0, abs=0.1) and not dark.same
    part = photon_transfer(lit, *lit.twice(lit.random(32, rng())))
    per_e = bench.world.parameters.counts_per_e
    assert part.gain == pytest.approx(per_e, rel=0.05)
    assert part.read_noise == pytest.approx(math.hypot(5.0 * per_e, 12**-0.5), rel=0.1)


def speckle(bench: Bench):
    lit = light(bench)
    first, second = lit.twice(lit.random(32, rng()))
    return measure_speckle(lit, first, second, 0.0)


def test_speckle_is_fully_developed():
    found = speckle(Bench())
    assert found.contrast == pytest.approx(1.0, abs=0.03) and found.mean_share == pytest.approx(0.1, rel=0.05)
    middle = np.arange(20) * 0.25 + 0.125
    np.testing.assert_allclose(found.shares[:20], 0.25 * np.exp(-middle), rtol=0.35, atol=2e-3)
    assert max(found.grain) < 1.1 and found.expected_saturated == pytest.approx(4e-5, rel=0.5)
    # Random phases from 0 to pi, and light that no cell moves, leave a mean field.
    p = parameters()
    e = np.exp(1j * np.linspace(0, np.pi, 10_000))
    e = math.sqrt(1 - p.unmodulated) * (p.fill_factor * e + 1 - p.fill_factor) + math.sqrt(p.unmodulated)
    common = abs(e.mean()) ** 2 / (abs(e) ** 2).mean()
    assert found.in_common == pytest.approx(common**2, abs=0.04)
    assert found.noise == pytest.approx(1000**-0.5, rel=0.05)


def test_noise_is_no_contrast():
    found = speckle(Bench(electrons_per_s=2e4, read_noise_e=20.0, offset_counts=200))  # 20 electrons at the mean
    assert found.noise > 1.0 and found.contrast == pytest.approx(1.0, abs=0.06)
    assert max(found.grain) < 1.2


def test_grains_that_a_pixel_averages_lower_the_contrast():
    found = speckle(Coarse())
    assert found.contrast == pytest.approx(0.5, rel=0.04) and found.summed == pytest.approx(4.0, rel=0.08)


def test_pooling_lowers_that_of_the_outputs():
    found = speckle(Bench(pool_size=4, pool_stride=4))
    assert found.contrast == pytest.approx(1.0, abs=0.03)
    assert found.pooled_summed == pytest.approx(16.0, rel=0.15)
    found = speckle(Bench(pool_size=4, pool_stride=4, readout="amplitude"))
    assert found.pooled_summed == pytest.approx(16.0, rel=0.15)
    assert speckle(Bench(readout="amplitude")).pooled_summed == pytest.approx(1.0, rel=0.05)


def test_grains_of_several_pixels_are_measured_and_pooled():
    bench = Grainy()
    found = survey(bench, bench.world.parameters, Request(watch_shots=64))
    assert found.speckle.grain == pytest.approx((3.0, 3.0), abs=0.15)
    config = OpticalConfig(type="optical", world={"slm_shape": (8, 8), "camera_shape": (60, 60)})
    proposed = {p.key: p.value for p in propose(config, found)}
    assert proposed["rig.world.pool_size"] == proposed["rig.world.pool_stride"] == 3


def test_correlation_is_free_of_noise():
    lit = light(Bench(electrons_per_s=3e4))  # 30 electrons at the mean
    drive = np.repeat(lit.random(1, rng()), 3, axis=0)
    first, second = lit.twice(drive)
    assert np.corrcoef(first[0], first[1])[0, 1] < 0.98
    np.testing.assert_allclose(correlation(first, second), 1.0, atol=0.01)


# -- phase -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("share", "within"), [(0.8, 0.01), (1.0, 0.005), (2.0, 0.002)])
def test_the_phase_range_is_recovered(share, within):
    found = scan_phase(light(Bench(phase_range_rad=share * math.pi), parameters()), rng())
    assert found.range_rad == pytest.approx(share * math.pi, rel=within)
    assert found.bend_rad < 0.02 and found.explained > 0.99


def test_saturated_pixels_do_not_bend_the_phase():
    found = scan_phase(light(Bench(exposure_s=3e-3)), rng())
    assert found.range_rad == pytest.approx(math.pi, rel=0.003)


def test_levels_that_are_not_straight_in_the_phase_are_seen():
    found = scan_phase(light(Bent()), rng())
    assert found.bend_rad > 0.1
    planted = math.pi * found.drives**1.3
    np.testing.assert_allclose(found.phase_rad - found.phase_rad[0], planted, atol=0.12)


# -- stability ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("eps", [0.003, 0.01])
def test_the_drift_is_recovered(eps):
    found = watch(light(Bench(drift_eps=eps)), 2048, rng())
    assert found.eps == pytest.approx(eps, rel=0.1)
    assert found.stable_shots == pytest.approx(math.log(0.95) / math.log(1 - eps**2), rel=0.2)
    assert found.shot_s == pytest.approx(0.041, rel=1e-6)


def test_a_bench_that_does_not_drift_is_not_said_to():
    for seed in range(3):
        found = watch(light(Bench(seed=seed)), 192, rng(seed))
        assert found.decay == 0.0 and found.eps == 0.0
        assert found.repeatability == pytest.approx(1 / (1 + 1e-3), abs=5e-4)


def test_noise_is_no_drift():
    for seed in range(12):
        found = watch(light(Bench(seed=seed, electrons_per_s=1e4, camera_shape=(16, 16))), 48, rng(seed))
        assert found.decay == 0.0 and found.repeatability < 0.95


def test_what_changed_inputs_do_to_speckle():
    lit = light(Bench(fill_factor=1.0, unmodulated=0.0))
    found = change_cells(lit, 1.0, rng())
    assert found.changed.tolist() == [1, 2, 4, 8, 16, 32, 64]
    # A half range turns a cell by pi / 2: of N fields in a row m turn, |1 - (1 - i) m / N|^2 if phases are those.
    assert found.expected[0] == pytest.approx(1 - 2 / 64 + 2 / 64**2, rel=1e-2)
    np.testing.assert_allclose(found.correlation.mean(axis=1), found.expected, atol=0.05)
    assert found.one == pytest.approx(math.sqrt(2 * 2 / 64), rel=0.15)


# -- transmission matrix -----------------------------------------------------------------------------------------------


def fidelity(bench: Bench, found) -> np.ndarray:
    """|<measured, true>| of each pixel's row, between 0 and 1."""
    truth, measured = bench.world.transmission(), found.twin.transmission[1:].T
    size = np.linalg.norm(truth, axis=1) * np.linalg.norm(measured, axis=1)
    return np.abs((truth.conj() * measured).sum(axis=1)) / size


def matrix(bench: Bench, **options):
    lit = light(bench)
    return lit, measure_matrix(lit, rng(), **options)


@pytest.mark.parametrize(
    ("world", "least"),
    [
        ({}, 0.005),
        ({"phase_range_rad": 0.8 * math.pi}, 0.01),
        ({"phase_range_rad": 2.0 * math.pi}, 0.005),
        ({"reference": 1.0}, 0.01),
        ({"readout": "amplitude"}, 0.005),
        ({"pool_size": 2, "pool_stride": 2}, 0.005),
    ],
)
def test_the_matrix_predicts_speckle_that_it_has_not_seen(world, least):
    bench = Bench(**{"camera_shape": (16, 16), "hot_pixels": 0.0, **world})
    _, found = matrix(bench)
    reachable = 1.0 - (found.score["repeatability"] / found.score["rmse_constant"]) ** 2
    assert reachable - least < found.score["r2"] < 1.0
    assert found.correlation > 0.99 and found.drifted == pytest.approx(1.0, abs=1e-3)
    true = fidelity(bench, found)
    assert np.median(true) > 0.999 and np.mean(true < 0.99) < 0.02
    assert found.shots == 2 * 40 * 3 + 64 + 2 * 2 + 2 * 64  # steps, random ones, the same one before and after, unseen


def test_the_twin_is_one_of_the_layer_in_its_units():
    world = {"slm_shape": (10, 10), "input_region": (1, 1, 8, 8), "input_cells": 2, "camera_shape": (16, 16)}
    bench = Bench(**world)
    lit, found = matrix(bench)
    assert (found.twin.n_in, lit.n_in) == (16, 16)
    x = bench.world.quantise(rng(3).random((40, 16)))
    y = bench.world.respond_without_noise(x)
    assert np.corrcoef(found.twin.predict(x).ravel(), y.ravel())[0, 1] > 0.99
    np.testing.assert_allclose(found.twin.predict(x), y, atol=0.05)
    assert np.abs(found.twin.predict(x) - y).mean() < 0.003


def test_drift_during_the_measurement_is_told():
    _, found = matrix(Bench(camera_shape=(16, 16), drift_eps=0.02))
    assert found.drifted < 0.95 and found.score["r2"] < 0.97


def test_what_no_matrix_can_be_measured_of():
    with pytest.raises(InputError, match=r"needs a modulator of phases; set rig\.world\.modulation: phase"):
        matrix(Bench(modulation="amplitude"))
    with pytest.raises(InputError, match=r"range is 0.3 rad, needed 0.5 or more; set rig\.world\.phase_range_rad"):
        matrix(Bench(phase_range_rad=0.3))
    with pytest.raises(InputError, match="needs 2 inputs or more, one is the other's reference; this layer has 1"):
        matrix(Bench(slm_shape=(1, 1)))


# -- all together ------------------------------------------------------------------------------------------------------


def test_a_range_that_is_not_the_configured_one_is_proposed_and_used():
    bench = Bench(phase_range_rad=0.8 * math.pi, camera_shape=(16, 16), exposure_s=1e-4)
    configured = parameters(camera_shape=(16, 16))
    found = survey(bench, configured, Request(watch_shots=64, matrix=True))
    config = OpticalConfig(type="optical", world={"slm_shape": (8, 8), "camera_shape": (16, 16)})
    proposed = {p.key: p for p in propose(config, found)}
    assert proposed["rig.world.phase_range_rad"].value == pytest.approx(0.8 * math.pi, rel=0.01)
    assert proposed["rig.world.exposure_s"].value == pytest.approx(1e-3, rel=0.1)
    assert found.matrix is not None and found.matrix.score["r2"] > 0.98
    assert found.shots > found.matrix.shots and found.seconds > 0.04 * found.shots


def test_what_looks_odd_is_noticed():
    bench = Bench(phase_range_rad=2 * math.pi, hot_pixels=0.01, electrons_per_s=1e6)
    config = OpticalConfig(
        type="optical", world={"slm_shape": (8, 8), "camera_shape": (32, 32), "phase_range_rad": 2 * math.pi}
    )
    found = survey(bench, bench.world.parameters, Request(watch_shots=64))
    told = " | ".join(notice(config, found))
    assert "10 hot pixels of 1024" in told and "nearly one phase" in told and "no drift seen in 64 shots" in told


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"mean": 1.5}, "--mean 1.5: allowed above 0 and below 1, as a share of the full count"),
        ({"saturated": 0.5}, "--saturated 0.5: allowed above 0 and below 0.02, a share of all"),
        ({"mean": 0.1, "saturated": 0.001}, "--mean and --saturated: both say how bright; give one of them"),
        ({"watch_shots": 3}, "--watch 3: needs 32 shots or more"),
    ],
)
def test_options_that_cannot_be(options, sentence):
    with pytest.raises(InputError) as error:
        request(**options)
    assert str(error.value) == sentence


def test_a_survey_can_be_broken_off():
    class Stop(Exception):
        pass

    def check() -> None:
        raise Stop

    bench = Bench()
    with pytest.raises(Stop):
        survey(bench, bench.world.parameters, Request(), check)


# -- what is odd -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [2, 3, 4])
def test_the_range_of_very_few_levels_is_not_measured_and_its_matrix_is_where_steps_have_levels(levels):
    settings = {"levels": levels, "camera_shape": (8, 8)}
    bench, asked = Bench(**settings), Request(watch_shots=32, matrix=levels > 2)
    found = survey(bench, parameters(**settings), asked)
    config = OpticalConfig(type="optical", world={"slm_shape": (8, 8), "camera_shape": (8, 8), "levels": levels})
    assert found.phase is None and not found.other_range
    assert any(f"a modulator of {levels} levels: its phase range" in told for told in notice(config, found))
    if found.matrix is not None:
        assert found.matrix.score["r2"] > 0.95


def test_what_no_phase_can_be_stepped_with_is_told_before_anything_is_measured():
    for settings, told in (
        ({"levels": 2}, r"of 2 levels 2 are the nearest ones to 3 steps of a reference; it needs one for each"),
        ({"phase_range_rad": 0.4}, r"range is 0.4 rad, needed 0.5 or more"),
        ({"slm_shape": (1, 1)}, r"needs 2 inputs or more"),
    ):
        lit = Bench(**settings)
        lit.dark = None
        with pytest.raises(InputError, match=told):
            survey(lit, parameters(**settings), Request(matrix=True))


def test_a_few_pixels_are_refused_and_a_single_output_has_a_contrast():
    with pytest.raises(InputError, match=r"speckle of 15 pixels says little, needed 16 or more; read more"):
        survey(Bench(camera_shape=(3, 5)), parameters(camera_shape=(3, 5)), Request())
    settings = {"camera_shape": (4, 4), "pool_size": 4, "pool_stride": 4}
    lit = light(Bench(**settings), parameters(**settings))
    found = measure_speckle(lit, *lit.twice(lit.random(64, rng())), change=0.5)
    assert 0.1 < found.pooled_contrast < 0.4 and 0 < found.pooled_summed < math.inf
    settings = {"camera_shape": (1, 40)}
    lit = light(Bench(**settings), parameters(**settings))
    assert measure_speckle(lit, *lit.twice(lit.random(64, rng())), change=0.5).grain[0] == 1.0
