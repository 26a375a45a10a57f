"""What can happen to the optical bench, and how it stands after some of it has happened."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from labtrain.sim.disturbances import Disturbance, Event, Known, Value
from labtrain.sim.optics.parameters import OpticalParameters
from labtrain.sim.optics.wander import History, Stretch

FARTHEST = 1000


def known(p: OpticalParameters) -> Known:
    """Disturbances of a bench by name; members are counted from 0, row by row."""
    pixels = Value("by how many pixels", -FARTHEST, FARTHEST, form="whole", default=0)
    return {
        "fibre": Disturbance(
            "the fibre is bent: another speckle for the same pattern",
            {"correlation": Value("of the intensities before and after", 0, 1)},
        ),
        "pixels": Disturbance(
            "cells of the modulator are stuck at one level for good, whatever is written",
            {
                "pixels": Value("which ones", 0, p.cells - 1, form="list"),
                "level": Value("at which", 0, p.levels - 1, form="whole", default=0),
            },
        ),
        "camera_pixels": Disturbance(
            "pixels of the camera are lost: they see no light",
            {"pixels": Value("which ones", 0, p.pixels - 1, form="list")},
        ),
        "laser": Disturbance(
            "the laser becomes brighter or weaker", {"gain": Value("factor on its power; 0: shutter closed", 0, 10)}
        ),
        "shift": Disturbance("the camera is moved", {"rows": pixels, "columns": pixels}),
        "noise": Disturbance(
            "more noise, independent of what there is",
            {"share": Value("standard deviation, as a share of each camera pixel's rms signal", 0, 1)},
        ),
        "drift": Disturbance(
            "the fibre drifts from now on, in steps of 256 shots: T(t + 1) = sqrt(1 - eps^2) T(t) + eps N",
            {"eps": Value("how fast, per shot", 0, 0.5)},
        ),
    }


def own(p: OpticalParameters) -> tuple[Event, ...]:
    """What the parameters themselves say will happen."""
    if p.fibre_bends_at_shot is None:
        return ()
    return (Event(p.fibre_bends_at_shot, "fibre", {"correlation": p.fibre_bend_correlation}),)


@dataclass(frozen=True)
class Altered:
    """A bench after all that has happened.

    Parameters
    ----------
    history : tuple of Stretch
        Of the fibre.
    stuck : tuple of (cell, level)
        The latest of a cell counts.
    lost : tuple of int
        Pixels of the camera.
    laser : float
        Factor on its power.
    shift : (rows, columns)
        By which the camera was moved.
    noise : float
        Further noise, as a share of each pixel's rms signal.
    """

    history: History
    stuck: tuple[tuple[int, int], ...] = ()
    lost: tuple[int, ...] = ()
    laser: float = 1.0
    shift: tuple[int, int] = (0, 0)
    noise: float = 0.0


def altered(p: OpticalParameters, events: Iterable[Event]) -> Altered:
    """The bench after these events."""
    now = Altered((Stretch(0, p.drift_eps),))
    for event in events:
        now = _after(now, event)
    return now


def _after(now: Altered, event: Event) -> Altered:
    v, eps = event.values, now.history[-1].eps
    match event.name:
        case "fibre":
            # Of fields the correlation is the root of that of intensities.
            bent = Stretch(event.shot, eps, math.sqrt(v["correlation"]))
            return replace(now, history=(*now.history, bent))
        case "drift":
            both = math.sqrt(1.0 - (1.0 - eps**2) * (1.0 - v["eps"] ** 2))
            return replace(now, history=(*now.history, Stretch(event.shot, both)))
        case "pixels":
            return replace(now, stuck=(*now.stuck, *((cell, v["level"]) for cell in v["pixels"])))
        case "camera_pixels":
            return replace(now, lost=tuple(sorted({*now.lost, *v["pixels"]})))
        case "laser":
            return replace(now, laser=now.laser * v["gain"])
        case "shift":
            return replace(now, shift=(now.shift[0] + v["rows"], now.shift[1] + v["columns"]))
        case "noise":
            return replace(now, noise=math.hypot(now.noise, v["share"]))
    raise AssertionError(event.name)
