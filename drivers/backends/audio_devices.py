"""Sound devices by name: which of those that PortAudio lists is meant, or a sentence that says why none is.

Numbers of devices change with whatever is plugged in, so they are never asked for. Part of a name is enough where it
fits one device: Windows lists inputs and outputs of one box as two devices whose names have the box in common.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

from labtrain.errors import InputError, LinkRefused

Direction = Literal["output", "input"]

HOST_APIS = (
    "ALSA", "ASIO", "Core Audio", "JACK Audio Connection Kit", "MME", "OSS", "PulseAudio", "Windows DirectSound",
    "Windows WASAPI", "Windows WDM-KS",
)  # fmt: skip
CHANNELS_KEY = {"output": "speakers", "input": "microphones"}


class AudioDevice(NamedTuple):
    """A device as PortAudio lists it.

    Parameters
    ----------
    number : int
        Good until PortAudio lists its devices anew.
    name, host_api : str
    outputs, inputs : int
        Channels.
    rate_hz : float
        Its default.
    """

    number: int
    name: str
    host_api: str
    outputs: int
    inputs: int
    rate_hz: float

    def __str__(self) -> str:
        return f"{self.name} ({self.host_api})"

    def channels(self, direction: Direction) -> int:
        """How many channels it has."""
        return self.outputs if direction == "output" else self.inputs


class Wanted(NamedTuple):
    """What is asked for.

    Parameters
    ----------
    name : str
        Of the device, or part of it.
    host_api : str or None
        Likewise; None: whichever has the device.
    who : str
        For errors: ``audio (Scarlett 4i4 USB)``.
    section : str
        Of the configuration, for remedies: ``rig.audio``.
    key : str
        Under which the name stands: ``device`` or ``input_device``.
    """

    name: str
    host_api: str | None
    who: str
    section: str
    key: str = "device"


def listed(sounddevice: Any) -> tuple[list[AudioDevice], list[str]]:
    """All devices and all host APIs that PortAudio knows now."""
    host_apis = [str(api["name"]) for api in sounddevice.query_hostapis()]
    return [
        AudioDevice(
            int(found["index"]),
            str(found["name"]),
            host_apis[found["hostapi"]],
            int(found["max_output_channels"]),
            int(found["max_input_channels"]),
            float(found["default_samplerate"]),
        )
        for found in sounddevice.query_devices()
    ], host_apis


def find(
    wanted: Wanted, direction: Direction, channels: Sequence[int], devices: Sequence[AudioDevice], host_apis: list[str]
) -> AudioDevice:
    """The one device that is meant, with all the channels in use.

    Raises
    ------
    LinkRefused
        If there is no such device or host API; it may be switched off.
    InputError
        If several fit, or channels are missing.
    """
    if wanted.host_api is not None:
        devices = [d for d in devices if d.host_api in _host_apis(wanted, host_apis)]
    named = _fitting(wanted.name, devices)
    if not named:
        raise _unknown(wanted, devices, host_apis)
    able = [d for d in named if d.channels(direction)] or named
    if len(able) > 1:
        several = len({d.host_api for d in able}) > 1
        raise InputError(
            f"{wanted.who}: {len(able)} devices with {direction}s fit {wanted.section}.{wanted.key} {wanted.name}: "
            f"{_joined(able)}; set {f'{wanted.section}.host_api' if several else 'more of the name'}"
        )
    (device,) = able
    if max(channels) > device.channels(direction):
        raise InputError(
            f"{wanted.who}: asked {direction} channel {max(channels)}, {device} has {device.channels(direction)} "
            f"{direction}s; set {wanted.section}.{CHANNELS_KEY[direction]} and {wanted.section}.loopback"
        )
    return device


def full_host_api(name: str) -> str:
    """The whole name of a host API, where part of it was given; any other name as it is."""
    found = _parts(name, HOST_APIS)
    return found[0] if len(found) == 1 else name


def _host_apis(wanted: Wanted, host_apis: list[str]) -> list[str]:
    assert wanted.host_api is not None
    found = _parts(wanted.host_api, host_apis)
    if len(found) == 1:
        return found
    there = f"set {wanted.section}.host_api to one of {', '.join(host_apis)}"
    if found:
        raise InputError(f"{wanted.who}: {len(found)} host APIs fit {wanted.host_api}: {', '.join(found)}; {there}")
    asio = "; ASIO is on Windows alone, and SD_ENABLE_ASIO=1 must be set before sounddevice is imported"
    raise LinkRefused(
        f"{wanted.who}: PortAudio has no host API {wanted.host_api} here; {there}"
        f"{asio if 'asio' in wanted.host_api.casefold() else ''}"
    )


def _unknown(wanted: Wanted, devices: Sequence[AudioDevice], host_apis: list[str]) -> LinkRefused:
    names = {d.name.casefold(): d for d in devices}
    close = difflib.get_close_matches(wanted.name.casefold(), names, n=3, cutoff=0.5)
    near = [names[name] for name in close] or devices
    what = "near are" if close else "there are"
    return LinkRefused(
        f"{wanted.who}: no sound device is called {wanted.name}; {what} {_joined(near) or 'none'}; host APIs: "
        f"{', '.join(host_apis) or 'none'}; plug it in and switch it on, or correct {wanted.section}.{wanted.key}"
    )


def _fitting(name: str, devices: Sequence[AudioDevice]) -> list[AudioDevice]:
    names = _parts(name, {d.name: None for d in devices})
    return [d for d in devices if d.name in names]


def _parts(name: str, choices: Iterable[str]) -> list[str]:
    """Choices that have this very name or else contain it; upper and lower case are the same."""
    choices, name = list(choices), name.casefold()
    return [c for c in choices if c.casefold() == name] or [c for c in choices if name in c.casefold()]


def _joined(devices: Iterable[AudioDevice]) -> str:
    return ", ".join(map(str, devices))
