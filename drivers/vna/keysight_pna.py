"""Keysight (Agilent) PNA, PNA-L and PNA-X, after Keysight's VNA help, "Programming / SCPI command finder".

The sweeps that are averaged are triggered as one group.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Literal

import numpy as np

from labtrain.drivers.instrument import Command
from labtrain.drivers.scpi import boolean, integer, text
from labtrain.drivers.vna.calibration import Calibration
from labtrain.drivers.vna.scpi_vna import PREFIX, ScpiVna
from labtrain.drivers.vna.vna import Frequencies, VnaConfig, ports_of
from labtrain.limits import Limit


class KeysightPna(ScpiVna):
    """A Keysight PNA, PNA-L or PNA-X."""

    class Config(VnaConfig):
        """Settings of a Keysight PNA."""

        driver: Literal["keysight-pna"] = "keysight-pna"

    EMULATOR = "labtrain.drivers.emulators.vna.keysight_pna:KeysightPna"
    MODELS = r"(Keysight|Agilent)[^,]*,(N52\d\d[A-Z]|E83[56]\d[A-C]|M937\dA|P937\dA)"
    MODELS_TOLD = "Keysight PNA, PNA-L and PNA-X (N52xx, E83xx, M937xA, P937xA)"
    TRIED_ON = "emulator; scikit-rf, PyMeasure and QCoDeS read the same emulator"

    if_bandwidth_range = Limit(1, 15e6, "Hz")
    points_range = Limit(1, 100_003)

    FREQUENCY_RANGE = ("SYST:CAP:FREQ:MIN?", "SYST:CAP:FREQ:MAX?")
    POWER_RANGE = ("SOUR1:POW1? MIN", "SOUR1:POW1? MAX")
    PORTS = "SYST:CAP:HARD:PORT:COUN?"
    MOST_POINTS = "SYST:CAP:POIN:MAX?"
    HOLD = "SENS1:SWE:MODE HOLD"
    OFF = "OUTP 0;:SENS1:SWE:MODE HOLD"
    TRIGGER = "SENS1:SWE:MODE SING;*OPC?"
    HARMLESS: ClassVar[dict[str, bool]] = {"sloped": False}
    CATALOGUE = "CALC1:PAR:CAT:EXT?"
    CHANNELS = "SYST:CHAN:CAT?"
    CONTINUOUS = ("SENS{}:SWE:MODE?", "SENS{}:SWE:MODE {}", "HOLD")
    X = "CALC1:X?"
    SELECTED: ClassVar[str] = "CALC1:PAR:SEL?"
    """Question for the measurement that is selected."""

    trigger_source = Command(
        "trigger source", "TRIG:SOUR?", "TRIG:SOUR {}", cast=text, choices=("IMM", "EXT", "MAN"), doc="IMM: internal."
    )
    sweep_type = Command(
        "sweep type", "SENS1:SWE:TYPE?", "SENS1:SWE:TYPE {}", cast=text,
        choices=("LIN", "LOG", "POW", "CW", "SEGM", "PHAS"),
    )  # fmt: skip
    segment_bandwidths = Command(
        "IF bandwidth by segment", "SENS1:SEGM:BWID:CONT?", "SENS1:SEGM:BWID:CONT {}", cast=boolean,
        choices=(True, False),
    )  # fmt: skip
    segment_powers = Command(
        "power by segment", "SENS1:SEGM:POW:CONT?", "SENS1:SEGM:POW:CONT {}", cast=boolean, choices=(True, False),
        doc="Off, lest a segment exceeds the power that was checked.",
    )  # fmt: skip
    averaging_mode = Command(
        "averaging mode", "SENS1:AVER:MODE?", "SENS1:AVER:MODE {}", cast=text, choices=("POIN", "SWEEP")
    )
    group = Command(
        "sweeps of a group", "SENS1:SWE:GRO:COUN?", "SENS1:SWE:GRO:COUN {}", cast=integer, limits=Limit(1, 2e6)
    )
    coupled = Command(
        "coupling of port powers", "SOUR1:POW:COUP?", "SOUR1:POW:COUP {}", cast=boolean, choices=(True, False),
        doc="All ports, those of a two-port correction too, give the same power.",
    )  # fmt: skip
    sloped = Command(
        "power slope", "SOUR1:POW:SLOP:STAT?", "SOUR1:POW:SLOP:STAT {}", cast=boolean, choices=(True, False), kept=False
    )
    power_dbm = Command("power", "SOUR1:POW1?", "SOUR1:POW1 {}", cast=float, unit="dBm", limits="power_limits")
    data_format = Command(
        "data format", "FORM?", "FORM {}", cast=lambda answer: text(answer).replace("+", ""),
        choices=("REAL,64", "REAL,32", "ASC,0"), doc="Older firmware says REAL,+64.",
    )  # fmt: skip
    sweep_mode = Command(
        "sweep mode", "SENS1:SWE:MODE?", "SENS1:SWE:MODE {}", cast=text, choices=("HOLD", "CONT", "GRO", "SING")
    )

    # -- setting up ----------------------------------------------------------------------------------------------

    def _configure(self, frequencies_hz: Frequencies) -> None:
        self.trigger_source = "IMM"
        self.coupled = True
        self.segment_powers = self.segment_bandwidths = False
        super()._configure(frequencies_hz)

    def _average(self, count: int) -> None:
        self.averaging_mode = "SWEEP"
        self.averages = self.group = count
        self.averaging = count > 1
        # Averages must begin anew, or a group would go on averaging into those of the shot before.
        self._triggers = ("SENS1:AVER:CLE;:SENS1:SWE:MODE GRO;*OPC?" if count > 1 else self.TRIGGER,)

    def _define_measurements(self) -> set[int]:
        """Define what is measured in place of what an earlier run left; ports that all measurements drive."""
        others = self._delete_measurements()
        self._questions = self._define_all()
        s_parameters = [s for s in (*others, *self.config.s_parameters) if s[:1] == "S" and s[1:3].isdigit()]
        return {ports_of(s)[1] for s in s_parameters}

    def _define_all(self) -> tuple[str, ...]:
        """Define a measurement for each S-parameter; returns the questions for their data."""
        names = [PREFIX + s for s in self.config.s_parameters]
        for name, s in zip(names, self.config.s_parameters, strict=True):
            self.tell(f"CALC1:PAR:DEF:EXT '{name}','{s}'")
        self.tell(f"CALC1:PAR:SEL '{names[0]}'")
        one = len(names) == 1  # a selection lasts
        return tuple(f"{'' if one else f'CALC1:PAR:SEL {name!r};:'}CALC1:DATA? SDATA" for name in names)

    def _set_segments(self, rows: list[tuple[float, float, int]]) -> None:
        self._list_segments([value for start, stop, points in rows for value in (1, points, start, stop)], 4)

    def _list_segments(self, values: list[float], each: int) -> None:
        """Replace the segment table; of each segment: on, points, start, stop, and optionally more."""
        listed = ",".join(f"{value:.12g}" for value in values)
        self.data_format = "ASC,0"  # the list is read in the format in which data are sent
        self.tell("SENS1:SEGM:DEL:ALL")
        self.tell(f"SENS1:SEGM:LIST SSTOP,{len(values) // each},{listed}")

    # -- measuring -----------------------------------------------------------------------------------------------

    def calibration(self) -> Calibration:
        on = self.ask_as(boolean, "SENS1:CORR?")
        name = text(self.ask("SENS1:CORR:CSET:ACT? NAME"))
        date = description = ""
        if "no calset" in name.lower():
            name = ""
        else:
            date = self._saved(name)
            description = text(self.ask_if_known("SENS1:CORR:CSET:DESC?") or "")
        assert self.n_ports is not None  # known since open()
        extended = self.ask_as(boolean, "SENS1:CORR:EXT?")
        extensions_s = {port: self.ask_as(float, f"SENS1:CORR:EXT:PORT{port}?") for port in range(1, self.n_ports + 1)}
        self.check_errors()
        return Calibration(on, name, date, description, extended, extensions_s)

    def _saved(self, name: str) -> str:
        """When a calibration set was saved, by the analyser's own clock; empty where the firmware does not tell."""
        question = f"CSET:DATE? '{name}'"
        day = self.ask_if_known(question)
        time = None if day is None else self.ask_if_known(f"CSET:TIME? '{name}'")
        if day is None or time is None:
            return ""
        try:
            year, month, date, hour, minute, second = (integer(part) for part in f"{day},{time}".split(","))
            return datetime(year, month, date, hour, minute, second).isoformat()
        except ValueError:
            raise self.confused(question, f"{day} {time}", "when the calibration set was saved") from None

    # -- settings ------------------------------------------------------------------------------------------------

    def settings(self) -> dict[str, Any]:
        found = super().settings()
        found["selected"] = text(self.ask(self.SELECTED))
        if not found["coupled"]:
            assert self.n_ports is not None  # known since open()
            found["powers_dbm"] = [self.ask_as(float, f"SOUR1:POW{port}?") for port in range(1, self.n_ports + 1)]
        if found["sweep_type"] == "SEGM":
            self.data_format = "ASC,0"
            found["segments"] = self.ask_numbers("SENS1:SEGM:LIST? SSTOP").tolist()
            found["segment_count"] = self.ask_as(integer, "SENS1:SEGM:COUN?")
            type(self).data_format.write(self, found["data_format"])
        return found

    def restore(self, settings: dict[str, Any]) -> None:
        self._delete_measurements()
        if "segments" in settings:
            each = len(settings["segments"]) // settings["segment_count"]
            table = np.reshape(settings["segments"], (-1, each))[:, :7]  # power of port 1 comes last
            self._list_segments(table.ravel().tolist(), table.shape[1])
        super().restore(settings)
        if settings["selected"] and not settings["selected"].startswith(PREFIX):
            self._select(settings["selected"])
        for port, power in enumerate(settings.get("powers_dbm", ()), start=1):
            self.tell(f"SOUR1:POW{port} {power:.12g}")
        self.check_errors()

    def _select(self, name: str) -> None:
        """Make a measurement of the channel the selected one again."""
        self.tell(f"CALC1:PAR:SEL '{name}'")
