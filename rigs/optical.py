"""An optical bench: drives become patterns of a spatial light modulator, frames of a camera the responses."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from labtrain.clock import Clock
from labtrain.rigs.optical_bench import FrameBench, SimulatedFrames
from labtrain.rigs.optical_config import OpticalConfig
from labtrain.rigs.optical_layer import OpticalLayer, SimulatedBench
from labtrain.rigs.rig import Rig
from labtrain.sim.optical import OpticalWorld


class OpticalRig(Rig):
    """The simulated bench alone: a layer for each input region of its modulator."""

    Config = OpticalConfig

    config: OpticalConfig

    def __init__(self, config: OpticalConfig, clock: Clock) -> None:
        super().__init__(config, clock)
        self._bench: SimulatedBench | None = None

    def build_world(self) -> OpticalWorld:
        """A new bench, before its first shot, as the first layer sees it."""
        return self._worlds()[0]

    def _worlds(self) -> list[OpticalWorld]:
        config = self.config
        return [OpticalWorld(parameters, config.seed, workers=config.workers) for parameters in config.benches]

    def open(self) -> None:
        """Build the bench; no light leaves it."""
        config = self.config
        self._bench = bench = SimulatedBench(self._worlds())
        self.layers = tuple(
            OpticalLayer(number, bench, config.settle_s, config.readout_s, config.workers, self.clock)
            for number in range(len(bench.worlds))
        )

    def close(self) -> None:
        try:
            super().close()
        finally:
            self._bench = None

    @property
    def world(self) -> OpticalWorld:
        """The simulated bench as the first layer sees it, to look into it; :meth:`disturb` reaches all layers.

        Raises
        ------
        InstrumentError
            If the rig is not open, or another thread opened it.
        """
        return self._opened().worlds[0]

    @property
    def bench(self) -> FrameBench:
        """Modulator and camera as commissioning sees them: patterns of all cells and frames of all pixels.

        A new one each time, whose patterns are counted from 0 and are no shots of a layer.

        Raises
        ------
        InstrumentError
            If the rig is not open, or another thread opened it.
        """
        return SimulatedFrames(self.world, self.clock, self.config.settle_s, self.config.readout_s)

    def restart(self, seed: int) -> None:
        """Shot 0 of a trial with its own noise and drift; disturbances are undone."""
        self._opened().restart(seed)

    @property
    def next_shot(self) -> int:
        return self._opened().shot

    def _disturb(self, shot: int, name: str, values: dict[str, Any]) -> None:
        self._opened().disturb(shot, name, values)

    def provenance(self) -> dict[str, Any]:
        config = self.config
        return {
            "fidelity": config.fidelity,
            "instruments": {"bench": "simulated"},
            "world": {"type": "optical", "parameters": asdict(config.world.parameters())},
        }

    def environment(self) -> dict[str, float]:
        """Power of the simulated laser at the latest shot, 1 as it was built."""
        return self._opened().environment()

    def _opened(self) -> SimulatedBench:
        self.check_owner()
        assert self._bench is not None  # open() sets it before it makes this thread the owner
        return self._bench
