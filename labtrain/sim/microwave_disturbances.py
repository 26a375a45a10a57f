"""What can happen to the microwave room, and how it stands after some of it has happened."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from labtrain.sim.disturbances import Disturbance, Event, Known, Value
from labtrain.sim.room import MicrowaveParameters

# Of aluminium, 23.1e-6 per kelvin (CRC Handbook of Chemistry and Physics): a room of it that grows has all its lengths
# grow alike, and with them the wavelength of everything that resonates.
EXPANSION_PER_K = 23.1e-6
WARMEST_K = 60.0
FARTHEST_M = 0.5
LOUDEST_DB = 60.0


def known(p: MicrowaveParameters) -> Known:
    """Disturbances of a room by name; members are counted from 0."""
    decibel = Value("gain in dB of all S-parameters", -LOUDEST_DB, LOUDEST_DB, "dB")
    found = {
        "scatterer": Disturbance(
            "a scatterer is moved",
            {
                "scatterer": Value("which one", 0, p.scatterers - 1, form="whole"),
                "dx_m": Value("along x", -FARTHEST_M, FARTHEST_M, "m"),
                "dy_m": Value("along y", -FARTHEST_M, FARTHEST_M, "m"),
            },
        ),
        "pixels": Disturbance(
            "pixels are stuck in one state for good, whatever is written",
            {
                "pixels": Value("which ones", 0, p.pixels - 1, form="list"),
                "state": Value("in which", 0, 2**p.bits - 1, form="whole", default=0),
            },
        ),
        "temperature": Disturbance(
            "the room grows with the temperature as aluminium does: all resonances shift down by 23 ppm per kelvin",
            {"kelvin": Value("by how much it becomes warmer", -WARMEST_K, WARMEST_K, "K")},
        ),
        "cable": Disturbance(
            "the cables are touched: one complex factor on all S-parameters",
            {"db": decibel, "rad": Value("phase", -6.3, 6.3, "rad")},
        ),
        "antenna": Disturbance(
            "the cable of one antenna loses or gains: what leaves or enters by it",
            {
                "antenna": Value("which one", 0, p.antennas - 1, form="whole"),
                "db": Value("gain in dB, each way", -200.0, LOUDEST_DB, "dB"),
            },
        ),
        "ports": Disturbance(
            "cables of antennas are plugged in another order",
            {"order": Value("antenna on each port, in their order", 0, p.antennas - 1, form="order")},
        ),
        "noise": Disturbance(
            "more noise, independent of what there is",
            {"share": Value("standard deviation, as a share of each S-parameter at 1 kHz IF bandwidth", 0, 1)},
        ),
        "drift": Disturbance(
            "the cables drift from now on",
            {
                "db_per_1000_shots": Value("how fast the gain does", -LOUDEST_DB, LOUDEST_DB, "dB", default=0.0),
                "rad_per_1000_shots": Value("how fast the phase does", -100.0, 100.0, "rad", default=0.0),
            },
        ),
    }
    if not p.scatterers:
        del found["scatterer"]
    return found


def own(p: MicrowaveParameters) -> tuple[Event, ...]:
    """What the parameters themselves say will happen."""
    if p.scatterer_moves_at_shot is None or not p.scatterers:
        return ()
    bumped = {"scatterer": 0, "dx_m": p.scatterer_move_m, "dy_m": 0.0}
    return (Event(p.scatterer_moves_at_shot, "scatterer", bumped),)


@dataclass(frozen=True)
class Altered:
    """A room after all that has happened.

    Parameters
    ----------
    moved_m : tuple of (float, float)
        By how much each scatterer was moved.
    antenna_of : tuple of int
        Antenna that each port is connected to.
    antenna_db : tuple of float
        Gain of the cable of each antenna.
    stuck : tuple of (pixel, state)
        The latest of a pixel counts.
    kelvin : float
    db, rad : float
        Of all S-parameters.
    drifts : tuple of (shot, dB per shot, radian per shot)
        Each from its shot on.
    noise : float
        Further trace noise.
    """

    moved_m: tuple[tuple[float, float], ...]
    antenna_of: tuple[int, ...]
    antenna_db: tuple[float, ...]
    stuck: tuple[tuple[int, int], ...] = ()
    kelvin: float = 0.0
    db: float = 0.0
    rad: float = 0.0
    drifts: tuple[tuple[int, float, float], ...] = ()
    noise: float = 0.0

    @property
    def stretch(self) -> float:
        """The room as it was answers at this many times the frequency as it does now: all lengths have grown."""
        return 1.0 + EXPANSION_PER_K * self.kelvin

    def cables_at(self, shot: int) -> tuple[float, float]:
        """Gain in dB and phase in radian that disturbances give all S-parameters at a shot."""
        db = self.db + sum(rate * max(0, shot - begun) for begun, rate, _ in self.drifts)
        return db, self.rad + sum(rate * max(0, shot - begun) for begun, _, rate in self.drifts)

    def connected(self, ports: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """Antennas to which these pairs of ports lead; both are counted from 1."""
        return [(self.antenna_of[to - 1] + 1, self.antenna_of[source - 1] + 1) for to, source in ports]

    def shown(self, patterns: NDArray[np.int64]) -> NDArray[np.int64]:
        """What the pixels show of patterns (n, n_pixels)."""
        if not self.stuck:
            return patterns
        shown = patterns.copy()
        for pixel, state in self.stuck:
            shown[:, pixel] = state
        return shown


def altered(p: MicrowaveParameters, events: Iterable[Event]) -> Altered:
    """The room after these events."""
    now = Altered(((0.0, 0.0),) * p.scatterers, tuple(range(p.antennas)), (0.0,) * p.antennas)
    for event in events:
        now = _after(now, event)
    return now


def _after(now: Altered, event: Event) -> Altered:
    v = event.values
    match event.name:
        case "scatterer":
            moved, which = list(now.moved_m), v["scatterer"]
            moved[which] = (moved[which][0] + v["dx_m"], moved[which][1] + v["dy_m"])
            return replace(now, moved_m=tuple(moved))
        case "pixels":
            return replace(now, stuck=(*now.stuck, *((pixel, v["state"]) for pixel in v["pixels"])))
        case "temperature":
            return replace(now, kelvin=now.kelvin + v["kelvin"])
        case "cable":
            return replace(now, db=now.db + v["db"], rad=now.rad + v["rad"])
        case "antenna":
            gains = list(now.antenna_db)
            gains[v["antenna"]] += v["db"]
            return replace(now, antenna_db=tuple(gains))
        case "ports":
            return replace(now, antenna_of=tuple(now.antenna_of[i] for i in v["order"]))
        case "noise":
            return replace(now, noise=math.hypot(now.noise, v["share"]))
        case "drift":
            rates = v["db_per_1000_shots"] / 1000.0, v["rad_per_1000_shots"] / 1000.0
            return replace(now, drifts=(*now.drifts, (event.shot, *rates)))
    raise AssertionError(event.name)
