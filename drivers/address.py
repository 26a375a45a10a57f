"""Addresses of instruments: which forms there are, and the link that each one makes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from labtrain.clock import Clock
from labtrain.drivers.backends.memory import MemoryLink
from labtrain.drivers.backends.tcp import TcpLink
from labtrain.drivers.emulators.emulator import Emulator
from labtrain.drivers.link import Link
from labtrain.drivers.trace import Trace
from labtrain.errors import InputError

SIM = "sim"

KNOWN = (
    "sim, tcp://10.0.0.5:5025, a serial port (COM3, /dev/ttyUSB0), socket://host:port, rfc2217://host:port, or a "
    "VISA resource (TCPIP::10.0.0.5::5025::SOCKET, TCPIP::10.0.0.5::hislip0::INSTR, TCPIP::10.0.0.5::INSTR, "
    "GPIB0::16::INSTR, USB0::0x2A8D::0x0001::MY1::INSTR, ASRL3::INSTR)"
)

_VISA = re.compile(r"(?:TCPIP|GPIB|USB|ASRL|VXI|PXI|VICP)[^:]*(?:::.*)?", re.IGNORECASE)
_COM = re.compile(r"(?:\\\\\.\\)?(COM\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Address:
    """An address of a known form.

    Parameters
    ----------
    text : str
        As the transport's own library takes it.
    transport : str
        ``memory``, ``tcp``, ``serial`` or ``visa``.
    host, port : str, int or None
        Of a TCP server that gives and takes plain bytes.
    """

    text: str
    transport: Literal["memory", "tcp", "serial", "visa"]
    host: str | None = None
    port: int | None = None

    @property
    def real(self) -> bool:
        """Whether something outside this process answers."""
        return self.transport != "memory"

    @property
    def canonical(self) -> str:
        """One spelling for all that reach the same connector, for locks. Looks up links to serial ports.

        Nothing tells that a VISA name and a port of the same host belong to one instrument.
        """
        if self.host is not None:
            return f"tcp://{_canonical_host(self.host)}:{self.port}"
        if self.transport == "serial":
            return _canonical_port(self.text)
        if self.text.startswith("ASRL"):
            board = self.text.removeprefix("ASRL").removesuffix("::INSTR")
            return f"COM{board}" if board.isdigit() else _canonical_port(board)
        if self.text.startswith("TCPIP"):
            _, host, *device = self.text.lower().split("::")
            name, comma, port = host.partition(",")
            return "::".join(["tcpip", _canonical_host(name) + comma + port, *device]).replace(",4880::", "::")
        return self.text.lower() if self.transport == "visa" else self.text


def parse_address(text: str, where: str) -> Address:
    """Tell the form of an address; nothing is opened.

    Parameters
    ----------
    text : str
    where : str
        Where it is configured, for the error: ``rig.vna.address``.

    Raises
    ------
    InputError
        If the form is unknown; it says which are known.
    """
    text = text.strip()
    if text == SIM:
        return Address(text, "memory")
    if "://" in text:
        return _parse_url(text, where)
    if _COM.fullmatch(text) or text.startswith("/"):  # also a link to a port, wherever it is
        return Address(text, "serial")
    if _VISA.fullmatch(text):
        return _parse_visa(text, where)
    raise InputError(f"{where} is {text!r}, an address of an unknown form; known are {KNOWN}")


def _parse_url(text: str, where: str) -> Address:
    try:
        url = urlsplit(text)
        scheme, host, port = url.scheme.lower(), url.hostname, url.port
    except ValueError:  # no number for a port, or one that no port can have
        scheme, host, port = text.partition("://")[0].lower(), None, None
    if scheme not in ("tcp", "socket", "rfc2217"):
        raise InputError(f"{where} is {text!r}, an address of an unknown form; known are {KNOWN}")
    if not host or not port:
        raise InputError(f"{where} is {text!r}; write {scheme}://host:port, with a port from 1 to 65535")
    if scheme == "rfc2217":
        return Address(text, "serial")
    return Address(text, "tcp" if scheme == "tcp" else "serial", host, port)


def _parse_visa(text: str, where: str) -> Address:
    from pyvisa import rname

    first, *middle = text.split("::")
    kind = middle.pop().upper() if middle and middle[-1].upper() in ("INSTR", "SOCKET", "RAW") else None
    first = re.sub("^ASRLCOM", "ASRL", first, flags=re.IGNORECASE)
    # The name of the interface in capitals, but not what follows it: /dev/ttyUSB0.
    first = re.sub("^[a-z]+", lambda found: found.group().upper(), first, flags=re.IGNORECASE)
    try:
        name = rname.parse_resource_name("::".join(filter(None, [first, *middle, kind])))
    except ValueError as error:
        raise InputError(f"{where} is {text!r}, which is no VISA resource: {error}".removesuffix(".")) from None
    if name.resource_class not in ("INSTR", "SOCKET", "RAW"):
        raise InputError(f"{where} is {text!r}; name an instrument, not its interface (GPIB0::16::INSTR)")
    if str(getattr(name, "lan_device_name", "")).isdigit():
        raise InputError(
            f"{where} is {text!r}, which names a device {name.lan_device_name}; "  # type: ignore[attr-defined]
            f"for a socket write {text.removesuffix('::INSTR')}::SOCKET"
        )
    host, port = getattr(name, "host_address", None), getattr(name, "port", None)
    if name.resource_class == "SOCKET":
        if not str(port).isdigit():
            raise InputError(f"{where} is {text!r}; the port must be a number, as in TCPIP::10.0.0.5::5025::SOCKET")
        return Address(str(name), "visa", host, int(str(port)))
    return Address(str(name), "visa")


def _canonical_host(host: str) -> str:
    return "127.0.0.1" if host.lower() == "localhost" else host.lower()


def _canonical_port(port: str) -> str:
    if found := _COM.fullmatch(port):
        return found.group(1).upper()
    if "://" in port:
        url = urlsplit(port)
        return f"{url.scheme}://{url.hostname}:{url.port}"
    return str(Path(port).resolve())


def make_link(
    who: str,
    address: str,
    clock: Clock,
    *,
    emulator: Emulator | None = None,
    visa: str = "@py",
    baud: int = 115_200,
    framing: str = "8N1",
    timeout_s: float = 5.0,
    open_timeout_s: float = 5.0,
    trace: Trace | None = None,
    where: str | None = None,
) -> Link:
    """The link for an address, not opened yet: nothing is sent, looked up or loaded but the transport's library.

    Parameters
    ----------
    who : str
        Name of the instrument: ``vna``.
    address : str
    clock : Clock
    emulator : Emulator, optional
        What answers at ``sim``.
    visa : str
        VISA library for VISA resources: ``@py``, ``@ivi``, or the path of one.
    baud : int
        Of serial ports.
    framing : str
        Of serial ports: data bits, parity, stop bits.
    timeout_s, open_timeout_s, trace, where
        As of :class:`Link`.

    Raises
    ------
    InputError
        If the form of the address is unknown.
    """
    where = where or f"rig.{who}.address"
    found = parse_address(address, where)
    options: dict[str, Any] = {
        "timeout_s": timeout_s, "open_timeout_s": open_timeout_s, "trace": trace, "where": where
    }  # fmt: skip
    if found.transport == "memory":
        if emulator is None:
            raise InputError(
                f"{where} is 'sim', and there is no emulator here to answer; give the address of an instrument, or of "
                "an emulator that labtrain emulate has started"
            )
        return MemoryLink(who, emulator, clock, **options)
    if found.transport == "tcp":
        return TcpLink(who, address, str(found.host), int(found.port or 0), clock, **options)
    if found.transport == "serial":
        from labtrain.drivers.backends.serial import SerialLink

        return SerialLink(who, found.text, clock, baud=baud, framing=framing, **options)
    from labtrain.drivers.backends.visa import VisaLink

    return VisaLink(who, address, found.text, clock, library=visa, baud=baud, framing=framing, **options)
