"""An emulated Copper Mountain analyser, as S2VNA shows it: a C4220 in front of a simulated network.

After the S2VNA and S4VNA SCPI programming manual. The fields of the identity are separated by a comma and a space.
Older versions of the program know no binary transfer: `binary` off.
"""

from __future__ import annotations

from labtrain.clock import Clock
from labtrain.drivers.emulators.ports import NetworkPort
from labtrain.drivers.emulators.scpi.status import ScpiError
from labtrain.drivers.emulators.scpi.table import command
from labtrain.drivers.emulators.scpi.values import Choice
from labtrain.drivers.emulators.vna.family import Family, decades
from labtrain.drivers.emulators.vna.numbered_traces import NumberedTraces
from labtrain.drivers.scpi import EMULATOR


class CopperMountain(NumberedTraces):
    """The analyser in front of a world.

    Parameters
    ----------
    network, clock, timing
        As of :class:`~labtrain.drivers.emulators.vna.analyser.Analyser`.
    binary : bool
        Whether the firmware knows binary transfer.
    """

    identity = f"CMT, C4220, {EMULATOR}, 23.3.1/1"
    most_channels = 16
    family = Family(
        lowest_hz=100e3,
        highest_hz=20e9,
        lowest_dbm=-60.0,
        highest_dbm=10.0,
        preset_dbm=0.0,
        if_bandwidths_hz=decades(1, 1e6),
        preset_if_bandwidth_hz=10e3,
        most_points=500_001,
        fewest_points=2,
        most_averages=999,
    )

    def __init__(self, network: NetworkPort, clock: Clock, *, timing: bool = False, binary: bool = True) -> None:
        self.binary = binary
        super().__init__(network, clock, timing=timing)

    @command("FORMat[:DATA]", Choice("ASCii", "REAL", "REAL32"))
    def _set_kind(self, kind: str) -> None:
        if kind != "ASC" and not self.binary:
            raise ScpiError(-224)
        super()._set_kind(kind)
