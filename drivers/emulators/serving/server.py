"""Emulators for other programs: one thread, one loop over all of them, so that those in front of one world need no
locks.

Each emulator has one connection at a time, as an instrument has one cable: a second one is closed at once, unless the
first has hung up by then. Replies leave in order and when they are due; one that is late holds up nobody else's.
"""

from __future__ import annotations

import selectors
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from labtrain.clock import Clock
from labtrain.drivers.emulators.serving.outlet import Outlet

POLL_S = 0.2  # longest wait before the loop looks whether it is to stop


class Server:
    """The loop over all outlets; a context manager that opens and closes them.

    Parameters
    ----------
    outlets : iterable of Outlet
    clock : Clock
        The outlets' own.
    """

    def __init__(self, outlets: Iterable[Outlet], clock: Clock) -> None:
        self.outlets, self.clock = tuple(outlets), clock
        self._selector: selectors.BaseSelector | None = None

    def open(self) -> None:
        """Listen on all; connections that come before :meth:`run` wait for it.

        Raises
        ------
        InputError
            If an outlet cannot be had; the others are closed again.
        """
        self._selector = selectors.DefaultSelector()
        try:
            for outlet in self.outlets:
                outlet.open(self._selector)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Hang up on all."""
        if self._selector is not None:
            for outlet in self.outlets:
                outlet.close()
            self._selector.close()
            self._selector = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self, stopped: Callable[[], bool]) -> None:
        """Serve until `stopped` says so, which is asked at least every `POLL_S`."""
        assert self._selector is not None, "open() comes first"
        while not stopped():
            now = self.clock.monotonic()
            due = [outlet.due_s - now for outlet in self.outlets if outlet.due_s is not None]
            for key, mask in self._selector.select(max(0.0, min([POLL_S, *due]))):
                key.data(mask)
            for outlet in self.outlets:
                if outlet.due_s is not None:
                    outlet.flush()
