"""How an emulated PNA corrects what it measured: SENSe:CORRection, CSET.

What the network answers is taken to be corrected already; a set that is applied changes what is told, not the data.
"""

from __future__ import annotations

from typing import ClassVar

from labtrain.clock import Clock
from labtrain.drivers.emulators.ports import NetworkPort
from labtrain.drivers.emulators.scpi.status import ScpiError
from labtrain.drivers.emulators.scpi.table import Answer, Setting, command, query
from labtrain.drivers.emulators.scpi.values import Boolean, Choice, Number, Text, nr1, nr3, quoted
from labtrain.drivers.emulators.vna.channel import CalSet
from labtrain.drivers.emulators.vna.keysight_pna_measurements import Measurements

NO_CALSET = (163, "Requested Cal Set was not found in Cal Set Storage.")
NONE_ACTIVE = (164, "There is no Cal Set currently selected for the specified channel.")
NOT_CALIBRATED = (168, "A valid calibration is required before correction can be turned on.")


class Correction(Measurements):
    """Calibration sets, port extensions."""

    SETTINGS: ClassVar[tuple[Setting, ...]] = (
        Setting("SENSe#:CORRection:INTerpolate[:STATe]", Boolean(), Measurements.channel, "interpolated"),
        Setting("SENSe#:CORRection:EXTension[:STATe]", Boolean(), Measurements.channel, "extended"),
    )

    def __init__(self, network: NetworkPort, clock: Clock, *, timing: bool = False) -> None:
        self.calsets: dict[str, CalSet] = {}  # stored on disk: they survive everything
        super().__init__(network, clock, timing=timing)

    def store_calset(self, calset: CalSet, channel: int | None = None) -> None:
        """Store a calibration set as if a calibration had been made; with a channel, apply it there."""
        self.calsets[calset.name] = calset
        if channel is not None:
            self._activate(channel, calset.name)

    def _calset(self, name: str) -> CalSet:
        found = next((c for c in self.calsets.values() if name.upper() in (c.name.upper(), c.guid.upper())), None)
        if found is None:
            raise ScpiError(*NO_CALSET)
        return found

    def _active_calset(self, number: int) -> CalSet:
        name = self.channel(number).calset
        if name is None:
            raise ScpiError(*NONE_ACTIVE)
        return self.calsets[name]

    @command("SENSe#:CORRection[:STATe]", Boolean())
    def _set_correction(self, number: int, on: bool) -> None:
        channel = self.channel(number)
        if on and channel.calset is None:
            raise ScpiError(*NOT_CALIBRATED)
        channel.corrected = on

    @query("SENSe#:CORRection[:STATe]?")
    @query("CALCulate#:CORRection[:STATe]?")
    def _correction(self, number: int) -> Answer:
        return str(int(self.channel(number).corrected))

    @query("CALCulate#:MEASure#:CORRection[:STATe]?")
    def _measurement_correction(self, channel: int, number: int) -> Answer:
        return str(int(self.measurement(channel, number).channel.corrected))

    @query("CALCulate#:CORRection:TYPE?")
    def _correction_type(self, number: int) -> Answer:
        return quoted(self._active_calset(number).kind)

    @query("CALCulate#:MEASure#:CORRection:TYPE?")
    def _measurement_correction_type(self, channel: int, number: int) -> Answer:
        self.measurement(channel, number)
        return quoted(self._active_calset(channel).kind)

    @query("CALCulate#:CORRection:INDicator?")
    def _indicator(self, number: int) -> Answer:
        return "MAST" if self.channel(number).corrected else "NONE"

    @query("CALCulate#:MEASure#:CORRection:INDicator?")
    def _measurement_indicator(self, channel: int, number: int) -> Answer:
        return self._indicator(self.measurement(channel, number).channel.number)

    @command("SENSe#:CORRection:CSET:ACTivate", Text(), Boolean(), needs=1)
    def _activate(self, number: int, name: str, stimulus: bool = False) -> None:  # noqa: ARG002 (sets have no stimulus)
        channel = self.channel(number)
        channel.calset = self._calset(name).name
        channel.corrected = True

    @query("SENSe#:CORRection:CSET:ACTivate?", Choice("GUID", "NAME"), needs=0)
    def _activated(self, number: int, which: str = "GUID") -> Answer:
        if self.channel(number).calset is None:
            return quoted("No Calset Selected")
        active = self._active_calset(number)
        return quoted(active.name if which == "NAME" else active.guid)

    @command("SENSe#:CORRection:CSET:DEACtivate")
    def _deactivate(self, number: int) -> None:
        channel = self.channel(number)
        channel.calset, channel.corrected = None, False

    @query("SENSe#:CORRection:CSET:DESCription?")
    def _description(self, number: int) -> Answer:
        return quoted(self._active_calset(number).description)

    @query("SENSe#:CORRection:CSET:CATalog?", Choice("GUID", "NAME"), needs=0)
    def _calset_list(self, number: int, which: str = "GUID") -> Answer:  # noqa: ARG002 (of all channels)
        return quoted(",".join(c.name if which == "NAME" else c.guid for c in self.calsets.values()))

    @query("CSET:CATalog?")
    def _calset_names(self) -> Answer:
        return quoted(",".join(self.calsets))

    @query("CSET:EXISts?", Text())
    def _calset_exists(self, name: str) -> Answer:
        return str(int(any(name.upper() in (c.name.upper(), c.guid.upper()) for c in self.calsets.values())))

    @query("CSET:DATE?", Text())
    def _calset_date(self, name: str) -> Answer:
        return ",".join(map(nr1, self._calset(name).date))

    @query("CSET:TIME?", Text())
    def _calset_time(self, name: str) -> Answer:
        return ",".join(map(nr1, self._calset(name).time))

    @command("SENSe#:CORRection:EXTension:PORT#[:TIME]", Number(-10, 10, unit="S", default=0))
    def _set_extension(self, number: int, port: int, delay_s: float) -> None:
        self.check_port(port)
        self.channel(number).extensions_s[port] = delay_s
        self.channel(number).changed()

    @query("SENSe#:CORRection:EXTension:PORT#[:TIME]?")
    def _extension(self, number: int, port: int) -> Answer:
        self.check_port(port)
        return nr3(self.channel(number).extensions_s[port])
