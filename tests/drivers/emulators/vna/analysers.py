"""An emulated PNA in front of a network of closed form, and somebody who talks to it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from labtrain.clock import SimulatedClock
from labtrain.drivers.emulators.vna.keysight_pna import KeysightPna
from tests.drivers.emulators.networks import Network

GRID = np.linspace(2e9, 3e9, 5)


class Session:
    """An analyser and somebody who talks to it."""

    def __init__(self, *, n_ports: int = 2, timing: bool = False) -> None:
        self.network = Network(n_ports)
        self.clock = SimulatedClock()
        self.pna = KeysightPna(self.network, self.clock, timing=timing)

    def send(self, message: str | bytes) -> list[tuple[float, bytes | None]]:
        return self.pna.receive(message if isinstance(message, bytes) else message.encode() + b"\n")

    def tell(self, *orders: str) -> None:
        """Send orders that are understood."""
        for order in orders:
            assert self.send(order) == []
        assert self.errors() == [], orders

    def ask(self, question: str) -> str:
        """The answer, there at once."""
        ((delay_s, answer),) = self.send(question)
        assert delay_s == 0.0
        assert answer is not None
        return answer.decode().removesuffix("\n")

    def numbers(self, question: str) -> NDArray[np.float64]:
        return np.array(self.ask(question).split(","), dtype=float)

    def trace(self, question: str = "CALC1:DATA? SDATA") -> NDArray[np.complex128]:
        return self.numbers(question).view(np.complex128)

    def errors(self) -> list[str]:
        found = []
        while (error := self.ask("SYST:ERR?")) != '+0,"No error"':
            found.append(error)
        return found

    def silent(self, message: str, error: str) -> None:
        """The message has no answer and leaves this error."""
        assert self.send(message) == []
        assert self.errors() == [error]

    def prepare(self) -> None:
        """GRID, on hold, S21 as the only measurement."""
        self.tell(
            "SENS1:SWE:MODE HOLD",
            "CALC1:PAR:DEL:ALL",
            "CALC1:PAR:DEF:EXT 'a','S21'",
            "CALC1:PAR:SEL 'a'",
            "SENS1:FREQ:STAR 2e9;STOP 3e9",
            "SENS1:SWE:POIN 5",
        )


def close(actual: NDArray[np.complex128], expected: NDArray[np.complex128]) -> None:
    """Equal to the twelve digits of numbers sent as text."""
    np.testing.assert_allclose(actual, expected, rtol=1e-11, atol=1e-11)
