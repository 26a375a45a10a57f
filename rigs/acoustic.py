"""An acoustic cavity with nonlinear membranes: speakers play tones, microphones give spectral amplitudes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, fields
from typing import Any, Literal

import numpy as np
from pydantic import Field

from labtrain.clock import Clock
from labtrain.layer import Array, Layer, LayerInfo, Shots
from labtrain.rigs.rig import Rig, RigConfig
from labtrain.sim.acoustic import HOLD, AcousticParameters, AcousticWorld

_DEFAULT = AcousticParameters()


class AcousticRig(Rig):
    """The simulated cavity, for algorithm work: no instrument stands in front of it and nothing waits."""

    class Config(RigConfig):
        """Settings of the acoustic rig; what is not named here is as in AcousticParameters."""

        type: Literal["acoustic"]
        fidelity: Literal["physics"] = Field("physics", description="physics: the cavity itself, without instruments")
        seed: int = Field(0, description="of noise and drift, until a trial restarts the rig with its own")
        geometry_seed: int = Field(_DEFAULT.geometry_seed, description="where everything stands")
        speakers: int = Field(_DEFAULT.speakers, ge=1, le=16)
        microphones: int = Field(_DEFAULT.microphones, ge=1, le=16)
        membranes: int = Field(_DEFAULT.membranes, ge=1, le=16)
        discs: int = Field(_DEFAULT.discs, ge=0, le=10, description="rigid scatterers standing in the cavity")
        tone_bins: tuple[int, ...] = Field(_DEFAULT.tone_bins, description="tones as multiples of 48000/2048 Hz")
        full_drive_m3_s: float = Field(_DEFAULT.full_drive_m3_s, gt=0, description="volume velocity at drive 1")
        cubic_n_m3: float = Field(_DEFAULT.cubic_n_m3, ge=0, description="cubic spring of the membranes; 0: linear")
        noise: float = Field(_DEFAULT.noise, ge=0, le=1, description="share of each channel's rms amplitude")
        temperature_c: float = Field(_DEFAULT.temperature_c, ge=-20, le=60)
        drift_walk_k: float = Field(_DEFAULT.drift_walk_k, ge=0, description="temperature's random step per 256 shots")
        drift_sine_k: float = Field(_DEFAULT.drift_sine_k, ge=0, description="amplitude of the temperature's sine")
        drift_period_shots: float = Field(_DEFAULT.drift_period_shots, gt=0, description="period of that sine")
        scatterer_moves_at_shot: int | None = Field(None, ge=0, description="shot at which disc 0 is bumped into")
        scatterer_move_m: float = Field(_DEFAULT.scatterer_move_m, description="how far disc 0 then moves along x")
        settle_periods: int = Field(6, ge=0, description="periods of 2048/48000 s before recording; 6 are 0.26 s")
        average_periods: int = Field(2, ge=1, description="periods recorded and averaged; 2 are 0.09 s")

    config: Config

    def __init__(self, config: Config, clock: Clock) -> None:
        super().__init__(config, clock)
        self._layer: AcousticLayer | None = None

    def parameters(self) -> AcousticParameters:
        """The cavity that the config describes."""
        chosen = self.config.model_dump()
        return AcousticParameters(**{f.name: chosen[f.name] for f in fields(AcousticParameters) if f.name in chosen})

    def build_world(self) -> AcousticWorld:
        """A new cavity, before its first shot."""
        return AcousticWorld(self.parameters(), self.config.seed)

    @property
    def world(self) -> AcousticWorld:
        """The cavity in use, to disturb it.

        Raises
        ------
        InstrumentError
            If the rig is not open, or another thread opened it.
        """
        return self._opened().world

    def open(self) -> None:
        """Build the cavity."""
        self._layer = AcousticLayer(self.build_world(), self.config, self.clock)
        self.layers = (self._layer,)

    def close(self) -> None:
        super().close()
        self._layer = None

    def restart(self, seed: int) -> None:
        """Shot 0 of a trial with its own noise and drift; disturbances are undone."""
        self._opened().restart(seed)

    def provenance(self) -> dict[str, Any]:
        return {
            "fidelity": self.config.fidelity,
            "instruments": {"cavity": "simulated"},
            "world": {"type": "acoustic", "parameters": asdict(self.parameters())},
        }

    def environment(self) -> dict[str, float]:
        """Temperature in the cavity at the latest shot: the reading that belongs to a chunk just measured."""
        layer = self._opened()
        return layer.world.environment(max(layer.shot - 1, 0))

    def _opened(self) -> AcousticLayer:
        self.check_owner()
        assert self._layer is not None  # open() sets it before it makes this thread the owner
        return self._layer


class AcousticLayer(Layer):
    """Drives in [0, 1], one per speaker and tone, to amplitudes in pascal, one per microphone and tone."""

    name = "acoustic"

    def __init__(self, world: AcousticWorld, config: AcousticRig.Config, clock: Clock) -> None:
        self.world = world
        self.shot = 0  # number of the next shot
        self._clock = clock
        period_s = 1.0 / world.parameters.bin_hz
        described = json.dumps(asdict(world.parameters), sort_keys=True)
        self._info = LayerInfo(
            n_in=world.n_in,
            n_out=world.n_out,
            seconds_per_shot=(config.settle_periods + config.average_periods) * period_s,
            max_batch=HOLD,
            y_unit="Pa",
            fingerprint="acoustic:" + hashlib.sha256(described.encode()).hexdigest()[:16],
            simulated=True,
            settle_s=config.settle_periods * period_s,
            integration_s=config.average_periods * period_s,
        )

    @property
    def info(self) -> LayerInfo:
        return self._info

    def restart(self, seed: int) -> None:
        self.shot = 0
        self.world.restart(seed)

    def _measure(self, x: Array) -> Iterator[Shots]:
        done = 0
        while done < len(x):
            # A chunk ends where the world may drift: then no block is solved twice and one reading describes it.
            part = x[done : done + HOLD - self.shot % HOLD]
            started_s = self._clock.now()
            y = self.world.respond(part, self.shot)
            self.shot += len(part)
            done += len(part)
            yield Shots(part, y, None, np.ones(len(part), dtype=np.int64), started_s)

    def state(self) -> dict[str, Any]:
        return {"shot": self.shot, **self.world.state()}

    def restore(self, state: dict[str, Any]) -> None:
        self.shot = int(state["shot"])
        self.world.restore(state)
