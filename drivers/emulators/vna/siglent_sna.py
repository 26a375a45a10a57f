"""An emulated Siglent SNA5000A in front of a simulated network.

After what clients of the SNA5000A send (LibreVNA's driver for it among them): the language is that of Keysight's ENA.
"""

from __future__ import annotations

from labtrain.drivers.emulators.vna.family import Family, decades
from labtrain.drivers.emulators.vna.numbered_traces import NumberedTraces
from labtrain.drivers.scpi import EMULATOR


class SiglentSna(NumberedTraces):
    """An SNA5012A."""

    identity = f"Siglent Technologies,SNA5012A,{EMULATOR},2.3.1.3.1"
    family = Family(
        lowest_hz=9e3,
        highest_hz=8.5e9,
        lowest_dbm=-55.0,
        highest_dbm=10.0,
        preset_dbm=0.0,
        if_bandwidths_hz=decades(10, 3e6),
        preset_if_bandwidth_hz=10e3,
        most_points=10_001,
        fewest_points=2,
        most_averages=999,
    )
