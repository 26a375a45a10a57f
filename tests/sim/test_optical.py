import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from labtrain.errors import InputError
from labtrain.sim.disturbances import RefusedDisturbance
from labtrain.sim.optical import BLOCK, HOLD, OpticalParameters, OpticalWorld
from labtrain.sim.optics.photons import coarse_normals, fine_normals, poisson
from labtrain.sim.optics.scatterers import hermite_gauss
from labtrain.threads import blas_threads

SMALL = OpticalParameters(slm_shape=(6, 7), camera_shape=(9, 8), mode_groups=5, hot_pixels=0.0)
MASKED = replace(SMALL, slm_shape=(9, 8), scatterer="fourier_mask")
LARGE = replace(SMALL, scatterer="structured", camera_shape=(130, 128), pool_size=32, pool_stride=32)
EACH = {
    "gaussian": SMALL,
    "streamed": replace(SMALL, memory_mb=0.0),
    "fibre": replace(SMALL, scatterer="fibre"),
    "structured": replace(SMALL, scatterer="structured"),
    "fourier_mask": MASKED,
}
FINE = {"levels": 65536, "bits": 16, "offset_counts": 500}
WORDS = np.random.default_rng(5).integers(0, 2**64, 200_000, dtype=np.uint64)


def drives(world, n, seed=0):
    return np.random.default_rng(seed).random((n, world.n_in))


def plain(world, drive, shot=0):
    """Outputs without noise and without rounding, in double precision, from the transmission matrix."""
    p = world.parameters
    rows, columns = p.slm_shape
    image = np.zeros((len(drive), rows, columns))
    top, left, high, wide = p.region
    spread = drive.reshape(-1, *p.input_shape).repeat(p.input_cells, 1).repeat(p.input_cells, 2)
    image[:, top : top + high, left : left + wide] = spread[:, :high, :wide]
    if p.cross_talk:
        blur = [
            np.eye(n) * (1 - 2 * p.cross_talk) + p.cross_talk * (np.eye(n, k=1) + np.eye(n, k=-1)) for n in p.slm_shape
        ]
        for matrix in blur:
            matrix[0, 0] = matrix[-1, -1] = 1 - p.cross_talk
        # One axis after the other, from the same image: a cell loses to four neighbours.
        image = blur[0] @ image + image @ blur[1] - image
    image = image.reshape(len(drive), -1)
    if p.modulation == "phase":
        light = p.fill_factor * np.exp(1j * p.phase_range_rad * image) + 1 - p.fill_factor
    else:
        light = p.fill_factor * image
    light = np.sqrt(1 - p.unmodulated) * light + np.sqrt(p.unmodulated)
    field = light @ world.transmission(shot).T
    if p.reference:
        r, c = np.indices(p.camera_shape)
        wave = np.exp(2j * np.pi * (p.reference_tilt[0] * r + p.reference_tilt[1] * c)).reshape(-1)
        field = field + p.reference * np.sqrt(world._bench.speckle) * wave
    mean_e = world._bench.rate_e_s * p.exposure_s * np.abs(field) ** 2 + p.exposure_s * p.dark_e_s
    fraction = (np.minimum(mean_e, p.full_well_e) - p.exposure_s * p.dark_e_s) / p.full_well_e
    if p.readout == "amplitude":
        fraction = np.sqrt(fraction)
    plane, pad = fraction.reshape(-1, *p.camera_shape), p.pool_padding
    plane = np.pad(plane, ((0, 0), (pad, pad), (pad, pad)))
    windows = np.lib.stride_tricks.sliding_window_view(plane, (p.pool_size, p.pool_size), (1, 2))
    return windows[:, :: p.pool_stride, :: p.pool_stride].mean(axis=(-2, -1)).reshape(len(drive), -1)


VARIANTS = [
    {},
    {"reference": 2.0, "phase_range_rad": 5.0},
    {"cross_talk": 0.08, "unmodulated": 0.2, "fill_factor": 0.7},
    {"input_region": (1, 2, 4, 5), "input_cells": 2, "pool_size": 3, "pool_stride": 2, "pool_padding": 1},
    {"modulation": "amplitude", "readout": "amplitude", "pool_size": 2, "pool_stride": 1},
    {"scatterer": "fibre", "reference": 0.5},
    {"scatterer": "structured", "readout": "amplitude", "structured_layers": 2},
    {"memory_mb": 0.0, "input_region": (0, 0, 6, 6)},
    {"slm_shape": (9, 8), "scatterer": "fourier_mask", "readout": "amplitude"},
]


