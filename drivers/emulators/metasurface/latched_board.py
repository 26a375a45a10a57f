"""Latched shift-register board at its serial port: its firmware, byte for byte.

After docs/latched-board.md and the reference firmware in ``drivers/metasurface/firmware/latched_board``, with which a
test compares it: the same bytes, in the same pieces and at the same times, give the same answers and patterns.

Frames that are cut short, starts that are none, noise and answers have no answer. A frame of a host whose header is
right has exactly one, whatever is wrong with the rest of it.
"""

from __future__ import annotations

import math

from labtrain.clock import Clock
from labtrain.drivers.emulators.emulator import Reply
from labtrain.drivers.emulators.ports import SurfacePort
from labtrain.drivers.metasurface.latched_board import BAUD, BITS_PER_BYTE, LATENCY_S
from labtrain.drivers.metasurface.latched_frames import (
    ANSWER,
    CHAIN_RETURNS,
    EMULATED,
    GAP_S,
    HEADER_BYTES,
    LONGEST_PATTERN_BYTES,
    MAX_BITS,
    RESTARTED,
    START,
    VERSION,
    BoardInfo,
    Command,
    Header,
    Status,
    crc16,
    false_start,
    frame,
    longest_payload,
    pattern_bytes,
    unpack,
)
from labtrain.errors import InputError

CHARACTER_S = BITS_PER_BYTE / BAUD
MILLISECOND_S = 1e-3  # the firmware's clock counts whole ones
BOOT_S = 1.0  # the boot loader of an Arduino waits so long for a new sketch


