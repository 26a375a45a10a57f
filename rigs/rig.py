"""Base of every rig: instruments composed into layers, with one owner and a safe way out."""

from __future__ import annotations

import atexit
import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from labtrain.clock import Clock
from labtrain.drivers.device import Device
from labtrain.drivers.emulators.emulator import Emulator
from labtrain.drivers.emulators.sound import SoundRoom
from labtrain.drivers.trace import Trace
from labtrain.errors import InputError, InstrumentError
from labtrain.layer import Array, Layer, Shots, ShotSink, Wrapper
from labtrain.registry import resolve
from labtrain.rigs.power import RigPower
from labtrain.rigs.rack import Rack
from labtrain.rigs.rig_config import RigConfig
from labtrain.safety import Failure, Guard, NotMadeSafe, signals_held
from labtrain.sim.disturbances import Known, checked

__all__ = ["Rig", "RigConfig"]

log = logging.getLogger("labtrain")


class Rig(ABC):
    """Instruments, and the layers they make.

    The constructor stores; :meth:`open` does the first input or output. Use a rig as a context manager: every exit,
    also one by exception, Ctrl-C or SIGTERM, makes everything safe and then closes it. The thread that opened a rig
    owns it; the instruments it talks to are its process's alone.

    A subclass has a nested ``Config``, whose ``type`` is the name it is registered under. Its :meth:`build_instruments`
    makes the drivers; its :meth:`open` begins with :meth:`open_instruments` and ends with an assignment to
    :attr:`layers`. One that overrides :meth:`safe` or :meth:`close` calls these too.

    Parameters
    ----------
    config : RigConfig
        The rig's own ``Config``.
    clock : Clock
        The only source of time and the only way to wait.
    """

    Config: ClassVar[type[RigConfig]]

    instruments: dict[str, Device]
    """Instruments by the name of their section, in the order in which they are opened; made safe in reverse."""

    trace_io: Path | None
    """File for a trace of every byte to and from the instruments; to be set before :meth:`open`."""

    config_file: Path | None
    """File the config came from, for errors; to be set before :meth:`open`."""

    ask: Callable[[str], bool] | None
    """Asks whoever stands at the rig a question that is answered with yes or no; None: nobody does."""

    check: Callable[[], object]
    """Raises if somebody wants to stop; a rig in trouble asks before it measures a shot again."""

    def __init__(self, config: RigConfig, clock: Clock) -> None:
        self.config = config
        self.ask = None
        self.check = lambda: None
        self.clock = clock
        self.instruments: dict[str, Device] = {}
        self.trace_io: Path | None = None
        self.config_file: Path | None = None
        self._trace: Trace | None = None
        self._rack: Rack | None = None
        self._power: RigPower | None = None
        self._guard = Guard()
        self._left = False
        self._owner: threading.Thread | None = None
        self._layers: tuple[Layer, ...] = ()

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The rig's layers, in the order in which a network uses them.

        Raises
        ------
        InstrumentError
            If the rig is not open, or another thread opened it; so does every use of a layer.
        """
        self.check_owner()
        return self._layers

    @layers.setter
    def layers(self, layers: tuple[Layer, ...]) -> None:
        if self.config.power_meter is not None and self._power is None:
            raise InputError("rig.power_meter: this rig has no instruments that would draw power; leave it out")
        if self.config.watts is not None and not all(layer.info.seconds_per_shot > 0 for layer in layers):
            raise InputError("rig.watts: this rig states no time per shot, so its joules are not known; leave it out")
        self._owner = threading.current_thread()
        self._layers = tuple(_Owned(layer, self) for layer in layers)

    @abstractmethod
    def open(self) -> None:
        """Connect to the instruments and set the layers.

        Raises
        ------
        InstrumentError
            If an instrument refuses; :meth:`close` is then still to be called, as ``with`` does.
        """

    def build_instruments(self) -> dict[str, Device]:
        """New drivers on their links, by the names of their sections, in the order in which they are to be opened.

        No input or output: they may also be wanted to be made safe alone.
        """
        return {}

    def open_instruments(self) -> None:
        """Build the instruments, lock those that are real, and open them in order: the first byte leaves here.

        Raises
        ------
        InstrumentError
            If an instrument is in use, refuses, or is not the one its driver is for.
        InputError
            If two instruments have the same address.
        """
        self.instruments = self.build_instruments()
        everything = dict(self.instruments)
        if (section := self.config.power_meter) is not None:
            # Each driver declares its name as a Literal of its own.
            driver = resolve("drivers", getattr(section, "driver"))  # noqa: B009
            meter = driver.make("power_meter", section, self.clock, trace=self._trace)
            self._power, everything = RigPower(meter, self.clock), {"power_meter": meter, **everything}
        self._rack = Rack(everything, self.clock, self.config_file)
        atexit.register(self.close)  # for whoever opens a rig without a with statement and never closes it
        self._rack.open()

    def serve(self, run: Path) -> None:
        """Let other processes know which run folder this rig measures for."""
        if self._rack is not None:
            self._rack.serve(run)

    def safe(self) -> None:
        """Bring everything that emits energy to its safe state; may be called at any time.

        All instruments that were opened, the last one first, each tried even when another one fails or hangs; one
        that does not answer is tried again over a new connection.

        Raises
        ------
        NotMadeSafe
            Naming each instrument that may still emit, why, and what to do by hand.
        """
        if self._rack is not None:
            self._rack.safe()

    def close(self) -> None:
        """Make safe, put back the settings found and let go of the instruments; closing a closed rig does nothing.

        Raises
        ------
        NotMadeSafe
            As of :meth:`safe`; everything is closed all the same.
        InstrumentError
            If settings could not be put back; everything is safe and closed.
        """
        self._owner = self._power = None
        self._layers = ()
        unsafe: NotMadeSafe | None = None
        try:
            self.safe()
        except NotMadeSafe as error:
            unsafe = error
        except BaseException as error:  # from the safe() of a subclass
            unsafe = NotMadeSafe([Failure.of(type(self).__name__, error)])
            unsafe.__cause__ = error
        rack, self._rack = self._rack, None
        atexit.unregister(self.close)
        try:
            if rack is not None:
                rack.close()
        except InstrumentError as error:
            if unsafe is None:
                raise
            log.error("%s", error)  # what is not safe is told first
        if unsafe is not None:
            raise unsafe

    def __enter__(self) -> Self:
        # Where another guard already looks after signals, this one leaves them to it.
        self._guard = Guard(defers=False, only_defaults=True, exits=(Rig.__exit__.__code__,))
        self._guard.push("rig", self._safe_after_all)
        self._guard.__enter__()
        self._left = False
        try:
            self.open()
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with signals_held():
                try:
                    self._leave(error)
                finally:
                    self._left = True
        finally:
            self._guard.__exit__(kind, error, trace)

    def _safe_after_all(self) -> None:
        if not self._left:  # a signal came before signals were held
            self.safe()

    def _leave(self, error: BaseException | None) -> None:
        try:
            self.close()
        except NotMadeSafe as unsafe:
            raise NotMadeSafe(unsafe.failures, error) from error or unsafe.__cause__
        except InstrumentError as closing:
            if error is None:
                raise
            log.error("%s", closing)  # what ended the run is told first

    def check_owner(self) -> None:
        """Raise InstrumentError unless the rig is open and this thread opened it."""
        name, here = type(self).__name__, threading.current_thread()
        if self._owner is None:
            raise InstrumentError(f"{name} is not open; call open() or use it in a with statement")
        if self._owner is not here:
            raise InstrumentError(
                f"{name} belongs to thread {self._owner.name!r}, which opened it, and was used from thread "
                f"{here.name!r}; use a rig only in the thread that opened it"
            )

    def build_world(self) -> Any:
        """A new simulated world as the config describes it, or None for a rig that has none."""
        return None

    def emulators(self, world: Any) -> dict[str, Emulator]:  # noqa: ARG002 (a rig without instruments has none)
        """Emulators of all instruments in front of one world, by the names of their sections."""
        return {}

    def sound_room(self, world: Any) -> SoundRoom | None:  # noqa: ARG002 (most rigs make no sound)
        """The emulated converter in front of a world, for a rig with speakers and microphones; else None."""
        return None

    @property
    def commissioning_shots(self) -> int:
        """Shots that :meth:`commission` still has to take before the layers can measure; 0: they can."""
        return 0

    def commission(self, sink: ShotSink | None = None) -> dict[str, Any]:  # noqa: ARG002 (nothing to measure, nothing to log)
        """Measure once, before a run, what stays fixed for all of it; JSON-compatible, kept with the run.

        The rig is ready to measure afterwards, as after :meth:`adopt` of the same values.

        Parameters
        ----------
        sink : callable (name, shots, state), optional
            Gets every chunk of shots, as that of labtrain.layer.Recorded does; x are not drives but what varied.
        """
        return {}

    def adopt(self, commissioned: dict[str, Any]) -> None:  # noqa: B027 (a rig without commissioning has nothing to adopt)
        """Take what :meth:`commission` measured when the run began, instead of measuring it again."""

    def restart(self, seed: int) -> None:  # noqa: ARG002 (hardware has no seed)
        """A new trial begins: simulated worlds restart shot number, noise and drift with this seed."""
        self.check_owner()

    @property
    def next_shot(self) -> int:
        """Number of the next shot of the trial in a simulated or emulated world; 0 where none are counted."""
        return 0

    def disturbances(self) -> Known:
        """What can happen to the simulated world of this rig, now that it is open.

        Raises
        ------
        InputError
            If it has none, or the instruments are real.
        """
        self.check_owner()
        return self.config.disturbances()

    def disturb(self, name: str, *, at_shot: int | None = None, **values: Any) -> int:
        """Let something happen to the simulated world, in this process or behind emulators, from a shot on.

        Parameters
        ----------
        name : str
            One of :meth:`disturbances`.
        at_shot : int, optional
            First shot of the trial that it is about, from 0; by default the next one.
        values
            As that disturbance takes them.

        Returns
        -------
        int
            The shot.

        Raises
        ------
        InputError
            For what the world does not know, or where the instruments are real.
        """
        shot = self.next_shot if at_shot is None else at_shot
        kind = getattr(self.config, "type", type(self).__name__)
        self._disturb(shot, name, checked(f"{kind} rig", self.disturbances(), name, values))
        return shot

    def _disturb(self, shot: int, name: str, values: dict[str, Any]) -> None:
        """Tell the world; name and values have been checked against :meth:`disturbances`."""
        raise NotImplementedError(f"{type(self).__name__}: whoever has disturbances tells its world of them")

    @abstractmethod
    def provenance(self) -> dict[str, Any]:
        """JSON-compatible: each instrument marked real, emulated or simulated, and what identifies it."""

    def environment(self) -> dict[str, float]:
        """Readings to log with the shots, units in the names."""
        return {}

    @property
    def power(self) -> RigPower | None:
        """What the rig draws, if a power meter tells."""
        return self._power


class _Owned(Wrapper):
    """A layer that answers only to the thread that opened its rig."""

    def __init__(self, inner: Layer, rig: Rig) -> None:
        super().__init__(inner)
        self._rig = rig

    def _measure(self, x: Array) -> Iterator[Shots]:
        chunks = super()._measure(x)
        while True:
            self._rig.check_owner()
            shots = next(chunks, None)
            if shots is None:
                return
            yield shots

    def restore(self, state: dict[str, Any]) -> None:
        self._rig.check_owner()
        super().restore(state)
