"""A sample stream in this process: an emulator takes every buffer, in no time but that of its own computation."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from labtrain.clock import Clock
from labtrain.drivers.stream import Samples, SampleStream

BLOCK = 4096  # frames that pass at once


class SoundEmulator(Protocol):
    """A converter and the room around it, seen from the connectors: samples in, samples out, no sockets, no sleep."""

    n_out: int
    """Channels that it plays."""

    n_in: int
    """Channels that it records."""

    def process(self, out: Samples) -> Samples:
        """Play (frames, n_out), fractions of full scale; return what is recorded meanwhile, (frames, n_in)."""

    def connected(self) -> None:
        """A stream begins: silence everywhere."""


class MemoryStream(SampleStream):
    """A stream to an emulator.

    Parameters
    ----------
    who, clock, options
        As of SampleStream.
    emulator : SoundEmulator
    outputs, inputs : sequence of int
        Channels of the emulator in use, from 1.
    """

    real_time = False

    def __init__(
        self,
        who: str,
        emulator: SoundEmulator,
        clock: Clock,
        *,
        outputs: tuple[int, ...],
        inputs: tuple[int, ...],
        **options: Any,
    ) -> None:
        super().__init__(who, "sim", clock, n_out=len(outputs), n_in=len(inputs), **options)
        self.emulator = emulator
        self._outputs, self._inputs = [c - 1 for c in outputs], [c - 1 for c in inputs]

    def _open(self) -> None:
        self.emulator.connected()

    def _close(self) -> None:
        pass

    def _run(self, until: int) -> None:
        while self._now < until and not self._ended and (self._queue or not self._cut):
            out = np.zeros((min(BLOCK, until - self._now), self.emulator.n_out), dtype=np.float32)
            out[:, self._outputs] = self._next(len(out))
            try:
                came = self.emulator.process(out)
            except BaseException:
                self._end("its emulator failed; see the first error")
                raise
            self._arrived(np.ascontiguousarray(came[:, self._inputs], dtype=np.float32))
