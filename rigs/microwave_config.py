"""Settings of the microwave rig."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator
from pydantic_core import PydanticCustomError

from labtrain.config import Registered, Section
from labtrain.drivers.address import SIM
from labtrain.drivers.device import DeviceConfig
from labtrain.drivers.metasurface.metasurface import Metasurface, MetasurfaceConfig
from labtrain.drivers.vna.vna import Vna, VnaConfig
from labtrain.registry import resolve
from labtrain.rigs.pixel_code import PixelCodeConfig
from labtrain.rigs.recovery import RecoveryConfig
from labtrain.rigs.rig_config import RigConfig
from labtrain.sim.disturbances import Known
from labtrain.sim.microwave import MicrowaveParameters
from labtrain.sim.microwave_disturbances import known

_DEFAULT = MicrowaveParameters()


class Grid(Section):
    """Frequencies at equal distances, both ends included."""

    start: float = Field(gt=0, description="in Hz")
    stop: float = Field(gt=0, description="in Hz")
    points: int = Field(ge=2, le=1_000_000)


def _form(value: Any) -> str:
    """Which form of frequencies to check, so that an error is about that one alone."""
    return "grid" if isinstance(value, dict | Grid) else "list"


def _some_form(value: Any) -> Any:
    if isinstance(value, dict | Grid | list | tuple):
        return value
    raise PydanticCustomError("frequencies", "", {"expected": "a mapping {start, stop, points} or a list of numbers"})


Chosen = Annotated[
    Annotated[Grid, Tag("grid")] | Annotated[tuple[float, ...], Tag("list")],
    Discriminator(_form),
    BeforeValidator(_some_form),
]


class RoomConfig(Section):
    """The simulated room; lengths in wavelengths at f0, resonances in units of f0, unless a name says otherwise."""

    pixels: int = Field(_DEFAULT.pixels, ge=1, description="pixels that stand in the room, at least those in use")
    bits: int = Field(_DEFAULT.bits, ge=1, le=4, description="of a pixel; as the driver of the metasurface has them")
    antennas: int = Field(_DEFAULT.antennas, ge=1, description="each on a port of the VNA")
    f0_hz: float = Field(_DEFAULT.f0_hz, gt=0, description="reference for lengths and resonances")
    length: float = Field(_DEFAULT.length, gt=0, description="of the room")
    width: float = Field(_DEFAULT.width, gt=0, description="of the room")
    geometry_seed: int = Field(_DEFAULT.geometry_seed, ge=0, description="where antennas and scatterers stand")
    wall_pitch: float = Field(_DEFAULT.wall_pitch, gt=0, description="distance of the dipoles that make a wall")
    wall_resonance: float = Field(_DEFAULT.wall_resonance, ge=0, description="of these dipoles; 0: rods of metal")
    wall_chi: float = Field(_DEFAULT.wall_chi, gt=0, description="their coupling to the field")
    wall_gamma: float = Field(_DEFAULT.wall_gamma, ge=0, description="their loss; less loss, longer echoes")
    scatterers: int = Field(_DEFAULT.scatterers, ge=0, description="that stand about in the room")
    scatterer_resonance: float = Field(_DEFAULT.scatterer_resonance, gt=0, description="of each")
    scatterer_chi: float = Field(_DEFAULT.scatterer_chi, gt=0, description="its coupling to the field")
    scatterer_gamma: float = Field(_DEFAULT.scatterer_gamma, ge=0, description="its loss")
    antenna_chi: float = Field(_DEFAULT.antenna_chi, gt=0, description="coupling of an antenna to the field")
    antenna_efficiency: float = Field(_DEFAULT.antenna_efficiency, gt=0, le=1, description="share that its port gets")
    cable_db: float = Field(_DEFAULT.cable_db, ge=0, description="loss of each antenna's cable")
    pixel_pitch: float = Field(_DEFAULT.pixel_pitch, gt=0, description="distance of neighbouring pixels")
    pixel_standoff: float = Field(_DEFAULT.pixel_standoff, gt=0, description="their distance from the wall")
    pixel_chi: float = Field(_DEFAULT.pixel_chi, gt=0, description="coupling of a pixel to the field")
    pixel_gamma: float = Field(_DEFAULT.pixel_gamma, ge=0, description="its loss")
    pixel_resonance_off: float = Field(_DEFAULT.pixel_resonance_off, gt=0, description="its resonance in state 0")
    pixel_resonance_on: float = Field(_DEFAULT.pixel_resonance_on, gt=0, description="its resonance in the last state")
    noise_dbm_hz: float = Field(_DEFAULT.noise_dbm_hz, description="receiver noise; adds to S as complex numbers")
    trace_noise: float = Field(_DEFAULT.trace_noise, ge=0, description="noise as a share of S, at 1 kHz IF bandwidth")
    drift_walk_db: float = Field(_DEFAULT.drift_walk_db, ge=0, description="random step of the gain per 256 shots")
    drift_walk_rad: float = Field(_DEFAULT.drift_walk_rad, ge=0, description="random step of the phase per 256 shots")
    drift_sine_db: float = Field(_DEFAULT.drift_sine_db, ge=0, description="amplitude of the gain's sine")
    drift_sine_rad: float = Field(_DEFAULT.drift_sine_rad, ge=0, description="amplitude of the phase's sine")
    drift_period_shots: float = Field(_DEFAULT.drift_period_shots, gt=0, description="period of these sines")
    scatterer_moves_at_shot: int | None = Field(None, ge=0, description="shot at which scatterer 0 is bumped into")
    scatterer_move_m: float = Field(_DEFAULT.scatterer_move_m, description="how far it then moves along x")

    def parameters(self) -> MicrowaveParameters:
        """The room of these settings."""
        return MicrowaveParameters(**self.model_dump())


class CommissionConfig(Section):
    """The random patterns measured once, from which offset, scale and repeatability of each output are learned."""

    patterns: int = Field(200, ge=10, le=1_000_000, description="random patterns")
    repeats: int = Field(
        20, ge=2, le=1_000_000, description="of these, measured once more: what differs is noise and drift"
    )
    seed: int = Field(0, ge=0, description="of the patterns, and of the simulated noise on them")


class MicrowaveConfig(RigConfig):
    """Settings of the microwave rig."""

    PARTS = ("vna", "metasurface", "amplifier", "other")

    type: Literal["microwave"]
    fidelity: Literal["instruments", "physics"] = Field(
        "instruments", description="physics: the simulated room itself answers, whatever the addresses say"
    )
    seed: int = Field(0, ge=0, description="of simulated noise and drift, until a trial restarts the rig with its own")
    real_time: bool = Field(False, description="emulated answers take as long as those of real instruments")
    frequencies_hz: Chosen = Field(description="start, stop and points, or a list that ascends")
    readout: Literal["modulus", "complex"] = Field(
        "modulus", description="of each S-parameter: its modulus, or its real and its imaginary part"
    )
    code: PixelCodeConfig = PixelCodeConfig()
    more_codes: tuple[PixelCodeConfig, ...] = Field(
        (), description="codes of further layers on the same instruments, which the blocks of a network use in turn"
    )
    vna: Annotated[DeviceConfig, Registered("drivers", "driver", Vna, "a network analyser")] = Field(
        description="a network analyser"
    )
    metasurface: Annotated[DeviceConfig, Registered("drivers", "driver", Metasurface, "a metasurface")] = Field(
        description="a programmable metasurface"
    )
    commission: CommissionConfig = CommissionConfig()
    recovery: RecoveryConfig = RecoveryConfig()
    world: RoomConfig = RoomConfig()

    @field_validator("frequencies_hz")
    @classmethod
    def _ascend(cls, frequencies_hz: Grid | tuple[float, ...]) -> Grid | tuple[float, ...]:
        if isinstance(frequencies_hz, Grid):
            if not frequencies_hz.stop > frequencies_hz.start:
                raise ValueError(f"stop {frequencies_hz.stop:g} Hz is not above start {frequencies_hz.start:g} Hz")
        elif not frequencies_hz or frequencies_hz[0] <= 0 or (np.diff(frequencies_hz) <= 0).any():
            raise ValueError("needs one frequency or more, above 0 Hz and ascending")
        return frequencies_hz

    @model_validator(mode="after")
    def _one_world(self) -> MicrowaveConfig:
        simulated = [n for n, section in self.sections.items() if section.address == SIM]
        if len(simulated) == 1 and self.fidelity == "instruments":
            raise ValueError(
                f"{simulated[0]}.address is sim and the other instrument's is not, so neither would see the other; "
                "set both to sim, or both to addresses of instruments"
            )
        if self.repeats > 1 and self.readout == "modulus":
            raise ValueError(
                "repeats would average |S|, which noise makes larger; set vna.averages, which averages complex numbers "
                "in the instrument, or readout: complex"
            )
        return self

    @property
    def simulated(self) -> bool:
        """Whether the instruments, or the room without any, are simulated in this process."""
        return self.fidelity == "physics" or self.vna_config.address == SIM

    @property
    def vna_config(self) -> VnaConfig:
        """The section `vna`."""
        assert isinstance(self.vna, VnaConfig)  # validated
        return self.vna

    def disturbances(self) -> Known:
        """What can happen to the simulated room; in front of a real one the rig refuses all of it."""
        return known(self.world.parameters())

    @property
    def sections(self) -> dict[str, VnaConfig | MetasurfaceConfig]:
        """Instruments, in the order in which they are opened."""
        assert isinstance(self.metasurface, MetasurfaceConfig)  # validated
        return {"vna": self.vna_config, "metasurface": self.metasurface}

    @property
    def codes(self) -> tuple[PixelCodeConfig, ...]:
        """The code of each layer."""
        return (self.code, *self.more_codes)

    def frequencies(self) -> NDArray[np.float64]:
        """In Hz, (points,)."""
        chosen = self.frequencies_hz
        if isinstance(chosen, Grid):
            return np.linspace(chosen.start, chosen.stop, chosen.points)
        return np.array(chosen)


def driver_name(section: DeviceConfig) -> str:
    """Name in the registry of an instrument's driver."""
    return str(getattr(section, "driver"))  # noqa: B009 (each driver declares it as a Literal of its own)


def driver_class(section: DeviceConfig) -> Any:
    """The driver that a section configures."""
    return resolve("drivers", driver_name(section))
