"""An acoustic cavity with nonlinear membranes: speakers play tones, microphones give spectral amplitudes."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labtrain.clock import Clock
from labtrain.drivers.device import Device
from labtrain.drivers.emulators.sound import SoundRoom
from labtrain.drivers.sound import SoundInterface
from labtrain.errors import InputError, InstrumentError
from labtrain.layer import LayerInfo, ShotSink
from labtrain.registry import resolve
from labtrain.rigs.acoustic_config import AcousticConfig
from labtrain.rigs.acoustic_layer import CavityLayer, SoundLayer
from labtrain.rigs.acoustic_shots import ShotProtocol
from labtrain.rigs.acoustic_sync import LoopbackSync, ReferenceSync
from labtrain.rigs.first_playback import introduce
from labtrain.rigs.multitone import Multitone
from labtrain.rigs.recovery import Recovery
from labtrain.rigs.rig import Rig
from labtrain.rigs.simulated_room import SimulatedRoom
from labtrain.rigs.waveforms import Waveforms
from labtrain.sim.acoustic import AcousticWorld
from labtrain.sim.waveform import CavityWaveform

Array = NDArray[np.float64]

COMMISSION_SHOTS = 16  # from which the noise is learned
MAINS_CLEARANCE_HZ = 5.0

log = logging.getLogger("labtrain")


class AcousticRig(Rig):
    """The simulated cavity alone, or a cavity behind the speakers and microphones of a converter, emulated or real."""

    Config = AcousticConfig

    config: AcousticConfig

    def __init__(self, config: AcousticConfig, clock: Clock) -> None:
        super().__init__(config, clock)
        self._layer: CavityLayer | SoundLayer | None = None
        self._world: AcousticWorld | None = None
        self._room: SoundRoom | None = None
        self._waveforms: Waveforms | None = None

    # -- building and opening ------------------------------------------------------------------------------------

    def build_world(self) -> AcousticWorld:
        """A new cavity, before its first shot."""
        return AcousticWorld(self.config.parameters(), self.config.seed)

    def sound_room(self, world: AcousticWorld) -> SoundRoom | None:
        """The emulated converter in front of a cavity; None where the cavity alone answers."""
        if self.config.audio is None:
            return None
        config, p = self.config, world.parameters
        room = CavityWaveform(world, config.rate_hz)
        return SoundRoom(
            room, config.converter.parameters(), config.rate_hz, p.speakers, p.microphones, seed=config.seed
        )

    def build_instruments(self) -> dict[str, Device]:
        """The driver of speakers and microphones, unopened; in a simulation with the emulated cavity behind it."""
        if not self.config.on_instruments:
            return {}
        config, self._room = self.config.sound, None
        if self.config.simulated:
            self._world = self.build_world()
            self._room = self.sound_room(self._world)
        driver: type[SoundInterface] = resolve("drivers", getattr(config, "driver"))  # noqa: B009 (each driver's Literal)
        return {"audio": driver.make("audio", config, self.clock, self._room)}

    @property
    def sound(self) -> SoundInterface:
        """Speakers and microphones, opened.

        Raises
        ------
        InstrumentError
            If the rig is not open, or has none.
        """
        self.check_owner()
        found = self.instruments.get("audio")
        if not isinstance(found, SoundInterface):
            raise InstrumentError("acoustic rig: it has no instruments; add a section rig.audio to its configuration")
        return found

    def multitone(self) -> Multitone:
        """The shots that the config describes."""
        config = self.config
        return Multitone(
            config.period_frames,
            config.tones,
            config.settle_periods,
            config.average_periods,
            config.shot.guard_periods,
            round(config.shot.ramp_s * config.rate_hz),
        )

    def open(self) -> None:
        """Build the cavity, or open the converter and learn its latency.

        Raises
        ------
        InstrumentError
            If the converter refuses, or nothing comes back.
        InputError
            For settings outside limits, or a first playback that nobody confirms.
        """
        if not self.config.on_instruments:
            self._world = self.build_world()
            self._layer = CavityLayer(self._world, self.config, self.clock)
        else:
            self._layer = self._open_sound()
        self.layers = (self._layer,)

    def _open_sound(self) -> SoundLayer:
        self.open_instruments()
        config, sound = self.config, self.instruments["audio"]
        assert isinstance(sound, SoundInterface)
        tones = self.multitone()
        if not config.simulated and not sound.emulated:
            introduce(sound, tones, config.shot.level, self.ask)
            self._warn_of_mains()
        simulation = None
        if self._world is not None and self._room is not None:
            simulation = SimulatedRoom(self._world, self._room, self._frames_averaged, self._loudness)
        protocol = ShotProtocol(
            sound,
            tones,
            config.shot.level,
            config.product_bins,
            seed=config.seed,
            two_clocks=bool(getattr(config.sound, "two_clocks", False)),
        )
        protocol.prepare(self.check)
        identity = sound.identity
        pascal = config.sound.pascal()
        scale = np.ones(sound.n_microphones) if pascal is None else pascal
        loop = [np.nan] if sound.has_loopback else []
        names = [f"microphone {i + 1}" for i in range(sound.n_microphones)] + ["loopback"] * sound.has_loopback
        known = np.full(sound.n_microphones, np.nan) if pascal is None else pascal
        self._waveforms = Waveforms(config.rate_hz, names, np.append(known, loop), config.shot.keep_bad)
        return SoundLayer(
            protocol,
            config,
            self._info(protocol, "FS" if pascal is None else "Pa"),
            scale,
            Recovery(config.recovery, self.clock, lambda: self.check()),
            lambda: self._reopen(protocol, identity),
            self._waveforms,
            self.clock,
            simulation,
            lambda: self.check(),
        )

    @property
    def _frames_averaged(self) -> int:
        return self.config.average_periods * self.config.period_frames

    @property
    def _loudness(self) -> float:
        """Volume velocity of a speaker at drive 1, as a factor on that of the cavity alone."""
        flow_m3_s = self.config.shot.level * self.config.converter.flow_full_scale_m3_s
        return flow_m3_s / self.config.full_drive_m3_s

    def _info(self, protocol: ShotProtocol, unit: str) -> LayerInfo:
        config, sound = self.config, protocol.sound
        shot_s = protocol.tones.shot_frames / config.rate_hz
        batch = max(1, int((config.shot.playback_s - protocol.overhead_s) / shot_s))
        channels = sound.n_speakers + sound.n_microphones + 2 * sound.has_loopback
        return LayerInfo(
            n_in=sound.n_speakers * len(config.tones),
            n_out=sound.n_microphones * len(protocol.bins) * (1 if config.readout == "modulus" else 2),
            seconds_per_shot=shot_s + protocol.overhead_s / batch,
            max_batch=batch,
            y_unit=unit,
            fingerprint=self._fingerprint(sound, unit),
            simulated=config.simulated or sound.emulated,
            settle_s=config.settle_periods * config.period_s,
            integration_s=config.average_periods * config.period_s,
            samples_per_shot=protocol.tones.shot_frames * channels,
        )

    def _fingerprint(self, sound: SoundInterface, unit: str) -> str:
        """Changes when the same drive can no longer be expected to give the same answer."""
        config = self.config
        told = {
            "world": asdict(config.parameters()) if config.simulated else None,
            "converter": config.converter.model_dump() if config.simulated else None,
            "device": sound.identity,
            "settings": sound.settings(),
            "unit": unit,
            "bins": [config.tones, config.product_bins],
            "readout": config.readout,
            "periods": [config.period_frames, config.settle_periods, config.average_periods, config.shot.guard_periods],
            "level": config.shot.level,
        }
        return "acoustic:" + hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]

    def _reopen(self, protocol: ShotProtocol, identity: str) -> None:
        sound = protocol.sound
        sound.drop()
        sound.open()
        if sound.identity != identity:
            raise InstrumentError(
                f"{sound.name}: was {identity!r} and is {sound.identity!r} now; connect the one that the run "
                f"began with ({sound.where})"
            )
        protocol.prepare(self.check)

    def _warn_of_mains(self) -> None:
        for tone in self.config.tones:
            hertz = tone / self.config.period_s
            for mains in (50.0, 60.0):
                harmonic = mains * round(hertz / mains)
                if abs(hertz - harmonic) < MAINS_CLEARANCE_HZ:
                    log.warning(
                        "tone bin %d is %.1f Hz, %.1f Hz from the mains harmonic %g Hz; choose another one "
                        "(labtrain survey proposes some)",
                        *(tone, hertz, abs(hertz - harmonic), harmonic),
                    )

    def serve(self, run: Path) -> None:
        super().serve(run)
        if self._waveforms is not None:
            self._waveforms.run = run

    def close(self) -> None:
        try:
            super().close()
        finally:
            self._layer = self._waveforms = None

    # -- commissioning -------------------------------------------------------------------------------------------

    @property
    def commissioning_shots(self) -> int:
        layer = self._layer
        return COMMISSION_SHOTS if isinstance(layer, SoundLayer) and layer.protocol.floor.power is None else 0

    def commission(self, sink: ShotSink | None = None) -> dict[str, Any]:
        """Play first shots and learn the noise of the room from them, and without a loopback the references' phases.

        Raises
        ------
        InstrumentError
            If most of them are not to be used; it says why.
        """
        layer = self._opened()
        if not isinstance(layer, SoundLayer):
            return {}
        layer.restart(self.config.seed)
        shots, floor, phases = layer.commission(COMMISSION_SHOTS)
        if sink is not None:
            sink("acoustic commissioning", shots, layer.state())
        kept = {
            "shots": len(shots),
            # Three digits are more than a median of so few shots knows.
            "noise_floor": [[float(f"{value:.3g}") for value in row] for row in floor.T.tolist()],
            "reference": None if phases is None else [phases.real.tolist(), phases.imag.tolist()],
        }
        self.adopt(kept)  # a resumed run judges by these very numbers
        return kept

    def adopt(self, commissioned: dict[str, Any]) -> None:
        """Judge shots by the noise, and place them by the reference, of when `commissioned` was measured.

        Raises
        ------
        InputError
            If it was measured with other microphones, tones or periods, or with a loopback that is not there any more.
        """
        layer = self._opened()
        if not isinstance(layer, SoundLayer):
            return
        floor, protocol = np.array(commissioned["noise_floor"]).T, layer.protocol
        if floor.shape != (self.config.period_frames // 2 + 1, protocol.sound.n_microphones):
            raise InputError(
                f"rig.audio.microphones: commissioned with {floor.shape[1]}, now there are "
                f"{protocol.sound.n_microphones}, or rig.period_frames changed; restore them, or start a new run"
            )
        if isinstance(protocol.sync, ReferenceSync):
            if commissioned["reference"] is None:
                raise InputError(
                    "rig.audio.loopback: commissioned with a loopback, now there is none; restore it, or start a new "
                    "run"
                )
            real, imag = np.array(commissioned["reference"])
            if len(real) != len(self.config.tones):
                raise InputError(
                    f"rig.tone_bins: commissioned with {len(real)} tones, now there are {len(self.config.tones)}; "
                    "restore them, or start a new run"
                )
            protocol.sync.phases = real + 1j * imag
        protocol.floor.adopt(floor)

    # -- measuring -----------------------------------------------------------------------------------------------

    @property
    def world(self) -> AcousticWorld:
        """The simulated cavity in this process, to disturb it.

        Raises
        ------
        InstrumentError
            If the rig is not open, another thread opened it, or no cavity is simulated here.
        """
        self._opened()
        if self._world is None:
            raise InstrumentError("acoustic rig: no cavity is simulated in this process; set rig.audio.device: sim")
        return self._world

    def restart(self, seed: int) -> None:
        """Shot 0 of a trial with its own noise and drift; disturbances are undone."""
        self._opened().restart(seed)

    @property
    def next_shot(self) -> int:
        return self._opened().shot

    def _disturb(self, shot: int, name: str, values: dict[str, Any]) -> None:
        self.world.disturb(name, at_shot=shot, **values)

    def provenance(self) -> dict[str, Any]:
        config = self.config
        found: dict[str, Any] = {
            "fidelity": "instruments" if config.on_instruments else "physics",
            "instruments": {} if config.on_instruments else {"cavity": "simulated"},
        }
        if config.simulated:
            found["world"] = {"type": "acoustic", "parameters": asdict(config.parameters())}
        for name, device in self.instruments.items():
            kind = "simulated" if config.simulated else "emulated" if device.emulated else "real"
            found["instruments"][name] = {
                "kind": kind,
                "driver": getattr(device.config, "driver"),  # noqa: B009 (each driver declares it as its own Literal)
                "address": device.address,
                "identity": device.identity,
                "settings": device.settings(),
            }
            if isinstance(self._layer, SoundLayer):
                found["instruments"][name]["latency_frames"] = self._layer.protocol.sync.latency
                if (volts := config.sound.volts()) is not None:
                    found["instruments"][name]["tone_at_drive_1_v"] = (config.shot.level * volts).tolist()
        return found

    def environment(self) -> dict[str, float]:
        """Temperature in a simulated cavity at the latest shot; of a converter what it did: latency, clocks."""
        layer = self._opened()
        told: dict[str, float] = {}
        if self._world is not None:
            told |= self._world.environment(max(layer.shot - 1, 0))
        if isinstance(layer, SoundLayer):
            sync = layer.protocol.sync
            told["latency_frames"] = float(sync.latency)
            if isinstance(sync, LoopbackSync) and getattr(self.config.sound, "two_clocks", False):
                told["clock_offset_ppm"] = sync.ppm
        return told

    def _opened(self) -> CavityLayer | SoundLayer:
        self.check_owner()
        assert self._layer is not None  # open() sets it before it makes this thread the owner
        return self._layer
