"""What a vector network analyser corrects its readings with, as it says itself, and what has changed since."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self


@dataclass(frozen=True)
class Calibration:
    """The correction in use at one moment.

    Parameters
    ----------
    on : bool
        Whether readings are corrected.
    name : str
        Of the calibration set; empty if there is none.
    date : str
        When the set was saved, as ISO 8601; empty if the instrument does not tell.
    description : str
        As somebody typed it in.
    extended : bool
        Whether port extensions shift the reference planes.
    extensions_s : dict of port to float
        Delay by which each port's reference plane is shifted, in seconds.
    """

    on: bool
    name: str = ""
    date: str = ""
    description: str = ""
    extended: bool = False
    extensions_s: Mapping[int, float] = field(default_factory=dict)

    def __str__(self) -> str:
        if not self.on:
            told = "off"
        else:
            told = f"on, set {self.name!r}" if self.name else "on, no calibration set"
            told += f" of {self.date}" if self.date else ""
        if self.extended:
            delays = ", ".join(f"port {port} {delay * 1e12:.6g} ps" for port, delay in self.extensions_s.items())
            told += f", extensions on ({delays})"
        return told

    def as_dict(self) -> dict[str, Any]:
        """JSON-compatible."""
        return {**asdict(self), "extensions_s": {str(port): s for port, s in self.extensions_s.items()}}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """What :meth:`as_dict` gave."""
        return cls(**{**values, "extensions_s": {int(port): s for port, s in values["extensions_s"].items()}})

    def change(self, later: Calibration) -> str:
        """What is different `later`, as the end of a sentence; empty if nothing is.

        Delays of extensions count only where extensions are on, the set only where correction is.
        """
        return "" if self._acting() == later._acting() else f"was {self}; is {later}"

    def _acting(self) -> tuple[Any, ...]:
        correction = (self.name, self.date) if self.on else ()
        return correction, self.on, dict(self.extensions_s) if self.extended else {}
