"""The first playback: nothing without an answer, quiet until it was confirmed, and remembered while nothing changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labtrain.clock import SimulatedClock
from labtrain.drivers.audio import AudioInterface
from labtrain.errors import InputError
from labtrain.rigs import first_playback
from labtrain.rigs.first_playback import introduce, state_folder
from labtrain.rigs.multitone import Multitone

LEVEL = 0.2
TONES = Multitone(512, (12, 14, 20), 4, 2, 0, 100)


class Ears:
    """Remembers what was played."""

    n_out = n_in = 3

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def connected(self) -> None:
        pass

    def process(self, out: Any) -> Any:
        self.heard.append(out.copy())
        return out

    @property
    def samples(self) -> Any:
        return np.concatenate([np.zeros((1, 3)), *self.heard])


class Person:
    """Answers in turn, and remembers the questions and what had been played until then."""

    def __init__(self, ears: Ears, *answers: bool) -> None:
        self._ears, self._answers = ears, list(answers)
        self.questions: list[str] = []
        self.loudest: list[float] = []

    def __call__(self, question: str) -> bool:
        self.questions.append(question)
        self.loudest.append(float(np.abs(self._ears.samples).max()))
        return self._answers.pop(0)


def opened(ears: Ears, **keys: Any) -> AudioInterface:
    channels: dict[str, Any] = {"speakers": (1, 2, 3), "microphones": (1, 2, 3), "rate_hz": 12_000.0}
    device = AudioInterface.make("audio", AudioInterface.Config(**(channels | keys)), SimulatedClock(), ears)
    device.open()
    return device


def test_with_nobody_to_ask_nothing_is_played(tmp_path: Path) -> None:
    ears = Ears()
    with pytest.raises(InputError) as caught:
        introduce(opened(ears), TONES, LEVEL, None, tmp_path)
    assert str(caught.value) == (
        "audio (sim): nothing has been played yet through outputs [1, 2, 3] of labtrain simulated sound card with "
        "these limits, and nobody can be asked whether it is too loud; run labtrain survey in a terminal once"
    )
    assert ears.heard == [] and list(tmp_path.iterdir()) == []


def test_it_asks_first_plays_each_speaker_quietly_and_asks_again(tmp_path: Path) -> None:
    ears = Ears()
    person = Person(ears, True, True)
    introduce(opened(ears), TONES, LEVEL, person, tmp_path)
    assert person.questions == [
        "audio (sim): first playback on this rig. Turn the amplifiers down and keep your ears away; each speaker in "
        "turn then plays for a second, quietly. Ready?",
        "audio (sim): shots will be 40 dB louder than this. Is that acceptable?",
    ]
    assert person.loudest[0] == 0.0
    played = ears.samples
    loud = np.abs(TONES.play(np.full((1, 1, 3), LEVEL))).max()
    assert np.abs(played).max(axis=0) == pytest.approx(0.01 * loud, rel=1e-3)
    sounding = np.abs(played) > 0
    assert (sounding.sum(axis=1) <= 1).all()  # one speaker after the other
    assert sounding.sum(axis=0) / 12_000 == pytest.approx(1.0, rel=0.2)
    firsts = sounding.argmax(axis=0)
    assert (np.diff(firsts) > 0).all()


@pytest.mark.parametrize(
    ("answers", "sentence"),
    [
        ((False,), "audio (sim): nothing was played; run it again when the rig is ready"),
        (
            (True, False),
            "audio (sim): too loud; turn the amplifiers down or lower rig.shot.level, and run it again",
        ),
    ],
)
def test_no_means_no_and_is_asked_again_next_time(tmp_path: Path, answers: tuple[bool, ...], sentence: str) -> None:
    ears = Ears()
    with pytest.raises(InputError) as caught:
        introduce(opened(ears), TONES, LEVEL, Person(ears, *answers), tmp_path)
    assert str(caught.value) == sentence
    assert (ears.heard == []) == (len(answers) == 1)
    with pytest.raises(InputError, match="nobody can be asked"):
        introduce(opened(Ears()), TONES, LEVEL, None, tmp_path)


def test_it_is_remembered_as_long_as_device_channels_and_limits_stay(tmp_path: Path) -> None:
    ears, folder = Ears(), tmp_path / "state" / "labtrain"
    introduce(opened(ears), TONES, LEVEL, Person(ears, True, True), folder)
    again = Ears()
    introduce(opened(again), TONES, LEVEL, None, folder)
    introduce(opened(again, microphones=(1, 2)), TONES, LEVEL, None, folder)  # makes nothing louder
    assert again.heard == []
    other = opened(Ears())
    other.identity = "another card"
    changed = [opened(Ears(), max_peak=0.95), opened(Ears(), max_rms=0.6), opened(Ears(), speakers=(1, 2)),
               opened(Ears(), max_coil_rms_v=1.0, volts_full_scale=2.0), other]  # fmt: skip
    for device in changed:
        with pytest.raises(InputError, match="nobody can be asked"):
            introduce(device, TONES, LEVEL, None, folder)
    known = json.loads((folder / "confirmed-rigs.json").read_text(encoding="utf-8"))
    assert list(known.values()) == [{"identity": "labtrain simulated sound card", "speakers": [1, 2, 3]}]
    ears = Ears()
    introduce(opened(ears, max_peak=0.95), TONES, LEVEL, Person(ears, True, True), folder)
    introduce(opened(Ears()), TONES, LEVEL, None, folder)  # the first one is still known


@pytest.mark.parametrize("content", ["", "{", "[]", '"x"', "\xff"])
def test_a_memory_that_cannot_be_read_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "confirmed-rigs.json").write_text(content, encoding="latin-1")
    with pytest.raises(InputError, match="nobody can be asked"):
        introduce(opened(Ears()), TONES, LEVEL, None, tmp_path)
    ears = Ears()
    introduce(opened(ears), TONES, LEVEL, Person(ears, True, True), tmp_path)
    introduce(opened(Ears()), TONES, LEVEL, None, tmp_path)


def test_a_memory_that_cannot_be_written_costs_the_same_question_again(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for _ in range(2):
        ears = Ears()
        person = Person(ears, True, True)
        introduce(opened(ears), TONES, LEVEL, person, tmp_path / "file" / "folder")
        assert len(person.questions) == 2


def test_where_it_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    for platform in ("linux", "win32"):
        monkeypatch.setattr(first_playback.sys, "platform", platform)
        assert state_folder() == tmp_path / "labtrain"
    monkeypatch.setattr(first_playback.sys, "platform", "darwin")
    assert state_folder().parts[-3:] == ("Library", "Application Support", "labtrain")
