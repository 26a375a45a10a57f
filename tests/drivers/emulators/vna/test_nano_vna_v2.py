"""The emulated NanoVNA V2 at its port: registers, and a FIFO that holds what nobody has read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from labtrain.clock import SimulatedClock
from labtrain.drivers.emulators.vna.nano_vna_v2 import NanoVnaV2Emulator
from labtrain.drivers.vna import nano_vna_v2_protocol as v2
from labtrain.errors import InputError
from tests.drivers.emulators.networks import Network

GRID = 1e9 + 1e6 * np.arange(11)
SWEEP = v2.write(v2.START, 10**9, 8) + v2.write(v2.STEP, 10**6, 8) + v2.write(v2.POINTS, 11, 2)
CLEAR = v2.write(v2.FIFO, 0, 1)


class Session:
    """A device and somebody who talks to it."""

    def __init__(self, **options: Any) -> None:
        self.network = Network()
        self.vna = NanoVnaV2Emulator(self.network, SimulatedClock(), **options)

    def ask(self, commands: str | bytes) -> bytes:
        replies = self.vna.receive(commands if isinstance(commands, bytes) else bytes.fromhex(commands))
        assert all(delay_s == 0.0 for delay_s, _ in replies)
        return b"".join(data or b"" for _, data in replies)

    def read(self, count: int) -> NDArray[np.void]:
        return np.frombuffer(self.ask(bytes([v2.READ_FIFO, v2.FIFO, count])), dtype=v2.RECORD)


def s21(records: NDArray[np.void]) -> NDArray[np.complex128]:
    """Transmitted by forward."""
    parts = records["transmitted"] / (1 << 30)
    return np.asarray(parts[:, 0] + 1j * parts[:, 1])


def test_registers() -> None:
    session = Session()
    assert session.ask("0d") == b"2"
    assert session.ask("00 00 0d 10 f0 10 f1 11 f3") == b"2\x02\x01\x01\x02"
    session.ask("22 00 01 02 03 04")
    assert session.ask("12 00") == bytes([1, 2, 3, 4])
    assert session.ask("10") == b""
    assert session.ask("f2") == bytes([v2.EMULATED_HARDWARE])
    assert session.ask("12 fe") == bytes(4)
    assert session.ask("99 01 02 0d") == b"2"  # what does not exist is three bytes long


@pytest.mark.parametrize("begun", ["23", "23 00 01", "22 10", "21", "20", "18", "12", "28 30"])
def test_zeros_end_whatever_was_begun(begun: str) -> None:
    session = Session()
    session.ask(begun)
    session.ask(bytes(10))
    assert session.ask("0d") == b"2"


@given(st.binary(max_size=100))
@settings(max_examples=50, deadline=None)
def test_whatever_comes_it_answers_again(noise: bytes) -> None:
    session = Session()
    session.ask(SWEEP + noise.replace(bytes([v2.WRITE_FIFO]), b""))
    session.ask(bytes(10))
    assert session.ask("0d") == b"2"


def test_a_sweep() -> None:
    session = Session()
    session.ask(SWEEP + CLEAR)
    records = session.read(11)
    assert records["index"].tolist() == list(range(11))
    np.testing.assert_array_equal(records["forward"], [[1 << 30, 0]] * 11)
    np.testing.assert_allclose(s21(records), session.network.s(GRID, 2, 1), rtol=1e-6)
    np.testing.assert_array_equal(v2.checksums(records), records["rest"][:, -1])
    assert session.network.asked[0].ports == ((1, 1), (2, 1))


def test_what_was_not_read_is_old() -> None:
    session = Session()
    session.ask(SWEEP + CLEAR)
    session.read(11)
    before = session.network.s(GRID, 2, 1)
    session.network.offset = 0.5
    np.testing.assert_allclose(s21(session.read(11)), before, rtol=1e-6)  # without clearing the FIFO
    session.ask(CLEAR)
    records = session.read(11)
    assert records["index"][0] != 0  # it goes on where it was
    assert sorted(records["index"]) == list(range(11))
    np.testing.assert_allclose(s21(records), session.network.s(GRID, 2, 1)[records["index"]], rtol=1e-6)


def test_writing_a_register_of_the_sweep_begins_it_anew() -> None:
    session = Session()
    session.ask(SWEEP + CLEAR)
    session.read(5)
    session.network.offset = 0.5
    session.ask(v2.write(v2.VALUES, 2, 2) + CLEAR)
    records = session.read(22)
    assert records["index"].tolist() == [n // 2 for n in range(22)]
    np.testing.assert_allclose(s21(records)[::2], session.network.s(GRID, 2, 1), rtol=1e-6)


def test_without_clearing_a_sweep_begun_anew_is_still_old() -> None:
    session = Session()
    session.ask(SWEEP + CLEAR)
    session.read(11)
    before = session.network.s(GRID, 2, 1)
    session.network.offset = 0.5
    session.ask(v2.write(v2.VALUES, 1, 2))
    np.testing.assert_allclose(s21(session.read(11)), before, rtol=1e-6)


def test_other_fifos_are_empty() -> None:
    assert Session().ask("18 31 05") == b""


def test_points_take_their_time() -> None:
    network, clock = Network(), SimulatedClock()
    vna = NanoVnaV2Emulator(network, clock, timing=True)
    vna.receive(SWEEP + CLEAR)
    delays = [delay for delay, _ in vna.receive(bytes([v2.READ_FIFO, v2.FIFO, 3, v2.INDICATE]))]
    assert delays == pytest.approx([0.01, 0.02, 0.03])


def test_power_that_fails_takes_the_port_along() -> None:
    session = Session()
    session.ask(SWEEP)
    assert session.vna.reboot() == [(0.0, None)]
    assert session.vna.points == 101


def test_it_needs_two_ports() -> None:
    with pytest.raises(InputError) as caught:
        NanoVnaV2Emulator(Network(1), SimulatedClock())
    assert str(caught.value) == "emulated NanoVNA V2: it has 2 ports, the simulated network 1; simulate more"
