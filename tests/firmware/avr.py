"""The sketch for an ATmega328P, and that chip simulated, with a chain of shift registers around it."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.firmware.building import HERE, SKETCH, Build, compiler

ARDUINO = Path("/usr/share/arduino/hardware/arduino/avr")
CORE = ("wiring.c", "wiring_digital.c", "hooks.c", "main.cpp", "HardwareSerial.cpp", "HardwareSerial0.cpp", "Print.cpp",
        "abi.cpp", "new.cpp")  # fmt: skip
FOLDERS = (ARDUINO / "cores/arduino", ARDUINO / "variants/standard", ARDUINO / "libraries/SPI/src", SKETCH)
CHIP = ("-mmcu=atmega328p", "-DF_CPU=16000000L", "-DARDUINO=10819", "-DARDUINO_AVR_UNO", "-DARDUINO_ARCH_AVR", "-Os",
        "-ffunction-sections", "-fdata-sections", *(f"-I{folder}" for folder in FOLDERS))  # fmt: skip
CPP = ("-std=gnu++11", "-fno-exceptions", "-fno-threadsafe-statics", "-fpermissive")
STRICT = ("-Wall", "-Wextra", "-Werror")
LONGEST_S = 60.0  # nothing takes so long, on the busiest machine


def run(*command: str | Path) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def arduino_core(folder: Path) -> list[Path]:
    """Arduino's own part of a sketch, compiled; skips the test where that is not installed."""
    if shutil.which("avr-gcc") is None or not ARDUINO.is_dir():
        pytest.skip("no avr-gcc or no Arduino core; apt-get install gcc-avr avr-libc arduino-core-avr")
    objects = []
    for source in [*(ARDUINO / "cores/arduino" / name for name in CORE), ARDUINO / "libraries/SPI/src/SPI.cpp"]:
        objects.append(folder / f"{source.name}.o")
        language = CPP if source.suffix == ".cpp" else ()
        run("avr-gcc", *CHIP, *language, "-w", "-c", source, "-o", objects[-1])
    return objects


def sketch(build: Build, core: list[Path], folder: Path) -> Path:
    """The whole program for the chip, in that configuration; warnings of ours are errors."""
    objects = []
    for name, language in (("board.c", ("-std=c99",)), ("frame_parser.c", ("-std=c99",)), ("latched_board.ino", CPP)):
        kind = ("-x", "c++") if name.endswith(".ino") else ()
        objects.append(folder / f"{name}-{build!r}.o")
        run("avr-gcc", *CHIP, *language, *STRICT, *build.defines, *kind, "-c", SKETCH / name, "-o", objects[-1])
    program = folder / f"{build!r}.elf"
    run("avr-gcc", "-mmcu=atmega328p", "-Wl,--gc-sections", *objects, *core, "-lm", "-o", program)
    return program


def simulator(folder: Path) -> Path:
    """``sim_board.c``; skips the test where libsimavr is not installed."""
    if not Path("/usr/include/simavr/parts/uart_pty.h").exists() or not Path("/usr/include/libelf.h").exists():
        pytest.skip("no libsimavr; apt-get install libsimavr-dev libelf-dev")
    target = folder / "sim_board"
    libraries = ("-lsimavrparts", "-lsimavr", "-lelf", "-lpthread", "-lutil")
    flags = ("-std=gnu99", "-O2", *STRICT, "-I/usr/include/simavr")
    run(compiler(), *flags, HERE / "sim_board.c", "-o", target, *libraries)
    return target


class Chip:
    """The program on the simulated chip; a context manager.

    Attributes
    ----------
    port : str
        Its serial port.
    """

    def __init__(self, simulator: Path, program: Path, build: Build) -> None:
        self._command = [str(simulator), str(program), str(build.pattern_bytes)]
        self._lines: deque[str] = deque()
        self._told = threading.Condition()

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, encoding="ascii"
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        told = self.lines(4)
        self.port = next(line.split()[1] for line in told if line.startswith("port"))
        self.start = [line for line in told if not line.startswith("port")]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(("port ", "outputs ", "latched ")):  # libsimavr has its say, too
                with self._told:
                    self._lines.append(line.strip())
                    self._told.notify()
        self._process.stdout.close()

    def lines(self, n: int) -> list[str]:
        """The next n that it tells, waiting for them."""
        with self._told:
            assert self._told.wait_for(lambda: len(self._lines) >= n, LONGEST_S), f"told only {list(self._lines)}"
            return [self._lines.popleft() for _ in range(n)]

    def rest(self) -> list[str]:
        """What else it has told."""
        with self._told:
            found = list(self._lines)
            self._lines.clear()
            return found
