"""Where patterns become sweeps: the instruments of the microwave rig, or the simulated room without them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from labtrain.clock import Clock
from labtrain.drivers.metasurface.metasurface import Metasurface
from labtrain.drivers.vna.vna import VnaConfig, ports_of
from labtrain.sim.microwave import MicrowaveWorld

Complex = NDArray[np.complex128]
Frequencies = NDArray[np.float64]
States = NDArray[np.int64]
T = TypeVar("T", bound=np.generic)

LARGEST = 256  # shots of a chunk
LONGEST_S = 0.25  # of a chunk: between chunks a run can be stopped
BLOCK = 64  # patterns that the simulated room is asked for at once


class Readings(NamedTuple):
    """Consecutive shots: S-parameters (n, s_parameters, points), attempts (n,), time of the first."""

    s: Complex
    attempts: NDArray[np.int64]
    started_s: float


def written_s(surface: Metasurface, rest_s: float) -> float:
    """A shot's share of writing patterns, in sequences of as many as make a chunk; `rest_s` is what else it takes."""
    if not surface.sequence_capacity:
        return surface.write_s
    n = 1
    while n < min(surface.sequence_capacity, LARGEST) and surface.sequence_s(n + 1) + (n + 1) * rest_s <= LONGEST_S:
        n += 1
    return surface.sequence_s(n) / n


class Bench(ABC):
    """Measures patterns and counts shots."""

    def __init__(self) -> None:
        self.shot = 0  # number of the next shot

    @property
    @abstractmethod
    def seconds_per_shot(self) -> tuple[float, float, float]:
        """On real instruments: in all, of which settling, of which sweeping."""

    @property
    @abstractmethod
    def max_batch(self) -> int:
        """Largest chunk."""

    @abstractmethod
    def measure(self, patterns: States) -> Iterator[Readings]:
        """Measure patterns (n, n_pixels) in order, chunk by chunk.

        Raises
        ------
        MeasurementError
            If a shot stays bad; all before it have been handed out.
        """

    def paired(self, rows: NDArray[T], patterns: States) -> Iterator[tuple[NDArray[T], Readings]]:
        """Measure patterns (n, n_pixels); the readings of each chunk come with its share of the rows (n, ...)."""
        done = 0
        for readings in self.measure(patterns):
            yield rows[done : done + len(readings.s)], readings
            done += len(readings.s)

    @abstractmethod
    def restart(self, seed: int) -> None:
        """Shot 0, with this seed where noise is simulated."""

    def refuse_if_real(self) -> None:  # noqa: B027 (a simulated room can be disturbed)
        """Raise InputError if what stands before the instruments cannot be disturbed by software."""

    @abstractmethod
    def disturb(self, shot: int, name: str, values: dict[str, Any]) -> None:
        """Something happens to the simulated room from this shot on."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Shot number and what is simulated, JSON-compatible."""

    @abstractmethod
    def restore(self, state: dict[str, Any]) -> None:
        """Return to a state that :meth:`state` gave."""

    def calm(self) -> None:  # noqa: B027 (what does not radiate has nothing to forget)
        """The instruments have been made safe: the next shot switches the source on again."""


class RoomBench(Bench):
    """The simulated room, asked directly.

    Parameters
    ----------
    world : MicrowaveWorld
    frequencies_hz : ndarray, (points,)
    vna : VnaConfig
        What a sweep would be set to.
    elements : ndarray, (world pixels,)
        Pixel that moves each pixel of the room; -1 for none.
    surface : Metasurface
        Never opened: tells what a pattern would take.
    clock : Clock
    """

    def __init__(
        self,
        world: MicrowaveWorld,
        frequencies_hz: Frequencies,
        vna: VnaConfig,
        elements: States,
        surface: Metasurface,
        clock: Clock,
    ) -> None:
        super().__init__()
        self.world, self._clock = world, clock
        self._frequencies_hz, self._vna, self._elements = frequencies_hz, vna, elements
        self._surface = surface
        self._moved = _inverted(elements, surface.n_pixels)

    @property
    def seconds_per_shot(self) -> tuple[float, float, float]:
        settle_s, vna = self._surface.config.settle_s, self._vna
        sources = len({ports_of(name)[1] for name in vna.s_parameters})
        sweep_s = len(self._frequencies_hz) / vna.if_bandwidth_hz * vna.averages * sources
        return written_s(self._surface, settle_s + sweep_s) + settle_s + sweep_s, settle_s, sweep_s

    @property
    def max_batch(self) -> int:
        return LARGEST

    def measure(self, patterns: States) -> Iterator[Readings]:
        vna, done = self._vna, 0
        ports = [ports_of(name) for name in vna.s_parameters]
        while done < len(patterns):
            started_s, until, first = self._clock.now(), self._clock.monotonic() + LONGEST_S, done
            blocks: list[Complex] = []
            while done < len(patterns) and done - first < LARGEST and (not blocks or self._clock.monotonic() < until):
                block = patterns[done : done + BLOCK]
                blocks.append(
                    self.world.respond(
                        self._shown(block),
                        self.shot,
                        self._frequencies_hz,
                        ports,
                        if_bandwidth_hz=vna.if_bandwidth_hz,
                        power_dbm=vna.power_dbm,
                        averages=vna.averages,
                    )
                )
                self.shot += len(block)
                done += len(block)
            yield Readings(np.concatenate(blocks), np.ones(done - first, dtype=np.int64), started_s)

    def differences(self, patterns: States, pixels: States, states: States) -> tuple[Complex, Complex]:
        """What the next shot would read of patterns (n, n_pixels) without noise, and by how much changes move that.

        Parameters
        ----------
        patterns : ndarray, (n, n_pixels)
        pixels, states : ndarray, (n, changes, together)
            Pixels that change together, -1 where there are fewer, and their new states.

        Returns
        -------
        s : ndarray, (n, s_parameters, points), complex128
        moved : ndarray, (n, changes, s_parameters, points), complex128
        """
        shape = (*pixels.shape[:2], -1)
        return self.world.differences(
            self._shown(patterns),
            np.where(pixels[..., None] >= 0, self._moved[pixels], -1).reshape(shape),
            np.repeat(states, self._moved.shape[1], axis=2),
            self.shot,
            self._frequencies_hz,
            [ports_of(name) for name in self._vna.s_parameters],
        )

    def _shown(self, patterns: States) -> States:
        """States of the pixels of the room, (n, world pixels)."""
        return np.where(self._elements >= 0, patterns[:, self._elements], 0)

    def restart(self, seed: int) -> None:
        self.shot = 0
        self.world.restart(seed)

    def disturb(self, shot: int, name: str, values: dict[str, Any]) -> None:
        self.world.disturb(name, at_shot=shot, **values)

    def state(self) -> dict[str, Any]:
        return {"shot": self.shot, "world": self.world.state()}

    def restore(self, state: dict[str, Any]) -> None:
        self.shot = int(state["shot"])
        self.world.restore(state["world"])


def _inverted(elements: States, n_pixels: int) -> States:
    """Pixels of the room that each pixel moves, (n_pixels, most that any moves); -1 where there are fewer."""
    moved = [np.flatnonzero(elements == pixel) for pixel in range(n_pixels)]
    found = np.full((n_pixels, max(len(members) for members in moved)), -1, dtype=np.int64)
    for pixel, members in enumerate(moved):
        found[pixel, : len(members)] = members
    return found
