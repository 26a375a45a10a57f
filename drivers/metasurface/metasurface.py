"""Metasurface, the face of every programmable surface: pixels with states, written and read back as one pattern.

Most stand behind a :class:`Link`: those are a :class:`LinkedMetasurface`. What a manufacturer's library controls is a
:class:`~labtrain.drivers.metasurface.vendor.VendorMetasurface`.

A surface has elements; what a network drives are *pixels*: single elements, or blocks of neighbours that switch
together (``group``). Pixels are numbered row by row from the top left, as seen from the front; the first ``n_pixels``
of them are used, and every other element is held in state 0.

Some controllers store patterns and show them by number, which is quicker than sending each one anew: a *sequence*.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from labtrain.clock import Clock
from labtrain.drivers.address import SIM
from labtrain.drivers.device import Device, DeviceConfig
from labtrain.drivers.instrument import Instrument, InstrumentConfig
from labtrain.drivers.link import Link
from labtrain.errors import InputError, InstrumentError, LinkDesync

States = NDArray[np.int64]

Edge = Annotated[int, Field(ge=1)]


class MetasurfaceConfig(DeviceConfig):
    """Keys that every metasurface has."""

    address: str = Field(SIM, min_length=1, description="sim, or where the controller is")
    n_pixels: int | None = Field(None, ge=1, description="pixels used, the first of all; default: all there are")
    group: tuple[Edge, Edge] = Field((1, 1), description="rows and columns of neighbouring elements that make a pixel")
    default_pattern: tuple[int, ...] | int = Field(0, description="safe state: one for all pixels, or one for each")
    settle_s: float = Field(
        0.0, ge=0, le=3600, description="wait after a pattern was acknowledged, before anything measures"
    )
    verify: Literal["never", "first", "every"] | None = Field(
        None,
        description="read back: never, after the first pattern since opening, after every one; default: first, and "
        "never where the controller cannot be read",
    )


class LinkedMetasurfaceConfig(MetasurfaceConfig, InstrumentConfig):
    """Keys that every metasurface behind a link has."""


class Metasurface(Device):
    """A programmable surface.

    The constructor of a subclass ends with :meth:`_arrange`, which raises InputError if the config asks for more
    pixels than there are, for a default pattern that does not fit, or to read back what cannot be read. What a class
    does not know of its surface the constructor sets before that.
    """

    shape: tuple[int, int]
    """Rows and columns of elements."""

    bits: int
    """Bits of an element: states 0 to 2^bits - 1."""

    can_read: bool = True
    """Whether the controller can be asked for the pattern that it shows."""

    sequence_capacity: int = 0
    """Patterns that the controller stores at most; 0: it stores none."""

    by_hand = "switch its supply off by hand"

    config: MetasurfaceConfig

    def _arrange(self) -> None:
        self._members = self._layout()
        self._default = self._checked(self._spread_default(), "default_pattern")
        if not self.can_read and self.config.verify not in (None, "never"):
            raise InputError(
                f"{self.name}: asked to read back patterns ({self.config.verify}), this controller cannot be read; "
                f"remove rig.{self.who}.verify, or set never"
            )
        self._forget()

    @property
    def n_pixels(self) -> int:
        """Pixels in use."""
        return len(self._members)

    @property
    def reads_back(self) -> Literal["never", "first", "every"]:
        """When patterns are read back, what the config leaves open decided."""
        return self.config.verify or ("first" if self.can_read else "never")

    @property
    def stored(self) -> int:
        """Patterns of the sequence that :meth:`show` can show now."""
        return self._stored

    def set_pattern(self, states: ArrayLike) -> None:
        """Set all pixels and wait until the surface has settled; a stored sequence is given up.

        Parameters
        ----------
        states : (n_pixels,) of whole numbers from 0 to 2^bits - 1

        Raises
        ------
        InputError
            For a pattern that does not fit; nothing has been sent then.
        LinkError
            If it was not acknowledged, or read back differently.
        """
        elements = self.elements(self._checked(states))
        self._stored = 0
        self._write(elements)
        self._shown(elements)

    def set_sequence(self, states: ArrayLike) -> None:
        """Store patterns in the controller, instead of those stored before. What is shown meanwhile is undefined.

        They are kept until a pattern is set in another way, the surface is made safe, or it is opened again.

        Parameters
        ----------
        states : (n, n_pixels) of whole numbers from 0 to 2^bits - 1, n from 1 to `sequence_capacity`

        Raises
        ------
        InputError
            For patterns that do not fit, or more than the controller can store; nothing has been sent then.
        LinkError
            If they were not acknowledged.
        """
        given = np.asarray(states)
        if given.ndim != 2 or not 1 <= len(given) <= self.sequence_capacity:
            raise InputError(self._no_sequence(given))
        checked = [self._checked(pattern, of=f" in pattern {n} of the sequence") for n, pattern in enumerate(given)]
        self._stored = 0
        self._sequence = np.stack([self.elements(pattern) for pattern in checked])
        self._store(self._sequence)
        self._stored = len(self._sequence)

    def show(self, index: int) -> None:
        """Show a pattern of the stored sequence and wait until the surface has settled.

        Parameters
        ----------
        index : int
            From 0.

        Raises
        ------
        InputError
            If no such pattern is stored; nothing has been sent then.
        LinkError
            If it was not acknowledged, or read back differently.
        """
        if not 0 <= index < self._stored:
            there = f"0 to {self._stored - 1} are stored" if self._stored else "none is stored"
            raise InputError(f"{self.name}: asked pattern {index} of the sequence, {there}; call set_sequence() first")
        self._show(index)
        self._shown(self._sequence[index])

    @property
    def pattern(self) -> States:
        """States of the pixels as the controller reports them, (n_pixels,): of each pixel its first element.

        Raises
        ------
        InstrumentError
            If the controller cannot be read.
        """
        if not self.can_read:
            raise InstrumentError(f"{self.name}: this controller does not tell which pattern it shows")
        states: States = self._read()[self._members[:, 0]]
        return states

    def check(self, states: ArrayLike) -> None:
        """Raise LinkDesync unless the controller still shows this pattern, (n_pixels,), as far as it may be asked.

        Without reading back it is only asked whether it is there and has not restarted, where it can tell.

        Raises
        ------
        LinkError
        """
        if self.reads_back == "never":
            self._check_alive()
        elif not np.array_equal(self.pattern, states):
            raise LinkDesync(
                f"{self.name}: lost its pattern while it was measured; check its supply, and that no other program "
                f"uses it ({self.where})"
            )

    def safe(self) -> None:
        """Set the default pattern; a surface that was never opened stays as it is."""
        self._stored = 0
        if self.is_open:
            self._write(self.elements(self._default))

    def sequence_s(self, n: int) -> float:
        """How long storing `n` patterns and showing each of them takes on the real instrument, without settling."""
        return n * self.write_s

    # -- what a driver fills -------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def write_s(self) -> float:
        """How long writing a pattern takes on the real instrument, in seconds, without settling: for plans."""

    @abstractmethod
    def _write(self, elements: States) -> None:
        """Set all elements, (rows * columns,) row by row, and wait for the acknowledgement."""

    @abstractmethod
    def _read(self) -> States:
        """States of all elements, (rows * columns,) row by row; never called unless `can_read`."""

    def _store(self, elements: States) -> None:
        """Store patterns, (n, rows * columns), and wait for the acknowledgement: with a `sequence_capacity` alone."""
        raise NotImplementedError

    def _show(self, index: int) -> None:
        """Show a stored pattern and wait for the acknowledgement: with a `sequence_capacity` alone."""
        raise NotImplementedError

    def _check_alive(self) -> None:
        """Raise LinkError unless the controller answers, still in step and not restarted; without a question: never."""

    # -- inside --------------------------------------------------------------------------------------------------

    def _layout(self) -> NDArray[np.intp]:
        """Elements of each pixel in use, (n_pixels, elements of a pixel)."""
        (rows, columns), (high, wide) = self.shape, self.config.group
        down, across = rows // high, columns // wide
        grid = np.arange(rows * columns).reshape(rows, columns)[: down * high, : across * wide]
        blocks = grid.reshape(down, high, across, wide).swapaxes(1, 2).reshape(down * across, high * wide)
        n_pixels = down * across if self.config.n_pixels is None else self.config.n_pixels
        key = f"rig.{self.who}"
        if not down * across:
            raise InputError(
                f"{self.name}: asked groups of {high} x {wide} elements, the surface has {rows} x {columns}; "
                f"set {key}.group"
            )
        if n_pixels > down * across:
            grouped = "" if (high, wide) == (1, 1) else f" in groups of {high} x {wide}"
            raise InputError(
                f"{self.name}: asked {n_pixels} pixels, there are {down * across} "
                f"({rows} x {columns} elements{grouped}); set {key}.n_pixels"
            )
        return np.asarray(blocks[:n_pixels], dtype=np.intp)

    def _spread_default(self) -> ArrayLike:
        default = self.config.default_pattern
        return np.full(self.n_pixels, default) if isinstance(default, int) else default

    def _forget(self) -> None:
        """It is being opened: nothing has been read back yet, nothing is stored."""
        self._verified = False
        self._stored = 0
        self._sequence = np.empty((0, 0), dtype=np.int64)

    def _shown(self, elements: States) -> None:
        """Read back if asked to, and settle."""
        if self.reads_back == "every" or (self.reads_back == "first" and not self._verified):
            self._compare(elements)
        self.clock.sleep(self.config.settle_s)

    def _no_sequence(self, given: NDArray[Any]) -> str:
        """What is wrong with a sequence as a whole."""
        if not self.sequence_capacity:
            return f"{self.name}: asked to store a sequence, this controller stores none; call set_pattern() instead"
        if given.ndim != 2 or not len(given):
            return (
                f"{self.name}: asked a sequence of the shape {given.shape}, needs (patterns, {self.n_pixels}); "
                f"see rig.{self.who}.n_pixels"
            )
        return (
            f"{self.name}: asked a sequence of {len(given)} patterns, the controller stores up to "
            f"{self.sequence_capacity}; store fewer at a time"
        )

    def _checked(self, states: ArrayLike, key: str = "n_pixels", of: str = "") -> States:
        """The pattern as whole numbers, or one sentence that names what does not fit and the key to look at."""
        given, remedy = np.asarray(states), f"see rig.{self.who}.{key}"
        if given.shape != (self.n_pixels,):
            has = f"{len(given)} states" if given.ndim == 1 else f"the shape {given.shape}"
            raise InputError(
                f"{self.name}: asked a pattern of {has}{of}, needs one for each of {self.n_pixels} pixels; {remedy}"
            )
        if given.dtype == np.bool_ or np.issubdtype(given.dtype, np.number):
            with np.errstate(invalid="ignore"):  # NaN, which differs from whatever it becomes
                whole = given.astype(np.int64)
            bad = (whole != given) | (whole < 0) | (whole >= 1 << self.bits)
        else:
            bad = np.ones(len(given), dtype=np.bool_)
        if bad.any():
            first = int(np.argmax(bad))
            raise InputError(
                f"{self.name}: asked state {given[first].item()!r} of pixel {first}{of}, "
                f"allowed whole numbers 0 to {(1 << self.bits) - 1}; {remedy}"
            )
        return whole

    def elements(self, states: States) -> States:
        """States of all elements for those of the pixels."""
        elements = np.zeros(self.shape[0] * self.shape[1], dtype=np.int64)
        elements[self._members] = states[:, None]
        return elements

    def _distrust(self) -> None:
        """What the controller has said turned out to be wrong."""

    def _compare(self, elements: States) -> None:
        found = self._read()
        differ = np.flatnonzero(found != elements)
        if len(differ):
            self._distrust()
            raise LinkDesync(
                f"{self.name}: read back another pattern than was written, {len(differ)} of {len(elements)} elements "
                f"differ, the first is element {differ[0] + 1} (wrote {elements[differ[0]]}, read {found[differ[0]]}); "
                f"check cable and supply ({self.where})"
            )
        self._verified = True


class LinkedMetasurface(Metasurface, Instrument):
    """A programmable surface behind one link.

    Parameters
    ----------
    link : Link
    config : LinkedMetasurfaceConfig
        The driver's own nested ``Config``.
    clock : Clock

    Raises
    ------
    InputError
        If the config asks for more pixels than there are, or for a default pattern that does not fit.
    """

    config: LinkedMetasurfaceConfig

    def __init__(self, link: Link, config: LinkedMetasurfaceConfig, clock: Clock) -> None:
        Instrument.__init__(self, link, config, clock)
        self._arrange()

    def open(self) -> None:
        self._forget()
        Instrument.open(self)

    def _distrust(self) -> None:
        self.link.dirty = True
