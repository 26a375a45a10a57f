"""An emulated Keysight PNA, N5222B, in front of a simulated network.

Commands, defaults and error numbers are those of Keysight's PNA help (SCPI command reference, "SCPI Errors"). What
real clients met there and manuals do not say: ``*OPC?`` and whole numbers are answered with a sign, booleans without;
``FORM?`` answers ``REAL,64`` (older firmware ``REAL,+64``); a query for data of a channel in which no measurement is
selected has no answer.

Sweeps take no time unless `timing` is on; then a sweep takes points x (1 / IF bandwidth + step), once for each source
port (with correction on, for every port), ``*OPC?`` is answered when it is over, and until then traces show the sweep
before. The network is asked when a sweep begins. A channel that sweeps continuously shows a new sweep whenever its
data are read.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from labtrain.clock import Clock
from labtrain.drivers.emulators.ports import NetworkPort
from labtrain.drivers.emulators.scpi.status import ScpiError
from labtrain.drivers.emulators.scpi.table import Answer, command, query
from labtrain.drivers.emulators.scpi.values import Boolean, Choice, Number, Text
from labtrain.drivers.emulators.vna.channel import Channel, Measurement
from labtrain.drivers.emulators.vna.data import formatted, interleaved, snp
from labtrain.drivers.emulators.vna.keysight_pna_correction import Correction
from labtrain.drivers.emulators.vna.keysight_pna_display import Display
from labtrain.drivers.emulators.vna.keysight_pna_segments import Segments
from labtrain.drivers.emulators.vna.keysight_pna_stimulus import Stimulus
from labtrain.drivers.scpi import EMULATOR

NO_DATA = (105, "Requested data not available")
NO_MEMORY = (112, "Requested memory not found")

_LARGEST = 2**64


class KeysightPna(Stimulus, Segments, Correction, Display):
    """The analyser in front of a world.

    Parameters
    ----------
    network : NetworkPort
    clock : Clock
        Tells when sweeps are over; matters with `timing` alone.
    timing : bool
        Sweeps take as long as on the instrument; otherwise they are over at once.
    """

    identity = f"Keysight Technologies,N5222B,{EMULATOR},A.13.95.09"
    options = "200"

    def __init__(self, network: NetworkPort, clock: Clock, *, timing: bool = False) -> None:
        self.timing = timing
        super().__init__(network, clock)

    # -- triggering ----------------------------------------------------------------------------------------------

    @property
    def busy_until_s(self) -> float:
        """When the last sweep is over; infinite while a channel waits for a trigger that somebody has to send."""
        if self.trigger_source != "IMM" and any(c.mode in ("SING", "GRO") for c in self.channels.values()):
            return math.inf
        return max((c.ready_s for c in self.channels.values() if c.pending is not None), default=0.0)

    @command("SENSe#:SWEep:MODE", Choice("HOLD", "CONTinuous", "GROups", "SINGle"))
    def _set_mode(self, number: int, mode: str) -> None:
        channel = self.channel(number)
        self._abort(channel)
        channel.mode = mode
        channel.triggers_left = {"SING": 1, "GRO": channel.group_count}.get(mode, 0)
        if self.trigger_source == "IMM" and channel.triggers_left:
            self._trigger(channel, channel.triggers_left)

    @query("SENSe#:SWEep:MODE?")
    def _mode(self, number: int) -> Answer:
        channel = self.channel(number)
        self._settle(channel)
        return channel.mode

    @command("TRIGger[:SEQuence]:SOURce", Choice("EXTernal", "IMMediate", "MANual"))
    def _set_source(self, source: str) -> None:
        self.trigger_source = source
        if source == "IMM":
            for channel in self.channels.values():
                if channel.pending is None and channel.triggers_left:
                    self._trigger(channel, channel.triggers_left)

    @query("TRIGger[:SEQuence]:SOURce?")
    def _source(self) -> Answer:
        return self.trigger_source

    @command("TRIGger[:SEQuence]:SCOPe", Choice("ALL", "CURRent"))
    def _set_scope(self, scope: str) -> None:
        self.trigger_scope = scope

    @query("TRIGger[:SEQuence]:SCOPe?")
    def _scope(self) -> Answer:
        return self.trigger_scope

    @command("INITiate:CONTinuous", Boolean())
    def _set_continuous(self, on: bool) -> None:
        self._set_source("IMM" if on else "MAN")

    @query("INITiate:CONTinuous?")
    def _continuous(self) -> Answer:
        return str(int(self.trigger_source == "IMM"))

    @command("INITiate#[:IMMediate]")
    def _initiate(self, number: int) -> None:
        """One trigger; a channel on hold that it is addressed to joins the others at the next one."""
        if self.trigger_source != "MAN":
            raise ScpiError(-213)
        addressed = self.channel(number)
        for channel in self.channels.values():
            self._settle(channel)
        ready = [channel for channel in self.channels.values() if channel.mode != "HOLD"]
        if self.trigger_scope == "CURR":
            ready = [addressed]
        elif addressed.mode == "HOLD":
            addressed.mode, addressed.triggers_left = "SING", 1
            ready = ready or [addressed]
        for channel in ready:
            self._abort(channel)
            self._trigger(channel, 1)

    @command("ABORt")
    def _abort_all(self) -> None:
        for channel in self.channels.values():
            self._abort(channel)
            if channel.mode in ("SING", "GRO"):
                channel.mode, channel.triggers_left = "HOLD", 0

    def _abort(self, channel: Channel) -> None:
        self._settle(channel)
        channel.pending = None

    def _trigger(self, channel: Channel, count: int) -> None:
        """Begin `count` sweeps of a channel, after those that other channels have begun."""
        pairs = list(dict.fromkeys(m.ports for m in self.of_channel(channel.number)))
        sources = {port for pair in pairs for port in pair} if channel.corrected else {source for _, source in pairs}
        begin_s = max([self.now_s, *(c.ready_s for c in self.channels.values() if c.pending is not None)])
        channel.pending = channel.sweep(self.network, pairs, count, rf=self.rf) if pairs else {}
        channel.ready_s = begin_s + channel.sweep_s * len(sources) * count if self.timing else 0.0
        channel.triggers_left = max(0, channel.triggers_left - count)
        self._settle(channel)

    def _settle(self, channel: Channel) -> None:
        """Show what was swept, if that is over by now."""
        if channel.pending is not None and channel.ready_s <= self.now_s:
            channel.traces, channel.pending = channel.pending, None
            if channel.mode in ("SING", "GRO") and not channel.triggers_left:
                channel.mode = "HOLD"

    def _refreshed(self, measurement: Measurement) -> Measurement:
        """The measurement, once its trace shows what it would show now."""
        channel = measurement.channel
        self._settle(channel)
        if channel.mode == "CONT" and self.trigger_source == "IMM":
            pairs = list(dict.fromkeys(m.ports for m in self.of_channel(channel.number)))
            channel.traces = channel.sweep(self.network, pairs, 1, rf=self.rf)
        return measurement

    # -- data ----------------------------------------------------------------------------------------------------

    @query("CALCulate#:DATA?", Choice("SDATA", "FDATA", "RDATA", "SMEM", "FMEM"))
    def _data(self, number: int, which: str) -> Answer:
        return self._told(self.selected(number), which)

    @query("CALCulate#:MEASure#:DATA:SDATa?")
    def _sdata(self, channel: int, number: int) -> Answer:
        return self._told(self.measurement(channel, number), "SDATA")

    @query("CALCulate#:MEASure#:DATA:FDATa?")
    def _fdata(self, channel: int, number: int) -> Answer:
        return self._told(self.measurement(channel, number), "FDATA")

    @query("CALCulate#:MEASure#:DATA:SMEMory?")
    def _smem(self, channel: int, number: int) -> Answer:
        return self._told(self.measurement(channel, number), "SMEM")

    @query("CALCulate#:MEASure#:DATA:FMEMory?")
    def _fmem(self, channel: int, number: int) -> Answer:
        return self._told(self.measurement(channel, number), "FMEM")

    def _told(self, measurement: Measurement, which: str) -> Answer:
        if which.endswith("MEM"):
            if measurement.memory is None:
                raise ScpiError(*NO_MEMORY)
            values = measurement.memory
        else:
            values = self._refreshed(measurement).data
        if not which.startswith("F"):
            return self.transfer.encode(interleaved(values))
        frequencies = measurement.channel.frequencies_hz
        if measurement.delay_s:
            values = values * np.exp(2j * math.pi * frequencies * measurement.delay_s)
        return self.transfer.encode(formatted(values, frequencies, measurement.format))

    @command("CALCulate#:MATH:MEMorize")
    def _memorise(self, number: int) -> None:
        measurement = self._refreshed(self.selected(number))
        measurement.memory = measurement.data.copy()

    @query("CALCulate#:X[:VALues]?")
    def _x(self, number: int) -> Answer:
        return self.transfer.encode(self.selected(number).channel.frequencies_hz)

    @query("CALCulate#:MEASure#:X[:VALues]?")
    def _x_of_measurement(self, channel: int, number: int) -> Answer:
        return self.transfer.encode(self.measurement(channel, number).channel.frequencies_hz)

    @query("SENSe#:X[:VALues]?")
    def _x_of_channel(self, number: int) -> Answer:
        return self.transfer.encode(self.channel(number).frequencies_hz)

    @query("CALCulate#:DATA:SNP:PORTs?", Text(), Choice("FAST"), needs=1)
    def _snp_of_ports(self, number: int, ports: str, fast: str = "") -> Answer:  # noqa: ARG002 (always fast)
        listed = ports.replace(",", " ").split()
        if not listed or not all(port.isdecimal() for port in listed):
            raise ScpiError(-224)
        return self._snp_told(number, [int(port) for port in listed])

    @query("CALCulate#:DATA:SNP?", Number(1, 4, whole=True), needs=0)
    def _snp(self, number: int, count: int = 2) -> Answer:
        return self._snp_told(number, list(range(1, count + 1)))

    def _snp_told(self, number: int, ports: list[int]) -> Answer:
        """S-parameters of all pairs of ports, row by row; those that were not measured are zeros."""
        for port in ports:
            self.check_port(port)
        channel = self._refreshed(self.selected(number)).channel
        nothing = np.zeros(len(channel.frequencies_hz), dtype=np.complex128)
        columns: list[NDArray[np.complex128]] = [
            channel.traces.get((to, source), nothing) for to in ports for source in ports
        ]
        if any(len(column) != len(nothing) for column in columns):
            raise ScpiError(*NO_DATA)
        shown = {"MLOG": "DB", "MLIN": "MA"}.get(self.selected(number).format, "RI")
        form = shown if self.snp_format == "AUTO" else self.snp_format
        return self.transfer.encode(snp(columns, channel.frequencies_hz, form))

    # -- simulation ----------------------------------------------------------------------------------------------

    @command("SIMulation:RESTart", Number(-_LARGEST, _LARGEST, whole=True))
    def _restart(self, seed: int) -> None:
        self.network.restart(seed)

    @command("SIMulation:SHOT", Number(0, _LARGEST, whole=True))
    def _begin_shot(self, shot: int) -> None:
        self.network.begin_shot(shot)

    @command("SIMulation:TIMing", Boolean())
    def _set_timing(self, on: bool) -> None:
        self.timing = on

    @query("SIMulation:TIMing?")
    def _timing(self) -> Answer:
        return str(int(self.timing))
