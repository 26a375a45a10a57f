"""The emulated NanoVNA at its console: what its firmware echoes, answers and keeps to itself."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labtrain.clock import SimulatedClock
from labtrain.drivers.emulators.vna.nano_vna import NanoVnaEmulator
from labtrain.drivers.emulators.vna.nano_vna_console import unsigned
from labtrain.errors import InputError
from tests.drivers.emulators.networks import Network


def emulator(**options: str) -> NanoVnaEmulator:
    return NanoVnaEmulator(Network(), SimulatedClock(), **options)  # type: ignore[arg-type]


def ask(vna: NanoVnaEmulator, line: str) -> list[str]:
    """Lines of the answer, there at once."""
    ((delay_s, data),) = vna.receive(f"{line}\r".encode())
    assert delay_s == 0.0 and data is not None
    text = data.decode()
    assert text.startswith(f"{line}\r\n") and text.endswith("ch> ")
    return text.removeprefix(f"{line}\r\n").removesuffix("ch> ").splitlines()


def test_characters_are_echoed_one_by_one() -> None:
    vna = emulator()
    assert vna.receive(b"ver") == [(0.0, b"ver")]
    assert vna.receive(b"zz\b\x7fsion\n\r") == [(0.0, b"zz\b \b\b \bsion\r\n1.1\r\nch> ")]
    assert vna.receive(b"\b") == []
    assert vna.receive(b"\r") == [(0.0, b"\r\nch> ")]
    assert vna.receive(b"x" * 100 + b"\r") == [(0.0, b"x" * 47 + b"\r\n" + b"x" * 47 + b"?\r\nch> ")]
    assert ask(vna, "sweep 1 2 3 4 5") == ["too many arguments, max 4"]


def test_a_port_that_is_opened_forgets_half_a_line() -> None:
    vna = emulator()
    vna.receive(b"power 2")
    assert vna.connected() == []
    assert ask(vna, "version") == ["1.1"]
    assert vna.drive == 255


@given(st.binary(max_size=200))
@settings(max_examples=50, deadline=None)
def test_whatever_comes_it_answers_again(noise: bytes) -> None:
    vna = emulator()
    vna.receive(noise + b"\r")
    assert ask(vna, "version") == ["1.1"]


@pytest.mark.parametrize(
    ("word", "value"),
    [("12", 12), ("+7", 7), ("0b110", 6), ("0x1F", 31), ("0o17", 15), ("12a3", 12), ("", 0), ("-3", 0)],
)
def test_numbers_as_the_firmware_reads_them(word: str, value: int) -> None:
    assert unsigned(word) == value


@pytest.mark.parametrize(
    ("start", "stop", "points"), [(50_000, 900_000_000, 401), (1_000_000, 1_000_007, 5), (1, 9, 2)]
)
def test_frequencies_are_rounded_to_whole_hertz(start: int, stop: int, points: int) -> None:
    vna = emulator()
    ask(vna, f"scan {start} {stop} {points}")
    frequencies = np.array(ask(vna, "frequencies"), dtype=int)
    np.testing.assert_array_equal(frequencies, np.floor(np.linspace(start, stop, points) + 0.5))


def test_what_a_scan_sends() -> None:
    vna = emulator()
    network = vna.network
    for mask, ports in ((1, ()), (2, ((1, 1),)), (4, ((2, 1),)), (7, ((1, 1), (2, 1))), (6, ((1, 1), (2, 1)))):
        network.asked.clear()  # type: ignore[attr-defined]
        lines = ask(vna, f"scan 1000000 2000000 11 {mask}")
        assert [a.ports for a in network.asked] == ([ports] if ports else [])  # type: ignore[attr-defined]
        assert len(lines) == 11
        found = [line.split() for line in lines]
        assert {len(words) for words in found} == {(mask & 1) + 2 * len(ports)}
        assert all(line.endswith(" ") for line in lines)
        if mask & 4:
            values = np.array([float(w[-2]) + 1j * float(w[-1]) for w in found])
            expected = network.s(np.linspace(1e6, 2e6, 11), 2, 1)  # type: ignore[attr-defined]
            np.testing.assert_allclose(values, expected, rtol=1e-7, atol=1e-9)
    assert ask(vna, "scan 1000000 2000000 11") == []
    assert len(ask(vna, "data 0")) == len(ask(vna, "data 1")) == 11


def test_a_binary_scan() -> None:
    vna = emulator()
    text = [line.split() for line in ask(vna, "scan 1000000 2000000 3 7")]
    ((_, data),) = vna.receive(b"scan_bin 1000000 2000000 3 7\r")
    assert data is not None
    body = data.removeprefix(b"scan_bin 1000000 2000000 3 7\r\n").removesuffix(b"ch> ")
    assert struct.unpack("<HH", body[:4]) == (135, 3)
    for index, words in enumerate(text):
        frequency, *values = struct.unpack_from("<Iffff", body, 4 + 20 * index)
        assert str(frequency) == words[0]
        np.testing.assert_allclose(values, [float(word) for word in words[1:]], atol=1e-9)


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("scan", "usage: scan {start(Hz)} {stop(Hz)} [points] [outmask]"),
        ("scan 0 5 3", "frequency range is invalid"),
        ("scan 9 5 3", "frequency range is invalid"),
        ("scan 1 5 402", "sweep points exceeds range 401"),
        ("data 9", "usage: data [array]"),
        ("power 1 2", "usage: power {0-3}|{255 - auto}"),
        ("freq", "usage: freq {frequency(Hz)}"),
        ("nonsense 1", "nonsense?"),
        ("bandwidth", "bandwidth 3 (1000Hz)"),
        ("bandwidth 7", "bandwidth 7 (500Hz)"),
        ("bandwidth 100 1", "bandwidth 39 (100Hz)"),
        ("sweep", "50000 900000000 401"),
    ],
)
def test_answers(line: str, answer: str) -> None:
    vna = emulator()
    assert ask(vna, line) == [answer]
    assert not vna.network.asked  # type: ignore[attr-defined]


def test_one_that_is_paused_shows_its_last_sweep() -> None:
    vna = emulator()
    network: Network = vna.network  # type: ignore[assignment]
    ask(vna, "sweep 1000000 2000000 11")
    network.offset = 1.0
    first = ask(vna, "data 0")
    network.offset = 2.0
    assert ask(vna, "data 0") != first  # it sweeps all the time
    ask(vna, "pause")
    shown = ask(vna, "data 0")
    network.offset = 3.0
    assert ask(vna, "data 0") == shown
    assert len(network.asked) == 3
    ask(vna, "resume")
    assert ask(vna, "data 0") != shown


def test_old_firmware() -> None:
    vna = emulator(firmware="ttrftech")
    assert ask(vna, "scan") == ["usage: scan {start(Hz)} {stop(Hz)} [points]"]
    assert ask(vna, "bandwidth") == ["bandwidth?"]
    assert ask(vna, "power") == ["usage: power {0-3|-1}"]
    assert ask(vna, "scan 1000000 2000000 102") == ["sweep points exceeds range 101"]
    assert ask(vna, "help")[0].startswith("Commands: scan data frequencies ")


def test_power_that_fails_takes_the_port_along() -> None:
    vna = emulator()
    ask(vna, "bandwidth 39")
    assert vna.reboot() == [(0.0, None)]
    assert ask(vna, "bandwidth") == ["bandwidth 3 (1000Hz)"]


def test_scans_take_their_time() -> None:
    clock = SimulatedClock()
    vna = NanoVnaEmulator(Network(), clock, timing=True)
    replies = vna.receive(b"scan 1000000 2000000 101 4\rversion\r")
    assert [delay for delay, _ in replies] == pytest.approx([0.0, 101 * 0.003, 101 * 0.003], abs=1e-9) or len(
        replies
    ) == 2
    assert replies[-1][0] == pytest.approx(101 * 0.003)


def test_it_needs_two_ports() -> None:
    with pytest.raises(InputError) as caught:
        NanoVnaEmulator(Network(1), SimulatedClock())
    assert str(caught.value) == "emulated NanoVNA: it has 2 ports, the simulated network 1; simulate more"
