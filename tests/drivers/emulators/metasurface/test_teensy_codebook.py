"""The emulated Teensy does what its firmware does, with what it does in silence."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labtrain.clock import SimulatedClock
from labtrain.drivers.emulators.metasurface.teensy_codebook import TeensyCodebookEmulator
from labtrain.drivers.metasurface.teensy_codebook import MASK_BYTES, POSITION, ROUND_S, SHIFT_S, encoded
from labtrain.drivers.testing import Pixels
from labtrain.errors import InputError

GREETING = b"OK RAM_STORE\r\nWARN NO_CODEBOOK_LOADED\r\nOK RIS_FW=3\r\nOK BOOT\r\n"
EMPTY = b"OK store=empty masks=0 mask_bytes=0 name=none backend=emulator\r\n"
PATTERNS = np.array([np.arange(4096) % 2, np.arange(4096) % 3 == 0])
BOOK = encoded(PATTERNS)
BEGIN = f"CODEBOOK_BEGIN book 2 1280 {zlib.crc32(BOOK):08x}\n".encode()


@pytest.fixture
def teensy() -> TeensyCodebookEmulator:
    return TeensyCodebookEmulator(Pixels(4096), SimulatedClock())


def said(teensy: TeensyCodebookEmulator, data: bytes) -> bytes:
    replies = teensy.receive(data)
    assert all(delay_s == 0.0 for delay_s, _ in replies)
    return b"".join(data or b"" for _, data in replies)


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"PING\n", b"PONG\r\n"),
        (b"  PING\r\n", b"PONG\r\n"),
        (b"ping\n", b"ERR UNKNOWN_COMMAND\r\n"),
        (b"\n \t\n\r\n", b""),
        (b"PING", b""),
        (b" " * 70_000 + b"\n", b""),
        (b"STATUS\n", EMPTY),
        (b"CLEAR\n", b"OK CLEARED\r\n"),
        (b"ABORT\n", b"OK ABORTED\r\n"),
        (b"CODEBOOK_END\n", b"ERR NOT_UPLOADING\r\n"),
        (b"CODEBOOK_BEGIN book 2 1280\n", b"ERR CODEBOOK_BEGIN_ARGS\r\n"),
        (b"CODEBOOK_BEGIN book 0 1280 0\n", b"ERR CODEBOOK_BEGIN_REJECTED\r\n"),
        (b"CODEBOOK_BEGIN book 1025 1280 0\n", b"ERR CODEBOOK_BEGIN_REJECTED\r\n"),
        (b"CODEBOOK_BEGIN book 1 1281 0\n", b"ERR CODEBOOK_BEGIN_REJECTED\r\n"),
        (b"CODEBOOK_BEGIN book 730 1280 0\n", b"ERR CODEBOOK_BEGIN_REJECTED\r\n"),
        (b"APPLY 0\n", b"ERR NO_CODEBOOK\r\n"),
        (b"APPLY -1\n", b"ERR APPLY_ARGS\r\n"),
        (b"APPLY\n", b"ERR UNKNOWN_COMMAND\r\n"),
        (b"7\n", b"ERR NO_CODEBOOK\r\n"),
        (b"70000\n", b"ERR UNKNOWN_COMMAND\r\n"),
    ],
)
def test_what_it_answers(teensy: TeensyCodebookEmulator, sent: bytes, answer: bytes) -> None:
    assert said(teensy, sent) == answer


def test_a_codebook_is_stored_and_shown_by_number(teensy: TeensyCodebookEmulator) -> None:
    assert said(teensy, BEGIN) == b"READY\r\n"
    assert said(teensy, BOOK) == b"OK VERIFIED\r\n"
    assert not teensy.surface.pattern.any()
    crc = f"{zlib.crc32(BOOK):X}".encode()
    assert (
        said(teensy, b"STATUS\n")
        == b"OK store=ram masks=2 mask_bytes=1280 name=book crc=" + crc + b" backend=emulator\r\n"
    )
    assert said(teensy, b"APPLY 1\n") == b"OK APPLY_QUEUED\r\nOK APPLIED 1\r\n"
    assert teensy.surface.pattern.tolist() == PATTERNS[1].tolist()
    assert said(teensy, b"0\n") == b"OK APPLY_QUEUED\r\nOK APPLIED 0\r\n"
    assert teensy.surface.pattern.tolist() == PATTERNS[0].tolist()
    assert said(teensy, b"APPLY 2\n") == b"ERR INDEX_OUT_OF_RANGE\r\n"
    assert said(teensy, b"APPLY x\n").endswith(b"OK APPLIED 0\r\n")
    assert said(teensy, b"CLEAR\n") == b"OK CLEARED\r\n" and not teensy.surface.pattern.any()


@settings(deadline=None)
@given(st.lists(st.integers(1, 900), max_size=12))
def test_it_does_not_matter_how_an_upload_arrives(cuts: list[int]) -> None:
    teensy, left = TeensyCodebookEmulator(Pixels(4096), SimulatedClock()), BOOK
    said(teensy, BEGIN)
    heard = b""
    while left:
        n = cuts.pop() if cuts else len(left)
        heard += said(teensy, left[:n])
        left = left[n:]
    assert heard == b"OK VERIFIED\r\n"


def test_whatever_comes_in_an_upload_belongs_to_it(teensy: TeensyCodebookEmulator) -> None:
    said(teensy, BEGIN)
    assert said(teensy, b"ABORT\nPING\n" + BOOK[: 2560 - 12]) == b""
    assert said(teensy, b"\n") == b"ERR CRC_MISMATCH\r\n"
    assert said(teensy, b"STATUS\n") == EMPTY  # nor is there the codebook before it
    assert said(teensy, b"APPLY 0\n") == b"ERR NO_CODEBOOK\r\n"


def test_what_comes_with_the_last_bytes_is_lost(teensy: TeensyCodebookEmulator) -> None:
    said(teensy, BEGIN)
    assert said(teensy, BOOK[:-10]) == b""
    assert said(teensy, BOOK[-10:] + b"PING\n") == b"OK VERIFIED\r\n"
    said(teensy, BEGIN)
    assert said(teensy, BOOK + b"\n" * 600 + b"PING\n") == b"OK VERIFIED\r\nERR WRITE_FAILED\r\nPONG\r\n"


def test_an_upload_that_memory_is_not_enough_for_leaves_zeros_behind(teensy: TeensyCodebookEmulator) -> None:
    said(teensy, BEGIN + BOOK)
    said(teensy, b"APPLY 0\n")
    assert said(teensy, b"CODEBOOK_BEGIN large 1000 1280 0\n") == b"ERR CODEBOOK_BEGIN_REJECTED\r\n"
    assert b"masks=2" in said(teensy, b"STATUS\n")
    assert said(teensy, b"APPLY 0\n").endswith(b"OK APPLIED 0\r\n") and not teensy.surface.pattern.any()


def test_opening_the_port_restarts_it(teensy: TeensyCodebookEmulator) -> None:
    said(teensy, BEGIN + BOOK)
    said(teensy, b"APPLY 0\nPI")
    assert teensy.connected() == [(0.0, GREETING)]
    assert not teensy.surface.pattern.any() and said(teensy, b"STATUS\n") == EMPTY
    assert teensy.reboot() == [(0.0, None)]


def test_it_takes_its_time_if_asked() -> None:
    teensy = TeensyCodebookEmulator(Pixels(4), SimulatedClock(), timing=True)
    teensy.receive(BEGIN)
    ((verified_s, _),) = teensy.receive(BOOK)
    (queued_s, _), (applied_s, _) = teensy.receive(b"APPLY 1\n")
    assert verified_s == pytest.approx(len(BOOK) / 92_160 + ROUND_S)
    assert applied_s - queued_s == pytest.approx(SHIFT_S)


def test_messages_are_counted_for_faults(teensy: TeensyCodebookEmulator) -> None:
    assert [teensy.message_length(data) for data in (b"PING\nPI", b"PI", b"")] == [5, 0, 0]
    said(teensy, BEGIN)
    assert [teensy.message_length(data) for data in (BOOK + b"PING\n", BOOK[:-1], b"PING\n")] == [2560, 0, 0]


def test_elements_are_bits_as_the_project_s_own_decoder_reads_them() -> None:
    """shared/mask_decode.py: 20 tiles of 64 bytes, every second bit, squares column by column; worked out by hand."""
    assert len(set(POSITION)) == 4096
    grid = POSITION.reshape(64, 64)
    assert grid[:2, :2].tolist() == [[1, 5], [3, 7]]  # the first square: down, then to the right
    assert grid[2, 0] == 9 and grid[0, 2] == 1 + 2 * 32  # squares below each other, then the next column
    assert grid[0, 16] == 512 + 1 and grid[16, 0] == 5 * 512 + 1 and grid[63, 63] == (3 * 5 + 3) * 512 + 511
    assert len(encoded(PATTERNS)) == 2 * MASK_BYTES


def test_a_world_that_is_too_large_is_refused() -> None:
    with pytest.raises(InputError, match="asked for 4097 pixels, it has 4096 elements"):
        TeensyCodebookEmulator(Pixels(4097), SimulatedClock())
