"""National Instruments data acquisition as speakers and microphones: X and M series, CompactDAQ, delta-sigma boards.

**Never tried on hardware**: :mod:`labtrain.drivers.backends.daq_stream` lists what to check first on a device, and says
how outputs and inputs are kept together to the sample.

Channels are counted from 1, as everywhere: speaker channel k is NI's ``ao<k-1>``, microphone channel k its ``ai<k-1>``.
An output drives an amplifier's line input, never a speaker: it gives a few milliampere. Should the program be killed,
an output holds its last voltage until the device is opened again (``labtrain safe``) or reset: amplifiers that pass
direct current do not belong there.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from labtrain.clock import Clock
from labtrain.drivers.address import SIM
from labtrain.drivers.backends.daq_stream import DaqStream, OutputClock, Terminal
from labtrain.drivers.sound import SoundConfig, SoundInterface


class NiDaq(SoundInterface):
    """One NI device, or an output and an input module in one CompactDAQ chassis."""

    class Config(SoundConfig):
        """Keys of `driver: nidaqmx`."""

        driver: Literal["nidaqmx"] = "nidaqmx"
        device: str = Field(
            SIM, min_length=1, description="sim, or a name in NI MAX: Dev1, cDAQ1Mod1; channel 1 is ao0"
        )
        input_device: str | None = Field(None, description="module of the inputs in the same chassis; default: device")
        output_range_v: float = Field(10.0, gt=0, description="volts at full scale; a range that the outputs have")
        input_range_v: float = Field(10.0, gt=0, description="volts at full scale; a range that the inputs have")
        terminal_config: Terminal = Field(
            "default", description="reference of the inputs: default, rse, nrse, diff, pseudodiff"
        )
        iepe_ma: float | None = Field(
            None, gt=0, le=20, description="current that feeds IEPE (ICP, CCP) microphones, as 2 or 4; default: none"
        )
        output_clock: OutputClock = Field(
            "input", description="own: for delta-sigma boards, whose outputs cannot be clocked by their inputs"
        )
        buffer_s: float = Field(
            0.1, ge=0.02, le=2, description="outputs are written so far ahead: adds to the latency and to any silencing"
        )

    MODELS_TOLD = "National Instruments X and M series, CompactDAQ, delta-sigma boards"
    TRIED_ON = "stand-in for the package nidaqmx"
    EXTRA = "daq"
    by_hand: ClassVar[str] = "switch the amplifiers off; the outputs may hold a voltage until the device is reset"

    @property
    def canonical(self) -> str | None:
        return None if self.address == SIM else f"daq:{self.address.lower()}"

    @property
    def emulated(self) -> bool:
        """Whether NI MAX simulates it."""
        return isinstance(self.stream, DaqStream) and self.stream.simulated

    @classmethod
    def _stream(cls, who: str, config: Any, clock: Clock) -> DaqStream:
        # A cable from an output is no microphone: current fed into it would only load that output.
        current = [config.iepe_ma or 0.0] * len(config.microphones) + [0.0] * (config.loopback is not None)
        return DaqStream(
            who,
            config.device,
            clock,
            outputs=config.outputs,
            inputs=config.inputs,
            input_device=config.input_device,
            output_range_v=config.output_range_v,
            input_range_v=config.input_range_v,
            terminal_config=config.terminal_config,
            iepe_ma=current,
            output_clock=config.output_clock,
            buffer_s=config.buffer_s,
            rate_hz=config.rate_hz,
            timeout_s=config.timeout_s,
            open_timeout_s=config.open_timeout_s,
        )

    def _identify(self) -> str:
        return self.stream.product if isinstance(self.stream, DaqStream) else "labtrain simulated NI device"
