"""Base of every rig: instruments composed into layers, with one owner and a safe way out."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from pydantic import Field

from labtrain.clock import Clock
from labtrain.config import Section
from labtrain.drivers.emulators.emulator import Emulator
from labtrain.drivers.instrument import Instrument
from labtrain.errors import InstrumentError
from labtrain.layer import Array, Layer, Shots, Wrapper


class RigConfig(Section):
    """Keys that every rig's Config has."""

    repeats: int = Field(1, ge=1, description="shots averaged for each drive; each costs its time")


class Rig(ABC):
    """Instruments, and the layers they make.

    The constructor stores; :meth:`open` does the first input or output. Use a rig as a context manager: every exit,
    also one by exception or Ctrl-C, runs :meth:`safe`, then :meth:`close`. The thread that opened a rig owns it.

    A subclass has a nested ``Config``, whose ``type`` is the name it is registered under; its :meth:`open` ends with
    an assignment to :attr:`layers`.

    Parameters
    ----------
    config : RigConfig
        The rig's own ``Config``.
    clock : Clock
        The only source of time and the only way to wait.
    """

    Config: ClassVar[type[RigConfig]]

    instruments: dict[str, Instrument]
    """Instruments by the name of their section, in the order in which they are opened; made safe in reverse."""

    trace_io: Path | None
    """File for a trace of every byte to and from the instruments; to be set before :meth:`open`."""

    def __init__(self, config: RigConfig, clock: Clock) -> None:
        self.config = config
        self.clock = clock
        self.instruments: dict[str, Instrument] = {}
        self.trace_io: Path | None = None
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
        self._owner = threading.current_thread()
        self._layers = tuple(_Owned(layer, self) for layer in layers)

    @abstractmethod
    def open(self) -> None:
        """Connect to the instruments and set the layers.

        Raises
        ------
        InstrumentError
            If an instrument refuses; :meth:`safe` and :meth:`close` are then still to be called, as ``with`` does.
        """

    def close(self) -> None:
        """Let go of the instruments; closing a closed rig does nothing."""
        self._owner = None
        self._layers = ()

    def safe(self) -> None:  # noqa: B027 (a rig that emits nothing is safe already)
        """Bring everything that emits energy to its safe state; may be called at any time."""

    def __enter__(self) -> Self:
        try:
            self.open()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        try:
            self.safe()
        finally:
            self.close()

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

    def commission(self) -> dict[str, Any]:
        """Measure once, before a run, what stays fixed for all of it; JSON-compatible, kept with the run.

        The rig is ready to measure afterwards, as after :meth:`adopt` of the same values.
        """
        return {}

    def adopt(self, commissioned: dict[str, Any]) -> None:  # noqa: B027 (a rig without commissioning has nothing to adopt)
        """Take what :meth:`commission` measured when the run began, instead of measuring it again."""

    def restart(self, seed: int) -> None:  # noqa: ARG002 (hardware has no seed)
        """A new trial begins: simulated worlds restart shot number, noise and drift with this seed."""
        self.check_owner()

    @abstractmethod
    def provenance(self) -> dict[str, Any]:
        """JSON-compatible: each instrument marked real, emulated or simulated, and what identifies it."""

    def environment(self) -> dict[str, float]:
        """Readings to log with the shots, units in the names."""
        return {}


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
