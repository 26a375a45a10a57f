"""Metasurfaces that a manufacturer's library controls, a DLL or a Python package: no bytes, no link.

A driver for one is a subclass that names its elements, its library and how to load it; what stands between it and the
library has the five calls of :class:`SurfaceLibrary`. ``vendor_example.py`` is such a driver, complete, to be copied;
docs/how-to/vendor-library.md goes through it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labtrain.clock import Clock
from labtrain.drivers.address import SIM
from labtrain.drivers.metasurface.library_calls import Hanging, LibraryCalls
from labtrain.drivers.metasurface.metasurface import Metasurface, MetasurfaceConfig, States
from labtrain.drivers.trace import Trace
from labtrain.errors import InputError, InstrumentError, LabtrainError, LinkClosed, LinkTimeout, MissingExtra

T = TypeVar("T")

EMULATOR = "EMULATOR"
"""In the identity of every stand-in for a library, and of nothing else."""


class SurfaceLibrary(Protocol):
    """A manufacturer's library as labtrain calls it: always from one thread, one call after the other.

    What goes wrong is raised, as whatever exception the library has; its text becomes part of the error.
    """

    def open(self, address: str) -> None:
        """Connect to the controller at an address of the library's own kind."""

    def close(self) -> None:
        """Let go; called once for each open that did not fail."""

    def identity(self) -> str:
        """Manufacturer, model, serial number: one line."""

    def write(self, elements: NDArray[np.uint8]) -> None:
        """Set all elements, (rows * columns,) row by row, and come back when they are set."""

    def read(self) -> ArrayLike | None:
        """States of all elements as the controller has them, or None where it does not tell."""


class VendorConfig(MetasurfaceConfig):
    """Keys that every metasurface behind a library has."""


