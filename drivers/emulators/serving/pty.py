"""Emulated serial instruments on pseudo-terminals, as other programs open them. Linux only: Windows has none, and
macOS ends them in other ways.

A serial device is not told that its port was opened, so neither is the emulator: a client may close the port and open
it again, and finds the instrument as it was. When an emulator hangs up, it is unplugged: the terminal goes, and a new
one takes its place under the same link, as udev would have it.
"""

from __future__ import annotations

import os
import selectors
import socket
import sys
from pathlib import Path

from labtrain.clock import Clock
from labtrain.drivers.emulators.emulator import Emulator
from labtrain.drivers.emulators.serving.stream import CHUNK, StreamOutlet
from labtrain.errors import InputError


class PtyOutlet(StreamOutlet):
    """An emulator on a pseudo-terminal.

    Parameters
    ----------
    name, emulator, clock
        As of Outlet.
    link : Path
        Symbolic link to make; its folder exists. It stays the same when the emulator is unplugged.
    """

    kind = "pty"

    def __init__(self, name: str, emulator: Emulator, clock: Clock, link: Path) -> None:
        super().__init__(name, emulator, clock)
        self.link = link
        self._slave: int | None = None
        self._closing = False

    @property
    def address(self) -> str:
        return str(self.link)

    @property
    def visa(self) -> str:
        return f"ASRL{self.link}::INSTR"

    def open(self, selector: selectors.BaseSelector) -> None:
        """Make the terminal and the link.

        Raises
        ------
        InputError
            On another system than Linux, or if the link cannot be made.
        """
        if sys.platform != "linux":
            raise InputError(f"emulated {self.name}: {sys.platform} has no pseudo-terminals for it; serve it on TCP")
        self._selector = selector
        self._plug_in()

    def close(self) -> None:
        self._closing = True
        self.hang_up()

    def _let_go(self, peer: socket.socket | int) -> None:
        assert isinstance(peer, int) and self._slave is not None
        slave = self._slave
        if self._closing:
            self.link.unlink(missing_ok=True)
        else:
            self._plug_in()  # first, so that whoever sees the old one go finds the new one there
        os.close(peer)
        os.close(slave)

    def _plug_in(self) -> None:
        import tty  # not there on Windows

        # The slave stays open here, or the master would be at its end as soon as the first client has left.
        master, slave = os.openpty()
        tty.setraw(slave)
        os.set_blocking(master, False)
        new = self.link.with_name(f"{self.link.name}.new")
        try:
            new.symlink_to(os.ttyname(slave))
            new.replace(self.link)
        except OSError as error:
            os.close(master)
            os.close(slave)
            raise InputError(
                f"emulated {self.name}: the link {self.link} cannot be made ({error.strerror}); choose another place"
            ) from None
        self._slave = slave
        self._attach(master)

    def _recv(self) -> bytes:
        assert isinstance(self._peer, int)
        return os.read(self._peer, CHUNK)

    def _send(self, data: bytearray) -> int:
        assert isinstance(self._peer, int)
        return os.write(self._peer, data)
