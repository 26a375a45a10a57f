"""The guard: whatever ends a run, everything that can emit energy is made safe, and a signal waits for a safe place."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

from labtrain.errors import Interrupted, UnsafeError

# SIGBREAK is Ctrl-Break and the closed console on Windows, SIGHUP the closed terminal elsewhere.
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK", "SIGHUP") if hasattr(signal, name)]


class Guard:
    """Stands around everything that drives a rig, in a ``with`` block.

    The first Ctrl-C or SIGTERM is remembered until :meth:`check` is called at a safe place, after a chunk has been
    kept; a second Ctrl-C raises KeyboardInterrupt at once. On every exit all pushed callables run, the last one first,
    even when one fails, and no signal disturbs them. Outside the main thread Python delivers no signals: there the
    guard only makes safe. Signals that the process was told to ignore (``nohup``) stay ignored.

    Parameters
    ----------
    hint : str
        Ends the sentence of an interruption: how to go on.
    """

    def __init__(self, hint: str = "") -> None:
        self.hint = hint
        self._safe: list[tuple[str, Callable[[], object]]] = []
        self._handlers: dict[signal.Signals, Any] = {}
        self._signal: signal.Signals | None = None
        self._leaving = False

    def push(self, name: str, safe: Callable[[], object]) -> None:
        """Register what makes `name` safe; push before the first line that can emit energy."""
        self._safe.append((name, safe))

    @property
    def interrupted(self) -> bool:
        """Whether a signal waits for :meth:`check`."""
        return self._signal is not None

    def check(self) -> None:
        """Raise Interrupted if a signal has arrived; call it where stopping loses nothing."""
        if self._signal is not None:
            cause = "Ctrl-C" if self._signal == signal.SIGINT else self._signal.name
            raise Interrupted("; ".join(filter(None, [f"stopped by {cause}, everything measured is kept", self.hint])))

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._handlers[number] = signal.signal(number, self._on_signal)
        return self

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        again, self._signal = self._signal is not None, self._signal or signal.Signals(number)
        # Python may deliver a signal on the first instruction of __exit__; raising there would skip every safe().
        leaving = self._leaving or (frame is not None and frame.f_code is Guard.__exit__.__code__)
        if again and number == signal.SIGINT and not leaving:
            raise KeyboardInterrupt

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving = True
        failures = []
        while self._safe:
            name, safe = self._safe.pop()
            try:
                safe()
            except BaseException as failure:
                failures.append((name, failure))
        for number, handler in self._handlers.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if failures:
            listed = "; ".join(f"{name}: {str(failure) or type(failure).__name__}" for name, failure in failures)
            before = f" (on leaving after {str(error) or type(error).__name__})" if error is not None else ""
            raise UnsafeError(f"not made safe: {listed}{before}; switch it off by hand") from error or failures[0][1]
        if error is None:
            self.check()  # a signal after the last check must not be lost
