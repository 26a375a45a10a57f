"""Sound cards and audio interfaces as speakers and microphones, on every system: sounddevice, which brings PortAudio.

Devices are found by their names, never by numbers, which change with what is plugged in. On Windows ASIO has one device
for all channels of a box; WASAPI has one for the outputs and one for the inputs, which the part of the name that they
share finds both.
"""

from __future__ import annotations

import os
from typing import Annotated, Literal

from pydantic import Field, model_validator

from labtrain.clock import Clock
from labtrain.drivers.address import SIM
from labtrain.drivers.backends.audio_devices import full_host_api
from labtrain.drivers.backends.audio_stream import AudioStream
from labtrain.drivers.sound import SoundConfig, SoundInterface

EMULATED = "labtrain"  # begins the names of what this package emulates


class AudioInterface(SoundInterface):
    """One sound card or audio interface; or two, if that is asked for."""

    class Config(SoundConfig):
        """Keys of `driver: audio`."""

        driver: Literal["audio"] = "audio"
        device: str = Field(SIM, min_length=1, description="sim, or the device's name, or part of it")
        host_api: str | None = Field(
            None, min_length=1, description="ASIO, Windows WASAPI, Core Audio, ALSA, JACK, or part of it; default: any"
        )
        input_device: str | None = Field(
            None,
            min_length=1,
            description="another device for the microphones, with its own clock; default: device",
        )
        two_clocks: bool = Field(
            False, description="allow an input_device: samples get lost or doubled, which only a loopback notices"
        )
        blocksize: int = Field(512, ge=0, le=65536, description="frames per buffer; 0: as the driver likes")
        latency: Literal["low", "high"] | Annotated[float, Field(gt=0, le=10)] = Field(
            "high", description="low, high or seconds: high survives a busy computer, and shots gain nothing by low"
        )
        exclusive: bool = Field(
            False, description="past the system's mixer, which may resample and limit; for Windows WASAPI alone"
        )

        @model_validator(mode="after")
        def _can_be(self) -> AudioInterface.Config:
            if self.input_device is not None and not self.two_clocks:
                raise ValueError(
                    f"input_device {self.input_device} has another clock than device {self.device}; use one device "
                    "(part of its name, where outputs and inputs of one box have two names), or set two_clocks and a "
                    "loopback"
                )
            if self.two_clocks and self.loopback is None:
                raise ValueError("two_clocks needs a loopback: without it nobody would notice that the clocks drift")
            if self.exclusive and "wasapi" not in (self.host_api or "").casefold():
                raise ValueError("exclusive needs host_api: Windows WASAPI")
            return self

    MODELS_TOLD = "sound cards and audio interfaces, through PortAudio"
    TRIED_ON = "emulated room, in memory and as a sound card of a JACK server"
    config: AudioInterface.Config

    @property
    def canonical(self) -> str | None:
        config = self.config
        if config.device == SIM:
            return None
        devices = "+".join(filter(None, [config.device, config.input_device]))
        host_api = full_host_api(config.host_api or "")
        # A JACK server has devices of its own, and a computer may run several.
        server = os.environ.get("JACK_DEFAULT_SERVER") if "jack" in host_api.casefold() else None
        return f"audio:{host_api}/{devices}{f'@{server}' if server else ''}".casefold()

    @property
    def emulated(self) -> bool:
        """Whether the name of what was opened, or of what is to be opened, is that of an emulator."""
        opened = isinstance(self.stream, AudioStream) and self.stream.devices
        names = [found.name for found in opened] if opened else [self.identity or self.config.device]
        return any(name.startswith(EMULATED) for name in names)

    @classmethod
    def _stream(cls, who: str, config: AudioInterface.Config, clock: Clock) -> AudioStream:
        return AudioStream(
            who,
            config.device,
            clock,
            outputs=config.outputs,
            inputs=config.inputs,
            input_device=config.input_device,
            host_api=config.host_api,
            blocksize=config.blocksize,
            latency=config.latency,
            exclusive=config.exclusive,
            rate_hz=config.rate_hz,
            timeout_s=config.timeout_s,
            open_timeout_s=config.open_timeout_s,
        )

    def _identify(self) -> str:
        return self.stream.device if isinstance(self.stream, AudioStream) else f"{EMULATED} simulated sound card"
