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
CORNER = 0.75  # wavelengths without pixels on either side of a corner


@dataclass(frozen=True)
class MicrowaveParameters:
    """Every physical parameter of the room, of the receivers and of what drifts.

    Lengths are in wavelengths at `f0_hz` and resonances in units of it, unless a name says otherwise; chi and gamma are
    those of :mod:`labtrain.sim.dipoles`. With the defaults the room is 65 cm x 44 cm, Q is about 170, S21 about -24 dB,
    40 % of it by the pattern, and the signal-to-noise ratio 40 dB at -10 dBm and an IF bandwidth of 1 kHz; an affine
    fit of S21 to the pattern explains 13.7 dB, as for measured rigs (13.8 dB: arXiv 2507.22750).

    Raises
    ------
    InputError
        If a number makes no room.
    """

    pixels: int = 40
    bits: int = 1
    antennas: int = 2
    f0_hz: float = 5.5125e9
    length: float = 12.0
    width: float = 8.0
    geometry_seed: int = 1
    wall_pitch: float = 0.25
    # Resonance 0 makes rods of metal, W_ii = -k^2 / chi^2. A fence of them reflects best when their radius is the pitch
    # over 2 pi: -1 / chi^2 = Y0(pitch k / 2 pi) / 4.
    wall_resonance: float = 0.0
    wall_chi: float = 2.0
    wall_gamma: float = 0.8
    scatterers: int = 16
    scatterer_resonance: float = 10.0
    scatterer_chi: float = 50.0
    scatterer_gamma: float = 0.0
    antenna_chi: float = 1.0
    antenna_efficiency: float = 0.9  # share of an antenna's absorption that its port receives
    cable_db: float = 3.0  # loss of each antenna's cable, behind the reference plane
    pixel_pitch: float = 0.5
    pixel_standoff: float = 0.25  # in front of the wall, where its standing wave is strongest
    pixel_chi: float = 0.2
    pixel_gamma: float = 0.3
    pixel_resonance_off: float = 5.0
    pixel_resonance_on: float = 1.0
    noise_dbm_hz: float = -107.0
    trace_noise: float = 0.005  # rms, relative to S, at an IF bandwidth of 1 kHz
    # With 40 ms a shot: 0.04 dB and 2 degrees in an hour.
    drift_walk_db: float = 0.002
    drift_walk_rad: float = 0.002
    drift_sine_db: float = 0.0
    drift_sine_rad: float = 0.0
    drift_period_shots: float = 10_000.0
    scatterer_moves_at_shot: int | None = None
    scatterer_move_m: float = 0.005

    def __post_init__(self) -> None:
        limits = {"pixels": (1, 4096), "bits": (1, 4), "antennas": (1, 16), "scatterers": (0, 1000)}
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise InputError(f"microwave world: asked {getattr(self, name)} {name}, allowed {low} to {high}")
        positive = ("f0_hz", "length", "width", "wall_pitch", "wall_chi", "scatterer_chi", "antenna_chi")
        for name in (*positive, "pixel_pitch", "pixel_chi", "drift_period_shots"):
            if not getattr(self, name) > 0:
                raise InputError(f"microwave world: asked {name} {getattr(self, name):g}, it must be above 0")
        for name in ("wall_gamma", "scatterer_gamma", "pixel_gamma", "cable_db"):
            if not getattr(self, name) >= 0:
                raise InputError(f"microwave world: asked {name} {getattr(self, name):g}, a gain; it must be 0 or more")
        if not 0 < self.antenna_efficiency <= 1:
            raise InputError(
                f"microwave world: asked antenna_efficiency {self.antenna_efficiency:g}, allowed above 0 to 1"
            )

    @property
    def wavelength_m(self) -> float:
        """At f0."""
        return LIGHT_M_S / self.f0_hz

    @property
    def pixel_changes(self) -> Array:
        """W_ii of a pixel in each state less that in state 0, (2^bits,): real, the same at all frequencies.

        States between off and on lie at even steps of the phase of W_ii at f0: even steps of the resonance would leave
        all but the last far from any effect.
        """
        ends = TAU**2 * (np.array([self.pixel_resonance_off, self.pixel_resonance_on]) ** 2 - 1.0) / self.pixel_chi**2
        damping = 0.25 * TAU**2 + TAU * self.pixel_gamma / self.pixel_chi**2
        off, on = np.arctan2(damping, ends)
        phase = np.linspace(off, on, 2**self.bits)
        detuning = np.concatenate([ends[:1], damping / np.tan(phase[1:-1]), ends[1:]])
        return np.asarray(detuning - detuning[0])

    @property
    def pixel_resonances(self) -> Array:
        """Resonance of each pixel state, (2^bits,)."""
        return np.asarray(np.sqrt(self.pixel_resonance_off**2 + self.pixel_changes * self.pixel_chi**2 / TAU**2))

    def port_share(self, frequency: Array | float) -> Array:
        """g of equation (3) of :mod:`labtrain.sim.dipoles` at normalised frequencies, in their shape."""
        return np.asarray(self.antenna_efficiency * TAU * frequency * self.antenna_gamma / self.antenna_chi**2)

    @property
    def antenna_gamma(self) -> float:
        """Absorption equal to radiation damping at f0: an antenna matched to free space."""
        return 0.25 * TAU * self.antenna_chi**2

    @property
    def cable_gain(self) -> float:
        """By which the cables multiply all S-parameters: to the room and back."""
        return float(10.0 ** (-2.0 * self.cable_db / 20.0))


