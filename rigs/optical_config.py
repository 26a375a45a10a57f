"""Settings of the optical rig."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from pydantic import Field, model_validator

from labtrain.config import Section
from labtrain.errors import InputError
from labtrain.rigs.rig import RigConfig
from labtrain.sim.disturbances import Known
from labtrain.sim.optics.disturbances import known
from labtrain.sim.optics.parameters import OpticalParameters

_DEFAULT = OpticalParameters()

Region = tuple[int, int, int, int]


class BenchConfig(Section):
    """The simulated bench; bounds are those of OpticalParameters."""

    slm_shape: tuple[int, int] = Field(_DEFAULT.slm_shape, description="rows and columns of the modulator's cells")
    input_region: Region | None = Field(
        None, description="top, left, rows and columns of the cells that inputs drive; all of them when left out"
    )
    input_cells: int = Field(_DEFAULT.input_cells, description="cells that an input drives, along each side")
    modulation: Literal["phase", "amplitude"] = Field("phase", description="of the light, by the modulator")
    levels: int = Field(_DEFAULT.levels, description="of a cell")
    phase_range_rad: float = Field(
        _DEFAULT.phase_range_rad, description="from drive 0 to drive 1; over 2 pi both ends are one phase"
    )
    fill_factor: float = Field(_DEFAULT.fill_factor, description="share of a cell that modulates")
    unmodulated: float = Field(_DEFAULT.unmodulated, description="share of the power that ignores the cells")
    cross_talk: float = Field(_DEFAULT.cross_talk, description="share of its phase that each neighbour takes from it")
    scatterer: Literal["gaussian", "fibre", "structured", "fourier_mask"] = Field(
        "gaussian", description="what the light goes through"
    )
    geometry_seed: int = Field(_DEFAULT.geometry_seed, ge=0, description="of the scatterer and the hot pixels")
    mode_groups: int = Field(_DEFAULT.mode_groups, description="of a fibre: G groups have G (G + 1) / 2 modes")
    structured_layers: int = Field(_DEFAULT.structured_layers, description="of a structured scatterer")
    memory_mb: float = Field(
        _DEFAULT.memory_mb, description="for a layer's matrix; a larger one is drawn anew for each batch"
    )
    reference: float = Field(_DEFAULT.reference, description="amplitude of the reference arm, in rms speckles; 0: none")
    reference_tilt: tuple[float, float] = Field(
        _DEFAULT.reference_tilt, description="its fringes along rows and columns, in cycles a pixel"
    )
    drift_eps: float = Field(_DEFAULT.drift_eps, description="drift of the scatterer, per shot; 0: none")
    fibre_bends_at_shot: int | None = Field(None, ge=0, description="shot of each trial at which the fibre is bent")
    fibre_bend_correlation: float = Field(
        _DEFAULT.fibre_bend_correlation, description="of the speckle before and after that"
    )
    camera_shape: tuple[int, int] = Field(_DEFAULT.camera_shape, description="rows and columns of the camera's pixels")
    pool_size: int = Field(_DEFAULT.pool_size, description="an output is the mean of so many pixels along each side")
    pool_stride: int = Field(_DEFAULT.pool_stride, description="pixels from an output to the next")
    pool_padding: int = Field(_DEFAULT.pool_padding, description="pixels around the frame that count as 0")
    readout: Literal["intensity", "amplitude"] = Field("intensity", description="amplitude: its root, before pooling")
    electrons_per_s: float = Field(_DEFAULT.electrons_per_s, description="in a pixel at the mean of the speckle")
    exposure_s: float = Field(_DEFAULT.exposure_s, description="of a frame")
    full_well_e: float = Field(_DEFAULT.full_well_e, description="electrons at which a pixel saturates")
    read_noise_e: float = Field(_DEFAULT.read_noise_e, description="electrons, rms")
    dark_e_s: float = Field(_DEFAULT.dark_e_s, description="dark current of a pixel")
    hot_pixels: float = Field(_DEFAULT.hot_pixels, description="share of all")
    hot_e_s: float = Field(_DEFAULT.hot_e_s, description="dark current of a hot one")
    bits: int = Field(_DEFAULT.bits, description="of the camera")
    offset_counts: int = Field(_DEFAULT.offset_counts, description="what no electron reads")

    @model_validator(mode="after")
    def _makes_a_bench(self) -> BenchConfig:
        try:
            self.parameters()
        except InputError as error:
            raise ValueError(str(error)) from None
        return self

    def parameters(self) -> OpticalParameters:
        """The bench of these settings."""
        return OpticalParameters(**self.model_dump())


class OpticalConfig(RigConfig):
    """Settings of the optical rig."""

    type: Literal["optical"]
    fidelity: Literal["physics"] = Field("physics", description="the simulated bench itself answers")
    seed: int = Field(0, ge=0, description="of noise and drift, until a trial restarts the rig with its own")
    settle_s: float = Field(0.03, ge=0, le=60, description="of the modulator after a new pattern, before the exposure")
    readout_s: float = Field(0.01, ge=0, le=60, description="of a frame, after the exposure")
    more_regions: tuple[Region, ...] = Field(
        (), description="input regions of further layers on the same bench, which the blocks of a network use in turn"
    )
    workers: int = Field(1, ge=1, le=256, description="threads that simulate shots; answers do not depend on it")
    world: BenchConfig = BenchConfig()

    @model_validator(mode="after")
    def _regions_fit(self) -> OpticalConfig:
        _ = self.benches
        return self

    @property
    def benches(self) -> tuple[OpticalParameters, ...]:
        """The bench as each layer uses it: alike but for the input region."""
        first = self.world.parameters()
        found = [first]
        for number, region in enumerate(self.more_regions):
            try:
                found.append(replace(first, input_region=region))
            except InputError:
                rows, columns = first.slm_shape
                raise ValueError(
                    f"more_regions.{number}: {list(region)} (top, left, rows, columns) does not lie within the "
                    f"modulator's {rows} x {columns} cells; correct it, or set rig.world.slm_shape"
                ) from None
        return tuple(found)

    def disturbances(self) -> Known:
        """What can happen to the simulated bench."""
        return known(self.world.parameters())
