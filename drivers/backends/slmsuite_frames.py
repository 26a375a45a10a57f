"""Modulators and cameras that slmsuite supports, and all that touches an object of slmsuite.

Levels are shown as they are: slmsuite's own conversion from phase to levels, with its sign and its look-up table, is
left out, and so are its averaging, its repetitions and its waiting. What it would clip in silence is asked before.

**Tried on slmsuite's simulated devices alone.** To be checked first on hardware: whether `flush` empties the buffer of
this camera (labtrain commissioning finds out), how long `set_phase` blocks, whether the window of interest moves.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, ClassVar, TypeVar

import numpy as np

from labtrain.clock import Clock
from labtrain.drivers.backends.slmsuite_models import Kind, check_options, ending, find_class, simulated
from labtrain.drivers.frames import Camera, Counts, Frames, Slm
from labtrain.drivers.metasurface.library_calls import Hanging, LibraryCalls
from labtrain.errors import InputError, InstrumentError, LabtrainError, LinkClosed, LinkRefused, LinkTimeout

T = TypeVar("T")

TOP_BITS = 16  # more are no uint16
MARGIN_S = 1.0  # that slmsuite's own timeout may end a wait before ours


class _Object:
    """An object of slmsuite: made, called and closed in a thread of its own, with whatever it raises in one sentence.

    A maker's library may hang, and may want to be called from one thread alone; the rig makes safe from another one.
    """

    def __init__(
        self, kind: Kind, frames: Frames, model: str, options: Mapping[str, Any], open_timeout_s: float
    ) -> None:
        self._kind, self._frames, self._model, self._options = kind, frames, model, dict(options)
        self._open_timeout_s = open_timeout_s
        self._class: type[Any] | None = None
        self._calls: LibraryCalls | None = None
        self._left: LibraryCalls | None = None  # of the last time it was open
        self._hangs_in = ""
        self.made: Any = None

    @property
    def simulated(self) -> bool:
        return self._class is not None and simulated(self._class)

    def check(self) -> None:
        """Find the class and compare the options with what it takes; nothing is opened."""
        section = f"rig.{self._frames.who}"
        self._class = find_class(self._kind, self._model, self._frames.name, f"{section}.model")
        check_options(self._kind, self._class, self._options, self._frames.name, f"{section}.options")

    def make(self) -> Any:
        """The object, which opens the device."""
        self.check()
        assert self._class is not None
        cls, options, name, who = self._class, self._options, self._frames.name, self._frames.who
        if self._left is not None and not self._left.ended(self._frames.timeout_s):
            raise LinkTimeout(
                f"{name}: its library still hangs in {self._hangs_in}; restart the device and the program"
            )
        self._calls, self._hangs_in = LibraryCalls(f"labtrain {who}"), ""
        late: list[Any] = []

        def construct() -> Any:
            late.append(cls(**options))
            return late[0]

        try:
            made = self._calls.run(lambda: _quietly(construct), self._open_timeout_s)
        except Hanging:
            self._hangs_in = "opening"
            self._stop(lambda: late and late[0].close())  # if it opens after all
            raise LinkTimeout(
                f"{name}: {cls.__name__} of slmsuite did not open within {self._open_timeout_s:g} s; check that it is "
                f"switched on and connected, or raise rig.{who}.open_timeout_s"
            ) from None
        except Exception as error:  # a maker's library may raise anything
            self._stop()
            raise LinkRefused(
                f"{name}: {cls.__name__} of slmsuite did not open: {ending(error)}; check that it is switched on and "
                f"connected, that its maker's software is installed, and rig.{who}.options"
            ) from error
        except BaseException:  # whoever waits is interrupted, the library goes on
            self._hangs_in = "opening"
            self._stop(lambda: late and late[0].close())
            raise
        self.made = made
        return made

    def call(self, what: str, act: Callable[[], T], more_s: float = 0.0) -> T:
        """What an act of the object gives, within `timeout_s` and so many seconds more."""
        name, timeout_s = self._frames.name, self._frames.timeout_s + more_s
        if self._hangs_in or self._calls is None:
            raise LinkClosed(f"{name}: its library still hangs in {self._hangs_in or 'closing'}; open it again")
        try:
            return self._calls.run(lambda: _quietly(act), timeout_s)
        except Hanging:
            self._hangs_in = what
            raise LinkTimeout(
                f"{name}: its library has not come back from {what} within {timeout_s:g} s; check its connection, or "
                f"raise rig.{self._frames.who}.timeout_s"
            ) from None
        except LabtrainError:
            raise
        except Exception as error:
            text = ending(error)
            if isinstance(error, TimeoutError) or "timeout" in text.lower() or "timed out" in text.lower():
                raise LinkTimeout(f"{name}: {what} took longer than allowed: {text}; check its connection") from error
            raise LinkClosed(f"{name}: {what} failed, its library says: {text}; check its connection") from error

    def close(self) -> None:
        made, self.made = self.made, None
        if made is None:
            return
        if self._hangs_in:
            self._stop(made.close)
            return
        begun: list[bool] = []

        def close_once() -> None:
            if not begun:
                begun.append(True)
                made.close()

        try:
            self.call("closing", close_once)
        finally:  # one that was not begun, behind a call that hangs, is made up for
            self._stop(close_once)

    def _stop(self, last: Callable[[], object] | None = None) -> None:
        if self._calls is not None:
            self._calls.stop(last)
            self._left, self._calls = self._calls, None

    def identity(self) -> str:
        rows, columns = self._frames.shape
        return f"{type(self.made).__name__} {self.made.name}, {rows} x {columns} pixels of {self.made.bitdepth} bits"


def _quietly(act: Callable[[], T]) -> T:
    """Without warnings of others: what matters of them is asked."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return act()


