"""The SCPI core: what is understood in which spelling, what is answered, what is queued as an error, and silence."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labtrain.clock import SimulatedClock
from labtrain.drivers.emulators.scpi.emulator import ScpiEmulator
from labtrain.drivers.emulators.scpi.status import QUEUE_LENGTH, ScpiError
from labtrain.drivers.emulators.scpi.syntax import LONGEST_MESSAGE, Datum
from labtrain.drivers.emulators.scpi.table import Setting, command, query
from labtrain.drivers.emulators.scpi.values import Boolean, Choice, Number, Rest, Text, nr1


class Toy(ScpiEmulator):
    """A source with two channels, a lamp, a block of bytes, and operations that take time."""

    identity = "Acme,Toy,EMULATOR,1.0"
    busy = 0.0

    def reset(self) -> None:
        self.channels = {1: Source(), 2: Source()}
        self.lamp = False
        self.label = "a"
        self.busy = 0.0
        self.heard: list[object] = []

    @property
    def busy_until_s(self) -> float:
        return self.busy

    def channel(self, number: int) -> Source:
        if number not in self.channels:
            raise ScpiError(122, "No such channel")
        return self.channels[number]

    SETTINGS = (
        Setting("SOURce#:FREQuency[:CW|FIXed]", Number(1e3, 1e9, unit="HZ", default=1e6), channel, "frequency_hz"),
        Setting("SOURce#:FREQuency:STEP", Number(1, 100, whole=True), channel, "step"),
        Setting("SOURce#:WIDTh", Number(0, 1, unit="S"), channel, "width_s"),
        Setting("SOURce#:SHAPe", Choice("SINusoid", "SQUare"), channel, "shape"),
        Setting("OUTPut[:STATe]", Boolean(), lambda toy: toy, "lamp"),
        Setting("DISPlay:LABel", Text(), lambda toy: toy, "label"),
    )

    @command("DATA", Rest())
    def _store(self, *data: Datum) -> None:
        self.heard += [(datum.kind, datum.text) for datum in data]

    @query("DATA:SUM?", Number(), Number(), needs=1)
    def _sum(self, first: float, second: float = 0.0) -> str:
        return f"{first + second:g}"

    @query("SOURce#:ARM#:NUMBer?")
    def _numbers(self, source: int, arm: int) -> str:
        return f"{source},{arm}"

    @query("NOTHing?")
    def _nothing(self) -> None:
        return None

    @query("BYTes?")
    def _bytes(self) -> bytes:
        return b"#15\n;'\"\n"

    @command("BUSY", Number(0, 100, unit="S"))
    def _begin(self, seconds: float) -> None:
        self.busy = self.now_s + seconds

    @command("BUSY:EVER")
    def _begin_for_ever(self) -> None:
        self.busy = math.inf


class Source:
    def __init__(self) -> None:
        self.frequency_hz, self.step, self.width_s, self.shape = 1e6, 1, 0.0, "SIN"


@pytest.fixture
def toy() -> Toy:
    toy = Toy(SimulatedClock())
    assert ask(toy, "*ESR?") == "+128"  # power came on; out of the way for the rest
    return toy


def ask(toy: ScpiEmulator, message: str | bytes) -> str | None:
    """The answer to one message, without the line feed; None for silence."""
    replies = toy.receive((message.encode("latin-1") if isinstance(message, str) else message) + b"\n")
    if not replies:
        return None
    ((delay_s, answer),) = replies
    assert delay_s == 0.0
    assert answer is not None and answer.endswith(b"\n")
    return answer[:-1].decode("latin-1")


def errors(toy: ScpiEmulator) -> list[int]:
    """Codes in the queue, which is empty afterwards."""
    codes = []
    while (code := int((ask(toy, "SYST:ERR?") or "").split(",")[0])) != 0:
        codes.append(code)
    return codes


# -- spelling ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        "SOURce1:FREQuency:CW", "SOUR:FREQ", "sour:freq", "Source:Frequency:Fixed", ":SOUR1:FREQ:CW", "SOUR:FREQ:FIX",
        "  SOUR:FREQ", "SOURCE01:FREQ",
    ],
)  # fmt: skip
def test_short_and_long_forms_in_any_case_with_optional_keywords(toy: Toy, header: str) -> None:
    assert ask(toy, f"{header} 2e6") is None
    assert ask(toy, f"{header}?") == "+2.00000000000E+06"
    assert toy.channels[1].frequency_hz == 2e6
    assert errors(toy) == []


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("SOURC:FREQ 2e6", -113),  # neither short nor long
        ("SOU:FREQ 2e6", -113),
        ("SOUR:FREQUENC 2e6", -113),
        ("FREQ 2e6", -113),  # a keyword that is not optional
        ("SOUR:FREQ:CW:CW 2e6", -113),
        ("SOUR 2e6", -113),
        ("OUTP1 ON", -113),  # takes no number
        ("SOUR0:FREQ 2e6", -114),
        ("SOUR1000000:FREQ 2e6", -114),
        ("SOUR3:FREQ 2e6", 122),  # an instrument's own
        ("DATA:SUM 1,2", -113),  # only a query
        ("BUSY?", -113),  # only a command
        ("*XYZ", -113),
        ("*IDN", -113),
        ("SOUR::FREQ 2e6", -101),
        ("SOUR:FREQ: 2e6", -101),
        ("SO#R:FREQ 2e6", -101),
        ("5OUR:FREQ 2e6", -101),
        ("S\xe4UR:FREQ 2e6", -101),
        ("\x00", -101),
        ("SOURCEFREQUENCY:CW 2e6", -112),
        ("SOUR:FREQ?2e6", -111),
        ("SOUR:FREQ", -109),
        ("SOUR:FREQ ,", -109),
        ("SOUR:FREQ 2e6,", -109),
        ("SOUR:FREQ 2e6,3e6", -108),
        ("SOUR:FREQ? 2e6", -141),
        ("OUTP? ON", -108),
        ("SOUR:FREQ 2e6 'a'", -103),
        ("SOUR:FREQ 'a' 2", -103),
        ("DISP:LAB 'a", -151),
        ("DISP:LAB \"a'", -151),
        ("DATA #2", -161),
        ("DATA #3ab", -161),
    ],
)
def test_what_is_not_understood_leaves_an_error_and_no_answer(toy: Toy, message: str, code: int) -> None:
    assert ask(toy, message) is None
    assert errors(toy) == [code]
    assert toy.channels[1].frequency_hz == 1e6
    assert toy.heard == []


def test_numbers_in_headers(toy: Toy) -> None:
    assert ask(toy, "SOUR2:FREQ 3e6;:SOUR2:FREQ?;:SOUR:FREQ?") == "+3.00000000000E+06;+1.00000000000E+06"
    assert ask(toy, "SOUR:ARM7:NUMB?;:SOUR2:ARM:NUMB?;:SOUR2:ARM3:NUMB?") == "1,7;2,1;2,3"


def test_the_path_rule(toy: Toy) -> None:
    """SCPI 1999, 6.2.4: a header without leading colon begins where the one before ended, less its last keyword."""
    assert ask(toy, "SOUR2:FREQ:CW 5e6;STEP 7;STEP?;CW?") == "+7;+5.00000000000E+06"
    assert ask(toy, "SOUR2:FREQ:STEP 8;*CLS;STEP?") == "+8"  # common commands leave the path alone
    assert ask(toy, "SOUR2:FREQ:STEP 9;:SOUR2:FREQ:STEP?") == "+9"
    assert ask(toy, "SOUR2:FREQ:STEP 9;SOUR2:FREQ:STEP?") is None
    assert errors(toy) == [-113]
    assert ask(toy, "STEP?") is None  # every message begins at the root
    assert errors(toy) == [-113]


@pytest.mark.parametrize("message", ["", " ", ";", " ; ;", "\r", ";\r"])
def test_nothing_at_all_is_no_error(toy: Toy, message: str) -> None:
    assert ask(toy, message) is None
    assert errors(toy) == []


def test_chained_queries_are_answered_in_one_line(toy: Toy) -> None:
    assert ask(toy, "OUTP?;:OUTP ON;OUTP?;;:SOUR:SHAP?;") == "0;1;SIN"


def test_carriage_returns_before_the_end_are_white_space(toy: Toy) -> None:
    assert toy.receive(b"OUTP 1\r\nOUTP?\r\nDISP:LAB?\n") == [(0.0, b"1\n"), (0.0, b'"a"\n')]
    assert errors(toy) == []


# -- parameters --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "hz"),
    [
        ("1234567", 1234567), ("+1.5E6", 1.5e6), ("1.5e+6", 1.5e6), ("1.5 E 6", 1.5e6), (".5E7", 5e6), ("5.e6", 5e6),
        ("2 MHZ", 2e6), ("2MHz", 2e6), ("2 mahz", 2e6), ("2000 kHz", 2e6), ("0.5GHZ", 5e8), ("2e6 HZ", 2e6),
        ("MIN", 1e3), ("MAXIMUM", 1e9), ("def", 1e6), ("#H1E8480", 2e6), ("#q7502200", 2e6),
        ("#B11110100001001000000", 1e6),
    ],
)  # fmt: skip
def test_numbers_are_read_as_ieee_488_writes_them(toy: Toy, written: str, hz: float) -> None:
    assert ask(toy, f"SOUR:FREQ {written}") is None
    assert errors(toy) == []
    assert toy.channels[1].frequency_hz == hz


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("SOUR:FREQ 1e10", -222),
        ("SOUR:FREQ -1", -222),
        ("SOUR:FREQ 2 MS", -131),
        ("SOUR:FREQ 2 XHZ", -131),
        ("SOUR:FREQ:STEP 2 HZ", -138),
        ("SOUR:FREQ FAST", -148),
        ("SOUR:FREQ 2..5", -121),
        ("SOUR:FREQ 1e99999", -123),
        ("SOUR:FREQ 1e1000000", -123),
        (f"SOUR:FREQ {'1' * 300}", -124),
        (f"SOUR:FREQ #H{'F' * 300}", -124),
        ("OUTP 1e400", -222),
        ("SOUR:FREQ:STEP 1e400", -222),
        ("SOUR:FREQ (@1)", -178),
        ("SOUR:FREQ '2e6'", -158),
        ("SOUR:FREQ #11a", -168),
        ("SOUR:FREQ:STEP 0", -222),
        ("SOUR:FREQ:STEP DEF", -148),
        ("SOUR:SHAP TRIangle", -224),
        ("SOUR:SHAP SINU", -224),
        ("SOUR:SHAP 3", -141),
        ("OUTP MAYBE", -224),
        ("OUTP 'ON'", -158),
        ("DISP:LAB hello", -104),
        ("DISP:LAB 5", -104),
    ],
)
def test_parameters_that_do_not_fit(toy: Toy, message: str, code: int) -> None:
    assert ask(toy, message) is None
    assert errors(toy) == [code]
    assert (toy.channels[1].frequency_hz, toy.lamp, toy.label) == (1e6, False, "a")


def test_limits_can_be_asked(toy: Toy) -> None:
    assert ask(toy, "SOUR:FREQ? MIN;FREQ? MAX;FREQ? DEF;FREQ?") == (
        "+1.00000000000E+03;+1.00000000000E+09;+1.00000000000E+06;+1.00000000000E+06"
    )
    assert ask(toy, "SOUR:FREQ:STEP? MAXIMUM") == "+100"


def test_milliseconds_are_not_megaseconds(toy: Toy) -> None:
    assert ask(toy, "SOUR:WIDT 2 MS;WIDT?") == "+2.00000000000E-03"


@pytest.mark.parametrize(
    ("written", "on"), [("ON", "1"), ("off", "0"), ("1", "1"), ("0", "0"), ("-3", "1"), ("0.2", "0")]
)
def test_booleans(toy: Toy, written: str, on: str) -> None:
    assert ask(toy, f"OUTP {written};OUTP?") == on


@pytest.mark.parametrize("written", ["SIN", "sinusoid", "Sinusoid"])
def test_choices_are_told_in_short_form(toy: Toy, written: str) -> None:
    assert ask(toy, f"SOUR:SHAP SQU;SHAP {written};SHAP?") == "SIN"


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("'b'", "b"), ('"b"', "b"), ("'say \"b\"'", 'say "b"'), ("'it''s'", "it's"), ('"a ""b"""', 'a "b"'), ("''", ""),
        ("'a;b,c:D #15'", "a;b,c:D #15"),
    ],
)  # fmt: skip
def test_strings_in_either_quotes(toy: Toy, written: str, text: str) -> None:
    doubled = text.replace('"', '""')
    assert ask(toy, f"DISP:LAB {written};LAB?") == f'"{doubled}"'
    assert toy.label == text