# Light


@pytest.mark.parametrize("scatterer", ["gaussian", "structured"])
def test_speckle_is_fully_developed(scatterer):
    world = OpticalWorld(OpticalParameters(scatterer=scatterer), 0)
    intensity = world.intensity(drives(world, 40))
    contrast = intensity.std(axis=1) / intensity.mean(axis=1)
    assert contrast.mean() == pytest.approx(1.0, abs=0.04)
    assert intensity.mean() == pytest.approx(1.0, abs=0.03)
    assert stats.kstest(intensity[0] / intensity[0].mean(), "expon").pvalue > 0.01
    field = world.transmission()
    assert abs((field**2).mean()) < 0.01 * (np.abs(field) ** 2).mean()  # circular


@pytest.mark.parametrize("change", VARIANTS, ids=str)
def test_outputs_are_those_of_plain_numpy(change):
    world = OpticalWorld(replace(SMALL, **FINE, **change), 3)
    drive = world.quantise(drives(world, 5))
    lsb = 1.0 / (world.parameters.top_count - world.parameters.offset_counts)
    error = np.abs(world.respond_without_noise(drive) - plain(world, drive))
    if world.parameters.readout == "amplitude":
        assert error.max() < 0.5 * lsb**0.5  # a root is steep in the dark
    else:
        assert error.max() < 0.52 * lsb
    assert plain(world, drive).shape == (5, world.n_out)


@pytest.mark.parametrize("name", EACH)
def test_the_typical_speckle_is_a_tenth_of_the_full_well(name):
    world = OpticalWorld(EACH[name], 0)
    y = world.respond(drives(world, 400, seed=9), 0)
    assert y.mean() == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize("name", EACH)
def test_the_transposed_map_is_that_of_the_matrix(name):
    world = OpticalWorld(EACH[name], 0)
    world.disturb("shift", rows=1, columns=-2)
    p, operator, rng = world.parameters, world._at(0).operator, np.random.default_rng(0)
    light = np.zeros((3, p.width), dtype=np.complex64)
    light[:, : p.cells] = rng.standard_normal((3, p.cells)) + 1j * rng.standard_normal((3, p.cells))
    back = (rng.standard_normal((3, p.pixels)) + 1j * rng.standard_normal((3, p.pixels))).astype(np.complex64)
    t = world.transmission()
    np.testing.assert_allclose(operator.forward(light), light[:, : p.cells] @ t.T, atol=1e-4)
    np.testing.assert_allclose(operator.transposed(back)[:, : p.cells], back @ t, atol=1e-4)


def test_the_structured_scatterer_is_a_product_of_unitary_matrices():
    p = replace(SMALL, slm_shape=(6, 5), camera_shape=(6, 5), scatterer="structured")
    world = OpticalWorld(p, 0)
    operator = world._at(0).operator
    dft = np.kron(*(np.fft.fft(np.eye(n), norm="ortho") for n in (6, 5)))
    dense = np.eye(30)
    for phases in operator.phases:
        dense = dft @ np.diag(phases.reshape(-1)) @ dense
    np.testing.assert_allclose(world.transmission(), dense, atol=1e-5)
    np.testing.assert_allclose(dense.conj().T @ dense, np.eye(30), atol=1e-6)
    world.disturb("fibre", correlation=0.2)
    bent = world.transmission()
    assert not np.allclose(bent, dense, atol=0.1)
    np.testing.assert_allclose(bent.conj().T @ bent, np.eye(30), atol=1e-5)


def test_a_large_plane_is_transformed_shot_by_shot():
    world = OpticalWorld(replace(LARGE, pool_size=1, pool_stride=1), 0)
    assert (world._at(0).operator.block, OpticalWorld(EACH["structured"], 0)._at(0).operator.block) == (1, BLOCK)
    drive = drives(world, 3)
    light = world._bench.modulator.light(world._bench.modulator.cells(drive))
    together = replace(world._at(0).operator, block=3).forward(light)
    np.testing.assert_allclose(world._at(0).operator.forward(light), together, atol=1e-4)
    assert world.intensity(drive).std() == pytest.approx(1, abs=0.05)


