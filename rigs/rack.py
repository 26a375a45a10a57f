"""Rack, the instruments of a rig while they are in use: locked against other processes, made safe, let go of."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from labtrain.bounded import Call, in_turn
from labtrain.clock import Clock
from labtrain.drivers.device import Device
from labtrain.errors import InputError, InstrumentError
from labtrain.riglock import InstrumentLock
from labtrain.safety import Failure, NotMadeSafe, told

MARGIN_S = 2.0  # for the answers themselves

log = logging.getLogger("labtrain")


class Rack:
    """Instruments in the order in which they are opened; the last one is made safe and closed first.

    Parameters
    ----------
    instruments : mapping of section name to Device
    clock : Clock
    config_file : Path, optional
        Named in errors.
    """

    def __init__(self, instruments: Mapping[str, Device], clock: Clock, config_file: Path | None = None) -> None:
        self._instruments, self._clock, self._config_file = dict(instruments), clock, config_file
        self._reached: list[Device] = []  # found to be the right ones, in the order in which they were opened
        self._unsafe: list[Device] = []
        self._locks: list[InstrumentLock] = []
        self._held = ExitStack()

    def open(self) -> None:
        """Lock all instruments, then open them.

        Raises
        ------
        InstrumentError, InputError
        """
        self._locks = locks(self._instruments, self._clock, self._config_file)
        for lock in self._locks:
            self._held.enter_context(lock)
        for instrument in self._instruments.values():
            try:
                instrument.open()
            except BaseException:
                if instrument.identity:  # the right one, but something went wrong after it had said so
                    self._reached.append(instrument)
                raise
            self._reached.append(instrument)

    def serve(self, run: Path) -> None:
        """Let other processes know which run the instruments measure for."""
        for lock in self._locks:
            lock.serve(run)

    def safe(self) -> None:
        """Make every instrument that was reached safe.

        Raises
        ------
        NotMadeSafe
        """
        order = self._reached[::-1]
        ends = in_turn(patient(order, make_safe))
        failed = [(instrument, end) for instrument, end in zip(order, ends, strict=True) if end is not None]
        self._unsafe = [instrument for instrument, _ in failed]
        if done := [instrument.name for instrument in order if instrument not in self._unsafe]:
            log.info("made safe: %s", ", ".join(done))
        if failed:
            failures = [Failure.of(instrument.name, end, instrument.by_hand) for instrument, end in failed]
            raise NotMadeSafe(failures) from failed[0][1]

    def close(self) -> None:
        """Put back the settings found, close all links, free the locks.

        Raises
        ------
        InstrumentError
            Naming each instrument whose settings were not put back; one that could not be made safe is not asked.
        """
        order = list(self._instruments.values())[::-1]
        ends = in_turn(patient(order, self._let_go))
        self._held.close()
        failed = [
            Failure.of(instrument.name, end, "check its settings before it is used again")
            for instrument, end in zip(order, ends, strict=True)
            if end is not None and instrument not in self._unsafe
        ]
        if failed:
            raise InstrumentError(f"settings not put back as found: {told(failed)}")

    def _let_go(self, instrument: Device) -> None:
        if instrument in self._unsafe:
            instrument.drop()
        else:
            instrument.close()


def locks(instruments: Mapping[str, Device], clock: Clock, config_file: Path | None = None) -> list[InstrumentLock]:
    """A lock for each instrument that is not simulated, none taken yet.

    Raises
    ------
    InputError
        If two instruments have one address.
    """
    found: dict[str, str] = {}
    made = []
    for section, instrument in instruments.items():
        canonical = instrument.canonical
        if canonical is None:
            continue
        same = found.setdefault(canonical, section)
        if same != section:
            raise InputError(
                f"{instrument.name}: {same} has the same address; set {instrument.where} to that of the {section}"
            )
        made.append(InstrumentLock(section, instrument.address, clock, canonical=canonical, config_file=config_file))
    return made


def make_safe(instrument: Device) -> None:
    """Make an instrument safe; if it does not answer, or not in step, once more over a new connection."""
    if instrument.is_open:
        try:
            instrument.safe()
        except Exception as error:  # whatever went wrong: what counts is that it ends safe
            log.info("%s: not safe at the first try (%s), opening it again", instrument.name, error)
        else:
            return
        instrument.drop()
    reach_and_make_safe(instrument)


def reach_and_make_safe(instrument: Device) -> None:
    """Connect, check that the right instrument answers, and make it safe; no setting is read or changed before."""
    instrument.reach()
    instrument.safe()


def patient(order: Iterable[Device], do: Callable[[Device], object]) -> list[Call]:
    """Something to be done to each instrument, with time for a connection to prove dead and for a new one."""
    return [Call(i.name, partial(do, i), i.config.timeout_s + i.config.open_timeout_s + MARGIN_S) for i in order]
