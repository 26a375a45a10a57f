"""Calls into a manufacturer's library: one after the other, in a thread of their own, each with a deadline.

A library may hang, and nothing in Python ends a call into it; many also want to be called from one thread alone. So
all calls are made by one worker, whoever asks, and whoever asks waits no longer than agreed. A call that nobody waits
for any more is not begun; one that hangs takes its worker with it, and until that has come back nobody else
should call the library.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from labtrain.drivers.backends.sockets import slices

T = TypeVar("T")


class Hanging(Exception):
    """A call, or one before it, has not come back in time."""


class _Call(Generic[T]):
    def __init__(self, do: Callable[[], T]) -> None:
        self.do = do
        self.wanted = True
        self.ended = threading.Event()
        self.result: T | None = None
        self.error: BaseException | None = None


class LibraryCalls:
    """The worker; it starts with the first call.

    Parameters
    ----------
    name : str
        Of its thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: queue.SimpleQueue[_Call[Any] | None] = queue.SimpleQueue()
        self._worker: threading.Thread | None = None

    def run(self, do: Callable[[], T], timeout_s: float) -> T:
        """Have something done and return what it returns or raise what it raises.

        Raises
        ------
        Hanging
            If that takes longer than `timeout_s`, in real time; it may go on.
        """
        if self._worker is None:
            self._worker = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._worker.start()
        call = _Call(do)
        self._calls.put(call)
        try:
            if not any(call.ended.wait(piece) for piece in slices(timeout_s)):
                raise Hanging
        finally:
            call.wanted = False
        if call.error is not None:
            raise call.error
        result: T = call.result  # type: ignore[assignment]
        return result

    def stop(self, last: Callable[[], object] | None = None) -> None:
        """End the worker after what it is at and after a last call; nothing can be called afterwards."""
        if last is not None:
            self._calls.put(_Call(last))
        self._calls.put(None)

    def ended(self, timeout_s: float) -> bool:
        """Wait until the worker has stopped, at most so long; whether it has."""
        worker = self._worker
        for piece in slices(timeout_s):
            if worker is None or not worker.is_alive():
                return True
            worker.join(piece)
        return worker is None or not worker.is_alive()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            if call.wanted:
                try:
                    call.result = call.do()
                except BaseException as error:
                    call.error = error
            call.ended.set()
