"""64 x 64 elements behind a Teensy, at its USB connector: the firmware of github tmosman/near-field-ris-controller.

After ``firmware/ris_controller`` (``protocol.cpp``, ``codebook_store.cpp``, ``shift_driver.cpp``), with what it does in
silence:

- lines end in a line feed, carriage returns are skipped, what is beyond 127 characters is dropped;
- in an upload every byte is payload, ABORT too. All there: ``OK VERIFIED``, or ``ERR CRC_MISMATCH`` and no codebook.
  Bytes that come with the last ones are lost, up to 512 of them, and any after those end in ``ERR WRITE_FAILED``;
- an upload that is accepted gives up the codebook before it. One that memory is not enough for also does, but the
  status still tells of the old one and APPLY shows zeros;
- APPLY takes what is no number for 0; a number alone is APPLY, too;
- it restarts when its port is opened: no codebook, no pattern, four lines of greeting.

Beyond the real one, STATUS ends in ``backend=emulator``.
"""

from __future__ import annotations

import re
import zlib

import numpy as np

from labtrain.clock import Clock
from labtrain.drivers.emulators.emulator import Reply
from labtrain.drivers.emulators.ports import SurfacePort
from labtrain.drivers.metasurface.teensy_codebook import (
    BAUD,
    EMULATED,
    MASK_BYTES,
    MOST_MASKS,
    POSITION,
    ROUND_S,
    SHIFT_S,
    SIDE,
)
from labtrain.errors import InputError

ELEMENTS = SIDE * SIDE
LINE_CHARACTERS = 127
UPLOAD_BUFFER = 512
HEAP_BYTES = 490_000  # of the 512 kB that a Teensy 4.1 without further chips allocates from

_GREETING = ("OK RAM_STORE", "WARN NO_CODEBOOK_LOADED", "OK RIS_FW=3", "OK BOOT")


class Store:
    """The one codebook in memory.

    Parameters
    ----------
    heap_bytes : int
        Largest codebook that memory is enough for.
    """

    def __init__(self, heap_bytes: int) -> None:
        self.heap_bytes = heap_bytes
        self.name, self.masks, self.mask_bytes, self.crc, self.valid = "", 0, 0, 0, False
        self.writing = False
        self._payload: bytearray | None = None
        self._written = 0

    @property
    def there(self) -> bool:
        """Whether a codebook can be shown."""
        return self.valid and self.masks > 0

    def begin(self, name: str, masks: int, mask_bytes: int, crc: int) -> bool:
        """Announce a codebook; False if it is refused."""
        if not 0 < masks <= MOST_MASKS or not 0 < mask_bytes <= MASK_BYTES:
            return False
        size = masks * mask_bytes
        if self._payload is None or len(self._payload) < size:
            self._payload = bytearray(size) if size <= self.heap_bytes else None
            if self._payload is None:
                return False
        self.name, self.masks, self.mask_bytes, self.crc, self.valid = name[:63], masks, mask_bytes, crc, False
        self.writing, self._written = True, 0
        return True

    def write(self, data: bytes) -> bool:
        """Take bytes, those beyond the last one too; False if none are expected."""
        if not self.writing or self._payload is None:
            return False
        data = data[: self.missing]
        self._payload[self._written : self._written + len(data)] = data
        self._written += len(data)
        return True

    @property
    def missing(self) -> int:
        """Bytes still to come in an upload."""
        return self.masks * self.mask_bytes - self._written

    @property
    def complete(self) -> bool:
        """Whether all that was announced has come."""
        return self.writing and not self.missing

    def finish(self) -> bool:
        """Whether the checksum is right."""
        assert self._payload is not None
        self.writing = False
        self.valid = zlib.crc32(self._payload[: self._written]) == self.crc
        return self.valid

    def abort(self) -> None:
        """Give up an upload."""
        self.writing, self._written = False, 0

    def mask(self, index: int) -> bytes:
        """Bytes of a pattern; zeros where memory was lost."""
        first = index * self.mask_bytes
        return bytes((self._payload or bytearray(first + self.mask_bytes))[first : first + self.mask_bytes])


