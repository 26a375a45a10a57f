"""What is connected to this computer, as the operating system, VISA, PortAudio and NI-DAQmx list it; nothing is asked.

pyvisa-py also calls into the network for instruments that announce themselves (VXI-11, HiSLIP).
"""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass, field
from importlib import import_module
from typing import Any, Literal

from labtrain import registry
from labtrain.drivers.address import parse_address
from labtrain.drivers.backends.audio_devices import listed
from labtrain.drivers.instrument import Instrument
from labtrain.errors import InputError
from labtrain.yaml_lines import dump_yaml

Kind = Literal["VISA", "network", "serial", "sound", "NI"]


@dataclass(frozen=True)
class Found:
    """One device, or one address that was asked.

    Parameters
    ----------
    kind : str
        ``network`` is an address that the user gave, of whatever form.
    address : str
        As ``rig.<instrument>.address`` takes it; the name of a sound or NI device.
    told : str
        What it says of itself, or what the operating system knows of it.
    drivers : tuple of str
        That fit; empty: none, or it is not known who it is.
    keys : dict
        More for its section, beside driver and address.
    note : str
        Why it was not asked, or did not answer.
    answered : bool
        Whether it said itself who it is.
    usb : tuple of int, optional
        Vendor and product id.
    """

    kind: Kind
    address: str
    told: str = ""
    drivers: tuple[str, ...] = ()
    keys: dict[str, str] = field(default_factory=dict)
    note: str = ""
    answered: bool = False
    usb: tuple[int, int] | None = None

    def lines(self) -> list[str]:
        """Its section in a configuration, to copy; empty if no driver fits."""
        if not self.drivers:
            return []
        first, *others = self.drivers
        where = "device" if self.kind in ("sound", "NI") else "address"
        lines = dump_yaml({"driver": first, where: self.address, **self.keys}).splitlines()
        return [f"{lines[0]}  # or {', '.join(others)}" if others else lines[0], *lines[1:]]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"drivers": list(self.drivers), "usb": self.usb and list(self.usb), "yaml": self.lines()}


def visa_resources(library: str) -> list[Found]:
    """Instruments that a VISA library lists, serial ports included.

    Raises
    ------
    InputError
        If there is no such library, or it cannot list them.
    """
    import pyvisa

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what pyvisa-py lacks is told by labtrain.backends
            names = pyvisa.ResourceManager(library).list_resources("?*")
    except Exception as error:  # each library has errors of its own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise InputError(f"VISA resources are not listed, library {library} says: {reason}") from None
    keys = {} if library == "@py" else {"visa": library}
    return [Found("VISA", name, keys=keys) for name in dict.fromkeys(names) if _is_instrument(name)]


def _is_instrument(resource: str) -> bool:
    """Not the interface that instruments are behind."""
    try:
        parse_address(resource, "VISA")
    except InputError:
        return False
    return True


def serial_ports() -> list[Found]:
    """Serial ports, and the drivers whose instruments have their USB ids."""
    from serial.tools import list_ports

    found = []
    for port in sorted(list_ports.comports(), key=lambda port: str(port.device)):
        usb = None if port.vid is None else (int(port.vid), int(port.pid or 0))
        told = [
            port.description if port.description not in (None, "n/a", port.device) else "",
            f"by {port.manufacturer}" if port.manufacturer else "",
            f"USB {usb[0]:04x}:{usb[1]:04x}" if usb else "",
            f"serial number {port.serial_number}" if port.serial_number else "",
        ]
        drivers = () if usb is None else tuple(n for n, cls in instrument_drivers().items() if usb in cls.USB_IDS)
        found.append(Found("serial", port.device, ", ".join(filter(None, told)), drivers, usb=usb))
    return found


def sound_devices() -> list[Found]:
    """Devices of PortAudio; none where it is not installed, which labtrain.backends tells.

    Raises
    ------
    InputError
        If PortAudio cannot list them.
    """
    try:
        sounddevice = import_module("sounddevice")
    except (ImportError, OSError):
        return []
    try:
        devices, _ = listed(sounddevice)
    except sounddevice.PortAudioError as error:
        raise InputError(f"sound devices are not listed, PortAudio says: {error}") from None
    return [
        Found(
            "sound",
            device.name,
            f"{device.host_api}, {device.outputs} outputs, {device.inputs} inputs, {device.rate_hz:g} Hz",
            ("audio",),
            {"host_api": device.host_api},
        )
        for device in devices
    ]


def ni_devices() -> list[Found]:
    """Devices of NI-DAQmx; none where it is not installed, which labtrain.backends tells.

    Raises
    ------
    InputError
        If NI-DAQmx cannot list them.
    """
    try:
        errors, system = import_module("nidaqmx.errors"), import_module("nidaqmx.system")
    except ImportError:
        return []
    try:
        devices = [(str(device.name), str(device.product_type)) for device in system.System.local().devices]
    except errors.DaqError as error:
        raise InputError(f"NI devices are not listed, NI-DAQmx says: {str(error).splitlines()[0]}") from None
    except errors.Error:  # there is no library
        return []
    return [Found("NI", name, f"NI {product}", ("nidaqmx",)) for name, product in devices]


def instrument_drivers() -> dict[str, type[Instrument]]:
    """Drivers on a link, by name; one that cannot be imported is told by labtrain.driver_list."""
    found = {}
    for name in registry.names("drivers"):
        try:
            driver = registry.resolve("drivers", name)
        except InputError:
            continue
        if isinstance(driver, type) and issubclass(driver, Instrument):
            found[name] = driver
    return found
