"""Instrument, the base of every driver on a Link, and Command, a setting of an instrument in one statement.

    if_bandwidth_hz = Command("IF bandwidth", get="SENS1:BAND?", set="SENS1:BAND {}", unit="Hz", limits="if_bandwidths")

reads and writes like an attribute; what is written is checked against the limits before a byte leaves.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar, overload

from pydantic import Field

from labtrain.clock import Clock
from labtrain.drivers.address import SIM, make_link, parse_address
from labtrain.drivers.device import Device, DeviceConfig
from labtrain.drivers.emulators.emulator import Emulator
from labtrain.drivers.link import Link
from labtrain.drivers.trace import Trace
from labtrain.errors import InputError, InstrumentError, LinkTimeout
from labtrain.limits import Limit

T = TypeVar("T")


class InstrumentConfig(DeviceConfig):
    """Keys of every driver that speaks through a Link."""

    address: str = Field(SIM, min_length=1, description="sim, tcp://host:port, a serial port or URL, a VISA resource")
    visa: str = Field("@py", description="VISA library for VISA resources: @py: pyvisa-py; @ivi: the system's")
    identity: Literal["any"] | None = Field(None, description="any: accept whatever instrument answers")


class Command(Generic[T]):
    """A setting: how to ask for it, how to set it, what is allowed. Use as a class attribute of an Instrument.

    Parameters
    ----------
    what : str
        What it is, as errors and documentation name it: ``IF bandwidth``.
    get : str, optional
        Question; without it the setting is write-only.
    set : str, optional
        Order with ``{}`` for the value; without it the setting is read-only.
    cast : callable
        From the answer to the value.
    limits : Limit or name of an attribute that holds one, optional
    choices : tuple, optional
        All allowed values.
    unit : str
    doc : str
        More to know: what the manual says, where.
    kept : bool
        Whether settings() reads it and restore() writes it back. Never for a setting that switches energy on.
    key : str, optional
        Key in the instrument's config that sets it, for remedies; default: the attribute's own name.
    """

    def __init__(
        self,
        what: str,
        get: str | None = None,
        set: str | None = None,
        *,
        cast: Callable[[str], T] = float,  # type: ignore[assignment]
        limits: Limit | str | None = None,
        choices: tuple[T, ...] | None = None,
        unit: str = "",
        doc: str = "",
        kept: bool = True,
        key: str | None = None,
    ) -> None:
        self.what, self.get, self.set, self.cast = what, get, set, cast
        self.limits, self.choices, self.unit, self.kept, self.key = limits, choices, unit, kept, key
        self.name = ""
        self.__doc__ = f"{what}{f' in {unit}' if unit else ''}.{' ' if doc else ''}{doc}"

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instrument: None, owner: type) -> Command[T]: ...
    @overload
    def __get__(self, instrument: Instrument, owner: type) -> T: ...
    def __get__(self, instrument: Instrument | None, owner: type) -> Command[T] | T:
        if instrument is None:
            return self
        if self.get is None:
            raise InstrumentError(f"{instrument.name}: the {self.what} can be set but not read")
        answer = instrument.ask(self.get)
        try:
            return self.cast(answer)
        except ValueError:
            raise instrument.confused(self.get, answer, f"the {self.what}") from None

    def __set__(self, instrument: Instrument, value: T) -> None:
        self.write(instrument, self.checked(instrument, value))

    def write(self, instrument: Instrument, value: T) -> None:
        """Set without a look at the limits: for a value that the instrument itself gave."""
        if self.set is None:
            raise InstrumentError(f"{instrument.name}: the {self.what} can be read but not set")
        instrument.tell(self.set.format(written(value)))

    def limits_of(self, instrument: Instrument) -> Limit | None:
        """The limits as they hold for this instrument."""
        found = getattr(instrument, self.limits) if isinstance(self.limits, str) else self.limits
        return found if found is None else Limit(found.low, found.high, found.unit or self.unit)

    def checked(self, instrument: Instrument, value: T) -> T:
        """Return the value, or raise InputError naming instrument, value, what is allowed and the key to set."""
        remedy = f"set rig.{instrument.link.who}.{self.key or self.name}"
        limits = self.limits_of(instrument)
        if limits is not None:
            limits.check(float(value), who=instrument.name, what=self.what, remedy=remedy)  # type: ignore[arg-type]
        if self.choices is not None and value not in self.choices:
            allowed = ", ".join(map(str, self.choices))
            raise InputError(f"{instrument.name}: asked {self.what} {value}, allowed {allowed}; {remedy}")
        return value


def written(value: Any) -> str:
    """A value as instruments read it: 1 and 0 for True and False, numbers as short as they can be told exactly."""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(float(value))
    return str(value)


class Instrument(Device):
    """One instrument behind one link.

    Parameters
    ----------
    link : Link
    config : InstrumentConfig
        The driver's own nested ``Config``.
    clock : Clock
    """

    Config: ClassVar[type[InstrumentConfig]]

    config: InstrumentConfig

    serial: ClassVar[bool] = False
    """Whether it is reached through a serial port; an emulator for other programs then stands behind one too."""

    USB_IDS: ClassVar[tuple[tuple[int, int], ...]] = ()
    """Vendor and product id of its USB serial port, where it has some of its own, not those of a common converter."""

    baud: ClassVar[int] = 115_200
    """Of the serial port."""

    def __init__(self, link: Link, config: InstrumentConfig, clock: Clock) -> None:
        super().__init__(config, clock)
        self.link = link
        self._before: dict[str, Any] = {}
        link.synchronise = self._synchronise

    @classmethod
    def make(
        cls,
        who: str,
        config: InstrumentConfig,
        clock: Clock,
        *,
        emulator: Emulator | None = None,
        trace: Trace | None = None,
    ) -> Self:
        """The driver on a link of its own, unopened.

        Parameters
        ----------
        who : str
            Section in the configuration.
        config : InstrumentConfig
        clock : Clock
        emulator : Emulator, optional
            Answers instead of whatever the address says.
        trace : Trace, optional
            Of every byte.

        Raises
        ------
        InputError
            If the form of the address is unknown, or it is ``sim`` without an emulator.
        """
        baud, framing = cls.serial_line(config)
        link = make_link(
            who,
            config.address if emulator is None else SIM,
            clock,
            emulator=emulator,
            visa=config.visa,
            baud=baud,
            framing=framing,
            timeout_s=config.timeout_s,
            open_timeout_s=config.open_timeout_s,
            trace=trace,
        )
        return cls(link, config, clock)

    @classmethod
    def serial_line(cls, config: Any) -> tuple[int, str]:  # noqa: ARG003 (for those that can be set)
        """Baud rate and framing of the serial port that this config, the driver's own, is for."""
        return cls.baud, "8N1"

    @property
    def name(self) -> str:
        return self.link.name

    @property
    def who(self) -> str:
        return self.link.who

    @property
    def address(self) -> str:
        return self.config.address

    @property
    def where(self) -> str:
        return self.link.where

    @property
    def canonical(self) -> str | None:
        found = parse_address(self.config.address, self.where)
        return found.canonical if found.real else None

    @property
    def is_open(self) -> bool:
        return self.link.is_open

    def open(self) -> None:
        self.link.open()
        self.verify()
        self._prepare()
        if not self._before:  # opened again in a recovery, the settings to go back to are still the first ones
            self._before = self.settings()

    def verify(self) -> None:
        """Check that the right instrument answers, and note who it is; no setting is read or changed.

        Raises
        ------
        InstrumentError
            If another instrument answers than this driver is for; `identity` stays as it was.
        """
        identity = self._identify()
        if self.config.identity != "any":
            self._check_identity(identity)
        self.identity = identity

    def reach(self) -> None:
        self.link.open()
        self.link.dirty = True
        self.verify()

    def drop(self) -> None:
        self.link.close()

    def close(self) -> None:
        try:
            if self.link.is_open and self._before:
                self.restore(self._before)
        finally:
            self._before = {}
            self.link.close()

    @classmethod
    def commands(cls) -> dict[str, Command[Any]]:
        """All declared commands, by attribute name."""
        return {name: value for c in reversed(cls.__mro__) for name, value in vars(c).items() if type(value) is Command}

    def settings(self) -> dict[str, Any]:
        return {n: getattr(self, n) for n, c in self.commands().items() if c.kept and c.get is not None}

    def restore(self, settings: dict[str, Any]) -> None:
        """Write settings that :meth:`settings` gave, in the order in which the commands are declared.

        Limits are not looked at: what was found may lie outside the user's own, and must go back all the same.
        """
        for name, command in self.commands().items():
            if command.kept and command.set is not None and name in settings:
                command.write(self, settings[name])

    def confused(self, asked: object, got: object, wanted: str) -> InstrumentError:
        """The error for an answer that makes no sense; the link is dirty from here on."""
        self.link.dirty = True
        return InstrumentError(
            f"{self.name}: asked {asked!r} for {wanted}, got {got!r}; check that the driver fits the instrument"
            f"{self.let_pass}"
        )

    @property
    def let_pass(self) -> str:
        """Ends the error of an instrument that this driver is not for, and that ``identity: any`` let pass."""
        if self.config.identity != "any" or not self.identity:
            return ""
        try:
            self._check_identity(self.identity)
        except InstrumentError:
            driver = self.Config.model_fields["driver"].default
            return f"; driver {driver} is not for {self.identity!r}, which rig.{self.link.who}.identity: any let pass"
        return ""

    def _prepare(self) -> None:
        """First words after the identity is known to be right, before the settings are read."""

    def unanswered(self, asked: str, error: LinkTimeout) -> LinkTimeout:
        """The same error as a sentence that says what was asked and what to do."""
        told = str(error).removeprefix(f"{self.name}: ")
        return LinkTimeout(
            f"{self.name}: asked {asked!r}, {told}; check {self.link.where} and that it is ready, "
            f"or raise rig.{self.link.who}.timeout_s{self.let_pass}"
        )

    # -- what a driver fills -------------------------------------------------------------------------------------

    @abstractmethod
    def ask(self, question: str) -> str:
        """Send a question and return the answer, without the terminators."""

    @abstractmethod
    def tell(self, order: str) -> None:
        """Send an order; where the protocol acknowledges orders, wait for that."""

    @abstractmethod
    def _identify(self) -> str:
        """Ask the instrument who it is."""

    @abstractmethod
    def _check_identity(self, identity: str) -> None:
        """Raise InstrumentError, saying what was expected, unless this driver is for that instrument."""

    @abstractmethod
    def _synchronise(self) -> None:
        """The fence: ask something whose answer nothing under way can be mistaken for, and read until it comes."""
