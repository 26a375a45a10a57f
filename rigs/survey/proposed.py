"""What a survey proposes for one key of a configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Proposal:
    """One key of the configuration: what it was, what it should be, and why."""

    key: str
    before: Any
    value: Any
    reason: tuple[str, ...]
