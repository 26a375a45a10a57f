"""Channels and measurements of an emulated PNA: CALCulate:PARameter, CALCulate:MEASure."""

from __future__ import annotations

import re

from labtrain.drivers.emulators.scpi.status import ScpiError
from labtrain.drivers.emulators.scpi.table import Answer, command, query
from labtrain.drivers.emulators.scpi.values import Choice, Number, Text, nr1, nr3, quoted
from labtrain.drivers.emulators.vna.channel import Channel, Measurement, Pair
from labtrain.drivers.emulators.vna.data import FORMATS, UNITS, Transfer
from labtrain.drivers.emulators.vna.stimulus import Stimulus

# An instrument's own errors are positive; texts as in "SCPI Errors" of the help.
NONE_SELECTED = (103, "CALC measurement selection set to none")
DUPLICATE_NAME = (104, "Duplicate measurement name")
NO_MEASUREMENT = (106, "Requested measurement not found")
WRONG_CHANNEL = (118, "Measurement does not belong to specified channel.")

MOST_CHANNELS = 200
_PARAMETER = re.compile(r"S(\d+)_(\d+)|S(\d)(\d)")


class Measurements(Stimulus):
    """What is measured, and where it is shown."""

    no_channel = (122, "The specified channel was not found.")
    no_port = (159, "Specified port is out of range")

    measurements: dict[int, Measurement]
    active: Measurement | None
    windows: dict[int, dict[int, Measurement]]

    def pairs(self, channel: Channel) -> list[Pair]:
        return list(dict.fromkeys(m.ports for m in self.of_channel(channel.number)))

    def sweeps_by_itself(self, channel: Channel) -> bool:
        return channel.mode == "CONT" and self.trigger_source == "IMM"

    def reset(self) -> None:
        """As ``*RST``: preset, and data are transferred as text."""
        self.transfer = Transfer()
        self._preset()

    @command("SYSTem:PRESet")
    @command("SYSTem:UPReset")
    def _preset(self) -> None:
        """One channel with S11 in one window."""
        self._blank()
        measurement = self._measurement_made(1, 1, "CH1_S11_1", (1, 1))
        self.channels[1].selected = self.active = measurement
        self.windows[1] = {1: measurement}

    @command("SYSTem:FPReset")
    def _blank(self) -> None:
        """Nothing is measured, nothing shown."""
        self.rf = True
        self.channels = {1: self.new_channel(1)}
        self.measurements, self.windows, self.active = {}, {}, None
        self.trigger_source, self.trigger_scope = "IMM", "ALL"
        self.snp_format = "AUTO"

    # -- finding things ------------------------------------------------------------------------------------------

    def selected(self, channel: int) -> Measurement:
        """The measurement that CALCulate commands of a channel act on."""
        measurement = self.channels[channel].selected if channel in self.channels else None
        if measurement is None:
            raise ScpiError(*NONE_SELECTED)
        return measurement

    def measurement(self, channel: int, number: int) -> Measurement:
        """A measurement by its number."""
        found = self.measurements.get(number)
        if found is None:
            raise ScpiError(*NO_MEASUREMENT)
        if found.channel.number != channel:
            raise ScpiError(*WRONG_CHANNEL)
        return found

    def of_channel(self, channel: int) -> list[Measurement]:
        """Measurements of a channel by number."""
        return [m for _, m in sorted(self.measurements.items()) if m.channel.number == channel]

    def _named(self, channel: int, name: str) -> Measurement:
        found = next((m for m in self.of_channel(channel) if m.name == name), None)
        if found is None:
            raise ScpiError(*NO_MEASUREMENT)
        return found

    def _ports(self, parameter: str) -> Pair:
        match = _PARAMETER.fullmatch(parameter.upper())
        if match is None:
            raise ScpiError(-224)
        to, source = (int(digits) for digits in match.groups() if digits)
        self.check_port(to)
        self.check_port(source)
        return to, source

    # -- making and deleting -------------------------------------------------------------------------------------

    def _measurement_made(self, channel: int, number: int, name: str, ports: Pair) -> Measurement:
        if not name or any(m.name == name for m in self.measurements.values()):
            raise ScpiError(*(DUPLICATE_NAME if name else (-224,)))
        if channel > MOST_CHANNELS:
            raise ScpiError(-114)
        owner = self.channels.setdefault(channel, self.new_channel(channel))
        made = self.measurements[number] = Measurement(number, owner, name, ports)
        return made

    def _free_number(self) -> int:
        return next(n for n in range(1, len(self.measurements) + 2) if n not in self.measurements)

    def _deleted(self, measurement: Measurement) -> None:
        del self.measurements[measurement.number]
        if measurement.channel.selected is measurement:
            measurement.channel.selected = None
        if self.active is measurement:
            self.active = None
        for traces in self.windows.values():
            for number in [n for n, shown in traces.items() if shown is measurement]:
                del traces[number]

    @command("CALCulate#:PARameter[:DEFine]", Text(bare=True), Text(bare=True), Number(1, 99, whole=True), needs=2)
    @command("CALCulate#:PARameter[:DEFine]:EXTended", Text(), Text(bare=True))
    def _define(self, channel: int, name: str, parameter: str, load_port: int = 0) -> None:  # noqa: ARG002
        self._measurement_made(channel, self._free_number(), name, self._ports(parameter))

    @command("CALCulate#:MEASure#:DEFine", Text(bare=True))
    def _define_numbered(self, channel: int, number: int, parameter: str) -> None:
        if number in self.measurements:
            raise ScpiError(*DUPLICATE_NAME)
        ports = self._ports(parameter)
        self._measurement_made(channel, number, f"CH{channel}_{parameter.upper()}_{number}", ports)

    @command("CALCulate#:PARameter:MODify", Text(bare=True))
    @command("CALCulate#:PARameter:MODify:EXTended", Text(bare=True))
    def _modify(self, channel: int, parameter: str) -> None:
        self.selected(channel).ports = self._ports(parameter)

    @command("CALCulate#:MEASure#:PARameter", Text(bare=True))
    def _modify_numbered(self, channel: int, number: int, parameter: str) -> None:
        self.measurement(channel, number).ports = self._ports(parameter)

    @query("CALCulate#:MEASure#:PARameter?")
    def _parameter(self, channel: int, number: int) -> Answer:
        return quoted(self.measurement(channel, number).parameter)

    @query("CALCulate#:MEASure#:NAME?")
    def _name(self, channel: int, number: int) -> Answer:
        return quoted(self.measurement(channel, number).name)

    @command("CALCulate#:PARameter:DELete[:NAME]", Text())
    def _delete(self, channel: int, name: str) -> None:
        self._deleted(self._named(channel, name))

    @command("CALCulate#:MEASure#:DELete")
    def _delete_numbered(self, channel: int, number: int) -> None:
        self._deleted(self.measurement(channel, number))

    @command("CALCulate#:PARameter:DELete:ALL")
    def _delete_all(self, channel: int) -> None:  # noqa: ARG002 (all of the instrument, whatever the channel)
        for measurement in list(self.measurements.values()):
            self._deleted(measurement)

    # -- selecting and listing -----------------------------------------------------------------------------------

    @command("CALCulate#:PARameter:SELect", Text(), Choice("FAST"), needs=1)
    def _select(self, channel: int, name: str, fast: str = "") -> None:  # noqa: ARG002 (no display to leave alone)
        self.active = self.channel(channel).selected = self._named(channel, name)

    @query("CALCulate#:PARameter:SELect?")
    def _selected_name(self, channel: int) -> Answer:
        selected = self.channel(channel).selected
        return quoted(selected.name if selected else "")

    @command("CALCulate#:PARameter:MNUMber[:SELect]", Number(1, 1e4, whole=True), Choice("FAST"), needs=1)
    def _select_numbered(self, channel: int, number: int, fast: str = "") -> None:  # noqa: ARG002
        self.active = self.channel(channel).selected = self.measurement(channel, number)

    @query("CALCulate#:PARameter:MNUMber[:SELect]?")
    def _selected_number(self, channel: int) -> Answer:
        return nr1(self.selected(channel).number)

    @query("CALCulate#:PARameter:CATalog?", Choice("NORMal", "DISPlay", "DEFine"), needs=0)
    @query("CALCulate#:PARameter:CATalog:EXTended?", Choice("NORMal", "DISPlay", "DEFine"), needs=0)
    def _catalog(self, channel: int, which: str = "") -> Answer:  # noqa: ARG002 (no titles that could differ)
        listed = ",".join(f"{m.name},{m.parameter}" for m in self.of_channel(channel))
        return quoted(listed or "NO CATALOG")

    # -- how it is shown -----------------------------------------------------------------------------------------

    @command("CALCulate#:FORMat", Choice(*FORMATS))
    def _set_format(self, channel: int, form: str) -> None:
        self.selected(channel).format = form

    @query("CALCulate#:FORMat?")
    def _format(self, channel: int) -> Answer:
        return self.selected(channel).format

    @command("CALCulate#:MEASure#:FORMat", Choice(*FORMATS))
    def _set_format_numbered(self, channel: int, number: int, form: str) -> None:
        self.measurement(channel, number).format = form

    @query("CALCulate#:MEASure#:FORMat?")
    def _format_numbered(self, channel: int, number: int) -> Answer:
        return self.measurement(channel, number).format

    @query("CALCulate#:MEASure#:X:AXIS:UNIT?")
    def _x_unit(self, channel: int, number: int) -> Answer:
        self.measurement(channel, number)
        return "FREQ"

    @query("CALCulate#:MEASure#:Y:AXIS:UNIT?")
    def _y_unit(self, channel: int, number: int) -> Answer:
        return UNITS.get(self.measurement(channel, number).format, "UNIT")

    @command("CALCulate#:CORRection:EDELay[:TIME]", Number(-10, 10, unit="S"))
    def _set_delay(self, channel: int, delay_s: float) -> None:
        self.selected(channel).delay_s = delay_s

    @query("CALCulate#:CORRection:EDELay[:TIME]?")
    def _delay(self, channel: int) -> Answer:
        return nr3(self.selected(channel).delay_s)
