"""What an NI device is asked before a stream to it starts, and what its errors mean; nothing is configured here.

NI-DAQmx takes a rate that a device does not have for the nearest one without a word, and a range for the next larger:
so both are compared with what the device has.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

from labtrain.errors import InputError, LabtrainError, LinkRefused, MissingExtra
from labtrain.limits import did_you_mean, shown

USUAL_HZ = (8e3, 16e3, 20e3, 25e3, 25.6e3, 32e3, 40e3, 44.1e3, 48e3, 50e3, 51.2e3, 62.5e3, 80e3, 96e3, 100e3, 102.4e3)
SAME_RATE = 1e-7  # relative; no clock is as exact
SAME_RANGE = 2e-3  # relative: NI writes 0.316 V for 0.316228 V

TOO_LATE = {-200290, -200621, -200018, -200016}  # the outputs ran dry
OVERRUN = {-200279, -200222, -200361, -200010, -200283, -200613}  # nobody fetched the inputs' samples in time
GONE = {-200045, -200220, -200324, -201003, -201190, -88705, -89130, -50405, -50808}
BUSY = {-50103, -200022, -201105}
NO_TICK = {-200284, -200292}  # nothing came, or nothing left, within the timeout
NO_ROUTE = {-89136, -89125, -200368}


class NiLibrary:
    """What is used of nidaqmx, imported when a device is opened.

    Parameters
    ----------
    name : str
        Of the stream, for errors.

    Raises
    ------
    MissingExtra
        If nidaqmx is not installed, or NI's own driver is not.
    """

    def __init__(self, name: str) -> None:
        try:
            errors, constants = import_module("nidaqmx.errors"), import_module("nidaqmx.constants")
            self.Task: Any = import_module("nidaqmx").Task
            self.Reader: Any = import_module("nidaqmx.stream_readers").AnalogMultiChannelReader
            self.Writer: Any = import_module("nidaqmx.stream_writers").AnalogMultiChannelWriter
            system: Any = import_module("nidaqmx.system").System
        except ImportError:
            raise MissingExtra(
                f'{name}: NI devices need nidaqmx, which is not installed; run: pip install "labtrain[daq]"'
            ) from None
        self.constants: Any = constants
        self.DaqError: type[Exception] = errors.DaqError
        self.Error: type[Exception] = errors.Error
        try:
            self.devices: dict[str, Any] = {device.name: device for device in system.local().devices}
        except self.DaqError as error:
            raise LinkRefused(f"{name}: NI-DAQmx cannot list its devices ({told(error)}); look into NI MAX") from None
        except self.Error:  # no library, or none for this system
            raise MissingExtra(
                f"{name}: NI devices need the NI-DAQmx driver, which is not installed; get it from ni.com/downloads "
                "(for Windows and Linux)"
            ) from None


class DaqChecks:
    """Looks at devices, and refuses what they do not have with one sentence.

    Parameters
    ----------
    who, name : str
        Section of the rig and name of the stream, for errors.
    ni : NiLibrary
    """

    def __init__(self, who: str, name: str, ni: NiLibrary) -> None:
        self._who, self._name, self._ni = who, name, ni

    def find(self, name: str, key: str) -> Any:
        """The device of that name; NI-DAQmx does not mind capitals."""
        devices = self._ni.devices
        for known, device in devices.items():
            if known.casefold() == name.casefold():
                return device
        if not devices:
            raise LinkRefused(
                f"{self._name}: NI-DAQmx has no device at all; plug it in, and look for it in NI MAX ({self._key(key)})"
            )
        listed = ", ".join(f"{known} ({device.product_type})" for known, device in devices.items())
        raise LinkRefused(
            f"{self._name}: NI-DAQmx has no device {name}{did_you_mean(name, devices)}, but {listed}; set "
            f"{self._key(key)} to a name in NI MAX"
        )

    def terminals(self, device: Any) -> str:
        """Where clock and trigger of its inputs come from: the device, or the CompactDAQ chassis that it is in."""
        chassis = ""
        with suppress(self._ni.DaqError):  # it is no module
            chassis = device.compact_daq_chassis_device.name
        return f"/{chassis or device.name}/ai"

    def outputs(self, device: Any, channels: Sequence[int]) -> list[str]:
        """Names of output channels counted from 1."""
        has = list(device.ao_physical_chans.channel_names)
        if has and not device.ao_samp_clk_supported:
            raise InputError(
                f"{self._name}: outputs of {self._model(device)} have no sample clock, so they cannot play; set "
                f"{self._key('device')} to another device"
            )
        return self._channels(device, "output", "ao", has, channels, "device", "speakers")

    def inputs(self, device: Any, channels: Sequence[int]) -> list[str]:
        """Names of input channels counted from 1."""
        has = list(device.ai_physical_chans.channel_names)
        return self._channels(device, "input", "ai", has, channels, "input_device", "microphones")

    def rates(self, rate_hz: float, out: Any, n_out: int, into: Any, n_in: int) -> None:
        """Refuse a rate above the devices' own; one converter behind a multiplexer shares its rate among channels."""
        together = into.ai_max_multi_chan_rate / (1 if into.ai_simultaneous_sampling_supported else n_in)
        fastest = min(into.ai_max_single_chan_rate, together) if n_in > 1 else into.ai_max_single_chan_rate
        for device, most, load in ((out, out.ao_max_rate, f"{n_out} outputs"), (into, fastest, f"{n_in} inputs")):
            if rate_hz > most:
                raise InputError(
                    f"{self._name}: asked a sample rate of {shown(rate_hz, 'Hz')}, {self._model(device)} does at most "
                    f"{shown(most, 'Hz')} with {load}; set {self._key('rate_hz')}"
                )

    def clock(self, task: Any, rate_hz: float, device: Any) -> None:
        """Refuse the rate that NI-DAQmx has taken for another."""
        given = float(task.timing.samp_clk_rate)
        if math.isclose(given, rate_hz, rel_tol=SAME_RATE):
            return
        exact = sorted({given, *self._exact_rates(task)}, key=lambda rate: abs(rate - rate_hz))
        raise InputError(
            f"{self._name}: asked a sample rate of {shown(rate_hz, 'Hz')}, the clock of {self._model(device)} would "
            f"give {shown(given, 'Hz')}; set {self._key('rate_hz')} to {_or(f'{rate:.10g}' for rate in exact[:4])}"
        )

    def range_v(self, device: Any, pairs: Sequence[float], wanted: float, key: str) -> float:
        """The device's own value of a range that lies symmetrically about 0 V."""
        has = sorted({high for low, high in zip(pairs[::2], pairs[1::2], strict=True) if math.isclose(-low, high)})
        for high in has:
            if math.isclose(high, wanted, rel_tol=SAME_RANGE):
                return float(high)
        raise InputError(
            f"{self._name}: asked a range of +-{wanted:g} V, {self._model(device)} has "
            f"{_or(f'+-{high:g} V' for high in has) or 'none about 0 V'}; set {self._key(key)}"
        )

    def iepe(self, device: Any, wanted_ma: float) -> None:
        """Refuse a microphone current that the device does not supply."""
        has: list[float] = []
        with suppress(self._ni.DaqError):  # it knows no such thing
            has = [round(1000.0 * ampere, 6) for ampere in device.ai_current_int_excit_discrete_vals if ampere]
        if not any(math.isclose(wanted_ma, milliampere) for milliampere in has):
            key = self._key("iepe_ma")
            raise InputError(
                f"{self._name}: asked an IEPE current of {wanted_ma:g} mA, {self._model(device)} supplies "
                f"{_or(f'{milliampere:g} mA' for milliampere in has) or 'none'}; "
                + (f"set {key}" if has else f"leave {key} out and feed the microphones from a conditioner")
            )

    def refusal(self, error: Exception) -> LabtrainError:
        """What NI-DAQmx refused when a stream was to be started."""
        code = getattr(error, "error_code", 0)
        if code in GONE:
            return LinkRefused(
                f"{self._name}: is listed but does not answer ({told(error)}); plug it in, switch it on, and look into "
                f"NI MAX ({self._key('device')})"
            )
        if code in BUSY:
            return LinkRefused(
                f"{self._name}: is in use by another program ({told(error)}); close that, test panels of NI MAX too"
            )
        if code in NO_ROUTE:
            return InputError(
                f"{self._name}: the outputs cannot take the clock or the trigger of the inputs ({told(error)}); set "
                f"{self._key('output_clock')} to own on a delta-sigma board, or use inputs of the same box"
            )
        return InputError(
            f"{self._name}: NI-DAQmx refuses ({told(error)}); check channels, ranges and terminal_config of "
            f"rig.{self._who}"
        )

    def _key(self, name: str) -> str:
        return f"rig.{self._who}.{name}"

    def _model(self, device: Any) -> str:
        return f"{device.name} ({device.product_type})"

    def _channels(
        self, device: Any, what: str, kind: str, has: list[str], channels: Sequence[int], device_key: str, key: str
    ) -> list[str]:
        if not has:
            raise InputError(
                f"{self._name}: {self._model(device)} has no analog {what}s; set {self._key(device_key)} to a device "
                "or module that has them"
            )
        names = [f"{device.name}/{kind}{channel - 1}" for channel in channels]
        for channel, name in zip(channels, names, strict=True):
            if name not in has:
                raise InputError(
                    f"{self._name}: {what} channel {channel} would be {name}, {self._model(device)} has {kind}0 to "
                    f"{kind}{len(has) - 1}, channels 1 to {len(has)}; set {self._key(key)} or "
                    f"{self._key(f'loopback.{what}')}"
                )
        return names

    def _exact_rates(self, task: Any) -> list[float]:
        found = []
        for rate in USUAL_HZ:
            with suppress(self._ni.DaqError):
                task.timing.cfg_samp_clk_timing(rate, sample_mode=self._ni.constants.AcquisitionType.CONTINUOUS)
                if math.isclose(task.timing.samp_clk_rate, rate, rel_tol=SAME_RATE):
                    found.append(rate)
        return found


