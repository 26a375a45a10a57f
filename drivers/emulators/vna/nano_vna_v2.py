"""NanoVNA V2 at its USB connector: registers, and a FIFO of what it measures, in front of a world.

After ``command_parser.cpp``, ``vna_measurement.cpp`` and ``main2.cpp`` of github nanovna-v2/NanoVNA2-firmware. It
sweeps all the time; writing a register of the sweep begins it anew. What nobody reads waits in the FIFO, until that is
full; later points are lost. Therefore a client that does not clear the FIFO first reads old values, and one that clears
it begins somewhere in a sweep. Forward waves are 2^30, and the others whole numbers in proportion to them.

Registers e0 (seed) and e8 (shot) are this emulator's own.
"""

from __future__ import annotations

from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from labtrain.clock import Clock
from labtrain.drivers.emulators.emulator import Reply
from labtrain.drivers.emulators.ports import NetworkPort
from labtrain.drivers.emulators.simulation import carry_out
from labtrain.drivers.vna import nano_vna_v2_protocol as v2
from labtrain.errors import InputError

FULL = 1 << 30
FIFO_RECORDS = 64
MOST_POINTS = 1024
RECORD_S = 0.01  # 100 points a second from 140 MHz on
IF_BANDWIDTH_HZ = 1000.0
FULL_DBM, STEP_DB = -10.0, 3.0  # ADF4350: 0, 3, 6, 9 dB less

_SWEEP_REGISTERS = (v2.START, v2.STEP, v2.POINTS, v2.VALUES)


