"""The fault matrix: what it says of drivers that are right, and that it sees each way in which one can be wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from labtrain import registry
from labtrain.clock import Clock
from labtrain.drivers.emulators.metasurface.open_source_ris import OpenSourceRisEmulator
from labtrain.drivers.faulty_sessions import same
from labtrain.drivers.metasurface.open_source_ris import OpenSourceRis
from labtrain.drivers.testing import Matrix, Network, Pixels, fault_matrix
from labtrain.drivers.vna.vna import Vna
from labtrain.errors import InputError, InstrumentError

PATTERN = (np.arange(256) % 3 == 0).astype(np.int64)
GRID = np.linspace(5.15e9, 5.875e9, 5)


def board(clock: Clock) -> OpenSourceRisEmulator:
    return OpenSourceRisEmulator(Pixels(256), clock)


def shown(emulator: OpenSourceRisEmulator) -> NDArray[np.int64]:
    return emulator.surface.pattern


def write_and_read(surface: OpenSourceRis) -> tuple[NDArray[np.int64], float]:
    surface.set_pattern(1 - PATTERN)
    surface.set_pattern(PATTERN)
    return surface.pattern, surface.supply_v


def of_surface(driver: type[OpenSourceRis], session: Any = write_and_read, **options: Any) -> Matrix:
    return fault_matrix(driver, board, session, state=shown, **options)


def test_a_metasurface_at_every_message() -> None:
    matrix = of_surface(OpenSourceRis, expected=(PATTERN, 9.14))
    assert not matrix.bad, matrix
    assert matrix.messages[0] == "?SerialNo"
    assert len(matrix.rows) == 11 * len(matrix.messages) == 99
    assert matrix.count("no effect", "late 0.5 s") == matrix.count("recovered", "late 3.5 s") == 9
    assert matrix.count("clear error") == matrix.count("clear error", "no reply from") == 9


def test_a_network_analyser() -> None:
    driver = registry.resolve("drivers", "keysight-pna")

    def sweep(vna: Vna) -> NDArray[np.complex128]:
        vna.configure(GRID)
        vna.rf(True)
        return vna.sweep()

    network = Network()
    matrix = fault_matrix(
        driver,
        lambda clock: registry.emulator_of(driver)(network, clock),
        sweep,
        expected=[network.s(GRID, 2, 1)],
        state=lambda emulator: emulator.rf,
        safe_state=False,
        most=5,
    )
    assert not matrix.bad, matrix
    assert matrix.count("recovered", "error -230") and matrix.count("recovered", "reboot")


def test_each_fault_strikes_at_other_messages_where_there_are_too_many() -> None:
    matrix = of_surface(OpenSourceRis, faults=["no reply", "garbage"], most=5)
    struck = {fault: [row.message for row in matrix.rows if row.fault == fault] for fault in ("no reply", "garbage")}
    assert struck == {"no reply": [1, 3, 5, 7, 9], "garbage": [2, 4, 6, 8]}


def test_as_text_it_is_a_table_of_100_columns() -> None:
    assert str(of_surface(OpenSourceRis, faults=["no reply", "late 2.5 s"], messages=[1, 2])).splitlines() == [
        "OpenSourceRis: 9 messages, 4 cases, 0 of them bad",
        "fault                 no effect  recovered  clear error  WRONG VALUE  UNSAFE  UNCLEAR ERROR",
        "no reply                      0          2            0            0       0              0",
        "late 2.5 s                    0          2            0            0       0              0",
    ]
    lines = str(of_surface(Crude, faults=["garbage"])).splitlines()
    assert lines[3] == (
        "UNCLEAR ERROR: garbage at 1 (?SerialNo): UnicodeDecodeError: 'ascii' codec can't decode byte 0xf5..."
    )
    assert max(map(len, lines)) == 100


def test_what_is_wrong_without_any_fault_is_told_at_once() -> None:
    with pytest.raises(AssertionError, match="without any fault the session returned"):
        of_surface(OpenSourceRis, expected=(PATTERN, 9.0))
    with pytest.raises(AssertionError, match=r"without any fault safe\(\) left the state"):
        of_surface(Careless, safe_state=np.zeros(256))
    with pytest.raises(InputError, match="asked 257 pixels"):
        of_surface(OpenSourceRis, config={"n_pixels": 257})


# -- drivers that are wrong ------------------------------------------------------------------------------------------


class Misread(OpenSourceRis):
    """Takes an answer that was late for the next one's, and whatever it is for a pattern."""

    def _synchronise(self) -> None:
        pass

    def _read(self) -> NDArray[np.int64]:
        return 0 * PATTERN if self.ask("?Pattern").startswith("#0X") else PATTERN


class Credulous(OpenSourceRis):
    """Takes silence for consent."""

    def tell(self, order: str) -> None:
        with self.link.exchange():
            self.link.write(f"{order}\n".encode("ascii"))
            self.link.drain()


class Careless(OpenSourceRis):
    """Stays as it is."""

    def safe(self) -> None:
        pass


class Forgetful(OpenSourceRis):
    """Is safe only as long as nothing goes wrong."""

    def safe(self) -> None:
        if not self.link.dirty:
            super().safe()


class Crude(OpenSourceRis):
    """Trusts that an answer is ASCII."""

    def _line(self) -> str:
        return self.link.read_until(b"\n").decode("ascii").removesuffix("\n")


class Nameless(OpenSourceRis):
    """Does not say who it is."""

    def ask(self, question: str) -> str:
        try:
            return super().ask(question)
        except InstrumentError:
            raise InstrumentError("no answer") from None


class Patient(OpenSourceRis):
    """Asks until somebody answers."""

    def _line(self) -> str:
        while not (line := self.link.drain(60.0)):
            pass
        return line.decode("ascii", "backslashreplace").strip()


def read(surface: OpenSourceRis) -> NDArray[np.int64]:
    return surface.pattern


def write(surface: OpenSourceRis) -> None:
    surface.set_pattern(PATTERN)


@pytest.mark.parametrize(
    ("driver", "session", "fault", "outcome", "told"),
    [
        (Misread, read, "late 1.1 s", "WRONG VALUE", "returned array([1, 0, 0"),
        (Credulous, write, "reboot", "WRONG VALUE", "the instrument was left in state array([0, 0, 0"),
        (Forgetful, write_and_read, "no reply", "UNSAFE", "safe() left it in state array([1, 0, 0"),
        (Crude, write_and_read, "garbage", "UNCLEAR ERROR", "UnicodeDecodeError: "),
        (Nameless, write_and_read, "no reply", "UNCLEAR ERROR", "InstrumentError without the instrument's name: no a"),
        (Patient, write_and_read, "no reply", "UNCLEAR ERROR", "RuntimeError: waits for ever"),
    ],
)
def test_it_sees_what_is_wrong(driver: type[OpenSourceRis], session: Any, fault: str, outcome: str, told: str) -> None:
    matrix = of_surface(driver, session, config={"verify": "never"}, faults=[fault])
    found = [row.detail for row in matrix.bad if row.outcome == outcome]
    assert any(told in detail for detail in found), matrix


def test_values_are_the_same_or_not() -> None:
    assert same((PATTERN, {"v": 9.14}), [PATTERN.tolist(), {"v": 9.14}])
    for other in ((PATTERN, {"v": 9.0}), (PATTERN, {"w": 9.14}), (PATTERN[:-1], {"v": 9.14}), (PATTERN,), None):
        assert not same((PATTERN, {"v": 9.14}), other)
