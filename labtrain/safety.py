"""The guard: whatever ends a run, everything that can emit energy is made safe, and a signal waits for a safe place."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from types import CodeType, FrameType, TracebackType
from typing import Any, NamedTuple, Self

from labtrain.errors import Interrupted, UnsafeError

# SIGBREAK is Ctrl-Break and the closed console on Windows, SIGHUP the closed terminal elsewhere.
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK", "SIGHUP") if hasattr(signal, name)]

BY_HAND = "switch it off by hand"


class Failure(NamedTuple):
    """Something that may still emit energy: its name, why, and what a person can do about it."""

    name: str
    why: str
    by_hand: str = BY_HAND

    @classmethod
    def of(cls, name: str, error: BaseException, by_hand: str = BY_HAND) -> Failure:
        return cls(name, str(error) or type(error).__name__, by_hand)

    def __str__(self) -> str:
        return self.why if self.why.startswith(self.name) else f"{self.name}: {self.why}"


def told(failures: Sequence[Failure]) -> str:
    """All failures and what to do about them, as the end of a sentence."""
    if len({failure.by_hand for failure in failures}) == 1:
        return f"{'; '.join(map(str, failures))}; {failures[0].by_hand}"
    return "; ".join(f"{failure}; {failure.by_hand}" for failure in failures)


class NotMadeSafe(UnsafeError):
    """Energy may still be leaving.

    Parameters
    ----------
    failures : sequence of Failure
    before : exception, optional
        What ended the run.
    """

    def __init__(self, failures: Sequence[Failure], before: BaseException | None = None) -> None:
        self.failures = tuple(failures)
        after = f" (on leaving after {str(before) or type(before).__name__})" if before is not None else ""
        super().__init__(f"not made safe: {told(self.failures)}{after}")


class Guard:
    """Stands around everything that drives a rig, in a ``with`` block.

    The first Ctrl-C or SIGTERM is remembered until :meth:`check` is called at a safe place, after a chunk has been
    kept; a second Ctrl-C raises KeyboardInterrupt at once. On every exit all that was handed over is made safe, the
    last one first, even when one fails, and no signal disturbs it. Outside the main thread Python delivers no signals:
    there the guard only makes safe. Signals that the process was told to ignore (``nohup``) stay ignored.

    Parameters
    ----------
    hint : str
        Ends the sentence of an interruption: how to go on.
    safe : mapping of name to callable, optional
        What makes each thing safe, in the order in which they are switched on.
    defers : bool
        False: the first signal raises KeyboardInterrupt at once, until :meth:`defer` is called.
    only_defaults : bool
        True: leave signals alone that somebody, such as another guard, already looks after.
    exits : code of functions, optional
        Python may deliver a signal on their first instruction, where raising would skip every ``safe``: it is
        remembered there, as on the first instruction of the guard's own exit.
    """

    def __init__(
        self,
        hint: str = "",
        safe: Mapping[str, Callable[[], object]] | None = None,
        *,
        defers: bool = True,
        only_defaults: bool = False,
        exits: Sequence[CodeType] = (),
    ) -> None:
        self.hint = hint
        self._safe = list((safe or {}).items())
        self._defers, self._only_defaults = defers, only_defaults
        self._handlers: dict[signal.Signals, Any] = {}
        self._signal: signal.Signals | None = None
        self._leaving = False
        self._exits: set[CodeType] = {Guard.__exit__.__code__, *exits}

    def push(self, name: str, safe: Callable[[], object]) -> None:
        """Register what makes `name` safe; push before the first line that can emit energy."""
        self._safe.append((name, safe))

    def defer(self) -> None:
        """From here on something is being kept that must not be torn: the first signal waits for :meth:`check`."""
        self._defers = True

    @property
    def interrupted(self) -> bool:
        """Whether a signal waits for :meth:`check`."""
        return self._signal is not None

    def check(self) -> None:
        """Raise Interrupted if a signal has arrived; call it where stopping loses nothing."""
        if self._signal is not None:
            raise Interrupted(self._sentence(f"stopped by {_cause(self._signal)}, everything measured is kept"))

    def _sentence(self, text: str) -> str:
        return "; ".join(filter(None, [text, self.hint]))

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                before = signal.getsignal(number)
                taken = before not in (signal.SIG_DFL, signal.default_int_handler)
                if before != signal.SIG_IGN and not (self._only_defaults and taken):
                    self._handlers[number] = signal.signal(number, self._on_signal)
        return self

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        again, self._signal = self._signal is not None, self._signal or signal.Signals(number)
        if self._leaving or (frame is not None and frame.f_code in self._exits):
            return
        if again and number == signal.SIGINT:
            raise KeyboardInterrupt("stopped at once by a second Ctrl-C; logged shots are kept")
        if not again and not self._defers:
            self._signal = None  # told with this; whoever catches it has dealt with it
            raise KeyboardInterrupt(self._sentence(f"stopped by {_cause(signal.Signals(number))}"))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving = True
        failures: list[Failure] = []
        first: BaseException | None = None
        while self._safe:
            name, safe = self._safe.pop()
            try:
                safe()
            except BaseException as failure:
                first = first or failure
                failures += failure.failures if isinstance(failure, NotMadeSafe) else [Failure.of(name, failure)]
        for number, handler in self._handlers.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if failures:
            raise NotMadeSafe(failures, error) from error or first
        if error is None:
            self.check()  # a signal after the last check must not be lost


class signals_held:
    """Hold back Ctrl-C and SIGTERM inside a ``with`` block; whoever looks after them gets them when it ends."""

    def __init__(self) -> None:
        self._handlers: dict[signal.Signals, Any] = {}
        self._held: list[int] = []

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                # None: installed by a C library, which could not be put back
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._handlers[number] = signal.signal(number, self._hold)
        return self

    def _hold(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._held.append(number)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in reversed(self._handlers.items()):  # Ctrl-C, which may raise, comes last
            signal.signal(number, handler)
        for held in self._held:
            signal.raise_signal(held)


def _cause(number: signal.Signals) -> str:
    return "Ctrl-C" if number == signal.SIGINT else number.name
