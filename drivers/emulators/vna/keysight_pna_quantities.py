"""Quantities of an emulated PNA: what commands take and queries tell."""

from __future__ import annotations

from labtrain.drivers.emulators.scpi.status import ScpiError
from labtrain.drivers.emulators.scpi.values import Number
from labtrain.drivers.emulators.vna.channel import (
    HIGHEST_DBM,
    HIGHEST_HZ,
    IF_BANDWIDTHS_HZ,
    LOWEST_DBM,
    LOWEST_HZ,
    MOST_POINTS,
    PRESET_DBM,
)

FREQUENCY = Number(LOWEST_HZ, HIGHEST_HZ, unit="HZ")
SPAN = Number(0, HIGHEST_HZ - LOWEST_HZ, unit="HZ")
BANDWIDTH = Number(min(IF_BANDWIDTHS_HZ), max(IF_BANDWIDTHS_HZ), unit="HZ", default=100e3)
POWER = Number(LOWEST_DBM, HIGHEST_DBM, unit="DBM", default=PRESET_DBM)
POINTS = Number(1, MOST_POINTS, whole=True, default=201)
SWEEP_TIME = Number(0, 86400.0, unit="S")


def told(limit: str, number: Number, value: float) -> str:
    """The answer to a query that may ask for a limit instead of the value."""
    return number.show({"MIN": number.low, "MAX": number.high}.get(limit, value))


def within(number: Number, value: float) -> float:
    """A value that came in a list.

    Raises
    ------
    ScpiError
        -222
    """
    if not number.low <= value <= number.high:
        raise ScpiError(-222)
    return value
