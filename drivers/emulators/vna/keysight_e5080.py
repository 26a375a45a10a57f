"""An emulated Keysight E5080B in front of a simulated network.

It has the PNA's firmware, of whose commands for measurements by name (``CALCulate:PARameter``) Keysight's help says
that they are superseded: this emulator knows those by number (``CALCulate:MEASure``) alone.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from labtrain.drivers.emulators.scpi.table import Entry
from labtrain.drivers.emulators.vna.keysight_pna import FAMILY, KeysightPna
from labtrain.drivers.scpi import EMULATOR


class KeysightE5080(KeysightPna):
    """An E5080B."""

    identity = f"Keysight Technologies,E5080B,{EMULATOR},A.15.20.08"
    family = replace(FAMILY, lowest_hz=9e3, highest_hz=9e9, lowest_dbm=-60.0, highest_dbm=15.0, preset_dbm=0.0)

    @classmethod
    @cache
    def entries(cls) -> tuple[Entry, ...]:
        named = ("CALCulate#:PARameter", "CALCulate#:DATA")
        return tuple(entry for entry in super().entries() if not entry.pattern.startswith(named))