def test_a_fibre_keeps_the_energy_of_its_modes():
    modes = hermite_gauss((24, 22), (0, 0), 5)
    np.testing.assert_allclose(modes.T @ modes, np.eye(15), atol=2e-3)
    p = OpticalParameters(scatterer="fibre", mode_groups=5, slm_shape=(24, 22), camera_shape=(22, 24))
    singular = np.linalg.svd(OpticalWorld(p, 0).transmission(), compute_uv=False)
    np.testing.assert_allclose(singular[:15], singular[0], rtol=5e-3)  # unitary between modes
    assert singular[15] < 1e-4 * singular[0]


def test_a_large_matrix_in_pieces_is_the_same_matrix():
    kept = OpticalWorld(replace(OpticalParameters(), slm_shape=(10, 10), camera_shape=(60, 40)), 0)
    pieces = OpticalWorld(replace(kept.parameters, memory_mb=0.5), 0)
    assert len(pieces._at(0).operator.columns) == 3
    np.testing.assert_array_equal(pieces.transmission(), kept.transmission())
    np.testing.assert_allclose(pieces.respond(drives(kept, 3), 0), kept.respond(drives(kept, 3), 0), atol=2e-3)


def test_the_published_model_in_plain_numpy():
    world = OpticalWorld(OpticalParameters.published(bits=16, levels=65536, read_noise_e=0.0, dark_e_s=0.0), 0)
    assert (world.n_in, world.n_out) == (676, 676)
    drive = world.quantise(drives(world, 3))
    image = drive.reshape(3, 26, 26).repeat(2, axis=1).repeat(2, axis=2)[:, :51, :51]
    spectrum = np.fft.fftshift(np.fft.fft2(image), axes=(1, 2))
    r, c = np.indices((51, 51)) - 25
    disc = r**2 + c**2 <= 25.5**2
    # The frequencies of the world's matrix begin with 0, those of this one with the lowest.
    order = np.argsort(np.fft.fftshift(np.arange(51 * 51).reshape(51, 51))[disc])
    t = np.empty((disc.sum(), disc.sum()), dtype=complex)
    t[np.ix_(order, order)] = world._at(0).operator.t[: len(order)]
    behind = np.zeros((3, 51, 51), dtype=complex)
    behind[:, disc] = spectrum[:, disc] @ t
    field = np.abs(np.fft.ifft2(np.fft.ifftshift(behind, axes=(1, 2))))
    padded = np.pad(field, ((0, 0), (1, 1), (1, 1)))
    pooled = np.array(
        [[[frame[i : i + 3, j : j + 3].mean() for j in range(0, 51, 2)] for i in range(0, 51, 2)] for frame in padded]
    )
    y = world.respond_without_noise(drive)
    expected = pooled.reshape(3, 676)
    scale = (y * expected).sum() / (expected**2).sum()
    np.testing.assert_allclose(y, scale * expected, atol=2e-3 * y.mean())


# Modulator


def test_zero_and_one_are_half_a_wave_apart():
    world = OpticalWorld(replace(SMALL, fill_factor=1.0, unmodulated=0.0), 0)
    light = world._bench.modulator.light(world._bench.modulator.cells(np.linspace(0, 1, 42)[None]))[0, :42]
    np.testing.assert_allclose(np.abs(light), 1, atol=1e-6)
    assert light[0] == pytest.approx(1) and light[-1] == pytest.approx(-1)
    levels = np.unique(world.quantise(drives(world, 200)))
    assert len(levels) == 256
    np.testing.assert_array_equal(world.quantise(levels[:42][None]), levels[:42][None])


def test_inputs_drive_their_cells_and_no_other():
    p = replace(SMALL, input_region=(1, 2, 4, 5), input_cells=2, levels=11)
    world = OpticalWorld(p, 0)
    assert (p.input_shape, world.n_in) == ((2, 3), 6)
    pattern = world.pattern(np.arange(1, 7)[None] / 10)[0]
    expected = np.zeros((6, 7), dtype=int)
    expected[1:5, 2:7] = [[1, 1, 2, 2, 3]] * 2 + [[4, 4, 5, 5, 6]] * 2
    np.testing.assert_array_equal(pattern, expected)


# Camera


