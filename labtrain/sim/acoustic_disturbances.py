"""What can happen to the acoustic cavity, and how it stands after some of it has happened."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from labtrain.sim.cavity import AcousticParameters, Cavity
from labtrain.sim.disturbances import Disturbance, Event, Known, Value

WARMEST_K = 60.0
FASTEST_K = 10.0
FARTHEST_M = 0.5

T = TypeVar("T")


def known(p: AcousticParameters) -> Known:
    """Disturbances of a cavity by name; members are counted from 0."""
    found = {
        "temperature": Disturbance(
            "the air becomes warmer or colder: all resonances shift with the speed of sound",
            {"kelvin": Value("by how much", -WARMEST_K, WARMEST_K, "K")},
        ),
        "drift": Disturbance(
            "the air becomes warmer or colder all the time, in steps of 256 shots",
            {"kelvin_per_1000_shots": Value("how fast", -FASTEST_K, FASTEST_K, "K")},
        ),
        "scatterer": Disturbance(
            "a disc is moved",
            {
                "disc": Value("which one", 0, p.discs - 1, form="whole"),
                "dx_m": Value("along x", -FARTHEST_M, FARTHEST_M, "m"),
                "dy_m": Value("along y", -FARTHEST_M, FARTHEST_M, "m"),
            },
        ),
        "membrane": Disturbance(
            "a membrane is stuck for good", {"membrane": Value("which one", 0, p.membranes - 1, form="whole")}
        ),
        "speaker": Disturbance(
            "a speaker becomes louder, weaker or silent",
            {
                "speaker": Value("which one", 0, p.speakers - 1, form="whole"),
                "gain": Value("factor on what it plays; 0: dead", 0, 2, default=0.0),
            },
        ),
        "microphone": Disturbance(
            "a microphone is lost, or its gain changes; its noise stays",
            {
                "microphone": Value("which one", 0, p.microphones - 1, form="whole"),
                "gain": Value("factor on what it hears; 0: lost", 0, 10, default=0.0),
            },
        ),
        "inputs": Disturbance(
            "cables of speakers are plugged in another order",
            {"order": Value("speaker on each output, in their order", 0, p.speakers - 1, form="order")},
        ),
        "outputs": Disturbance(
            "cables of microphones are plugged in another order",
            {"order": Value("microphone on each input, in their order", 0, p.microphones - 1, form="order")},
        ),
        "noise": Disturbance(
            "more noise, independent of what there is",
            {"share": Value("standard deviation, as a share of each output's rms amplitude", 0, 1)},
        ),
    }
    if not p.discs:
        del found["scatterer"]
    if not p.membranes:
        del found["membrane"]
    return found


def own(p: AcousticParameters) -> tuple[Event, ...]:
    """What the parameters themselves say will happen."""
    if p.scatterer_moves_at_shot is None or not p.discs:
        return ()
    bumped = {"disc": 0, "dx_m": p.scatterer_move_m, "dy_m": 0.0}
    return (Event(p.scatterer_moves_at_shot, "scatterer", bumped),)


@dataclass(frozen=True)
class Wiring:
    """What is connected, and how well.

    Parameters
    ----------
    membranes, speakers, microphones : tuple of float
        Factor on each; 0: dead.
    speaker_of, microphone_of : tuple of int
        The one that each output, or input, of the converter is connected to.
    """

    membranes: tuple[float, ...]
    speakers: tuple[float, ...]
    microphones: tuple[float, ...]
    speaker_of: tuple[int, ...]
    microphone_of: tuple[int, ...]

    @classmethod
    def of(cls, p: AcousticParameters) -> Wiring:
        """Everything alive, and in order."""
        counts = (p.membranes, p.speakers, p.microphones)
        membranes, speakers, microphones = ((1.0,) * count for count in counts)
        return cls(membranes, speakers, microphones, tuple(range(p.speakers)), tuple(range(p.microphones)))

    def connect(self, cavity: Cavity) -> None:
        """Let a cavity with everything alive and in order be one that is wired like this."""
        speaker_of, microphone_of = list(self.speaker_of), list(self.microphone_of)
        cavity.at_membranes = np.array(self.membranes)[:, None] * cavity.at_membranes
        cavity.at_speakers = (np.array(self.speakers)[:, None] * cavity.at_speakers)[speaker_of]
        cavity.at_microphones = (np.array(self.microphones)[:, None] * cavity.at_microphones)[microphone_of]


@dataclass(frozen=True)
class Altered:
    """A cavity after all that has happened.

    Parameters
    ----------
    moved_m : tuple of (float, float)
        By how much each disc was moved.
    wiring : Wiring
    kelvin : float
    drifts : tuple of (shot, kelvin per shot)
        Each from its shot on.
    noise : float
        Further noise, as a share of each output's rms amplitude.
    """

    moved_m: tuple[tuple[float, float], ...]
    wiring: Wiring
    kelvin: float = 0.0
    drifts: tuple[tuple[int, float], ...] = ()
    noise: float = 0.0

    def kelvin_at(self, shot: int) -> float:
        """Change of temperature at a shot."""
        return self.kelvin + sum(rate * max(0, shot - begun) for begun, rate in self.drifts)


def altered(p: AcousticParameters, events: Iterable[Event]) -> Altered:
    """The cavity after these events."""
    now = Altered(((0.0, 0.0),) * p.discs, Wiring.of(p))
    for event in events:
        now = _after(now, event)
    return now


def _after(now: Altered, event: Event) -> Altered:
    v, wiring = event.values, now.wiring
    match event.name:
        case "temperature":
            return replace(now, kelvin=now.kelvin + v["kelvin"])
        case "drift":
            return replace(now, drifts=(*now.drifts, (event.shot, v["kelvin_per_1000_shots"] / 1000.0)))
        case "scatterer":
            dx, dy = now.moved_m[v["disc"]]
            return replace(now, moved_m=_with(now.moved_m, v["disc"], (dx + v["dx_m"], dy + v["dy_m"])))
        case "membrane":
            wiring = replace(wiring, membranes=_with(wiring.membranes, v["membrane"], 0.0))
        case "speaker":
            gain = wiring.speakers[v["speaker"]] * v["gain"]
            wiring = replace(wiring, speakers=_with(wiring.speakers, v["speaker"], gain))
        case "microphone":
            gain = wiring.microphones[v["microphone"]] * v["gain"]
            wiring = replace(wiring, microphones=_with(wiring.microphones, v["microphone"], gain))
        case "inputs":
            wiring = replace(wiring, speaker_of=tuple(wiring.speaker_of[i] for i in v["order"]))
        case "outputs":
            wiring = replace(wiring, microphone_of=tuple(wiring.microphone_of[i] for i in v["order"]))
        case "noise":
            return replace(now, noise=math.hypot(now.noise, v["share"]))
        case _:
            raise AssertionError(event.name)
    return replace(now, wiring=wiring)


def _with(values: tuple[T, ...], index: int, value: T) -> tuple[T, ...]:
    return (*values[:index], value, *values[index + 1 :])
