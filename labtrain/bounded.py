"""Calls that may hang: each gets its turn and a deadline, and none holds up the next one for long."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from labtrain.clock import RealClock

HOLD_UP_S = 0.25  # after which the next call no longer waits for the one before it
PATIENT_S = 1.0  # after which it is said that a call is being waited for

log = logging.getLogger("labtrain")


@dataclass(frozen=True)
class Call:
    """Something to be done.

    Parameters
    ----------
    name : str
        For the log.
    run : callable
    deadline_s : float
        Seconds after its start at which the call is given up; it may go on in its own thread.
    """

    name: str
    run: Callable[[], object]
    deadline_s: float


def in_turn(calls: Sequence[Call], hold_up_s: float = HOLD_UP_S) -> list[BaseException | None]:
    """Do all calls, each in a thread of its own, and say how each ended.

    A call begins when the one before it has ended or has taken `hold_up_s`. Time is real here even where an
    experiment's is simulated: a thread hangs in real time.

    Returns
    -------
    list, an entry for each call
        None, or what it raised; TimeoutError if it had not ended by its deadline.
    """
    clock = RealClock()
    ends: list[BaseException | None] = [None] * len(calls)

    def carry_out(number: int) -> None:
        try:
            calls[number].run()
        except BaseException as error:
            ends[number] = error

    started: list[tuple[threading.Thread | None, float]] = []
    for number, call in enumerate(calls):
        thread = threading.Thread(target=carry_out, args=(number,), name=call.name, daemon=True)
        began_s = clock.monotonic()
        try:
            thread.start()
        except RuntimeError:  # no thread is to be had, as while the interpreter ends: better unbounded than not at all
            carry_out(number)
            started.append((None, began_s))
            continue
        started.append((thread, began_s))
        thread.join(min(hold_up_s, call.deadline_s))
    for number, (worker, began_s) in enumerate(started):
        if worker is not None:
            deadline_s = calls[number].deadline_s
            worker.join(max(0.0, min(PATIENT_S, began_s + deadline_s - clock.monotonic())))
            if worker.is_alive() and clock.monotonic() < began_s + deadline_s:
                log.warning("%s: no answer yet, waiting up to %g s", calls[number].name, deadline_s)
                worker.join(max(0.0, began_s + deadline_s - clock.monotonic()))
            if worker.is_alive():
                ends[number] = TimeoutError(f"not done within {deadline_s:g} s")
    return ends
