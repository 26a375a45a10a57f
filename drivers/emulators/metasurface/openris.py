"""OpenRIS at its network socket: the server on the Raspberry Pi, receive by receive.

After ``control/socket-server-tiles.py`` and ``control/tileif.py`` of github jimrains/OpenRIS. The server takes up to
1025 bytes at a time from one client:

- fewer: dropped without a word, whatever they are;
- 1025: two characters are the tile's number, the rest, at blanks and semicolons, are numbers. Fewer than 512 of them:
  ``b``, and it hangs up. Else they are shifted into the tile's registers, more than 0 as 1, and shown all at once when
  the last is in: ``a``;
- what Python cannot read as numbers, or a tile that has no pins, ends the program: it hangs up, and nobody listens
  until somebody starts it again. Tile 0 is the last tile, as an index of Python.

Beyond the real one, it answers to a question of labtrain whether it is an emulator (see the driver).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from labtrain.clock import Clock
from labtrain.drivers.emulators.emulator import Reply
from labtrain.drivers.emulators.ports import SurfacePort
from labtrain.drivers.metasurface.openris import ANSWER, MESSAGE_BYTES, MOST_TILES, QUESTION, TILE_BITS, TILE_S
from labtrain.errors import InputError

ELEMENTS = MOST_TILES * TILE_BITS


class OpenRisEmulator:
    """The server in front of a world, three tiles connected.

    Element i of the tiles, one after the other, is the world's pixel i; elements without a pixel only remember.

    Parameters
    ----------
    surface : SurfacePort
    clock : Clock
    timing : bool
        Answers take as long as shifting in Python and a radio link; otherwise they are there at once.

    Raises
    ------
    InputError
        If the world has more pixels than there are elements.
    """

    def __init__(self, surface: SurfacePort, clock: Clock, *, timing: bool = False) -> None:
        if surface.n_pixels > ELEMENTS:
            raise InputError(
                f"emulated OpenRIS: asked for {surface.n_pixels} pixels, it has {ELEMENTS} elements; simulate fewer "
                "pixels"
            )
        self.surface, self.clock, self.timing = surface, clock, timing
        self.elements: NDArray[np.int64] = np.zeros(ELEMENTS, dtype=np.int64)
        self.running = True
        """Whether the server's program runs; somebody must start it again when it has ended."""

    def connected(self) -> list[Reply]:
        return [] if self.running else [(0.0, None)]

    def message_length(self, data: bytes) -> int:
        """For those who count messages: a tile's, or a line."""
        line = data[:MESSAGE_BYTES].find(b"\n") + 1
        return line or (MESSAGE_BYTES if len(data) >= MESSAGE_BYTES else 0)

    def receive(self, data: bytes) -> list[Reply]:
        """Take what has arrived at once and return the answers; the rest of a message that comes later is another."""
        replies: list[Reply] = []
        while data and self.running:
            taken, data = data[:MESSAGE_BYTES], data[MESSAGE_BYTES:]
            if len(taken) == MESSAGE_BYTES:
                replies += self._carry_out(taken, (len(replies) + 1) * TILE_S if self.timing else 0.0)
            elif taken == QUESTION:
                replies.append((0.0, ANSWER))
            if replies and replies[-1][1] is None:
                break
        return replies

    def reboot(self) -> list[Reply]:
        """The supply fails and comes back, and somebody starts the server."""
        self.running = True
        self._show(np.zeros(ELEMENTS, dtype=np.int64))
        return [(0.0, None)]

    def _carry_out(self, message: bytes, after_s: float) -> list[Reply]:
        try:
            text = repr(message)[2:-1]  # what the server reads: bytes that are no text as \x.., which is no number
            tile, numbers = int(text[:2]), [int(word) for word in text[2:].replace(";", " ").split()]
            if len(numbers) < TILE_BITS:
                return [(after_s, b"b"), (after_s, None)]
            tile = range(MOST_TILES)[tile - 1]
        except (ValueError, IndexError):
            self.running = False
            return [(after_s, None)]
        elements = self.elements.copy()
        elements[tile * TILE_BITS : (tile + 1) * TILE_BITS] = np.array(numbers[:TILE_BITS]) > 0
        self._show(elements)
        return [(after_s, b"a")]

    def _show(self, elements: NDArray[np.int64]) -> None:
        self.elements = elements
        self.surface.set_pattern(elements[: self.surface.n_pixels])
