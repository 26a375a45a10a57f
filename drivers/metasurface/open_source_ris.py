"""OpenSourceRIS: 16 x 16 elements of one bit for 5.15 to 5.875 GHz (M. Heinrichs et al., github mheinri/OpenSourceRIS).

The protocol is that of the project's README and firmware: lines of ASCII, ended by a line feed in both directions.

    !0x + 64 hex digits -> #OK                the first digit's highest bit is element 1, top left; row by row
    ?Pattern            -> #0X + 64 digits
    ?Vext               -> #09.14 V           external supply; near zero on USB power
    ?SerialNo           -> #SerNo:  12        firmware 1.1 and newer
    !Reset              -> a banner that ends in #READY!

What the controller cannot understand it drops without a word: an invalid command, one sent while another is worked
on, anything with a carriage return or a space in it. So each question waits for its answer, and silence is answered
with a bare line feed, which ends whatever was begun. An unexpected banner says that the controller has restarted and
that its pattern is lost.
"""

from __future__ import annotations

import re
from typing import Literal

import numpy as np
from pydantic import Field

from labtrain.drivers.instrument import Command
from labtrain.drivers.metasurface.metasurface import LinkedMetasurface, LinkedMetasurfaceConfig, States
from labtrain.errors import InstrumentError, LinkDesync, LinkRefused, LinkTimeout

BAUD = 115_200
BITS_PER_BYTE = 10  # 8N1: start, eight data, stop
LATENCY_S = 0.016  # the FT231 holds a short answer back until its latency timer, 16 ms by default, has run out

EMULATED = 999
"""Serial number of the emulator: the highest that fits the answer's three digits. 0 would not do: boards have it
until somebody gives them one."""

_SERIAL_NUMBER = re.compile(r"#SerNo: *(\d+)")
_PATTERN = re.compile(r"#0X([0-9A-F]{64})")
_SUPPLY = re.compile(r"#(\d+\.\d+) V")
_BANNER = ("Open Source RIS", "#READY")
_HAILS = 3  # a command that meets one still being worked on is dropped, so one question may go unheard


def _serial_number(answer: str) -> int:
    return int(_matched(_SERIAL_NUMBER, answer))


def _volts(answer: str) -> float:
    return float(_matched(_SUPPLY, answer))


def _matched(form: re.Pattern[str], answer: str) -> str:
    match = form.fullmatch(answer)
    if match is None:
        raise ValueError(answer)
    return match.group(1)


