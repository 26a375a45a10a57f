"""VISA resources through pyvisa, on the system's VISA library or on pyvisa-py.

Used at the level of the VISA library (viRead, viWrite), where nothing is set anew for each message. VISA tells in four
ways where an answer ends, which are the four classes of readers below: messages have an end of their own (GPIB, USB,
HiSLIP, VXI-11); a serial port tells how much has come; a TCP socket tells neither, except in pyvisa-py, where it can be
looked at.
"""

from __future__ import annotations

import re
from socket import getaddrinfo
from typing import Any

import pyvisa
from pyvisa.constants import ResourceAttribute, SerialTermination, StatusCode

from labtrain.clock import Clock
from labtrain.drivers.backends import visa_py
from labtrain.drivers.backends.opening import broken, first_line, network_refusal, root_cause, stuck, within
from labtrain.drivers.backends.serial import parse_framing, serial_refusal
from labtrain.drivers.backends.visa_session import LARGEST, MessageReader, Reader, Session
from labtrain.drivers.link import Link
from labtrain.errors import LabtrainError, LinkRefused

_LATE = re.compile(rf"error_timeout|{int(StatusCode.error_timeout)}")  # pyvisa-py, on opening a socket
CLOSE_S = 2.0  # longest wait for a library that takes leave of an instrument which is gone


class StreamReader(MessageReader):
    """A TCP socket of a system library: lines by the termination character, all else by count."""

    messages = False

    def prepare(self, timeout_s: float) -> bool:  # noqa: ARG002 (each connection begins anew)
        return False

    def recv(self, count: int, end: bytes | None, timeout_s: float) -> bytes:
        if end is not None:
            self.session.set(ResourceAttribute.termchar, end[-1])
        self.session.set(ResourceAttribute.termchar_enabled, end is not None)
        return self.session.read(min(count, LARGEST), timeout_s)


class PortReader(MessageReader):
    """A serial port, which tells how many bytes wait to be read."""

    messages = False

    def __init__(self, session: Session, baud: int, framing: dict[str, Any]) -> None:
        super().__init__(session)
        self.timeout_s = 1.0  # as it was last; a change would configure the port anew
        self.settings = {
            ResourceAttribute.asrl_baud_rate: baud,
            ResourceAttribute.asrl_data_bits: framing["bytesize"],
            ResourceAttribute.asrl_parity: "NOEMS".index(framing["parity"]),
            ResourceAttribute.asrl_stop_bits: round(10 * framing["stopbits"]),
            ResourceAttribute.asrl_end_in: SerialTermination.none,
        }

    def prepare(self, timeout_s: float) -> bool:
        self.timeout_s = timeout_s
        for attribute, value in self.settings.items():
            self.session.set(attribute, value)
        return True

    def recv(self, count: int, end: bytes | None, timeout_s: float) -> bytes:  # noqa: ARG002 (takes what has come)
        self.timeout_s = timeout_s
        data = self.session.read(1, timeout_s)
        return data + self.arrived() if data else b""

    def arrived(self) -> bytes:
        waiting = self.session.get(ResourceAttribute.asrl_avalaible_number)
        return self.session.read(waiting, self.timeout_s) if waiting else b""

    def clear(self, timeout_s: float) -> None:  # noqa: ARG002 (has come already)
        self.arrived()


