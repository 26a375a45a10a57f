"""ScpiVna, what all dialects of SCPI for vector network analysers share; a dialect is a list of how it says things.

A step is everywhere the same: trigger one sweep (or as many as are averaged) and wait with ``*OPC?``, read the
corrected complex data in binary, ask for errors. Channel 1 is used, with whatever calibration has been made there.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labtrain.drivers.instrument import Command
from labtrain.drivers.scpi import ScpiInstrument, boolean, integer, text
from labtrain.drivers.vna.calibration import Calibration
from labtrain.drivers.vna.segments import segments_of
from labtrain.drivers.vna.vna import Frequencies, Sweep, Vna, is_uniform, ports_of
from labtrain.errors import InputError, InstrumentError
from labtrain.limits import Limit, shown

PREFIX = "labtrain_"  # of measurements defined here; others on the channel are somebody else's
RESOLUTION_HZ = 1.0

_STOP_S = 0.5  # an idle analyser confirms within a few milliseconds


class ScpiVna(Vna, ScpiInstrument):
    """A vector network analyser that speaks SCPI.

    A dialect declares the constants below where its own differ from them, and commands of the same name in place of
    those that it spells otherwise; commands are put back in the order in which they were first declared.
    """

    FREQUENCY_RANGE: ClassVar[tuple[str, str]] = ("SENS1:FREQ:STAR? MIN", "SENS1:FREQ:STOP? MAX")
    """Questions for the lowest and the highest frequency."""

    POWER_RANGE: ClassVar[tuple[str, str] | Limit] = ("SOUR1:POW? MIN", "SOUR1:POW? MAX")
    """Questions for the lowest and the highest power, or that of the family, where the instrument does not tell."""

    PORTS: ClassVar[str]
    """Question for the number of ports."""

    MOST_POINTS: ClassVar[str] = ""
    """Question for the largest number of points of a sweep, where there is one."""

    CATALOGUE: ClassVar[str]
    """Question for names and parameters of the measurements on the channel, where they have names."""

    HOLD: ClassVar[str]
    """Order to sweep no more until triggered."""

    OFF: ClassVar[str]
    """Order to switch RF off and stop sweeping, whatever is under way."""

    TRIGGER: ClassVar[str] = "INIT1;*OPC?"
    """One sweep, or a group of them, and the question that is answered at its end."""

    FORMAT: ClassVar[tuple[str, str]] = ("REAL,64", "SWAP")
    """`data_format` and `byte_order` of little-endian binary numbers of 64 bits."""

    X: ClassVar[str]
    """Question for the frequencies it sweeps, answered in that format."""

    CORRECTED: ClassVar[str] = "SENS1:CORR?"
    """Question whether correction is on."""

    HARMLESS: ClassVar[dict[str, bool]] = {}
    """Commands, not `kept`, of what may add to the power at a port, or to the sweeps of a trigger, and what to set lest
    either exceeds what was checked; an instrument that does not know one has no such thing.
    """

    CHANNELS: ClassVar[str] = ""
    """Question for the channels there are; `_numbers` reads the answer."""

    CONTINUOUS: ClassVar[tuple[str, str, str]] = ("INIT{}:CONT?", "INIT{}:CONT {}", "0")
    """Of a channel: question and order for sweeping by itself, and the word for not."""

    FEWEST_POINTS: ClassVar[int] = 1
    """Of a segment."""

    MOST_SEGMENTS: ClassVar[int] = 1_000_000

    start_hz = Command(
        "start frequency", "SENS1:FREQ:STAR?", "SENS1:FREQ:STAR {}", cast=float, unit="Hz", limits="frequency_limits"
    )
    stop_hz = Command(
        "stop frequency", "SENS1:FREQ:STOP?", "SENS1:FREQ:STOP {}", cast=float, unit="Hz", limits="frequency_limits"
    )
    points = Command("points", "SENS1:SWE:POIN?", "SENS1:SWE:POIN {}", cast=integer, limits="points_range")
    sweep_type = Command(
        "sweep type", "SENS1:SWE:TYPE?", "SENS1:SWE:TYPE {}", cast=text, choices=("LIN", "LOG", "SEGM", "POW", "CW")
    )
    if_bandwidth_hz = Command(
        "IF bandwidth", "SENS1:BWID?", "SENS1:BWID {}", cast=float, unit="Hz", limits="if_bandwidth_range",
        doc="Rounded to what there is.",
    )  # fmt: skip
    averaging = Command("averaging", "SENS1:AVER?", "SENS1:AVER {}", cast=boolean, choices=(True, False))
    averages = Command(
        "number of averages", "SENS1:AVER:COUN?", "SENS1:AVER:COUN {}", cast=integer, limits=Limit(1, 65536)
    )
    power_dbm = Command("power", "SOUR1:POW?", "SOUR1:POW {}", cast=float, unit="dBm", limits="power_limits")
    data_format = Command("data format", "FORM?", "FORM {}", cast=text, choices=("REAL,64", "REAL,32", "ASC,0"))
    byte_order = Command(
        "byte order", "FORM:BORD?", "FORM:BORD {}", cast=text, choices=("NORM", "SWAP"), doc="SWAP: little-endian."
    )
    sweep_time_s = Command(
        "sweep time", "SENS1:SWE:TIME?", cast=float, unit="s", doc="Of one sweep from one port.", kept=False
    )
    radiating = Command("RF output", "OUTP?", cast=boolean, doc="Switched by rf().", kept=False)

    _adding: tuple[str, ...] = ()  # those of HARMLESS that it has
    _tells_channels = False
    _triggers: tuple[str, ...] = ()
    _questions: tuple[str, ...] = ()
    _kept: NDArray[np.intp] | slice = slice(None)  # points of a sweep that were asked for
    _swept = 0  # points of a sweep
    _sweep_s = 0.0

    # -- setting up ----------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        super()._prepare()
        self.frequency_range = self._range(self.FREQUENCY_RANGE, "Hz")
        power = self.POWER_RANGE
        self.power_range = power if isinstance(power, Limit) else self._range(power, "dBm")
        self.n_ports = self.ask_as(integer, self.PORTS)
        # Firmware that does not tell refuses too many points itself, later.
        if self.MOST_POINTS and (most := self.ask_if_known(self.MOST_POINTS)) is not None:
            self.points_range = Limit(type(self).points_range.low, self._as(integer, self.MOST_POINTS, most))
        commands = self.commands()
        self._adding = tuple(n for n in self.HARMLESS if self.ask_if_known(str(commands[n].get)) is not None)
        self._tells_channels = bool(self.CHANNELS) and self.ask_if_known(self.CHANNELS) is not None

    def _range(self, questions: tuple[str, str], unit: str) -> Limit:
        low, high = (self.ask_as(float, question) for question in questions)
        return Limit(low, high, unit)

    def check(self, frequencies_hz: ArrayLike) -> Frequencies:
        type(self).averages.checked(self, self.config.averages)
        return super().check(frequencies_hz)

    def _checked_frequencies(self, frequencies_hz: ArrayLike) -> Frequencies:
        frequencies = super()._checked_frequencies(frequencies_hz)
        if not is_uniform(frequencies, RESOLUTION_HZ / 2):
            needed = len(segments_of(frequencies, self.FEWEST_POINTS).rows)
            if needed > self.MOST_SEGMENTS:
                raise InputError(
                    f"{self.name}: asked {len(frequencies)} frequencies that need {needed} segments, it has "
                    f"{self.MOST_SEGMENTS}; measure at fewer (rig.frequencies_hz), or at equal distances"
                )
        return frequencies

    def _configure(self, frequencies_hz: Frequencies) -> None:
        config = self.config
        self.tell(self.HOLD)
        for number in self._other_channels():  # RF is that of all channels, and theirs was not checked
            self.tell(self.CONTINUOUS[1].format(number, self.CONTINUOUS[2]))
        for name in self._adding:
            setattr(self, name, self.HARMLESS[name])
        self.power_dbm = config.power_dbm
        self.if_bandwidth_hz = config.if_bandwidth_hz
        self._average(config.averages)
        sources = self._define_measurements()
        self._set_frequencies(frequencies_hz)
        self.data_format, self.byte_order = self.FORMAT
        self.check_errors()
        self._confirm(frequencies_hz)
        if self.ask_as(boolean, self.CORRECTED):  # correction needs the sweeps of all its ports
            sources |= {port for name in config.s_parameters for port in ports_of(name)}
        one_s = max(self.sweep_time_s, len(frequencies_hz) / self.if_bandwidth_hz)
        self._sweep_s = one_s * len(sources) * config.averages
        self.fence_timeout_s = self._patience_s
        self.check_errors()

    def _average(self, count: int) -> None:
        """Average `count` sweeps a shot, beginning anew each time, or they would go on into those of the shot before.

        Sweeps are triggered one by one: not every firmware knows how to trigger all of them at once.
        """
        self.averages = count
        self.averaging = count > 1
        first = f"SENS1:AVER:CLE;:{self.TRIGGER}" if count > 1 else self.TRIGGER
        self._triggers = (first, *[self.TRIGGER] * (count - 1))

    @abstractmethod
    def _define_measurements(self) -> set[int]:
        """Define what is measured and set `_questions`, one for each S-parameter; returns the ports that are driven."""

    def _delete_measurements(self) -> list[str]:
        """Delete our own measurements; parameters of the others on the channel."""
        fields = text(self.ask(self.CATALOGUE)).split(",")
        others = []
        for name, parameter in zip(fields[::2], fields[1::2], strict=False):  # one field alone says that there are none
            if name.startswith(PREFIX):
                self.tell(f"CALC1:PAR:DEL '{name}'")
            else:
                others.append(parameter)
        return others

    def _set_frequencies(self, frequencies_hz: Frequencies) -> None:
        self._kept, self._swept = slice(None), len(frequencies_hz)
        if is_uniform(frequencies_hz, RESOLUTION_HZ / 2):
            self.sweep_type = "LIN"
            self.start_hz, self.stop_hz = float(frequencies_hz[0]), float(frequencies_hz[-1])
            self.points = len(frequencies_hz)
        else:
            segments = segments_of(frequencies_hz, self.FEWEST_POINTS)
            self._kept, self._swept = segments.kept, segments.points
            self._set_segments(segments.rows)
            self.sweep_type = "SEGM"

    @abstractmethod
    def _set_segments(self, rows: list[tuple[float, float, int]]) -> None:
        """Replace the segment table by segments of (start in Hz, stop in Hz, points)."""

    def _confirm(self, frequencies_hz: Frequencies) -> None:
        """Read back what would spoil or endanger something if it were not so."""
        config, key = self.config, f"rig.{self.link.who}"
        if (self.data_format, self.byte_order) != self.FORMAT:
            raise InstrumentError(f"{self.name}: asked data format {' '.join(self.FORMAT)}, it did not set that")
        for name, asked in (("power_dbm", config.power_dbm), ("if_bandwidth_hz", config.if_bandwidth_hz)):
            found: float = getattr(self, name)
            if not np.isclose(found, asked, rtol=1e-6, atol=1e-3):
                command = self.commands()[name]
                told, has = (shown(value, command.unit) for value in (asked, found))
                raise InputError(f"{self.name}: asked {command.what} {told}, it set {has} instead; set {key}.{name}")
        swept_hz = self._ask_frequencies()[self._kept]
        if np.abs(swept_hz - frequencies_hz).max() > RESOLUTION_HZ:
            wrong = int(np.argmax(np.abs(swept_hz - frequencies_hz)))
            raise InstrumentError(
                f"{self.name}: asked frequency {frequencies_hz[wrong]:.12g} Hz, it sweeps {swept_hz[wrong]:.12g} Hz; "
                "set rig.frequencies_hz to what it can do"
            )

    def _ask_frequencies(self) -> Frequencies:
        """All frequencies of a sweep."""
        return self.ask_block(self.X, self._swept)

    # -- measuring -----------------------------------------------------------------------------------------------

    @property
    def sweep_s(self) -> float:
        return self._sweep_s

    @property
    def _patience_s(self) -> float:
        """How long a sweep may keep it busy: twice what it told, for retraces and settling."""
        return self.link.timeout_s + 2 * self._sweep_s

    def _sweep(self) -> Sweep:
        for trigger in self._triggers:
            done = self.ask(trigger, self._patience_s)
            if done not in ("1", "+1"):
                raise self.confused(trigger, done, "the end of the sweep")
        data = np.empty((len(self._questions), len(self.frequencies_hz)), dtype=np.complex128)
        for row, question in zip(data, self._questions, strict=True):
            row[:] = self._ask_trace(question)
        self.check_errors()
        return data

    def _ask_trace(self, question: str) -> Sweep:
        """Corrected complex data of a trace at the frequencies asked for, (points,)."""
        return self.ask_block(question, self._swept, "<c16")[self._kept]

    def calibration(self) -> Calibration:
        on = self.ask_as(boolean, self.CORRECTED)
        self.check_errors()
        return Calibration(on)

    # -- settings ------------------------------------------------------------------------------------------------

    def settings(self) -> dict[str, Any]:
        question, _, hold = self.CONTINUOUS
        modes = [(number, self.ask(question.format(number))) for number in self._other_channels()]
        found = super().settings() | {name: getattr(self, name) for name in self._adding}
        return found | {"other_channels": [(number, mode) for number, mode in modes if mode.lstrip("+") != hold]}

    def _other_channels(self) -> list[int]:
        """Channels that are not ours."""
        return [n for n in self.ask_as(self._numbers, self.CHANNELS) if n != 1] if self._tells_channels else []

    @staticmethod
    def _numbers(answer: str) -> list[int]:
        """Channels of the answer to `CHANNELS`."""
        return [int(number) for number in text(answer).split(",") if number]

    def restore(self, settings: dict[str, Any]) -> None:
        super().restore(settings)
        for name in self._adding:
            if name in settings:
                self.commands()[name].write(self, settings[name])
        if swept := settings.get("other_channels"):
            there = self._other_channels()
            for number, mode in swept:
                if number in there:
                    self.tell(self.CONTINUOUS[1].format(number, mode))
        self.check_errors()

    # -- RF ------------------------------------------------------------------------------------------------------

    def _switch(self, on: bool) -> None:
        order = f"{'OUTP 1' if on else self.OFF};:OUTP?"
        answer = self.ask(order)
        self.check_errors()
        if answer.lstrip("+") != str(int(on)):
            told = "on" if on else "off"
            raise InstrumentError(f"{self.name}: asked {order!r} for RF {told}, got {answer!r}; see its front panel")

    def _say_off(self) -> None:
        busy_s = _STOP_S
        if self.link.dirty:
            # The orders leave first: bringing the link back in step may take longer than anybody should radiate.
            self.link.send_anyway(f"\n{self.OFF}\n".encode("ascii"))
            busy_s += self._sweep_s  # it may have to end a sweep before it listens
        patience_s, self.fence_timeout_s = self.fence_timeout_s, busy_s
        try:
            with self.link.exchange():
                self.link.write(f"{self.OFF};:OUTP?\n".encode("ascii"))
                answer = self.link.read_until(b"\n", _STOP_S).strip()
        finally:
            self.fence_timeout_s = patience_s
        if answer.lstrip(b"+") != b"0":
            raise self.confused(self.OFF, answer, "RF off")
