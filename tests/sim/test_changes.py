"""Changes of pixels of a pattern, all from one inverse, against the room asked for each of the changed patterns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from labtrain.errors import InputError
from labtrain.sim.microwave import MicrowaveParameters, MicrowaveWorld

PARAMETERS = MicrowaveParameters(
    antennas=3, noise_dbm_hz=-400.0, trace_noise=0.0, drift_walk_db=0.0, drift_walk_rad=0.0
)
F = np.linspace(5.15e9, 5.875e9, 4)
PORTS = [(2, 1), (3, 3)]
USUAL = {"if_bandwidth_hz": 1e3, "power_dbm": -10.0}


def check(world, patterns, pixels, states, shot=0):
    """Compare with patterns asked one by one; returns the differences."""
    s, moved = world.differences(patterns, pixels, states, shot, F, PORTS)
    now = np.array([world.respond(row[None], shot, F, PORTS, **USUAL)[0] for row in patterns])
    scale = np.abs(now).max()
    np.testing.assert_allclose(s, now, rtol=0, atol=1e-11 * scale)
    for row, change in np.ndindex(*pixels.shape[:2]):
        after, chosen = patterns[row].copy(), pixels[row, change] >= 0
        after[pixels[row, change][chosen]] = states[row, change][chosen]
        expected = world.respond(after[None], shot, F, PORTS, **USUAL)[0] - now[row]
        np.testing.assert_allclose(moved[row, change], expected, rtol=0, atol=1e-10 * scale)
    return moved


@pytest.mark.parametrize("bits", [1, 3])
def test_every_change_of_one_pixel(bits):
    world, draw = MicrowaveWorld(replace(PARAMETERS, bits=bits, pixels=12), 0), np.random.default_rng(0)
    patterns = draw.integers(0, 2**bits, (7, 12))
    patterns[0], patterns[1], patterns[2] = 0, 2**bits - 1, patterns[3]  # references, and two alike
    pixels = np.broadcast_to(np.arange(12)[:, None], (7, 12, 1))
    states = (patterns[:, :, None] + draw.integers(1, 2**bits, (7, 12, 1))) % 2**bits
    moved = check(world, patterns, pixels, states)
    assert np.abs(moved).min(axis=(0, 2, 3)).all()


@pytest.mark.parametrize("bits", [1, 2])
def test_changes_of_several_pixels_at_once(bits):
    world, draw = MicrowaveWorld(replace(PARAMETERS, bits=bits), 0), np.random.default_rng(1)
    patterns = draw.integers(0, 2**bits, (6, 40))
    patterns[0] = 0
    pixels = np.array([[draw.permutation(40)[:5] for _ in range(6)] for _ in patterns])
    states = draw.integers(0, 2**bits, pixels.shape)
    states[:, :, 0] = 2**bits - 1 - np.take_along_axis(patterns, pixels[:, :, 0], axis=1)
    pixels[:, 0, 2:] = -1
    pixels[:, 1] = -1
    states[:, 2] = np.take_along_axis(patterns, pixels[:, 2], axis=1)
    moved = check(world, patterns, pixels, states)
    assert not moved[:, 1:3].any() and moved[:, 3:].all()  # no pixel, or none that becomes another


def test_a_room_with_one_pixel():
    world = MicrowaveWorld(replace(PARAMETERS, pixels=1), 0)
    pixels = np.array([[[0, -1]], [[-1, 0]], [[-1, -1]]])
    check(world, np.array([[0], [1], [1]]), pixels, np.array([[[1, 0]], [[1, 0]], [[0, 0]]]))


def test_the_room_is_as_it_stands_at_the_shot():
    p = replace(PARAMETERS, drift_walk_db=0.5, drift_sine_rad=0.3, pixels=12, scatterer_moves_at_shot=30)
    world, draw = MicrowaveWorld(p, 5), np.random.default_rng(2)
    patterns = draw.integers(0, 2, (3, 12))
    pixels = np.broadcast_to(np.arange(12).reshape(6, 2), (3, 6, 2))
    states = 1 - np.stack([patterns[row][pixels[row]] for row in range(3)])
    still = check(world, patterns, pixels, states, shot=25)
    for name, values in (
        ("ports", {"order": [2, 0, 1]}),
        ("antenna", {"antenna": 2, "db": -6.0}),
        ("pixels", {"pixels": [2, 3, 4], "state": 1}),
        ("pixels", {"pixels": [2]}),
        ("drift", {"db_per_1000_shots": 50.0}),
    ):
        world.disturb(name, at_shot=40, **values)
    moved = check(world, patterns, pixels, states, shot=60)
    assert not moved[:, 1].any() and moved[:, 2].all()
    np.testing.assert_array_equal(world.differences(patterns, pixels, states, 25, F, PORTS)[1], still)


def test_a_port_that_does_not_exist_is_refused():
    world = MicrowaveWorld(PARAMETERS, 0)
    with pytest.raises(InputError, match=r"^microwave world: no S-parameter \(4, 1\), ports are 1 to 3$"):
        world.differences(np.zeros((1, 40)), np.zeros((1, 1, 1), int), np.ones((1, 1, 1), int), 0, F, [(4, 1)])
