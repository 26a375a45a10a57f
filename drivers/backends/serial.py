"""Serial ports through pyserial: ``COM3``, ``/dev/ttyUSB0``, ``socket://host:port``, ``rfc2217://host:port``."""

from __future__ import annotations

import errno
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import serial
from serial.tools import list_ports

from labtrain.clock import Clock
from labtrain.drivers.backends.opening import first_line, network_refusal, root_cause, stuck, within
from labtrain.drivers.link import Link
from labtrain.errors import InputError, LabtrainError, LinkClosed, LinkRefused

POLL_S = 0.05  # pyserial's own timeout, never changed while open: that would configure the port anew

_FRAMING = re.compile(r"([5-8])([NEOMS])(1|1\.5|2)")


class SerialLink(Link):
    """A link to a serial port, which is then this process's alone.

    Parameters
    ----------
    who : str
    address : str
        Port or URL, as pyserial takes it.
    clock : Clock
    baud : int
    framing : str
        Data bits, parity (N, E, O, M, S) and stop bits: ``8N1``.
    options
        As of Link.
    """

    def __init__(
        self, who: str, address: str, clock: Clock, *, baud: int = 115_200, framing: str = "8N1", **options: Any
    ) -> None:
        super().__init__(who, address, clock, **options)
        self.settings = {"baudrate": baud} | parse_framing(framing, self.name)
        self._port: Any = None  # a Serial of the platform or of a URL, which have no useful common type

    def _open(self) -> None:
        write_timeout_s = None if self.address.startswith("rfc2217:") else self.timeout_s  # pyserial has none there

        def connect() -> Any:
            return serial.serial_for_url(
                self.address, timeout=POLL_S, write_timeout=write_timeout_s, exclusive=True, **self.settings
            )

        try:
            self._port = within(self.open_timeout_s, connect, lambda port: port.close())
        except Exception as error:
            raise serial_refusal(self, self.address, error) from error
        with suppress(OSError, ValueError, AttributeError):  # Linux alone, and not every driver of a port has it
            # USB adapters hold a short answer back for 16 ms otherwise.
            self._port.set_low_latency_mode(True)
        self.dirty = True  # the device has been on the line before this program was

    def _close(self) -> None:
        if self._port is not None:
            port, self._port = self._port, None
            port.close()

    def _send(self, data: bytes) -> None:
        with self._told() as port:
            try:
                port.write(data)
            except serial.SerialTimeoutException:
                raise stuck(self, len(data)) from None

    def _recv(self, count: int, end: bytes | None, timeout_s: float) -> bytes:
        with self._told() as port:
            for _ in range(1 + int(timeout_s / POLL_S - 1e-9)):
                # All that is missing at once, or else the first byte and what has come with it.
                if data := bytes(port.read(count if end is None else 1)):
                    with suppress(LinkClosed):  # told by the next one
                        data += self._arrived()
                    return data
        return b""

    def _arrived(self) -> bytes:
        arrived = b""
        try:
            with self._told() as port:
                while (n := port.in_waiting) and len(arrived) < 4096:
                    arrived += port.read(n)
        except LinkClosed:
            if not arrived:  # else its last words come first
                raise
        return arrived

    def _clear(self) -> None:
        with self._told() as port:
            port.reset_input_buffer()
            port.reset_output_buffer()

    @contextmanager
    def _told(self) -> Iterator[Any]:
        """The port; whatever it raises says that the device is gone."""
        if self._port is None:
            raise LinkClosed(f"{self.name}: the link is not open")
        try:
            yield self._port
        except LabtrainError:
            raise
        except Exception as error:  # OSError, SerialException, termios.error, and TypeError from a closed one
            raise LinkClosed(f"{self.name}: the port is gone ({error}); check the plug, then start again") from error


def parse_framing(framing: str, name: str) -> dict[str, Any]:
    """``8N1`` as pyserial's settings bytesize, parity, stopbits; `name` is for the InputError."""
    found = _FRAMING.fullmatch(framing.upper())
    if found is None:
        raise InputError(f"{name}: asked serial framing {framing!r}; it is data bits, parity, stop bits, as in 8N1")
    return {"bytesize": int(found[1]), "parity": found[2], "stopbits": float(found[3])}


def serial_refusal(link: Link, port: str, error: BaseException) -> LinkRefused:
    """The sentence for an error met on opening a serial port."""
    text = first_line(error)
    if "://" in port:
        url, cause = urlsplit(port), root_cause(error)
        told = network_refusal(link, str(url.hostname), url.port, cause)
        return told if told and not isinstance(cause, serial.SerialException) else _other(link, port, text)
    if isinstance(error, TimeoutError):
        return LinkRefused(
            f"{link.name}: did not open within {link.open_timeout_s:g} s; unplug the device and plug it in again"
        )
    number = getattr(error, "errno", None)
    # On Windows pyserial leaves the number out and quotes the error, in which a port in use is a PermissionError.
    if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.ENOTDIR) or "FileNotFoundError" in text:
        return LinkRefused(
            f"{link.name}: there is no such port, this computer has {_ports()}; plug the device in, or correct "
            f"{link.where}"
        )
    if number in (errno.EAGAIN, errno.EBUSY) or "PermissionError" in text:
        return LinkRefused(
            f"{link.name}: another program uses the port; close it (a terminal, another labtrain), or correct "
            f"{link.where}"
        )
    if number in (errno.EACCES, errno.EPERM):
        remedy = f"add yourself to its group: sudo usermod -aG {_group(port)} $USER, then log in again"
        return LinkRefused(f"{link.name}: no permission to open the port; {remedy}")
    return _other(link, port, text)


def _other(link: Link, port: str, text: str) -> LinkRefused:
    return LinkRefused(f"{link.name}: {port} does not open ({text}); correct {link.where}")


def _ports() -> str:
    """The serial ports that there are, with what is plugged in where that is known."""
    found = sorted((port.device, port.product) for port in list_ports.comports())
    return ", ".join(f"{device} ({product})" if product else device for device, product in found) or "none"


def _group(port: str) -> str:
    """Name of the group that a port belongs to; dialout where it cannot be told."""
    if sys.platform != "win32":
        import grp

        with suppress(OSError, KeyError):
            return grp.getgrgid(Path(port).stat().st_gid).gr_name
    return "dialout"
