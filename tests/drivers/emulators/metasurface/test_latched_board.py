"""The emulated latched board, as a host that knows the protocol alone meets it. Its firmware: tests/firmware."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labtrain.clock import SimulatedClock
from labtrain.drivers.emulators.faults import Fault, Faulty
from labtrain.drivers.emulators.metasurface.latched_board import LatchedBoardEmulator
from labtrain.drivers.metasurface.latched_frames import (
    BoardInfo,
    Command,
    Header,
    Status,
    crc16,
    frame,
    pack,
    pattern_bytes,
    unpack,
)
from labtrain.drivers.testing import Pixels
from labtrain.errors import InputError


class Host:
    """Sends frames to a board of 2 x 5 elements of 3 bits, which are 30 bits in 4 bytes."""

    def __init__(self, *, timing: bool = False, **options: object) -> None:
        self.clock, self.world = SimulatedClock(), Pixels(10, bits=3)
        self.board = LatchedBoardEmulator(
            self.world, self.clock, timing=timing, **({"rows": 2, "columns": 5, "bits": 3, "capacity": 3} | options)
        )
        self.number = 0

    def send(self, data: bytes) -> list[bytes]:
        return [answer for _, answer in self.board.receive(data) if answer is not None]

    def ask(self, command: int, payload: bytes = b"", version: int = 1) -> tuple[int, int, bytes]:
        """Status, flags, and the rest of the answer's payload."""
        self.number += 1
        (answer,) = self.send(frame(command, self.number, payload, version))
        header = Header.parse(answer)
        assert header is not None and header.frame_bytes == len(answer)
        assert (header.version, header.command, header.sequence) == (1, command | 0x80, self.number)
        assert crc16(answer[2:]) == 0
        return answer[8], answer[9], answer[10:-2]


ONE, TWO = bytes.fromhex("00010204"), bytes.fromhex("fffffffc")


def test_the_crc_is_the_one_that_the_documentation_names() -> None:
    assert crc16(b"123456789") == 0x29B1


def test_a_frame_byte_by_byte() -> None:
    assert frame(Command.SHOW, 7, b"\x00\x02").hex(" ") == "a5 5a 01 21 07 00 02 75 00 02 96 e9"


def test_the_documented_conversation() -> None:
    text = (Path(__file__).parents[4] / "docs/latched-board.md").read_text(encoding="utf-8")
    lines = re.findall(r"^([<>]) ((?:[0-9a-f]{2} ?)+)$", text, re.MULTILINE)
    assert [way for way, _ in lines] == [">", "<"] * 4
    board = LatchedBoardEmulator(Pixels(3, bits=2), SimulatedClock(), rows=1, columns=3, bits=2)
    for (_, asked), (_, answered) in zip(lines[::2], lines[1::2], strict=True):
        assert board.receive(bytes.fromhex(asked)) == [(0.0, bytes.fromhex(answered))]


@given(st.data())
def test_patterns_are_one_stream_of_bits(data: st.DataObject) -> None:
    bits, n = data.draw(st.integers(1, 8)), data.draw(st.integers(1, 70))
    states = np.array(data.draw(st.lists(st.integers(0, (1 << bits) - 1), min_size=n, max_size=n)))
    packed = pack(states, bits)
    assert len(packed) == pattern_bytes(n, bits)
    stream = "".join(f"{state:0{bits}b}" for state in states)
    assert "".join(f"{byte:08b}" for byte in packed) == stream.ljust(8 * len(packed), "0")
    assert unpack(packed, n, bits).tolist() == states.tolist()


def test_identify_tells_all() -> None:
    host = Host(serial_number=17, name="wall", chain_returns=True)
    status, flags, told = host.ask(Command.IDENTIFY)
    assert (status, flags) == (Status.OK, 1)
    assert told.hex(" ") == "01 01 00 00 02 00 05 03 00 03 00 00 00 11 00 30 81 77 61 6c 6c"
    assert BoardInfo.parse(told) == host.board.info
    with pytest.raises(ValueError, match="16 bytes"):
        BoardInfo.parse(told[:16])


