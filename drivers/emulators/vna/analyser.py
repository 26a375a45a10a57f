"""Analyser, what all emulated network analysers that speak SCPI share: channels, sweeps and their end, simulation.

Sweeps take no time unless `timing` is on; then a sweep takes points x (1 / IF bandwidth + step), once for each source
port (with correction on, for every port), ``*OPC?`` is answered when it is over, and until then traces show the sweep
before. The network is asked when a sweep begins. A channel that sweeps continuously shows a new sweep whenever its
data are read.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from labtrain.clock import Clock
from labtrain.drivers.emulators.ports import NetworkPort
from labtrain.drivers.emulators.scpi.emulator import ScpiEmulator
from labtrain.drivers.emulators.scpi.status import ScpiError
from labtrain.drivers.emulators.scpi.table import Answer, command, query
from labtrain.drivers.emulators.scpi.values import Boolean, Number, Text
from labtrain.drivers.emulators.simulation import carry_out
from labtrain.drivers.emulators.vna.channel import Channel, Pair
from labtrain.drivers.emulators.vna.data import Transfer
from labtrain.drivers.emulators.vna.family import Family
from labtrain.errors import InputError

_LARGEST = 2**64


class Analyser(ScpiEmulator):
    """An analyser in front of a world.

    Parameters
    ----------
    network : NetworkPort
    clock : Clock
        Tells when sweeps are over; matters with `timing` alone.
    timing : bool
        Sweeps take as long as on the instrument; otherwise they are over at once.
    """

    family: ClassVar[Family]

    no_channel: ClassVar[tuple[int, str | None]] = (-114, None)
    no_port: ClassVar[tuple[int, str | None]] = (-114, None)
    """Errors for a channel and a port that it does not have."""

    channels: dict[int, Channel]
    transfer: Transfer
    rf: bool
    trigger_source: str

    def __init__(self, network: NetworkPort, clock: Clock, *, timing: bool = False) -> None:
        self.network, self.timing = network, timing
        super().__init__(clock)

    def new_channel(self, number: int) -> Channel:
        """A channel as after preset."""
        return Channel(number, self.network.n_ports, self.family)

    def channel(self, number: int) -> Channel:
        """A channel that exists."""
        if number not in self.channels:
            raise ScpiError(*self.no_channel)
        return self.channels[number]

    def check_port(self, port: int) -> None:
        """Raise unless the instrument has the port."""
        if not 0 < port <= self.network.n_ports:
            raise ScpiError(*self.no_port)

    # -- sweeping ------------------------------------------------------------------------------------------------

    @abstractmethod
    def pairs(self, channel: Channel) -> list[Pair]:
        """What the channel measures, each S-parameter once."""

    @abstractmethod
    def sweeps_by_itself(self, channel: Channel) -> bool:
        """Whether the channel sweeps all the time without being triggered."""

    @property
    def busy_until_s(self) -> float:
        """When the last sweep is over."""
        return max((c.ready_s for c in self.channels.values() if c.pending is not None), default=0.0)

    def begin(self, channel: Channel, count: int) -> None:
        """Begin `count` sweeps of a channel, after those that other channels have begun."""
        pairs = self.pairs(channel)
        sources = {port for pair in pairs for port in pair} if channel.corrected else {source for _, source in pairs}
        begin_s = max([self.now_s, *(c.ready_s for c in self.channels.values() if c.pending is not None)])
        channel.pending = channel.sweep(self.network, pairs, count, rf=self.rf) if pairs else {}
        channel.ready_s = begin_s + channel.sweep_s * len(sources) * count if self.timing else 0.0
        channel.triggers_left = max(0, channel.triggers_left - count)
        self.settle(channel)

    def settle(self, channel: Channel) -> None:
        """Show what was swept, if that is over by now."""
        if channel.pending is not None and channel.ready_s <= self.now_s:
            channel.traces, channel.pending = channel.pending, None
            if channel.mode in ("SING", "GRO") and not channel.triggers_left:
                channel.mode = "HOLD"

    def abort(self, channel: Channel) -> None:
        """Give up a sweep that is under way."""
        self.settle(channel)
        channel.pending = None

    def refresh(self, channel: Channel) -> None:
        """Let the channel's traces show what they would show now."""
        self.settle(channel)
        if self.sweeps_by_itself(channel):
            channel.traces = channel.sweep(self.network, self.pairs(channel), 1, rf=self.rf)

    # -- simulation ----------------------------------------------------------------------------------------------

    @command("SIMulation:RESTart", Number(-_LARGEST, _LARGEST, whole=True))
    def _restart(self, seed: int) -> None:
        self.network.restart(seed)

    @command("SIMulation:SHOT", Number(0, _LARGEST, whole=True))
    def _begin_shot(self, shot: int) -> None:
        self.network.begin_shot(shot)

    @command("SIMulation:DISTurb", Text())
    def _disturb(self, told: str) -> None:
        try:
            carry_out(self.network, told)
        except InputError as error:
            raise ScpiError(-224, str(error)) from None

    @command("SIMulation:TIMing", Boolean())
    def _set_timing(self, on: bool) -> None:
        self.timing = on

    @query("SIMulation:TIMing?")
    def _timing(self) -> Answer:
        return str(int(self.timing))
