"""NanoVNA V2 (S-A-A-2) and its successors, after UG1101 and the source of its firmware.

A shot is: restart the sweep, clear the FIFO of what was measured before, read as many records as there are points and
averages; each record tells its point, and a checksum. S11 is reflected by forward, S21 transmitted by forward: raw
values, whatever calibration the device itself has. It tunes in steps of about 10 kHz, and filters over about 1 kHz.

Its source cannot be switched off by command, and it sweeps all the time. Safe is the most that is possible: one point
at 50 kHz, which no antenna for microwaves radiates, at the lowest power. It stays so, in the mode in which USB has it,
until it is switched off.
"""

from __future__ import annotations

import re
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labtrain.clock import Clock
from labtrain.drivers.link import Link
from labtrain.drivers.vna import nano_vna_v2_protocol as v2
from labtrain.drivers.vna.calibration import Calibration
from labtrain.drivers.vna.grid import Grid, contiguous
from labtrain.drivers.vna.nano_vna_v2_registers import RECORD_S, RESET, NanoVnaV2Registers
from labtrain.drivers.vna.vna import Frequencies, Sweep, Vna, VnaConfig
from labtrain.errors import InputError, InstrumentError
from labtrain.limits import Limit

IF_BANDWIDTH_HZ = 1000.0  # nominal; it cannot be set
POWERS_DBM = {-10.0: 3, -13.0: 2, -16.0: 1, -19.0: 0}  # nominal; steps of the ADF4350
ATTENUATED_HZ = 140e6  # from where on that is the source
PARKED_HZ = 50_000

_OLDEST = (1, 2)


