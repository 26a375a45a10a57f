"""Drivers for a manufacturer's library: five calls, each with a deadline, and every failure one sentence."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from labtrain.clock import SimulatedClock
from labtrain.drivers.emulators.metasurface.vendor import ExampleLibraryEmulator
from labtrain.drivers.metasurface.vendor_example import ExampleLibrary, VendorExample
from labtrain.drivers.testing import Pixels
from labtrain.drivers.trace import Trace, read_trace
from labtrain.errors import InputError, InstrumentError, LinkClosed, LinkDesync, LinkTimeout, MissingExtra

ONES = np.ones(256, dtype=np.int64)


class Library(ExampleLibraryEmulator):
    """Fails as a test says, call by call."""

    def __init__(self) -> None:
        self.world = Pixels(256)
        super().__init__(self.world, SimulatedClock())
        self.errors: list[BaseException] = []
        self.gate = threading.Event()
        self.gate.set()
        self.threads: set[str] = set()
        self.opened = 0

    def open(self, address: str) -> None:
        super().open(address)
        self.opened += 1

    def write(self, elements: NDArray[np.uint8]) -> None:
        self.threads.add(threading.current_thread().name)
        self.gate.wait(60)
        if self.errors:
            raise self.errors.pop(0)
        super().write(elements)


@pytest.fixture
def library() -> Iterator[Library]:
    made = Library()
    yield made
    made.gate.set()  # nobody hangs for ever


def surface(library: Any, **config: Any) -> VendorExample:
    made = VendorExample.Config.model_validate(config)
    return VendorExample.make("metasurface", made, SimulatedClock(), emulator=library)


def hurry(opened: VendorExample) -> VendorExample.Config:
    """Deadlines for what is known to hang; what they were before, for what is not, on a machine that is busy."""
    before = opened.config
    opened.config = before.model_copy(update={"timeout_s": 0.05, "open_timeout_s": 0.05})
    return before


def test_patterns_pass_through_the_library(library: Library) -> None:
    states = np.arange(256) % 3 == 0
    with surface(library, verify="every") as opened:
        opened.set_pattern(states)
        assert library.world.pattern.tolist() == opened.pattern.tolist() == states.astype(int).tolist()
        assert opened.emulated and opened.identity == "Example Surface 16x16, serial number EMULATOR"
        opened.check(states)
        library.elements[7] ^= 1
        with pytest.raises(LinkDesync, match="lost its pattern"):
            opened.check(states)
    assert not library.world.pattern.any() and not library.is_open
    assert library.threads == {"labtrain metasurface"}  # one for all calls


def test_what_the_library_raises_is_one_sentence(library: Library) -> None:
    library.errors = [OSError("USB pipe broke.\nmore of it")]
    with surface(library) as opened:
        with pytest.raises(InstrumentError) as caught:
            opened.set_pattern(ONES)
        opened.set_pattern(ONES)
        assert library.world.pattern.all()
    assert str(caught.value) == (
        "metasurface (sim): the Example library failed in write (OSError: USB pipe broke); check the controller and "
        "rig.metasurface.address"
    )


def test_a_library_that_hangs_is_given_up_until_it_comes_back(library: Library) -> None:
    opened = surface(library, timeout_s=60, open_timeout_s=60)
    opened.open()
    library.gate.clear()
    patient = hurry(opened)
    with pytest.raises(LinkTimeout) as caught:
        opened.set_pattern(ONES)
    assert str(caught.value) == (
        "metasurface (sim): the Example library has not come back from write within 0.05 s; restart the controller, or "
        "raise rig.metasurface.timeout_s"
    )
    with pytest.raises(LinkClosed, match="the Example library still hangs in write; open it again"):
        opened.safe()
    opened.drop()
    with pytest.raises(LinkTimeout) as caught:
        opened.open()
    assert str(caught.value) == (
        "metasurface (sim): the Example library still hangs in write, and whatever comes of that would meet what comes "
        "next; restart the controller, then this program"
    )
    assert opened._left is not None
    library.gate.set()
    assert opened._left.ended(60)
    opened.config = patient
    assert not library.is_open  # closed behind what had hung
    with opened:
        opened.set_pattern(1 - ONES)
        assert not library.world.pattern.any() and library.opened == 2


def test_calls_that_nobody_waits_for_any_more_are_not_made(library: Library) -> None:
    opened = surface(library, timeout_s=60, open_timeout_s=60)
    opened.open()
    library.gate.clear()
    hurry(opened)
    with pytest.raises(LinkTimeout):
        opened.set_pattern(ONES)
    assert opened._calls is not None
    with pytest.raises(Exception, match=r"^$"):
        opened._calls.run(lambda: library.threads.add("late"), 0.01)
    calls = opened._calls
    opened.drop()
    library.gate.set()
    assert calls.ended(60) and "late" not in library.threads


def test_another_controller_is_refused_and_let_go_of(library: Library) -> None:
    library.identity = lambda: "Other Surface"  # type: ignore[method-assign]
    opened = surface(library)
    with pytest.raises(InstrumentError, match="the Example library found 'Other Surface', needs"):
        opened.open()
    assert not opened.is_open and not library.is_open


def test_one_that_is_in_use_is_refused_and_left_to_who_has_it(library: Library) -> None:
    library.is_open = True
    with pytest.raises(InstrumentError, match=r"failed in open \(RuntimeError: the controller is in use\)"):
        surface(library).open()
    assert library.is_open


@pytest.mark.parametrize("found", [None, np.zeros(3, dtype=int), np.zeros(256)])
def test_a_library_that_reads_something_else_is_told(library: Library, found: Any) -> None:
    library.read = lambda: found  # type: ignore[method-assign]
    with surface(library) as opened, pytest.raises(InstrumentError, match="needs whole numbers for 256 elements; set"):
        opened.set_pattern(ONES)
    with surface(library, verify="never") as opened:
        opened.set_pattern(ONES)


def test_a_library_that_is_not_there_says_what_to_install() -> None:
    opened = VendorExample.make("metasurface", VendorExample.Config(address="USB0"), SimulatedClock())
    with pytest.raises(MissingExtra) as caught:
        opened.open()
    assert str(caught.value).startswith("metasurface (USB0): the Example library cannot be loaded (")
    assert str(caught.value).endswith(
        "); install example_surface.dll from the manufacturer, or set rig.metasurface.driver to that of your surface"
    )


def test_locks_tell_controllers_apart() -> None:
    def canonical(address: str) -> str | None:
        return VendorExample.make(
            "m", VendorExample.Config(address=address), SimulatedClock(), emulator=object()
        ).canonical

    assert canonical("sim") is None
    assert canonical("usb0 ") == canonical("USB0") != canonical("USB1")


def test_sim_needs_an_emulator() -> None:
    with pytest.raises(InputError, match=r"rig\.m\.address is 'sim', and there is no emulator here to answer"):
        VendorExample.make("m", VendorExample.Config(), SimulatedClock())


def test_calls_are_traced(library: Library, tmp_path: Any) -> None:
    trace = Trace(tmp_path / "trace.txt", SimulatedClock())
    trace.open()
    with VendorExample.make("m", VendorExample.Config(), SimulatedClock(), emulator=library, trace=trace) as opened:
        opened.set_pattern(ONES)
    trace.close()
    calls = [line.data.decode() for line in read_trace(tmp_path / "trace.txt")]
    assert calls == ["loading", "open", "identity", "write", "read", "write"]


class Dll:
    """The C library, in Python."""

    def __init__(self) -> None:
        self.states = bytes(256)
        self.closed: list[int] = []

    def example_open(self, address: bytes) -> int:
        return 7 if address == b"USB0" else -2

    def example_name(self, handle: int, text: Any, size: int) -> int:
        text.value = b"Example Surface 16x16, serial number 12"
        return 0 if handle == 7 and size == 256 else -1

    def example_write(self, handle: int, states: Any, n: int) -> int:
        self.states = bytes(states)
        return 0 if handle == 7 and n == 256 else -1

    def example_read(self, handle: int, states: Any, n: int) -> int:
        ctypes.memmove(states, self.states, n)
        return 0 if handle == 7 else -1

    def example_close(self, handle: int) -> int:
        self.closed.append(handle)
        return 0


def test_the_example_speaks_to_a_c_library(monkeypatch: pytest.MonkeyPatch) -> None:
    dll = Dll()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: {"example_surface": dll}[name])
    states = np.arange(256) % 5 == 0
    with VendorExample.make("m", VendorExample.Config(address="USB0", verify="every"), SimulatedClock()) as opened:
        assert not opened.emulated
        opened.set_pattern(states)
        assert list(dll.states) == opened.pattern.tolist() == states.astype(int).tolist()
    assert dll.closed == [7] and not any(dll.states)
    with pytest.raises(InstrumentError, match=r"failed in open \(RuntimeError: example_open returned -2\)"):
        VendorExample.make("m", VendorExample.Config(address="USB1"), SimulatedClock()).open()
    with pytest.raises(RuntimeError, match="example_write returned -1"):
        ExampleLibrary(dll).write(np.zeros(256, dtype=np.uint8))
