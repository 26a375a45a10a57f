"""The grammar of program messages: from bytes to units of a header and data (IEEE 488.2, 7; SCPI 1999, 6).

    :SENS1:FREQ:STAR 1 GHZ;STOP 2E9;*OPC?;:CALC1:PAR:EXT 'a','S21'<NL>
    |-------- unit -------| |-unit-|

Messages end in a line feed; a carriage return before it counts as white space. A block may hold line feeds, a string
may not: nobody could tell where the message ends after a quote that was forgotten.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from labtrain.drivers.emulators.scpi.status import ScpiError

LONGEST_MESSAGE = 1 << 20  # bytes
LONGEST_MNEMONIC = 12  # IEEE 488.2, 7.6.1.4.1

Kind = Literal["plain", "string", "block"]

_STOPS = re.compile(rb"\n|'|\"|(?<=[\s,])#")
_HEADER = re.compile(r"\*[A-Z]+|:?[A-Z][A-Z0-9_]*(?::[A-Z][A-Z0-9_]*)*")
_HEADER_END = re.compile(r"[\s?;]|$")
_SPACE = re.compile(r"\s*")
_PLAIN = re.compile(r"[^,;'\"\n]*")
_AFTER_DATUM = re.compile(r"\s*(,|;|$)")


@dataclass(frozen=True, slots=True)
class Datum:
    """One element of program data: a string without its quotes, a block without its head, or anything else as it is.

    `text` of a block has one character a byte (Latin-1).
    """

    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class Unit:
    """One command or query; `header` in upper case, from the root, without a leading colon and without ``?``."""

    header: str
    query: bool
    data: tuple[Datum, ...]


class Framer:
    """Cuts a stream of bytes into messages, however it arrives."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = 0
        self._overrun = False

    def clear(self) -> None:
        """Forget what has arrived of a message that is not complete."""
        self._buffer.clear()
        self._scanned = 0
        self._overrun = False

    def feed(self, data: bytes) -> Iterator[bytes | None]:
        """Complete messages without the line feed; None for one that was too long and is lost."""
        fresh = data and not self._buffer and not self._overrun
        if fresh and b"#" not in data and data.find(b"\n") == len(data) - 1 <= LONGEST_MESSAGE:
            yield data[:-1]  # one whole message, as nearly always
            return
        self._buffer += data
        while (end := self._end()) is not None:
            message = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            lost = self._overrun or len(message) > LONGEST_MESSAGE
            self._overrun, self._scanned = False, 0
            yield None if lost else message
        if self._overrun or len(self._buffer) > LONGEST_MESSAGE:
            self._overrun, self._scanned = True, 0
            self._buffer.clear()

    def _end(self) -> int | None:
        """Index of the line feed that ends the first message, if it is there."""
        buffer = self._buffer
        while not self._overrun:
            stop = _STOPS.search(buffer, self._scanned)
            if stop is None:
                self._scanned = len(buffer)
                return None
            at, what = stop.start(), stop.group()
            if what == b"\n":
                return at
            past = self._past_block(at) if what == b"#" else self._past_string(at, what)
            self._scanned = at if past is None else past
            if past is None and not self._overrun:
                return None
        found = buffer.find(b"\n", self._scanned)
        return None if found < 0 else found

    def _past_string(self, at: int, quote: bytes) -> int | None:
        closing, newline = self._buffer.find(quote, at + 1), self._buffer.find(b"\n", at + 1)
        if newline >= 0 and not at < closing < newline:
            return newline
        return closing + 1 if closing > at else None

    def _past_block(self, at: int) -> int | None:
        head = bytes(self._buffer[at + 1 : at + 11])
        if not head:
            return None
        if head[:1] not in b"123456789":  # an indefinite block ends with the message; #H, #Q, #B are numbers
            return at + 1
        digits = head[1 : 1 + int(head[:1])]
        if digits and not digits.isdigit():
            return at + 1
        if len(digits) < int(head[:1]):
            return None
        past = at + 2 + len(digits) + int(digits)
        self._overrun = past > LONGEST_MESSAGE
        return past if past <= len(self._buffer) and not self._overrun else None


def units(message: bytes) -> Iterator[Unit]:
    """The units of a message, one after the other, so that those before an error can be carried out.

    Raises
    ------
    ScpiError
        -101 to -161: the rest of the message is not understood.
    """
    text = message.decode("latin-1")
    path, at = "", 0
    while True:
        at = _end_of(_SPACE, text, at)
        if at == len(text):
            return
        if text[at] == ";":
            at += 1
            continue
        header, query, at = _header(text, at)
        if header.startswith("*"):
            name = header
        else:
            name = header[1:] if header.startswith(":") else path + header
            path = name[: name.rfind(":") + 1]
        data, at = _data(text, at)
        yield Unit(name, query, data)


def _header(text: str, at: int) -> tuple[str, bool, int]:
    end = _HEADER_END.search(text, at)
    written = text[at : end.start() if end else len(text)]
    header = written.upper() if written.isascii() else ""
    if not _HEADER.fullmatch(header):
        raise ScpiError(-101)
    if any(len(mnemonic) > LONGEST_MNEMONIC for mnemonic in header.split(":")):
        raise ScpiError(-112)
    at += len(written)
    query = text.startswith("?", at)
    at += query
    if at < len(text) and text[at] != ";" and not text[at].isspace():
        raise ScpiError(-111)
    return header, query, at


def _data(text: str, at: int) -> tuple[tuple[Datum, ...], int]:
    """Data up to the end of the unit, and the index after it."""
    at = _end_of(_SPACE, text, at)
    if at == len(text) or text[at] == ";":
        return (), at
    data = []
    while True:
        at = _end_of(_SPACE, text, at)
        datum, at = _datum(text, at)
        data.append(datum)
        after = _AFTER_DATUM.match(text, at)
        if after is None:
            raise ScpiError(-103)
        at = after.end()
        if after.group(1) != ",":
            return tuple(data), at


def _datum(text: str, at: int) -> tuple[Datum, int]:
    first = text[at : at + 1]
    if first in ("'", '"'):
        closing = at
        while True:
            closing = text.find(first, closing + 1)
            if closing < 0:
                raise ScpiError(-151)
            if text[closing + 1 : closing + 2] != first:  # a doubled quote stands for itself
                return Datum("string", text[at + 1 : closing].replace(first * 2, first)), closing + 1
            closing += 1
    if first == "#" and text[at + 1 : at + 2].isdigit():
        return _block(text, at)
    end = _end_of(_PLAIN, text, at)
    plain = text[at:end].rstrip()
    if not plain:
        raise ScpiError(-109 if first in ("", ";", ",") else -102)
    return Datum("plain", plain), at + len(plain)


def _block(text: str, at: int) -> tuple[Datum, int]:
    count = int(text[at + 1])
    if count == 0:
        return Datum("block", text[at + 2 :]), len(text)
    digits = text[at + 2 : at + 2 + count]
    start = at + 2 + count
    if len(digits) < count or not digits.isascii() or not digits.isdigit() or start + int(digits) > len(text):
        raise ScpiError(-161)
    return Datum("block", text[start : start + int(digits)]), start + int(digits)


def _end_of(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at
