"""Keysight (Agilent) ENA with numbered traces, E5061A to E5071C, after their SCPI command references.

Others speak the same language: subclasses say what differs. A step is ``INIT1;:TRIG:SING;*OPC?``; where sweeps are
averaged, each is triggered by itself.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from labtrain.drivers.instrument import Command
from labtrain.drivers.scpi import boolean, integer, text
from labtrain.drivers.vna.calibration import Calibration
from labtrain.drivers.vna.scpi_vna import ScpiVna
from labtrain.drivers.vna.vna import VnaConfig, ports_of
from labtrain.limits import Limit


class KeysightEna(ScpiVna):
    """A Keysight ENA."""

    class Config(VnaConfig):
        """Settings of a Keysight ENA."""

        driver: Literal["keysight-ena"] = "keysight-ena"

    EMULATOR = "labtrain.drivers.emulators.vna.keysight_ena:KeysightEna"
    MODELS = r"(Keysight|Agilent)[^,]*,E50(61|62|70|71)[ABC]"
    MODELS_TOLD = "Keysight (Agilent) ENA: E5061A, E5062A, E5070B, E5071B, E5071C"
    TRIED_ON = "emulator; PyMeasure reads the same emulator"

    if_bandwidth_range = Limit(10, 500e3, "Hz")
    points_range = Limit(2, 20_001)

    FREQUENCY_RANGE = ("SERV:SWE:FREQ:MIN?", "SERV:SWE:FREQ:MAX?")
    POWER_RANGE = Limit(-85, 15, "dBm")  # depends on the option; what it sets is read back
    PORTS = "SERV:PORT:COUN?"
    MOST_POINTS = "SERV:SWE:POIN?"
    HOLD = "TRIG:SOUR BUS;:INIT1:CONT 0;:ABOR"
    OFF = "OUTP 0;:TRIG:SOUR BUS;:INIT1:CONT 0;:ABOR"
    TRIGGER = "INIT1;:TRIG:SING;*OPC?"
    FORMAT = ("REAL", "SWAP")
    X = "SENS1:FREQ:DATA?"
    CORRECTED = "SENS1:CORR:STAT?"
    HARMLESS: ClassVar[dict[str, bool]] = {"coupled": True, "sloped": False, "trigger_averages": False}
    CHANNELS = "SERV:CHAN:COUN?"
    FEWEST_POINTS = 2
    MOST_SEGMENTS = 201
    DATA: ClassVar[str] = "CALC1:PAR{trace}:SEL;:CALC1:DATA:SDAT?"
    """Question for the data of a trace, by its number or what it measures."""

    averages = Command("averaging factor", "SENS1:AVER:COUN?", "SENS1:AVER:COUN {}", cast=integer, limits=Limit(1, 999))
    data_format = Command("data format", "FORM:DATA?", "FORM:DATA {}", cast=text, choices=("REAL", "REAL32", "ASC"))
    traces = Command("number of traces", "CALC1:PAR:COUN?", "CALC1:PAR:COUN {}", cast=integer, limits=Limit(1, 16))
    trigger_source = Command(
        "trigger source", "TRIG:SOUR?", "TRIG:SOUR {}", cast=text, choices=("INT", "EXT", "MAN", "BUS")
    )
    coupled = Command(
        "coupling of port powers", "SOUR1:POW:PORT:COUP?", "SOUR1:POW:PORT:COUP {}", cast=boolean,
        choices=(True, False), kept=False,
    )  # fmt: skip
    sloped = Command(
        "power slope", "SOUR1:POW:SLOP:STAT?", "SOUR1:POW:SLOP:STAT {}", cast=boolean, choices=(True, False), kept=False
    )
    trigger_averages = Command(
        "averaging trigger", "TRIG:AVER?", "TRIG:AVER {}", cast=boolean, choices=(True, False), kept=False,
        doc="On, a trigger begins as many sweeps as are averaged; here each has its own.",
    )  # fmt: skip
    continuous = Command("continuous sweeps", "INIT1:CONT?", "INIT1:CONT {}", cast=boolean, choices=(True, False))

    @staticmethod
    def _numbers(answer: str) -> list[int]:
        return [*range(1, 1 + integer(answer))]

    def _define_measurements(self) -> set[int]:
        s_parameters = self.config.s_parameters
        self.traces = len(s_parameters)
        for trace, s in enumerate(s_parameters, start=1):
            self.tell(f"CALC1:PAR{trace}:DEF {s}")
        self._questions = tuple(self.DATA.format(trace=n, s=s) for n, s in enumerate(s_parameters, start=1))
        return {ports_of(s)[1] for s in s_parameters}

    def _set_segments(self, rows: list[tuple[float, float, int]]) -> None:
        self._list_segments([5, 0, 0, 0, 0, 0, len(rows), *(value for row in rows for value in row)])

    def _list_segments(self, values: list[float]) -> None:
        self.data_format = "ASC"  # the list is read in the format in which data are sent
        self.tell("SENS1:SEGM:DATA " + ",".join(f"{value:.12g}" for value in values))

    @property
    def _ports(self) -> range:
        assert self.n_ports is not None  # known since open()
        return range(1, self.n_ports + 1)

    def calibration(self) -> Calibration:
        on, extended = (self.ask_as(boolean, question) for question in (self.CORRECTED, "SENS1:CORR:EXT?"))
        extensions_s = {port: self.ask_as(float, f"SENS1:CORR:EXT:PORT{port}?") for port in self._ports}
        self.check_errors()
        return Calibration(on, extended=extended, extensions_s=extensions_s)

    def settings(self) -> dict[str, Any]:
        found = super().settings()
        found["measured"] = [text(self.ask(f"CALC1:PAR{n}:DEF?")) for n in range(1, found["traces"] + 1)]
        if found["sweep_type"] == "SEGM":
            self.data_format = "ASC"
            found["segments"] = self.ask_numbers("SENS1:SEGM:DATA?").tolist()
            type(self).data_format.write(self, found["data_format"])
        if not found.get("coupled", True):
            found["powers_dbm"] = [self.ask_as(float, f"SOUR1:POW:PORT{port}?") for port in self._ports]
        return found

    def restore(self, settings: dict[str, Any]) -> None:
        if "segments" in settings:
            self._list_segments(settings["segments"])
        super().restore(settings)
        for port, power in enumerate(settings.get("powers_dbm", ()), start=1):
            self.tell(f"SOUR1:POW:PORT{port} {power:.12g}")
        for trace, measured in enumerate(settings["measured"], start=1):
            self.tell(f"CALC1:PAR{trace}:DEF {measured}")
        self.check_errors()
