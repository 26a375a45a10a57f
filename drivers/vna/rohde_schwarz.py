"""Rohde & Schwarz ZNA, ZNB, ZNL, ZVA and their kin, after the "Command reference" in R&S's user manuals.

``INIT1`` sweeps as often as sweeps are counted, which is as often as they are averaged. The power that is set holds for
all ports; what a port adds of its own is taken away, lest it exceeds the power that was checked.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from labtrain.drivers.instrument import Command
from labtrain.drivers.scpi import Identity, boolean, integer, text
from labtrain.drivers.vna.calibration import Calibration
from labtrain.drivers.vna.scpi_vna import PREFIX, ScpiVna
from labtrain.drivers.vna.vna import Frequencies, VnaConfig
from labtrain.errors import InstrumentError
from labtrain.limits import Limit


class RohdeSchwarz(ScpiVna):
    """A Rohde & Schwarz analyser."""

    class Config(VnaConfig):
        """Settings of a Rohde & Schwarz analyser."""

        driver: Literal["rohde-schwarz"] = "rohde-schwarz"

    EMULATOR = "labtrain.drivers.emulators.vna.rohde_schwarz:RohdeSchwarz"
    MODELS = r"Rohde ?[-&] ?Schwarz[^,]*,(ZN[ABCDL]|ZNBT|ZNLE|ZV[ABT])\d.*"
    MODELS_TOLD = "Rohde & Schwarz ZNA, ZNB, ZNBT, ZNC, ZND, ZNL, ZNLE, ZVA, ZVB and ZVT"
    TRIED_ON = "emulator; QCoDeS, scikit-rf and R&S's own RsInstrument read the same emulator"

    if_bandwidth_range = Limit(1, 30e6, "Hz")
    points_range = Limit(1, 100_001)

    FREQUENCY_RANGE = ("SYST:FREQ? MIN", "SYST:FREQ? MAX")
    POWER_RANGE = Limit(-100, 30, "dBm")  # depends on model and options; what it sets is read back
    PORTS = "INST:PORT:COUN?"
    HOLD = "INIT1:CONT 0"
    OFF = "OUTP 0;:INIT1:CONT 0"
    CATALOGUE = "CALC1:PAR:CAT?"
    CHANNELS = "CONF:CHAN:CAT?"
    X = "CALC1:DATA:STIM?"

    sweep_type = Command(
        "sweep type", "SENS1:SWE:TYPE?", "SENS1:SWE:TYPE {}", cast=text,
        choices=("LIN", "LOG", "POW", "CW", "POIN", "SEGM", "PULS", "IAMP", "IPH"),
    )  # fmt: skip
    averages = Command(
        "averaging factor", "SENS1:AVER:COUN?", "SENS1:AVER:COUN {}", cast=integer, limits=Limit(1, 1000)
    )
    trigger_source = Command(
        "trigger source", "TRIG1:SOUR?", "TRIG1:SOUR {}", cast=text, choices=("IMM", "EXT", "MAN", "MULT")
    )
    sweep_count = Command(
        "sweeps of a trigger", "SENS1:SWE:COUN?", "SENS1:SWE:COUN {}", cast=integer, limits=Limit(1, 1000)
    )
    segment_bandwidths = Command(
        "IF bandwidth by segment", "SENS1:SEGM:BWID:CONT?", "SENS1:SEGM:BWID:CONT {}", cast=boolean,
        choices=(True, False),
    )  # fmt: skip
    segment_powers = Command(
        "power by segment", "SENS1:SEGM:POW:CONT?", "SENS1:SEGM:POW:CONT {}", cast=boolean, choices=(True, False)
    )
    segment_delays = Command(
        "delay by segment", "SENS1:SEGM:SWE:DWEL:CONT?", "SENS1:SEGM:SWE:DWEL:CONT {}", cast=boolean,
        choices=(True, False),
    )  # fmt: skip
    segment_times = Command(
        "time by segment", "SENS1:SEGM:SWE:TIME:CONT?", "SENS1:SEGM:SWE:TIME:CONT {}", cast=boolean,
        choices=(True, False),
    )  # fmt: skip
    averaging_mode = Command(
        "averaging mode", "SENS1:AVER:MODE?", "SENS1:AVER:MODE {}", cast=text, choices=("AUTO", "FLAT", "RED", "MOV"),
        doc="RED averages real and imaginary parts, which is all that ZVA, ZVB and ZVT do; they have no modes.",
        kept=False,
    )  # fmt: skip
    continuous = Command("continuous sweeps", "INIT1:CONT?", "INIT1:CONT {}", cast=boolean, choices=(True, False))

    # -- setting up ----------------------------------------------------------------------------------------------

    @property
    def _has_modes(self) -> bool:
        return not Identity.parse(self.identity).model.upper().startswith("ZV")

    @property
    def _ports(self) -> range:
        if self.n_ports is None:
            raise InstrumentError(f"{self.name}: does not know its ports, because opening it failed; open it again")
        return range(1, self.n_ports + 1)

    def _configure(self, frequencies_hz: Frequencies) -> None:
        self.trigger_source = "IMM"
        for port in self._ports:
            self.tell(f"SOUR1:POW{port}:OFFS 0,CPAD;SLOP 0")
        super()._configure(frequencies_hz)

    def _average(self, count: int) -> None:
        self.averages = self.sweep_count = count
        self.averaging = count > 1
        if self._has_modes:
            self.averaging_mode = "RED"
        # Averages must begin anew, or they would go on into those of the shot before.
        self._triggers = (f"SENS1:AVER:CLE;:{self.TRIGGER}" if count > 1 else self.TRIGGER,)

    def _define_measurements(self) -> set[int]:
        """Define traces in place of what an earlier run left; ports that all traces of the channel drive."""
        others = self._delete_measurements()
        names = [PREFIX + s for s in self.config.s_parameters]
        for name, s in zip(names, self.config.s_parameters, strict=True):
            self.tell(f"CALC1:PAR:SDEF '{name}','{s}'")
        # Selected each time: somebody at the front panel may look at another trace.
        self._questions = tuple(f"CALC1:PAR:SEL '{name}';:CALC1:DATA? SDAT" for name in names)
        s_parameters = [s for s in (*others, *self.config.s_parameters) if s[:1] == "S" and s[1:].isdigit()]
        return {int(s[1 + len(s[1:]) // 2 :]) for s in s_parameters}

    @staticmethod
    def _numbers(answer: str) -> list[int]:
        return [int(number) for number in text(answer).split(",")[::2] if number]

    def _set_segments(self, rows: list[tuple[float, float, int]]) -> None:
        config = self.config
        # The fifth is a delay or the segment's time, as was last chosen: of both the least is right.
        own = f"{config.power_dbm:.12g},MIN,0,{config.if_bandwidth_hz:.12g}"
        self._insert_segments([f"{start:.15g},{stop:.15g},{points},{own}" for start, stop, points in rows])
        self.segment_bandwidths = self.segment_powers = self.segment_delays = self.segment_times = False

    def _insert_segments(self, rows: list[str]) -> None:
        """Replace the segment table."""
        self.tell("SENS1:SEGM:DEL:ALL")
        for number, row in enumerate(rows, start=1):
            self.tell(f"SENS1:SEGM{number}:INS {row}")

    # -- calibration ---------------------------------------------------------------------------------------------

    def calibration(self) -> Calibration:
        on = self.ask_as(boolean, self.CORRECTED)
        name = text(self.ask("MMEM:LOAD:CORR? 1"))
        date = _iso(text(self.ask("SENS1:CORR:DATE?"))) if on else ""
        delays_s = {port: self.ask_as(float, f"SENS1:CORR:EDEL{port}:TIME?") for port in self._ports}
        self.check_errors()
        return Calibration(on, name, date, extended=any(delays_s.values()), extensions_s=delays_s)

    # -- settings ------------------------------------------------------------------------------------------------

    def settings(self) -> dict[str, Any]:
        found = super().settings()
        if self._has_modes:
            found["averaging_mode"] = self.averaging_mode
        found["port_powers"] = [(self.ask(f"SOUR1:POW{p}:OFFS?"), self.ask(f"SOUR1:POW{p}:SLOP?")) for p in self._ports]
        count = self.ask_as(integer, "SENS1:SEGM:COUN?")
        found["segments"] = [
            (self.ask(f"SENS1:SEGM{n}:DEF?"), self.ask_as(boolean, f"SENS1:SEGM{n}?")) for n in range(1, count + 1)
        ]
        found["selected"] = text(self.ask("CALC1:PAR:SEL?"))
        return found

    def restore(self, settings: dict[str, Any]) -> None:
        self._delete_measurements()
        self._insert_segments([row for row, _ in settings["segments"]])
        for number, (_, on) in enumerate(settings["segments"], start=1):
            if not on:
                self.tell(f"SENS1:SEGM{number} 0")
        super().restore(settings)
        if "averaging_mode" in settings:
            self.averaging_mode = settings["averaging_mode"]
        for port, (offset, slope) in enumerate(settings["port_powers"], start=1):
            self.tell(f"SOUR1:POW{port}:OFFS {offset};SLOP {slope}")
        if settings["selected"] and not settings["selected"].startswith(PREFIX):
            self.tell(f"CALC1:PAR:SEL '{settings['selected']}'")
        self.check_errors()


def _iso(date: str) -> str:
    """When a calibration was made, by the analyser's own clock, as ISO 8601; in another form, as it tells it."""
    try:
        return datetime.strptime(date, "%m/%d/%y,%H:%M:%S").isoformat()
    except ValueError:
        return date
