"""An emulated Keysight PNA, N5222B, in front of a simulated network.

Commands, defaults and error numbers are those of Keysight's PNA help (SCPI command reference, "SCPI Errors"). What
real clients met there and manuals do not say: ``*OPC?`` and whole numbers are answered with a sign, booleans without;
``FORM?`` answers ``REAL,64`` (older firmware ``REAL,+64``); a query for data of a channel in which no measurement is
selected has no answer.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from labtrain.drivers.emulators.scpi.status import ScpiError
from labtrain.drivers.emulators.scpi.table import Answer, Setting, command, query
from labtrain.drivers.emulators.scpi.values import Boolean, Choice, Number, Text
from labtrain.drivers.emulators.vna.analyser import Analyser
from labtrain.drivers.emulators.vna.channel import Measurement
from labtrain.drivers.emulators.vna.data import formatted, interleaved, snp
from labtrain.drivers.emulators.vna.family import SLOPE, Family, decades
from labtrain.drivers.emulators.vna.keysight_pna_correction import Correction
from labtrain.drivers.emulators.vna.keysight_pna_display import Display
from labtrain.drivers.emulators.vna.keysight_pna_segments import Segments
from labtrain.drivers.scpi import EMULATOR

NO_DATA = (105, "Requested data not available")
NO_MEMORY = (112, "Requested memory not found")

FAMILY = Family(  # N5222B
    lowest_hz=10e6,
    highest_hz=26.5e9,
    lowest_dbm=-30.0,
    highest_dbm=13.0,
    preset_dbm=-5.0,
    if_bandwidths_hz=(
        1, 2, 3, 5, 7, *decades(10, 70e3), 100e3, 150e3, 200e3, 280e3, 360e3, 600e3, *decades(1e6, 10e6), 15e6
    ),
    preset_if_bandwidth_hz=100e3,
    most_points=100_003,
)  # fmt: skip


class KeysightPna(Segments, Correction, Display):
    """The analyser in front of a world."""

    identity = f"Keysight Technologies,N5222B,{EMULATOR},A.13.95.09"
    options = "200"

    family = FAMILY

    SETTINGS: ClassVar[tuple[Setting, ...]] = (
        Setting("SENSe#:SWEep:GROups:COUNt", Number(1, 2e6, whole=True, default=1), Analyser.channel, "group_count"),
        Setting("SENSe#:AVERage:MODE", Choice("POINt", "SWEep"), Analyser.channel, "average_mode"),
        Setting("SOURce#:POWer#[:LEVel]:SLOPe[:DATA]", SLOPE, lambda pna, n, _: pna.channel(n), "slope_db"),
        Setting("SOURce#:POWer#[:LEVel]:SLOPe:STATe", Boolean(), lambda pna, n, _: pna.channel(n), "sloped"),
        Setting("MMEMory:STORe:TRACe:FORMat:SNP", Choice("MA", "DB", "RI", "AUTO"), lambda pna: pna, "snp_format"),
    )

    # -- triggering ----------------------------------------------------------------------------------------------

    @property
    def busy_until_s(self) -> float:
        """When the last sweep is over; infinite while a channel waits for a trigger that somebody has to send."""
        if self.trigger_source != "IMM" and any(c.mode in ("SING", "GRO") for c in self.channels.values()):
            return math.inf
        return super().busy_until_s

    @command("SENSe#:SWEep:MODE", Choice("HOLD", "CONTinuous", "GROups", "SINGle"))
    def _set_mode(self, number: int, mode: str) -> None:
        channel = self.channel(number)
        self.abort(channel)
        channel.mode = mode
        channel.triggers_left = {"SING": 1, "GRO": channel.group_count}.get(mode, 0)
        if self.trigger_source == "IMM" and channel.triggers_left:
            self.begin(channel, channel.triggers_left)

    @query("SENSe#:SWEep:MODE?")
    def _mode(self, number: int) -> Answer:
        channel = self.channel(number)
        self.settle(channel)
        return channel.mode

    @command("TRIGger[:SEQuence]:SOURce", Choice("EXTernal", "IMMediate", "MANual"))
    def _set_source(self, source: str) -> None:
        self.trigger_source = source
        if source == "IMM":
            for channel in self.channels.values():
                if channel.pending is None and channel.triggers_left:
                    self.begin(channel, channel.triggers_left)

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
            self.settle(channel)
        ready = [channel for channel in self.channels.values() if channel.mode != "HOLD"]
        if self.trigger_scope == "CURR":
            ready = [addressed]
        elif addressed.mode == "HOLD":
            addressed.mode, addressed.triggers_left = "SING", 1
            ready = ready or [addressed]
        for channel in ready:
            self.abort(channel)
            self.begin(channel, 1)

    @command("ABORt")
    def _abort_all(self) -> None:
        for channel in self.channels.values():
            self.abort(channel)
            if channel.mode in ("SING", "GRO"):
                channel.mode, channel.triggers_left = "HOLD", 0

    def _refreshed(self, measurement: Measurement) -> Measurement:
        """The measurement, once its trace shows what it would show now."""
        self.refresh(measurement.channel)
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
