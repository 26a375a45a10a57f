"""Channels and traces of an emulated R&S analyser: CONFigure, CALCulate:PARameter.

Traces have names; a channel has one active trace, which its CALCulate commands act on, and may have none at all.
"""

from __future__ import annotations

import re

from labtrain.clock import Clock
from labtrain.drivers.emulators.ports import NetworkPort
from labtrain.drivers.emulators.scpi.status import ScpiError
from labtrain.drivers.emulators.scpi.syntax import Datum
from labtrain.drivers.emulators.scpi.table import Answer, command, query
from labtrain.drivers.emulators.scpi.values import Boolean, Choice, Number, Rest, Text
from labtrain.drivers.emulators.vna.channel import CalSet, Channel, Measurement, Pair, Traces
from labtrain.drivers.emulators.vna.data import Transfer
from labtrain.drivers.emulators.vna.family import Family
from labtrain.drivers.emulators.vna.stimulus import Stimulus

NO_TRACE = (-200, "Execution error;no such trace")
TAKEN = (-200, "Execution error;another channel has a trace of that name")

FORMATS = (
    "MLINear", "MLOGarithmic", "PHASe", "UPHase", "POLar", "SMITh", "ISMith", "GDELay", "REAL", "IMAGinary", "SWR",
    "COMPlex",
)  # fmt: skip
MOST_CHANNELS = 200
_PARAMETER = re.compile(r"S(\d)(\d)|S(\d\d)(\d\d)")


def told(text: str) -> str:
    """A string as these analysers answer it."""
    return f"'{text}'"


class RsChannel(Channel):
    """A channel: one power for all ports, to which each may add its own offset and slope."""

    def __init__(self, number: int, n_ports: int, family: Family) -> None:
        super().__init__(number, n_ports, family)
        self.name, self.measured = f"Ch{number}", True
        self.segments = []
        self.insert_by, self.segment_delays, self.segment_times = "SWT", False, False
        self.base_dbm = family.preset_dbm
        self.offsets = dict.fromkeys(self.powers_dbm, (0.0, "CPAD"))  # in dB, or in dBm with ONLY
        self.slopes_db = dict.fromkeys(self.powers_dbm, 0.0)  # a GHz
        self.sweep_count, self.trigger = 1, "IMM"
        self.averages_of = "AUTO"
        self.average_count = 10
        self.calibration: CalSet | None = None
        self.group: list[str] = []

    def sweep(self, world: NetworkPort, pairs: list[Pair], count: int, *, rf: bool) -> Traces:
        """As of any channel. With a slope, the power is everywhere that at the last frequency, the highest."""
        span_ghz = float(self.frequencies_hz[-1] - self.frequencies_hz[0]) / 1e9
        for port, (offset, added) in self.offsets.items():
            base = self.base_dbm if added == "CPAD" else 0.0
            self.powers_dbm[port] = base + offset + self.slopes_db[port] * span_ghz
        return super().sweep(world, pairs, count, rf=rf)


