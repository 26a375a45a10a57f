"""Calls that may hang do not hold up one another."""

from __future__ import annotations

import threading

import pytest

from labtrain import bounded
from labtrain.bounded import Call, in_turn


def test_calls_follow_one_another_and_each_says_how_it_ended() -> None:
    done: list[int] = []
    wrong = ValueError("wrong")

    def fail() -> None:
        done.append(1)
        raise wrong

    calls = [Call("a", lambda: done.append(0), 5), Call("b", fail, 5), Call("c", lambda: done.append(2), 5)]
    assert in_turn(calls) == [None, wrong, None]
    assert done == [0, 1, 2]


def test_one_that_hangs_holds_up_nobody_for_long(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded, "PATIENT_S", 0.01)
    let_go, done = threading.Event(), []
    calls = [Call("vna", let_go.wait, 0.1), Call("metasurface", lambda: done.append("metasurface"), 5)]
    try:
        hung, good = in_turn(calls, hold_up_s=0.02)
    finally:
        let_go.set()
    assert (type(hung), str(hung), good, done) == (TimeoutError, "not done within 0.1 s", None, ["metasurface"])
    assert caplog.messages == ["vna: no answer yet, waiting up to 0.1 s"]


def test_one_that_is_slow_is_waited_for() -> None:
    next_began = threading.Event()
    calls = [Call("slow", lambda: next_began.wait(5) or pytest.fail("held up"), 5), Call("next", next_began.set, 5)]
    assert in_turn(calls, hold_up_s=0.01) == [None, None]


def test_where_no_thread_is_to_be_had_the_call_is_made_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(bounded.threading.Thread, "start", refuse)
    done: list[threading.Thread] = []
    assert in_turn([Call("vna", lambda: done.append(threading.current_thread()), 5)]) == [None]
    assert done == [threading.current_thread()]
