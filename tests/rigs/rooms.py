"""A small acoustic rig in memory: driver, stream and converter as in a lab, a cavity that is quick to compute."""

from __future__ import annotations

from typing import Any

import numpy as np

from labtrain.clock import SimulatedClock
from labtrain.drivers.audio import AudioInterface
from labtrain.drivers.emulators.sound import SoundFault, SoundRoom
from labtrain.rigs.acoustic import AcousticRig
from labtrain.rigs.acoustic_layer import SoundLayer

DRIVE = np.random.default_rng(0).random((20, 6))
RATE_HZ = 12_000.0
LOOPBACK = {"output": 3, "input": 3}


def settings(audio: dict[str, Any] | None = None, **keys: Any) -> AcousticRig.Config:
    """Two speakers, two microphones, three tones, one membrane, no discs; settings replace these."""
    small: dict[str, Any] = {"membranes": 1, "discs": 0, "tone_bins": (12, 14, 20), "settle_periods": 4}
    small["period_frames"] = 512  # at a quarter of the usual rate: the same tones
    channels: dict[str, Any] = {
        "speakers": (1, 2),
        "microphones": (1, 2),
        "pascal_full_scale": 20.0,
        "rate_hz": RATE_HZ,
    }
    small["converter"] = {"noise_pa": 1e-3}
    driver = AudioInterface.Config(**(channels | {"loopback": LOOPBACK} | (audio or {})))
    return AcousticRig.Config(type="acoustic", audio=driver, **(small | keys))


class SmallRig(AcousticRig):
    """With everything that a test wants to look at, or break."""

    def __init__(self, audio: dict[str, Any] | None = None, **keys: Any) -> None:
        super().__init__(settings(audio, **keys), SimulatedClock(1000.0))

    @property
    def room(self) -> SoundRoom:
        assert self._room is not None
        return self._room

    @property
    def layer(self) -> SoundLayer:
        assert isinstance(self._layer, SoundLayer)
        return self._layer

    def ready(self, seed: int = 3) -> SmallRig:
        """Commissioned, before the first shot of a trial."""
        self.commission()
        self.restart(seed)
        return self

    def strike(self, kind: Any, frames: int, shot: int, into_window: int = 100, playback: int = 1) -> None:
        """A fault in a shot's analysed window, in one of the playbacks that come next."""
        protocol = self.layer.protocol
        at = protocol.sync.lead + (shot + protocol.sync.references) * protocol.tones.shot_frames
        at += protocol.tones.window.start + into_window
        self.room.faults = (*self.room.faults, SoundFault(kind, frames, at, self.room.playbacks + playback))

    def answers(self, x: Any = DRIVE) -> tuple[Any, Any]:
        """Responses and attempts."""
        chunks = list(self.layers[0].measure(x))
        return np.concatenate([c.y for c in chunks]), np.concatenate([c.attempts for c in chunks])