class NanoVnaV2Emulator:
    """The device in front of a world.

    Parameters
    ----------
    network : NetworkPort
        With at least two ports.
    clock : Clock
        Read with `timing` alone.
    timing : bool
        Points take their time; otherwise they are there at once.
    hardware : int
        Revision; clients take those from 4 on for a V2 Plus4.
    firmware : tuple of int
        Major and minor version.

    Raises
    ------
    InputError
        If the world has one port alone.
    """

    def __init__(
        self,
        network: NetworkPort,
        clock: Clock,
        *,
        timing: bool = False,
        hardware: int = v2.EMULATED_HARDWARE,
        firmware: tuple[int, int] = (1, 2),
    ) -> None:
        if network.n_ports < 2:
            raise InputError(
                f"emulated NanoVNA V2: it has 2 ports, the simulated network {network.n_ports}; simulate more"
            )
        self.network, self.clock, self.timing = network, clock, timing
        self._versions = bytes([2, 1, hardware, *firmware])
        self._power_on()

    def _power_on(self) -> None:
        self._begun = self._told = b""
        self._free_s = 0.0
        self.registers = bytearray(256)
        self.registers[v2.VARIANT : v2.VARIANT + 5] = self._versions
        for address, value, size in ((v2.START, 200_000_000, 8), (v2.STEP, 1_000_000, 8), (v2.POINTS, 101, 2)):
            self._store(address, value, size)
        self._store(v2.VALUES, 1, 2)
        self.registers[v2.POWER] = 3
        self._waiting = 0  # records in the FIFO
        self._next: int = 0
        self._valid: int = 0
        self._restarted: bool = True
        self._measured = np.zeros((2, 0, 0), dtype=np.complex64)  # both S-parameters, (2, values, points)
        self._restart()

    def _store(self, address: int, value: int, size: int) -> None:
        self.registers[address : address + size] = value.to_bytes(size, "little")

    def register(self, address: int, size: int) -> int:
        """Value of a register."""
        return int.from_bytes(self.registers[address : address + size], "little")

    @property
    def points(self) -> int:
        """Of a sweep."""
        return max(1, min(self.register(v2.POINTS, 2), MOST_POINTS))

    @property
    def values(self) -> int:
        """Records of one point after the other."""
        return max(1, self.register(v2.VALUES, 2))

    @property
    def frequencies_hz(self) -> NDArray[np.float64]:
        """Of a sweep, (points,)."""
        return np.asarray(self.register(v2.START, 8) + float(self.register(v2.STEP, 8)) * np.arange(self.points))

    @property
    def power_dbm(self) -> float:
        """At its port."""
        return FULL_DBM - STEP_DB * (3 - self.registers[v2.POWER] % 4)

    # -- commands ------------------------------------------------------------------------------------------------

    def connected(self) -> list[Reply]:
        """A serial device is not told that its port was opened; what was begun is forgotten, by contract."""
        self._begun = b""
        self._free_s = 0.0
        return []

    def reboot(self) -> list[Reply]:
        """Power fails: registers are lost, and the port with it, for it is the device's own."""
        self._power_on()
        return [(0.0, None)]

    def message_length(self, data: bytes) -> int:
        """Commands tell their length."""
        return v2.command_length(data)

    def receive(self, data: bytes) -> list[Reply]:
        arrived_s = self.clock.monotonic() if self.timing else 0.0
        at = max(arrived_s, self._free_s)
        replies: list[Reply] = []
        data = self._begun + data
        while length := v2.command_length(data):
            command, data = data[:length], data[length:]
            if command[0] == v2.READ_FIFO:
                for record in self._read_fifo(command[1], command[2]):
                    at += RECORD_S if self.timing else 0.0
                    replies.append((at - arrived_s, record))
            elif answer := self._carry_out(command):
                replies.append((at - arrived_s, answer))
        self._begun = data
        self._free_s = at
        return _joined(replies)

    def _carry_out(self, command: bytes) -> bytes:
        opcode = command[0]
        if opcode == v2.INDICATE:
            return bytes([v2.INDICATED])
        if opcode in (v2.READ, v2.READ2, v2.READ4):
            size = {v2.READ: 1, v2.READ2: 2, v2.READ4: 4}[opcode]
            return bytes(self.registers[command[1] : command[1] + size]).ljust(size, b"\0")
        if opcode in (v2.WRITE, v2.WRITE2, v2.WRITE4, v2.WRITE8):
            address, value = command[1], command[2:]
            kept = value[: 256 - address]
            self.registers[address : address + len(kept)] = kept
            self._written(address)
        return b""

    def _written(self, address: int) -> None:
        if address in _SWEEP_REGISTERS:
            self._restart()
        elif address == v2.FIFO:
            # The points that were waiting are gone; the sweep has gone on with the one after them.
            self._next = (self._next + self._waiting) % (self.points * self.values) if not self._restarted else 0
            self._waiting = self._valid = 0
        elif address == v2.SEED:
            self.network.restart(self.register(v2.SEED, 8))
        elif address == v2.SHOT:
            self.network.begin_shot(self.register(v2.SHOT, 8))
        elif address == v2.DISTURB:
            self._told += bytes(self.registers[v2.DISTURB : v2.DISTURB + 8])
            if b"\0" in self._told:
                told, self._told = self._told.rstrip(b"\0"), b""
                with suppress(InputError):  # there is no way to say so; who told it has checked it
                    carry_out(self.network, told.decode("utf-8", "replace"))

    # -- measuring -----------------------------------------------------------------------------------------------

    def _restart(self) -> None:
        self._next = 0  # record of the sweep that is measured next
        self._valid = 0  # records for which what was measured last holds
        self._restarted = True
        if self._measured.shape[1:] != (self.values, self.points):
            self._waiting = 0

    def _measure(self) -> None:
        sweeps = [
            self.network.sweep(
                self.frequencies_hz,
                [(1, 1), (2, 1)],
                if_bandwidth_hz=IF_BANDWIDTH_HZ,
                power_dbm=self.power_dbm,
                averages=1,
            )
            for _ in range(self.values)
        ]
        self._measured = np.stack(sweeps, axis=1).astype(np.complex64)
        self._valid = self.points * self.values

    def _read_fifo(self, address: int, count: int) -> list[bytes]:
        if address != v2.FIFO:
            return []
        total = self.points * self.values
        missing, found = count or total, b""
        while missing:
            if self._valid == 0:
                if self._waiting:  # measured when the last read ended, however long ago
                    self._valid = min(total, self._waiting)
                else:
                    self._measure()
            taken = min(missing, self._valid)
            point, value = np.divmod((self._next + np.arange(taken)) % total, self.values)
            found += v2.packed(self._measured[0, value, point], self._measured[1, value, point], point, FULL)
            self._next = (self._next + taken) % total
            self._valid -= taken
            self._waiting = max(0, self._waiting - taken)
            missing -= taken
        self._waiting, self._restarted = FIFO_RECORDS, False
        size = v2.RECORD.itemsize
        return [found[n : n + size] for n in range(0, len(found), size)]


def _joined(replies: list[Reply]) -> list[Reply]:
    """Replies that leave together as one."""
    joined: list[Reply] = []
    for delay_s, data in replies:
        if joined and joined[-1][0] == delay_s:
            joined[-1] = (delay_s, (joined[-1][1] or b"") + (data or b""))
        else:
            joined.append((delay_s, data))
    return joined
