"""Frames in memory: a modulator and a camera in their own time, which show what a careless reader gets."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from labtrain.clock import SimulatedClock
from labtrain.drivers.backends.memory_frames import MemoryCamera, MemorySlm
from labtrain.drivers.emulators.optics import BenchTiming, EmulatedOptics
from labtrain.drivers.optics import SlmsuiteCamera, SlmsuiteSlm
from labtrain.errors import InputError, LinkClosed
from labtrain.sim.optical import OpticalParameters, OpticalWorld

P = OpticalParameters(slm_shape=(4, 4), camera_shape=(6, 6), levels=16, hot_pixels=0.0)
WORLD = OpticalWorld(P, 0)
PERIOD_S = 0.011  # 1 ms of exposure, 10 of readout
A, B = (np.random.default_rng(seed).integers(0, 16, (4, 4)).astype(np.uint16) for seed in (1, 2))


def expected(steps: np.ndarray, shot: int = 0, frame: int = 0, **keys: Any) -> np.ndarray:
    return WORLD.frames(steps[None], shot, frame=frame, **keys)[0]


class Pair:
    """Modulator and camera in front of one world, opened."""

    def __init__(self, **timing: Any) -> None:
        self.clock = SimulatedClock()
        self.emulator = EmulatedOptics(
            WORLD, self.clock, BenchTiming(**timing), cells=(4, 4), levels=16, radians=P.phase_range_rad,
            camera_shape=(6, 6), top_count=P.top_count, exposure_s=P.exposure_s,
        )  # fmt: skip
        self.slm = MemorySlm("slm", self.emulator, self.clock)
        self.camera = MemoryCamera("camera", self.emulator, self.clock)
        assert (self.slm.open(), self.camera.open()) == ("labtrain simulated modulator", "labtrain simulated camera")

    def settled(self, steps: np.ndarray, shot: int = 0, number: int = 0) -> None:
        """As whoever knows how shows a pattern."""
        self.emulator.begin(shot, number)
        self.slm.show(steps)
        self.clock.sleep(0.03)
        self.camera.flush()
        self.camera.skip(1)


def test_what_opens_says_what_it_is() -> None:
    pair = Pair()
    assert (pair.slm.shape, pair.slm.levels, pair.slm.radians) == ((4, 4), 16, P.phase_range_rad)
    assert (pair.camera.shape, pair.camera.top_count, pair.camera.exposure_bounds_s) == ((6, 6), 4095, (1e-6, 10.0))
    assert pair.slm.name == "slm (sim)" and pair.camera.where == "rig.camera.model"
    assert pair.slm.emulated and pair.camera.emulated


def test_a_frame_that_was_waited_for_is_the_worlds_own_whenever_it_is_taken() -> None:
    pair = Pair()
    pair.settled(A, shot=3)
    frames = [pair.camera.frame() for _ in range(2)]
    np.testing.assert_array_equal(frames, [expected(A, 3, 0), expected(A, 3, 1)])
    pair.clock.sleep(0.0123)
    pair.settled(B, shot=4, number=7)
    np.testing.assert_array_equal(pair.camera.frame(), expected(B, 4, 7))


def test_a_frame_read_at_once_shows_the_pattern_before_and_one_between_shows_both() -> None:
    pair = Pair()
    pair.settled(A)
    old, new = (expected(steps, exposure_s=1e-3).astype(float) for steps in (A, B))
    far = np.sqrt(((old - new) ** 2).mean())
    pair.slm.show(B)
    apart = []
    for _ in range(5):
        frame = pair.camera.frame().astype(float)
        apart.append([np.sqrt(((frame - other) ** 2).mean()) / far for other in (old, new)])
    # Frames begin every 11 ms; B begins to be seen behind 12 ms and is seen alone behind 24.
    assert apart[0][0] < 0.1 and apart[-1][1] < 0.1, "noise alone"
    mixed = [pair for pair in apart if min(pair) > 0.1]
    assert mixed and all(sum(pair) == pytest.approx(1.0, abs=0.2) for pair in mixed)


def test_a_late_reader_gets_the_oldest_frame_that_was_kept_unless_he_flushes() -> None:
    noise = np.sqrt(np.mean((expected(A).astype(float) - expected(A, frame=9)) ** 2))

    def shown(kept: int, flush: bool) -> tuple[float, float]:
        """How far the frame that is read late is from the patterns, in units of noise."""
        pair = Pair(latency_s=3e-3, rise_s=0.0, kept=kept)
        pair.settled(A)
        pair.slm.show(B)
        pair.clock.sleep(2.5 * PERIOD_S)  # the first frame since then shows A, the second one B
        if flush:
            pair.camera.flush()
        began = pair.clock.monotonic()
        frame = pair.camera.frame().astype(float)
        assert pair.clock.monotonic() - began <= PERIOD_S
        old, new = (float(np.sqrt(np.mean((frame - expected(steps)) ** 2)) / noise) for steps in (A, B))
        return old, new

    assert shown(3, flush=False)[0] < 2 < shown(3, flush=False)[1]
    assert shown(0, flush=False)[1] < 2 < shown(0, flush=False)[0]
    assert shown(3, flush=True)[1] < 2 < shown(3, flush=True)[0]


def test_another_exposure_begins_frames_anew_and_a_cover_takes_the_light() -> None:
    pair = Pair()
    assert pair.camera.expose(5e-3) == pair.camera.exposure_s == 5e-3
    pair.settled(A)
    np.testing.assert_array_equal(pair.camera.frame(), expected(A, exposure_s=5e-3))
    pair.emulator.cover(True)
    np.testing.assert_array_equal(pair.camera.frame(), expected(A, frame=1, exposure_s=5e-3, lit=False))


def test_cells_of_several_pixels() -> None:
    emulator = EmulatedOptics(
        WORLD, SimulatedClock(), BenchTiming(), cells=(4, 4), cell_pixels=3, levels=16, radians=1.0,
        camera_shape=(6, 6), top_count=4095, exposure_s=1e-3,
    )  # fmt: skip
    assert emulator.slm_shape == (12, 12)
    emulator.show(A.repeat(3, axis=0).repeat(3, axis=1))
    for _ in range(4):
        frame = emulator.next_frame()
    assert np.corrcoef(frame.ravel(), expected(A).ravel())[0, 1] > 0.98


@pytest.mark.parametrize(
    ("levels", "told"),
    [
        (np.zeros((4, 5), np.uint16), "a pattern of shape (4, 5), uint16, is not (4, 4) of levels 0 to 15, uint16"),
        (np.zeros((4, 4)), "a pattern of shape (4, 4), float64, is not"),
        (np.full((4, 4), 16, np.uint16), "is not (4, 4) of levels 0 to 15"),
    ],
)
def test_patterns_that_do_not_fit(levels: np.ndarray, told: str) -> None:
    pair = Pair()
    with pytest.raises(InputError, match=re.escape(f"slm (sim): {told}" if told[0] == "a" else told)):
        pair.slm.show(levels)


def test_what_is_closed_says_so() -> None:
    pair = Pair()
    for device in (pair.slm, pair.camera):
        device.close()
        device.close()
        assert not device.is_open
    with pytest.raises(LinkClosed, match=r"^slm \(sim\): is not open; call open\(\) or use it in a with statement$"):
        pair.slm.show(A)
    for act in (pair.camera.frame, pair.camera.flush, lambda: pair.camera.skip(1), lambda: pair.camera.expose(1.0)):
        with pytest.raises(LinkClosed, match=r"camera \(sim\): is not open"):
            act()


# -- drivers on it -----------------------------------------------------------------------------------------------


def test_without_a_simulation_there_is_nothing_at_sim() -> None:
    for driver, who in ((SlmsuiteSlm, "slm"), (SlmsuiteCamera, "camera")):
        with pytest.raises(InputError, match=rf"^{who} \(sim\): nothing is simulated here; set rig.{who}.model$"):
            driver.make(who, driver.Config(), SimulatedClock())


def test_a_modulator_shows_steps_and_makes_itself_safe() -> None:
    pair = Pair()
    slm = SlmsuiteSlm(pair.slm, SlmsuiteSlm.Config(), pair.clock)
    slm.open()
    with pytest.raises(InputError, match=r"is not arranged; call arrange\(\) behind open\(\)"):
        slm.show(A)
    slm.arrange((4, 4), 16, P.phase_range_rad)
    slm.show(A)
    np.testing.assert_array_equal(pair.emulator._patterns[-1].steps, A)
    with pytest.raises(InputError, match=r"is not \(4, 4\) of whole numbers 0 to 15"):
        slm.show(A.astype(int) - 20)
    with pytest.raises(InputError, match=r"shape \(2, 4\)"):
        slm.show(A[:2])
    slm.safe()
    assert not pair.emulator._patterns[-1].steps.any()
    slm.close()
    slm.safe()


def test_an_exposure_that_the_camera_does_not_have_is_refused() -> None:
    pair = Pair()
    camera = SlmsuiteCamera(pair.camera, SlmsuiteCamera.Config(), pair.clock)
    camera.open()
    with pytest.raises(
        InputError,
        match=r"^camera \(sim\): asked an exposure of 60 s, allowed 1e-06 s to 10 s; set rig.camera.exposure_s$",
    ):
        camera.expose(60.0)
    assert camera.expose(2e-3) == 2e-3
    pair.camera.exposure_bounds_s = None
    with pytest.raises(InputError, match=r"asked an exposure of 0 s, it must be above 0"):
        camera.expose(0.0)