class OpenSourceRis(LinkedMetasurface):
    """An OpenSourceRIS on its USB serial port."""

    class Config(LinkedMetasurfaceConfig):
        """Settings of an OpenSourceRIS."""

        driver: Literal["open-source-ris"] = "open-source-ris"
        timeout_s: float = Field(1.0, gt=0, le=3600, description="longest silence before an answer")
        serial_number: int | None = Field(None, ge=0, description="accept this board alone; default: any")

    EMULATOR = "labtrain.drivers.emulators.metasurface.open_source_ris:OpenSourceRisEmulator"
    MODELS_TOLD = "OpenSourceRIS, 16 x 16 pixels of 1 bit, 5.15 to 5.875 GHz"
    TRIED_ON = "emulator, after its firmware"
    shape = (16, 16)
    bits = 1
    serial = True
    config: Config

    serial_number = Command("serial number", get="?SerialNo", cast=_serial_number, doc="Up to three digits.")
    supply_v = Command(
        "external supply", get="?Vext", cast=_volts, unit="V", doc="9 to 24 V recommended; near zero on USB power."
    )

    @property
    def write_s(self) -> float:
        characters = len("!0x") + 64 + len("\n") + len("#OK\n")
        return characters * BITS_PER_BYTE / BAUD + LATENCY_S

    @property
    def emulated(self) -> bool:
        """Whether the serial number is the emulator's."""
        return self.identity == _told(EMULATED)

    def ask(self, question: str) -> str:
        with self.link.exchange():
            self.link.write(f"{question}\n".encode("ascii"))
            try:
                answer = self._line()
            except LinkTimeout as error:
                raise self.unanswered(_short(question), error) from error
            if not answer.startswith("#") or answer.startswith(_BANNER):
                raise self._astray(question, answer)
            return answer

    def tell(self, order: str) -> None:
        with self.link.exchange():
            answer = self.ask(order)
            if answer != "#OK":
                raise self._astray(order, answer)

    def safe(self) -> None:
        if self.link.is_open and self.link.dirty:
            # The answer to what was broken off may be long in coming: the order goes ahead of it, then is confirmed.
            self.link.send_anyway(f"\n{_order(self.elements(self._default))}\n".encode("ascii"))
        super().safe()

    def _write(self, elements: States) -> None:
        self.tell(_order(elements))

    def _read(self) -> States:
        with self.link.exchange():
            answer = self.ask("?Pattern")
            match = _PATTERN.fullmatch(answer)
            if match is None:
                raise self._astray("?Pattern", answer)
        packed = np.frombuffer(bytes.fromhex(match.group(1)), dtype=np.uint8)
        return np.unpackbits(packed).astype(np.int64)

    def _line(self) -> str:
        return self.link.read_until(b"\n").decode("ascii", "backslashreplace").removesuffix("\n")

    def _astray(self, asked: str, answer: str) -> LinkDesync:
        """The error for an answer that is none; reads what else is under way, for the rest of a banner."""
        heard = answer + "\n" + self.link.drain().decode("ascii", "backslashreplace")
        asked = _short(asked)
        if any(sign in heard for sign in _BANNER):
            return LinkDesync(
                f"{self.name}: restarted before it answered {asked!r}, its pattern is lost; if it does so again, "
                "check its supply"
            )
        return LinkDesync(
            f"{self.name}: asked {asked!r}, got {answer!r}; check the cable, and that no other program uses the port "
            f"({self.link.where})"
        )

    # -- identity and the fence ----------------------------------------------------------------------------------

    def _identify(self) -> str:
        try:
            return _told(self.serial_number)
        except (LinkTimeout, LinkDesync) as error:
            why = str(error.__cause__ or error).removeprefix(f"{self.name}: ")
            raise LinkRefused(
                f"{self.name}: no OpenSourceRIS with firmware 1.1 or newer answered to '?SerialNo' ({why}); check "
                f"{self.link.where} and that it is switched on"
            ) from error

    def _check_identity(self, identity: str) -> None:
        wanted = self.config.serial_number
        if wanted is not None and identity != _told(wanted):
            raise InstrumentError(
                f"{self.name}: found {identity}, asked serial number {wanted}; connect that board, or set "
                f"rig.{self.link.who}.serial_number"
            )

    def _synchronise(self) -> None:
        # Answers come in the order of the questions, and two different ones in turn tell an answer that was late
        # from the one just asked for: what the first finds late is out of the way before the second is answered.
        for hail in range(_HAILS):
            self.link.write(b"\n?SerialNo\n")
            try:
                self._skip_to(_SERIAL_NUMBER)
                break
            except LinkTimeout:
                if hail == _HAILS - 1:
                    raise
        self.link.write(b"?Pattern\n")
        self._skip_to(_PATTERN)
        self.link.dirty = False  # a hail that went unheard made it dirty

    def _skip_to(self, form: re.Pattern[str]) -> None:
        for _ in range(100):
            if form.fullmatch(self._line()):
                return
        raise LinkDesync(f"{self.name}: talks without being asked; check that no other program uses the port")


def _short(order: str) -> str:
    """For errors: a pattern is 64 digits long."""
    return order if len(order) <= 20 else f"{order[:11]}..."


def _order(elements: States) -> str:
    return "!0x" + np.packbits(elements.astype(np.uint8)).tobytes().hex().upper()


def _told(serial_number: int) -> str:
    return f"OpenSourceRIS, serial number {serial_number}"
