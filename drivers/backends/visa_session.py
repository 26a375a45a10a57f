"""A session of a VISA library, and how what comes through it is read where messages have an end of their own."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

from pyvisa.constants import ResourceAttribute, StatusCode
from pyvisa.errors import VisaIOError

CHUNK = 1 << 16  # bytes asked for where asking for too many does no harm
LARGEST = 1 << 20  # bytes asked for at once: libraries set aside room for all of them

_CANNOT = (
    StatusCode.error_nonsupported_operation,
    StatusCode.error_nonimplemented_operation,
    StatusCode.error_nonsupported_attribute,
)
_NOBODY = (
    StatusCode.error_no_listeners,
    StatusCode.error_connection_lost,
    StatusCode.error_resource_not_found,
)


class Session:
    """An open session of a VISA library; what is set is remembered, and set again only if it changes."""

    def __init__(self, library: Any, handle: Any) -> None:
        self.library, self.handle = library, handle
        self._set: dict[int, Any] = {}
        # A read that ends because it has all that it asked for is what is wanted here.
        self._quiet = library.ignore_warning(
            handle, StatusCode.success_max_count_read, StatusCode.success_device_not_present
        )
        self._quiet.__enter__()

    def set(self, attribute: ResourceAttribute, value: Any) -> None:
        if self._set.get(attribute) != value:
            self.library.set_attribute(self.handle, attribute, value)
            self._set[attribute] = value

    def get(self, attribute: ResourceAttribute) -> Any:
        return self.library.get_attribute(self.handle, attribute)[0]

    def wait(self, seconds: float) -> None:
        """Set the timeout; VISA counts whole milliseconds, and takes 0 for: no time at all."""
        self.set(ResourceAttribute.timeout_value, max(1, round(1e3 * seconds)))

    def read(self, count: int, timeout_s: float) -> bytes:
        """viRead; ``b""`` for a timeout, which drops what had come until then."""
        self.wait(timeout_s)
        try:
            return bytes(self.library.read(self.handle, count)[0])
        except VisaIOError as error:
            if error.error_code == StatusCode.error_timeout:
                return b""
            raise

    def write(self, data: bytes) -> int:
        written: int = self.library.write(self.handle, data)[0]
        return written

    def clear(self, timeout_s: float) -> None:
        """viClear, where the resource has such a thing."""
        self.wait(timeout_s)
        try:
            self.library.clear(self.handle)
        except NotImplementedError:  # a library for tests, pyvisa-sim
            pass
        except VisaIOError as error:
            if error.error_code not in _CANNOT:
                raise

    def close(self) -> None:
        self._quiet.__exit__(None, None, None)
        self.library.close(self.handle)


class Reader(Protocol):
    """How one kind of resource is read, and what else differs between the kinds."""

    messages: ClassVar[bool]
    """Whether answers have an end of their own and come only if they are asked for."""

    def prepare(self, timeout_s: float) -> bool:
        """First thing after opening; returns whether an earlier program's answers may still come."""

    def send(self, data: bytes, timeout_s: float) -> int:
        """Send, and return how many bytes went."""

    def recv(self, count: int, end: bytes | None, timeout_s: float) -> bytes:
        """As of :meth:`Link._recv`."""

    def arrived(self) -> bytes:
        """As of :meth:`Link._arrived`."""

    def clear(self, timeout_s: float) -> None:
        """As of :meth:`Link._clear`."""


class MessageReader:
    """Messages that carry their own end: a read asks for plenty and gets no more than one message."""

    messages: ClassVar[bool] = True

    def __init__(self, session: Session) -> None:
        self.session = session

    def prepare(self, timeout_s: float) -> bool:
        try:
            self.session.clear(timeout_s)
        except VisaIOError as error:
            if error.error_code in _NOBODY:
                raise
            return True  # it may still answer questions, after some effort
        return False

    def send(self, data: bytes, timeout_s: float) -> int:
        self.session.wait(timeout_s)
        return self.session.write(data)

    def recv(self, count: int, end: bytes | None, timeout_s: float) -> bytes:  # noqa: ARG002 (messages end themselves)
        return self.session.read(min(max(count, CHUNK), LARGEST), timeout_s)

    def arrived(self) -> bytes:
        return b""

    def clear(self, timeout_s: float) -> None:
        self.prepare(timeout_s)
