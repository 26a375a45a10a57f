"""LibreVNA through the SCPI server of LibreVNA-GUI (TCP port 19542), after its programming guide and ``scpi.cpp``.

A shot is: stop, run, ask until it is finished, stop, read the traces as text of six digits. Its source is on only while
it sweeps. Traces of its own are read; what the GUI shows, and its calibration, stay as they are.

It knows ``*ESE``, ``*ESR?`` and ``*CLS``, but no error queue: what it did not follow shows in the event register.
``*OPC?`` is answered whenever all is done, out of turn, so that no answer could be told from another's; it is not used.
One that an earlier program left waiting is taken back with ``*CLS`` before anything is measured.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labtrain.drivers.emulators.simulation import written
from labtrain.drivers.instrument import Command
from labtrain.drivers.scpi import Identity, ScpiInstrument, integer, text
from labtrain.drivers.vna.calibration import Calibration
from labtrain.drivers.vna.grid import Grid, contiguous
from labtrain.drivers.vna.vna import Frequencies, Sweep, Vna, VnaConfig
from labtrain.errors import InputError, InstrumentError, LinkTimeout
from labtrain.limits import Limit, shown

PREFIX = "LABTRAIN_"  # of traces defined here
POINT_S = 1e-4  # to move its sources to the next point, with a margin

_OFF = ":VNA:ACQ:STOP;:DEV:MODE VNA;:VNA:ACQ:RUN?"
_STOP_S = 0.5
_EVENTS = {
    32: (-100, "Command error"), 16: (-200, "Execution error"), 8: (-300, "Device-specific error"),
    4: (-400, "Query error"),
}  # fmt: skip
_LEAST_WAIT_S = 2e-3
_DIGITS = 1e-5  # of frequencies that older versions write with six digits


def _truth(answer: str) -> bool:
    found = {"TRUE": True, "FALSE": False}.get(answer.strip().upper())
    if found is None:
        raise ValueError(answer)
    return found


def _word(answer: str) -> str:
    return text(answer).upper()


class LibreVna(Vna, ScpiInstrument):
    """A LibreVNA behind its GUI. RF on means that sweeps may be made: its source is on only during them."""

    class Config(VnaConfig):
        """Settings of a LibreVNA."""

        driver: Literal["librevna"] = "librevna"

    EMULATOR = "labtrain.drivers.emulators.vna.libre_vna:LibreVnaEmulator"
    MODELS = r"LibreVNA,LibreVNA-GUI"
    MODELS_TOLD = "LibreVNA through LibreVNA-GUI (a version that tells the device in *IDN?)"
    TRIED_ON = "emulator, after the GUI's source"
    by_hand = "press stop in LibreVNA-GUI, or unplug the device"

    if_bandwidth_range = Limit(1, 1e6, "Hz")
    points_range = Limit(2, 65_535)
    config: Config

    sweep_of = Command("kind of sweep", ":VNA:SWEEP?", ":VNA:SWEEP {}", cast=_word, choices=("FREQUENCY", "POWER"))
    sweep_type = Command("sweep type", ":VNA:SWEEPTYPE?", ":VNA:SWEEPTYPE {}", cast=_word, choices=("LIN", "LOG"))
    start_hz = Command(
        "start frequency", ":VNA:FREQ:START?", ":VNA:FREQ:START {}", cast=float, unit="Hz", limits="frequency_limits"
    )
    stop_hz = Command(
        "stop frequency", ":VNA:FREQ:STOP?", ":VNA:FREQ:STOP {}", cast=float, unit="Hz", limits="frequency_limits"
    )
    points = Command("points", ":VNA:ACQ:POINTS?", ":VNA:ACQ:POINTS {}", cast=integer, limits="points_range")
    if_bandwidth_hz = Command(
        "IF bandwidth", ":VNA:ACQ:IFBW?", ":VNA:ACQ:IFBW {}", cast=float, unit="Hz", limits="if_bandwidth_range"
    )
    averages = Command("number of averages", ":VNA:ACQ:AVG?", ":VNA:ACQ:AVG {}", cast=integer, limits=Limit(0, 65536))
    power_dbm = Command("power", ":VNA:STIM:LVL?", ":VNA:STIM:LVL {}", cast=float, unit="dBm", limits="power_limits")
    single = Command(
        "single sweep", ":VNA:ACQ:SINGLE?", ":VNA:ACQ:SINGLE {}", cast=_truth, choices=(True, False), kept=False,
        doc="Not put back: that would begin a sweep.",
    )  # fmt: skip
    running = Command("sweeping", ":VNA:ACQ:RUN?", cast=_truth, doc="Its source is on while it sweeps.", kept=False)

    _grid = Grid(0.0, 0.0, 0)
    _sweep_s = 0.0

    # -- errors and the fence ------------------------------------------------------------------------------------

    def _emptied_queue(self) -> tuple[tuple[int, str], ...]:
        try:
            with self.link.exchange():
                self.link.write(b"*ESR?\n")
                answer = self.link.read_until(b"\n").decode("ascii", "backslashreplace").strip()
        except LinkTimeout as error:
            raise self.unanswered("*ESR?", error) from error
        try:
            events = int(answer)
        except ValueError:
            raise self.confused("*ESR?", answer, "the event register") from None
        return tuple(report for bit, report in _EVENTS.items() if events & bit)

    def _synchronise(self) -> None:
        if not self._explaining:
            self.link.write(b"\n*CLS\n")  # no answer out of turn is to come any more
        super()._synchronise()

    # -- setting up ----------------------------------------------------------------------------------------------

    def _check_identity(self, identity: str) -> None:
        super()._check_identity(identity)
        if Identity.parse(identity).serial.lower() == "not connected":
            raise InstrumentError(
                f"{self.name}: LibreVNA-GUI answers and has no device; plug the LibreVNA in and connect it in the GUI"
            )

    def _prepare(self) -> None:
        self.link.dirty = True  # what an earlier program asked for may still be answered
        super()._prepare()
        self.frequency_range = self._range("F", "Hz")
        self.power_range = self._range("POW", "dBm")
        self._bandwidths = self._range("IFBW", "Hz")
        self._most_points = self.ask_as(integer, ":DEV:INF:LIM:MAXP?")
        self.n_ports = 2

    def _range(self, what: str, unit: str) -> Limit:
        low, high = (self.ask_as(float, f":DEV:INF:LIM:{end}{what}?") for end in ("MIN", "MAX"))
        return Limit(low, high, unit)

    def check(self, frequencies_hz: ArrayLike) -> Frequencies:
        """As of any VNA; also what this one cannot do, once that is known."""
        frequencies, key = super().check(frequencies_hz), f"rig.{self.link.who}"
        if self.n_ports is not None:
            remedy = f"set {key}.if_bandwidth_hz"
            self._bandwidths.check(self.config.if_bandwidth_hz, who=self.name, what="IF bandwidth", remedy=remedy)
            points = "measure at fewer frequencies (rig.frequencies_hz)"
            Limit(2, self._most_points).check(len(frequencies), who=self.name, what="points", remedy=points)
        if not float(self.config.if_bandwidth_hz).is_integer():
            raise InputError(
                f"{self.name}: asked IF bandwidth {self.config.if_bandwidth_hz:g} Hz, it takes whole hertz; "
                f"set {key}.if_bandwidth_hz"
            )
        self._contiguous(frequencies)
        return frequencies

    def _contiguous(self, frequencies: Frequencies) -> Grid:
        return contiguous(frequencies, 1.0, self.name, "set rig.frequencies_hz")

    def _configure(self, frequencies_hz: Frequencies) -> None:
        config, grid = self.config, self._contiguous(frequencies_hz)
        self._sweep_s = 2 * grid.points * (1 / config.if_bandwidth_hz + POINT_S) * config.averages
        self.fence_timeout_s = self.link.timeout_s
        self.sweep_of, self.sweep_type, self.single = "FREQUENCY", "LIN", False
        self.start_hz, self.stop_hz, self.points = grid.start_hz, grid.stop_hz, grid.points
        self.if_bandwidth_hz, self.averages, self.power_dbm = config.if_bandwidth_hz, config.averages, config.power_dbm
        self._define_traces()
        self.check_errors()
        for name, wanted, digits in (
            ("sweep_of", "FREQUENCY", 0), ("sweep_type", "LIN", 0), ("single", False, 0),
            ("start_hz", grid.start_hz, 0), ("stop_hz", grid.stop_hz, 0), ("points", grid.points, 0),
            ("averages", config.averages, 0),
            ("if_bandwidth_hz", config.if_bandwidth_hz, _DIGITS), ("power_dbm", config.power_dbm, _DIGITS),
        ):  # fmt: skip
            self._confirm(name, wanted, digits)
        self._grid = grid

    def _confirm(self, name: str, wanted: Any, digits: float) -> None:
        found = getattr(self, name)
        same = found == wanted if isinstance(wanted, str | bool) else abs(found - wanted) <= digits * abs(wanted)
        if not same:
            command = self.commands()[name]
            asked, took = (shown(v, command.unit) if isinstance(v, float) else str(v) for v in (wanted, found))
            raise InstrumentError(
                f"{self.name}: asked {command.what} {asked}, took {took}; check what is set in LibreVNA-GUI, and "
                f"rig.{self.link.who}"
            )

    def _define_traces(self) -> None:
        there = {name.upper() for name in text(self.ask(":VNA:TRAC:LIST?")).split(",")}
        for s in self.config.s_parameters:
            name = PREFIX + s
            if name not in there:
                self.tell(f":VNA:TRAC:NEW {name}")
            self.tell(f":VNA:TRAC:PARAM {name} {s}")
            self.tell(f":VNA:TRAC:TYPE {name} OVERWRITE")
            self.tell(f":VNA:TRAC:RESUME {name}")
            if (found := _word(self.ask(f":VNA:TRAC:PARAM? {name}"))) != s:
                raise self.confused(f":VNA:TRAC:PARAM? {name}", found, s)

    # -- measuring -----------------------------------------------------------------------------------------------

    @property
    def sweep_s(self) -> float:
        return self._sweep_s

    def _sweep(self) -> Sweep:
        finished = self.ask(":VNA:ACQ:STOP;:VNA:ACQ:RUN;:VNA:ACQ:FIN?")
        until_s = self.clock.monotonic() + self.link.timeout_s + 2 * self._sweep_s
        while not self._is_true(":VNA:ACQ:FIN?", finished):
            if self.clock.monotonic() > until_s:
                self.link.dirty = True
                raise LinkTimeout(
                    f"{self.name}: waited {self.link.timeout_s + 2 * self._sweep_s:g} s for the end of the sweep; "
                    f"check in LibreVNA-GUI that it sweeps, or raise rig.{self.link.who}.timeout_s"
                )
            self.clock.sleep(max(_LEAST_WAIT_S, self._sweep_s / 20))
            finished = self.ask(":VNA:ACQ:FIN?")
        self.tell(":VNA:ACQ:STOP")
        data = np.array([self._trace(s) for s in self.config.s_parameters])
        for question, problem in (
            (":DEV:STA:ADCOVER?", "its receivers are overloaded; lower the power, or attenuate"),
            (":DEV:STA:UNLO?", "its sources are not locked; check its supply and its reference"),
        ):
            if self._is_true(question, self.ask(question)):
                raise InstrumentError(f"{self.name}: reports {question!r} TRUE: {problem} (rig.{self.link.who})")
        self.check_errors()
        return data

    def _is_true(self, question: str, answer: str) -> bool:
        try:
            return _truth(answer)
        except ValueError:
            raise self.confused(question, answer, "TRUE or FALSE") from None

    def _trace(self, s: str) -> NDArray[np.complex128]:
        question = f":VNA:TRAC:DATA? {PREFIX}{s}"
        answer = self.ask(question)
        try:
            return _parsed(answer, self._grid)
        except ValueError as error:
            raise self.confused(question, str(error), f"{self._grid.points} points") from None

    def calibration(self) -> Calibration:
        kind = text(self.ask(":VNA:CAL:ACTIVE?"))
        self.check_errors()
        off = kind.upper().startswith("NONE") or not kind
        return Calibration(not off, "" if off else kind)

    # -- RF ------------------------------------------------------------------------------------------------------

    def _switch(self, on: bool) -> None:
        if on:
            return  # with the next sweep, and for as long as that takes
        answer = self.ask(_OFF)
        self.check_errors()
        if self._is_true(_OFF, answer):
            raise InstrumentError(f"{self.name}: asked {_OFF!r} for RF off, got {answer!r}; see LibreVNA-GUI")

    def _say_off(self) -> None:
        if self.link.dirty:
            # The order leaves first: bringing the link back in step may take longer than anybody should radiate.
            self.link.send_anyway(b"\n:VNA:ACQ:STOP\n")
        patience_s, self.fence_timeout_s = self.fence_timeout_s, _STOP_S
        try:
            with self.link.exchange():
                self.link.write(f"{_OFF}\n".encode("ascii"))
                answer = self.link.read_until(b"\n", _STOP_S).strip()
        finally:
            self.fence_timeout_s = patience_s
        if answer.upper() != b"FALSE":
            raise self.confused(_OFF, answer, "RF off")

    # -- simulation ----------------------------------------------------------------------------------------------

    def simulate_disturb(self, shot: int, name: str, values: dict[str, Any]) -> None:
        self._simulate(f"SIM:DIST {written(shot, name, values).encode('utf-8').hex()}")

    # -- settings ------------------------------------------------------------------------------------------------

    def restore(self, settings: dict[str, Any]) -> None:
        for name in text(self.ask(":VNA:TRAC:LIST?")).split(","):
            if name.upper().startswith(PREFIX):
                self.tell(f":VNA:TRAC:DEL {name}")
        self._emptied_queue()  # older versions cannot delete traces; they stay, and are used again
        super().restore(settings)


def _parsed(answer: str, grid: Grid) -> NDArray[np.complex128]:
    """Values of ``[f,re,im],[f,re,im]``, (points,), at the frequencies of a sweep.

    Raises
    ------
    ValueError
        Saying what is there instead.
    """
    if not (answer.startswith("[") and answer.endswith("]")):
        raise ValueError(answer if len(answer) < 60 else f"{answer[:60]}...")
    rows = [row.split(",") for row in answer[1:-1].split("],[")]
    if len(rows) != grid.points or any(len(row) != 3 for row in rows):
        raise ValueError(f"{len(rows)} points, the first [{','.join(rows[0])}]")
    values = np.array(rows, dtype=np.float64)
    # The device cuts off what is not a whole hertz.
    allowed = 1.0 + np.array(
        [_DIGITS * abs(f) if "e" in row[0] else 0.0 for row, f in zip(rows, values[:, 0], strict=True)]
    )
    off = np.abs(values[:, 0] - grid.frequencies_hz)
    if not (off <= allowed).all():
        wrong = int(np.argmax(off > allowed))
        raise ValueError(f"{values[wrong, 0]:.12g} Hz in place of {grid.frequencies_hz[wrong]:.12g} Hz")
    return np.ascontiguousarray(values[:, 1:]).view(np.complex128)[:, 0]
