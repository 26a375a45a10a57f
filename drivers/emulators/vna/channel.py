"""One channel of an emulated analyser: stimulus settings, segments, measurements, and what a sweep of it does.

After the SCPI command reference in Keysight's PNA help (N522xB, A.13 and later). Averages are of complex values:
until the count n of sweeps is reached their mean, from there on new/n + old (n - 1)/n.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labtrain.drivers.emulators.ports import NetworkPort
from labtrain.drivers.emulators.vna.family import Family

Pair = tuple[int, int]  # S21 is (2, 1)
Traces = dict[Pair, NDArray[np.complex128]]

_STIMULUS = frozenset(
    {"start_hz", "stop_hz", "points", "cw_hz", "sweep_type", "if_bandwidth_hz", "dwell_s", "coupled", "arbitrary",
     "segment_bandwidths", "segment_powers", "averaging", "average_count", "average_mode", "extended", "sloped",
     "slope_db"}
)  # fmt: skip


@dataclass
class Segment:
    """Part of a segment sweep."""

    on: bool = False
    points: int = 21
    start_hz: float = 0.0
    stop_hz: float = 0.0
    if_bandwidth_hz: float = 100e3
    power_dbm: float = 0.0


@dataclass
class Measurement:
    """A trace with its number (Tr1, Tr2...), name, and data frozen at the last sweep."""

    number: int
    channel: Channel
    name: str
    ports: Pair
    format: str = "MLOG"
    delay_s: float = 0.0
    memory: NDArray[np.complex128] | None = None

    @property
    def parameter(self) -> str:
        """``S21``."""
        return "S" + ("_" if max(self.ports) > 9 else "").join(map(str, self.ports))

    @property
    def data(self) -> NDArray[np.complex128]:
        """Values of the last sweep, (points,); zeros where there was none since the number of points changed."""
        swept, points = self.channel.traces.get(self.ports), len(self.channel.frequencies_hz)
        return np.zeros(points, dtype=np.complex128) if swept is None or len(swept) != points else swept


@dataclass(frozen=True)
class _Block:
    """Part of a sweep with one IF bandwidth and, if not that of the ports, one power."""

    frequencies_hz: NDArray[np.float64]
    if_bandwidth_hz: float
    power_dbm: float | None = None


class Channel:
    """Settings after preset; assigning to one that shapes the stimulus makes averaging start again.

    Parameters
    ----------
    number : int
    n_ports : int
    family : Family
    """

    def __init__(self, number: int, n_ports: int, family: Family) -> None:
        self.number, self.n_ports, self.family = number, n_ports, family
        self.start_hz, self.stop_hz, self.points, self.cw_hz = family.lowest_hz, family.highest_hz, 201, 1e9
        self.sweep_type = "LIN"
        self.if_bandwidth_hz = family.preset_if_bandwidth_hz
        self.dwell_s = 0.0
        self.asked_sweep_s: float | None = None
        self.averaging, self.average_count, self.average_mode = False, 1, "SWE"
        self.coupled = True
        self.sloped, self.slope_db = False, 0.0  # a GHz
        self.powers_dbm = dict.fromkeys(range(1, n_ports + 1), family.preset_dbm)
        self.segments = [self.new_segment(family.lowest_hz, family.highest_hz, on=True)]
        self.arbitrary = self.segment_bandwidths = self.segment_powers = False
        self.mode, self.group_count, self.triggers_left = "CONT", 1, 0
        self.selected: Measurement | None = None
        self.calset: str | None = None
        self.corrected, self.interpolated = False, True
        self.extended, self.extensions_s = False, dict.fromkeys(range(1, n_ports + 1), 0.0)
        self.traces: Traces = {}
        self.pending: Traces | None = None
        self.ready_s = 0.0

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in _STIMULUS:
            self.changed()

    def changed(self) -> None:
        """The stimulus is another one: averaging starts again; traces show what they showed until the next sweep."""
        self._blocks: list[_Block] | None = None
        self._frequencies: NDArray[np.float64] | None = None
        self.swept = 0

    # -- stimulus ------------------------------------------------------------------------------------------------

    def new_segment(self, start_hz: float, stop_hz: float, points: int = 21, *, on: bool = False) -> Segment:
        """A segment with the family's other defaults."""
        family = self.family
        return Segment(on, points, start_hz, stop_hz, family.preset_if_bandwidth_hz, family.preset_dbm)

    @property
    def blocks(self) -> list[_Block]:
        if self._blocks is None:
            self._blocks = self._segment_blocks() if self.sweep_type == "SEGM" else [self._block()]
        return self._blocks

    def _block(self) -> _Block:
        if self.sweep_type in ("CW", "POIN"):
            frequencies = np.full(self.points, self.cw_hz)
        elif self.sweep_type == "LOG":
            frequencies = np.geomspace(self.start_hz, self.stop_hz, self.points)
        else:
            frequencies = np.linspace(self.start_hz, self.stop_hz, self.points)
        return _Block(frequencies, self.if_bandwidth_hz)

    def _segment_blocks(self) -> list[_Block]:
        def settings(segment: Segment) -> tuple[float, float | None]:
            return (
                segment.if_bandwidth_hz if self.segment_bandwidths else self.if_bandwidth_hz,
                segment.power_dbm if self.segment_powers else None,
            )

        blocks = []
        for (bandwidth, power), together in itertools.groupby((s for s in self.segments if s.on), settings):
            parts = [np.linspace(s.start_hz, s.stop_hz, s.points) for s in together]
            blocks.append(_Block(np.concatenate(parts), bandwidth, power))
        return blocks

    @property
    def frequencies_hz(self) -> NDArray[np.float64]:
        """Stimulus values, (points,)."""
        if self._frequencies is None:
            self._frequencies = np.concatenate([block.frequencies_hz for block in self.blocks])
        return self._frequencies

    @property
    def fastest_sweep_s(self) -> float:
        """Least time for one sweep from one source port."""
        per_point = sum(
            len(b.frequencies_hz) * (1 / b.if_bandwidth_hz + self.family.step_s + self.dwell_s) for b in self.blocks
        )
        return per_point * (self.average_count if self.averaging and self.average_mode == "POIN" else 1)

    @property
    def sweep_s(self) -> float:
        return max(self.fastest_sweep_s, self.asked_sweep_s or 0.0)

    # -- sweeping ------------------------------------------------------------------------------------------------

    def sweep(self, world: NetworkPort, pairs: list[Pair], count: int, *, rf: bool) -> Traces:
        """Sweep `count` times and return what the traces show afterwards, (points,) each."""
        if not self.averaging:
            return self._swept(world, pairs, rf=rf)
        if self.average_mode == "POIN":
            return self._swept(world, pairs, rf=rf, averages=self.average_count)
        shown = {pair: self.traces[pair] for pair in pairs if pair in self.traces} if self.swept else {}
        before = self.swept if len(shown) == len(pairs) else 0
        fresh = min(count, self.average_count - before)
        if fresh:
            new = self._swept(world, pairs, rf=rf, averages=fresh)
            weight = fresh / (before + fresh)
            shown = {pair: (1 - weight) * shown[pair] + weight * new[pair] for pair in pairs} if before else new
        if later := count - fresh:
            # n sweeps more with new/N + old (N - 1)/N: their weights sum up to w, and average like w^2/sum of squares.
            keep = 1 - 1 / self.average_count
            weight = 1 - keep**later
            squares = (1 - keep ** (2 * later)) / (1 - keep**2) / self.average_count**2
            new = self._swept(world, pairs, rf=rf, averages=max(1, round(weight**2 / squares)))
            shown = {pair: (1 - weight) * shown[pair] + weight * new[pair] for pair in pairs}
        self.swept = before + fresh
        return shown

    def _swept(self, world: NetworkPort, pairs: list[Pair], *, rf: bool, averages: int = 1) -> Traces:
        parts = [self._block_swept(world, pairs, block, rf, averages) for block in self.blocks]
        rows = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        if self.extended:
            phase = 2j * math.pi * self.frequencies_hz
            delays = [self.extensions_s[to] + self.extensions_s[source] for to, source in pairs]
            rows = rows * np.exp(phase * np.array(delays)[:, None])
        return dict(zip(pairs, rows, strict=True))

    def _block_swept(
        self, world: NetworkPort, pairs: list[Pair], block: _Block, rf: bool, averages: int
    ) -> NDArray[np.complex128]:
        # With a slope, the power is everywhere that at the last frequency, the highest.
        more = self.slope_db * float(block.frequencies_hz[-1]) / 1e9 if self.sloped else 0.0
        powers = [
            (self.powers_dbm[source] if block.power_dbm is None else block.power_dbm) + more for _, source in pairs
        ]
        rows = np.empty((len(pairs), len(block.frequencies_hz)), dtype=np.complex128)
        for power in dict.fromkeys(powers):
            at = [index for index, other in enumerate(powers) if other == power]
            rows[at] = world.sweep(
                block.frequencies_hz,
                [pairs[index] for index in at],
                if_bandwidth_hz=block.if_bandwidth_hz,
                power_dbm=power if rf else None,
                averages=averages,
            )
        return rows


@dataclass
class CalSet:
    """A stored calibration.

    Parameters
    ----------
    name, description : str
    date : (year, month, day)
    time : (hour, minute, second)
    kind : str
        Cal type: ``Full 2 Port(1,2)``.
    guid : str
    """

    name: str
    date: tuple[int, int, int]
    time: tuple[int, int, int] = (12, 0, 0)
    description: str = ""
    kind: str = "Full 2 Port(1,2)"
    guid: str = field(default="{FD6F863E-9719-11D5-8D6C-00108334AE96}")