@pytest.mark.parametrize("mean", [0.0, 0.02, 0.7, 4.0, 9.99, 10.0, 25.0, 180.0, 3000.0, 60_000.0])
def test_electrons_follow_poissons_distribution(mean):
    drawn = poisson(np.full(len(WORDS), mean, dtype=np.float32), WORDS)
    mean = float(np.float32(mean))
    u = ((WORDS[:20_000] >> np.uint64(32)).astype(float) + 0.5) / 2**32
    exact, first = stats.poisson.ppf(u, mean) if mean else 0 * u, drawn[:20_000]
    assert (drawn == np.floor(drawn)).all() and drawn.min() >= 0
    if mean < 10:
        np.testing.assert_array_equal(first, exact)
    else:
        assert np.abs(first - exact).max() <= 1  # where a quantile lies next to a whole number
        assert (first != exact).mean() < 4e-3
    if mean:
        error = (mean / len(WORDS)) ** 0.5
        assert abs(drawn.mean() - mean) < 4 * error
        assert drawn.var() == pytest.approx(mean, rel=4 * (2 / len(WORDS) + 1 / mean / len(WORDS)) ** 0.5)
        for tail in (1e-3, 1 - 1e-3):
            edge = stats.poisson.ppf(tail, mean)
            share = stats.poisson.cdf(edge, mean)
            assert abs((drawn <= edge).mean() - share) < 5 * (share * (1 - share) / len(WORDS)) ** 0.5 + 1e-9


def test_a_word_holds_three_independent_normal_numbers():
    three = np.array([fine_normals(WORDS), coarse_normals(WORDS, 0), coarse_normals(WORDS, 1)])
    assert np.abs(np.corrcoef(three) - np.eye(3)).max() < 0.01
    for normals in three:
        assert abs(normals.mean()) < 0.01 and normals.std() == pytest.approx(1, abs=0.01)
        assert stats.kstest(normals[:20_000], "norm").pvalue > 1e-3
    ends = np.array([0, 2**64 - 1, 2**63], dtype=np.uint64)
    np.testing.assert_allclose(fine_normals(ends), stats.norm.ppf([2.0**-33, 1 - 2.0**-33, 0.5]), atol=1e-5)
    u = (np.arange(2000, dtype=np.uint64) * np.uint64(2**53)) + np.uint64(2**31)
    np.testing.assert_allclose(fine_normals(u[1:]), stats.norm.ppf(u[1:].astype(float) / 2**64), atol=1e-4)


def test_noise_is_that_of_photons_and_reading():
    p = replace(SMALL, bits=16, offset_counts=1000, dark_e_s=0.0, read_noise_e=20.0)
    world = OpticalWorld(p, 4)
    drive = np.repeat(drives(world, 1), 4000, axis=0)
    mean_e = world.respond_without_noise(drive[:1])[0] * p.full_well_e
    error_e = world.respond(drive, 0) * p.full_well_e - mean_e
    np.testing.assert_allclose(error_e.var(axis=0), mean_e + 400, rtol=0.1)
    assert np.abs(error_e.mean(axis=0)).max() < 4 * ((mean_e.max() + 400) / 4000) ** 0.5
    correlation = np.corrcoef(error_e.T) - np.eye(p.pixels)
    assert np.abs(correlation).max() < 0.08
    again = world.respond(drive[:100], 0, frame=1) * p.full_well_e - mean_e
    assert abs(np.corrcoef(again.ravel(), error_e[:100].ravel())[0, 1]) < 0.05


def test_wells_are_full_after_the_draw():
    p = replace(SMALL, bits=16, read_noise_e=0.0)
    world = OpticalWorld(p, 0)
    drive = drives(world, 50)
    bright = world.intensity(drive) > 0.1 * 10 / 3  # three times full at ten times the exposure
    frames = world.frames(world.pattern(drive), 0, exposure_s=100e-3).reshape(50, -1)
    assert (frames[bright] == p.top_count).all()
    assert (frames <= p.top_count).all() and (frames[~bright] < p.top_count).any()


@pytest.mark.parametrize("bits", [1, 8, 12])
def test_counts_have_as_many_bits_as_stated(bits):
    p = replace(SMALL, bits=bits, offset_counts=0, exposure_s=5e-3)
    world = OpticalWorld(p, 0)
    drive = drives(world, 400)
    frames = world.frames(world.pattern(drive), 0)
    assert (frames.min(), frames.max()) == (0, 2**bits - 1)
    fine = OpticalWorld(replace(p, bits=16), 0)
    error = world.respond_without_noise(drive) - fine.respond_without_noise(drive)
    assert np.abs(error).max() < 0.5001 / p.top_count + 0.5001 / 65535


