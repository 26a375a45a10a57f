"""One layer of the microwave rig: a pixel code in front of the instruments, a readout behind them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from labtrain.layer import Array, Integers, Layer, LayerInfo, Shots, check_drive
from labtrain.rigs.microwave_bench import BLOCK, Bench, RoomBench
from labtrain.rigs.microwave_readout import Readout
from labtrain.rigs.pixel_code import PixelCode
from labtrain.sim.vectors import check_vectors


class MicrowaveLayer(Layer):
    """Drives in [0, 1], one per word of pixels, to S-parameters, one or two outputs per frequency.

    Parameters
    ----------
    name : str
    bench : Bench
        Shared, with its shot number, by all layers of a rig.
    code : PixelCode
    readout : Readout
        Shared by all layers of a rig.
    info : LayerInfo
    """

    PHYSICS = "rig.fidelity: physics"

    def __init__(self, name: str, bench: Bench, code: PixelCode, readout: Readout, info: LayerInfo) -> None:
        self.name, self.code = name, code
        self._bench, self._readout, self._info = bench, readout, info

    @property
    def info(self) -> LayerInfo:
        return self._info

    def quantise(self, x: ArrayLike) -> Array:
        """What the pixels carry of the drives, (shots, n_in)."""
        return self.code.quantise(check_drive(x, self.code.n_in, self.name))

    def _measure(self, x: Array) -> Iterator[Shots]:
        self._readout.check_ready()
        for told, readings in self._bench.paired(self.code.quantise(x), self.code.states(x)):
            yield Shots(told, *self._readout(readings.s), readings.attempts, readings.started_s)

    def vjp(self, x: ArrayLike, dy: ArrayLike) -> Array:
        """In the place of the derivatives that pixels do not have: exact differences to neighbouring levels.

        At the level that carries a drive, (y(level + 1) - y(level - 1)) / (x(level + 1) - x(level - 1)), one-sided at
        the ends (:mod:`labtrain.rigs.pixel_steps`); of the room as it stands at the next shot, without noise. A value
        whose pixels are all stuck has none.
        """
        if not isinstance(self._bench, RoomBench):
            return super().vjp(x, dy)
        drive = check_drive(x, self.code.n_in, self.name)
        vector = check_vectors(dy, len(drive), self._readout.n_out, self.name)
        dx = np.empty_like(drive)
        if not len(drive):
            return dx  # whether it has a derivative may be asked before commissioning gives its outputs a scale
        self._readout.check_ready()
        for start in range(0, len(drive), BLOCK):
            rows = slice(start, start + BLOCK)
            steps = self.code.steps(drive[rows])
            patterns = self.code.states(drive[rows])
            moves = self._readout.moves(*self._bench.differences(patterns, steps.pixels, steps.states))
            along = steps.weights * (moves @ vector[rows, :, None])[..., 0]
            dx[rows] = along @ np.eye(self.code.n_in)[steps.inputs]
        return dx

    @property
    def parameters(self) -> Integers:
        """States of the pixels that carry no value, (n_spare,)."""
        return self.code.parameters

    def set_parameters(self, states: ArrayLike) -> None:
        """Hold the pixels that carry no value at these states."""
        self.code.set_parameters(states)

    def state(self) -> dict[str, Any]:
        return {**self._bench.state(), "parameters": self.code.parameters.tolist()}

    def restore(self, state: dict[str, Any]) -> None:
        self._bench.restore(state)
        self.code.set_parameters(state["parameters"])
