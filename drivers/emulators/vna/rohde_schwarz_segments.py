"""Segments of an emulated R&S analyser's sweeps: SENSe:SEGMent.

Segments may touch, overlap, and consist of one point. Inserted whole, or with a bandwidth or power of its own, one
switches all of them over to their own. Their times or delays are kept and told, but take no time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from labtrain.drivers.emulators.scpi.status import ScpiError
from labtrain.drivers.emulators.scpi.syntax import Datum
from labtrain.drivers.emulators.scpi.table import Answer, Setting, command, query
from labtrain.drivers.emulators.scpi.values import Boolean, Choice, Number, Rest
from labtrain.drivers.emulators.vna.channel import Segment
from labtrain.drivers.emulators.vna.family import BANDWIDTH, FREQUENCY, POINTS, POWER
from labtrain.drivers.emulators.vna.rohde_schwarz_traces import RsChannel, RsTraces

NO_SEGMENT = (-114, "Header suffix out of range;no such segment")

_SECONDS = Number(0, 86400, unit="S")


@dataclass
class RsSegment(Segment):
    """A segment with what else can be its own."""

    time_s: float = 0.0
    local_oscillator: str = "POS"
    selectivity: str = "NORM"


class RsSegments(RsTraces):
    """Segment tables of channels."""

    SETTINGS: ClassVar[tuple[Setting, ...]] = (
        Setting("SENSe#:SEGMent#:INSert:SELect", Choice("SWTime", "DWELl"), lambda rs, n, _: rs.rs(n), "insert_by"),
        Setting(
            "SENSe#:SEGMent#:BANDwidth|BWIDth[:RESolution]:CONTrol",
            Boolean(),
            lambda rs, n, _: rs.rs(n),
            "segment_bandwidths",
        ),
        Setting("SENSe#:SEGMent#:POWer[:LEVel]:CONTrol", Boolean(), lambda rs, n, _: rs.rs(n), "segment_powers"),
        Setting("SENSe#:SEGMent#:SWEep:DWELl:CONTrol", Boolean(), lambda rs, n, _: rs.rs(n), "segment_delays"),
        Setting("SENSe#:SEGMent#:SWEep:TIME:CONTrol", Boolean(), lambda rs, n, _: rs.rs(n), "segment_times"),
    )

    def segment(self, channel: int, at: int) -> RsSegment:
        """A segment that exists."""
        segments = self.rs(channel).segments
        if at > len(segments):
            raise ScpiError(*NO_SEGMENT)
        found = segments[at - 1]
        assert isinstance(found, RsSegment)
        return found

    def _changed(self, channel: RsChannel) -> None:
        if channel.sweep_type == "SEGM" and not any(segment.on for segment in channel.segments):
            channel.sweep_type = "LIN"
        channel.changed()

    @command("SENSe#:SEGMent#:ADD")
    def _add(self, number: int, at: int) -> None:
        """After the others, from the highest frequency there is to the end of the range."""
        channel = self.rs(number)
        if at != len(channel.segments) + 1:
            raise ScpiError(*NO_SEGMENT)
        start_hz = max((segment.stop_hz for segment in channel.segments), default=self.family.lowest_hz)
        channel.segments.append(
            RsSegment(True, 51, start_hz, self.family.highest_hz, channel.if_bandwidth_hz, channel.base_dbm)
        )
        self._changed(channel)

    @command("SENSe#:SEGMent#:INSert", FREQUENCY, FREQUENCY, POINTS, POWER, _SECONDS, Number(), BANDWIDTH, Rest())
    def _insert(
        self, number: int, at: int, start_hz: float, stop_hz: float, points: int, power_dbm: float, time_s: float,
        unused: float, width_hz: float, *more: Datum,  # noqa: ARG002
    ) -> None:  # fmt: skip
        channel = self.rs(number)
        if at > len(channel.segments) + 1:
            raise ScpiError(*NO_SEGMENT)
        if len(more) > 2:
            raise ScpiError(-108)
        if stop_hz < start_hz:
            raise ScpiError(-221)
        segment = RsSegment(
            True, points, start_hz, start_hz if points == 1 else stop_hz, self.family.next_if_bandwidth(width_hz),
            power_dbm, time_s,
        )  # fmt: skip
        for name, datum in zip(("local_oscillator", "selectivity"), more, strict=False):
            setattr(segment, name, datum.text.upper())
        channel.segments.insert(at - 1, segment)
        channel.segment_bandwidths = channel.segment_powers = True
        channel.segment_delays, channel.segment_times = channel.insert_by == "DWEL", channel.insert_by == "SWT"
        self._changed(channel)

    @query("SENSe#:SEGMent#:DEFine?")
    def _defined(self, number: int, at: int) -> Answer:
        s = self.segment(number, at)
        values = (s.start_hz, s.stop_hz, s.points, s.power_dbm, s.time_s, 0, s.if_bandwidth_hz)
        return ",".join([*map(self.written, values), s.local_oscillator, s.selectivity])

    @command("SENSe#:SEGMent#:DELete")
    def _delete_segment(self, number: int, at: int) -> None:
        self.segment(number, at)
        del self.channels[number].segments[at - 1]
        self._changed(self.channels[number])

    @command("SENSe#:SEGMent#:DELete:ALL")
    @command("SENSe#:SEGMent#:CLEar")
    def _delete_segments(self, number: int, at: int) -> None:  # noqa: ARG002 (all of them)
        self.rs(number).segments.clear()
        self._changed(self.channels[number])

    @query("SENSe#:SEGMent#:COUNt?")
    def _segment_count(self, number: int, at: int) -> Answer:  # noqa: ARG002
        return len(self.rs(number).segments)

    @command("SENSe#:SEGMent#[:STATe]", Boolean())
    def _set_segment(self, number: int, at: int, on: bool) -> None:
        self.segment(number, at).on = on
        self._changed(self.channels[number])

    @query("SENSe#:SEGMent#[:STATe]?")
    def _segment_on(self, number: int, at: int) -> Answer:
        return int(self.segment(number, at).on)

    @command("SENSe#:SEGMent#:FREQuency:STARt", FREQUENCY)
    def _set_segment_start(self, number: int, at: int, start_hz: float) -> None:
        segment = self.segment(number, at)
        segment.start_hz, segment.stop_hz = start_hz, max(start_hz, segment.stop_hz)
        self._changed(self.channels[number])

    @query("SENSe#:SEGMent#:FREQuency:STARt?")
    def _segment_start(self, number: int, at: int) -> Answer:
        return self.segment(number, at).start_hz

    @command("SENSe#:SEGMent#:FREQuency:STOP", FREQUENCY)
    def _set_segment_stop(self, number: int, at: int, stop_hz: float) -> None:
        segment = self.segment(number, at)
        segment.start_hz, segment.stop_hz = min(stop_hz, segment.start_hz), stop_hz
        self._changed(self.channels[number])

    @query("SENSe#:SEGMent#:FREQuency:STOP?")
    def _segment_stop(self, number: int, at: int) -> Answer:
        return self.segment(number, at).stop_hz

    @command("SENSe#:SEGMent#:SWEep:POINts", POINTS)
    def _set_segment_points(self, number: int, at: int, points: int) -> None:
        segment = self.segment(number, at)
        segment.points = points
        if points == 1:
            segment.stop_hz = segment.start_hz
        self._changed(self.channels[number])

    @query("SENSe#:SEGMent#:SWEep:POINts?")
    def _segment_points(self, number: int, at: int) -> Answer:
        return self.segment(number, at).points

    @command("SENSe#:SEGMent#:BANDwidth|BWIDth[:RESolution]", BANDWIDTH)
    def _set_segment_bandwidth(self, number: int, at: int, width_hz: float) -> None:
        self.segment(number, at).if_bandwidth_hz = self.family.next_if_bandwidth(width_hz)
        self.channels[number].segment_bandwidths = True

    @query("SENSe#:SEGMent#:BANDwidth|BWIDth[:RESolution]?")
    def _segment_bandwidth(self, number: int, at: int) -> Answer:
        return self.segment(number, at).if_bandwidth_hz

    @command("SENSe#:SEGMent#:POWer[:LEVel]", POWER)
    def _set_segment_power(self, number: int, at: int, power_dbm: float) -> None:
        self.segment(number, at).power_dbm = power_dbm
        self.channels[number].segment_powers = True

    @query("SENSe#:SEGMent#:POWer[:LEVel]?")
    def _segment_power(self, number: int, at: int) -> Answer:
        return self.segment(number, at).power_dbm