def test_a_dark_camera_reads_offset_dark_current_and_hot_pixels():
    p = replace(SMALL, dark_e_s=2e5, hot_pixels=0.1, hot_e_s=1e6)
    world = OpticalWorld(p, 0)
    drive = drives(world, 500)
    dark = world.frames(world.pattern(drive), 0, lit=False)
    world.disturb("laser", gain=0.0)
    np.testing.assert_array_equal(world.frames(world.pattern(drive), 0), dark)
    electrons = (dark.reshape(500, -1) - 64.0) / p.counts_per_e
    level = electrons.mean(axis=0)
    assert (level > 1000).sum() == 7
    np.testing.assert_allclose(level, np.where(level > 1000, 1200, 200), rtol=0.03)
    y = world.respond(drive, 0)
    assert np.abs(y.mean(axis=0)).max() < 1e-3 and y.min() < 0  # a perfect dark frame is subtracted
    assert world.environment(0) == {"laser_power": 0.0}


def test_exposure_is_linear():
    world = OpticalWorld(replace(SMALL, **FINE), 0)
    drive = drives(world, 5)
    short, long = (world.respond(drive, 0, exposure_s=t, noisy=False) for t in (1e-4, 3e-4))
    np.testing.assert_allclose(long, 3 * short, atol=5e-5)


def test_frames_are_what_outputs_are_made_of():
    world = OpticalWorld(replace(SMALL, pool_size=2, pool_stride=2, drift_eps=0.01), 2)
    drive = drives(world, 100)
    frames = world.frames(world.pattern(drive), 200)
    assert frames.dtype == np.uint16 and frames.shape == (100, 9, 8)
    np.testing.assert_array_equal(world.outputs(frames), world.respond(drive, 200))
    dark = np.full((9, 8), 64.0)
    np.testing.assert_allclose(world.outputs(frames, dark), world.outputs(frames), atol=1e-5)


# Shots


def eventful(name, workers=1):
    world = OpticalWorld(replace(EACH.get(name, LARGE), drift_eps=0.02), 3, workers=workers)
    world.disturb("fibre", at_shot=290, correlation=0.5)
    world.disturb("laser", at_shot=301, gain=0.5)
    world.disturb("camera_pixels", at_shot=310, pixels=[0, 5])
    world.disturb("noise", at_shot=315, share=0.1)
    world.disturb("shift", at_shot=320, rows=1, columns=-1)
    return world


EVENTFUL = {name: eventful(name) for name in (*EACH, "large")}


@settings(max_examples=8, deadline=None)
@given(name=st.sampled_from(list(EVENTFUL)), first=st.integers(200, 330), cuts=st.lists(st.integers(1, 79), max_size=3))
def test_an_answer_depends_on_its_shot_alone(name, first, cuts):
    world = EVENTFUL[name]
    drive = drives(world, 80, seed=first)
    whole = world.respond(drive, first)
    parts = np.split(np.arange(80), sorted(set(cuts)))
    split = [world.respond(drive[part], first + part[0]) for part in reversed(parts)]
    np.testing.assert_array_equal(np.concatenate(split[::-1]), whole)
    neighbours = drives(world, 80, seed=first + 1)
    neighbours[20] = drive[20]
    np.testing.assert_array_equal(world.respond(neighbours, first)[20], whole[20])


@pytest.mark.parametrize("name", EACH)
def test_few_shots_are_what_they_are_in_a_block(name):
    """Also on a machine where they have to be computed with the rest of it."""
    world, careful = OpticalWorld(EACH[name], 0), OpticalWorld(EACH[name], 0)
    careful._bench.few = BLOCK
    drive = drives(world, 3)
    np.testing.assert_array_equal(world.respond(drive, 45), careful.respond(drive, 45))
    np.testing.assert_array_equal(world.respond(drive, 47), careful.respond(drive, 47))
    assert world._bench.few in ((16, BLOCK) if name != "streamed" else (BLOCK,))


