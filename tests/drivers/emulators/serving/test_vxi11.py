"""VXI-11: remote procedure calls as bytes; one session without sockets; the outlet with them."""

from __future__ import annotations

import logging
import selectors
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labtrain.clock import RealClock, SimulatedClock
from labtrain.drivers.emulators.serving import server as serve
from labtrain.drivers.emulators.serving.exchange import MessageExchange
from labtrain.drivers.emulators.serving.onc_rpc import LONGEST, Call, NotRpc, Records, marked, parse_call, reply
from labtrain.drivers.emulators.serving.server import Server
from labtrain.drivers.emulators.serving.vxi11 import Vxi11Outlet
from labtrain.drivers.emulators.serving.vxi11_session import ABORT, CORE, LARGEST, Vxi11Session
from labtrain.drivers.emulators.serving.xdr import NotXdr, Reader, opaque, uints
from tests.drivers.emulators.serving.parrot import InOrderOfNumber, Instrument, Parrot, endless, serving, turns

CREATE, WRITE, READ, STATUS, TRIGGER, CLEAR, REMOTE, LOCAL, LOCK, UNLOCK = range(10, 20)
DESTROY = 23
END, TERMCHAR_SET = 8, 128
COUNT, CHARACTER, ENDED = 1, 2, 4
INVALID_LINK, TIMEOUT, ABORTED = 4, 15, 23

# -- bytes -----------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 2**32 - 1)), st.binary(max_size=20), st.integers(-(2**31), 2**31 - 1))
def test_values_come_out_as_they_went_in(numbers: list[int], data: bytes, signed: int) -> None:
    packed = uints(*numbers) + opaque(data) + uints(signed)
    assert len(packed) % 4 == 0
    reader = Reader(packed)
    assert [reader.unsigned() for _ in numbers] == numbers
    assert (reader.opaque(), reader.signed(), reader.rest()) == (data, signed, b"")
    for reads in (Reader.unsigned, Reader.opaque):
        with pytest.raises(NotXdr):
            reads(reader)