class NanoVnaV2(Vna, NanoVnaV2Registers):
    """A NanoVNA V2 on its USB serial port. RF off means parked: its source stays on, at 50 kHz."""

    class Config(VnaConfig):
        """Settings of a NanoVNA V2."""

        driver: Literal["nanovna-v2"] = "nanovna-v2"

    EMULATOR = "labtrain.drivers.emulators.vna.nano_vna_v2:NanoVnaV2Emulator"
    MODELS_TOLD = "NanoVNA V2, V2 Plus and V2 Plus4 (S-A-A-2; binary protocol)"
    TRIED_ON = "emulator, after its firmware; scikit-rf and pynanovna read the same emulator"
    USB_IDS = ((0x04B4, 0x0008),)
    OFF_TOLD = "park its source"
    by_hand = "unplug it and switch it off: its source cannot be switched off by command"

    if_bandwidth_range = Limit(1, 1e6, "Hz")
    points_range = Limit(1, 1023)
    config: Config

    def __init__(self, link: Link, config: Config, clock: Clock) -> None:
        super().__init__(link, config, clock)
        self.power_range = Limit(min(POWERS_DBM) - 1, max(POWERS_DBM) + 1, "dBm")
        self.n_ports = 2
        self._grid = Grid(PARKED_HZ, PARKED_HZ, 1)

    # -- identity ------------------------------------------------------------------------------------------------

    @classmethod
    def fits(cls, identity: str) -> bool:
        return re.fullmatch(r"NanoVNA V2( EMULATOR)?, hardware \d+, firmware \d+\.\d+", identity) is not None

    def _check_identity(self, identity: str) -> None:
        key = f"rig.{self.link.who}"
        if not self.fits(identity):
            raise InstrumentError(
                f"{self.name}: {identity!r} answers, and driver nanovna-v2 is for {self.MODELS_TOLD}; correct "
                f"{self.link.where} or {key}.driver, or set {key}.identity to any"
            )
        if _firmware(identity) < _OLDEST:
            raise InstrumentError(
                f"{self.name}: {identity!r} answers, and firmware before {'.'.join(map(str, _OLDEST))} has no command "
                "for its power and spoils S21 at the first point; update its firmware"
            )

    def _prepare(self) -> None:
        super()._prepare()
        found = re.search(r"hardware (\d+)", self.identity)
        plus4 = found is not None and int(found[1]) >= 4
        self.frequency_range = Limit(PARKED_HZ, 4.4e9 if plus4 else 3e9, "Hz")

    # -- limits --------------------------------------------------------------------------------------------------

    def check(self, frequencies_hz: ArrayLike) -> Frequencies:
        """As of any VNA; also what this one cannot do."""
        config, key = self.config, f"rig.{self.link.who}"
        frequencies = super().check(frequencies_hz)
        for name in config.s_parameters:
            if name not in ("S11", "S21"):
                raise InputError(f"{self.name}: asked {name}, it measures S11 and S21 alone; set {key}.s_parameters")
        if config.if_bandwidth_hz != IF_BANDWIDTH_HZ:
            raise InputError(
                f"{self.name}: asked IF bandwidth {config.if_bandwidth_hz:g} Hz, it is fixed at about "
                f"{IF_BANDWIDTH_HZ:g} Hz; set {key}.if_bandwidth_hz to that, and {key}.averages for less noise"
            )
        Limit(1, 65_535).check(config.averages, who=self.name, what="averages", remedy=f"set {key}.averages")
        power = self._power()
        if power != max(POWERS_DBM) and frequencies[0] < ATTENUATED_HZ:
            raise InputError(
                f"{self.name}: asked power {config.power_dbm:g} dBm from {frequencies[0]:.12g} Hz on, it can be "
                f"lowered from {ATTENUATED_HZ:g} Hz on alone; set {key}.power_dbm to {max(POWERS_DBM):g}"
            )
        self._contiguous(frequencies)
        return frequencies

    def _power(self) -> float:
        asked = self.config.power_dbm
        nearest = min(POWERS_DBM, key=lambda power: abs(power - asked))
        if abs(nearest - asked) > 1:
            raise InputError(
                f"{self.name}: asked power {asked:g} dBm, the nearest it has is {nearest:g} dBm; "
                f"set rig.{self.link.who}.power_dbm"
            )
        return nearest

    def _contiguous(self, frequencies: Frequencies) -> Grid:
        return contiguous(frequencies, 1.0, self.name, "set rig.frequencies_hz", step_hz=1.0)

    # -- measuring -----------------------------------------------------------------------------------------------

    @property
    def sweep_s(self) -> float:
        return self._grid.points * self.config.averages * RECORD_S

    def calibration(self) -> Calibration:
        return Calibration(False)  # what it sends is not corrected, whatever is on its screen

    def _configure(self, frequencies_hz: Frequencies) -> None:
        self._grid = self._contiguous(frequencies_hz)  # set when it is to measure: it begins at once

    def _sweep(self) -> Sweep:
        points, averages = self._grid.points, self.config.averages
        with self.link.exchange():
            # Writing this register begins the sweep anew; the FIFO may still hold points of the shot before.
            self.link.write(v2.write(v2.VALUES, averages, 2) + v2.write(v2.FIFO, 0, 1))
            records = self._records(points * averages)
        order = np.repeat(np.arange(points), averages)
        if not np.array_equal(records["index"], order):
            wrong = int(np.argmax(records["index"] != order))
            raise self.confused("the FIFO", f"point {records['index'][wrong]}", f"point {order[wrong]}")
        forward = _complex(records["forward"])
        if not forward.all():
            raise self.confused("the FIFO", "nothing", "a forward wave")
        s = {"S11": _complex(records["reflected"]) / forward, "S21": _complex(records["transmitted"]) / forward}
        return np.array([s[name].reshape(points, averages).mean(axis=1) for name in self.config.s_parameters])

    def _records(self, count: int) -> NDArray[np.void]:
        """So many records, from one of the first point on."""
        found: list[NDArray[np.void]] = []
        missing, skipped = count, 0
        while missing:
            asked = bytes([v2.READ_FIFO, v2.FIFO, min(missing, v2.MOST_RECORDS)])
            records = np.frombuffer(self._ask(asked, self.link.timeout_s + 2 * RECORD_S), dtype=v2.RECORD)
            summed, rest = v2.checksums(records), records["rest"]
            if not ((rest[:, -1] == summed) | ~rest.any(axis=1)).all():  # older firmware sends none
                raise self.confused(asked.hex(" "), "a record with a wrong checksum", "records")
            if not found:
                begin = np.flatnonzero(records["index"] == 0)
                skipped += len(records) - (len(records[begin[0] :]) if len(begin) else 0)
                if not len(begin):
                    if skipped > count + v2.MOST_RECORDS:
                        raise self.confused(asked.hex(" "), "other points", "the first point of the sweep")
                    continue
                records = records[begin[0] :]
            found.append(records)
            missing -= len(records)
        return np.concatenate(found)

    # -- the source ----------------------------------------------------------------------------------------------

    def _switch(self, on: bool) -> None:
        if on:
            self._set(self._grid, self.config.averages, POWERS_DBM[self._power()])
        else:
            self._set(Grid(PARKED_HZ, PARKED_HZ, 1), 1, min(POWERS_DBM.values()))

    def _set(self, sweep: Grid, values: int, power: int) -> None:
        """Write the registers of a sweep, and read them back."""
        step = 0 if sweep.points == 1 else round((sweep.stop_hz - sweep.start_hz) / (sweep.points - 1))
        wanted = (
            (v2.START, round(sweep.start_hz), 8), (v2.STEP, step, 8), (v2.POINTS, sweep.points, 2),
            (v2.VALUES, values, 2), (v2.POWER, power, 1),
        )  # fmt: skip
        orders = b"".join(v2.write(*register) for register in wanted)
        questions = b"".join(v2.read(address, size) for address, _, size in wanted)
        answer = self._ask(orders + questions)
        if answer != b"".join(value.to_bytes(size, "little") for _, value, size in wanted):
            raise self.confused(questions.hex(" "), answer.hex(" "), "the registers of the sweep as they were written")

    def _stop(self) -> None:
        self._stopping = True
        try:
            super()._stop()
        finally:
            self._stopping = False

    def _say_off(self) -> None:
        if self.link.dirty:  # a record under way would come first: the orders leave at once
            parked = ((v2.POWER, min(POWERS_DBM.values()), 1), (v2.START, PARKED_HZ, 8), (v2.STEP, 0, 8))
            self.link.send_anyway(RESET + b"".join(v2.write(*register) for register in parked))
        self._switch(False)

    # -- settings ------------------------------------------------------------------------------------------------

    def settings(self) -> dict[str, Any]:
        registers = {"start_hz": (v2.START, 8), "step_hz": (v2.STEP, 8), "points": (v2.POINTS, 2)}
        return {
            name: int.from_bytes(self._ask(v2.read(address, size)), "little")
            for name, (address, size) in registers.items()
        }

    def restore(self, settings: dict[str, Any]) -> None:
        """Nothing: whatever it swept before, it would begin to sweep again."""


def _complex(parts: NDArray[np.int32]) -> NDArray[np.complex128]:
    return np.ascontiguousarray(parts, dtype=np.float64).view(np.complex128)[..., 0]


def _firmware(identity: str) -> tuple[int, ...]:
    found = re.search(r"firmware (\d+)\.(\d+)", identity)
    return (int(found[1]), int(found[2])) if found else (0, 0)