@pytest.mark.parametrize("name", ["gaussian", "fibre", "fourier_mask"])
def test_an_answer_depends_on_no_number_of_threads(name):
    worlds = [
        OpticalWorld(replace(eventful(name).parameters, slm_shape=(26, 25), camera_shape=(26, 25)), 3, workers=n)
        for n in (1, 3)
    ]
    drive = drives(worlds[0], 300)
    with blas_threads(1):
        expected = worlds[0].respond(drive, 200)
        np.testing.assert_array_equal(worlds[1].respond(drive, 200), expected)
    with blas_threads(2):
        fresh = OpticalWorld(worlds[0].parameters, 3)
        np.testing.assert_array_equal(fresh.respond(drive[:64], 200), expected[:64])


@pytest.mark.parametrize("name", EACH)
def test_a_disturbed_world_comes_back_from_its_state(name):
    world = eventful(name)
    drive = drives(world, 40)
    expected = world.respond(drive, 2000)
    state = json.loads(json.dumps(world.state()))
    world.restart(9)
    np.testing.assert_array_equal(world.respond(drive, 2000), OpticalWorld(world.parameters, 9).respond(drive, 2000))
    assert not np.array_equal(world.respond(drive, 2000), expected)
    other = OpticalWorld(world.parameters, 0)
    other.respond(drive, 0)
    other.restore(state)
    assert other.state() == state
    np.testing.assert_array_equal(other.respond(drive, 2000), expected)


# Drift


def alike(a, b):
    return (a.conj() * b).sum().real / np.sqrt((np.abs(a) ** 2).sum() * (np.abs(b) ** 2).sum())


def power(field):
    return (np.abs(field) ** 2).mean()


@pytest.mark.parametrize("scatterer", ["gaussian", "fibre", "structured", "fourier_mask"])
def test_drift_decorrelates_the_field_as_stated(scatterer):
    eps, side = 0.03, 64 if scatterer == "structured" else 20  # this one has a random number for each point alone
    p = OpticalParameters(slm_shape=(side, side), camera_shape=(side, side), drift_eps=eps, mode_groups=10)
    p = replace(p, scatterer=scatterer)
    light = np.exp(2j * np.pi * np.random.default_rng(0).random((16, p.width))).astype(np.complex64)

    def field(shot, seed=1):
        return OpticalWorld(p, seed)._at(shot).operator.forward(light)

    world, holds = OpticalWorld(p, 1), [0, 1, 2, 3, 5, 6, 11]
    fields = {hold: world._at(hold * HOLD).operator.forward(light) for hold in holds}
    for i in holds:
        assert power(fields[i]) == pytest.approx(power(fields[0]), rel=0.15)
        for j in holds:
            expected = (1 - eps**2) ** (0.5 * HOLD * abs(i - j))
            assert alike(fields[i], fields[j]) == pytest.approx(expected, abs=0.06), (i, j)
    np.testing.assert_array_equal(world._at(3 * HOLD + 255).operator.forward(light), fields[3])
    for hold in (11, 3):  # without what came before
        np.testing.assert_array_equal(field(hold * HOLD), fields[hold])
    assert alike(field(11 * HOLD, seed=2), fields[11]) < 0.5
    np.testing.assert_array_equal(field(0, seed=2), fields[0])  # the fibre is the same


def test_speckle_decorrelates_by_the_square():
    p = OpticalParameters(drift_eps=0.02, slm_shape=(10, 10), camera_shape=(60, 60))
    world = OpticalWorld(p, 0)
    drive = drives(world, 4)
    before, after = (world.intensity(drive, shot) for shot in (0, 4 * HOLD))
    correlation = np.corrcoef(before.ravel(), after.ravel())[0, 1]
    assert correlation == pytest.approx((1 - p.drift_eps**2) ** (4 * HOLD), abs=0.03)


def test_drift_that_begins_later_leaves_what_was():
    world, still = OpticalWorld(SMALL, 0), OpticalWorld(SMALL, 0)
    drive = drives(world, 600)
    world.disturb("drift", at_shot=100, eps=0.03)
    moved, reference = world.respond(drive, 0), still.respond(drive, 0)
    np.testing.assert_array_equal(moved[: 100 + HOLD], reference[: 100 + HOLD])
    assert not np.allclose(moved[100 + HOLD :], reference[100 + HOLD :], atol=0.02)
    assert (world.steady(0), world.steady(100), world.steady(101)) == (100, HOLD, HOLD - 1)
    assert still.steady(5) == np.inf
    world.disturb("fibre", at_shot=500, correlation=0.0)
    np.testing.assert_array_equal(world.respond(drive[:500], 0), moved[:500])


# Disturbances


