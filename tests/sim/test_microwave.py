import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labtrain.errors import InputError
from labtrain.sim.microwave import HOLD, MicrowaveParameters, MicrowaveWorld
from labtrain.sim.receivers import NOMINAL_DBM

PARAMETERS = MicrowaveParameters()
STEADY = replace(PARAMETERS, noise_dbm_hz=-400.0, trace_noise=0.0, drift_walk_db=0.0, drift_walk_rad=0.0)
F = np.linspace(5.15e9, 5.875e9, 20)
S21, ALL = [(2, 1)], [(1, 1), (2, 1), (1, 2), (2, 2)]
USUAL = {"if_bandwidth_hz": 1e3, "power_dbm": -10.0}


def patterns(n, pixels=40, bits=1, seed=0):
    return np.random.default_rng(seed).integers(0, 2**bits, (n, pixels))


PATTERNS = patterns(1000)


@pytest.fixture(scope="module")
def world():
    return MicrowaveWorld(PARAMETERS, seed=7)


@pytest.fixture
def own_world():
    return MicrowaveWorld(PARAMETERS, seed=7)


def power(s, axis=None):
    return (np.abs(s) ** 2).mean(axis=axis)


# The model


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"antennas": 3, "bits": 2, "pixels": 25, "scatterers": 0, "cable_db": 0.0},
        {"bits": 3, "pixels": 60, "geometry_seed": 5, "scatterer_moves_at_shot": 3},
        {"wall_gamma": 0.0, "pixel_gamma": 0.0, "pixel_resonance_on": 0.97},
    ],
)
def test_the_reduced_room_agrees_with_the_full_inverse(change):
    world = MicrowaveWorld(replace(PARAMETERS, **change), 0)
    f, rows = F[[0, 7, 19]], patterns(6, world.n_pixels, world.bits)
    rows[0], rows[1] = 0, 2**world.bits - 1
    rows[2] = 0
    rows[2, 7] = 1
    reduced, full = world.s_matrix(rows, f, shot=3), world.s_matrix_unreduced(rows, f, shot=3)
    assert reduced.shape == (6, 3, world.n_ports, world.n_ports)
    assert np.abs(reduced - full).max() < 1e-9 * np.abs(full).max()


def test_the_room_is_reciprocal(world):
    s = world.s_matrix(PATTERNS[:50], F)
    assert np.abs(s - s.swapaxes(-1, -2)).max() < 1e-15


@pytest.mark.parametrize("loss", ["usual", "none"])
def test_the_room_is_passive(loss):
    none = {"wall_gamma": 0.0, "pixel_gamma": 0.0, "cable_db": 0.0, "antenna_efficiency": 1.0, "antennas": 3}
    world = MicrowaveWorld(replace(PARAMETERS, **(none if loss == "none" else {})), 0)
    largest = np.linalg.svd(world.s_matrix(PATTERNS[:100], F), compute_uv=False)[..., 0]
    assert largest.max() <= 1.0
    if loss == "none":
        assert largest.max() > 0.99  # of what enters, little escapes through the fence


def test_an_affine_fit_explains_as_much_as_in_measured_rigs(world):
    s = world.s_matrix(PATTERNS, F)[:, :, 1, 0]
    x = np.column_stack([np.ones(len(PATTERNS)), PATTERNS])
    fit = np.linalg.lstsq(x[:600], s[:600], rcond=None)[0]
    explained_db = 10 * np.log10(s[600:].var(axis=0) / power(s[600:] - x[600:] @ fit, axis=0))
    assert 12 < np.median(explained_db) < 18


def test_levels_are_those_of_a_lab(world):
    clean = world.s_matrix(PATTERNS[:300], F)[:, :, 1, 0]
    noise = world.respond(PATTERNS[:300], 0, F, S21, **USUAL)[:, 0] - clean
    assert -30 < 10 * np.log10(power(clean)) < -15
    assert 37 < np.median(10 * np.log10(power(clean, axis=0) / power(noise, axis=0))) < 43


