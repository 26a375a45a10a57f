"""ONC remote procedure calls over TCP, the server's end, without sockets (RFC 5531)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from labtrain.drivers.emulators.serving.xdr import NotXdr, Reader, opaque, uints

LONGEST = 1 << 24  # bytes of a call

_VERSION = 2  # of the protocol
_CALL, _REPLY = 0, 1
_ACCEPTED, _DENIED = 0, 1
_SUCCESS, _NO_PROGRAM, _OTHER_VERSION, _NO_PROCEDURE, _BAD_ARGUMENTS = range(5)
_LAST = 1 << 31  # bit of a fragment's length


@dataclass(frozen=True)
class Call:
    """A call.

    Parameters
    ----------
    xid : int
        By which the caller tells which call a reply belongs to.
    procedure : int
    arguments : Reader
    """

    xid: int
    procedure: int
    arguments: Reader


class NotRpc(ValueError):
    """Something else than a call came."""


class Records:
    """Bytes to records, and a record to bytes: the record marking of RFC 5531, 11."""

    def __init__(self) -> None:
        self._begun = bytearray()
        self._record = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The records that are complete by now.

        Raises
        ------
        NotRpc
            If one would be longer than any call.
        """
        self._begun += data
        while len(self._begun) >= 4:
            mark = int.from_bytes(self._begun[:4])
            length = mark & ~_LAST
            if len(self._record) + length > LONGEST:
                raise NotRpc(f"a record of {length} bytes")
            if len(self._begun) < 4 + length:
                return
            self._record += self._begun[4 : 4 + length]
            del self._begun[: 4 + length]
            if mark & _LAST:
                record = bytes(self._record)
                self._record.clear()
                yield record


def marked(record: bytes) -> bytes:
    """A record as one fragment."""
    return uints(_LAST | len(record)) + record


def parse_call(record: bytes, program: int, version: int) -> Call | bytes:
    """A call of a program, or the reply that refuses it.

    Raises
    ------
    NotRpc
        If it is no call at all, so that nobody waits for a reply.
    """
    reader = Reader(record)
    try:
        xid, kind = reader.unsigned(), reader.unsigned()
        if kind != _CALL:
            raise NotRpc("no call")
        protocol, asked, its_version, procedure = (reader.unsigned() for _ in range(4))
        for _ in ("credentials", "verifier"):
            reader.unsigned()
            reader.opaque()
    except NotXdr as error:
        raise NotRpc(str(error)) from None
    if protocol != _VERSION:
        return uints(xid, _REPLY, _DENIED, 0, _VERSION, _VERSION)
    if asked != program:
        return _accepted(xid, _NO_PROGRAM)
    if its_version != version:
        return _accepted(xid, _OTHER_VERSION, uints(version, version))
    return Call(xid, procedure, reader)


def reply(call: Call, result: bytes) -> bytes:
    """The reply with a result."""
    return _accepted(call.xid, _SUCCESS, result)


def answered(call: Call, procedures: Mapping[int, Callable[[Call], bytes | None]]) -> bytes | None:
    """The reply of one of the procedures, None if it is to come later; number 0 does nothing and is always there."""
    procedure = procedures.get(call.procedure)
    if call.procedure == 0:
        return reply(call, b"")
    if procedure is None:
        return _accepted(call.xid, _NO_PROCEDURE)
    try:
        result = procedure(call)
    except NotXdr:
        return _accepted(call.xid, _BAD_ARGUMENTS)
    return None if result is None else reply(call, result)


def _accepted(xid: int, status: int, result: bytes = b"") -> bytes:
    no_verifier = uints(0) + opaque(b"")
    return uints(xid, _REPLY, _ACCEPTED) + no_verifier + uints(status) + result
