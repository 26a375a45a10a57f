"""What an emulated analyser sends, and how it transfers what comes back: SENSe, SOURce, OUTPut, FORMat."""

from __future__ import annotations

from typing import ClassVar

from labtrain.drivers.emulators.scpi.status import ScpiError
from labtrain.drivers.emulators.scpi.table import Answer, Setting, command, query
from labtrain.drivers.emulators.scpi.values import Boolean, Choice, Number
from labtrain.drivers.emulators.vna.analyser import Analyser
from labtrain.drivers.emulators.vna.channel import Channel
from labtrain.drivers.emulators.vna.family import (
    AVERAGES,
    BANDWIDTH,
    FREQUENCY,
    POINTS,
    POWER,
    SPAN,
    SWEEP_TIME,
    told,
)

_OF_CHANNEL = Analyser.channel


class Stimulus(Analyser):
    """Settings of channels and of the source."""

    SETTINGS: ClassVar[tuple[Setting, ...]] = (
        Setting("SENSe#:FREQuency:CW|FIXed", FREQUENCY, _OF_CHANNEL, "cw_hz"),
        Setting("SENSe#:SWEep:DWELl", Number(0, 100, unit="S", default=0), _OF_CHANNEL, "dwell_s"),
        Setting("SENSe#:AVERage[:STATe]", Boolean(), _OF_CHANNEL, "averaging"),
        Setting("SENSe#:AVERage:COUNt", AVERAGES, _OF_CHANNEL, "average_count"),
        Setting("SOURce#:POWer:COUPle", Boolean(), _OF_CHANNEL, "coupled"),
        Setting("OUTPut[:STATe]", Boolean(), lambda analyser: analyser, "rf"),
        Setting("FORMat:BORDer", Choice("NORMal", "SWAPped"), lambda analyser: analyser.transfer, "order"),
    )

    # -- transfer ------------------------------------------------------------------------------------------------

    @command("FORMat[:DATA]", Choice("REAL", "ASCii"), Number(0, 64, whole=True), needs=1)
    def _set_transfer(self, kind: str, size: int | None = None) -> None:
        size = (32 if kind == "REAL" else 0) if size is None else size
        if size not in ((32, 64) if kind == "REAL" else (0,)):
            raise ScpiError(-224)
        self.transfer.kind = f"{kind},{size}"

    @query("FORMat[:DATA]?")
    def _transfer(self) -> Answer:
        return self.transfer.kind

    # -- frequencies ---------------------------------------------------------------------------------------------

    @command("SENSe#:FREQuency:STARt", FREQUENCY)
    def _set_start(self, number: int, start_hz: float) -> None:
        channel = self.channel(number)
        span = channel.stop_hz - channel.start_hz
        channel.start_hz = start_hz
        if start_hz > channel.stop_hz:
            channel.stop_hz = min(start_hz + span, self.family.highest_hz)

    @command("SENSe#:FREQuency:STOP", FREQUENCY)
    def _set_stop(self, number: int, stop_hz: float) -> None:
        channel = self.channel(number)
        span = channel.stop_hz - channel.start_hz
        channel.stop_hz = stop_hz
        if stop_hz < channel.start_hz:
            channel.start_hz = max(stop_hz - span, self.family.lowest_hz)

    @command("SENSe#:FREQuency:CENTer", FREQUENCY)
    def _set_center(self, number: int, center_hz: float) -> None:
        channel = self.channel(number)
        self._spread(channel, center_hz, channel.stop_hz - channel.start_hz)

    @command("SENSe#:FREQuency:SPAN", SPAN)
    def _set_span(self, number: int, span_hz: float) -> None:
        channel = self.channel(number)
        self._spread(channel, (channel.start_hz + channel.stop_hz) / 2, span_hz)

    def _spread(self, channel: Channel, center_hz: float, span_hz: float) -> None:
        half = min(span_hz / 2, center_hz - self.family.lowest_hz, self.family.highest_hz - center_hz)
        channel.start_hz, channel.stop_hz = center_hz - half, center_hz + half

    def _ends(self, number: int) -> tuple[float, float]:
        channel = self.channel(number)
        if channel.sweep_type != "SEGM":
            return channel.start_hz, channel.stop_hz
        return float(channel.frequencies_hz[0]), float(channel.frequencies_hz[-1])

    @query("SENSe#:FREQuency:STARt?", Choice("MINimum", "MAXimum"), needs=0)
    def _start(self, number: int, limit: str = "") -> Answer:
        return told(limit, self.family.frequency, self._ends(number)[0])

    @query("SENSe#:FREQuency:STOP?", Choice("MINimum", "MAXimum"), needs=0)
    def _stop(self, number: int, limit: str = "") -> Answer:
        return told(limit, self.family.frequency, self._ends(number)[1])

    @query("SENSe#:FREQuency:CENTer?", Choice("MINimum", "MAXimum"), needs=0)
    def _center(self, number: int, limit: str = "") -> Answer:
        return told(limit, self.family.frequency, sum(self._ends(number)) / 2)

    @query("SENSe#:FREQuency:SPAN?", Choice("MINimum", "MAXimum"), needs=0)
    def _span(self, number: int, limit: str = "") -> Answer:
        start, stop = self._ends(number)
        return told(limit, self.family.span, stop - start)

    # -- sweep ---------------------------------------------------------------------------------------------------

    @command("SENSe#:SWEep:POINts", POINTS)
    def _set_points(self, number: int, points: int) -> None:
        self.channel(number).points = points

    @query("SENSe#:SWEep:POINts?", Choice("MINimum", "MAXimum"), needs=0)
    def _points(self, number: int, limit: str = "") -> Answer:
        return told(limit, self.family.points, len(self.channel(number).frequencies_hz))

    @command("SENSe#:SWEep:TYPE", Choice("LINear", "LOGarithmic", "CW", "SEGMent"))
    def _set_type(self, number: int, kind: str) -> None:
        channel = self.channel(number)
        if kind == "SEGM" and not any(segment.on for segment in channel.segments):
            raise ScpiError(-221)
        channel.sweep_type = kind

    @query("SENSe#:SWEep:TYPE?")
    def _type(self, number: int) -> Answer:
        return self.channel(number).sweep_type

    @command("SENSe#:BANDwidth|BWIDth[:RESolution]", BANDWIDTH)
    def _set_bandwidth(self, number: int, width_hz: float) -> None:
        self.channel(number).if_bandwidth_hz = self.family.next_if_bandwidth(width_hz)

    @query("SENSe#:BANDwidth|BWIDth[:RESolution]?", Choice("MINimum", "MAXimum"), needs=0)
    def _bandwidth(self, number: int, limit: str = "") -> Answer:
        return told(limit, self.family.bandwidth, self.channel(number).if_bandwidth_hz)

    @command("SENSe#:SWEep:TIME[:STOP]", SWEEP_TIME)
    def _set_time(self, number: int, sweep_s: float) -> None:
        channel = self.channel(number)
        channel.asked_sweep_s = sweep_s if sweep_s > channel.fastest_sweep_s else None

    @query("SENSe#:SWEep:TIME[:STOP]?", Choice("MINimum", "MAXimum"), needs=0)
    def _time(self, number: int, limit: str = "") -> Answer:
        channel = self.channel(number)
        return {"MIN": channel.fastest_sweep_s, "MAX": SWEEP_TIME.high}.get(limit, channel.sweep_s)

    @command("SENSe#:SWEep:TIME:AUTO", Boolean())
    def _set_auto_time(self, number: int, on: bool) -> None:
        channel = self.channel(number)
        channel.asked_sweep_s = None if on else channel.sweep_s

    @query("SENSe#:SWEep:TIME:AUTO?")
    def _auto_time(self, number: int) -> Answer:
        return str(int(self.channel(number).asked_sweep_s is None))

    @command("SENSe#:AVERage:CLEar")
    def _clear_average(self, number: int) -> None:
        self.channel(number).swept = 0

    # -- power ---------------------------------------------------------------------------------------------------

    @command("SOURce#:POWer#[:LEVel][:IMMediate][:AMPLitude]", POWER)
    def _set_power(self, number: int, port: int, power_dbm: float) -> None:
        self.check_port(port)
        channel = self.channel(number)
        for each in channel.powers_dbm if channel.coupled else (port,):
            channel.powers_dbm[each] = power_dbm
        channel.changed()

    @query("SOURce#:POWer#[:LEVel][:IMMediate][:AMPLitude]?", Choice("MINimum", "MAXimum"), needs=0)
    def _power(self, number: int, port: int, limit: str = "") -> Answer:
        self.check_port(port)
        return told(limit, self.family.power, self.channel(number).powers_dbm[port])