def test_blocks_may_hold_anything(toy: Toy) -> None:
    raw = bytes(range(256))
    toy.receive(b"DATA #3256" + raw + b",5,'x';:OUTP ON\n")
    assert toy.heard == [("block", raw.decode("latin-1")), ("plain", "5"), ("string", "x")]
    assert toy.lamp


def test_an_indefinite_block_ends_with_the_message(toy: Toy) -> None:
    toy.receive(b"DATA #0a;b'\nOUTP?\n")
    assert toy.heard == [("block", "a;b'")]


def test_whole_numbers_are_exact() -> None:
    assert Number(whole=True).parse(Datum("plain", "9223372036854775807")) == 2**63 - 1


# -- message exchange --------------------------------------------------------------------------------------------


def test_after_a_command_error_the_rest_is_dropped_after_others_it_is_not(toy: Toy) -> None:
    assert ask(toy, "OUTP?;:FOO;:OUTP ON;:OUTP?") == "0"
    assert errors(toy) == [-113]
    assert ask(toy, "OUTP?;:SOUR:FREQ 1e12;:OUTP ON;:OUTP?") == "0;1"
    assert errors(toy) == [-222]
    assert ask(toy, "SOUR3:FREQ?;:OUTP?") == "1"
    assert errors(toy) == [122]


