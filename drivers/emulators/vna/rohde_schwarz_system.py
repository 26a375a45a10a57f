"""Correction, windows and the rest of an emulated R&S analyser: SENSe:CORRection, MMEMory, DISPlay, SYSTem.

What the network answers is taken to be corrected already: a calibration that is applied changes what is told, not the
data. A length offset at a port does change them.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from labtrain.drivers.emulators.scpi.status import ScpiError
from labtrain.drivers.emulators.scpi.table import Answer, Setting, command, query
from labtrain.drivers.emulators.scpi.values import Boolean, Choice, Number, Text
from labtrain.drivers.emulators.vna.channel import CalSet
from labtrain.drivers.emulators.vna.data import formatted
from labtrain.drivers.emulators.vna.rohde_schwarz_traces import MOST_CHANNELS, RsTraces, told

NO_FILE = (-256, "File name not found")

_CHANNEL = Number(1, MOST_CHANNELS, whole=True)
_PORT_DELAY = Number(-1, 1, unit="S", default=0)


class RsSystem(RsTraces):
    """Calibrations, length offsets; what is shown, which is nothing."""

    SETTINGS: ClassVar[tuple[Setting, ...]] = (
        Setting("SYSTem:ERRor:DISPlay[:STATe]", Boolean(), lambda rs: rs, "shows_errors"),
        Setting("SYSTem:DISPlay:UPDate", Choice("ON", "OFF", "ONCE"), lambda rs: rs, "display"),
        Setting("ROSCillator[:SOURce]", Choice("INTernal", "EXTernal"), lambda rs: rs, "reference"),
    )

    shows_errors = False
    display = "OFF"
    reference = "INT"
    reference_hz = 10e6

    # -- correction ----------------------------------------------------------------------------------------------

    def store_calibration(self, calibration: CalSet, channel: int | None = None) -> None:
        """Put a file into the calibration pool; with a channel, apply it there."""
        self.calibrations[calibration.name] = calibration
        if channel is not None:
            self._load(channel, calibration.name)

    @command("MMEMory:LOAD:CORRection", _CHANNEL, Text())
    def _load(self, number: int, name: str) -> None:
        channel = self.rs(number)
        if name not in self.calibrations:
            raise ScpiError(*NO_FILE)
        channel.calibration, channel.corrected = self.calibrations[name], True

    @query("MMEMory:LOAD:CORRection?", _CHANNEL)
    def _loaded(self, number: int) -> Answer:
        calibration = self.rs(number).calibration
        return told(calibration.name if calibration else "")

    @command("SENSe#:CORRection[:STATe]", Boolean())
    def _set_correction(self, number: int, on: bool) -> None:
        channel = self.rs(number)
        if on and channel.calibration is None:
            raise ScpiError(-221)
        channel.corrected = on

    @query("SENSe#:CORRection[:STATe]?")
    def _correction(self, number: int) -> Answer:
        return int(self.rs(number).corrected)

    @query("SENSe#:CORRection:SSTate?")
    def _correction_state(self, number: int) -> Answer:
        channel = self.rs(number)
        return told("" if channel.calibration is None else "CAL" if channel.corrected else "CAL OFF")

    @query("SENSe#:CORRection:DATE?")
    def _date(self, number: int) -> Answer:
        calibration = self.rs(number).calibration
        if calibration is None:
            return told("")
        (year, month, day), clock = calibration.date, calibration.time
        return told(f"{month:02}/{day:02}/{year % 100:02},{':'.join(f'{part:02}' for part in clock)}")

    @command("SENSe#:CORRection:EDELay#[:TIME]", _PORT_DELAY)
    def _set_offset(self, number: int, port: int, delay_s: float) -> None:
        channel = self.rs(number)
        self.check_port(port)
        channel.extensions_s[port] = delay_s
        channel.extended = any(channel.extensions_s.values())
        channel.changed()

    @query("SENSe#:CORRection:EDELay#[:TIME]?")
    def _offset(self, number: int, port: int) -> Answer:
        self.check_port(port)
        return self.rs(number).extensions_s[port]

    @command("SENSe#:CORRection:EDELay#:AUTO", Choice("ONCE"))
    def _set_offset_by_itself(self, number: int, port: int, once: str) -> None:  # noqa: ARG002
        """The active trace's phase becomes as flat as it can."""
        trace = self.selected(number)
        self.refresh(trace.channel)
        delay_s = float(np.mean(formatted(trace.data, trace.channel.frequencies_hz, "GDEL")))
        passes = 2 if trace.ports == (port, port) else 1
        self._set_offset(number, port, self.rs(number).extensions_s[port] + delay_s / passes)

    @query("SENSe#:CORRection:OFFSet#[:STATe]?")
    def _any_offset(self, number: int, port: int) -> Answer:  # noqa: ARG002 (of all ports)
        return int(self.rs(number).extended)

    # -- what there is -------------------------------------------------------------------------------------------

    @query("*IDN?", indefinite=True)
    def _identification(self) -> Answer:
        """The model is that with as many ports as are connected."""
        return self.identity.format(ports=self.network.n_ports)

    @query("INSTrument:PORT:COUNt?")
    @query("INSTrument:TPORt:COUNt?")
    def _port_count(self) -> Answer:
        return self.network.n_ports

    @query("SYSTem:FREQuency?", Choice("MINimum", "MAXimum"))
    def _edge(self, edge: str) -> Answer:
        return self.family.lowest_hz if edge == "MIN" else self.family.highest_hz

    @query("STATus:QUEStionable:INTegrity:HARDware[:EVENt]?")
    @query("STATus:QUEStionable:INTegrity:HARDware:CONDition?")
    def _integrity(self) -> Answer:
        return 0

    @command("ROSCillator:EXTernal:FREQuency", Number(1e6, 20e6, unit="HZ"))
    def _set_reference(self, frequency_hz: float) -> None:
        self.reference_hz = frequency_hz

    @query("ROSCillator:EXTernal:FREQuency?")
    def _reference(self) -> Answer:
        return f"{self.written(self.reference_hz)}Hz"

    # -- windows -------------------------------------------------------------------------------------------------

    @command("DISPlay:WINDow#[:STATe]", Boolean())
    def _set_window(self, window: int, on: bool) -> None:
        if on:
            self.windows.setdefault(window, {})
        elif self.windows.pop(window, None) is None:
            raise ScpiError(-114)

    @command("DISPlay[:WINDow#]:TRACe#:FEED", Text())
    def _feed(self, window: int, at: int, name: str) -> None:
        if window not in self.windows:
            raise ScpiError(-114)
        self.windows[window][at] = self.named(name).name

    @command("DISPlay[:WINDow#]:TRACe#:EFEed", Text())
    def _feed_next(self, window: int, at: int, name: str) -> None:  # noqa: ARG002 (the next that is free)
        shown = self.windows.get(window, {})
        self._feed(window, next(n for n in range(1, len(shown) + 2) if n not in shown), name)

    @command("DISPlay[:WINDow#]:TRACe#:Y[:SCALe]:AUTO", Choice("ONCE"), Text(bare=True), needs=1)
    def _scale(self, window: int, at: int, once: str, name: str = "") -> None:  # noqa: ARG002
        if name:
            self.named(name)

    @command("DISPlay:LAYout", Choice("LINeup", "STACk", "HORizontal", "VERTical", "GRID"))
    def _arrange(self, layout: str) -> None:
        """As all of the display, it is nowhere to be seen."""

    @command("DISPlay:LAYout:GRID", Number(1, 16, whole=True), Number(1, 16, whole=True))
    def _arrange_grid(self, rows: int, columns: int) -> None:
        """As all of the display, it is nowhere to be seen."""