def ending(error: Exception, who: str, buffer_s: float) -> str:
    """Why a running stream ended."""
    code = getattr(error, "error_code", 0)
    if code in TOO_LATE:
        return (
            f"samples for the outputs came too late (NI-DAQmx {code}); set rig.{who}.buffer_s above {buffer_s:g}, or "
            "close other programs"
        )
    if code in OVERRUN:
        return (
            f"samples of the inputs were not fetched in time (NI-DAQmx {code}); close other programs, or lower "
            f"rig.{who}.rate_hz"
        )
    if code in GONE:
        return f"is gone (NI-DAQmx {code}); check its cable and power, and look into NI MAX"
    if code in NO_TICK:
        return (
            f"its sample clock stands still (NI-DAQmx {code}); check rig.{who}.output_clock, and that no other program "
            "resets the device"
        )
    return f"the stream broke off ({told(error)}); open it again"


def told(error: Exception) -> str:
    """First sentence of an error, with NI-DAQmx's number."""
    sentence = re.split(r"\.\s|\n", str(error).strip(), maxsplit=1)[0].rstrip(".")
    return f"{sentence}, {error.error_code}" if hasattr(error, "error_code") else sentence


def _or(values: Iterable[str]) -> str:
    listed = list(values)
    return f"{', '.join(listed[:-1])} or {listed[-1]}" if len(listed) > 1 else "".join(listed)
