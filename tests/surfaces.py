"""Stand-ins around an OpenSourceRIS: a world that is nothing but pixels, and a cable on which things go wrong."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labtrain.clock import Clock, SimulatedClock
from labtrain.drivers.backends.memory import MemoryLink
from labtrain.drivers.emulators.emulator import Emulator, Reply
from labtrain.drivers.emulators.metasurface.open_source_ris import OpenSourceRisEmulator
from labtrain.drivers.metasurface.open_source_ris import OpenSourceRis


class Pixels:
    """A world of pixels that remember their states, and how often they were set."""

    bits = 1

    def __init__(self, n_pixels: int = 256) -> None:
        self.pattern: NDArray[np.int64] = np.zeros(n_pixels, dtype=np.int64)
        self.times_set = 0

    @property
    def n_pixels(self) -> int:
        return len(self.pattern)

    def set_pattern(self, states: ArrayLike) -> None:
        states = np.asarray(states, dtype=np.int64)
        assert states.shape == self.pattern.shape
        self.pattern = states
        self.times_set += 1


class Cable:
    """Between a link and an emulator: notes what the emulator hears; `trouble` changes what it answers, once."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.heard: list[bytes] = []
        self.trouble: list[Callable[[list[Reply]], list[Reply]]] = []

    def connected(self) -> list[Reply]:
        return self.emulator.connected()

    def receive(self, data: bytes) -> list[Reply]:
        self.heard.append(data)
        replies = self.emulator.receive(data)
        return self.trouble.pop(0)(replies) if self.trouble else replies


class Bench:
    """A production driver at one end, the emulator at the other, simulated time."""

    def __init__(self, pixels: int = 256, *, clock: Clock | None = None, **config: object) -> None:
        self.clock = clock or SimulatedClock()
        self.world = Pixels(pixels)
        self.emulator = OpenSourceRisEmulator(self.world, self.clock)
        self.cable = Cable(self.emulator)
        self.config = OpenSourceRis.Config.model_validate(config)
        self.link = MemoryLink("metasurface", self.cable, self.clock, timeout_s=self.config.timeout_s)
        self.surface = OpenSourceRis(self.link, self.config, self.clock)