@pytest.mark.parametrize("scatterer", ["gaussian", "structured", "fibre", "fourier_mask"])
@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_a_bent_fibre_has_another_speckle(scatterer, correlation):
    p = OpticalParameters(slm_shape=(24, 24), camera_shape=(24, 24), scatterer=scatterer, mode_groups=12)
    world = OpticalWorld(p, 0)
    before = world.transmission()
    world.disturb("fibre", at_shot=7, correlation=correlation)
    np.testing.assert_array_equal(world.transmission(6), before)
    after = world.transmission(7)
    assert alike(before, after) == pytest.approx(correlation**0.5, abs=0.06)
    own = OpticalWorld(replace(p, fibre_bends_at_shot=7, fibre_bend_correlation=correlation), 5)
    np.testing.assert_array_equal(own.transmission(7), after)
    world.disturb("fibre", at_shot=8, correlation=0.5)
    assert alike(world.transmission(8), after) == pytest.approx(0.5**0.5, abs=0.06)


@pytest.mark.parametrize("name", EACH)
def test_a_camera_that_is_moved_sees_the_same_speckle_elsewhere(name):
    world = OpticalWorld(replace(EACH[name], reference=0.3), 0)
    drive = drives(world, 3)
    before = world.intensity(drive).reshape(3, 9, 8)
    world.disturb("shift", at_shot=3, rows=2, columns=-3)
    after = world.intensity(drive, 3).reshape(3, 9, 8)
    np.testing.assert_allclose(after[:, :7, 3:], before[:, 2:, :5], rtol=1e-3, atol=1e-4)
    world.disturb("shift", at_shot=5, rows=-2, columns=3)
    np.testing.assert_allclose(world.intensity(drive, 5).reshape(3, 9, 8), before, rtol=1e-6)


def test_cells_and_pixels_are_lost_and_the_laser_fades():
    world = OpticalWorld(replace(SMALL, dark_e_s=0.0), 0)
    drive = drives(world, 20)
    before = world.respond_without_noise(drive)
    stuck = drive.copy()
    stuck[:, [3, 11]] = 1.0
    world.disturb("pixels", pixels=[3, 11], level=255)
    np.testing.assert_array_equal(
        world.respond_without_noise(drive), OpticalWorld(world.parameters, 0).respond_without_noise(stuck)
    )
    world.restart(0)
    world.disturb("camera_pixels", pixels=[4])
    lost = world.respond_without_noise(drive)
    assert (lost[:, 4] == 0).all()
    np.testing.assert_array_equal(np.delete(lost, 4, axis=1), np.delete(before, 4, axis=1))
    world.restart(0)
    world.disturb("laser", at_shot=10, gain=0.8)
    world.disturb("laser", at_shot=10, gain=0.5)
    faded = world.respond_without_noise(drive)
    np.testing.assert_array_equal(faded[:10], before[:10])
    np.testing.assert_allclose(faded[10:], 0.4 * before[10:], atol=3e-4)


def test_more_noise_is_a_share_of_each_pixels_rms():
    world = OpticalWorld(replace(SMALL, bits=16, offset_counts=20_000, read_noise_e=100.0), 0)
    rms = world._bench.rms_e / SMALL.full_well_e
    drive = drives(world, 500)
    quiet = world.respond(drive, 0)
    world.disturb("noise", share=0.03)
    world.disturb("noise", share=0.04)
    added = world.respond(drive, 0) - quiet
    np.testing.assert_allclose(added.std(axis=0), 0.05 * rms, rtol=0.15)
    reading = quiet - world.respond_without_noise(drive)
    assert abs(np.corrcoef(added.ravel(), reading.ravel())[0, 1]) < 0.03  # independent of what there is


# The derivative


