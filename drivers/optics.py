"""Spatial light modulators and cameras that slmsuite supports, real ones and simulated ones.

**Tried on slmsuite's simulated devices alone**; :mod:`labtrain.drivers.backends.slmsuite_frames` lists what to check
first on hardware. slmsuite comes with ``pip install "labtrain[optics]"``; what a maker's devices need besides -
HOLOEYE's SDK, pypylon - is theirs, and slmsuite's documentation says where to get it.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from labtrain.clock import Clock
from labtrain.drivers.address import SIM
from labtrain.drivers.backends import slmsuite_frames, slmsuite_models
from labtrain.drivers.image_camera import CameraConfig, ImageCamera
from labtrain.drivers.light_modulator import LightModulator, ModulatorConfig

OPTIONS = "arguments of its class in slmsuite; checked against that before anything is opened"


class SlmsuiteSlm(LightModulator):
    """A spatial light modulator through slmsuite."""

    class Config(ModulatorConfig):
        """Keys of `driver: slmsuite-slm`."""

        driver: Literal["slmsuite-slm"] = "slmsuite-slm"
        model: str = Field(
            SIM,
            min_length=1,
            description="sim, hamamatsu, holoeye, meadowlark, remote, santec, screen (a second monitor), or any other "
            "class of a modulator as module:Class",
        )
        options: dict[str, Any] = Field({}, description=OPTIONS)

        @model_validator(mode="after")
        def _is_known(self) -> SlmsuiteSlm.Config:
            if self.model != SIM:
                slmsuite_models.refuse_unknown("slm", self.model)
            if self.wavelength_nm is not None and "wav_um" in self.options:
                raise ValueError("wavelength_nm and options.wav_um both say which light it is; keep one of them")
            return self

        @property
        def arguments(self) -> dict[str, Any]:
            """Options, and the wavelength among them."""
            return self.options | ({} if self.wavelength_nm is None else {"wav_um": self.wavelength_nm / 1000.0})

    MODELS_TOLD = "modulators that slmsuite supports: Hamamatsu, HOLOEYE, Meadowlark, Santec, as a second monitor"
    TRIED_ON = "slmsuite's simulated modulator"
    EXTRA: ClassVar[str] = "optics"

    config: SlmsuiteSlm.Config

    @property
    def canonical(self) -> str | None:
        config = self.config
        return None if config.model == SIM else slmsuite_models.key_of("slm", config.model, config.options)

    @classmethod
    def _frames(cls, who: str, config: Any, clock: Clock) -> slmsuite_frames.SlmsuiteSlm:
        return slmsuite_frames.SlmsuiteSlm(
            who,
            config.model,
            clock,
            options=config.arguments,
            timeout_s=config.timeout_s,
            open_timeout_s=config.open_timeout_s,
        )


class SlmsuiteCamera(ImageCamera):
    """A camera through slmsuite."""

    class Config(CameraConfig):
        """Keys of `driver: slmsuite-camera`."""

        driver: Literal["slmsuite-camera"] = "slmsuite-camera"
        model: str = Field(
            SIM,
            min_length=1,
            description="sim, alliedvision, basler, flir, imagingsource, instrumental, mindvision, mmcore, pylablib, "
            "remote, thorlabs, webcam, xenics, or any other class of a camera as module:Class",
        )
        options: dict[str, Any] = Field({}, description=OPTIONS)

        @model_validator(mode="after")
        def _is_known(self) -> SlmsuiteCamera.Config:
            if self.model != SIM:
                slmsuite_models.refuse_unknown("camera", self.model)
            return self

    MODELS_TOLD = (
        "cameras that slmsuite supports: Allied Vision, Basler, FLIR, The Imaging Source, Thorlabs, Xenics, webcams, "
        "and those of Micro-Manager and pylablib"
    )
    TRIED_ON = "slmsuite's simulated camera"
    EXTRA: ClassVar[str] = "optics"

    config: SlmsuiteCamera.Config

    @property
    def canonical(self) -> str | None:
        config = self.config
        return None if config.model == SIM else slmsuite_models.key_of("camera", config.model, config.options)

    @classmethod
    def _frames(cls, who: str, config: Any, clock: Clock) -> slmsuite_frames.SlmsuiteCamera:
        return slmsuite_frames.SlmsuiteCamera(
            who,
            config.model,
            clock,
            options=config.options,
            region=config.region,
            timeout_s=config.timeout_s,
            open_timeout_s=config.open_timeout_s,
        )
