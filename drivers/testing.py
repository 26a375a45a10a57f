"""What an author of a driver needs to test it: a matrix of all faults at all messages, and two worlds without noise.

    matrix = fault_matrix(MySurface, lambda clock: MySurfaceEmulator(Pixels(64), clock), session)
    assert not matrix.bad, matrix

A session is opened, held and closed once for each fault and each message of it, with that fault at that message. What
may come of it: the fault changes nothing; or there is one clear error, and after it the session gives the right value
again, on the same link and on a new one. What must never be: a wrong value, an error that is no sentence, a surface
or a source that :meth:`~labtrain.drivers.device.Device.safe` leaves on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from labtrain.clock import Clock, SimulatedClock
from labtrain.drivers.emulators.emulator import Emulator
from labtrain.drivers.emulators.faults import Queueing, Rebootable, parse_fault
from labtrain.drivers.emulators.plain import Network, Pixels
from labtrain.drivers.faulty_sessions import Bench, D, Outcome, same, shortened

__all__ = ["OUTCOMES", "Matrix", "Network", "Outcome", "Pixels", "Row", "fault_matrix", "usual_faults"]

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

_BAD = ("WRONG VALUE", "UNSAFE", "UNCLEAR ERROR")
_WIDTH = 100
_SHOWN = 20  # bad cases told one by one


@dataclass(frozen=True)
class Row:
    """One case.

    Parameters
    ----------
    fault : str
        Without the place: ``late 2.5 s``.
    message : int
        At which it struck, from 1.
    asked : str
        That message, as far as there is room.
    outcome : str
        ``no effect``; ``recovered``: one clear error, then the right value; ``clear error``: that, again and again,
        as with a lasting fault; and what must not be: ``WRONG VALUE``, ``UNSAFE``, ``UNCLEAR ERROR``.
    detail : str
        The first error, or what was wrong.
    """

    fault: str
    message: int
    asked: str
    outcome: Outcome
    detail: str = ""

    @property
    def bad(self) -> bool:
        """Whether it is something that must not be."""
        return self.outcome in _BAD

    def __str__(self) -> str:
        return f"{self.outcome}: {self.fault} at {self.message} ({self.asked}): {self.detail}"


@dataclass(frozen=True)
class Matrix:
    """All cases of one driver; as text a table, a line for each fault, and the bad cases one by one."""

    driver: str
    messages: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def bad(self) -> list[Row]:
        """Cases that must not be."""
        return [row for row in self.rows if row.bad]

    def count(self, outcome: Outcome, fault: str | None = None) -> int:
        """Cases with this outcome, of one fault or of all."""
        return sum(row.outcome == outcome and fault in (None, row.fault) for row in self.rows)

    def __str__(self) -> str:
        faults = list(dict.fromkeys(row.fault for row in self.rows))
        title = f"{self.driver}: {len(self.messages)} messages, {len(self.rows)} cases, {len(self.bad)} of them bad"
        lines = [title, "fault".ljust(20) + "".join(f"  {outcome}" for outcome in OUTCOMES)]
        for fault in faults:
            counts = Counter(row.outcome for row in self.rows if row.fault == fault)
            cells = (str(counts[outcome]).rjust(len(outcome) + 2) for outcome in OUTCOMES)
            lines.append(shortened(fault, 20).ljust(20) + "".join(cells))
        lines += [shortened(str(row), _WIDTH) for row in self.bad[:_SHOWN]]
        if len(self.bad) > _SHOWN:
            lines.append(f"... and {len(self.bad) - _SHOWN} more")
        return "\n".join(lines)


def fault_matrix(
    driver: type[D],
    emulator: Callable[[Clock], Emulator],
    session: Callable[[D], Any],
    *,
    config: dict[str, Any] | None = None,
    expected: Any = None,
    state: Callable[[Any], Any] | None = None,
    safe_state: Any = None,
    faults: Sequence[str] | None = None,
    messages: Iterable[int] | None = None,
    most: int | None = None,
) -> Matrix:
    """Hold a session once for each fault at each of its messages, from opening to closing, in simulated time.

    Parameters
    ----------
    driver : type of Instrument
    emulator : callable
        From the clock to a new instrument in front of a new world, without `timing` and without noise.
    session : callable
        Uses the opened driver, which it gets, and returns what it measured or read back. It has to set all that
        it depends on: it is held again after the instrument has restarted.
    config : dict, optional
        Keys of the driver's section.
    expected : optional
        What the session returns; default: what it returns without faults.
    state : callable, optional
        From the emulator to what the instrument really does: the pattern that it shows, whether it radiates. It is
        compared after each session that ended well, and after safe().
    safe_state : optional
        What that is after safe(); default: what it is after safe() without faults.
    faults : sequence of str, optional
        As ``--fault`` takes them, without name and place: ``late 2.5 s``, and ``no reply from`` for one that lasts;
        default: :func:`usual_faults`.
    messages : iterable of int, optional
        At which they strike, from 1; default: at each one.
    most : int, optional
        So many messages a fault, spread evenly, other ones for each fault: for sessions of many messages.

    Returns
    -------
    Matrix

    Raises
    ------
    AssertionError
        If, without any fault, the session returns something else than `expected`, or safe() leaves the instrument in
        another state than `safe_state`.
    """
    bench = Bench(driver, emulator, session, config or {}, state)
    first = bench.try_out()
    if first.error is not None:
        raise first.error
    if expected is not None and not same(first.value, expected):
        raise AssertionError(f"without any fault the session returned {first.value!r}, expected {expected!r}")
    if safe_state is not None and not same(first.safe_state, safe_state):
        raise AssertionError(f"without any fault safe() left the state {first.safe_state!r}, expected {safe_state!r}")
    bench.right, bench.right_state, bench.safe_state = first.value, first.state, first.safe_state
    heard = first.heard
    if faults is None:
        faults = usual_faults(bench.config.timeout_s, emulator(SimulatedClock()))
    places = list(range(1, len(heard) + 1) if messages is None else messages)
    step = 1 if most is None else max(1, -(-len(places) // most))
    rows = []
    for number, fault in enumerate(faults):
        for place in places[number % step :: step]:
            when = "" if fault.endswith(" from") else " at"
            outcome, detail = bench.case(parse_fault(f"instrument: {fault}{when} {place}")[1])
            rows.append(Row(fault, place, heard[place - 1], outcome, detail))
    return Matrix(driver.__name__, tuple(heard), tuple(rows))


def usual_faults(timeout_s: float, emulator: Emulator) -> list[str]:
    """Faults that an instrument like this one can have: answers late by less and by more than the timeout, and so on.

    Parameters
    ----------
    timeout_s : float
        Longest silence that the driver takes.
    emulator : Emulator
        Tells whether it can restart, and whether it has an error queue.
    """
    found = [f"late {share * timeout_s:g} s" for share in (0.5, 1.1, 1.9, 3.5)]
    found += ["no reply", "no reply from", "truncated", "truncated 1 bytes", "garbage", "disconnect"]
    found += ["reboot"] * isinstance(emulator, Rebootable)
    found += ["error -230"] * isinstance(emulator, Queueing)
    return found
