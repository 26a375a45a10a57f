"""Numbers as a person reads them: shares, durations, sizes; one place, so that every table and line agrees."""

from __future__ import annotations

import math
from collections.abc import Sequence


def hours(seconds: float) -> str:
    """h:mm:ss, rounded to whole seconds: ``0:01:05``; hours are not folded into days."""
    minutes, second = divmod(round(max(0.0, seconds)), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02d}:{second:02d}"


def duration(seconds: float) -> str:
    """Seconds with one decimal below a minute (``12.3 s``), h:mm:ss from there on."""
    return f"{seconds:.1f} s" if round(seconds, 1) < 60 else hours(seconds)


def points(share: float | None) -> str:
    """A share of 1 in percent, one decimal, without the sign; a dash for what is not known (None, nan)."""
    return "-" if share is None or share != share else f"{100 * share:.1f}"


def percent(share: float | None) -> str:
    """As :func:`points`, with the percent sign."""
    text = points(share)
    return text if text == "-" else f"{text} %"


def size(count: float) -> str:
    """Bytes in decimal units: ``812 B``, ``1.2 MB``."""
    if count < 999.5:
        return f"{count:.0f} B"
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 999.95:
            return f"{count:.1f} {unit}"
    return f"{count / 1000:.1f} TB"


def short(value: float) -> str:
    """Three digits, thousands as k, millions as M, ...: ``0.12``, ``950``, ``12.3k``."""
    for unit in ("", "k", "M", "G", "T"):
        if abs(value) < 999.5 or unit == "T":
            break
        value /= 1000
    return f"{value:.3g}{unit}" if abs(value) < 999.5 else f"{value:.0f}{unit}"


def rate(per_second: float | None) -> str:
    """Per second: ``0.031/s``, ``1,234/s``; two significant digits below ten, whole numbers above, a dash for None."""
    if per_second is None:
        return "-/s"
    return f"{per_second:,.0f}/s" if per_second >= 10 else f"{per_second:.2g}/s"


def losses(values: Sequence[float], digits: int = 3) -> str:
    """Latest loss of each layer: ``layer 1 0.052, layer 2 -``; of a single one the number alone; nan is a dash."""
    numbers = ["-" if math.isnan(value) else f"{value:.{digits}g}" for value in values]
    if len(numbers) == 1:
        return numbers[0]
    return ", ".join(f"layer {i} {number}" for i, number in enumerate(numbers, start=1))


def trial_name(index: int, count: int, seed: int) -> str:
    """``trial 0 (1 of 3), seed 7``: numbered from 0 as files and options are."""
    return f"trial {index} ({index + 1} of {count}), seed {seed}"


def ablation_name(name: str, number: int, count: int) -> str:
    """``ablation 2 of 5: no skip``; `number` counts from 1, a `count` of 0 is not known."""
    of = f" of {count}" if count else ""
    return f"ablation {number}{of}: {name.replace('_', ' ')}"
