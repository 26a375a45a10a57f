"""SoundInterface: what it refuses, word for word, before and after sound leaves."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labtrain.clock import SimulatedClock
from labtrain.config import loads
from labtrain.drivers.audio import AudioInterface
from labtrain.drivers.sound import SoundConfig
from labtrain.drivers.stream import Samples
from labtrain.errors import ConfigError, InputError, LabtrainError, LinkClosed, UnsafeError

RATE_HZ = 48_000


class Room:
    """Each input is an output, times a gain; something else in the room may make a noise."""

    n_out = n_in = 3

    def __init__(self, gain: float = 1.0, noise: float = 0.0) -> None:
        self.gain, self.noise = gain, noise
        self.out: list[Samples] = []

    def connected(self) -> None:
        pass

    def process(self, out: Samples) -> Samples:
        self.out.append(out)
        return np.asarray(out * np.float32(self.gain) + np.float32(self.noise), dtype=np.float32)


def sound(room: Room | None = None, **keys: Any) -> AudioInterface:
    config = AudioInterface.Config(**{"speakers": (1, 2), "microphones": (1, 2)} | keys)
    return AudioInterface.make("audio", config, SimulatedClock(), room or Room())


def told(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        loads(text, SoundConfig)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("speakers: [0, 1]", "speakers [0, 1]: channels are counted from 1"),
        ("microphones: [2, 2]", "microphones [2, 2]: a channel is named twice"),
        ("loopback: {output: 4, input: 5}", "loopback.output 4 is the channel of a speaker too"),
        ("loopback: {output: 5, input: 4}", "loopback.input 4 is the channel of a microphone too"),
        ("max_peak: [0.5, 0.5]", "max_peak has 2 values for 4 channels"),
        ("pascal_full_scale: [1.0]", "pascal_full_scale has 1 values for 4 channels"),
        ("max_rms: -0.1", "max_rms -0.1 must be above 0"),
        ("max_peak: 1.5", "max_peak and max_rms are fractions of full scale, at most 1"),
        ("max_coil_rms_v: 2.0", "max_coil_rms_v needs volts_full_scale"),
        (
            "max_spl_db: 90",
            "max_spl_db needs calibrated microphones: pascal_full_scale or sensitivity_file",
        ),
        (
            "{pascal_full_scale: 2, sensitivity_file: here.csv}",
            "pascal_full_scale and sensitivity_file both calibrate the microphones; keep one of them",
        ),
    ],
)
def test_configurations_that_are_refused(text: str, sentence: str) -> None:
    assert sentence in told(text)


def refused(error: type[LabtrainError], device: AudioInterface, speakers: Any, loopback: Any = None) -> str:
    """The sentence; nothing was played."""
    with device:
        with pytest.raises(error) as caught:
            device.play(speakers, loopback)
        assert device.stream._ends == 0
    return str(caught.value)


def tone(frames: int, level: float) -> Samples:
    one = level * np.sin(2 * np.pi * 1000 * np.arange(frames) / RATE_HZ)
    return np.column_stack([np.zeros(frames), one]).astype(np.float64)


def test_the_peak() -> None:
    assert refused(UnsafeError, sound(speakers=(1, 3)), tone(100, 0.95)) == (
        "audio (sim): speaker 2 (output 3) would get peak 0.95 of full scale, allowed 0.9 (rig.audio.max_peak); "
        "lower rig.shot.level"
    )


def test_the_rms() -> None:
    assert refused(UnsafeError, sound(max_rms=(0.5, 0.3)), tone(9600, 0.6)) == (
        "audio (sim): speaker 2 (output 2) would get RMS 0.424 of full scale in 0.1 s, allowed 0.3 "
        "(rig.audio.max_rms); lower rig.shot.level"
    )
    with sound(max_rms=0.3) as device:
        device.play(tone(2000, 0.6))  # short enough


def test_the_voice_coil_counts_on_from_the_playback_before() -> None:
    with sound(max_coil_rms_v=4.0, volts_full_scale=10.0) as device:
        device.play(tone(48_000, 0.5))
        with pytest.raises(UnsafeError) as caught:
            device.play(tone(40_000, 0.7))
        assert str(caught.value) == (
            "audio (sim): speaker 2 (output 2) would get RMS 4.74 V in 1 s, allowed 4 (rig.audio.max_coil_rms_v); "
            "lower rig.shot.level"
        )


def test_the_predicted_sound_level() -> None:
    device = sound(max_spl_db=85.0, pascal_full_scale=10.0, spl_full_scale_db=(100.0, 94.0))
    assert refused(UnsafeError, device, tone(48_000, 0.5)) == (
        "audio (sim): this playback may reach 88 dB SPL, allowed 85 dB (rig.audio.max_spl_db); lower rig.shot.level"
    )


def test_what_is_no_number_is_refused_and_leaves_the_limits_in_place() -> None:
    with sound() as device:
        with pytest.raises(UnsafeError, match=r"would get peak nan of full scale, allowed 0\.9"):
            device.play(np.full((100, 2), np.nan))
        with pytest.raises(UnsafeError, match=r"would get RMS 0\.8 of full scale in 0\.1 s"):
            device.play(np.full((9600, 2), 0.8))


def test_the_loopback_has_a_level_of_its_own() -> None:
    with sound(loopback={"output": 3, "input": 3}) as device:
        came = device.transfer(tone(9600, 0.5), np.ones(9600))
        assert came.shape == (9600, 3)
        assert (came[:, 2] == 1.0).all()
        assert np.allclose(came[:, :2], tone(9600, 0.5))


@pytest.mark.parametrize(
    ("keys", "speakers", "mark", "sentence"),
    [
        (
            {},
            np.zeros((10, 3)),
            None,
            "asked to play an array of shape (10, 3), needed (frames, 2), a column for each of rig.audio.speakers",
        ),
        (
            {},
            np.zeros((10, 2)),
            np.zeros(10),
            "asked to play a mark on a loopback, there is none; set rig.audio.loopback",
        ),
        (
            {"loopback": {"output": 3, "input": 3}},
            np.zeros((10, 2)),
            np.zeros(9),
            "asked to play a mark of shape (9,), needed (10,) as the sound has",
        ),
    ],
)
def test_arrays_that_do_not_fit(keys: dict[str, Any], speakers: Any, mark: Any, sentence: str) -> None:
    assert refused(InputError, sound(**keys), speakers, mark) == f"audio (sim): {sentence}"


LOUD = 2.0 / math.sqrt(2)  # pascal, 97 dB


def guarded(room: Room) -> AudioInterface:
    return sound(room, max_spl_db=90.0, pascal_full_scale=2.0)


def test_a_microphone_that_hears_too_much_silences_the_output() -> None:
    room = Room()
    sentence = (
        r"^audio \(sim\): microphone 2 hears 9\d dB SPL, allowed 90 dB \(rig\.audio\.max_spl_db\); the output was "
        r"silenced; if it goes on, an active membrane howls: switch its amplifier off$"
    )
    with guarded(room) as device:
        device.transfer(tone(48_000, 0.4))  # 86 dB
        with pytest.raises(UnsafeError, match=sentence):
            device.transfer(tone(48_000, 0.7))
        with pytest.raises(UnsafeError, match=sentence):
            device.play(tone(48_000, 0.1))
    played = np.concatenate(room.out)
    assert 48_000 < np.flatnonzero(played[:, 1])[-1] < 48_000 + 0.5 * RATE_HZ


def test_the_microphones_are_heard_also_while_nothing_is_played() -> None:
    with guarded(Room(noise=0.9)) as device:
        with pytest.raises(UnsafeError, match=r"microphone 1 hears 9\d dB SPL"):
            device.record(0, RATE_HZ)
        with pytest.raises(UnsafeError, match=r"microphone 1 hears 9\d dB SPL"):
            device.play(tone(100, 0.1))


def test_a_microphone_that_would_clip_before_the_limit() -> None:
    with pytest.raises(InputError) as caught:
        sound(max_spl_db=94.0, pascal_full_scale=(2.0, 1.0)).open()
    assert str(caught.value) == (
        "audio (sim): microphone 2 clips at 91 dB SPL and cannot tell when max_spl_db 94 is exceeded; turn its gain "
        "down and calibrate it again, or lower rig.audio.max_spl_db"
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            None,
            "{path}: cannot be read (No such file or directory); labtrain calibrate writes it, or set "
            "rig.audio.pascal_full_scale",
        ),
        (
            "microphone,pascal_full_scale\n1,2.0\n",
            "{path}: no row for microphone 2; labtrain calibrate CONFIG --microphone 2 adds it",
        ),
        (
            "microphone,pascal\n1,2.0\n",
            "{path}:2: needs the columns microphone (a whole number) and pascal_full_scale (a number)",
        ),
        (
            "microphone,pascal_full_scale\n1,2.0\n2,loud\n",
            "{path}:3: needs the columns microphone (a whole number) and pascal_full_scale (a number)",
        ),
        (
            "microphone,pascal_full_scale\n1,2.0\n2,-1\n",
            "{path}:3: pascal_full_scale is -1, allowed are numbers above 0",
        ),
    ],
)
def test_files_of_sensitivities(tmp_path: Path, text: str | None, sentence: str) -> None:
    path = tmp_path / "microphones.csv"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        sound(sensitivity_file=path).open()
    assert str(caught.value) == sentence.format(path=path)


def test_a_file_of_sensitivities(tmp_path: Path) -> None:
    path = tmp_path / "microphones.csv"
    path.write_text("microphone,pascal_full_scale\n2,3.0\n1,2.0\n7,1\n", encoding="utf-8-sig")
    with sound(sensitivity_file=path, volts_full_scale=4.0, microphones=(3, 1)) as device:
        assert device.settings() == {
            "rate_hz": 48_000.0,
            "speakers": [1, 2],
            "microphones": [3, 1],
            "loopback": None,
            "volts_full_scale": [4.0, 4.0],
            "pascal_full_scale": [2.0, 3.0],
        }


def test_safe_and_close() -> None:
    device = sound()
    device.safe()
    with pytest.raises(InputError, match=r"^audio \(sim\): is not open; call open\(\) or use it in a with statement$"):
        device.play(tone(10, 0.1))
    with device:
        assert (device.identity, device.emulated, device.is_open) == ("labtrain simulated sound card", True, True)
        device.play(tone(48_000, 0.5))
        device.safe()
        assert not device.transfer(np.zeros((1000, 2)))[500:].any()
    device.close()
    with pytest.raises(LinkClosed, match=r"is not open"):
        device.play(tone(10, 0.1))


def test_whatever_could_make_a_playback_louder_changes_the_setup() -> None:
    with sound() as one, sound(max_peak=0.8) as other, sound(microphones=(2,)) as third:
        assert one.setup() != other.setup()
        assert one.setup() == third.setup()
