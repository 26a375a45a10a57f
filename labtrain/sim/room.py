"""What the microwave room is made of, and where everything stands in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labtrain.errors import InputError
from labtrain.sim.dipoles import TAU, Dipoles
from labtrain.sim.noise import GEOMETRY, philox

Array = NDArray[np.float64]

LIGHT_M_S = 299_792_458.0


@dataclass(frozen=True)
class MicrowaveParameters:
    """Every physical parameter of the room.

    Lengths are in wavelengths at `f0_hz` and resonances in units of it, unless a name says otherwise; chi and gamma are
    those of :mod:`labtrain.sim.dipoles`.

    Raises
    ------
    InputError
        If a number makes no room.
    """

    pixels: int = 40
    bits: int = 1
    antennas: int = 2
    f0_hz: float = 5.5125e9
    length: float = 10.0
    width: float = 7.0
    geometry_seed: int = 1
    wall_pitch: float = 0.25
    wall_resonance: float = 10.0
    wall_chi: float = 50.0
    wall_gamma: float = 100.0
    scatterers: int = 12
    scatterer_resonance: float = 10.0
    scatterer_chi: float = 50.0
    scatterer_gamma: float = 0.0
    antenna_chi: float = 1.0
    antenna_efficiency: float = 0.9  # share of an antenna's absorption that its port receives
    pixel_pitch: float = 0.5
    pixel_standoff: float = 0.25  # in front of the wall, where its standing wave is strongest
    pixel_chi: float = 0.2
    pixel_gamma: float = 0.2
    pixel_resonance_off: float = 5.0
    pixel_resonance_on: float = 1.0
    noise_dbm_hz: float = -110.0
    trace_noise: float = 0.0005
    drift_walk_db: float = 0.0
    drift_walk_rad: float = 0.0
    drift_sine_db: float = 0.0
    drift_sine_rad: float = 0.0
    drift_period_shots: float = 10_000.0
    scatterer_moves_at_shot: int | None = None
    scatterer_move_m: float = 0.02

    def __post_init__(self) -> None:
        for name, least in (("pixels", 0), ("bits", 1), ("antennas", 1), ("scatterers", 0)):
            if getattr(self, name) < least:
                raise InputError(f"microwave world: asked {getattr(self, name)} {name}, needs {least} or more")
        if self.bits > 4:
            raise InputError(f"microwave world: asked {self.bits} bits a pixel, allowed 1 to 4")

    @property
    def wavelength_m(self) -> float:
        """At f0."""
        return LIGHT_M_S / self.f0_hz

    @property
    def pixel_resonances(self) -> Array:
        """Resonance of each pixel state, (2^bits,): even steps from off, state 0, to on."""
        return np.linspace(self.pixel_resonance_off, self.pixel_resonance_on, 2**self.bits)


@dataclass(frozen=True)
class Geometry:
    """Positions (n, 2) in wavelengths."""

    walls: Array
    scatterers: Array
    antennas: Array
    pixels: Array


def place(p: MicrowaveParameters) -> Geometry:
    """Walls all around, pixels in front of them from the middle of the lower wall on, the rest where the seed says.

    Raises
    ------
    InputError
        If there is no room.
    """
    rng = philox(p.geometry_seed, GEOMETRY)
    pixels = _along_walls(p, p.pixel_pitch, p.pixel_standoff, 0.75)
    if len(pixels) < p.pixels:
        raise InputError(
            f"microwave world: asked {p.pixels} pixels, the walls of a room of {p.length:g} x {p.width:g} wavelengths "
            f"hold {len(pixels)}; ask for fewer or set length and width"
        )
    pixels = pixels[: p.pixels]
    taken: list[Array] = []

    def draw(clearance: float) -> Array:
        for _ in range(2_000):
            spot = 1.0 + rng.random(2) * (np.array([p.length, p.width]) - 2.0)
            others = np.concatenate([pixels, *(t[None] for t in taken)])
            near = np.concatenate([np.full(len(pixels), 0.5), np.full(len(taken), clearance)])
            if (np.hypot(*(others - spot).T) > near).all():
                taken.append(spot)
                return spot
        raise InputError(
            f"microwave world: no room for {p.antennas} antennas and {p.scatterers} scatterers in {p.length:g} x "
            f"{p.width:g} wavelengths; ask for fewer or set length and width"
        )

    antennas = np.array([draw(1.5) for _ in range(p.antennas)]).reshape(-1, 2)
    scatterers = np.array([draw(0.6) for _ in range(p.scatterers)]).reshape(-1, 2)
    return Geometry(_walls(p), scatterers, antennas, pixels)


def _walls(p: MicrowaveParameters) -> Array:
    nx, ny = int(np.ceil(p.length / p.wall_pitch)), int(np.ceil(p.width / p.wall_pitch))
    x, y = np.arange(nx) * p.length / nx, np.arange(ny) * p.width / ny
    sides = [(x, 0.0 * x), (0.0 * y + p.length, y), (p.length - x, 0.0 * x + p.width), (0.0 * y, p.width - y)]
    return np.concatenate([np.stack(side, axis=1) for side in sides])


def _along_walls(p: MicrowaveParameters, pitch: float, standoff: float, corner: float) -> Array:
    """Places for pixels along the lower, left, upper and right wall, clear of the corners."""
    x, y = ((np.arange(max(0, 1 + int((side - 2.0 * corner) / pitch))), side) for side in (p.length, p.width))
    xs, ys = ((step - (len(step) - 1) / 2.0) * pitch + side / 2.0 for step, side in (x, y))
    lines = [
        (xs, 0.0 * xs + standoff),
        (0.0 * ys + standoff, ys),
        (xs, 0.0 * xs + p.width - standoff),
        (0.0 * ys + p.length - standoff, ys),
    ]
    return np.concatenate([np.stack(line, axis=1) for line in lines])


def dipoles(p: MicrowaveParameters, geometry: Geometry, states: NDArray[np.int64] | None = None) -> Dipoles:
    """All dipoles in the order walls, scatterers, antennas, pixels; pixels in `states` (pixels,), or all in state 0."""
    states = np.zeros(p.pixels, dtype=np.int64) if states is None else states
    groups = (geometry.walls, geometry.scatterers, geometry.antennas, geometry.pixels)

    def each(*values: float) -> Array:
        return np.concatenate([np.full(len(group), value) for group, value in zip(groups, values, strict=True)])

    resonance = each(p.wall_resonance, p.scatterer_resonance, 1.0, 0.0)
    resonance[len(resonance) - p.pixels :] = p.pixel_resonances[states]
    return Dipoles(
        np.concatenate(groups),
        resonance,
        each(p.wall_chi, p.scatterer_chi, p.antenna_chi, p.pixel_chi),
        each(p.wall_gamma, p.scatterer_gamma, _antenna_gamma(p), p.pixel_gamma),
    )


def port_share(p: MicrowaveParameters, frequency: Array) -> Array:
    """g of equation (3) of :mod:`labtrain.sim.dipoles` at normalised frequencies, in their shape."""
    return np.asarray(p.antenna_efficiency * TAU * frequency * _antenna_gamma(p) / p.antenna_chi**2)


def _antenna_gamma(p: MicrowaveParameters) -> float:
    """Absorption equal to radiation damping at f0: an antenna matched to free space."""
    return 0.25 * TAU * p.antenna_chi**2
