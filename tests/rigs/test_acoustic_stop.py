"""What sounds when somebody wants to stop an acoustic rig on instruments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from labtrain.clock import SimulatedClock
from labtrain.drivers.sound import SoundInterface
from labtrain.errors import Interrupted
from labtrain.rigs.acoustic import AcousticRig

AUDIO = {"driver": "audio", "loopback": {"output": 5, "input": 5}}
DRIVE = np.random.default_rng(0).random((6, 20))


def stopped(monkeypatch: pytest.MonkeyPatch, at: int) -> tuple[list[int], np.ndarray, Any]:
    """Stop at a certain question whether to stop: lengths of playbacks, what the outputs got, chunks."""
    asked, played, chunks = [0], [], []
    out: list[np.ndarray] = []

    def check() -> None:
        asked[0] += 1
        if asked[0] >= at:
            raise Interrupted("stopped by Ctrl-C")

    with AcousticRig(AcousticRig.Config(type="acoustic", audio=AUDIO), SimulatedClock()) as rig:
        rig.commission()
        (layer,) = rig.layers
        rig.check = check
        next_frames: Callable[..., Any] = rig.sound.stream._next
        play: Callable[..., Any] = SoundInterface.play

        def heard(frames: int) -> Any:
            out.append(next_frames(frames))
            return out[-1]

        def noted(self: SoundInterface, speakers: Any, *rest: Any) -> Any:
            played.append(len(speakers))
            return play(self, speakers, *rest)

        monkeypatch.setattr(rig.sound.stream, "_next", heard)
        monkeypatch.setattr(SoundInterface, "play", noted)
        with pytest.raises(Interrupted, match=r"^stopped by Ctrl-C$"):
            chunks.extend(layer.measure(DRIVE))
    return played, np.concatenate([*out, np.zeros((0, 5), np.float32)]), chunks


def test_nothing_is_played_for_whoever_wants_to_stop_already(monkeypatch: pytest.MonkeyPatch) -> None:
    played, _, chunks = stopped(monkeypatch, 1)
    assert not played and not chunks


def test_a_playback_that_is_broken_off_fades_and_ends_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    played, out, _ = stopped(monkeypatch, 2)
    assert len(played) == 1
    sounding = np.flatnonzero(out.any(axis=1))
    # It is asked once a second of simulated sound; the fade takes 10 ms.
    assert sounding[-1] - sounding[0] == pytest.approx(1.01 * 48_000, abs=2)
    tones = 0.15 * 2 * np.sin(np.pi * np.array([12, 14, 20, 24, 27]) / 2048)  # steps of each at drive 1
    assert np.abs(np.diff(out[:, :4], axis=0)).max() < tones.sum()
