"""NanoVNA and NanoVNA-H of the first generation, after the sources of their firmwares.

Firmwares: github ttrftech/NanoVNA, DiSlord/NanoVNA-D, hugen79/NanoVNA-H. A shot is ``scan start stop points mask``,
answered by a line a point: frequency and what the mask asks for. Firmware without the mask is asked for
``frequencies``, ``data 0`` and ``data 1`` after the scan: the same numbers of the same scan. Averages are made here, of
complex numbers.

Its source cannot be switched off by command. Safe is the most that is possible: it sweeps no more, its lowest drive
where the firmware can set one, at 50 kHz, which no antenna for microwaves radiates. It stays so when it is let go.
"""

from __future__ import annotations

import re
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from labtrain.clock import Clock
from labtrain.drivers.link import Link
from labtrain.drivers.vna.calibration import Calibration
from labtrain.drivers.vna.grid import Grid, contiguous
from labtrain.drivers.vna.nano_vna_firmware import (
    EMULATED,
    Abilities,
    Bandwidth,
    abilities_of,
    delays_of,
    identity_of,
    parse_scan,
)
from labtrain.drivers.vna.nano_vna_shell import TAKE_BACK, NanoVnaShell
from labtrain.drivers.vna.vna import Frequencies, Sweep, Vna, VnaConfig
from labtrain.errors import InputError, InstrumentError, LinkDesync, LinkRefused, LinkTimeout
from labtrain.limits import Limit

PARKED_HZ = 50_000  # the lowest that all firmwares take
CHANNEL_S = 3e-3  # to move the source and switch between reflection and transmission, with a margin

_STOP_S = 0.5
_MODELS = re.compile(rf"NanoVNA(-H ?4?)?( {EMULATED})?,.*", re.IGNORECASE)
_LOWEST_DRIVE = 0
_DRIVES = {2: 0, 4: 1, 6: 2, 8: 3}  # SI5351_CLK_DRIVE_STRENGTH_2MA and so on


