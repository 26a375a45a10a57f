"""The optical rig behind an emulated modulator and camera: the same numbers, and what goes wrong is noticed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labtrain import planning
from labtrain.clock import SimulatedClock
from labtrain.config import loads
from labtrain.drivers.emulators.optics import EmulatedOptics
from labtrain.errors import (
    ConfigError,
    InputError,
    InstrumentError,
    Interrupted,
    LinkClosed,
    LinkTimeout,
    MeasurementError,
)
from labtrain.experiment import Experiment
from labtrain.jobs import open_rig, resume, train
from labtrain.layer import Shots
from labtrain.rigs.optical import COMMISSION_PATTERNS, COMMISSION_SHOTS, OpticalRig
from labtrain.rigs.optical_instruments import OpticalInstruments
from labtrain.rigs.saturation import fitting_exposure, full_pixels
from labtrain.runs import Run
from labtrain.sim.optical import OpticalParameters, OpticalWorld

WORLD = {"slm_shape": (6, 8), "camera_shape": (10, 12), "hot_pixels": 0.01}
DRIVE = np.random.default_rng(0).random((40, 48))
ON = {"slm": {"driver": "slmsuite-slm"}, "camera": {"driver": "slmsuite-camera"}}


def rig(world: Any = None, *, slm: Any = None, camera: Any = None, **settings: Any) -> OpticalRig:
    """On emulated instruments."""
    sections = {"slm": {**ON["slm"], **(slm or {})}, "camera": {**ON["camera"], **(camera or {})}}
    config = OpticalRig.Config(type="optical", world={**WORLD, **(world or {})}, **sections, **settings)
    return OpticalRig(config, SimulatedClock(1000.0))


def alone(world: Any = None, **settings: Any) -> OpticalRig:
    """The simulated bench alone."""
    return OpticalRig(
        OpticalRig.Config(type="optical", world={**WORLD, **(world or {})}, **settings), SimulatedClock(1000.0)
    )


def instruments(opened: OpticalRig) -> OpticalInstruments:
    found = opened._instruments
    assert found is not None
    return found


def perfect_dark(opened: OpticalRig) -> None:
    """In the place of the measured dark frame."""
    counts = opened.world._bench.camera.dark_counts(opened.camera.exposure_s)
    instruments(opened).protocol.dark = counts.reshape(opened.camera.shape)


# -- the same numbers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("world", "more"),
    [
        ({"drift_eps": 0.01}, {}),
        ({"readout": "amplitude", "pool_size": 2, "pool_stride": 2}, {}),
        ({"input_cells": 2, "input_region": (0, 0, 4, 6)}, {"slm": {"cell_pixels": 3}}),
        ({}, {"slm": {"cell_pixels": 2, "top": 5, "left": 3}}),
        ({"modulation": "amplitude", "levels": 16}, {}),
        ({}, {"illumination": {"driver": "python-switch"}}),
        ({}, {"camera": {"exposure_s": 2e-3, "saturated": 1.0}}),
    ],
)
def test_with_a_perfect_dark_frame_they_are_those_of_the_bench_alone_bit_for_bit(world: Any, more: Any) -> None:
    with alone(
        world,
        **{"camera": {**ON["camera"], **more["camera"]}, "slm": ON["slm"], "fidelity": "physics"}
        if "camera" in more
        else {},
    ) as bench:
        (layer,) = bench.layers
        drive = DRIVE[:, : layer.info.n_in]
        bench.disturb("laser", at_shot=20, gain=0.5)
        expected = layer.forward(drive)
        state = layer.state()
    with rig(world, **more) as optical:
        optical.commission()
        perfect_dark(optical)
        optical.disturb("laser", at_shot=20, gain=0.5)
        (layer,) = optical.layers
        np.testing.assert_array_equal(layer.forward(drive), expected)
        assert layer.state() == state and optical.next_shot == 40


def test_with_a_measured_dark_frame_they_differ_by_its_noise() -> None:
    with alone() as bench:
        expected = bench.layers[0].forward(DRIVE)
    with rig(dark={"frames": 16}) as optical:
        optical.commission()
        y = optical.layers[0].forward(DRIVE)
        dark = optical.world._bench.camera.dark_counts(1e-3).reshape(10, 12)
        apart = instruments(optical).protocol.dark - dark
        assert 0.05 < apart.std() < 2.5 / 4 + 0.5, "read noise of 2.5 electrons and 0.4 counts each, of 16 frames"
        # The frame is the same for all shots.
        np.testing.assert_allclose(y - expected, np.tile(-apart.ravel() / (4095 - 64), (40, 1)), atol=1e-6)


def test_several_layers_share_instruments_and_shots() -> None:
    regions = {"world": {"input_region": (0, 0, 6, 4)}, "more_regions": ((0, 4, 6, 4),)}
    drive = DRIVE[:, :24]
    with alone(**regions) as bench:
        expected = [layer.forward(drive[:3]) for layer in bench.layers]
    with rig(**regions) as optical:
        optical.commission()
        perfect_dark(optical)
        for layer, y in zip(optical.layers, expected, strict=True):
            np.testing.assert_array_equal(layer.forward(drive[:3]), y)
        assert [layer.name for layer in optical.layers] == ["optical", "optical 2"] and optical.next_shot == 6


def test_frames_are_averaged() -> None:
    with alone() as bench:
        one = [bench.world.respond(DRIVE[:1], 0, frame=number)[0] for number in range(3)]
    with rig(camera={"frames": 3}) as optical:
        optical.commission()
        perfect_dark(optical)
        (layer,) = optical.layers
        np.testing.assert_allclose(layer.forward(DRIVE[:1])[0], np.mean(one, axis=0), atol=1e-6)
        assert layer.info.integration_s == pytest.approx(3e-3)


def test_what_a_layer_says_of_itself() -> None:
    with rig(camera={"frames": 2, "stale_frames": 3}, settle_s=0.05) as optical:
        info = optical.layers[0].info
        assert (info.n_in, info.n_out, info.y_unit, info.simulated) == (48, 120, "full well", True)
        assert info.seconds_per_shot == pytest.approx(0.05 + 5 * 0.011) and info.settle_s == 0.05
        assert info.samples_per_shot == 5 * 120 and info.max_batch == int(2.0 / info.seconds_per_shot)
    prints = set()
    for changed in ({}, {"settle_s": 0.04}, {"camera": {"frames": 2}}, {"slm": {"cell_pixels": 2}}):
        with rig(**changed) as optical:
            prints.add(optical.layers[0].info.fingerprint)
    with alone() as bench:
        prints.add(bench.layers[0].info.fingerprint)
    assert len(prints) == 5


def test_chunks_end_where_the_bench_changes_and_a_state_brings_answers_back() -> None:
    with rig({"drift_eps": 0.01}) as optical:
        optical.commission()
        (layer,) = optical.layers
        optical.disturb("laser", at_shot=5, gain=0.5)
        chunks = list(layer.measure(DRIVE[:12]))
        assert [len(chunk) for chunk in chunks] == [5, 7]
        assert optical.environment() == {"laser_power": 0.5}
        state = json.loads(json.dumps(layer.state()))
        optical.restart(0)
        assert optical.next_shot == 0 and optical.environment() == {"laser_power": 1.0}
        first = layer.forward(DRIVE[:12])
        layer.restore({**state, "shot": 0})
        np.testing.assert_array_equal(layer.forward(DRIVE[:12]), np.concatenate([chunk.y for chunk in chunks]))
        assert not np.array_equal(first, chunks[0].y)


def test_derivatives_are_those_of_simulated_physics_alone() -> None:
    with rig() as optical, pytest.raises(InputError, match=r"set rig\.fidelity: physics, or use a method that"):
        optical.layers[0].vjp(DRIVE[:1], np.zeros((1, 120)))


def test_patterns_and_frames_are_those_of_the_bench_alone() -> None:
    patterns = np.random.default_rng(0).integers(0, 256, (3, 6, 8))
    with alone({"drift_eps": 0.1}) as bench:
        simulated = bench.bench
        expected, dark = simulated.counts(patterns, frames=2), simulated.dark(64)
        assert simulated.clock.monotonic() > 0 and bench.clock.monotonic() == 0, "nobody waits for a simulation"
    with rig({"drift_eps": 0.1}) as optical:
        frames = optical.bench
        np.testing.assert_array_equal(frames.counts(patterns, frames=2), expected)
        assert np.abs(frames.dark(64) - dark).max() < 3
        assert (frames.slm_shape, frames.camera_shape) == (simulated.slm_shape, simulated.camera_shape)
        assert (frames.levels, frames.top_count, frames.exposure_s) == (256, 4095, 1e-3)
        assert frames.counts(patterns[:0]).shape == (0, 10, 12)
        assert frames.expose(2e-3) == 2e-3 == frames.exposure_s
        assert frames.counts(patterns).mean() - 64 == pytest.approx(2 * (expected.mean() - 64), rel=0.1)
        before = frames.clock.monotonic()
        frames.counts(patterns, frames=5)
        assert frames.clock.monotonic() - before >= 3 * (0.03 + 5 * 0.012)


# -- frames that are old ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settle_s", "stale", "kept", "good"),
    [(0.03, 1, 3, True), (0.03, 0, 3, False), (0.0, 1, 3, False), (0.0, 4, 3, True), (0.024, 1, 0, True)],
)
def test_commissioning_finds_out_whether_frames_are_new(settle_s: float, stale: int, kept: int, good: bool) -> None:
    # The frame that is being exposed when the camera is flushed began up to 11 ms before, the pattern takes 24 ms.
    timing = {"latency_s": 0.012, "rise_s": 0.016 if stale == 0 else 0.012, "kept": kept}
    settings = {"settle_s": settle_s, "emulator": timing}
    with rig(camera={"stale_frames": stale}, **settings) as optical:
        if good:
            optical.commission()
            return
        with pytest.raises(InstrumentError) as caught:
            optical.commission()
    found = re.fullmatch(
        r"camera \(sim\): the first frame of a new pattern still shows the one before, (\d) more had to pass; set "
        r"rig.camera.stale_frames to (\d+) or more, or raise rig.settle_s",
        str(caught.value),
    )
    assert found is not None, str(caught.value)
    with rig(camera={"stale_frames": int(found[2])}, **settings) as optical:
        optical.commission()  # what it advises helps


def test_a_protocol_that_does_not_wait_would_give_other_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    with rig() as optical:
        optical.commission()
        (layer,) = optical.layers
        good = layer.forward(DRIVE[:6])
        optical.restart(0)
        monkeypatch.setattr(optical.camera.frames, "skip", lambda frames: None)
        monkeypatch.setattr(instruments(optical).protocol, "_settle_s", 0.0)
        wrong = layer.forward(DRIVE[:6])
        # Each shows one of the patterns before instead.
        like = [int(np.abs(good - y).mean(axis=1).argmin()) for y in wrong]
        assert like[2:] == [0, 1, 2, 3], like


def test_a_camera_that_hands_out_the_same_frame_again_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    with rig(recovery={"per_shot": 2}) as optical:
        optical.commission()
        (layer,) = optical.layers
        layer.forward(DRIVE[:2])
        frozen = optical.camera.frames.frame()
        monkeypatch.setattr(optical.camera.frames, "_frame", lambda: frozen)
        chunks = []
        with pytest.raises(MeasurementError) as caught:
            chunks.extend(layer.measure(DRIVE[2:6]))
        assert [len(chunk) for chunk in chunks] == [1], "the first one cannot be told from a good one"
        assert str(caught.value) == (
            "shot 1 of 4: no good reading after 2 repetitions (rig.recovery.per_shot), at last: camera (sim): the "
            "frame of this pattern is that of the pattern before, bit for bit: it is an old one; raise "
            "rig.camera.stale_frames, or check that the camera is running"
        )
        layer.forward(DRIVE[2:3])  # the same pattern again may look the same


# -- light -----------------------------------------------------------------------------------------------------------


def test_a_shutter_that_is_closed_before() -> None:
    with rig({"electrons_per_s": 1e-6}) as optical, pytest.raises(InstrumentError) as caught:
        optical.commission()
    assert re.fullmatch(
        r"camera \(sim\): no light comes: -?[\d.e-]+ counts above the dark frame at an exposure of 0.001 s, whatever "
        r"the pattern; is the laser off, a shutter closed, the camera still covered\?",
        str(caught.value),
    )
    with pytest.raises(InstrumentError, match="not open"):
        _ = optical.layers


def test_a_shutter_that_closes_in_between() -> None:
    with rig(recovery={"per_shot": 1}) as optical:
        kept = optical.commission()
        optical.disturb("laser", at_shot=5, gain=0.0)
        chunks: list[Shots] = []
        with pytest.raises(MeasurementError) as caught:
            chunks.extend(optical.layers[0].measure(DRIVE[:8]))
        assert sum(map(len, chunks)) == 5
        assert str(caught.value).startswith("shot 5 of 8: no good reading after 1 repetitions (rig.recovery.per_shot)")
        assert (
            f"counts of light came, {kept['light_counts']:.3g} did when the rig was commissioned (allowed 0.1 of it, "
            "rig.least_light); is the laser off, a shutter closed?"
        ) in str(caught.value)
    with rig(least_light=0.0) as optical:
        optical.commission()
        optical.disturb("laser", gain=0.0)
        assert np.abs(optical.layers[0].forward(DRIVE[:2])).max() < 0.01


def test_in_the_dark_frames_that_are_alike_are_no_old_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    with rig(recovery={"per_shot": 0}) as optical:
        optical.commission()
        optical.layers[0].forward(DRIVE[:1])
        monkeypatch.setattr(optical.camera.frames, "_frame", lambda: np.full((10, 12), 64, dtype=np.uint16))
        instruments(optical).protocol._last = (np.zeros(1), optical.camera.frames.frame())
        with pytest.raises(MeasurementError, match=r"is the laser off, a shutter closed\?$"):
            optical.layers[0].forward(DRIVE[1:2])


def test_a_pattern_of_small_amplitudes_is_dark_by_itself() -> None:
    drive = np.vstack([np.zeros(48), np.eye(48)[:3], DRIVE[:1]])
    with alone({"modulation": "amplitude"}) as bench:
        expected = bench.layers[0].forward(drive)
    with rig({"modulation": "amplitude"}) as optical:
        kept = optical.commission()
        perfect_dark(optical)
        np.testing.assert_array_equal(optical.layers[0].forward(drive), expected)
    with rig({"modulation": "amplitude"}) as optical:
        optical.adopt(kept)
        optical.layers[0].forward(drive)
        optical.disturb("laser", gain=0.01)
        with pytest.raises(MeasurementError, match=r"^shot 4 of 5: .* is the laser off, a shutter closed\?$"):
            optical.layers[0].forward(np.vstack([drive[[0, 0, 0, 0]], drive[4:]]))


def test_of_few_pixels_frames_may_be_alike_or_dark_by_chance() -> None:
    drive = np.random.default_rng(1).random((400, 48))
    few = {"camera_shape": (1, 2), "bits": 8, "offset_counts": 5, "hot_pixels": 0.0}
    with rig(few, least_light=0.0) as optical:
        optical.commission()
        assert all((part.attempts == 1).all() for part in optical.layers[0].measure(drive))
    with rig(few) as optical:
        optical.commission()
        with pytest.raises(
            MeasurementError, match=r"rig.least_light; of 2 pixels it may be chance, then lower it\); is"
        ):
            optical.layers[0].forward(drive)


@pytest.mark.parametrize("stale", [4, 6])
def test_a_camera_that_is_behind_by_whole_patterns_is_found_out(stale: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EmulatedOptics, "flush", lambda self: None)
    behind = {"emulator": {"kept": 13}, "settle_s": 0.1}
    with (
        rig(camera={"stale_frames": stale}, **behind) as optical,
        pytest.raises(
            InstrumentError, match=rf"of 15 patterns look different .* raise rig.*_frames \(it is {stale}\) or"
        ),
    ):
        optical.commission()
    with rig(camera={"stale_frames": 13}, **behind) as optical:
        optical.commission()


def test_a_laser_that_wanders_is_no_old_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    with rig({"hot_pixels": 0.0}) as optical:
        count, frame = 0, optical.camera.frames._frame

        def wandering() -> Any:
            nonlocal count
            count += 1
            gain = 0.6 if count > 16 + 5 * 7 else 1.0  # behind the dark frame and the first look
            return np.rint(64 + gain * (frame().astype(float) - 64)).clip(0).astype(np.uint16)

        monkeypatch.setattr(optical.camera.frames, "_frame", wandering)
        optical.commission()
        assert count > 16 + 5 * 7


def test_light_that_does_not_change_with_the_pattern() -> None:
    with rig() as optical:
        instruments(optical).simulated.disturb(0, "pixels", {"pixels": tuple(range(48)), "level": 3})
        monkey = instruments(optical)
        monkey.restart = lambda seed: None  # which would undo it
        with pytest.raises(
            InstrumentError, match=r"its frames do not change with the pattern of the slm, though light"
        ):
            optical.commission()
        assert optical.commissioning_shots == COMMISSION_SHOTS


def test_too_much_light_and_the_exposure_that_is_told_will_do() -> None:
    with rig({"electrons_per_s": 1e7}) as optical, pytest.raises(InstrumentError) as caught:
        optical.commission()
    found = re.fullmatch(
        r"camera \(sim\): (\d+) of 120 pixels are full \(([\d.]+) %, allowed 5 %\) at an exposure of 0.001 s, about "
        r"([\d.e-]+) s would do; set rig.camera.exposure_s",
        str(caught.value),
    )
    assert found is not None, str(caught.value)
    with rig({"electrons_per_s": 1e7}, camera={"exposure_s": float(found[3])}) as optical:
        optical.commission()
        y = optical.layers[0].forward(DRIVE)
        assert 0.3 < y.max() <= 1.0, "and is not timid"
    with rig({"electrons_per_s": 1e7}, camera={"saturated": 1.0}) as optical:
        optical.commission()


def test_some_full_pixels_are_told_when_it_is_commissioned(caplog: pytest.LogCaptureFixture) -> None:
    with rig({"electrons_per_s": 2.5e6}) as optical:
        optical.commission()
    (told,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert re.fullmatch(
        r"camera \(sim\): \d+ of 120 pixels are full \([\d.]+ %\) at an exposure of 0.001 s, about [\d.]+ s would do; "
        r"set rig.camera.exposure_s",
        told,
    )


def test_a_lamp_that_becomes_brighter() -> None:
    with rig(recovery={"per_shot": 0}) as optical:
        optical.commission()
        optical.disturb("laser", at_shot=2, gain=10.0)
        with pytest.raises(
            MeasurementError, match=r"^shot 2 of 4: no good reading after 0 rep.* pixels are full .* would"
        ):
            optical.layers[0].forward(DRIVE[:4])


def test_exposures_for_speckle_of_any_brightness() -> None:
    draw = np.random.default_rng(0)
    for mean in (5.0, 300.0, 2000.0, 40_000.0):
        frames = np.minimum(np.rint(draw.exponential(mean, (1, 200, 200))), 4095)
        exposure_s = fitting_exposure(frames, 0.0, 4095, 1.0)
        for _ in range(8):  # where nearly all are full it takes some steps
            again = np.minimum(np.rint(draw.exponential(mean * exposure_s, (1, 200, 200))), 4095)
            exposure_s *= fitting_exposure(again, 0.0, 4095, 1.0)
        assert exposure_s * mean == pytest.approx(0.8 * 4095 / np.log(1000), rel=0.1)
    assert fitting_exposure(np.zeros((1, 4, 4)), 0.0, 4095, 0.5) == 0.5
    assert full_pixels(np.array([[[4095, 0]], [[0, 0]]]), 4095) == 1


def test_full_wells_that_read_less_than_the_top_count_are_counted() -> None:
    parameters = OpticalParameters(slm_shape=(6, 8), camera_shape=(40, 40), hot_pixels=0.0, electrons_per_s=1.5e7)
    world, pattern = OpticalWorld(parameters, 0), np.zeros((1, 6, 8), dtype=np.uint16)
    noisy, quiet = (world.frames(pattern, 0, noisy=noise) for noise in (True, False))
    full = int((quiet == parameters.top_count).sum())
    assert full > 500 and full_pixels(noisy, parameters.top_count) == pytest.approx(full, rel=0.05)
    exposures = [fitting_exposure(frames, 64.0, parameters.top_count, 1e-3) for frames in (noisy, quiet)]
    assert exposures[0] == pytest.approx(exposures[1], rel=0.1)


# -- instruments that fail -------------------------------------------------------------------------------------------


def test_a_camera_that_fails_is_opened_again_and_the_shot_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    with rig() as optical:
        optical.commission()
        expected = optical.layers[0].forward(DRIVE[:4])
        optical.restart(0)
        frame, opened = optical.camera.frames._frame, []
        calls = iter(range(1000))

        def fails() -> Any:
            if next(calls) == 2:
                raise LinkTimeout("camera (sim): no frame came")
            return frame()

        monkeypatch.setattr(optical.camera.frames, "_frame", fails)
        for device in optical.instruments.values():
            original = device.open
            monkeypatch.setattr(
                device, "open", lambda device=device, original=original: (opened.append(device.who), original())
            )
        shots = list(optical.layers[0].measure(DRIVE[:4]))
        assert opened == ["slm", "camera"]
        assert np.concatenate([chunk.attempts for chunk in shots]).tolist() == [1, 1, 2, 1]
        y = np.concatenate([chunk.y for chunk in shots])
        np.testing.assert_array_equal(y[[0, 1, 3]], expected[[0, 1, 3]])
        assert not np.array_equal(y[2], expected[2]) and np.abs(y[2] - expected[2]).max() < 0.1, "noise of its own"


def test_another_camera_after_a_failure_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with rig(recovery={"per_shot": 1}) as optical:
        optical.commission()

        def fails() -> Any:
            monkeypatch.setattr(optical.camera.frames, "_open", lambda: "somebody else")
            raise LinkClosed("camera (sim): unplugged")

        monkeypatch.setattr(optical.camera.frames, "_frame", fails)
        with pytest.raises(
            MeasurementError, match=r"was 'labtrain simulated camera' and is 'somebody else' now; connect"
        ):
            optical.layers[0].forward(DRIVE[:1])


def test_a_camera_that_comes_back_with_another_exposure_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with rig(recovery={"per_shot": 1}) as optical:
        optical.commission()

        def fails() -> Any:
            monkeypatch.setattr(optical.camera.frames, "_expose", lambda exposure_s: 1.5 * exposure_s)
            raise LinkClosed("camera (sim): unplugged")

        monkeypatch.setattr(optical.camera.frames, "_frame", fails)
        with pytest.raises(
            MeasurementError, match=r"exposed 0\.001 s until it failed and 0\.0015 s now; check its other"
        ):
            optical.layers[0].forward(DRIVE[:1])


def test_what_is_given_for_real_devices_alone_is_told_in_a_dry_run(caplog: pytest.LogCaptureFixture) -> None:
    with rig(slm={"wavelength_nm": 633}, camera={"region": (3, 4, 10, 12)}):
        told = [record.getMessage() for record in caplog.records]
    assert told == ["optical rig: nobody looks at rig.slm.wavelength_nm, rig.camera.region here, at model sim"]
    caplog.clear()
    with rig():
        assert not caplog.records


def test_files_that_are_not_there_are_told_before_anything_opens(tmp_path: Path) -> None:
    text = "rig:\n  type: optical\n  slm: {driver: slmsuite-slm, model: holoeye, lut_file: no.csv}\n"
    text += "  camera: {driver: slmsuite-camera, model: basler}\n  dark: {how: offset}\n"
    text += "dataset: {type: xor-tones, rows: 40}\ntraining: {method: ridge}\n"
    with pytest.raises(
        InputError, match=r"^rig\.slm\.lut_file: .*no\.csv does not exist; correct the path \(lab\.yaml:3\)$"
    ):
        planning.check(loads(text, Experiment, tmp_path / "lab.yaml"))
    dry = ["rig.slm.model=sim", "rig.camera.model=sim"]  # where the table is not read
    planning.check(loads(text, Experiment, tmp_path / "lab.yaml", dry))


def test_who_wants_to_stop_gets_the_shots_so_far_and_the_rest_is_the_same() -> None:
    with rig() as optical:
        optical.commission()
        (layer,) = optical.layers
        expected = layer.forward(DRIVE[:6])
        optical.restart(0)
        asked, chunks = [0], []

        def check() -> None:
            asked[0] += 1
            if asked[0] > 4:
                raise Interrupted("stopped by Ctrl-C")

        optical.check = check
        with pytest.raises(Interrupted):
            chunks.extend(layer.measure(DRIVE[:6]))
        optical.check = lambda: None
        rest = layer.forward(DRIVE[4:6])
        np.testing.assert_array_equal(np.concatenate([chunks[0].y, rest]), expected)


@pytest.mark.parametrize("error", [RuntimeError("a bug"), KeyboardInterrupt(), InstrumentError("it fell over")])
def test_every_way_out_leaves_a_blank_pattern(error: BaseException) -> None:
    shown: list[np.ndarray] = []
    optical = rig()
    with pytest.raises(type(error)), optical:
        optical.commission()
        optical.layers[0].forward(DRIVE[:2])
        show = optical.slm.frames._show
        optical.slm.frames._show = lambda levels: (shown.append(levels.copy()), show(levels))  # type: ignore[method-assign]
        slm = optical.slm
        raise error
    assert len(shown) == 1 and not shown[0].any() and not slm.is_open


def test_shots_before_an_instrument_that_comes_back_as_another_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    with rig() as optical:
        optical.commission()
        count, show = 0, optical.slm.frames._show

        def fails(levels: Any) -> None:
            nonlocal count
            count += 1
            if count == 3:
                monkeypatch.setattr(optical.camera, "expose", refuses)
                raise LinkClosed("slm (sim): gone")
            show(levels)

        def refuses(exposure_s: float) -> float:
            raise InputError("camera (sim): has no such exposure any more")

        monkeypatch.setattr(optical.slm.frames, "_show", fails)
        arrived = 0
        with pytest.raises(InputError, match="no such exposure any more"):
            for part in optical.layers[0].measure(DRIVE[:5]):
                arrived += len(part.y)
        assert arrived == optical.next_shot == 2


# -- commissioning ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("turns", "levels"), [(0.5, 256), (0.75, 256), (1.0, 256), (1.9, 256), (1.0, 3), (1.4, 2)])
def test_a_range_whose_ends_are_one_phase_is_commissioned_with_what_lies_between(turns: float, levels: int) -> None:
    world = {"phase_range_rad": 2.0 * np.pi * turns, "levels": levels}
    with rig(world) as optical:
        kept = optical.commission()
        expected = optical.layers[0].forward(DRIVE[:3])
    with rig(world) as optical:
        optical.adopt(kept)
        np.testing.assert_array_equal(optical.layers[0].forward(DRIVE[:3]), expected)


def test_before_commissioning_nothing_is_measured() -> None:
    with rig() as optical:
        assert optical.commissioning_shots == COMMISSION_SHOTS
        with pytest.raises(
            InstrumentError, match=r"does not know its dark frame yet; call commission\(\), or adopt\(\)"
        ):
            optical.layers[0].forward(DRIVE[:1])


def test_what_was_commissioned_is_kept_and_adopted() -> None:
    arrived: list[tuple[str, Shots]] = []
    with rig() as optical:
        kept = json.loads(json.dumps(optical.commission(lambda name, shots, state: arrived.append((name, shots)))))
        assert optical.commissioning_shots == 0 and optical.next_shot == 0
        expected = optical.layers[0].forward(DRIVE[:3])
    ((name, shots),) = arrived
    assert name == "optical commissioning" and shots.y.shape == (COMMISSION_SHOTS, 120)
    for pattern in range(COMMISSION_PATTERNS):  # each comes again, and looks as it did
        assert np.corrcoef(shots.y[pattern::COMMISSION_PATTERNS]).min() > 0.99
    assert set(np.unique(shots.x)) == {0.0, 1.0}
    with rig() as optical:
        optical.adopt(kept)
        assert optical.commissioning_shots == 0
        np.testing.assert_array_equal(optical.layers[0].forward(DRIVE[:3]), expected)
    with (
        rig({"camera_shape": (10, 11)}) as optical,
        pytest.raises(
            InputError,
            match=r"rig.camera.region: commissioned with another number of pixels than \(10, 11\); restore it",
        ),
    ):
        optical.adopt(kept)
    with (
        rig(camera={"exposure_s": 2e-3}) as optical,
        pytest.raises(
            InputError,
            match=r"rig.camera.exposure_s: commissioned with 0.001 s, now it is 0.002 s; restore it, or start",
        ),
    ):
        optical.adopt(kept)
    with alone() as bench:
        assert bench.commission() == {} and bench.commissioning_shots == 0
        bench.adopt({})


def test_a_dark_frame_from_a_file_or_of_one_number(tmp_path: Path) -> None:
    with rig() as optical:
        bench = optical.bench
        dark = bench.dark(4)
    file = tmp_path / "dark.npz"
    np.savez(file, dark=dark, exposure_s=1e-3)
    with rig(dark={"how": "file", "file": file}) as optical:
        optical.commission()
        np.testing.assert_allclose(instruments(optical).protocol.dark, dark, rtol=1e-6)
    with rig(dark={"how": "offset"}) as optical:
        optical.commission()
        assert set(np.unique(instruments(optical).protocol.dark)) == {64.0}


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        (
            {"dark": np.zeros((10, 12))},
            "needs arrays dark (rows, columns) and exposure_s, as np.savez writes them; corr",
        ),
        ({"dark": np.zeros((12, 10)), "exposure_s": 1e-3}, "its dark frame has shape (12, 10), camera (sim) reads (10"),
        ({"dark": np.full((10, 12), np.nan), "exposure_s": 1e-3}, "its dark frame has shape"),
        ({"dark": np.zeros((10, 12)), "exposure_s": 1.0}, "its dark frame was exposed 1 s, camera (sim) has 0.001 s;"),
    ],
)
def test_files_that_are_no_dark_frame(tmp_path: Path, arrays: dict[str, Any], told: str) -> None:
    file = tmp_path / "dark.npz"
    np.savez(file, **arrays)
    with rig(dark={"how": "file", "file": file}) as optical, pytest.raises(InputError, match=re.escape(told)):
        optical.commission()


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("dark")
    for name, told in (("none.npz", "cannot be read"), ("text.npz", "needs arrays dark")):
        with rig(dark={"how": "file", "file": tmp_path / name}) as optical, pytest.raises(InputError, match=told):
            optical.commission()


def test_an_illumination_is_on_for_patterns_and_off_for_dark_frames_and_when_safe() -> None:
    switched: list[tuple[str, float]] = []
    optical = rig(illumination={"driver": "python-switch", "wait_s": 0.2})
    with optical:
        emulator = optical._emulator
        light, shown = emulator.light, optical.slm.frames._show
        optical.instruments["illumination"]._function = lambda on: (switched.append(("light", on)), light(on))  # type: ignore[attr-defined]
        optical.slm.frames._show = lambda levels: (switched.append(("pattern", levels.any())), shown(levels))  # type: ignore[method-assign]
        assert not optical.instruments["illumination"].on  # type: ignore[attr-defined]
        kept = optical.commission()
        assert kept["dark_how"] == "switch" and kept["light_counts"] > 100
        assert instruments(optical).protocol.dark.mean() == pytest.approx(64, abs=12), "hot pixels are in it"
        assert switched[:4] == [("pattern", False), ("pattern", True), ("light", True), ("pattern", True)]
        optical.bench.dark(2)
        assert switched[-2:] == [("pattern", False), ("light", False)]
        optical.layers[0].forward(DRIVE[:2])
        assert switched[-3:] == [("pattern", True), ("light", True), ("pattern", True)]
        switched.clear()
    assert switched == [("light", False), ("pattern", False)], "the light first"


# -- settings --------------------------------------------------------------------------------------------------------


def test_instruments_are_the_default_where_there_are_sections() -> None:
    with rig() as optical:
        told = optical.provenance()
        assert told["fidelity"] == "instruments" and told["world"]["type"] == "optical"
        assert {name: found["kind"] for name, found in told["instruments"].items()} == {
            "slm": "simulated", "camera": "simulated"
        }  # fmt: skip
        json.dumps(told)
    with rig(fidelity="physics") as optical:
        assert optical.provenance()["instruments"] == {"bench": "simulated"}
        for act in (lambda: optical.slm, lambda: optical.camera):
            with pytest.raises(InstrumentError, match=r"it has no instruments; add sections rig.slm and rig.camera"):
                act()
        assert optical.layers[0].forward(DRIVE[:1]).shape == (1, 120)


SECTION = "rig:\n  type: optical\n"
REST = "dataset: {type: parity}\ntraining: {method: ridge}\n"
BOTH = "  slm: {driver: slmsuite-slm}\n  camera: {driver: slmsuite-camera}\n"


@pytest.mark.parametrize(
    ("section", "told"),
    [
        (
            "  slm: {driver: slmsuite-slm}\n",
            "lab.yaml:1: rig: camera: is missing, there is a section slm; give both, or none",
        ),
        ("  camera: {driver: slmsuite-camera}\n", "slm: is missing, there is a section camera"),
        ("  fidelity: instruments\n", "fidelity: instruments needs sections slm and camera with their drivers"),
        (
            "  slm: {driver: slmsuite-slm}\n  camera: {driver: slmsuite-camera, model: basler}\n",
            "slm.model is sim and camera.model is basler, so neither would see the other; correct one of them",
        ),
        (
            "  slm: {driver: slmsuite-camera}\n  camera: {driver: slmsuite-camera}\n",
            "lab.yaml:3: rig.slm.driver: slmsuite-camera is no driver of a modulator; take one of slmsuite-slm",
        ),
        (
            "  slm: {driver: slmsuite-slm}\n  camera: {driver: slmsuite-camera, region: [0, 0, 5, 5]}\n",
            "camera.region [0, 0, 5, 5] (top, left, rows, columns) is not one of world.camera_shape, 26 x 26 pixels",
        ),
        (
            "  slm: {driver: slmsuite-slm, model: hol}\n  camera: {driver: slmsuite-camera}\n",
            "lab.yaml:3: rig.slm: model 'hol' is not known",
        ),
        (BOTH + "  dark: {how: file}\n", "how: file without a file; give one"),
        (BOTH + "  dark: {file: x.npz}\n", "how: not given, with a file; set how: file, or leave it out"),
        (BOTH + "  dark: {how: switch}\n", "dark.how: switch needs a section illumination with its driver"),
        ("  illumination: {driver: python-switch}\n", "illumination: needs sections slm and camera; give them, or"),
        (
            BOTH + "  illumination: {driver: python-switch, call: \"a:b\"}\n",
            "illumination.call is a:b and slm.model is sim; simulate both, or none",
        ),
        (BOTH + "  emulator: {kept: -1}\n", "rig.emulator.kept: -1"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit(section: str, told: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)):
        loads(SECTION + section + REST, Experiment, "lab.yaml")


def test_a_trace_has_nothing_to_trace(tmp_path: Path) -> None:
    what = loads(SECTION + BOTH + REST, Experiment, "lab.yaml").value
    with pytest.raises(InputError, match="this rig exchanges patterns and frames, not bytes; leave the option out"):
        open_rig(what, SimulatedClock(), tmp_path / "trace.txt").__enter__()


def test_the_example_of_the_docs_opens() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs/optical.md").read_text(encoding="utf-8")
    section = re.findall(r"```yaml\n(rig:.*?)```", text.partition("## On instruments")[2], re.DOTALL)[0]
    with open_rig(loads(section + REST, Experiment, "lab.yaml").value, SimulatedClock()) as optical:
        optical.commission()


# -- a run -----------------------------------------------------------------------------------------------------------

LAB = """
rig:
  type: optical
  slm: {driver: slmsuite-slm}
  camera: {driver: slmsuite-camera}
  world: {slm_shape: [5, 5], camera_shape: [8, 8], levels: 64, drift_eps: 1.0e-3}
dataset: {type: xor-tones, rows: 60}
encoding: {label: slots}
network: {layers: 1, width: 6, skip: false, drive: {map: affine}}
training: {method: phyll, schedule: joint, epochs: 3, theta: 4}
ablations: []
trials: {count: 1}
"""


def test_a_run_is_trained_and_resumed_with_the_frame_it_began_with(tmp_path: Path) -> None:
    loaded = loads(LAB, Experiment, tmp_path / "lab.yaml")
    done = train(loaded, tmp_path / "runs", clock=SimulatedClock(1e9))
    assert done["shots_commission"] == COMMISSION_SHOTS
    more = resume(done["run"], ["training.epochs=4"], clock=SimulatedClock(2e9))
    assert more["cost"]["shots"] > done["cost"]["shots"]
    with Run.open(Path(done["run"]), write=False, clock=SimulatedClock()) as run:
        assert run.provenance["rig"]["instruments"]["camera"]["kind"] == "simulated"
    whole = train(
        loads(LAB.replace("epochs: 3", "epochs: 4"), Experiment, tmp_path / "lab.yaml"),
        tmp_path / "again",
        clock=SimulatedClock(1e9),
    )
    assert whole["confusion"] == more["confusion"]