class VisaLink(Link):
    """A link to a VISA resource.

    Parameters
    ----------
    who : str
    address : str
        As configured, for errors.
    resource : str
        Name of the resource, as VISA writes it.
    clock : Clock
    library : str
        ``@py``, ``@ivi`` or the path of a VISA library.
    baud, framing
        Of serial resources, as of SerialLink.
    options
        As of Link.
    """

    def __init__(
        self,
        who: str,
        address: str,
        resource: str,
        clock: Clock,
        *,
        library: str = "@py",
        baud: int = 115_200,
        framing: str = "8N1",
        **options: Any,
    ) -> None:
        super().__init__(who, address, clock, **options)
        self.resource, self.library, self.baud = resource, library, baud
        self.framing = parse_framing(framing, self.name)
        self._session: Session  # while open, as the next
        self._reader: Reader

    def _open(self) -> None:
        try:
            self._session, self._reader, self.dirty = within(
                self.open_timeout_s, self._connect, lambda opened: opened[0].close()
            )
        except Exception as error:
            raise self._refusal(error) from error
        self._messages = self._reader.messages

    def _connect(self) -> tuple[Session, Reader, bool]:
        try:
            manager = pyvisa.ResourceManager(self.library)
        except (OSError, ValueError, ImportError) as error:
            raise LinkRefused(
                f"{self.name}: this computer has no VISA library {self.library} ({first_line(error)}); install one, "
                f"or set {self._library_key} to @py"
            ) from None
        if self.library == "@py" and self.resource.startswith("TCPIP"):
            getaddrinfo(self._host, None)  # pyvisa-py has many ways to fail over a host that there is not
        open_timeout_ms = max(1, round(1e3 * self.open_timeout_s))
        handle, status = manager.visalib.open(manager.session, self.resource, open_timeout=open_timeout_ms)
        if status < 0:  # pyvisa-sim returns what other libraries raise
            raise pyvisa.VisaIOError(status)
        session = Session(manager.visalib, handle)
        try:
            reader = self._reader_for(session)
            return session, reader, reader.prepare(self.open_timeout_s)
        except BaseException:
            session.close()
            raise

    def _reader_for(self, session: Session) -> Reader:
        if self.resource.startswith("ASRL"):
            return PortReader(session, self.baud, self.framing)
        if self.resource.endswith("::SOCKET"):
            socket = visa_py.socket_of(session)
            return visa_py.SocketReader(session, socket) if socket is not None else StreamReader(session)
        return visa_py.message_reader(session)

    def _close(self) -> None:
        within(CLOSE_S, self._session.close, lambda _: None)

    def _send(self, data: bytes) -> None:
        try:
            sent = self._reader.send(data, self.timeout_s)
        except Exception as error:
            if getattr(error, "error_code", None) != StatusCode.error_timeout:
                raise broken(self, error) from error
            sent = 0
        if sent < len(data):
            raise stuck(self, len(data))

    def _recv(self, count: int, end: bytes | None, timeout_s: float) -> bytes:
        try:
            return self._reader.recv(count, end, timeout_s)
        except Exception as error:
            raise broken(self, error) from error

    def _arrived(self) -> bytes:
        try:
            return self._reader.arrived()
        except Exception as error:
            raise broken(self, error) from error

    def _clear(self) -> None:
        try:
            self._reader.clear(self.timeout_s)
        except Exception as error:
            raise broken(self, error) from error

    def _refusal(self, error: Exception) -> LabtrainError:
        """The sentence for whatever came up on opening."""
        if isinstance(error, LabtrainError):
            return error
        cause = root_cause(error)
        if self.resource.startswith("ASRL") and isinstance(cause, OSError) and not isinstance(cause, TimeoutError):
            board = self.resource.removeprefix("ASRL").removesuffix("::INSTR")
            return serial_refusal(self, f"COM{board}" if board.isdigit() else board, error)
        if told := visa_py.refusal(cause, self.where):
            return LinkRefused(f"{self.name}: {told}")
        code = getattr(error, "error_code", None)
        late = isinstance(cause, TimeoutError) or code == StatusCode.error_timeout or _LATE.search(str(error))
        if self.resource.startswith("TCPIP"):
            *_, last, kind = self.resource.split("::")
            port = int(last) if kind == "SOCKET" else None
            refused = network_refusal(self, self._host, port, TimeoutError() if late else cause)
            if refused is not None:
                return refused
        if late:
            return LinkRefused(
                f"{self.name}: not open within {self.open_timeout_s:g} s; check that the instrument is on and "
                f"connected, and {self.where}"
            )
        if code in (StatusCode.error_resource_busy, StatusCode.error_resource_locked):
            return LinkRefused(f"{self.name}: another program uses the instrument; close it")
        if code in (StatusCode.error_resource_not_found, StatusCode.error_no_listeners):
            return LinkRefused(
                f"{self.name}: no instrument answers there; check that it is on and connected, and {self.where}"
            )
        if "Please install" in str(error):
            return LinkRefused(
                f"{self.name}: pyvisa-py cannot reach it yet: {first_line(error)}; or use another VISA library with "
                f"{self._library_key}"
            )
        return LinkRefused(f"{self.name}: VISA library {self.library} says: {first_line(error)}; check {self.where}")

    @property
    def _host(self) -> str:
        return self.resource.split("::")[1].partition(",")[0]

    @property
    def _library_key(self) -> str:
        return self.where.removesuffix("address") + "visa" if self.where.endswith(".address") else "--visa"