def test_echoes_die_away_with_a_quality_factor_of_a_few_hundred(world):
    points = 241
    s = world.s_matrix(PATTERNS[:4], np.linspace(0.9, 1.1, points) * PARAMETERS.f0_hz)[:, :, 1, 0]
    energy = power(np.fft.ifft(s * np.hanning(points)), axis=0)[: points // 2]
    left = np.cumsum(energy[::-1])[::-1]  # Schroeder, J. Acoust. Soc. Am. 37:409, 1965
    db, periods = 10 * np.log10(left / left[0]), np.arange(len(left)) * (points - 1) / (0.2 * points)
    part = (db < -5) & (db > -25)
    slope_db = np.polyfit(periods[part], db[part], 1)[0]
    assert 100 < -20 * np.pi * np.log10(np.e) / slope_db < 1000


def test_every_pixel_counts(world):
    flipped = world.s_matrix(np.eye(40, dtype=int), F)[..., 1, 0] - world.s_matrix(np.zeros((1, 40), int), F)[..., 1, 0]
    assert power(flipped, axis=1).min() > 1e-3 * power(flipped).max()


def test_states_of_a_pixel_lie_at_even_phases_between_off_and_on():
    p = replace(PARAMETERS, bits=2)
    np.testing.assert_allclose(p.pixel_resonances[[0, -1]], [5, 1], rtol=1e-12)
    detuning = (2 * np.pi / p.pixel_chi) ** 2 * (p.pixel_resonances**2 - 1)
    damping = np.pi**2 + 2 * np.pi * p.pixel_gamma / p.pixel_chi**2
    np.testing.assert_allclose(np.diff(np.arctan2(damping, detuning)), np.pi / 6, rtol=2e-3)
    fine, coarse = MicrowaveWorld(p, 0), MicrowaveWorld(PARAMETERS, 0)
    np.testing.assert_allclose(
        fine.s_matrix(3 * PATTERNS[:5], F), coarse.s_matrix(PATTERNS[:5], F), rtol=1e-9, atol=1e-12
    )
    shades = fine.s_matrix(np.outer(np.arange(4), np.eye(40, dtype=int)[9]), F)[..., 1, 0]
    assert power(np.diff(shades, axis=0), axis=1).min() > 1e-3 * power(shades[3] - shades[0])


def test_any_frequency_that_an_analyser_has_may_be_asked(world):
    s = world.s_matrix(PATTERNS[:2], [1e4, 1e7, 2.4e9, 67e9])
    assert np.isfinite(s).all() and np.linalg.svd(s, compute_uv=False).max() <= 1.0


def test_parity_of_two_bits_can_be_read_out_of_the_magnitudes(world):
    """No linear readout of the bits can: the room multiplies."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, (1600, 4))
    rows = np.repeat(bits, 10, axis=1)[:, rng.permutation(40)]
    y = np.abs(world.respond(rows, 0, F, S21, **USUAL)[:, 0])
    parity = 2.0 * (bits[:, 0] ^ bits[:, 1]) - 1

    def accuracy(x):
        x = np.column_stack([np.ones(len(x)), (x - x[:800].mean(axis=0)) / x[:800].std(axis=0)])
        weights = np.linalg.solve(x[:800].T @ x[:800] + 1e-3 * np.eye(x.shape[1]), x[:800].T @ parity[:800])
        return (np.sign(x[800:] @ weights) == parity[800:]).mean()

    assert accuracy(np.column_stack([y, y**2])) >= 0.95
    assert accuracy(bits.astype(float)) < 0.8  # three of four cases at best


# Shots


@settings(max_examples=15, deadline=None)
@given(first=st.integers(0, 600), cuts=st.lists(st.integers(1, 39), max_size=3), bits=st.integers(1, 2))
def test_an_answer_depends_on_its_shot_alone(first, cuts, bits):
    world = WORLDS[bits]
    rows = patterns(40, 40, bits, first)
    whole = world.respond(rows, first, F, ALL, **USUAL)
    parts = np.split(np.arange(40), sorted(set(cuts)))
    split = [world.respond(rows[part], first + part[0], F, ALL, **USUAL) for part in reversed(parts)]
    np.testing.assert_array_equal(np.concatenate(split[::-1]), whole)
    neighbours = patterns(40, 40, bits, first + 1)
    neighbours[20] = rows[20]
    np.testing.assert_array_equal(world.respond(neighbours, first, F, ALL, **USUAL)[20], whole[20])


# One of the scatterers moves among the shots that are asked for.
WORLDS = {
    bits: MicrowaveWorld(
        replace(PARAMETERS, bits=bits, drift_walk_db=0.1, drift_walk_rad=0.1, scatterer_moves_at_shot=300), 3
    )
    for bits in (1, 2)
}


@pytest.mark.parametrize("power_dbm", [0.0, None])
def test_shot_by_shot_is_bit_for_bit_the_batch(power_dbm):
    world = WORLDS[1]
    how = {"if_bandwidth_hz": 300.0, "power_dbm": power_dbm, "averages": 3}
    world.restart(11)
    world.begin_shot(280)
    single = []
    for row in PATTERNS[:40]:
        world.set_pattern(row)
        single.append(world.sweep(F, ALL, **how))
    assert world.shot == 319
    np.testing.assert_array_equal(single, world.respond(PATTERNS[:40], 280, F, ALL, **how))
    assert world.shot == 319
    np.testing.assert_array_equal(world.pattern, PATTERNS[39])


@pytest.mark.parametrize("power_dbm", [-10.0, None])
def test_an_s_parameter_does_not_depend_on_those_read_with_it(world, power_dbm):
    how = {"if_bandwidth_hz": 1e3, "power_dbm": power_dbm}
    together = world.respond(PATTERNS[:5], 3, F, ALL, **how)
    for index, pair in enumerate(ALL):
        np.testing.assert_array_equal(world.respond(PATTERNS[:5], 3, F, [pair], **how)[:, 0], together[:, index])


def test_the_first_pattern_after_a_sweep_begins_the_next_shot(own_world):
    assert own_world.shot == 0
    np.testing.assert_array_equal(own_world.pattern, np.zeros(40))
    for row in PATTERNS[:3]:
        own_world.set_pattern(row)
    assert own_world.shot == 0
    first, *again = (own_world.sweep(F, S21, **USUAL) for _ in range(4))
    assert len({sweep.tobytes() for sweep in (first, *again)}) == 4  # the noise of the sweeps of a shot differs
    own_world.set_pattern(PATTERNS[0])
    own_world.set_pattern(PATTERNS[1])
    assert own_world.shot == 1
    second = own_world.sweep(F, S21, **USUAL)
    own_world.begin_shot(1)
    own_world.set_pattern(PATTERNS[1])
    np.testing.assert_array_equal(own_world.sweep(F, S21, **USUAL), second)
    own_world.restart(7)
    own_world.set_pattern(PATTERNS[2])
    np.testing.assert_array_equal(own_world.sweep(F, S21, **USUAL), first)


def test_patterns_are_copies(own_world):
    mine = PATTERNS[0].copy()
    own_world.set_pattern(mine)
    mine[:] = 0
    own_world.pattern[:] = 0
    np.testing.assert_array_equal(own_world.pattern, PATTERNS[0])


# Receivers


@pytest.mark.parametrize(
    ("how", "expected_db"),
    [
        ({"if_bandwidth_hz": 1e3, "power_dbm": -10.0}, -67),
        ({"if_bandwidth_hz": 1e5, "power_dbm": -10.0}, -47),
        ({"if_bandwidth_hz": 1e3, "power_dbm": 5.0}, -82),
        ({"if_bandwidth_hz": 1e3, "power_dbm": -10.0, "averages": 10}, -77),
        ({"if_bandwidth_hz": 1e3, "power_dbm": None}, -67),
    ],
)
def test_receiver_noise_follows_bandwidth_power_and_averages(how, expected_db):
    world = MicrowaveWorld(replace(STEADY, noise_dbm_hz=-107.0), 5)
    on = how["power_dbm"] is not None
    noise = world.respond(PATTERNS[:100], 0, F, ALL, **how)
    noise -= world.respond(PATTERNS[:100], 0, F, ALL, **{**how, "power_dbm": 1e3}) if on else 0
    assert 10 * np.log10(power(noise)) == pytest.approx(expected_db, abs=0.3)  # 8,000 numbers: 0.05 dB
    assert abs((noise**2).mean()) < 0.1 * power(noise)  # circular
    assert abs(noise.mean()) < 0.1 * power(noise) ** 0.5
    assert NOMINAL_DBM == -10


def test_trace_noise_is_a_share_of_the_reading():
    world = MicrowaveWorld(replace(STEADY, trace_noise=0.01), 5)
    clean = np.moveaxis(world.s_matrix(PATTERNS[:200], F)[..., 1, :], 1, 2)
    for change, expected in (({}, 0.01), ({"averages": 4}, 0.005), ({"if_bandwidth_hz": 1e5}, 0.1)):
        error = world.respond(PATTERNS[:200], 0, F, [(2, 1), (2, 2)], **{**USUAL, **change}) / clean - 1
        assert power(error) ** 0.5 == pytest.approx(expected, rel=0.05)


def test_noise_is_independent_among_shots_sweeps_and_seeds(own_world):
    off = {"if_bandwidth_hz": 1e3, "power_dbm": None}
    noise = [*own_world.respond(PATTERNS[:3], 0, F, S21, **off)[:, 0]]
    own_world.sweep(F, S21, **off)
    noise += [own_world.sweep(F, S21, **off)[0], own_world.respond(PATTERNS[:1], 5, F, S21, **off)[0, 0]]
    own_world.restart(8)
    noise.append(own_world.sweep(F, S21, **off)[0])
    correlation = np.abs(np.corrcoef(noise)) - np.eye(len(noise))
    assert correlation.max() < 0.75
    np.testing.assert_array_equal(own_world.respond(PATTERNS[:1], 0, F, S21, **off)[0, 0], noise[-1])


def test_cables_drift_slowly_by_shot_number():
    p = replace(STEADY, drift_walk_db=0.1, drift_walk_rad=0.05, drift_sine_db=0.3, drift_period_shots=3000.0)
    world, again = MicrowaveWorld(p, 3), MicrowaveWorld(p, 3)
    shots = [*range(0, 40 * HOLD, 57)]
    rows = [world.respond(PATTERNS[:1], shot, F, S21, **USUAL)[0, 0] for shot in shots]
    gain = np.array(rows) / world.s_matrix(PATTERNS[:1], F)[0, :, 1, 0]
    assert np.abs(gain - gain[:, :1]).max() < 1e-9  # common to all frequencies
    assert gain[0, 0] == pytest.approx(1, abs=1e-9)
    db, rad = 20 * np.log10(np.abs(gain[:, 0])), np.unwrap(np.angle(gain[:, 0]))
    assert 0.1 < np.std(db) < 2 and 0.05 < np.std(rad) < 1
    assert np.abs(np.diff(db)).max() < 0.15 and np.abs(np.diff(rad)).max() < 0.06
    np.testing.assert_array_equal(again.respond(PATTERNS[:1], shots[-1], F, S21, **USUAL)[0, 0], rows[-1])
    other = MicrowaveWorld(p, 4).respond(PATTERNS[:1], shots[-1], F, S21, **USUAL)[0, 0]
    assert not np.array_equal(other, rows[-1])
    again.restart(4)
    np.testing.assert_array_equal(again.respond(PATTERNS[:1], shots[-1], F, S21, **USUAL)[0, 0], other)


# Disturbances


def test_a_bumped_scatterer_changes_the_answers_from_its_shot_on():
    world = MicrowaveWorld(replace(STEADY, scatterer_moves_at_shot=10, scatterer_move_m=0.004), 0)
    still = MicrowaveWorld(STEADY, 0)
    moved, reference = (w.respond(PATTERNS[:20], 0, F, S21, **USUAL)[:, 0] for w in (world, still))
    np.testing.assert_array_equal(moved[:10], reference[:10])
    assert 0.01 < (power(moved[10:] - reference[10:]) / power(reference[10:])) ** 0.5 < 0.5
    still.disturb("scatterer", scatterer=0, dx_m=0.004, dy_m=0.0)
    np.testing.assert_array_equal(still.respond(PATTERNS[10:20], 10, F, S21, **USUAL)[:, 0], moved[10:])


def test_a_touched_cable_multiplies_all():
    world = MicrowaveWorld(STEADY, 0)
    before = world.respond(PATTERNS[:5], 0, F, ALL, **USUAL)
    world.disturb("cable", db=-0.5, rad=0.2)
    world.disturb("cable", db=-0.5, rad=0.1)
    after = world.respond(PATTERNS[:5], 0, F, ALL, **USUAL)
    np.testing.assert_allclose(after, before * 10 ** (-1 / 20) * np.exp(0.3j), rtol=1e-12)


def test_a_disturbed_world_comes_back_from_its_state(own_world):
    own_world.set_pattern(PATTERNS[3])
    own_world.begin_shot(40)
    own_world.sweep(F, S21, **USUAL)
    own_world.disturb("scatterer", scatterer=1, dx_m=0.01, dy_m=0.0)
    own_world.disturb("cable", db=0.2, rad=0.0)
    state = json.loads(json.dumps(own_world.state()))
    disturbed = own_world.sweep(F, S21, **USUAL)
    own_world.restart(9)
    assert own_world.shot == 0
    own_world.set_pattern(PATTERNS[4])
    fresh = MicrowaveWorld(PARAMETERS, 9)
    fresh.set_pattern(PATTERNS[4])
    np.testing.assert_array_equal(own_world.sweep(F, S21, **USUAL), fresh.sweep(F, S21, **USUAL))
    other = MicrowaveWorld(PARAMETERS, 0)
    other.restore(state)
    assert (other.shot, other.state()) == (40, state)
    np.testing.assert_array_equal(other.sweep(F, S21, **USUAL), disturbed)


# What does not fit


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pixels": 0}, "asked 0 pixels, allowed 1 to 4096"),
        ({"bits": 5}, "asked 5 bits, allowed 1 to 4"),
        ({"wall_chi": 0.0}, "asked wall_chi 0, it must be above 0"),
        ({"pixel_gamma": -0.1}, "asked pixel_gamma -0.1, a gain; it must be 0 or more"),
        ({"antenna_efficiency": 1.2}, "asked antenna_efficiency 1.2, allowed above 0 to 1"),
        (
            {"pixels": 256},
            "asked 256 pixels, the walls of a room of 12 x 8 wavelengths hold 72; ask for fewer, or set "
            "rig.world.length and rig.world.width",
        ),
        (
            {"scatterers": 300},
            "no room for 2 antennas and 300 scatterers in 12 x 8 wavelengths; ask for fewer, or set rig.world.length "
            "and rig.world.width",
        ),
        (
            {"length": 100.0, "width": 1.5, "scatterers": 0},
            "no room for 2 antennas and 0 scatterers in 100 x 1.5 wavelengths; ask for fewer, or set "
            "rig.world.length and rig.world.width",
        ),
    ],
)
def test_a_room_that_cannot_be_is_refused(change, message):
    with pytest.raises(InputError) as raised:
        MicrowaveWorld(replace(PARAMETERS, **change), 0)
    assert str(raised.value) == f"microwave world: {message}"


@pytest.mark.parametrize(
    ("states", "message"),
    [
        (np.zeros(39), "patterns of shape (1, 39) are not (shots, 40), one state a pixel"),
        (np.zeros((2, 40)), "patterns of shape (1, 2, 40) are not (shots, 40), one state a pixel"),
        (np.full(40, 2), "a pixel has states 0 to 1, got others"),
        (np.full(40, 0.5), "a pixel has states 0 to 1, got others"),
        (np.full(40, -1), "a pixel has states 0 to 1, got others"),
        (np.full(40, np.nan), "a pixel has states 0 to 1, got others"),
    ],
)
def test_patterns_that_do_not_fit_are_refused(own_world, states, message):
    own_world.set_pattern(PATTERNS[0])
    with pytest.raises(InputError) as raised:
        own_world.set_pattern(states)
    assert str(raised.value) == f"microwave world: {message}"
    np.testing.assert_array_equal(own_world.pattern, PATTERNS[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ports": [(2, 1), (3, 1)]}, "no S-parameter (3, 1), ports are 1 to 2"),
        ({"ports": [(0, 1)]}, "no S-parameter (0, 1), ports are 1 to 2"),
        ({"frequencies_hz": []}, "frequencies must be a row of positive numbers in Hz"),
        ({"frequencies_hz": [0.0]}, "frequencies must be a row of positive numbers in Hz"),
        ({"frequencies_hz": [np.nan]}, "frequencies must be a row of positive numbers in Hz"),
        ({"if_bandwidth_hz": 0.0}, "IF bandwidth 0 Hz and 1 averages must be positive"),
        ({"averages": 0}, "IF bandwidth 1000 Hz and 0 averages must be positive"),
    ],
)
def test_sweeps_that_do_not_fit_are_refused(world, change, message):
    with pytest.raises(InputError) as raised:
        world.sweep(**{"frequencies_hz": F, "ports": S21, **USUAL, **change})
    assert str(raised.value) == f"microwave world: {message}"


def test_a_negative_shot_is_refused(world):
    message = "microwave world: asked shot -1, shots are numbered from 0"
    for ask in (lambda: world.begin_shot(-1), lambda: world.respond(PATTERNS[:1], -1, F, S21, **USUAL)):
        with pytest.raises(InputError) as raised:
            ask()
        assert str(raised.value) == message


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        (
            "cabel",
            {},
            "unknown disturbance 'cabel' (did you mean cable?); known: scatterer, pixels, temperature, cable, "
            "antenna, ports, noise, drift",
        ),
        ("cable", {"db": 1.0}, "disturbance 'cable' takes db, rad, got db"),
        (
            "scatterer",
            {"scatterer": 16, "dx_m": 0, "dy_m": 0},
            "disturbance 'scatterer': asked scatterer 16, allowed a whole number, 0 to 15",
        ),
    ],
)
def test_disturbances_that_do_not_exist_are_refused(own_world, name, values, message):
    with pytest.raises(InputError) as raised:
        own_world.disturb(name, **values)
    assert str(raised.value) == f"microwave world: {message}"


def test_nothing_asked_is_nothing_answered(world):
    assert world.respond(np.empty((0, 40), int), 0, F, S21, **USUAL).shape == (0, 1, 20)
