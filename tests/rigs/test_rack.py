"""Instruments of a rig on the way out: all made safe, last one first, whatever each of them does."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from types import FrameType

import pytest

from labtrain.drivers.emulators.emulator import Reply
from labtrain.errors import InputError, InstrumentError, Interrupted, LinkTimeout
from labtrain.rigs import rack
from labtrain.rigs.rig import Rig
from labtrain.safety import Guard, NotMadeSafe, signals_held
from tests.lamps import Lamp, LampEmulator, LampRig

ROOT = Path(__file__).resolve().parents[2]


def two(**trouble) -> tuple[LampEmulator, LampEmulator, LampRig]:
    first, second = LampEmulator(trouble.get("first")), LampEmulator(trouble.get("second"))
    return first, second, LampRig({"first": first, "second": second})


class Silent:
    """From `word` on, nothing is answered, until it is connected to for the `heals`-th time."""

    def __init__(self, word: str, heals: int | None = None) -> None:
        self.word, self.heals, self.silent = word, heals, False

    def __call__(self, lamp: LampEmulator, word: str) -> list[Reply] | None:
        self.silent = (self.silent or word == self.word) and lamp.connections != self.heals
        return [] if self.silent else None


@pytest.mark.parametrize("error", [None, ValueError("x"), KeyboardInterrupt(), SystemExit(1)])
def test_every_exit_switches_off_and_puts_settings_back(error: BaseException | None) -> None:
    first, second, rig = two()
    try:
        with rig:
            assert first.on and second.on
            rig.instruments["first"].level = 9
            if error is not None:
                raise error
    except BaseException as arrived:
        assert arrived is error
    assert not first.on and not second.on
    assert (first.heard[-2:], second.heard[-2:]) == (["OFF", "level 3"], ["OFF", "level 3"])
    assert not any(lamp.link.is_open for lamp in rig.instruments.values())


def test_all_are_safe_before_any_setting_is_put_back_last_one_first(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    for name in ("safe", "restore"):
        real = getattr(Lamp, name)

        def noted(self: Lamp, *given: object, name: str = name, real=real) -> None:
            order.append(f"{name} {self.link.who}")
            real(self, *given)

        monkeypatch.setattr(Lamp, name, noted)
    with two()[2]:
        pass
    assert order == ["safe second", "safe first", "restore second", "restore first"]


def test_a_dead_instrument_is_named_and_the_others_are_made_safe() -> None:
    first, second, rig = two(second=Silent("?"))
    with pytest.raises(NotMadeSafe) as caught, rig, pytest.raises(LinkTimeout):
        rig.instruments["second"].ask("?")
    assert not first.on and second.on
    (failure,) = caught.value.failures
    assert failure.why.startswith("second (sim): ") and "waited 0.05 s for" in failure.why
    assert str(caught.value) == f"not made safe: {failure.why}; pull its plug"
    assert second.connections == 2  # tried again over a new connection
    assert first.heard[-1] == "level 3" and not rig.instruments["second"].link.is_open


def test_what_ended_the_run_is_told_too() -> None:
    _, _, rig = two(second=Silent("OFF"))
    wrong = ValueError("wrong shape")
    with pytest.raises(NotMadeSafe) as caught, rig:
        raise wrong
    assert str(caught.value).endswith("; pull its plug (on leaving after wrong shape)")
    assert caught.value.__cause__ is wrong


def test_an_instrument_out_of_step_is_brought_back() -> None:
    late: list[Reply] = [(0.08, b"on\n")]
    first = LampEmulator(lambda lamp, word: late if word == "?" else None)
    rig = LampRig({"first": first})
    with rig, pytest.raises(LinkTimeout):
        rig.instruments["first"].ask("?")
    assert not first.on and first.connections == 1
    assert first.heard[-3:] == ["sync 1", "OFF", "level 3"]


@pytest.mark.parametrize("gone", [[(0.0, None)], []])
def test_a_lost_connection_is_made_once_more(gone: list[Reply], caplog: pytest.LogCaptureFixture) -> None:
    silent = Silent("?", heals=2)
    first = LampEmulator(lambda lamp, word: gone if silent(lamp, word) is not None else None)
    rig = LampRig({"first": first})
    with rig, pytest.raises(InstrumentError):
        rig.instruments["first"].ask("?")
    assert not first.on and first.connections == 2
    assert first.heard[-4].startswith("sync") and first.heard[-3:] == ["who", "OFF", "level 3"]


def test_a_closed_link_is_opened_to_make_safe() -> None:
    first, _, rig = two()
    with rig:
        rig.instruments["first"].link.close()
    assert not first.on


def test_another_instrument_at_the_address_is_told_nothing() -> None:
    first, _, rig = two()
    with pytest.raises(NotMadeSafe) as caught, rig:
        first.is_a, first.heard = "motor", []
        rig.instruments["first"].link.close()
    assert str(caught.value) == (
        "not made safe: first (sim): expected a lamp, found 'motor'; see rig.first.address; pull its plug"
    )
    assert first.heard == ["sync 1", "who"]


def test_one_that_hangs_does_not_keep_the_others_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rack, "MARGIN_S", 0.1)
    let_go, safe = threading.Event(), Lamp.safe

    def hang(lamp: Lamp) -> None:
        if lamp.link.who == "second":
            with lamp.link.lock:
                let_go.wait()
        safe(lamp)

    monkeypatch.setattr(Lamp, "safe", hang)
    first, second, rig = two()
    try:
        with pytest.raises(NotMadeSafe) as caught, rig:
            pass
        assert str(caught.value) == "not made safe: second (sim): not done within 0.2 s; pull its plug"
        assert not first.on and second.on
    finally:
        let_go.set()


def test_opening_that_fails_halfway_makes_safe_what_was_reached() -> None:
    first, second, rig = two(second=lambda lamp, word: [(0.0, None)] if word == "connected" else None)
    with pytest.raises(InstrumentError) as caught, rig:
        pass
    assert str(caught.value) == "second (sim): the emulator refuses the connection"
    assert first.heard == ["who", "level?", "OFF", "level 3"] and second.heard == []


def test_a_wrong_instrument_is_not_made_safe_on_leaving() -> None:
    first, second, rig = two()
    second.is_a = "motor"
    with pytest.raises(InstrumentError) as caught, rig:
        pass
    assert str(caught.value) == "second (sim): expected a lamp, found 'motor'; see rig.second.address"
    assert (first.heard[-2], second.heard) == ("OFF", ["who"])


def test_an_instrument_that_said_who_it_was_is_made_safe_whatever_fails_next() -> None:
    first = LampEmulator(lambda lamp, word: [(0.0, b"?\n")] if word == "level?" else None)
    with pytest.raises(InstrumentError, match="for the level, got '\\?'"), LampRig({"first": first}):
        pass
    assert first.heard == ["who", "level?", "sync 1", "OFF"]


def test_settings_that_do_not_go_back_are_told_unless_worse_was_before(caplog: pytest.LogCaptureFixture) -> None:
    def stuck(lamp: LampEmulator, word: str) -> list[Reply] | None:
        return [(0.0, b"jammed\n")] if word == "level 3" else None

    sentence = (
        "settings not put back as found: first (sim): asked 'level 3' for ok, got 'jammed'; check that the driver fits "
        "the instrument; check its settings before it is used again"
    )
    first, second, rig = two(first=stuck)
    with pytest.raises(InstrumentError) as caught, rig:
        pass
    assert str(caught.value) == sentence
    assert not first.on and second.heard[-1] == "level 3"
    caplog.clear()
    with pytest.raises(ValueError, match="wrong shape"), two(first=stuck)[2]:
        raise ValueError("wrong shape")
    assert caplog.messages == [sentence]


def test_a_guard_after_the_rig_has_nothing_left_to_do() -> None:
    first, _, rig = two()
    with Guard(safe={"rig": rig.safe}), rig:
        pass
    assert first.heard.count("OFF") == 1


def test_a_guard_makes_up_for_an_exit_that_was_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    def cut_short(*_: object) -> None:
        raise KeyboardInterrupt

    first, second, rig = two()
    monkeypatch.setattr(LampRig, "__exit__", cut_short)
    with pytest.raises(KeyboardInterrupt), Guard(safe={"rig": rig.safe}), rig:
        pass
    assert not first.on and not second.on


def test_a_second_ctrl_c_does_not_disturb_the_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    safe = Lamp.safe

    def impatient(lamp: Lamp) -> None:
        signal.raise_signal(signal.SIGINT)
        safe(lamp)

    monkeypatch.setattr(Lamp, "safe", impatient)
    first, second, rig = two()
    with pytest.raises(KeyboardInterrupt), Guard(safe={"rig": rig.safe}), rig:
        signal.raise_signal(signal.SIGINT)
    assert not first.on and not second.on
    assert (first.heard.count("OFF"), second.heard[-1]) == (1, "level 3")


def test_a_signal_on_the_first_instruction_of_the_exit_skips_nothing() -> None:
    first, second, rig = two()

    def trace(frame: FrameType, event: str, _: object) -> None:  # runs where Python would deliver the signal
        if frame.f_code is Rig.__exit__.__code__ and event == "call":
            rig._guard._on_signal(signal.SIGINT, frame)

    try:
        with pytest.raises(Interrupted), rig:
            sys.settrace(trace)
    finally:
        sys.settrace(None)
    assert not first.on and second.heard[-1] == "level 3"


def test_a_signal_before_signals_are_held_skips_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    first, second, rig = two()
    monkeypatch.setattr(signals_held, "__enter__", interrupted)
    with pytest.raises(KeyboardInterrupt), rig:
        pass
    assert not first.on and not second.on


def test_safe_can_be_called_at_any_time() -> None:
    first, second, rig = two()
    rig.safe()
    with rig:
        rig.safe()
        assert not first.on and not second.on
        rig.instruments["first"].tell("ON")
    rig.safe()
    rig.close()
    assert not first.on and first.heard.count("OFF") == 2


def test_two_instruments_with_one_address_are_refused() -> None:
    first, _, rig = two()
    rig.options |= {"address": "tcp://127.0.0.1:9"}
    with pytest.raises(InputError) as caught, rig:
        pass
    assert str(caught.value) == (
        "second (sim): first has the same address; set rig.second.address to that of the second"
    )
    assert first.heard == []


SCRIPT = """
import signal, sys
from tests.lamps import LampEmulator, LampRig
lamp = LampEmulator()
rig = LampRig(dict(lamp=lamp))
"""


@pytest.mark.parametrize(
    "body",
    [
        "import atexit; atexit.register(lambda: print(lamp.heard)); rig.open()",
        "try:\n    with rig: signal.raise_signal(signal.SIGTERM)\nfinally: print(lamp.heard)",
        "try:\n    with rig: signal.raise_signal(signal.SIGINT)\nfinally: print(lamp.heard)",
    ],
)
def test_scripts_without_a_guard_end_safe_too(body: str) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT + body], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == "['who', 'level?', 'ON', 'OFF', 'level 3']\n", done.stderr


def test_a_rig_that_was_closed_is_not_kept_for_the_end_of_the_program() -> None:
    _, _, rig = two()
    with rig:
        pass
    kept = weakref.ref(rig)
    del rig
    gc.collect()
    assert kept() is None
