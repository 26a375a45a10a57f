"""XDR, the numbers and bytes of remote procedure calls (RFC 4506): big-endian, in units of four bytes."""

from __future__ import annotations

import struct


class NotXdr(ValueError):
    """Fewer bytes than there must be."""


class Reader:
    """Reads values one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def unsigned(self) -> int:
        """Unsigned, 32 bits."""
        return int.from_bytes(self._take(4))

    def signed(self) -> int:
        """Signed, 32 bits."""
        return int.from_bytes(self._take(4), signed=True)

    def opaque(self) -> bytes:
        """Bytes of any length; also a string."""
        length = self.unsigned()
        data = self._take(length)
        self._take(-length % 4)
        return data

    def rest(self) -> bytes:
        """All that is left."""
        return self._data[self._at :]

    def _take(self, count: int) -> bytes:
        data = self._data[self._at : self._at + count]
        if len(data) < count:
            raise NotXdr(f"{count} bytes wanted, {len(data)} there")
        self._at += count
        return data


def uints(*values: int) -> bytes:
    """Unsigned or signed numbers, 32 bits each."""
    return b"".join(struct.pack("!I", value & 0xFFFF_FFFF) for value in values)


def opaque(data: bytes) -> bytes:
    """Bytes with their length, filled up to a multiple of four."""
    return uints(len(data)) + data + bytes(-len(data) % 4)
