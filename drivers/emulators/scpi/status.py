"""What an instrument remembers of how it fared: the status registers of IEEE 488.2, and the error queue of SCPI."""

from __future__ import annotations

from collections import deque

OPC, QYE, DDE, EXE, CME, PON = 1, 4, 8, 16, 32, 128  # event status register (IEEE 488.2, 11.5.1)
EAV, MAV, ESB, MSS = 4, 16, 32, 64  # status byte (IEEE 488.2, 11.2; SCPI 1999, 9)

QUEUE_LENGTH = 20
OVERFLOW = -350

TEXTS = {
    0: "No error",
    -100: "Command error",
    -101: "Invalid character",
    -102: "Syntax error",
    -103: "Invalid separator",
    -104: "Data type error",
    -108: "Parameter not allowed",
    -109: "Missing parameter",
    -111: "Header separator error",
    -112: "Program mnemonic too long",
    -113: "Undefined header",
    -114: "Header suffix out of range",
    -120: "Numeric data error",
    -121: "Invalid character in number",
    -123: "Exponent too large",
    -124: "Too many digits",
    -128: "Numeric data not allowed",
    -131: "Invalid suffix",
    -138: "Suffix not allowed",
    -141: "Invalid character data",
    -144: "Character data too long",
    -148: "Character data not allowed",
    -151: "Invalid string data",
    -158: "String data not allowed",
    -161: "Invalid block data",
    -168: "Block data not allowed",
    -178: "Expression data not allowed",
    -200: "Execution error",
    -211: "Trigger ignored",
    -213: "Init ignored",
    -220: "Parameter error",
    -221: "Settings conflict",
    -222: "Data out of range",
    -223: "Too much data",
    -224: "Illegal parameter value",
    -230: "Data corrupt or stale",
    -240: "Hardware error",
    -310: "System error",
    OVERFLOW: "Queue overflow",
    -363: "Input buffer overrun",
    -410: "Query INTERRUPTED",
    -420: "Query UNTERMINATED",
    -430: "Query DEADLOCKED",
    -440: "Query UNTERMINATED after indefinite response",
}
"""Standard errors (SCPI 1999, 21.8). Positive ones are an instrument's own."""

_EVENTS = {1: CME, 2: EXE, 3: DDE, 4: QYE}  # by hundreds of the code


class ScpiError(Exception):
    """A message unit that cannot be carried out; its code and text go into the error queue.

    Parameters
    ----------
    code : int
    text : str, optional
        Default: the standard text of the code.
    """

    def __init__(self, code: int, text: str | None = None) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text


class Status:
    """Registers and error queue of one instrument."""

    def __init__(self) -> None:
        self.events = PON
        self.event_mask = 0
        self.service_mask = 0
        self._errors: deque[tuple[int, str]] = deque()

    def __len__(self) -> int:
        return len(self._errors)

    def push(self, code: int, text: str | None = None) -> None:
        """Note an error; when the queue is full the last one gives way to -350 (SCPI 1999, 21.8.1)."""
        self.events |= _EVENTS.get(-code // 100, DDE)
        if len(self._errors) == QUEUE_LENGTH:
            self._errors[-1] = (OVERFLOW, TEXTS[OVERFLOW])
        else:
            self._errors.append((code, TEXTS.get(code, "") if text is None else text))

    def pop(self) -> tuple[int, str]:
        """Take the oldest error; 0 when there is none."""
        return self._errors.popleft() if self._errors else (0, TEXTS[0])

    def read_events(self) -> int:
        """The event status register, which reading clears."""
        events, self.events = self.events, 0
        return events

    def clear(self) -> None:
        """As ``*CLS``: events and errors; masks stay."""
        self.events = 0
        self._errors.clear()

    def byte(self, *, message_available: bool) -> int:
        """The status byte with the master summary in bit 6, as ``*STB?`` reads it."""
        byte = EAV * bool(self._errors) | MAV * message_available | ESB * bool(self.events & self.event_mask)
        return byte | MSS * bool(byte & self.service_mask)
