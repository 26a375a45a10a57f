"""Device, what a rig opens, locks, makes safe and closes, whatever carries its signals: bytes, samples or images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Any, ClassVar, Self

from pydantic import Field

from labtrain.clock import Clock
from labtrain.config import Section


class DeviceConfig(Section):
    """Keys that every driver's Config has; each declares its own ``driver`` as a Literal."""

    timeout_s: float = Field(
        5.0, gt=0, le=3600, description="longest silence within an answer, beyond what a sweep takes"
    )
    open_timeout_s: float = Field(5.0, gt=0, le=3600, description="deadline for opening the address")


class Device(ABC):
    """One device. The constructor stores; :meth:`open` does the first input or output.

    Attributes
    ----------
    config : DeviceConfig
        The driver's own nested ``Config``.
    clock : Clock
    identity : str
        Who answered when it was opened; empty before.
    """

    Config: ClassVar[type[DeviceConfig]]

    EMULATOR: ClassVar[str] = ""
    """What stands in for the device at ``sim``, as ``module:attribute``; empty if nothing does."""

    MODELS_TOLD: ClassVar[str]
    """Instruments it is for, as people call them: ``Keysight PNA, PNA-L and PNA-X (N52xx)``."""

    TRIED_ON: ClassVar[str]
    """What it has really met: ``emulator`` alone, or which hardware."""

    EXTRA: ClassVar[str] = ""
    """Extra that it needs: ``daq`` for ``pip install "labtrain[daq]"``; empty if its package brings all it needs."""

    by_hand: ClassVar[str] = "switch it off by hand"
    """What a person can do when :meth:`safe` fails; ends the error's sentence."""

    def __init__(self, config: DeviceConfig, clock: Clock) -> None:
        self.config, self.clock = config, clock
        self.identity = ""

    def __enter__(self) -> Self:
        try:
            self.open()
        except BaseException:
            self.drop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.safe()
        finally:
            self.close()

    @classmethod
    def fits(cls, identity: str) -> bool:  # noqa: ARG003 (for those that can tell)
        """Whether an instrument that says this of itself is one that the driver is for."""
        return False

    @classmethod
    def emulator_options(cls, config: Any) -> dict[str, Any]:  # noqa: ARG003 (for those that come in sizes)
        """Keyword arguments with which the emulator becomes the device that this config, the driver's own, is for."""
        return {}

    # -- what every driver has -----------------------------------------------------------------------------------

    @property
    @abstractmethod
    def name(self) -> str:
        """For errors: ``vna (tcp://10.0.0.5:5025)``."""

    @property
    @abstractmethod
    def who(self) -> str:
        """Its section in the configuration: ``vna``."""

    @property
    @abstractmethod
    def address(self) -> str:
        """Where it is, as configured."""

    @property
    @abstractmethod
    def where(self) -> str:
        """Where that is configured: ``rig.vna.address``."""

    @property
    @abstractmethod
    def canonical(self) -> str | None:
        """One spelling for all ways to write the address, for locks; None where nothing real is behind it.

        Raises
        ------
        InputError
            If the address has an unknown form.
        """

    @property
    @abstractmethod
    def is_open(self) -> bool:
        """Whether somebody is connected."""

    @property
    @abstractmethod
    def emulated(self) -> bool:
        """Whether the device says of itself that it is an emulator."""

    @abstractmethod
    def open(self) -> None:
        """Connect, check that the right device answers, and note the settings found.

        Raises
        ------
        LinkRefused
            If nothing opens at the address.
        InstrumentError
            If another device answers than this driver is for.
        """

    @abstractmethod
    def reach(self) -> None:
        """Connect and check that the right device answers; no setting is read or changed, nothing it sent is trusted.

        Whoever had it before may have stopped in the middle of something: this is for making it safe.
        """

    @abstractmethod
    def safe(self) -> None:
        """Bring the device to its safe state: nothing radiates, nothing moves. May be called at any time."""

    @abstractmethod
    def close(self) -> None:
        """Put back the settings found, but nothing that emits energy, and let go; may be called twice.

        Raises
        ------
        InstrumentError
            If the settings could not be put back; the device is let go of all the same.
        """

    @abstractmethod
    def drop(self) -> None:
        """Let go at once; nothing is put back."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """All settings worth keeping, JSON-compatible."""
