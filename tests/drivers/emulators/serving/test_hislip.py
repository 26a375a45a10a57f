"""HiSLIP: bytes and messages; one session without sockets; the outlet with them."""

from __future__ import annotations

import logging
import selectors
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labtrain.clock import RealClock, SimulatedClock
from labtrain.drivers.emulators.faults import Faulty, parse_fault
from labtrain.drivers.emulators.serving import server as serve
from labtrain.drivers.emulators.serving.exchange import MessageExchange
from labtrain.drivers.emulators.serving.hislip import HislipOutlet
from labtrain.drivers.emulators.serving.hislip_messages import (
    HEADER,
    LARGEST,
    Decoder,
    Fatal,
    Kind,
    Message,
    NotHislip,
    Refused,
    data_messages,
)
from labtrain.drivers.emulators.serving.hislip_session import HislipSession
from labtrain.drivers.emulators.serving.server import Server
from tests.drivers.emulators.serving.parrot import InOrderOfNumber, Instrument, Parrot, endless, serving, turns

# -- bytes and messages ----------------------------------------------------------------------------------------------

messages = st.builds(
    Message, st.integers(0, 255), st.integers(0, 255), st.integers(0, 2**32 - 1), st.binary(max_size=40)
)


@given(st.lists(messages, max_size=5), st.lists(st.integers(1, 60)))
def test_messages_come_out_as_they_went_in_however_they_are_cut(sent: list[Message], cuts: list[int]) -> None:
    stream = b"".join(message.packed() for message in sent)
    decoder, came, at = Decoder(), [], 0
    for size in [*cuts, len(stream)]:
        came += list(decoder.feed(stream[at : at + size]))
        at += size
    assert came == sent


def test_a_header_is_that_of_the_specification() -> None:
    assert Message(Kind.DATA_END, 1, 0xFFFFFF00, b"*IDN?\n").packed() == (
        b"HS\x07\x01\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00\x06*IDN?\n"
    )


@given(st.integers(1, 30))
def test_what_is_too_large_is_passed_over(size: int) -> None:
    stream = Message(Kind.DATA, 0, 2, b"HS" * 40).packed() + Message(Kind.TRIGGER).packed()
    decoder, came = Decoder(largest=50), []
    for at in range(0, len(stream), size):
        came += list(decoder.feed(stream[at : at + size]))
    assert came == [Message(Kind.DATA, 0, 2, too_large=True), Message(Kind.TRIGGER)]


@pytest.mark.parametrize("stream", [b"G", b"HT", b"GET / HTTP/1.1\r\n", Message(Kind.TRIGGER).packed() + b"*IDN?\n"])
def test_what_is_no_hislip_is_told_at_once(stream: bytes) -> None:
    with pytest.raises(NotHislip):
        list(Decoder().feed(stream))


@given(st.binary(max_size=200), st.integers(0, 60))
def test_an_answer_is_whole_in_messages_of_any_size(answer: bytes, largest: int) -> None:
    sent = list(data_messages(answer, 6, largest))
    assert b"".join(message.payload for message in sent) == answer
    assert [message.kind for message in sent] == [Kind.DATA] * (len(sent) - 1) + [Kind.DATA_END]
    assert all(len(message.packed()) <= max(largest, HEADER.size + 1) for message in sent)


# -- a session -------------------------------------------------------------------------------------------------------


class Client:
    """A session with its other end: what it has sent is there to be looked at."""

    def __init__(self, emulator: Parrot | None = None) -> None:
        self.clock = SimulatedClock()
        self.emulator = emulator or Instrument()
        self.sync, self.asynchronous = Decoder(1 << 30), Decoder(1 << 30)
        self.on_sync: list[Message] = []
        self.on_async: list[Message] = []
        exchange = MessageExchange("vna", self.emulator, self.clock)
        self.session = HislipSession(exchange, 7, lambda data: self.on_sync.extend(self.sync.feed(data)))
        self.session.initialized(0x0200)
        self.session.both_channels(lambda data: self.on_async.extend(self.asynchronous.feed(data)))

    def says(self, kind: Kind, text: bytes = b"", number: int = 2, *, read: bool = False) -> list[Message]:
        """What comes back on the synchronous channel; `read`: the answer before was."""
        self.on_sync.clear()
        self.session.heard_sync(Message(kind, read, number, text))
        self.session.flush()
        return list(self.on_sync)

    def asks(self, kind: Kind, control: int = 0, number: int = 0, payload: bytes = b"") -> list[Message]:
        """What comes back on the asynchronous channel."""
        self.on_async.clear()
        self.session.heard_async(Message(kind, control, number, payload))
        return list(self.on_async)

    def after(self, seconds: float) -> list[Message]:
        self.on_sync.clear()
        self.clock.sleep(seconds)
        self.session.flush()
        return list(self.on_sync)


