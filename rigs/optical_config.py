"""Settings of the optical rig."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from labtrain.config import InputPath, Registered, Section
from labtrain.drivers.address import SIM
from labtrain.drivers.device import DeviceConfig
from labtrain.drivers.emulators.optics import BenchTiming
from labtrain.drivers.illumination import Illumination
from labtrain.drivers.image_camera import CameraConfig, ImageCamera
from labtrain.drivers.light_modulator import LightModulator, ModulatorConfig
from labtrain.errors import InputError
from labtrain.rigs.recovery import RecoveryConfig
from labtrain.rigs.rig import RigConfig
from labtrain.sim.disturbances import Known
from labtrain.sim.optics.disturbances import known
from labtrain.sim.optics.parameters import OpticalParameters

_DEFAULT, _TIMING = OpticalParameters(), BenchTiming()

Region = tuple[int, int, int, int]


class BenchConfig(Section):
    """The simulated bench, or what is in use of a real one; bounds are those of OpticalParameters."""

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


class DarkConfig(Section):
    """What the camera reads without light, which is taken from each reading."""

    how: Literal["switch", "cover", "file", "offset"] | None = Field(
        None,
        description="switch: the illumination is switched off; cover: somebody covers the camera when asked, once a "
        "run (at sim nobody need); file: read it; offset: the same count for all pixels, rig.world.offset_counts; "
        "default: switch where there is a section rig.illumination, else cover",
    )
    frames: int = Field(16, ge=1, le=10_000, description="averaged, where it is measured")
    file: InputPath | None = Field(
        None, description="NPZ file with arrays dark, (rows, columns) of counts, and exposure_s; for how: file"
    )

    @model_validator(mode="after")
    def _has_a_file(self) -> DarkConfig:
        if (self.how == "file") != (self.file is not None):
            raise ValueError(
                f"how: {self.how or 'not given,'} with{'out a' if self.file is None else ' a'} file; "
                f"{'give one' if self.file is None else 'set how: file, or leave it out'}"
            )
        return self


class EmulatorConfig(Section):
    """How slow the emulated modulator and camera are, at model sim."""

    latency_s: float = Field(
        _TIMING.latency_s, ge=0, le=10, description="from writing a pattern until the first of it is seen"
    )
    rise_s: float = Field(_TIMING.rise_s, ge=0, le=10, description="from then on until nothing else is seen")
    kept: int = Field(_TIMING.kept, ge=0, le=1000, description="frames that the camera keeps for whoever reads late")


class OpticalConfig(RigConfig):
    """Settings of the optical rig."""

    PARTS = ("laser", "modulator", "camera", "other")

    type: Literal["optical"]
    fidelity: Literal["physics", "instruments"] | None = Field(
        None,
        description="physics: the simulated bench itself answers; instruments: the drivers in rig.slm and rig.camera "
        "do; default: instruments where there are these sections, else physics",
    )
    slm: Annotated[DeviceConfig, Registered("drivers", "driver", LightModulator, "a modulator")] | None = Field(
        None, description="a driver of a spatial light modulator"
    )
    camera: Annotated[DeviceConfig, Registered("drivers", "driver", ImageCamera, "a camera")] | None = Field(
        None, description="a driver of a camera"
    )
    illumination: Annotated[DeviceConfig, Registered("drivers", "driver", Illumination, "an illumination")] | None = (
        Field(None, description="a driver of the laser, lamp or shutter: off when it is safe and for dark frames")
    )
    dark: DarkConfig = DarkConfig()
    least_light: float = Field(
        0.1, ge=0, lt=1, description="share of the light at commissioning below which a reading is bad; instruments"
    )
    recovery: RecoveryConfig = RecoveryConfig()
    emulator: EmulatorConfig = EmulatorConfig()
    seed: int = Field(0, ge=0, description="of noise and drift, until a trial restarts the rig with its own")
    settle_s: float = Field(0.03, ge=0, le=60, description="of the modulator after a new pattern, before the exposure")
    readout_s: float = Field(0.01, ge=0, le=60, description="of a frame, after the exposure")
    more_regions: tuple[Region, ...] = Field(
        (), description="input regions of further layers on the same bench, which the blocks of a network use in turn"
    )
    workers: int = Field(1, ge=1, le=256, description="threads that simulate shots; answers do not depend on it")
    world: BenchConfig = BenchConfig()

    @model_validator(mode="after")
    def _fits(self) -> OpticalConfig:
        _ = self.benches
        if (self.slm is None) != (self.camera is None):
            there, lacks = ("camera", "slm") if self.slm is None else ("slm", "camera")
            raise ValueError(f"{lacks}: is missing, there is a section {there}; give both, or none")
        if self.illumination is None and self.dark.how == "switch":
            raise ValueError("dark.how: switch needs a section illumination with its driver")
        if self.slm is None:
            if self.illumination is not None:
                raise ValueError("illumination: needs sections slm and camera; give them, or leave it out")
            if self.fidelity == "instruments":
                raise ValueError("fidelity: instruments needs sections slm and camera with their drivers")
            return self
        models = {"slm": self.modulator.model, "camera": self.imager.model}
        light = getattr(self.illumination, "call", None)
        if self.on_instruments and light is not None and (light == SIM) != (self.modulator.model == SIM):
            raise ValueError(
                f"illumination.call is {light} and slm.model is {self.modulator.model}; simulate both, or none"
            )
        if self.on_instruments and len([model for model in models.values() if model == SIM]) == 1:
            sim, other = sorted(models, key=lambda section: models[section] != SIM)
            raise ValueError(
                f"{sim}.model is sim and {other}.model is {models[other]}, so neither would see the other; correct one "
                "of them"
            )
        region = self.imager.region
        if region is not None and (min(region[:2]) < 0 or tuple(region[2:]) != self.world.camera_shape):
            rows, columns = self.world.camera_shape
            raise ValueError(
                f"camera.region {list(region)} (top, left, rows, columns) is not one of world.camera_shape, {rows} x "
                f"{columns} pixels; make them equal"
            )
        return self

    @property
    def on_instruments(self) -> bool:
        """Whether drivers show patterns and read frames."""
        return self.slm is not None and self.fidelity != "physics"

    @property
    def modulator(self) -> ModulatorConfig:
        """The section `slm`."""
        assert isinstance(self.slm, ModulatorConfig)  # validated
        return self.slm

    @property
    def imager(self) -> CameraConfig:
        """The section `camera`."""
        assert isinstance(self.camera, CameraConfig)  # validated
        return self.camera

    @property
    def unseen(self) -> tuple[str, ...]:
        """Keys that were given and that real devices alone look at."""
        modulator, imager = self.modulator, self.imager
        given = {
            "rig.slm.wavelength_nm": modulator.wavelength_nm,
            "rig.slm.lut_file": modulator.lut_file,
            "rig.slm.options": getattr(modulator, "options", None),
            "rig.camera.region": imager.region,
            "rig.camera.options": getattr(imager, "options", None),
        }
        return tuple(key for key, value in given.items() if value)

    def files(self) -> dict[str, Path]:
        """The phase table and the dark frame, as far as instruments need them."""
        if not self.on_instruments:
            return {}
        table = None if self.simulated else self.modulator.lut_file
        found = {"slm.lut_file": table, "dark.file": self.dark.file}
        return {key: path for key, path in found.items() if path is not None}

    @property
    def simulated(self) -> bool:
        """Whether the bench is simulated in this process."""
        return not self.on_instruments or self.modulator.model == SIM

    @property
    def dark_how(self) -> str:
        """Where the dark frame comes from."""
        return self.dark.how or ("cover" if self.illumination is None else "switch")

    @property
    def exposure_s(self) -> float:
        """Of a frame; that of the camera's section, also where its simulation answers alone."""
        asked = None if self.camera is None else self.imager.exposure_s
        return self.world.exposure_s if asked is None else asked

    @property
    def timing(self) -> BenchTiming:
        """Of the emulated instruments."""
        return BenchTiming(readout_s=self.readout_s, **self.emulator.model_dump())

    @property
    def benches(self) -> tuple[OpticalParameters, ...]:
        """The bench as each layer uses it: alike but for the input region."""
        first = replace(self.world.parameters(), exposure_s=self.exposure_s)
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
        """What can happen to the simulated bench.

        Raises
        ------
        InputError
            If the instruments are not simulated here: nobody can tell them of a disturbance.
        """
        if not self.simulated:
            raise InputError(
                f"rig.slm.model is {self.modulator.model!r}, and what stands behind a modulator that is not simulated "
                "here cannot be disturbed from here; leave the sections slm and camera out, or set both models to sim"
            )
        return known(self.world.parameters())
