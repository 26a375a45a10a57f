"""An emulated Rohde & Schwarz ZNB20 in front of a simulated network.

Commands after the user manuals of R&S (ZNB/ZNBT 1173.9163, "Command reference"; ZVA/ZVB/ZVT 1145.1084), what they send
in R&S's own examples and in the clients that are tried on it. Numbers are answered without a sign and as short as they
are, strings in single quotes. ``SENSe<Ch>`` may be left out. Power-up is little-endian.

Not as on the instrument: averages are of real and imaginary parts whatever the averaging mode; power sweeps, wave
quantities and the history of sweeps (``NSWeep``) are not there.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from typing import ClassVar

import numpy as np

from labtrain.drivers.emulators.scpi.status import ScpiError
from labtrain.drivers.emulators.scpi.table import Answer, Entry, Setting, command, query
from labtrain.drivers.emulators.scpi.values import Boolean, Choice, Number, Text
from labtrain.drivers.emulators.vna.channel import Channel, Measurement
from labtrain.drivers.emulators.vna.data import formatted, interleaved
from labtrain.drivers.emulators.vna.family import POWER, Family, decades
from labtrain.drivers.emulators.vna.rohde_schwarz_segments import RsSegments
from labtrain.drivers.emulators.vna.rohde_schwarz_system import RsSystem
from labtrain.drivers.emulators.vna.rohde_schwarz_traces import NO_TRACE, RsChannel
from labtrain.drivers.scpi import EMULATOR

_RAW = ("SDATa", "MDATa", "NCData", "UCData")  # corrected; after mathematics, of which there is none; and so on
_OF_CHANNEL = RsSegments.channel


class RohdeSchwarz(RsSegments, RsSystem):
    """The analyser in front of a world."""

    identity = f"Rohde-Schwarz,ZNB20-{{ports}}Port,{EMULATOR},3.45"
    options = "K2,K7"

    family = Family(
        lowest_hz=100e3,
        highest_hz=20e9,
        lowest_dbm=-60.0,
        highest_dbm=25.0,
        preset_dbm=-10.0,
        if_bandwidths_hz=decades(1, 10e6),
        preset_if_bandwidth_hz=10e3,
        most_points=100_001,
        most_averages=1000,
    )

    SETTINGS: ClassVar[tuple[Setting, ...]] = (
        Setting("OUTPut#[:STATe]", Boolean(), lambda rs, _: rs, "rf"),
        Setting("SENSe#:SWEep:COUNt", Number(1, 100_000, whole=True, default=1), _OF_CHANNEL, "sweep_count"),
        Setting("SENSe#:AVERage:MODE", Choice("AUTO", "FLATten", "REDuce", "MOVing"), _OF_CHANNEL, "averages_of"),
        Setting("CONFigure:CHANnel#:MEASure[:STATe]", Boolean(), _OF_CHANNEL, "measured"),
    )

    @staticmethod
    def written(number: float) -> str:
        return f"{number:.15g}".upper()

    @classmethod
    @cache
    def entries(cls) -> tuple[Entry, ...]:
        return tuple(
            replace(entry, pattern=f"[SENSe#]{entry.pattern.removeprefix('SENSe#')}")
            if entry.pattern.startswith("SENSe#:")
            else entry
            for entry in super().entries()
        )

    # -- triggering ----------------------------------------------------------------------------------------------

    def sweeps_by_itself(self, channel: Channel) -> bool:
        found = self.channels[channel.number]
        return channel.mode == "CONT" and found.measured and found.trigger == "IMM"

    @property
    def busy_until_s(self) -> float:
        """When the last sweep is over; infinite while a channel waits for a trigger from outside."""
        if any(c.mode == "SING" and c.trigger != "IMM" for c in self.channels.values()):
            return math.inf
        return super().busy_until_s

    @command("TRIGger#[:SEQuence]:SOURce", Choice("IMMediate", "EXTernal", "MANual", "MULTiple"))
    def _set_trigger(self, number: int, source: str) -> None:
        channel = self.rs(number)
        channel.trigger = source
        if source == "IMM" and channel.mode == "SING" and channel.pending is None:
            self.begin(channel, channel.sweep_count)

    @query("TRIGger#[:SEQuence]:SOURce?")
    def _trigger(self, number: int) -> Answer:
        return self.rs(number).trigger

    @command("INITiate#:CONTinuous", Boolean())
    def _set_continuous(self, number: int, on: bool) -> None:
        self._sweep_on(self.rs(number), on)

    @query("INITiate#:CONTinuous?")
    def _continuous(self, number: int) -> Answer:
        return int(self.rs(number).mode == "CONT")

    @command("INITiate#:CONTinuous:ALL", Boolean())
    def _set_all_continuous(self, number: int, on: bool) -> None:  # noqa: ARG002
        for channel in self.channels.values():
            self._sweep_on(channel, on)

    def _sweep_on(self, channel: RsChannel, on: bool) -> None:
        self.abort(channel)
        channel.mode, channel.triggers_left = "CONT" if on else "HOLD", 0

    @command("INITiate#[:IMMediate][:DUMMy]")
    def _initiate(self, number: int) -> None:
        """As many sweeps as are counted; those under way are given up."""
        channel = self.rs(number)
        self.abort(channel)
        if channel.mode != "CONT":
            channel.mode, channel.triggers_left = "SING", channel.sweep_count
        if channel.trigger == "IMM":
            self.begin(channel, channel.sweep_count)

    @command("INITiate#[:IMMediate]:ALL")
    def _initiate_all(self, number: int) -> None:  # noqa: ARG002
        for channel in self.channels.values():
            if channel.measured:
                self._initiate(channel.number)

    @command("ABORt")
    def _abort_all(self) -> None:
        for channel in self.channels.values():
            self._sweep_on(channel, channel.mode == "CONT")

    # -- stimulus ------------------------------------------------------------------------------------------------

    @command("SENSe#:SWEep:TYPE", Choice("LINear", "LOGarithmic", "CW", "POINt", "SEGMent"))
    def _set_type(self, number: int, kind: str) -> None:
        super()._set_type(number, kind)

    @command("SENSe#:SWEep:STEP", Number(0, 20e9, unit="HZ"))
    def _set_step(self, number: int, step_hz: float) -> None:
        """The number of points follows, then the last frequency."""
        channel = self.rs(number)
        if step_hz > 0:
            channel.points = min(int((channel.stop_hz - channel.start_hz) / step_hz) + 1, self.family.most_points)
            channel.stop_hz = channel.start_hz + (channel.points - 1) * step_hz

    @query("SENSe#:SWEep:STEP?")
    def _step(self, number: int) -> Answer:
        channel = self.rs(number)
        return (channel.stop_hz - channel.start_hz) / max(1, channel.points - 1)

    @command("SOURce#:POWer#[:LEVel][:IMMediate][:AMPLitude]", POWER)
    def _set_power(self, number: int, port: int, power_dbm: float) -> None:  # noqa: ARG002 (all ports)
        channel = self.rs(number)
        channel.base_dbm = power_dbm
        channel.changed()

    @query("SOURce#:POWer#[:LEVel][:IMMediate][:AMPLitude]?")
    def _power(self, number: int, port: int) -> Answer:  # type: ignore[override]  # noqa: ARG002
        return self.rs(number).base_dbm

    @command("SOURce#:POWer#[:LEVel][:IMMediate]:OFFSet", Number(-100, 100), Choice("ONLY", "CPADd"))
    def _set_power_offset(self, number: int, port: int, offset: float, added: str) -> None:
        self.check_port(port)
        self.rs(number).offsets[port] = (offset, added)
        self.rs(number).changed()

    @query("SOURce#:POWer#[:LEVel][:IMMediate]:OFFSet?")
    def _power_offset(self, number: int, port: int) -> Answer:
        self.check_port(port)
        offset, added = self.rs(number).offsets[port]
        return f"{self.written(offset)},{added}"

    @command("SOURce#:POWer#[:LEVel][:IMMediate]:SLOPe", Number(-40, 40))
    def _set_slope(self, number: int, port: int, slope_db: float) -> None:
        self.check_port(port)
        self.rs(number).slopes_db[port] = slope_db
        self.rs(number).changed()

    @query("SOURce#:POWer#[:LEVel][:IMMediate]:SLOPe?")
    def _slope(self, number: int, port: int) -> Answer:
        self.check_port(port)
        return self.rs(number).slopes_db[port]

    # -- data ----------------------------------------------------------------------------------------------------

    @query("CALCulate#:DATA?", Choice("FDATa", *_RAW))
    def _data(self, number: int, which: str) -> Answer:
        return self._told([self.selected(number)], which)

    @query("CALCulate#:DATA:TRACe?", Text(), Choice("FDATa", *_RAW))
    def _data_of(self, number: int, name: str, which: str) -> Answer:  # noqa: ARG002 (names are everybody's)
        return self._told([self.named(name)], which)

    @query("CALCulate#:DATA:SGRoup?", Choice(*_RAW))
    def _data_of_group(self, number: int, which: str) -> Answer:
        if not self.rs(number).group:
            raise ScpiError(*NO_TRACE)
        return self._told([self.traces[name] for name in self.channels[number].group], which)

    @query("CALCulate#:DATA:CALL?", Choice(*_RAW))
    def _data_of_channel(self, number: int, which: str) -> Answer:
        self.channel(number)
        return self._told(sorted(self.of_channel(number), key=lambda trace: trace.ports), which)

    def _told(self, traces: list[Measurement], which: str) -> Answer:
        for channel in {trace.channel.number: trace.channel for trace in traces}.values():
            self.refresh(channel)
        return self.transfer.encode(
            np.concatenate(
                [
                    formatted(trace.data, trace.channel.frequencies_hz, trace.format)
                    if which == "FDAT"
                    else interleaved(trace.data)
                    for trace in traces
                ]
            )
        )

    @query("CALCulate#:DATA:STIMulus?")
    def _stimulus(self, number: int) -> Answer:
        return self.transfer.encode(self.selected(number).channel.frequencies_hz)