def answer(text: bytes, number: int = 2) -> Message:
    return Message(Kind.DATA_END, 0, number, text)


def test_it_begins_in_synchronised_mode_at_version_1() -> None:
    client = Client()
    assert client.on_sync == [Message(Kind.INITIALIZE_RESPONSE, 0, 0x0100_0007)]
    assert client.on_async == [Message(Kind.ASYNC_INITIALIZE_RESPONSE, 0, int.from_bytes(b"xx"))]


def test_a_message_in_parts_is_answered_under_the_number_of_the_last() -> None:
    client = Client()
    assert client.says(Kind.DATA, b"he", 2) == []
    assert client.says(Kind.DATA, b"ll", 4) == []
    assert client.says(Kind.DATA_END, b"o\n", 6) == [answer(b"HELLO\n", 6)]


def test_end_alone_ends_a_message() -> None:
    assert Client().says(Kind.DATA_END, b"hello") == [answer(b"HELLO\n")]


def test_answers_are_cut_to_what_the_client_takes() -> None:
    client = Client()
    size = client.asks(Kind.ASYNC_MAXIMUM_MESSAGE_SIZE, payload=struct.pack("!Q", 1016))
    assert size == [Message(Kind.ASYNC_MAXIMUM_MESSAGE_SIZE_RESPONSE, payload=struct.pack("!Q", LARGEST))]
    sent = client.says(Kind.DATA_END, b"long 2500\n")
    assert [(message.kind, len(message.payload), message.parameter) for message in sent] == [
        (Kind.DATA, 1000, 2), (Kind.DATA, 1000, 2), (Kind.DATA_END, 500, 2)
    ]  # fmt: skip


def test_a_late_answer_comes_when_it_is_due() -> None:
    client = Client()
    assert client.says(Kind.DATA_END, b"late 10 one\n") == []
    assert client.session.exchange.due_s == pytest.approx(client.clock.monotonic() + 10)
    assert client.after(9.9) == []
    assert client.after(0.2) == [answer(b"ONE\n")]


def test_a_question_before_the_answer_was_read_is_an_error_and_nothing_on_the_wire() -> None:
    client = Client()
    client.says(Kind.DATA_END, b"one\n", 2)
    assert client.says(Kind.DATA_END, b"two\n", 4, read=True) == [answer(b"TWO\n", 4)]
    assert client.emulator.errors == []
    assert client.says(Kind.DATA_END, b"three\n", 6) == [answer(b"THREE\n", 6)]
    assert client.emulator.errors == [-410]
    assert client.on_async[1:] == []


def test_a_question_before_the_answer_was_sent_drops_that_and_is_told_on_both_channels() -> None:
    client = Client()
    client.says(Kind.DATA_END, b"late 10 one\n", 2)
    client.on_async.clear()
    assert client.says(Kind.DATA_END, b"two\n", 4) == [Message(Kind.INTERRUPTED, 0, 4), answer(b"TWO\n", 4)]
    assert client.on_async == [Message(Kind.ASYNC_INTERRUPTED, 0, 4)]
    assert client.emulator.errors == [-410]
    assert client.after(20) == []


def test_orders_without_answers_interrupt_nothing() -> None:
    client = Client()
    for number in (2, 4, 6):
        assert client.says(Kind.DATA_END, b"quiet\n", number) == []
    assert client.emulator.errors == []


def test_device_clear_drops_what_is_under_way_in_both_directions() -> None:
    client = Client()
    client.says(Kind.DATA_END, b"one\n", 2)  # not read
    client.says(Kind.DATA_END, b"late 1 two\n", 4, read=True)
    client.says(Kind.DATA, b"half a mess", 6, read=True)
    assert client.asks(Kind.ASYNC_DEVICE_CLEAR) == [Message(Kind.ASYNC_DEVICE_CLEAR_ACKNOWLEDGE)]
    assert client.says(Kind.DATA_END, b"on its way\n", 8) == []
    overlapped = 1
    client.on_sync.clear()
    client.session.heard_sync(Message(Kind.DEVICE_CLEAR_COMPLETE, overlapped))
    assert client.on_sync == [Message(Kind.DEVICE_CLEAR_ACKNOWLEDGE, 0)]  # synchronised mode it is
    assert client.after(5) == []
    client.emulator.errors.clear()
    assert client.says(Kind.DATA_END, b"new\n", 0xFFFFFF00) == [answer(b"NEW\n", 0xFFFFFF00)]
    assert client.emulator.errors == []


