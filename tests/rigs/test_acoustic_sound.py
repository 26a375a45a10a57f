"""The acoustic rig on instruments, in memory: right answers, whatever strikes; or one clear error."""

from __future__ import annotations

import json
import logging
import re
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labtrain import experiment, jobs
from labtrain.clock import SimulatedClock
from labtrain.drivers.emulators.sound import SoundFault
from labtrain.errors import (
    ConfigError,
    InputError,
    InstrumentError,
    Interrupted,
    LinkTimeout,
    MeasurementError,
)
from labtrain.layer import Averaged
from labtrain.rigs import acoustic_sync
from labtrain.rigs.acoustic import COMMISSION_SHOTS, AcousticRig
from labtrain.rigs.acoustic_shots import ShotProtocol
from labtrain.rigs.acoustic_sync import LoopbackSync, ReferenceSync
from labtrain.runs import Run
from labtrain.sim.acoustic import HOLD
from tests.rigs.rooms import DRIVE, RATE_HZ, SmallRig, settings

CLOCKS = {"two_clocks": True, "input_device": "another"}
ALONE: dict[str, Any] = {"loopback": None}


@pytest.fixture(autouse=True, scope="module")
def _shorter() -> Iterator[None]:
    """A first mark is not waited for as long as a bad sound card may take."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(acoustic_sync, "LATEST", 2000)
        yield


@pytest.fixture(scope="module")
def quiet() -> tuple[Any, dict[str, Any]]:
    """Answers of a rig in which nothing happens, and what commissioning it gave."""
    with SmallRig() as rig:
        kept = rig.commission()
        rig.restart(3)
        y, attempts = rig.answers()
        assert attempts.tolist() == 20 * [1]
        return y, kept


@pytest.fixture(scope="module")
def opened() -> Iterator[SmallRig]:
    with SmallRig() as rig:
        yield rig


def off(y: Any, expected: Any) -> float:
    """Largest difference, of the RMS of all responses."""
    return float(np.abs(y - expected).max() / np.sqrt((expected**2).mean()))


# --- answers ----------------------------------------------------------------------------------------------------------


def test_answers_agree_with_the_cavity_itself(quiet: Any) -> None:
    with SmallRig() as rig:
        assert off(quiet[0], rig.world.respond_without_noise(DRIVE)) < 0.005


@pytest.mark.parametrize("audio", [{}, ALONE], ids=["loopback", "alone"])
@pytest.mark.parametrize("guards", [0, 4])
def test_with_guards_and_without_a_loopback_too(audio: dict[str, Any], guards: int) -> None:
    with SmallRig(audio, shot={"guard_periods": guards}) as rig:
        y, attempts = rig.ready().answers(DRIVE[:8])
        assert attempts.sum() == 8 and off(y, rig.world.respond_without_noise(DRIVE[:8])) < 0.005


def test_a_cubic_membrane_gives_the_products_that_were_asked_for() -> None:
    products = (10, 16, 36)
    with SmallRig(product_bins=products, readout="complex", average_periods=3) as rig:
        y, _ = rig.ready().answers(DRIVE[:4])
        info = rig.layers[0].info
        sigma = next(iter(rig.layers[0].measure(DRIVE[:1]))).sigma
    assert info.n_out == 2 * 6 * 2 == y.shape[1]
    cube = y.reshape(4, 2, 2, 6)  # (shots, microphones, real and imaginary, bins)
    modulus = np.hypot(cube[:, :, 0], cube[:, :, 1])
    with SmallRig(average_periods=3) as rig:
        plain, _ = rig.ready().answers(DRIVE[:4])
    np.testing.assert_allclose(modulus[:, :, :3], plain.reshape(4, 2, 3), rtol=1e-9)
    assert (modulus[:, :, 3:] < 0.1 * modulus[:, :, :3].max()).all()
    assert sigma is not None and sigma.shape == (1, 24)
    np.testing.assert_array_equal(sigma.reshape(2, 2, 6)[:, 0], sigma.reshape(2, 2, 6)[:, 1])


def test_what_it_says_of_its_noise_is_what_repeated_shots_show() -> None:
    with SmallRig(readout="complex", settle_periods=6, converter={"noise_pa": 0.1}) as rig:
        rig.ready()
        chunks = list(rig.layers[0].measure(np.repeat(DRIVE[:1], 120, axis=0)))
        y, sigma = (np.concatenate([getattr(c, name) for c in chunks]) for name in ("y", "sigma"))
    spread = y[1:].std(axis=0)
    assert np.sqrt((sigma**2).mean()) == pytest.approx(np.sqrt((spread**2).mean()), rel=0.1)


def test_silence_full_drive_and_no_shots_at_all(quiet: Any) -> None:
    extreme = np.stack([np.zeros(6), np.ones(6), np.zeros(6), np.ones(6)])
    for audio in ({}, ALONE):
        with SmallRig(audio, shot={"level": 0.3}, full_drive_m3_s=1e-4) as rig:
            y, attempts = rig.ready().answers(extreme)
            assert attempts.sum() == 4
            expected = rig.world.respond_without_noise(extreme)
            assert np.abs(y - expected).max() < 0.005 * expected.max()
            assert rig.layers[0].forward(np.zeros((0, 6))).shape == (0, 6)
    with SmallRig() as rig:  # a playback that is silent but for its mark
        y, _ = rig.ready().answers(np.zeros((3, 6)))
        assert y.max() < 5e-4


# --- an answer belongs to its shot ------------------------------------------------------------------------------------


@pytest.mark.parametrize("audio", [{}, ALONE, CLOCKS], ids=["loopback", "alone", "two clocks"])
def test_the_same_seed_gives_the_same_bits_again_and_in_another_process(audio: dict[str, Any], tmp_path: Path) -> None:
    keys = {"converter": {"clock_ppm": 80.0}} if audio is CLOCKS else {}
    with SmallRig(audio, shot={"playback_s": 2.5}, **keys) as rig:
        kept = json.loads(json.dumps(rig.commission()))
        rig.restart(3)
        batch = rig.layers[0].info.max_batch
        assert batch < 10
        first, _ = rig.answers()
        rig.restart(4)
        other, _ = rig.answers(DRIVE[:3])
        rig.restart(3)
        assert rig.answers()[0].tobytes() == first.tobytes()
        assert 0 < off(other, first[:3]) < 0.005
        rig.restart(3)
        rig.answers(DRIVE[:batch])
        state = json.loads(json.dumps(rig.layers[0].state()))
        assert state["shot"] == batch
    with SmallRig(audio, shot={"playback_s": 2.5}, **keys) as later:
        later.adopt(kept)
        later.layers[0].restore(state)
        assert later.answers(DRIVE[batch:])[0].tobytes() == first[batch:].tobytes()


def test_commissioning_and_first_playback_do_not_share_their_noise() -> None:
    with SmallRig() as rig:
        arrived: list[Any] = []
        rig.commission(lambda name, shots, state: arrived.append((name, shots, state)))
        (name, shots, state) = arrived[0]
        assert name == "acoustic commissioning" and state["shot"] == 0 and len(shots) == COMMISSION_SHOTS
        rig.restart(0)
        y, _ = rig.answers(shots.x)
        assert 1e-6 < np.abs(y - shots.y).max() < 0.005 * y.max()


def test_a_playback_ends_where_the_world_may_drift() -> None:
    with SmallRig(drift_sine_k=5.0, drift_period_shots=1024.0) as rig:
        rig.ready()
        rig.layers[0].restore({**rig.layers[0].state(), "shot": HOLD - 3})
        chunks = []
        for chunk in rig.layers[0].measure(DRIVE[:8]):
            chunks.append((len(chunk), rig.environment()["temperature_c"]))
            first = HOLD - 3 + sum(n for n, _ in chunks) - len(chunk)
            assert off(chunk.y, rig.world.respond_without_noise(chunk.x, first)) < 0.005
    assert chunks == [(3, 20.0), (5, 25.0)]


def test_memory_does_not_grow_with_the_batch() -> None:
    def peak(shots: int) -> int:
        with SmallRig(shot={"playback_s": 1.5}) as rig:
            rig.ready()
            x = np.zeros((shots, 6))
            x[:] = DRIVE[0]
            tracemalloc.start()
            measured = rig.layers[0].measure(x)
            for _ in range(3):
                next(measured)
            most = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return most

    few = peak(20)
    assert peak(100_000) < 1.2 * few + 3 * 100_000


# --- faults -----------------------------------------------------------------------------------------------------------

FAULTS = [("dropout", 40), ("clip", 5), ("slip", -1), ("slip", 1), ("slip", -300), ("slip", 700), ("repeat", 256),
          ("hum", 2048), ("mute", 128), ("dropout", 2500), ("mute", 3)]  # fmt: skip


@pytest.mark.parametrize(("kind", "frames"), FAULTS)
@pytest.mark.parametrize("into_window", [0, 900])
def test_a_fault_in_the_window_costs_one_more_attempt_and_nothing_else(
    quiet: Any, opened: SmallRig, kind: str, frames: int, into_window: int
) -> None:
    expected, kept = quiet
    rig = opened
    rig.room.faults = ()
    rig.adopt(kept)
    rig.restart(3)
    rig.strike(kind, frames, shot=4, into_window=into_window)
    y, attempts = rig.answers(DRIVE[:8])
    assert attempts[4] == 2 and attempts.sum() <= 10, attempts
    assert (attempts[:4] == 1).all() and (attempts[6:] == 1).all()
    once = attempts == 1
    assert off(y, expected[:8]) < 0.004
    if kind != "slip":
        assert y[:4].tobytes() == expected[:4].tobytes() and off(y[once], expected[:8][once]) < 0.004


def test_faults_on_the_last_frames_of_a_shot_whose_length_is_no_whole_number_of_blocks(quiet: Any) -> None:
    keys = {"period_frames": 513}
    with SmallRig(**keys) as rig:
        rig.ready()
        window = rig.layer.protocol.tones.window
        assert window.stop % 32
        rig.strike("dropout", 8, shot=1, into_window=window.stop - window.start - 8)
        _, attempts = rig.answers(DRIVE[:3])
    assert attempts.tolist() == [1, 2, 1]


def test_what_happens_between_shots_costs_nothing(quiet: Any) -> None:
    with SmallRig(shot={"guard_periods": 4}) as rig:
        rig.ready()
        window = rig.layer.protocol.tones.window
        for kind, frames in (("dropout", 40), ("slip", 5), ("hum", 500)):
            rig.strike(kind, frames, shot=2, into_window=window.stop - window.start + 1500 + abs(frames))
        y, attempts = rig.answers(DRIVE[:6])
        assert attempts.sum() == 6 and off(y, rig.world.respond_without_noise(DRIVE[:6])) < 0.005
        assert rig.environment()["latency_frames"] == 611 + 5


def test_after_a_slip_later_shots_of_the_playback_are_used_and_the_latency_adopted(quiet: Any) -> None:
    with SmallRig() as rig:
        rig.ready()
        rig.strike("slip", 900, shot=2)
        rig.strike("slip", -800, shot=5)  # past the latency of the converter and back
        rig.room.begin(3, 0)
        chunk = rig.layer.protocol.take(DRIVE[:9].reshape(9, 2, 3))
        bad = [number for number, fault in enumerate(chunk.faults) if fault]
        assert bad == [2, 5]
        assert np.diff(chunk.starts)[[3, 6]].tolist() == 2 * [rig.layer.protocol.tones.shot_frames]
        assert rig.layer.protocol.sync.latency == 611 + 900 - 800
        assert rig.environment()["latency_frames"] == 611 + 900 - 800


def persistent(rig: SmallRig, kind: Any = "dropout") -> None:
    rig.strike(kind, 40, shot=4)
    for again in range(2, 8):
        rig.strike(kind, 40, shot=0, playback=again)


def test_a_fault_that_stays_names_the_shot_and_what_was_good_before_is_kept(quiet: Any) -> None:
    expected, kept = quiet
    with SmallRig(recovery={"per_shot": 2}) as rig:
        rig.adopt(kept)
        rig.restart(3)
        persistent(rig)
        good = []
        with pytest.raises(MeasurementError) as caught:
            good.extend(rig.layers[0].measure(DRIVE))
        assert str(caught.value) == (
            "shot 4 of 20: no good reading after 2 repetitions (rig.recovery.per_shot), at last: audio (sim): samples "
            "were lost, repeated or late 2144 frames into the shot"
        )
        assert [len(shots) for shots in good] == [4] and rig.layers[0].state()["shot"] == 4
        assert good[0].y.tobytes() == expected[:4].tobytes()
        rig.room.faults = ()
        y, attempts = rig.answers(DRIVE[4:8])  # and goes on where it stood
        assert attempts.sum() == 4 and off(y, expected[4:8]) < 0.004


def test_the_budget_of_a_run_counts_all_shots() -> None:
    with SmallRig(recovery={"per_run": 1}) as rig:
        rig.ready()
        rig.strike("dropout", 40, shot=0)
        rig.strike("dropout", 40, shot=3)
        with pytest.raises(MeasurementError, match=r"^shot 3 of 8: no good reading after 1 repetitions in this run"):
            rig.layers[0].forward(DRIVE[:8])


def test_faults_are_told_in_the_log_and_kept_as_waveforms(tmp_path: Path, caplog: Any) -> None:
    with SmallRig(shot={"keep_bad": 2, "keep_good": 0.25}) as rig:
        rig.serve(tmp_path)
        rig.ready()
        for shot in (1, 3, 5):
            rig.strike("dropout", 40, shot=shot)
        with caplog.at_level(logging.INFO, "labtrain"):
            rig.answers(DRIVE[:8])
    told = [record for record in caplog.records if "it is repeated" in record.getMessage()]
    assert [record.levelname for record in told] == 3 * ["INFO"]
    assert told[0].getMessage() == (
        "shot 1 of 8: audio (sim): samples were lost, repeated or late 2144 frames into the shot; it is repeated "
        "(1 of 4, in this run 1 of 10000)"
    )
    files = sorted((tmp_path / "waveforms").iterdir())
    assert [file.name for file in files] == [f"{n:06d}.npz" for n in range(1, len(files) + 1)]
    kept = [np.load(file) for file in files]
    bad = [one for one in kept if str(one["reason"]) != "sample"]
    assert [int(one["shot"]) for one in bad] == [1, 3]
    assert {int(one["shot"]) for one in kept if str(one["reason"]) == "sample"} == {3, 7}
    window = rig.multitone().window
    assert bad[0]["samples"].shape == (window.stop, 3) and bad[0]["samples"].dtype == np.float32
    assert not bad[0]["samples"][window.start + 100 : window.start + 140].any()
    assert bad[0]["channels"].tolist() == ["microphone 1", "microphone 2", "loopback"]
    np.testing.assert_array_equal(bad[0]["scale_pa"], [20.0, 20.0, np.nan])
    with SmallRig(shot={"keep_bad": 3}) as rig:  # a resumed run goes on counting
        rig.serve(tmp_path)
        rig.ready()
        for shot in (1, 3):
            rig.strike("dropout", 40, shot=shot)
        rig.answers(DRIVE[:5])
    reasons = [str(np.load(file)["reason"]) for file in sorted((tmp_path / "waveforms").iterdir())]
    assert len(reasons) == len(files) + 1 and reasons[-1] != "sample"


def test_one_shot_at_a_time_and_the_same_one_again_and_again() -> None:
    """What a change of drives leaves on the air is no disturbance, also after long without a change."""
    with SmallRig() as rig:
        rig.ready()
        for row in DRIVE[:5]:
            assert rig.answers(row[None])[1].tolist() == [1]
        _, attempts = rig.answers(np.repeat(DRIVE[:3], 25, axis=0))
        assert attempts.sum() == 75
        chunk = next(iter(Averaged(rig.layers[0], 4).measure(DRIVE[:2])))
        assert chunk.attempts.tolist() == [4, 4]


# --- cables, gains, streams -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("audio", [{}, CLOCKS], ids=["one clock", "two clocks"])
def test_a_loopback_that_is_pulled_out(audio: dict[str, Any]) -> None:
    with pytest.raises(InstrumentError) as caught, SmallRig(audio, converter={"loopback_gain": 0.0}):
        pass
    assert re.sub("hears -8[789] dBFS", "hears ... dBFS", str(caught.value)) == (
        "audio (sim): the mark sent on output 3 (-12 dBFS) did not come back on input 3, which hears ... dBFS at most; "
        "is the loopback cable out, or its gain down? Check rig.audio.loopback, or leave it out"
    )


@pytest.mark.parametrize(("gain", "sentence"), [
    (4.5, "audio (sim): the mark clips input 3; lower its gain or rig.audio.loopback.level"),
    (0.002, "audio (sim): the loopback from output 3 to input 3 is too noisy (-24 dB of the mark, needed -32 dB); "
            "raise its gain; or outputs and inputs do not share a clock"),
])  # fmt: skip
def test_a_loopback_at_a_wrong_gain(gain: float, sentence: str) -> None:
    with pytest.raises(InstrumentError) as caught, SmallRig(converter={"loopback_gain": gain}):
        pass
    assert str(caught.value) == sentence


@pytest.mark.parametrize("audio", [{}, CLOCKS], ids=["one clock", "two clocks"])
@pytest.mark.parametrize("silent", [False, True], ids=["noise", "zeros"])
def test_a_cable_pulled_in_the_middle_of_a_run(audio: dict[str, Any], silent: bool) -> None:
    with SmallRig(audio, recovery={"per_shot": 1}) as rig:
        rig.ready()
        process = rig.room.process

        def pulled(out: Any) -> Any:
            came = process(out)
            came[:, -1] = 0.0 if silent else 1e-5 * np.random.default_rng(0).standard_normal(len(came))
            return came

        rig.room.process = pulled  # type: ignore[method-assign]
        with pytest.raises(MeasurementError) as caught:
            rig.layers[0].forward(DRIVE[:3])
    assert str(caught.value) == (
        "shot 0 of 3: no good reading after 1 repetitions (rig.recovery.per_shot), at last: audio (sim): no mark on "
        "input 3: is the loopback cable out?"
    )


def test_a_microphone_that_clips_says_which_and_where() -> None:
    with (
        pytest.raises(InstrumentError) as caught,
        SmallRig({"microphones": (7, 4)}, converter={"pascal_full_scale": 0.1}) as rig,
    ):
        rig.commission()
    told = str(caught.value)
    assert told.startswith("audio (sim): ") and " of 16 first shots are not to be used: microphone " in told
    assert told.endswith(" clipped (input 7 at full scale): lower its gain") or told.endswith(
        " clipped (input 4 at full scale): lower its gain"
    )


def test_a_stream_that_fails_is_opened_again_and_the_shots_repeated(quiet: Any, caplog: Any) -> None:
    expected, kept = quiet
    with SmallRig() as rig:
        rig.adopt(kept)
        rig.restart(3)
        record, calls = rig.sound.stream.record, []

        def failing(*args: Any) -> Any:
            calls.append(args)
            if len(calls) in (1, 2):
                raise LinkTimeout("audio (sim): no sample came for 5 s")
            return record(*args)

        rig.sound.stream.record = failing  # type: ignore[method-assign]
        with caplog.at_level(logging.WARNING, "labtrain"):
            y, attempts = rig.answers(DRIVE[:5])
        marks = rig.layer.protocol.playbacks
    assert attempts.tolist() == 5 * [2] and off(y, expected[:5]) < 0.004
    assert marks >= 2
    # The first was the playback, the second the mark that is played after opening again.
    assert [record.getMessage().split("; ")[1] for record in caplog.records] == [
        "instruments are opened again and it is repeated (1 of 4, in this run 1 of 10000)",
        "instruments are opened again and it is repeated (2 of 4, in this run 2 of 10000)",
    ]


def test_another_device_is_not_taken_for_the_first_one_however_often_it_answers() -> None:
    with SmallRig(recovery={"per_shot": 3}) as rig:
        rig.ready()
        rig.sound._identify = lambda: "another card"  # type: ignore[method-assign]
        record, calls = rig.sound.stream.record, []

        def failing(*args: Any) -> Any:
            calls.append(args)
            if len(calls) == 1:
                raise LinkTimeout("audio (sim): no sample came for 5 s")
            return record(*args)

        rig.sound.stream.record = failing  # type: ignore[method-assign]
        with pytest.raises(MeasurementError) as caught:
            rig.layers[0].forward(DRIVE[:2])
    assert str(caught.value) == (
        "shot 0 of 2: no good reading after 3 repetitions (rig.recovery.per_shot), at last: audio (sim): was 'labtrain "
        "simulated sound card' and is 'another card' now; connect the one that the run began with (rig.audio.device)"
    )


def test_marks_of_different_playbacks_are_different_after_opening_again_too() -> None:
    with SmallRig() as rig:
        rig.ready()
        protocol, marks = rig.layer.protocol, []
        for reopened in (False, True):
            if reopened:
                rig.layer._reopen()
            sync = protocol.sync
            assert isinstance(sync, LoopbackSync)
            mark = sync.mark

            def noted(number: int, frames: int, mark: Any = mark) -> Any:
                marks.append(mark(number, frames)[:16_000])
                return marks[-1] if frames == 16_000 else mark(number, frames)

            sync.mark = noted  # type: ignore[method-assign]
            protocol.take(DRIVE[:1].reshape(1, 2, 3))
            rig.answers(DRIVE[:1])
        assert np.abs(np.triu(np.corrcoef(marks), 1)).max() < 0.1


# --- stopping ---------------------------------------------------------------------------------------------------------


def stops_after(rig: SmallRig, seconds: int) -> None:
    """rig.check raises when so many seconds more of a playback have been heard."""
    asked = []

    def check() -> None:
        asked.append(None)
        if len(asked) > seconds:
            raise Interrupted("stopped by Ctrl-C")

    rig.check = check


@pytest.mark.parametrize("audio", [{}, CLOCKS, ALONE], ids=["loopback", "two clocks", "alone"])
def test_who_stops_keeps_whole_shots_and_hears_nothing_more(audio: dict[str, Any]) -> None:
    keys = {"converter": {"clock_ppm": 80.0}} if audio is CLOCKS else {}
    with SmallRig(audio, **keys) as rig:
        rig.ready()
        expected, _ = rig.answers()
        rig.restart(3)
        stops_after(rig, 3)
        taken = rig.layer.protocol.take(DRIVE.reshape(20, 2, 3), lambda: rig.check())
        assert isinstance(taken.ended, Interrupted)
        if audio is ALONE:
            assert len(taken.faults) == 0  # the reference at the end is missing
            return
        assert 10 <= len(taken.faults) <= 12 and not any(taken.faults)
        y, _ = rig.layer._outputs(taken.tones, taken.sigma)
        assert off(y, expected[: len(y)]) < 0.004
        stream = rig.sound.stream
        assert not stream._queue
        later = stream.record(stream.now, 4000)
        assert np.abs(later[2000:, -1]).max() < 1e-3


def test_a_stopped_simulation_resumes_as_if_it_had_not_been_stopped(quiet: Any) -> None:
    expected, kept = quiet
    with SmallRig() as rig:
        rig.adopt(kept)
        rig.restart(3)
        stops_after(rig, 3)
        with pytest.raises(Interrupted, match="Ctrl-C"):
            rig.answers()
        assert rig.layers[0].state()["shot"] == 0
        rig.check = lambda: None
        assert rig.answers()[0].tobytes() == expected.tobytes()


def test_on_hardware_what_was_heard_to_its_end_is_handed_out(quiet: Any) -> None:
    """As with a converter that nobody resets between playbacks."""
    expected, kept = quiet
    with SmallRig() as rig:
        rig.adopt(kept)
        rig.restart(3)
        rig.layer._simulation = None
        stops_after(rig, 3)
        good = []
        with pytest.raises(Interrupted):
            good.extend(rig.layers[0].measure(DRIVE))
        count = len(good[0])
        assert len(good) == 1 and 10 <= count <= 12 and off(good[0].y, expected[:count]) < 0.004
        assert rig.layers[0].state()["shot"] == count
        rig.check = lambda: None
        y, attempts = rig.answers(DRIVE[count:])
        assert attempts.sum() == 20 - count and off(y, expected[count:]) < 0.004


def test_ctrl_c_that_nobody_holds_back_leaves_silence_and_the_same_shot_comes_next(quiet: Any) -> None:
    expected, kept = quiet
    with SmallRig() as rig:
        rig.adopt(kept)
        rig.restart(3)

        asked: list[None] = []

        def by_hand() -> None:
            asked.append(None)
            if len(asked) % 2 == 0:  # in the middle of a playback
                raise KeyboardInterrupt

        rig.check = by_hand
        with pytest.raises(KeyboardInterrupt):
            rig.answers()
        assert not rig.sound.stream._queue
        rig.check = lambda: None
        assert rig.answers()[0].tobytes() == expected.tobytes()
        rig.check = by_hand
        played: list[Any] = []
        process = rig.room.process
        rig.room.process = lambda out: (played.append(out.copy()), process(out))[1]  # type: ignore[method-assign]
        stream = rig.sound.stream
        with pytest.raises(KeyboardInterrupt):
            rig.answers()
    assert not stream.is_open
    assert np.abs(np.concatenate(played)[-1]).max() < 0.01


def test_who_stops_while_it_is_commissioned_leaves_it_to_be_commissioned() -> None:
    with SmallRig() as rig:
        stops_after(rig, 1)
        with pytest.raises(Interrupted):
            rig.commission()
        assert rig.commissioning_shots == COMMISSION_SHOTS
        rig.check = lambda: None
        with pytest.raises(InstrumentError) as caught:
            rig.layers[0].forward(DRIVE[:1])
        assert str(caught.value) == (
            "acoustic rig: it does not know the noise of its room yet; call commission(), or adopt() with what it gave "
            "before"
        )
        rig.commission()
        assert rig.commissioning_shots == 0
        rig.layers[0].forward(DRIVE[:1])


# --- without a loopback -----------------------------------------------------------------------------------------------


def test_slips_between_and_within_shots_are_found_by_the_references() -> None:
    with SmallRig(ALONE) as rig:
        expected, _ = rig.ready().answers(DRIVE[:6])
        for shot, into, by in ((2, 100, 3), (4, -6000, -12)):
            rig.restart(3)
            rig.strike("slip", by, shot=shot, into_window=into)
            y, attempts = rig.answers(DRIVE[:6])
            assert attempts.tolist() == 6 * [2] and off(y, expected) < 0.004


def test_a_latency_that_jumped_between_playbacks_is_adopted() -> None:
    with SmallRig(ALONE) as rig:
        y, _ = rig.ready().answers(DRIVE[:4])
        before = rig.environment()["latency_frames"]
        rig.room.converter = replace(rig.room.converter, latency_frames=611 + 77)
        again, attempts = rig.answers(DRIVE[:4])
        assert attempts.sum() == 4 and off(again, y) < 0.004
        assert rig.environment()["latency_frames"] == before + 77


def test_a_room_that_changed_is_not_taken_for_the_commissioned_one() -> None:
    with SmallRig(ALONE, recovery={"per_shot": 1}) as rig:
        rig.ready()
        sync = rig.layer.protocol.sync
        assert isinstance(sync, ReferenceSync) and sync.phases is not None
        sync.phases *= np.exp(2j * np.pi * np.random.default_rng(0).random(sync.phases.shape))
        with pytest.raises(MeasurementError) as caught:
            rig.layers[0].forward(DRIVE[:2])
    assert str(caught.value) == (
        "shot 0 of 2: no good reading after 1 repetitions (rig.recovery.per_shot), at last: audio (sim): the reference "
        "shot is not heard as it was: the latency jumped, or the room changed"
    )


def test_a_first_sound_that_nobody_hears() -> None:
    with pytest.raises(InstrumentError) as caught, SmallRig(ALONE, converter={"flow_full_scale_m3_s": 1e-12}):
        pass
    assert str(caught.value) == (
        "audio (sim): no microphone heard the first sound, 0.075 of full scale; check amplifiers, gains and "
        "rig.audio.microphones, or run: labtrain survey"
    )


# --- two clocks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ppm", [100.0, -100.0])
def test_two_clocks_give_the_answers_of_one(ppm: float) -> None:
    with SmallRig(CLOCKS, converter={"clock_ppm": ppm}) as rig:
        y, attempts = rig.ready().answers(DRIVE[:10])
        assert attempts.sum() == 10 and off(y, rig.world.respond_without_noise(DRIVE[:10])) < 0.005
        assert rig.environment()["clock_offset_ppm"] == pytest.approx(ppm, abs=0.5)


def test_clocks_that_are_not_allowed_to_differ_are_noticed() -> None:
    with (
        pytest.raises(InstrumentError, match=r"or outputs and inputs do not share a clock$"),
        SmallRig(converter={"clock_ppm": 100.0}),
    ):
        pass


def test_clocks_that_drift_apart_for_hours_are_followed() -> None:
    with SmallRig(CLOCKS, converter={"clock_ppm": 50.0}) as rig:
        rig.ready()
        protocol = rig.layer.protocol
        before = protocol.sync.latency
        for hour in range(1, 9):  # the converter is not reset between playbacks, and falls behind
            waiting = rig.room._delayed
            rig.room._delayed = np.concatenate([np.zeros((600, 3)), waiting])
            faults = protocol.take(DRIVE[:4].reshape(4, 2, 3)).faults
            assert faults == ["", "", "", ""]
            assert protocol.sync.latency == pytest.approx(before + 600 * hour, abs=20)


def test_a_slip_with_two_clocks_is_found() -> None:
    with SmallRig(CLOCKS, converter={"clock_ppm": 50.0}) as rig:
        expected, _ = rig.ready().answers(DRIVE[:6])
        rig.restart(3)
        rig.strike("slip", -4, shot=3)
        y, attempts = rig.answers(DRIVE[:6])
    assert attempts[3] == 2 and off(y, expected) < 0.004


# --- commissioning, what it tells -------------------------------------------------------------------------------------


def test_what_was_commissioned_is_adopted_elsewhere(quiet: Any) -> None:
    expected, kept = quiet
    told = json.loads(json.dumps(kept))
    assert told["shots"] == 16 and told["reference"] is None and np.shape(told["noise_floor"]) == (2, 257)
    with SmallRig() as rig:
        assert rig.commissioning_shots == 16
        rig.adopt(told)
        assert rig.commissioning_shots == 0
        rig.restart(3)
        assert rig.answers()[0].tobytes() == expected.tobytes()


def test_what_does_not_fit_is_not_adopted(quiet: Any) -> None:
    _, kept = quiet
    with SmallRig(ALONE) as rig:
        with pytest.raises(InputError) as caught:
            rig.adopt(kept)
        assert str(caught.value) == (
            "rig.audio.loopback: commissioned with a loopback, now there is none; restore it, or start a new run"
        )
        alone = rig.commission()
    with SmallRig({"microphones": (1,)}) as rig, pytest.raises(InputError) as caught:
        rig.adopt(kept)
    assert str(caught.value) == (
        "rig.audio.microphones: commissioned with 2, now there are 1, or rig.period_frames changed; restore them, or "
        "start a new run"
    )
    with SmallRig(ALONE, tone_bins=(12, 14)) as rig, pytest.raises(InputError) as caught:
        rig.adopt(alone)
    assert str(caught.value) == (
        "rig.tone_bins: commissioned with 3 tones, now there are 2; restore them, or start a new run"
    )


def test_commissioning_keeps_to_the_longest_playback() -> None:
    with SmallRig(shot={"playback_s": 1.5}) as rig:
        played: list[int] = []
        play = rig.sound.stream.play
        rig.sound.stream.play = lambda out: (played.append(len(out)), play(out))[1]  # type: ignore[method-assign]
        rig.commission()
        assert len(played) > 1 and max(played) < 1.6 * RATE_HZ
        _, attempts = rig.answers(DRIVE[:10])
        assert attempts.sum() == 10


def test_fingerprints_follow_what_changes_an_answer() -> None:
    variants: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({}, {}), ({}, {"shot": {"playback_s": 5.0}}), ({}, {"seed": 9}),
        ({}, {"shot": {"level": 0.1}}), ({}, {"average_periods": 3}),
        ({}, {"product_bins": (16,)}), ({}, {"readout": "complex"}), ({}, {"converter": {"noise_pa": 5e-3}}),
        ({}, {"geometry_seed": 2}), ({"pascal_full_scale": None}, {}), ({"speakers": (1, 4)}, {}), (ALONE, {}),
    ]  # fmt: skip
    prints = []
    for audio, keys in variants:
        with SmallRig(audio, **keys) as rig:
            prints.append(rig.layers[0].info.fingerprint)
    assert prints[0] == prints[1] == prints[2] and len(set(prints)) == len(variants) - 2


def test_provenance_environment_and_units() -> None:
    with SmallRig() as rig:
        told = json.loads(json.dumps(rig.provenance()))
        assert told["fidelity"] == "instruments" and told["world"]["type"] == "acoustic"
        audio = told["instruments"]["audio"]
        assert (audio["kind"], audio["address"], audio["driver"]) == ("simulated", "sim", "audio")
        assert audio["identity"] == "labtrain simulated sound card" and audio["latency_frames"] == 611
        assert rig.environment() == {"temperature_c": 20.0, "latency_frames": 611.0}
        info = rig.layers[0].info
        assert (info.n_in, info.n_out, info.y_unit, info.simulated) == (6, 6, "Pa", True)
        shot_s = 6 * 512 / RATE_HZ
        assert info.max_batch == int((10.0 - (32 + 611) / RATE_HZ) / shot_s)
        assert info.seconds_per_shot == pytest.approx(shot_s, rel=0.01)
    with SmallRig({"pascal_full_scale": None}) as rig:
        y, _ = rig.ready().answers(DRIVE[:1])
        assert rig.layers[0].info.y_unit == "FS" and 0 < y.max() < 0.2


def test_a_rig_is_used_twice(quiet: Any) -> None:
    expected, kept = quiet
    rig = SmallRig()
    for _ in range(2):
        with rig:
            rig.adopt(kept)
            rig.restart(3)
            assert rig.answers()[0].tobytes() == expected.tobytes()
    with pytest.raises(InstrumentError, match="is not open"):
        rig.environment()


def test_shots_are_in_order_and_chunks_are_playbacks(quiet: Any) -> None:
    with SmallRig(shot={"playback_s": 2.5}) as rig:
        rig.ready()
        rig.strike("dropout", 40, shot=3)
        chunks = list(rig.layers[0].measure(DRIVE))
        batch = rig.layers[0].info.max_batch
    assert [len(chunk) for chunk in chunks] == [batch, batch, 20 - 2 * batch]
    np.testing.assert_array_equal(np.concatenate([chunk.x for chunk in chunks]), DRIVE)
    assert off(np.concatenate([chunk.y for chunk in chunks]), quiet[0]) < 0.004


def test_a_rig_without_instruments_says_so() -> None:
    with AcousticRig(AcousticRig.Config(type="acoustic", membranes=1, discs=0), SimulatedClock()) as rig:
        with pytest.raises(InstrumentError) as caught:
            _ = rig.sound
        assert rig.commission() == {} and rig.commissioning_shots == 0
        rig.adopt({})
    assert str(caught.value) == "acoustic rig: it has no instruments; add a section rig.audio to its configuration"


def test_tones_near_mains_are_told(caplog: Any) -> None:
    rig = AcousticRig(settings({"device": "a card"}, tone_bins=(15, 20)), SimulatedClock())
    with caplog.at_level(logging.WARNING, "labtrain"):
        rig._warn_of_mains()
    assert [record.getMessage() for record in caplog.records] == [
        "tone bin 15 is 351.6 Hz, 1.6 Hz from the mains harmonic 350 Hz; choose another one (labtrain survey proposes "
        "some)"
    ]


# --- a run ------------------------------------------------------------------------------------------------------------

TRAINING = (
    "rig: {type: acoustic, membranes: 1, discs: 0, tone_bins: [12, 14, 20], settle_periods: 3,\n"
    "  period_frames: 512, shot: {playback_s: 4},\n"
    "  audio: {driver: audio, speakers: [1, 2], microphones: [1, 2], pascal_full_scale: 20, rate_hz: 12000,\n"
    "          loopback: {output: 3, input: 3}}}\n"
    "dataset: {type: csv, path: table.csv, label: kind, features: [a, b, c]}\n"
    "network: {layers: 2, width: 6}\n"
    "training: {method: phyll, epochs: 2, inner: 1, rate: 0.01}\n"
    "trials: {count: 1}\nablations: []\nrun: {checkpoint_s: 0}\n"
)


def test_an_interrupted_training_ends_as_if_nothing_had_happened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "figures", lambda _: None)
    rows = "".join(f"{a},{b},{c},{'pq'[int(a > 0.5)]}\n" for a, b, c in np.random.default_rng(0).random((24, 3)))
    (tmp_path / "table.csv").write_text("a,b,c,kind\n" + rows)
    (tmp_path / "lab.yaml").write_text(TRAINING)
    load = lambda: experiment.load(tmp_path / "lab.yaml")  # noqa: E731
    jobs.train(load(), tmp_path / "whole")
    take, taken = ShotProtocol.take, []

    def stopped(self: ShotProtocol, drive: Any, check: Any = None, number: int | None = None) -> Any:
        taken.append(len(drive))
        if len(taken) == 4:  # in the middle of a playback, as Ctrl-C does
            asked: list[None] = []

            def check() -> None:
                asked.append(None)
                raise Interrupted("stopped by Ctrl-C")

        return take(self, drive, check or (lambda: None), number)

    monkeypatch.setattr(ShotProtocol, "take", stopped)
    with pytest.raises(Interrupted):
        jobs.train(load(), tmp_path / "broken")
    (folder,) = (tmp_path / "broken").iterdir()
    jobs.resume(folder)
    (whole,) = (tmp_path / "whole").iterdir()

    def kept(run_folder: Path) -> Any:
        with Run.open(run_folder, write=False, clock=SimulatedClock()) as run:
            chunks = [(c.step, c.shots.x.tobytes(), c.shots.y.tobytes(), c.state["shot"]) for c in run.chunks()]
            blocks = run.trial_state(0)["net"]["blocks"]
            return (
                chunks,
                [[np.asarray(b["W"]).tolist(), np.asarray(b["b"]).tolist()] for b in blocks],
                run.commissioned,
            )

    assert kept(folder) == kept(whole)


# --- configuration ----------------------------------------------------------------------------------------------------

AUDIO = "  audio: {driver: audio, speakers: [1, 2], microphones: [1, 2]}\n"
REST = (
    "dataset: {type: xor-tones, rows: 4, classes: 2, distractors: 0}\nnetwork: {layers: 1}\ntraining: {method: ridge}\n"
)


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (AUDIO + "  tone_bins: [12, 1024]\n",
         "tone_bins: bin 1024 is 24000 Hz, not below half the sample rate, 24000 Hz; choose a lower tone or raise "
         "audio.rate_hz"),
        (AUDIO + "  product_bins: [1100]\n",
         "product_bins: bin 1100 is 25781.2 Hz, not below half the sample rate, 24000 Hz; choose a lower tone or raise "
         "audio.rate_hz"),
        (AUDIO + "  tones_hz: [281.25, 300]\n",
         "tones_hz.1: 300 Hz is off the grid of 23.4375 Hz (audio.rate_hz / period_frames); the nearest tones are "
         "281.25 and 304.6875 Hz"),
        (AUDIO + "  tones_hz: [281.25]\n  tone_bins: [12]\n",
         "tones_hz and tone_bins both name the tones; keep one of them"),
        (AUDIO + "  tones_hz: []\n", "tones_hz: [] in cycles per period must rise from 1 or more, none twice"),
        (AUDIO + "  tone_bins: [14, 12]\n",
         "tone_bins: [14, 12] in cycles per period must rise from 1 or more, none twice"),
        (AUDIO + "  product_bins: [14, 16]\n", "product_bins: bin 14 is a tone already"),
        (AUDIO + "  average_periods: 1\n",
         "average_periods: 1, needed at least 2: what differs between periods shows noise and disturbances"),
        (AUDIO + "  settle_periods: 0\n", "settle_periods: 0 s are shorter than shot.ramp_s, 0.005 s"),
        (AUDIO + "  period_frames: 64\n  tone_bins: [1]\n  settle_periods: 10\n  shot: {guard_periods: 1}\n",
         "shot.guard_periods: 0.00133 s are shorter than shot.ramp_s, 0.005 s"),
        (AUDIO + "  settle_periods: 4\n  shot: {decay_s: 0.2}\n",
         "settle_periods: 4 periods are 0.171 s, shorter than the decay of the room, 0.2 s (shot.decay_s); set 5 or "
         "more"),
        (AUDIO + "  shot: {decay_s: 0.2, guard_periods: 2}\n",
         "shot.guard_periods: 2 periods are 0.0853 s, shorter than the decay of the room, 0.2 s (shot.decay_s); set 5 "
         "or more"),
        (AUDIO + "  shot: {playback_s: 0.3}\n", "shot.playback_s: 0.3 s hold no shot, one takes 0.341 s"),
        (AUDIO + "  shot: {level: 0.2}\n",
         "shot.level: 5 tones of 0.2 may reach 1 of full scale, allowed 0.9 (audio.max_peak); set 0.18 or less"),
        (AUDIO + "  tone_bins: [12]\n  shot: {level: 0.8}\n",
         "shot.level: 1 tones of 0.8 have an RMS of 0.566 of full scale, allowed 0.5 (audio.max_rms); set 0.707 "
         "or less"),
        (AUDIO + "  speakers: 3\n",
         "speakers: 3 in the cavity, audio.speakers names 2 channels; leave speakers out, the channels count"),
        (AUDIO + "  microphones: 3\n",
         "microphones: 3 in the cavity, audio.microphones names 2 channels; leave microphones out, the channels count"),
        ("  fidelity: instruments\n",
         "fidelity: instruments needs a section audio: with a driver of speakers and microphones"),
        ("  readout: complex\n", "product_bins and readout: complex need instruments; add a section audio:"),
        ("  product_bins: [16]\n", "product_bins and readout: complex need instruments; add a section audio:"),
        (AUDIO + "  fidelity: physics\n  readout: complex\n",
         "product_bins and readout: complex need instruments; add a section audio:"),
    ],
)  # fmt: skip
def test_what_is_refused_names_file_and_line(tmp_path: Path, lines: str, sentence: str) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text("rig:\n  type: acoustic\n" + lines + REST)
    with pytest.raises(ConfigError) as caught:
        experiment.load(path)
    assert str(caught.value) == f"lab.yaml:1: rig: {sentence}"


def test_a_driver_of_something_else_is_refused_before_its_keys(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text("rig:\n  type: acoustic\n  audio: {driver: keysight-pna, speakers: [1]}\n" + REST)
    with pytest.raises(ConfigError) as caught:
        experiment.load(path)
    assert str(caught.value) == (
        "lab.yaml:3: rig.audio.driver: keysight-pna is no driver of speakers and microphones; take one of audio, "
        "nidaqmx"
    )


def test_tones_in_hertz_are_those_in_bins() -> None:
    config = AcousticRig.Config(type="acoustic", tones_hz=(281.25, 328.125))
    assert config.tones == (12, 14) and AcousticRig.Config(type="acoustic").tones == (12, 14, 20, 24, 27)


def test_the_fault_parser_and_the_rig_count_playbacks_alike() -> None:
    """The mark is the first playback, commissioning the second, then come shots."""
    with SmallRig() as rig:
        rig.room.faults = (SoundFault("dropout", 40, 32 + 2500, 3),)
        _, attempts = rig.ready().answers(DRIVE[:2])
        assert attempts.tolist() == [2, 1] and rig.room.playbacks == 4
