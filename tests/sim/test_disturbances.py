"""Disturbances of worlds: from their shot on, whatever the batch, kept in the state, undone by a restart."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from labtrain.errors import InputError, MeasurementError
from labtrain.sim import acoustic_disturbances, channels, microwave_disturbances
from labtrain.sim.acoustic import AcousticWorld
from labtrain.sim.cavity import AcousticParameters
from labtrain.sim.channels import Channels
from labtrain.sim.disturbances import Disturbance, Event, Events, RefusedDisturbance, Value, checked
from labtrain.sim.microwave import MicrowaveWorld
from labtrain.sim.noise import ADDED, philox
from labtrain.sim.room import MicrowaveParameters

CAVITY = AcousticParameters(speakers=2, microphones=3, membranes=2, discs=2, tone_bins=(12, 20))
ROOM = MicrowaveParameters(
    pixels=6, antennas=3, length=8.0, width=6.0, scatterers=3, drift_walk_db=0.0, drift_walk_rad=0.0
)
QUIET = replace(ROOM, trace_noise=0.0, noise_dbm_hz=-400.0)
F = np.linspace(5.4e9, 5.6e9, 3)
PORTS = [(2, 1), (1, 2), (1, 1), (3, 1)]
N = 24  # shots, one and a half blocks of the cavity
AT = 7  # in the middle of one

DRIVE = np.random.default_rng(0).random((N, 4))
PATTERNS = np.random.default_rng(1).integers(2, size=(N, 6))

ACOUSTIC: dict[str, dict[str, Any]] = {
    "temperature": {"kelvin": 2.0},
    "drift": {"kelvin_per_1000_shots": 5.0},
    "scatterer": {"disc": 1, "dx_m": 0.02, "dy_m": -0.01},
    "membrane": {"membrane": 1},
    "speaker": {"speaker": 0, "gain": 0.3},
    "microphone": {"microphone": 2},
    "inputs": {"order": [1, 0]},
    "outputs": {"order": [2, 0, 1]},
    "noise": {"share": 0.05},
}
MICROWAVE: dict[str, dict[str, Any]] = {
    "scatterer": {"scatterer": 2, "dx_m": 0.01, "dy_m": 0.0},
    "pixels": {"pixels": [0, 4], "state": 1},
    "temperature": {"kelvin": 30.0},
    "cable": {"db": -0.5, "rad": 0.3},
    "antenna": {"antenna": 0, "db": -6.0},
    "ports": {"order": [1, 2, 0]},
    "noise": {"share": 0.05},
    "drift": {"db_per_1000_shots": 3.0},
}
CHANNELS: dict[str, dict[str, Any]] = {
    "input": {"input": 1, "gain": 0.5},
    "inputs": {"order": [2, 0, 1]},
    "output": {"output": 1},
    "outputs": {"order": [1, 0]},
    "noise": {"share": 0.1},
    "drift": {"share_per_1000_shots": -0.5},
}


@pytest.fixture(scope="module")
def cavity() -> AcousticWorld:
    return AcousticWorld(CAVITY, 3)


@pytest.fixture(scope="module")
def room() -> MicrowaveWorld:
    return MicrowaveWorld(ROOM, 3)


def heard(world: AcousticWorld, first: int = 0, stop: int = N) -> np.ndarray:
    return world.respond(DRIVE[first:stop], first)


def seen(world: MicrowaveWorld, first: int = 0, stop: int = N) -> np.ndarray:
    return world.respond(PATTERNS[first:stop], first, F, PORTS, if_bandwidth_hz=1e3, power_dbm=-10.0)


def test_the_samples_here_are_of_all_that_the_worlds_know(cavity: AcousticWorld, room: MicrowaveWorld) -> None:
    assert list(ACOUSTIC) == list(cavity.disturbances)
    assert list(MICROWAVE) == list(room.disturbances)
    assert list(CHANNELS) == list(channels.known())


def follows_its_shots(world: Any, ask: Callable[..., np.ndarray], name: str, values: dict[str, Any]) -> None:
    world.restart(3)
    before = ask(world)
    first = 256 if (name, world.parameters) == ("drift", CAVITY) else AT  # the air drifts in holds
    world.disturb(name, at_shot=AT, **values)
    after = ask(world)
    np.testing.assert_array_equal(after[:AT], before[:AT])
    if first < N:
        later = AT + (name == "drift")  # which begins with nothing
        changed = [not np.array_equal(after[shot], before[shot]) for shot in range(later, N)]
        assert any(changed) if name == "pixels" else all(changed)  # some patterns have these states anyway
    else:
        assert world.environment(first + 1)["temperature_c"] == pytest.approx(20 + 5e-3 * (first - AT))
    for cuts in ([5, 12], [AT], [*range(1, N)]):  # whatever the batches
        edges = [0, *cuts, N]
        parts = [ask(world, a, b) for a, b in pairwise(edges)]
        np.testing.assert_array_equal(np.concatenate(parts), after)
    state = json.loads(json.dumps(world.state()))
    world.restart(3)
    np.testing.assert_array_equal(ask(world), before)
    world.restore(state)
    np.testing.assert_array_equal(ask(world), after)
    assert world.state() == state


@pytest.mark.parametrize("name", ACOUSTIC)
def test_a_disturbance_of_the_cavity_holds_from_its_shot_on(cavity: AcousticWorld, name: str) -> None:
    follows_its_shots(cavity, heard, name, ACOUSTIC[name])


@pytest.mark.parametrize("name", MICROWAVE)
def test_a_disturbance_of_the_room_holds_from_its_shot_on(room: MicrowaveWorld, name: str) -> None:
    follows_its_shots(room, seen, name, MICROWAVE[name])


# -- the cavity ------------------------------------------------------------------------------------------------------


def quiet(world: AcousticWorld, drive: np.ndarray = DRIVE) -> np.ndarray:
    """Amplitudes without noise, (shots, microphones, tones)."""
    return world.respond_without_noise(drive, 0).reshape(len(drive), 3, 2)


def test_cables_of_the_cavity(cavity: AcousticWorld) -> None:
    cavity.restart(3)
    before = quiet(cavity)
    cavity.disturb("outputs", order=[2, 0, 1])
    np.testing.assert_allclose(quiet(cavity), before[:, [2, 0, 1]], rtol=1e-12)
    cavity.disturb("outputs", order=[1, 2, 0])  # back again: orders are applied to one another
    np.testing.assert_allclose(quiet(cavity), before, rtol=1e-12)
    cavity.disturb("inputs", order=[1, 0])
    swapped = DRIVE.reshape(N, 2, 2)[:, ::-1].reshape(N, 4)
    np.testing.assert_allclose(quiet(cavity, swapped), before, rtol=1e-12)


def test_a_lost_microphone_hears_its_own_noise_alone(cavity: AcousticWorld) -> None:
    cavity.restart(3)
    cavity.disturb("microphone", microphone=1)
    assert (quiet(cavity)[:, 1] == 0).all() and (quiet(cavity)[:, [0, 2]] > 0).all()
    assert (heard(cavity).reshape(N, 3, 2)[:, 1] > 0).all()
    cavity.restart(3)
    whole = quiet(cavity)
    cavity.disturb("microphone", microphone=1, gain=0.5)
    cavity.disturb("microphone", microphone=1, gain=0.5)
    np.testing.assert_allclose(quiet(cavity)[:, 1], 0.25 * whole[:, 1], rtol=1e-12)


def test_a_dead_speaker_is_one_that_is_not_driven(cavity: AcousticWorld) -> None:
    cavity.restart(3)
    muted = DRIVE.copy()
    muted[:, 2:] = 0
    expected = quiet(cavity, muted)
    cavity.disturb("speaker", speaker=1)
    np.testing.assert_allclose(quiet(cavity), expected, rtol=1e-5)  # the solver iterates from elsewhere


def test_without_membranes_that_move_the_cavity_is_linear(cavity: AcousticWorld) -> None:
    cavity.restart(3)
    loud, soft = DRIVE * 0.8, DRIVE * 0.08
    assert np.abs(quiet(cavity, loud) / quiet(cavity, soft) - 10).max() > 1e-3
    for membrane in (0, 1):
        cavity.disturb("membrane", membrane=membrane)
    np.testing.assert_allclose(quiet(cavity, loud), 10 * quiet(cavity, soft), rtol=1e-9)


def test_added_noise_of_the_cavity_has_the_size_that_was_asked(cavity: AcousticWorld) -> None:
    silent = AcousticWorld(replace(CAVITY, noise=0.0), 5)
    silent.disturb("noise", share=0.03)
    silent.disturb("noise", share=0.04)
    drive = np.full((400, 4), 0.9)
    spread = (silent.respond(drive, 0) - silent.respond_without_noise(drive, 0)).std(axis=0)
    np.testing.assert_allclose(spread / silent.rms_pa, 0.05, rtol=0.15)  # of a modulus far above the noise
    np.testing.assert_array_equal(silent.rms_pa, cavity.rms_pa)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"disc": 0, "dx_m": 0.5, "dy_m": 0.5}, r"disc 0 would leave the cavity at \(.*\); move it less, or elsewhere"),
        ({"disc": 2, "dx_m": 0.0, "dy_m": 0.0}, "asked disc 2, allowed a whole number, 0 to 1"),
        ({"disc": 0.5, "dx_m": 0.0, "dy_m": 0.0}, "asked disc 0.5, allowed a whole number, 0 to 1"),
        ({"disc": 0, "dx_m": 0.7, "dy_m": 0.0}, "asked dx_m 0.7, allowed -0.5 m to 0.5 m"),
        ({"disc": 0, "dx_m": 0.1}, "takes disc, dx_m, dy_m, got disc, dx_m"),
    ],
)
def test_discs_stay_in_the_cavity(values: dict[str, Any], message: str) -> None:
    world = AcousticWorld(CAVITY, 3)
    with pytest.raises(InputError, match=message):
        world.disturb("scatterer", **values)


def test_a_disc_does_not_run_into_another_one() -> None:
    world = AcousticWorld(CAVITY, 3)
    a, b = world.geometry.discs
    part = {"dx_m": (b.x_m - a.x_m) * 0.495, "dy_m": (b.y_m - a.y_m) * 0.495}
    world.disturb("scatterer", disc=0, **part)
    before = world.state()
    with pytest.raises(InputError, match="disc 0 would run into another one"):
        world.disturb("scatterer", disc=0, **part)
    assert world.state() == before


def test_air_that_drifts_out_of_all_bounds_is_told() -> None:
    world = AcousticWorld(replace(CAVITY, noise=0.0), 3)
    world.disturb("drift", kelvin_per_1000_shots=-10.0)
    with pytest.raises(MeasurementError, match=r"at shot 25600 the air would have -236 degrees Celsius"):
        world.respond(DRIVE[:1], 25600)


# -- the room --------------------------------------------------------------------------------------------------------


@pytest.fixture
def still() -> MicrowaveWorld:
    return MicrowaveWorld(QUIET, 0)


def test_stuck_pixels_show_their_state_and_the_controller_does_not_know(still: MicrowaveWorld) -> None:
    shown = PATTERNS.copy()
    shown[:, [1, 5]] = [1, 0]
    expected = still.respond(shown, 0, F, PORTS, if_bandwidth_hz=1e3, power_dbm=-10.0)
    still.disturb("pixels", pixels=[1], state=1)
    still.disturb("pixels", pixels=[5])
    np.testing.assert_array_equal(seen(still), expected)
    still.set_pattern(PATTERNS[3])
    np.testing.assert_array_equal(still.pattern, PATTERNS[3])
    still.begin_shot(3)
    np.testing.assert_array_equal(
        still.sweep(F, PORTS, if_bandwidth_hz=1e3, power_dbm=-10.0), expected[3]
    )  # fmt: skip
    np.testing.assert_allclose(
        still.s_matrix(PATTERNS[:2], F), still.s_matrix_unreduced(PATTERNS[:2], F), rtol=0, atol=1e-12
    )


def test_ports_and_cables_of_antennas(still: MicrowaveWorld) -> None:
    before = dict(zip(PORTS, seen(still).transpose(1, 0, 2), strict=True))
    still.disturb("ports", order=[1, 0, 2])
    after = dict(zip(PORTS, seen(still).transpose(1, 0, 2), strict=True))
    np.testing.assert_allclose(after[2, 1], before[1, 2], rtol=1e-9)
    assert np.abs(after[1, 1] - before[1, 1]).max() > 1e-3
    still.restart(0)
    still.disturb("antenna", antenna=0, db=-6.0)
    weak = dict(zip(PORTS, seen(still).transpose(1, 0, 2), strict=True))
    np.testing.assert_allclose(weak[2, 1], before[2, 1] * 10 ** (-6 / 20), rtol=1e-9)
    np.testing.assert_allclose(weak[1, 1], before[1, 1] * 10 ** (-12 / 20), rtol=1e-9)


def test_a_warmer_room_answers_as_the_cold_one_does_at_higher_frequencies(still: MicrowaveWorld) -> None:
    expected = still.s_matrix(PATTERNS[:3], F * (1 + 23.1e-6 * 40))
    still.disturb("temperature", kelvin=50.0)
    still.disturb("temperature", kelvin=-10.0)
    np.testing.assert_array_equal(still.s_matrix(PATTERNS[:3], F), expected)
    np.testing.assert_allclose(
        still.s_matrix_unreduced(PATTERNS[:3], F), expected, rtol=0, atol=1e-12
    )  # fmt: skip


def test_the_drift_and_the_noise_that_were_asked_for(still: MicrowaveWorld) -> None:
    before = seen(still)
    still.disturb("drift", at_shot=4, db_per_1000_shots=50.0, rad_per_1000_shots=-40.0)
    since = np.maximum(np.arange(N) - 4, 0)[:, None, None]
    np.testing.assert_allclose(seen(still), before * 10 ** (0.05 * since / 20) * np.exp(-0.04j * since), rtol=1e-9)
    still.restart(0)
    still.disturb("noise", share=0.04)
    error = seen(still) / before - 1
    assert np.sqrt((np.abs(error) ** 2).mean()) == pytest.approx(0.04, rel=0.1)


def test_a_cavity_or_a_room_without_things_that_could_move_knows_none_of_them() -> None:
    assert "scatterer" not in acoustic_disturbances.known(replace(CAVITY, discs=0))
    assert "membrane" not in acoustic_disturbances.known(replace(CAVITY, membranes=0))
    assert "scatterer" not in microwave_disturbances.known(replace(ROOM, scatterers=0))


# -- inputs and outputs ----------------------------------------------------------------------------------------------


def test_channels() -> None:
    x, y = np.random.default_rng(2).random((40, 3)), 1 + np.random.default_rng(3).random((40, 2))
    made = Channels(3, 2, np.array([2.0, 4.0]), 64)
    assert made.drives(x, 0) is x and made.responses(y, 0, 0) is y
    for number, (name, values) in enumerate(CHANNELS.items()):
        if name != "noise":
            made.disturb(name, at_shot=number, **values)
    assert made.steady(0) == 1 and made.steady(6) == np.inf
    np.testing.assert_array_equal(made.drives(x, 0)[:, 1], 0.5 * x[:, 1])
    np.testing.assert_array_equal(made.drives(x, 1)[:, [2, 0, 1]], x * [1, 0.5, 1])
    np.testing.assert_array_equal(made.responses(y, 0, 2)[:, 1], 0)
    np.testing.assert_array_equal(made.responses(y, 0, 3)[:, 0], 0)
    np.testing.assert_allclose(made.responses(y, 0, 5)[:, 1], y[:, 0] * (1 - 0.5e-3 * np.arange(40)))
    state = made.state()
    made.clear()
    assert made.responses(y, 0, 50) is y
    made.disturb("noise", share=0.1)
    normals = philox(9, ADDED, 1).standard_normal((64, 2))
    np.testing.assert_allclose(made.responses(y, 9, 70), y + 0.1 * normals[6:46] * [2.0, 4.0])
    made.restore(json.loads(json.dumps(state)))
    assert made.state() == state


# -- lists of events, and what is refused ----------------------------------------------------------------------------


def test_events_come_in_the_order_of_shots() -> None:
    events = Events(Event(5, "own", {}))
    for shot, name in ((9, "late"), (5, "second"), (0, "first")):
        events.add(Event(shot, name, {}))
    assert [event.name for event in events.until(9)] == ["first", "own", "second", "late"]
    assert [(span.start, span.stop) for span in events.spans(3, 10)] == [(0, 2), (2, 6), (6, 10)]
    assert [(span.start, span.stop) for span in events.spans(3, 0)] == [(0, 0)]
    assert (events.still(0), events.still(9)) == (5, np.inf)
    state = events.state()
    events.clear()
    assert [event.name for event in events.until(99)] == ["own"]
    events.restore(state)
    assert [event.name for event in events.until(4)] == ["first"]


KNOWN = {
    "shift": Disturbance("", {"metres": Value("", -1, 1, "m"), "times": Value("", 1, 3, form="whole", default=1)}),
    "order": Disturbance("", {"order": Value("", 0, 2, form="order")}),
    "free": Disturbance("", {"order": Value("", 0, form="order")}),
    "list": Disturbance("", {"some": Value("", 0, form="list")}),
}


@pytest.mark.parametrize(
    ("name", "values", "key", "text"),
    [
        ("shfit", {}, "do", "unknown disturbance 'shfit' (did you mean shift?); known: shift, order, free, list"),
        ("shift", {}, "do", "disturbance 'shift' takes metres, times, got nothing"),
        ("shift", {"metres": 0, "feet": 1}, "feet", "disturbance 'shift' takes metres, times, got metres, feet"),
        ("shift", {"metres": "far"}, "metres", "far, allowed -1 m to 1 m"),
        ("shift", {"metres": True}, "metres", "True, allowed -1 m to 1 m"),
        ("shift", {"metres": float("nan")}, "metres", "nan, allowed -1 m to 1 m"),
        ("shift", {"metres": 0, "times": 1.5}, "times", "1.5, allowed a whole number, 1 to 3"),
        ("order", {"order": [0, 1]}, "order", "[0, 1], allowed all of 0 to 2, each once"),
        ("order", {"order": 1}, "order", "1, allowed all of 0 to 2, each once"),
        ("free", {"order": [0, 2]}, "order", "[0, 2], allowed all of 0, 1, ..., each once"),
        ("list", {"some": [3, 3]}, "some", "[3, 3], allowed whole numbers in a list, none twice, 0 or more"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_by_its_key(name: str, values: dict[str, Any], key: str, text: str) -> None:
    with pytest.raises(RefusedDisturbance) as caught:
        checked("world", KNOWN, name, values)
    asked = f"disturbance {name!r}: asked {key} " if ", allowed " in text else ""
    assert (str(caught.value), caught.value.key) == (f"world: {asked}{text}", key)


def test_defaults_are_filled_in() -> None:
    assert checked("world", KNOWN, "shift", {"metres": 1}) == {"metres": 1.0, "times": 1}
    assert checked("world", KNOWN, "free", {"order": (1, 0, 2)}) == {"order": [1, 0, 2]}
    assert checked("world", KNOWN, "list", {"some": [7.0]}) == {"some": [7]}