class LatchedBoardEmulator:
    """The board in front of a world.

    Element i is the world's pixel i; elements without a pixel only remember their state.

    Parameters
    ----------
    surface : SurfacePort
    clock : Clock
    timing : bool
        Answers take as long as over 115200 baud, and a board that restarts hears nothing for a second; otherwise
        they are there at once.
    rows, columns, bits : int
        Elements of the surface, bits of an element.
    capacity : int
        Patterns of a stored sequence.
    serial_number : int
        0: none.
    name : str
        Up to 24 characters of ASCII.
    chain_returns : bool
        Whether READ tells what is in the shift registers.
    emulated : bool
        Whether it says that it is no board.

    Raises
    ------
    InputError
        If the world has more pixels than the surface has elements, or there is no such board.
    """

    def __init__(
        self,
        surface: SurfacePort,
        clock: Clock,
        *,
        timing: bool = False,
        rows: int = 16,
        columns: int = 16,
        bits: int = 1,
        capacity: int = 24,
        serial_number: int = 0,
        name: str = "latched board",
        chain_returns: bool = False,
        emulated: bool = True,
    ) -> None:
        elements = rows * columns
        fits = elements >= 1 and 1 <= bits <= MAX_BITS and pattern_bytes(elements, bits) <= LONGEST_PATTERN_BYTES
        if not (fits and 1 <= capacity <= 0xFFFF and len(name) <= 24 and name.isascii()):
            raise InputError(
                f"emulated latched board: asked {rows} x {columns} elements of {bits} bits, {capacity} stored patterns "
                f"and the name {name!r}; it takes 1 to {MAX_BITS} bits, patterns of up to {LONGEST_PATTERN_BYTES} "
                "bytes, 1 to 65535 of them, and names of up to 24 characters of ASCII"
            )
        if surface.n_pixels > elements:
            raise InputError(
                f"emulated latched board: asked for {surface.n_pixels} pixels, it has {elements} elements "
                f"({rows} x {columns}); simulate fewer pixels, or set rig.metasurface.rows and .columns"
            )
        self.surface, self.clock, self.timing = surface, clock, timing
        self._elements, self._bits = elements, bits
        self._bytes = pattern_bytes(elements, bits)
        self._spare = (1 << (-elements * bits % 8)) - 1  # bits of the last byte that belong to no element
        features = chain_returns * CHAIN_RETURNS | emulated * EMULATED
        self.info = BoardInfo(
            VERSION, (1, 0), rows, columns, bits, capacity, serial_number, longest_payload(elements, bits), features,
            name,
        )  # fmt: skip
        self._have = bytearray()  # of the frame that is begun
        self._header: Header | None = None  # its header, if that is complete
        self._heard_s = -math.inf
        self._deaf_s = -math.inf  # end of a restart
        self._sending_s = -math.inf  # end of the last answer
        self._power_on()

    def _power_on(self) -> None:
        self.pattern = bytes(self._bytes)
        self._sequence: dict[int, bytes] = {}
        self._latches = 0
        self._restarted = True
        self._done: bytes | None = None  # command, number, length and CRC of the last change

    def connected(self) -> list[Reply]:
        """Nobody tells a serial device that its port was opened; what was begun is forgotten, by contract."""
        self._forget()
        return []

    def reboot(self) -> list[Reply]:
        """The supply fails and comes back: pattern and sequence are lost, and nobody is told."""
        self._forget()
        self._power_on()
        self._to_the_world()
        self._deaf_s = self.clock.monotonic() + BOOT_S
        return []

    def message_length(self, data: bytes) -> int:
        """Bytes up to the end of the first whole frame in `data`, with what is none before it; 0 without one."""
        first = 0 if data.startswith(START[:1]) else false_start(b"\0" + data) - 1
        while len(data) - first >= HEADER_BYTES:
            header = Header.parse(data[first:])
            if header is not None and header.length <= self.info.longest_payload:
                end = first + header.frame_bytes
                return end if len(data) >= end else 0
            first += false_start(data[first:])
        return 0

    def receive(self, data: bytes) -> list[Reply]:
        """Take bytes, which follow each other without a gap, and return the answers."""
        now = self.clock.monotonic()
        if not data or (self.timing and now < self._deaf_s):
            return []
        if now - self._heard_s > GAP_S + MILLISECOND_S / 2:
            self._forget()
        self._heard_s = now
        replies: list[Reply] = []
        at = max(now, self._sending_s)
        for byte in data:
            at += CHARACTER_S
            if answer := self._take(byte):
                at += len(answer) * CHARACTER_S
                replies.append((at + LATENCY_S - now if self.timing else 0.0, answer))
        if self.timing and replies:
            self._sending_s = at
        return replies

    # -- the parser ----------------------------------------------------------------------------------------------

    def _take(self, byte: int) -> bytes:
        """The answer to a frame that ends with this byte, or nothing."""
        have = self._have
        have.append(byte)
        if self._header is None:
            if len(have) <= len(START):
                if not START.startswith(bytes(have)):
                    self._drop_false_start()
                return b""
            if len(have) < HEADER_BYTES:
                return b""
            self._header = Header.parse(bytes(have))
            if self._header is None:
                self._drop_false_start()
                return b""
        header = self._header
        too_long = header.length > self.info.longest_payload
        if len(have) < header.frame_bytes and not too_long:
            return b""
        whole = bytes(have)
        self._forget()
        if header.command & ANSWER:  # perhaps its own, from a line that echoes: without end, if it were answered
            return b""
        if too_long:
            return self._answer(header, Status.BAD_LENGTH)
        if crc16(whole[2:]) != 0:  # of bytes that end in their own CRC it is 0
            return self._answer(header, Status.BAD_CRC)
        return self._carry_out(header, whole)

    def _forget(self) -> None:
        self._have.clear()
        self._header = None

    def _drop_false_start(self) -> None:
        del self._have[: false_start(bytes(self._have))]

    def _answer(self, header: Header, status: Status, more: bytes = b"") -> bytes:
        payload = bytes([status, RESTARTED if self._restarted else 0]) + more
        return frame(header.command | ANSWER, header.sequence, payload)

    # -- the commands --------------------------------------------------------------------------------------------

    def _carry_out(self, header: Header, whole: bytes) -> bytes:
        given = whole[HEADER_BYTES:-2]
        lengths = {Command.SET: self._bytes, Command.STORE: 2 + self._bytes, Command.SHOW: 2}
        if header.version != VERSION:
            return self._answer(header, Status.BAD_VERSION)
        if header.command not in set(Command):
            return self._answer(header, Status.UNKNOWN_COMMAND)
        command = Command(header.command)
        if header.length != lengths.get(command, 0):
            return self._answer(header, Status.BAD_LENGTH)
        if command == Command.IDENTIFY:
            return self._answer(header, Status.OK, self.info.pack())
        if command == Command.READ:
            source = self.info.features & CHAIN_RETURNS
            return self._answer(header, Status.OK, bytes([source]) + self._latches.to_bytes(2, "big") + self.pattern)
        status, about = self._change(command, given, whole[3:7] + whole[-2:])
        if status != Status.OK:
            return self._answer(header, status)
        return self._answer(header, status, self._latches.to_bytes(2, "big") + crc16(about).to_bytes(2, "big"))

    def _change(self, command: Command, given: bytes, key: bytes) -> tuple[Status, bytes]:
        """Carry out what changes something, unless it is the last change once more; the pattern that it is about."""
        if command == Command.SAFE:
            self._done = None  # never taken for one that was done already
            self._latch(bytes(self._bytes))
            return Status.OK, self.pattern
        index = int.from_bytes(given[:2], "big")
        if command in (Command.STORE, Command.SHOW) and index >= self.info.capacity:
            return Status.BAD_INDEX, b""
        if command == Command.SHOW and index not in self._sequence:
            return Status.NOT_STORED, b""
        if command in (Command.SET, Command.STORE) and given[-1] & self._spare:
            return Status.BAD_PATTERN, b""
        again, self._done = key == self._done, key
        if command == Command.BEGIN and not again:
            self._sequence.clear()
            self._restarted = False
        elif command == Command.STORE and not again:
            self._sequence[index] = given[2:]
        elif not again:
            self._latch(given if command == Command.SET else self._sequence[index])
        return Status.OK, self._sequence[index] if command == Command.STORE else self.pattern

    def _latch(self, pattern: bytes) -> None:
        self.pattern = pattern
        self._latches = (self._latches + 1) % 0x10000
        self._to_the_world()

    def _to_the_world(self) -> None:
        self.surface.set_pattern(unpack(self.pattern, self._elements, self._bits)[: self.surface.n_pixels])
