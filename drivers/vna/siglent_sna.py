"""Siglent SNA5000A and SNA6000A, after what their clients send: the language is that of Keysight's ENA."""

from __future__ import annotations

from typing import Literal

from labtrain.drivers.vna.keysight_ena import KeysightEna
from labtrain.drivers.vna.vna import VnaConfig
from labtrain.limits import Limit


class SiglentSna(KeysightEna):
    """A Siglent SNA."""

    class Config(VnaConfig):
        """Settings of a Siglent SNA."""

        driver: Literal["siglent-sna"] = "siglent-sna"

    EMULATOR = "labtrain.drivers.emulators.vna.siglent_sna:SiglentSna"
    MODELS = r"Siglent[^,]*,SNA[56]\d\d\dA"
    MODELS_TOLD = "Siglent SNA5000A, SNA6000A"
    TRIED_ON = "emulator"

    if_bandwidth_range = Limit(10, 3e6, "Hz")
    points_range = Limit(2, 10_001)

    HOLD = "TRIG:SOUR MAN;:INIT1:CONT 1;:ABOR"
    OFF = "OUTP 0;:TRIG:SOUR MAN;:INIT1:CONT 0;:ABOR"
    TRIGGER = "TRIG:SING;*OPC?"
    X = "CALC1:DATA:XAXIS?"
    DATA = "SENS1:DATA:CORR? {s}"