def test_a_pattern_is_set_and_read() -> None:
    host = Host()
    assert host.ask(Command.SET, ONE) == (0, 1, b"\x00\x01" + crc16(ONE).to_bytes(2, "big"))
    assert host.world.pattern.tolist() == unpack(ONE, 10, 3).tolist()
    assert host.ask(Command.READ) == (0, 1, b"\x00\x00\x01" + ONE)
    assert host.ask(Command.SAFE) == (0, 1, b"\x00\x02" + crc16(bytes(4)).to_bytes(2, "big"))
    assert not host.world.pattern.any()


def test_a_sequence_is_stored_and_shown() -> None:
    host = Host()
    assert host.ask(Command.STORE, b"\x00\x02" + TWO)[0] == Status.OK
    assert not host.world.pattern.any(), "storing shows nothing"
    assert host.ask(Command.SHOW, b"\x00\x02") == (0, 1, b"\x00\x01" + crc16(TWO).to_bytes(2, "big"))
    assert host.world.pattern.tolist() == [7] * 10
    assert host.ask(Command.SHOW, b"\x00\x01")[0] == Status.NOT_STORED
    assert host.ask(Command.BEGIN)[:2] == (Status.OK, 0)
    assert host.ask(Command.SHOW, b"\x00\x02")[0] == Status.NOT_STORED
    assert host.world.pattern.tolist() == [7] * 10


@pytest.mark.parametrize(
    ("command", "payload", "version", "status"),
    [
        (Command.SET, ONE, 2, Status.BAD_VERSION),
        (0x13, ONE, 1, Status.UNKNOWN_COMMAND),
        (Command.SET, ONE[:3], 1, Status.BAD_LENGTH),
        (Command.SET, ONE + b"\0", 1, Status.BAD_LENGTH),
        (Command.SAFE, b"\0", 1, Status.BAD_LENGTH),
        (Command.SET, b"\xff" * 49, 1, Status.BAD_LENGTH),
        (Command.SET, b"\0\0\0\1", 1, Status.BAD_PATTERN),
        (Command.STORE, b"\0\0\0\0\0\2", 1, Status.BAD_PATTERN),
        (Command.STORE, b"\0\3" + ONE, 1, Status.BAD_INDEX),
        (Command.SHOW, b"\0\3", 1, Status.BAD_INDEX),
        (Command.SHOW, b"\0\0", 1, Status.NOT_STORED),
    ],
)
def test_what_is_wrong_is_told_and_changes_nothing(command: int, payload: bytes, version: int, status: Status) -> None:
    host = Host()
    host.ask(Command.SET, TWO)
    assert host.ask(command, payload, version) == (status, 1, b"")
    assert host.ask(Command.READ)[2] == b"\x00\x00\x01" + TWO


@pytest.mark.parametrize("at", range(14))
def test_a_damaged_frame_never_changes_the_pattern(at: int) -> None:
    whole = bytearray(frame(Command.SET, 1, ONE))
    for bit in range(8):
        host = Host()
        damaged = bytes(whole[:at]) + bytes([whole[at] ^ 1 << bit]) + bytes(whole[at + 1 :])
        answers = host.send(damaged)
        assert not host.world.pattern.any()
        assert [answer[8] for answer in answers] == ([Status.BAD_CRC] if at >= 8 else [])


def test_a_repetition_is_not_done_twice() -> None:
    host = Host()
    for asked in (
        frame(Command.SET, 5, ONE),
        frame(Command.STORE, 5, b"\0\0" + TWO),
        frame(Command.SHOW, 5, b"\0\0"),
        frame(Command.BEGIN, 5),
    ):
        (first,) = host.send(asked)
        host.send(frame(Command.READ, 9))
        (again,) = host.send(asked)
        assert first == again, "the count of patterns included"
    (first,), (again,) = host.send(frame(Command.SAFE, 5)), host.send(frame(Command.SAFE, 5))
    assert int.from_bytes(again[10:12], "big") == int.from_bytes(first[10:12], "big") + 1, "always done"


def test_a_repetition_after_another_change_is_done() -> None:
    host = Host()
    for asked in (frame(Command.SET, 5, ONE), frame(Command.SET, 6, TWO), frame(Command.SET, 5, ONE)):
        host.send(asked)
    assert host.board.pattern == ONE


