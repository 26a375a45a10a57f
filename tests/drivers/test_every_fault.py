"""Every driver x every scripted fault of its emulator: recovered or one clear error, and never a wrong value.

    python -m pytest -s tests/drivers/test_every_fault.py

prints the table. Sessions of many messages meet each fault at some of them, spread evenly; with LABTRAIN_ALL_FAULTS=1
at each one, which takes minutes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from labtrain import registry
from labtrain.clock import Clock
from labtrain.drivers.emulators.emulator import Emulator
from labtrain.drivers.emulators.plain import Network, Pixels
from labtrain.drivers.instrument import Instrument
from labtrain.drivers.metasurface.metasurface import Metasurface
from labtrain.drivers.sensors.sensor import Sensor
from labtrain.drivers.testing import OUTCOMES, Matrix, fault_matrix
from labtrain.drivers.vna.vna import Vna

DRIVERS = {
    name: driver
    for name in registry.names("drivers")
    if issubclass(driver := registry.resolve("drivers", name), Instrument)
}
MOST = None if os.environ.get("LABTRAIN_ALL_FAULTS") else 8
GRID = np.linspace(1e9, 1.4e9, 5)
MATRICES: dict[str, Matrix] = {}


class Thermometer:
    """A SensorPort."""

    def read(self, name: str) -> float:
        return 20.0 + len(name)


def swept(vna: Vna) -> Any:
    vna.configure(GRID)
    vna.rf(True)
    return [vna.sweep(), vna.sweep()]


def shown(surface: Metasurface) -> Any:
    states = np.arange(surface.n_pixels) % (1 << surface.bits)
    surface.set_pattern(states[::-1])
    if surface.sequence_capacity:
        surface.set_sequence([states, states[::-1]][: surface.sequence_capacity])
        surface.show(0)
    else:
        surface.set_pattern(states)
    return surface.pattern if surface.can_read else states


def read(sensor: Sensor) -> Any:
    return [sensor.read(), sensor.read()]


def bench(driver: type[Instrument]) -> tuple[Callable[[Clock], Emulator], Callable[[Any], Any], Callable[[Any], Any]]:
    """An emulator without noise, a session that ends in values, and what the instrument then really does."""
    config: Any = driver.Config()
    emulator, options = registry.emulator_of(driver), driver.emulator_options(config)
    if issubclass(driver, Vna):
        return lambda clock: emulator(Network(), clock, **options), swept, lambda found: getattr(found, "rf", None)
    if issubclass(driver, Metasurface):
        link: Any = None
        surface: Metasurface = driver(link or _nowhere(), config, _nowhere())
        elements = surface.shape[0] * surface.shape[1]
        world = lambda: Pixels(elements, surface.bits)  # noqa: E731
        return lambda clock: emulator(world(), clock, **options), shown, lambda found: found.surface.pattern
    assert issubclass(driver, Sensor), "a new kind of instrument: say here what a session of it is"
    return lambda clock: emulator(Thermometer(), clock, **options), read, lambda found: None


def _nowhere() -> Any:
    from unittest.mock import MagicMock

    return MagicMock()


@pytest.mark.parametrize("name", DRIVERS)
def test_a_fault_is_recovered_from_or_one_clear_error(name: str) -> None:
    emulator, session, state = bench(DRIVERS[name])
    matrix = fault_matrix(DRIVERS[name], emulator, session, state=state, most=MOST)
    MATRICES[name] = matrix
    assert not matrix.bad, matrix


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Not a test of its own: tells what the others found."""
    heads = {"clear error": "one error", "WRONG VALUE": "wrong", "UNSAFE": "unsafe", "UNCLEAR ERROR": "unclear"}
    columns = [heads.get(outcome, outcome) for outcome in OUTCOMES]
    lines = ["driver".ljust(22) + "messages  cases" + "".join(f"  {column}" for column in columns)]
    for name, matrix in MATRICES.items():
        counts = [str(matrix.count(outcome)).rjust(len(c) + 2) for outcome, c in zip(OUTCOMES, columns, strict=True)]
        lines.append(f"{name:<22}{len(matrix.messages):>8}{len(matrix.rows):>7}{''.join(counts)}")
    with capsys.disabled():
        print("", *lines, sep="\n")
    assert all(len(line) <= 100 for line in lines)
