"""Settings that every rig has: how often a drive is measured, and what the rig draws."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Discriminator, Field, Tag, ValidationError, field_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from labtrain.config import Registered, Section
from labtrain.drivers.address import SIM
from labtrain.drivers.device import DeviceConfig
from labtrain.drivers.sensors.sensor import PowerMeter
from labtrain.errors import InputError
from labtrain.limits import did_you_mean
from labtrain.sim.disturbances import Known

_Power = Annotated[float, Field(gt=0, le=1e9)]
Watts = Annotated[
    Annotated[_Power, Tag("number")] | Annotated[dict[str, _Power], Tag("parts")],
    Discriminator(lambda value: "parts" if isinstance(value, dict) else "number"),  # errors are about that one alone
]


class RigConfig(Section):
    """Keys that every rig's Config has."""

    PARTS: ClassVar[tuple[str, ...]] = ()
    """Parts whose watts may be stated one by one; empty: of any names."""

    repeats: int = Field(1, ge=1, description="shots averaged for each drive; each costs its time")
    power_meter: Annotated[DeviceConfig, Registered("drivers", "driver", PowerMeter, "a power meter")] | None = Field(
        None, description="a power meter in the rig's supply, whose joules are kept with a run"
    )
    watts: Watts | None = Field(
        None, description="that the rig draws while it measures, for joules estimated from its time per shot"
    )

    @field_validator("watts")
    @classmethod
    def _has_parts(cls, watts: float | dict[str, float] | None) -> float | dict[str, float] | None:
        if watts == {}:
            raise ValueError("names no part; give parts with their watts, one number for all, or leave it out")
        if isinstance(watts, dict) and cls.PARTS and (unknown := [name for name in watts if name not in cls.PARTS]):
            raise ValidationError.from_exception_data("watts", [cls._no_part(name) for name in unknown])
        return watts

    @classmethod
    def _no_part(cls, name: str) -> InitErrorDetails:
        told = f"this rig has no such part, known: {', '.join(cls.PARTS)}{did_you_mean(name, cls.PARTS)}"
        return {"type": PydanticCustomError("part", "{told}", {"told": told}), "loc": (name,), "input": name}

    @property
    def total_watts(self) -> float:
        """Sum over the parts; 0 where none are stated."""
        parts = self.watts if isinstance(self.watts, dict) else {"rig": self.watts or 0.0}
        return sum(parts.values())

    @field_validator("power_meter")
    @classmethod
    def _is_real(cls, section: DeviceConfig | None) -> DeviceConfig | None:
        if getattr(section, "address", None) == SIM:
            raise ValueError("address is sim, and a simulated rig draws no power; give the meter's, or leave it out")
        return section

    def files(self) -> dict[str, Path]:
        """Files that the rig reads when it is opened or commissioned, by their keys below ``rig``."""
        return {}

    def disturbances(self) -> Known:
        """What can happen to the world that these settings simulate.

        Raises
        ------
        InputError
            If they simulate none that could be disturbed.
        """
        raise InputError(f"a rig of type {getattr(self, 'type', '?')!r} simulates nothing that could be disturbed")
