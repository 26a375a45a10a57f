"""The byte pipe: buffering, and never a late answer to the wrong question, in memory, over TCP and under pyvisa-py."""

from __future__ import annotations

import _thread
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labtrain.clock import RealClock, SimulatedClock
from labtrain.drivers.address import make_link
from labtrain.drivers.backends.memory import MemoryLink
from labtrain.drivers.blocks import block, read_block
from labtrain.drivers.link import Link
from labtrain.errors import LinkClosed, LinkDesync, LinkRefused, LinkTimeout
from tests.drivers.servers import Script, fence, tcp_server

Make = Callable[..., Link]
BLOCK = block(bytes(range(256)) * 4) + b"\n"


@pytest.fixture(params=["memory", "tcp", "pyvisa-py"])
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes open links to a script, with a fence: in memory on a simulated clock, else on a real one."""
    with ExitStack() as stack:

        def open_link(script: Script, timeout_s: float = 5.0, *, fenced: bool = True) -> Link:
            if request.param == "memory":
                link: Link = MemoryLink("vna", script, SimulatedClock(), timeout_s=timeout_s)
            else:
                port = stack.enter_context(tcp_server(script)).port
                address = f"tcp://127.0.0.1:{port}" if request.param == "tcp" else f"TCPIP::127.0.0.1::{port}::SOCKET"
                link = make_link("vna", address, RealClock(), timeout_s=timeout_s)
            if fenced:
                link.synchronise = fence(link)
            return stack.enter_context(link)

        yield open_link


def ask(link: Link, question: str) -> bytes:
    with link.exchange():
        link.write(question.encode() + b"\n")
        return link.read_until(b"\n")


# -- buffering ---------------------------------------------------------------------------------------------------------


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
    return [data[a:b] for a, b in pairwise(edges) if a < b]


messages = st.lists(
    st.one_of(st.binary(max_size=200), st.from_regex(r"[ -~]{0,30}", fullmatch=True)), min_size=1, max_size=6
)


def read_back(link: Link, contents: list[bytes | str]) -> list[bytes | str]:
    return [
        read_block(link)[:-1] if isinstance(content, bytes) else link.read_until(b"\n").decode().removesuffix("\n")
        for content in contents
    ]


def stream_of(contents: list[bytes | str]) -> bytes:
    return b"".join((block(c) if isinstance(c, bytes) else c.encode()) + b"\n" for c in contents)


@given(contents=messages, cuts=st.lists(st.integers(0, 2000), max_size=30))
def test_any_split_of_the_stream_gives_the_same_lines_and_blocks(contents, cuts):
    stream = stream_of(contents)
    script = Script({"go": [(0.0, piece) for piece in pieces(stream, cuts)]})
    with MemoryLink("vna", script, SimulatedClock()) as link, link.exchange():
        link.write(b"go\n")
        assert read_back(link, contents) == contents


@pytest.fixture(scope="module")
def splitting() -> Iterator[tuple[Script, dict[str, Link]]]:
    """A server that answers ``go`` in pieces, each a segment of its own, and one link of each kind to it."""
    script = Script()
    with tcp_server(script) as server:
        addresses = {"tcp": f"tcp://127.0.0.1:{server.port}", "py": f"TCPIP::127.0.0.1::{server.port}::SOCKET"}
        with ExitStack() as stack:
            yield script, {k: stack.enter_context(make_link("vna", a, RealClock())) for k, a in addresses.items()}


@pytest.mark.parametrize("transport", ["tcp", "py"])
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(contents=messages, cuts=st.lists(st.integers(0, 2000), max_size=10))
def test_so_does_any_split_into_segments(splitting, transport, contents, cuts):
    script, links = splitting
    parts = pieces(stream_of(contents), cuts)
    script.answers["go"] = [(0.0003 * number, part) for number, part in enumerate(parts)]
    with links[transport].exchange():
        links[transport].write(b"go\n")
        assert read_back(links[transport], contents) == contents


def test_an_end_of_two_bytes_may_be_split(make):
    link = make(Script({"go": [(0.0, b"ab\r"), (0.01, b"\ncd\r\n")]}))
    with link.exchange():
        link.write(b"go\n")
        assert [link.read_until(b"\r\n"), link.read_until(b"\r\n")] == [b"ab\r\n", b"cd\r\n"]


# -- late answers ------------------------------------------------------------------------------------------------------


def test_a_late_line_is_never_the_answer_to_the_next_question(make):
    script = Script({"slow?": [(0.15, b"late\n")], "next?": [(0.0, b"right\n")]})
    link = make(script, timeout_s=0.05)
    with pytest.raises(LinkTimeout) as told:
        ask(link, "slow?")
    assert str(told.value) == f"{link.name}: waited 0.05 s for an answer that ends in b'\\n', got nothing"
    assert link.dirty
    link.timeout_s = 5.0
    assert ask(link, "next?") == b"right\n"
    assert not link.dirty
    assert script.heard == ["slow?", "PING fence0", "next?"]


def test_nor_is_a_late_block_in_pieces(make):
    """Half a block, broken off; its other half, full of line feeds and looks-like answers, comes during the fence."""
    rest = b"\nPONG fence\n" * 20
    whole = block(b"x" * 300 + rest) + b"\n"
    script = Script({"data?": [(0.0, whole[:200]), (0.12, whole[200:400]), (0.14, whole[400:])]})
    script.answers["next?"] = [(0.0, b"right\n")]
    link = make(script, timeout_s=0.05)
    with pytest.raises(LinkTimeout, match=r"waited 0\.05 s for 541 bytes, got b'xxx") as told, link.exchange():
        link.write(b"data?\n")
        read_block(link)
    assert str(told.value).endswith("(195 bytes)")
    link.timeout_s = 5.0
    assert ask(link, "next?") == b"right\n"


def test_a_byte_is_told_in_the_singular(make):
    link = make(Script({}), timeout_s=0.01)
    with pytest.raises(LinkTimeout, match=r"waited 0\.01 s for 1 byte, got nothing"):
        link.read_exactly(1)


def test_an_answer_in_two_parts_may_take_its_time_in_between(make):
    link = make(Script({"data?": [(0.02, BLOCK[:100]), (0.04, BLOCK[100:101]), (0.06, BLOCK[101:])]}), timeout_s=0.5)
    with link.exchange():
        link.write(b"data?\n")
        assert read_block(link) == BLOCK[6:]


def test_reading_on_after_a_broken_off_question_is_refused(make):
    link = make(Script(), timeout_s=0.01)
    with pytest.raises(LinkTimeout):
        ask(link, "silence?")
    with pytest.raises(LinkDesync) as told:
        link.read_until(b"\n")
    assert str(told.value) == f"{link.name}: an earlier question was broken off; ask again instead of reading on"


def test_without_an_answer_to_the_fence_nothing_is_sent(make):
    script = Script({"next?": [(0.0, b"right\n")]})
    link = make(script, timeout_s=0.02)
    link.synchronise = lambda: ask(link, "lost?")
    with pytest.raises(LinkTimeout):
        ask(link, "silence?")
    for _ in range(2):
        with pytest.raises(LinkDesync) as told:
            ask(link, "next?")
        assert str(told.value) == (
            f"{link.name}: does not answer in step: waited 0.02 s for an answer that ends in b'\\n', got nothing; "
            "check rig.vna.address and that it is ready"
        )
    assert script.heard == ["silence?", "lost?", "lost?"]


def test_whatever_breaks_off_an_exchange_makes_the_link_dirty(make):
    script = Script({"one?": [(0.0, b"1\n")], "two?": [(0.0, b"2\n")]})
    link = make(script)
    with pytest.raises(ZeroDivisionError), link.exchange():
        link.write(b"one?\n")
        _ = 1 / 0
    assert ask(link, "two?") == b"2\n"
    assert script.heard == ["one?", "PING fence0", "two?"]


def press_ctrl_c() -> None:
    if sys.platform == "win32":
        _thread.interrupt_main()
    else:  # wakes the main thread from its wait too
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)


@pytest.mark.parametrize("exchange", [True, False])
def test_ctrl_c_in_the_middle_of_an_answer(make, exchange):
    script = Script({"data?": [(0.0, BLOCK[:50]), (0.15, BLOCK[50:])], "next?": [(0.0, b"right\n")]})
    link = make(script)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        if isinstance(link, MemoryLink):
            link.clock.sleep = lambda _: signal.raise_signal(signal.SIGINT)  # type: ignore[method-assign]
        else:
            threading.Timer(0.05, press_ctrl_c).start()
        with pytest.raises(KeyboardInterrupt), link.exchange() if exchange else nullcontext():
            link.write(b"data?\n")
            read_block(link)
    finally:
        signal.signal(signal.SIGINT, before)
    if isinstance(link, MemoryLink):
        del link.clock.sleep
    assert link.dirty
    assert ask(link, "next?") == b"right\n"


# -- what nobody asked for ---------------------------------------------------------------------------------------------


def test_bytes_that_came_unasked_are_found_before_the_next_question(make):
    script = Script({"order": [(0.0, b"#READY!\n")], "next?": [(0.0, b"right\n")]})
    link = make(script)
    link.write(b"order\n")
    _wait_for_bytes(link)
    with pytest.raises(LinkDesync) as told:
        ask(link, "next?")
    assert str(told.value) == (
        f"{link.name}: sent b'#READY!\\n' without being asked; it may have restarted, or another program talks to it"
    )
    assert script.heard == ["order"]
    assert ask(link, "next?") == b"right\n"


def _wait_for_bytes(link: Link) -> None:
    while not link._buffer:
        link._buffer += link._arrived()


def test_so_are_those_that_came_after_the_answer(make):
    link = make(Script({"one?": [(0.0, b"1\nmore")], "two?": [(0.0, b"2\n")]}))
    assert ask(link, "one?") == b"1\n"
    with pytest.raises(LinkDesync, match="sent b'more' without being asked"):
        ask(link, "two?")


def test_within_one_exchange_questions_may_be_asked_ahead(make):
    link = make(Script({"one?": [(0.0, b"1\n")], "two?": [(0.0, b"2\n")]}))
    with link.exchange():
        link.write(b"one?\n")
        _wait_for_bytes(link)
        link.write(b"two?\n")
        assert [link.read_until(b"\n"), link.read_until(b"\n")] == [b"1\n", b"2\n"]
    assert ask(link, "one?") == b"1\n"


def test_a_greeting_in_memory_is_no_answer():
    script = Script({"one?": [(0.0, b"1\n")]}, greeting=[(0.0, b"#READY!\n")])
    with MemoryLink("surface", script, SimulatedClock()) as link:
        link.synchronise = fence(link)
        assert ask(link, "one?") == b"1\n"


# -- threads -----------------------------------------------------------------------------------------------------------


def test_two_threads_do_not_mix_their_questions(make):
    script = Script({f"{n}?": [(0.0, b"answer "), (0.001, f"{n}\n".encode())] for n in range(80)})
    link = make(script)
    wrong: list[object] = []

    def work(numbers: range) -> None:
        for n in numbers:
            try:
                answer = ask(link, f"{n}?")
            except Exception as error:
                wrong.append(error)
            else:
                if answer != f"answer {n}\n".encode():
                    wrong.append((n, answer))

    threads = [threading.Thread(target=work, args=(range(start, 80, 4),)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(script.heard) == 80


# -- the end -----------------------------------------------------------------------------------------------------------


def test_a_peer_that_hangs_up_is_told_at_once(make):
    """With a timeout of an hour: a link that waits for it would never end."""
    link = make(Script({"data?": [(0.0, BLOCK[:50]), (0.02, None)]}), timeout_s=3600.0)
    with pytest.raises(LinkClosed) as told, link.exchange():
        link.write(b"data?\n")
        read_block(link)
    hung_up = "the emulator hung up"
    closed = "the instrument closed the connection; check whether it still runs"
    assert str(told.value) == f"{link.name}: {hung_up if isinstance(link, MemoryLink) else closed}"


def test_a_peer_that_hung_up_meanwhile_is_told_before_anything_is_sent(make):
    script = Script({"bye": [(0.0, None)]})
    link = make(script)
    link.write(b"bye\n")
    with pytest.raises(LinkClosed):
        for _ in range(10_000):
            link.write(b"order\n")


def test_a_closed_link_says_so_and_opens_again(make):
    script = Script({"one?": [(0.0, b"1\n")]})
    link = make(script)
    link.close()
    link.close()
    with pytest.raises(LinkClosed) as told:
        ask(link, "one?")
    assert str(told.value) == f"{link.name}: the link is not open"
    link.open()
    link.open()
    assert ask(link, "one?") == b"1\n"


def test_an_emulator_may_refuse():
    with pytest.raises(LinkRefused, match="the emulator refuses the connection"):
        MemoryLink("vna", Script(greeting=[(0.0, None)]), SimulatedClock()).open()


def test_an_endless_line_ends(make, monkeypatch):
    monkeypatch.setattr("labtrain.drivers.link.LONGEST_LINE", 1000)
    link = make(Script({"data?": [(0.0, b"x" * 1200)]}))
    with pytest.raises(LinkDesync, match=r"1200 bytes came without b'\\n'; check the protocol"):
        ask(link, "data?")


def test_drain_returns_what_came_and_stops_in_the_end():
    clock = SimulatedClock()
    link = MemoryLink("vna", Script({"go": [(0.04 * n, b"x") for n in range(100)]}), clock)
    with link:
        link.write(b"go\n")
        assert link.drain(quiet_s=0.05, longest_s=1.0) == b"x" * 26
        assert clock.monotonic() == pytest.approx(1.0)
