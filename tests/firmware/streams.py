"""What may arrive at a latched board: frames as they should be, and everything that can go wrong with them."""

from __future__ import annotations

from hypothesis import strategies as st

from labtrain.drivers.metasurface.latched_frames import Command, crc16, frame
from tests.firmware.building import Build, Chunk


def frames(build: Build) -> st.SearchStrategy[bytes]:
    """Frames as hosts send them, and some as they should not."""
    pattern = st.one_of(
        st.binary(min_size=build.pattern_bytes, max_size=build.pattern_bytes),
        st.sampled_from([bytes(build.pattern_bytes), b"\xa5\x5a" * build.pattern_bytes]).map(
            lambda b: b[: build.pattern_bytes]
        ),
    ).map(lambda data: data[:-1] + bytes([data[-1] & 0xF8]))
    index = st.one_of(st.integers(0, 3), st.sampled_from([build.capacity - 1, build.capacity, 0xFFFF]))
    payload = st.one_of(
        pattern,
        index.map(lambda i: i.to_bytes(2, "big")),
        st.tuples(index, pattern).map(lambda both: both[0].to_bytes(2, "big") + both[1]),
        st.just(b""),
        st.binary(max_size=60),
    )
    proper = st.one_of(
        st.tuples(st.sampled_from([Command.IDENTIFY, Command.BEGIN, Command.READ, Command.SAFE]), st.just(b"")),
        st.tuples(st.just(Command.SET), pattern),
        st.tuples(st.just(Command.SHOW), index.map(lambda i: i.to_bytes(2, "big"))),
        st.tuples(
            st.just(Command.STORE),
            st.tuples(index, pattern).map(lambda both: both[0].to_bytes(2, "big") + both[1]),
        ),
    )
    odd = st.tuples(st.integers(0, 255), payload)
    return st.builds(
        lambda both, number, version: frame(both[0], number, both[1], version),
        st.one_of(proper, proper, odd),
        st.integers(0, 2),
        st.sampled_from([1, 1, 1, 2]),
    )


@st.composite
def damaged(draw: st.DrawFn, build: Build) -> bytes:
    """A frame with which something is wrong, or nothing."""
    whole = bytearray(draw(frames(build)))
    how = draw(st.sampled_from(["whole", "again", "changed", "cut", "longer", "noise", "a start before"]))
    at = draw(st.integers(0, len(whole) - 1))
    if how == "again":
        return bytes(whole * 2)
    if how == "changed":
        whole[at] ^= draw(st.integers(1, 255))
    elif how == "cut":
        del whole[at:]
    elif how == "longer":  # a header that asks for more than there is
        whole[5:7] = draw(st.integers(0, 0xFFFF)).to_bytes(2, "big")
        whole[7] = crc16(bytes(whole[2:7])) & 0xFF
    elif how == "noise":
        return draw(st.binary(max_size=40))
    elif how == "a start before":
        return bytes(whole[: at % 8]) + bytes(whole)
    return bytes(whole)


@st.composite
def streams(draw: st.DrawFn, build: Build) -> list[Chunk]:
    """Bytes in pieces that have nothing to do with where frames end."""
    stream = b"".join(draw(st.lists(damaged(build), min_size=1, max_size=8)))
    ends = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    pieces = [stream[a:b] for a, b in zip([0, *ends], [*ends, len(stream)], strict=True)]
    pauses = st.sampled_from([0, 0, 1, 99, 101, 700])  # 100 ms of silence end a frame
    return [(draw(pauses), piece) for piece in pieces]