class _SlmsuiteFrames(Frames):
    """What both have in common.

    Parameters
    ----------
    who, clock, timeout_s
        As of Frames.
    model : str
        As labtrain.drivers.backends.slmsuite_models knows it.
    options : mapping
        Arguments of its class.
    open_timeout_s : float
        Deadline for opening it.
    """

    KIND: ClassVar[Kind]

    def __init__(
        self,
        who: str,
        model: str,
        clock: Clock,
        *,
        options: Mapping[str, Any],
        open_timeout_s: float = 30.0,
        **keys: Any,
    ) -> None:
        super().__init__(who, model, clock, **keys)
        self._object = _Object(self.KIND, self, model, options, open_timeout_s)

    def check(self) -> None:
        """Find the class, and compare the options with its arguments; nothing is opened."""
        self._object.check()

    @property
    def emulated(self) -> bool:
        return self._object.simulated

    def _open(self) -> str:
        made = self._object.make()
        try:
            return self._set_up(made)
        except BaseException:
            with suppress(Exception):
                self._object.close()
            raise

    @abstractmethod
    def _set_up(self, made: Any) -> str:
        """Fill the attributes from slmsuite's object, and return who answers."""

    def _close(self) -> None:
        self._object.close()


class SlmsuiteSlm(_SlmsuiteFrames, Slm):
    """A modulator."""

    KIND = "slm"

    def _set_up(self, made: Any) -> str:
        if not 1 <= made.bitdepth <= TOP_BITS:
            raise InputError(f"{self.name}: its pixels have {made.bitdepth} bits, allowed 1 to {TOP_BITS}")
        self.shape = int(made.shape[0]), int(made.shape[1])
        self.levels = int(made.bitresolution)
        # phase_scaling is the wavelength in use over the one at which all levels make a turn.
        self.radians = 2.0 * np.pi / float(made.phase_scaling) * (self.levels - 1) / self.levels
        return self._object.identity()

    def _show(self, levels: Counts) -> None:
        slm = self._object.made
        # Integers of its own type are shown as they are.
        self._object.call("a pattern", lambda: slm.set_phase(levels.astype(slm.dtype), settle=False))