def test_an_answer_that_was_cleared_away_needs_not_be_read() -> None:
    client = Client()
    client.says(Kind.DATA_END, b"one\n", 2)
    client.asks(Kind.ASYNC_DEVICE_CLEAR)
    client.says(Kind.DEVICE_CLEAR_COMPLETE)
    assert client.says(Kind.DATA_END, b"two\n", 2) == [answer(b"TWO\n")]
    assert client.emulator.errors == []


def status(client: Client, number: int, *, read: bool = False) -> int:
    (response,) = client.asks(Kind.ASYNC_STATUS_QUERY, read, number)
    assert response.kind == Kind.ASYNC_STATUS_RESPONSE
    return response.control


def test_a_message_is_available_until_it_was_read() -> None:
    client = Client()
    assert status(client, 0) == 0
    client.says(Kind.DATA_END, b"late 1 one\n", 2)
    assert status(client, 2) == 0
    client.after(1)
    assert status(client, 2) == 16
    assert status(client, 4) == 16  # pyvisa-py names the message that it will send next
    assert status(client, 6) == status(client, 0) == 0
    assert status(client, 2, read=True) == 0
    assert status(client, 2) == 0
    assert client.says(Kind.DATA_END, b"two\n", 4) == [answer(b"TWO\n", 4)]
    assert client.emulator.errors == []  # that it was read the status query has said
    client.emulator.push_error(-230)
    assert status(client, 4) == 20


def test_an_emulator_without_status_byte_and_error_queue_is_served_too() -> None:
    client = Client(Parrot())
    client.says(Kind.DATA_END, b"one\n", 2)
    assert status(client, 2) == 16
    assert client.says(Kind.DATA_END, b"two\n", 4) == [answer(b"TWO\n", 4)]


def test_faults_do_not_hide_the_status_byte() -> None:
    instrument = Instrument()
    client = Client(Faulty(instrument, [parse_fault("vna: no reply at 1")[1]]))  # type: ignore[arg-type]
    assert client.says(Kind.DATA_END, b"one\n", 2) == []
    instrument.push_error(-230)
    assert status(client, 2) == 4
    assert client.says(Kind.DATA_END, b"two\n", 4) == [answer(b"TWO\n", 4)]


def test_a_trigger_is_carried_out_like_the_common_command() -> None:
    assert Client().says(Kind.TRIGGER, number=10) == [answer(b"*TRG\n", 10)]


def test_locks_of_the_only_client() -> None:
    client = Client()

    def lock(control: int, name: bytes = b"") -> int:
        return client.asks(Kind.ASYNC_LOCK, control, 1000, name)[0].control

    def held() -> tuple[int, int]:
        (told,) = client.asks(Kind.ASYNC_LOCK_INFO)
        return told.control, told.parameter

    assert (lock(0), held()) == (3, (0, 0))
    assert (lock(1), held()) == (1, (1, 1))
    assert lock(1) == 3
    assert (lock(0), held()) == (1, (0, 0))
    assert (lock(1, b"shared"), held()) == (1, (0, 1))
    assert lock(0) == 2


def test_what_it_does_not_know_it_refuses_and_goes_on() -> None:
    client = Client()
    for told in (client.says(Kind.ASYNC_STATUS_QUERY), client.asks(Kind.DATA_END)):
        assert [(message.kind, message.control) for message in told] == [(Kind.ERROR, Refused.UNRECOGNIZED_TYPE)]
    client.on_sync.clear()
    client.session.heard_sync(Message(Kind.DATA_END, 0, 2, too_large=True))
    assert [(message.kind, message.control) for message in client.on_sync] == [(Kind.ERROR, Refused.TOO_LARGE)]
    assert client.asks(Kind.ASYNC_REMOTE_LOCAL_CONTROL, 1) == [Message(Kind.ASYNC_REMOTE_LOCAL_RESPONSE)]
    assert client.says(Kind.DATA_END, b"one\n") == [answer(b"ONE\n")]


# -- with sockets ----------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def soon_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "POLL_S", 0.01)


