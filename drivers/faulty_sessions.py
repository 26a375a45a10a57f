"""Sessions of a driver with an emulator at which something goes wrong, and what a program may do after that.

What :mod:`labtrain.drivers.testing` makes its matrix of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import numpy as np

from labtrain.clock import Clock, SimulatedClock
from labtrain.drivers.emulators.emulator import Emulator
from labtrain.drivers.emulators.faults import Fault, Faulty
from labtrain.drivers.instrument import Instrument
from labtrain.errors import LabtrainError

D = TypeVar("D", bound=Instrument)

Outcome = Literal["no effect", "recovered", "clear error", "WRONG VALUE", "UNSAFE", "UNCLEAR ERROR"]

_LONGEST_S = 86_400.0  # simulated: whoever waits longer waits for ever


class Listening(Faulty):
    """Notes what it hears, message by message."""

    def __init__(self, inner: Emulator, faults: Iterable[Fault]) -> None:
        super().__init__(inner, faults)
        self.heard: list[str] = []
        self.opened = False
        """Whether a driver has got through its open()."""

    def _count(self, message: bytes) -> list[Fault]:
        self.heard.append(shortened(message.decode("ascii", "backslashreplace").strip(), 40))
        return super()._count(message)


class Patience(SimulatedClock):
    """Ends those who would wait for ever."""

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        if self.monotonic() > _LONGEST_S:
            raise RuntimeError("waits for ever")


@dataclass
class Tried:
    """What came of a session: a value and the states after it and after safe(), or the error that ended it."""

    heard: list[str]
    value: Any = None
    state: Any = None
    safe_state: Any = None
    error: Exception | None = None


class Wrong(Exception):
    """A session ended well and was wrong, or safe() returned and it is not."""

    def __init__(self, outcome: Outcome, detail: str) -> None:
        super().__init__(detail)
        self.outcome: Outcome = outcome


class Bench(Generic[D]):
    """Makes drivers with emulators, and holds sessions."""

    def __init__(
        self,
        driver: type[D],
        emulator: Callable[[Clock], Emulator],
        session: Callable[[D], Any],
        config: dict[str, Any],
        state: Callable[[Any], Any] | None,
    ) -> None:
        self.driver, self.emulator, self.session, self.state = driver, emulator, session, state
        self.config = driver.Config.model_validate(config)
        self.right: Any = None
        self.right_state: Any = None
        self.safe_state: Any = None

    def make(self, faults: Iterable[Fault]) -> tuple[D, Listening]:
        clock = Patience()
        listening = Listening(self.emulator(clock), faults)
        return self.driver.make("instrument", self.config, clock, emulator=listening), listening

    def now(self, listening: Listening) -> Any:
        return None if self.state is None else deepcopy(self.state(listening.inner))

    def try_out(self) -> Tried:
        """The whole session without faults, with nothing to compare it to."""
        driver, listening = self.make([])
        tried = Tried(listening.heard)
        try:
            driver.open()
            tried.value, tried.state = self.session(driver), self.now(listening)
            driver.safe()
            tried.safe_state = self.now(listening)
            driver.close()
        except Exception as error:
            tried.error = error
        return tried

    def case(self, fault: Fault) -> tuple[Outcome, str]:
        """What comes of a session with this fault, and the first error or what was wrong."""
        outcome: Outcome = "no effect"
        detail = ""
        for afterwards in (self.carry_on, self.reopen, self.make_safe):
            driver, listening = self.make([fault])
            try:
                first = self.ends_in(driver, self.whole, listening)
                if first is None:
                    break  # nothing went wrong: nothing comes after it
                detail = str(first)
                again = afterwards(driver, listening)
                outcome = "clear error" if again is not None or outcome == "clear error" else "recovered"
            except Wrong as wrong:
                return wrong.outcome, str(wrong)
        return outcome, detail

    def ends_in(self, driver: D, do: Callable[[D, Listening], None], listening: Listening) -> LabtrainError | None:
        """The clear error in which something ends, if it does."""
        try:
            do(driver, listening)
        except LabtrainError as error:
            told = str(error)
            if not told.startswith(driver.name) or "\n" in told:
                raise Wrong("UNCLEAR ERROR", f"{type(error).__name__} without the instrument's name: {told}") from None
            return error
        except Wrong:
            raise
        except Exception as error:  # whatever a driver raises that no user should meet
            raise Wrong("UNCLEAR ERROR", f"{type(error).__name__}: {error}") from error
        return None

    def whole(self, driver: D, listening: Listening) -> None:
        driver.open()
        listening.opened = True
        self.hold(driver, listening)
        self.safe(driver, listening)
        driver.close()

    def hold(self, driver: D, listening: Listening) -> None:
        value = self.session(driver)
        if not same(value, self.right):
            raise Wrong("WRONG VALUE", f"returned {value!r} instead of {self.right!r}")
        if not same(now := self.now(listening), self.right_state):
            raise Wrong("WRONG VALUE", f"the instrument was left in state {now!r} instead of {self.right_state!r}")

    def compare_safe(self, listening: Listening) -> None:
        if not same(now := self.now(listening), self.safe_state):
            raise Wrong("UNSAFE", f"safe() left it in state {now!r} instead of {self.safe_state!r}")

    # What a program may do after an error; each returns the error that it ends in.

    def carry_on(self, driver: D, listening: Listening) -> None:
        """Another session at once, on the same link, which the fence must bring back in step; it may refuse.

        Nobody uses a driver whose open() has failed.
        """
        if driver.is_open and listening.opened:
            self.ends_in(driver, self.hold, listening)

    def reopen(self, driver: D, listening: Listening) -> LabtrainError | None:
        """As a rig recovers."""
        driver.drop()
        return self.ends_in(driver, self.whole, listening)

    def make_safe(self, driver: D, listening: Listening) -> LabtrainError | None:
        """As a program ends: safe() on whatever link there is, and where that fails on a new one."""
        known = driver.is_open and driver.identity  # what nobody has recognised is not touched
        if known and self.ends_in(driver, self.safe, listening) is None:
            return None
        return self.ends_in(driver, self.safe_anew, listening)

    def safe(self, driver: D, listening: Listening) -> None:
        driver.safe()
        self.compare_safe(listening)

    def safe_anew(self, driver: D, listening: Listening) -> None:
        driver.drop()
        driver.reach()
        self.safe(driver, listening)


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal, arrays inside them by shape and elements."""
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return bool(np.array_equal(one, other))


def shortened(text: str, width: int) -> str:
    """One line of at most so many characters."""
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 3] + "..."