@pytest.mark.parametrize("change", VARIANTS, ids=str)
def test_the_derivative_is_that_of_finite_differences(change):
    world = OpticalWorld(replace(SMALL, **FINE, **change), 3)
    rng = np.random.default_rng(1)
    x = world.quantise(0.1 + 0.8 * rng.random((3, world.n_in)))
    dy = rng.standard_normal((3, world.n_out))
    found = world.vjp(x, dy)
    step, expected = 1e-6, np.empty_like(x)
    for i in range(world.n_in):
        ahead, behind = x.copy(), x.copy()
        ahead[:, i] += step
        behind[:, i] -= step
        expected[:, i] = (dy * (plain(world, ahead) - plain(world, behind))).sum(axis=1) / (2 * step)
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_the_derivative_follows_what_happened():
    world = OpticalWorld(replace(SMALL, **FINE, drift_eps=0.01), 3)
    world.disturb("laser", at_shot=900, gain=0.5)
    world.disturb("pixels", at_shot=900, pixels=[2], level=9)
    world.disturb("camera_pixels", at_shot=900, pixels=[7])
    rng = np.random.default_rng(1)
    x, v = world.quantise(0.2 + 0.6 * rng.random((1, world.n_in))), rng.standard_normal(world.n_in)
    jacobian = world.vjp(np.repeat(x, world.n_out, axis=0), np.eye(world.n_out), 1000)
    assert (jacobian[:, 2] == 0).all() and (jacobian[7] == 0).all()
    ahead, behind = (world.respond(x + h * v, 1000, noisy=False)[0] for h in (1e-2, -1e-2))
    slope = jacobian @ v
    assert np.abs((ahead - behind) / 2e-2 - slope).max() < 0.02 * np.abs(slope).max()


def test_a_full_well_has_no_derivative():
    world = OpticalWorld(SMALL, 0)
    x = drives(world, 1)
    saturated = world.respond(x, 0, exposure_s=1e-2, noisy=False)[0] >= 0.99
    assert 0 < saturated.sum() < world.n_out
    jacobian = world.vjp(np.repeat(x, world.n_out, axis=0), np.eye(world.n_out), exposure_s=1e-2)
    assert (jacobian[saturated] == 0).all() and (np.abs(jacobian[~saturated]).max(axis=1) > 0).all()


# What does not fit


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"readout": "phase"}, "asked readout 'phase', allowed intensity, amplitude"),
        ({"levels": 1}, "asked levels 1, allowed 2 to 65536"),
        ({"fill_factor": 1.5}, "asked fill_factor 1.5, allowed above 0 to 1"),
        ({"exposure_s": 0.0}, "asked exposure_s 0, it must be above 0"),
        ({"camera_shape": (0, 5)},
         "asked camera_shape (0, 5), it must be rows and columns, 1 or more of each"),
        ({"input_region": (0, 3, 6, 5)},
         "input_region [0, 3, 6, 5] does not lie within the modulator's (6, 7) cells"),
        ({"pool_size": 10}, "pool_size 10 is larger than the camera's (9, 8) pixels"),
        ({"scatterer": "fourier_mask"},
         "scatterer 'fourier_mask' needs slm_shape and camera_shape alike, got (6, 7) and (9, 8)"),
        ({"bits": 8, "offset_counts": 255}, "asked offset_counts 255, allowed 0 to 254"),
        ({"drift_eps": float("nan")}, "asked drift_eps nan, allowed 0 to 0.999"),
    ],
)  # fmt: skip
def test_a_bench_that_does_not_exist(change, sentence):
    with pytest.raises(InputError) as error:
        replace(SMALL, **change)
    assert str(error.value) == f"optical world: {sentence}; set rig.world.{list(change)[-1]}"


def test_what_does_not_fit_the_bench_is_refused():
    world = OpticalWorld(SMALL, 0)
    good = drives(world, 2)
    for bad in (good[:, :-1], good[0], good + 1.0, np.where(good > 0.5, np.nan, good)):
        with pytest.raises(InputError, match=r"is not \(shots, 42\) of numbers in \[0, 1\]"):
            world.respond(bad, 0)
    assert world.respond(good[:0], 0).shape == (0, 72)
    with pytest.raises(InputError, match=r"are not \(shots, 6, 7\) of whole numbers 0 to 255"):
        world.frames(np.full((1, 6, 7), 256), 0)
    with pytest.raises(InputError, match=r"the vector of the product has shape \(2, 42\), needed \(2, 72\)"):
        world.vjp(good, good)
    with pytest.raises(InputError, match="asked shot -1"):
        world.respond(good, -1)
    with pytest.raises(InputError, match="asked an exposure of 0 s"):
        world.respond(good, 0, exposure_s=0.0)
    with pytest.raises(RefusedDisturbance, match=r"unknown disturbance 'fiber' \(did you mean fibre\?\)"):
        world.disturb("fiber", correlation=0.5)
    with pytest.raises(RefusedDisturbance, match="disturbance 'fibre': asked correlation"):
        world.disturb("fibre", correlation=1.5)
