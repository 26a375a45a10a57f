"""The latched board's firmware, compiled for this computer: a process that takes bytes and tells what it does."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pytest
from numpy.typing import ArrayLike

from labtrain.clock import SimulatedClock
from labtrain.drivers.emulators.emulator import Reply
from labtrain.drivers.emulators.metasurface.latched_board import LatchedBoardEmulator
from labtrain.drivers.metasurface.latched_frames import States, pack, pattern_bytes

HERE = Path(__file__).resolve().parent
SKETCH = HERE.parent.parent / "drivers/metasurface/firmware/latched_board"
STRICT = ("-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-g", "-O1")
SANITIZED = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")

Event = tuple[str, bytes]
"""``A`` and an answer, or ``L`` and a pattern that was latched."""

Chunk = tuple[int, bytes]
"""Milliseconds since the one before, and bytes without a gap between them."""


class Build:
    """One configuration of a board, as compiler and emulator take it."""

    def __init__(
        self, rows: int, columns: int, bits: int, capacity: int, *, chain: bool = False, number: int = 0
    ) -> None:
        self.rows, self.columns, self.bits = rows, columns, bits
        self.capacity, self.chain, self.number = capacity, chain, number

    def __repr__(self) -> str:
        return f"{self.rows}x{self.columns}x{self.bits}"

    @property
    def pattern_bytes(self) -> int:
        return pattern_bytes(self.rows * self.columns, self.bits)

    @property
    def defines(self) -> list[str]:
        values = {
            "ROWS": self.rows,
            "COLUMNS": self.columns,
            "BITS": self.bits,
            "SEQUENCE": self.capacity,
            "CHAIN_RETURNS": int(self.chain),
            "SERIAL_NUMBER": self.number,
            "EMULATED": 1,
        }
        return [f"-DBOARD_{name}={value}" for name, value in values.items()]

    def emulator(self, world: Latched, clock: SimulatedClock, *, timing: bool = False) -> LatchedBoardEmulator:
        return LatchedBoardEmulator(
            world,
            clock,
            timing=timing,
            rows=self.rows,
            columns=self.columns,
            bits=self.bits,
            capacity=self.capacity,
            serial_number=self.number,
            chain_returns=self.chain,
        )


class Latched:
    """A world of pixels that notes every pattern, as bytes."""

    def __init__(self, build: Build) -> None:
        self.build = build
        self.n_pixels, self.bits = build.rows * build.columns, build.bits
        self.pattern: States = np.zeros(self.n_pixels, dtype=np.int64)
        self.events: list[Event] = []

    def set_pattern(self, states: ArrayLike) -> None:
        self.pattern = np.asarray(states, dtype=np.int64)
        self.events.append(("L", pack(self.pattern, self.bits)))


def compiler() -> str:
    """A C compiler for this computer; skips the test where there is none."""
    found = shutil.which("gcc") or shutil.which("clang")
    if found is None:
        pytest.skip("no C compiler (gcc or clang) on this computer")
    return found


def compiled(build: Build, program: Path, folder: Path, *options: str) -> Path:
    """`program` with the firmware of that configuration."""
    target = folder / f"{program.stem}-{build!r}"
    sources = [SKETCH / "board.c", SKETCH / "frame_parser.c", program]
    command = [compiler(), *STRICT, *SANITIZED, *options, *build.defines, f"-I{SKETCH}", *map(str, sources)]
    made = subprocess.run([*command, "-o", str(target)], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return target


class Firmware:
    """A process of ``host.c``; a context manager. Also an Emulator, for a driver: time stands still for it then."""

    def __init__(self, program: Path) -> None:
        self.program = program

    def __enter__(self) -> Self:
        self._process = subprocess.Popen([str(self.program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        rest = self._process.stdout.read()
        self._process.stdout.close()
        status = self._process.wait()
        if kind is None:
            assert (status, rest) == (0, b""), "sanitizers found something; see above"

    def run(self, chunks: Iterable[Chunk], *, restart: bool = False) -> list[Event]:
        """What it does with these bytes."""
        asked = bytearray(b"R" if restart else b"")
        for pause_ms, data in chunks:
            asked += b"B" + pause_ms.to_bytes(4, "big") + len(data).to_bytes(2, "big") + data
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(asked + b"E")
        self._process.stdin.flush()
        events, out = [], self._process.stdout
        while (kind := out.read(1)) != b"E":
            assert kind, f"the firmware died of {asked.hex(' ')}"
            events.append((kind.decode(), out.read(int.from_bytes(out.read(2), "big"))))
        return events

    def connected(self) -> list[Reply]:
        return []

    def receive(self, data: bytes) -> list[Reply]:
        events = self.run([(0, data)])
        self.latched = [pattern for kind, pattern in events if kind == "L"]
        return [(0.0, answer) for kind, answer in events if kind == "A"]


def emulated(
    emulator: LatchedBoardEmulator, world: Latched, clock: SimulatedClock, chunks: Iterable[Chunk]
) -> list[Event]:
    """What the emulator does with these bytes, in the same words as :meth:`Firmware.run`."""
    world.events.clear()
    for pause_ms, data in chunks:
        clock.sleep(pause_ms / 1000)
        for byte in data:  # one at a time, for the order of answers and patterns
            world.events += [("A", answer) for _, answer in emulator.receive(bytes([byte])) if answer is not None]
    return list(world.events)
