"""The console: questions, orders, blocks and silence, from a pipe and at a terminal."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from labtrain.clock import RealClock, SimulatedClock
from labtrain.drivers.address import parse_address
from labtrain.drivers.backends.memory import MemoryLink
from labtrain.drivers.blocks import block
from labtrain.drivers.trace import read_trace
from labtrain.errors import InputError, LinkClosed
from labtrain.riglock import InstrumentLock
from labtrain.talk import Console, described, parse_end
from tests.drivers.servers import Script, tcp_server

VALUES = np.array([0.25, -0.5, 1e-3, 2.0, 7.0]) * np.pi
PATTERN = b"#0X" + b"0F" * 32 + b"\n"


@pytest.fixture
def script() -> Script:
    return Script(
        {
            "*IDN?": [(0.0, b"Keysight Technologies,N5222B,EMULATOR,1.0\n")],
            "DATA?": [(0.0, block(VALUES.astype("<f8").tobytes()) + b"\n")],
            "BOTH?": [(0.0, block(b"\n#1\xff") + b";+0\n")],
            "LIST?": [(0.0, b"one\n"), (0.001, b"two\n")],
            "VOLT?": [(0.0, b"#19.14 V\n")],
            "?Vext": [(0.0, b"#19.14 V\n")],
            "?Pattern": [(0.0, PATTERN)],
            "!0x": [(0.02, b"#OK\n")],
            "!Reset": [(0.0, b"#OK\n"), (0.5, b"Open Source RIS\n"), (0.6, b"#READY!\n")],
            "slow?": [(3.0, b"late\n")],
            "odd?": [(0.0, b"a\x00b\xff\tc\r\n")],
            "bye": [(0.0, None)],
        }
    )


@pytest.fixture
def console(script: Script) -> Iterator[Console]:
    """A console in memory; ``said`` collects what it shows, remarks after an asterisk."""
    with MemoryLink("talk", script, SimulatedClock(), timeout_s=2.0, where="the address") as link:
        said: list[str] = []
        made = Console(link, b"\n", said.append, lambda text: said.append(f"* {text}"), patient=True)
        made.said = said  # type: ignore[attr-defined]
        yield made


def after(console: Console, *lines: str) -> list[str]:
    said: list[str] = console.said  # type: ignore[attr-defined]
    said.clear()
    for line in lines:
        assert console.take(line)
    return said


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("*IDN?", ["Keysight Technologies,N5222B,EMULATOR,1.0"]),
        (
            "DATA?",
            [
                "block of 40 bytes",
                "  looks like 5 numbers of 64 bit, little-endian: 0.785398 -1.5708 0.00314159 6.28319 ...",
            ],
        ),
        ("BOTH?", ["block of 4 bytes", "  bytes: 0a 23 31 ff", ";+0"]),
        ("LIST?", ["one", "two"]),
        ("?Vext", ["#19.14 V"]),
        ("?Pattern", [PATTERN.decode().strip()]),
        ("!0x", ["#OK"]),
        ("RF OFF", []),
        ("", []),
        ("odd?", [r"a\x00b\xff" + "\tc"]),
        ("hex 2A 49 44 4E 3F 0A", [b"Keysight Technologies,N5222B,EMULATOR,1.0\n".hex(" ")]),
    ],
)
def test_what_is_shown(console, line, shown):
    assert after(console, line) == shown


def test_an_answer_that_only_begins_as_a_block_does(console):
    """``#19`` announces 9 bytes, and 6 come."""
    assert after(console, "VOLT?", "*IDN?") == [
        "#19.14 V",
        "* VOLT?: waited 2 s for 4 bytes, got nothing",
        "Keysight Technologies,N5222B,EMULATOR,1.0",
    ]


def test_silence_is_told_and_a_late_answer_is_no_other_questions(console):
    assert after(console, "slow?") == ["* slow?: waited 2 s for an answer that ends in b'\\n', got nothing"]
    console.link.clock.sleep(3.0)
    assert after(console, "*IDN?") == ["* came unasked:", "late", "Keysight Technologies,N5222B,EMULATOR,1.0"]


def test_what_comes_later_is_shown_with_the_next_line(console):
    assert after(console, "!Reset") == ["#OK"]
    console.link.clock.sleep(1.0)
    assert after(console, "") == ["* came unasked:", "Open Source RIS", "#READY!"]


