"""Which ways to instruments are missing on this computer, what each would reach, and the command that brings it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

PIP = "python -m pip install"


@dataclass(frozen=True)
class Missing:
    """A way that is not there.

    Parameters
    ----------
    what : str
        That is missing.
    reaches : str
        What it is needed for.
    how : str
        What to do: a command where there is one.
    """

    what: str
    reaches: str
    how: str


def missing() -> list[Missing]:
    """All ways that are missing; what is there already is not told."""
    return [*_visa(), *_sound(), *_ni(), *_optics()]


def _visa() -> Iterator[Missing]:
    if find_spec("usb") is None:
        yield Missing("pyusb", "USB instruments (USBTMC) through pyvisa-py", f"{PIP} pyusb")
    elif not _found(lambda: import_module("usb.backend.libusb1").get_backend()):
        yield Missing(
            "libusb",
            "USB instruments (USBTMC) through pyvisa-py",
            _by_system("apt install libusb-1.0-0", "brew install libusb", f"{PIP} libusb-package"),
        )
    if find_spec("gpib_ctypes") is None and find_spec("gpib") is None:
        yield Missing("gpib-ctypes", "GPIB through pyvisa-py, with linux-gpib or NI's driver", f"{PIP} gpib-ctypes")
    if find_spec("zeroconf") is None:
        yield Missing(
            "zeroconf", "finding HiSLIP instruments in the network; named ones are reached", f"{PIP} zeroconf"
        )
    if not _found(_system_visa):
        yield Missing(
            "a system's VISA library",
            "GPIB and USB with the maker's own driver (--visa @ivi)",
            "get NI-VISA, Keysight IO Libraries or R&S VISA from its maker",
        )


def _system_visa() -> Any:
    from pyvisa.ctwrapper.highlevel import IVIVisaLibrary

    return list(IVIVisaLibrary.get_library_paths())


def _sound() -> Iterator[Missing]:
    if find_spec("sounddevice") is None:
        yield Missing("sounddevice", "sound cards (driver audio)", f"{PIP} sounddevice")
    elif not _found(lambda: import_module("sounddevice")):
        yield Missing(
            "PortAudio",
            "sound cards (driver audio)",
            _by_system("apt install libportaudio2", "brew install portaudio", f"{PIP} --force-reinstall sounddevice"),
        )
    if not sys.platform.startswith("linux"):
        return
    if find_spec("jack") is None:
        yield Missing("JACK-Client", "emulated sound cards (labtrain emulate)", f'{PIP} "labtrain[jack]"')
    elif not _found(lambda: import_module("jack")):
        yield Missing("JACK's library", "emulated sound cards (labtrain emulate)", "apt install jackd2")


def _ni() -> Iterator[Missing]:
    if find_spec("nidaqmx") is None:
        yield Missing("nidaqmx", "NI devices (driver nidaqmx)", f'{PIP} "labtrain[daq]"')
    elif sys.platform != "darwin" and not _found(lambda: import_module("nidaqmx.system").System.local().driver_version):
        yield Missing("NI-DAQmx", "NI devices (driver nidaqmx)", "get the driver from ni.com/downloads")


def _optics() -> Iterator[Missing]:
    if find_spec("slmsuite") is None:
        drivers = "modulators and cameras (drivers slmsuite-slm, slmsuite-camera)"
        yield Missing("slmsuite", drivers, f'{PIP} "labtrain[optics]"')


def _found(look: Callable[[], Any]) -> bool:
    """Whether looking for something finds it; packages raise all sorts of errors over a library that is missing."""
    try:
        return bool(look())
    except Exception:
        return False


def _by_system(linux: str, mac: str, windows: str) -> str:
    return {"darwin": mac, "win32": windows}.get(sys.platform, linux)
