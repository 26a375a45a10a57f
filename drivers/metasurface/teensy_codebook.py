"""64 x 64 elements of one bit behind a Teensy 4.1 that stores patterns (github tmosman/near-field-ris-controller).

The protocol is that of ``firmware/ris_controller`` (version 3), lines of ASCII at 921600 baud; answers end in CR LF:

    PING                       -> PONG
    STATUS                     -> OK store=ram masks=N mask_bytes=1280 name=... crc=...     or store=empty
    CODEBOOK_BEGIN name N 1280 crc -> READY; then N times 1280 bytes -> OK VERIFIED         or ERR CRC_MISMATCH
    APPLY i                    -> OK APPLY_QUEUED; some 30 ms later OK APPLIED i
    CLEAR                      -> OK CLEARED                                                all elements 0
    what it cannot do          -> ERR ...

A pattern is shown by its number in the one codebook that the controller holds in its memory; so a single one is a
codebook of one. It says what it has stored, not what it shows: patterns are not read back, but a checksum guards each
upload and APPLIED each number. Opening the port restarts it, as a supply that fails does: codebook and pattern are
gone. Once an upload has begun every byte belongs to it, ABORT too, until all that were announced have come; the fence
sends lines of blanks, which complete an upload and are nothing otherwise.

Bits of a pattern are placed as ``shared/mask_decode.py`` there reads them: 20 tiles of 64 bytes, five in a row of which
four are used, 16 x 16 elements each, every second bit an element, four of them a square. The firmware itself hands byte
k of a pattern to data line k mod 20, and behind each pattern also the first 20 bytes of the next one; which of both
views the panel has has not been checked. If neighbours in a codebook turn out to touch each other, set capacity: 0.
"""

from __future__ import annotations

import re
import zlib
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from labtrain.clock import Clock
from labtrain.drivers.link import Link
from labtrain.drivers.metasurface.metasurface import LinkedMetasurface, LinkedMetasurfaceConfig, States
from labtrain.errors import LinkDesync, LinkRefused, LinkTimeout

BAUD = 921_600
SIDE = 64
MASK_BYTES = 1280
MOST_MASKS = 1024
BOOT_S = 3.5  # as the tools of the project wait after opening
SHIFT_S = 0.03
ROUND_S = 0.002  # a frame of USB each way
EMULATED = "backend=emulator"
"""In the emulator's STATUS; the firmware's says ram, or nothing."""

_TILE, _TILES_IN_A_ROW, _TILE_BITS = 16, 5, 512
_STATUS = re.compile(r"OK store=(\w+) masks=\d+ mask_bytes=\d+ name=(\S+)(?: .*)?")
_BANNER = ("OK RAM_STORE", "WARN NO_CODEBOOK_LOADED", "OK RIS_FW", "OK BOOT")
_IDENTITY = "near-field RIS controller, 64 x 64 elements"
_CHUNK = 4096
_PADDING = 1 << 16
_HAIL_S = 0.5
_ANY_UPLOAD = MOST_MASKS * MASK_BYTES


