"""LibreVNA as other programs meet it: LibreVNA-GUI with a device, on TCP port 19542, in front of a world.

After the programming guide (ProgrammingGuide.tex) and ``VNA/vna.cpp``, ``Traces/tracewidget.cpp`` and ``appwindow.cpp``
of github jankae/LibreVNA. It sweeps while it runs, and begins anew, with empty traces, whenever it is told to run or a
setting changes; a stopped one is idle, and its source off. Values have six digits. Here a sweep is measured when
somebody asks for what it has measured; one that runs on without being asked measures anew for a trace that was read.

``SIMulation:RESTart SEED`` and ``SIMulation:SHOT NUMBER`` are this emulator's own.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from labtrain.clock import Clock
from labtrain.drivers.emulators.emulator import Reply
from labtrain.drivers.emulators.ports import NetworkPort
from labtrain.drivers.emulators.simulation import carry_out
from labtrain.drivers.emulators.vna.libre_vna_scpi import (
    LibreVnaScpi,
    Question,
    Refused,
    Words,
    number,
    switch,
    told,
    whole,
    written,
)
from labtrain.drivers.scpi import EMULATOR
from labtrain.errors import InputError

LOWEST_HZ, HIGHEST_HZ = 100_000, 6_000_000_000
LOWEST_IFBW_HZ, HIGHEST_IFBW_HZ = 10, 50_000
LOWEST_DBM, HIGHEST_DBM = -40.0, 0.0
MOST_POINTS = 4501
POINT_S = 6e-5  # to move the sources to the next point
VERSION = "1.6.4"
PARAMETERS = ("S11", "S12", "S21", "S22")


@dataclass
class Trace:
    """A trace of the GUI."""

    name: str
    parameter: str
    type: str = "Overwrite"
    paused: bool = False
    frequencies_hz: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    values: NDArray[np.complex128] = field(default_factory=lambda: np.empty(0, dtype=np.complex128))


class LibreVnaEmulator(LibreVnaScpi):
    """The GUI and its device in front of a world.

    Parameters
    ----------
    network : NetworkPort
        With at least two ports.
    clock : Clock
        Read with `timing` alone.
    timing : bool
        Sweeps take their time; otherwise they are over at once.

    Raises
    ------
    InputError
        If the world has one port alone.
    """

    def __init__(self, network: NetworkPort, clock: Clock, *, timing: bool = False) -> None:
        if network.n_ports < 2:
            raise InputError(
                f"emulated LibreVNA: it has 2 ports, the simulated network {network.n_ports}; simulate more"
            )
        super().__init__()
        self.network, self.clock, self.timing = network, clock, timing
        self._declare()
        self._start()

    def _start(self) -> None:
        self.events, self.mask, self._begun = 0, 0xFF, b""
        self.mode, self.sweep, self.log = "VNA", "FREQUENCY", False
        self.start_hz, self.stop_hz, self.points = 1_000_000, 6_000_000_000, 501
        self.ifbw_hz, self.level_dbm, self.averages = 1000.0, -10.0, 1
        self.single, self.running = False, True
        self.calibration = "None"
        self.traces = [Trace(parameter, parameter) for parameter in PARAMETERS]
        self._changed()

    def reboot(self) -> list[Reply]:
        """The GUI ends and is started again: settings are lost, and so is the connection."""
        self._start()
        return [(0.0, None)]

    # -- sweeping ------------------------------------------------------------------------------------------------

    @property
    def frequencies_hz(self) -> NDArray[np.int64]:
        """Of a sweep, (points,)."""
        steps = np.arange(self.points, dtype=np.int64)
        return self.start_hz + (self.stop_hz - self.start_hz) * steps // (self.points - 1)

    @property
    def duration_s(self) -> float:
        """Of all sweeps that are averaged, from each port in turn."""
        sources = {trace.parameter[2] for trace in self.traces}
        return self.points * len(sources) * (1 / self.ifbw_hz + POINT_S) * self.averages

    def _now(self) -> float:
        return self.clock.monotonic() if self.timing else 0.0

    def _changed(self) -> None:
        """A setting of the sweep changed: while it runs, it begins anew."""
        self._owed = False
        if self.running:
            self._settled = False
            self._begun_s = self._now()
            self._read: set[str] = set()
            for trace in self.traces:
                if not trace.paused:
                    trace.frequencies_hz, trace.values = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.complex128)

    @property
    def _due(self) -> bool:
        """Whether a sweep under way is over by now."""
        over = not self.timing or self._now() >= self._begun_s + self.duration_s
        return self.running and over and self.mode == "VNA"

    def _advance(self) -> None:
        """Measure what should have been measured by now."""
        if self._settled or not (self._owed or self._due):
            return
        self._settled, self._owed, frequencies = True, False, self.frequencies_hz
        live = [trace for trace in self.traces if not trace.paused]
        pairs = sorted({(int(trace.parameter[1]), int(trace.parameter[2])) for trace in live})
        values = self.network.sweep(
            frequencies, pairs, if_bandwidth_hz=self.ifbw_hz, power_dbm=self.level_dbm, averages=max(1, self.averages)
        )
        found = {f"S{to}{source}": row for (to, source), row in zip(pairs, values, strict=True)}
        for trace in live:
            trace.frequencies_hz, trace.values = frequencies, found[trace.parameter]
        if self.single:
            self.running = False

    def _finished(self, words: Words) -> str:  # noqa: ARG002 (takes none)
        self._advance()
        return told(self._settled)

    def _run(self, words: Words) -> None:  # noqa: ARG002 (takes none)
        self.running = True
        self._changed()

    def _stop(self, words: Words) -> None:  # noqa: ARG002 (takes none)
        self._owed = not self._settled and self._due
        self.running = False

    def _set_single(self, words: Words) -> None:
        single = switch(words)
        begins = single and (not self.single or not self.running)
        self.single = single
        if begins:
            self._run(words)

    # -- settings ------------------------------------------------------------------------------------------------

    def _set_start(self, words: Words) -> None:
        self._span(whole(words), max(self.stop_hz, whole(words)))

    def _set_stop(self, words: Words) -> None:
        self._span(min(self.start_hz, whole(words)), whole(words))

    def _span(self, start_hz: int, stop_hz: int) -> None:
        self.stop_hz = min(stop_hz, HIGHEST_HZ)
        self.start_hz = max(min(start_hz, self.stop_hz), LOWEST_HZ)
        self._changed()

    def _set_points(self, words: Words) -> None:
        self.points = max(2, min(whole(words), MOST_POINTS))
        self._changed()

    def _set_ifbw(self, words: Words) -> None:
        self.ifbw_hz = float(max(LOWEST_IFBW_HZ, min(whole(words), HIGHEST_IFBW_HZ)))
        self._changed()

    def _set_averages(self, words: Words) -> None:
        self.averages = whole(words)
        self._changed()

    def _set_level(self, words: Words) -> None:
        self.level_dbm = max(LOWEST_DBM, min(number(words), HIGHEST_DBM))
        self._changed()

    def _set_sweep(self, words: Words) -> None:
        if words[:1] not in (["FREQUENCY"], ["POWER"]):
            raise Refused
        self.sweep = words[0]
        self._changed()

    def _set_log(self, words: Words) -> None:
        if words[:1] not in (["LIN"], ["LOG"]):
            raise Refused
        self.log = words[0] == "LOG"
        self._changed()

    def _set_mode(self, words: Words) -> None:
        if words[:1] not in (["VNA"], ["GEN"], ["SA"]):
            raise Refused
        self.mode = words[0]
        self._changed()

    # -- traces --------------------------------------------------------------------------------------------------

    def _trace(self, words: Words) -> Trace:
        for index, trace in enumerate(self.traces):
            if words[:1] == [trace.name.upper()] or words[:1] == [str(index)]:
                return trace
        raise Refused

    def _data(self, words: Words) -> str:
        self._advance()
        trace = self._trace(words)
        if self.running and self._settled and trace.name in self._read and not trace.paused:
            self._settled, self._read = False, set()
            self._advance()
        self._read.add(trace.name)
        points = zip(trace.frequencies_hz, trace.values, strict=True)
        return ",".join(f"[{f},{written(s.real)},{written(s.imag)}]" for f, s in points) or "EMPTY"

    def _new_trace(self, words: Words) -> None:
        if len(words) != 1:
            raise Refused
        self.traces.append(Trace(words[0], "S11"))
        self._changed()

    def _delete_trace(self, words: Words) -> None:
        self.traces.remove(self._trace(words))

    def _set_parameter(self, words: Words) -> None:
        trace = self._trace(words)
        if len(words) < 2 or words[1] not in PARAMETERS:
            raise Refused
        trace.parameter = words[1]
        self._changed()

    def _set_type(self, words: Words) -> None:
        trace = self._trace(words)
        types = {name.upper(): name for name in ("Overwrite", "MaxHold", "MinHold")}
        if len(words) < 2 or words[1] not in types:
            raise Refused
        trace.type = types[words[1]]

    def _pause(self, words: Words) -> None:
        self._trace(words).paused = True

    def _resume(self, words: Words) -> None:
        self._trace(words).paused = False
        self._changed()

    # -- the tree ------------------------------------------------------------------------------------------------

    def _declare(self) -> None:
        add = self.add
        add("*IDN", None, lambda _: f"LibreVNA,LibreVNA-GUI,{EMULATOR},{VERSION}")
        add("*RST", lambda _: self._start())
        add("*OPC", lambda _: None, lambda _: self._completed())
        add("*WAI", lambda _: None)
        add("DEVice:CONNect", lambda _: None, lambda _: EMULATOR)
        add("DEVice:LIST", None, lambda _: EMULATOR)
        add("DEVice:MODE", self._set_mode, lambda _: self.mode)
        for flag in ("UNLOcked", "ADCOVERload", "UNLEVel"):
            add(f"DEVice:STAtus:{flag}", None, lambda _: "FALSE")
        add("DEVice:INFo:FWREVision", None, lambda _: VERSION)
        add("DEVice:INFo:HWREVision", None, lambda _: "B")
        for name, value in {
            "MINFrequency": LOWEST_HZ, "MAXFrequency": HIGHEST_HZ, "MINIFBW": LOWEST_IFBW_HZ,
            "MAXIFBW": HIGHEST_IFBW_HZ, "MAXPoints": MOST_POINTS, "MINPOWer": LOWEST_DBM, "MAXPOWer": HIGHEST_DBM,
        }.items():  # fmt: skip
            add(f"DEVice:INFo:LIMits:{name}", None, _constant(value))
        add("VNA:SWEEP", self._set_sweep, lambda _: self.sweep)
        add("VNA:SWEEPTYPE", self._set_log, lambda _: "LOG" if self.log else "LIN")
        add("VNA:FREQuency:START", self._set_start, lambda _: str(self.start_hz))
        add("VNA:FREQuency:STOP", self._set_stop, lambda _: str(self.stop_hz))
        add("VNA:ACQuisition:RUN", self._run, lambda _: told(self.running))
        add("VNA:ACQuisition:STOP", self._stop)
        add("VNA:ACQuisition:IFBW", self._set_ifbw, lambda _: written(self.ifbw_hz))
        add("VNA:ACQuisition:POINTS", self._set_points, lambda _: str(self.points))
        add("VNA:ACQuisition:AVG", self._set_averages, lambda _: str(self.averages))
        add("VNA:ACQuisition:AVGLEVel", None, lambda w: str(self.averages if self._finished(w) == "TRUE" else 0))
        add("VNA:ACQuisition:FINished", None, self._finished)
        add("VNA:ACQuisition:LIMit", None, lambda _: "PASS")
        add("VNA:ACQuisition:SINGLE", self._set_single, lambda _: told(self.single))
        add("VNA:STIMulus:LVL", self._set_level, lambda _: written(self.level_dbm))
        add("VNA:TRACe:LIST", None, lambda _: ",".join(trace.name for trace in self.traces))
        add("VNA:TRACe:DATA", None, self._data)
        add("VNA:TRACe:NEW", self._new_trace)
        add("VNA:TRACe:DELete", self._delete_trace)
        add("VNA:TRACe:PARAMeter", self._set_parameter, lambda words: self._trace(words).parameter)
        add("VNA:TRACe:TYPE", self._set_type, lambda words: self._trace(words).type)
        add("VNA:TRACe:PAUSE", self._pause)
        add("VNA:TRACe:RESUME", self._resume)
        add("VNA:TRACe:PAUSED", None, lambda words: told(self._trace(words).paused))
        add("VNA:CALibration:ACTIVE", None, lambda _: self.calibration)
        add("SIMulation:RESTart", lambda words: self.network.restart(whole(words)))
        add("SIMulation:SHOT", lambda words: self.network.begin_shot(whole(words)))
        add("SIMulation:DISTurb", self._disturb)

    def _disturb(self, words: Words) -> None:
        try:  # in hexadecimal digits: the parser makes capitals of all others
            carry_out(self.network, bytes.fromhex(words[0]).decode("utf-8"))
        except (IndexError, ValueError, InputError):
            raise Refused from None

    def _completed(self) -> str:
        """``*OPC?``: the one answer that waits. Those after it wait too, which is not so in the GUI."""
        self._advance()
        if self.running and not self._settled:
            self.wait_s = max(0.0, self._begun_s + self.duration_s - self._now())
        return "1"


def _constant(value: float) -> Question:
    return lambda _: written(value)