class SlmsuiteCamera(_SlmsuiteFrames, Camera):
    """A camera.

    Parameters
    ----------
    region : (top, left, rows, columns), optional
        Of its pixels; all by default.
    """

    KIND = "camera"

    def __init__(
        self, who: str, model: str, clock: Clock, *, region: tuple[int, int, int, int] | None = None, **keys: Any
    ) -> None:
        super().__init__(who, model, clock, **keys)
        self._region = region
        self._cut: tuple[slice, slice] = (slice(None), slice(None))

    def _set_up(self, made: Any) -> str:
        if not 1 <= made.bitdepth <= TOP_BITS:
            raise InputError(f"{self.name}: its pixels have {made.bitdepth} bits, allowed 1 to {TOP_BITS}")
        made.capture_attempts = 1  # what is repeated is told
        self.top_count = 2 ** int(made.bitdepth) - 1
        if made.exposure_bounds_s is not None:
            shortest, longest = (float(bound) for bound in made.exposure_bounds_s)
            self.exposure_bounds_s = (shortest, longest)
        self.exposure_s = float(made.exposure_s)
        self.shape = int(made.shape[0]), int(made.shape[1])
        identity = self._object.identity()  # of the whole sensor
        if self._region is not None:
            self._look_at(made, self._region)
        return identity

    def _look_at(self, camera: Any, region: tuple[int, int, int, int]) -> None:
        """Read this region alone; what the camera reads beyond it is cut off."""
        top, left, rows, columns = region
        high, wide = (int(side) for side in camera.sensor_shape)
        if top + rows > high or left + columns > wide:
            raise InputError(
                f"{self.name}: asked region {list(region)} (top, left, rows, columns), its sensor has {high} x {wide} "
                f"pixels; set rig.{self.who}.region"
            )
        try:
            x, w, y, h = self._object.call("its window", lambda: camera.set_woi((left, columns, top, rows)))
        except LinkClosed as error:  # most often it is the numbers that it does not like
            raise InputError(
                f"{self.name}: asked region {list(region)} (top, left, rows, columns), its window refuses "
                f"({ending(error.__cause__ or error)}); many want multiples of 4 or 16: set rig.{self.who}.region"
            ) from error
        if y > top or x > left or y + h < top + rows or x + w < left + columns:
            raise InputError(
                f"{self.name}: asked region {list(region)} (top, left, rows, columns), it reads {[y, x, h, w]}, which "
                f"does not contain it; set rig.{self.who}.region to one that its window can have"
            )
        self._cut = (slice(top - y, top - y + rows), slice(left - x, left - x + columns))
        self.shape = rows, columns

    def _expose(self, exposure_s: float) -> float:
        return float(self._object.call("setting the exposure", lambda: self._object.made.set_exposure(exposure_s)))

    def _frame(self) -> Counts:
        camera = self._object.made
        frame = np.asarray(
            self._object.call(
                "a frame",
                lambda: camera.get_image(self.timeout_s, averaging=False, hdr=False),
                self.exposure_s + MARGIN_S,
            )
        )
        if frame.ndim != 2:
            raise InstrumentError(f"{self.name}: a frame of shape {frame.shape} came, needed (rows, columns)")
        frame = frame[self._cut]
        if frame.shape != self.shape:
            raise InstrumentError(f"{self.name}: a frame of shape {frame.shape} came, needed {self.shape}")
        whole = frame.dtype.kind in "iu" or bool((frame == np.rint(frame)).all())
        if not whole or not (float(frame.min()) >= 0 and float(frame.max()) <= self.top_count):
            raise InstrumentError(
                f"{self.name}: a frame with counts from {frame.min():g} to {frame.max():g} came, needed whole numbers "
                f"from 0 to {self.top_count}; check the number of bits in rig.{self.who}.options"
            )
        return frame.astype(np.uint16)

    def _flush(self) -> None:
        # Where a camera has no way of its own slmsuite reads two frames.
        self._object.call("flushing", self._object.made.flush, 2.0 * self.exposure_s + MARGIN_S)