def test_nothing_follows_an_answer_that_ends_with_the_message(toy: Toy) -> None:
    """IEEE 488.2, 6.5.7.5."""
    assert ask(toy, "OUTP?;*IDN?") == "0;Acme,Toy,EMULATOR,1.0"
    assert ask(toy, "*IDN?;:OUTP?;:OUTP 1") == "Acme,Toy,EMULATOR,1.0"
    assert errors(toy) == [-440]
    assert toy.lamp


def test_a_query_may_stay_silent(toy: Toy) -> None:
    assert ask(toy, "NOTH?") is None
    assert ask(toy, "NOTH?;:OUTP?") == "0"


def test_bytes_are_answered_as_they_are(toy: Toy) -> None:
    assert toy.receive(b"BYT?;:OUTP?\n") == [(0.0, b"#15\n;'\"\n;0\n")]


def test_the_same_message_is_carried_out_every_time(toy: Toy) -> None:
    """Its parsed form is remembered, its effect must not be."""
    for label in ("x", "y"):
        toy.label = label
        assert ask(toy, "DISP:LAB?;:FOO") == f'"{label}"'
    assert errors(toy) == [-113, -113]


def test_more_messages_than_are_remembered(toy: Toy) -> None:
    for number in range(1200):
        assert ask(toy, f"DATA:SUM? {number},1") == f"{number + 1}"


