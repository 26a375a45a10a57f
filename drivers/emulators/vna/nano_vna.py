"""NanoVNA at its USB connector: the commands of its firmware in front of a world.

After ``main.c`` of github DiSlord/NanoVNA-D (1.1) and, without a mask, of ttrftech/NanoVNA (0.5): ``scan`` with its
rounding of frequencies to whole hertz; values that are single-precision floats, written with nine decimals.

A NanoVNA sweeps all the time unless it is paused. Here it measures when somebody asks for what it has measured:
``data`` of one that is not paused is a new sweep. ``simulate restart SEED`` and ``simulate shot NUMBER`` are this
emulator's own.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labtrain.clock import Clock
from labtrain.drivers.emulators.emulator import Reply
from labtrain.drivers.emulators.ports import NetworkPort
from labtrain.drivers.emulators.simulation import carry_out
from labtrain.drivers.emulators.vna.nano_vna_console import Answer, Command, NanoVnaConsole, unsigned
from labtrain.drivers.vna.nano_vna_firmware import EMULATED
from labtrain.errors import InputError

CHANNEL_S = 2e-3  # to move the source and switch between reflection and transmission
FULL_DBM = -10.0  # with the strongest drive, and with automatic

_RATE = 4000  # measurements a second that are added up for a bandwidth
_OUT_FREQUENCY, _OUT_S11, _OUT_S21, _BINARY = 1, 2, 4, 128
_PORTS = ((1, 1), (2, 1))
_ITEMS = ("load", "open", "short", "thru", "isoln", "Es", "Er", "Et", "cal'ed")
_CALIBRATED = frozenset(_ITEMS)


@dataclass(frozen=True)
class Firmware:
    """A firmware.

    Parameters
    ----------
    version : str
    board : str
    points : int
        Most of a sweep.
    modern : bool
        Whether scan takes a mask, bandwidth and power can be asked for.
    about : tuple of str
        More lines of info.
    """

    version: str
    board: str
    points: int
    modern: bool
    about: tuple[str, ...]

    @property
    def info(self) -> tuple[str, ...]:
        """Lines of info."""
        return (f"Board: {self.board} {EMULATED}", *self.about)


FIRMWARES = {
    "dislord": Firmware(
        "1.1", "NanoVNA-H 4", 401, True,
        ("https://github.com/DiSlord/NanoVNA-D", "Version: 1.1 [p:401, IF:12k, ADC:384k, Lcd:480x320]"),
    ),
    "ttrftech": Firmware("0.5.0", "NanoVNA", 101, False, ("Version: 0.5.0",)),
}  # fmt: skip


class NanoVnaEmulator(NanoVnaConsole):
    """A NanoVNA in front of a world.

    Parameters
    ----------
    network : NetworkPort
        With at least two ports.
    clock : Clock
        Read with `timing` alone.
    timing : bool
        Scans take their time; otherwise they are there at once.
    firmware : str
        ``dislord``, or ``ttrftech``: an old one.

    Raises
    ------
    InputError
        If the world has one port alone.
    """

    def __init__(self, network: NetworkPort, clock: Clock, *, timing: bool = False, firmware: str = "dislord") -> None:
        if network.n_ports < 2:
            raise InputError(
                f"emulated NanoVNA: it has 2 ports, the simulated network {network.n_ports}; simulate more"
            )
        super().__init__(clock, timing=timing)
        self.network, self.firmware = network, FIRMWARES[firmware]
        self._power_on()

    def _power_on(self) -> None:
        self.start, self.stop, self.points = 50_000, 900_000_000, self.firmware.points
        self.paused = False
        self.parked_hz: int | None = None  # where the source was left by freq
        self.drive = 255 if self.firmware.modern else -1
        self.count = 3  # of the bandwidth: 1000 Hz
        self.calibration: frozenset[str] = frozenset()
        self.delay_ps = 0.0
        self._told = ""  # of a disturbance, so far
        self._follow_sweep()

    def _follow_sweep(self) -> None:
        self.frequencies_hz = _rounded(self.start, self.stop, self.points)
        self.measured = np.zeros((2, self.points), dtype=np.complex64)
        self._fresh = False  # whether that has been measured since

    @property
    def width_hz(self) -> float:
        """The IF bandwidth in use."""
        return _RATE / (self.count + 1) if self.firmware.modern else 1000.0

    @property
    def power_dbm(self) -> float:
        """At its port; drives of 2, 4, 6, 8 mA are told by their currents, automatic is the strongest."""
        return FULL_DBM + (20 * math.log10((self.drive + 1) / 4) if 0 <= self.drive < 4 else 0.0)

    def reboot(self) -> list[Reply]:
        """Power fails: settings are lost, and the port with it, for it is the device's own."""
        self._power_on()
        return [(0.0, None)]

    def commands(self) -> Mapping[str, Command]:
        found: dict[str, Command] = {
            "scan": self._scan, "data": self._data, "frequencies": self._frequencies, "freq": self._freq,
            "sweep": self._sweep, "power": self._power, "pause": self._pause, "resume": self._resume, "cal": self._cal,
            "edelay": self._edelay, "help": self._help, "info": lambda _: self.firmware.info,
            "version": lambda _: (self.firmware.version,), "simulate": self._simulate,
        }  # fmt: skip
        if self.firmware.modern:
            found |= {"bandwidth": self._bandwidth, "scan_bin": self._scan_binary}
        return found

    def _help(self, arguments: list[str]) -> tuple[str, ...]:  # noqa: ARG002 (takes none)
        return (f"Commands: {' '.join(self.commands())}",)

    # -- measuring -----------------------------------------------------------------------------------------------

    def _measure(self, channels: tuple[int, ...]) -> None:
        ports = [_PORTS[channel] for channel in channels]
        values = self.network.sweep(
            self.frequencies_hz, ports, if_bandwidth_hz=self.width_hz, power_dbm=self.power_dbm, averages=1
        )
        for channel, row in zip(channels, values, strict=True):
            self.measured[channel] = row
        self._fresh = True
        self._busy_s += len(self.frequencies_hz) * len(channels) * (1 / self.width_hz + CHANNEL_S)

    def _scan(self, arguments: list[str], flags: int = 0) -> Answer:
        takes_mask = self.firmware.modern
        if not 2 <= len(arguments) <= (4 if takes_mask else 3):
            return (f"usage: scan {{start(Hz)}} {{stop(Hz)}} [points]{' [outmask]' if takes_mask else ''}",)
        start, stop = unsigned(arguments[0]), unsigned(arguments[1])
        if start == 0 or stop == 0 or start > stop:
            return ("frequency range is invalid",)
        points = unsigned(arguments[2]) if len(arguments) > 2 else self.points
        if points == 0 or points > self.firmware.points:
            return (f"sweep points exceeds range {self.firmware.points}",)
        mask = (unsigned(arguments[3]) if len(arguments) > 3 else 0) | flags
        self.points = points
        self.frequencies_hz = _rounded(start, stop, points)
        if self.measured.shape[1] != points:
            self.measured = np.zeros((2, points), dtype=np.complex64)
        self._fresh = True
        self.paused, self.parked_hz = True, None
        channels = tuple(n for n in (0, 1) if len(arguments) < 4 or mask & (_OUT_S11 << n))
        if channels:
            self._measure(channels)
        return self._binary(mask) if mask & _BINARY else self._lines(mask)

    def _scan_binary(self, arguments: list[str]) -> Answer:
        return self._scan(arguments, _BINARY)

    def _lines(self, mask: int) -> tuple[str, ...]:
        if not mask & (_OUT_FREQUENCY | _OUT_S11 | _OUT_S21):
            return ()
        lines = []
        for frequency, *values in zip(self.frequencies_hz, *self.measured, strict=True):
            line = f"{frequency} " if mask & _OUT_FREQUENCY else ""
            for n, value in enumerate(values):
                line += f"{_written(value)} " if mask & (_OUT_S11 << n) else ""
            lines.append(line)
        return tuple(lines)

    def _binary(self, mask: int) -> bytes:
        data = struct.pack("<HH", mask, self.points)
        for frequency, *values in zip(self.frequencies_hz, *self.measured, strict=True):
            data += struct.pack("<I", frequency) if mask & _OUT_FREQUENCY else b""
            for n, value in enumerate(values):
                data += struct.pack("<ff", value.real, value.imag) if mask & (_OUT_S11 << n) else b""
        return data

    def _data(self, arguments: list[str]) -> Answer:
        which = unsigned(arguments[0]) if arguments else 0
        if which > 1:  # of a calibration, which is not emulated
            return (
                ("usage: data [array]",) if which > 6 else tuple("0.000000000 0.000000000" for _ in range(self.points))
            )
        if not (self.paused and self._fresh):
            self._measure((0, 1))
        return tuple(_written(value) for value in self.measured[which])

    def _frequencies(self, arguments: list[str]) -> tuple[str, ...]:  # noqa: ARG002 (takes none)
        return tuple(str(frequency) for frequency in self.frequencies_hz)

    # -- settings ------------------------------------------------------------------------------------------------

    def _sweep(self, arguments: list[str]) -> tuple[str, ...]:
        if not arguments:
            return (f"{self.start} {self.stop} {self.points}",)
        values = [unsigned(word) for word in arguments] + [0, 0]
        if len(arguments) > 3 or not values[0]:
            return ("usage: sweep {start(Hz)} [stop(Hz)] [points]",)
        self.start = values[0]
        self.stop = max(values[1] or self.stop, self.start)
        if 0 < values[2] <= self.firmware.points:
            self.points = values[2]
        self._follow_sweep()
        return ()

    def _pause(self, arguments: list[str]) -> tuple[str, ...]:  # noqa: ARG002 (takes none)
        self._fresh &= self.paused  # what it shows then is the last sweep that it made
        self.paused = True
        return ()

    def _resume(self, arguments: list[str]) -> tuple[str, ...]:  # noqa: ARG002 (takes none)
        self.paused, self.parked_hz = False, None
        self._follow_sweep()
        return ()

    def _freq(self, arguments: list[str]) -> tuple[str, ...]:
        if len(arguments) != 1:
            return ("usage: freq {frequency(Hz)}",)
        self.paused, self.parked_hz = True, unsigned(arguments[0])
        return ()

    def _power(self, arguments: list[str]) -> tuple[str, ...]:
        if len(arguments) != 1:
            if not self.firmware.modern:
                return ("usage: power {0-3|-1}",)
            return ("usage: power {0-3}|{255 - auto}",) if arguments else (f"power: {self.drive}",)
        negative = arguments[0].startswith("-")
        drive = unsigned(arguments[0].removeprefix("-"))
        if self.firmware.modern:
            self.drive = 255 if negative or drive > 3 else drive
        else:
            self.drive = -drive if negative else drive
        return ()

    def _bandwidth(self, arguments: list[str]) -> tuple[str, ...]:
        if len(arguments) == 1:
            self.count = unsigned(arguments[0]) & 511
        elif len(arguments) == 2:  # in hertz
            self.count = max(0, min(511, _RATE // max(1, unsigned(arguments[0])) - 1))
        return (f"bandwidth {self.count} ({_RATE // (self.count + 1)}Hz)",)

    def _cal(self, arguments: list[str]) -> tuple[str, ...]:
        if not arguments:
            return ("".join(f"{item} " for item in _ITEMS if item in self.calibration),)
        if arguments[0] == "reset":
            self.calibration = frozenset()
        elif arguments[0] in ("on", "off") and self.calibration:
            self.calibration = _CALIBRATED if arguments[0] == "on" else self.calibration - {"cal'ed"}
        return ()

    def _edelay(self, arguments: list[str]) -> tuple[str, ...]:
        if len(arguments) != 1:
            return (f"{self.delay_ps:.9f}",)
        self.delay_ps = float(arguments[0])
        return ()

    def calibrate(self) -> None:
        """What somebody does with standards at the device; the world's values are already calibrated."""
        self.calibration = _CALIBRATED

    # -- simulation ----------------------------------------------------------------------------------------------

    def _simulate(self, arguments: list[str]) -> tuple[str, ...]:
        orders = {"restart": self.network.restart, "shot": self.network.begin_shot}
        if len(arguments) == 2 and arguments[0] == "disturb":
            return self._disturb(arguments[1])
        if len(arguments) != 2 or arguments[0] not in orders or not arguments[1].isdigit():
            return ("usage: simulate {restart|shot|disturb} {number|digits|end}",)
        orders[arguments[0]](int(arguments[1]))
        return ()

    def _disturb(self, piece: str) -> tuple[str, ...]:
        """A piece of a disturbance in hexadecimal digits, or the end of it."""
        if piece != "end":
            self._told += piece
            return ()
        told, self._told = self._told, ""
        try:
            carry_out(self.network, bytes.fromhex(told).decode("utf-8"))
        except (ValueError, InputError) as error:
            return (f"simulate: {error}",)
        return ()


def _rounded(start: int, stop: int, points: int) -> NDArray[np.int64]:
    """Frequencies of a sweep as the firmware rounds them, (points,)."""
    steps = max(1, points - 1)
    delta, error = divmod(stop - start, steps)
    n = np.arange(points, dtype=np.int64)
    return start + delta * n + (steps // 2 + error * n) // steps


def _written(value: np.complexfloating[Any, Any]) -> str:
    return f"{value.real:.9f} {value.imag:.9f}"
