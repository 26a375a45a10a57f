"""What every simulated world offers besides the ports of its physics."""

from __future__ import annotations

from typing import Any, Protocol

from labtrain.sim.disturbances import Known


class World(Protocol):
    """One piece of simulated physics, owned by a rig and shared by all emulators in front of it.

    Noise is counter-based (Philox keyed by seed and shot number) and drift is a function of the shot number, so the
    answer to a shot does not depend on the batch it came in, on the order of arrival or on retries.
    """

    @property
    def disturbances(self) -> Known:
        """What can happen to it: names, what they mean, values with ranges."""

    def disturb(self, name: str, *, at_shot: int = 0, **values: Any) -> None:
        """Change the world from a shot on as a lab would: ``"temperature", kelvin=0.5``.

        Raises RefusedDisturbance, an InputError, for what it does not know. The changes of several disturbances add up.
        """

    def restart(self, seed: int) -> None:
        """Another seed for noise and drift; disturbances are undone."""

    def state(self) -> dict[str, Any]:
        """Seed, shot number and disturbances, as JSON-compatible values."""

    def restore(self, state: dict[str, Any]) -> None:
        """Return to a state that :meth:`state` gave."""
