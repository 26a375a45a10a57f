"""Making instruments safe from outside: end whoever uses them, then switch them off oneself (``labtrain safe``)."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import psutil
from pydantic import ConfigDict

from labtrain import config as configuration
from labtrain.bounded import in_turn
from labtrain.clock import Clock, RealClock
from labtrain.config import Registered, Section
from labtrain.drivers.device import Device
from labtrain.errors import InstrumentError
from labtrain.experiment import registered
from labtrain.riglock import Holder, InstrumentLock
from labtrain.rigs.rack import locks, patient, reach_and_make_safe
from labtrain.rigs.rig import Rig, RigConfig
from labtrain.safety import Failure, NotMadeSafe

_POLL_S = 0.02
_KILLED_S = 5.0  # after which a killed process that still holds its locks is given up
_PAUSE_S = 0.2  # for an instrument to notice that whoever it was connected to is gone
_SAME_S = 0.05  # two times of birth of one process may differ by rounding


class RigAlone(Section):
    """The rig of a configuration file; whatever is wrong with the rest of it must not keep anything switched on."""

    model_config = ConfigDict(extra="ignore")

    rig: Annotated[RigConfig, Registered("rigs")]


@dataclass(frozen=True)
class Ended:
    """A process that used an instrument, and how it ended: ``ended`` by itself when told to, or ``killed``."""

    holder: Holder
    how: str
    told: str

    def __str__(self) -> str:
        how = self.how if self.how == "ended" else f"{self.how}, it did not end by itself in time"
        resume = f"; go on with: labtrain resume {self.holder.run}" if self.holder.run else ""
        return f"{self.told}: {how}{resume}"

    def as_dict(self) -> dict[str, Any]:
        holder = self.holder
        return {"pid": holder.pid, "command": holder.command, "user": holder.user, "run": holder.run, "how": self.how}


@dataclass(frozen=True)
class MadeSafe:
    """What became of one instrument; `failure` is None where it is safe."""

    name: str
    failure: Failure | None = None
    simulated: bool = False

    def __str__(self) -> str:
        if self.simulated:
            return f"{self.name}: simulated, nothing to do"
        return f"{self.name}: safe" if self.failure is None else f"NOT SAFE: {self.failure}; {self.failure.by_hand}"

    def as_dict(self) -> dict[str, Any]:
        why = None if self.failure is None else self.failure.why
        return {"instrument": self.name, "safe": self.failure is None, "simulated": self.simulated, "why": why}


class Stop:
    """Ends the holders of a rig's instruments and makes these safe; nothing else is said to an instrument.

    An instrument that is not the one its driver is for is told nothing and counts as not safe.

    Parameters
    ----------
    rig : Rig
        Not opened.
    config_file : Path, optional
    grace_s : float
        How long a process may take to end by itself.
    tell : callable (Ended or MadeSafe), optional
        Hears what is done as it is done.
    """

    def __init__(
        self,
        rig: Rig,
        config_file: Path | None = None,
        grace_s: float = 5.0,
        tell: Callable[[Ended | MadeSafe], object] = lambda _: None,
    ) -> None:
        self._clock, self._config_file, self._grace_s, self._tell = rig.clock, config_file, grace_s, tell
        self._instruments = rig.build_instruments()
        self.ended: list[Ended] = []
        self.instruments: list[MadeSafe] = []

    def carry_out(self) -> None:
        """Do it.

        Raises
        ------
        NotMadeSafe
            Naming each instrument that may still emit; the others are safe.
        """
        reachable: list[Device] = []
        taken = {lock.who: lock for lock in locks(self._instruments, self._clock, self._config_file)}
        try:
            for who, instrument in self._instruments.items():
                if who not in taken:
                    self._done(MadeSafe(instrument.name, simulated=True))
                elif why := self._take(taken[who]):
                    self._done(MadeSafe(instrument.name, Failure(instrument.name, why, instrument.by_hand)))
                else:
                    reachable.append(instrument)
            order = reachable[::-1]
            for instrument, error in zip(order, in_turn(patient(order, self._make_safe)), strict=True):
                failure = None if error is None else Failure.of(instrument.name, error, instrument.by_hand)
                self._done(MadeSafe(instrument.name, failure))
        finally:
            for lock in taken.values():
                lock.release()
        if failures := [done.failure for done in self.instruments if done.failure is not None]:
            raise NotMadeSafe(failures)

    def _done(self, outcome: Ended | MadeSafe) -> None:
        (self.ended if isinstance(outcome, Ended) else self.instruments).append(outcome)  # type: ignore[arg-type]
        self._tell(outcome)

    def _make_safe(self, instrument: Device) -> None:
        try:
            try:
                reach_and_make_safe(instrument)
            except Exception:  # whoever had it may have left it in the middle of something
                instrument.drop()
                self._clock.sleep(_PAUSE_S)
                reach_and_make_safe(instrument)
        finally:
            instrument.drop()

    def _take(self, lock: InstrumentLock) -> str:
        """Take the lock, over the end of its holder; or say why that was not possible."""
        why = ""
        for _ in range(3):  # a supervisor may have started a new one
            try:
                lock.acquire()
                return ""
            except InstrumentError as error:
                if not lock.held():
                    return ""  # nobody has it, but it cannot be locked: no reason to leave it switched on
                why = str(error)
            if refused := self._end_holder(lock):
                return refused
        return why

    def _end_holder(self, lock: InstrumentLock) -> str:
        """End the process that holds a lock; or say why not."""
        holder, process = self._find(lock)
        if holder is None:
            return ""  # gone by itself
        told = holder.told(self._clock.now())
        if process is None:
            return f"in use by {told}, which is not found; end it by hand"
        if holder.pid == os.getpid():
            return "in use by this process; close the rig that has it open"
        try:
            process.terminate()  # SIGTERM; Windows has nothing gentler from one console to another
            how = "ended" if self._freed(lock, process, self._grace_s) else "killed"
            if how == "killed":
                process.kill()
                if not self._freed(lock, process, _KILLED_S):
                    return f"still in use after {told} was killed; find out what else has it open, and end that"
        except psutil.NoSuchProcess:
            how = "ended"
        except psutil.AccessDenied:
            return f"in use by {told}, which may be ended by that user or an administrator alone"
        self._done(Ended(holder, how, told))
        return ""

    def _find(self, lock: InstrumentLock) -> tuple[Holder | None, psutil.Process | None]:
        """Who holds a lock, and the process if it is there; a holder may be about to write its note, or to be gone."""
        until = self._clock.monotonic() + 1.0
        while True:
            holder = lock.holder()
            process = _process(holder) if holder is not None else None
            if not lock.held():
                return None, None
            if holder is not None and process is not None:
                return holder, process
            if self._clock.monotonic() >= until:
                return holder or Holder(0, "unknown", "unknown", self._clock.now()), None
            self._clock.sleep(_POLL_S)

    def _freed(self, lock: InstrumentLock, process: psutil.Process, longest_s: float) -> bool:
        until = self._clock.monotonic() + longest_s
        while lock.held() and process.is_running():
            if self._clock.monotonic() >= until:
                return False
            self._clock.sleep(_POLL_S)
        return True


def _process(holder: Holder) -> psutil.Process | None:
    """The process of a note, unless another one has its number by now."""
    try:
        process = psutil.Process(holder.pid)
        # The time of birth shifts when the computer's clock is set, the command line does not.
        same = abs(process.create_time() - holder.created_s) < _SAME_S or tuple(process.cmdline()) == holder.argv
    except psutil.Error:
        return None
    return process if same else None


def prepare(
    config_file: str | Path,
    overrides: Sequence[str] = (),
    grace_s: float = 5.0,
    tell: Callable[[Ended | MadeSafe], object] = lambda _: None,
    clock: Clock | None = None,
) -> Stop:
    """What is to be stopped, from a configuration file of which the section ``rig`` alone is looked at.

    Parameters
    ----------
    config_file : path of a YAML file
    overrides : sequence of ``"rig.key=value"``
    grace_s, tell
        As of :class:`Stop`.

    Raises
    ------
    ConfigError
        If the section ``rig`` has an error.
    """
    loaded = configuration.load(config_file, RigAlone, overrides)
    rig: Rig = registered("rigs", loaded.value.rig)(loaded.value.rig, clock or RealClock())
    return Stop(rig, loaded.source, grace_s, tell)