def _positions() -> NDArray[np.intp]:
    """Bit of a pattern, from the highest of byte 0 on, that each element row by row is, (4096,)."""
    squares = np.arange(_TILE * _TILE).reshape(_TILE // 2, _TILE // 2, 2, 2)  # column, row, then in a square the same
    tile = 2 * squares.transpose(1, 3, 0, 2).reshape(_TILE, _TILE) + 1
    tiles = SIDE // _TILE
    rows = [
        np.hstack([tile + _TILE_BITS * (row * _TILES_IN_A_ROW + column) for column in range(tiles)])
        for row in range(tiles)
    ]
    return np.asarray(np.vstack(rows).ravel(), dtype=np.intp)


POSITION = _positions()


class TeensyCodebook(LinkedMetasurface):
    """64 x 64 elements behind a Teensy on its USB serial port."""

    class Config(LinkedMetasurfaceConfig):
        """Settings of 64 x 64 elements behind a Teensy."""

        driver: Literal["teensy-codebook"] = "teensy-codebook"
        timeout_s: float = Field(2.0, gt=0, le=3600, description="longest silence before an answer")
        capacity: int = Field(
            256,
            ge=0,
            le=MOST_MASKS,
            description="patterns stored at once: the firmware takes 1024, the memory of a Teensy 4.1 some 380; "
            "0: none, each is sent anew",
        )

    EMULATOR = "labtrain.drivers.emulators.metasurface.teensy_codebook:TeensyCodebookEmulator"
    MODELS_TOLD = "near-field-ris-controller, 64 x 64 elements of 1 bit behind a Teensy 4.1 (firmware 3)"
    TRIED_ON = "emulator, after its firmware"
    shape = (SIDE, SIDE)
    bits = 1
    can_read = False
    serial = True
    baud = BAUD
    config: Config

    def __init__(self, link: Link, config: Config, clock: Clock) -> None:
        self.sequence_capacity = config.capacity
        self._booting = False
        self._uploads = 0
        self._book = ""  # name of the codebook that was stored last
        self._owed = _ANY_UPLOAD  # bytes of an upload that the controller may still wait for
        super().__init__(link, config, clock)

    @classmethod
    def fits(cls, identity: str) -> bool:
        return identity.startswith(_IDENTITY)

    @property
    def write_s(self) -> float:
        return self.sequence_s(1)

    def sequence_s(self, n: int) -> float:
        return 2 * ROUND_S + n * (MASK_BYTES * 10 / BAUD + ROUND_S + SHIFT_S)

    @property
    def emulated(self) -> bool:
        """Whether its status names the emulator."""
        return self.identity.endswith(", emulated")

    def open(self) -> None:
        self._book = ""
        self._opening()
        super().open()

    def reach(self) -> None:
        self._opening()
        super().reach()

    def _opening(self) -> None:
        if not self.link.is_open:
            self._booting, self._owed = True, _ANY_UPLOAD

    def ask(self, question: str) -> str:
        with self.link.exchange():
            self.link.write(f"{question}\n".encode("ascii"))
            return self._line(question)

    def tell(self, order: str) -> None:
        with self.link.exchange():
            answer = self.ask(order)
            if not answer.startswith("OK "):
                raise self._astray(order, answer)

    def safe(self) -> None:
        if self.link.is_open and self.link.dirty and not self._default.any():
            # The answer to what was broken off may be long in coming: the order goes ahead of it, then is confirmed.
            self.link.send_anyway(b"\nCLEAR\n")
        super().safe()

    def _write(self, elements: States) -> None:
        if not elements.any():
            self._expect("CLEAR", "OK CLEARED")
        else:
            self._store(elements[None, :])
            self._show(0)

    def _read(self) -> States:
        raise NotImplementedError  # never called, see can_read

    def _store(self, elements: States) -> None:
        payload = encoded(elements)
        self._uploads += 1
        self._book = f"labtrain-{self._uploads}"
        with self.link.exchange():
            if self.link.dirty:
                self.link.resynchronise()  # first, for it needs to know what was owed before
            self._owed = len(payload)
            self._expect(f"CODEBOOK_BEGIN {self._book} {len(elements)} {MASK_BYTES} {zlib.crc32(payload):08x}", "READY")
            for first in range(0, len(payload), _CHUNK):
                self.link.write(payload[first : first + _CHUNK])
            what = f"codebook of {len(elements)}"
            answer = self._line(what)
            self._owed = 0
            if answer != "OK VERIFIED":
                raise self._astray(what, answer)

    def _show(self, index: int) -> None:
        with self.link.exchange():
            order = f"APPLY {index}"
            self._expect(order, "OK APPLY_QUEUED")
            if (answer := self._line(order)) != f"OK APPLIED {index}":
                raise self._astray(order, answer)

    def _check_alive(self) -> None:
        with self.link.exchange():
            answer = self.ask("STATUS")
            match = _STATUS.fullmatch(answer)
            if match is None:
                raise self._astray("STATUS", answer)
            if self._book and match.group(2) != self._book:
                raise LinkDesync(
                    f"{self.name}: has restarted, or another program uses it: it holds the codebook {match.group(2)!r} "
                    f"instead of {self._book!r}, and its pattern is lost; check its supply"
                )

    def _expect(self, order: str, wanted: str) -> None:
        with self.link.exchange():
            if (answer := self.ask(order)) != wanted:
                raise self._astray(order, answer)

    def _line(self, asked: str) -> str:
        try:
            return self._next_line()
        except LinkTimeout as error:
            raise self.unanswered(asked, error) from error

    def _next_line(self, timeout_s: float | None = None) -> str:
        return self.link.read_until(b"\n", timeout_s).decode("ascii", "backslashreplace").strip()

    def _astray(self, asked: str, answer: str) -> LinkDesync:
        """The error for an answer that was not wanted."""
        if answer.startswith(_BANNER):
            return LinkDesync(
                f"{self.name}: restarted before it answered {asked!r}, its patterns are lost; if it does so again, "
                "check its supply"
            )
        remedy = f"check the cable, and that no other program uses the port ({self.link.where})"
        if answer == "ERR CODEBOOK_BEGIN_REJECTED":
            remedy = f"its memory does not take so many patterns: lower rig.{self.link.who}.capacity"
        elif answer == "ERR NO_CODEBOOK":
            remedy = "it has restarted and its patterns are lost; if it does so again, check its supply"
        return LinkDesync(f"{self.name}: asked {asked!r}, got {answer!r}; {remedy}")

    # -- identity and the fence ----------------------------------------------------------------------------------

    def _identify(self) -> str:
        if self._booting and self.canonical is not None:
            self.clock.sleep(BOOT_S)
        self._booting = False
        try:
            with self.link.exchange():
                answer = self.ask("STATUS")
                if _STATUS.fullmatch(answer) is None:
                    raise self._astray("STATUS", answer)
        except (LinkTimeout, LinkDesync) as error:
            why = str(error.__cause__ or error).removeprefix(f"{self.name}: ").partition(";")[0]
            raise LinkRefused(
                f"{self.name}: nothing answered to 'STATUS' as the firmware ris_controller does ({why}); check "
                f"{self.link.where} and load that firmware"
            ) from error
        return f"{_IDENTITY}, emulated" if EMULATED in answer.split() else _IDENTITY

    def _check_identity(self, identity: str) -> None:
        """Who answers STATUS like this is one; they have no numbers."""

    def _synchronise(self) -> None:
        if not self._hail():
            self._complete_upload()
            if not self._hail():
                raise LinkDesync(f"{self.name}: does not answer; check {self.link.where} and that it is plugged in")
        self.link.write(b"STATUS\n")
        self._skip_to(_STATUS, None)
        self._owed = 0
        self.link.dirty = False  # a hail that went unheard made it dirty

    def _hail(self) -> bool:
        self.link.write(b"\nPING\n")
        try:
            self._skip_to(re.compile("PONG"), _HAIL_S)
        except LinkTimeout:
            return False
        return True

    def _complete_upload(self) -> None:
        while self._owed > 0:
            self.link.write(b"\n".rjust(min(_PADDING, self._owed)))
            self._owed -= _PADDING
            if self.link.drain():
                break

    def _skip_to(self, form: re.Pattern[str], timeout_s: float | None) -> None:
        for _ in range(100):
            if form.fullmatch(self._next_line(timeout_s)):
                return
        raise LinkDesync(f"{self.name}: talks without being asked; check that no other program uses the port")


def encoded(elements: States) -> bytes:
    """Patterns (n, 4096) as the bytes of a codebook."""
    bits = np.zeros((len(elements), MASK_BYTES * 8), dtype=np.uint8)
    bits[:, POSITION] = elements
    return np.packbits(bits, axis=1).tobytes()