@pytest.mark.parametrize("before", [b"\xa5", b"\xa5\x5a", b"\xa5\xa5\x5a", b"\xa5\x5a\x01\xa5\x5a\x01\x12", b"noise"])
def test_a_start_that_is_none_hides_no_frame(before: bytes) -> None:
    assert [answer[3] for answer in Host().send(before + frame(Command.SAFE, 1))] == [0x92]


def test_a_line_that_echoes_is_not_answered_without_end() -> None:
    host = Host()
    (answer,) = host.send(frame(Command.SAFE, 1))
    assert host.send(answer) == []
    assert host.send(frame(0xFF, 1, bytes(200))) == []
    assert host.ask(Command.READ)[0] == Status.OK


def test_silence_ends_a_frame() -> None:
    asked = frame(Command.SAFE, 1)
    for pause_s, heard in ((0.09, 1), (0.11, 0)):
        host = Host()
        assert host.send(asked[:5]) == []
        host.clock.sleep(pause_s)
        assert len(host.send(asked[5:])) == heard
        assert len(host.send(asked)) == 1


@given(st.lists(st.one_of(st.binary(max_size=12), st.just(frame(Command.SAFE, 1))), max_size=6))
def test_messages_are_counted_by_whole_frames(parts: list[bytes]) -> None:
    """What ``--fault ... at N`` relies on: a message ends where a frame does, and with it an answer."""
    host, stream = Host(), b"".join(parts)
    while length := host.board.message_length(stream):
        assert len(host.send(stream[:length])) == 1
        stream = stream[length:]
    assert host.send(stream) == []


def test_faults_strike_frames() -> None:
    host = Host()
    faulty = Faulty(host.board, [Fault("truncated", 2), Fault("reboot", 3)])
    answers = [faulty.receive(frame(Command.SET, n, ONE)) for n in range(4)]
    assert [len(data or b"") for replies in answers for _, data in replies] == [16, 8, 16]
    assert host.board.pattern == ONE


def test_power_loss_loses_everything() -> None:
    host = Host()
    for command, payload in ((Command.BEGIN, b""), (Command.STORE, b"\0\0" + TWO), (Command.SHOW, b"\0\0")):
        assert host.ask(command, payload)[:2] == (Status.OK, 0)
    assert host.board.reboot() == []
    assert not host.world.pattern.any()
    assert host.ask(Command.READ) == (0, 1, b"\0\0\0" + bytes(4))
    assert host.ask(Command.SHOW, b"\0\0")[0] == Status.NOT_STORED


def test_with_timing_answers_take_as_long_as_the_line() -> None:
    host = Host(timing=True)
    asked = frame(Command.SET, 1, ONE)
    ((delay_s, answer),) = host.board.receive(asked)
    assert answer is not None
    assert delay_s == pytest.approx((len(asked) + len(answer)) * 10 / 115_200 + 0.002)
    host.board.reboot()
    host.clock.sleep(0.9)
    assert host.board.receive(asked) == [], "the boot loader is listening"
    host.clock.sleep(0.2)
    assert len(host.board.receive(asked)) == 1


def test_pixels_that_the_world_lacks_only_remember() -> None:
    clock, world = SimulatedClock(), Pixels(4, bits=1)
    board = LatchedBoardEmulator(world, clock, rows=3, columns=3)
    board.receive(frame(Command.SET, 1, b"\xff\x80"))
    assert world.pattern.tolist() == [1] * 4
    assert board.pattern == b"\xff\x80"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"rows": 3, "columns": 3},
            "emulated latched board: asked for 10 pixels, it has 9 elements (3 x 3); simulate fewer pixels, or set "
            "rig.metasurface.rows and .columns",
        ),
        (
            {"bits": 9},
            "emulated latched board: asked 2 x 5 elements of 9 bits, 3 stored patterns and the name 'latched board'; "
            "it takes 1 to 8 bits, patterns of up to 60000 bytes, 1 to 65535 of them, and names of up to 24 characters "
            "of ASCII",
        ),
    ],
)
def test_boards_that_cannot_be(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        Host(**options)
    assert str(caught.value) == sentence
