"""The text console of a NanoVNA: lines that are echoed, carried out, and followed by a prompt.

After the sources of its firmwares (github ttrftech/NanoVNA, DiSlord/NanoVNA-D, hugen79/NanoVNA-H: ``VNAShell_readLine``
and ``VNAShell_executeLine``): a line ends in a carriage return and is echoed character by character; backspaces take
characters back; the answer is lines that end in CR LF; then comes the prompt. A command that does not exist is answered
with its name and a question mark, most orders with nothing.

The echo makes every answer say what it answers.
"""

from __future__ import annotations

from typing import Any

from labtrain.clock import Clock
from labtrain.drivers.emulators.simulation import written
from labtrain.drivers.instrument import Instrument, InstrumentConfig
from labtrain.drivers.link import Link
from labtrain.errors import InstrumentError, LinkDesync, LinkTimeout

PROMPT = b"ch> "
LONGEST_LINE = 48  # characters its input buffer holds
PIECE = 24  # of what is told in pieces

TAKE_BACK = b"\b" * LONGEST_LINE  # whatever half a line an earlier program left there
_SHOWN = 60


class NanoVnaShell(Instrument):
    """An instrument with the console of a NanoVNA.

    Parameters
    ----------
    link : Link
    config : InstrumentConfig
    clock : Clock
    """

    serial = True

    def __init__(self, link: Link, config: InstrumentConfig, clock: Clock) -> None:
        super().__init__(link, config, clock)
        self.fence_timeout_s = link.timeout_s
        """How long it may be busy with what came before the fence."""
        self._fences = 0

    def ask(self, question: str, timeout_s: float | None = None) -> str:
        """Send a line and return what is between its echo and the prompt, lines separated by line feeds.

        Parameters
        ----------
        question : str
        timeout_s : float, optional
            Longest silence, for what takes its time.

        Raises
        ------
        LinkError
            LinkDesync if something else was echoed.
        """
        with self.link.exchange():
            self.link.write(f"{question}\r".encode("ascii"))
            try:
                answer = self.link.read_until(PROMPT, timeout_s)
            except LinkTimeout as error:
                raise self.unanswered(question, error) from error
            echo = f"{question}\r\n".encode("ascii")
            if not answer.startswith(echo):
                raise LinkDesync(
                    f"{self.name}: asked {question!r}, got {_short(answer)}; check the cable, and that no other "
                    f"program uses the port ({self.link.where})"
                )
        lines = answer[len(echo) : -len(PROMPT)].decode("ascii", "backslashreplace")
        return "\n".join(lines.split("\r\n")).strip("\n")

    def tell(self, order: str, timeout_s: float | None = None) -> None:
        answer = self.ask(order, timeout_s)
        if answer:
            raise InstrumentError(
                f"{self.name}: asked {order!r}, which should be followed in silence, got {answer[:_SHOWN]!r}; check "
                f"the settings under rig.{self.link.who}, and its firmware"
            )

    def ask_if_known(self, question: str) -> str | None:
        """The answer to a line; None from a firmware that does not know its first word."""
        answer = self.ask(question)
        return None if answer.replace(" ", "") == f"{question.split()[0]}?" else answer

    def _synchronise(self) -> None:
        # The echo brings back whatever stands behind a command, so a word that was never sent before is asked for:
        # what comes ahead of it is stale, and nothing under way can look like it. What is half written in its input
        # buffer is taken back, for it might be an order.
        self._fences += 1
        line = f"version {self._fences}.{int(self.clock.now() * 1e3) % 10**9}"
        self.link.write(TAKE_BACK + f"{line}\r".encode("ascii"))
        self.link.read_until(f"{line}\r\n".encode("ascii"), self.fence_timeout_s)
        self.link.read_until(PROMPT)

    # -- simulation ----------------------------------------------------------------------------------------------

    def simulate_restart(self, seed: int) -> None:
        """Shot 0 again, with this seed for noise and drift: for emulators alone."""
        self._simulate(f"simulate restart {seed}")

    def simulate_shot(self, shot: int) -> None:
        """The next reading belongs to this shot, whatever came before: for emulators alone, when a shot is repeated."""
        self._simulate(f"simulate shot {shot}")

    def simulate_disturb(self, shot: int, name: str, values: dict[str, Any]) -> None:
        """Something happens to the world behind it, from this shot on: for emulators alone."""
        digits = written(shot, name, values).encode("utf-8").hex()  # in pieces, for lines are short
        for first in range(0, len(digits), PIECE):
            self._simulate(f"simulate disturb {digits[first : first + PIECE]}")
        self._simulate("simulate disturb end")

    def _simulate(self, order: str) -> None:
        if not self.emulated:
            raise InstrumentError(f"{self.name}: asked {order!r} of {self.identity!r}, which is not an emulator")
        self.tell(order)


def _short(answer: bytes) -> str:
    return repr(answer if len(answer) <= _SHOWN else answer[:_SHOWN] + b"...")
