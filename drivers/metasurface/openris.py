"""OpenRIS: one to three tiles of 512 switches for 3.58 GHz behind a Raspberry Pi (J. Rains, github jimrains/OpenRIS).

The protocol is that of ``control/socket-server-tiles.py``, a server on TCP (port 13591) for one client at a time:

    tile as two digits + 512 of 0 or 1, separated by blanks or semicolons: 1025 bytes
    -> a    the tile has it
    -> b    fewer than 512 were found; it hangs up

A tile is 16 x 16 unit cells with a switch for each of two polarisations, which are neighbours in a row: 16 x 32
elements, numbered as the tile's bits are in the message, tile after tile. ``group: [1, 2]`` moves both polarisations
together. Which corner of the tile the first bit is depends on how it hangs.

The server does not say who it is and cannot be asked what it shows: it has one question and two answers of a letter.
So

- patterns are not read back;
- an answer that comes too late looks like the next one. After a question was broken off, nothing but a new
  connection, which the server takes up when it is done with the old one, brings both in step again;
- whatever accepts a connection passes for an OpenRIS until it leaves the first pattern without an answer.

What arrives in less than 1025 bytes the server drops without a word. The emulator alone answers to such a message, and
silence tells the real one; a real one is therefore waited for, half a second, whenever it is opened.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import Field

from labtrain.clock import Clock
from labtrain.drivers.link import Link
from labtrain.drivers.metasurface.metasurface import LinkedMetasurface, LinkedMetasurfaceConfig, States
from labtrain.errors import LinkClosed, LinkDesync, LinkRefused, LinkTimeout

PORT = 13591
MOST_TILES = 3  # as many as the Pi has pins for
TILE = (16, 32)  # rows and columns of elements
TILE_BITS = TILE[0] * TILE[1]
MESSAGE_BYTES = 2 + 2 * TILE_BITS - 1
TILE_S = 0.008  # an estimate: 128 clocks of 7 pins from Python, and the way there and back by radio

QUESTION = b"Does an emulator listen?\n"
ANSWER = b"labtrain emulator\n"
"""Of the emulator to QUESTION; does not begin with a letter that could be an answer to a pattern."""

SILENCE_S = 0.5

_IDENTITY = "OpenRIS (tells nothing of itself)"
_EMULATED = "OpenRIS, emulated"


class OpenRis(LinkedMetasurface):
    """Tiles of an OpenRIS behind its server."""

    class Config(LinkedMetasurfaceConfig):
        """Settings of an OpenRIS."""

        driver: Literal["openris"] = "openris"
        timeout_s: float = Field(2.0, gt=0, le=3600, description="longest silence before a tile's acknowledgement")
        tiles: int = Field(1, ge=1, le=MOST_TILES, description="tiles that are connected, from the first on")

    EMULATOR = "labtrain.drivers.emulators.metasurface.openris:OpenRisEmulator"
    MODELS_TOLD = "OpenRIS, 1 to 3 tiles of 16 x 32 switches of 1 bit, 3.58 GHz"
    TRIED_ON = "emulator, after its server"
    bits = 1
    can_read = False
    config: Config

    def __init__(self, link: Link, config: Config, clock: Clock) -> None:
        self.shape = (TILE[0] * config.tiles, TILE[1])
        self._in_doubt = False  # something was asked on this connection and not answered
        super().__init__(link, config, clock)

    @property
    def write_s(self) -> float:
        return TILE_S * self.config.tiles

    @property
    def emulated(self) -> bool:
        """Whether it answered what a real server does not."""
        return self.identity == _EMULATED

    def ask(self, question: str) -> str:
        with self.link.exchange():
            self.link.write(question.encode("ascii"))
            self._in_doubt = True
            try:
                answer = self.link.read_exactly(1)
            except LinkTimeout as error:
                raise self.unanswered(_short(question), error) from error
            self._in_doubt = False
        return answer.decode("ascii", "backslashreplace")

    def tell(self, order: str) -> None:
        with self.link.exchange():
            answer = self.ask(order)
            if answer == "b":
                self._in_doubt = True  # what it says next would not be an answer: it hangs up
                raise LinkClosed(
                    f"{self.name}: found fewer than {TILE_BITS} bits in {_short(order)!r} and hung up; check that "
                    f"control/socket-server-tiles.py runs there ({self.link.where})"
                )
            if answer != "a":
                self._in_doubt = True
                raise LinkDesync(
                    f"{self.name}: asked {_short(order)!r}, got {answer!r}, not a or b; check that {self.link.where} "
                    "is that of an OpenRIS"
                )

    def safe(self) -> None:
        if self.link.is_open and self.link.dirty:  # late answers stay behind with the old connection
            self.drop()
            self.link.open()
        super().safe()

    def drop(self) -> None:
        super().drop()
        self._in_doubt = False

    def close(self) -> None:
        super().close()
        self._in_doubt = False

    def settings(self) -> dict[str, Any]:
        return {"tiles": self.config.tiles}

    def _write(self, elements: States) -> None:
        for number, tile in enumerate(elements.reshape(self.config.tiles, TILE_BITS), start=1):
            self.tell(_message(number, tile))

    def _read(self) -> States:
        raise NotImplementedError  # never called, see can_read

    # -- identity and the fence ----------------------------------------------------------------------------------

    def _identify(self) -> str:
        with self.link.exchange():
            self.link.write(QUESTION)
            try:
                answer = self.link.read_exactly(len(ANSWER), SILENCE_S)
            except LinkTimeout:
                answer = self.link.drain()
            if not answer:
                self.link.dirty = False  # it is silence that was asked for
                return _IDENTITY
            if answer != ANSWER:
                raise LinkRefused(
                    f"{self.name}: not an OpenRIS, which does not answer what it does not understand; this one says "
                    f"{answer[:40]!r}; correct {self.link.where}"
                )
        return _EMULATED

    def _check_identity(self, identity: str) -> None:
        """It does not tell who it is."""

    def _synchronise(self) -> None:
        if self._in_doubt:
            raise LinkDesync(
                f"{self.name}: left an earlier pattern without an answer, which could not be told from the next one; "
                "open it again"
            )


def _message(tile: int, states: States) -> str:
    return f"{tile:02d}" + " ".join(map(str, np.asarray(states).tolist()))


def _short(order: str) -> str:
    """For errors: a pattern is 512 digits long."""
    return order if len(order) <= 20 else f"{order[:11]}..."