class NanoVna(Vna, NanoVnaShell):
    """A NanoVNA or NanoVNA-H on its USB serial port. RF off means parked: its source stays on, at 50 kHz."""

    class Config(VnaConfig):
        """Settings of a NanoVNA."""

        driver: Literal["nanovna"] = "nanovna"
        drive_ma: Literal["auto", 2, 4, 6, 8] = Field(
            "auto", description="drive of the source in mA, not calibrated in dBm; auto: as the firmware has it"
        )

    EMULATOR = "labtrain.drivers.emulators.vna.nano_vna:NanoVnaEmulator"
    MODELS_TOLD = "NanoVNA, NanoVNA-H and NanoVNA-H4 (text console; firmware with scan)"
    TRIED_ON = "emulator, after its firmware; pynanovna, QCoDeS, rf-bench and nvnapython read the same emulator"
    USB_IDS = ((0x0483, 0x5740),)
    OFF_TOLD = "park its source"
    by_hand = "unplug it and switch it off: its source cannot be switched off by command"

    if_bandwidth_range = Limit(10, 8000, "Hz")
    points_range = Limit(2, 10_000)
    POWER_RANGE = Limit(-13, -9, "dBm")  # of its source, as sold; not calibrated
    config: Config

    def __init__(self, link: Link, config: Config, clock: Clock) -> None:
        super().__init__(link, config, clock)
        self.power_range = self.POWER_RANGE
        self.n_ports = 2
        self._can: Abilities | None = None
        self._corrected = False
        self._both = True  # whether both channels are measured
        self._parts: tuple[Grid, ...] = ()
        self._sweep_s = 0.0

    # -- identity ------------------------------------------------------------------------------------------------

    @property
    def emulated(self) -> bool:
        """Whether its board says that it is an emulator."""
        return EMULATED in self.identity

    def _identify(self) -> str:
        try:
            info = self.ask_if_known("info")
            return identity_of(info, self.ask("version"))
        except (LinkTimeout, LinkDesync) as error:
            why = str(error.__cause__ or error).removeprefix(f"{self.name}: ")
            raise LinkRefused(
                f"{self.name}: no NanoVNA with a text console answered ({why}); check {self.link.where} and that it "
                "is switched on"
            ) from error

    @classmethod
    def fits(cls, identity: str) -> bool:
        return _MODELS.fullmatch(identity) is not None

    def _check_identity(self, identity: str) -> None:
        if not self.fits(identity):
            raise InstrumentError(
                f"{self.name}: {identity!r} answers, and driver nanovna is for {self.MODELS_TOLD}; correct "
                f"{self.link.where} or rig.{self.link.who}.driver, or set rig.{self.link.who}.identity to any"
            )

    def _prepare(self) -> None:
        super()._prepare()
        self._can = can = abilities_of(self.ask)
        if can is None:
            raise InstrumentError(
                f"{self.name}: its firmware ({self.identity}) has no scan {{start}} {{stop}} {{points}}, without which "
                "nothing tells which sweep its data belong to; update its firmware"
            )
        self.frequency_range = Limit(PARKED_HZ, can.highest_hz, "Hz")
        self._corrected = self.calibration().on

    # -- limits --------------------------------------------------------------------------------------------------

    def check(self, frequencies_hz: ArrayLike) -> Frequencies:
        """As of any VNA; also what this firmware cannot do, once it is known."""
        key = f"rig.{self.link.who}"
        frequencies = super().check(frequencies_hz)
        for name in self.config.s_parameters:
            if name not in ("S11", "S21"):
                raise InputError(f"{self.name}: asked {name}, it measures S11 and S21 alone; set {key}.s_parameters")
        if self._can is not None:
            self._drive(self._can)
            self._bandwidth(self._can)
            self._check_parts(self._can, len(frequencies))
        self._grid(frequencies)
        return frequencies

    def _check_parts(self, can: Abilities, points: int) -> None:
        if points > can.points and self._corrected and not can.masked:
            raise InputError(
                f"{self.name}: asked {points} points, its firmware has {can.points} and would apply its calibration to "
                "the wrong ones in a sweep of several parts; measure at fewer frequencies (rig.frequencies_hz), switch "
                "its calibration off, or update its firmware"
            )

    def _grid(self, frequencies: Frequencies) -> Grid:
        return contiguous(frequencies, 1.0, self.name, "set rig.frequencies_hz")

    def _drive(self, can: Abilities) -> int | None:
        """What `power` is to be set to; None if the firmware has no such command and none is needed."""
        asked = self.config.drive_ma
        if asked == "auto":
            return can.auto_drive
        if not can.drives:
            raise InputError(
                f"{self.name}: asked a drive of {asked} mA, and its firmware has no power command; update the "
                f"firmware, or set rig.{self.link.who}.drive_ma to auto"
            )
        return _DRIVES[asked]

    def _bandwidth(self, can: Abilities) -> Bandwidth | None:
        """The bandwidth to set; None if it is the only one there is."""
        asked, key = self.config.if_bandwidth_hz, f"rig.{self.link.who}.if_bandwidth_hz"
        nearest = min(can.bandwidths, key=lambda one: abs(np.log(one.width_hz / asked)))
        if abs(nearest.width_hz - asked) > 0.1 * asked:
            why = "" if len(can.bandwidths) > 1 else ", and its firmware has no bandwidth command"
            raise InputError(
                f"{self.name}: asked IF bandwidth {asked:g} Hz, the nearest it has is {nearest.width_hz:g} Hz{why}; "
                f"set {key}"
            )
        return nearest if len(can.bandwidths) > 1 else None

    # -- setting up ----------------------------------------------------------------------------------------------

    def _configure(self, frequencies_hz: Frequencies) -> None:
        assert self._can is not None  # known since open()
        can, grid = self._can, self._grid(frequencies_hz)
        width_hz = can.bandwidths[0].width_hz
        if (bandwidth := self._bandwidth(can)) is not None:
            width_hz = bandwidth.width_hz
            self._set_bandwidth(can, bandwidth)
        self._corrected = self.calibration().on
        self._check_parts(can, grid.points)
        self._parts = _parts(frequencies_hz, grid, can.points)
        # Correction of what is transmitted may need what is reflected.
        self._both = self._corrected or not can.masked or len(self.config.s_parameters) > 1
        one_s = (1 / width_hz + CHANNEL_S) * (2 if self._both else 1)
        self._sweep_s = grid.points * one_s * self.config.averages
        self.fence_timeout_s = self.link.timeout_s + 2 * max(part.points for part in self._parts) * one_s

    def _set_bandwidth(self, can: Abilities, bandwidth: Bandwidth) -> None:
        answer = self.ask(f"bandwidth {bandwidth.argument}")
        if answer != can.confirmed(bandwidth):
            raise self.confused(f"bandwidth {bandwidth.argument}", answer, f"{bandwidth.width_hz:g} Hz")

    def _set_drive(self, drive: int) -> None:
        self.tell(f"power {drive}")
        answer = self.ask("power")
        found = re.search(r"power: (-?\d+)", answer)  # older firmware tells its usage alone
        if found is not None and int(found[1]) != drive:
            raise self.confused("power", answer, f"drive {drive}")

    def calibration(self) -> Calibration:
        on = "cal'ed" in self.ask("cal").split()
        delays_s = delays_of(self.ask_if_known("edelay") or "")
        return Calibration(on, extended=any(delays_s), extensions_s=dict(enumerate(delays_s, start=1)))

    # -- measuring -----------------------------------------------------------------------------------------------

    @property
    def sweep_s(self) -> float:
        return self._sweep_s

    def _sweep(self) -> Sweep:
        total = np.zeros((2, len(self.frequencies_hz)), dtype=np.complex128)
        for _ in range(self.config.averages):
            total += np.concatenate([self._scan(part) for part in self._parts], axis=1)
        return total[[("S11", "S21").index(name) for name in self.config.s_parameters]] / self.config.averages

    def _scan(self, part: Grid) -> Sweep:
        """Both channels, (2, points); zeros where one is not measured."""
        assert self._can is not None  # known since open()
        scan = f"scan {part.start_hz:.0f} {part.stop_hz:.0f} {part.points}"
        if not self._can.masked:
            self.ask(scan, self.fence_timeout_s)  # nothing else may be asked of it in between
            answers = [self.ask(question).splitlines() for question in ("frequencies", "data 0", "data 1")]
            lines = [" ".join(line) for line in zip(*answers, strict=False)]
            rows, asked = [0, 1], f"{scan}, then frequencies and data"
        else:
            rows = [0, 1] if self._both else [("S11", "S21").index(self.config.s_parameters[0])]
            asked = f"{scan} {1 + sum(2 << row for row in rows)}"
            lines = self.ask(asked, self.fence_timeout_s).splitlines()
        try:
            found = parse_scan(lines, part.frequencies_hz, len(rows))
        except ValueError as error:
            raise self.confused(asked, str(error), f"{part.points} points") from None
        both = np.zeros((2, part.points), dtype=np.complex128)
        both[rows] = found
        return both

    # -- the source ----------------------------------------------------------------------------------------------

    def _switch(self, on: bool) -> None:
        assert self._can is not None  # known since open()
        if not on:
            for order in self._parking():
                self.tell(order)
        elif (drive := self._drive(self._can)) is not None:
            self._set_drive(drive)

    def _parking(self) -> tuple[str, ...]:
        """Orders after which it sweeps no more and its source is as harmless as it gets."""
        # A drive from which there is no way back to automatic is left alone.
        lowest = self._can is not None and self._can.auto_drive is not None
        return ("pause", *([f"power {_LOWEST_DRIVE}"] if lowest else []), f"freq {PARKED_HZ}")

    def _say_off(self) -> None:
        patience_s = self.fence_timeout_s
        if self.link.dirty:
            # The orders leave first; a scan under way cannot be ended, and they are carried out after it.
            self.link.send_anyway(TAKE_BACK + "".join(f"{order}\r" for order in self._parking()).encode("ascii"))
            self.fence_timeout_s = _STOP_S + patience_s - self.link.timeout_s
        try:
            for order in self._parking():
                self.tell(order, _STOP_S)
        finally:
            self.fence_timeout_s = patience_s

    # -- settings ------------------------------------------------------------------------------------------------

    def settings(self) -> dict[str, Any]:
        assert self._can is not None  # known since open()
        answer = self.ask("sweep")
        try:
            start, stop, points = (int(word) for word in answer.split())
        except ValueError:
            raise self.confused("sweep", answer, "start, stop and points") from None
        found: dict[str, Any] = {"sweep": [start, stop, points]}
        if len(self._can.bandwidths) > 1 and (argument := self._can.bandwidth_of(self.ask("bandwidth"))) is not None:
            found["bandwidth"] = argument
        return found

    def restore(self, settings: dict[str, Any]) -> None:
        start, stop, points = settings["sweep"]
        self.tell(f"sweep {start} {stop} {points}")
        if "bandwidth" in settings:
            self.ask(f"bandwidth {settings['bandwidth']}")


def _parts(frequencies_hz: Frequencies, grid: Grid, most: int) -> tuple[Grid, ...]:
    """A sweep as several of at most so many points each, with ends of whole hertz."""
    if grid.points <= most:
        return (grid,)
    parts = np.array_split(np.rint(frequencies_hz), -(-grid.points // most))
    return tuple(Grid(float(part[0]), float(part[-1]), len(part)) for part in parts)
