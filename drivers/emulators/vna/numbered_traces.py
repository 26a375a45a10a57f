"""Traces by number, as in Keysight's ENA and in the analysers that speak its language.

After the SCPI command references of the E5071C and of Copper Mountain's S2VNA. A channel shows `count` traces; data
are told of the active one, or of one by its number, corrected and complex (SDATa) or as shown (FDATa, two numbers a
point whatever the format). A channel that is initiated, once or continuously, waits for a trigger; the trigger source
INTernal gives one without end.
"""

from __future__ import annotations

import re
from typing import ClassVar

import numpy as np

from labtrain.drivers.emulators.scpi.status import ScpiError
from labtrain.drivers.emulators.scpi.syntax import Datum
from labtrain.drivers.emulators.scpi.table import Answer, Setting, command, query
from labtrain.drivers.emulators.scpi.values import Boolean, Choice, Number, Rest, Text, Word, nr1, nr3
from labtrain.drivers.emulators.vna.channel import Channel, Measurement, Pair
from labtrain.drivers.emulators.vna.data import Transfer, in_pairs, interleaved
from labtrain.drivers.emulators.vna.family import POWER, SLOPE, within
from labtrain.drivers.emulators.vna.stimulus import Stimulus

TRIGGER_IGNORED = -211
FORMATS = (
    "MLOGarithmic", "PHASe", "GDELay", "SLINear", "SLOGarithmic", "SCOMplex", "SMITh", "SADMittance", "PLINear",
    "PLOGarithmic", "POLar", "MLINear", "SWR", "REAL", "IMAGinary", "UPHase", "PPHase",
)  # fmt: skip
DELAY = Number(-10, 10, unit="S", default=0)
_C_M_S = 299_792_458.0
_S_PARAMETER = re.compile(r"S(\d)(\d)")
_KINDS = {"ASC": "ASC,0", "REAL": "REAL,64", "REAL32": "REAL,32"}


class NumberedChannel(Channel):
    """A channel with numbered traces."""

    def __init__(self, channel: Channel, most: int) -> None:
        super().__init__(channel.number, channel.n_ports, channel.family)
        self.measurements = [Measurement(number, self, f"Tr{number}", (1, 1)) for number in range(1, most + 1)]
        self.count = self.active = 1
        self.attenuation_db, self.delay_unit, self.layout = 0, "MET", "D1"
        self.mode = "CONT" if self.number == 1 else "HOLD"


