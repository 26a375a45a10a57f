"""Windows of an emulated PNA, and what it tells of itself: DISPlay, SYSTem."""

from __future__ import annotations

from labtrain.drivers.emulators.scpi.status import ScpiError
from labtrain.drivers.emulators.scpi.table import Answer, command, query
from labtrain.drivers.emulators.scpi.values import Boolean, Number, Text, nr1, nr3, quoted
from labtrain.drivers.emulators.vna.channel import Measurement
from labtrain.drivers.emulators.vna.keysight_pna_measurements import MOST_CHANNELS, NO_MEASUREMENT, Measurements

DUPLICATE_WINDOW = (100, "Duplicate window number")
NO_WINDOW = (101, "Window number not found")
NO_TRACE = (107, "Requested trace not found")
DUPLICATE_TRACE = (110, "Duplicate trace number")

MOST_WINDOWS = 16


class Display(Measurements):
    """Where traces are shown, and what there is."""

    @query("CALCulate#:PARameter:TNUMber?")
    def _trace_number(self, channel: int) -> Answer:
        return nr1(self._shown(self.selected(channel))[1])

    @query("CALCulate#:PARameter:WNUMber?")
    def _window_number(self, channel: int) -> Answer:
        return nr1(self._shown(self.selected(channel))[0])

    def _shown(self, measurement: Measurement) -> tuple[int, int]:
        for window, traces in self.windows.items():
            for number, shown in traces.items():
                if shown is measurement:
                    return window, number
        raise ScpiError(*NO_TRACE)

    def _window(self, number: int) -> dict[int, Measurement]:
        if number not in self.windows:
            raise ScpiError(*NO_WINDOW)
        return self.windows[number]

    @command("DISPlay:WINDow#[:STATe]", Boolean())
    def _set_window(self, window: int, on: bool) -> None:
        if on and window in self.windows:
            raise ScpiError(*DUPLICATE_WINDOW)
        if on and window <= MOST_WINDOWS:
            self.windows[window] = {}
        elif self.windows.pop(window, None) is None:
            raise ScpiError(*NO_WINDOW)

    @query("DISPlay:WINDow#[:STATe]?")
    def _window_on(self, window: int) -> Answer:
        return str(int(window in self.windows))

    @query("DISPlay:CATalog?")
    def _windows(self) -> Answer:
        return quoted(",".join(map(str, sorted(self.windows))) or "EMPTY")

    @query("DISPlay:WINDow#:CATalog?")
    def _traces(self, window: int) -> Answer:
        return quoted(",".join(map(str, sorted(self._window(window)))) or "EMPTY")

    @command("DISPlay:WINDow#:TRACe#:FEED", Text())
    def _feed(self, window: int, trace: int, name: str) -> None:
        fed = next((m for m in self.measurements.values() if m.name == name), None)
        if fed is None:
            raise ScpiError(*NO_MEASUREMENT)
        if trace in self._window(window):
            raise ScpiError(*DUPLICATE_TRACE)
        self._window(window)[trace] = fed

    @command("DISPlay:MEASure#:FEED", Number(1, MOST_WINDOWS, whole=True))
    def _feed_numbered(self, number: int, window: int) -> None:
        if number not in self.measurements:
            raise ScpiError(*NO_MEASUREMENT)
        traces = self._window(window)
        traces[next(n for n in range(1, len(traces) + 2) if n not in traces)] = self.measurements[number]

    @command("DISPlay:WINDow#:TRACe#:DELete")
    def _trace_deleted(self, window: int, trace: int) -> None:
        if self._window(window).pop(trace, None) is None:
            raise ScpiError(*NO_TRACE)

    @command("DISPlay:WINDow#:TRACe#:Y[:SCALe]:AUTO")
    def _scale(self, window: int, trace: int) -> None:
        if trace not in self._window(window):
            raise ScpiError(*NO_TRACE)

    # -- the instrument ------------------------------------------------------------------------------------------

    @query("SYSTem:CHANnels:CATalog?")
    def _channels_in_use(self) -> Answer:
        return quoted(",".join(map(str, sorted({m.channel.number for m in self.measurements.values()}))))

    @command("SYSTem:CHANnels:DELete", Number(1, MOST_CHANNELS, whole=True))
    def _channel_deleted(self, number: int) -> None:
        self.channel(number)
        for measurement in self.of_channel(number):
            self._deleted(measurement)
        del self.channels[number]

    @query("SYSTem:MEASure:CATalog?", Number(1, MOST_CHANNELS, whole=True), needs=0)
    def _measurement_numbers(self, channel: int = 0) -> Answer:
        listed = self.of_channel(channel) if channel else [m for _, m in sorted(self.measurements.items())]
        return quoted(",".join(str(measurement.number) for measurement in listed))

    @query("SYSTem:ACTive:CHANnel?")
    def _active_channel(self) -> Answer:
        return nr1(self.active.channel.number if self.active else 0)

    @query("SYSTem:ACTive:MEASurement?")
    def _active_measurement(self) -> Answer:
        return quoted(self.active.name if self.active else "")

    @query("SYSTem:CAPability:HARDware:PORTs:COUNt?")
    @query("SYSTem:CAPability:HARDware:PORTs:INTernal:COUNt?")
    def _port_count(self) -> Answer:
        return nr1(self.network.n_ports)

    @query("SYSTem:CAPability:FREQuency:MINimum?")
    def _lowest_frequency(self) -> Answer:
        return nr3(self.family.lowest_hz)

    @query("SYSTem:CAPability:FREQuency:MAXimum?")
    def _highest_frequency(self) -> Answer:
        return nr3(self.family.highest_hz)

    @query("SYSTem:CAPability:POINts:MAXimum?")
    def _most_points(self) -> Answer:
        return nr1(self.family.most_points)

    @query("SYSTem:CAPability:IFBW:CATalog?")
    def _if_bandwidths(self) -> Answer:
        return quoted(",".join(f"{width:.0f}" for width in self.family.if_bandwidths_hz))