class TeensyCodebookEmulator:
    """The controller in front of a world.

    Element i, row by row, is the world's pixel i; elements without a pixel only remember their state.

    Parameters
    ----------
    surface : SurfacePort
    clock : Clock
    timing : bool
        Answers take as long as at 921600 baud, which USB itself is quicker than; otherwise they are there at once.
    heap_bytes : int
        Largest codebook that memory is enough for.

    Raises
    ------
    InputError
        If the world has more pixels than there are elements.
    """

    def __init__(
        self, surface: SurfacePort, clock: Clock, *, timing: bool = False, heap_bytes: int = HEAP_BYTES
    ) -> None:
        if surface.n_pixels > ELEMENTS:
            raise InputError(
                f"emulated near-field RIS controller: asked for {surface.n_pixels} pixels, it has {ELEMENTS} elements; "
                "simulate fewer pixels"
            )
        self.surface, self.clock, self.timing = surface, clock, timing
        self.store = Store(heap_bytes)
        self.uploads = 0
        """Codebooks that were announced and accepted since it was switched on."""
        self._uploading = False
        self._line = bytearray()

    def connected(self) -> list[Reply]:
        self._restart()
        return [(0.0, "".join(f"{line}\r\n" for line in _GREETING).encode("ascii"))]

    def reboot(self) -> list[Reply]:
        """The supply fails and comes back: the port is gone for a moment."""
        self._restart()
        return [(0.0, None)]

    def message_length(self, data: bytes) -> int:
        """For those who count messages: lines, and the bytes of an upload."""
        if self._uploading:
            return self.store.missing if len(data) >= self.store.missing else 0
        return data.find(b"\n") + 1

    def receive(self, data: bytes) -> list[Reply]:
        """Take bytes and return the answers."""
        replies: list[Reply] = []
        after_s = len(data) * 10 / BAUD + ROUND_S if self.timing else 0.0
        at = 0
        while at < len(data):
            if self._uploading:
                at, lines = self._upload(data, at)
            else:
                end = data.find(b"\n", at) + 1 or len(data)
                lines = self._take(data[at:end])
                at = end
            for text in lines:
                if text.startswith("OK APPLIED") and self.timing:
                    after_s += SHIFT_S
                replies.append((after_s, f"{text}\r\n".encode("latin-1")))
        return replies

    def _restart(self) -> None:
        self.store = Store(self.store.heap_bytes)
        self._uploading = False
        self._line.clear()
        self._shift(bytes(MASK_BYTES))

    def _upload(self, data: bytes, at: int) -> tuple[int, list[str]]:
        """Where bytes begin that are left for lines, and answers."""
        answers: list[str] = []
        while at < len(data):
            chunk = data[at : at + UPLOAD_BUFFER]
            at += len(chunk)
            if not self.store.write(chunk):
                self.store.abort()
                self._uploading = False
                return at, [*answers, "ERR WRITE_FAILED"]
            if self.store.complete:
                self._uploading = False
                answers.append("OK VERIFIED" if self.store.finish() else "ERR CRC_MISMATCH")
        return at, answers

    def _take(self, data: bytes) -> list[str]:
        """Part of a line, or the rest of it with its end, and answers."""
        self._line += data.replace(b"\r", b"").removesuffix(b"\n")
        del self._line[LINE_CHARACTERS:]
        if not data.endswith(b"\n"):
            return []
        line, self._line = self._line.decode("latin-1"), bytearray()
        return self._carry_out(line.lstrip(" \t"))

    def _carry_out(self, line: str) -> list[str]:
        if not line:
            return []
        word, _, rest = line.partition(" ")
        if line == "PING":
            return ["PONG"]
        if line == "STATUS":
            return [self._status()]
        if line == "CLEAR":
            self._shift(bytes(MASK_BYTES))
            return ["OK CLEARED"]
        if line == "CODEBOOK_END":
            return ["ERR NOT_UPLOADING"]
        if line == "ABORT":
            self.store.abort()
            return ["OK ABORTED"]
        if word == "CODEBOOK_BEGIN" and " " in line:
            return [self._begin(rest.split())]
        if (word == "APPLY" and " " in line) or line.isdigit():
            return self._apply(_leading_number(rest if word == "APPLY" else line, 10), legacy=line.isdigit())
        return ["ERR UNKNOWN_COMMAND"]

    def _status(self) -> str:
        store = self.store
        if not store.there:
            return f"OK store=empty masks=0 mask_bytes=0 name=none {EMULATED}"
        about = f"masks={store.masks} mask_bytes={store.mask_bytes} name={store.name} crc={store.crc:X}"
        return f"OK store=ram {about} {EMULATED}"

    def _begin(self, words: list[str]) -> str:
        if len(words) < 4:
            return "ERR CODEBOOK_BEGIN_ARGS"
        masks, mask_bytes, crc = (
            _leading_number(word, base) for word, base in zip(words[1:], (10, 10, 16), strict=False)
        )
        if not self.store.begin(words[0], masks, mask_bytes, crc):
            return "ERR CODEBOOK_BEGIN_REJECTED"
        self.uploads += 1
        self._uploading = True
        return "READY"

    def _apply(self, index: int, legacy: bool) -> list[str]:
        if not 0 <= index <= 65535:
            return ["ERR UNKNOWN_COMMAND" if legacy else "ERR APPLY_ARGS"]
        if not self.store.there:
            return ["ERR NO_CODEBOOK"]
        if index >= self.store.masks:
            return ["ERR INDEX_OUT_OF_RANGE"]
        self._shift(self.store.mask(index))
        return ["OK APPLY_QUEUED", f"OK APPLIED {index}"]

    def _shift(self, mask: bytes) -> None:
        bits = np.unpackbits(np.frombuffer(mask.ljust(MASK_BYTES, b"\0"), dtype=np.uint8))
        self.surface.set_pattern(bits[POSITION][: self.surface.n_pixels].astype(np.int64))


def _leading_number(text: str, base: int) -> int:
    """As atol and strtoul read it: as far as it goes, else 0."""
    digits = "[0-9a-fA-F]+" if base == 16 else "[0-9]+"
    match = re.match(rf"\s*([+-]?{digits})", text)
    return int(match.group(1), base) if match else 0
