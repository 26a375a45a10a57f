"""The console of an emulated NanoVNA: echo, backspaces, an input buffer, words, and the prompt.

After ``VNAShell_readLine``, ``VNAShell_parceLine`` and ``VNAShell_executeLine`` in ``main.c`` of github
DiSlord/NanoVNA-D: 48 characters a line, at most four arguments; a command that does not exist is answered with its name
and a question mark.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

from labtrain.clock import Clock
from labtrain.drivers.emulators.emulator import Reply
from labtrain.drivers.vna.nano_vna_shell import LONGEST_LINE, PROMPT

_MOST_ARGUMENTS = 4

Answer = tuple[str, ...] | bytes
"""Lines, or something binary."""

Command = Callable[[list[str]], Answer]
"""From arguments to an answer."""


class NanoVnaConsole(ABC):
    """A console; a subclass has commands, which note in `_busy_s` how long they take.

    Parameters
    ----------
    clock : Clock
        Read with `timing` alone.
    timing : bool
        Whether commands take their time.
    """

    def __init__(self, clock: Clock, *, timing: bool) -> None:
        self.clock, self.timing = clock, timing
        self._line = b""
        self._free_s = self._busy_s = 0.0

    @abstractmethod
    def commands(self) -> Mapping[str, Command]:
        """All commands by name."""

    def connected(self) -> list[Reply]:
        """A serial device is not told that its port was opened; what was begun is forgotten, by contract."""
        self._line = b""
        self._free_s = 0.0
        return []

    def message_length(self, data: bytes) -> int:
        """Lines end in a carriage return."""
        return data.find(b"\r") + 1

    def receive(self, data: bytes) -> list[Reply]:
        arrived_s = self.clock.monotonic() if self.timing else 0.0
        at = max(arrived_s, self._free_s)
        replies: list[Reply] = []
        for code in data:
            echo = self._take(code)
            if code == ord("\r"):
                line, self._line = self._line.decode("latin-1"), b""
                self._busy_s = 0.0
                answer = self._carry_out(line.split())
                at += self._busy_s if self.timing else 0.0
                replies += [(at - arrived_s, echo + answer + PROMPT)]
            elif echo:
                replies += [(at - arrived_s, echo)]
        self._free_s = at
        return _joined(replies)

    def _take(self, code: int) -> bytes:
        """The echo of a character."""
        if code in (0x08, 0x7F):
            if not self._line:
                return b""
            self._line = self._line[:-1]
            return b"\b \b"
        if code == ord("\r"):
            return b"\r\n"
        if code < ord(" ") or len(self._line) >= LONGEST_LINE - 1:
            return b""
        self._line += bytes([code])
        return bytes([code])

    def _carry_out(self, words: list[str]) -> bytes:
        """The answer to a line; how long it takes is in `_busy_s`."""
        if not words:
            return b""
        name, *arguments = words
        if len(arguments) > _MOST_ARGUMENTS:
            return f"too many arguments, max {_MOST_ARGUMENTS}\r\n".encode("ascii")
        command = self.commands().get(name)
        if command is None:
            return f"{name}?\r\n".encode("latin-1")
        answer = command(arguments)
        return answer if isinstance(answer, bytes) else "".join(f"{line}\r\n" for line in answer).encode("ascii")


def unsigned(word: str) -> int:
    """A number as ``my_atoui`` reads it: digits up to the first other character, 0x, 0o and 0b before them."""
    word = word.removeprefix("+")
    radix = {"0x": 16, "0o": 8, "0b": 2}.get(word[:2], 10)
    value = 0
    for character in word if radix == 10 else word[2:]:
        digit = int(character, 36) if character.isascii() and character.isalnum() else 99
        if digit >= radix:
            break
        value = (value * radix + digit) & 0xFFFFFFFF
    return value


def _joined(replies: list[Reply]) -> list[Reply]:
    """Replies that leave together as one."""
    joined: list[Reply] = []
    for delay_s, data in replies:
        if joined and joined[-1][0] == delay_s and data is not None and joined[-1][1] is not None:
            joined[-1] = (delay_s, joined[-1][1] + data)
        else:
            joined.append((delay_s, data))
    return joined
