"""Whatever ends a run, everything is made safe, in reverse order, and no error hides another."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

from labtrain.errors import Interrupted, UnsafeError
from labtrain.safety import Failure, Guard, NotMadeSafe, signals_held


def press(number: int = signal.SIGINT) -> None:
    signal.raise_signal(number)


def fail(text: str) -> None:
    raise OSError(text)


@pytest.fixture(autouse=True)
def handlers_are_restored():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    yield
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.parametrize("error", [None, ValueError("x"), KeyboardInterrupt(), SystemExit(3), Interrupted("x")])
def test_every_exit_makes_safe_in_reverse_order(error: BaseException | None) -> None:
    done: list[str] = []
    caught: BaseException | None = None
    try:
        with Guard() as guard:
            guard.push("amplifier", lambda: done.append("amplifier"))
            guard.push("generator", lambda: done.append("generator"))
            if error is not None:
                raise error
    except BaseException as arrived:
        caught = arrived
    assert done == ["generator", "amplifier"]
    assert caught is error


def test_one_failure_does_not_spare_the_others() -> None:
    done: list[str] = []
    with pytest.raises(UnsafeError) as caught, Guard() as guard:
        guard.push("first", lambda: done.append("first"))
        guard.push("amplifier", lambda: fail("no answer"))
        guard.push("middle", lambda: done.append("middle"))
        guard.push("generator", lambda: sys.exit())
    assert done == ["middle", "first"]
    assert str(caught.value) == "not made safe: generator: SystemExit; amplifier: no answer; switch it off by hand"
    assert isinstance(caught.value.__cause__, SystemExit)


def test_a_failure_to_make_safe_keeps_the_error_before_it() -> None:
    original = ValueError("wrong shape")
    with pytest.raises(UnsafeError) as caught, Guard() as guard:
        guard.push("amplifier", lambda: fail("no answer"))
        raise original
    assert caught.value.__cause__ is original
    assert str(caught.value) == (
        "not made safe: amplifier: no answer; switch it off by hand (on leaving after wrong shape)"
    )


def test_ctrl_c_waits_for_a_safe_place() -> None:
    done: list[str] = []
    with pytest.raises(Interrupted) as caught, Guard("go on with `labtrain resume runs/a`") as guard:
        guard.push("amplifier", lambda: done.append("safe"))
        guard.check()
        press()
        done.append("chunk kept")
        assert guard.interrupted
        guard.check()
        done.append("not reached")
    assert str(caught.value) == ("stopped by Ctrl-C, everything measured is kept; go on with `labtrain resume runs/a`")
    assert done == ["chunk kept", "safe"]


def test_sigterm_is_named_and_twice_is_as_once() -> None:
    with pytest.raises(Interrupted) as caught, Guard() as guard:
        press(signal.SIGTERM)
        press(signal.SIGTERM)
        guard.check()
    assert str(caught.value) == "stopped by SIGTERM, everything measured is kept"


def test_a_second_ctrl_c_stops_at_once() -> None:
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt), Guard() as guard:
        guard.push("amplifier", lambda: done.append("safe"))
        press()
        done.append("first")
        press()
        done.append("not reached")
    assert done == ["first", "safe"]


def test_before_anything_is_kept_the_first_signal_stops_at_once() -> None:
    done: list[str] = []
    with (
        pytest.raises(KeyboardInterrupt) as caught,
        Guard("nothing was measured", {"generator": lambda: done.append("safe")}, defers=False),
    ):
        press(signal.SIGTERM)
        done.append("not reached")
    assert str(caught.value) == "stopped by SIGTERM; nothing was measured"
    assert done == ["safe"]


def test_a_signal_that_was_caught_is_not_told_again() -> None:
    with Guard(defers=False):
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt, match=r"^stopped by Ctrl-C$"):
                press()


def test_a_guard_can_begin_to_defer() -> None:
    done: list[str] = []
    with pytest.raises(Interrupted) as caught, Guard(defers=False) as guard:
        guard.defer()
        press()
        done.append("chunk kept")
        guard.check()
    assert str(caught.value) == "stopped by Ctrl-C, everything measured is kept"
    assert done == ["chunk kept"]


def test_an_inner_guard_leaves_signals_to_the_outer_one() -> None:
    with pytest.raises(Interrupted), Guard() as outer, Guard(defers=False, only_defaults=True) as inner:
        press()
        assert (outer.interrupted, inner.interrupted) == (True, False)


def test_what_several_things_need_is_said_of_each() -> None:
    vna = Failure("vna (sim)", "vna (sim): waited 5 s for 1 byte, got nothing", "press RF off")
    surface = Failure("metasurface (sim)", "TimeoutError", "unplug it")
    assert str(NotMadeSafe([vna, surface])) == (
        "not made safe: vna (sim): waited 5 s for 1 byte, got nothing; press RF off; "
        "metasurface (sim): TimeoutError; unplug it"
    )


def test_failures_of_one_rig_are_told_once() -> None:
    def unsafe() -> None:
        raise NotMadeSafe([Failure("vna (sim)", "no answer")])

    with pytest.raises(NotMadeSafe) as caught, Guard(safe={"rig": unsafe, "fan": lambda: fail("stuck")}):
        pass
    assert str(caught.value) == "not made safe: fan: stuck; vna (sim): no answer; switch it off by hand"


def test_held_signals_arrive_afterwards() -> None:
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt), Guard():
        press()
        with signals_held():
            press()
            done.append("undisturbed")
        done.append("not reached")
    assert done == ["undisturbed"]


def test_no_signal_disturbs_making_safe() -> None:
    done: list[str] = []

    def safe() -> None:
        press()
        press()
        done.append("safe")

    with pytest.raises(Interrupted), Guard() as guard:
        guard.push("amplifier", safe)
    assert done == ["safe"]


def test_a_signal_on_the_first_instruction_of_leaving_skips_nothing() -> None:
    done: list[str] = []

    def trace(frame, event, _):  # runs where Python would deliver the signal
        if frame.f_code is Guard.__exit__.__code__ and event == "call":
            guard._on_signal(signal.SIGINT, frame)
        return

    try:
        with pytest.raises(Interrupted), Guard() as guard:
            guard.push("amplifier", lambda: done.append("safe"))
            press()
            sys.settrace(trace)
    finally:
        sys.settrace(None)
    assert done == ["safe"]


def test_a_signal_after_the_last_check_is_not_lost() -> None:
    with pytest.raises(Interrupted), Guard():
        press()


def test_signals_told_to_be_ignored_stay_ignored() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with Guard() as guard:
            press(signal.SIGTERM)
            assert not guard.interrupted
            assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_another_thread_can_be_guarded_too() -> None:
    done: list[str] = []

    def work() -> None:
        with Guard() as guard:
            guard.push("amplifier", lambda: done.append("safe"))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == ["safe"]


CHILD = """
import time
from labtrain.errors import LabtrainError
from labtrain.safety import Guard
try:
    with Guard() as guard:
        guard.push("amplifier", lambda: print("safe", flush=True))
        print("ready", flush=True)
        while True:
            time.sleep(0.01)
            guard.check()
except LabtrainError as error:
    print(error, flush=True)
    raise SystemExit(error.exit_code)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot send SIGTERM to another process")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)])
def test_a_process_told_to_stop_makes_safe(number: signal.Signals) -> None:
    child = subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "ready\n"
    child.send_signal(number)
    said, _ = child.communicate(timeout=10)
    name = "Ctrl-C" if number == signal.SIGINT else number.name
    assert said == f"safe\nstopped by {name}, everything measured is kept\n"
    assert child.returncode == 130