class NumberedTraces(Stimulus):
    """An analyser whose traces have numbers."""

    most_traces: ClassVar[int] = 16
    most_channels: ClassVar[int] = 9

    SETTINGS: ClassVar[tuple[Setting, ...]] = (
        Setting("TRIGger[:SEQuence]:AVERage", Boolean(), lambda analyser: analyser, "trigger_averages"),
        Setting("TRIGger[:SEQuence]:SCOPe", Choice("ALL", "ACTive"), lambda analyser: analyser, "trigger_scope"),
        Setting("CALCulate#[:SELected]:CORRection:EDELay[:TIME]", DELAY, lambda ena, n: ena.trace(n), "delay_s"),
        Setting("CALCulate#[:SELected]:CORRection:EDELay:DISTance:UNIT", Word(), Stimulus.channel, "delay_unit"),
        Setting("DISPlay:SPLit", Word(), lambda analyser: analyser, "layout"),
        Setting("SOURce#:POWer:ATTenuation", Number(0, 40, whole=True), Stimulus.channel, "attenuation_db"),
        Setting("SOURce#:POWer[:LEVel]:SLOPe[:DATA]", SLOPE, Stimulus.channel, "slope_db"),
        Setting("SOURce#:POWer[:LEVel]:SLOPe:STATe", Boolean(), Stimulus.channel, "sloped"),
        Setting("SOURce#:POWer:PORT:COUPle", Boolean(), Stimulus.channel, "coupled"),
        Setting("DISPlay:WINDow#:SPLit", Word(), Stimulus.channel, "layout"),
        Setting("SENSe#:CORRection:STATe", Boolean(), Stimulus.channel, "corrected"),
        Setting("SENSe#:CORRection:EXTension[:STATe]", Boolean(), Stimulus.channel, "extended"),
    )

    channels: dict[int, NumberedChannel]  # type: ignore[assignment]

    def reset(self) -> None:
        self.transfer = Transfer(head_digits=6)
        self._preset()

    @command("SYSTem:PRESet")
    def _preset(self) -> None:
        self.rf = True
        self.channels = {
            number: NumberedChannel(self.new_channel(number), self.most_traces)
            for number in range(1, self.most_channels + 1)
        }
        self.trigger_source, self.trigger_scope, self.trigger_averages = "INT", "ALL", False
        self.active_channel, self.layout = 1, "D1"

    def pairs(self, channel: Channel) -> list[Pair]:
        """Also what the same sweeps give of the other ports, and with correction on, all of its ports."""
        shown = self.channels[channel.number]
        pairs = [m.ports for m in shown.measurements[: shown.count]]
        ports = range(1, self.network.n_ports + 1)
        sources = sorted({port for pair in pairs for port in (pair if channel.corrected else pair[1:])})
        return list(dict.fromkeys([*pairs, *((to, source) for source in sources for to in ports)]))

    def sweeps_by_itself(self, channel: Channel) -> bool:
        return channel.mode == "CONT" and self.trigger_source == "INT"

    def trace(self, channel: int, number: int | None = None) -> Measurement:
        """A trace by its number, or the active one, showing what it would show now."""
        found = self.numbered(channel)
        number = found.active if number is None else number
        if not 0 < number <= found.count:
            raise ScpiError(-114)
        self.refresh(found)
        return found.measurements[number - 1]

    def numbered(self, channel: int) -> NumberedChannel:
        """A channel that exists."""
        self.channel(channel)
        return self.channels[channel]

    def _parameter(self, written: str) -> Pair:
        match = _S_PARAMETER.fullmatch(written.upper())
        if match is None:
            raise ScpiError(-224)
        to, source = int(match.group(1)), int(match.group(2))
        self.check_port(to)
        self.check_port(source)
        return to, source

    # -- transfer ------------------------------------------------------------------------------------------------

    @command("FORMat[:DATA]", Choice("ASCii", "REAL", "REAL32"))
    def _set_kind(self, kind: str) -> None:
        self.transfer.kind = _KINDS[kind]

    @query("FORMat[:DATA]?")
    def _kind(self) -> Answer:
        return next(name for name, kind in _KINDS.items() if kind == self.transfer.kind)

    # -- traces --------------------------------------------------------------------------------------------------

    @command("CALCulate#:PARameter:COUNt", Number(1, 99, whole=True))
    def _set_count(self, channel: int, count: int) -> None:
        if count > self.most_traces:
            raise ScpiError(-222)
        found = self.numbered(channel)
        found.count, found.active = count, min(found.active, count)

    @query("CALCulate#:PARameter:COUNt?")
    def _count(self, channel: int) -> Answer:
        return nr1(self.numbered(channel).count)

    @command("CALCulate#:PARameter#:DEFine", Text(bare=True))
    def _define(self, channel: int, number: int, parameter: str) -> None:
        if number > self.most_traces:
            raise ScpiError(-114)
        self.numbered(channel).measurements[number - 1].ports = self._parameter(parameter)

    @query("CALCulate#:PARameter#:DEFine?")
    def _defined(self, channel: int, number: int) -> Answer:
        if number > self.most_traces:
            raise ScpiError(-114)
        return self.numbered(channel).measurements[number - 1].parameter

    @query("CALCulate#:PARameter#:SPORt?")
    def _source_port(self, channel: int, number: int) -> Answer:
        return nr1(self.trace(channel, number).ports[1])

    @command("CALCulate#:PARameter#:SPORt", Number(1, 9, whole=True))
    def _set_source_port(self, channel: int, number: int, port: int) -> None:
        self.trace(channel, number)  # matters for single receivers alone, which are not emulated
        self.check_port(port)

    @command("CALCulate#:PARameter#:SELect")
    def _select(self, channel: int, number: int) -> None:
        found = self.numbered(channel)
        if number > found.count:
            raise ScpiError(-114)
        found.active = number

    @query("SERVice:CHANnel#:TRACe:ACTive?")
    def _active(self, channel: int) -> Answer:
        return str(self.numbered(channel).active)

    @command("CALCulate#[:SELected]:FORMat", Choice(*FORMATS))
    def _set_format(self, channel: int, form: str) -> None:
        self.trace(channel).format = form

    @query("CALCulate#[:SELected]:FORMat?")
    def _format(self, channel: int) -> Answer:
        return self.trace(channel).format

    @command("CALCulate#:TRACe#:FORMat", Choice(*FORMATS))
    def _set_format_of(self, channel: int, number: int, form: str) -> None:
        self.trace(channel, number).format = form

    @query("CALCulate#:TRACe#:FORMat?")
    def _format_of(self, channel: int, number: int) -> Answer:
        return self.trace(channel, number).format

    # -- data ----------------------------------------------------------------------------------------------------

    @query("CALCulate#[:SELected]:DATA:SDATa?")
    def _sdata(self, channel: int) -> Answer:
        return self.transfer.encode(interleaved(self.trace(channel).data))

    @query("CALCulate#:TRACe#:DATA:SDATa?")
    def _sdata_of(self, channel: int, number: int) -> Answer:
        return self.transfer.encode(interleaved(self.trace(channel, number).data))

    @query("CALCulate#[:SELected]:DATA:FDATa?")
    def _fdata(self, channel: int) -> Answer:
        return self._shown(self.trace(channel))

    @query("CALCulate#:TRACe#:DATA:FDATa?")
    def _fdata_of(self, channel: int, number: int) -> Answer:
        return self._shown(self.trace(channel, number))

    def _shown(self, trace: Measurement) -> Answer:
        frequencies_hz = trace.channel.frequencies_hz
        values = trace.data * np.exp(2j * np.pi * frequencies_hz * trace.delay_s) if trace.delay_s else trace.data
        return self.transfer.encode(in_pairs(values, frequencies_hz, trace.format))

    @command("CALCulate#[:SELected]:CORRection:EDELay:DISTance", Number(-1e9, 1e9))
    def _set_distance(self, channel: int, distance_m: float) -> None:
        self.trace(channel).delay_s = distance_m / _C_M_S

    @query("CALCulate#[:SELected]:CORRection:EDELay:DISTance?")
    def _distance(self, channel: int) -> Answer:
        return nr3(self.trace(channel).delay_s * _C_M_S)

    @query("SENSe#:DATA:CORRdata?", Text(bare=True))
    @query("SENSe#:DATA:RAWData?", Text(bare=True))
    def _of_channel(self, channel: int, parameter: str) -> Answer:
        """By S-parameter, whether a trace shows it or not, as long as its source port is swept."""
        found, ports = self.numbered(channel), self._parameter(parameter)
        self.refresh(found)
        return self.transfer.encode(interleaved(Measurement(0, found, "", ports).data))

    @query("SENSe#:FREQuency:DATA?")
    @query("CALCulate#[:SELected]:DATA:XAXis?")
    @query("CALCulate#:TRACe#:DATA:XAXis?")
    def _frequencies(self, channel: int, number: int = 1) -> Answer:  # noqa: ARG002 (the same for all traces)
        return self.transfer.encode(self.channel(channel).frequencies_hz)

    # -- triggering ----------------------------------------------------------------------------------------------

    @command("INITiate#:CONTinuous", Boolean())
    def _set_continuous(self, channel: int, on: bool) -> None:
        found = self.channel(channel)
        self.abort(found)
        found.mode, found.triggers_left = "CONT" if on else "HOLD", 0

    @query("INITiate#:CONTinuous?")
    def _continuous(self, channel: int) -> Answer:
        return str(int(self.channel(channel).mode == "CONT"))

    @command("INITiate#[:IMMediate]")
    def _initiate(self, channel: int) -> None:
        found = self.channel(channel)
        self.settle(found)
        if found.mode != "HOLD":
            raise ScpiError(-213)
        found.mode, found.triggers_left = "SING", 1
        if self.trigger_source == "INT":
            self._trigger(found)

    @command("TRIGger[:SEQuence]:SOURce", Choice("INTernal", "EXTernal", "MANual", "BUS"))
    def _set_source(self, source: str) -> None:
        self.trigger_source = source
        for channel in self.channels.values():
            if source == "INT" and channel.mode == "SING" and channel.pending is None:
                self._trigger(channel)

    @query("TRIGger[:SEQuence]:SOURce?")
    def _source(self) -> Answer:
        return self.trigger_source

    @command("TRIGger[:SEQuence]:SINGle")
    @command("TRIGger[:SEQuence][:IMMediate]")
    @command("*TRG")
    def _single(self) -> None:
        for channel in self.channels.values():
            self.settle(channel)
        ready = [c for c in self.channels.values() if c.mode != "HOLD" and c.pending is None]
        if self.trigger_scope == "ACT":
            ready = [channel for channel in ready if channel.number == self.active_channel]
        if not ready:
            raise ScpiError(TRIGGER_IGNORED)
        for channel in ready:
            self._trigger(channel)

    def _trigger(self, channel: Channel) -> None:
        whole = self.trigger_averages and channel.averaging
        if whole:
            channel.swept = 0
        self.begin(channel, channel.average_count if whole else 1)

    @command("ABORt")
    def _abort_all(self) -> None:
        for channel in self.channels.values():
            self.abort(channel)
            if channel.mode == "SING":
                channel.mode, channel.triggers_left = "HOLD", 0

    # -- segments ------------------------------------------------------------------------------------------------

    @command("SENSe#:SEGMent:DATA", Rest())
    def _set_segments(self, number: int, *data: Datum) -> None:
        """Always 5; centre and span; whether IF bandwidth, power, delay and time follow; how many; then these."""
        channel, values = self.channel(number), self.transfer.decode(data)
        if len(values) < 7 or values[0] != 5:
            raise ScpiError(-220)
        by_centre, widths, powers, *others = (bool(flag) for flag in values[1:6])
        count, each = round(values[6]), 3 + widths + powers + sum(others)
        rows = [values[at : at + each] for at in range(7, len(values), each)]
        if len(rows) != count or len(rows[-1]) != each:
            raise ScpiError(-220)
        segments = []
        for first, second, points, *more in rows:
            start, stop = (first - second / 2, first + second / 2) if by_centre else (first, second)
            segment = channel.new_segment(
                within(self.family.frequency, start), within(self.family.frequency, stop), round(points), on=True
            )
            if not self.family.fewest_points <= points <= self.family.most_points or stop < start:
                raise ScpiError(-222)
            if widths:
                segment.if_bandwidth_hz = self.family.next_if_bandwidth(within(self.family.bandwidth, more.pop(0)))
            if powers:
                segment.power_dbm = within(self.family.power, more.pop(0))
            segments.append(segment)
        ends = [end for segment in segments for end in (segment.start_hz, segment.stop_hz)]
        if ends != sorted(ends):
            raise ScpiError(-222)
        channel.segments, channel.segment_bandwidths, channel.segment_powers = segments, widths, powers
        channel.changed()

    @query("SENSe#:SEGMent:DATA?")
    def _segments(self, number: int) -> Answer:
        channel = self.channel(number)
        widths, powers = channel.segment_bandwidths, channel.segment_powers
        values: list[float] = [5, 0, widths, powers, 0, 0, len(channel.segments)]
        for s in channel.segments:
            values += [s.start_hz, s.stop_hz, s.points, *[s.if_bandwidth_hz] * widths, *[s.power_dbm] * powers]
        return self.transfer.encode(np.array(values, dtype=np.float64))

    # -- power ---------------------------------------------------------------------------------------------------

    @command("SOURce#:POWer:PORT#[:LEVel][:IMMediate][:AMPLitude]", POWER)
    def _set_port_power(self, number: int, port: int, power_dbm: float) -> None:
        self._set_power(number, port, power_dbm)

    @query("SOURce#:POWer:PORT#[:LEVel][:IMMediate][:AMPLitude]?")
    def _port_power(self, number: int, port: int) -> Answer:
        return self._power(number, port)

    # -- correction ----------------------------------------------------------------------------------------------

    @command("SENSe#:CORRection:EXTension:PORT#[:TIME]", DELAY)
    def _set_extension(self, number: int, port: int, delay_s: float) -> None:
        self.check_port(port)
        self.channel(number).extensions_s[port] = delay_s
        self.channel(number).changed()

    @query("SENSe#:CORRection:EXTension:PORT#[:TIME]?")
    def _extension(self, number: int, port: int) -> Answer:
        self.check_port(port)
        return nr3(self.channel(number).extensions_s[port])

    # -- what there is -------------------------------------------------------------------------------------------

    @query("SERVice:PORT:COUNt?")
    def _port_count(self) -> Answer:
        return nr1(self.network.n_ports)

    @query("SERVice:CHANnel:COUNt?")
    def _channel_count(self) -> Answer:
        return nr1(self.most_channels)

    @query("SERVice:CHANnel:ACTive?")
    def _active_channel(self) -> Answer:
        return str(self.active_channel)

    @command("DISPlay:WINDow#:ACTivate")
    def _activate(self, number: int) -> None:
        self.channel(number)
        self.active_channel = number

    @query("SERVice:SWEep:FREQuency:MINimum?")
    def _lowest(self) -> Answer:
        return nr3(self.family.lowest_hz)

    @query("SERVice:SWEep:FREQuency:MAXimum?")
    def _highest(self) -> Answer:
        return nr3(self.family.highest_hz)

    @query("SERVice:SWEep:POINts?")
    def _most_points(self) -> Answer:
        return nr1(self.family.most_points)
