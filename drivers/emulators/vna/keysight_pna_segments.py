"""Segments of an emulated PNA's sweeps: SENSe:SEGMent."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from labtrain.drivers.emulators.scpi.status import ScpiError
from labtrain.drivers.emulators.scpi.syntax import Datum
from labtrain.drivers.emulators.scpi.table import Answer, Setting, command, query
from labtrain.drivers.emulators.scpi.values import Boolean, Choice, Rest, nr1, nr3
from labtrain.drivers.emulators.vna.channel import Channel, Segment
from labtrain.drivers.emulators.vna.family import BANDWIDTH, FREQUENCY, POINTS, POWER, within
from labtrain.drivers.emulators.vna.keysight_pna_measurements import Measurements

NO_SEGMENT = (127, "The sweep segment was not found.")


class Segments(Measurements):
    """Segment tables of channels."""

    SETTINGS: ClassVar[tuple[Setting, ...]] = (
        Setting("SENSe#:SEGMent:ARBitrary", Boolean(), Measurements.channel, "arbitrary"),
        Setting(
            "SENSe#:SEGMent:BANDwidth|BWIDth[:RESolution]:CONTrol",
            Boolean(),
            Measurements.channel,
            "segment_bandwidths",
        ),
        Setting("SENSe#:SEGMent:POWer[:LEVel]:CONTrol", Boolean(), Measurements.channel, "segment_powers"),
    )

    def _segment(self, channel: int, number: int) -> Segment:
        segments = self.channel(channel).segments
        if number > len(segments):
            raise ScpiError(*NO_SEGMENT)
        return segments[number - 1]

    def _segments_changed(self, channel: Channel) -> None:
        if not any(segment.on for segment in channel.segments):
            channel.sweep_type = "LIN" if channel.sweep_type == "SEGM" else channel.sweep_type
        channel.changed()

    @command("SENSe#:SEGMent#:ADD")
    def _add_segment(self, number: int, at: int) -> None:
        channel = self.channel(number)
        if at > len(channel.segments) + 1:
            raise ScpiError(-114)
        start = channel.segments[at - 2].stop_hz if at > 1 else self.family.lowest_hz
        stop = start if channel.segments else self.family.highest_hz
        channel.segments.insert(at - 1, channel.new_segment(start, stop))
        self._segments_changed(channel)

    @command("SENSe#:SEGMent#:DELete")
    def _delete_segment(self, number: int, at: int) -> None:
        self._segment(number, at)
        del self.channel(number).segments[at - 1]
        self._segments_changed(self.channel(number))

    @command("SENSe#:SEGMent:DELete:ALL")
    def _delete_segments(self, number: int) -> None:
        self.channel(number).segments.clear()
        self._segments_changed(self.channel(number))

    @query("SENSe#:SEGMent:COUNt?")
    def _segment_count(self, number: int) -> Answer:
        return nr1(len(self.channel(number).segments))

    @command("SENSe#:SEGMent#[:STATe]", Boolean())
    def _set_segment(self, number: int, at: int, on: bool) -> None:
        self._segment(number, at).on = on
        self._segments_changed(self.channel(number))

    @query("SENSe#:SEGMent#[:STATe]?")
    def _segment_on(self, number: int, at: int) -> Answer:
        return str(int(self._segment(number, at).on))

    @command("SENSe#:SEGMent#:FREQuency:STARt", FREQUENCY)
    def _set_segment_start(self, number: int, at: int, start_hz: float) -> None:
        segment = self._segment(number, at)
        self._place(number, at, start_hz, max(start_hz, segment.stop_hz))

    @command("SENSe#:SEGMent#:FREQuency:STOP", FREQUENCY)
    def _set_segment_stop(self, number: int, at: int, stop_hz: float) -> None:
        segment = self._segment(number, at)
        self._place(number, at, min(stop_hz, segment.start_hz), stop_hz)

    def _place(self, number: int, at: int, start_hz: float, stop_hz: float) -> None:
        """Move a segment; unless they are arbitrary, its neighbours give way."""
        channel, segment = self.channel(number), self._segment(number, at)
        segment.start_hz, segment.stop_hz = start_hz, stop_hz
        if not channel.arbitrary:
            for other in channel.segments[: at - 1]:
                other.start_hz, other.stop_hz = min(other.start_hz, start_hz), min(other.stop_hz, start_hz)
            for other in channel.segments[at:]:
                other.start_hz, other.stop_hz = max(other.start_hz, stop_hz), max(other.stop_hz, stop_hz)
        channel.changed()

    @query("SENSe#:SEGMent#:FREQuency:STARt?")
    def _segment_start(self, number: int, at: int) -> Answer:
        return nr3(self._segment(number, at).start_hz)

    @query("SENSe#:SEGMent#:FREQuency:STOP?")
    def _segment_stop(self, number: int, at: int) -> Answer:
        return nr3(self._segment(number, at).stop_hz)

    @command("SENSe#:SEGMent#:SWEep:POINts", POINTS)
    def _set_segment_points(self, number: int, at: int, points: int) -> None:
        self._segment(number, at).points = points
        self.channel(number).changed()

    @query("SENSe#:SEGMent#:SWEep:POINts?")
    def _segment_points(self, number: int, at: int) -> Answer:
        return nr1(self._segment(number, at).points)

    @command("SENSe#:SEGMent#:BANDwidth|BWIDth[:RESolution]", BANDWIDTH)
    def _set_segment_bandwidth(self, number: int, at: int, width_hz: float) -> None:
        self._segment(number, at).if_bandwidth_hz = self.family.next_if_bandwidth(width_hz)
        self.channel(number).changed()

    @query("SENSe#:SEGMent#:BANDwidth|BWIDth[:RESolution]?")
    def _segment_bandwidth(self, number: int, at: int) -> Answer:
        return nr3(self._segment(number, at).if_bandwidth_hz)

    @command("SENSe#:SEGMent#:POWer#[:LEVel]", POWER)
    def _set_segment_power(self, number: int, at: int, port: int, power_dbm: float) -> None:
        self.check_port(port)
        self._segment(number, at).power_dbm = power_dbm
        self.channel(number).changed()

    @query("SENSe#:SEGMent#:POWer#[:LEVel]?")
    def _segment_power(self, number: int, at: int, port: int) -> Answer:
        self.check_port(port)
        return nr3(self._segment(number, at).power_dbm)

    @command("SENSe#:SEGMent:LIST", Choice("SSTOP", "CSPAN"), POINTS, Rest())
    def _set_segment_list(self, number: int, kind: str, count: int, *data: Datum) -> None:
        channel, values = self.channel(number), self.transfer.decode(data)
        width = len(values) // count
        if len(values) % count or not 4 <= width <= 7:
            raise ScpiError(-220)
        segments = [self._listed(channel, kind, values[i : i + width]) for i in range(0, len(values), width)]
        ends = [end for segment in segments for end in (segment.start_hz, segment.stop_hz)]
        if sum(segment.points for segment in segments) > self.family.most_points:
            raise ScpiError(-222)
        if not channel.arbitrary and ends != sorted(ends):
            raise ScpiError(-221)
        channel.segments = segments
        self._segments_changed(channel)

    def _listed(self, channel: Channel, kind: str, values: list[float]) -> Segment:
        on, points, first, second = values[:4]
        start, stop = (first, second) if kind == "SSTOP" else (first - second / 2, first + second / 2)
        segment = channel.new_segment(start, stop, round(points), on=bool(on))
        if len(values) > 4:
            segment.if_bandwidth_hz = self.family.next_if_bandwidth(within(self.family.bandwidth, values[4]))
        if len(values) > 6:
            segment.power_dbm = within(self.family.power, values[6])
        for end in (start, stop):
            within(self.family.frequency, end)
        within(self.family.points, segment.points)
        return segment

    @query("SENSe#:SEGMent:LIST?", Choice("SSTOP", "CSPAN"), needs=0)
    def _segment_list(self, number: int, kind: str = "SSTOP") -> Answer:
        values: list[float] = []
        for s in self.channel(number).segments:
            ends = (
                (s.start_hz, s.stop_hz) if kind == "SSTOP" else ((s.start_hz + s.stop_hz) / 2, s.stop_hz - s.start_hz)
            )
            values += [s.on, s.points, *ends, s.if_bandwidth_hz, 0.0, *[s.power_dbm] * self.network.n_ports]
        return self.transfer.encode(np.array(values, dtype=np.float64))
