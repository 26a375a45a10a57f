"""Inputs and outputs of a layer that is known as a map of numbers alone, and what can happen to them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labtrain.sim.disturbances import Disturbance, Event, Events, Known, Value, checked
from labtrain.sim.noise import ADDED, block_normals

Array = NDArray[np.float64]


def known(n_in: float = math.inf, n_out: float = math.inf) -> Known:
    """Disturbances of inputs and outputs by name, counted from 0; without bounds where their numbers are not known."""
    return {
        "input": Disturbance(
            "an input becomes weaker, or is lost",
            {
                "input": Value("which one", 0, n_in - 1, form="whole"),
                "gain": Value("factor on its drive; 0: lost", 0, 1, default=0.0),
            },
        ),
        "inputs": Disturbance(
            "inputs are plugged in another order",
            {"order": Value("input that each drive goes to, in their order", 0, n_in - 1, form="order")},
        ),
        "output": Disturbance(
            "the gain of an output changes, or it is lost",
            {
                "output": Value("which one", 0, n_out - 1, form="whole"),
                "gain": Value("factor on its response; 0: lost", 0, 10, default=0.0),
            },
        ),
        "outputs": Disturbance(
            "outputs are plugged in another order",
            {"order": Value("output in the place of each, in their order", 0, n_out - 1, form="order")},
        ),
        "noise": Disturbance(
            "more noise, independent of what there is",
            {"share": Value("standard deviation, as a share of each output's rms", 0, 1)},
        ),
        "drift": Disturbance(
            "the gain of all outputs drifts from now on",
            {"share_per_1000_shots": Value("how fast, as a share of what it is", -1, 1)},
        ),
    }


class Channels:
    """What drives and responses become after what has happened, shot by shot.

    Parameters
    ----------
    n_in, n_out : int
    rms : ndarray, (n_out,)
        To which noise is referred.
    block : int
        Shots that share one counter of the noise.
    """

    def __init__(self, n_in: int, n_out: int, rms: Array, block: int) -> None:
        self._n_in, self._n_out, self._rms, self._block = n_in, n_out, rms, block
        self._events = Events()

    def disturb(self, name: str, *, at_shot: int = 0, **values: Any) -> None:
        """Something happens from a shot on.

        Raises
        ------
        RefusedDisturbance
            For an unknown name, other values, or values out of range.
        """
        taken = checked("recorded rig", known(self._n_in, self._n_out), name, values)
        self._events.add(Event(at_shot, name, taken))

    def clear(self) -> None:
        """Undo all of it."""
        self._events.clear()

    def steady(self, shot: int) -> float:
        """Shots from this one on before something happens."""
        return self._events.still(shot)

    def drives(self, x: Array, first_shot: int) -> Array:
        """What of drives (n, n_in) reaches the layer; nothing happens between the first shot and the last."""
        for event in self._events.until(first_shot):
            if event.name == "input":
                x = x.copy()
                x[:, event.values["input"]] *= event.values["gain"]
            elif event.name == "inputs":
                # Drive i goes to input order[i].
                x = x[:, np.argsort(event.values["order"])]
        return np.ascontiguousarray(x)

    def responses(self, y: Array, seed: int, first_shot: int) -> Array:
        """What becomes of responses (n, n_out), in one block of the noise and with nothing happening in between."""
        held, y = y, self._wired(y, first_shot, first_shot + np.arange(len(y)))
        shares = [event.values["share"] for event in self._events.until(first_shot) if event.name == "noise"]
        if noise := math.hypot(*shares):
            number, row = divmod(first_shot, self._block)
            normals = block_normals(seed, ADDED, number, (self._block, self._n_out))[row : row + len(y)]
            y = np.maximum(y + noise * self._rms * normals, 0.0)  # an amplitude is never negative
        return y if y is held else np.ascontiguousarray(y)

    def matrices(self, shot: int) -> tuple[Array, Array]:
        """What a shot's disturbances do to drives and to responses without noise, as matrices that rows multiply.

        Returns
        -------
        ndarray (n_in, n_in), ndarray (n_out, n_out)
        """
        unit = np.eye(self._n_out)
        return self.drives(np.eye(self._n_in), shot), self._wired(unit, shot, np.full(self._n_out, shot))

    def _wired(self, y: Array, first_shot: int, shots: NDArray[np.int64]) -> Array:
        """Responses (n, n_out) of these shots (n,), none of them before the first, through what happened by then."""
        for event in self._events.until(first_shot):
            v = event.values
            if event.name == "output":
                y = y.copy()
                y[:, v["output"]] *= v["gain"]
            elif event.name == "outputs":
                y = y[:, v["order"]]
            elif event.name == "drift":
                gain = 1.0 + v["share_per_1000_shots"] * (shots - event.shot) / 1000.0
                y = np.maximum(gain, 0.0)[:, None] * y
        return y

    def state(self) -> list[list[Any]]:
        """What was disturbed, JSON-compatible."""
        return self._events.state()

    def restore(self, state: list[list[Any]]) -> None:
        """Return to a state that :meth:`state` gave."""
        self._events.restore(state)
