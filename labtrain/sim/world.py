"""What every simulated world offers besides the ports of its physics."""

from __future__ import annotations

from typing import Any, Protocol


class World(Protocol):
    """One piece of simulated physics, owned by a rig and shared by all emulators in front of it.

    Noise is counter-based (Philox keyed by seed and shot number) and drift is a function of the shot number, so the
    answer to a shot does not depend on the batch it came in, on the order of arrival or on retries.
    """

    def disturb(self, name: str, **values: float) -> None:
        """Change the world as a lab would: ``"temperature", kelvin=0.5``; raises InputError for an unknown name."""

    def state(self) -> dict[str, Any]:
        """Seed, shot number and disturbances, as JSON-compatible values."""

    def restore(self, state: dict[str, Any]) -> None:
        """Return to a state that :meth:`state` gave."""