class RsTraces(Stimulus):
    """What is measured."""

    channels: dict[int, RsChannel]  # type: ignore[assignment]
    traces: dict[str, Measurement]

    def __init__(self, network: NetworkPort, clock: Clock, *, timing: bool = False) -> None:
        self.calibrations: dict[str, CalSet] = {}  # files in the pool: they survive everything
        super().__init__(network, clock, timing=timing)

    def new_channel(self, number: int) -> RsChannel:
        return RsChannel(number, self.network.n_ports, self.family)

    def rs(self, number: int) -> RsChannel:
        """A channel that exists."""
        self.channel(number)
        return self.channels[number]

    def reset(self) -> None:
        self.transfer = Transfer("SWAP")
        self._preset()

    @command("SYSTem:PRESet")
    def _preset(self) -> None:
        """One channel with one trace, of S21."""
        self.rf = True
        self.channels, self.traces, self.active_channel = {}, {}, 1
        self.windows: dict[int, dict[int, str]] = {1: {1: "Trc1"}}
        self.define(1, "Trc1", "S21")

    # -- traces --------------------------------------------------------------------------------------------------

    def of_channel(self, channel: int) -> list[Measurement]:
        """Traces of a channel, the oldest first."""
        return [trace for trace in self.traces.values() if trace.channel.number == channel]

    def pairs(self, channel: Channel) -> list[Pair]:
        return list(dict.fromkeys(trace.ports for trace in self.of_channel(channel.number)))

    def selected(self, channel: int) -> Measurement:
        """The active trace."""
        trace = self.channel(channel).selected
        if trace is None:
            raise ScpiError(*NO_TRACE)
        return trace

    def named(self, name: str) -> Measurement:
        """The trace with this name."""
        if name not in self.traces:
            raise ScpiError(*NO_TRACE)
        return self.traces[name]

    def _ports(self, parameter: str) -> Pair:
        match = _PARAMETER.fullmatch(parameter.upper())
        if match is None:
            raise ScpiError(-224)
        to, source = (int(digits) for digits in match.groups() if digits)
        self.check_port(to)
        self.check_port(source)
        return to, source

    def define(self, channel: int, name: str, parameter: str) -> None:
        """Make a trace, and the channel if there is none; one of that name in the channel becomes another parameter."""
        ports = self._ports(parameter)
        if not name or channel > MOST_CHANNELS:
            raise ScpiError(-224 if channel <= MOST_CHANNELS else -114)
        owner = self.channels.setdefault(channel, self.new_channel(channel))
        trace = self.traces.setdefault(name, Measurement(len(self.traces) + 1, owner, name, ports))
        if trace.channel is not owner:
            raise ScpiError(*TAKEN)
        trace.ports, owner.selected = ports, trace

    def delete(self, trace: Measurement) -> None:
        """Delete a trace; the newest of the channel's others becomes the active one."""
        del self.traces[trace.name]
        owner = self.channels[trace.channel.number]
        owner.group = [name for name in owner.group if name != trace.name]
        if owner.selected is trace:
            owner.selected = next(reversed(self.of_channel(owner.number)), None)
        for shown in self.windows.values():
            for at in [at for at, name in shown.items() if name == trace.name]:
                del shown[at]

    @command("CALCulate#:PARameter:SDEFine", Text(), Text())
    @command("CALCulate#:PARameter:DEFine", Text(), Text(bare=True))
    def _define(self, channel: int, name: str, parameter: str) -> None:
        self.define(channel, name, parameter)

    @command("CALCulate#:PARameter:MEASure", Text(), Text())
    def _measure(self, channel: int, name: str, parameter: str) -> None:  # noqa: ARG002 (names are everybody's)
        self.named(name).ports = self._ports(parameter)

    @query("CALCulate#:PARameter:MEASure?", Text())
    def _measured(self, channel: int, name: str) -> Answer:  # noqa: ARG002
        return told(self.named(name).parameter)

    @query("CALCulate#:PARameter:CATalog?")
    def _catalog(self, channel: int) -> Answer:
        return told(",".join(f"{trace.name},{trace.parameter}" for trace in self.of_channel(channel)))

    @command("CALCulate#:PARameter:SELect", Text())
    def _select(self, channel: int, name: str) -> None:
        trace = self.named(name)
        if trace.channel.number != channel:
            raise ScpiError(*NO_TRACE)
        trace.channel.selected = trace

    @query("CALCulate#:PARameter:SELect?")
    def _selected_name(self, channel: int) -> Answer:
        trace = self.channel(channel).selected
        return told(trace.name if trace else "")

    @command("CALCulate#:PARameter:DELete", Text())
    def _delete(self, channel: int, name: str) -> None:  # noqa: ARG002
        self.delete(self.named(name))

    @command("CALCulate#:PARameter:DELete:ALL")
    def _delete_all(self, channel: int) -> None:  # noqa: ARG002 (of all channels)
        for trace in list(self.traces.values()):
            self.delete(trace)

    @command("CALCulate#:PARameter:DELete:CALL")
    def _delete_of_channel(self, channel: int) -> None:
        for trace in self.of_channel(channel):
            self.delete(trace)

    @command("CALCulate#:PARameter:DEFine:SGRoup", Number(1, 99, whole=True), Rest())
    def _define_group(self, channel: int, first: int, *rest: Datum) -> None:
        """Traces of all S-parameters of some ports, in place of the group before."""
        number = Number(1, 99, whole=True)
        ports = [first, *(int(number.parse(datum)) for datum in rest)]
        for port in ports:
            self.check_port(port)
        self._delete_group(channel)
        for to in ports:
            for source in ports:
                name = f"Ch{channel}_SG_S{to}{source}"
                self.define(channel, name, f"S{to:02}{source:02}")
                self.channels[channel].group.append(name)

    @command("CALCulate#:PARameter:DELete:SGRoup")
    def _delete_group(self, channel: int) -> None:
        for name in self.channels[channel].group if channel in self.channels else ():
            self.delete(self.traces[name])

    @command("CALCulate#:FORMat", Choice(*FORMATS))
    def _set_format(self, channel: int, form: str) -> None:
        self.selected(channel).format = form

    @query("CALCulate#:FORMat?")
    def _format(self, channel: int) -> Answer:
        return self.selected(channel).format

    @query("CONFigure:TRACe#:CATalog?")
    def _trace_catalog(self, number: int) -> Answer:  # noqa: ARG002
        return told(",".join(f"{at},{name}" for at, name in enumerate(self.traces, start=1)))

    # -- channels ------------------------------------------------------------------------------------------------

    @command("CONFigure:CHANnel#[:STATe]", Boolean())
    def _set_channel(self, number: int, on: bool) -> None:
        if on:
            if number > MOST_CHANNELS:
                raise ScpiError(-114)
            self.channels.setdefault(number, self.new_channel(number))
            self.active_channel = number
            return
        self.channel(number)
        self._delete_of_channel(number)
        del self.channels[number]
        if self.active_channel == number:
            self.active_channel = next(iter(self.channels), 0)

    @query("CONFigure:CHANnel#[:STATe]?")
    def _channel_exists(self, number: int) -> Answer:
        return int(number in self.channels)

    @query("CONFigure:CHANnel#:CATalog?")
    def _channel_catalog(self, number: int) -> Answer:  # noqa: ARG002
        return told(",".join(f"{n},{channel.name}" for n, channel in sorted(self.channels.items())))

    @command("CONFigure:CHANnel#:NAME", Text())
    def _set_channel_name(self, number: int, name: str) -> None:
        self.rs(number).name = name

    @query("CONFigure:CHANnel#:NAME?")
    def _channel_name(self, number: int) -> Answer:
        return told(self.rs(number).name)

    @command("INSTrument:NSELect", Number(1, MOST_CHANNELS, whole=True))
    def _activate(self, number: int) -> None:
        self.channel(number)
        self.active_channel = number

    @query("INSTrument:NSELect?")
    def _active(self) -> Answer:
        return self.active_channel
