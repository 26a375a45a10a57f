"""Keysight (Agilent) PNA, PNA-L and PNA-X, after Keysight's VNA help, "Programming / SCPI command finder".

Channel 1 is used, with whatever calibration has been made there. A step is: trigger one sweep (or a group of as many
as are averaged) and wait with ``*OPC?``, read the corrected complex data (SDATA), ask for errors.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import numpy as np

from labtrain.drivers.instrument import Command
from labtrain.drivers.scpi import ScpiInstrument, boolean, integer, text
from labtrain.drivers.vna.calibration import Calibration
from labtrain.drivers.vna.vna import Frequencies, Sweep, Vna, VnaConfig, is_uniform, ports_of
from labtrain.errors import InputError, InstrumentError, LinkError
from labtrain.limits import Limit, shown

RESOLUTION_HZ = 1.0
PREFIX = "labtrain_"  # of measurements defined here; others on the channel are somebody else's

_FORMAT = ("REAL,64", "SWAP")  # read as "<c16"
_STOP_S = 0.5  # an idle analyser confirms within a few milliseconds
_OFF = "OUTP 0;:SENS1:SWE:MODE HOLD"


class KeysightPna(Vna, ScpiInstrument):
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
    config: Config

    trigger_source = Command(
        "trigger source", "TRIG:SOUR?", "TRIG:SOUR {}", cast=text, choices=("IMM", "EXT", "MAN"), doc="IMM: internal."
    )
    start_hz = Command(
        "start frequency", "SENS1:FREQ:STAR?", "SENS1:FREQ:STAR {}", cast=float, unit="Hz", limits="frequency_limits"
    )
    stop_hz = Command(
        "stop frequency", "SENS1:FREQ:STOP?", "SENS1:FREQ:STOP {}", cast=float, unit="Hz", limits="frequency_limits"
    )
    points = Command("points", "SENS1:SWE:POIN?", "SENS1:SWE:POIN {}", cast=integer, limits="points_range")
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
    if_bandwidth_hz = Command(
        "IF bandwidth", "SENS1:BWID?", "SENS1:BWID {}", cast=float, unit="Hz", limits="if_bandwidth_range",
        doc="Rounded up to what there is.",
    )  # fmt: skip
    averaging = Command("averaging", "SENS1:AVER?", "SENS1:AVER {}", cast=boolean, choices=(True, False))
    averaging_mode = Command(
        "averaging mode", "SENS1:AVER:MODE?", "SENS1:AVER:MODE {}", cast=text, choices=("POIN", "SWEEP")
    )
    averages = Command(
        "number of averages", "SENS1:AVER:COUN?", "SENS1:AVER:COUN {}", cast=integer, limits=Limit(1, 65536)
    )
    group = Command(
        "sweeps of a group", "SENS1:SWE:GRO:COUN?", "SENS1:SWE:GRO:COUN {}", cast=integer, limits=Limit(1, 2e6)
    )
    coupled = Command(
        "coupling of port powers", "SOUR1:POW:COUP?", "SOUR1:POW:COUP {}", cast=boolean, choices=(True, False),
        doc="All ports, those of a two-port correction too, give the same power.",
    )  # fmt: skip
    power_dbm = Command("power", "SOUR1:POW1?", "SOUR1:POW1 {}", cast=float, unit="dBm", limits="power_limits")
    data_format = Command(
        "data format", "FORM?", "FORM {}", cast=lambda answer: text(answer).replace("+", ""),
        choices=("REAL,64", "REAL,32", "ASC,0"), doc="Older firmware says REAL,+64.",
    )  # fmt: skip
    byte_order = Command(
        "byte order", "FORM:BORD?", "FORM:BORD {}", cast=text, choices=("NORM", "SWAP"), doc="SWAP: little-endian."
    )
    sweep_mode = Command(
        "sweep mode", "SENS1:SWE:MODE?", "SENS1:SWE:MODE {}", cast=text, choices=("HOLD", "CONT", "GRO", "SING")
    )
    sweep_time_s = Command(
        "sweep time", "SENS1:SWE:TIME?", cast=float, unit="s", doc="Of one sweep from one port.", kept=False
    )
    radiating = Command("RF output", "OUTP?", cast=boolean, doc="Switched by rf().", kept=False)

    _trigger = ""
    _questions: tuple[str, ...] = ()
    _sweep_s = 0.0

    # -- setting up ----------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        super()._prepare()
        lowest, highest = (self.ask_as(float, f"SYST:CAP:FREQ:{end}?") for end in ("MIN", "MAX"))
        self.frequency_range = Limit(lowest, highest, "Hz")
        weakest, strongest = (self.ask_as(float, f"SOUR1:POW1? {end}") for end in ("MIN", "MAX"))
        self.power_range = Limit(weakest, strongest, "dBm")
        self.n_ports = self.ask_as(integer, "SYST:CAP:HARD:PORT:COUN?")

    def _configure(self, frequencies_hz: Frequencies) -> None:
        config = self.config
        self.sweep_mode = "HOLD"
        self.trigger_source = "IMM"
        self.coupled = True
        self.segment_powers = self.segment_bandwidths = False
        self.power_dbm = config.power_dbm
        self.if_bandwidth_hz = config.if_bandwidth_hz
        self.averaging_mode = "SWEEP"
        self.averages = self.group = config.averages
        self.averaging = config.averages > 1
        sources = self._define_measurements()
        self._set_frequencies(frequencies_hz)
        self.data_format, self.byte_order = _FORMAT
        self.check_errors()
        self._confirm(frequencies_hz)
        if self.ask_as(boolean, "SENS1:CORR?"):  # correction needs the sweeps of all its ports
            sources |= {port for name in config.s_parameters for port in ports_of(name)}
        one_s = max(self.sweep_time_s, len(frequencies_hz) / self.if_bandwidth_hz)
        self._sweep_s = one_s * len(sources) * config.averages
        self.fence_timeout_s = self._patience_s
        # Averages must begin anew, or a group would go on averaging into those of the shot before.
        self._trigger = (
            "SENS1:AVER:CLE;:SENS1:SWE:MODE GRO;*OPC?" if config.averages > 1 else "SENS1:SWE:MODE SING;*OPC?"
        )
        self.check_errors()

    def _define_measurements(self) -> set[int]:
        """Define what is measured in place of what an earlier run left; ports that all measurements drive."""
        others = self._delete_measurements()
        names = [PREFIX + s for s in self.config.s_parameters]
        for name, s in zip(names, self.config.s_parameters, strict=True):
            self.tell(f"CALC1:PAR:DEF:EXT '{name}','{s}'")
        self.tell(f"CALC1:PAR:SEL '{names[0]}'")
        one = len(names) == 1  # a selection lasts
        self._questions = tuple(f"{'' if one else f'CALC1:PAR:SEL {name!r};:'}CALC1:DATA? SDATA" for name in names)
        s_parameters = [s for s in (*others, *self.config.s_parameters) if s[:1] == "S" and s[1:3].isdigit()]
        return {ports_of(s)[1] for s in s_parameters}

    def _delete_measurements(self) -> list[str]:
        """Delete our own measurements; parameters of the others on the channel."""
        fields = text(self.ask("CALC1:PAR:CAT:EXT?")).split(",")
        others = []
        for name, parameter in zip(fields[::2], fields[1::2], strict=False):  # one field says that there are none
            if name.startswith(PREFIX):
                self.tell(f"CALC1:PAR:DEL '{name}'")
            else:
                others.append(parameter)
        return others

    def _set_frequencies(self, frequencies_hz: Frequencies) -> None:
        if is_uniform(frequencies_hz, RESOLUTION_HZ / 2):
            self.sweep_type = "LIN"
            self.start_hz, self.stop_hz = float(frequencies_hz[0]), float(frequencies_hz[-1])
            self.points = len(frequencies_hz)
        else:
            self._set_segments([value for f in frequencies_hz for value in (1, 1, float(f), float(f))], 4)
            self.sweep_type = "SEGM"

    def _set_segments(self, values: list[float], each: int) -> None:
        """Replace the segment table; of each segment: on, points, start, stop, and optionally more."""
        listed = ",".join(f"{value:.12g}" for value in values)
        self.data_format = "ASC,0"  # the list is read in the format in which data are sent
        self.tell("SENS1:SEGM:DEL:ALL")
        self.tell(f"SENS1:SEGM:LIST SSTOP,{len(values) // each},{listed}")

    def _confirm(self, frequencies_hz: Frequencies) -> None:
        """Read back what would spoil or endanger something if it were not so."""
        config, key = self.config, f"rig.{self.link.who}"
        if (self.data_format, self.byte_order) != _FORMAT:
            raise InstrumentError(f"{self.name}: asked data format {' '.join(_FORMAT)}, it did not set that")
        for name, asked in (("power_dbm", config.power_dbm), ("if_bandwidth_hz", config.if_bandwidth_hz)):
            found: float = getattr(self, name)
            if not np.isclose(found, asked, rtol=1e-6, atol=1e-3):
                command = self.commands()[name]
                told, has = (shown(value, command.unit) for value in (asked, found))
                raise InputError(f"{self.name}: asked {command.what} {told}, it set {has} instead; set {key}.{name}")
        swept_hz = self.ask_block("CALC1:X?", len(frequencies_hz))
        if np.abs(swept_hz - frequencies_hz).max() > RESOLUTION_HZ:
            wrong = int(np.argmax(np.abs(swept_hz - frequencies_hz)))
            raise InstrumentError(
                f"{self.name}: asked frequency {frequencies_hz[wrong]:.12g} Hz, it sweeps {swept_hz[wrong]:.12g} Hz; "
                "set rig.frequencies_hz to what it can do"
            )

    # -- measuring -----------------------------------------------------------------------------------------------

    @property
    def sweep_s(self) -> float:
        return self._sweep_s

    @property
    def _patience_s(self) -> float:
        """How long a sweep may keep it busy: twice what it told, for retraces and settling."""
        return self.link.timeout_s + 2 * self._sweep_s

    def _sweep(self) -> Sweep:
        done = self.ask(self._trigger, self._patience_s)
        if done not in ("1", "+1"):
            raise self.confused(self._trigger, done, "the end of the sweep")
        points = len(self.frequencies_hz)
        data = np.empty((len(self._questions), points), dtype=np.complex128)
        for row, question in zip(data, self._questions, strict=True):
            row[:] = self.ask_block(question, points, "<c16")
        self.check_errors()
        return data

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

    # -- RF ------------------------------------------------------------------------------------------------------

    def _switch(self, on: bool) -> None:
        order = f"{'OUTP 1' if on else _OFF};:OUTP?"
        answer = self.ask(order)
        self.check_errors()
        if answer != str(int(on)):
            told = "on" if on else "off"
            raise InstrumentError(f"{self.name}: asked {order!r} for RF {told}, got {answer!r}; see its front panel")

    def _stop(self) -> None:
        try:
            self._say_off()
        except LinkError as error:
            try:
                self._say_off()
            except LinkError as again:
                why = str(again).removeprefix(f"{self.name}: ")
                raise InstrumentError(f"{self.name}: told to switch RF off, but did not confirm it: {why}") from error

    def _say_off(self) -> None:
        busy_s = _STOP_S
        if self.link.dirty:
            # The orders leave first: bringing the link back in step may take longer than anybody should radiate.
            self.link.send_anyway(f"\n{_OFF}\n".encode("ascii"))
            busy_s += self._sweep_s  # it may have to end a sweep before it listens
        patience_s, self.fence_timeout_s = self.fence_timeout_s, busy_s
        try:
            with self.link.exchange():
                self.link.write(f"{_OFF};:OUTP?\n".encode("ascii"))
                answer = self.link.read_until(b"\n", _STOP_S).strip()
        finally:
            self.fence_timeout_s = patience_s
        if answer.lstrip(b"+") != b"0":
            raise self.confused(_OFF, answer, "RF off")

    # -- settings ------------------------------------------------------------------------------------------------

    def settings(self) -> dict[str, Any]:
        found = super().settings()
        found["selected"] = text(self.ask("CALC1:PAR:SEL?"))
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
            self._set_segments(table.ravel().tolist(), table.shape[1])
        super().restore(settings)
        if settings["selected"] and not settings["selected"].startswith(PREFIX):
            self.tell(f"CALC1:PAR:SEL '{settings['selected']}'")
        for port, power in enumerate(settings.get("powers_dbm", ()), start=1):
            self.tell(f"SOUR1:POW{port} {power:.12g}")
        self.check_errors()
