"""Scripted faults: each does what it says, at the message it says, and the production link notices."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labtrain.clock import SimulatedClock
from labtrain.drivers.backends.memory import MemoryLink
from labtrain.drivers.emulators.emulator import Reply
from labtrain.drivers.emulators.faults import Fault, Faulty, parse_fault
from labtrain.drivers.emulators.metasurface.open_source_ris import OpenSourceRisEmulator
from labtrain.drivers.emulators.vna.keysight_pna import KeysightPna
from labtrain.errors import InputError, LinkClosed, LinkTimeout
from tests.drivers.emulators.networks import Network
from tests.surfaces import Pixels


class Echo:
    """Answers every line with itself, after as many seconds as it has letters."""

    def __init__(self) -> None:
        self.begun = b""
        self.connections = 0
        self.lines: list[bytes] = []

    def connected(self) -> list[Reply]:
        self.begun = b""
        self.connections += 1
        return []

    def receive(self, data: bytes) -> list[Reply]:
        *lines, self.begun = (self.begun + data).split(b"\n")
        self.lines += lines
        return [(float(len(line)), line + b"\n") for line in lines]


def plain(*lines: bytes) -> list[Reply]:
    return [(float(len(line)), line + b"\n") for line in lines]


def faulty(*faults: Fault) -> tuple[Faulty, Echo]:
    echo = Echo()
    return Faulty(echo, faults), echo


# -- as text -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        ("late 2.5 s at 7", Fault("late", 7, number=2.5)),
        ("late 3s from 7", Fault("late", 7, lasting=True, number=3.0)),
        ("no reply at 3 of CALC1:DATA?", Fault("no reply", 3, of="CALC1:DATA?")),
        ("No  Reply AT 3 of 'PAR:SEL a'", Fault("no reply", 3, of="PAR:SEL a")),
        ("truncated at 2", Fault("truncated", 2)),
        ("truncated 100 bytes at 2", Fault("truncated", 2, number=100.0)),
        ("truncated 1 byte at 2", Fault("truncated", 2, number=1.0)),
        ("garbage at 4", Fault("garbage", 4)),
        ("disconnect at 5", Fault("disconnect", 5)),
        ("reboot at 5 of SWE:MODE", Fault("reboot", 5, of="SWE:MODE")),
        ("error -230 at 6", Fault("error", 6, number=-230.0)),
        ('error 144 "over power" from 6', Fault("error", 6, lasting=True, number=144.0, text="over power")),
    ],
)
def test_faults_are_written_as_text(written: str, fault: Fault) -> None:
    assert parse_fault(f"vna: {written}") == ("vna", fault)
    assert parse_fault(f" meta_surface:{written} ") == ("meta_surface", fault)


EXAMPLES = (
    'write "late 2.5 s at 7", "no reply at 3 of CALC1:DATA?", "truncated 100 bytes at 2", "error -230 from 6" '
    "after the name of the instrument"
)


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("late 2.5 s at 7", 'begins without the name of an instrument; write "vna: late 2.5 s at 7"'),
        (": late 2.5 s at 7", 'begins without the name of an instrument; write "vna: late 2.5 s at 7"'),
        ("vna: explode at 7", f"not understood; {EXAMPLES}"),
        ("vna: late 2.5 s", f"not understood; {EXAMPLES}"),
        ("vna: late 2.5 min at 7", f"not understood; {EXAMPLES}"),
        ("vna:", f"not understood; {EXAMPLES}"),
        ("vna: late at 7", '"late" needs seconds; write "late 2.5 s at 7"'),
        ("vna: late 2.5 at 7", '"late" takes seconds; write "late 2.5 s at 7"'),
        ("vna: late 2 bytes at 7", '"late" takes seconds; write "late 2.5 s at 7"'),
        ("vna: late -1 s at 7", "-1 is less than nothing"),
        ("vna: no reply at 0", "messages are counted from 1"),
        ("vna: garbage 5 bytes at 3", '"garbage" takes no number; write "garbage at 3"'),
        ("vna: truncated 5 at 3", '"truncated" takes a number of bytes; write "truncated 100 bytes at 3"'),
        ("vna: truncated 5.5 bytes at 3", "5.5 is not a whole number"),
        ("vna: error at 3", '"error" needs a code; write "error -230 at 3"'),
        ("vna: error -230 s at 3", '"error" takes a code; write "error -230 at 3"'),
        ('vna: reboot "now" at 3', '"reboot" takes no text in quotes'),
    ],
)
def test_what_is_wrong_with_a_fault_is_told(written: str, problem: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_fault(written)
    assert str(caught.value) == f"fault {written!r}: {problem}"


# -- where they strike -------------------------------------------------------------------------------------------


def test_messages_are_counted_whatever_pieces_they_come_in() -> None:
    emulator, _ = faulty(Fault("late", 3, number=10.0))
    assert emulator.receive(b"a\nbb") == plain(b"a")
    assert emulator.receive(b"b\nc\nd\ne") == [(3.0, b"bbb\n"), (11.0, b"c\n"), (1.0, b"d\n")]
    assert emulator.receive(b"\n") == plain(b"e")


def test_messages_are_counted_over_connections() -> None:
    emulator, echo = faulty(Fault("no reply", 3))
    emulator.receive(b"a\nb\nunfinished")
    emulator.connected()
    assert emulator.receive(b"c\n") == []
    assert emulator.receive(b"d\n") == plain(b"d")
    assert echo.lines == [b"a", b"b", b"c", b"d"]


def test_only_messages_with_the_text_count() -> None:
    emulator, _ = faulty(Fault("no reply", 2, of="data?"))
    sent = [b"DATA?", b"OTHER?", b"x;DATA? 1", b"DATA?"]
    assert [emulator.receive(line + b"\n") for line in sent] == [
        plain(b"DATA?"),
        plain(b"OTHER?"),
        [],
        plain(b"DATA?"),
    ]


def test_the_text_is_looked_for_in_the_whole_message_and_in_no_other() -> None:
    emulator, _ = faulty(Fault("no reply", 2, of="DATA"))
    assert emulator.receive(b"DA") == []
    assert emulator.receive(b"TA\nother\n") == plain(b"DATA", b"other")
    assert emulator.receive(b"other\n") == plain(b"other")
    assert emulator.receive(b"DATA\n") == []


def test_lasting_faults_last() -> None:
    emulator, _ = faulty(Fault("no reply", 2, lasting=True))
    assert emulator.receive(b"a\nb\nc\n") == plain(b"a")
    assert emulator.receive(b"d\n") == []


def test_several_faults_may_strike_at_once() -> None:
    emulator, _ = faulty(Fault("late", 1, number=5.0), Fault("truncated", 1, number=2.0), Fault("no reply", 2))
    assert emulator.receive(b"abcd\ne\n") == [(9.0, b"ab")]


@given(st.lists(st.binary(max_size=6)))
def test_without_a_fault_everything_passes_unchanged(pieces: list[bytes]) -> None:
    emulator, echo = faulty(Fault("no reply", 10**6))
    bare = Echo()
    for piece in pieces:
        assert emulator.receive(piece) == bare.receive(piece)
    assert (echo.lines, echo.begun) == (bare.lines, bare.begun)


# -- what they do ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "left"), [(None, b"abc"), (2.0, b"ab"), (0.0, None), (99.0, b"abcdef\n")])
def test_truncated_answers(number: float | None, left: bytes | None) -> None:
    emulator, _ = faulty(Fault("truncated", 1, number=number))
    assert emulator.receive(b"abcdef\n") == ([] if left is None else [(6.0, left)])


def test_garbage_is_as_long_as_the_answer_and_the_same_every_time() -> None:
    ((_, first),) = faulty(Fault("garbage", 1))[0].receive(b"abcdef\n")
    assert first is not None and len(first) == 7 and first != b"abcdef\n"
    assert faulty(Fault("garbage", 1))[0].receive(b"abcdef\n") == [(6.0, first)]


def test_a_disconnection_comes_before_the_message_is_understood() -> None:
    emulator, echo = faulty(Fault("disconnect", 2))
    assert emulator.receive(b"a\nb\nc\n") == [*plain(b"a"), (0.0, None)]
    assert emulator.receive(b"d\n") == []  # nobody listens
    assert echo.lines == [b"a"]
    emulator.connected()
    assert emulator.receive(b"e\n") == plain(b"e")


def test_a_network_instrument_loses_settings_and_connection_when_it_reboots() -> None:
    pna = KeysightPna(Network(), SimulatedClock())
    emulator = Faulty(pna, [Fault("reboot", 2)])
    emulator.receive(b"SENS:SWE:POIN 11\n")
    assert emulator.receive(b"SENS:SWE:POIN?\n") == [(0.0, None)]
    assert emulator.connected() == []
    assert emulator.receive(b"SENS:SWE:POIN?\n") == [(0.0, b"+201\n")]


def test_a_serial_instrument_loses_its_pattern_and_says_what_it_says_when_it_starts() -> None:
    pixels = Pixels()
    emulator = Faulty(OpenSourceRisEmulator(pixels, SimulatedClock()), [Fault("reboot", 2)])
    assert emulator.receive(b"!0x" + b"f" * 64 + b"\n") == [(0.0, b"#OK\n")]
    assert pixels.pattern.all()
    ((_, banner),) = emulator.receive(b"?Pattern\n")
    assert banner is not None and banner.endswith(b"#READY!\n")
    assert not pixels.pattern.any()
    assert emulator.receive(b"?Pattern\n") == [(0.0, b"#0X" + b"0" * 64 + b"\n")]


def test_an_entry_in_the_error_queue() -> None:
    pna = KeysightPna(Network(), SimulatedClock())
    emulator = Faulty(pna, [Fault("error", 1, number=-230.0), Fault("error", 2, number=144.0, text="over power")])
    assert emulator.receive(b"*OPC?\n*OPC?\nSYST:ERR?\nSYST:ERR?\n") == [
        (0.0, b"+1\n"),
        (0.0, b"+1\n"),
        (0.0, b'-230,"Data corrupt or stale"\n'),
        (0.0, b'+144,"over power"\n'),
    ]


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (Fault("error", 1, number=-230.0),
         'fault "error" of surface: this emulator has no error queue; leave that fault out'),
        (Fault("reboot", 1), 'fault "reboot" of surface: this emulator has no power switch; leave that fault out'),
    ],
)  # fmt: skip
def test_what_an_instrument_does_not_have_cannot_fail(fault: Fault, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        Faulty(Echo(), [fault], "surface")
    assert str(caught.value) == sentence


# -- as the production link meets them ---------------------------------------------------------------------------


def linked(*faults: Fault) -> MemoryLink:
    clock = SimulatedClock()
    link = MemoryLink("vna", Faulty(KeysightPna(Network(), clock), faults), clock, timeout_s=1.0)
    link.open()
    return link


def asked(link: MemoryLink, question: bytes) -> bytes:
    link.write(question)
    return link.read_until(b"\n")


def test_a_late_answer_is_not_taken_for_the_next() -> None:
    link = linked(Fault("late", 2, number=1.5))
    assert asked(link, b"SENS:SWE:POIN?\n") == b"+201\n"
    with pytest.raises(LinkTimeout):
        asked(link, b"SENS:SWE:POIN?\n")
    link.clock.sleep(2.0)
    assert asked(link, b"*IDN?\n").startswith(b"Keysight")


@pytest.mark.parametrize("kind", ["no reply", "truncated"])
def test_missing_bytes_time_out(kind: str) -> None:
    link = linked(Fault(kind, 1))  # type: ignore[arg-type]
    with pytest.raises(LinkTimeout):
        asked(link, b"*IDN?\n")
    assert asked(link, b"*OPC?\n") == b"+1\n"


@pytest.mark.parametrize("kind", ["disconnect", "reboot"])
def test_lost_connections_are_noticed_and_can_be_opened_again(kind: str) -> None:
    link = linked(Fault(kind, 2))  # type: ignore[arg-type]
    assert asked(link, b"*OPC?\n") == b"+1\n"
    with pytest.raises(LinkClosed):
        asked(link, b"*OPC?\n")
    link.close()
    link.open()
    assert asked(link, b"*OPC?\n") == b"+1\n"