def test_a_long_line_is_cut_for_a_person_and_can_be_saved(console, script, tmp_path):
    script.answers["TRACE?"] = [(0.0, b"1," * 3000 + b"\n")]
    (line,) = after(console, "TRACE?")
    assert line == "1," * 1000 + "... (6000 characters; save FILE keeps them)"
    assert after(console, f"save {tmp_path / 'trace.csv'}") == [f"* 6001 bytes written to {tmp_path / 'trace.csv'}"]
    assert (tmp_path / "trace.csv").read_bytes() == b"1," * 3000 + b"\n"
    after(console, "DATA?", f"save {tmp_path / 'data.bin'}")
    assert np.array_equal(np.fromfile(tmp_path / "data.bin"), VALUES)
    with pytest.raises(InputError) as told:
        console.take(f"save {tmp_path}")
    assert str(told.value) == f"{tmp_path}: cannot be written (Is a directory)"


def test_words_of_the_console(console, script):
    (told,) = after(console, "help")
    assert "Ctrl-D" in told
    assert r"Each line is sent with \n at its end" in told
    assert after(console, "reopen", "clear", r"\help", r"\\x") == []
    assert script.heard == ["help", r"\x"]
    assert not console.take("quit")
    assert not console.take(" exit ")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("FREQ 1 µHz", "'µ' cannot be sent, instruments read ASCII; send bytes with hex"),
        ("hex 0D 3", "hex takes bytes of two digits each, as in hex 0D 32; got '0D 3'"),
    ],
)
def test_lines_that_cannot_be_sent(console, script, line, sentence):
    with pytest.raises(InputError) as told:
        console.take(line)
    assert str(told.value) == sentence
    assert script.heard == []


def test_a_peer_that_hangs_up(console):
    with pytest.raises(LinkClosed):
        for _ in range(3):
            console.take("bye")


@pytest.mark.parametrize("dtype", ["<f8", ">f8", "<f4", ">f4"])
@pytest.mark.parametrize("nice", [True, False])
def test_numbers_are_recognised(dtype, nice):
    """Also those whose last bits are all zero."""
    values = np.array([1.0, -0.5, 0.0, 2.0, 7.0, 1024.0]) * (1.0 if nice else np.pi)
    first, *ways = described(values.astype(dtype).tobytes())
    size = np.dtype(dtype).itemsize
    assert first == f"block of {6 * size} bytes"
    order = "little" if dtype[0] == "<" else "big"
    shown = "1 -0.5 0 2" if nice else "3.14159 -1.5708 0 6.28319"
    assert ways == [f"  looks like 6 numbers of {8 * size} bit, {order}-endian: {shown} ..."]


def test_blocks_of_anything_else():
    assert described(b"") == ["block of 0 bytes"]
    assert described(b"\x89PNG\r") == ["block of 5 bytes", "  bytes: 89 50 4e 47 0d"]
    assert described(bytes(16))[1] == "  looks like 2 numbers of 64 bit, little-endian: 0 0"


@pytest.mark.parametrize(
    ("text", "end"), [(r"\n", b"\n"), (r"\r\n", b"\r\n"), ("\r", b"\r"), (r"\0", b"\0"), (";", b";")]
)
def test_ends(text, end):
    assert parse_end(text) == end


@pytest.mark.parametrize("text", ["", "\\", r"\x", "ł"])
def test_no_ends(text):
    with pytest.raises(InputError) as told:
        parse_end(text)
    assert str(told.value) == f"--end is {text!r}; give the characters that end a line, as in '\\n' or '\\r\\n'"


# -- the command -------------------------------------------------------------------------------------------------------

TALK = [sys.executable, "-m", "labtrain", "talk"]


def talk(script: Script, lines: str, *options: str, cwd: Path, rc: int = 0) -> tuple[str, str, str]:
    """Output, errors and address of a talk from a pipe."""
    with tcp_server(script) as server:
        address = f"tcp://127.0.0.1:{server.port}"
        done = subprocess.run(
            [*TALK, address, *options], input=lines, cwd=cwd, capture_output=True, text=True, timeout=60
        )
    assert done.returncode == rc, done.stderr
    return done.stdout, done.stderr, address


def test_from_a_pipe(script, tmp_path):
    out, told, _ = talk(script, "*IDN?\nRF OFF\n?Vext\nquit\nBROKEN?\n", "--trace-io", "trace.txt", cwd=tmp_path)
    assert out == "Keysight Technologies,N5222B,EMULATOR,1.0\n#19.14 V\n"
    assert told == ""
    assert script.heard == ["*IDN?", "RF OFF", "?Vext"]
    sent = [t.data for t in read_trace(tmp_path / "trace.txt") if t.direction == ">"]
    assert sent == [b"*IDN?\n", b"RF OFF\n", b"?Vext\n"]


