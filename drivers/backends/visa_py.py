"""What pyvisa-py needs to be told, or asked in another way than VISA provides.

Seen in pyvisa-py 0.7 and 0.8: a TCP socket that was refused counts as open; the end of a connection counts as silence,
looked at again and again at full load until the timeout; a read that times out drops what it had; device clear on a
socket never returns once the peer has hung up; device clear over HiSLIP stumbles over an answer under way.
Hence its sockets are read and written directly; those of VXI-11, where that cannot be done, raise at their end.
"""

from __future__ import annotations

import os
import re
import socket
from typing import Any

from labtrain.drivers.backends.sockets import SocketPipe
from labtrain.drivers.backends.visa_session import CHUNK, MessageReader, Session

QUIET_S = 0.05

_FATAL = re.compile(r"""received 'FatalError: .*?b["'](.*)["']\)'""")  # HiSLIP
_NO_LINK = re.compile(r"error creating link: (\d+)")  # VXI-11
_OUT_OF_RESOURCES, _LOCKED, _NOT_ACCESSIBLE = "9", "11", "3"


def _inner(session: Session) -> Any:
    """pyvisa-py's own session object, or None under another library."""
    if not type(session.library).__module__.startswith("pyvisa_py"):
        return None
    return session.library.sessions[session.handle]


def refusal(cause: BaseException, where: str) -> str | None:
    """What an instrument that refuses a client says through pyvisa-py, as the end of a sentence, with what to do."""
    if found := _FATAL.search(str(cause)):
        return f"the instrument refuses ({found[1]}); close other programs that use it, or correct {where}"
    if found := _NO_LINK.search(str(cause)):
        if found[1] in (_OUT_OF_RESOURCES, _LOCKED):
            return "another program uses the instrument; close it"
        if found[1] == _NOT_ACCESSIBLE:
            return f"the instrument has no device of this name; correct {where}"
    return None


def socket_of(session: Session) -> socket.socket | None:
    """The socket of a SOCKET session, None under another library.

    Raises
    ------
    OSError
        If the connection was refused: pyvisa-py does not look.
    """
    inner = getattr(_inner(session), "interface", None)
    if not isinstance(inner, socket.socket):
        return None
    if number := inner.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise OSError(number, os.strerror(number))
    return inner


class EndingSocket(socket.socket):
    """A socket that raises at the end of the connection, where others return nothing."""

    def recv(self, *arguments: int) -> bytes:
        data = super().recv(*arguments)
        if not data:
            raise EOFError
        return data


def message_reader(session: Session) -> MessageReader:
    """The reader for a resource with messages, under any library."""
    inner = _inner(session)
    if type(inner).__name__ == "TCPIPInstrHiSLIP":
        return HislipReader(session)
    client: Any = getattr(inner, "interface", None)
    if isinstance(getattr(client, "sock", None), socket.socket):  # VXI-11
        client.sock = EndingSocket(fileno=client.sock.detach())
    return MessageReader(session)


class SocketReader(MessageReader):
    """A TCP socket of pyvisa-py, which opens and closes it; bytes go through it without pyvisa-py's detours."""

    messages = False

    def __init__(self, session: Session, inner: socket.socket) -> None:
        super().__init__(session)
        self.pipe = SocketPipe(inner)

    def prepare(self, timeout_s: float) -> bool:  # noqa: ARG002 (each connection begins anew)
        return False

    def send(self, data: bytes, timeout_s: float) -> int:
        return self.pipe.send(data, timeout_s)

    def recv(self, count: int, end: bytes | None, timeout_s: float) -> bytes:  # noqa: ARG002 (takes what has come)
        return self.pipe.recv(timeout_s, max(count, CHUNK))

    def arrived(self) -> bytes:
        return self.pipe.recv(0.0)

    def clear(self, timeout_s: float) -> None:
        """Nothing: the link reads what is under way."""


class HislipReader(MessageReader):
    """A HiSLIP session of pyvisa-py."""

    def recv(self, count: int, end: bytes | None, timeout_s: float) -> bytes:
        try:
            return super().recv(count, end, timeout_s)
        except RuntimeError as error:
            if "dropped by server" in str(error):
                raise EOFError from None
            raise

    def clear(self, timeout_s: float) -> None:
        """Device clear, which takes an answer that comes at the same time for a protocol error and drops it."""
        while self.session.read(CHUNK, QUIET_S):  # the rest of a message would be read as the header of the next
            pass
        for attempt in range(3):
            try:
                return self.session.clear(timeout_s)
            except RuntimeError:
                if attempt == 2:
                    raise
        return None