class Line:
    """One connection, message by message."""

    def __init__(self, peer: socket.socket) -> None:
        self.peer = peer

    def send(self, kind: Kind, control: int = 0, parameter: int = 0, payload: bytes = b"") -> None:
        self.peer.sendall(Message(kind, control, parameter, payload).packed())

    def receive(self) -> Message:
        _, kind, control, parameter, length = HEADER.unpack(self._exactly(HEADER.size))
        return Message(kind, control, parameter, self._exactly(length))

    def ended(self) -> bool:
        with suppress(ConnectionError):
            return self.peer.recv(1) == b""
        return True

    def _exactly(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count and (more := self.peer.recv(count - len(data))):
            data += more
        return bytes(data)


@contextmanager
def line(outlet: HislipOutlet) -> Iterator[Line]:
    with socket.create_connection(("127.0.0.1", outlet.port), timeout=5.0) as peer:
        yield Line(peer)


def initialize(sync: Line, device: bytes = b"hislip0") -> Message:
    sync.send(Kind.INITIALIZE, 0, 0x0100_7878, device)
    return sync.receive()


@contextmanager
def client(outlet: HislipOutlet) -> Iterator[tuple[Line, Line]]:
    with line(outlet) as sync, line(outlet) as asynchronous:
        begun = initialize(sync)
        assert begun.kind == Kind.INITIALIZE_RESPONSE
        asynchronous.send(Kind.ASYNC_INITIALIZE, 0, begun.parameter & 0xFFFF)
        assert asynchronous.receive().kind == Kind.ASYNC_INITIALIZE_RESPONSE
        yield sync, asynchronous


def ask(sync: Line, text: bytes, number: int = 2) -> bytes:
    sync.send(Kind.DATA_END, 1, number, text)
    return sync.receive().payload


def refused(told: Message) -> Fatal:
    assert told.kind == Kind.FATAL_ERROR
    return Fatal(told.control)


def test_the_resource_is_the_address() -> None:
    outlet = HislipOutlet("vna", Parrot(), RealClock(), port=4880)
    assert outlet.address == outlet.visa == "TCPIP::127.0.0.1::hislip0,4880::INSTR"


@pytest.mark.parametrize("selector", [selectors.DefaultSelector, InOrderOfNumber])
def test_a_client_may_leave_when_the_next_has_dialled_already(
    selector: type[selectors.BaseSelector], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selectors, "DefaultSelector", selector)
    outlet = HislipOutlet("vna", Parrot(), RealClock())
    with Server([outlet], RealClock()) as server, line(outlet) as second:
        with line(outlet) as first:
            first.send(Kind.INITIALIZE, 0, 0x0100_0000)
            turns(server)
            assert first.receive().kind == Kind.INITIALIZE_RESPONSE
        second.send(Kind.INITIALIZE, 0, 0x0100_0000)  # in one turn with the end of the first
        turns(server)
        assert second.receive().kind == Kind.INITIALIZE_RESPONSE


def test_one_client_at_a_time_and_the_next_may_follow_at_once(caplog: pytest.LogCaptureFixture) -> None:
    parrot = Parrot()
    outlet = HislipOutlet("vna", parrot, RealClock())
    with serving(outlet):
        with client(outlet) as (sync, _):
            assert ask(sync, b"one") == b"ONE\n"
            with line(outlet) as second:
                assert refused(initialize(second)) == Fatal.TOO_MANY_CLIENTS
                assert second.ended()
            assert ask(sync, b"still", 4) == b"STILL\n"
        for _ in range(20):
            with client(outlet) as (sync, _):
                assert ask(sync, b"next") == b"NEXT\n"
                sync.send(Kind.DATA_END, 1, 4, b"late 60 x\n")
                sync.send(Kind.DATA, 1, 6, b"half a mess")
    assert parrot.connections == 21
    assert caplog.messages == ["emulated vna: a second connection was refused, it has one at a time"]


def test_a_slow_reader_gets_all_of_a_long_answer_and_the_last_words() -> None:
    size = 20_000_000  # more than the system buffers
    outlet = HislipOutlet("vna", Parrot(), RealClock())
    with serving(outlet), client(outlet) as (sync, _):
        sync.send(Kind.DATA_END, 0, 2, b"long %d\nbye done\n" % size)
        came = b""
        while not came.endswith(b"DONE"):
            came += sync.receive().payload
        assert came == b"x" * size + b"DONE"
        assert sync.ended()


@pytest.mark.parametrize("selector", [selectors.DefaultSelector, InOrderOfNumber])
def test_a_question_counts_in_the_status_that_was_asked_for_after_it(
    selector: type[selectors.BaseSelector], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both stand there on their channels, and whichever the loop looks at first, the earlier answer is read."""
    monkeypatch.setattr(selectors, "DefaultSelector", selector)
    outlet = HislipOutlet("vna", Instrument(), RealClock())
    with Server([outlet], RealClock()) as server, line(outlet) as asynchronous, line(outlet) as sync:
        turns(server)
        sync.send(Kind.INITIALIZE, 0, 0x0100_0000)
        turns(server)
        asynchronous.send(Kind.ASYNC_INITIALIZE, 0, sync.receive().parameter & 0xFFFF)
        turns(server)
        sync.send(Kind.DATA_END, 0, 2, b"one\n")
        turns(server)
        assert (asynchronous.receive().kind, sync.receive().payload) == (Kind.ASYNC_INITIALIZE_RESPONSE, b"ONE\n")
        sync.send(Kind.DATA_END, 1, 4, b"quiet\n")
        asynchronous.send(Kind.ASYNC_STATUS_QUERY, 0, 4)
        turns(server)
        assert asynchronous.receive().control == 0


@pytest.mark.parametrize("talks", [0, 1])
def test_who_talks_without_end_keeps_nobody_waiting(talks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    outlet = HislipOutlet("vna", Parrot(), RealClock())
    with Server([outlet], RealClock()) as server, line(outlet) as asynchronous, line(outlet) as sync:
        sync.send(Kind.INITIALIZE, 0, 0x0100_0000)
        turns(server)
        asynchronous.send(Kind.ASYNC_INITIALIZE, 0, sync.receive().parameter & 0xFFFF)
        turns(server)
        assert asynchronous.receive().kind == Kind.ASYNC_INITIALIZE_RESPONSE
        endless(monkeypatch, (outlet._sync, outlet._async)[talks])
        with line(outlet) as second:
            second.send(Kind.INITIALIZE, 0, 0x0100_0000)
            turns(server)
            assert refused(second.receive()) == Fatal.TOO_MANY_CLIENTS


def test_an_emulator_that_hangs_up_says_its_last_words_first_and_ends_both_connections() -> None:
    outlet = HislipOutlet("vna", Parrot(), RealClock())
    with serving(outlet), client(outlet) as (sync, asynchronous):
        assert ask(sync, b"bye for now") == b"FOR NOW"
        assert sync.ended()
        assert asynchronous.ended()


def test_either_connection_ends_the_other() -> None:
    outlet = HislipOutlet("vna", Parrot(), RealClock())
    with serving(outlet):
        for which in (0, 1):
            with client(outlet) as both:
                both[which].peer.close()
                assert both[1 - which].ended()


def test_a_world_that_fails_ends_the_connection_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    outlet = HislipOutlet("vna", Parrot(), RealClock())
    with serving(outlet), client(outlet) as (sync, _):
        sync.send(Kind.DATA_END, 0, 2, b"fail\n")
        assert sync.ended()
    assert caplog.record_tuples == [("labtrain", logging.ERROR, "emulated vna hangs up: the world stands still")]


def test_what_begins_wrong_is_refused_with_the_code_of_the_specification() -> None:
    outlet = HislipOutlet("vna", Parrot(), RealClock())
    with serving(outlet):
        with line(outlet) as other:
            other.peer.sendall(b"*IDN?\n")
            assert refused(other.receive()) == Fatal.POORLY_FORMED_HEADER
            assert other.ended()
        with line(outlet) as other:
            other.send(Kind.DATA_END, 0, 2, b"*IDN?\n")
            assert refused(other.receive()) == Fatal.INVALID_INITIALIZATION
        with line(outlet) as other:
            assert refused(initialize(other, b"hislip7")) == Fatal.INVALID_INITIALIZATION
        with line(outlet) as other:
            other.send(Kind.ASYNC_INITIALIZE, 0, 99)
            assert refused(other.receive()) == Fatal.INVALID_INITIALIZATION
        with line(outlet) as sync:
            assert initialize(sync, b"").kind == Kind.INITIALIZE_RESPONSE
            sync.send(Kind.DATA_END, 0, 2, b"*IDN?\n")
            assert refused(sync.receive()) == Fatal.WITHOUT_BOTH_CHANNELS
        with client(outlet) as (sync, _):
            assert ask(sync, b"fine") == b"FINE\n"