def test_silence_from_a_pipe_is_told_in_the_exit_code(script, tmp_path):
    out, told, address = talk(script, "BROKEN?\n*IDN?\n", "--timeout", "0.05", cwd=tmp_path, rc=3)
    assert out == "Keysight Technologies,N5222B,EMULATOR,1.0\n"
    assert told.splitlines() == [
        "BROKEN?: waited 0.05 s for an answer that ends in b'\\n', got nothing",
        f"labtrain: talk ({address}): 1 of 2 questions had no answer",
    ]


def test_other_ends(tmp_path):
    class Returns(Script):
        def receive(self, data: bytes) -> list:
            assert data == b"*IDN?\r\n"
            return [(0.0, b"Keysight\r\n")]

    out, _, _ = talk(Returns(), "*IDN?\n", "--end", r"\r\n", cwd=tmp_path)
    assert out == "Keysight\n"


def test_the_end_of_the_connection_ends_a_pipe(script, tmp_path):
    _, told, address = talk(script, "bye?\nbye\n*IDN?\n*IDN?\n", "--timeout", "0.05", cwd=tmp_path, rc=3)
    assert told.splitlines()[-1] == (
        f"labtrain: talk ({address}): the instrument closed the connection; check whether it still runs"
    )


@pytest.mark.parametrize(
    ("arguments", "rc", "sentence"),
    [
        (["tcp://vna"], 2, "the address is 'tcp://vna'; write tcp://host:port, with a port from 1 to 65535"),
        (
            ["tcp://127.0.0.1:1"],
            3,
            "talk (tcp://127.0.0.1:1): 127.0.0.1 refuses a connection to port 1; switch the instrument's server on, or "
            "correct the address",
        ),
    ],
)
def test_addresses_that_do_not_open(arguments, rc, sentence, tmp_path):
    done = subprocess.run([*TALK, *arguments], input="", cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (rc, f"labtrain: {sentence}\n")


def test_an_instrument_in_use_is_not_talked_to(script, tmp_path):
    with tcp_server(script) as server:
        address = f"tcp://127.0.0.1:{server.port}"
        canonical = parse_address(address, "").canonical
        visa = f"TCPIP::127.0.0.1::{server.port}::SOCKET"
        with InstrumentLock("vna", address, RealClock(), canonical=canonical):
            done = subprocess.run([*TALK, visa], input="*IDN?\n", capture_output=True, text=True, timeout=60)
    assert done.returncode == 3
    assert done.stderr.startswith(f"labtrain: talk ({visa}): in use by process {os.getpid()} (")
    assert script.heard == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs real hardware: Windows has no pseudo terminals")
def test_at_a_terminal(script, tmp_path):
    """Prompt, help, Ctrl-C while waiting, a lost connection, reopening, history, Ctrl-D."""
    import fcntl
    import termios

    here, there = os.openpty()
    heard = ""

    def expect(text: str) -> None:
        nonlocal heard
        while text not in heard:
            heard += os.read(here, 4096).decode().replace("\r\n", "\n")
        heard = heard.partition(text)[2]

    def enter(line: str) -> None:
        os.write(here, line.encode() + b"\n")

    with tcp_server(script) as server:
        process = subprocess.Popen(
            [*TALK, f"tcp://127.0.0.1:{server.port}"], stdin=there, stdout=there, stderr=there, cwd=tmp_path,
            env=os.environ | {"HOME": str(tmp_path), "TERM": "dumb"}, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that Ctrl-C becomes a signal
        )  # fmt: skip
        watch = threading.Timer(60, process.kill)
        watch.start()
        expect(f"talking to tcp://127.0.0.1:{server.port}; help lists what there is, Ctrl-D leaves")
        expect("> ")
        enter("*IDN?")
        expect("N5222B,EMULATOR,1.0\n")
        expect("> ")
        enter("BROKEN?")
        while script.heard[-1:] != ["BROKEN?"]:
            pass
        os.write(here, b"\x03")
        expect("broken off\n")
        enter("*IDN?")
        expect("N5222B,EMULATOR,1.0\n")
        enter("bye")
        enter("*IDN?")
        expect("closed the connection; check whether it still runs; reopen connects again\n")
        enter("reopen")
        enter("?Vext")
        expect("#19.14 V\n")
        expect("> ")
        os.write(here, b"\x04")
        assert process.wait(timeout=60) == 0
        watch.cancel()
    os.close(here)
    os.close(there)
    assert "?Vext" in (tmp_path / ".labtrain_talk").read_text()