def test_unfinished_input_is_forgotten_with_the_connection(toy: Toy) -> None:
    assert toy.receive(b"OUTP ON;DISP:LAB 'b") == []
    assert toy.connected() == []
    assert ask(toy, "DISP:LAB?") == '"a"'
    assert errors(toy) == []


MESSAGES = [
    b"SOUR:FREQ 2e6;STEP 5;STEP?\n", b"DISP:LAB 'a;\"b';LAB?\r\n", b"DATA #15\n;'\"\n,3\n", b"DATA #0x;y\n", b"FOO\n",
    b"*IDN?\n", b"DISP:LAB 'open\n", b"\n", b"DATA #H1F, #212\n23456789012\n", b"DATA #9x\n", b"SYST:ERR?\n",
    b"OUTP 1;OUTP?\n",
    b"DISP:LAB 'x #15';LAB?\n", b"DATA 1,#13\n\n\n;:BYT?\n", b"DATA:SUM? 1 , 2\n",
]  # fmt: skip


@given(st.lists(st.sampled_from(MESSAGES), max_size=8), st.lists(st.integers(0, 200), max_size=12))
def test_input_may_arrive_in_any_pieces(messages: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(messages)
    whole, pieces = Toy(SimulatedClock()), Toy(SimulatedClock())
    answers = [reply for message in messages for reply in whole.receive(message)]
    ends = sorted({0, *(cut % (len(stream) + 1) for cut in cuts), len(stream)})
    parts = [reply for start, end in pairwise(ends) for reply in pieces.receive(stream[start:end])]
    assert parts == answers
    assert (pieces.heard, pieces.label, errors(pieces)) == (whole.heard, whole.label, errors(whole))


@given(st.binary(max_size=60), st.integers(0, 60))
def test_any_bytes_leave_it_able_to_answer(noise: bytes, cut: int) -> None:
    toy = Toy(SimulatedClock())
    for part in (noise[:cut], noise[cut:]):
        toy.receive(part)
    toy.connected()
    assert ask(toy, "*IDN?") == Toy.identity


@pytest.mark.parametrize("chunk", [1 << 12, LONGEST_MESSAGE * 2])
@pytest.mark.parametrize("start", [b"DISP:LAB ", b"DISP:LAB '", b"DATA #6999999", b"DATA #9999999999"])
def test_endless_input_is_bounded(toy: Toy, start: bytes, chunk: int) -> None:
    long = start + b"x" * (LONGEST_MESSAGE + 10) + b"\nOUTP ON\n"
    for at in range(0, len(long), chunk):
        assert toy.receive(long[at : at + chunk]) == []
    assert len(toy._framer._buffer) <= LONGEST_MESSAGE
    assert toy.lamp
    assert errors(toy) == [-363]
    assert toy.heard == []


# -- status ------------------------------------------------------------------------------------------------------


def test_common_commands(toy: Toy) -> None:
    toy.lamp = True
    assert ask(toy, "*OPT?") == "0"
    assert ask(toy, "*TST?;*OPC?") == "+0;+1"
    assert ask(toy, "*WAI;*RST;:OUTP?") == "0"
    assert ask(toy, "SYST:VERS?") == "1999.0"
    assert errors(toy) == []


@pytest.mark.parametrize(
    ("message", "bit"),
    [("FOO", 32), ("SOUR:FREQ 1e12", 16), ("SOUR3:FREQ?", 8), ("*IDN?;*TST?", 4), ("*OPC", 1)],
)
def test_each_kind_of_event_has_its_bit(toy: Toy, message: str, bit: int) -> None:
    ask(toy, message)
    assert ask(toy, "*ESR?") == nr1(bit)
    assert ask(toy, "*ESR?") == "+0"


def test_power_on_is_an_event() -> None:
    assert ask(Toy(SimulatedClock()), "*ESR?") == "+128"


def test_the_status_byte_sums_up(toy: Toy) -> None:
    assert ask(toy, "*STB?") == "+0"
    assert ask(toy, "*ESE 33;*ESE?;*SRE 255;*SRE?") == "+33;+191"  # bit 6 cannot be a reason for itself
    assert ask(toy, "*SRE 32;*OPC;*STB?") == "+96"
    assert ask(toy, "*ESR?;*STB?") == "+1;+16"  # an answer is waiting, nothing else
    ask(toy, "FOO")
    assert ask(toy, "*STB?") == "+100"
    assert ask(toy, "*SRE 0;*STB?") == "+36"
    assert ask(toy, "*CLS;*STB?;*ESE?") == "+0;+33"
    assert errors(toy) == []
    assert ask(toy, "*ESE 256") is None
    assert errors(toy) == [-222]


def test_the_error_queue(toy: Toy) -> None:
    assert ask(toy, "SYST:ERR?") == '+0,"No error"'
    ask(toy, "FOO")
    ask(toy, "SOUR3:FREQ?")
    assert ask(toy, "SYST:ERR:COUN?") == "+2"
    assert ask(toy, "SYSTEM:ERROR:NEXT?") == '-113,"Undefined header"'
    ask(toy, "SOUR:FREQ 1e12")
    assert ask(toy, "SYST:ERR:ALL?") == '+122,"No such channel",-222,"Data out of range"'
    assert ask(toy, "SYST:ERR:ALL?") == '+0,"No error"'


def test_reset_keeps_errors_and_masks(toy: Toy) -> None:
    ask(toy, "*ESE 5;:FOO")
    assert ask(toy, "*RST;*ESE?") == "+5"
    assert errors(toy) == [-113]


def test_an_overflowing_queue_says_so_and_keeps_the_oldest(toy: Toy) -> None:
    ask(toy, "SOUR:FREQ 1e12")
    for _ in range(QUEUE_LENGTH + 5):
        ask(toy, "FOO")
    assert errors(toy) == [-222, *[-113] * (QUEUE_LENGTH - 2), -350]


def test_errors_that_no_command_caused(toy: Toy) -> None:
    toy.push_error(-310)
    toy.push_error(144, "over power")
    assert ask(toy, "SYST:ERR:ALL?") == '-310,"System error",+144,"over power"'
    assert ask(toy, "*ESR?") == "+8"


def test_a_reboot_loses_everything_and_the_connection(toy: Toy) -> None:
    ask(toy, "*ESE 5;:OUTP ON;:FOO")
    toy.receive(b"DISP:LAB 'b")
    assert toy.reboot() == [(0.0, None)]
    assert ask(toy, "OUTP?;*ESE?;*ESR?") == "0;+0;+128"
    assert errors(toy) == []


# -- operations that take time -----------------------------------------------------------------------------------


def test_completion_is_answered_when_it_is_reached(toy: Toy) -> None:
    assert toy.receive(b"BUSY 2 S;*OPC?\n") == [(2.0, b"+1\n")]
    # What came behind the question waits for it, also when it comes later.
    toy.clock.sleep(0.5)
    assert toy.receive(b"OUTP?\n") == [(1.5, b"0\n")]
    toy.clock.sleep(3.0)
    assert toy.receive(b"OUTP?\n*OPC?\n") == [(0.0, b"0\n"), (0.0, b"+1\n")]


def test_waiting_holds_up_what_follows(toy: Toy) -> None:
    assert toy.receive(b"BUSY 2;:OUTP?\n") == [(0.0, b"0\n")]
    assert toy.receive(b"*WAI;:OUTP?;*OPC?\n") == [(2.0, b"0;+1\n")]


def test_a_new_connection_does_not_wait_for_answers_of_the_old_one(toy: Toy) -> None:
    toy.receive(b"BUSY 2;*OPC?\n")
    toy.connected()
    assert toy.receive(b"OUTP?\n") == [(0.0, b"0\n")]
    assert toy.receive(b"*OPC?\n") == [(2.0, b"+1\n")]  # the operation goes on


def test_completion_sets_its_bit_when_it_is_reached(toy: Toy) -> None:
    assert ask(toy, "BUSY 2;*OPC;*ESR?") == "+0"
    toy.clock.sleep(1.9)
    assert ask(toy, "*ESR?") == "+0"
    toy.clock.sleep(0.2)
    assert ask(toy, "*ESR?") == "+1"
    for cancelled in ("*CLS", "*RST"):
        assert ask(toy, f"BUSY 2;*OPC;{cancelled}") is None
        toy.clock.sleep(3)
        assert ask(toy, "*ESR?") == "+0"


def test_what_never_ends_is_never_answered(toy: Toy) -> None:
    assert ask(toy, "BUSY:EVER;*OPC?") is None
    assert ask(toy, "*WAI;:OUTP?") == "0"