@dataclass(frozen=True)
class Geometry:
    """Positions (n, 2) in wavelengths."""

    walls: Array
    scatterers: Array
    antennas: Array
    pixels: Array

    def dipoles(self, p: MicrowaveParameters, states: NDArray[np.int64]) -> Dipoles:
        """All dipoles in the order walls, scatterers, antennas, pixels, for a pattern (pixels,)."""
        groups = (self.walls, self.scatterers, self.antennas, self.pixels)

        def each(*values: float) -> Array:
            return np.concatenate([np.full(len(group), value) for group, value in zip(groups, values, strict=True)])

        resonance = each(p.wall_resonance, p.scatterer_resonance, 1.0, 0.0)
        resonance[len(resonance) - p.pixels :] = p.pixel_resonances[states]
        return Dipoles(
            np.concatenate(groups),
            resonance,
            each(p.wall_chi, p.scatterer_chi, p.antenna_chi, p.pixel_chi),
            each(p.wall_gamma, p.scatterer_gamma, p.antenna_gamma, p.pixel_gamma),
        )


def place(p: MicrowaveParameters) -> Geometry:
    """Walls all around, pixels in front of them, first of the lower one, and the rest where the geometry seed says.

    Raises
    ------
    InputError
        If there is no room.
    """
    rng, size = philox(p.geometry_seed, GEOMETRY), np.array([p.length, p.width])
    places = _along_walls(p)
    if len(places) < p.pixels:
        raise InputError(
            f"microwave world: asked {p.pixels} pixels, the walls of a room of {p.length:g} x {p.width:g} wavelengths "
            f"hold {len(places)}; ask for fewer, or set rig.world.length and rig.world.width"
        )
    pixels, taken = places[: p.pixels], np.empty((0, 2))

    def draw(clearance: float) -> None:
        nonlocal taken
        for _ in range(2_000 if (size > 2.0).all() else 0):
            spot = 1.0 + rng.random(2) * (size - 2.0)
            if _clear(spot, pixels, 0.5) and _clear(spot, taken, clearance):
                taken = np.concatenate([taken, spot[None]])
                return
        raise InputError(
            f"microwave world: no room for {p.antennas} antennas and {p.scatterers} scatterers in {p.length:g} x "
            f"{p.width:g} wavelengths; ask for fewer, or set rig.world.length and rig.world.width"
        )

    for _ in range(p.antennas):  # far from one another: most of what one hears of the other comes by way of the room
        draw(0.6 * float(np.sqrt(p.length * p.width / p.antennas)))
    for _ in range(p.scatterers):
        draw(0.6)
    return Geometry(_walls(p), taken[p.antennas :], taken[: p.antennas], pixels)


def _clear(spot: Array, others: Array, clearance: float) -> bool:
    return bool((np.hypot(*(others - spot).T) > clearance).all())


def _walls(p: MicrowaveParameters) -> Array:
    nx, ny = int(np.ceil(p.length / p.wall_pitch)), int(np.ceil(p.width / p.wall_pitch))
    x, y = np.arange(nx) * p.length / nx, np.arange(ny) * p.width / ny
    sides = [(x, 0.0 * x), (0.0 * y + p.length, y), (p.length - x, 0.0 * x + p.width), (0.0 * y, p.width - y)]
    return np.concatenate([np.stack(side, axis=1) for side in sides])


def _along_walls(p: MicrowaveParameters) -> Array:
    """Places for pixels along the lower, left, upper and right wall, clear of the corners."""

    def middle(side: float) -> Array:
        count = max(0, 1 + int((side - 2.0 * CORNER) / p.pixel_pitch))
        return np.asarray((np.arange(count) - (count - 1) / 2.0) * p.pixel_pitch + side / 2.0, dtype=np.float64)

    x, y = middle(p.length), middle(p.width)
    lower, left = np.full(len(x), p.pixel_standoff), np.full(len(y), p.pixel_standoff)
    lines = [(x, lower), (left, y), (x, p.width - lower), (p.length - left, y)]
    return np.concatenate([np.stack(line, axis=1) for line in lines])
