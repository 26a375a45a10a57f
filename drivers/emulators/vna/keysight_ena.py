"""Emulated Keysight (Agilent) ENA, E5071C and E5062A, in front of a simulated network.

After the SCPI command references of the E5071C and the E5061A/E5062A. Blocks have a length of six digits, which real
clients expect.
"""

from __future__ import annotations

from labtrain.drivers.emulators.vna.family import Family, decades
from labtrain.drivers.emulators.vna.numbered_traces import NumberedTraces
from labtrain.drivers.scpi import EMULATOR


class KeysightEna(NumberedTraces):
    """An E5071C."""

    identity = f"Agilent Technologies,E5071C,{EMULATOR},A.11.30"
    family = Family(
        lowest_hz=9e3,
        highest_hz=8.5e9,
        lowest_dbm=-55.0,
        highest_dbm=10.0,
        preset_dbm=0.0,
        if_bandwidths_hz=(*decades(10, 500e3),),
        preset_if_bandwidth_hz=70e3,
        most_points=20_001,
        fewest_points=2,
        most_averages=999,
    )


class KeysightE5062A(NumberedTraces):
    """An E5062A: four traces on each of four channels."""

    identity = f"Agilent Technologies,E5062A,{EMULATOR},A.03.54"
    most_traces = 4
    most_channels = 4
    family = Family(
        lowest_hz=300e3,
        highest_hz=3e9,
        lowest_dbm=-45.0,
        highest_dbm=10.0,
        preset_dbm=0.0,
        if_bandwidths_hz=(10, 30, 100, 300, 1e3, 3e3, 10e3, 30e3),
        preset_if_bandwidth_hz=30e3,
        most_points=1601,
        fewest_points=2,
        most_averages=999,
    )
