"""The microwave rig with every network analyser and every metasurface: the room's answers, whoever reads them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from labtrain import registry
from labtrain.drivers.metasurface.metasurface import Metasurface
from labtrain.drivers.vna.vna import Vna
from tests.rigs.microwaves import DRIVES, rig

DRIVERS = {name: registry.resolve("drivers", name) for name in registry.names("drivers")}
ANALYSERS = [name for name, driver in DRIVERS.items() if issubclass(driver, Vna)]
SURFACES = [name for name, driver in DRIVERS.items() if issubclass(driver, Metasurface)]

# Analysers that end at 3 GHz get a room made for waves twice as long.
SMALL: dict[str, Any] = {
    "frequencies_hz": {"start": 2.1e9, "stop": 2.5e9, "points": 5},
    "world": {"f0_hz": 2.3e9},
}
# What differs from binary numbers of 64 bits, read at the usual frequencies.
OF: dict[str, dict[str, Any]] = {
    "librevna": {"digits": 1e-3},
    "nanovna": {"digits": 1e-4, "changes": SMALL},
    "nanovna-v2": {"digits": 1e-4, "changes": SMALL},
}


def answers(fidelity: str, **changes: Any) -> np.ndarray:
    with rig(fidelity=fidelity, **changes) as opened:
        opened.commission()
        opened.restart(5)
        return opened.layers[0].forward(DRIVES[:10])


@pytest.mark.parametrize("name", ANALYSERS)
def test_an_analyser_reads_what_the_room_answers(name: str) -> None:
    of = OF.get(name, {})
    changes = {"vna": {"driver": name}, **of.get("changes", {})}
    measured, expected = (answers(fidelity, **changes) for fidelity in ("instruments", "physics"))
    np.testing.assert_allclose(measured, expected, rtol=0, atol=of.get("digits", 1e-10))
    assert np.abs(expected).max() > 0.5


@pytest.mark.parametrize("name", SURFACES)
def test_a_metasurface_shows_what_it_is_told(name: str) -> None:
    section = {"driver": name}
    measured, expected = (answers(fidelity, metasurface=section) for fidelity in ("instruments", "physics"))
    np.testing.assert_allclose(measured, expected, rtol=0, atol=1e-10)
