"""Binary blocks of IEEE 488.2: ``#``, a digit that says how many digits follow, these, so many bytes, a line feed.

#16......      definite: one digit, six bytes
#0......       indefinite: ends with the message; only who knows how many bytes must come can read it from a stream
"""

from __future__ import annotations

from labtrain.drivers.link import Link


class NotABlock(ValueError):
    """What came instead of the block; the rest of it may still be on its way."""


def read_block(link: Link, size: int | None = None, timeout_s: float | None = None) -> bytes:
    """Read a block and the line feed that ends it, which is still the last byte of what is returned.

    Parameters
    ----------
    link : Link
    size : int, optional
        Bytes there must be; without it a definite block of any length is taken.
    timeout_s : float, optional
        Longest silence before the block begins.

    Raises
    ------
    NotABlock
        If something else came, or a block of another size.
    LinkTimeout, LinkClosed
    """
    head = link.read_exactly(2, timeout_s)
    if head[:1] != b"#" or not head[1:].isdigit():
        line = head if head.endswith(b"\n") else head + link.read_until(b"\n")
        raise NotABlock(_shown(line))
    if head == b"#0":
        if size is None:
            raise NotABlock("a block of indefinite length")
        announced = size
    else:
        digits = link.read_exactly(int(head[1:]))
        if not digits.isdigit():
            raise NotABlock(_shown(head + digits))
        announced = int(digits)
        if size is not None and announced != size:
            raise NotABlock(f"a block of {announced} bytes")
    data = link.read_exactly(announced + 1)
    if not data.endswith(b"\n"):
        raise NotABlock(f"a block of {announced} bytes that does not end there")
    return data


def block(data: bytes, digits: int | None = None) -> bytes:
    """A definite block, without the line feed; its length in so many digits, by default as few as it needs."""
    written = str(len(data)).zfill(digits or 1)
    return f"#{len(written)}{written}".encode("ascii") + data


def _shown(line: bytes) -> str:
    text = line.strip().decode("ascii", "backslashreplace")
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