@given(st.lists(st.binary(max_size=30), max_size=4), st.lists(st.integers(1, 40)))
def test_records_come_out_as_they_went_in_however_they_are_cut(sent: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(map(marked, sent))
    records, came, at = Records(), [], 0
    for size in [*cuts, len(stream)]:
        came += list(records.feed(stream[at : at + size]))
        at += size
    assert came == sent


def test_a_record_of_several_fragments() -> None:
    assert list(Records().feed(uints(3) + b"abc" + uints(0) + uints(1 << 31 | 2) + b"de")) == [b"abcde"]


def test_a_record_longer_than_any_call_is_refused_before_it_comes() -> None:
    with pytest.raises(NotRpc):
        list(Records().feed(uints(1 << 31 | LONGEST + 1)))


def called(procedure: int, arguments: bytes = b"", program: tuple[int, int] = CORE, xid: int = 5) -> bytes:
    nobody = uints(0) + opaque(b"")
    return uints(xid, 0, 2, *program, procedure) + nobody + nobody + arguments


def test_calls_of_other_programs_are_refused_as_the_protocol_has_it() -> None:
    accepted = uints(5, 1, 0) + uints(0, 0)
    assert parse_call(called(10, program=ABORT), *CORE) == accepted + uints(1)
    assert parse_call(called(10, program=(CORE[0], 7)), *CORE) == accepted + uints(2, 1, 1)
    assert parse_call(called(10).replace(uints(0, 2), uints(0, 3), 1), *CORE) == uints(5, 1, 1, 0, 2, 2)
    for record in (b"", called(10)[:30], uints(5, 1) + bytes(40)):
        with pytest.raises(NotRpc):
            parse_call(record, *CORE)
    call = parse_call(called(10, b"rest", xid=9), *CORE)
    assert isinstance(call, Call)
    assert (call.xid, call.procedure, call.arguments.rest()) == (9, 10, b"rest")
    assert reply(call, b"done") == uints(9, 1, 0, 0, 0, 0) + b"done"


# -- a session -------------------------------------------------------------------------------------------------------


class Client:
    """A session with its other end, with a link."""

    def __init__(self, emulator: Parrot | None = None) -> None:
        self.clock = SimulatedClock()
        self.emulator = emulator or Instrument()
        self.sent: list[bytes] = []
        self.free = True
        exchange = MessageExchange("vna", self.emulator, self.clock)
        self.session = Vxi11Session(exchange, self.clock, self.sent.append, self._acquire, self._release, lambda: 4711)
        self.link = 0
        reader = self.calls(CREATE, uints(1, 0, 0) + opaque(b"inst0"))
        assert reader is not None
        self.created = [reader.unsigned() for _ in range(4)]
        self.link = self.created[1]

    def _acquire(self) -> bool:
        free, self.free = self.free, False
        return free

    def _release(self) -> None:
        self.free = True

    def calls(self, procedure: int, arguments: bytes = b"") -> Reader | None:
        """The result, if there is one yet."""
        self.session.heard(called(procedure, arguments))
        self.session.flush()
        return self.result()

    def result(self) -> Reader | None:
        if not self.sent:
            return None
        record = self.sent.pop(0)
        assert record[:24] == uints(5, 1, 0, 0, 0, 0)
        return Reader(record[24:])

    def error(self, procedure: int, *arguments: int) -> int:
        result = self.calls(procedure, uints(self.link, *(arguments or (0, 0, 0))))
        assert result is not None
        return result.unsigned()

    def writes(self, data: bytes, flags: int = END) -> tuple[int, int]:
        result = self.calls(WRITE, uints(self.link, 1000, 0, flags) + opaque(data))
        assert result is not None
        return result.unsigned(), result.unsigned()

    def begins_to_read(self, size: int = 1000, timeout_ms: int = 2000, stop: bytes = b"") -> Reader | None:
        flags, character = (TERMCHAR_SET, stop[0]) if stop else (0, 0)
        return self.calls(READ, uints(self.link, size, timeout_ms, 0, flags, character))

    def reads(self, size: int = 1000, timeout_ms: int = 2000, stop: bytes = b"") -> tuple[int, int, bytes]:
        return came(self.begins_to_read(size, timeout_ms, stop))

    def after(self, seconds: float) -> Reader | None:
        self.clock.sleep(seconds)
        self.session.flush()
        return self.result()


def came(result: Reader | None) -> tuple[int, int, bytes]:
    """Error, reason and data of a read."""
    assert result is not None
    return result.unsigned(), result.unsigned(), result.opaque()


def test_a_link_tells_the_abort_port_and_how_much_a_write_may_bring() -> None:
    assert Client().created == [0, 1, 4711, LARGEST]


def test_questions_and_answers() -> None:
    client = Client()
    assert client.writes(b"hello\n") == (0, 6)
    assert client.reads() == (0, ENDED, b"HELLO\n")


def test_end_alone_ends_a_message_and_a_write_without_it_does_not() -> None:
    client = Client()
    assert client.writes(b"hel", flags=0) == (0, 3)
    assert client.writes(b"lo") == (0, 2)
    assert client.reads() == (0, ENDED, b"HELLO\n")


def test_an_answer_in_small_reads() -> None:
    client = Client()
    client.writes(b"one;two\n")
    assert client.reads(2) == (0, COUNT, b"ON")
    assert client.reads(0) == (0, COUNT, b"")
    assert client.reads(100, stop=b";") == (0, CHARACTER, b"E;")
    assert client.reads(4) == (0, COUNT | ENDED, b"TWO\n")


def test_a_character_to_stop_at_may_be_the_last_one() -> None:
    client = Client()
    client.writes(b"one\n")
    assert client.reads(4, stop=b"\n") == (0, COUNT | CHARACTER | ENDED, b"ONE\n")


def test_a_read_waits_for_a_late_answer() -> None:
    client = Client()
    client.writes(b"late 1.5 one\n")
    assert client.begins_to_read() is None
    assert client.session.due_s == pytest.approx(client.clock.monotonic() + 1.5)
    assert client.after(1.4) is None
    assert came(client.after(0.2)) == (0, ENDED, b"ONE\n")
    assert client.emulator.errors == []


def test_a_read_ends_when_its_time_is_up() -> None:
    client = Client()
    client.writes(b"late 5 one\n")
    assert client.begins_to_read(timeout_ms=2000) is None
    assert client.session.due_s == pytest.approx(client.clock.monotonic() + 2)
    assert came(client.after(2.1)) == (TIMEOUT, 0, b"")
    client.clock.sleep(3)
    assert client.reads(timeout_ms=0) == (0, ENDED, b"ONE\n")


def test_a_read_of_nothing_is_an_error() -> None:
    client = Client()
    assert client.begins_to_read() is None
    assert client.emulator.errors == [-420]
    assert came(client.after(2.1)) == (TIMEOUT, 0, b"")


def test_calls_behind_a_read_wait_for_it() -> None:
    client = Client()
    client.writes(b"late 1 one\n")
    assert client.begins_to_read() is None
    client.session.heard(called(STATUS, uints(client.link, 0, 0, 0)))
    client.session.heard(called(READ, uints(client.link, 9, 1000, 0, 0, 0)))
    assert came(client.after(1.1)) == (0, ENDED, b"ONE\n")
    status = client.result()
    assert status is not None
    assert (status.unsigned(), status.unsigned()) == (0, 0)
    assert client.result() is None
    assert came(client.after(1.1)) == (TIMEOUT, 0, b"")


@pytest.mark.parametrize("first", [b"one\n", b"late 1 one\n"])
def test_a_question_before_the_answer_was_read_interrupts_that(first: bytes) -> None:
    client = Client()
    client.writes(first)
    client.writes(b"two\n")
    assert client.emulator.errors == [-410]
    assert client.reads() == (0, ENDED, b"TWO\n")
    assert client.after(5) is None


def test_device_clear_drops_what_is_under_way_in_both_directions() -> None:
    client = Client()
    client.writes(b"one;late\n")
    client.reads(2)
    client.writes(b"late 1 two\nhalf a mess", flags=0)
    assert client.error(CLEAR) == 0
    client.emulator.errors.clear()
    client.writes(b"new\n")
    assert client.reads() == (0, ENDED, b"NEW\n")
    client.clock.sleep(2)
    assert client.emulator.errors == []


def test_a_message_is_available_until_it_was_read() -> None:
    client = Client()

    def status() -> tuple[int, int]:
        result = client.calls(STATUS, uints(client.link, 0, 0, 0))
        assert result is not None
        return result.unsigned(), result.unsigned()

    assert status() == (0, 0)
    client.writes(b"late 1 one\n")
    assert status() == (0, 0)
    client.clock.sleep(1.1)
    assert status() == (0, 16)
    client.reads(2)
    assert status() == (0, 16)
    client.reads()
    assert status() == (0, 0)
    client.emulator.push_error(-230)
    assert status() == (0, 4)


def test_trigger_remote_local_and_locks() -> None:
    client = Client()
    assert client.error(TRIGGER) == 0
    assert client.reads() == (0, ENDED, b"*TRG\n")
    assert (client.error(REMOTE), client.error(LOCAL)) == (0, 0)
    assert [client.error(code) for code in (UNLOCK, LOCK, UNLOCK, UNLOCK)] == [12, 0, 0, 12]


def test_abort_ends_a_read() -> None:
    client = Client()
    assert client.begins_to_read() is None
    assert client.session.abort(client.link + 1) == INVALID_LINK
    assert client.session.abort(client.link) == 0
    assert came(client.result()) == (ABORTED, 0, b"")
    assert client.session.abort(client.link) == 0  # nothing to abort is no error
    assert client.result() is None


@pytest.mark.parametrize(
    "procedure", [WRITE, READ, STATUS, TRIGGER, CLEAR, REMOTE, LOCAL, LOCK, UNLOCK, DESTROY], ids=str
)
def test_a_link_that_is_not_its_own_is_refused(procedure: int) -> None:
    client = Client()
    client.link += 1
    assert client.error(procedure, 0, 0, 0, 0, 0) == INVALID_LINK


def test_links_come_and_go() -> None:
    client = Client()

    def created(device: bytes) -> int:
        result = client.calls(CREATE, uints(1, 0, 0) + opaque(device))
        assert result is not None
        return result.unsigned()

    assert created(b"inst0") == 9
    assert client.error(DESTROY) == 0
    assert client.writes(b"hello\n") == (INVALID_LINK, 0)
    assert created(b"gpib0,16") == 3
    assert created(b"INST0") == 0


def test_what_it_cannot_do_it_says() -> None:
    client = Client()
    assert [client.error(code) for code in (20, 22, 25, 26)] == [8, 8, 8, 8]
    client.session.heard(called(0))
    assert client.sent == [uints(5, 1, 0, 0, 0, 0)]
    client.session.heard(called(99))
    client.session.heard(called(WRITE, uints(client.link)))
    assert client.sent[1:] == [uints(5, 1, 0, 0, 0, 3), uints(5, 1, 0, 0, 0, 4)]


# -- with sockets ----------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def soon_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "POLL_S", 0.01)


class Wire:
    """One connection, call by call."""

    def __init__(self, peer: socket.socket) -> None:
        self.peer, self.records = peer, Records()
        self.link = 0

    def call(self, procedure: int, arguments: bytes, program: tuple[int, int] = CORE) -> Reader:
        self.peer.sendall(marked(called(procedure, arguments, program)))
        return self.result()

    def result(self) -> Reader:
        while data := self.peer.recv(4096):
            for record in self.records.feed(data):
                return Reader(record[24:])
        raise ConnectionError("ended")

    def create(self) -> int:
        result = self.call(CREATE, uints(1, 0, 0) + opaque(b"inst0"))
        error, self.link = result.unsigned(), result.unsigned()
        return error

    def ask(self, text: bytes) -> bytes:
        self.call(WRITE, uints(self.link, 1000, 0, END) + opaque(text))
        return came(self.call(READ, uints(self.link, 1000, 5000, 0, 0, 0)))[2]

    def ended(self) -> bool:
        with suppress(ConnectionError):
            return self.peer.recv(1) == b""
        return True


@contextmanager
def wire(port: int) -> Iterator[Wire]:
    with socket.create_connection(("127.0.0.1", port), timeout=5.0) as peer:
        yield Wire(peer)


def test_the_resource_is_the_address() -> None:
    outlet = Vxi11Outlet("vna", Parrot(), RealClock(), port=1024)
    assert outlet.address == outlet.visa == "TCPIP::127.0.0.1,1024::inst0::INSTR"


@pytest.mark.parametrize("selector", [selectors.DefaultSelector, InOrderOfNumber])
def test_a_client_may_leave_when_the_next_has_dialled_already(
    selector: type[selectors.BaseSelector], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selectors, "DefaultSelector", selector)
    outlet = Vxi11Outlet("vna", Parrot(), RealClock())
    create = marked(called(CREATE, uints(1, 0, 0) + opaque(b"inst0")))
    with Server([outlet], RealClock()) as server, wire(outlet.port) as second:
        with wire(outlet.port) as first:
            first.peer.sendall(create)
            turns(server)
            assert first.result().unsigned() == 0
        second.peer.sendall(create)  # in one turn with the end of the first
        turns(server)
        assert second.result().unsigned() == 0


def test_one_link_at_a_time_and_the_next_may_follow_at_once(caplog: pytest.LogCaptureFixture) -> None:
    parrot = Parrot()
    outlet = Vxi11Outlet("vna", parrot, RealClock())
    with serving(outlet):
        with wire(outlet.port) as first:
            assert first.create() == 0
            with wire(outlet.port) as second:
                assert second.create() == 9
            assert first.ask(b"still") == b"STILL\n"
        for _ in range(20):
            with wire(outlet.port) as client:
                assert client.create() == 0
                assert client.ask(b"next") == b"NEXT\n"
                client.call(WRITE, uints(client.link, 1000, 0, END) + opaque(b"late 60 x\n"))
    assert parrot.connections == 21
    assert caplog.messages == ["emulated vna: a second connection was refused, it has one at a time"]


def test_who_talks_without_end_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    outlet = Vxi11Outlet("vna", Parrot(), RealClock())
    create = marked(called(CREATE, uints(1, 0, 0) + opaque(b"inst0")))
    with Server([outlet], RealClock()) as server, wire(outlet.port) as first, wire(outlet.port) as second:
        for client, error in ((first, 0), (second, 9)):
            client.peer.sendall(create)
            turns(server)
            assert client.result().unsigned() == error
            endless(monkeypatch, outlet._holder)


def test_the_abort_channel_ends_a_read_on_the_core_channel() -> None:
    outlet = Vxi11Outlet("vna", Parrot(), RealClock())
    with serving(outlet), wire(outlet.port) as client:
        result = client.call(CREATE, uints(1, 0, 0) + opaque(b"inst0"))
        _, link, port, _ = (result.unsigned() for _ in range(4))
        with wire(port) as aborting:
            client.peer.sendall(marked(called(READ, uints(link, 100, 3_600_000, 0, 0, 0))))
            client.link = link
            while aborting.call(1, uints(link), ABORT).unsigned() == 0:
                client.peer.settimeout(0.05)  # the read may come behind the abort
                with suppress(TimeoutError):
                    assert came(client.result()) == (ABORTED, 0, b"")
                    break
            assert aborting.call(1, uints(link + 1), ABORT).unsigned() == INVALID_LINK
        client.peer.settimeout(5)
        assert client.ask(b"fine") == b"FINE\n"


def test_an_emulator_that_hangs_up_ends_the_connection() -> None:
    outlet = Vxi11Outlet("vna", Parrot(), RealClock())
    with serving(outlet):
        with wire(outlet.port) as client:
            client.create()
            client.call(WRITE, uints(client.link, 1000, 0, END) + opaque(b"bye\n"))
            assert client.ended()
        with wire(outlet.port) as client:
            assert client.create() == 0
            assert client.ask(b"again") == b"AGAIN\n"


def test_a_world_that_fails_ends_the_connection_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    outlet = Vxi11Outlet("vna", Parrot(), RealClock())
    with serving(outlet), wire(outlet.port) as client:
        client.create()
        client.call(WRITE, uints(client.link, 1000, 0, END) + opaque(b"fail\n"))
        assert client.ended()
    assert caplog.record_tuples == [("labtrain", logging.ERROR, "emulated vna hangs up: the world stands still")]


def test_whoever_speaks_something_else_is_shown_the_door() -> None:
    outlet = Vxi11Outlet("vna", Parrot(), RealClock())
    with serving(outlet):
        for port in (outlet.port, outlet.abort_listener.port):
            with wire(port) as other:
                other.peer.sendall(b"*IDN?\n")
                assert other.ended()