class VendorMetasurface(Metasurface):
    """A programmable surface behind a manufacturer's library.

    Parameters
    ----------
    who : str
        Section in the configuration.
    load : callable
        Loads the library, when the surface is opened.
    config : VendorConfig
        The driver's own nested ``Config``.
    clock : Clock
    trace : Trace, optional
        Of every call.

    Raises
    ------
    InputError
        If the config asks for more pixels than there are, or for a default pattern that does not fit.
    """

    Config: ClassVar[type[VendorConfig]]

    LIBRARY: ClassVar[str]
    """What people call the library, with an article: ``the Example library``."""

    INSTALL: ClassVar[str]
    """What to do if it is not there, in the imperative."""

    config: VendorConfig

    def __init__(
        self,
        who: str,
        load: Callable[[], SurfaceLibrary],
        config: VendorConfig,
        clock: Clock,
        *,
        trace: Trace | None = None,
    ) -> None:
        super().__init__(config, clock)
        self._who, self._load, self._trace = who, load, trace
        self._calls: LibraryCalls | None = None
        self._library: SurfaceLibrary | None = None
        self._left: LibraryCalls | None = None  # of the last time it was open
        self._hangs_in = ""
        self._arrange()

    @classmethod
    def make(
        cls,
        who: str,
        config: VendorConfig,
        clock: Clock,
        *,
        emulator: Any | None = None,
        trace: Trace | None = None,
    ) -> Self:
        """The driver, unopened, on its library or on what stands in for it.

        Parameters
        ----------
        who : str
            Section in the configuration.
        config : VendorConfig
        clock : Clock
        emulator : SurfaceLibrary, optional
            Is called instead of the library.
        trace : Trace, optional
            Of every call.

        Raises
        ------
        InputError
            If the address is ``sim`` without an emulator.
        """
        if emulator is None and config.address == SIM:
            raise InputError(
                f"rig.{who}.address is 'sim', and there is no emulator here to answer; give an address as "
                f"{cls.LIBRARY} takes it"
            )
        return cls(who, cls.load_library if emulator is None else lambda: emulator, config, clock, trace=trace)

    @property
    def name(self) -> str:
        return f"{self._who} ({self.config.address})"

    @property
    def who(self) -> str:
        return self._who

    @property
    def address(self) -> str:
        return self.config.address

    @property
    def where(self) -> str:
        return f"rig.{self._who}.address"

    @property
    def canonical(self) -> str | None:
        """Of a controller behind this library: none that is reached otherwise is known to be the same one."""
        if self.config.address == SIM:
            return None
        return f"{type(self).__name__}:{self.config.address.strip().lower()}"

    @property
    def is_open(self) -> bool:
        return self._library is not None

    @property
    def emulated(self) -> bool:
        """Whether its identity has the word EMULATOR in it."""
        return EMULATOR in self.identity

    def open(self) -> None:
        if self.is_open:
            return
        self._forget()
        if self._left is not None and not self._left.ended(self.config.open_timeout_s):
            raise LinkTimeout(
                f"{self.name}: {self.LIBRARY} still hangs in {self._hangs_in}, and whatever comes of that would meet "
                "what comes next; restart the controller, then this program"
            )
        self._hangs_in = ""
        self._calls = LibraryCalls(f"labtrain {self._who}")
        try:
            library = self._call("loading", self._loaded, self.config.open_timeout_s)
            self._open_library(library)
            identity = str(self._call("identity", library.identity)).strip()
            if not self.fits(identity):
                raise InstrumentError(
                    f"{self.name}: {self.LIBRARY} found {identity!r}, needs {self.MODELS_TOLD}; correct {self.where}"
                )
            self.identity = identity
        except BaseException:
            self.drop()
            raise

    def reach(self) -> None:
        self.open()

    def close(self) -> None:
        self.drop()

    def drop(self) -> None:
        library, self._library = self._library, None
        if self._calls is not None:
            self._calls.stop(library.close if library is not None else None)
            if not self._hangs_in and not self._calls.ended(self.config.timeout_s):
                self._hangs_in = "close"
            self._left, self._calls = self._calls, None

    def settings(self) -> dict[str, Any]:
        return {}

    # -- what a driver fills -------------------------------------------------------------------------------------

    @classmethod
    @abstractmethod
    def load_library(cls) -> SurfaceLibrary:
        """Load the real library; ImportError or OSError says that it is not there."""

    # -- inside --------------------------------------------------------------------------------------------------

    def _loaded(self) -> SurfaceLibrary:
        try:
            return self._load()
        except (ImportError, OSError) as error:
            raise MissingExtra(
                f"{self.name}: {self.LIBRARY} cannot be loaded ({_first_line(error)}); {self.INSTALL}"
            ) from error

    def _open_library(self, library: SurfaceLibrary) -> None:
        try:
            self._call("open", lambda: library.open(self.config.address), self.config.open_timeout_s)
        except LinkTimeout:
            self._library = library  # if it opens after all, it is closed
            raise
        self._library = library

    def _write(self, elements: States) -> None:
        library = self._opened()
        self._call("write", lambda: library.write(elements.astype(np.uint8)))

    def _read(self) -> States:
        found = self._call("read", self._opened().read)
        states = np.asarray([] if found is None else found)
        if states.shape != (self.shape[0] * self.shape[1],) or not np.issubdtype(states.dtype, np.integer):
            raise InstrumentError(
                f"{self.name}: read of {self.LIBRARY} gave {_shown(found)}, needs whole numbers for "
                f"{self.shape[0] * self.shape[1]} elements; set rig.{self.who}.verify: never, or correct the driver"
            )
        return states.astype(np.int64)

    def _opened(self) -> SurfaceLibrary:
        if self._library is None:
            raise LinkClosed(f"{self.name}: is not open")
        return self._library

    def _call(self, what: str, do: Callable[[], T], timeout_s: float | None = None) -> T:
        """Call the library within a deadline; whatever it raises as one sentence."""
        assert self._calls is not None
        if self._hangs_in:
            raise LinkClosed(f"{self.name}: {self.LIBRARY} still hangs in {self._hangs_in}; open it again")
        if self._trace is not None:
            self._trace.note(self._who, ">", what.encode())
        timeout_s = timeout_s or self.config.timeout_s
        try:
            return self._calls.run(do, timeout_s)
        except Hanging:
            self._hangs_in = what
            raise LinkTimeout(
                f"{self.name}: {self.LIBRARY} has not come back from {what} within {timeout_s:g} s; restart the "
                f"controller, or raise rig.{self._who}.timeout_s"
            ) from None
        except LabtrainError:
            raise
        except Exception as error:  # whatever a library raises
            raise InstrumentError(
                f"{self.name}: {self.LIBRARY} failed in {what} ({type(error).__name__}: {_first_line(error)}); check "
                f"the controller and {self.where}"
            ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def _shown(found: object) -> str:
    shape = getattr(found, "shape", None)
    return f"an array {shape}" if shape is not None else repr(found)[:60]
