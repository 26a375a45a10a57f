"""RigPower, the joules that a rig draws, from a power meter that may fail without ending a run."""

from __future__ import annotations

import logging
from typing import Any

from labtrain.clock import Clock
from labtrain.drivers.sensors.energy import EnergyMeter
from labtrain.drivers.sensors.sensor import PowerMeter
from labtrain.errors import InstrumentError

AGAIN_S = 60.0  # before a meter that failed is tried again

log = logging.getLogger("labtrain")


class RigPower:
    """Joules since they were last asked for.

    A meter that does not answer costs a warning and joules, not the run: it is opened again after a while, and the gap
    is bridged as any other interval between two samples is.

    Parameters
    ----------
    meter : PowerMeter
        Opened by the rig.
    clock : Clock
    """

    def __init__(self, meter: PowerMeter, clock: Clock) -> None:
        self.meter, self._clock = meter, clock
        self._energy = EnergyMeter(meter, clock)
        self._told_j = 0.0
        self._again_s = -float("inf")

    @property
    def kind(self) -> str:
        """``measured``, or ``emulated`` by a meter that says of itself that it is an emulator."""
        return "emulated" if self.meter.emulated else "measured"

    def provenance(self) -> dict[str, Any]:
        """Which meter it is, and what it is asked; JSON values."""
        driver = getattr(self.meter.config, "driver")  # noqa: B009 (each driver declares it as a Literal of its own)
        told = {"kind": "emulated" if self.meter.emulated else "real", "driver": driver, "address": self.meter.address}
        return told | {
            "address": self.meter.address,
            "identity": self.meter.identity,
            "settings": self.meter.settings(),
        }

    def since(self) -> float:
        """Joules since the last call; 0.0 at the first one, and while the meter does not answer."""
        try:
            if not self.meter.is_open:
                if self._clock.monotonic() < self._again_s:
                    return 0.0
                self.meter.open()
            if not self._energy.samples:
                self._energy.start()
            total_j = self._energy.sample()
        except InstrumentError as error:
            log.warning("%s; joules are missing until it answers again", error)
            self.meter.drop()
            self._again_s = self._clock.monotonic() + AGAIN_S
            return 0.0
        told_j, self._told_j = self._told_j, total_j
        return total_j - told_j
