"""What the firmware of a NanoVNA can do, as far as it tells itself: ``info``, ``help``, and how commands are used."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labtrain.drivers.vna.vna import Frequencies

EMULATED = "EMULATOR"  # in the name of the board

OLD_POINTS = 101
HIGHEST_HZ, HIGHEST_DISLORD_HZ = 1.5e9, 2.7e9  # as sold; STOP_MAX of DiSlord's firmware
FIXED_BANDWIDTH_HZ = 1000.0  # of firmware without a bandwidth command: 48 samples at 48 kHz

_COUNTS = 512  # measurements that may be added up for one bandwidth
_OFF_HZ = 1.0  # frequencies are rounded to whole hertz


@dataclass(frozen=True)
class Bandwidth:
    """An IF bandwidth, and what the command calls it."""

    width_hz: float
    argument: int


@dataclass(frozen=True)
class Abilities:
    """What a firmware has.

    Parameters
    ----------
    points : int
        Most of one scan.
    masked : bool
        Whether scan takes a mask and sends its data.
    bandwidths : tuple of Bandwidth
        One if it cannot be set.
    counted : bool
        Whether a bandwidth is told as a count of measurements, and confirmed.
    drives : bool
        Whether the drive of the source can be set.
    auto_drive : int or None
        What power calls automatic, if it has a name for that.
    highest_hz : float
    """

    points: int
    masked: bool
    bandwidths: tuple[Bandwidth, ...]
    counted: bool
    drives: bool
    auto_drive: int | None
    highest_hz: float

    def confirmed(self, bandwidth: Bandwidth) -> str:
        """The answer when a bandwidth has been set."""
        return f"bandwidth {bandwidth.argument} ({int(bandwidth.width_hz)}Hz)" if self.counted else ""

    def bandwidth_of(self, answer: str) -> int | None:
        """What to set to come back to the bandwidth that is told; None if it is not."""
        found = re.search(r"bandwidth (\d+) \(\d+ ?Hz\)", answer)
        return int(found[1]) if found else None


def identity_of(info: str | None, version: str) -> str:
    """Board and version, of the answers to info (None from a firmware without it) and version."""
    found = re.search(r"Board:\s*([^\n]+)", info or "")
    return f"{found[1].strip() if found else 'NanoVNA'}, {version.strip()}"


def abilities_of(ask: Callable[[str], str]) -> Abilities | None:
    """What the firmware that answers can do; None if it has no scan that is told its frequencies."""
    known = ask("help").removeprefix("Commands:").split()
    usage = ask("scan") if "scan" in known else ""
    if not usage.startswith("usage: scan {start"):
        return None
    info = ask("info") if "info" in known else ""
    points = re.search(r"\bp:(\d+)", info)
    bandwidths, counted = _bandwidths(ask("bandwidth") if "bandwidth" in known else "")
    power = ask("power") if "power" in known else ""
    return Abilities(
        points=int(points[1]) if points else OLD_POINTS,
        masked="[outmask]" in usage,
        bandwidths=bandwidths,
        counted=counted,
        drives="power" in known,
        auto_drive=255 if re.search(r"255|power: \d", power) else -1 if "-1" in power else None,
        highest_hz=HIGHEST_DISLORD_HZ if "DiSlord" in info else HIGHEST_HZ,
    )


def _bandwidths(answer: str) -> tuple[tuple[Bandwidth, ...], bool]:
    if listed := re.search(r"\{(\d+(?:\|\d+)+)\}", answer):  # usage: bandwidth {1000|300|100|30|10}
        return tuple(Bandwidth(float(width), int(width)) for width in listed[1].split("|")), False
    if told := re.search(r"bandwidth (\d+) \((\d+) ?Hz\)", answer):
        count, width = int(told[1]), int(told[2])
        # The width is a whole fraction of the rate of single measurements, cut off to whole hertz.
        rate = min((1000, 2000, 4000, 8000, 16_000), key=lambda one: abs(one // (count + 1) - width))
        return tuple(Bandwidth(rate / (n + 1), n) for n in range(_COUNTS)), True
    return (Bandwidth(FIXED_BANDWIDTH_HZ, 0),), False


def delays_of(answer: str) -> list[float]:
    """Electrical delays in seconds, of the answer to edelay: picoseconds, in newer firmware one for each channel."""
    found = []
    for word in answer.split():
        try:
            found.append(float(word) * 1e-12)
        except ValueError:  # what is around the numbers differs
            continue
    return found


def parse_scan(lines: list[str], frequencies_hz: Frequencies, channels: int) -> NDArray[np.complex128]:
    """Values of a scan, (channels, points), of lines of frequency, then real and imaginary part of each channel.

    Raises
    ------
    ValueError
        Saying what is there instead.
    """
    if len(lines) != len(frequencies_hz):
        raise ValueError(f"{len(lines)} lines" + (f", the first {lines[0]!r}" if lines else ""))
    values = np.empty((len(lines), 1 + 2 * channels))
    for row, line in zip(values, lines, strict=True):
        words = line.split()
        if len(words) != len(row):
            raise ValueError(repr(line))
        try:
            row[:] = [float(word) for word in words]
        except ValueError:
            raise ValueError(repr(line)) from None
    off = np.abs(values[:, 0] - frequencies_hz)
    if not (off <= _OFF_HZ).all():
        wrong = int(np.argmin(off <= _OFF_HZ))
        raise ValueError(f"{values[wrong, 0]:.12g} Hz in place of {frequencies_hz[wrong]:.12g} Hz")
    return np.ascontiguousarray(values[:, 1:]).view(np.complex128).T
